//! What an audited run was seen to do: who launched whom, and what each pip looked at and made.
//!
//! Collected while it runs, judged when it is over. A hit counts with what its recorded run had looked at, so that a
//! warm build tells the same as a cold one. Knows nothing of what anybody declares.

use crate::redact::{one_line, redact};
use cache::{Digest, Observation, PathBytes};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::{Arc, Mutex};
use tracer::ExecRequest;

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

/// How a name was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    Read,
    Probed,
    /// It was looked for and was not there.
    Missed,
    Listed,
}

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
    pub faults: Vec<Fault>,
}

#[derive(Default)]
struct Log {
    launches: Vec<Arc<Launch>>,
    /// The newest launch of a process: number and start time of the process.
    newest: FxHashMap<i32, (usize, u64)>,
    pips: Vec<Seen>,
    faults: FxHashMap<usize, Vec<Fault>>,
    names: FxHashSet<PathBytes>,
    /// Pips by what they made.
    makers: FxHashMap<PathBytes, Vec<usize>>,
}

/// Collects; shared by the threads of a run.
#[derive(Default)]
pub struct Observer(Mutex<Log>);

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub launches: Vec<Arc<Launch>>,
    /// In the order in which they started.
    pub pips: Vec<Seen>,
}

impl Observer {
    /// Notes a command, or a build tool, that is about to start.
    pub fn launch(&self, r: &ExecRequest, driver: bool, start_ms: f64) -> usize {
        let (pid, start) = (r.process.pid, r.process.start);
        // Numbers of processes are used again: an ancestor is known by its start time too.
        let mut ancestors: Vec<(i32, u64)> = Vec::new();
        let mut ancestor = r.process.parent();
        while let Some(p) = ancestor.filter(|p| *p > 1) {
            let Some((start, parent)) = tracer::started(p) else { break };
            ancestors.push((p, start));
            ancestor = Some(parent);
        }
        let mut log = self.0.lock().expect("observed");
        // A process that becomes another program was launched by what it was before.
        let mut parent = log.newest.get(&pid).filter(|(_, s)| *s == start).map(|(l, _)| *l);
        let again = parent.is_some();
        parent = parent.or_else(|| {
            ancestors.iter().find_map(|(p, start)| log.newest.get(p).filter(|(_, s)| s == start).map(|(l, _)| *l))
        });
        let n = log.launches.len();
        log.newest.insert(pid, (n, start));
        log.launches.push(Arc::new(Launch {
            parent,
            program: r.program.path.clone(),
            argv: r.argv.clone(),
            shown: one_line(&redact(&r.argv, &r.env)),
            cwd: r.cwd.clone(),
            env: if driver { r.env.clone() } else { Vec::new() },
            driver,
            again,
            start_ms,
        }));
        n
    }

    /// This launch turned out to launch commands itself.
    pub fn became_driver(&self, launch: usize) {
        if let Some(l) = self.0.lock().expect("observed").launches.get_mut(launch) {
            Arc::make_mut(l).driver = true;
        }
    }

    /// Notes what makes a result doubtful, once.
    pub fn fault(&self, launch: usize, f: Fault) {
        let mut log = self.0.lock().expect("observed");
        let all = log.faults.entry(launch).or_default();
        if !all.contains(&f) {
            all.push(f);
        }
    }

    /// A pip has ended.
    pub fn ended(&self, mut pip: Seen) {
        let mut log = self.0.lock().expect("observed");
        // Thousands of pips look at the same names.
        for p in pip.uses.iter_mut().map(|u| &mut u.path).chain(pip.made.iter_mut().map(|m| &mut m.path)) {
            match log.names.get(p) {
                Some(known) => *p = known.clone(),
                None => drop(log.names.insert(p.clone())),
            }
        }
        let n = log.pips.len();
        for m in pip.made.iter().filter(|m| !m.deleted) {
            log.makers.entry(m.path.clone()).or_default().push(n);
        }
        log.pips.push(pip);
    }

    /// A pip that is about to end, after those that made what it used.
    pub fn around(&self, pip: &Seen) -> Observed {
        let log = self.0.lock().expect("observed");
        let mut makers: Vec<usize> =
            pip.uses.iter().filter_map(|u| log.makers.get(&u.path)).flatten().copied().collect();
        makers.sort_unstable();
        makers.dedup();
        let mut pips: Vec<Seen> = makers.into_iter().map(|i| log.pips[i].clone()).collect();
        let faults = log.faults.get(&pip.launch).cloned().unwrap_or_default();
        pips.push(Seen { faults, ..pip.clone() });
        Observed { launches: log.launches.clone(), pips }
    }

    /// The same, after all that have ended.
    pub fn so_far(&self, pip: &Seen) -> Observed {
        let log = self.0.lock().expect("observed");
        let faults = log.faults.get(&pip.launch).cloned().unwrap_or_default();
        let pips = log.pips.iter().cloned().chain([Seen { faults, ..pip.clone() }]).collect();
        Observed { launches: log.launches.clone(), pips }
    }

    /// Takes everything; the run is over.
    pub fn take(&self) -> Observed {
        let mut log = std::mem::take(&mut *self.0.lock().expect("observed"));
        for p in &mut log.pips {
            p.faults.extend(log.faults.remove(&p.launch).unwrap_or_default());
        }
        log.pips.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
        Observed { launches: log.launches, pips: log.pips }
    }
}

/// How an observation used its name, if it is about one that matters to build files.
pub fn how(o: &Observation) -> Option<(How, &PathBytes)> {
    Some(match o {
        Observation::Absent(p) => (How::Missed, p),
        Observation::DirListing(p, _) => (How::Listed, p),
        Observation::FileContent(p) => (How::Read, p),
        Observation::FileProbe { path, .. } => (How::Probed, path),
        // A search looks for names that begin in one way only; that somebody makes others means nothing.
        Observation::DirSearch { .. }
        | Observation::KindProbe(_)
        | Observation::Ensured(..)
        | Observation::Symlink(_)
        | Observation::SameFile(..)
        | Observation::Attributes(_) => {
            return None;
        }
        Observation::Env(_) | Observation::EnvAll | Observation::Fact(_) => return None,
    })
}

/// The uses that observations stand for.
pub fn uses<'a>(observations: impl Iterator<Item = &'a Observation>) -> Vec<Use> {
    observations.filter_map(how).map(|(how, path)| Use { path: path.clone(), how, evidence: None }).collect()
}

/// What was noted of a name while it was used.
pub struct Noted {
    /// It was read as a file that was there.
    read: bool,
    /// It was not there at first, and came without the pip's doing.
    appeared: bool,
    /// It was there, and looked at.
    probed: bool,
    evidence: Evidence,
}

pub type ByName = FxHashMap<PathBytes, Noted>;

/// Takes what counts as evidence from the accesses of a pip.
pub fn evidence(a: &worker::recorder::Accesses) -> ByName {
    let one = |path: &PathBytes, r: &worker::record::Record| {
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
