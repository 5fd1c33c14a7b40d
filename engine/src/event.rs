//! What happens in a run, as one stream: the engine tells each event once, to every sink, and asks nothing back.
//!
//! Whoever wants to know of a run (the audit; a record, a progress line, a log) implements [`Sink`]; the engine knows
//! none of them. Events are told by the thread on which they happen, launches in the order of their numbers, so a sink
//! must be quick and must not call the engine. New kinds of events are variants of [`Event`]; sinks pass over those
//! that they have no use for.

use crate::seen::{Fault, Seen};
use cache::PathBytes;
use std::sync::Arc;

/// One thing that happened. `launch` is always the number of a launch that was told of before.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A command that a build tool launched, or a build tool, is about to start. Numbers count from 0 without gaps.
    Launched { launch: usize, what: &'a Arc<Launch> },
    /// This launch turned out to launch commands itself: it is no pip any more.
    BecameDriver { launch: usize },
    /// Something makes the result of this launch doubtful. The same fault may be told more than once.
    Fault { launch: usize, fault: &'a Fault },
    /// A pip has ended, with what it used and made.
    Ended(&'a Seen),
}

/// Who is told of every event.
pub trait Sink: Send + Sync {
    fn on(&self, event: &Event<'_>);
}

/// A command that a build tool launched, or a build tool.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Who launched it: another launch.
    pub parent: Option<usize>,
    pub program: PathBytes,
    pub argv: Vec<Vec<u8>>,
    /// It in one line, for people: without secrets.
    pub shown: String,
    pub cwd: PathBytes,
    /// `NAME=value`, of build tools.
    pub env: Vec<Vec<u8>>,
    /// It launches commands itself.
    pub driver: bool,
    /// Its process was its parent before: a make that has remade its makefiles starts itself again.
    pub again: bool,
    /// Milliseconds after the build's start.
    pub start_ms: f64,
}
