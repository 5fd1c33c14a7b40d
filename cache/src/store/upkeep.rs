//! Collections and verifications: what there is, what of it is dropped, and that the sums are those of the blobs.

use super::notes::{History, Memo, today};
use super::table::{Change, Table};
use super::{Store, Usage, usage};
use crate::digest::Sha256;
use crate::{Cas, Digest, Entry, PathSet, Result, cas};
use std::collections::{HashMap, HashSet};

/// What was noted longer ago is dropped by a collection, and found out anew when it is needed: days.
const KEEP_NOTES: u32 = 30;

impl Store {
    /// Notes what has come to the content store, and what has gone, since the last time.
    pub fn note_blobs(&self, cas: &Cas) -> Result<()> {
        self.view.write(blob_changes(cas)?)
    }

    /// The twins of these blobs, of those of which they are known.
    pub(crate) fn twins(&self, wanted: &[Digest]) -> Result<Vec<Option<Sha256>>> {
        let rows = self.rows(Table::Blobs, wanted)?;
        Ok(rows.into_iter().map(|row| row.as_deref().and_then(usage::twin)).collect())
    }

    /// Makes the notes about blobs say what is there: `found` and their sizes, and what has come since they were looked
    /// for.
    pub fn count_blobs(&self, found: &HashMap<Digest, u64>, cas: &Cas) -> Result<()> {
        let mut batch = vec![(Table::Blobs, usage::SUMS.to_vec(), None)];
        let mut noted = HashSet::new();
        for (k, v) in self.view.scan(Table::Blobs, b"")? {
            let digest = k.as_slice().try_into().map(Digest).ok();
            let size = digest.and_then(|d| found.get(&d).copied().or_else(|| cas.size(&d)));
            match digest.filter(|_| size.is_some() && postcard::from_bytes(&v).ok() == size) {
                Some(d) => drop(noted.insert(d)),
                None => batch.push((Table::Blobs, k, None)),
            }
        }
        for (d, size) in found.iter().filter(|(d, _)| !noted.contains(*d)) {
            batch.push((Table::Blobs, d.0.to_vec(), Some(usage::blob_row(*size, None)?)));
        }
        self.view.write(batch)
    }

    /// How much there is, without looking at it.
    pub fn usage(&self) -> Result<Usage> {
        self.view.usage()
    }

    /// Every result: strong fingerprint, entry, last use.
    pub fn all_entries(&self) -> Result<Vec<(Digest, Entry, u64)>> {
        let mut out = Vec::new();
        for (k, v) in self.view.scan(Table::Entries, b"")? {
            let Ok(k) = k.try_into() else { continue };
            let d = Digest(k);
            out.push((d, Entry::decode(&v)?, self.get(Table::Uses, &d.0)?.unwrap_or(0)));
        }
        Ok(out)
    }

    /// When the result that was not used for longest was used last, milliseconds since the epoch.
    pub fn oldest_use(&self) -> Result<Option<u64>> {
        Ok(self.view.scan(Table::Uses, b"")?.iter().filter_map(|(_, v)| postcard::from_bytes(v).ok()).min())
    }

    /// Every result, with what it depends on.
    pub fn results(&self) -> Result<Vec<(Digest, PathSet)>> {
        let mut out = Vec::new();
        for (k, _) in self.view.scan(Table::Links, b"")? {
            let part = |from: usize| k.get(from..from + 32).and_then(|b| b.try_into().ok()).map(Digest);
            if let (Some(set), Some(strong)) = (part(32), part(64))
                && let Some(set) = self.path_set(&set)?
            {
                out.push((strong, set));
            }
        }
        Ok(out)
    }

    /// Drops these results and every link to them.
    pub fn drop_entries(&self, strong: &HashSet<Digest>) -> Result<()> {
        let mut batch = Vec::new();
        for (k, _) in self.view.scan(Table::Links, b"")? {
            if k.get(64..96).is_some_and(|s| strong.contains(&Digest(s.try_into().expect("thirty-two bytes")))) {
                batch.push((Table::Links, k, None));
            }
        }
        for s in strong {
            batch.push((Table::Entries, s.0.to_vec(), None));
            batch.push((Table::Uses, s.0.to_vec(), None));
        }
        self.view.write(batch)
    }

    /// Drops what no result needs any more: path sets without a link, files of results that are gone, old notes about
    /// files and commands.
    pub fn drop_leftovers(&self) -> Result<()> {
        let linked: HashSet<Vec<u8>> =
            self.view.scan(Table::Links, b"")?.into_iter().filter_map(|(k, _)| Some(k.get(32..64)?.to_vec())).collect();
        let sets = self.view.scan(Table::PathSets, b"")?.into_iter().filter(|(k, _)| !linked.contains(k));
        let mut batch: Vec<Change> = sets.map(|(k, _)| (Table::PathSets, k, None)).collect();
        let oldest = today().saturating_sub(KEEP_NOTES);
        for (k, v) in self.view.scan(Table::Memo, b"")? {
            if postcard::from_bytes::<Memo>(&v).map_or(true, |m| m.noted < oldest) {
                batch.push((Table::Memo, k, None));
            }
        }
        for (k, v) in self.view.scan(Table::Products, b"")? {
            let strong = postcard::from_bytes::<crate::Product>(&v).map(|p| p.strong);
            if strong.map_or(Ok(true), |s| self.view.get(Table::Entries, &s.0).map(|e| e.is_none()))? {
                batch.push((Table::Products, k, None));
            }
        }
        for (k, v) in self.view.scan(Table::History, b"")? {
            if postcard::from_bytes::<History>(&v).map_or(true, |h| h.noted < oldest) {
                batch.push((Table::History, k, None));
            }
        }
        self.view.write(batch)
    }

    /// Reads every record of every table; returns how many there are.
    pub fn verify(&self) -> Result<u64> {
        let mut n = 0;
        for t in Table::ALL {
            for (k, v) in self.view.scan(t, b"")? {
                match t {
                    Table::Entries => drop(Entry::decode(&v)?),
                    Table::PathSets => {
                        let set = PathSet::decode(&v)?;
                        if set.encode()?.1.0 != *k.as_slice() {
                            return Err(crate::Error::Corrupt { digest: Digest::of(&v) });
                        }
                    }
                    Table::Links => drop(postcard::from_bytes::<Vec<u64>>(&v)?),
                    _ => {}
                }
                n += 1;
            }
        }
        Ok(n)
    }
}

/// What has come to the content store, and gone, since the last time.
pub(super) fn blob_changes(cas: &Cas) -> Result<Vec<Change>> {
    let row = |(d, change)| {
        let row = match change {
            cas::Change::Came { size, twin } => Some(usage::blob_row(size, twin)?),
            cas::Change::Gone => None,
        };
        Ok((Table::Blobs, d, row))
    };
    cas.take_changes().into_iter().map(|(d, change)| row((d.0.to_vec(), change))).collect()
}
