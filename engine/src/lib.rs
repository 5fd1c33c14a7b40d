//! What happens to each command of a build: driver or pip, lookup, hit or run, publication, record.
//!
//! The pipeline, in the order of the modules: [`config`] → [`policy`] (driver, pip, bypassed) → [`weak`] (what is known
//! before it runs) → [`lookup`] (candidates against `worker::file_state`) → `start` (hit: materialise and replay; miss: run
//! observed) → `publish` (collect, judge, store) → [`record`]; [`run`] holds them together. Besides, for the audit:
//! [`observed`] (what pips did) → [`frontend`] (what build tools declare) → [`violation`] over [`graph`] → [`report`],
//! with [`enforce`] and [`block`] while it runs; for incremental builds [`products`] → [`heal`] → [`aside`], tried out
//! in [`trial`]. Knows nothing of command lines or terminals.

pub mod aside;
pub mod audit;
pub mod block;
pub mod config;
pub mod enforce;
pub mod frontend;
pub mod gc;
pub mod graph;
pub mod heal;
pub mod lookup;
pub mod observed;
pub mod pip;
pub mod policy;
pub mod products;
mod publish;
pub mod record;
pub mod redact;
pub mod report;
pub mod run;
mod start;
pub mod trace;
pub mod trial;
pub mod values;
pub mod violation;
pub mod weak;

pub use config::Config;
pub use record::{BuildRecord, Item, Outcome};
pub use run::{Engine, Mode};
