//! The declared graph of a whole run: which step each pip is, which step is made before which, and what a change of a
//! file makes run again.
//!
//! [`launches`] tells which launches are build tools; [`driver`] asks one of them, and knows its steps by their
//! commands; [`alike`] tells commands of one text apart; [`declarations`] finds the step of each pip over all build
//! tools; [`graph`] makes one graph of everything that is declared; [`reach`] answers many questions about such a graph
//! at once.

mod alike;
mod declarations;
mod driver;
pub(crate) mod graph;
mod launches;
mod reach;

pub(crate) use declarations::{Declarations, StepId};
pub(crate) use driver::{Driver, answers};
pub(crate) use launches::ancestors;
