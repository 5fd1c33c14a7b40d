//! Publications of a process that could not have the data base: an append-only file per process.
//!
//! A frame is length, checksum, changes. The owner holds a lock on its file while it lives; a writer takes in
//! files that nobody holds and removes them. A torn last frame (a killed owner) is dropped.

use super::backend::Change;
use crate::{Digest, IoResultExt, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

pub struct Spool {
    file: File,
    path: PathBuf,
}

const HEADER: usize = 4 + 8;

fn folder(dir: &Path) -> PathBuf {
    dir.join("spool")
}

impl Spool {
    pub fn create(dir: &Path) -> Result<Self> {
        let folder = folder(dir);
        std::fs::create_dir_all(&folder).at("create", &folder)?;
        // Process ids are unique within one container, and several may share the directory.
        let mut tries = 0;
        loop {
            let since = std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_nanos());
            let path = folder.join(format!("{}-{since}-{tries}", std::process::id()));
            let made = OpenOptions::new().create_new(true).append(true).open(&path).and_then(|file| {
                flock(&file, FlockOperation::NonBlockingLockExclusive)?;
                // Between the two a writer may have taken it for an abandoned one.
                let here = rustix::fs::fstat(&file)?.st_nlink > 0;
                if here { Ok(file) } else { Err(std::io::ErrorKind::WouldBlock.into()) }
            });
            match made {
                Err(e) if tries < 10 && matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::AlreadyExists) => {
                    tries += 1
                }
                made => return made.at("create", &path).map(|file| Self { file, path }),
            }
        }
    }

    pub fn append(&mut self, changes: &[Change]) -> Result<()> {
        let body = postcard::to_stdvec(changes)?;
        let mut frame = Vec::with_capacity(body.len() + HEADER);
        frame.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        frame.extend_from_slice(&Digest::of(&body).0[..8]);
        frame.extend_from_slice(&body);
        self.file.write_all(&frame).at("write", &self.path)
    }

    /// Lets others take it in.
    pub fn release(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }

    /// Feeds every complete frame of every unowned spool to `apply`; removes those that were applied.
    pub fn take_all(dir: &Path, mut apply: impl FnMut(Vec<Change>) -> Result<()>) {
        let Ok(entries) = std::fs::read_dir(folder(dir)) else { return };
        for e in entries.flatten() {
            let Ok(file) = OpenOptions::new().read(true).write(true).open(e.path()) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let Ok(bytes) = std::fs::read(e.path()) else { continue };
            if frames(&bytes).into_iter().all(|f| apply(f).is_ok()) {
                let _ = std::fs::remove_file(e.path());
            }
        }
    }
}

fn frames(mut b: &[u8]) -> Vec<Vec<Change>> {
    let mut out = Vec::new();
    while b.len() >= HEADER {
        let n = u32::from_le_bytes(b[..4].try_into().expect("four bytes")) as usize;
        let Some(body) = b.get(HEADER..HEADER + n) else { break };
        if Digest::of(body).0[..8] != b[4..HEADER] {
            break;
        }
        let Ok(changes) = postcard::from_bytes(body) else { break };
        out.push(changes);
        b = &b[HEADER + n..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::backend::Table;

    #[test]
    fn a_torn_frame_ends_the_spool() {
        let t = tempfile::tempdir().unwrap();
        let mut s = Spool::create(t.path()).unwrap();
        for i in 0..3u8 {
            s.append(&[(Table::Uses, vec![i], Some(vec![i; 40]))]).unwrap();
        }
        let path = s.path.clone();
        let whole = std::fs::read(&path).unwrap();
        drop(s);
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut n = 0;
            Spool::take_all(t.path(), |_| {
                n += 1;
                Ok(())
            });
            assert_eq!(n, cut * 3 / whole.len(), "cut at {cut}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_live_owner_keeps_its_spool() {
        let t = tempfile::tempdir().unwrap();
        let mut s = Spool::create(t.path()).unwrap();
        s.append(&[(Table::Uses, vec![1], None)]).unwrap();
        Spool::take_all(t.path(), |_| panic!("it is owned"));
        assert!(s.path.exists());
    }
}
