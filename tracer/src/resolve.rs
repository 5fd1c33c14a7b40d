//! From a path argument to the file that the kernel would reach: canonical path, symbolic links crossed, state.
//!
//! The task is blocked while this runs, so what is seen here is what the call will see; only another running
//! process can change it, which is a race in the build itself. Directories are memoised for a moment, because
//! most arguments share their prefixes; [`Resolver::forget`] drops the memo whenever a directory or a symbolic
//! link is about to go away. Paths are bytes.

use rustc_hash::FxHashMap;
use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The kernel gives up after this many links (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;
/// How long a directory's resolution is believed without looking again.
const TRUST: Duration = Duration::from_secs(1);

/// Where a path leads.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Canonical path: no `.`, `..` or crossed link in it. If a component is missing, the rest as given, up to a `..`
    /// that leads back out of what is not there: nothing after that was looked at.
    pub path: Arc<[u8]>,
    /// Symbolic links that were crossed, in order.
    pub links: Vec<Crossed>,
    /// Directories that a `..` led out of: they had to be there.
    pub left: Vec<Arc<[u8]>>,
    /// `lstat` of `path` at this moment; `None` when nothing is there.
    pub state: Option<Statx>,
    /// Not even the directory is there: nothing can be made under this name.
    pub nowhere: bool,
}

impl Resolved {
    /// Type of what is there.
    pub fn file_type(&self) -> Option<FileType> {
        self.state.map(|s| FileType::from_raw_mode(s.stx_mode.into()))
    }

    /// Device and inode of what is there.
    pub fn file(&self) -> Option<(u64, u64)> {
        self.state.map(|s| (rustix::fs::makedev(s.stx_dev_major, s.stx_dev_minor), s.stx_ino))
    }
}

/// `statx` of `path` without following it; `None` when it is not there or cannot be seen.
pub(crate) fn lstat(path: &[u8]) -> Option<Statx> {
    rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS | StatxFlags::BTIME).ok()
}

/// The inode number of what `raw`, relative to the directory `base`, names now; `None` when nothing is there. Nothing
/// is memoised.
pub(crate) fn inode(base: &[u8], raw: &[u8], follow: bool) -> Option<u64> {
    let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    let look = |path: &[u8]| rustix::fs::statx(CWD, path, flags, StatxFlags::INO).ok();
    let found = if raw.first() == Some(&b'/') { look(raw) } else { look(&join(base, raw)) };
    found.map(|s| s.stx_ino)
}

/// A symbolic link that a path led through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossed {
    /// Canonical path of the link.
    pub link: Arc<[u8]>,
    /// Where it led when the path was resolved, as its text has it.
    pub target: Arc<[u8]>,
}

/// What lies on the way to a directory; see [`Resolved`].
#[derive(Clone, Default)]
struct Way {
    links: Vec<Crossed>,
    left: Vec<Arc<[u8]>>,
}

#[derive(Clone)]
struct Directory {
    path: Arc<[u8]>,
    way: Way,
    /// Nothing is there, or something that is no directory.
    missing: bool,
    /// It is missing, and a `..` would lead out of it.
    dead_end: bool,
    seen: Instant,
    generation: u64,
}

/// Resolves paths, with a memo of directories.
#[derive(Default)]
pub(crate) struct Resolver {
    directories: Mutex<FxHashMap<Box<[u8]>, Directory>>,
    generation: AtomicU64,
}

/// Appends `name` to the directory `dir`.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut p = Vec::with_capacity(dir.len() + name.len() + 1);
    p.extend_from_slice(dir);
    if p.last() != Some(&b'/') {
        p.push(b'/');
    }
    p.extend_from_slice(name);
    p
}

impl Resolver {
    /// A directory or link is about to be removed, replaced or moved: believe nothing that was seen before.
    pub(crate) fn forget(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes whenever what was seen before is not to be believed any more.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Resolves `raw`, relative to the directory `base` (absolute), as the kernel would.
    pub(crate) fn resolve(&self, base: &[u8], raw: &[u8], follow: bool) -> Resolved {
        let whole = if raw.first() == Some(&b'/') { raw.to_vec() } else { join(base, raw) };
        let trimmed = whole.iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
        let must_be_directory = trimmed < whole.len() && trimmed > 0;
        let lexical = &whole[..trimmed];
        let cut = lexical.iter().rposition(|b| *b == b'/').unwrap_or(0);
        let (parent, name) = (&lexical[..cut], lexical.get(cut + 1..).unwrap_or_default());
        if matches!(name, b"" | b".") {
            let d = self.directory(parent);
            return Resolved {
                state: lstat(&d.path),
                path: d.path,
                links: d.way.links,
                left: d.way.left,
                nowhere: d.missing,
            };
        }
        let d = self.directory(if name == b".." { lexical } else { parent });
        if name == b".." || d.dead_end {
            let state = if d.missing { None } else { lstat(&d.path) };
            return Resolved { state, path: d.path, links: d.way.links, left: d.way.left, nowhere: d.missing };
        }
        let mut way = d.way;
        let path = join(&d.path, name);
        let state = if d.missing { None } else { lstat(&path) };
        let is_link = state.is_some_and(|s| FileType::from_raw_mode(s.stx_mode.into()) == FileType::Symlink);
        if !is_link || !(follow || must_be_directory) {
            return Resolved { path: path.into(), links: way.links, left: way.left, state, nowhere: d.missing };
        }
        let path = walk(&path, &mut way);
        let state = lstat(&path);
        let parent = || path.iter().rposition(|b| *b == b'/').is_some_and(|cut| lstat(&path[..cut.max(1)]).is_some());
        Resolved { state, nowhere: state.is_none() && !parent(), path: path.into(), links: way.links, left: way.left }
    }

    /// Where the absolute path `lexical` leads, links followed. Begins at the nearest directory that is known, so that
    /// each is looked at once, however many paths go through it.
    fn directory(&self, lexical: &[u8]) -> Directory {
        let generation = self.generation.load(Ordering::Relaxed);
        let mut d = Directory {
            path: Arc::from(&b"/"[..]),
            way: Way::default(),
            missing: false,
            dead_end: false,
            seen: Instant::now(),
            generation,
        };
        // A path has as many components as bytes in it (`/////`): no recursion.
        let mut below = Vec::new();
        let mut upper = lexical;
        while let Some(cut) = upper.iter().rposition(|b| *b == b'/') {
            if let Some(known) = self.directories.lock().expect("resolver").get(upper)
                && known.generation == generation
                && known.seen.elapsed() < TRUST
            {
                d = known.clone();
                break;
            }
            below.push(upper);
            upper = &upper[..cut];
        }
        for lexical in below.into_iter().rev() {
            let name = lexical.iter().rposition(|b| *b == b'/').map_or(lexical, |cut| &lexical[cut + 1..]);
            d.enter(name);
            // What an ancestor's memo is worth, this one is worth: it is believed no longer.
            d.generation = generation;
            // A missing directory may appear at any moment: only what exists is remembered.
            if !d.missing {
                self.directories.lock().expect("resolver").insert(lexical.into(), d.clone());
            }
        }
        d
    }
}

impl Directory {
    /// Goes on to what is called `name` in it.
    fn enter(&mut self, name: &[u8]) {
        match name {
            b"" | b"." => {}
            _ if self.dead_end => {}
            b".." if self.missing => {
                self.path = join(&self.path, b"..").into();
                self.dead_end = true;
            }
            name if self.missing => self.path = join(&self.path, name).into(),
            b".." => {
                self.way.left.push(self.path.clone());
                let cut = self.path.iter().rposition(|b| *b == b'/').unwrap_or(0);
                self.path = self.path[..cut.max(1)].into();
            }
            name => {
                let mut path = join(&self.path, name);
                let kind = |p: &[u8]| lstat(p).map(|s| FileType::from_raw_mode(s.stx_mode.into()));
                let mut found = kind(&path);
                if found == Some(FileType::Symlink) && !magic(&path) {
                    path = walk(&path, &mut self.way);
                    found = kind(&path);
                }
                self.missing = !(found == Some(FileType::Directory) || magic(&path));
                self.path = path.into();
            }
        }
    }
}

/// Walks an absolute path component by component, following every link, and notes what lies on the way.
fn walk(path: &[u8], way: &mut Way) -> Vec<u8> {
    let mut rest: Vec<Vec<u8>> = components(path);
    let mut at = b"/".to_vec();
    let mut crossed = 0;
    while let Some(name) = rest.pop() {
        if name == b".." {
            if !lstat(&at).is_some_and(|s| FileType::from_raw_mode(s.stx_mode.into()) == FileType::Directory) {
                return join(&at, b"..");
            }
            way.left.push(at.as_slice().into());
            let cut = at.iter().rposition(|b| *b == b'/').unwrap_or(0);
            at.truncate(cut.max(1));
            continue;
        }
        let next = join(&at, &name);
        match rustix::fs::readlink(next.as_slice(), Vec::new()) {
            Ok(target) if crossed < MAX_LINKS && !magic(&next) => {
                crossed += 1;
                let target = target.as_bytes();
                way.links.push(Crossed { link: next.into(), target: target.into() });
                if target.first() == Some(&b'/') {
                    at = b"/".to_vec();
                }
                rest.extend(components(target));
            }
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {
                at = next;
                for name in rest.into_iter().rev() {
                    at = join(&at, &name);
                    if name == b".." {
                        break;
                    }
                }
                return at;
            }
            _ => at = next,
        }
    }
    at
}

/// Links under `/proc` are not text: `/proc/self` depends on who asks.
fn magic(path: &[u8]) -> bool {
    path.starts_with(b"/proc/")
}

/// The components in reverse order, `.` and empty ones dropped.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|b| *b == b'/').filter(|c| !matches!(*c, b"" | b".")).rev().map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_path_of_nothing_but_slashes() {
        let deep = |unit: &str| [b"/tmp", unit.repeat(4090 / unit.len()).as_bytes(), b"/nothing"].concat();
        for unit in ["/", "/.", "/../tmp"] {
            let small = std::thread::Builder::new().stack_size(64 << 10);
            let resolve = move || Resolver::default().resolve(b"/", &deep(unit), true).path;
            let path = small.spawn(resolve).expect("a thread").join().expect("no overflow");
            assert_eq!(&*path, b"/tmp/nothing", "{unit}");
        }
    }
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn bytes(p: &Path) -> &[u8] {
        p.as_os_str().as_bytes()
    }

    #[test]
    fn agrees_with_the_kernel() {
        let t = tempfile::tempdir().unwrap();
        let root = t.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/f"), "x").unwrap();
        symlink("a/b", root.join("rel")).unwrap();
        symlink(root.join("a"), root.join("abs")).unwrap();
        symlink("../rel/f", root.join("a/chain")).unwrap();
        let r = Resolver::default();
        for raw in [
            "a/b/f",
            "./a//b/./f",
            "rel/f",
            "abs/b/f",
            "abs/chain",
            "a/b/../chain",
            "rel/../b/f",
            "rel/..",
            ".",
            "rel/",
            "abs/b/",
        ] {
            let got = r.resolve(bytes(&root), raw.as_bytes(), true);
            let want = root.join(raw).canonicalize().unwrap();
            assert_eq!(&*got.path, bytes(&want), "{raw}");
            assert!(got.state.is_some(), "{raw}");
        }
        for (raw, left) in [("a/b/../chain", vec!["a/b", "a"]), ("rel/..", vec!["a/b"]), ("a/b/f", vec![])] {
            let got: Vec<_> = r.resolve(bytes(&root), raw.as_bytes(), true).left;
            let want: Vec<_> = left.into_iter().map(|d| root.join(d)).collect();
            assert_eq!(
                got.iter().map(|d| &**d).collect::<Vec<_>>(),
                want.iter().map(|d| bytes(d)).collect::<Vec<_>>(),
                "{raw}"
            );
        }
        let link = r.resolve(bytes(&root), b"abs/chain", false);
        assert_eq!(link.file_type(), Some(FileType::Symlink));
        assert_eq!(link.links.len(), 1, "only `abs` is crossed");
    }

    #[test]
    fn missing_components_keep_the_rest() {
        let t = tempfile::tempdir().unwrap();
        let root = t.path().canonicalize().unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        let r = Resolver::default();
        let got = r.resolve(bytes(&root), b"none/x/y", true);
        assert_eq!(&*got.path, bytes(&root.join("none/x/y")));
        assert!(got.state.is_none());
        // A `..` leads nowhere out of what is not there, or no directory, whatever there is besides.
        std::fs::write(root.join("f"), "").unwrap();
        symlink("none/../f", root.join("out")).unwrap();
        for (raw, end) in [
            ("none/../f", "none/.."),
            ("none/x/../../f", "none/x/.."),
            ("f/../f", "f/.."),
            ("out", "none/.."),
            ("none/..", "none/.."),
        ] {
            let got = r.resolve(bytes(&root), raw.as_bytes(), true);
            assert_eq!((&*got.path, got.state.is_none(), got.nowhere), (bytes(&root.join(end)), true, true), "{raw}");
        }
        let got = r.resolve(bytes(&root), b"dangling", true);
        assert_eq!(&*got.path, bytes(&root.join("nowhere")));
        assert_eq!(got.links.len(), 1);
    }

    #[test]
    fn a_retargeted_link_is_seen_after_forget() {
        let t = tempfile::tempdir().unwrap();
        let root = t.path().canonicalize().unwrap();
        for d in ["one", "two"] {
            std::fs::create_dir(root.join(d)).unwrap();
            std::fs::write(root.join(d).join("f"), d).unwrap();
        }
        symlink("one", root.join("l")).unwrap();
        let r = Resolver::default();
        assert!(r.resolve(bytes(&root), b"l/f", true).path.ends_with(b"one/f"));
        std::fs::remove_file(root.join("l")).unwrap();
        symlink("two", root.join("l")).unwrap();
        r.forget();
        assert!(r.resolve(bytes(&root), b"l/f", true).path.ends_with(b"two/f"));
    }
}
