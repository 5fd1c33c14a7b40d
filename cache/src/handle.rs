//! The cache of a run: the stores of this machine, and over them the tiers through which results are found and kept.
//!
//! This is the one place that decides which tiers there are. Whoever looks up, serves or publishes a result goes
//! through [`CacheHandle::results`] and [`CacheHandle::blobs`]; what is only of use on this machine is in `store` and
//! `cas`.

use crate::store::Notice;
use crate::tier::{Blobs, Local, Publication, Results};
use crate::{Cas, Digest, Entry, Result, Store};
use std::path::Path;
use std::sync::Arc;

pub struct CacheHandle {
    pub store: Arc<Store>,
    /// From here outputs are restored, and here they are collected.
    pub cas: Arc<Cas>,
    results: Arc<dyn Results>,
    blobs: Arc<dyn Blobs>,
}

impl CacheHandle {
    /// Opens the cache in `dir`, creating it if need be; besides, what the user should hear of that.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Notice>)> {
        let (store, notices) = Store::open(dir)?;
        let (store, cas) = (Arc::new(store), Arc::new(Cas::new(dir)));
        let local = Arc::new(Local::new(store.clone(), cas.clone()));
        Ok((Self { store, cas, results: local.clone(), blobs: local }, notices))
    }

    pub fn results(&self) -> &dyn Results {
        &*self.results
    }

    pub fn blobs(&self) -> &dyn Blobs {
        &*self.blobs
    }

    /// Publishes a result whose blobs are in `cas`: first these, then the rows. Returned is the result that was there
    /// already.
    pub fn publish(&self, p: &Publication<'_>) -> Result<Option<Entry>> {
        let blobs: Vec<_> = p.entry.blobs().map(|d: &Digest| self.cas.upload(d)).collect();
        // Rows must not name what is not there.
        match self.blobs.put(&blobs)?.pop() {
            Some(failure) => Err(failure.error),
            None => self.results.publish(p),
        }
    }
}
