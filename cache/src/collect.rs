//! A pip's output, from the file system into the content store.

use crate::{Cas, FileStat, IoResultExt, Kind, Output, OutputKind, PathBytes, Result, Time};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A name that the pip wrote, and what is known of how.
#[derive(Clone, Debug)]
pub struct Written {
    pub path: PathBytes,
    /// State now; `None`: deleted.
    pub state: Option<FileStat>,
    pub in_place: bool,
    /// Its times were set.
    pub dated: bool,
    /// It came in place of something that is an input.
    pub over: bool,
    /// Whose time it has: that of a file that was there before, and may be this one.
    pub time_of: Option<PathBytes>,
    /// There was something of this name before.
    pub was_there: bool,
}

/// An output with the state it was collected in.
#[derive(Clone, Debug)]
pub struct Collected {
    pub output: Output,
    pub state: Option<FileStat>,
    pub content: Option<crate::digest::Content>,
}

/// Why an output cannot be part of an entry.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error(transparent)]
    Cache(#[from] crate::Error),
    #[error("`{}` is neither a file nor a directory nor a link", .0)]
    Special(String),
    #[error("`{}` changed while it was collected", .0)]
    Changed(String),
    #[error("`{}` is a hard link to a file that it did not make", .0)]
    Linked(String),
    #[error("`{}` has a time that cannot be kept", .0)]
    Time(String),
}

/// Copies the outputs into `cas`, in the order in which they were last written (their modification times).
///
/// A time before `began` (nanoseconds since the epoch), or in the future, was set on purpose and is kept.
pub fn collect(cas: &Cas, mut written: Vec<Written>, began: i128) -> std::result::Result<Vec<Collected>, CollectError> {
    // Directories first (they were there before what is in them), deletions at their place in path order.
    written.sort_by(|a, b| {
        let rank = |w: &Written| match &w.state {
            Some(s) if s.is_dir() => (1, 0),
            Some(s) => (2, s.mtime),
            None => (0, 0),
        };
        rank(a).cmp(&rank(b)).then_with(|| if a.state.is_none() { b.path.cmp(&a.path) } else { a.path.cmp(&b.path) })
    });
    let mut groups: HashMap<(u64, u64), (u32, usize)> = HashMap::new();
    for w in &written {
        if let Some(s) = w.state.filter(|s| s.is_file() && s.nlink > 1) {
            let n = u32::try_from(groups.len()).unwrap_or(u32::MAX);
            groups.entry((s.dev, s.ino)).or_insert((n, 0)).1 += 1;
        }
    }
    let mut digests: HashMap<(u64, u64), crate::digest::Content> = HashMap::new();
    let mut out = Vec::with_capacity(written.len());
    let now = crate::file_stat::coarse_now();
    for w in written {
        let name = || String::from_utf8_lossy(&w.path).into_owned();
        let set = |s: &FileStat| {
            let on_purpose = s.mtime < began - crate::file_stat::TICK || s.mtime > now + crate::file_stat::TICK;
            let kept = on_purpose.then(|| i64::try_from(s.mtime).map_err(|_| CollectError::Time(name())));
            Ok::<_, CollectError>(kept.transpose()?.map_or(Time::Fresh, Time::Set))
        };
        let mut content = None;
        let kind = match w.state {
            None => OutputKind::Deleted,
            Some(s) => match s.kind {
                Kind::Directory => OutputKind::Directory { mode: s.mode, time: w.dated.then(|| set(&s)).transpose()? },
                Kind::Symlink => OutputKind::Symlink {
                    target: read_link(&w.path)?,
                    time: if w.dated { set(&s)? } else { Time::Fresh },
                    over: w.over,
                },
                Kind::Special => return Err(CollectError::Special(name())),
                Kind::File => {
                    let c = match digests.get(&(s.dev, s.ino)) {
                        Some(c) => *c,
                        None => import(cas, &w.path)?,
                    };
                    digests.insert((s.dev, s.ino), c);
                    if FileStat::of(&w.path) != Some(s) || c.size != s.size {
                        return Err(CollectError::Changed(name()));
                    }
                    content = Some(c);
                    let names = groups.get(&(s.dev, s.ino)).map_or(1, |g| g.1);
                    if s.nlink as usize > names {
                        return Err(CollectError::Linked(name()));
                    }
                    let time = w.time_of.clone().map_or_else(|| set(&s), |p| Ok(Time::Of(p)))?;
                    let group = groups.get(&(s.dev, s.ino)).filter(|g| g.1 > 1).map(|g| g.0);
                    OutputKind::File {
                        digest: c.digest,
                        size: c.size,
                        mode: s.mode,
                        link_group: group,
                        in_place: w.in_place,
                        traits: c.traits,
                        time,
                    }
                }
            },
        };
        out.push(Collected { output: Output { path: w.path.clone(), kind }, state: w.state, content });
    }
    Ok(out)
}

fn import(cas: &Cas, path: &[u8]) -> Result<crate::digest::Content> {
    let p = Path::new(OsStr::from_bytes(path));
    let mut f = std::fs::File::open(p).at("open", p)?;
    cas.import(&mut f, p)
}

/// The extended attributes of a file, sorted; none where there cannot be any. What labels it for the kernel's own
/// policies is not its business (xattr(7), "Security extended attributes"), but for its capabilities.
pub fn attributes(path: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    // Of all names, and of a value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
    const LONGEST: usize = 64 << 10;
    let read = |ask: &dyn Fn(&mut [u8]) -> rustix::io::Result<usize>| {
        let mut buf = vec![0; LONGEST];
        let n = ask(&mut buf).unwrap_or(0);
        buf.truncate(n);
        buf
    };
    let names = read(&|b| rustix::fs::llistxattr(path, b));
    let counts = |n: &&[u8]| !n.is_empty() && (!n.starts_with(b"security.") || *n == b"security.capability");
    let one = |n: &[u8]| (n.to_vec(), read(&|b| rustix::fs::lgetxattr(path, n, b)));
    let mut all: Vec<_> = names.split(|b| *b == 0).filter(counts).map(one).collect();
    all.sort();
    all
}

/// Is there more to this file than its content and mode: an owner or group that a new file would not get, extended
/// attributes? (A new file's group is that of its directory if that is set-group-id, inode(7); its access list that for
/// new files of the directory, acl(5).)
pub fn keeps_more(path: &[u8], state: &FileStat) -> bool {
    use std::os::unix::fs::MetadataExt;
    let parent = Path::new(OsStr::from_bytes(path)).parent();
    let inherits = || {
        parent
            .is_some_and(|p| attributes(p.as_os_str().as_bytes()).iter().any(|(n, _)| n == b"system.posix_acl_default"))
    };
    let group = parent
        .and_then(|p| p.metadata().ok())
        .filter(|d| d.mode() & 0o2000 != 0)
        .map_or_else(|| rustix::process::getegid().as_raw(), |d| d.gid());
    let owner = (state.uid, state.gid);
    let is_foreign =
        owner != (rustix::process::geteuid().as_raw(), group) && parent.and_then(owner_of_new_files) != Some(owner);
    is_foreign || attributes(path).iter().any(|(name, _)| name != b"system.posix_acl_access" || !inherits())
}

/// Does a directory say who may use what is made in it (acl(5), "Default ACLs")? Putting that back would be guessing.
pub fn passes_on_access(dir: &[u8]) -> bool {
    rustix::fs::getxattr_query(dir, "system.posix_acl_default").is_ok_and(|n| n > 0)
}

/// Whose a file is that is made in `dir` now. Some mounts give all files to one user, whoever makes them.
fn owner_of_new_files(dir: &Path) -> Option<(u32, u32)> {
    use rustix::fs::{Mode, OFlags};
    use std::os::unix::fs::MetadataExt;
    if let Ok(f) = rustix::fs::open(dir, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR) {
        return rustix::fs::fstat(&f).ok().map(|s| (s.st_uid, s.st_gid));
    }
    let name = dir.join(format!("{}owner-{}", crate::path::TEMPORARY_PREFIX, std::process::id()));
    let made = std::fs::File::create_new(&name).and_then(|f| f.metadata());
    let _ = std::fs::remove_file(&name);
    made.ok().map(|m| (m.uid(), m.gid()))
}

/// The target of a symbolic link.
pub fn read_link(path: &[u8]) -> Result<Vec<u8>> {
    let p = Path::new(OsStr::from_bytes(path));
    Ok(rustix::fs::readlink(p, Vec::new()).at("read", p)?.into_bytes())
}

/// Names and types of a directory's members, sorted.
pub fn list(path: &[u8]) -> Result<Vec<(Vec<u8>, Kind)>> {
    let p = Path::new(OsStr::from_bytes(path));
    let mut v = Vec::new();
    for e in std::fs::read_dir(p).at("list", p)? {
        let e = e.at("list", p)?;
        let t = e.file_type().at("list", p)?;
        let kind = if t.is_file() {
            Kind::File
        } else if t.is_dir() {
            Kind::Directory
        } else if t.is_symlink() {
            Kind::Symlink
        } else {
            Kind::Special
        };
        v.push((e.file_name().as_bytes().to_vec(), kind));
    }
    v.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(v)
}

/// Opens a file to read it. What is none is left alone: a pipe would lose what is in it, or keep us waiting.
pub fn open_file(path: &[u8]) -> Option<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let p = Path::new(OsStr::from_bytes(path));
    let is_file = |m: std::io::Result<std::fs::Metadata>| m.is_ok_and(|m| m.is_file());
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits().cast_signed();
    is_file(std::fs::metadata(p))
        .then(|| std::fs::OpenOptions::new().read(true).custom_flags(flags).open(p).ok())?
        .filter(|f| is_file(f.metadata()))
}

/// Digest of a file as it is now, and the state that it had before and after the reading.
pub fn hash_file(path: &[u8]) -> Result<Option<(crate::digest::Content, FileStat)>> {
    let p = Path::new(OsStr::from_bytes(path));
    for _ in 0..3 {
        let Some(before) = FileStat::of(path).filter(FileStat::is_file) else { return Ok(None) };
        let mut f = match std::fs::File::open(p) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            r => r.at("open", p)?,
        };
        let c = crate::digest::pass(&mut f).at("read", p)?;
        // It may change while it is read: believe only what was the same before and after.
        if FileStat::of(path) == Some(before) && c.size == before.size {
            return Ok(Some((c, before)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_attributes() {
        let d = tempfile::tempdir().unwrap();
        let f = d.path().join("f");
        std::fs::write(&f, "x").unwrap();
        let path = f.as_os_str().as_bytes();
        assert_eq!(attributes(path), []);
        for (name, value) in [("user.b", "2"), ("user.a", "")] {
            rustix::fs::setxattr(&f, name, value.as_bytes(), rustix::fs::XattrFlags::empty()).unwrap();
        }
        assert_eq!(attributes(path), [(b"user.a".to_vec(), vec![]), (b"user.b".to_vec(), b"2".to_vec())]);
        assert_eq!(attributes(b"/none"), []);
        assert!(keeps_more(path, &FileStat::of(path).unwrap()));
    }

    /// A time that does not fit is no result (64 bits of nanoseconds end in 2262).
    #[test]
    fn times_that_cannot_be_kept() {
        let d = tempfile::tempdir().unwrap();
        let cas = Cas::new(&d.path().join("cas"));
        let f = d.path().join("f");
        std::fs::write(&f, "x").unwrap();
        let path: PathBytes = f.as_os_str().as_bytes().into();
        let collected = |seconds| {
            let t = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
            let times = rustix::fs::Timestamps { last_access: t, last_modification: t };
            rustix::fs::utimensat(rustix::fs::CWD, &f, &times, rustix::fs::AtFlags::empty()).unwrap();
            let state = FileStat::of(&path);
            assert_eq!(state.map(|s| s.mtime), Some(i128::from(seconds) * 1_000_000_000), "this file system keeps it");
            let w = Written {
                path: path.clone(),
                state,
                in_place: false,
                dated: true,
                over: false,
                time_of: None,
                was_there: false,
            };
            collect(&cas, vec![w], crate::file_stat::coarse_now())
        };
        assert!(collected(9_000_000_000).is_ok());
        assert!(matches!(collected(10_000_000_000), Err(CollectError::Time(_))));
    }

    #[test]
    fn whose_a_file_is() {
        let d = tempfile::tempdir().unwrap();
        let f = d.path().join("f");
        std::fs::write(&f, "x").unwrap();
        let state = FileStat::of(f.as_os_str().as_bytes()).unwrap();
        let keeps = |state| keeps_more(f.as_os_str().as_bytes(), &state);
        assert_eq!(owner_of_new_files(d.path()), Some((state.uid, state.gid)));
        assert!(
            !keeps(state)
                && keeps(FileStat { uid: state.uid + 1, ..state })
                && keeps(FileStat { gid: state.gid + 1, ..state })
        );
    }
}
