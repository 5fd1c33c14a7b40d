//! Runs commands here: each in the process that waits for it, under the tracer.
//!
//! A job is *waiting* (for a slot, while its process is held in `execve`) → *running* (a scope of the tracer, see
//! [`super::scopes`]) → *held in its exit* ([`super::judge`]) → told. It may be *killed* in any of these, or
//! *withdrawn* while it runs, because it turns out to be a build tool. In each case its completion is called once, but
//! for a job that never began: its process was killed while it waited, or its `execve` failed after all.

use super::scopes::{Kind, Scopes, Writes};
use super::{Bypassed, Ended, Executor, Exit, Held, InProgress, Job, Rules, Running};
use crate::Recorder;
use crate::command::Limits;
use crate::drivers;
use crate::file_state::FileStates;
use crate::journal::Journal;
use crate::slots::Slots;
use crate::world::World;
use cache::{CacheHandle, FileStat, PathBytes};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tracer::{Access, ExecTicket, ExitTicket, Op, Scope};
use tracer::{Descriptors, Stdin};

/// What a local executor is given.
pub struct Setting {
    pub rules: Arc<dyn Rules>,
    /// Where outputs are collected, and contents are remembered from earlier runs.
    pub cache: Option<Arc<CacheHandle>>,
    /// What half-made outputs are noted in.
    pub journal: Option<Journal>,
    /// How many commands may really run at once.
    pub jobs: Option<usize>,
    /// What the descriptors above 2 were when `xl` was started.
    pub born: Vec<(i32, Vec<u8>)>,
    /// A directory that may be written to, to learn how fine the clock of its file system is.
    pub scratch: Option<std::path::PathBuf>,
    /// The key of digests of what may be a secret.
    pub key: [u8; 32],
    /// Is told when the cache could not take an output.
    pub trouble: Box<dyn Fn(&cache::Error) + Send + Sync>,
}

/// Runs commands under the tracer of this process.
pub struct Local {
    pub(super) rules: Arc<dyn Rules>,
    pub(super) cache: Option<Arc<CacheHandle>>,
    pub(super) files: FileStates,
    pub(super) journal: Option<Journal>,
    pub(super) slots: Option<Arc<Slots>>,
    pub(super) scopes: Scopes,
    pub(super) trouble: Box<dyn Fn(&cache::Error) + Send + Sync>,
    born: Vec<(i32, Vec<u8>)>,
    key: [u8; 32],
    next_scope: AtomicU32,
}

pub(super) fn micros(t: Instant) -> u64 {
    u64::try_from(t.elapsed().as_micros()).unwrap_or(u64::MAX)
}

impl Local {
    pub fn new(s: Setting) -> Self {
        let scratch: Vec<&std::path::Path> = s.scratch.as_deref().into_iter().collect();
        Self {
            files: FileStates::new(&scratch),
            rules: s.rules,
            cache: s.cache,
            journal: s.journal,
            slots: s.jobs.map(Slots::new),
            scopes: Scopes::default(),
            trouble: s.trouble,
            born: s.born,
            key: s.key,
            next_scope: AtomicU32::new(1),
        }
    }

    /// What is known of files.
    pub fn files(&self) -> &FileStates {
        &self.files
    }

    /// The in-flight journal is complete: the run is over.
    pub fn close(&self) {
        if let Some(j) = &self.journal {
            j.close();
        }
    }

    /// The world as a command with this environment, directory and limits sees it.
    pub fn world<'a>(&'a self, env: &'a [Vec<u8>], cwd: &'a [u8], limits: &'a Limits) -> World<'a> {
        World {
            files: &self.files,
            store: self.cache.as_ref().map(|c| &*c.store),
            key: &self.key,
            env,
            cwd,
            limits,
            pass: self.rules.pass(),
        }
    }

    /// Why the command of a held process cannot be cached, as far as that is known before it runs.
    pub fn obstacle(&self, t: &ExecTicket, d: &Descriptors, c: &tracer::Credentials) -> Option<String> {
        let by_rule = self.forbidden(&t.request.program.path, &t.request.argv).map(|why| format!("by rule: {why}"));
        by_rule.or_else(|| crate::obstacle::obstacle(&t.request, d, c, &self.born))
    }

    /// Why the user wants no result of this program, or of the script that it runs, to be stored.
    fn forbidden(&self, program: &[u8], argv: &[Vec<u8>]) -> Option<&str> {
        let mut names = std::iter::once(program).chain(crate::scripts::scripts_of(program, argv));
        names.find_map(|n| self.rules.uncached(n))
    }

    pub(super) fn number(&self) -> Scope {
        Scope(self.next_scope.fetch_add(1, Ordering::Relaxed))
    }

    fn new_scope(&self, kind: Kind) -> Scope {
        let s = self.number();
        self.scopes.insert(s, kind);
        s
    }

    fn run(&self, job: Job, held: Held) {
        let Held { ticket: t, descriptors: mut d } = held;
        let [input, output, error] = std::mem::take(&mut d.pipes);
        let live = matches!(d.stdin, Stdin::Live(_));
        let slot = self.slots.as_ref().map(|s| s.take(if live { input } else { Vec::new() }, &[output, error]));
        if t.request.process.has_ended() {
            // Killed while it waited.
            return;
        }
        let started = if slot.is_some() { Instant::now() } else { job.started };
        let pip = Arc::new(Running {
            command: job.command,
            recorder: Recorder::new(self.rules.root()),
            tap: Mutex::new(None),
            keep: job.keep,
            whole: job.whole,
            explain: job.explain,
            launch: job.launch,
            started,
            began: cache::file_stat::coarse_now(),
            stdin: match &d.stdin {
                Stdin::Regular { fd, .. } => fd.try_clone().ok(),
                _ => None,
            },
            inherited: std::mem::take(&mut d.others),
            slot: Mutex::new(slot),
            tools: Mutex::default(),
            writes: Writes::default(),
            done: Mutex::new(Some(job.done)),
        });
        self.executes(&pip, &t);
        // What the build tool wrote a moment ago (a response file) is seen now: a later change would show.
        self.files.seal();
        let scope = self.new_scope(Kind::Pip(pip.clone()));
        // Held until the tap is in place: the root's exit must not overtake it.
        let mut tap = pip.tap.lock().expect("tap");
        let process = t.request.process.clone();
        if crate::streams::minds_none(&pip.command.program, &pip.command.argv) {
            d.take_nowhere_for_a_pipe();
        }
        *tap = t.enter_captured(scope, &d);
        if tap.is_none() {
            pip.recorder.problem("its text could not be captured".into());
        }
        drop(tap);
        if process.has_ended() {
            // Killed before anybody knew that it was the root of a scope.
            self.killed(scope);
        }
    }

    /// Runs the command of a held process without lookup or capture; its writes are still seen.
    pub fn bypass(&self, t: ExecTicket, started: Instant, done: impl FnOnce(Bypassed) + Send + 'static) {
        let scope = self.new_scope(Kind::Bypassed(Arc::new(super::scopes::Passing {
            argv: t.request.argv.clone(),
            env: t.request.env.clone(),
            started,
            writes: Writes::default(),
            done: Mutex::new(Some(Box::new(done))),
        })));
        t.enter(scope, true);
    }

    /// An exec inside a pip: recorded.
    pub(super) fn executes(&self, pip: &Running, t: &ExecTicket) {
        let r = &t.request;
        if let Some(why) = self.forbidden(&r.program.path, &r.argv) {
            pip.recorder.problem(format!("by rule: {why}"));
        }
        if r.changes_rights() {
            let program = cache::shown(&r.program.path);
            pip.recorder.problem(format!("`{program}` has rights of its own (set-user-ID)"));
        }
        let interpreter = r.image.map(|i| &*r.interpreters[i].path);
        // The makefile is the compiler's own, and what else is in the directory of scratch files, which make lists, is
        // nobody's business.
        let parts = drivers::is_driver(&r.program.path, &r.argv, &[]) && pip.recorder.is_of_compiler(r.process.pid);
        let loader = r.interpreters.last().map(|l| &*l.path);
        pip.recorder.exec(r.process.pid, &r.program.path, (&r.argv, &r.env), interpreter, &r.cwd, loader);
        let is_installed = crate::places::is_installed(&r.program.path, self.rules.root());
        let known = crate::tools::find(&r.program.path).filter(|_| is_installed);
        if let Some(dir) = known.and_then(|k| k.own_cache(&r.argv, &r.env)) {
            pip.recorder.keeps_cache(r.process.pid, &crate::paths::resolved(&dir));
        }
        for path in std::iter::once(&r.program).chain(&r.interpreters) {
            if !self.rules.ignores(&path.path) {
                let image = Access { op: Op::Exec, path: path.clone(), call: "execve", late: None };
                let _ = pip.recorder.access(r.process.pid, &image);
            }
        }
        // The program itself always counts.
        if parts || self.rules.ignores_tool(&r.program.path) {
            pip.recorder.ignore(r.process.pid);
        }
    }

    /// The root of a scope is about to exit.
    pub fn root_exit(self: &Arc<Self>, t: ExitTicket) {
        match self.scopes.get(t.scope) {
            Kind::Driver => {}
            Kind::Pip(pip) => {
                let me = self.clone();
                t.later(move |t| {
                    let ran = me.judge(t, &pip);
                    pip.complete(Ended::Ran(Box::new(ran)));
                });
            }
            Kind::Bypassed(b) => {
                let wrote = b.writes.names();
                if t.survivors() > 0 {
                    self.hand_over(&b.writes);
                } else {
                    self.settle(&b.writes);
                }
                self.scopes.remove(t.scope);
                let done = b.done.lock().expect("completion").take();
                if let Some(done) = done {
                    let (code, wall_us) = (t.code, micros(b.started));
                    done(Bypassed { code, wall_us, wrote, exit: Exit::new(t, false) });
                }
            }
        }
    }

    /// The root of a scope is gone without having been let go. To be told twice does no harm.
    pub fn killed(&self, scope: Scope) {
        if let Some((p, wrote)) = self.withdraw(scope) {
            p.complete(Ended::Killed { started: p.started, wrote });
        }
    }

    /// The `execve` that started a scope failed after all: it never was a pip. The names that it announced are
    /// returned.
    pub fn never_began(&self, scope: Scope) -> Vec<PathBytes> {
        self.withdraw(scope).map(|(_, wrote)| wrote).unwrap_or_default()
    }

    /// Takes a pip out of the run without a result: its text is only forwarded, its slot is free.
    fn withdraw(&self, scope: Scope) -> Option<(Arc<Running>, Vec<PathBytes>)> {
        let Some(Kind::Pip(p)) = self.scopes.remove(scope) else { return None };
        let wrote = self.let_run(&p);
        self.journal_ended(scope);
        Some((p, wrote))
    }

    /// The pip launches pips itself: from here on it is part of the build tool.
    pub(super) fn demote(&self, scope: Scope, p: &Running) {
        self.scopes.insert(scope, Kind::Driver);
        let wrote = self.let_run(p);
        self.journal_ended(scope);
        p.complete(Ended::Driver { wrote });
    }

    /// Children of it may still write, and its capture goes on forwarding by itself.
    fn let_run(&self, p: &Running) -> Vec<PathBytes> {
        drop(p.tap.lock().expect("tap").take());
        drop(p.slot.lock().expect("slot").take());
        let wrote = p.writes.names();
        self.hand_over(&p.writes);
        wrote
    }

    /// Names that were announced as being written are at rest now.
    pub(super) fn settle(&self, writes: &Writes) {
        for (path, n) in writes.take() {
            self.files.settle(&path, n, FileStat::of(&path));
        }
    }

    /// Of these names nobody will say when they are at rest.
    pub(super) fn hand_over(&self, writes: &Writes) {
        for (path, n) in writes.take() {
            self.files.is_driver(&path, n);
        }
    }

    pub(super) fn journal_ended(&self, s: Scope) {
        if let Some(j) = &self.journal {
            j.ended(s.0);
        }
    }

    /// How many commands run now, and which has been running longest.
    pub fn running(&self) -> (usize, Option<InProgress>) {
        self.scopes.running()
    }
}

impl Executor for Local {
    fn submit(&self, mut job: Job) {
        // A command that nobody waits for has no process here to run in.
        let held = job.held.take().expect("a process that is held");
        self.run(job, held);
    }
}
