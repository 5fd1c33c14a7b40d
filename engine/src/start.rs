//! Before a command runs: an exec of the build becomes driver, hit, observed pip or bypassed command.
//!
//! Everything here runs on the tracer's pool, but for [`Engine::inside`] and [`Engine::exec_by_driver`], which only
//! classify. Knows nothing of how a pip ends; see [`crate::publish`].

use crate::event::Event;
use crate::judge::Verdict;
use crate::lookup::{self, Reason};
use crate::pip::{Bypassed, Pip, ScopeKind, Static};
use crate::policy;
use crate::products::ResultOf;
use crate::record::{Item, Outcome};
use crate::redact::{one_line, redact};
use crate::run::{Engine, Mode, micros, text};
use crate::seen;
use crate::weak;
use cache::entry::TextContent;
use cache::store::History;
use cache::{Digest, Entry, FileStat, materialise};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tracer::request::{Credentials, Descriptors, FdKind, Inherited, Stdin};
use tracer::{Access, Chunk, ExecTicket, Scope, Stream};
use worker::Recorder;
use worker::file_state::OURSELVES;

/// The two ends of make's job server, where they are descriptors (GNU make's manual, "POSIX Jobserver Interaction").
fn job_server(env: &[Vec<u8>]) -> Option<[i32; 2]> {
    let flags =
        env.iter().filter_map(|v| v.strip_prefix(b"MAKEFLAGS=").or_else(|| v.strip_prefix(b"CARGO_MAKEFLAGS=")));
    let ends = |word: &str| {
        let (r, w) = word
            .strip_prefix("--jobserver-auth=")
            .or_else(|| word.strip_prefix("--jobserver-fds="))?
            .split_once(',')?;
        Some([r.parse().ok()?, w.parse().ok()?])
    };
    // Of several the last counts.
    flags.filter_map(|v| std::str::from_utf8(v).ok()?.split(' ').rev().find_map(ends)).next_back()
}

impl Engine {
    /// An exec by a driver: the start of a pip.
    pub(crate) fn start(self: &Arc<Self>, t: ExecTicket) {
        let command = weak::command_key(&t.request, self.key());
        let h = self.history(&command);
        let launch = self.note_launch(&t, h.driver);
        if h.driver {
            return t.proceed();
        }
        let started = Instant::now();
        // What is bypassed is not watched closely enough to deny it anything, or to tell what it looked at.
        let closely = !self.config.deny.is_empty() || self.guard().is_some() || self.switches.audit;
        if self.switches.mode == Mode::Build
            && !closely
            && policy::is_cheap(&h, &t.request.program.path, &t.request.argv)
        {
            return self.bypass(t, command, Reason::Cheap, started);
        }
        let shown = t.request.credentials().ok_or("its process cannot be looked into");
        let (d, c) = match t.request.descriptors().and_then(|d| Ok((d, shown?))) {
            Ok(both) => both,
            Err(why) => return self.bypass(t, command, Reason::Uncacheable { why: why.into() }, started),
        };
        let r = &t.request;
        let world = self.world(&r.env, &r.cwd);
        let weak = match self.obstacle(&t, &d, &c) {
            Some(why) => Err(why),
            None => weak::weak_fingerprints(r, &d, &c, &world, &self.meaning),
        };
        let mut fixed = Static {
            weak: None,
            command,
            program: r.program.path.to_vec(),
            argv: r.argv.clone(),
            env: r.env.clone(),
            cwd: r.cwd.clone(),
            umask: c.umask,
            parent: r.process.parent(),
            launch,
        };
        let mut expected = None;
        let reason = match (weak, &self.cache) {
            (Err(why), _) => Reason::Uncacheable { why },
            (Ok(w), Some(cache)) if self.switches.read => {
                let found = lookup::first(&w.all(), cache.results(), cache.blobs(), &world);
                fixed.weak = Some(w).filter(|_| found.is_ok());
                match found {
                    Ok(Ok(found)) if self.samples(&found.strong) => {
                        expected = Some(found.entry);
                        Reason::Rechecked
                    }
                    Ok(Ok(found)) => return self.serve(t, d, found, fixed, started),
                    Ok(Err(reason)) => reason,
                    Err(e) => {
                        self.warn(format!("a lookup failed, the command runs: {e}"));
                        Reason::Disabled
                    }
                }
            }
            (Ok(w), _) => {
                fixed.weak = Some(w);
                Reason::Disabled
            }
        };
        self.run_pip(t, d, fixed, reason, expected, started);
    }

    /// Is this hit one of those that `--recheck` really runs?
    fn samples(&self, strong: &Digest) -> bool {
        // A sample that differs from build to build, so that in time every result is tried.
        let mut f = cache::Fingerprint::new("sample");
        f.digest("strong", strong);
        f.number("build", self.opened);
        u64::from(f.finish().0[0]) * 100 < u64::from(self.switches.recheck) * 256
    }

    /// What makes a command uncacheable before it starts.
    pub(crate) fn obstacle(&self, t: &ExecTicket, d: &Descriptors, c: &Credentials) -> Option<String> {
        let r = &t.request;
        if let Some(why) = self.forbidden(&r.program.path, &r.argv) {
            return Some(format!("by rule: {why}"));
        }
        if !r.shares_our_files() {
            return Some("it runs below another root or with other mounts than xl".into());
        }
        if Credentials::own().is_none_or(|own| own.rights != c.rights) {
            return Some(
                "it is of another user or group than xl, or has other capabilities: it may not be allowed the same"
                    .into(),
            );
        }
        if let (FdKind::Regular { dev, ino, .. }, FdKind::Regular { dev: d2, ino: i2, .. }) =
            (&d.stdout.kind, &d.stderr.kind)
            && (dev, ino) == (d2, i2)
            && !d.shared
        {
            return Some("its standard output and error are one file, opened twice".into());
        }
        if [&d.stdout, &d.stderr].iter().any(|o| matches!(o.kind, FdKind::Regular { inside: true, .. })) {
            return Some("its output goes into a file that has more behind the place".into());
        }
        for (name, o) in [("output", &d.stdout), ("error output", &d.stderr)] {
            if o.kind == FdKind::Device {
                return Some(format!("its standard {name} is a device"));
            }
        }
        if matches!(d.stdin, Stdin::Regular { writable: true, .. }) {
            return Some("it may write to the file that is its standard input".into());
        }
        let job_server = job_server(&r.env).filter(|fds| fds.iter().all(|fd| d.others.iter().any(|i| i.fd == *fd)));
        // ninja leaves a pipe open in its console jobs, to learn of their end.
        let console = || r.process.parent_name().is_some_and(|n| matches!(&n[..], b"ninja" | b"samu"));
        for Inherited { fd, link, file } in &d.others {
            let pipe = link.starts_with(b"pipe:") || link.starts_with(b"/dev/fd/");
            let null = link == b"/dev/null";
            // What `xl` itself was born with belongs to whoever called it, not to the build; using it is an escape.
            let ours = self.inherited.iter().any(|(n, l)| n == fd && l == link);
            let slots = job_server.is_some_and(|fds| fds.contains(fd));
            if !(null || ours || file.is_some() || pipe && (slots || console())) {
                return Some(format!("it inherits descriptor {fd} (`{}`)", text(link)));
            }
        }
        None
    }

    /// `expected` is the result that a hit would have given.
    pub(crate) fn run_pip(
        self: &Arc<Self>,
        t: ExecTicket,
        mut d: Descriptors,
        fixed: Static,
        reason: Reason,
        expected: Option<Entry>,
        started: Instant,
    ) {
        let [input, output, error] = std::mem::take(&mut d.pipes);
        let live = matches!(d.stdin, Stdin::Live(_));
        let slot = self.slots.as_ref().map(|s| s.take(if live { input } else { Vec::new() }, &[output, error]));
        if t.request.process.has_ended() {
            // Killed while it waited.
            return;
        }
        let started = if slot.is_some() { Instant::now() } else { started };
        let pip = Arc::new(Pip {
            slot: Mutex::new(slot),
            fixed,
            recorder: Recorder::new(self.config.root.as_os_str().as_encoded_bytes()),
            tap: Mutex::new(None),
            reason,
            started,
            began: cache::file_stat::coarse_now(),
            stdin: match &d.stdin {
                Stdin::Regular { fd, .. } => fd.try_clone().ok(),
                _ => None,
            },
            inherited: std::mem::take(&mut d.others),
            expected,
            // cargo runs a build script again as a whole or not at all, whatever it runs in turn.
            whole: t.request.process.parent_name().is_some_and(|n| n == b"cargo"),
            inner_drivers: Mutex::default(),
            writes: Mutex::default(),
        });
        self.note_exec(&pip, &t);
        // What the build tool wrote a moment ago (a response file) is seen now: a later change would show.
        self.files.seal();
        let scope = self.new_scope(ScopeKind::Pip(pip.clone()));
        // Held until the tap is in place: the root's exit must not overtake it.
        let mut tap = pip.tap.lock().expect("tap");
        let process = t.request.process.clone();
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

    /// Runs a command without lookup or capture; its writes are still seen.
    pub(crate) fn bypass(&self, t: ExecTicket, command: Digest, reason: Reason, started: Instant) {
        let b = Bypassed {
            command,
            program: t.request.program.path.to_vec(),
            argv: t.request.argv.clone(),
            env: t.request.env.clone(),
            cwd: t.request.cwd.clone(),
            started,
            reason,
            writes: Mutex::default(),
        };
        let scope = self.new_scope(ScopeKind::Bypassed(Arc::new(b)));
        t.enter(scope, true);
    }

    /// A hit: outputs and text are put back, and the command never starts.
    pub(crate) fn serve(
        self: &Arc<Self>,
        t: ExecTicket,
        d: Descriptors,
        found: lookup::Found,
        fixed: Static,
        started: Instant,
    ) {
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
        let in_place = |o: &&cache::Output| {
            matches!(o.kind, cache::OutputKind::File { in_place: true, .. }) && FileStat::of(&o.path).is_some()
        };
        let replaced: Vec<&[u8]> = e.outputs.iter().filter(in_place).map(|o| &*o.path).collect();
        // To be known before anything is put back: what runs after that would run on its own outputs.
        let repeatable =
            replaced.is_empty() && e.outputs.iter().all(|o| matches!(o.kind, cache::OutputKind::File { .. }));
        if let Some(why) = t.must_run(&d, texts.as_deref().unwrap_or_default(), repeatable) {
            return self.run_pip(t, d, fixed, Reason::NotRestorable { why: why.to_owned() }, None, started);
        }
        let busy = replaced.iter().find(|p| self.files.contested(p, OURSELVES, 0, started)).copied();
        if let Some(path) = busy.or_else(|| t.held_open(&replaced)) {
            // It would go on with a file that is gone.
            let why = format!("`{}` is open in a process of the build", text(path));
            return self.run_pip(t, d, fixed, Reason::NotRestorable { why }, None, started);
        }
        let before: Vec<Option<FileStat>> = e.outputs.iter().map(|o| FileStat::of(&o.path)).collect();
        // A directory that is as it is to be: nothing is written.
        let stays = |i: usize| match &e.outputs[i].kind {
            cache::OutputKind::Directory { mode, time: None } => {
                before[i].is_some_and(|s| s.is_dir() && s.mode == *mode)
            }
            _ => false,
        };
        let restored = texts.and_then(|texts| {
            let noted = self.journal_restore(&e.outputs);
            for (_, o) in e.outputs.iter().enumerate().filter(|(i, _)| !stays(*i)) {
                self.files.writing(&o.path, OURSELVES);
            }
            let r = materialise::restore(&cache.cas, &e.outputs);
            for (i, o) in e.outputs.iter().enumerate().filter(|(i, _)| !stays(*i)) {
                let state = r.as_ref().ok().and_then(|r| r.states[i]).or_else(|| FileStat::of(&o.path));
                self.files.settle(&o.path, 1, state);
                if let (Ok(_), Some(s), cache::OutputKind::File { digest, size, traits, .. }) = (&r, state, &o.kind) {
                    self.files.know(&s, cache::digest::Content { digest: *digest, size: *size, traits: *traits });
                }
            }
            if r.is_ok() {
                self.journal_ended(noted);
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
                let why = err.to_string();
                // What it makes now may come of what an earlier run of it has left.
                let reason = if matches!(err, cache::Error::Partly(_)) {
                    Reason::Uncacheable { why }
                } else {
                    Reason::RestoreFailed { why }
                };
                return self.run_pip(t, d, fixed, reason, None, Instant::now());
            }
        };
        if let (Stdin::Regular { fd, .. }, Some(end)) = (&d.stdin, e.stdin_end) {
            // The description is shared: what the command would have consumed is consumed.
            let _ = rustix::fs::seek(fd, rustix::fs::SeekFrom::Start(end));
        }
        self.restored.fetch_add(r.bytes, Ordering::Relaxed);
        let mut item = self.item((&fixed.argv, &fixed.env, &fixed.cwd), Outcome::Hit, None, started, e.exit_code, e);
        // What was stored without enforcement fails with it.
        if let Some(v) = self.note_hit(&fixed, &found, &item) {
            (item.outcome, item.exit_code, item.violations) = (Outcome::Failed, 1, v.reasons.clone());
            self.take_back(&v, e.outputs.iter().map(|o| &o.path).zip(before.iter().map(Option::is_some)));
        }
        if item.exit_code != 0 {
            item.text = crate::record::end_of(texts.iter().map(|c| &c.bytes[..]));
        }
        if let Err(failed) = t.hit(item.exit_code, &texts, &d) {
            let (why, t) = *failed;
            if !matches!(why, tracer::HitError::Unheard) {
                self.warn(format!("a hit could not be served: {why}"));
            }
            return self.run_pip(t, d, fixed, Reason::Uncacheable { why: why.to_string() }, None, started);
        }
        self.saved_us.fetch_add(e.wall_us, Ordering::Relaxed);
        self.used.lock().expect("used").push(found.strong);
        let result =
            ResultOf { strong: found.strong, path_set: found.path_set, set: &found.set, values: &found.values };
        self.note_products(&fixed, &result, &e.outputs, |_| true);
        self.push(item);
    }

    /// What the record tells of a command: its words, its environment (which only serves to find secrets), its
    /// directory.
    pub(crate) fn item(
        &self,
        (argv, env, cwd): (&[Vec<u8>], &[Vec<u8>], &[u8]),
        outcome: Outcome,
        reason: Option<Reason>,
        started: Instant,
        code: i32,
        e: &Entry,
    ) -> Item {
        let argv = redact(argv, env);
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
            violations: Vec::new(),
            text: String::new(),
            wall_ms: micros(started) as f64 / 1e3,
            saved_ms: if outcome == Outcome::Hit { e.wall_us as f64 / 1e3 } else { 0.0 },
            exit_code: code,
            start_ms: start,
        }
    }

    /// An exec inside a pip: recorded, and perhaps the sign that the pip is a driver.
    pub(crate) fn inside(self: &Arc<Self>, t: ExecTicket, pip: &Arc<Pip>) {
        let r = &t.request;
        let pid = r.process.pid;
        let mut inner = pip.inner_drivers.lock().expect("inner");
        // gcc runs a make of its own for the parts of a link (`-flto=auto`, in `lto-wrapper.cc`).
        if worker::drivers::is_driver(&r.program.path, &r.argv, &self.config.drivers)
            && !pip.recorder.is_of_compiler(pid)
        {
            if !worker::drivers::only_asks(&r.argv) {
                inner.insert(pid);
                self.note_launch(&t, true);
            }
        } else if self.switches.mode == Mode::Build
            && !pip.whole
            && !inner.is_empty()
            && worker::drivers::worth_caching(&r.program.path, &r.argv)
        {
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

    /// Why the user wants no result of this program, or of the script that it runs, to be stored.
    fn forbidden(&self, program: &[u8], argv: &[Vec<u8>]) -> Option<&str> {
        let mut names = std::iter::once(program).chain(worker::scripts::scripts_of(program, argv));
        names.find_map(|n| self.config.uncached(n))
    }

    pub(crate) fn note_exec(&self, pip: &Pip, t: &ExecTicket) {
        let r = &t.request;
        if let Some(why) = self.forbidden(&r.program.path, &r.argv) {
            pip.recorder.problem(format!("by rule: {why}"));
        }
        if r.changes_rights() {
            pip.recorder.problem(format!("`{}` has rights of its own (set-user-ID)", text(&r.program.path)));
        }
        let interpreter = r.image.map(|i| &*r.interpreters[i].path);
        // The makefile is the compiler's own, and what else is in the directory of scratch files, which make lists, is
        // nobody's business.
        let parts =
            worker::drivers::is_driver(&r.program.path, &r.argv, &[]) && pip.recorder.is_of_compiler(r.process.pid);
        pip.recorder.exec(r.process.pid, &r.program.path, &r.argv, interpreter, &r.cwd);
        for path in std::iter::once(&r.program).chain(&r.interpreters) {
            if !self.config.ignores(&path.path) {
                let _ = pip.recorder.access(
                    r.process.pid,
                    &Access { op: tracer::Op::Exec, path: path.clone(), call: "execve", late: None },
                );
            }
        }
        // The program itself always counts.
        if parts || self.config.ignores_tool(&r.program.path) {
            pip.recorder.ignore(r.process.pid);
        }
    }

    /// The pip launches pips itself: from here on it is a driver, now and in later runs.
    pub(crate) fn demote(self: &Arc<Self>, t: ExecTicket, scope: Scope, pip: &Arc<Pip>) {
        self.scopes.write().expect("scopes").insert(scope, ScopeKind::Driver);
        if let Some(launch) = pip.fixed.launch {
            self.tell(&Event::BecameDriver { launch });
        }
        let h = History { driver: true, ..self.history(&pip.fixed.command) };
        self.put_history(&pip.fixed.command, &h);
        self.forget_products(pip.writes.lock().expect("writes").keys());
        self.hand_over(&pip.writes);
        self.journal_ended(scope);
        // The capture goes on forwarding by itself.
        drop(pip.tap.lock().expect("tap").take());
        drop(pip.slot.lock().expect("slot").take());
        self.exec_by_driver(t);
    }

    pub(crate) fn exec_by_driver(self: &Arc<Self>, t: ExecTicket) {
        let r = &t.request;
        if worker::drivers::is_driver(&r.program.path, &r.argv, &self.config.drivers) {
            self.note_launch(&t, true);
            return t.enter(Scope::DRIVER, false);
        }
        let me = self.clone();
        t.later(move |t| me.start(t));
    }

    /// Tells who starts, if anybody wants to know; the result is the number of the launch.
    pub(crate) fn note_launch(&self, t: &ExecTicket, driver: bool) -> Option<usize> {
        if !self.switches.audit && self.guard().is_none() {
            return None;
        }
        let start_ms = self.started.elapsed().as_secs_f64() * 1e3;
        let tell = |launch, what: &_| self.tell(&Event::Launched { launch, what });
        Some(self.launches.add(&t.request, driver, start_ms, tell))
    }

    /// Tells what a hit stands for: what its recorded run had looked at.
    fn note_hit(&self, fixed: &Static, found: &lookup::Found, item: &Item) -> Option<Verdict> {
        let (Some(launch), Some(cache)) = (fixed.launch.filter(|_| self.switches.audit), &self.cache) else {
            return None;
        };
        let set = cache.store.path_set(&found.path_set).ok().flatten().unwrap_or_else(|| {
            self.warn(format!("what `{}` looked at cannot be read from the cache: it is not judged", item.command));
            cache::PathSet::default()
        });
        self.ended(&seen::Seen {
            launch,
            hit: true,
            exit_code: found.entry.exit_code,
            start_ms: item.start_ms,
            end_ms: item.start_ms + item.wall_ms,
            uses: seen::uses(set.observations().iter()),
            made: seen::made(&found.entry.outputs),
            faults: Vec::new(),
        })
    }

    /// A pip has ended: the judge says whether it has to fail, and everybody is told.
    pub(crate) fn ended(&self, pip: &seen::Seen) -> Option<Verdict> {
        let judge = self.switches.judge.as_deref();
        let verdict = judge.and_then(|j| j.judge(pip));
        judge.iter().flat_map(|j| j.take_gaps()).for_each(|g| self.warn(format!("not enforced: {g}")));
        self.tell(&Event::Ended(pip));
        verdict
    }

    /// What a failed command has made must not look finished: the build tool would not run it again. What was not there
    /// before is removed, what its step makes anew is made older than its inputs. All else that it changed keeps its
    /// new time, since others are made from it.
    pub(crate) fn take_back<'a>(&self, v: &Verdict, outputs: impl Iterator<Item = (&'a cache::PathBytes, bool)>) {
        let is_file = |p: &cache::PathBytes| FileStat::of(p).is_some_and(|s| !s.is_dir());
        for (path, was_there) in outputs.filter(|(p, was_there)| is_file(p) && (!was_there || v.outputs.contains(*p))) {
            let name = Path::new(OsStr::from_bytes(path));
            self.files.writing(path, OURSELVES);
            let done = if was_there { cache::file_stat::age(name) } else { std::fs::remove_file(name) };
            self.files.settle(path, 1, FileStat::of(path));
            if let Err(e) = done {
                self.warn(format!("`{}` of a command that failed is still there: {e}", String::from_utf8_lossy(path)));
            }
        }
    }

    /// Notes what a restore is about to put in place; the result names it for [`Engine::journal_ended`].
    fn journal_restore(&self, outputs: &[cache::Output]) -> Scope {
        let number = Scope(self.next_scope.fetch_add(1, Ordering::Relaxed));
        if let Some(j) = &self.journal {
            for o in outputs.iter().filter(|o| !matches!(o.kind, cache::OutputKind::Deleted)) {
                match FileStat::of(&o.path) {
                    None => j.creates(number.0, &o.path),
                    Some(s) if s.is_file() => j.replaces(number.0, &o.path),
                    Some(_) => {}
                }
            }
        }
        number
    }

    pub(crate) fn journal_ended(&self, s: Scope) {
        if let Some(j) = &self.journal {
            j.ended(s.0);
        }
    }
}
