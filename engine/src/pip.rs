//! One running pip, and what a scope of the tracer stands for.
//!
//! States: *driver* (launches pips; only its writes matter) · *pip* (observed; may be demoted to driver) ·
//! *bypassed* (too cheap; only its writes matter) · *plain* (caching is off for it; as bypassed, but reported).

use crate::lookup::Reason;
use crate::redact::{one_line, redact};
use crate::weak::Weak;
use cache::{Digest, PathBytes};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Mutex;
use std::time::Instant;
use tracer::Tap;
use worker::Recorder;

/// What is kept of the request while it runs.
pub struct Static {
    pub weak: Option<Weak>,
    pub command: Digest,
    pub program: Vec<u8>,
    pub argv: Vec<Vec<u8>>,
    pub env: Vec<Vec<u8>>,
    pub cwd: PathBytes,
    pub umask: u32,
    /// The process that launched it.
    pub parent: Option<i32>,
    /// Its number in the audit, if this run is audited.
    pub launch: Option<usize>,
}

/// A pip that really runs.
pub struct Pip {
    pub fixed: Static,
    pub recorder: Recorder,
    pub tap: Mutex<Option<Tap>>,
    /// Why it runs.
    pub reason: Reason,
    pub started: Instant,
    /// The same moment by the clock that stamps files.
    pub began: i128,
    /// A regular file on standard input: its offset at the end is part of the result.
    pub stdin: Option<std::os::fd::OwnedFd>,
    /// Descriptors above 2 that it was given.
    pub inherited: Vec<tracer::request::Inherited>,
    /// What a hit would have given: the result is compared with it.
    pub expected: Option<cache::Entry>,
    /// Its place among the commands that run at once.
    pub slot: Mutex<Option<worker::slots::Slot>>,
    /// It is one unit of a build tool that knows no smaller ones: never demoted.
    pub whole: bool,
    /// Processes that run a build tool inside it.
    pub inner_drivers: Mutex<FxHashSet<i32>>,
    /// How often each name was announced as about to be written.
    pub writes: Mutex<FxHashMap<PathBytes, u32>>,
}

/// What a scope stands for.
#[derive(Clone)]
pub enum ScopeKind {
    Driver,
    Pip(std::sync::Arc<Pip>),
    Bypassed(std::sync::Arc<Bypassed>),
}

impl ScopeKind {
    /// Since when a command has been running, and how it is shown; `None` for a driver.
    pub fn running(&self) -> Option<(Instant, impl Fn() -> String + '_)> {
        let (since, argv, env) = match self {
            Self::Driver => return None,
            Self::Pip(p) => (p.started, &p.fixed.argv, &p.fixed.env),
            Self::Bypassed(b) => (b.started, &b.argv, &b.env),
        };
        Some((since, move || one_line(&redact(argv, env))))
    }
}

/// A command that is not looked up.
pub struct Bypassed {
    pub command: Digest,
    pub program: Vec<u8>,
    pub argv: Vec<Vec<u8>>,
    pub env: Vec<Vec<u8>>,
    pub cwd: PathBytes,
    pub started: Instant,
    pub reason: Reason,
    pub writes: Mutex<FxHashMap<PathBytes, u32>>,
}
