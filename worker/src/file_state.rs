//! The run-wide memo of contents, and of who writes which name: one hash a content.
//!
//! It keeps no state of a name: what a hit rests on must have been true after its command was launched, and anybody may
//! save a file at any moment, so each lookup looks at each name itself ([`crate::world::World`]; believing a state for
//! a second was tried, and served old objects). Contents are keyed by identity and times, so they cannot go stale as
//! long as a later change shows in the times; where it might not (a coarse clock), the memo hashes a recent file anew.

use crate::indexes::Told;
use cache::digest::Content;
use cache::{FileStat, PathBytes, Store};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Stands for `xl` itself, when it puts results back, among the numbers of scopes.
pub const OURSELVES: u32 = u32::MAX;

/// A file that was written longer ago than this is told from a later one by its times, on every file system.
const RECENT: Duration = Duration::from_millis(100);

/// By the clock that stamps files, without its coarseness.
fn now() -> i128 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    i128::from(t.tv_sec) * 1_000_000_000 + i128::from(t.tv_nsec)
}

pub(crate) type Identity = (u64, u64, u64, i128, i128);

pub(crate) fn identity(s: &FileStat) -> Identity {
    (s.dev, s.ino, s.size, s.mtime, s.ctime)
}

/// A state that was seen when nobody of the build wrote.
struct Settled {
    state: FileStat,
    /// When it was looked up, nanoseconds after the epoch.
    at: i128,
    /// When somebody of the build was about to write it again.
    until: Option<i128>,
}

#[derive(Default)]
struct Inner {
    /// What pips that run have announced to write, and how often.
    writers: FxHashMap<PathBytes, u32>,
    /// The last two that have announced to write a name, by the numbers of their scopes, and when they last did.
    intents: FxHashMap<PathBytes, [Option<(u32, Instant)>; 2]>,
    /// The last one of each name, and the one before: who changes a file in place is judged by that which it found.
    settled: FxHashMap<PathBytes, Vec<Settled>>,
    /// What drivers wrote lately.
    driven: FxHashMap<PathBytes, Instant>,
    contents: FxHashMap<Identity, Content>,
    fresh: Vec<(FileStat, Content)>,
}

#[derive(Default)]
pub struct FileStates {
    inner: Mutex<Inner>,
    /// Devices on which a change after a look always shows in the times.
    fine: FxHashSet<u64>,
    /// What bytes were found to say.
    pub(crate) told: Told,
}

/// Does `dir`'s file system give a change that follows a look a time of its own (multigrain timestamps, Linux 6.13)?
/// Found out by doing it, many times within one tick. In one open file: to close one that was cut and written again
/// makes ext4 wait for the disk, in every run (its `auto_da_alloc`).
fn fine_grained(dir: &std::path::Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::FileExt;
    let path = dir.join(format!(".xl-clock-{}", std::process::id()));
    let bytes = path.as_os_str().as_bytes();
    let file = std::fs::File::create(&path).ok()?;
    let change = |i: u8| file.write_all_at(&[i], 0).ok().and_then(|()| FileStat::of(bytes));
    let mut device = None;
    for i in 0..20 {
        device = match (change(i), change(i)) {
            (Some(a), Some(b)) if a.ctime != b.ctime => Some(a.dev),
            _ => None,
        };
        if device.is_none() {
            break;
        }
    }
    let _ = std::fs::remove_file(&path);
    device
}

impl Inner {
    /// `scope` is about to write the name.
    fn disturbed(&mut self, path: &PathBytes, scope: u32) {
        let [last, before] = self.intents.entry(path.clone()).or_default();
        if last.is_none_or(|(who, _)| who != scope) {
            *before = last.take();
        }
        *last = Some((scope, Instant::now()));
        if let Some(last) = self.settled.get_mut(path).and_then(|all| all.last_mut()) {
            last.until.get_or_insert_with(now);
        }
    }

    /// A pip has ended, or does not count any more.
    fn done(&mut self, path: &PathBytes, writes: u32) {
        if let Some(n) = self.writers.get_mut(path) {
            *n = n.saturating_sub(writes);
            if *n == 0 {
                self.writers.remove(path);
            }
        }
    }

    /// The name is in this state now.
    fn settled_at(&mut self, path: &PathBytes, state: Option<FileStat>) {
        let all = self.settled.entry(path.clone()).or_default();
        all.retain(|s| s.until.is_some());
        all.drain(..all.len().saturating_sub(1));
        // Another pip may not be done yet.
        let quiet = !self.writers.contains_key(path);
        all.extend(state.filter(|_| quiet).map(|state| Settled { state, at: now(), until: None }));
    }
}

impl FileStates {
    /// `scratch` directories tell which file systems have a fine clock.
    pub fn new(scratch: &[&std::path::Path]) -> Self {
        Self {
            inner: Mutex::default(),
            told: Told::default(),
            fine: scratch.iter().filter_map(|d| fine_grained(d)).collect(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("file states")
    }

    /// A process may have changed files under names that are not known: no state counts as one that was seen at rest.
    pub fn distrust(&self) {
        self.lock().settled.clear();
    }

    /// A pip is about to write this name; [`Self::settle`] says when it is done.
    pub fn writing(&self, path: &PathBytes, scope: u32) {
        let mut inner = self.lock();
        inner.disturbed(path, scope);
        *inner.writers.entry(path.clone()).or_insert(0) += 1;
    }

    /// May somebody else than `scope`, which has announced this `own` times, have written the name since then?
    pub fn contested(&self, path: &[u8], scope: u32, own: u32, since: Instant) -> bool {
        let inner = self.lock();
        let later = |(who, at): &(u32, Instant)| *who != scope && *at >= since;
        inner.writers.get(path).is_some_and(|n| *n > own)
            || inner.intents.get(path).is_some_and(|i| i.iter().flatten().any(later))
    }

    /// The writer has ended (`writes` intents of it); the name is in this state.
    pub fn settle(&self, path: &PathBytes, writes: u32, state: Option<FileStat>) {
        let mut inner = self.lock();
        inner.done(path, writes);
        inner.settled_at(path, state);
    }

    /// A driver is about to write this name. Nobody says when it is done.
    pub fn written_by_driver(&self, path: &PathBytes) {
        let mut inner = self.lock();
        inner.disturbed(path, 0);
        inner.driven.insert(path.clone(), Instant::now());
    }

    /// The writer (`writes` intents of it) has turned out to be a driver.
    pub fn is_driver(&self, path: &PathBytes, writes: u32) {
        self.lock().done(path, writes);
        self.written_by_driver(path);
    }

    /// Looks at what drivers wrote lately. On a file system with a fine clock, whatever happens to it after this shows.
    pub fn seal(&self) {
        let driven: Vec<PathBytes> = self.lock().driven.keys().cloned().collect();
        for path in driven {
            let s = FileStat::of(&path);
            let mut inner = self.lock();
            inner.settled_at(&path, s.filter(|s| self.fine.contains(&s.dev)));
            // What is old enough is told apart by its times alone.
            if inner.driven.get(&path).is_some_and(|t| t.elapsed() > RECENT) {
                inner.driven.remove(&path);
            }
        }
    }

    /// Would a change after `state` was seen show? It was seen when it was looked at, or, if the look is told of later,
    /// it must have been seen `before` that. Who changes the file itself (`own`) need not care what becomes of that
    /// state.
    pub fn settled(&self, path: &[u8], state: &FileStat, before: Option<i128>, own: bool) -> bool {
        let seen = |in_time: &dyn Fn(&Settled) -> bool| {
            self.lock().settled.get(path).is_some_and(|all| all.iter().any(|s| s.state == *state && in_time(s)))
        };
        let fine = self.fine.contains(&state.dev);
        match before {
            None => fine || seen(&|s| s.until.is_none()),
            Some(b) => seen(&|s| s.at <= b && s.until.is_none_or(|u| b <= u && (own || fine))),
        }
    }

    /// Would a change show that comes after this state was looked up?
    pub(crate) fn trusted(&self, s: &FileStat) -> bool {
        self.fine.contains(&s.dev) || s.ctime < cache::file_stat::coarse_now() - cache::file_stat::TICK
    }

    /// Content of a file in this state; `None` if it has another one by now, or cannot be read.
    pub fn content(&self, path: &[u8], state: &FileStat, store: Option<&Store>) -> Option<Content> {
        if let Some(c) = self.lock().contents.get(&identity(state)) {
            return Some(*c);
        }
        if self.trusted(state)
            && let Some(c) = store.and_then(|s| s.memo(state))
        {
            self.lock().contents.insert(identity(state), c);
            return Some(c);
        }
        let (c, s) = cache::collect::hash_file(path).ok()??;
        if s != *state {
            return None;
        }
        if self.trusted(&s) {
            let mut inner = self.lock();
            inner.contents.insert(identity(&s), c);
            inner.fresh.push((s, c));
        }
        Some(c)
    }

    /// A content that is known without reading (just stored or restored).
    pub fn know(&self, state: &FileStat, c: Content) {
        let mut inner = self.lock();
        inner.contents.insert(identity(state), c);
        inner.fresh.push((*state, c));
    }

    /// Contents worth remembering beyond this run.
    pub fn take_fresh(&self) -> Vec<(FileStat, Content)> {
        let v = std::mem::take(&mut self.lock().fresh);
        v.into_iter().filter(|(s, _)| self.trusted(s)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn who_changes_a_file_is_judged_by_what_it_found() {
        let t = tempfile::tempdir().unwrap();
        let p = t.path().join("f");
        let path: PathBytes = p.as_os_str().as_bytes().into();
        let f = FileStates::new(&[]);
        let write = |text: &str| {
            f.writing(&path, 1);
            std::fs::write(&p, text).unwrap();
            FileStat::of(&path).unwrap()
        };
        let before = now();
        let one = write("1");
        f.settle(&path, 1, Some(one));
        let between = now();
        let two = write("22");
        assert!(f.settled(&path, &one, Some(between), true), "the writer found it");
        assert!(!f.settled(&path, &one, Some(between), false), "whoever else reads it may have read on");
        f.settle(&path, 1, Some(two));
        assert!(f.settled(&path, &one, Some(between), true) && f.settled(&path, &two, Some(now()), true));
        for (state, when) in [(&one, Some(now())), (&one, Some(before)), (&two, Some(between)), (&one, None)] {
            assert!(!f.settled(&path, state, when, true));
        }
        // Two at once: the first of them that ends knows nothing of the other.
        f.writing(&path, 1);
        let three = write("333");
        f.settle(&path, 1, Some(three));
        assert!(!f.settled(&path, &three, Some(now()), true));
    }

    #[test]
    fn what_a_driver_wrote_is_sealed() {
        let t = tempfile::tempdir().unwrap();
        let p = t.path().join("f");
        let path: PathBytes = p.as_os_str().as_bytes().into();
        let f = FileStates::new(&[t.path()]);
        for demoted in [false, true] {
            if demoted {
                f.writing(&path, 1);
                f.is_driver(&path, 1);
            } else {
                f.written_by_driver(&path);
            }
            std::fs::write(&p, "1").unwrap();
            let one = FileStat::of(&path).unwrap();
            assert!(!f.settled(&path, &one, Some(now()), false), "nobody has looked");
            f.seal();
            assert_eq!(f.settled(&path, &one, Some(now()), false), f.fine.contains(&one.dev));
        }
    }

    #[test]
    fn contents_follow_the_state() {
        let t = tempfile::tempdir().unwrap();
        let p = t.path().join("f");
        let path = p.as_os_str().as_bytes();
        let f = FileStates::new(&[t.path()]);
        for text in ["a", "b", "c"] {
            std::fs::write(&p, text).unwrap();
            let s = FileStat::of(path).unwrap();
            let c = f.content(path, &s, None).unwrap();
            assert_eq!(c.digest, cache::Digest::of(text.as_bytes()));
        }
    }
}
