//! What happens to each command of a build: driver or pip, lookup, hit or run, publication, record.
//!
//! The pipeline, in the order of the modules: [`config`] → [`policy`] (driver, pip, bypassed) → [`weak`] (what is known
//! before it runs) → [`lookup`] (candidates against `worker::file_state`) → `start` (hit: materialise and replay; miss: run
//! observed) → `publish` (collect, judge, store) → [`record`]; [`run`] holds them together. What happens is told as a
//! stream of events ([`event`], with what pips were [`seen`] to do); a [`judge`] may be asked while it happens;
//! [`products`] keeps which result each file is of. Knows nothing of command lines or terminals, nor of what build files
//! declare.

pub mod config;
pub mod event;
pub mod gc;
pub mod judge;
mod launches;
pub mod lookup;
pub mod pip;
pub mod policy;
pub mod products;
mod publish;
pub mod record;
pub mod redact;
pub mod run;
pub mod seen;
mod start;
pub mod trace;
pub mod values;
pub mod weak;

pub use config::Config;
pub use record::{BuildRecord, Item, Outcome};
pub use run::{Engine, Mode};
