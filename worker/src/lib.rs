//! Executes one pip: what it accessed becomes observations, what it wrote becomes outputs.
//!
//! Knows tools (tables of data) and special paths, but no build graphs, no drivers, no declared dependencies.

pub mod command_text;
pub mod drivers;
pub mod environment;
pub mod file_state;
pub mod finish;
mod hidden;
pub mod journal;
pub mod look;
mod macros;
pub mod outputs;
mod present;
pub mod record;
pub mod recorder;
mod running;
pub mod scripts;
mod shown_times;
pub mod slots;
pub mod special;
mod stamps;
pub mod times;
pub mod tools;
pub mod world;

pub use finish::Finished;
pub use look::{Form, Look, Problem};
pub use recorder::Recorder;
