//! Executes one pip: what it accessed becomes observations, what it wrote becomes outputs.
//!
//! Knows tools (tables of data) and special paths, but no build graphs, no drivers, no declared dependencies.

mod clock_in_results;
pub mod command;
pub mod command_text;
mod date_macros;
pub mod drivers;
pub mod environment;
pub mod evaluate;
pub mod evidence;
pub mod executor;
pub mod file_state;
pub mod file_times;
mod file_times_in_results;
pub mod finish;
pub mod journal;
pub mod look;
mod obstacle;
pub mod outputs;
pub mod places;
pub mod record;
pub mod recorder;
mod running;
pub mod scripts;
pub mod slots;
pub mod special_paths;
mod stdin_of_scripts;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod tools;
mod unseen_inputs;
mod volatile;
pub mod world;

pub use command::Command;
pub use finish::Finished;
pub use look::{Form, Look, Problem};
pub use recorder::Recorder;
