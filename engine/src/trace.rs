//! `xl trace`: what a command accesses, without caching.
//!
//! The recorder and the judge of outputs decide, as they do for a pip; this sorts what they found by name. What the end
//! of a pip makes of all names together (a look at what was replaced anyway, times, variables) is not told here.

use cache::{FileStat, Kind, Observation, PathBytes, shown};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tracer::StdinUse;
use tracer::{Access, Escape, ExecTicket, ExitTicket, Flow, Op, Scope, Supervisor};
use worker::command::Limits;
use worker::file_state::FileStates;
use worker::record::Record;
use worker::recorder::Recorder;
use worker::world::World;

/// Names by what was done to them. A name may be in several sets; what a command sees of its own doing is in none.
#[derive(Debug, Default, Serialize)]
pub struct Trace {
    /// Opened for reading, or executed.
    pub read: BTreeSet<String>,
    /// Read or probed before the command changed it.
    pub inputs: BTreeSet<String>,
    /// Looked at, never read.
    pub probed: BTreeSet<String>,
    /// Looked for, and not there.
    pub absent: BTreeSet<String>,
    pub listed: BTreeSet<String>,
    /// Links that were read or crossed.
    pub symlinks: BTreeSet<String>,
    /// Created or changed: outputs and temporaries.
    pub written: BTreeSet<String>,
    /// Created or changed, and there at the end.
    pub outputs: BTreeSet<String>,
    /// Created, and gone at the end.
    pub temps: BTreeSet<String>,
    pub deleted: BTreeSet<String>,
    /// Directories that were made, and are there at the end.
    pub directories: BTreeSet<String>,
    /// Facts of machine and process that were asked for, whether that matters or not.
    pub facts: BTreeSet<String>,
    /// Its words, without secrets.
    pub executed: Vec<Vec<String>>,
    /// What observation cannot describe.
    pub escapes: BTreeSet<String>,
    /// Why a pip that did the same could not be cached.
    pub problems: Vec<String>,
}

/// Records every access of every process, as those of one pip.
pub struct Tracer {
    recorder: Recorder,
    executed: Mutex<Vec<Vec<String>>>,
    escapes: Mutex<BTreeSet<String>>,
    facts: Mutex<BTreeSet<String>>,
    entered: AtomicBool,
    umask: u32,
}

/// A path for people: what follows a missing component may still hold `..`.
fn tidy(path: &[u8]) -> String {
    let mut out: Vec<&[u8]> = Vec::new();
    for c in path.split(|b| *b == b'/').filter(|c| !matches!(*c, b"" | b".")) {
        if c == b".." {
            out.pop();
        } else {
            out.push(c);
        }
    }
    format!("/{}", shown(&out.join(&b'/')))
}

impl Tracer {
    /// For a command in the workspace below `root`, with the file mode creation mask of this process.
    pub fn new(root: &[u8]) -> Self {
        // It cannot be asked for without being set (umask(2)); /proc tells it.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let umask = status.lines().find_map(|l| u32::from_str_radix(l.strip_prefix("Umask:")?.trim(), 8).ok());
        Self {
            recorder: Recorder::new(root),
            executed: Mutex::default(),
            escapes: Mutex::default(),
            facts: Mutex::default(),
            entered: AtomicBool::new(false),
            umask: umask.unwrap_or(0o22),
        }
    }

    /// What was recorded; call it when the command has ended.
    pub fn finish(&self) -> Trace {
        let mut a = self.recorder.take();
        let files = FileStates::new(&[]);
        let limits = Limits::own();
        let world = World { files: &files, store: None, key: &[0; 32], env: &[], cwd: b"/", limits, pass: &[] };
        let written = worker::outputs::written(&mut a, &world, self.umask);
        let mut t = Trace {
            executed: std::mem::take(&mut self.executed.lock().expect("programs")),
            escapes: std::mem::take(&mut self.escapes.lock().expect("escapes")),
            facts: std::mem::take(&mut self.facts.lock().expect("facts")),
            symlinks: a.links.keys().map(|l| shown(l)).collect(),
            ..Trace::default()
        };
        for (path, r) in &a.names {
            t.add(path, r);
        }
        for w in &written {
            let name = shown(&w.path);
            match w.state {
                None => _ = t.deleted.insert(name),
                Some(s) if s.is_dir() && !w.was_there => _ = t.directories.insert(name),
                Some(s) if s.is_dir() => {}
                Some(_) => {
                    t.outputs.insert(name.clone());
                    t.written.insert(name);
                }
            }
        }
        t.problems = std::mem::take(&mut a.problems);
        t
    }
}

impl Trace {
    /// Sorts one name by what was done to it, but for what became of it.
    fn add(&mut self, path: &PathBytes, r: &Record) {
        let name = shown(path);
        let probed = r.probed || r.soft_probe;
        match r.first {
            // What it made for itself and removed again.
            None if r.created && FileStat::of(path).is_none() => {
                self.temps.insert(name.clone());
                self.written.insert(name);
            }
            None if r.looked_first || probed || !r.created => _ = self.absent.insert(tidy(path)),
            None => {}
            Some(s) => {
                let (read, is_dir) = (r.read || r.executed, s.is_dir());
                if read && !is_dir {
                    self.read.insert(name.clone());
                } else if probed {
                    self.probed.insert(name.clone());
                }
                if r.listing.is_some() {
                    self.listed.insert(name.clone());
                }
                if s.kind == Kind::Symlink && probed {
                    self.symlinks.insert(name.clone());
                }
                if (read || probed) && !is_dir {
                    self.inputs.insert(name);
                }
            }
        }
    }
}

impl Supervisor for Tracer {
    fn exec(&self, t: ExecTicket) {
        let r = &t.request;
        let pid = r.process.pid;
        let interpreter = r.image.map(|i| &*r.interpreters[i].path);
        let loader = r.interpreters.last().map(|l| &*l.path);
        self.recorder.exec(pid, &r.program.path, (&r.argv, &r.env), interpreter, &r.cwd, loader);
        for path in std::iter::once(&r.program).chain(&r.interpreters) {
            let image = Access { op: Op::Exec, path: path.clone(), call: "execve", late: None };
            let _ = self.recorder.access(pid, &image);
        }
        self.executed.lock().expect("programs").push(crate::redact::redact(&r.argv, &r.env));
        if self.entered.swap(true, Ordering::AcqRel) {
            t.proceed();
        } else {
            // From the first program on.
            t.enter(Scope::DRIVER, false);
        }
    }

    fn access(&self, _: Scope, pid: i32, a: &Access) -> Flow {
        self.recorder.access(pid, a).map_or(Flow::Go, Flow::After)
    }

    fn fact(&self, _: Scope, _: i32, f: tracer::Fact) {
        let asked = Observation::Fact(worker::fact_of(f)).describe();
        self.facts.lock().expect("facts").insert(asked);
    }

    fn stdin(&self, _: Scope, pid: i32, how: StdinUse, live: bool) {
        self.recorder.stdin(pid, how, live);
    }

    fn forked(&self, _: Scope, parent: i32, child: i32) {
        self.recorder.forked(parent, child);
    }

    fn escape(&self, _: Option<Scope>, e: Escape) {
        self.recorder.problem(e.to_string());
        self.escapes.lock().expect("escapes").insert(e.to_string());
    }

    fn root_exit(&self, _: ExitTicket) {}
    fn root_killed(&self, _: Scope) {}
    fn exec_failed(&self, _: Scope) {}

    fn observes_reads(&self, _: Scope) -> bool {
        true
    }
}
