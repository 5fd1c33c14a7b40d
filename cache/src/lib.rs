//! Digests, observations, path sets, fingerprints, entries, and the stores that hold them.
//!
//! The vocabulary of the two-phase cache: a *weak fingerprint* finds *path sets* (what earlier runs turned out to
//! depend on), the current values of those paths give a *strong fingerprint*, and that names an *entry* (outputs,
//! text, exit code). This crate knows nothing of processes or tracing. RocksDB types stay inside [`store`].

mod cas;
pub mod collect;
pub mod digest;
pub mod entry;
mod error;
pub mod file_stat;
mod handle;
pub mod home;
pub mod materialise;
pub mod observation;
mod path;
pub mod path_set;
mod product;
mod stable_hash;
pub mod store;
pub mod tier;
mod who;

pub use cas::Cas;
pub use digest::Digest;
pub use entry::{Entry, Output, OutputKind, Text, Time};
pub(crate) use error::IoResultExt;
pub use error::{Class, Error, Result};
pub use file_stat::{FileStat, Kind};
pub use handle::{CacheHandle, Closed};
pub use observation::{Fact, Observation, Question, Value};
pub use path::{PathBytes, TEMPORARY_PREFIX, shown};
pub use path_set::PathSet;
pub use product::Product;
pub use stable_hash::Fingerprint;
pub use store::Store;
pub use tier::{Blobs, Far, Link, Publication, Results};
pub use who::Who;
