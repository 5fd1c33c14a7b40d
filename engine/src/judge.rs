//! What enforcement asks while a run goes on: may this access happen, and may this pip end well?
//!
//! The engine carries out the answers and knows nothing of the grounds: whoever judges holds what is declared, what the
//! user allows, and what the run was seen to do, which it hears of as a [`Sink`].

use crate::event::Sink;
use crate::seen::Seen;
use cache::PathBytes;
use rustc_hash::FxHashSet;
use tracer::Op;

/// What a pip is about to do.
#[derive(Clone, Copy, Debug)]
pub enum Attempt<'a> {
    Access(&'a Op, &'a PathBytes),
    /// To use a socket; as a report would show it.
    Network(&'a str),
}

/// A pip has to fail.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What is said of each error, and what would repair it.
    pub reasons: Vec<String>,
    /// What its step declares to make.
    pub outputs: FxHashSet<PathBytes>,
}

/// Who judges pips while the run goes on.
pub trait Judge: Sink {
    /// Is it asked before accesses happen? The answer is the same for the whole run, and part of every fingerprint.
    fn guards(&self) -> bool;

    /// Why a pip may not do this.
    fn refuses(&self, what: Attempt<'_>) -> Option<String>;

    /// Must a pip that is about to end fail? Asked before the sinks are told that it has ended.
    fn judge(&self, pip: &Seen) -> Option<Verdict>;

    /// Why something is not judged, once.
    fn take_gaps(&self) -> Vec<String>;
}
