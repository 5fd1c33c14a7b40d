//! Outputs of an entry, put back into the file system.
//!
//! Every output gets a fresh time, also when its bytes already match, or make would be dirty for ever; in the
//! recorded order, so that later ones are not older. A name that is absent gets an unnamed file that is
//! linked when complete: nobody ever lists a temporary. A name that exists is replaced by rename.

use crate::{Cas, Error, FileStat, IoResultExt, Output, OutputKind, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names that begin like this are ours, and left over if an interrupted run finds them.
pub const TEMPORARY_PREFIX: &str = ".xl-restore-";

/// What was restored, in order.
#[derive(Debug, Default)]
pub struct Restored {
    pub bytes: u64,
    /// State of each file after it was put in place.
    pub states: Vec<Option<FileStat>>,
}

fn path(p: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(p))
}

/// Can these outputs be restored here as running the command would have made them? `Err` says why not.
pub fn check(outputs: &[Output]) -> std::result::Result<(), String> {
    let made: Vec<&[u8]> = outputs.iter().filter(|o| matches!(o.kind, OutputKind::Directory { .. })).map(|o| &*o.path).collect();
    for o in outputs {
        let name = || String::from_utf8_lossy(&o.path).into_owned();
        let parent = parent(&o.path);
        if !matches!(o.kind, OutputKind::Deleted)
            && !made.contains(&parent)
            && !rustix::fs::stat(parent).is_ok_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode).is_dir())
        {
            return Err(format!("the directory of `{}` is missing", name()));
        }
        let old = FileStat::of(&o.path);
        match (&o.kind, old) {
            (OutputKind::File { in_place: true, mode, .. }, Some(s)) if !s.is_file() || s.nlink > 1 || s.mode != *mode => {
                return Err(format!("`{}` is linked, or of another type or mode, and would be overwritten in place", name()));
            }
            (OutputKind::File { .. } | OutputKind::Symlink { .. }, Some(s)) if s.is_dir() => {
                return Err(format!("`{}` is a directory", name()));
            }
            (OutputKind::Directory { .. }, Some(s)) if !s.is_dir() => return Err(format!("`{}` is not a directory", name())),
            _ => {}
        }
    }
    Ok(())
}

fn parent(p: &[u8]) -> &[u8] {
    match p.iter().rposition(|b| *b == b'/') {
        Some(0) | None => b"/",
        Some(i) => &p[..i],
    }
}

/// Puts every output in place. On an error some may be in place and some not; the caller runs the command.
pub fn restore(cas: &Cas, outputs: &[Output]) -> Result<Restored> {
    let mut r = Restored::default();
    let mut groups: HashMap<u32, &[u8]> = HashMap::new();
    for o in outputs {
        match &o.kind {
            OutputKind::Deleted => remove(&o.path)?,
            OutputKind::Directory { mode } => directory(&o.path, *mode)?,
            OutputKind::Symlink { target } => {
                if FileStat::of(&o.path).is_some() {
                    remove(&o.path)?;
                }
                rustix::fs::symlink(target.as_slice(), path(&o.path)).at("link", path(&o.path))?;
            }
            OutputKind::File { digest, mode, link_group, mtime, .. } => {
                if let Some(first) = link_group.and_then(|g| groups.insert(g, &o.path)) {
                    groups.insert(link_group.unwrap_or_default(), first);
                    if FileStat::of(&o.path).is_some() {
                        remove(&o.path)?;
                    }
                    rustix::fs::link(path(first), path(&o.path)).at("link", path(&o.path))?;
                } else {
                    r.bytes += file(cas, &o.path, digest, *mode, *mtime)?;
                }
            }
        }
        r.states.push(FileStat::of(&o.path));
    }
    Ok(r)
}

fn remove(p: &[u8]) -> Result<()> {
    let Some(s) = FileStat::of(p) else { return Ok(()) };
    let r = if s.is_dir() { std::fs::remove_dir(path(p)) } else { std::fs::remove_file(path(p)) };
    match r {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at("remove", path(p)),
        _ => Ok(()),
    }
}

fn directory(p: &[u8], mode: u32) -> Result<()> {
    let dir = path(p);
    match std::fs::create_dir(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e).at("create", dir),
        _ => {}
    }
    if FileStat::of(p).is_none_or(|s| s.mode != mode) {
        rustix::fs::chmod(dir, Mode::from_raw_mode(mode)).at("set the mode of", dir)?;
    }
    Ok(())
}

fn file(cas: &Cas, p: &[u8], digest: &crate::Digest, mode: u32, mtime: Option<i64>) -> Result<u64> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let to = path(p);
    let dir = path(parent(p));
    let absent = FileStat::of(p).is_none();
    let unnamed = absent
        .then(|| rustix::fs::open(dir, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o600)).ok())
        .flatten();
    let (mut f, temporary) = match unnamed {
        Some(fd) => (File::from(fd), None),
        None => {
            let n = COUNTER.fetch_add(1, Ordering::Relaxed);
            let t = dir.join(format!("{TEMPORARY_PREFIX}{}-{n}", std::process::id()));
            let fd = rustix::fs::open(&t, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
                .at("create", &t)?;
            (File::from(fd), Some(t))
        }
    };
    let done = (|| {
        let bytes = cas.copy_to(digest, &mut f, to)?;
        rustix::fs::fchmod(&f, Mode::from_raw_mode(mode)).at("set the mode of", to)?;
        if let Some(ns) = mtime {
            let t = Timespec { tv_sec: ns.div_euclid(1_000_000_000), tv_nsec: ns.rem_euclid(1_000_000_000) };
            let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            rustix::fs::futimens(&f, &Timestamps { last_access: omit, last_modification: t }).at("set the time of", to)?;
        }
        match &temporary {
            Some(t) => std::fs::rename(t, to).at("replace", to)?,
            None => {
                let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&f));
                rustix::fs::linkat(CWD, link, CWD, to, AtFlags::SYMLINK_FOLLOW).at("create", to)?;
            }
        }
        Ok(bytes)
    })();
    if let (Err(_), Some(t)) = (&done, &temporary) {
        let _ = std::fs::remove_file(t);
    }
    done
}

/// Is this error about the cache (the command can still run) rather than about the tree?
pub fn is_cache_fault(e: &Error) -> bool {
    matches!(e, Error::Corrupt { .. } | Error::Decode(_) | Error::Store { .. })
}
