//! Errors of the cache: always which operation, on which path; and of which class, which is all that a caller may
//! decide by.

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
    #[error("blob {digest} is not there")]
    Absent { digest: crate::Digest },
    #[error("blob {digest} is damaged")]
    Corrupt { digest: crate::Digest },
    /// Of the outputs some are in place already.
    #[error("{0}; some of its outputs are in place")]
    Partly(Box<Error>),
    /// A tier on another machine, in its own words.
    #[error("the remote cache: {message}")]
    Remote { class: Class, message: String },
    #[error("a record of the store cannot be decoded: {0}")]
    Decode(#[from] postcard::Error),
}

/// What an error means to whoever asked, whichever tier it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// What was asked for is not there. Nothing is wrong.
    Absent,
    /// Nobody can tell now; the same question may be answered later.
    Unavailable,
    /// It is there, and is not what its name says. It has not been served.
    Corrupt,
    /// The other side could, and will not: no right, no room, another version. To ask again is of no use.
    Refused,
}

/// Adds operation and path to an I/O error.
pub(crate) trait IoResultExt<T> {
    fn at(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> IoResultExt<T> for std::result::Result<T, E> {
    fn at(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|e| Error::Io { operation, path: path.as_ref().to_owned(), source: e.into() })
    }
}

impl Error {
    pub fn class(&self) -> Class {
        use io::ErrorKind as K;
        match self {
            Self::Io { source, .. } => match source.kind() {
                K::NotFound => Class::Absent,
                K::PermissionDenied | K::ReadOnlyFilesystem | K::StorageFull | K::QuotaExceeded | K::FileTooLarge => {
                    Class::Refused
                }
                _ => Class::Unavailable,
            },
            Self::Store { .. } => Class::Unavailable,
            Self::Version { .. } | Self::Owner { .. } | Self::FileSize { .. } => Class::Refused,
            Self::Absent { .. } => Class::Absent,
            Self::Corrupt { .. } | Self::Decode(_) => Class::Corrupt,
            Self::Partly(e) => e.class(),
            Self::Remote { class, .. } => *class,
        }
    }

    /// Is the disk, or the quota, full?
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_means() {
        let io = |kind: io::ErrorKind| Error::Io { operation: "open", path: "f".into(), source: kind.into() };
        let digest = crate::Digest::of(b"");
        for (error, class) in [
            (io(io::ErrorKind::NotFound), Class::Absent),
            (Error::Absent { digest }, Class::Absent),
            (io(io::ErrorKind::TimedOut), Class::Unavailable),
            (io(io::ErrorKind::ConnectionRefused), Class::Unavailable),
            (Error::Store { path: "db".into(), message: String::new() }, Class::Unavailable),
            (Error::Corrupt { digest }, Class::Corrupt),
            (Error::Decode(postcard::Error::DeserializeUnexpectedEnd), Class::Corrupt),
            (io(io::ErrorKind::PermissionDenied), Class::Refused),
            (io(io::ErrorKind::StorageFull), Class::Refused),
            (Error::Version { path: "c".into(), found: 9, known: 2 }, Class::Refused),
            (Error::Partly(Box::new(io(io::ErrorKind::StorageFull))), Class::Refused),
        ] {
            assert_eq!(error.class(), class, "{error}");
        }
    }
}
