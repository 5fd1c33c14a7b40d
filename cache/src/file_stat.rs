//! The state of a name: what `lstat` says, reduced to what results may depend on.

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, Timespec, Timestamps};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// File type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    /// Device, FIFO, socket.
    Special,
}

/// State of an existing name. Two equal states mean: not changed in between (up to the clock's granularity).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    pub kind: Kind,
    pub dev: u64,
    pub ino: u64,
    pub size: u64,
    /// Nanoseconds since the epoch.
    pub mtime: i128,
    pub ctime: i128,
    /// Permission bits, `07777`.
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
}

impl FileStat {
    /// `lstat`; `None` when nothing is there (or it cannot be seen, which to a build is the same).
    pub fn of(path: &[u8]) -> Option<Self> {
        rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
            .ok()
            .map(|s| Self::from_statx(&s))
    }

    pub fn from_statx(s: &Statx) -> Self {
        let ns = |sec: i64, nsec: u32| i128::from(sec) * 1_000_000_000 + i128::from(nsec);
        let kind = match FileType::from_raw_mode(s.stx_mode.into()) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Special,
        };
        Self {
            kind,
            dev: rustix::fs::makedev(s.stx_dev_major, s.stx_dev_minor),
            ino: s.stx_ino,
            size: s.stx_size,
            mtime: ns(s.stx_mtime.tv_sec, s.stx_mtime.tv_nsec),
            ctime: ns(s.stx_ctime.tv_sec, s.stx_ctime.tv_nsec),
            mode: u32::from(s.stx_mode) & 0o7777,
            nlink: s.stx_nlink,
            uid: s.stx_uid,
            gid: s.stx_gid,
        }
    }

    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }

    pub fn executable(&self) -> bool {
        self.mode & 0o111 != 0
    }
}

/// The clock that stamps files, in nanoseconds; it advances in ticks.
pub fn coarse_now() -> i128 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    i128::from(t.tv_sec) * 1_000_000_000 + i128::from(t.tv_nsec)
}

/// Of a time in nanoseconds since 1970, the whole seconds.
pub fn seconds(time: i128) -> i64 {
    time.div_euclid(1_000_000_000) as i64
}

/// The longest tick of a kernel that stamps files (`HZ=100`): 10 ms.
pub const TICK: i128 = 10_000_000;

const SECOND: i128 = 1_000_000_000;

/// Older than whatever it is made from: one second after the epoch, since ninja takes the epoch itself for "not there".
pub const OLD: i128 = SECOND;

/// Gives a name, not what a link leads to, an old time. Needs no right to write (utimensat(2): the owner may).
pub fn age(path: &Path) -> std::io::Result<()> {
    set_time(path, OLD)
}

/// Gives a name, not what a link leads to, this time: `ns` nanoseconds since the epoch.
pub fn set_time(path: &Path, ns: i128) -> std::io::Result<()> {
    let beyond = |_| std::io::Error::from(rustix::io::Errno::OVERFLOW);
    let t = Timespec {
        tv_sec: i64::try_from(ns.div_euclid(SECOND)).map_err(beyond)?,
        tv_nsec: i64::try_from(ns.rem_euclid(SECOND)).map_err(beyond)?,
    };
    let times = Timestamps { last_access: t, last_modification: t };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
