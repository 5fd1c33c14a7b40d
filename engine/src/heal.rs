//! Trustworthy incremental builds: what is stale is taken away before the build tool looks, so that it is made again.
//!
//! It must never endanger a source, nor take away what the build tool does not make. Removed is only what is provably a product: it was
//! not there before a command of a build tool first made it, no build tool reads it for its rules, git does not track it, and the cache has
//! its bytes. What a script or a single command made is left alone; all else is made older than whatever it is made from. What the
//! build does not make again is put back, or gets its time back.

use crate::config::Config;
use crate::frontend::{Declared, os_path};
use crate::products::Stale;
use crate::run::CacheHandle;
use cache::{Digest, FileStat, OutputKind, PathBytes};
use rustc_hash::FxHashMap;
use rustix::fs::{AtFlags, Timespec, Timestamps};
use std::path::Path;

/// What healing did to a file, so that it can be undone.
#[derive(serde::Serialize, serde::Deserialize)]
struct Undo {
    path: PathBytes,
    /// The result that holds the bytes of what was removed.
    removed: Option<Digest>,
    /// When what was made older had been changed, in nanoseconds since the epoch.
    aged: Option<i128>,
}

/// What was undone, because the build did not make the file again.
pub struct Undone {
    pub path: PathBytes,
    pub was: Healed,
    /// Why it could not be undone.
    pub outcome: Result<(), String>,
}

/// What happened to a stale file, so that the build tool makes it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Healed {
    /// It is gone; its content is in the cache.
    Removed,
    /// It may be somebody's source: it was made older than everything.
    Aged,
    /// No build tool made it, so that none would make it again: nothing.
    Left,
}

/// Makes the build tool make these files again. `declared` is what the build tool that comes next was found to declare.
///
/// # Errors
/// Git does not say which files are sources, what was done last time cannot be read, or what is done cannot be noted: nothing was done.
pub fn heal(
    all: &[Stale],
    declared: Option<&Declared>,
    cache: &CacheHandle,
    config: &Config,
) -> Result<Vec<std::io::Result<Healed>>, String> {
    let tracked = if all.is_empty() { None } else { crate::violation::place::tracked(&config.root)? }.unwrap_or_default();
    let remade = |s: &Stale| !s.product.tool.is_empty() && !is_build_file(&s.path, declared);
    let sure = |s: &Stale| remade(s) && s.product.created && !tracked.contains(&s.path) && is_stored(s, cache);
    // What a build that failed has left is still to be undone.
    let unreadable = |e| format!("what was done last time is not known ({e}); remove `{}` to begin anew", config.kept("healed").display());
    let mut earlier: FxHashMap<PathBytes, Undo> =
        noted(config).map_err(unreadable)?.into_iter().filter(is_pending).map(|u| (u.path.clone(), u)).collect();
    let time = |s: &Stale, now: &FileStat| earlier.get(&s.path).and_then(|u| u.aged).unwrap_or(now.mtime);
    let plan = |s: &Stale| match FileStat::of(&s.path) {
        _ if sure(s) => Some(Undo { path: s.path.clone(), removed: Some(s.product.strong), aged: None }),
        Some(now) if !s.product.tool.is_empty() => Some(Undo { path: s.path.clone(), removed: None, aged: Some(time(s, &now)) }),
        _ => None,
    };
    let planned: Vec<Option<Undo>> = all.iter().map(plan).collect();
    planned.iter().flatten().for_each(|p| drop(earlier.remove(&p.path)));
    note(&planned.iter().flatten().chain(earlier.values()).collect::<Vec<_>>(), config)
        .map_err(|e| format!("what is done cannot be noted: {e}"))?;
    let done = planned.iter().map(|p| match p {
        Some(u) if u.removed.is_some() => std::fs::remove_file(os_path(&u.path)).map(|()| Healed::Removed),
        Some(u) => age(os_path(&u.path)).map(|()| Healed::Aged),
        None => Ok(Healed::Left),
    });
    Ok(done.collect())
}

/// Does a build tool read its rules there?
fn is_build_file(path: &PathBytes, declared: Option<&Declared>) -> bool {
    let name = worker::tools::base_name(path);
    let known = matches!(name, b"Makefile" | b"makefile" | b"GNUmakefile" | b"CMakeCache.txt" | b"config.status" | b"configure");
    known
        || [&b".mk"[..], b".make", b".ninja", b".cmake"].iter().any(|e| name.ends_with(e))
        || declared.is_some_and(|d| d.files.contains(path))
}

/// Are the bytes of the file those that the cache has?
fn is_stored(s: &Stale, cache: &CacheHandle) -> bool {
    let Ok(Some(entry)) = cache.store.entry(&s.product.strong) else { return false };
    let Some(output) = entry.outputs.iter().find(|o| o.path == s.path) else { return false };
    match &output.kind {
        OutputKind::File { digest, .. } => {
            cache.cas.contains(digest) && cache::collect::hash_file(&s.path).ok().flatten().is_some_and(|(c, _)| c.digest == *digest)
        }
        OutputKind::Symlink { target, .. } => cache::collect::read_link(&s.path).is_ok_and(|t| t == *target),
        _ => false,
    }
}

const SECOND: i128 = 1_000_000_000;

/// Older than whatever it is made from: one second after the epoch, since ninja takes the epoch itself for "not there".
const OLD: i128 = SECOND;

/// Gives a name, not what a link leads to, an old time. Needs no right to write (utimensat(2): the owner may).
pub(crate) fn age(path: &Path) -> std::io::Result<()> {
    date(path, OLD)
}

fn date(path: &Path, ns: i128) -> std::io::Result<()> {
    let beyond = |_| std::io::Error::from(rustix::io::Errno::OVERFLOW);
    let t = Timespec {
        tv_sec: i64::try_from(ns.div_euclid(SECOND)).map_err(beyond)?,
        tv_nsec: i64::try_from(ns.rem_euclid(SECOND)).map_err(beyond)?,
    };
    let times = Timestamps { last_access: t, last_modification: t };
    Ok(rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// What was done and may be undone.
fn noted(config: &Config) -> std::io::Result<Vec<Undo>> {
    match std::fs::read(config.kept("healed")) {
        Ok(b) => Ok(serde_json::from_slice(&b)?),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Is the file still missing, or still as old as it was made?
fn is_pending(u: &Undo) -> bool {
    let now = FileStat::of(&u.path);
    (now.is_none() && u.removed.is_some()) || (now.is_some_and(|s| s.mtime == OLD) && u.aged.is_some_and(|then| then != OLD))
}

/// Notes what is about to be done, so that it can be undone; the note of the time before is replaced.
fn note(plan: &[&Undo], config: &Config) -> std::io::Result<()> {
    let file = config.kept("healed");
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(file, serde_json::to_vec(plan)?)
}

/// Brings back what healing has removed last and nobody has made since, and the times of what it made older and nobody has touched since.
///
/// # Errors
/// The note of what was removed cannot be read.
pub fn bring_back(cache: &CacheHandle, config: &Config) -> std::io::Result<Vec<Undone>> {
    let restore = |path: &PathBytes, strong: &Digest| {
        let entry = cache.store.entry(strong).map_err(|e| e.to_string())?.ok_or("the cache has forgotten it")?;
        let output: Vec<_> = entry.outputs.into_iter().filter(|o| o.path == *path).collect();
        cache::materialise::restore(&cache.cas, &output).map(drop).map_err(|e| e.to_string())
    };
    let undone = |u: Undo| match (u.removed, u.aged) {
        (Some(strong), _) => Some(Undone { outcome: restore(&u.path, &strong), was: Healed::Removed, path: u.path }),
        (None, Some(then)) => {
            Some(Undone { outcome: date(os_path(&u.path), then).map_err(|e| e.to_string()), was: Healed::Aged, path: u.path })
        }
        (None, None) => None,
    };
    Ok(noted(config)?.into_iter().filter(is_pending).filter_map(undone).collect())
}
