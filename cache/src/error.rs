//! Errors of the cache: always which operation, on which path.

use std::io;
use std::path::{Path, PathBuf};

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {operation} `{}`: {source}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    /// RocksDB's own words.
    #[error("the fingerprint store in `{}` cannot be used: {message}", path.display())]
    Store { path: PathBuf, message: String },
    #[error("the cache in `{}` has format {found}, this xl knows {known}", path.display())]
    Version { path: PathBuf, found: u32, known: u32 },
    #[error("the cache directory `{}` belongs to user {owner}, not to you (user {you})", path.display())]
    Owner { path: PathBuf, owner: u32, you: u32 },
    #[error("files may be only {most} bytes long here (`ulimit -f`), which is too little for the cache")]
    FileSize { most: u64 },
    #[error("blob {digest} is damaged")]
    Corrupt { digest: crate::Digest },
    /// Of the outputs some are in place already.
    #[error("{0}; some of its outputs are in place")]
    Partly(Box<Error>),
    #[error("a record of the store cannot be decoded: {0}")]
    Decode(#[from] postcard::Error),
}

/// Adds operation and path to an I/O error.
pub trait IoResultExt<T> {
    fn at(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> IoResultExt<T> for std::result::Result<T, E> {
    fn at(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|e| Error::Io { operation, path: path.as_ref().to_owned(), source: e.into() })
    }
}

impl Error {
    /// Is the disk, or the quota, full?
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}
