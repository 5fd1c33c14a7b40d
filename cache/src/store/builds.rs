//! Records of past builds: a file each, for they are long, rarely read, and never changed.
//!
//! A record gets the next number that is free, whoever takes it first: several builds that end at once are all there.

use crate::{IoResultExt, Result};
use std::path::Path;

/// Older ones are dropped.
const KEPT: usize = 100;

/// The numbers that there are, in their order.
pub(super) fn numbers(folder: &Path) -> Vec<u64> {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<u64> = names.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    all.sort_unstable();
    all
}

/// Keeps a record; returns its number. `scratch` is a name on the same file system.
pub(super) fn add(folder: &Path, scratch: &Path, record: &[u8]) -> Result<u64> {
    let parent = scratch.parent().unwrap_or(scratch);
    for d in [folder, parent] {
        std::fs::create_dir_all(d).at("create", d)?;
    }
    let all = numbers(folder);
    let mut id = all.last().map_or(1, |n| n + 1);
    let linked = std::fs::write(scratch, record).and_then(|()| {
        loop {
            match std::fs::hard_link(scratch, folder.join(id.to_string())) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => id += 1,
                linked => return linked,
            }
        }
    });
    let _ = std::fs::remove_file(scratch);
    linked.at("write", folder)?;
    for old in all.iter().rev().skip(KEPT - 1) {
        let _ = std::fs::remove_file(folder.join(old.to_string()));
    }
    Ok(id)
}

/// One of them; `None`: it is gone.
pub(super) fn one(folder: &Path, number: u64) -> Option<Vec<u8>> {
    std::fs::read(folder.join(number.to_string())).ok()
}

/// Past builds, oldest first.
pub(super) fn all(folder: &Path) -> Vec<(u64, Vec<u8>)> {
    numbers(folder).into_iter().filter_map(|n| Some((n, one(folder, n)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_there_and_the_oldest_go() {
        let t = tempfile::tempdir().unwrap();
        let folder = t.path().join("builds");
        std::thread::scope(|s| {
            for who in 0..4u8 {
                let (folder, scratch) = (&folder, t.path().join(format!("tmp/{who}")));
                s.spawn(move || (0..20).for_each(|i| assert!(add(folder, &scratch, &[who, i]).is_ok())));
            }
        });
        let found = all(&folder);
        assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (1..=80).collect::<Vec<_>>());
        let mut contents: Vec<_> = found.into_iter().map(|(_, b)| b).collect();
        contents.sort();
        contents.dedup();
        assert_eq!(contents.len(), 80);
        (0..30).for_each(|_| assert!(add(&folder, &t.path().join("tmp/x"), b"x").is_ok()));
        assert_eq!(all(&folder).iter().map(|(id, _)| *id).collect::<Vec<_>>(), (11..=110).collect::<Vec<_>>());
        assert_eq!((one(&folder, 10), one(&folder, 110)), (None, Some(b"x".to_vec())));
        assert_eq!(std::fs::read_dir(t.path().join("tmp")).unwrap().count(), 0);
    }
}
