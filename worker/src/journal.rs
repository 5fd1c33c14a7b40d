//! The in-flight journal: what an interrupted run may have left half-made.
//!
//! Before a pip first creates a name under the workspace, the name is noted, and so is every name that a hit is about
//! to put in place; when that has ended properly, this is noted too. A run that finds the journal of a dead one removes
//! the names that were absent before (so nothing of the user's is lost), gives replaced ones an old time, so that the
//! build tool makes them again, and removes temporaries of restores. The owner holds a lock, and shows that it lives by
//! the time of the file: what was changed well after the last sign of life was changed by somebody else, and is left
//! alone.

use cache::PathBytes;
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

pub struct Journal {
    file: Option<Mutex<File>>,
    path: PathBuf,
    /// Dropped when the run ends.
    _beat: Option<mpsc::Sender<()>>,
}

/// How often a run shows that it lives.
const BEAT: Duration = Duration::from_millis(500);
/// How long after the last sign of life of a run its commands may have gone on: threads get no processor for a while.
const GRACE: Duration = Duration::from_secs(3);

/// Touches the journal until the sender is gone.
fn beat(file: &File) -> Option<mpsc::Sender<()>> {
    let (alive, ended) = mpsc::channel();
    let file = file.try_clone().ok()?;
    let run = move || {
        while ended.recv_timeout(BEAT) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = file.set_modified(std::time::SystemTime::now());
        }
    };
    std::thread::Builder::new().name("journal".into()).spawn(run).ok().map(|_| alive)
}

/// Was it changed by somebody else, after the run had died? Of a file that is written to again, the last change counts
/// (`ctime`).
fn is_newer(m: &std::fs::Metadata, last_sign: std::time::SystemTime) -> bool {
    use std::os::unix::fs::MetadataExt;
    let changed = Duration::new(m.ctime().try_into().unwrap_or(0), m.ctime_nsec().try_into().unwrap_or(0));
    std::time::UNIX_EPOCH + changed > last_sign + GRACE
}

const BEGIN: u8 = b'B';
const REPLACE: u8 = b'R';
const END: u8 = b'E';

fn record(tag: u8, pip: u32, path: &[u8]) -> Vec<u8> {
    let mut r = vec![tag];
    r.extend_from_slice(&pip.to_le_bytes());
    r.extend_from_slice(&u32::try_from(path.len()).unwrap_or(0).to_le_bytes());
    r.extend_from_slice(path);
    r
}

/// Names that pips of `bytes` were about to create or replace, and that never ended.
fn unfinished(mut b: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut open: BTreeMap<u32, Vec<(u8, Vec<u8>)>> = BTreeMap::new();
    while b.len() >= 9 {
        let pip = u32::from_le_bytes(b[1..5].try_into().expect("four bytes"));
        let n = u32::from_le_bytes(b[5..9].try_into().expect("four bytes")) as usize;
        let Some(path) = b.get(9..9 + n) else { break };
        match b[0] {
            BEGIN | REPLACE => open.entry(pip).or_default().push((b[0], path.to_vec())),
            _ => drop(open.remove(&pip)),
        }
        b = &b[9 + n..];
    }
    open.into_values().flatten().collect()
}

impl Journal {
    /// Where the journal of this process is.
    pub fn place(dir: &Path) -> PathBuf {
        dir.join("inflight").join(std::process::id().to_string())
    }

    /// Cleans up after dead runs, then begins a journal of our own. Returns how many names were removed.
    pub fn open(dir: &Path) -> (Self, usize) {
        let folder = dir.join("inflight");
        let removed = recover(&folder);
        let path = Self::place(dir);
        let file = std::fs::create_dir_all(&folder)
            .and_then(|()| OpenOptions::new().create(true).append(true).open(&path))
            .ok()
            .filter(|f| flock(f, FlockOperation::NonBlockingLockExclusive).is_ok());
        let beat = file.as_ref().and_then(beat);
        (Self { file: file.map(Mutex::new), path, _beat: beat }, removed)
    }

    /// `pip` is about to create `path`, which is absent.
    pub fn creates(&self, pip: u32, path: &PathBytes) {
        self.write(&record(BEGIN, pip, path));
    }

    /// A hit is about to replace `path`, which exists.
    pub fn replaces(&self, pip: u32, path: &PathBytes) {
        self.write(&record(REPLACE, pip, path));
    }

    /// `pip` has ended, and what it wrote is whole.
    pub fn ended(&self, pip: u32) {
        self.write(&record(END, pip, b""));
    }

    fn write(&self, r: &[u8]) {
        if let Some(f) = &self.file {
            // One write call a record: a kill tears at most the last one, which is then ignored. No sync: after a
            // power loss the tree itself is as old as the journal.
            let _ = f.lock().expect("journal").write_all(r);
        }
    }

    /// The run has ended properly.
    pub fn close(&self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn recover(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let mut removed = 0;
    for e in entries.flatten() {
        let Ok(f) = OpenOptions::new().read(true).write(true).open(e.path()) else { continue };
        if flock(&f, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let last_sign = f.metadata().and_then(|m| m.modified()).unwrap_or(std::time::UNIX_EPOCH);
        let mut names = unfinished(&std::fs::read(e.path()).unwrap_or_default());
        // Members before their directories.
        names.sort_by(|a, b| b.1.cmp(&a.1));
        let temporaries = format!("{}{}-", cache::TEMPORARY_PREFIX, e.file_name().to_string_lossy());
        let mut swept: Option<PathBuf> = None;
        for (tag, n) in names {
            let p = Path::new(OsStr::from_bytes(&n));
            if let Some(dir) = p.parent().filter(|d| swept.as_deref() != Some(d)) {
                sweep(dir, &temporaries);
                swept = Some(dir.to_owned());
            }
            let mended = match std::fs::symlink_metadata(p) {
                Ok(m) if !m.is_dir() && is_newer(&m, last_sign) => false,
                Ok(m) if tag == REPLACE => m.is_file() && cache::file_stat::age(p).is_ok(),
                Ok(m) if m.is_dir() => std::fs::remove_dir(p).is_ok(),
                Ok(_) => std::fs::remove_file(p).is_ok(),
                Err(_) => false,
            };
            removed += usize::from(mended);
        }
        let _ = std::fs::remove_file(e.path());
    }
    removed
}

fn sweep(dir: &Path, prefix: &str) {
    for e in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if e.file_name().to_string_lossy().starts_with(prefix) {
            let _ = std::fs::remove_file(e.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unfinished_creations_are_removed() {
        let t = tempfile::tempdir().unwrap();
        let name = |n: &str| -> PathBytes { t.path().join(n).as_os_str().as_bytes().into() };
        for n in ["done", "half", "source", "replaced", "new", ".xl-restore-1-0", ".xl-restore-2-0"] {
            std::fs::write(t.path().join(n), n).unwrap();
        }
        let folder = t.path().join("cache/inflight");
        std::fs::create_dir_all(&folder).unwrap();
        let log = [
            record(REPLACE, 4, &name("replaced")),
            record(BEGIN, 1, &name("done")),
            record(BEGIN, 2, &name("half")),
            record(END, 1, b""),
            record(BEGIN, 3, b"/torn"),
        ]
        .concat();
        std::fs::write(folder.join("1"), &log[..log.len() - 2]).unwrap();
        // This run died a minute ago, and somebody has made `new` since then.
        std::fs::write(folder.join("3"), record(BEGIN, 1, &name("new"))).unwrap();
        let log = File::options().write(true).open(folder.join("3")).unwrap();
        log.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
        let (j, removed) = Journal::open(&t.path().join("cache"));
        assert_eq!(removed, 2);
        let time = t.path().join("replaced").metadata().unwrap().modified().unwrap();
        assert_eq!(time, std::time::UNIX_EPOCH + std::time::Duration::from_secs(1));
        assert!(!t.path().join(".xl-restore-1-0").exists() && t.path().join(".xl-restore-2-0").exists());
        assert!(
            t.path().join("done").exists()
                && t.path().join("new").exists()
                && t.path().join("source").exists()
                && !t.path().join("half").exists()
        );
        // A live journal is left alone.
        j.creates(1, &name("done"));
        assert_eq!(recover(&folder), 0);
        assert!(t.path().join("done").exists());
        j.close();
    }
}
