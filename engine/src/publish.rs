//! After a pip ran: its root is held in its exit while outputs are collected, inputs judged and the entry published.
//!
//! Nothing that happens here can fail the build: a result that cannot be stored is reported and forgotten.

use crate::event::Event;
use crate::judge::Verdict;
use crate::lookup::Reason;
use crate::pip::Pip;
use crate::policy;
use crate::products::ResultOf;
use crate::record::Outcome;
use crate::redact::{one_line, redact};
use crate::run::{Engine, Gate, micros, text};
use crate::seen::{self, Fault, Seen};
use cache::collect::{self, Written};
use cache::digest::Traits;
use cache::entry::{INLINE_TEXT, TextContent};
use cache::{Cas, Entry, FileStat, OutputKind, PathBytes, PathSet, Publication, Text};
use rustc_hash::FxHashMap;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use tracer::{Chunk, ExitTicket, Stream};
use worker::finish::{self, Context};
use worker::outputs;
use worker::record::Record;
use worker::recorder::{Accesses, Stdin};

/// Names whose writers wait until this is dropped.
pub(crate) struct Held<'a> {
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

/// What went to standard output and to standard error. In which order it came on two pipes is a matter of timing.
fn streams(e: &Entry, cas: &Cas) -> Option<[Vec<u8>; 2]> {
    let mut all = [Vec::new(), Vec::new()];
    for t in &e.text {
        let into = &mut all[usize::from(t.stream == 2)];
        match &t.content {
            TextContent::Inline(b) => into.extend_from_slice(b),
            TextContent::Blob(d) => into.extend_from_slice(&cas.read(d).ok()?),
        }
    }
    Some(all)
}

/// In what two results of one command differ.
fn differences(known: &Entry, made: &Entry, cas: &Cas) -> Option<Different> {
    if known.same_result(made) {
        return None;
    }
    let lacks = |e: &'_ Entry, o: &cache::Output| !e.outputs.iter().any(|x| x.by_itself() == o.by_itself());
    let changed = made.outputs.iter().filter(|o| lacks(known, o));
    // A directory that another command has made at the same time (`mkdir -p`, libtool's `.libs`) is there all the same.
    let is_there = |o: &cache::Output| matches!(o.kind, OutputKind::Directory { mode, .. } if FileStat::of(&o.path).is_some_and(|s| s.is_dir() && s.mode == mode));
    let missing = known.outputs.iter().filter(|o| !made.outputs.iter().any(|m| m.path == o.path) && !is_there(o));
    let paths = changed.chain(missing).map(|o| o.path.clone()).collect();
    let code = (known.exit_code != made.exit_code)
        .then(|| format!("exit code {} instead of {}", made.exit_code, known.exit_code));
    let words = (known.text != made.text && streams(known, cas) != streams(made, cas)).then(|| "its text".to_owned());
    let d = Different { paths, others: code.into_iter().chain(words).collect() };
    (!d.paths.is_empty() || !d.others.is_empty()).then_some(d)
}

/// What is different of two results.
struct Different {
    paths: Vec<PathBytes>,
    /// What has no name of its own: the exit code, the text.
    others: Vec<String>,
}

impl std::fmt::Display for Different {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let paths = self.paths.iter().map(|p| format!("`{}`", text(p)));
        f.write_str(&paths.chain(self.others.iter().cloned()).collect::<Vec<_>>().join(", "))
    }
}

impl Engine {
    /// The root of a pip is held in its exit: collect, judge, publish, let go.
    pub(crate) fn finish(&self, t: ExitTicket, pip: &Arc<Pip>) {
        let wall_us = micros(pip.started);
        drop(pip.slot.lock().expect("slot").take());
        let (scope, code) = (t.scope, t.code);
        let survived = t.survivors() > 0;
        if survived {
            pip.recorder.problem("a process that it started outlives it".into());
            self.fault(pip, &Fault::Survivor);
        }
        let tap = pip.tap.lock().expect("tap").take();
        let told = tap.map_or(Ok(Vec::new()), tracer::Tap::finish);
        let unheard = told.as_ref().is_err_and(|why| *why == tracer::Incomplete::Abandoned);
        let texts = told.unwrap_or_else(|why| {
            pip.recorder.problem(why.to_string());
            Vec::new()
        });
        for i in &pip.inherited {
            if i.file.as_ref().is_some_and(|f| !f.untouched()) {
                pip.recorder.problem(format!("it uses descriptor {}, which it inherits (`{}`)", i.fd, text(&i.link)));
            }
        }
        let mut accesses = pip.recorder.take();
        // One program is all that its main thread's time tells; for more, the wall clock has to do.
        let cost_us =
            t.process.cpu_us().filter(|_| accesses.programs.len() == 1).map_or(wall_us, |cpu| cpu.min(wall_us));
        // Of several nobody knows who was not heard.
        let unheard = unheard && accesses.programs.len() == 1;
        let ran_toolchain = accesses.programs.iter().any(|p| worker::drivers::is_toolchain(&p.path));
        let world = self.world(&pip.fixed.env, &pip.fixed.cwd);
        let written = outputs::written(&mut accesses, &world, pip.fixed.umask);
        let store = code == 0 || self.config.failures;
        let collectable = self.switches.write && store && pip.fixed.weak.is_some() && accesses.problems.is_empty();
        self.find_silent_changes(&mut accesses);
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
        if let Some(path) = self.shared(&t, pip, &written, &accesses) {
            accesses.problem(format!("others may have written to `{}` while it ran", text(&path)));
        }
        for c in &outputs {
            if let (Some(s), Some(content)) = (&c.state, &c.content) {
                self.files.know(s, *content);
            }
        }
        let precompiled = |c: &collect::Collected| c.content.is_some_and(|x| x.traits.precompiled);
        let dated = outputs.iter().any(|c| c.content.is_some_and(|x| x.traits.dated));
        if survived {
            self.hand_over(&pip.writes);
        } else {
            self.settle(&pip.writes);
        }
        let stdin = match pip.stdin.as_ref().filter(|_| ran_toolchain).map(|f| crate::weak::behind(f.as_fd())) {
            Some(Ok(content)) => content.traits,
            Some(Err(e)) => {
                accesses.problem(format!("its standard input cannot be read any more: {e}"));
                Traits::default()
            }
            None => Traits::default(),
        };
        let deterministic = |p: &[u8]| self.config.deterministic(p);
        let said: Vec<u8> = texts.iter().flat_map(|c| c.bytes.iter().copied()).collect();
        let c = Context {
            env: &pip.fixed.env,
            pass: &self.config.pass,
            track: &self.config.track,
            dated,
            stdin,
            said: &said,
            ran: [cache::file_stat::seconds(pip.began), cache::store::now().cast_signed()],
            root: self.config.root.as_os_str().as_encoded_bytes(),
            deterministic: &deterministic,
        };
        let evidence = self.switches.audit.then(|| seen::evidence(&accesses));
        let done = finish::finish(accesses, written, &world, &c);
        drop(held);
        self.journal_ended(scope);
        self.scopes.write().expect("scopes").remove(&scope);
        let mut problem = match &pip.reason {
            Reason::Uncacheable { why } => Some(why.clone()),
            _ => done.problems.first().cloned(),
        };
        if problem.is_none() {
            // What was seen being made is known better than its bytes tell.
            for c in outputs.iter_mut().filter(|c| precompiled(c)) {
                if let (Some(s), Some(x), OutputKind::File { traits, .. }) =
                    (&c.state, &mut c.content, &mut c.output.kind)
                {
                    x.traits = Traits { dated: x.traits.dated && done.precompiled.dated, ..done.precompiled };
                    *traits = x.traits;
                    self.files.know(s, *x);
                }
            }
        }
        let entry = Entry {
            exit_code: code,
            outputs: outputs.into_iter().map(|c| c.output).collect(),
            text: Vec::new(),
            stdin_end: pip.stdin.as_ref().and_then(|f| rustix::fs::tell(f).ok()),
            wall_us,
            cpu_us: 0,
            created: cache::store::now(),
        };
        let verdict = self.note_run(pip, code, &done, &entry, evidence.unwrap_or_default());
        let mut item = self.item(
            (&pip.fixed.argv, &pip.fixed.env, &pip.fixed.cwd),
            Outcome::Miss,
            Some(pip.reason.clone()),
            pip.started,
            code,
            &entry,
        );
        item.outputs = done.written.iter().map(|w| text(&w.path)).collect();
        if verdict.is_some() || code != 0 {
            item.text = crate::record::end_of(texts.iter().map(|c| &c.bytes[..]));
        }
        if verdict.is_some() {
            problem = Some("its build file does not declare what it uses".to_owned());
        } else if collectable && problem.is_none() {
            problem = self.publish(pip, entry, &texts, &done).err();
        } else if pip.expected.is_some() {
            self.rechecked.lock().expect("rechecks").unknown += 1;
        }
        if problem.is_some() || !collectable {
            self.forget_products(done.written.iter().map(|w| &w.path));
        }
        self.remember(pip, (wall_us, cost_us), code, ran_toolchain);
        if let Some(v) = &verdict {
            self.take_back(v, done.written.iter().map(|w| (&w.path, w.was_there)));
        }
        // Everything that the next command may look at is settled: the parent may go on.
        if verdict.is_none() {
            if unheard {
                t.end_unheard();
            } else {
                drop(t);
            }
        } else {
            item.exit_code = 1;
            if let Err(e) = t.change_code(1) {
                self.warn(format!(
                    "`{}` uses what its build file does not declare, and could not be made to fail: {e}",
                    item.command
                ));
            }
        }
        if let Some(v) = verdict {
            item.violations = v.reasons;
            item.outcome = Outcome::Failed;
            item.not_stored = problem;
        } else if let Some(why) = problem {
            item.not_stored = Some(why);
            item.outcome = Outcome::Uncacheable;
        } else if !store {
            item.outcome = Outcome::Failed;
            item.not_stored = Some(Reason::Failed { code }.to_string());
        }
        self.push(item);
    }

    /// What is written through a mapping may leave no time (on tmpfs, of a page that was read before). Nothing knows of
    /// it then: what was thought to be its content is forgotten, and the result is not stored.
    fn find_silent_changes(&self, a: &mut worker::recorder::Accesses) {
        let mut silent = Vec::new();
        for (path, r) in
            a.names.iter().filter(|(_, r)| r.in_place && r.first.is_some_and(|s| s.is_file() && s.size > 0))
        {
            let Some((before, now)) = r.before.zip(FileStat::of(path).filter(|s| Some(*s) == r.first)) else {
                continue;
            };
            if let Ok(Some((content, _))) = collect::hash_file(path)
                && content.digest != before.digest
            {
                self.files.know(&now, content);
                silent.push(format!("`{}` changed, and its time did not", text(path)));
            }
        }
        silent.into_iter().for_each(|why| a.problem(why));
    }

    /// An output whose content may be somebody else's in part: what is written to in place is not the writer's alone.
    fn shared(&self, t: &ExitTicket, pip: &Pip, written: &[Written], a: &Accesses) -> Option<PathBytes> {
        // A file without content is a mark or a lock.
        let files: Vec<&Written> =
            written.iter().filter(|w| w.state.is_some_and(|s| s.is_file() && s.size > 0)).collect();
        let own = |p: &PathBytes| pip.writes.lock().expect("writes").get(p).copied().unwrap_or(0);
        let contested = files.iter().find(|w| self.files.contested(&w.path, t.scope.0, own(&w.path), pip.started));
        // A temporary that it went on to use may have got its content from others; it is gone, and cannot be asked.
        let met =
            |p: &PathBytes, r: &Record| self.files.contested(p, t.scope.0, own(p), r.since.unwrap_or(pip.started));
        let temporary =
            a.names.iter().find(|(p, r)| r.reuses && FileStat::of(p).is_none() && met(p, r)).map(|(p, _)| p.clone());
        if temporary.is_some() {
            return temporary;
        }
        // Of what was not there before, whoever opened it has said so.
        let older: Vec<&[u8]> = files.iter().filter(|w| w.in_place && w.was_there).map(|w| &*w.path).collect();
        contested.map(|w| w.path.clone()).or_else(|| t.held_open(&older).map(Into::into))
    }

    fn differs(&self, pip: &Pip, d: &Different) {
        d.paths.iter().for_each(|p| self.fault(pip, &Fault::DifferentFile(p.clone())));
        d.others.iter().for_each(|what| self.fault(pip, &Fault::Different(what.clone())));
    }

    /// Tells what makes the result of a pip doubtful.
    pub(crate) fn fault(&self, pip: &Pip, fault: &Fault) {
        if let Some(launch) = pip.fixed.launch {
            self.tell(&Event::Fault { launch, fault });
        }
    }

    /// Tells what a pip that ran has looked at and made.
    fn note_run(
        &self,
        pip: &Pip,
        exit_code: i32,
        done: &finish::Finished,
        entry: &Entry,
        evidence: seen::ByName,
    ) -> Option<Verdict> {
        let launch = pip.fixed.launch.filter(|_| self.switches.audit)?;
        if done.asks_time {
            self.fault(pip, &Fault::Time);
        }
        if let Some((who, word)) = &done.asks {
            self.fault(pip, &Fault::Asks { who: who.clone(), word });
        }
        let mut made = seen::made(&entry.outputs);
        if made.is_empty() {
            made = done.written.iter().map(seen::Made::of).collect();
        }
        let start_ms = pip.started.duration_since(self.started).as_secs_f64() * 1e3;
        let end_ms = self.started.elapsed().as_secs_f64() * 1e3;
        let uses = seen::with_evidence(&done.observations, &made, evidence, |p| self.config.ignores(p));
        self.ended(&Seen { launch, hit: false, exit_code, start_ms, end_ms, uses, made, faults: Vec::new() })
    }

    fn publish(&self, pip: &Pip, mut entry: Entry, texts: &[Chunk], done: &finish::Finished) -> Result<(), String> {
        let (Some(cache), Some(weak)) = (&self.cache, &pip.fixed.weak) else { return Ok(()) };
        let weak = match done.stdin {
            Stdin::Unused => &weak.unasked,
            Stdin::Asked => &weak.asked,
            Stdin::Used => &weak.own,
        };
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
        let (observations, values): (Vec<_>, Vec<_>) = done
            .observations
            .iter()
            .filter(|(o, _)| !o.path().is_some_and(|p| self.config.ignores(p)))
            .cloned()
            .unzip();
        let set = PathSet::new(observations);
        if set.observations().len() != values.len() {
            return Err("its observations contradict each other".into());
        }
        let (_, digest) = set.encode().map_err(|e| trouble(&e))?;
        let world = self.world(&pip.fixed.env, &pip.fixed.cwd);
        let weak = &crate::lookup::publication_weak(weak, &digest, cache.results(), &world).map_err(|e| trouble(&e))?;
        let strong = cache::path_set::strong_fingerprint(weak, &digest, &values);
        let values: Vec<u64> = values.iter().map(cache::tier::short).collect();
        let publication = Publication { weak, set: &set, strong: &strong, values: &values, entry: &entry };
        let earlier = cache.publish(&publication).map_err(|e| trouble(&e))?;
        let result = ResultOf { strong, path_set: digest, set: &set, values: &values };
        self.note_products(&pip.fixed, &result, &entry.outputs, |path| {
            done.written.iter().any(|w| w.path == *path && w.was_there)
        });
        let command = || one_line(&redact(&pip.fixed.argv, &pip.fixed.env));
        if let Some(e) = &pip.expected {
            let mut r = self.rechecked.lock().expect("rechecks");
            match differences(e, &entry, &cache.cas) {
                None => r.same += 1,
                Some(what) => {
                    self.differs(pip, &what);
                    r.different.push(format!("`{}`: {what}", command()));
                }
            }
        } else if let Some(what) = earlier.and_then(|e| differences(&e, &entry, &cache.cas)) {
            self.differs(pip, &what);
            self.warn(format!("not deterministic: `{}` made {what} anew with other content", command()));
        }
        self.stored.fetch_add(entry.bytes(), Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn cache_trouble(&self, e: &cache::Error) {
        if e.is_full() {
            self.warn("the disk of the cache is full: results are not stored, the build goes on".into());
        } else {
            self.warn(format!("a result could not be stored, the build goes on: {e}"));
        }
    }

    pub(crate) fn remember(&self, pip: &Pip, (wall_us, cost_us): (u64, u64), code: i32, ran_toolchain: bool) {
        let mut h = self.history(&pip.fixed.command);
        let toolchain = worker::drivers::is_toolchain(&pip.fixed.program) || ran_toolchain;
        h.runs += 1;
        h.wall_us = wall_us;
        h.cheap_runs = if cost_us < policy::CHEAP_US && code == 0 && !toolchain { h.cheap_runs + 1 } else { 0 };
        self.put_history(&pip.fixed.command, &h);
    }

    /// Names that were announced as being written are at rest now.
    pub(crate) fn settle(&self, writes: &Mutex<FxHashMap<PathBytes, u32>>) {
        for (path, n) in writes.lock().expect("writes").drain() {
            self.files.settle(&path, n, FileStat::of(&path));
        }
    }

    /// Of these names nobody will say when they are at rest.
    pub(crate) fn hand_over(&self, writes: &Mutex<FxHashMap<PathBytes, u32>>) {
        for (path, n) in writes.lock().expect("writes").drain() {
            self.files.is_driver(&path, n);
        }
    }

    pub(crate) fn hold(&self, paths: impl Iterator<Item = PathBytes>) -> Held<'_> {
        let gate: Gate = Arc::default();
        let paths: Vec<PathBytes> = paths.collect();
        let mut all = self.collecting.lock().expect("collecting");
        for p in &paths {
            all.insert(p.clone(), gate.clone());
        }
        drop(all);
        Held { engine: self, gate, paths }
    }

    pub(crate) fn wait_for(&self, path: &[u8]) -> Option<Box<dyn FnOnce() + Send>> {
        let gate = self.collecting.lock().expect("collecting").get(path).cloned()?;
        Some(Box::new(move || {
            let mut open = gate.0.lock().expect("gate");
            while !*open {
                open = gate.1.wait(open).expect("gate");
            }
        }))
    }
}
