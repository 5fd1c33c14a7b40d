//! The end of a pip: its root is held in its exit while outputs are collected and inputs judged.
//!
//! Nothing that happens here can fail the build: a result that cannot be stored is reported as that.

use super::local::{Local, micros};
use super::{Exit, Ran, Running};
use crate::accesses::Accesses;
use crate::command::behind;
use crate::finish;
use crate::judgement::{Context, Finished};
use crate::outputs;
use crate::record::Record;
use cache::collect::{self, Collected, Written};
use cache::digest::Traits;
use cache::{Entry, FileStat, OutputKind, PathBytes, shown};
use std::os::fd::AsFd;
use tracer::{Chunk, ExitTicket};

impl Local {
    /// Collects, judges and settles what the pip did. Whoever gets the result lets its process go.
    pub(super) fn judge(&self, t: ExitTicket, pip: &Running) -> Ran {
        let wall_us = micros(pip.started);
        drop(pip.slot.lock().expect("slot").take());
        let (scope, code) = (t.scope, t.code);
        let survived = t.survivors() > 0;
        if survived {
            pip.recorder.problem("a process that it started outlives it".into());
        }
        let (text, unheard) = take_text(pip);
        for i in &pip.inherited {
            if i.file.as_ref().is_some_and(|f| !f.untouched()) {
                pip.recorder.problem(format!("it uses descriptor {}, which it inherits (`{}`)", i.fd, shown(&i.link)));
            }
        }
        let mut accesses = pip.recorder.take();
        let is_one = accesses.programs.len() == 1;
        // One program is all that its main thread's time tells; for more, the wall clock has to do.
        let cost_us = t.process.cpu_us().filter(|_| is_one).map_or(wall_us, |cpu| cpu.min(wall_us));
        let ran_toolchain = accesses.programs.iter().any(|p| crate::tools::is_toolchain(&p.path));
        let world = self.world(&pip.command.env, &pip.command.cwd, &pip.command.limits);
        let written = outputs::written(&mut accesses, &world, pip.command.limits.umask);
        let collected = pip.keep.wants(code) && accesses.problems.is_empty();
        self.find_silent_changes(&mut accesses);
        let gated = self.scopes.hold(written.iter().map(|w| w.path.clone()));
        let mut outputs = if collected { self.collect(&written, pip, &mut accesses) } else { Vec::new() };
        if let Some(path) = self.shared(&t, pip, &written, &accesses) {
            accesses.problem(format!("others may have written to `{}` while it ran", shown(&path)));
        }
        for c in &outputs {
            if let (Some(s), Some(content)) = (&c.state, &c.content) {
                self.files.know(s, *content);
            }
        }
        if survived {
            self.hand_over(&pip.writes);
        } else {
            self.settle(&pip.writes);
        }
        let evidence = if pip.explain { crate::evidence::evidence(&accesses) } else { Default::default() };
        let done = self.observe(pip, accesses, written, &outputs, &text, ran_toolchain);
        drop(gated);
        self.journal_ended(scope);
        self.scopes.remove(scope);
        if done.problems.is_empty() {
            self.know_precompiled(&mut outputs, &done);
        }
        Ran {
            entry: Entry {
                exit_code: code,
                outputs: outputs.into_iter().map(|c| c.output).collect(),
                stdin_end: pip.stdin.as_ref().and_then(|f| rustix::fs::tell(f).ok()),
                wall_us,
                created: cache::store::now(),
                ..Entry::default()
            },
            text,
            done,
            collected,
            started: pip.started,
            cost_us,
            ran_toolchain,
            survived,
            evidence,
            // Of several nobody knows who was not heard.
            exit: Exit::new(t, unheard && is_one),
        }
    }

    /// Copies what was written into the content store.
    fn collect(&self, written: &[Written], pip: &Running, a: &mut Accesses) -> Vec<Collected> {
        let Some(cache) = &self.cache else { return Vec::new() };
        collect::collect(&cache.cas, written.to_vec(), pip.began).unwrap_or_else(|e| {
            if let collect::CollectError::Cache(e) = &e {
                (self.trouble)(e);
            }
            a.problem(e.to_string());
            Vec::new()
        })
    }

    /// Turns what was recorded into observations.
    fn observe(
        &self,
        pip: &Running,
        mut a: Accesses,
        written: Vec<Written>,
        outputs: &[Collected],
        text: &[Chunk],
        ran_toolchain: bool,
    ) -> Finished {
        let stdin = match pip.stdin.as_ref().filter(|_| ran_toolchain).map(|f| behind(f.as_fd())) {
            Some(Ok(content)) => content.traits,
            Some(Err(e)) => {
                a.problem(format!("its standard input cannot be read any more: {e}"));
                Traits::default()
            }
            None => Traits::default(),
        };
        let said: Vec<u8> = text.iter().flat_map(|c| c.bytes.iter().copied()).collect();
        let context = Context {
            env: &pip.command.env,
            pass: self.rules.pass(),
            track: self.rules.track(),
            dated: outputs.iter().any(|c| c.content.is_some_and(|x| x.traits.dated)),
            stdin,
            said: &said,
            ran: [cache::file_stat::seconds(pip.began), cache::store::now().cast_signed()],
            root: self.rules.root(),
            deterministic: &|p: &[u8]| self.rules.deterministic(p),
        };
        finish::finish(a, written, &self.world(&pip.command.env, &pip.command.cwd, &pip.command.limits), &context)
    }

    /// What was seen being made is known better than its bytes tell.
    fn know_precompiled(&self, outputs: &mut [Collected], done: &Finished) {
        let precompiled = |c: &&mut Collected| c.content.is_some_and(|x| x.traits.precompiled);
        for c in outputs.iter_mut().filter(precompiled) {
            if let (Some(s), Some(x), OutputKind::File { traits, .. }) = (&c.state, &mut c.content, &mut c.output.kind)
            {
                x.traits = Traits { dated: x.traits.dated && done.precompiled.dated, ..done.precompiled };
                *traits = x.traits;
                self.files.know(s, *x);
            }
        }
    }

    /// What is written through a mapping may leave no time (on tmpfs, of a page that was read before). Nothing knows of
    /// it then: what was thought to be its content is forgotten, and the result is not stored.
    fn find_silent_changes(&self, a: &mut Accesses) {
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
                silent.push(format!("`{}` changed, and its time did not", shown(path)));
            }
        }
        silent.into_iter().for_each(|why| a.problem(why));
    }

    /// An output whose content may be somebody else's in part: what is written to in place is not the writer's alone.
    fn shared(&self, t: &ExitTicket, pip: &Running, written: &[Written], a: &Accesses) -> Option<PathBytes> {
        // A file without content is a mark or a lock.
        let files: Vec<&Written> =
            written.iter().filter(|w| w.state.is_some_and(|s| s.is_file() && s.size > 0)).collect();
        let own = |p: &PathBytes| pip.writes.of(p);
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
}

/// What the pip printed, and whether its reader went away.
fn take_text(pip: &Running) -> (Vec<Chunk>, bool) {
    let tap = pip.tap.lock().expect("tap").take();
    let told = tap.map_or(Ok(Vec::new()), tracer::Tap::finish);
    let unheard = told.as_ref().is_err_and(|why| *why == tracer::Incomplete::Abandoned);
    let text = told.unwrap_or_else(|why| {
        pip.recorder.problem(why.to_string());
        Vec::new()
    });
    (text, unheard)
}
