//! Declared against observed: what a build does that its build files do not say, and what they leave stale.
//!
//! Fed by the events of a run ([`observer`]) and by what earlier runs have kept; knows nothing of a run in progress but
//! what it is asked through [`engine::judge::Judge`]. The way of an audit: [`observer`] (what pips did) → [`frontend`]
//! (what build tools declare, asked in a throw-away [`layer`]) → `declared` (whose step each pip is, and who needs
//! whom) → [`compare`] (what is wrong, of which of the [`kinds`]) → [`workspace`] (what the user thinks of it: his
//! [`policy`], his [`baseline`]) → [`report`]; [`prove`] tries a finding out. [`enforce`] does the same while the run
//! goes on, for one pip. [`stale`] is about what a build tool would leave alone although its inputs have changed.
//!
//! Where nothing is declared that could be compared (a script, an unknown build tool), nobody is accused.

pub mod baseline;
pub mod compare;
mod declared;
pub mod enforce;
pub mod finding;
pub mod frontend;
pub mod kinds;
mod layer;
pub mod observer;
mod paths;
mod places;
pub mod policy;
pub mod prove;
pub mod report;
pub mod stale;
pub mod workspace;
