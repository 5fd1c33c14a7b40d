//! What a scope of the tracer stands for, and what becomes of its calls.
//!
//! *Driver* (a build tool: launches pips; only its writes matter) · *pip* (observed; it may turn out to be a driver) ·
//! *bypassed* (neither looked up nor observed; only its writes matter). A name that is being collected as somebody's
//! output is *at its gate*: whoever writes it waits until its collector is done.

use super::local::Local;
use super::{Bypassed, InProgress, Running};
use crate::drivers;
use cache::PathBytes;
use rustc_hash::FxHashMap;
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::Instant;
use tracer::StdinUse;
use tracer::{Access, Escape, ExecTicket, Flow, Op, Scope};

/// How often each name was announced as about to be written.
#[derive(Debug, Default)]
pub(crate) struct Writes(Mutex<FxHashMap<PathBytes, u32>>);

impl Writes {
    fn count(&self, path: &PathBytes) {
        *self.0.lock().expect("writes").entry(path.clone()).or_insert(0) += 1;
    }

    pub(super) fn of(&self, path: &PathBytes) -> u32 {
        self.0.lock().expect("writes").get(path).copied().unwrap_or(0)
    }

    pub(super) fn names(&self) -> Vec<PathBytes> {
        self.0.lock().expect("writes").keys().cloned().collect()
    }

    pub(super) fn take(&self) -> FxHashMap<PathBytes, u32> {
        std::mem::take(&mut *self.0.lock().expect("writes"))
    }
}

/// Is told that a bypassed command has ended.
pub(super) type Passed = Box<dyn FnOnce(Bypassed) + Send>;

/// A bypassed command while it runs.
pub(super) struct Passing {
    pub(super) argv: Vec<Vec<u8>>,
    pub(super) env: Vec<Vec<u8>>,
    pub(super) started: Instant,
    pub(super) writes: Writes,
    pub(super) done: Mutex<Option<Passed>>,
}

/// What a scope stands for.
#[derive(Clone)]
pub(super) enum Kind {
    Driver,
    Pip(Arc<Running>),
    Bypassed(Arc<Passing>),
}

/// What a scope stands for, for whoever only has to know that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Driver,
    Pip,
    Bypassed,
}

type Gate = Arc<(Mutex<bool>, Condvar)>;

/// All scopes of a run, and the names that are being collected.
#[derive(Default)]
pub(super) struct Scopes {
    all: RwLock<FxHashMap<Scope, Kind>>,
    /// Outputs of pips that have ended and are not collected yet: writers wait.
    collecting: Mutex<FxHashMap<PathBytes, Gate>>,
}

impl Scopes {
    pub(super) fn get(&self, s: Scope) -> Kind {
        self.all.read().expect("scopes").get(&s).cloned().unwrap_or(Kind::Driver)
    }

    pub(super) fn insert(&self, s: Scope, kind: Kind) {
        self.all.write().expect("scopes").insert(s, kind);
    }

    pub(super) fn remove(&self, s: Scope) -> Option<Kind> {
        self.all.write().expect("scopes").remove(&s)
    }

    pub(super) fn running(&self) -> (usize, Option<InProgress>) {
        let all = self.all.read().expect("scopes");
        let runs = all.values().filter_map(|k| match k {
            Kind::Driver => None,
            Kind::Pip(p) => Some((p.started, &p.command.argv, &p.command.env)),
            Kind::Bypassed(b) => Some((b.started, &b.argv, &b.env)),
        });
        let runs: Vec<_> = runs.collect();
        let copy = |(since, argv, env): &(Instant, &Vec<Vec<u8>>, &Vec<Vec<u8>>)| InProgress {
            since: *since,
            argv: (*argv).clone(),
            env: (*env).clone(),
        };
        let longest = runs.iter().min_by_key(|r| r.0).map(copy);
        (runs.len(), longest)
    }

    /// Whoever writes one of these names waits until the result is dropped.
    pub(super) fn hold(&self, paths: impl Iterator<Item = PathBytes>) -> Gated<'_> {
        let gate: Gate = Arc::default();
        let paths: Vec<PathBytes> = paths.collect();
        let mut all = self.collecting.lock().expect("collecting");
        for p in &paths {
            all.insert(p.clone(), gate.clone());
        }
        drop(all);
        Gated { scopes: self, gate, paths }
    }

    fn wait_for(&self, path: &[u8]) -> Option<Box<dyn FnOnce() + Send>> {
        let gate = self.collecting.lock().expect("collecting").get(path).cloned()?;
        Some(Box::new(move || {
            let mut open = gate.0.lock().expect("gate");
            while !*open {
                open = gate.1.wait(open).expect("gate");
            }
        }))
    }
}

/// Names whose writers wait until this is dropped.
pub(super) struct Gated<'a> {
    scopes: &'a Scopes,
    gate: Gate,
    paths: Vec<PathBytes>,
}

impl Drop for Gated<'_> {
    fn drop(&mut self) {
        let mut all = self.scopes.collecting.lock().expect("collecting");
        self.paths.iter().for_each(|p| drop(all.remove(p)));
        drop(all);
        *self.gate.0.lock().expect("gate") = true;
        self.gate.1.notify_all();
    }
}

/// What an exec inside a pip means.
pub enum Inside {
    /// It belongs to the pip, and goes on.
    Goes(ExecTicket),
    /// It is a build tool, which belongs to the pip unless it launches something worth caching.
    Tool(ExecTicket),
    /// A build tool inside the pip has launched a command that is worth caching, or who starts one command after
    /// another a compiler: the pip was one of the build's drivers all along, and this is a command of it.
    Launched(ExecTicket),
}

impl Local {
    pub fn role(&self, s: Scope) -> Role {
        match self.scopes.get(s) {
            Kind::Driver => Role::Driver,
            Kind::Pip(_) => Role::Pip,
            Kind::Bypassed(_) => Role::Bypassed,
        }
    }

    /// The tag that the job of this scope was given; `None`: it is no pip.
    pub fn launch(&self, s: Scope) -> Option<usize> {
        if let Kind::Pip(p) = self.scopes.get(s) { p.launch } else { None }
    }

    /// An exec inside a pip. `drivers` are the user's own build tools; `splits`: may the pip turn out to be a driver?
    pub fn inside(&self, t: ExecTicket, drivers: &[String], splits: bool) -> Inside {
        let pip = match self.scopes.get(t.request.scope) {
            Kind::Pip(pip) => pip,
            // Another process of it has just shown that it is one.
            Kind::Driver => return Inside::Launched(t),
            Kind::Bypassed(_) => return Inside::Goes(t),
        };
        let r = &t.request;
        let (pid, scope) = (r.process.pid, r.scope);
        let mut inner = pip.tools.lock().expect("tools");
        // gcc runs a make of its own for the parts of a link (`-flto=auto`, in `lto-wrapper.cc`).
        // What a configure step launches is inside it.
        let is_tool = drivers::is_driver(&r.program.path, &r.argv, drivers)
            && !pip.recorder.is_of_compiler(pid)
            && !pip.recorder.is_configuring(pid);
        let is_handed_out = || pip.recorder.is_handed_out(pid) && drivers::compiles(&r.program.path, &r.argv);
        let mut began = false;
        if is_tool {
            began = !drivers::only_asks(&r.argv);
            if began {
                inner.insert(pid);
            }
        } else if splits
            && !pip.whole
            && (is_handed_out()
                || drivers::worth_caching(&r.program.path, &r.argv)
                    && (inner.contains(&pid) || inner.contains(&r.process.parent().unwrap_or(0))))
        {
            drop(inner);
            self.demote(scope, &pip);
            return Inside::Launched(t);
        }
        drop(inner);
        self.executes(&pip, &t);
        if began { Inside::Tool(t) } else { Inside::Goes(t) }
    }

    /// An access that nobody forbids. The call waits for whoever collects the name, and for the hash of what it
    /// destroys.
    pub fn access(&self, scope: Scope, pid: i32, access: &Access) -> Flow {
        let kind = self.scopes.get(scope);
        let path = &access.path.path;
        let mut jobs: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        if access.op.writes() {
            self.announce(scope, &kind, access);
            jobs.extend(self.scopes.wait_for(path));
        }
        if let Kind::Pip(p) = &kind {
            if self.slots.is_some()
                && access.path.file_type() == Some(tracer::FileType::Fifo)
                && let Some(s) = &mut *p.slot.lock().expect("slot")
            {
                s.lend();
            }
            if !self.rules.ignores(path) {
                jobs.extend(p.recorder.access(pid, access));
            }
        }
        if jobs.is_empty() { Flow::Go } else { Flow::After(Box::new(move || jobs.into_iter().for_each(|j| j()))) }
    }

    /// Somebody is about to write a name.
    fn announce(&self, scope: Scope, kind: &Kind, access: &Access) {
        let path = &access.path.path;
        match kind {
            Kind::Driver => self.files.written_by_driver(path),
            Kind::Bypassed(b) => {
                self.files.writing(path, scope.0);
                b.writes.count(path);
            }
            Kind::Pip(p) => {
                self.files.writing(path, scope.0);
                p.writes.count(path);
                if matches!(self.scopes.get(scope), Kind::Driver) {
                    // It has become one meanwhile, and nobody settles this any more.
                    self.hand_over(&p.writes);
                }
                let creates = matches!(access.op, Op::OpenWrite { .. } | Op::Create { .. });
                let below = |p: &[u8]| p.strip_prefix(self.rules.root()).is_some_and(|r| r.first() == Some(&b'/'));
                if let Some(j) = self.journal.as_ref().filter(|_| creates && access.path.state.is_none() && below(path))
                {
                    j.creates(scope.0, path);
                }
            }
        }
    }

    pub fn fact(&self, scope: Scope, pid: i32, fact: tracer::Fact) {
        if let Kind::Pip(p) = self.scopes.get(scope) {
            p.recorder.fact(pid, crate::fact_of(fact));
        }
    }

    pub fn stdin(&self, scope: Scope, pid: i32, how: StdinUse, live: bool) {
        if let Kind::Pip(p) = self.scopes.get(scope) {
            p.recorder.stdin(pid, how, live);
        }
    }

    pub fn forked(&self, scope: Scope, parent: i32, child: i32) {
        if let Kind::Pip(p) = self.scopes.get(scope) {
            p.recorder.forked(parent, child);
        }
    }

    /// Observation of a scope is incomplete; `None`: nobody knows whose.
    pub fn escape(&self, scope: Option<Scope>, escape: &Escape) {
        use tracer::EscapeKind::{Namespace, Unreadable};
        // From here on the names that some process uses may not be the names that we know; or a call was made of which
        // nobody knows what it changes.
        if matches!(escape.kind, Namespace | Unreadable) {
            self.files.distrust();
        }
        match scope {
            Some(s) => {
                if let Kind::Pip(p) = self.scopes.get(s) {
                    p.recorder.problem(escape.to_string());
                }
            }
            None => {
                for k in self.scopes.all.read().expect("scopes").values() {
                    if let Kind::Pip(p) = k {
                        p.recorder.problem(escape.to_string());
                    }
                }
            }
        }
    }
}
