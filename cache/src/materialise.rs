//! Outputs of an entry, put back into the file system.
//!
//! Every output gets a fresh time, also when its bytes already match, or make would be dirty for ever; in the
//! recorded order, so that later ones are not older. A name that is absent gets an unnamed file that is
//! linked when complete: nobody ever lists a temporary. A name that exists is replaced by rename.

use crate::path::TEMPORARY_PREFIX;
use crate::{Cas, FileStat, IoResultExt, Output, OutputKind, Result, Time};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

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
    let made: Vec<&[u8]> =
        outputs.iter().filter(|o| matches!(o.kind, OutputKind::Directory { .. })).map(|o| &*o.path).collect();
    let mut deleted: Option<HashSet<&[u8]>> = None;
    let mut around: HashSet<&[u8]> = HashSet::new();
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
        if old.is_none()
            && !matches!(o.kind, OutputKind::Deleted)
            && around.insert(parent)
            && crate::collect::passes_on_access(parent)
        {
            return Err(format!("the directory of `{}` says who may use what is new in it", name()));
        }
        if old.is_some() && !matches!(o.kind, OutputKind::Directory { .. }) && is_mounted(&o.path) {
            return Err(format!("something is mounted at `{}`", name()));
        }
        match (&o.kind, old) {
            (OutputKind::File { in_place: true, mode, .. }, Some(s))
                if !s.is_file() || s.nlink > 1 || s.mode != *mode =>
            {
                return Err(format!(
                    "`{}` is linked, or of another type or mode, and might be overwritten in place",
                    name()
                ));
            }
            (OutputKind::File { .. } | OutputKind::Deleted, Some(s))
                if s.is_file() && crate::collect::keeps_more(&o.path, &s) =>
            {
                return Err(format!(
                    "`{}` has another owner or extended attributes, which the command might keep",
                    name()
                ));
            }
            (OutputKind::File { .. }, Some(s)) if s.kind == crate::Kind::Symlink => {
                return Err(format!("`{}` is a symbolic link", name()));
            }
            (OutputKind::Symlink { over: false, .. }, Some(s))
                if s.kind == crate::Kind::Symlink && path(&o.path).is_dir() =>
            {
                return Err(format!("`{}` is a symbolic link to a directory", name()));
            }
            (OutputKind::File { .. } | OutputKind::Symlink { .. }, Some(s)) if s.is_dir() => {
                return Err(format!("`{}` is a directory", name()));
            }
            (OutputKind::Deleted, Some(s)) if s.is_dir() => {
                let is_deleted = |o: &&Output| matches!(o.kind, OutputKind::Deleted);
                let goes = deleted.get_or_insert_with(|| outputs.iter().filter(is_deleted).map(|o| &*o.path).collect());
                let members = crate::collect::list(&o.path).unwrap_or_default();
                if members.iter().any(|(n, _)| !goes.contains(&[&o.path, &b"/"[..], n].concat()[..])) {
                    return Err(format!("the directory `{}` is not empty", name()));
                }
            }
            (OutputKind::Directory { .. }, Some(s)) if !s.is_dir() => {
                return Err(format!("`{}` is not a directory", name()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Such a name can neither be replaced nor removed (mount(2)).
fn is_mounted(p: &[u8]) -> bool {
    use rustix::fs::{StatxAttributes, StatxFlags};
    let s = rustix::fs::statx(CWD, p, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    s.is_ok_and(|s| s.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn parent(p: &[u8]) -> &[u8] {
    match p.iter().rposition(|b| *b == b'/') {
        Some(0) | None => b"/",
        Some(i) => &p[..i],
    }
}

/// A file that is complete but not visible yet.
enum Staged {
    /// Without a name; to be linked.
    Unnamed(File),
    /// Under a temporary name; to be renamed.
    Named(PathBuf),
    /// Another name of an earlier output.
    LinkTo(usize),
    Nothing,
}

/// Unnamed files cost a descriptor each; beyond this many, temporaries have names.
const MOST_UNNAMED: usize = 200;

/// Puts every output in place.
///
/// First everything that can fail is done without touching what is there: directories are made, contents copied and
/// verified. Only then do names change, and deletions come last. An error before that leaves the tree as it was; after
/// it, it is [`Partly`](crate::Error::Partly).
pub fn restore(cas: &Cas, outputs: &[Output]) -> Result<Restored> {
    let mut made = Vec::new();
    let staged = stage(cas, outputs, &mut made);
    let (staged, bytes) = match staged {
        Ok(s) => s,
        Err(e) => {
            made.iter().rev().for_each(|d| drop(std::fs::remove_dir(d)));
            return Err(e);
        }
    };
    place(outputs, &staged).map_err(|e| {
        discard(&staged);
        crate::Error::Partly(e.into())
    })?;
    Ok(Restored { bytes, states: outputs.iter().map(|o| FileStat::of(&o.path)).collect() })
}

/// Gives what is complete its names, and takes away what is to go.
fn place(outputs: &[Output], staged: &[Staged]) -> Result<()> {
    for (o, s) in outputs.iter().zip(staged) {
        let to = path(&o.path);
        match (&o.kind, s) {
            (OutputKind::Symlink { target, time, .. }, _) => {
                remove(&o.path)?;
                rustix::fs::symlink(target.as_slice(), to).at("link", to)?;
                if let Time::Set(ns) = time {
                    let times = modified_at((*ns).into());
                    rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW).at("set the time of", to)?;
                }
            }
            (_, Staged::Unnamed(f)) => {
                let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(f));
                rustix::fs::linkat(CWD, link, CWD, to, AtFlags::SYMLINK_FOLLOW).at("create", to)?;
            }
            (_, Staged::Named(t)) => std::fs::rename(t, to).at("replace", to)?,
            (_, Staged::LinkTo(first)) => {
                remove(&o.path)?;
                rustix::fs::link(path(&outputs[*first].path), to).at("link", to)?;
            }
            (_, Staged::Nothing) => {}
        }
    }
    for o in outputs {
        match &o.kind {
            OutputKind::Deleted => remove(&o.path)?,
            OutputKind::Directory { mode, .. } if FileStat::of(&o.path).is_none_or(|s| s.mode != *mode) => {
                rustix::fs::chmod(path(&o.path), Mode::from_raw_mode(*mode)).at("set the mode of", path(&o.path))?;
            }
            _ => {}
        }
    }
    // Nothing comes or goes in them any more.
    for o in outputs {
        if let OutputKind::Directory { time: Some(time), .. } = &o.kind {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
            let now = i128::from(now.tv_sec) * SECOND + i128::from(now.tv_nsec);
            let times = modified_at(modified(time)?.unwrap_or(now));
            rustix::fs::utimensat(CWD, path(&o.path), &times, AtFlags::empty()).at("set the time of", path(&o.path))?;
        }
    }
    Ok(())
}

fn discard(staged: &[Staged]) {
    for s in staged {
        if let Staged::Named(t) = s {
            let _ = std::fs::remove_file(t);
        }
    }
}

fn stage(cas: &Cas, outputs: &[Output], made: &mut Vec<PathBuf>) -> Result<(Vec<Staged>, u64)> {
    let mut bytes = 0;
    let mut unnamed = 0;
    let mut earlier = false;
    let mut groups: HashMap<u32, usize> = HashMap::new();
    let mut staged = Vec::with_capacity(outputs.len());
    for o in outputs {
        let one = match &o.kind {
            OutputKind::Directory { .. } => directory(&o.path, made).map(|()| Staged::Nothing),
            OutputKind::File { digest, mode, link_group, time, .. } => match link_group.and_then(|g| groups.get(&g)) {
                Some(first) => Ok(Staged::LinkTo(*first)),
                None => {
                    if let Some(g) = link_group {
                        groups.insert(*g, staged.len());
                    }
                    let may_be_unnamed = unnamed < MOST_UNNAMED;
                    let one = modified(time).and_then(|t| file(cas, &o.path, digest, *mode, t, may_be_unnamed));
                    one.and_then(|(n, s)| {
                        if matches!(time, Time::Fresh) && std::mem::replace(&mut earlier, true) {
                            date_after(&s).at("set the time of", path(&o.path))?;
                        }
                        bytes += n;
                        unnamed += usize::from(matches!(s, Staged::Unnamed(_)));
                        Ok(s)
                    })
                }
            },
            _ => Ok(Staged::Nothing),
        };
        match one {
            Ok(s) => staged.push(s),
            Err(e) => {
                discard(&staged);
                return Err(e);
            }
        }
    }
    Ok((staged, bytes))
}

/// Gives a file a time behind those of the files before it, though they were written within one tick of the clock. Who
/// has seen the time of a file must see a change of it: then a kernel with multigrain timestamps (Linux 6.13; its
/// Documentation/filesystems/multigrain-ts.rst) looks at a finer clock, behind which no later time falls. With others
/// equal times stay, as they would for a quick command.
fn date_after(staged: &Staged) -> rustix::io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let times = Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: now };
    match staged {
        Staged::Unnamed(f) => {
            rustix::fs::fstat(f)?;
            rustix::fs::futimens(f, &times)
        }
        Staged::Named(t) => {
            rustix::fs::stat(t)?;
            rustix::fs::utimensat(CWD, t, &times, AtFlags::empty())
        }
        Staged::LinkTo(_) | Staged::Nothing => Ok(()),
    }
}

fn remove(p: &[u8]) -> Result<()> {
    let Some(s) = FileStat::of(p) else { return Ok(()) };
    let r = if s.is_dir() { std::fs::remove_dir(path(p)) } else { std::fs::remove_file(path(p)) };
    match r {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at("remove", path(p)),
        _ => Ok(()),
    }
}

fn directory(p: &[u8], made: &mut Vec<PathBuf>) -> Result<()> {
    let dir = path(p);
    match std::fs::create_dir(dir) {
        Ok(()) => made.push(dir.to_owned()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e).at("create", dir),
    }
    Ok(())
}

/// Which time a file is to have, nanoseconds since the epoch; `None`: the present. Nothing has moved yet.
fn modified(time: &Time) -> Result<Option<i128>> {
    Ok(match time {
        Time::Fresh => None,
        Time::Set(ns) => Some((*ns).into()),
        Time::Of(p) => {
            let state = FileStat::of(p).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound));
            Some(state.at("take the time of", path(p))?.mtime)
        }
    })
}

const SECOND: i128 = 1_000_000_000;

/// Only the modification time, nanoseconds since the epoch.
fn modified_at(ns: i128) -> Timestamps {
    let part = |x: i128| i64::try_from(x).unwrap_or(0);
    let last_modification = Timespec { tv_sec: part(ns.div_euclid(SECOND)), tv_nsec: part(ns.rem_euclid(SECOND)) };
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification }
}

fn file(
    cas: &Cas,
    p: &[u8],
    digest: &crate::Digest,
    mode: u32,
    modified: Option<i128>,
    may_be_unnamed: bool,
) -> Result<(u64, Staged)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let to = path(p);
    let dir = path(parent(p));
    let private = Mode::from_raw_mode(0o600);
    let unnamed = (may_be_unnamed && FileStat::of(p).is_none())
        .then(|| rustix::fs::open(dir, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, private).ok())
        .flatten();
    let (mut f, temporary) = match unnamed {
        Some(fd) => (File::from(fd), None),
        None => {
            let n = COUNTER.fetch_add(1, Ordering::Relaxed);
            let t = dir.join(format!("{TEMPORARY_PREFIX}{}-{n}", std::process::id()));
            let fd = rustix::fs::open(&t, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC, private)
                .at("create", &t)?;
            (File::from(fd), Some(t))
        }
    };
    let done = (|| {
        let bytes = cas.copy_to(digest, &mut f, to)?;
        rustix::fs::fchmod(&f, Mode::from_raw_mode(mode)).at("set the mode of", to)?;
        if let Some(ns) = modified {
            rustix::fs::futimens(&f, &modified_at(ns)).at("set the time of", to)?;
        }
        Ok(bytes)
    })();
    match (done, temporary) {
        (Ok(n), None) => Ok((n, Staged::Unnamed(f))),
        (Ok(n), Some(t)) => Ok((n, Staged::Named(t))),
        (Err(e), t) => {
            if let Some(t) = t {
                let _ = std::fs::remove_file(t);
            }
            Err(e)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(p: PathBuf, kind: OutputKind) -> Output {
        use std::os::unix::ffi::OsStringExt;
        Output { path: p.into_os_string().into_vec().into(), kind }
    }

    /// What fails before names change leaves everything; what fails later says so, and leaves no temporaries.
    #[test]
    fn failures_on_the_way() {
        let d = tempfile::tempdir().unwrap();
        let cas = Cas::new(&d.path().join("cas"));
        let tree = d.path().join("t");
        std::fs::create_dir_all(tree.join("full/x")).unwrap();
        std::fs::write(tree.join("a"), "old").unwrap();
        std::fs::write(tree.join("b"), "old").unwrap();
        let file = |name, digest| {
            let traits = crate::digest::Traits::default();
            output(
                tree.join(name),
                OutputKind::File {
                    digest,
                    size: 3,
                    mode: 0o644,
                    link_group: None,
                    in_place: false,
                    traits,
                    time: Time::Fresh,
                },
            )
        };
        let new = cas.import_bytes(b"new").unwrap();
        let all = || ["a", "b"].map(|n| std::fs::read_to_string(tree.join(n)).unwrap());
        let names = || std::fs::read_dir(&tree).unwrap().count();
        let nowhere = crate::Digest::of(b"nowhere");
        let made = output(tree.join("made"), OutputKind::Directory { mode: 0o755, time: None });
        assert!(!matches!(
            restore(&cas, &[made, file("a", new), file("b", nowhere)]),
            Ok(_) | Err(crate::Error::Partly(_))
        ));
        assert_eq!((all(), names()), (["old", "old"].map(str::to_owned), 3));
        let link =
            output(tree.join("full"), OutputKind::Symlink { target: b"a".to_vec(), time: Time::Fresh, over: true });
        assert!(matches!(restore(&cas, &[file("a", new), link, file("b", new)]), Err(crate::Error::Partly(_))));
        assert_eq!((all(), names()), (["new", "old"].map(str::to_owned), 3));
    }

    /// What is restored in one tick of the clock keeps its order. Before Linux 6.13 equal times do.
    #[test]
    fn times_in_order() {
        let d = tempfile::tempdir().unwrap();
        let cas = Cas::new(&d.path().join("cas"));
        let digest = cas.import_bytes(b"new").unwrap();
        // A new name is linked, an old one renamed.
        std::fs::write(d.path().join("1"), "old").unwrap();
        let all: Vec<Output> = (0..5)
            .map(|n| {
                let traits = crate::digest::Traits::default();
                let kind = OutputKind::File {
                    digest,
                    size: 3,
                    mode: 0o644,
                    link_group: None,
                    in_place: false,
                    traits,
                    time: Time::Fresh,
                };
                output(d.path().join(n.to_string()), kind)
            })
            .collect();
        let restored = restore(&cas, &all).unwrap();
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let version: Vec<u32> = kernel.split(['.', '-']).map_while(|n| n.parse().ok()).collect();
        let times: Vec<i128> = restored.states.iter().map(|s| s.unwrap().mtime).collect();
        assert!(times.windows(2).all(|t| t[0] < t[1] || t[0] == t[1] && version < vec![6, 13]), "{times:?}");
    }
}
