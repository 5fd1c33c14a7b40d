//! The declared graph of a whole run: which step each pip is, which step is made before which, and what a change of a
//! file makes run again.
//!
//! [`declarations`] holds what the build tools of a run declare, and finds the step of each pip; [`order`] makes one
//! graph of it over all build tools; [`reach`] answers many questions about such a graph at once.

pub(crate) mod declarations;
pub(crate) mod order;
mod reach;

pub(crate) use declarations::{Declarations, Driver, StepId};
