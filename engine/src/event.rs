//! What happens in a run, as one stream: the engine tells each event once, to every sink, and asks nothing back.
//!
//! Whoever wants to know of a run (the audit; a record, a progress line, a log) implements [`Sink`]; the engine knows
//! none of them. Events are told by the thread on which they happen, launches in the order of their numbers, so a sink
//! must be quick and must not call the engine. New kinds of events are variants of [`Event`]; sinks pass over those
//! that they have no use for.

use crate::record::Item;
use crate::seen::{Fault, Seen};
use cache::{Digest, PathBytes, Product};
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
    /// Everything about a command is settled: its line of the record.
    Done(&'a Item),
    /// A hit was served, which put so many bytes back, and whose command once took that long, microseconds.
    Served { strong: Digest, bytes: u64, saved_us: u64 },
    /// A result of so many bytes was published.
    Stored { bytes: u64 },
    /// A command whose result is known ran all the same, to compare.
    Rechecked(Recheck<'a>),
    /// A build tool executed a program that cannot be looked into.
    Unseen { why: &'a str },
    /// A file is of this result now; `None`: of none that is known.
    Product { path: &'a PathBytes, product: Option<&'a Product> },
    /// A trouble of `xl` itself, which the user is told of when the run is over.
    Warning(&'a str),
}

/// What came of a comparison.
#[derive(Clone, Copy, Debug)]
pub enum Recheck<'a> {
    Same,
    /// This time the result cannot be stored.
    Unknown,
    /// What differs, and of which command.
    Different(&'a str),
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
