//! A run: each exec of the build becomes driver, pip, hit or bypassed command; each end of a pip a publication.
//!
//! Receiving threads only classify. Fingerprints, lookups, restores, hashing and publication run on the tracer's
//! pool while the task stays blocked. A failure of the cache degrades to running the command, with one warning.

use crate::config::Config;
use crate::event::{Event, Sink};
use crate::judge::{Attempt, Judge};
use crate::launches::Launches;
use crate::lookup::Reason;
use crate::pip::ScopeKind;
use crate::policy;
use crate::record::{BuildRecord, Bytes, Item, Outcome, Rechecks};
use crate::seen::Fault;
use cache::store::{Access as StoreAccess, History};
use cache::{CacheHandle, Digest, Entry, PathBytes, Product};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::{Duration, Instant};
use tracer::access::StdinUse;
use tracer::{Access, Escape, ExecTicket, ExitTicket, Flow, Scope, Supervisor};
use worker::file_state::FileStates;
use worker::journal::Journal;
use worker::slots::Slots;
use worker::world::World;

/// What the root command is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A build tool: each command that it launches is a pip.
    #[default]
    Build,
    /// One pip.
    Single,
}

/// Switches of a run.
pub struct Switches {
    pub mode: Mode,
    pub backend: tracer::Backend,
    pub read: bool,
    pub write: bool,
    /// How many of a hundred hits really run, and are compared.
    pub recheck: u8,
    /// How many commands may really run at once.
    pub local_jobs: Option<usize>,
    /// Everything is observed, so that it can be held against what is declared.
    pub audit: bool,
    /// Who is told of every event.
    pub sinks: Vec<Arc<dyn Sink>>,
    /// Who may refuse what pips do; it is told of every event too.
    pub judge: Option<Arc<dyn Judge>>,
    /// What the descriptors above 2 were when `xl` was started, from [`tracer::inherited`].
    pub inherited: Vec<(i32, Vec<u8>)>,
}

pub(crate) type Gate = Arc<(Mutex<bool>, Condvar)>;

/// The decisions of one run.
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) switches: Switches,
    pub(crate) cache: Option<CacheHandle>,
    pub(crate) files: FileStates,
    pub(crate) journal: Option<Journal>,
    pub(crate) no_key: [u8; 32],
    /// Pipes and sockets that were open when `xl` was started.
    pub(crate) inherited: Vec<(i32, Vec<u8>)>,
    pub(crate) meaning: Vec<u8>,
    pub(crate) scopes: RwLock<FxHashMap<Scope, ScopeKind>>,
    /// Outputs of pips that have ended and are not collected yet: writers wait.
    pub(crate) collecting: Mutex<FxHashMap<PathBytes, Gate>>,
    pub(crate) next_scope: AtomicU32,
    pub(crate) root_seen: AtomicBool,
    pub(crate) started: Instant,
    /// The same moment, milliseconds since the epoch.
    pub(crate) opened: u64,
    pub(crate) rechecked: Mutex<Rechecks>,
    pub(crate) slots: Option<Arc<Slots>>,
    pub(crate) items: Mutex<Vec<Item>>,
    pub(crate) used: Mutex<Vec<Digest>>,
    /// Files that this run has made or left, and the results that they are of now; `None`: of none that is known.
    pub(crate) products: Mutex<FxHashMap<PathBytes, Option<Product>>>,
    pub(crate) warnings: Mutex<Vec<String>>,
    /// Programs that build tools executed and that could not be looked into: how many, by why.
    unseen: Mutex<BTreeMap<String, u64>>,
    pub(crate) restored: AtomicU64,
    pub(crate) stored: AtomicU64,
    pub(crate) saved_us: AtomicU64,
    pub(crate) progress: Box<dyn Fn(&Item) + Send + Sync>,
    /// Who launched whom, for the events.
    pub(crate) launches: Launches,
}

/// How a run stands.
pub struct Now {
    pub hits: u64,
    /// Commands that ran and have ended.
    pub ran: u64,
    pub running: u64,
    /// What has been running longest: for how long, and which command, in one line.
    pub longest: Option<(Duration, String)>,
    pub elapsed: Duration,
}

pub(crate) use cache::shown as text;

pub(crate) fn micros(t: Instant) -> u64 {
    u64::try_from(t.elapsed().as_micros()).unwrap_or(u64::MAX)
}

impl Engine {
    /// `progress` is told of every pip as it ends.
    pub fn new(
        config: Config,
        switches: Switches,
        cache: Option<CacheHandle>,
        progress: Box<dyn Fn(&Item) + Send + Sync>,
    ) -> Self {
        let writable = cache.as_ref().is_some_and(|c| c.store.access() != StoreAccess::ReadOnly);
        let mut warnings = Vec::new();
        let journal = writable.then(|| {
            let (j, removed) = Journal::open(&config.cache_dir);
            if removed > 0 {
                warnings
                    .push(format!("mended {removed} half-made outputs of an interrupted run: they will be made again"));
            }
            j
        });
        let meaning = config.meaning(switches.judge.as_ref().is_some_and(|j| j.guards()));
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
            opened: cache::store::now_ms(),
            rechecked: Mutex::default(),
            slots: switches.local_jobs.map(Slots::new),
            items: Mutex::default(),
            used: Mutex::default(),
            products: Mutex::default(),
            warnings: Mutex::new(warnings),
            unseen: Mutex::default(),
            restored: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            saved_us: AtomicU64::new(0),
            progress,
            launches: Launches::default(),
        }
    }

    /// What it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How the run stands now.
    pub fn now(&self) -> Now {
        let (mut hits, mut ran) = (0, 0);
        for i in self.items.lock().expect("items").iter() {
            *(if i.outcome == Outcome::Hit { &mut hits } else { &mut ran }) += 1;
        }
        let scopes = self.scopes.read().expect("scopes");
        let runs: Vec<_> = scopes.values().filter_map(ScopeKind::running).collect();
        let longest = runs.iter().min_by_key(|r| r.0).map(|(since, shown)| (since.elapsed(), shown()));
        Now { hits, ran, running: runs.len() as u64, longest, elapsed: self.started.elapsed() }
    }

    /// Tells everybody who wants to know.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.switches.sinks.iter().for_each(|s| s.on(event));
        if let Some(j) = &self.switches.judge {
            j.on(event);
        }
    }

    /// Who is asked before accesses happen, if anybody is.
    pub(crate) fn guard(&self) -> Option<&dyn Judge> {
        self.switches.judge.as_deref().filter(|j| j.guards())
    }

    pub(crate) fn kind(&self, s: Scope) -> ScopeKind {
        self.scopes.read().expect("scopes").get(&s).cloned().unwrap_or(ScopeKind::Driver)
    }

    /// Notes a trouble that the user is told of when the run is over.
    pub fn warn(&self, w: String) {
        let mut all = self.warnings.lock().expect("warnings");
        if !all.contains(&w) && all.len() < 20 {
            all.push(w);
        }
    }

    /// The key of digests of what may be a secret.
    pub(crate) fn key(&self) -> &[u8; 32] {
        self.cache.as_ref().map_or(&self.no_key, |c| c.store.key())
    }

    pub(crate) fn world<'a>(&'a self, env: &'a [Vec<u8>], cwd: &'a [u8]) -> World<'a> {
        World {
            files: &self.files,
            store: self.cache.as_ref().map(|c| &*c.store),
            key: self.key(),
            env,
            cwd,
            pass: &self.config.pass,
            seen: std::cell::RefCell::default(),
        }
    }

    pub(crate) fn new_scope(&self, kind: ScopeKind) -> Scope {
        let s = Scope(self.next_scope.fetch_add(1, Ordering::Relaxed));
        self.scopes.write().expect("scopes").insert(s, kind);
        s
    }

    pub(crate) fn push(&self, item: Item) {
        (self.progress)(&item);
        self.items.lock().expect("items").push(item);
    }

    pub(crate) fn history(&self, command: &Digest) -> History {
        self.cache.as_ref().and_then(|c| c.store.history(command)).unwrap_or_default()
    }

    pub(crate) fn put_history(&self, command: &Digest, h: &History) {
        if let Some(c) = &self.cache
            && self.switches.write
            && let Err(e) = c.store.put_history(command, h)
        {
            self.warn(format!("the history cannot be kept: {e}"));
        }
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
            mode: self.switches.mode,
            backend: self.switches.backend.to_string(),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            pips: crate::record::Pips::default(),
            saved_cpu_ms: self.saved_us.load(Ordering::Relaxed) / 1000,
            bytes: Bytes {
                restored: self.restored.load(Ordering::Relaxed),
                stored: self.stored.load(Ordering::Relaxed),
            },
            violations: crate::record::Violations::default(),
            rechecks: self.rechecked.lock().expect("rechecks").clone(),
            lost_events: lost,
            unseen: 0,
            warnings: Vec::new(),
            items,
        };
        record.count();
        for (why, n) in &*self.unseen.lock().expect("unseen") {
            record.unseen += n;
            let times =
                if *n == 1 { "a program was executed".to_owned() } else { format!("{n} times a program was executed") };
            self.warn(format!("{times} that could not be looked into, and ran uncached: {why}"));
        }
        if let Some(c) = &self.cache
            && self.switches.write
        {
            let used = self.used.lock().expect("used");
            let kept = c
                .store
                .touch(&used)
                .and_then(|()| c.store.memorise(&self.files.take_fresh()))
                .and_then(|()| c.store.put_products(&self.take_products()))
                .and_then(|()| c.store.note_blobs(&c.cas))
                .and_then(|()| c.store.add_build(&serde_json::to_vec(&record).unwrap_or_default()));
            if let Err(e) = kept {
                self.warn(format!("the record of this build could not be kept: {e}"));
            }
        }
        // A warm build may have no need of them: only a run in which everything ran can tell.
        if record.pips.hit == 0 && record.pips.total > 0 {
            for hatch in self.config.unused() {
                self.warn(format!("unused in this build: {hatch}"));
            }
        }
        if let Some(j) = &self.journal {
            j.close();
        }
        if let Some(c) = &self.cache {
            c.store.close();
            if record.bytes.stored > 0 || record.pips.miss > 0 {
                crate::gc::after_run(c, &self.config);
            }
            c.store.notices().into_iter().for_each(|n| self.warn(n));
        }
        record.warnings = self.warnings.lock().expect("warnings").clone();
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
                        Mode::Build => {
                            self.note_launch(&t, true);
                            t.proceed()
                        }
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

    fn access(&self, scope: Scope, pid: i32, access: &Access) -> Flow {
        let kind = self.kind(scope);
        let path = &access.path.path;
        let mut jobs: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        if let Some(why) = self.denied(&kind, access) {
            self.warn(format!("denied `{}`: {why}", text(path)));
            return Flow::Refuse;
        }
        if access.op.writes() {
            match &kind {
                ScopeKind::Driver => self.files.written_by_driver(path),
                ScopeKind::Pip(_) | ScopeKind::Bypassed(_) => self.files.writing(path, scope.0),
            }
            let count =
                |w: &Mutex<FxHashMap<PathBytes, u32>>| *w.lock().expect("writes").entry(path.clone()).or_insert(0) += 1;
            match &kind {
                ScopeKind::Pip(p) => {
                    count(&p.writes);
                    if matches!(self.kind(scope), ScopeKind::Driver) {
                        // It has become one meanwhile, and nobody settles this any more.
                        self.hand_over(&p.writes);
                    }
                    let creates = matches!(access.op, tracer::Op::OpenWrite { .. } | tracer::Op::Create { .. });
                    if let Some(j) = &self.journal
                        && creates
                        && access.path.state.is_none()
                        && self.in_workspace(path)
                    {
                        j.creates(scope.0, path);
                    }
                }
                ScopeKind::Bypassed(b) => count(&b.writes),
                ScopeKind::Driver => self.forget_products(std::iter::once(path)),
            }
            jobs.extend(self.wait_for(path));
        }
        if let ScopeKind::Pip(p) = &kind
            && self.slots.is_some()
            && access.path.file_type() == Some(tracer::FileType::Fifo)
            && let Some(s) = &mut *p.slot.lock().expect("slot")
        {
            s.lend();
        }
        if let ScopeKind::Pip(p) = &kind
            && !self.config.ignores(path)
        {
            jobs.extend(p.recorder.access(pid, access));
        }
        if jobs.is_empty() { Flow::Go } else { Flow::After(Box::new(move || jobs.into_iter().for_each(|j| j()))) }
    }

    fn fact(&self, scope: Scope, pid: i32, fact: tracer::access::Fact) {
        use tracer::access::Fact as T;
        if let ScopeKind::Pip(p) = self.kind(scope) {
            let f = match fact {
                T::Cwd => cache::Fact::Cwd,
                T::Uname => cache::Fact::Uname,
                T::Cpus => cache::Fact::Cpus,
                T::Memory => cache::Fact::Memory,
            };
            p.recorder.fact(pid, f);
        }
    }

    fn stdin(&self, scope: Scope, pid: i32, how: StdinUse, live: bool) {
        if let ScopeKind::Pip(p) = self.kind(scope) {
            p.recorder.stdin(pid, how, live);
        }
    }

    fn forked(&self, scope: Scope, parent: i32, child: i32) {
        if let ScopeKind::Pip(p) = self.kind(scope) {
            p.recorder.forked(parent, child);
        }
    }

    fn escape(&self, scope: Option<Scope>, escape: Escape) {
        if escape.kind == tracer::EscapeKind::Tracing {
            // Not only is it not cached: it does not work.
            self.warn(format!("a command of this build is disturbed: {escape}"));
        }
        if escape.kind == tracer::EscapeKind::Namespace {
            // From here on the names that some process uses may not be the names that we know.
            self.files.distrust();
        }
        if escape.kind == tracer::EscapeKind::Unreadable {
            // A call of which nobody knows what it changes.
            self.files.distrust();
        }
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

    fn unseen(&self, scope: Option<Scope>, escape: Escape) {
        if scope.is_none_or(|s| matches!(self.kind(s), ScopeKind::Driver)) {
            *self.unseen.lock().expect("unseen").entry(escape.to_string()).or_insert(0) += 1;
        }
        self.escape(scope, escape);
    }

    fn connects(&self, scope: Scope, escape: Escape) -> Flow {
        let kind = self.kind(scope);
        if let ScopeKind::Pip(p) = &kind {
            self.fault(p, &Fault::Network(escape.detail.clone()));
        }
        let guard = self.guard().filter(|_| !matches!(kind, ScopeKind::Driver));
        let flow = match guard.and_then(|g| g.refuses(Attempt::Network(&escape.detail))) {
            Some(why) => {
                self.warn(format!("denied `{}`: {why}", escape.detail));
                Flow::Refuse
            }
            None => Flow::Go,
        };
        self.escape(Some(scope), escape);
        flow
    }

    fn root_exit(&self, t: ExitTicket) {
        match self.kind(t.scope) {
            ScopeKind::Pip(pip) => {
                let me = self.0.clone();
                t.later(move |t| me.finish(t, &pip));
            }
            ScopeKind::Bypassed(b) => {
                self.forget_products(b.writes.lock().expect("writes").keys());
                if t.survivors() > 0 {
                    self.hand_over(&b.writes);
                } else {
                    self.settle(&b.writes);
                }
                self.scopes.write().expect("scopes").remove(&t.scope);
                let wall = micros(b.started);
                let code = t.code;
                drop(t);
                let empty = Entry { exit_code: code, wall_us: wall, ..Entry::default() };
                let outcome = if b.reason == Reason::Cheap { Outcome::Bypassed } else { Outcome::Uncacheable };
                self.push(self.item(
                    (&b.argv, &b.env, &b.cwd),
                    outcome,
                    Some(b.reason.clone()),
                    b.started,
                    code,
                    &empty,
                ));
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
        self.killed(scope);
    }

    fn exec_failed(&self, scope: Scope) {
        // It never was a pip.
        let _ = self.withdraw(scope);
    }

    fn observes_reads(&self, scope: Scope) -> bool {
        scope != Scope::DRIVER && matches!(self.kind(scope), ScopeKind::Pip(_))
    }
}

impl Engine {
    /// Why a pip may not do this, by the user's rules. Looking whether a file is there is not forbidden.
    fn denied(&self, kind: &ScopeKind, access: &Access) -> Option<String> {
        let looks = matches!(
            access.op,
            tracer::Op::Stat | tracer::Op::Attributes | tracer::Op::Readlink | tracer::Op::Chdir | tracer::Op::Exec
        );
        if matches!(kind, ScopeKind::Driver) || looks {
            return None;
        }
        let path = &access.path.path;
        let by_rule = self.config.deny.find(path).map(str::to_owned);
        by_rule.or_else(|| self.guard()?.refuses(Attempt::Access(&access.op, path)))
    }

    /// Takes a pip out of the run without a result: its text is only forwarded, its slot is free.
    fn withdraw(&self, scope: Scope) -> Option<Arc<crate::pip::Pip>> {
        let ended = self.scopes.write().expect("scopes").remove(&scope);
        let Some(ScopeKind::Pip(p)) = ended else { return None };
        drop(p.tap.lock().expect("tap").take());
        drop(p.slot.lock().expect("slot").take());
        // Children of it may still write.
        self.forget_products(p.writes.lock().expect("writes").keys());
        self.hand_over(&p.writes);
        self.journal_ended(scope);
        Some(p)
    }

    /// The root of a scope is gone without having been let go. To be told twice does no harm.
    pub(crate) fn killed(&self, scope: Scope) {
        if let Some(p) = self.withdraw(scope) {
            let empty = Entry { exit_code: 0, wall_us: 0, ..Entry::default() };
            let mut item = self.item(
                (&p.fixed.argv, &p.fixed.env, &p.fixed.cwd),
                Outcome::Failed,
                Some(p.reason.clone()),
                p.started,
                128,
                &empty,
            );
            item.not_stored = Some(Reason::Killed.to_string());
            self.push(item);
        }
    }

    pub(crate) fn in_workspace(&self, path: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt;
        path.strip_prefix(self.config.root.as_os_str().as_bytes()).is_some_and(|r| r.first() == Some(&b'/'))
    }
}
