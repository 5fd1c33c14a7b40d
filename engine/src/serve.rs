//! A hit: outputs and text are put back, and the command never starts.

use crate::asked::{Asked, item};
use crate::event::Event;
use crate::judge::Verdict;
use crate::lookup::{Found, Reason};
use crate::products::ResultOf;
use crate::record::{Item, Outcome};
use crate::run::{Engine, micros};
use crate::seen;
use cache::entry::TextContent;
use cache::{Cas, Entry, OutputKind, PathBytes, shown};
use std::sync::Arc;
use std::time::Instant;
use tracer::Stdin;
use tracer::{Chunk, Stream};
use worker::executor::Held;

impl Engine {
    /// Answers for a command whose result is known; if that cannot be put back, it runs.
    pub(crate) fn serve(self: &Arc<Self>, held: Held, found: Found, mut asked: Asked) {
        let cache = self.cache.clone().expect("a hit comes from a cache");
        let e = &found.entry;
        let text = texts(e, &cache.cas);
        if let Some(why) = self.hindrance(&held, e, text.as_deref().unwrap_or_default(), &asked) {
            asked.reason = Reason::NotRestorable { why };
            return self.run(held, asked);
        }
        let restored = text.and_then(|text| Ok((self.local.restore(&cache.cas, &e.outputs)?, text)));
        let (r, text) = match restored {
            Ok(x) => x,
            Err(err) => {
                asked.reason = self.unrestored(&err);
                asked.started = Instant::now();
                return self.run(held, asked);
            }
        };
        let Held { ticket, descriptors } = held;
        if let (Stdin::Regular { fd, .. }, Some(end)) = (&descriptors.stdin, e.stdin_end) {
            // The description is shared: what the command would have consumed is consumed.
            let _ = rustix::fs::seek(fd, rustix::fs::SeekFrom::Start(end));
        }
        let wall_ms = micros(asked.started) as f64 / 1e3;
        let mut item = item(asked.words(), Outcome::Hit, self.ms(asked.started), wall_ms, e);
        item.far = found.far;
        item.weak = Some(found.weak.hex());
        item.result = Some([found.strong.hex(), found.path_set.hex()]);
        // What was stored without enforcement fails with it.
        if let Some(v) = self.note_hit(&asked, &found, &item) {
            (item.outcome, item.exit_code, item.violations) = (Outcome::Failed, 1, v.reasons.clone());
            self.take_back(&v, e.outputs.iter().map(|o| &o.path).zip(r.was_there.iter().copied()));
        }
        if item.exit_code != 0 {
            item.text = crate::record::end_of(text.iter().map(|c| &c.bytes[..]));
        }
        if let Err(failed) = ticket.hit(item.exit_code, &text, &descriptors) {
            let (why, ticket) = *failed;
            if !matches!(why, tracer::HitError::Unheard) {
                self.warn(format!("a hit could not be served: {why}"));
            }
            asked.reason = Reason::Uncacheable { why: why.to_string() };
            return self.run(Held { ticket, descriptors }, asked);
        }
        self.tell(&Event::Served { strong: found.strong, bytes: r.bytes, saved_us: e.wall_us });
        let result =
            ResultOf { strong: found.strong, path_set: found.path_set, set: &found.set, values: &found.values };
        self.note_products(&asked, &result, &e.outputs, |_| true);
        self.tell(&Event::Done(&item));
    }

    /// Why a result cannot be put back as the command would have left it. To be known before anything is put back: what
    /// runs after that would run on its own outputs.
    fn hindrance(&self, held: &Held, e: &Entry, text: &[Chunk], asked: &Asked) -> Option<String> {
        let is_new = |o: &cache::Output| match o.kind {
            OutputKind::File { in_place, .. } => !in_place || cache::FileStat::of(&o.path).is_none(),
            _ => false,
        };
        let repeatable = e.outputs.iter().all(is_new);
        if let Some(why) = held.ticket.must_run(&held.descriptors, text, repeatable) {
            return Some(why.to_owned());
        }
        let busy = self.local.busy(&held.ticket, &e.outputs, asked.started)?;
        Some(format!("`{}` is open in a process of the build", shown(busy)))
    }

    /// A result could not be put back; the reason for the run that comes instead.
    fn unrestored(&self, err: &cache::Error) -> Reason {
        if matches!(err, cache::Error::Corrupt { .. }) {
            self.warn(format!("{err}; it was dropped, and the command runs"));
        } else {
            self.warn(format!("a result could not be restored, the command runs: {err}"));
        }
        let why = err.to_string();
        // What it makes now may come of what an earlier run of it has left.
        if matches!(err, cache::Error::Partly(_)) { Reason::Uncacheable { why } } else { Reason::RestoreFailed { why } }
    }

    /// Tells what a hit stands for: what its recorded run had looked at.
    fn note_hit(&self, asked: &Asked, found: &Found, item: &Item) -> Option<Verdict> {
        let launch = asked.launch.filter(|_| self.switches.audit)?;
        let cache = self.cache.as_ref()?;
        let set = cache.store.path_set(&found.path_set).ok().flatten().unwrap_or_else(|| {
            self.warn(format!("what `{}` looked at cannot be read from the cache: it is not judged", item.command));
            cache::PathSet::default()
        });
        self.judged(&seen::Seen {
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
    pub(crate) fn judged(&self, pip: &seen::Seen) -> Option<Verdict> {
        let judge = self.switches.judge.as_deref();
        let verdict = judge.and_then(|j| j.judge(pip));
        judge.iter().flat_map(|j| j.take_gaps()).for_each(|g| self.warn(format!("not enforced: {g}")));
        self.tell(&Event::Ended(pip));
        verdict
    }

    /// Takes back what a command has made that is made to fail.
    pub(crate) fn take_back<'a>(&self, v: &Verdict, outputs: impl Iterator<Item = (&'a PathBytes, bool)>) {
        for (path, e) in self.local.take_back(outputs, |p| v.outputs.contains(p)) {
            self.warn(format!("`{}` of a command that failed is still there: {e}", shown(&path)));
        }
    }
}

/// What the entry prints.
fn texts(e: &Entry, cas: &Cas) -> cache::Result<Vec<Chunk>> {
    let chunk = |t: &cache::Text| {
        let bytes = match &t.content {
            TextContent::Inline(b) => b.clone(),
            TextContent::Blob(d) => cas.read(d)?,
        };
        Ok(Chunk { stream: if t.stream == 2 { Stream::Err } else { Stream::Out }, bytes })
    };
    e.text.iter().map(chunk).collect()
}
