//! BLAKE3 digests of contents, and the scan for time macros that rides on the hashing pass.

use serde::{Deserialize, Serialize};
use std::io::Read;

/// BLAKE3, 256 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    pub fn from_hex(s: &str) -> Option<Self> {
        blake3::Hash::from_hex(s).ok().map(|h| Self(*h.as_bytes()))
    }

    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hex())
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hex()[..12])
    }
}

/// What one pass over a content finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub digest: Digest,
    pub size: u64,
    /// `__DATE__`, `__TIME__` or `__TIMESTAMP__` occurs in it, and it is no ELF file (compilers contain the words).
    pub time_macros: bool,
}

const MACROS: [&[u8]; 3] = [b"__DATE__", b"__TIME__", b"__TIMESTAMP__"];
const LONGEST: usize = 13;

/// A hasher that also looks for the macros, across block borders.
#[derive(Default)]
pub struct Pass {
    hasher: blake3::Hasher,
    size: u64,
    elf: bool,
    found: bool,
    tail: Vec<u8>,
}

impl Pass {
    pub fn update(&mut self, block: &[u8]) {
        if self.size == 0 {
            self.elf = block.starts_with(b"\x7fELF");
        }
        self.size += block.len() as u64;
        self.hasher.update(block);
        if self.elf || self.found {
            return;
        }
        self.tail.extend_from_slice(&block[..block.len().min(LONGEST)]);
        self.found = contains_macro(&self.tail) || contains_macro(block);
        let keep = block.len().min(LONGEST - 1);
        self.tail.clear();
        self.tail.extend_from_slice(&block[block.len() - keep..]);
    }

    pub fn finish(self) -> Content {
        Content { digest: Digest(*self.hasher.finalize().as_bytes()), size: self.size, time_macros: self.found }
    }
}

fn contains_macro(b: &[u8]) -> bool {
    use bstr::ByteSlice;
    // All three begin alike: one search, then a look.
    b.find_iter(b"__").any(|i| MACROS.iter().any(|m| b[i..].starts_with(m)))
}

/// Reads `from` to its end.
pub fn pass(from: &mut impl Read) -> std::io::Result<Content> {
    let mut p = Pass::default();
    let mut buf = vec![0; 128 << 10];
    loop {
        match from.read(&mut buf) {
            Ok(0) => return Ok(p.finish()),
            Ok(n) => p.update(&buf[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_found_across_borders() {
        for split in 0..30 {
            let text = b"int x; char *t = __TIMESTAMP__; // y";
            let mut p = Pass::default();
            let cut = split.min(text.len());
            p.update(&text[..cut]);
            p.update(&text[cut..]);
            let c = p.finish();
            assert!(c.time_macros, "split at {split}");
            assert_eq!(c.digest, Digest::of(text));
        }
    }

    #[test]
    fn compilers_and_lookalikes_do_not_count() {
        let mut p = Pass::default();
        p.update(b"\x7fELF....__DATE__");
        assert!(!p.finish().time_macros);
        let mut p = Pass::default();
        p.update(b"__DAT E__ __TIMES__ _DATE_");
        assert!(!p.finish().time_macros);
    }

    #[test]
    fn hex_goes_both_ways() {
        let d = Digest::of(b"x");
        assert_eq!(Digest::from_hex(&d.hex()), Some(d));
    }
}
