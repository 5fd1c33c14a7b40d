//! The fingerprint store: weak → path sets → strong → entry, the digest memo, history, which blobs there are, past
//! builds.
//!
//! Records are postcard values under binary keys. Any number of processes read and write them at once: what is new is
//! in a log that they share ([`log`]), the rest in RocksDB ([`base`]), of which nothing shows outside this module. What
//! one publishes the others find from then on.

mod base;
mod builds;
mod directory;
mod granted;
mod log;
mod notes;
mod results;
mod table;
mod upkeep;
mod usage;
mod view;

pub use notes::History;
pub use usage::Usage;

use crate::Result;
use serde::{Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};
use table::Table;
use view::View;

/// How the store could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    ReadWrite,
    /// The directory cannot be written to.
    ReadOnly,
}

pub struct Store {
    view: View,
    dir: PathBuf,
    key: [u8; 32],
}

/// Something to tell the user about how the store was opened.
pub type Notice = String;

impl Store {
    /// Opens the store in `dir`, creating it if need be.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Notice>)> {
        // A data base that may not grow on ends the process.
        const LEAST: u64 = 256 << 20;
        if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Fsize).current.filter(|n| *n < LEAST)
        {
            return Err(crate::Error::FileSize { most });
        }
        let mut notices = Vec::new();
        directory::prepare(dir)?;
        granted::prove(dir)?;
        let view = View::open(dir)?;
        notices.extend(view.notices());
        let key = directory::key(dir, view.access(), &mut notices)?;
        Ok((Self { view, dir: dir.to_owned(), key }, notices))
    }

    pub fn access(&self) -> Access {
        self.view.access()
    }

    /// What the user should hear of what has been found out since it was opened; each is told once.
    pub fn notices(&self) -> Vec<Notice> {
        self.view.notices()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A name of the key, by which two caches can tell whether they share it.
    pub fn key_name(&self) -> String {
        crate::Digest::of(&self.key).hex()[..16].to_owned()
    }

    /// Key of the environment values' digests: made once per cache, so that values cannot be looked up elsewhere.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// From now on this is the key; if it cannot be kept, of this run. What was found out under another one stays, and
    /// is found again under that.
    pub(crate) fn adopt_key(&mut self, key: [u8; 32]) {
        if key != self.key && self.access() == Access::ReadWrite {
            let _ = directory::put_key(&self.dir, &key);
        }
        self.key = key;
    }

    fn get<T: DeserializeOwned>(&self, t: Table, key: &[u8]) -> Result<Option<T>> {
        match self.view.get(t, key)? {
            // A record of another version, or damaged: as good as absent.
            Some(b) => Ok(postcard::from_bytes(&b).ok()),
            None => Ok(None),
        }
    }

    fn put<T: Serialize>(&self, t: Table, key: &[u8], v: &T) -> Result<()> {
        self.view.write(vec![(t, key.to_vec(), Some(postcard::to_stdvec(v)?))])
    }

    /// Ends a run: what the next one would have to read at its start is put into the data base.
    pub fn close(&self) {
        self.view.tidy_up(false);
    }

    /// Puts everything into the data base.
    pub fn fold(&self) {
        self.view.tidy_up(true);
    }
}

/// Milliseconds since the epoch: fine enough to order the uses of one build.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
