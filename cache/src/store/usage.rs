//! How much is in the cache, without looking at it: sums that are kept with the rows that they count.
//!
//! The data base has the sums as they were when the last log went into it, in the same batch as its rows; the log's
//! changes are added for whoever asks. So the sums are those of the rows, at any instant. The rows may differ from the
//! content store (a blob of a process that was killed before it could tell, one that somebody removed): collections and
//! verifications compare them.

use super::base::{Base, Result};
use super::table::{Fresh, Row, Table};
use crate::digest::Sha256;
use serde::{Deserialize, Serialize};

/// What is in the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub results: u64,
    pub blobs: u64,
    /// Of all blobs.
    pub bytes: u64,
}

/// The key of the sums in [`Table::Blobs`]. To delete it is to have everything counted anew.
pub(super) const SUMS: &[u8] = b"";

/// The record of a blob: its size, and behind that its twin, if that is known. (Records without one are of versions
/// that knew none, or of stores that did not want them.)
pub(super) fn blob_row(size: u64, twin: Option<Sha256>) -> crate::Result<Vec<u8>> {
    let mut row = postcard::to_stdvec(&size)?;
    row.extend(twin.iter().flat_map(|t| t.0));
    Ok(row)
}

fn size(row: &[u8]) -> u64 {
    postcard::from_bytes(row).unwrap_or(0)
}

/// The twin in the record of a blob.
pub(super) fn twin(row: &[u8]) -> Option<Sha256> {
    let (_, rest) = postcard::take_from_bytes::<u64>(row).ok()?;
    rest.try_into().ok().map(Sha256)
}

impl Usage {
    /// Of the data base and the changes that are newer.
    pub fn of(base: Option<&Base>, fresh: &Fresh) -> Result<Self> {
        let mut sums = match base {
            Some(b) => Self::kept(b, fresh.get(Table::Blobs, SUMS).is_some())?,
            None => Self::default(),
        };
        let before = |t, k: &[u8]| base.map_or(Ok(None), |b| b.get(t, k));
        let replace = |n: &mut u64, old: u64, new: u64| *n = n.saturating_sub(old) + new;
        for (k, v) in fresh.range(Table::Entries, b"") {
            replace(&mut sums.results, before(Table::Entries, k)?.is_some().into(), v.is_some().into());
        }
        for (k, v) in fresh.range(Table::Blobs, b"").filter(|(k, _)| *k != SUMS) {
            let old = before(Table::Blobs, k)?;
            replace(&mut sums.blobs, old.is_some().into(), v.is_some().into());
            replace(&mut sums.bytes, old.as_deref().map_or(0, size), v.as_deref().map_or(0, size));
        }
        Ok(sums)
    }

    fn kept(base: &Base, anew: bool) -> Result<Self> {
        let kept = base.get(Table::Blobs, SUMS)?.and_then(|b| postcard::from_bytes(&b).ok());
        if let Some(kept) = kept.filter(|_| !anew) {
            return Ok(kept);
        }
        let mut sums = Self::default();
        for row in base.scan(Table::Entries, b"") {
            row?;
            sums.results += 1;
        }
        for row in base.scan(Table::Blobs, b"") {
            let (k, v) = row?;
            if k != SUMS {
                sums.blobs += 1;
                sums.bytes += size(&v);
            }
        }
        Ok(sums)
    }

    /// The record that keeps it.
    pub(super) fn row(&self) -> crate::Result<Row> {
        Ok((SUMS.to_vec(), postcard::to_stdvec(self)?))
    }
}
