//! The cache of a run: the stores of this machine, and behind them a farther tier through which results are found and
//! kept.
//!
//! This is the one place that decides which tiers there are. Results are looked for in [`CacheHandle::near`] first, and
//! only what that does not know in [`CacheHandle::far`]: a result that is here costs no question to another machine.
//! Contents come through [`CacheHandle::blobs`], wherever they are. What is only of use on this machine is in `store`
//! and `cas`.

use crate::store::Notice;
use crate::tier::{Adopting, Blobs, Far, Local, Publication, Results, Tiered};
use crate::{Cas, Digest, Entry, Result, Store};
use std::path::Path;
use std::sync::Arc;

pub struct CacheHandle {
    pub store: Arc<Store>,
    /// From here outputs are restored, and here they are collected.
    pub cas: Arc<Cas>,
    local: Arc<Local>,
    blobs: Arc<dyn Blobs>,
    far: Option<Behind>,
}

/// What is behind the local tier, and who keeps here what comes from there.
type Behind = (Arc<dyn Far>, Adopting<Arc<Local>, Arc<dyn Far>>);

impl CacheHandle {
    /// Opens the cache in `dir`, creating it if need be; besides, what the user should hear of that.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Notice>)> {
        let (store, notices) = Store::open(dir)?;
        Ok((Self::of(store, Cas::new(dir)), notices))
    }

    fn of(store: Store, cas: Cas) -> Self {
        let (store, cas) = (Arc::new(store), Arc::new(cas));
        let local = Arc::new(Local::new(store.clone(), cas.clone()));
        Self { store, cas, blobs: local.clone(), local, far: None }
    }

    /// The same cache under another [key](Store::key), which others share, and with the digests by which they name
    /// contents, if it is to `send` any.
    ///
    /// # Panics
    /// Somebody uses this one already.
    pub fn shared(self, key: [u8; 32], send: bool) -> Self {
        let Self { store, cas, local, blobs, far } = self;
        drop((cas, local, blobs, far));
        let mut store = Arc::into_inner(store).expect("a cache that nobody uses yet");
        store.adopt_key(key);
        let cas = Cas::new(store.dir()).with_twins(send);
        Self::of(store, cas)
    }

    /// The same, with a tier behind it.
    pub fn with_far(self, far: Arc<dyn Far>) -> Self {
        let blobs = Arc::new(Tiered::new(self.local.clone(), far.clone()));
        let adopting = Adopting::new(self.local.clone(), far.clone());
        Self { blobs, far: Some((far, adopting)), ..self }
    }

    /// The results of this machine.
    pub fn near(&self) -> &dyn Results {
        &*self.local
    }

    /// Those of a farther tier, if there is one. What is served of them is near from then on.
    pub fn far(&self) -> Option<&dyn Results> {
        self.far.as_ref().map(|(_, adopting)| adopting as &dyn Results)
    }

    pub fn blobs(&self) -> &dyn Blobs {
        &*self.blobs
    }

    /// This machine's tier itself, for a farther one that takes contents from it.
    pub fn local(&self) -> &Arc<Local> {
        &self.local
    }

    /// Publishes a result whose blobs are in `cas`. Returned is the result that was there already. The farther tier is
    /// given it, and sends it when it can.
    pub fn publish(&self, p: &Publication<'_>) -> Result<Option<Entry>> {
        let blobs: Vec<_> = p.entry.blobs().map(|d: &Digest| self.cas.upload(d)).collect();
        // Rows must not name what is not there.
        if let Some(failure) = self.local.put(&blobs)?.pop() {
            return Err(failure.error);
        }
        let earlier = self.local.publish(p)?;
        if let Some((far, _)) = &self.far {
            // What it cannot take it counts itself.
            let _ = far.publish(p);
        }
        Ok(earlier)
    }

    /// Ends a run: what is on its way to the farther tier arrives, or is given up.
    pub fn close(&self) -> Closed {
        self.store.close();
        let mut closed = self.far.as_ref().map(|(far, _)| far.finish()).unwrap_or_default();
        closed.notices.extend(self.store.notices());
        closed
    }
}

/// What came of a run's cache.
#[derive(Clone, Debug, Default)]
pub struct Closed {
    /// What the user should hear.
    pub notices: Vec<Notice>,
    /// Results that the farther tier was given, and bytes of their contents that it did not have.
    pub sent: u64,
    pub sent_bytes: u64,
    /// The farther tier failed for a while, or to the end.
    pub failed: bool,
    /// Nothing is sent to it.
    pub only_read: bool,
}
