//! Executes one pip: what it accessed becomes observations, what it wrote becomes outputs.
//!
//! Knows tools (tables of data) and special paths, but no build graphs, no drivers, no declared dependencies.

pub mod command;
pub mod command_text;
pub mod drivers;
pub mod environment;
pub mod evaluate;
pub mod evidence;
pub mod executor;
pub mod file_state;
pub mod finish;
mod hidden;
pub mod journal;
pub mod look;
mod macros;
mod obstacle;
pub mod outputs;
pub mod places;
pub mod record;
pub mod recorder;
mod running;
pub mod scripts;
mod shown_times;
pub mod slots;
pub mod special;
mod stamps;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod times;
pub mod tools;
mod volatile;
pub mod world;

pub use command::Command;
pub use finish::Finished;
pub use look::{Form, Look, Problem};
pub use recorder::Recorder;
