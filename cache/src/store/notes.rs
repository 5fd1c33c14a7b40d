//! What only helps this machine: contents of files by their states, history of commands, which result a file is of,
//! records of builds.

use super::table::Table;
use super::{Access, Store, builds, now, now_ms};
use crate::{Digest, FileStat, PathBytes, Product, Result};
use serde::{Deserialize, Serialize};

/// What earlier runs of a command tell about the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// It launches pips itself and is treated as a build tool.
    pub driver: bool,
    /// Wall time of the last real run, microseconds.
    pub wall_us: u64,
    pub runs: u32,
    /// Consecutive runs shorter than a lookup is worth.
    pub cheap_runs: u32,
    /// When this was last written, days since the epoch.
    pub noted: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Memo {
    size: u64,
    mtime: i128,
    ctime: i128,
    content: crate::digest::Content,
    /// When this was noted, days since the epoch.
    pub(super) noted: u32,
}

impl Store {
    /// The content that a file in this state is known to have.
    pub fn memo(&self, s: &FileStat) -> Option<crate::digest::Content> {
        let m: Memo = self.get(Table::Memo, &memo_key(s)).ok()??;
        (m.size == s.size && m.mtime == s.mtime && m.ctime == s.ctime).then_some(m.content)
    }

    /// Remembers contents. The caller leaves out racy ones.
    pub fn memorise(&self, files: &[(FileStat, crate::digest::Content)]) -> Result<()> {
        let mut batch = Vec::with_capacity(files.len());
        for (s, content) in files {
            let m = Memo { size: s.size, mtime: s.mtime, ctime: s.ctime, content: *content, noted: today() };
            batch.push((Table::Memo, memo_key(s), Some(postcard::to_stdvec(&m)?)));
        }
        self.view.write(batch)
    }

    pub fn history(&self, key: &Digest) -> Option<History> {
        self.get(Table::History, &key.0).ok()?
    }

    pub fn put_history(&self, key: &Digest, h: &History) -> Result<()> {
        self.put(Table::History, &key.0, &History { noted: today(), ..h.clone() })
    }

    /// Notes which results these files are of; `None`: of none that is known.
    pub fn put_products(&self, all: &[(PathBytes, Option<Product>)]) -> Result<()> {
        let row = |(path, p): &(PathBytes, Option<Product>)| {
            Ok((Table::Products, path.to_vec(), p.as_ref().map(postcard::to_stdvec).transpose()?))
        };
        self.view.write(all.iter().map(row).collect::<Result<_>>()?)
    }

    pub fn product(&self, path: &[u8]) -> Option<Product> {
        self.get(Table::Products, path).ok()?
    }

    /// Every file below `dir` that is a result.
    pub fn products(&self, dir: &[u8]) -> Result<Vec<(PathBytes, Product)>> {
        let prefix = [dir, b"/"].concat();
        let rows = self.view.scan(Table::Products, &prefix)?;
        Ok(rows.into_iter().filter_map(|(k, v)| Some((k.into(), postcard::from_bytes(&v).ok()?))).collect())
    }

    /// Keeps a build record (JSON), and drops old ones; returns its number.
    pub fn add_build(&self, record: &[u8]) -> Result<u64> {
        if self.access() == Access::ReadOnly {
            return Ok(0);
        }
        let scratch = self.dir.join("tmp").join(format!("{}-build-{}", std::process::id(), now_ms()));
        builds::add(&self.dir.join("builds"), &scratch, record)
    }

    /// Past builds, oldest first.
    pub fn builds(&self) -> Result<Vec<(u64, Vec<u8>)>> {
        Ok(builds::all(&self.dir.join("builds")))
    }

    /// The numbers of past builds, oldest first: who needs one or two should not read a hundred.
    pub fn build_numbers(&self) -> Vec<u64> {
        builds::numbers(&self.dir.join("builds"))
    }

    /// The record of one build.
    pub fn build(&self, number: u64) -> Option<Vec<u8>> {
        builds::one(&self.dir.join("builds"), number)
    }
}

fn memo_key(s: &FileStat) -> Vec<u8> {
    [s.dev.to_be_bytes(), s.ino.to_be_bytes()].concat()
}

/// Days since the epoch.
pub(super) fn today() -> u32 {
    u32::try_from(now() / 86_400).unwrap_or(u32::MAX)
}
