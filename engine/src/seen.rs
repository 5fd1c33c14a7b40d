//! What a pip was seen to do: the names that it used, how, by which evidence, and what it made.
//!
//! [`uses`] and [`made`] read it from an entry, so that a hit counts with what its recorded run had looked at;
//! [`with_evidence`] reads it from the accesses of a pip that ran. Knows nothing of what anybody declares.

use cache::{Digest, Observation, PathBytes};
use rustc_hash::FxHashSet;
use worker::evidence::ByName;
pub use worker::evidence::Evidence;

/// How a name was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    Read,
    Probed,
    /// It was looked for and was not there.
    Missed,
    Listed,
}

#[derive(Clone, Debug)]
pub struct Use {
    pub path: PathBytes,
    pub how: How,
    pub evidence: Option<Evidence>,
}

/// A name that a pip made, changed or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub path: PathBytes,
    /// Content, of a file that was stored.
    pub digest: Option<Digest>,
    pub is_dir: bool,
    pub deleted: bool,
}

/// What makes a result doubtful by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Network(String),
    Survivor,
    /// A compiled source asks for date or time.
    Time,
    /// A script that it ran has a word for time, chance or the state of the machine.
    Asks {
        who: String,
        word: &'static str,
    },
    /// The same inputs gave another content.
    DifferentFile(PathBytes),
    /// The same inputs gave another exit code, or another text; which.
    Different(String),
}

/// One pip that has ended.
#[derive(Clone, Debug)]
pub struct Seen {
    pub launch: usize,
    pub hit: bool,
    pub exit_code: i32,
    /// Milliseconds after the build's start.
    pub start_ms: f64,
    pub end_ms: f64,
    pub uses: Vec<Use>,
    pub made: Vec<Made>,
    /// Who collects events puts them here: they are told as events of their own.
    pub faults: Vec<Fault>,
}

/// How an observation used its name, if it is about one that matters to build files.
pub fn how(o: &Observation) -> Option<(How, &PathBytes)> {
    Some(match o {
        Observation::Absent(p) => (How::Missed, p),
        Observation::DirListing(p, _) => (How::Listed, p),
        Observation::FileContent(p) | Observation::Answer(p, _) => (How::Read, p),
        Observation::FileProbe { path, .. } => (How::Probed, path),
        // A search looks for names that begin in one way only; that somebody makes others means nothing.
        Observation::DirSearch { .. }
        | Observation::DirMatch { .. }
        | Observation::DirCount(..)
        | Observation::KindProbe(_)
        | Observation::Ensured(..)
        | Observation::Symlink(_)
        | Observation::SameFile(..)
        | Observation::Attributes(_)
        | Observation::Rights(_)
        | Observation::Owner(_) => {
            return None;
        }
        Observation::Env(_)
        | Observation::EnvAll
        | Observation::EnvJob
        | Observation::Found { .. }
        | Observation::Fact(_) => return None,
    })
}

/// The uses that observations stand for.
pub fn uses<'a>(observations: impl Iterator<Item = &'a Observation>) -> Vec<Use> {
    observations.filter_map(how).map(|(how, path)| Use { path: path.clone(), how, evidence: None }).collect()
}

/// The uses of a pip that ran. What it looked at counts even where it changed meanwhile, so that nothing can be stored:
/// just that is a race.
pub fn with_evidence(
    observations: &[(Observation, cache::Value)],
    made: &[Made],
    evidence: ByName,
    ignored: impl Fn(&[u8]) -> bool,
) -> Vec<Use> {
    let mut all = uses(observations.iter().map(|(o, _)| o));
    all.retain(|u| !ignored(&u.path));
    let mut known: FxHashSet<PathBytes> = all.iter().filter(|u| u.how == How::Read).map(|u| u.path.clone()).collect();
    known.extend(made.iter().map(|m| m.path.clone()));
    let used: FxHashSet<PathBytes> = all.iter().map(|u| u.path.clone()).collect();
    for (path, n) in evidence.iter().filter(|(p, _)| !known.contains(*p) && !ignored(p)) {
        let how = match n {
            n if n.read => How::Read,
            n if n.appeared => How::Missed,
            n if n.probed && !used.contains(path) => How::Probed,
            _ => continue,
        };
        all.push(Use { path: path.clone(), how, evidence: None });
    }
    for u in &mut all {
        u.evidence = evidence.get(&u.path).map(|n| n.evidence.clone());
    }
    all.sort_by(|a, b| (&a.path, a.how).cmp(&(&b.path, b.how)));
    all
}

impl Made {
    /// Of an output whose content nobody has kept.
    pub fn of(w: &cache::collect::Written) -> Self {
        Self {
            path: w.path.clone(),
            digest: None,
            is_dir: w.state.is_some_and(|s| s.is_dir()),
            deleted: w.state.is_none(),
        }
    }
}

/// What the outputs of an entry stand for.
pub fn made(outputs: &[cache::Output]) -> Vec<Made> {
    use cache::OutputKind as K;
    let one = |o: &cache::Output| Made {
        path: o.path.clone(),
        digest: if let K::File { digest, .. } = &o.kind { Some(*digest) } else { None },
        is_dir: matches!(o.kind, K::Directory { .. }),
        deleted: matches!(o.kind, K::Deleted),
    };
    outputs.iter().map(one).collect()
}
