//! Trustworthy incremental builds: what is stale is taken away before the build tool looks, so that it is made again.
//!
//! It must never endanger a source, nor take away what the build tool does not make. Removed is only what is provably a product: it was
//! not there before a command of a build tool first made it, no build tool reads it for its rules, git does not track it, and the cache has
//! its bytes. What a script or a single command made is left alone; all else is made older than whatever it is made from. What was removed
//! and not made again can be brought back.

use crate::config::Config;
use crate::frontend::{Declared, os_path};
use crate::products::Stale;
use crate::run::CacheHandle;
use cache::{Digest, FileStat, OutputKind, PathBytes};
use rustix::fs::{AtFlags, Timespec, Timestamps};
use std::path::Path;

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
/// Git does not say which files are sources, or what is removed cannot be noted: nothing was done.
pub fn heal(
    all: &[Stale],
    declared: Option<&Declared>,
    cache: &CacheHandle,
    config: &Config,
) -> Result<Vec<std::io::Result<Healed>>, String> {
    let tracked = if all.is_empty() { None } else { crate::violation::place::tracked(&config.root)? }.unwrap_or_default();
    let remade = |s: &Stale| !s.product.tool.is_empty() && !is_build_file(&s.path, declared);
    let sure = |s: &Stale| remade(s) && s.product.created && !tracked.contains(&s.path) && is_stored(s, cache);
    let removed: Vec<_> = all.iter().filter(|s| sure(s)).map(|s| (s.path.clone(), s.product.strong)).collect();
    note(&removed, config).map_err(|e| format!("what is removed cannot be noted: {e}"))?;
    let mut gone = removed.iter().map(|(path, _)| path).peekable();
    let done = all.iter().map(|s| {
        let path = os_path(&s.path);
        if gone.next_if(|p| **p == s.path).is_some() {
            std::fs::remove_file(path).map(|()| Healed::Removed)
        } else if s.product.tool.is_empty() {
            Ok(Healed::Left)
        } else {
            age(path).map(|()| Healed::Aged)
        }
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
        OutputKind::Symlink { target } => cache::collect::read_link(&s.path).is_ok_and(|t| t == *target),
        _ => false,
    }
}

/// Gives a name, not what a link leads to, a time that is older than whatever it is made from. Needs no right to write (utimensat(2): the
/// owner may).
pub(crate) fn age(path: &Path) -> std::io::Result<()> {
    let old = Timespec { tv_sec: 1, tv_nsec: 0 };
    let times = Timestamps { last_access: old, last_modification: old };
    Ok(rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Notes what is about to be removed, so that it can be brought back; the note of the time before is replaced.
fn note(removed: &[(PathBytes, Digest)], config: &Config) -> std::io::Result<()> {
    let file = config.kept("healed");
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(file, serde_json::to_vec(removed)?)
}

/// Brings back what healing has removed last and nobody has made since.
///
/// # Errors
/// The note of what was removed cannot be read.
pub fn bring_back(cache: &CacheHandle, config: &Config) -> std::io::Result<Vec<(PathBytes, Result<(), String>)>> {
    let noted: Vec<(PathBytes, Digest)> = match std::fs::read(config.kept("healed")) {
        Ok(b) => serde_json::from_slice(&b)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e),
    };
    let restore = |path: &PathBytes, strong: &Digest| {
        let entry = cache.store.entry(strong).map_err(|e| e.to_string())?.ok_or("the cache has forgotten it")?;
        let output: Vec<_> = entry.outputs.into_iter().filter(|o| o.path == *path).collect();
        cache::materialise::restore(&cache.cas, &output).map(drop).map_err(|e| e.to_string())
    };
    let missing = noted.into_iter().filter(|(path, _)| FileStat::of(path).is_none());
    Ok(missing.map(|(path, strong)| (path.clone(), restore(&path, &strong))).collect())
}
