//! A build as one file for another machine, so that two builds of different machines can be compared there.
//!
//! The file is the build's record (JSON) with what each result observed, which the record itself leaves in the cache,
//! and the name of the cache's key. An imported build is kept beside the own ones, under a number of its own, and is
//! never taken for an earlier build of this workspace, wherever it was made.

use super::compare::Observed;
use super::{Explainer, Unexplained};
use crate::record::{BuildRecord, Kept, VERSION};
use cache::PathSet;

/// A build that cannot be exported, or imported.
#[derive(Debug, thiserror::Error)]
pub enum NotExported {
    #[error(transparent)]
    Unknown(#[from] Unexplained),
    #[error("this is no build that `xl log export` has written")]
    NoBuild(#[source] serde_json::Error),
    #[error("the build is of another version of xl: form {0}, this one reads form {VERSION}")]
    Version(u32),
    #[error("it was not exported: its record lacks the name of the key")]
    Incomplete,
    #[error("the cache cannot keep it")]
    Cache(#[from] cache::Error),
}

impl Explainer<'_> {
    /// The file for build `number`, or the last one of this workspace.
    ///
    /// # Errors
    /// There is no such build.
    pub fn export(&self, number: Option<u64>) -> Result<Vec<u8>, NotExported> {
        let build = match number {
            Some(n) => self.build(n).ok_or(Unexplained::NoSuchBuild(n))?,
            None => self.builds(u64::MAX).next().ok_or(Unexplained::NoBuild)?,
        };
        let items = build.items().map(|i| {
            let mut item = self.with_facts(&build, &i);
            item.seen = item.seen.or_else(|| self.observed(&i).and_then(kept));
            item
        });
        let key = build.head.key.clone().or_else(|| Some(self.cache.store.key_name()));
        let record = BuildRecord { key, items: items.collect(), ..build.head };
        serde_json::to_vec(&record).map_err(NotExported::NoBuild)
    }

    /// Keeps such a file as a build; the result is its number.
    ///
    /// # Errors
    /// The file is something else, or the cache cannot be written.
    pub fn import(&self, file: &[u8]) -> Result<u64, NotExported> {
        let record: BuildRecord = serde_json::from_slice(file).map_err(NotExported::NoBuild)?;
        if record.version != VERSION {
            return Err(NotExported::Version(record.version));
        }
        if record.key.is_none() {
            return Err(NotExported::Incomplete);
        }
        // Written anew: records are searched as text, in the form that this version writes.
        let text = serde_json::to_vec(&record).map_err(NotExported::NoBuild)?;
        Ok(self.cache.store.add_build(&text)?)
    }
}

fn kept(o: Observed) -> Option<Kept> {
    let (bytes, _) = o.set.encode().ok()?;
    Some(Kept { set: bytes.iter().map(|b| format!("{b:02x}")).collect(), values: o.values })
}

/// What a file says that was observed; nothing if it is damaged.
pub(super) fn observed(kept: &Kept) -> Option<Observed> {
    let digits = kept.set.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    let set = PathSet::decode(&bytes?).ok()?;
    (set.observations().len() == kept.values.len()).then(|| Observed { set, values: kept.values.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache::Observation;

    #[test]
    fn observations_come_back() {
        let set = PathSet::new(["/w/a", "/w/b"].map(|p| Observation::FileContent(p.as_bytes().into())).to_vec());
        let kept = kept(Observed { set: set.clone(), values: vec![1, 2] }).unwrap();
        let back = observed(&kept).unwrap();
        assert_eq!((back.set, back.values), (set, vec![1, 2]));
        for bad in ["", "0", "zz", &kept.set[2..]] {
            assert!(observed(&Kept { set: bad.into(), values: vec![1, 2] }).is_none(), "{bad}");
        }
        assert!(observed(&Kept { values: vec![1], ..kept }).is_none());
    }
}
