//! What happens to each command of a build: driver or pip, lookup, hit or run, publication, record.
//!
//! The way of a pip through these modules: [`dispatch`] (driver, pip or bypassed, by [`policy`]) → [`weak`] (what is
//! known before it runs) → [`lookup`] (candidates, held against the present) → `serve` (a hit is put back), or
//! [`worker::executor`] (it runs, and is judged) and `publish`. [`run`] holds together what they share. What happens is
//! told as one stream of events ([`event`]), of which the record (`ledger`), the [`products`], the progress and the
//! audit are made; a [`judge`] may be asked while it happens. Knows nothing of command lines or terminals, nor of what
//! build files declare.

mod asked;
pub mod change;
pub mod config;
mod differences;
pub mod dispatch;
pub mod event;
pub mod explain;
pub mod gc;
pub mod judge;
mod launches;
mod ledger;
pub mod lookup;
pub mod policy;
pub mod products;
mod publish;
pub mod record;
pub mod redact;
mod rules;
pub mod run;
pub mod seen;
mod serve;
pub mod sharing;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod values;
pub mod weak;

pub use config::Config;
pub use record::{BuildRecord, Item, Mode, Outcome};
pub use run::Engine;
