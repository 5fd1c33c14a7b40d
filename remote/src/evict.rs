//! Keeps a directory below a size: what was not used for longest goes, rows and contents alike. A row whose contents
//! are gone is served to nobody, and replaced by the next one to make it.
//!
//! What was used in the last minutes stays in any case: somebody may be about to store a row that names it.

use crate::directory::Directory;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// What was used more recently stays.
const RECENT: Duration = Duration::from_secs(300);

/// Drops what is needed to get a tenth below `most` bytes, if there are more; how many bytes went.
pub(crate) fn evict(dir: &Directory, most: u64) -> u64 {
    evict_before(dir, most, SystemTime::now() - RECENT)
}

fn evict_before(dir: &Directory, most: u64, recent: SystemTime) -> u64 {
    let mut all: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    let list = |d: PathBuf| std::fs::read_dir(d).into_iter().flatten().flatten();
    for e in ["cas", "ac"].into_iter().flat_map(|k| list(dir.root().join(k))).flat_map(|fan| list(fan.path())) {
        if let Ok(m) = e.metadata() {
            all.push((m.modified().unwrap_or(SystemTime::UNIX_EPOCH), m.len(), e.path()));
        }
    }
    let total: u64 = all.iter().map(|(_, size, _)| size).sum();
    if total <= most {
        return 0;
    }
    let wanted = total - most / 10 * 9;
    all.sort();
    let mut gone = 0;
    for (used, size, path) in all {
        if gone >= wanted || used >= recent {
            break;
        }
        if std::fs::remove_file(path).is_ok() {
            gone += size;
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    #[test]
    fn the_oldest_go_and_what_was_just_used_stays() {
        let t = tempfile::tempdir().unwrap();
        let d = Directory::new(t.path());
        let contents: Vec<Vec<u8>> = (0..10u8).map(|n| vec![n; 100]).collect();
        let now = SystemTime::now();
        for (n, c) in contents.iter().enumerate() {
            let name = Name::of(c);
            d.receive(&name, &mut &c[..]).unwrap();
            let hex = name.hash.hex();
            let f = std::fs::File::open(t.path().join("cas").join(&hex[..2]).join(&hex)).unwrap();
            f.set_modified(now - Duration::from_secs(1050 - 100 * n as u64)).unwrap();
        }
        let left = || {
            let there = |c: &&Vec<u8>| d.open(&Name::of(c)).unwrap().is_some();
            contents.iter().filter(there).map(|c| c[0]).collect::<Vec<_>>()
        };
        assert_eq!((evict(&d, 1000), left().len()), (0, 10));
        assert_eq!(evict(&d, 800), 300);
        assert_eq!(left(), [3, 4, 5, 6, 7, 8, 9]);
        evict(&d, 10);
        assert_eq!(left(), [8, 9], "used in the last five minutes");
    }
}
