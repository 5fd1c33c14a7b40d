//! Finds what a build does that its build files do not declare, and the files that its build tool leaves stale.
//!
//! The crate is fed by the events of a run ([`observer`]) and by what earlier runs have kept. It knows nothing of a run
//! in progress, but for what the engine asks through [`engine::judge::Judge`].
//!
//! The way of an audit: [`observer`] collects what pips did → [`frontend`] asks the build tools what they declare, in a
//! throw-away `layer` over the tree → `declared` finds the step of each pip, and who needs whom → [`compare`] accuses,
//! each accusation being of one of the [`kinds`], in a form that can be kept ([`finding`]) → [`trial`] tries out the
//! repairs → [`workspace`] applies what the user has configured ([`policy`]) and [`baseline`] what was known before →
//! [`report`] writes it down. [`prove`] tries a finding out. [`enforce`] does the same for one pip while the run goes
//! on. [`stale`] finds, and heals, the files that a build tool would leave alone although their inputs have changed.
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
pub mod trial;
pub mod workspace;
