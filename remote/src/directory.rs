//! A remote cache without a server: a directory that several machines see (`file:///mnt/share/xl`), in the layout of
//! Bazel's disk cache (`cas/ab/abcd…`, `ac/ab/abcd…`). `xl serve` serves one, too.
//!
//! Everything appears by rename from a name of its own, so any number of writers may be at work, on NFS too. What a
//! machine that died left half-written in `tmp` is swept when it is a day old. Contents are verified by whoever reads
//! them; a row that is no row is none.

use crate::name::Name;
use crate::peer::{Peer, Sending};
use crate::proto::{ActionResult, Message};
use cache::digest::Sha256;
use cache::tier::{Failure, Sink, Source};
use cache::{Class, Digest, Error, Result};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub struct Directory {
    root: PathBuf,
    counter: AtomicU64,
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { operation, path: path.to_owned(), source }
}

/// The time of a file is that of its last use. (It may be another's, or the directory may only be read.)
fn used(place: &Path) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
    let at = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let now = Timestamps { last_access: at(UTIME_OMIT), last_modification: at(UTIME_NOW) };
    let _ = utimensat(CWD, place, &now, AtFlags::empty());
}

impl Directory {
    /// Nothing is made before there is something to keep.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), counter: AtomicU64::new(0) }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn place(&self, kind: &str, name: &Name) -> PathBuf {
        let hex = name.hash.hex();
        self.root.join(kind).join(&hex[..2]).join(hex)
    }

    /// A file that nobody else has.
    fn scratch(&self) -> Result<(PathBuf, File)> {
        let dir = self.root.join("tmp");
        let host = rustix::system::uname();
        let n = self.counter.fetch_add(1, Ordering::Relaxed);
        let name =
            format!("{}-{}-{n}-{}", host.nodename().to_string_lossy(), std::process::id(), cache::store::now_ms());
        let path = dir.join(name);
        let made = File::create_new(&path).or_else(|e| match e.kind() {
            ErrorKind::NotFound => std::fs::create_dir_all(&dir).and_then(|()| File::create_new(&path)),
            _ => Err(e),
        });
        made.map(|f| (path.clone(), f)).map_err(|e| failed("create", &path, e))
    }

    /// Gives a new file that `fill` has written its place; in an `exclusive` one nothing must be.
    fn put(&self, place: &Path, exclusive: bool, fill: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
        let (scratch, mut file) = self.scratch()?;
        let settle = |from: &Path| match exclusive {
            true => std::fs::hard_link(from, place).and_then(|()| std::fs::remove_file(from)),
            false => std::fs::rename(from, place),
        };
        let done = fill(&mut file).and_then(|()| {
            let placed = settle(&scratch).or_else(|e| match (e.kind(), place.parent()) {
                (ErrorKind::NotFound, Some(dir)) => std::fs::create_dir_all(dir).and_then(|()| settle(&scratch)),
                _ => Err(e),
            });
            placed.map_err(|e| failed("store", place, e))
        });
        done.inspect_err(|_| drop(std::fs::remove_file(&scratch)))
    }

    /// A row, as it is kept.
    pub fn row(&self, name: &Name) -> Result<Option<ActionResult>> {
        let place = self.place("ac", name);
        match std::fs::read(&place) {
            Ok(bytes) => {
                used(&place);
                Ok(ActionResult::decode(&*bytes).ok())
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed("read", &place, e)),
        }
    }

    pub fn put_row(&self, name: &Name, row: &ActionResult) -> Result<()> {
        let place = self.place("ac", name);
        self.put(&place, false, |f| f.write_all(&row.encode_to_vec()).map_err(|e| failed("write", &place, e)))
    }

    /// Is this content there, in its length? That it is used is noted, for whoever drops what was not for long.
    pub fn contains(&self, name: &Name) -> bool {
        let place = self.place("cas", name);
        if name.size == 0 {
            return true;
        }
        let is_there = std::fs::metadata(&place).is_ok_and(|m| m.len() == name.size);
        if is_there {
            used(&place);
        }
        is_there
    }

    /// A content from a place in it on; `None`: it is not there.
    pub fn open(&self, name: &Name) -> Result<Option<Box<dyn Read + Send>>> {
        if name.size == 0 {
            return Ok(Some(Box::new(io::empty())));
        }
        let place = self.place("cas", name);
        match File::open(&place) {
            Ok(f) => Ok(Some(Box::new(f))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed("open", &place, e)),
        }
    }

    /// Keeps a content, if it is what it is called.
    pub fn receive(&self, name: &Name, from: &mut dyn Read) -> Result<()> {
        let place = self.place("cas", name);
        let checked = |f: &mut File| {
            let mut through = Copy { from, to: f };
            let (hash, size) = Sha256::of_stream(&mut through).map_err(|e| failed("write", &place, e))?;
            match (Name { hash, size }) == *name {
                true => Ok(()),
                false => Err(Error::Remote {
                    class: Class::Corrupt,
                    message: format!("a content is not what it is called ({})", name.hash.hex()),
                }),
            }
        };
        self.put(&place, false, checked)
    }

    /// Drops a content that turned out damaged.
    pub fn drop_content(&self, name: &Name) {
        let _ = std::fs::remove_file(self.place("cas", name));
    }

    /// Removes what interrupted writers left.
    pub fn sweep(&self) {
        const OLD: Duration = Duration::from_secs(86_400);
        for e in std::fs::read_dir(self.root.join("tmp")).into_iter().flatten().flatten() {
            let age = e.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
            if age.is_some_and(|a| a > OLD) {
                let _ = std::fs::remove_file(e.path());
            }
        }
    }
}

/// What is read is written.
struct Copy<'a> {
    from: &'a mut dyn Read,
    to: &'a mut File,
}

impl Read for Copy<'_> {
    fn read(&mut self, b: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(b)?;
        self.to.write_all(&b[..n])?;
        Ok(n)
    }
}

impl Peer for Directory {
    fn rows(&self, names: &[Name]) -> Result<Vec<Option<ActionResult>>> {
        names.iter().map(|n| self.row(n)).collect()
    }

    fn put_rows(&self, rows: &[(Name, ActionResult)]) -> Result<()> {
        rows.iter().try_for_each(|(n, row)| self.put_row(n, row))
    }

    fn put_first(&self, name: &Name, row: ActionResult) -> Result<ActionResult> {
        let place = self.place("ac", name);
        let write = |f: &mut File| f.write_all(&row.encode_to_vec()).map_err(|e| failed("write", &place, e));
        match self.put(&place, true, write) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {}
            // Some file systems know no links.
            Err(Error::Io { source, .. }) if source.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) => {
                self.put_row(name, &row)?
            }
            done => done?,
        }
        // What is there and is no row must not stay in the way for good.
        match self.row(name)? {
            Some(first) => Ok(first),
            None => self.put_row(name, &row).map(|()| row),
        }
    }

    fn missing(&self, names: &[Name]) -> Result<Vec<Name>> {
        Ok(names.iter().filter(|n| !self.contains(n)).copied().collect())
    }

    fn read(&self, wanted: &[(Digest, Name)], sink: &dyn Sink) -> Result<Vec<Failure>> {
        let one = |(digest, name): &(Digest, Name)| match self.open(name)? {
            None => Err(Error::Absent { digest: *digest }),
            Some(mut from) => sink.receive(digest, &mut *from).inspect_err(|e| {
                if e.class() == Class::Corrupt {
                    self.drop_content(name);
                }
            }),
        };
        Ok(wanted.iter().filter_map(|w| Some(Failure { digest: w.0, error: one(w).err()? })).collect())
    }

    fn write(&self, batch: &[Sending<'_>]) -> Result<Vec<Failure>> {
        let one = |s: &Sending<'_>| match &s.upload.source {
            _ if s.name.size == 0 => Ok(()),
            Source::Bytes(b) => self.receive(&s.name, &mut &**b),
            source => self.receive(&s.name, &mut *source.open()?),
        };
        Ok(batch.iter().filter_map(|s| Some(Failure { digest: s.upload.digest, error: one(s).err()? })).collect())
    }

    /// A directory that is not there yet may be made by the first who has something for it.
    fn ping(&self) -> Result<()> {
        match std::fs::read_dir(&self.root) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("list", &self.root, e)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_stays() {
        let t = tempfile::tempdir().unwrap();
        let d = Directory::new(&t.path().join("new"));
        let row = |n: i32| ActionResult { exit_code: n, ..ActionResult::default() };
        let name = Name::of(b"key");
        assert_eq!(d.put_first(&name, row(1)).unwrap(), row(1));
        assert_eq!(d.put_first(&name, row(2)).unwrap(), row(1));
        d.put_row(&name, &row(3)).unwrap();
        assert_eq!(d.row(&name).unwrap(), Some(row(3)));
        std::fs::write(d.place("ac", &name), b"\xff\xff").unwrap();
        assert_eq!((d.row(&name).unwrap(), d.put_first(&name, row(4)).unwrap()), (None, row(4)));
        assert_eq!(d.row(&name).unwrap(), Some(row(4)));
        assert_eq!(std::fs::read_dir(d.root().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn nothing_is_kept_that_is_not_what_it_is_called() {
        let t = tempfile::tempdir().unwrap();
        let d = Directory::new(t.path());
        assert_eq!(d.receive(&Name::of(b"one"), &mut &b"two"[..]).unwrap_err().class(), Class::Corrupt);
        assert_eq!(d.receive(&Name::of(b"one"), &mut &b"on"[..]).unwrap_err().class(), Class::Corrupt);
        assert!(!d.contains(&Name::of(b"one")));
        d.receive(&Name::of(b"one"), &mut &b"one"[..]).unwrap();
        assert!(d.contains(&Name::of(b"one")) && d.contains(&Name::of(b"")));
        assert_eq!(std::fs::read_dir(t.path().join("tmp")).unwrap().count(), 0);
    }
}
