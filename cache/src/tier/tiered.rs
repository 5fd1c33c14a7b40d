//! Two tiers as one: what is read from the farther is kept in the nearer, what is written goes to both.
//!
//! The nearer one decides: what it says is an error is one. The farther one is a help; when it fails, that is counted
//! ([`Tiered::troubles`]) and the nearer answers alone, unless the two are [strict](Tiered::strict). A `Tiered` may be
//! either part of another one.
//!
//! A lookup asks both for candidates. Who wants to spare the farther's latency asks the nearer tier alone first.

use super::{Blobs, Failure, Link, Publication, Results, Sink, Upload};
use crate::error::Class;
use crate::{Digest, Entry, Error, PathSet, Result};
use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::sync::Mutex;

pub struct Tiered<N, F> {
    near: N,
    far: F,
    strict: bool,
    troubles: Mutex<BTreeMap<Class, Trouble>>,
}

/// What went wrong at the farther tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub class: Class,
    pub times: u64,
    /// The last time, in words.
    pub message: String,
}

impl<N, F> Tiered<N, F> {
    pub fn new(near: N, far: F) -> Self {
        Self { near, far, strict: false, troubles: Mutex::default() }
    }

    /// A failure of the farther tier is one of the whole.
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// What went wrong at the farther tier so far, by class.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.troubles.lock().expect("troubles").values().cloned().collect()
    }

    fn note(&self, e: &Error) {
        if e.class() == Class::Absent {
            return;
        }
        let mut all = self.troubles.lock().expect("troubles");
        let new = Trouble { class: e.class(), times: 0, message: String::new() };
        let trouble = all.entry(e.class()).or_insert(new);
        trouble.times += 1;
        trouble.message = e.to_string();
    }

    /// What the farther tier answered; `None`: nothing that counts.
    fn far<T>(&self, answer: Result<T>) -> Result<Option<T>> {
        match answer {
            Ok(t) => Ok(Some(t)),
            Err(e) => {
                self.note(&e);
                if self.strict { Err(e) } else { Ok(None) }
            }
        }
    }

    /// Puts what the farther tier says of some wanted things into the gaps of `found`.
    fn fill<T>(
        &self,
        wanted: &[Digest],
        mut found: Vec<Option<T>>,
        ask: impl FnOnce(&[Digest]) -> Result<Vec<Option<T>>>,
    ) -> Result<Vec<Option<T>>> {
        let gaps: Vec<usize> = (0..found.len()).filter(|i| found[*i].is_none()).collect();
        if gaps.is_empty() {
            return Ok(found);
        }
        let rest: Vec<Digest> = gaps.iter().map(|i| wanted[*i]).collect();
        for (i, more) in gaps.into_iter().zip(self.far(ask(&rest))?.into_iter().flatten()) {
            found[i] = more;
        }
        Ok(found)
    }
}

impl<N: Results, F: Results> Results for Tiered<N, F> {
    fn candidates(&self, weak: &[Digest]) -> Result<Vec<Vec<Link>>> {
        let mut all = self.near.candidates(weak)?;
        for (links, more) in all.iter_mut().zip(self.far(self.far.candidates(weak))?.into_iter().flatten()) {
            let known: HashSet<(Digest, Digest)> = links.iter().map(|l| (l.path_set, l.strong)).collect();
            links.extend(more.into_iter().filter(|l| !known.contains(&(l.path_set, l.strong))));
            links.sort_by_key(|l| std::cmp::Reverse(l.last_used));
        }
        Ok(all)
    }

    fn path_sets(&self, wanted: &[Digest]) -> Result<Vec<Option<PathSet>>> {
        self.fill(wanted, self.near.path_sets(wanted)?, |rest| self.far.path_sets(rest))
    }

    fn entries(&self, strong: &[Digest]) -> Result<Vec<Option<Entry>>> {
        self.fill(strong, self.near.entries(strong)?, |rest| self.far.entries(rest))
    }

    fn publish(&self, p: &Publication<'_>) -> Result<Option<Entry>> {
        let near = self.near.publish(p)?;
        let far = self.far(self.far.publish(p))?.flatten();
        Ok(near.or(far))
    }

    fn adopt(&self, p: &Publication<'_>) {
        let links = self.near.candidates(std::slice::from_ref(p.weak));
        let entry = self.near.entries(std::slice::from_ref(p.strong));
        let is_linked = |all: Vec<Vec<Link>>| all.iter().flatten().any(|l| l.strong == *p.strong);
        if links.is_ok_and(is_linked) && entry.is_ok_and(|found| found.iter().all(Option::is_some)) {
            self.near.adopt(p);
        } else {
            // If it cannot be kept, the farther tier will be asked again.
            drop(self.near.publish(p));
        }
    }
}

/// Takes what the farther tier hands out into the nearer one, and from there to whoever asked.
struct Through<'a, N> {
    near: &'a N,
    to: &'a dyn Sink,
    /// What the nearer tier could not keep (it may be full), and is to be handed out without it.
    unkept: Mutex<Vec<Digest>>,
}

impl<N: Blobs + Sink> Sink for Through<'_, N> {
    fn receive(&self, digest: &Digest, from: &mut dyn Read) -> Result<()> {
        match self.near.receive(digest, from) {
            Ok(()) => self.near.read(&[*digest], self.to)?.pop().map_or(Ok(()), |f| Err(f.error)),
            Err(e) if e.class() == Class::Corrupt => Err(e),
            Err(_) => {
                self.unkept.lock().expect("unkept").push(*digest);
                Ok(())
            }
        }
    }
}

impl<N: Blobs + Sink, F: Blobs> Tiered<N, F> {
    /// Asks the farther tier for what the nearer one has `failed` to give.
    fn read_far(&self, mut failed: Vec<Failure>, sink: &dyn Sink) -> Result<Vec<Failure>> {
        if failed.is_empty() {
            return Ok(failed);
        }
        failed.sort_by_key(|f| f.digest);
        failed.dedup_by_key(|f| f.digest);
        let rest: Vec<Digest> = failed.iter().map(|f| f.digest).collect();
        let Some(lost) = self.far(self.far.read(&rest, sink))? else { return Ok(failed) };
        let mut lost: BTreeMap<Digest, Error> = lost.into_iter().map(|f| (f.digest, f.error)).collect();
        lost.values().for_each(|e| self.note(e));
        // Whose word is passed on: that of the tier that knows more than that the blob is not there.
        let told = |near: Failure| {
            let far = lost.remove(&near.digest)?;
            let tells = far.class() == Class::Corrupt || self.strict && far.class() != Class::Absent;
            Some(if tells { Failure { digest: near.digest, error: far } } else { near })
        };
        Ok(failed.into_iter().filter_map(told).collect())
    }
}

impl<N: Blobs + Sink, F: Blobs> Blobs for Tiered<N, F> {
    fn missing(&self, wanted: &[Digest]) -> Result<Vec<Digest>> {
        let missing = self.near.missing(wanted)?;
        if missing.is_empty() {
            return Ok(missing);
        }
        Ok(self.far(self.far.missing(&missing))?.unwrap_or(missing))
    }

    fn fetch(&self, wanted: &[Digest]) -> Result<Vec<Failure>> {
        self.read_far(self.near.fetch(wanted)?, &self.near)
    }

    fn read(&self, wanted: &[Digest], sink: &dyn Sink) -> Result<Vec<Failure>> {
        let through = Through { near: &self.near, to: sink, unkept: Mutex::default() };
        let mut failed = self.read_far(self.near.read(wanted, sink)?, &through)?;
        let unkept = through.unkept.into_inner().expect("unkept");
        if !unkept.is_empty() {
            match self.far(self.far.read(&unkept, sink))? {
                Some(lost) => failed.extend(lost),
                None => failed.extend(unkept.into_iter().map(Failure::absent)),
            }
        }
        Ok(failed)
    }

    fn put(&self, batch: &[Upload<'_>]) -> Result<Vec<Failure>> {
        let mut failed = self.near.put(batch)?;
        let corrupt: HashSet<Digest> =
            failed.iter().filter(|f| f.error.class() == Class::Corrupt).map(|f| f.digest).collect();
        let wanted: Vec<Digest> = batch.iter().map(|u| u.digest).filter(|d| !corrupt.contains(d)).collect();
        let Some(missing) = self.far(self.far.missing(&wanted))? else { return Ok(failed) };
        let missing: HashSet<Digest> = missing.into_iter().collect();
        let rest: Vec<Upload<'_>> = batch.iter().filter(|u| missing.contains(&u.digest)).cloned().collect();
        if !rest.is_empty() {
            let lost = self.far(self.far.put(&rest))?.unwrap_or_default();
            lost.iter().for_each(|f| self.note(&f.error));
            failed.extend(lost.into_iter().filter(|_| self.strict));
        }
        Ok(failed)
    }
}

impl<N: Sink, F: Send + Sync> Sink for Tiered<N, F> {
    fn receive(&self, digest: &Digest, from: &mut dyn Read) -> Result<()> {
        self.near.receive(digest, from)
    }
}
