//! Evidence for people: which program looked at a name first, by which call, when.
//!
//! Only an audit asks for it. No result depends on it.

use crate::accesses::Accesses;
use crate::record::Record;
use cache::PathBytes;
use rustc_hash::FxHashMap;

/// Where an observation comes from, if this very run made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub program: String,
    pub pid: i32,
    /// The system call.
    pub call: &'static str,
    /// Milliseconds since the epoch.
    pub time: u64,
}

/// What was noted of a name while it was used.
#[derive(Clone, Debug)]
pub struct Noted {
    /// It was read as a file that was there.
    pub read: bool,
    /// It was not there at first, and came without the pip's doing.
    pub appeared: bool,
    /// It was there, and looked at.
    pub probed: bool,
    pub evidence: Evidence,
}

pub type ByName = FxHashMap<PathBytes, Noted>;

/// Takes what counts as evidence from the accesses of a pip.
pub(crate) fn evidence(a: &Accesses) -> ByName {
    let one = |path: &PathBytes, r: &Record| {
        let (call, pid) = r.first_by;
        let program = a.programs.iter().rev().find(|p| p.pid == pid).or(a.programs.last());
        let program = program.map(|p| String::from_utf8_lossy(&p.path).into_owned()).unwrap_or_default();
        let appeared = r.first.is_none() && !r.intent && cache::FileStat::of(path).is_some_and(|s| s.is_file());
        Noted {
            read: r.read && (appeared || r.first.is_some_and(|s| s.is_file())),
            appeared,
            probed: r.probed && r.first.is_some_and(|s| s.is_file()),
            evidence: Evidence { program, pid, call, time: u64::try_from(r.seen / 1_000_000).unwrap_or(0) },
        }
    };
    a.names.iter().map(|(path, r)| (path.clone(), one(path, r))).collect()
}
