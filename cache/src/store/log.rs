//! What is newer than the data base: one append-only file, to which every process adds and which every process follows.
//!
//! A frame is length, checksum, changes. Whoever appends holds the file's lock, has read all that others appended
//! before, and cuts off what a killed process left of its last frame: the frames of all processes have one order.
//! Reading needs no lock: a frame that is not whole yet ends it. When its frames are in the data base the log is
//! removed, under the lock, and whoever notices opens the next one.
//!
//! Tried before: one writer for as long as a build takes, and a file of its own for everybody else; what was in those
//! nobody saw until the writer had gone.

use super::table::{Change, Table};
use crate::{Digest, IoResultExt, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(super) struct Log {
    path: PathBuf,
    /// None: it cannot be created, and there is none.
    file: Option<File>,
    writable: bool,
    /// The end of the last frame that was read.
    at: u64,
    /// How often we have the lock.
    locks: u32,
}

const HEADER: usize = 4 + 8;

/// Whoever has the lock appends, or moves everything into the data base. A process that takes longer than this has been
/// stopped.
const PATIENCE: Duration = Duration::from_secs(5);

impl Log {
    pub(super) fn open(path: PathBuf, writable: bool) -> Result<Self> {
        let mut log = Self { path, file: None, writable, at: 0, locks: 0 };
        log.reopen()?;
        Ok(log)
    }

    fn reopen(&mut self) -> Result<()> {
        let opened = OpenOptions::new().read(true).append(self.writable).create(self.writable).open(&self.path);
        self.file = match opened {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !self.writable => None,
            opened => Some(opened.at("open", &self.path)?),
        };
        self.at = 0;
        self.locks = 0;
        Ok(())
    }

    /// How long it is, as far as it has been read, bytes.
    pub(super) fn len(&self) -> u64 {
        self.at
    }

    /// Has this log been removed, so that all of it is in the data base? Then the next one is open.
    pub(super) fn is_renewed(&mut self) -> Result<bool> {
        let renewed = match &self.file {
            Some(f) => rustix::fs::fstat(f).at("look at", &self.path)?.st_nlink == 0,
            None => self.path.exists(),
        };
        if renewed {
            self.reopen()?;
        }
        Ok(renewed)
    }

    /// Feeds every change since the last look to `each`.
    pub(super) fn follow(&mut self, mut each: impl FnMut(Table, &[u8], Option<&[u8]>)) -> Result<()> {
        let Some(f) = &self.file else { return Ok(()) };
        let end = f.metadata().at("look at", &self.path)?.len();
        if end <= self.at {
            return Ok(());
        }
        let mut bytes = vec![0; usize::try_from(end - self.at).unwrap_or(usize::MAX)];
        // Whoever cuts off a broken frame may make it shorter meanwhile: zeros are no frame.
        let mut filled = 0;
        while filled < bytes.len() {
            match f.read_at(&mut bytes[filled..], self.at + filled as u64).at("read", &self.path)? {
                0 => break,
                n => filled += n,
            }
        }
        let mut rest = &bytes[..filled];
        while let Some((changes, length)) = frame(rest) {
            changes.into_iter().for_each(|(t, k, v)| each(t, k, v));
            rest = &rest[length..];
            self.at += length as u64;
        }
        Ok(())
    }

    /// Nobody else appends until [`Log::unlock`]. What is read afterwards is all there is.
    pub(super) fn lock(&mut self) -> Result<()> {
        let refused = |e: std::io::Error| Err(e).at("lock", &self.path);
        let Some(f) = self.file.as_ref().filter(|_| self.writable) else {
            return refused(std::io::ErrorKind::ReadOnlyFilesystem.into());
        };
        let deadline = Instant::now() + PATIENCE;
        while self.locks == 0 {
            match flock(f, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                // There is no lock that waits for a while only.
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_micros(500))
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    // Not again for every command.
                    self.writable = false;
                    return refused(std::io::ErrorKind::TimedOut.into());
                }
                Err(e) => return refused(e.into()),
            }
        }
        self.locks += 1;
        Ok(())
    }

    pub(super) fn unlock(&mut self) {
        self.locks = self.locks.saturating_sub(1);
        if let Some(f) = self.file.as_ref().filter(|_| self.locks == 0) {
            let _ = flock(f, FlockOperation::Unlock);
        }
    }

    /// Adds a frame. Under the lock, after everything was read.
    pub(super) fn append(&mut self, changes: &[Change]) -> Result<()> {
        let Some(mut f) = self.file.as_ref() else { return Ok(()) };
        let borrowed: Vec<Borrowed> = changes.iter().map(|(t, k, v)| (*t, &k[..], v.as_deref())).collect();
        let body = postcard::to_stdvec(&borrowed)?;
        let mut frame = Vec::with_capacity(body.len() + HEADER);
        frame.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        frame.extend_from_slice(&Digest::of(&body).0[..8]);
        frame.extend_from_slice(&body);
        // What follows the last whole frame was left by somebody who was killed.
        if f.metadata().at("look at", &self.path)?.len() > self.at {
            f.set_len(self.at).at("cut", &self.path)?;
        }
        if let Err(e) = f.write_all(&frame) {
            let _ = f.set_len(self.at);
            return Err(e).at("write", &self.path);
        }
        self.at += frame.len() as u64;
        Ok(())
    }

    /// Everything in it is in the data base. Under the lock.
    pub(super) fn remove(&mut self) -> Result<()> {
        std::fs::remove_file(&self.path).at("remove", &self.path)
    }
}

type Borrowed<'a> = (Table, &'a [u8], Option<&'a [u8]>);

/// The first frame of `b`, if it is whole, and its length.
fn frame(b: &[u8]) -> Option<(Vec<Borrowed<'_>>, usize)> {
    let n = u32::from_le_bytes(b.get(..4)?.try_into().ok()?) as usize;
    let body = b.get(HEADER..HEADER.checked_add(n)?)?;
    if n == 0 || Digest::of(body).0[..8] != b[4..HEADER] {
        return None;
    }
    Some((postcard::from_bytes(body).ok()?, HEADER + n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(i: u8) -> Change {
        (Table::Uses, vec![i], Some(vec![i; 40]))
    }

    fn keys(log: &mut Log) -> Vec<u8> {
        let mut all = Vec::new();
        log.follow(|_, k, _| all.push(k[0])).unwrap();
        all
    }

    #[test]
    fn a_torn_frame_is_not_there_and_what_follows_is() {
        let t = tempfile::tempdir().unwrap();
        let path = t.path().join("log");
        let mut log = Log::open(path.clone(), true).unwrap();
        (1..4).for_each(|i| log.append(&[change(i)]).unwrap());
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            for zeros in [0, 1, 100] {
                let torn = [&whole[..cut], &vec![0; zeros]].concat();
                std::fs::write(&path, &torn).unwrap();
                let mut log = Log::open(path.clone(), true).unwrap();
                let left: Vec<u8> = (1..=u8::try_from(cut * 3 / whole.len()).unwrap()).collect();
                assert_eq!(keys(&mut log), left, "cut at {cut}, {zeros} zeros");
                log.lock().unwrap();
                log.append(&[change(9)]).unwrap();
                assert_eq!(keys(&mut Log::open(path.clone(), false).unwrap()), [&left[..], &[9]].concat());
            }
        }
    }

    #[test]
    fn whoever_appends_has_read_everything() {
        let t = tempfile::tempdir().unwrap();
        let open = || Log::open(t.path().join("log"), true).unwrap();
        let (mut a, mut b) = (open(), open());
        a.lock().unwrap();
        assert!(flock(b.file.as_ref().unwrap(), FlockOperation::NonBlockingLockExclusive).is_err());
        a.append(&[change(1)]).unwrap();
        a.unlock();
        b.lock().unwrap();
        assert_eq!(keys(&mut b), [1]);
        b.append(&[change(2)]).unwrap();
        assert_eq!(keys(&mut a), [2]);
        b.remove().unwrap();
        b.unlock();
        assert!(a.is_renewed().unwrap() && !a.is_renewed().unwrap() && a.len() == 0);
        a.append(&[change(3)]).unwrap();
        assert!(b.is_renewed().unwrap());
        assert_eq!(keys(&mut b), [3]);
    }
}
