//! What the bytes of files say, remembered for one run by the identity of the files: each is parsed once a change.

use super::{Index, Linking};
use crate::file_state::{FileStates, Identity, identity};
use cache::FileStat;
use rustc_hash::FxHashMap;
use std::io::Read;
use std::sync::{Arc, Mutex};

/// An index that is longer than this is not parsed, since that takes longer than to remember its digest.
pub(super) const LONGEST: u64 = 16 << 20;

type Memo<K, T> = Mutex<FxHashMap<K, T>>;

#[derive(Default)]
pub(crate) struct Told {
    indexes: Memo<Identity, Arc<Index>>,
    linkings: Memo<Identity, Option<Arc<Linking>>>,
    words: Memo<(Identity, Vec<u8>), bool>,
}

/// What is remembered of `key`, or what `make` finds now. It is remembered if a change of the file would show in its
/// `state`, and believed if the file is still in that.
fn remembered<K: std::hash::Hash + Eq, T: Clone>(
    memo: &Memo<K, T>,
    key: K,
    files: &FileStates,
    (path, state): (&[u8], &FileStat),
    make: impl FnOnce() -> Option<T>,
) -> Option<T> {
    if let Some(known) = memo.lock().expect("memo").get(&key) {
        return Some(known.clone());
    }
    let made = make()?;
    (FileStat::of(path).as_ref() == Some(state)).then_some(())?;
    if files.trusted(state) {
        memo.lock().expect("memo").insert(key, made.clone());
    }
    Some(made)
}

impl Told {
    pub(crate) fn index(&self, files: &FileStates, path: &[u8], state: &FileStat) -> Option<Arc<Index>> {
        remembered(&self.indexes, identity(state), files, (path, state), || {
            let mut bytes = Vec::new();
            cache::collect::open_file(path)?.take(LONGEST + 1).read_to_end(&mut bytes).ok()?;
            Some(Arc::new(Index::parse(path, &bytes)))
        })
    }

    pub(crate) fn linking(&self, files: &FileStates, path: &[u8]) -> Option<Arc<Linking>> {
        let state = FileStat::of(path)?;
        let of_file = || Some(Linking::of_file(path).map(Arc::new));
        remembered(&self.linkings, identity(&state), files, (path, &state), of_file)?
    }

    pub(crate) fn holds(&self, files: &FileStates, path: &[u8], word: &[u8]) -> Option<bool> {
        let state = FileStat::of(path)?;
        let key = (identity(&state), word.to_vec());
        remembered(&self.words, key, files, (path, &state), || holds(cache::collect::open_file(path)?, word).ok())
    }
}

/// Is this word in what is read, a block at a time?
fn holds(mut from: impl Read, word: &[u8]) -> std::io::Result<bool> {
    const BLOCK: usize = 256 << 10;
    let mut bytes = Vec::with_capacity(BLOCK + word.len());
    loop {
        if from.by_ref().take(BLOCK as u64).read_to_end(&mut bytes)? == 0 {
            return Ok(false);
        }
        if bstr::ByteSlice::contains_str(&bytes[..], word) {
            return Ok(true);
        }
        // The word may begin at the end of the block.
        bytes.drain(..bytes.len() - (word.len() - 1).min(bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_between_two_blocks() {
        for at in [0, (256 << 10) - 3, 256 << 10, (512 << 10) - 1] {
            let mut text = vec![b'x'; 600 << 10];
            text[at..at + 4].copy_from_slice(b"word");
            assert!(holds(&text[..], b"word").unwrap(), "{at}");
        }
        assert!(!holds(&b"wor"[..], b"word").unwrap() && !holds(&b""[..], b"word").unwrap());
    }
}
