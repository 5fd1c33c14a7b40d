//! Executes one pip: what it accessed becomes observations, what it wrote becomes outputs.
//!
//! Knows tools (tables of data) and special paths, but no build graphs, no drivers, no declared dependencies.

pub mod environment;
pub mod finish;
mod hidden;
mod macros;
pub mod outputs;
mod present;
pub mod record;
pub mod recorder;
mod running;
pub mod scripts;
mod shown_times;
pub mod special;
mod stamps;
pub mod times;
pub mod tools;

pub use finish::{Finished, Form, Look, Problem};
pub use recorder::Recorder;
