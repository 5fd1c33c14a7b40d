//! The rows of the two-phase cache: links, path sets, entries, and when each result was used last.

use super::table::Table;
use super::upkeep::blob_changes;
use super::{Link, Store, now_ms, short};
use crate::{Cas, Digest, Entry, PathSet, Result};

impl Store {
    /// What is known of a weak fingerprint, most recently used first.
    pub fn links(&self, weak: &Digest) -> Result<Vec<Link>> {
        let mut out = Vec::new();
        for (k, v) in self.view.scan(Table::Links, &weak.0)? {
            let (Some(p), Some(s)) = (k.get(32..64), k.get(64..96)) else { continue };
            let digest = |b: &[u8]| Digest(b.try_into().expect("thirty-two bytes"));
            let (path_set, strong) = (digest(p), digest(s));
            let last_used = self.get(Table::Uses, &strong.0)?.unwrap_or(0);
            out.push(Link { path_set, strong, values: postcard::from_bytes(&v).unwrap_or_default(), last_used });
        }
        out.sort_by_key(|l| std::cmp::Reverse(l.last_used));
        Ok(out)
    }

    pub fn path_set(&self, d: &Digest) -> Result<Option<PathSet>> {
        Ok(self.view.get(Table::PathSets, &d.0)?.and_then(|b| PathSet::decode(&b).ok()))
    }

    pub fn entry(&self, strong: &Digest) -> Result<Option<Entry>> {
        self.get(Table::Entries, &strong.0)
    }

    /// Publishes a result: path set, entry, link and what is new in the content store in one atomic batch. The first
    /// entry of a strong fingerprint stays, unless its blobs are gone; the result is that one if it was there already.
    pub fn publish(
        &self,
        cas: &Cas,
        weak: &Digest,
        path_set: &PathSet,
        strong: &Digest,
        values: &[Digest],
        entry: &Entry,
    ) -> Result<Option<Entry>> {
        let (bytes, digest) = path_set.encode()?;
        let short: Vec<u64> = values.iter().map(short).collect();
        let key = [&weak.0[..], &digest.0, &strong.0].concat();
        let mut batch = blob_changes(cas)?;
        batch.push((Table::PathSets, digest.0.to_vec(), Some(bytes)));
        batch.push((Table::Uses, strong.0.to_vec(), Some(postcard::to_stdvec(&now_ms())?)));
        batch.push((Table::Links, key, Some(postcard::to_stdvec(&short)?)));
        self.view.update(|now| {
            let before = now.get(Table::Entries, &strong.0)?.and_then(|b| Entry::decode(&b).ok());
            let before = before.filter(|e| e.blobs().all(|d| cas.contains(d)));
            if before.is_none() {
                batch.push((Table::Entries, strong.0.to_vec(), Some(entry.encode()?)));
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
