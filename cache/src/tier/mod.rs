//! The two seams behind which results are kept, whoever keeps them: [`Results`] has the rows (weak fingerprint → links
//! → path sets and entries), [`Blobs`] the contents. A *tier* implements both: this machine's disk ([`Local`]), memory
//! ([`Memory`]), two tiers of which one is nearer ([`Tiered`]).
//!
//! Everything is asked in batches, because a tier may be far away and each question costs a round trip; a tier cuts
//! them to the size that its peer takes. The calls block, since lookups run on threads that have nothing else to do
//! while a command waits; a tier that speaks to a network does that on a runtime of its own, behind these calls. Blobs
//! are named by their BLAKE3 digests. A tier whose peer names them otherwise keeps the pairs: it learns them from what
//! is put into it and from the rows that it serves.
//!
//! What is only of use on this machine (products, history, memo of digests, build records, usage, collection) is not
//! behind these seams: that is [`Store`](crate::Store) and [`Cas`](crate::Cas) themselves. Restoring outputs
//! ([`materialise`](crate::materialise)) reads the local [`Cas`](crate::Cas) only: [`Blobs::fetch`] first, then
//! restore.

mod adopting;
mod local;
mod memory;
mod tiered;

pub use adopting::Adopting;
pub use local::Local;
pub use memory::Memory;
pub use tiered::{Tiered, Trouble};

use crate::{Digest, Entry, Error, IoResultExt, PathSet, Result};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

/// One known result of a weak fingerprint and path set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub path_set: Digest,
    pub strong: Digest,
    /// [`short`] of each observation's value, for explanations.
    pub values: Vec<u64>,
    /// Milliseconds since the epoch.
    pub last_used: u64,
}

/// The part of an observation's value that links keep.
pub fn short(value: &Digest) -> u64 {
    u64::from_le_bytes(value.0[..8].try_into().expect("eight bytes"))
}

/// A result on its way into a tier: path set, entry and link, which come as one or not at all.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    pub weak: &'a Digest,
    pub set: &'a PathSet,
    pub strong: &'a Digest,
    /// [`short`] of the value of each observation of the path set.
    pub values: &'a [u64],
    pub entry: &'a Entry,
}

/// The rows of the two-phase cache.
pub trait Results: Send + Sync {
    /// For each weak fingerprint its results, the most recently used first.
    fn candidates(&self, weak: &[Digest]) -> Result<Vec<Vec<Link>>>;

    /// Path sets by their digests; `None`: not there, or not to be understood.
    fn path_sets(&self, wanted: &[Digest]) -> Result<Vec<Option<PathSet>>>;

    /// Entries by their strong fingerprints; `None`: not there, or not to be understood. That an entry is there does
    /// not mean that its blobs are.
    fn entries(&self, strong: &[Digest]) -> Result<Vec<Option<Entry>>>;

    /// Keeps a result whose blobs have been [put](Blobs::put). The first entry of a strong fingerprint stays, unless a
    /// blob of it is gone; returned is the one that was there already.
    fn publish(&self, p: &Publication<'_>) -> Result<Option<Entry>>;

    /// A result that came from here is about to be served, and its blobs have been [fetched](Blobs::fetch): now the
    /// nearest store may have its rows, too. One store alone has nothing to do.
    fn adopt(&self, _: &Publication<'_>) {}
}

/// A blob that a batch could not move, and why.
#[derive(Debug)]
pub struct Failure {
    pub digest: Digest,
    pub error: Error,
}

/// Contents by digest. A batch that the tier as a whole could not do is an error; otherwise each blob that it could not
/// do is a [`Failure`], and the others are done.
pub trait Blobs: Send + Sync {
    /// Those that are not there, in the order of `wanted`.
    fn missing(&self, wanted: &[Digest]) -> Result<Vec<Digest>>;

    /// Sees to it that the nearest store has these, so that they can be restored from there. One store alone only
    /// looks.
    fn fetch(&self, wanted: &[Digest]) -> Result<Vec<Failure>> {
        Ok(self.missing(wanted)?.into_iter().map(Failure::absent).collect())
    }

    /// Hands the contents to `sink`, in any order, possibly several at once.
    fn read(&self, wanted: &[Digest], sink: &dyn Sink) -> Result<Vec<Failure>>;

    /// Keeps these. What is there already is not sent again; what is not what its digest says is kept nowhere.
    fn put(&self, batch: &[Upload<'_>]) -> Result<Vec<Failure>>;
}

/// A tier on another machine. It answers late, or never; what it is given it sends when it can.
pub trait Far: Results + Blobs {
    /// Waits until what was published is there, as long as that is worth it; the run is over.
    fn finish(&self) -> crate::handle::Closed;
}

/// Who takes the contents that [`Blobs::read`] hands out.
pub trait Sink: Send + Sync {
    /// Reads `from` to its end. A content that has another digest is [`Error::Corrupt`], and nothing of it is kept: no
    /// tier has to be believed.
    fn receive(&self, digest: &Digest, from: &mut dyn Read) -> Result<()>;
}

/// A content on its way into a tier.
#[derive(Clone, Debug)]
pub struct Upload<'a> {
    pub digest: Digest,
    pub source: Source<'a>,
}

#[derive(Clone, Debug)]
pub enum Source<'a> {
    Bytes(&'a [u8]),
    /// A file that nobody changes: one of the [`Cas`](crate::Cas).
    File(PathBuf),
}

impl Source<'_> {
    pub fn open(&self) -> Result<Box<dyn Read + Send + '_>> {
        Ok(match self {
            Self::Bytes(b) => Box::new(*b),
            Self::File(path) => Box::new(std::fs::File::open(path).at("open", path)?),
        })
    }
}

impl Failure {
    fn absent(digest: Digest) -> Self {
        Self { digest, error: Error::Absent { digest } }
    }
}

impl<T: Results + ?Sized> Results for Arc<T> {
    fn candidates(&self, weak: &[Digest]) -> Result<Vec<Vec<Link>>> {
        (**self).candidates(weak)
    }

    fn path_sets(&self, wanted: &[Digest]) -> Result<Vec<Option<PathSet>>> {
        (**self).path_sets(wanted)
    }

    fn entries(&self, strong: &[Digest]) -> Result<Vec<Option<Entry>>> {
        (**self).entries(strong)
    }

    fn publish(&self, p: &Publication<'_>) -> Result<Option<Entry>> {
        (**self).publish(p)
    }

    fn adopt(&self, p: &Publication<'_>) {
        (**self).adopt(p);
    }
}

impl<T: Blobs + ?Sized> Blobs for Arc<T> {
    fn missing(&self, wanted: &[Digest]) -> Result<Vec<Digest>> {
        (**self).missing(wanted)
    }

    fn fetch(&self, wanted: &[Digest]) -> Result<Vec<Failure>> {
        (**self).fetch(wanted)
    }

    fn read(&self, wanted: &[Digest], sink: &dyn Sink) -> Result<Vec<Failure>> {
        (**self).read(wanted, sink)
    }

    fn put(&self, batch: &[Upload<'_>]) -> Result<Vec<Failure>> {
        (**self).put(batch)
    }
}

impl<T: Sink + ?Sized> Sink for Arc<T> {
    fn receive(&self, digest: &Digest, from: &mut dyn Read) -> Result<()> {
        (**self).receive(digest, from)
    }
}
