//! The rows of the two-phase cache: links, path sets, entries, and when each result was used last.
//!
//! Each question looks at the log once, however many rows it asks for.

use super::table::Table;
use super::upkeep::blob_changes;
use super::view::Current;
use super::{Store, now_ms};
use crate::tier::{Link, Publication};
use crate::{Cas, Digest, Entry, PathSet, Result};

fn use_of(now: &mut Current<'_>, strong: &[u8]) -> Result<u64> {
    Ok(now.get(Table::Uses, strong)?.and_then(|b| postcard::from_bytes(&b).ok()).unwrap_or(0))
}

impl Store {
    /// What is known of a weak fingerprint, most recently used first.
    pub fn links(&self, weak: &Digest) -> Result<Vec<Link>> {
        let mut out = self.view.read(|now| {
            let mut out = Vec::new();
            for (k, v) in now.scan(Table::Links, &weak.0)? {
                let (Some(p), Some(s)) = (k.get(32..64), k.get(64..96)) else { continue };
                let digest = |b: &[u8]| Digest(b.try_into().expect("thirty-two bytes"));
                let values = postcard::from_bytes(&v).unwrap_or_default();
                out.push(Link { path_set: digest(p), strong: digest(s), values, last_used: use_of(now, s)? });
            }
            Ok(out)
        })?;
        out.sort_by_key(|l| std::cmp::Reverse(l.last_used));
        Ok(out)
    }

    pub fn path_set(&self, d: &Digest) -> Result<Option<PathSet>> {
        Ok(self.view.get(Table::PathSets, &d.0)?.and_then(|b| PathSet::decode(&b).ok()))
    }

    /// Path sets by their digests.
    pub fn path_sets(&self, wanted: &[Digest]) -> Result<Vec<Option<PathSet>>> {
        let decoded = |b: Option<Vec<u8>>| b.and_then(|b| PathSet::decode(&b).ok());
        Ok(self.rows(Table::PathSets, wanted)?.into_iter().map(decoded).collect())
    }

    pub fn entry(&self, strong: &Digest) -> Result<Option<Entry>> {
        self.get(Table::Entries, &strong.0)
    }

    /// Entries by their strong fingerprints. A record of another version, or damaged, is as good as absent.
    pub fn entries(&self, strong: &[Digest]) -> Result<Vec<Option<Entry>>> {
        let decoded = |b: Option<Vec<u8>>| b.and_then(|b| Entry::decode(&b).ok());
        Ok(self.rows(Table::Entries, strong)?.into_iter().map(decoded).collect())
    }

    pub(super) fn rows(&self, t: Table, wanted: &[Digest]) -> Result<Vec<Option<Vec<u8>>>> {
        self.view.read(|now| wanted.iter().map(|d| now.get(t, &d.0)).collect())
    }

    /// Publishes a result: path set, entry, link and what is new in the content store in one atomic batch. The first
    /// entry of a strong fingerprint stays, unless its blobs are gone; the result is that one if it was there already.
    pub fn publish(&self, cas: &Cas, p: &Publication<'_>) -> Result<Option<Entry>> {
        let (bytes, digest) = p.set.encode()?;
        let key = [&p.weak.0[..], &digest.0, &p.strong.0].concat();
        let mut batch = blob_changes(cas)?;
        batch.push((Table::PathSets, digest.0.to_vec(), Some(bytes)));
        batch.push((Table::Uses, p.strong.0.to_vec(), Some(postcard::to_stdvec(&now_ms())?)));
        batch.push((Table::Links, key, Some(postcard::to_stdvec(p.values)?)));
        self.view.update(|now| {
            let before = now.get(Table::Entries, &p.strong.0)?.and_then(|b| Entry::decode(&b).ok());
            let before = before.filter(|e| e.blobs().all(|d| cas.contains(d)));
            if before.is_none() {
                batch.push((Table::Entries, p.strong.0.to_vec(), Some(p.entry.encode()?)));
            }
            Ok((batch, before))
        })
    }

    /// Notes that these results were used now.
    pub fn touch(&self, strong: &[Digest]) -> Result<()> {
        let stamp = postcard::to_stdvec(&now_ms())?;
        self.view.write(strong.iter().map(|s| (Table::Uses, s.0.to_vec(), Some(stamp.clone()))).collect())
    }
}
