//! What the engine keeps of a command between the question *is its result known?* and the answer of whoever ran it.

use crate::lookup::Reason;
use crate::record::{Item, Outcome};
use crate::redact::{one_line, redact};
use crate::weak::Weak;
use cache::{Digest, Entry, shown};
use std::sync::Arc;
use std::time::Instant;
use worker::Command;

/// A command that was asked about.
pub(crate) struct Asked {
    pub(crate) command: Arc<Command>,
    /// Its identity across runs, for its history.
    pub(crate) key: Digest,
    /// Under which its result may be stored; `None`: it may not.
    pub(crate) weak: Option<Weak>,
    /// The fields that its weak fingerprint is made of, for the record, if it runs.
    pub(crate) facts: Vec<(String, String)>,
    /// Why it runs.
    pub(crate) reason: Reason,
    /// What a hit would have given: the result is compared with it.
    pub(crate) expected: Option<Entry>,
    /// The process that launched it.
    pub(crate) parent: Option<i32>,
    /// Its number among the launches, if anybody is told of those.
    pub(crate) launch: Option<usize>,
    pub(crate) started: Instant,
}

/// The words of a command, its environment (which only serves to find secrets) and its directory.
pub(crate) type Words<'a> = (&'a [Vec<u8>], &'a [Vec<u8>], &'a [u8]);

impl Asked {
    pub(crate) fn words(&self) -> Words<'_> {
        (&self.command.argv, &self.command.env, &self.command.cwd)
    }

    /// In one line, for people: without secrets.
    pub(crate) fn shown(&self) -> String {
        one_line(&redact(&self.command.argv, &self.command.env))
    }
}

/// What the record tells of a command that began `start_ms` after the build and took until now.
pub(crate) fn item((argv, env, cwd): Words<'_>, outcome: Outcome, start_ms: f64, wall_ms: f64, e: &Entry) -> Item {
    let argv = redact(argv, env);
    Item {
        id: 0,
        command: one_line(&argv),
        argv,
        cwd: shown(cwd),
        outcome,
        reason: None,
        not_stored: None,
        outputs: e.outputs.iter().map(|o| shown(&o.path)).collect(),
        facts: Vec::new(),
        result: None,
        weak: None,
        seen: None,
        violations: Vec::new(),
        text: String::new(),
        wall_ms,
        saved_ms: if outcome == Outcome::Hit { e.wall_us as f64 / 1e3 } else { 0.0 },
        exit_code: e.exit_code,
        start_ms,
        far: false,
    }
}
