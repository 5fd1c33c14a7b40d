//! This machine's tier: contents in files ([`Cas`]), rows in a log and RocksDB ([`Store`]).
//!
//! The nearest store of every build, and the only one from which outputs are restored.

use super::{Blobs, Failure, Link, Publication, Results, Sink, Upload};
use crate::digest::Sha256;
use crate::{Cas, Digest, Entry, PathSet, Result, Store};
use std::io::Read;
use std::sync::Arc;

pub struct Local {
    store: Arc<Store>,
    cas: Arc<Cas>,
}

impl Local {
    pub fn new(store: Arc<Store>, cas: Arc<Cas>) -> Self {
        Self { store, cas }
    }

    /// The SHA-256 digests of these blobs, of those of which they are known, for a tier that names blobs by them. They
    /// were found when the blob was imported, if [`Cas::with_twins`] was asked to.
    pub fn twins(&self, wanted: &[Digest]) -> Result<Vec<Option<Sha256>>> {
        let mut twins = self.store.twins(wanted)?;
        for (d, twin) in wanted.iter().zip(&mut twins).filter(|(_, twin)| twin.is_none()) {
            *twin = self.cas.twin_of_new(d);
        }
        Ok(twins)
    }
}

impl Results for Local {
    fn candidates(&self, weak: &[Digest]) -> Result<Vec<Vec<Link>>> {
        weak.iter().map(|w| self.store.links(w)).collect()
    }

    fn path_sets(&self, wanted: &[Digest]) -> Result<Vec<Option<PathSet>>> {
        self.store.path_sets(wanted)
    }

    fn entries(&self, strong: &[Digest]) -> Result<Vec<Option<Entry>>> {
        self.store.entries(strong)
    }

    fn publish(&self, p: &Publication<'_>) -> Result<Option<Entry>> {
        self.store.publish(&self.cas, p)
    }
}

impl Blobs for Local {
    fn missing(&self, wanted: &[Digest]) -> Result<Vec<Digest>> {
        Ok(wanted.iter().filter(|d| !self.cas.contains(d)).copied().collect())
    }

    fn read(&self, wanted: &[Digest], sink: &dyn Sink) -> Result<Vec<Failure>> {
        let failed = |d: &Digest| self.cas.hand_to(d, sink).err().map(|error| Failure { digest: *d, error });
        Ok(wanted.iter().filter_map(failed).collect())
    }

    fn put(&self, batch: &[Upload<'_>]) -> Result<Vec<Failure>> {
        let put = |u: &Upload<'_>| match self.cas.contains(&u.digest) {
            true => Ok(()),
            false => self.receive(&u.digest, &mut *u.source.open()?),
        };
        Ok(batch.iter().filter_map(|u| Some(Failure { digest: u.digest, error: put(u).err()? })).collect())
    }
}

impl Sink for Local {
    fn receive(&self, digest: &Digest, from: &mut dyn Read) -> Result<()> {
        self.cas.receive(digest, from)
    }
}
