//! `xl run` and `xl exec`.

use super::{SESSION, become_command, launch, open_cache, settings_with};
use crate::args::{Backend, ExecArgs, RunArgs, RunOptions, Summary};
use crate::exit_code;
use crate::messages::{ALLOW_PTRACE, CommandError, cache_hint, say, warning, write};
use crate::output::{Document, Stream};
use crate::progress::Progress;
use audit::baseline::Baseline;
use audit::enforce::Enforcer;
use audit::observer::Observer;
use audit::stale::aside::Aside;
use audit::workspace::Workspace;
use engine::Engine;
use engine::dispatch::Run;
use engine::event::{Event, Sink};
use engine::judge::Judge;
use engine::run::Switches;
use engine::{BuildRecord, Config, Item, Mode};
use std::ffi::OsString;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use tracer::Exited;

pub(crate) fn is_disabled() -> bool {
    std::env::var_os("XL_DISABLE").is_some_and(|v| v == "1")
}

/// What the variable of an outer run says here.
#[derive(PartialEq, Eq)]
enum Outer {
    None,
    /// A shell that a build had left behind has it, or a terminal multiplexer: that run is over.
    Gone,
    /// Nothing proves it, in another process namespace.
    Perhaps,
    Lives,
}

impl Outer {
    /// Under an outer run the outer one sees everything already.
    fn supervises(&self) -> bool {
        matches!(self, Self::Lives | Self::Perhaps)
    }
}

fn outer() -> Outer {
    match std::env::var(SESSION).ok().map(|s| s.parse().ok()) {
        None => Outer::None,
        Some(Some(pid)) if tracer::descends_from(pid) => Outer::Lives,
        Some(_) if tracer::may_be_supervised() => Outer::Perhaps,
        Some(_) => Outer::Gone,
    }
}

/// Does another `xl` see everything that is launched from here?
pub(crate) fn is_supervised() -> bool {
    outer().supervises()
}

/// The configuration. A build does not fail because there is no place for a cache, or because its directory was
/// removed.
fn settings_for(o: &RunOptions, cmd: &[OsString], needed: bool) -> Result<(Config, Workspace), CommandError> {
    match settings_with(&o.common, o.remote_cache.clone()) {
        Err(e) if e.code == exit_code::CACHE && !o.strict && !needed => {
            warning(&format!("{}; the command runs without xl", e.line()));
            Err(become_command(cmd))
        }
        other => other,
    }
}

/// A supervised build that is over.
pub(crate) struct Done {
    pub exited: Exited,
    pub record: BuildRecord,
    pub engine: Arc<Engine>,
    pub workspace: Workspace,
    /// What was seen, if that was wanted.
    pub observer: Arc<Observer>,
    /// The record or the log could not be written; that was said.
    unwritten: bool,
}

impl Done {
    /// As the command ended; with `strict`, what went wrong although it ended well shows in the exit code.
    pub(crate) fn ending(&self, strict: bool) -> Exited {
        match self.exited {
            Exited::Code(0) if strict && !self.record.rechecks.different.is_empty() => {
                Exited::Code(exit_code::VIOLATIONS.into())
            }
            Exited::Code(0) if strict && self.unwritten => Exited::Code(exit_code::CACHE.into()),
            Exited::Code(0) if strict && self.record.remote.as_ref().is_some_and(|r| r.failed) => {
                Exited::Code(exit_code::REMOTE.into())
            }
            other => other,
        }
    }
}

/// Shows violations as they come, and writes the log of `--log`, on a thread of its own: whoever reads them may be
/// slow, and events are told one after the other.
struct Teller {
    has_log: bool,
    items: Mutex<Option<mpsc::Sender<Item>>>,
    writer: Mutex<Option<JoinHandle<Option<CommandError>>>>,
}

impl Teller {
    fn new(log: Option<Stream>) -> std::io::Result<Self> {
        let (items, told) = mpsc::channel::<Item>();
        let has_log = log.is_some();
        let write = move || {
            // A log that cannot be written is no reason to stop a build: the first trouble is told at its end.
            let mut trouble = None;
            for item in told {
                for v in &item.violations {
                    say(&format!("error: {v}"));
                }
                if let Some(Err(e)) = log.as_ref().map(|l| l.add(&super::log::lines(&item, None))) {
                    trouble.get_or_insert(e);
                }
            }
            trouble
        };
        let writer = std::thread::Builder::new().name("xl-log".into()).spawn(write)?;
        Ok(Self { has_log, items: Mutex::new(Some(items)), writer: Mutex::new(Some(writer)) })
    }

    /// Waits until all is written. The run is over; the result is what could not be.
    fn finish(&self) -> Option<CommandError> {
        drop(self.items.lock().expect("items").take());
        let writer = self.writer.lock().expect("writer").take();
        writer.and_then(|w| w.join().ok()).flatten()
    }
}

impl Sink for Teller {
    fn on(&self, event: &Event<'_>) {
        let Event::Done(item) = event else { return };
        if !self.has_log && item.violations.is_empty() {
            return;
        }
        if let Some(items) = &*self.items.lock().expect("items") {
            // The writer ends only when it has had all.
            let _ = items.send((*item).clone());
        }
    }
}

pub(crate) fn run(a: &RunArgs) -> Result<Exited, CommandError> {
    let o = &a.options;
    let (config, workspace) = settings_for(o, &a.cmd, a.heal || a.enforce)?;
    let enforce = a.enforce || workspace.policy.enforce.is_some();
    let aside = a.heal.then(|| Aside::of(&config));
    let done = build(o, &a.cmd, (config, workspace), Want { mode: Mode::Build, audit: false, enforce, heal: a.heal });
    if let Some(aside) = aside {
        super::check::put_back(&aside);
    }
    let done = done?;
    super::summary::show(&done.record, Mode::Build, o.summary());
    if let Some(w) = done.record.workspace.as_ref().filter(|_| o.summary() != Summary::Off) {
        say(&format!("debug information names `{0}`; in gdb: set substitute-path {0} {1}", w.at, w.really));
    }
    // What only shows when the whole run is over.
    if done.exited == Exited::Code(0) && enforce && super::audit::late(&done, o)? > 0 {
        return Ok(Exited::Code(exit_code::VIOLATIONS.into()));
    }
    Ok(done.ending(o.strict))
}

pub(crate) fn exec(a: &ExecArgs) -> Result<Exited, CommandError> {
    let settings = settings_for(&a.options, &a.cmd, false)?;
    let done =
        build(&a.options, &a.cmd, settings, Want { mode: Mode::Single, audit: false, enforce: false, heal: false })?;
    super::summary::show(&done.record, Mode::Single, a.options.summary());
    Ok(done.ending(a.options.strict))
}

/// What threads and data base take, besides the contents of files.
const LEAST_ADDRESS_SPACE: u64 = 1 << 30;

/// Why this process cannot do its work: a limit that the build may well live with.
fn cramped() -> Option<String> {
    let limit =
        rustix::process::getrlimit(rustix::process::Resource::As).current.filter(|l| *l < LEAST_ADDRESS_SPACE)?;
    Some(format!("`ulimit -v` leaves {} MiB of address space, and xl needs {}", limit >> 20, LEAST_ADDRESS_SPACE >> 20))
}

/// What is wanted of a run.
pub(crate) struct Want {
    pub mode: Mode,
    /// Everything is observed, for a comparison afterwards.
    pub audit: bool,
    /// Commands with errors fail.
    pub enforce: bool,
    /// What is stale is taken away before the command starts. Whoever wants that puts back afterwards what is still
    /// missing.
    pub heal: bool,
}

/// Runs the command, and tells what went wrong with `xl` itself.
pub(crate) fn build(
    a: &RunOptions,
    cmd: &[OsString],
    settings: (Config, Workspace),
    want: Want,
) -> Result<Done, CommandError> {
    let Want { mode, audit, enforce, heal } = want;
    let (config, workspace) = settings;
    let outer = outer();
    if a.summary == Summary::Junit && a.junit.is_none() {
        // Not in the tree that is built, unless the user says so.
        return Err(CommandError::new(exit_code::USAGE, "`--summary junit` needs the name of a file")
            .hint("--junit xl-junit.xml"));
    }
    if is_disabled() || outer.supervises() {
        match (audit, enforce) {
            (true, _) => {
                return Err(CommandError::new(
                    exit_code::USAGE,
                    "this runs below another xl, or with XL_DISABLE=1: there is no audit",
                ));
            }
            (_, true) => warning("this runs below another xl, or with XL_DISABLE=1: it enforces nothing itself"),
            _ if outer == Outer::Perhaps => {
                warning(&format!("{SESSION} is set and something supervises this: it is taken for another xl"))
            }
            _ => {}
        }
        return Err(become_command(cmd));
    }
    if outer == Outer::Gone {
        warning(&format!("{SESSION} is set, but no xl supervises this: it is ignored"));
    }
    if let Some(why) = cramped() {
        if a.strict || audit || enforce {
            return Err(CommandError::new(exit_code::CACHE, why));
        }
        warning(&format!("{why}; the command runs without xl"));
        return Err(become_command(cmd));
    }
    let remote = match a.offline {
        true => None,
        false => super::sharing::settings(&config.sharing)?,
    };
    let known = match &workspace.policy.baseline {
        Some(path) => Baseline::load(path).map_err(super::audit::baseline_error)?,
        None => None,
    };
    let log = a.log.as_deref().map(Stream::at).transpose()?;
    let json = a.json.as_deref().map(|path| Document::at(path, true)).transpose()?;
    let junit = a.junit.as_deref().map(|path| Document::at(path, true)).transpose()?;
    // The slots of a make further out are nobody's input, and what is read from /dev/null comes from nobody.
    let slots = job_slots(&std::env::var("MAKEFLAGS").unwrap_or_default());
    let inherited: Vec<_> =
        tracer::inherited().into_iter().filter(|(fd, to)| !slots.contains(fd) && to != b"/dev/null").collect();
    // To refuse a read, or to lend a slot before a FIFO is opened, one has to know before it happens.
    let needs_entry = !config.deny.is_empty() || a.local_jobs.is_some() || workspace.policy.refuses_reads();
    let progress = Progress::new(a.summary() == Summary::Off);
    let session =
        match launch(cmd, a.backend, inherited.clone(), Some(&config.cache_dir), needs_entry, progress.screen()) {
            // Whoever asks for a backend wants that one or none; everybody else wants the build.
            Err(e) if e.code == exit_code::BACKEND && a.backend == Backend::Auto && !a.strict && !audit && !enforce => {
                warning(&format!("{}; the command runs without xl", e.line()));
                drop((log, json, junit));
                return Err(become_command(cmd));
            }
            other => other?,
        };
    let can_read = session.can_hit();
    if !can_read && a.strict && !a.no_cache_read {
        session.abandon();
        return Err(CommandError::new(
            exit_code::BACKEND,
            "ptrace is forbidden here, so that no command can be skipped",
        )
        .hint(ALLOW_PTRACE));
    }
    let pid = session.pid();
    tracer::forward_signals(pid);
    // From here on nothing becomes the command without coming back.
    if heal && let Err(e) = super::check::heal_first(a, cmd, &Aside::of(&config)) {
        session.abandon();
        return Err(e);
    }
    let cache = match open_cache(&config) {
        Ok((c, notices)) => {
            notices.iter().for_each(|n| warning(n));
            Some(c)
        }
        Err(e) if a.strict => {
            session.abandon();
            return Err(e.into());
        }
        Err(e) => {
            warning(&format!("{e}; the build runs without a cache"));
            if let Some(h) = cache_hint(&e) {
                write(&format!("  hint: {h}\n"));
            }
            None
        }
    };
    let cache = match (cache, &remote) {
        (Some(c), Some(s)) => match super::sharing::attach(c, s, a.strict) {
            Ok(c) => c,
            Err(e) => {
                session.abandon();
                return Err(e);
            }
        },
        (c, _) => c,
    };
    if !can_read {
        warning("ptrace is forbidden here, so that no command can be skipped: everything runs, results are stored");
    }
    let observer = Arc::new(Observer::default());
    let enforcer = Enforcer::new(&workspace, observer.clone(), enforce && !audit, known).map(Arc::new);
    let teller = match Teller::new(log) {
        Ok(t) => Arc::new(t),
        Err(e) => {
            session.abandon();
            let error = CommandError::new(exit_code::INTERNAL, "a thread for the log could not be started");
            return Err(error.cause(e.to_string()));
        }
    };
    let mut sinks: Vec<Arc<dyn Sink>> = vec![teller.clone()];
    if audit || enforce {
        sinks.push(observer.clone());
    }
    let switches = Switches {
        mode,
        backend: session.backend(),
        read: can_read && !a.no_cache_read,
        write: !a.no_cache_write,
        recheck: a.recheck,
        audit: audit || enforce,
        sinks,
        judge: enforcer.clone().map(|e| e as Arc<dyn Judge>),
        local_jobs: a.local_jobs.map(usize::from),
        inherited,
        really: a.place.really.clone(),
    };
    let cwd = std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default();
    let engine = Arc::new(Engine::new(config, switches, cache));
    enforcer.and_then(|e| e.trouble()).into_iter().for_each(|w| engine.warn(w));
    progress.watch(&engine);
    let (exited, stats) = session
        .run(Arc::new(Run(engine.clone())))
        .map_err(|e| CommandError::new(exit_code::INTERNAL, "the supervisor could not start").cause(e.to_string()))?;
    if stats.unobserved {
        super::forget_ebpf();
    }
    if std::env::var_os("XL_LOG").is_some() {
        let tracer::TracerStats { calls, records, lost, stops, processes, .. } = stats;
        say(&format!("{calls} calls notified, {records} recorded, {lost} lost, {stops} stops, {processes} processes"));
    }
    let command: Vec<Vec<u8>> = cmd.iter().map(|c| c.as_encoded_bytes().to_vec()).collect();
    let shown = engine::redact::redact(&command, &engine::products::own_environment());
    let logged = teller.finish();
    let record = engine.close(shown, cwd, exited.shell_code(), stats.lost);
    drop(progress);
    record.warnings.iter().for_each(|w| warning(w));
    let written = json.map_or(Ok(()), |mut to| to.write(serde_json::to_vec_pretty(&record).unwrap_or_default()));
    let tests = junit.map_or(Ok(()), |mut to| to.write(super::ci::junit(&record)));
    let unwritten: Vec<_> = written.err().into_iter().chain(tests.err()).chain(logged).collect();
    unwritten.iter().for_each(|e| warning(&e.line()));
    for what in &record.rechecks.different {
        warning(&format!("a recheck made something else than the cache holds: {what}"));
    }
    if a.strict && exited == tracer::Exited::Code(0) && record.is_blind() {
        return Err(CommandError::new(
            exit_code::BACKEND,
            "programs were executed, and none of them could be looked into",
        )
        .hint("`xl doctor` shows what works on this machine"));
    }
    Ok(Done { exited, record, engine, workspace, observer, unwritten: !unwritten.is_empty() })
}

/// The descriptors of GNU make's job server (`--jobserver-auth=R,W`; make(1), "POSIX Jobserver Interaction").
fn job_slots(makeflags: &str) -> Vec<i32> {
    let found = makeflags
        .split(' ')
        .filter_map(|w| w.strip_prefix("--jobserver-auth=").or_else(|| w.strip_prefix("--jobserver-fds=")));
    found.flat_map(|pair| pair.split(',')).filter_map(|n| n.parse().ok()).collect()
}
