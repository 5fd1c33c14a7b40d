//! A run: each exec of the build becomes driver, pip, hit or bypassed command; each end of a pip a publication.
//!
//! Receiving threads only classify. Fingerprints, lookups, restores, hashing and publication run on the tracer's
//! pool while the task stays blocked. A failure of the cache degrades to running the command, with one warning.

use crate::config::Config;
use crate::file_state::FileStates;
use crate::journal::Journal;
use crate::lookup::{self, Reason};
use crate::pip::{Bypassed, Pip, ScopeKind, Static};
use crate::policy;
use crate::record::{BuildRecord, Bytes, Item, Outcome, one_line, redact};
use crate::weak;
use crate::world::World;
use cache::entry::{INLINE_TEXT, TextContent};
use cache::store::{Access as StoreAccess, History};
use cache::{Cas, Digest, Entry, FileStat, PathBytes, PathSet, Store, Text, collect, materialise};
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::Instant;
use tracer::request::{Descriptors, FdKind, Stdin};
use tracer::{Access, Chunk, Escape, ExecTicket, ExitTicket, Flow, Process, Scope, Stream, Supervisor};
use worker::Recorder;
use worker::finish::{self, Context};

/// What the root command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A build tool: each command that it launches is a pip.
    Build,
    /// One pip.
    Single,
}

/// Switches of a run.
#[derive(Clone, Debug)]
pub struct Switches {
    pub mode: Mode,
    pub read: bool,
    pub write: bool,
    /// What the descriptors above 2 were when `xl` was started, from [`tracer::inherited`].
    pub inherited: Vec<Vec<u8>>,
}

/// The cache of a run, if it could be opened.
pub struct CacheHandle {
    pub store: Store,
    pub cas: Cas,
}

type Gate = Arc<(Mutex<bool>, Condvar)>;

/// Names whose writers wait until this is dropped.
struct Held<'a> {
    engine: &'a Engine,
    gate: Gate,
    paths: Vec<PathBytes>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut all = self.engine.collecting.lock().expect("collecting");
        self.paths.iter().for_each(|p| drop(all.remove(p)));
        drop(all);
        *self.gate.0.lock().expect("gate") = true;
        self.gate.1.notify_all();
    }
}

/// The decisions of one run.
pub struct Engine {
    config: Config,
    switches: Switches,
    cache: Option<CacheHandle>,
    files: FileStates,
    journal: Option<Journal>,
    no_key: [u8; 32],
    /// Pipes and sockets that were open when `xl` was started.
    inherited: Vec<Vec<u8>>,
    meaning: Vec<u8>,
    scopes: RwLock<FxHashMap<Scope, ScopeKind>>,
    /// Outputs of pips that have ended and are not collected yet: writers wait.
    collecting: Mutex<FxHashMap<PathBytes, Gate>>,
    next_scope: AtomicU32,
    root_seen: AtomicBool,
    started: Instant,
    items: Mutex<Vec<Item>>,
    used: Mutex<Vec<Digest>>,
    warnings: Mutex<Vec<String>>,
    restored: AtomicU64,
    stored: AtomicU64,
    saved_us: AtomicU64,
    progress: Box<dyn Fn(&Item) + Send + Sync>,
}

fn text(b: &[u8]) -> String {
    String::from_utf8_lossy(b).into_owned()
}

fn micros(t: Instant) -> u64 {
    u64::try_from(t.elapsed().as_micros()).unwrap_or(u64::MAX)
}

impl Engine {
    /// `progress` is told of every pip as it ends.
    pub fn new(config: Config, switches: Switches, cache: Option<CacheHandle>, progress: Box<dyn Fn(&Item) + Send + Sync>) -> Self {
        let writable = cache.as_ref().is_some_and(|c| c.store.access() != StoreAccess::ReadOnly);
        let mut warnings = Vec::new();
        let journal = writable.then(|| {
            let (j, removed) = Journal::open(&config.cache_dir);
            if removed > 0 {
                warnings.push(format!("removed {removed} half-made outputs of an interrupted run"));
            }
            j
        });
        let meaning = config.meaning();
        let files = FileStates::new(&if writable { vec![config.cache_dir.as_path()] } else { vec![] });
        Self {
            config,
            switches: Switches { write: switches.write && writable, inherited: Vec::new(), ..switches },
            cache,
            files,
            journal,
            no_key: [0; 32],
            inherited: switches.inherited,
            meaning,
            scopes: RwLock::default(),
            collecting: Mutex::default(),
            next_scope: AtomicU32::new(1),
            root_seen: AtomicBool::new(false),
            started: Instant::now(),
            items: Mutex::default(),
            used: Mutex::default(),
            warnings: Mutex::new(warnings),
            restored: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            saved_us: AtomicU64::new(0),
            progress,
        }
    }

    fn kind(&self, s: Scope) -> ScopeKind {
        self.scopes.read().expect("scopes").get(&s).cloned().unwrap_or(ScopeKind::Driver)
    }

    fn warn(&self, w: String) {
        let mut all = self.warnings.lock().expect("warnings");
        if !all.contains(&w) && all.len() < 20 {
            all.push(w);
        }
    }

    fn world<'a>(&'a self, env: &'a [Vec<u8>], cwd: &'a [u8]) -> World<'a> {
        World {
            files: &self.files,
            store: self.cache.as_ref().map(|c| &c.store),
            key: self.cache.as_ref().map_or(&self.no_key, |c| c.store.key()),
            env,
            cwd,
            pass: &self.config.pass,
        }
    }

    fn new_scope(&self, kind: ScopeKind) -> Scope {
        let s = Scope(self.next_scope.fetch_add(1, Ordering::Relaxed));
        self.scopes.write().expect("scopes").insert(s, kind);
        s
    }

    fn push(&self, item: Item) {
        (self.progress)(&item);
        self.items.lock().expect("items").push(item);
    }

    fn history(&self, command: &Digest) -> History {
        self.cache.as_ref().and_then(|c| c.store.history(command)).unwrap_or_default()
    }

    fn put_history(&self, command: &Digest, h: &History) {
        if let Some(c) = &self.cache
            && self.switches.write
            && let Err(e) = c.store.put_history(command, h)
        {
            self.warn(format!("the history cannot be kept: {e}"));
        }
    }

    // ---- before a command runs ----

    /// An exec by a driver: the start of a pip.
    fn start(self: &Arc<Self>, t: ExecTicket) {
        let command = weak::command_key(&t.request);
        let h = self.history(&command);
        if h.driver {
            return t.proceed();
        }
        let started = Instant::now();
        if self.switches.mode == Mode::Build && policy::is_cheap(&h, &t.request.program.path) {
            return self.bypass(t, command, Reason::Cheap, started);
        }
        let Some((d, c)) = t.request.descriptors().zip(t.request.credentials()) else {
            return self.bypass(t, command, Reason::Uncacheable { why: "its process cannot be looked into".into() }, started);
        };
        let r = &t.request;
        let world = self.world(&r.env, &r.cwd);
        let weak = match self.obstacle(&t, &d) {
            Some(why) => Err(why),
            None => weak::weak_fingerprint(r, &d, &c, &world, &self.meaning),
        };
        let mut fixed = Static {
            weak: weak.as_ref().ok().copied(),
            command,
            program: r.program.path.to_vec(),
            argv: r.argv.clone(),
            env: r.env.clone(),
            cwd: r.cwd.clone(),
            umask: c.umask,
        };
        let reason = match (weak, &self.cache) {
            (Err(why), _) => Reason::Uncacheable { why },
            (Ok(w), Some(cache)) if self.switches.read => match lookup::lookup(&w, &cache.store, &cache.cas, &world) {
                Ok(Ok(found)) => return self.serve(t, d, found, fixed, started),
                Ok(Err(reason)) => reason,
                Err(e) => {
                    self.warn(format!("a lookup failed, the command runs: {e}"));
                    fixed.weak = None;
                    Reason::Disabled
                }
            },
            (Ok(_), _) => Reason::Disabled,
        };
        self.run_pip(t, &d, fixed, reason, started);
    }

    /// What makes a command uncacheable before it starts.
    fn obstacle(&self, t: &ExecTicket, d: &Descriptors) -> Option<String> {
        let r = &t.request;
        if let Some(why) = self.config.uncached(&r.program.path) {
            return Some(format!("by rule: {why}"));
        }
        if let (FdKind::Regular { dev, ino, .. }, FdKind::Regular { dev: d2, ino: i2, .. }) = (&d.stdout.kind, &d.stderr.kind)
            && (dev, ino) == (d2, i2)
            && !d.shared
        {
            return Some("its standard output and error are one file, opened twice".into());
        }
        let job_server = r.env.iter().any(|v| {
            use bstr::ByteSlice;
            (v.starts_with(b"MAKEFLAGS=") || v.starts_with(b"CARGO_MAKEFLAGS=")) && v.contains_str("--jobserver")
        });
        // ninja leaves a pipe open in its console jobs, to learn of their end.
        let console = || r.process.parent_name().is_some_and(|n| matches!(&n[..], b"ninja" | b"samu"));
        for (fd, link) in &d.others {
            let pipe = link.starts_with(b"pipe:") || link.starts_with(b"/dev/fd/");
            let terminal =
                matches!(&link[..], b"/dev/null" | b"/dev/tty") || link.starts_with(b"/dev/pts/") || link.starts_with(b"/dev/tty");
            // What `xl` itself was born with belongs to whoever called it, not to the build.
            let ours = link.first() != Some(&b'/') && self.inherited.contains(link);
            if !(terminal || ours || pipe && (job_server || console())) {
                return Some(format!("it inherits descriptor {fd} (`{}`)", text(link)));
            }
        }
        None
    }

    fn run_pip(self: &Arc<Self>, t: ExecTicket, d: &Descriptors, fixed: Static, reason: Reason, started: Instant) {
        let pip = Arc::new(Pip {
            fixed,
            recorder: Recorder::default(),
            tap: Mutex::new(None),
            reason,
            started,
            began: cache::file_stat::coarse_now(),
            stdin: match &d.stdin {
                Stdin::Regular { fd, .. } => fd.try_clone().ok(),
                _ => None,
            },
            inner_drivers: Mutex::default(),
            writes: Mutex::default(),
        });
        self.note_exec(&pip, &t);
        let scope = self.new_scope(ScopeKind::Pip(pip.clone()));
        // Held until the tap is in place: the root's exit must not overtake it.
        let mut tap = pip.tap.lock().expect("tap");
        *tap = t.enter_captured(scope, d);
        if tap.is_none() {
            pip.recorder.problem("its text could not be captured".into());
        }
    }

    /// Runs a command without lookup or capture; its writes are still seen.
    fn bypass(&self, t: ExecTicket, command: Digest, reason: Reason, started: Instant) {
        let b = Bypassed {
            command,
            program: t.request.program.path.to_vec(),
            argv: t.request.argv.clone(),
            cwd: t.request.cwd.clone(),
            started,
            reason,
            writes: Mutex::default(),
        };
        let scope = self.new_scope(ScopeKind::Bypassed(Arc::new(b)));
        t.enter(scope, true);
    }

    /// A hit: outputs and text are put back, and the command never starts.
    fn serve(self: &Arc<Self>, t: ExecTicket, d: Descriptors, found: lookup::Found, fixed: Static, started: Instant) {
        let cache = self.cache.as_ref().expect("a hit comes from a cache");
        let e = &found.entry;
        let texts: Result<Vec<Chunk>, cache::Error> = e
            .text
            .iter()
            .map(|x| {
                let bytes = match &x.content {
                    TextContent::Inline(b) => b.clone(),
                    TextContent::Blob(d) => cache.cas.read(d)?,
                };
                Ok(Chunk { stream: if x.stream == 2 { Stream::Err } else { Stream::Out }, bytes })
            })
            .collect();
        let restored = texts.and_then(|texts| {
            for o in &e.outputs {
                self.files.writing(&o.path);
            }
            let r = materialise::restore(&cache.cas, &e.outputs);
            for (i, o) in e.outputs.iter().enumerate() {
                let state = r.as_ref().ok().and_then(|r| r.states[i]).or_else(|| FileStat::of(&o.path));
                self.files.settle(&o.path, 1, state);
                if let (Ok(_), Some(s), cache::OutputKind::File { digest, size, .. }) = (&r, state, &o.kind) {
                    self.files.know(&s, cache::digest::Content { digest: *digest, size: *size, time_macros: false });
                }
            }
            Ok((r?, texts))
        });
        let (r, texts) = match restored {
            Ok(x) => x,
            Err(err) => {
                if matches!(err, cache::Error::Corrupt { .. }) {
                    self.warn(format!("{err}; it was dropped, and the command runs"));
                } else {
                    self.warn(format!("a result could not be restored, the command runs: {err}"));
                }
                return self.run_pip(t, &d, fixed, Reason::RestoreFailed { why: err.to_string() }, started);
            }
        };
        if let (Stdin::Regular { fd, .. }, Some(end)) = (&d.stdin, e.stdin_end) {
            // The description is shared: what the command would have consumed is consumed.
            let _ = rustix::fs::seek(fd, rustix::fs::SeekFrom::Start(end));
        }
        self.restored.fetch_add(r.bytes, Ordering::Relaxed);
        let item = self.item(&fixed.argv, &fixed.cwd, Outcome::Hit, None, started, e.exit_code, e);
        if let Err(failed) = t.hit(e.exit_code, &texts, Some(&d)) {
            let (why, t) = *failed;
            self.warn(format!("a hit could not be served: {why}"));
            return self.run_pip(t, &d, fixed, Reason::RestoreFailed { why: why.to_string() }, started);
        }
        self.saved_us.fetch_add(e.wall_us, Ordering::Relaxed);
        self.used.lock().expect("used").push(found.strong);
        self.push(item);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of an item")]
    fn item(&self, argv: &[Vec<u8>], cwd: &[u8], outcome: Outcome, reason: Option<Reason>, started: Instant, code: i32, e: &Entry) -> Item {
        let argv = redact(argv);
        let start = started.duration_since(self.started).as_secs_f64() * 1e3;
        Item {
            id: 0,
            command: one_line(&argv),
            argv,
            cwd: text(cwd),
            outcome,
            reason,
            not_stored: None,
            outputs: e.outputs.iter().map(|o| text(&o.path)).collect(),
            wall_ms: micros(started) as f64 / 1e3,
            saved_ms: if outcome == Outcome::Hit { e.wall_us as f64 / 1e3 } else { 0.0 },
            exit_code: code,
            start_ms: start,
        }
    }

    /// An exec inside a pip: recorded, and perhaps the sign that the pip is a driver.
    fn inside(self: &Arc<Self>, t: ExecTicket, pip: &Arc<Pip>) {
        let r = &t.request;
        let pid = r.process.pid;
        let mut inner = pip.inner_drivers.lock().expect("inner");
        if policy::is_driver(&r.program.path, &r.argv, &self.config.drivers) {
            if !policy::only_asks(&r.argv) {
                inner.insert(pid);
            }
        } else if self.switches.mode == Mode::Build && !inner.is_empty() && policy::worth_caching(&r.program.path, &r.argv) {
            let parent = r.process.parent().unwrap_or(0);
            if inner.contains(&pid) || inner.contains(&parent) {
                drop(inner);
                let scope = r.scope;
                return self.demote(t, scope, pip);
            }
        }
        drop(inner);
        self.note_exec(pip, &t);
        t.proceed();
    }

    fn note_exec(&self, pip: &Pip, t: &ExecTicket) {
        let r = &t.request;
        pip.recorder.exec(r.process.pid, &r.program.path, &r.argv, r.image.is_some(), &r.cwd);
        for path in std::iter::once(&r.program).chain(&r.interpreters) {
            if !self.config.ignores(&path.path) {
                let _ = pip.recorder.access(&r.process, &Access { op: tracer::Op::Exec, path: path.clone(), call: "execve" });
            }
        }
    }

    /// The pip launches pips itself: from here on it is a driver, now and in later runs.
    fn demote(self: &Arc<Self>, t: ExecTicket, scope: Scope, pip: &Arc<Pip>) {
        self.scopes.write().expect("scopes").insert(scope, ScopeKind::Driver);
        let h = History { driver: true, ..self.history(&pip.fixed.command) };
        self.put_history(&pip.fixed.command, &h);
        // A driver's writes are never settled: its names are looked at afresh for the rest of the run.
        pip.writes.lock().expect("writes").clear();
        self.journal_ended(scope);
        // The capture goes on forwarding by itself.
        drop(pip.tap.lock().expect("tap").take());
        self.exec_by_driver(t);
    }

    fn exec_by_driver(self: &Arc<Self>, t: ExecTicket) {
        let r = &t.request;
        if policy::is_driver(&r.program.path, &r.argv, &self.config.drivers) {
            return t.enter(Scope::DRIVER, false);
        }
        let me = self.clone();
        t.later(move |t| me.start(t));
    }

    fn journal_ended(&self, s: Scope) {
        if let Some(j) = &self.journal {
            j.ended(s.0);
        }
    }

    // ---- after it ran ----

    /// The root of a pip is held in its exit: collect, judge, publish, let go.
    fn finish(&self, t: ExitTicket, pip: &Arc<Pip>) {
        let wall_us = micros(pip.started);
        let (scope, code) = (t.scope, t.code);
        if t.survivors() > 0 {
            pip.recorder.problem("a process that it started outlives it".into());
        }
        let tap = pip.tap.lock().expect("tap").take();
        let texts = match tap.map(tracer::Tap::finish) {
            Some(Ok(v)) => v,
            Some(Err(why)) => {
                pip.recorder.problem(why.0.to_owned());
                Vec::new()
            }
            None => Vec::new(),
        };
        let mut accesses = pip.recorder.take();
        let ran_toolchain = accesses.programs.iter().any(|p| policy::is_toolchain(&p.path));
        let world = self.world(&pip.fixed.env, &pip.fixed.cwd);
        let written = finish::written(&mut accesses, &world, pip.fixed.umask);
        let store = code == 0 || self.config.failures;
        let collectable = self.switches.write && store && pip.fixed.weak.is_some() && accesses.problems.is_empty();
        let held = self.hold(written.iter().map(|w| w.path.clone()));
        let mut outputs = Vec::new();
        if let Some(cache) = self.cache.as_ref().filter(|_| collectable) {
            match collect::collect(&cache.cas, written.clone(), pip.began) {
                Ok(c) => outputs = c,
                Err(e) => {
                    if let collect::CollectError::Cache(e) = &e {
                        self.cache_trouble(e);
                    }
                    accesses.problem(e.to_string());
                }
            }
        }
        for c in &outputs {
            if let (Some(s), Some(content)) = (&c.state, &c.content) {
                self.files.know(s, *content);
            }
        }
        self.settle(&pip.writes);
        let c = Context { env: &pip.fixed.env, pass: &self.config.pass, track: &self.config.track };
        let done = finish::finish(accesses, written, &world, &c);
        drop(held);
        self.journal_ended(scope);
        self.scopes.write().expect("scopes").remove(&scope);
        let mut problem = match &pip.reason {
            Reason::Uncacheable { why } => Some(why.clone()),
            _ => done.problems.first().cloned(),
        };
        let entry = Entry {
            exit_code: code,
            outputs: outputs.into_iter().map(|c| c.output).collect(),
            text: Vec::new(),
            stdin_end: pip.stdin.as_ref().and_then(|f| rustix::fs::tell(f).ok()),
            wall_us,
            cpu_us: 0,
            created: cache::store::now(),
        };
        let mut item = self.item(&pip.fixed.argv, &pip.fixed.cwd, Outcome::Miss, Some(pip.reason.clone()), pip.started, code, &entry);
        item.outputs = done.written.iter().map(|w| text(&w.path)).collect();
        if collectable && problem.is_none() {
            problem = self.publish(pip, entry, &texts, &done).err();
        }
        self.remember(pip, wall_us, code, ran_toolchain);
        // Everything that the next command may look at is settled: the parent may go on.
        drop(t);
        if let Some(why) = problem {
            item.not_stored = Some(why);
            item.outcome = Outcome::Uncacheable;
        } else if !store {
            item.outcome = Outcome::Failed;
            item.not_stored = Some(Reason::Failed { code }.to_string());
        }
        self.push(item);
    }

    fn publish(&self, pip: &Pip, mut entry: Entry, texts: &[Chunk], done: &finish::Finished) -> Result<(), String> {
        let (Some(cache), Some(weak)) = (&self.cache, &pip.fixed.weak) else { return Ok(()) };
        let trouble = |e: &cache::Error| {
            self.cache_trouble(e);
            e.to_string()
        };
        for c in texts {
            let content = if c.bytes.len() <= INLINE_TEXT {
                TextContent::Inline(c.bytes.clone())
            } else {
                TextContent::Blob(cache.cas.import_bytes(&c.bytes).map_err(|e| trouble(&e))?)
            };
            entry.text.push(Text { stream: if c.stream == Stream::Err { 2 } else { 1 }, content });
        }
        let (observations, values): (Vec<_>, Vec<_>) =
            done.observations.iter().filter(|(o, _)| !o.path().is_some_and(|p| self.config.ignores(p))).cloned().unzip();
        let set = PathSet::new(observations);
        if set.observations().len() != values.len() {
            return Err("its observations contradict each other".into());
        }
        let (_, digest) = set.encode().map_err(|e| trouble(&e))?;
        let strong = cache::path_set::strong_fingerprint(weak, &digest, &values);
        let earlier = cache.store.publish(&cache.cas, weak, &set, &strong, &values, &entry).map_err(|e| trouble(&e))?;
        if let Some(e) = earlier
            && !e.same_result(&entry)
        {
            let names: Vec<String> =
                entry.outputs.iter().filter(|o| !e.outputs.contains(o)).map(|o| format!("`{}`", text(&o.path))).collect();
            self.warn(format!(
                "not deterministic: `{}` made {} anew with other content",
                one_line(&redact(&pip.fixed.argv)),
                names.join(", ")
            ));
        }
        self.stored.fetch_add(entry.bytes(), Ordering::Relaxed);
        Ok(())
    }

    fn cache_trouble(&self, e: &cache::Error) {
        if e.is_full() {
            self.warn("the disk of the cache is full: results are not stored, the build goes on".into());
        } else {
            self.warn(format!("a result could not be stored, the build goes on: {e}"));
        }
    }

    fn remember(&self, pip: &Pip, wall_us: u64, code: i32, ran_toolchain: bool) {
        let mut h = self.history(&pip.fixed.command);
        let toolchain = policy::is_toolchain(&pip.fixed.program) || ran_toolchain;
        h.runs += 1;
        h.wall_us = wall_us;
        h.cheap_runs = if wall_us < policy::CHEAP_US && code == 0 && !toolchain { h.cheap_runs + 1 } else { 0 };
        self.put_history(&pip.fixed.command, &h);
    }

    /// Names that were announced as being written are at rest now.
    fn settle(&self, writes: &Mutex<FxHashMap<PathBytes, u32>>) {
        for (path, n) in writes.lock().expect("writes").drain() {
            self.files.settle(&path, n, FileStat::of(&path));
        }
    }

    fn hold(&self, paths: impl Iterator<Item = PathBytes>) -> Held<'_> {
        let gate: Gate = Arc::default();
        let paths: Vec<PathBytes> = paths.collect();
        let mut all = self.collecting.lock().expect("collecting");
        for p in &paths {
            all.insert(p.clone(), gate.clone());
        }
        drop(all);
        Held { engine: self, gate, paths }
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

    /// Closes the run: contents are remembered, results marked as used, the record kept.
    pub fn close(&self, command: Vec<String>, cwd: String, exit_code: i32, lost: u64) -> BuildRecord {
        let mut items = std::mem::take(&mut *self.items.lock().expect("items"));
        items.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
        for (i, item) in items.iter_mut().enumerate() {
            item.id = u32::try_from(i + 1).unwrap_or(u32::MAX);
        }
        let wall = self.started.elapsed();
        let mut record = BuildRecord {
            version: crate::record::VERSION,
            command,
            cwd,
            started: cache::store::now().saturating_sub(wall.as_secs()),
            exit_code,
            backend: "seccomp".to_owned(),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            pips: crate::record::Pips::default(),
            saved_cpu_ms: self.saved_us.load(Ordering::Relaxed) / 1000,
            bytes: Bytes { restored: self.restored.load(Ordering::Relaxed), stored: self.stored.load(Ordering::Relaxed) },
            violations: crate::record::Violations::default(),
            lost_events: lost,
            warnings: Vec::new(),
            items,
        };
        record.count();
        if let Some(c) = &self.cache
            && self.switches.write
        {
            let used = self.used.lock().expect("used");
            let kept = c
                .store
                .touch(&used)
                .and_then(|()| c.store.memorise(&self.files.take_fresh()))
                .and_then(|()| c.store.add_build(&serde_json::to_vec(&record).unwrap_or_default()))
                .and_then(|_| c.store.trim_builds(100));
            if let Err(e) = kept {
                self.warn(format!("the record of this build could not be kept: {e}"));
            }
        }
        record.warnings = self.warnings.lock().expect("warnings").clone();
        if let Some(j) = &self.journal {
            j.close();
        }
        if let Some(c) = &self.cache {
            crate::gc::after_run(c, &self.config, record.bytes.stored);
            c.store.close();
        }
        record
    }
}

/// The engine as the tracer sees it.
pub struct Run(pub Arc<Engine>);

impl std::ops::Deref for Run {
    type Target = Arc<Engine>;

    fn deref(&self) -> &Arc<Engine> {
        &self.0
    }
}

impl Supervisor for Run {
    fn exec(&self, t: ExecTicket) {
        match self.kind(t.request.scope) {
            ScopeKind::Pip(pip) => self.inside(t, &pip),
            ScopeKind::Bypassed(_) => t.proceed(),
            ScopeKind::Driver => {
                if !self.root_seen.swap(true, Ordering::AcqRel) {
                    return match self.switches.mode {
                        Mode::Build => t.proceed(),
                        Mode::Single => {
                            let me = self.0.clone();
                            t.later(move |t| me.start(t));
                        }
                    };
                }
                self.exec_by_driver(t);
            }
        }
    }

    fn access(&self, scope: Scope, process: &Process, access: &Access) -> Flow {
        let kind = self.kind(scope);
        let path = &access.path.path;
        let mut jobs: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        if access.op.writes() {
            self.files.writing(path);
            if access.path.file_type().is_some_and(|t| t.is_dir() || t.is_symlink()) {
                // Everything below is about to have another name.
                self.files.forget_below(path);
            }
            let count = |w: &Mutex<FxHashMap<PathBytes, u32>>| *w.lock().expect("writes").entry(path.clone()).or_insert(0) += 1;
            match &kind {
                ScopeKind::Pip(p) => {
                    count(&p.writes);
                    let creates = matches!(access.op, tracer::Op::OpenWrite { .. } | tracer::Op::Create);
                    if let Some(j) = &self.journal
                        && creates
                        && access.path.state.is_none()
                        && self.in_workspace(path)
                    {
                        j.creates(scope.0, path);
                    }
                }
                ScopeKind::Bypassed(b) => count(&b.writes),
                ScopeKind::Driver => {}
            }
            jobs.extend(self.wait_for(path));
        }
        if let ScopeKind::Pip(p) = &kind
            && !self.config.ignores(path)
        {
            jobs.extend(p.recorder.access(process, access));
        }
        if jobs.is_empty() { Flow::Go } else { Flow::After(Box::new(move || jobs.into_iter().for_each(|j| j()))) }
    }

    fn fact(&self, scope: Scope, process: &Process, fact: tracer::access::Fact) {
        use tracer::access::Fact as T;
        if let ScopeKind::Pip(p) = self.kind(scope) {
            let f = match fact {
                T::Cwd => cache::Fact::Cwd,
                T::Uname => cache::Fact::Uname,
                T::Cpus => cache::Fact::Cpus,
                T::Memory => cache::Fact::Memory,
            };
            p.recorder.fact(process, f);
        }
    }

    fn escape(&self, scope: Option<Scope>, escape: Escape) {
        match scope {
            Some(s) => {
                if let ScopeKind::Pip(p) = self.kind(s) {
                    p.recorder.problem(escape.to_string());
                }
            }
            None => {
                for k in self.scopes.read().expect("scopes").values() {
                    if let ScopeKind::Pip(p) = k {
                        p.recorder.problem(escape.to_string());
                    }
                }
            }
        }
    }

    fn root_exit(&self, t: ExitTicket) {
        match self.kind(t.scope) {
            ScopeKind::Pip(pip) => {
                let me = self.0.clone();
                t.later(move |t| me.finish(t, &pip));
            }
            ScopeKind::Bypassed(b) => {
                self.settle(&b.writes);
                self.scopes.write().expect("scopes").remove(&t.scope);
                let wall = micros(b.started);
                let code = t.code;
                drop(t);
                let empty = Entry { exit_code: code, wall_us: wall, ..Entry::default() };
                let outcome = if b.reason == Reason::Cheap { Outcome::Bypassed } else { Outcome::Uncacheable };
                self.push(self.item(&b.argv, &b.cwd, outcome, Some(b.reason.clone()), b.started, code, &empty));
                if wall > 4 * policy::CHEAP_US {
                    // Dearer than it was: look at it again.
                    let h = History { cheap_runs: 0, ..self.history(&b.command) };
                    self.put_history(&b.command, &h);
                }
            }
            ScopeKind::Driver => {}
        }
    }

    fn root_killed(&self, scope: Scope) {
        let ended = self.scopes.write().expect("scopes").remove(&scope);
        if let Some(ScopeKind::Pip(p)) = ended {
            drop(p.tap.lock().expect("tap").take());
            self.settle(&p.writes);
            self.journal_ended(scope);
            let empty = Entry { exit_code: 0, wall_us: 0, ..Entry::default() };
            let mut item = self.item(&p.fixed.argv, &p.fixed.cwd, Outcome::Failed, Some(p.reason.clone()), p.started, 128, &empty);
            item.not_stored = Some(Reason::Killed.to_string());
            self.push(item);
        }
    }

    fn exec_failed(&self, scope: Scope) {
        let ended = self.scopes.write().expect("scopes").remove(&scope);
        if let Some(ScopeKind::Pip(p)) = ended {
            drop(p.tap.lock().expect("tap").take());
            self.settle(&p.writes);
            self.journal_ended(scope);
        }
    }

    fn observes_reads(&self, scope: Scope) -> bool {
        scope != Scope::DRIVER && matches!(self.kind(scope), ScopeKind::Pip(_))
    }
}

impl Engine {
    fn in_workspace(&self, path: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt;
        path.strip_prefix(self.config.root.as_os_str().as_bytes()).is_some_and(|r| r.first() == Some(&b'/'))
    }
}
