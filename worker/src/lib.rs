//! Owns a pip from request to result.
//!
//! A [`Command`] is handed to an [`executor`]; while it runs, the [`recorder`] keeps its accesses; at its end
//! [`outputs`] finds what it wrote and [`finish`] what it depended on. [`evaluate`] gives the value that an observation
//! has now, for whoever looks results up. What is known of tools is the table in [`tools`]. Knows no build graphs, no
//! declared dependencies, and not where results are kept, but for the local store that outputs are collected in.

pub mod accesses;
mod clock_in_results;
pub mod command;
pub mod command_text;
mod date_macros;
pub mod drivers;
pub mod environment;
pub mod evaluate;
pub mod evidence;
pub mod executor;
mod facts;
pub mod file_state;
pub mod file_times;
mod file_times_in_results;
pub mod finish;
pub mod globs;
pub mod indexes;
pub mod journal;
pub mod judgement;
pub mod limits;
pub mod look;
mod obstacle;
pub mod outputs;
mod owners;
mod paths;
pub mod places;
pub mod record;
pub mod recorder;
mod running;
pub mod scripts;
pub mod slots;
pub mod special_paths;
mod stdin_of_scripts;
mod step;
pub mod streams;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod tools;
mod unseen_inputs;
mod volatile;
pub mod world;

pub use command::Command;
pub use facts::fact_of;
pub use judgement::Finished;
pub use look::{Form, Look, Problem};
pub use recorder::Recorder;
