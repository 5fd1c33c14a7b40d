//! The content store on disk: one file per blob, named by its digest, fanned out over 256 directories.
//!
//! A blob appears by rename, complete or not at all. Every read that serves a result verifies the digest on the
//! way, so a flipped bit costs a miss and never a wrong result. Blobs are never hard-linked into a build tree:
//! builds edit files in place. Directories are made when the first blob comes.

use crate::digest::{Content, Named, Pass, Sha256, copy_through, copy_verified};
use crate::tier::{Sink, Source, Upload};
use crate::{Digest, Error, IoResultExt, Result};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub struct Cas {
    root: PathBuf,
    scratch: PathBuf,
    counter: AtomicU64,
    /// What has come and gone, and was not asked for yet.
    changes: Mutex<Vec<(Digest, Change)>>,
    /// Are the twins of what is imported wanted?
    with_twins: bool,
}

/// What has become of a blob.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Came { size: u64, twin: Option<Sha256> },
    Gone,
}

/// A blob found by [`Cas::walk`].
#[derive(Clone, Copy, Debug)]
pub struct Blob {
    pub digest: Digest,
    pub size: u64,
    /// Age of the file, seconds.
    pub age: u64,
}

/// Does something that fails if a directory is missing; then makes it, and tries again.
fn with_directory<T>(dir: &Path, f: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
    match f() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => std::fs::create_dir_all(dir).and_then(|()| f()),
        done => done,
    }
}

impl Cas {
    /// The store in `dir`. Nothing is looked at before it is needed.
    pub fn new(dir: &Path) -> Self {
        Self {
            root: dir.join("cas"),
            scratch: dir.join("tmp"),
            counter: AtomicU64::new(0),
            changes: Mutex::default(),
            with_twins: false,
        }
    }

    /// From now on the SHA-256 digest of what is imported is found, too, for a tier that names blobs by it. Without
    /// such a tier it would only cost time.
    pub fn with_twins(self, wanted: bool) -> Self {
        Self { with_twins: wanted, ..self }
    }

    /// What has come or gone since the last time, in this order.
    pub(crate) fn take_changes(&self) -> Vec<(Digest, Change)> {
        std::mem::take(&mut self.changes.lock().expect("changes"))
    }

    fn note(&self, d: &Digest, change: Change) {
        self.changes.lock().expect("changes").push((*d, change));
    }

    /// The twin of a blob that has come and was not told of yet.
    pub(crate) fn twin_of_new(&self, d: &Digest) -> Option<Sha256> {
        let changes = self.changes.lock().expect("changes");
        changes.iter().rev().find(|(digest, _)| digest == d).and_then(|(_, change)| match change {
            Change::Came { twin, .. } => *twin,
            Change::Gone => None,
        })
    }

    fn place(&self, d: &Digest) -> PathBuf {
        let hex = d.hex();
        self.root.join(&hex[..2]).join(&hex[2..])
    }

    pub fn contains(&self, d: &Digest) -> bool {
        rustix::fs::access(self.place(d), rustix::fs::Access::EXISTS).is_ok()
    }

    /// Of a blob that is there, bytes.
    pub fn size(&self, d: &Digest) -> Option<u64> {
        std::fs::metadata(self.place(d)).ok().map(|m| m.len())
    }

    fn scratch_file(&self) -> Result<(PathBuf, File)> {
        let n = self.counter.fetch_add(1, Ordering::Relaxed);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let path = self.scratch.join(format!("{}-{n}-{now}", std::process::id()));
        let f = with_directory(&self.scratch, || File::create_new(&path)).at("create", &path)?;
        Ok((path, f))
    }

    /// Gives a scratch file that `fill` has written the name of the content that it says it has written.
    fn store<T>(
        &self,
        fill: impl FnOnce(&mut File, &Path) -> Result<T>,
        is: impl FnOnce(&T) -> (Digest, u64, Option<Sha256>),
    ) -> Result<T> {
        let (scratch, mut to) = self.scratch_file()?;
        let filled = fill(&mut to, &scratch).and_then(|c| self.commit(&scratch, is(&c)).map(|()| c));
        filled.inspect_err(|_| drop(std::fs::remove_file(&scratch)))
    }

    fn commit(&self, scratch: &Path, (digest, size, twin): (Digest, u64, Option<Sha256>)) -> Result<()> {
        let place = self.place(&digest);
        if self.contains(&digest) {
            // It may have come when nobody wanted its twin.
            twin.is_some().then(|| self.note(&digest, Change::Came { size, twin }));
            return std::fs::remove_file(scratch).at("remove", scratch);
        }
        with_directory(place.parent().unwrap_or(&self.root), || std::fs::rename(scratch, &place))
            .at("store", &place)?;
        self.note(&digest, Change::Came { size, twin });
        Ok(())
    }

    /// Stores what `from` holds; returns its digest.
    pub fn import(&self, from: &mut impl Read, name: &Path) -> Result<Content> {
        let pass = if self.with_twins { Pass::with_twin() } else { Pass::default() };
        let fill = |to: &mut File, scratch: &Path| {
            Ok(copy_through(pass, Named(from, name), Named(to, scratch))?.finish_with_twin())
        };
        self.store(fill, |(c, twin)| (c.digest, c.size, *twin)).map(|(c, _)| c)
    }

    /// Stores what `from` holds, if that is what its digest says.
    pub(crate) fn receive(&self, digest: &Digest, from: &mut dyn Read) -> Result<()> {
        let sender = Path::new("what is to be stored");
        let fill = |to: &mut File, scratch: &Path| copy_verified(digest, Named(from, sender), Named(to, scratch));
        self.store(fill, |size| (*digest, *size, None)).map(drop)
    }

    /// Hands a blob to `sink`. One that is found corrupt there is removed.
    pub(crate) fn hand_to(&self, digest: &Digest, sink: &dyn Sink) -> Result<()> {
        let place = self.place(digest);
        let mut from = match File::open(&place) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(Error::Absent { digest: *digest }),
            opened => opened.at("open", &place)?,
        };
        self.unless_corrupt(digest, sink.receive(digest, &mut from))
    }

    /// A blob on its way into another store.
    pub fn upload(&self, digest: &Digest) -> Upload<'static> {
        Upload { digest: *digest, source: Source::File(self.place(digest)) }
    }

    fn unless_corrupt<T>(&self, digest: &Digest, r: Result<T>) -> Result<T> {
        if matches!(r, Err(Error::Corrupt { .. })) {
            let _ = self.remove(digest);
        }
        r
    }

    pub fn import_bytes(&self, b: &[u8]) -> Result<Digest> {
        let d = Digest::of(b);
        if !self.contains(&d) {
            self.import(&mut &b[..], Path::new("memory"))?;
        }
        Ok(d)
    }

    /// Copies a blob to `to`, verifying it. On `Corrupt` the blob has been removed, and `to` holds nothing of use.
    pub(crate) fn copy_to(&self, d: &Digest, to: &mut impl Write, name: &Path) -> Result<u64> {
        let place = self.place(d);
        let mut from = File::open(&place).at("open", &place)?;
        self.unless_corrupt(d, copy_verified(d, Named(&mut from, &place), Named(to, name)))
    }

    /// A whole blob in memory.
    pub fn read(&self, d: &Digest) -> Result<Vec<u8>> {
        let mut v = Vec::new();
        self.copy_to(d, &mut v, Path::new("memory"))?;
        Ok(v)
    }

    pub fn remove(&self, d: &Digest) -> Result<()> {
        let place = self.place(d);
        match std::fs::remove_file(&place) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at("remove", &place),
            _ => {
                self.note(d, Change::Gone);
                Ok(())
            }
        }
    }

    /// Every blob, in no order.
    pub fn walk(&self, mut f: impl FnMut(Blob)) -> Result<()> {
        for i in 0..=255u8 {
            let fan = format!("{i:02x}");
            let dir = self.root.join(&fan);
            let entries = match std::fs::read_dir(&dir) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                r => r.at("list", &dir)?,
            };
            for e in entries {
                let e = e.at("list", &dir)?;
                let Some(digest) = Digest::from_hex(&format!("{fan}{}", e.file_name().to_string_lossy())) else {
                    continue;
                };
                let Ok(m) = e.metadata() else { continue };
                let age = m.modified().ok().and_then(|t| t.elapsed().ok()).map_or(0, |a| a.as_secs());
                f(Blob { digest, size: m.len(), age });
            }
        }
        Ok(())
    }

    /// Is the blob what its name says? A damaged one is removed.
    pub fn verify(&self, d: &Digest) -> Result<bool> {
        match self.copy_to(d, &mut std::io::sink(), Path::new("nowhere")) {
            Ok(_) => Ok(true),
            Err(Error::Corrupt { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes scratch files that an interrupted import left.
    pub fn sweep_scratch(&self) {
        let Ok(entries) = std::fs::read_dir(&self.scratch) else { return };
        for e in entries.flatten() {
            let name = e.file_name();
            let pid = name.to_string_lossy().split('-').next().and_then(|p| p.parse::<i32>().ok());
            let alive = pid
                .and_then(rustix::process::Pid::from_raw)
                .is_some_and(|p| rustix::process::test_kill_process(p).is_ok());
            if !alive {
                let _ = std::fs::remove_file(e.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_byte_is_never_served() {
        let t = tempfile::tempdir().unwrap();
        let cas = Cas::new(t.path());
        let d = cas.import_bytes(b"hello, object file").unwrap();
        assert_eq!(cas.read(&d).unwrap(), b"hello, object file");
        let place = cas.place(&d);
        std::fs::write(&place, b"hellO, object file").unwrap();
        assert!(matches!(cas.read(&d), Err(Error::Corrupt { .. })));
        assert!(!cas.contains(&d), "a damaged blob is dropped");
    }

    #[test]
    fn storing_twice_keeps_one() {
        let t = tempfile::tempdir().unwrap();
        let cas = Cas::new(t.path());
        let a = cas.import(&mut &b"x"[..], Path::new("a")).unwrap();
        let b = cas.import(&mut &b"x"[..], Path::new("b")).unwrap();
        assert_eq!(a.digest, b.digest);
        let mut n = 0;
        cas.walk(|_| n += 1).unwrap();
        assert_eq!(n, 1);
        assert_eq!(std::fs::read_dir(t.path().join("tmp")).unwrap().count(), 0);
    }
}
