//! What is kept of the accesses of one pip: the vocabulary that the recorder writes and the judges read.
//!
//! Knows neither how an access becomes a part of it ([`crate::recorder`]) nor what follows from it ([`crate::finish`]).

use crate::indexes::Load;
use crate::record::{Image, Moment, Record};
use crate::tools::Tool;
use cache::{Fact, FileStat, PathBytes};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;

/// The accesses of one pip.
#[derive(Debug, Default)]
pub struct Accesses {
    pub names: FxHashMap<PathBytes, Record>,
    /// Links that were crossed, with state and target when that happened.
    pub links: FxHashMap<PathBytes, Link>,
    /// Directories that a `..` led out of.
    pub left: FxHashSet<PathBytes>,
    pub facts: BTreeSet<Fact>,
    /// Limits that shells have asked for: they do so for their own needs, too, and whether it matters their texts tell.
    pub asked_by_shells: BTreeSet<Fact>,
    pub stdin: Stdin,
    /// An interpreter has asked what standard input is, as bash, perl and Python do at their start, or a shell has put
    /// it aside: whether it matters, the scripts tell.
    pub met_stdin: bool,
    /// A shell has put a live one aside.
    pub saved_live: bool,
    /// A shell has put it aside where all that it starts can find it.
    pub lent_stdin: bool,
    /// Files about the state of the machine that it read; most programs do so for their own needs.
    pub state: BTreeSet<&'static str>,
    pub own_sources: OwnSources,
    /// Files on standard inputs whose times are written down.
    pub timed: FxHashSet<PathBytes>,
    /// A program of which nothing is known, or one that moves files to another file system, set times that are not the
    /// present: perhaps those of what it read.
    pub sets_times: bool,
    /// Files that were there before and are meant to have another name, by device and inode.
    pub moved: FxHashMap<(u64, u64), PathBytes>,
    /// Directories, and what may become one, that a rename takes away or puts in place.
    pub renamed: FxHashSet<PathBytes>,
    /// One of its programs keeps results of its own, which what it prints may tell of.
    pub keeps_cache: bool,
    /// A script that came through standard input compares times.
    pub compares: bool,
    /// Users and groups of the owners of what was looked at and is no input: devices, files below `/proc`.
    pub owners: FxHashSet<(u32, u32)>,
    /// What each image opened when it was loaded.
    pub loads: FxHashMap<Image, Load>,
    /// Every exec. An [`Image`] is the number of one, and 0 what was there before.
    pub programs: Vec<Program>,
    /// How many accesses there were.
    pub(crate) now: Moment,
    /// Why the result cannot be stored, first reason first.
    pub problems: Vec<String>,
}

/// What was done with standard input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stdin {
    #[default]
    Unused,
    /// Somebody has asked whether it is a terminal.
    Asked,
    /// More was asked, or it was read.
    Used,
}

pub(crate) fn reads_live_stdin() -> String {
    tracer::Escape { kind: tracer::EscapeKind::LiveStdin, detail: String::new() }.to_string()
}

/// A symbolic link that was crossed.
#[derive(Clone, Debug)]
pub struct Link {
    pub state: Option<FileStat>,
    pub target: Vec<u8>,
    /// When it was crossed, if it was read only after that.
    pub late: Option<i128>,
}

/// What preprocessors read that the pip had written itself. It is looked into at that moment: later it may be gone.
#[derive(Debug, Default)]
pub struct OwnSources {
    pub any: bool,
    /// They may ask for date or time.
    pub ask_time: bool,
    /// Or for the time of the source.
    pub ask_file_time: bool,
}

/// One program that the pip executed.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: Vec<u8>,
    pub argv: Vec<Vec<u8>>,
    /// What the table knows of it. A script is never known, whatever its name.
    pub tool: Option<&'static Tool>,
    /// Nothing is known of it, and it runs no scripts that could be searched for words.
    pub is_opaque: bool,
    /// Who runs it, if it is a `#!` file.
    pub interpreter: Option<Vec<u8>>,
    /// The process that became it.
    pub pid: i32,
}
