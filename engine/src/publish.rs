//! After a pip ran: what it did is told, judged and published, and then its process may go.
//!
//! Nothing that happens here can fail the build: a result that cannot be stored is reported and forgotten.

use crate::asked::{Asked, item};
use crate::differences::{Different, differences};
use crate::event::{Event, Recheck};
use crate::judge::Verdict;
use crate::lookup::Reason;
use crate::policy;
use crate::products::ResultOf;
use crate::record::{Item, Outcome};
use crate::run::{Engine, micros};
use crate::seen::{self, Fault, Seen};
use cache::entry::{INLINE_TEXT, TextContent};
use cache::{Entry, PathSet, Publication, Text, shown};
use std::time::Instant;
use tracer::{Chunk, Stream};
use worker::Finished;
use worker::evaluate::Now;
use worker::executor::{Ended, Ran};
use worker::tools;

impl Engine {
    /// What came of a command that had to run.
    pub(crate) fn ended(&self, asked: &Asked, what: Ended) {
        match what {
            Ended::Ran(ran) => self.ran(asked, *ran),
            Ended::Killed { started, wrote } => {
                self.forget_products(wrote.iter());
                let mut item = self.ran_item(asked, Outcome::Failed, started, &Entry::default());
                item.exit_code = 128;
                item.not_stored = Some(Reason::Killed.to_string());
                self.tell(&Event::Done(&item));
            }
            Ended::Driver { wrote } => {
                if let Some(launch) = asked.launch {
                    self.tell(&Event::BecameDriver { launch });
                }
                self.put_history(&asked.key, &cache::store::History { driver: true, ..self.history(&asked.key) });
                self.forget_products(wrote.iter());
            }
        }
    }

    fn ran_item(&self, asked: &Asked, outcome: Outcome, started: Instant, e: &Entry) -> Item {
        let mut item = item(asked.words(), outcome, self.ms(started), micros(started) as f64 / 1e3, e);
        item.reason = Some(asked.reason.clone());
        item.facts = asked.facts.clone();
        item
    }

    /// A command ran to its end; its process is held in its exit until `ran.exit` is let go.
    fn ran(&self, asked: &Asked, mut ran: Ran) {
        let code = ran.entry.exit_code;
        let done = &ran.done;
        let mut problem = match &asked.reason {
            Reason::Uncacheable { why } => Some(why.clone()),
            _ => done.problems.first().cloned(),
        };
        if ran.survived {
            self.fault(asked, &Fault::Survivor);
        }
        let verdict = self.note_run(asked, &mut ran);
        let done = &ran.done;
        let mut item = self.ran_item(asked, Outcome::Miss, ran.started, &ran.entry);
        item.outputs = done.written.iter().map(|w| shown(&w.path)).collect();
        if verdict.is_some() || code != 0 {
            item.text = crate::record::end_of(ran.text.iter().map(|c| &c.bytes[..]));
        }
        let wall_us = ran.entry.wall_us;
        if verdict.is_some() {
            problem = Some("its build file does not declare what it uses".to_owned());
        } else if ran.collected && problem.is_none() {
            match self.publish(asked, std::mem::take(&mut ran.entry), &ran.text, done) {
                Ok(None) => {}
                Ok(Some([weak, strong, path_set])) => {
                    item.weak = Some(weak);
                    item.result = Some([strong, path_set]);
                }
                Err(why) => problem = Some(why),
            }
        } else if asked.expected.is_some() {
            self.tell(&Event::Rechecked(Recheck::Unknown));
        }
        if problem.is_some() || !ran.collected {
            self.forget_products(done.written.iter().map(|w| &w.path));
        }
        self.remember(asked, wall_us, ran.cost_us, code, ran.ran_toolchain);
        if let Some(v) = &verdict {
            self.take_back(v, done.written.iter().map(|w| (&w.path, w.was_there)));
        }
        // Everything that the next command may look at is settled: the parent may go on.
        if verdict.is_none() {
            ran.exit.release();
        } else {
            item.exit_code = 1;
            if let Err(e) = ran.exit.release_with(1) {
                let what = "uses what its build file does not declare, and could not be made to fail";
                self.warn(format!("`{}` {what}: {e}", item.command));
            }
        }
        if let Some(v) = verdict {
            item.violations = v.reasons;
            item.outcome = Outcome::Failed;
            item.not_stored = problem;
        } else if let Some(why) = problem {
            item.not_stored = Some(why);
            item.outcome = Outcome::Uncacheable;
        } else if code != 0 && !self.config.failures {
            item.outcome = Outcome::Failed;
            item.not_stored = Some(Reason::Failed { code }.to_string());
        }
        self.tell(&Event::Done(&item));
    }

    fn differs(&self, asked: &Asked, d: &Different) {
        d.paths.iter().for_each(|p| self.fault(asked, &Fault::DifferentFile(p.clone())));
        d.others.iter().for_each(|what| self.fault(asked, &Fault::Different(what.clone())));
    }

    /// Tells what makes the result of a pip doubtful.
    fn fault(&self, asked: &Asked, fault: &Fault) {
        if let Some(launch) = asked.launch {
            self.tell(&Event::Fault { launch, fault });
        }
    }

    /// Tells what a pip that ran has looked at and made.
    fn note_run(&self, asked: &Asked, ran: &mut Ran) -> Option<Verdict> {
        let launch = asked.launch.filter(|_| self.switches.audit)?;
        let evidence = std::mem::take(&mut ran.evidence);
        let done = &ran.done;
        if done.asks_time {
            self.fault(asked, &Fault::Time);
        }
        if let Some((who, word)) = &done.asks {
            self.fault(asked, &Fault::Asks { who: who.clone(), word });
        }
        let mut made = seen::made(&ran.entry.outputs);
        if made.is_empty() {
            made = done.written.iter().map(seen::Made::of).collect();
        }
        let uses = seen::with_evidence(&done.observations, &made, evidence, |p| self.config.ignores(p));
        let (start_ms, end_ms) = (self.ms(ran.started), self.ms(Instant::now()));
        let exit_code = ran.entry.exit_code;
        self.judged(&Seen { launch, hit: false, exit_code, start_ms, end_ms, uses, made, faults: Vec::new() })
    }

    /// Stores a result: its weak and strong fingerprints and its path set, if there is a cache.
    fn publish(
        &self,
        asked: &Asked,
        mut entry: Entry,
        text: &[Chunk],
        done: &Finished,
    ) -> Result<Option<[String; 3]>, String> {
        let (Some(cache), Some(weak)) = (&self.cache, &asked.weak) else { return Ok(None) };
        let weak = weak.of_result(done.stdin, text, done.minds_no_stream);
        let trouble = |e: &cache::Error| {
            self.cache_trouble(e);
            e.to_string()
        };
        for c in text {
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
        let world = self.world(&asked.command.env, &asked.command.cwd, &asked.command.limits);
        let weak = &crate::lookup::publication_weak(weak, &digest, cache.near(), &Now::new(&world))
            .map_err(|e| trouble(&e))?;
        let strong = cache::path_set::strong_fingerprint(weak, &digest, &values);
        let values: Vec<u64> = values.iter().map(cache::tier::short).collect();
        let publication = Publication { weak, set: &set, strong: &strong, values: &values, entry: &entry };
        let earlier = cache.publish(&publication).map_err(|e| trouble(&e))?;
        let result = ResultOf { strong, path_set: digest, set: &set, values: &values };
        self.note_products(asked, &result, &entry.outputs, |path| {
            done.written.iter().any(|w| w.path == *path && w.was_there)
        });
        if let Some(e) = &asked.expected {
            match differences(e, &entry, &cache.cas) {
                None => self.tell(&Event::Rechecked(Recheck::Same)),
                Some(what) => {
                    self.differs(asked, &what);
                    self.tell(&Event::Rechecked(Recheck::Different(&format!("`{}`: {what}", asked.shown()))));
                }
            }
        } else if let Some(what) = earlier.and_then(|e| differences(&e, &entry, &cache.cas)) {
            self.differs(asked, &what);
            self.warn(format!("not deterministic: `{}` made {what} anew with other content", asked.shown()));
        }
        self.tell(&Event::Stored { bytes: entry.bytes() });
        Ok(Some([*weak, strong, digest].map(|d| d.hex())))
    }

    /// Keeps how long a command takes, for the question whether it is worth a lookup.
    fn remember(&self, asked: &Asked, wall_us: u64, cost_us: u64, code: i32, ran_toolchain: bool) {
        let mut h = self.history(&asked.key);
        let toolchain = tools::is_toolchain(&asked.command.program) || ran_toolchain;
        h.runs += 1;
        h.wall_us = wall_us;
        h.cheap_runs = if cost_us < policy::CHEAP_US && code == 0 && !toolchain { h.cheap_runs + 1 } else { 0 };
        self.put_history(&asked.key, &h);
    }
}
