//! What RocksDB takes for granted: without it, it ends the process by an assertion or an exception that nobody can
//! catch. So it is tried before the data base is opened. Found by refusing each of its calls with a seccomp filter
//! (RocksDB 7.8).

use crate::{IoResultExt, Result};
use rustix::fs::{Access, Mode, OFlags};
use std::path::Path;

/// Does what RocksDB does first, on the directory `dir`.
pub(super) fn prove(dir: &Path) -> Result<()> {
    rustix::fs::access(dir, Access::EXISTS).at("look for", dir)?;
    let open =
        rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at("open", dir)?;
    rustix::fs::fstatfs(&open).at("ask for the file system of", dir)?;
    rustix::fs::statvfs(dir).at("look for room in", dir)?;
    let thread = std::thread::Builder::new().spawn(|| ()).at("start a thread that writes to", dir)?;
    thread.join().map_err(|_| std::io::Error::other("it has panicked")).at("use a thread that writes to", dir)
}
