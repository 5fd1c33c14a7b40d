//! A tier in memory, for as long as the process lives.
//!
//! It has no bounds and nothing of its own to go wrong: tests put it where another tier will be.

use super::{Blobs, Failure, Link, Publication, Results, Sink, Upload};
use crate::digest::{Named, copy_verified};
use crate::store::now_ms;
use crate::{Digest, Entry, Error, PathSet, Result};
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub struct Memory {
    rows: Mutex<Rows>,
    blobs: Mutex<HashMap<Digest, Arc<[u8]>>>,
}

#[derive(Default)]
struct Rows {
    /// The most recently used first.
    links: HashMap<Digest, Vec<Link>>,
    path_sets: HashMap<Digest, PathSet>,
    entries: HashMap<Digest, Entry>,
}

impl Memory {
    /// A whole content.
    pub fn content(&self, d: &Digest) -> Option<Arc<[u8]>> {
        self.blobs.lock().expect("blobs").get(d).cloned()
    }

    /// Drops a blob, as a collection would.
    pub fn remove(&self, d: &Digest) {
        self.blobs.lock().expect("blobs").remove(d);
    }

    /// Keeps bytes under a digest that need not be theirs, as a damaged disk would.
    pub fn plant(&self, d: Digest, bytes: &[u8]) {
        self.blobs.lock().expect("blobs").insert(d, bytes.into());
    }
}

impl Results for Memory {
    fn candidates(&self, weak: &[Digest]) -> Result<Vec<Vec<Link>>> {
        let rows = self.rows.lock().expect("rows");
        Ok(weak.iter().map(|w| rows.links.get(w).cloned().unwrap_or_default()).collect())
    }

    fn path_sets(&self, wanted: &[Digest]) -> Result<Vec<Option<PathSet>>> {
        let rows = self.rows.lock().expect("rows");
        Ok(wanted.iter().map(|d| rows.path_sets.get(d).cloned()).collect())
    }

    fn entries(&self, strong: &[Digest]) -> Result<Vec<Option<Entry>>> {
        let rows = self.rows.lock().expect("rows");
        Ok(strong.iter().map(|d| rows.entries.get(d).cloned()).collect())
    }

    fn publish(&self, p: &Publication<'_>) -> Result<Option<Entry>> {
        let (_, path_set) = p.set.encode()?;
        let mut rows = self.rows.lock().expect("rows");
        let is_whole = |e: &Entry| e.blobs().all(|d| self.content(d).is_some());
        let before = rows.entries.get(p.strong).filter(|e| is_whole(e)).cloned();
        if before.is_none() {
            rows.entries.insert(*p.strong, p.entry.clone());
        }
        rows.path_sets.insert(path_set, p.set.clone());
        let links = rows.links.entry(*p.weak).or_default();
        links.retain(|l| (l.path_set, l.strong) != (path_set, *p.strong));
        links.insert(0, Link { path_set, strong: *p.strong, values: p.values.to_vec(), last_used: now_ms() });
        Ok(before)
    }
}

impl Blobs for Memory {
    fn missing(&self, wanted: &[Digest]) -> Result<Vec<Digest>> {
        let blobs = self.blobs.lock().expect("blobs");
        Ok(wanted.iter().filter(|d| !blobs.contains_key(d)).copied().collect())
    }

    fn read(&self, wanted: &[Digest], sink: &dyn Sink) -> Result<Vec<Failure>> {
        let hand_out = |d: &Digest| match self.content(d) {
            Some(content) => sink.receive(d, &mut &*content).inspect_err(|e| {
                if matches!(e, Error::Corrupt { .. }) {
                    self.remove(d);
                }
            }),
            None => Err(Error::Absent { digest: *d }),
        };
        Ok(wanted.iter().filter_map(|d| Some(Failure { digest: *d, error: hand_out(d).err()? })).collect())
    }

    fn put(&self, batch: &[Upload<'_>]) -> Result<Vec<Failure>> {
        let put = |u: &Upload<'_>| match self.content(&u.digest) {
            Some(_) => Ok(()),
            None => self.receive(&u.digest, &mut *u.source.open()?),
        };
        Ok(batch.iter().filter_map(|u| Some(Failure { digest: u.digest, error: put(u).err()? })).collect())
    }
}

impl Sink for Memory {
    fn receive(&self, digest: &Digest, from: &mut dyn Read) -> Result<()> {
        let memory = Path::new("memory");
        let mut content = Vec::new();
        copy_verified(digest, Named(from, memory), Named(&mut content, memory))?;
        self.plant(*digest, &content);
        Ok(())
    }
}
