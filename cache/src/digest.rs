//! BLAKE3 digests of contents, and what rides on the hashing pass: the scan for time macros, and, if it is asked for,
//! the SHA-256 digest under which other caches have the same content.

use crate::{Error, IoResultExt};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::path::Path;

/// Bytes that are read at once.
const BLOCK: usize = 128 << 10;

/// BLAKE3, 256 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of a list that may hold a secret: nobody without the key can try guesses on it.
    pub fn keyed<'a>(key: &[u8; 32], parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut h = blake3::Hasher::new_keyed(key);
        for p in parts {
            h.update(&(p.len() as u64).to_le_bytes());
            h.update(p);
        }
        Self(*h.finalize().as_bytes())
    }

    pub fn from_hex(s: &str) -> Option<Self> {
        blake3::Hash::from_hex(s).ok().map(|h| Self(*h.as_bytes()))
    }

    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

/// SHA-256: the twin of a [`Digest`], by which most servers of the Remote Execution API name contents.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    pub fn of(bytes: &[u8]) -> Self {
        Self(<sha2::Sha256 as sha2::Digest>::digest(bytes).into())
    }

    /// Of what `from` holds, and how long that is.
    pub fn of_stream(from: &mut impl Read) -> std::io::Result<(Self, u64)> {
        let (mut hasher, mut size) = (sha2::Sha256::default(), 0);
        let each = |b: &[u8]| {
            sha2::Digest::update(&mut hasher, b);
            size += b.len() as u64;
            Ok(())
        };
        each_block(from, |e| e, each)?;
        Ok((Self(sha2::Digest::finalize(hasher).into()), size))
    }

    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    pub fn from_hex(s: &str) -> Option<Self> {
        blake3::Hash::from_hex(s).ok().map(|h| Self(*h.as_bytes()))
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hex()[..12])
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

/// What a content tells the compiler that reads it, beyond its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traits {
    /// It may ask for date or time: `__DATE__`, `__TIME__` or `__TIMESTAMP__` occurs in it, and it is no program or
    /// object (compilers contain the words). What is precompiled is taken to ask, since it always has the words: only
    /// who saw it being made knows better.
    pub asks_time: bool,
    /// `__TIMESTAMP__` does: it asks for the time of the source, whatever `SOURCE_DATE_EPOCH` says (gcc's manual,
    /// "Common Predefined Macros").
    pub asks_file_time: bool,
    /// A header or module in a compiler's own form.
    pub precompiled: bool,
    /// It holds the times of the files that it was made from, and its compiler refuses it when they have others
    /// (clang's AST files, without `-fno-pch-timestamp`).
    pub dated: bool,
}

/// What one pass over a content finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub digest: Digest,
    pub size: u64,
    pub traits: Traits,
}

/// The macro by which a compiler is asked for the time of the source.
pub const FILE_TIME: &[u8] = b"__TIMESTAMP__";
/// The macros by which a compiler is asked for date, time, and the time of the source; those of nasm from its manual,
/// "Assembly Date and Time Macros".
pub const MACROS: [&[u8]; 19] = [
    b"__DATE__",
    b"__TIME__",
    FILE_TIME,
    b"__DATE_NUM__",
    b"__TIME_NUM__",
    b"__UTC_DATE__",
    b"__UTC_TIME__",
    b"__UTC_DATE_NUM__",
    b"__UTC_TIME_NUM__",
    b"__POSIX_TIME__",
    b"__?DATE?__",
    b"__?TIME?__",
    b"__?DATE_NUM?__",
    b"__?TIME_NUM?__",
    b"__?UTC_DATE?__",
    b"__?UTC_TIME?__",
    b"__?UTC_DATE_NUM?__",
    b"__?UTC_TIME_NUM?__",
    b"__?POSIX_TIME?__",
];
const LONGEST: usize = 18;

/// A hasher that also looks for the macros, across block borders.
#[derive(Default)]
pub(crate) struct Pass {
    hasher: blake3::Hasher,
    twin: Option<sha2::Sha256>,
    size: u64,
    binary: bool,
    traits: Traits,
    tail: Vec<u8>,
}

impl Pass {
    /// Finds the SHA-256 digest as well ([`Pass::finish_with_twin`]). That costs several times what BLAKE3 does, even
    /// where the processor has instructions for it.
    pub(crate) fn with_twin() -> Self {
        Self { twin: Some(sha2::Sha256::default()), ..Self::default() }
    }

    pub(crate) fn update(&mut self, block: &[u8]) {
        if self.size == 0 {
            // What is in an archive is linked.
            let program = block.starts_with(b"\x7fELF") && !is_precompiled(block);
            self.binary = program || block.starts_with(b"!<arch>\n") || block.starts_with(b"!<thin>\n");
            self.traits.dated = block.starts_with(b"CPCH");
            self.traits.precompiled = self.traits.dated || block.starts_with(b"gpch");
            self.traits.asks_time = self.traits.precompiled;
        }
        self.size += block.len() as u64;
        self.hasher.update(block);
        if let Some(twin) = &mut self.twin {
            sha2::Digest::update(twin, block);
        }
        if self.binary || self.traits.asks_file_time || self.traits.precompiled {
            return;
        }
        self.tail.extend_from_slice(&block[..block.len().min(LONGEST)]);
        for part in [&self.tail[..], block] {
            self.traits.asks_time |= names_any(part, &MACROS);
            self.traits.asks_file_time |= self.traits.asks_time && bstr::ByteSlice::contains_str(part, FILE_TIME);
        }
        let keep = block.len().min(LONGEST - 1);
        self.tail.clear();
        self.tail.extend_from_slice(&block[block.len() - keep..]);
    }

    pub(crate) fn finish(self) -> Content {
        self.finish_with_twin().0
    }

    pub(crate) fn finish_with_twin(self) -> (Content, Option<Sha256>) {
        let twin = self.twin.map(|t| Sha256(sha2::Digest::finalize(t).into()));
        (Content { digest: Digest(*self.hasher.finalize().as_bytes()), size: self.size, traits: self.traits }, twin)
    }
}

/// Does a header or module in a compiler's own form begin like this? (An ELF file without a type, the two bytes at 16,
/// is a module of gcc's.)
pub fn is_precompiled(head: &[u8]) -> bool {
    head.starts_with(b"CPCH")
        || head.starts_with(b"gpch")
        || head.starts_with(b"\x7fELF") && head.get(16..18) == Some(&[0, 0])
}

/// Does one of these [`MACROS`] occur in a source, or a piece of one?
pub fn names_any(b: &[u8], macros: &[&[u8]]) -> bool {
    use bstr::ByteSlice;
    // All begin alike: one search, then a look.
    b.find_iter(b"__").any(|i| macros.iter().any(|m| b[i..].starts_with(m)))
}

/// Reads `from` to its end, block by block.
fn each_block<E>(
    from: &mut (impl Read + ?Sized),
    wrong: impl Fn(std::io::Error) -> E,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut buf = vec![0; BLOCK];
    loop {
        match from.read(&mut buf) {
            Ok(0) => return Ok(()),
            Ok(n) => each(&buf[..n])?,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(wrong(e)),
        }
    }
}

/// One pass over `from` to its end.
pub fn pass(from: &mut impl Read) -> std::io::Result<Content> {
    let mut p = Pass::default();
    let each = |b: &[u8]| {
        p.update(b);
        Ok(())
    };
    each_block(from, |e| e, each)?;
    Ok(p.finish())
}

/// A stream and its name in errors.
pub(crate) struct Named<'a, T: ?Sized>(pub &'a mut T, pub &'a Path);

fn copy(
    from: Named<'_, impl Read + ?Sized>,
    to: Named<'_, impl Write + ?Sized>,
    mut each: impl FnMut(&[u8]),
) -> crate::Result<()> {
    let wrong = |source| Error::Io { operation: "read", path: from.1.to_owned(), source };
    each_block(from.0, wrong, |b| {
        each(b);
        to.0.write_all(b).at("write", to.1)
    })
}

/// Copies a content through a pass.
pub(crate) fn copy_through(
    mut pass: Pass,
    from: Named<'_, impl Read + ?Sized>,
    to: Named<'_, impl Write + ?Sized>,
) -> crate::Result<Pass> {
    copy(from, to, |b| pass.update(b))?;
    Ok(pass)
}

/// Copies a content, and finds it corrupt if it has another digest; then `to` holds nothing of use. Returns its size.
pub(crate) fn copy_verified(
    digest: &Digest,
    from: Named<'_, impl Read + ?Sized>,
    to: Named<'_, impl Write + ?Sized>,
) -> crate::Result<u64> {
    let mut hasher = blake3::Hasher::new();
    copy(from, to, |b| {
        hasher.update(b);
    })?;
    match *hasher.finalize().as_bytes() == digest.0 {
        true => Ok(hasher.count()),
        false => Err(Error::Corrupt { digest: *digest }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_found_across_borders() {
        assert_eq!(MACROS.iter().map(|m| m.len()).max(), Some(LONGEST));
        for split in 0..30 {
            let text = b"int x; char *t = __TIMESTAMP__; // y";
            let mut p = Pass::default();
            let cut = split.min(text.len());
            p.update(&text[..cut]);
            p.update(&text[cut..]);
            let c = p.finish();
            assert!(c.traits.asks_time, "split at {split}");
            assert_eq!(c.digest, Digest::of(text));
        }
    }

    #[test]
    fn compilers_and_lookalikes_do_not_count() {
        let mut p = Pass::default();
        p.update(b"\x7fELF............\x02\0__DATE__");
        assert!(!p.finish().traits.asks_time);
        let mut p = Pass::default();
        p.update(b"__DAT E__ __TIMES__ _DATE_");
        assert!(!p.finish().traits.asks_time);
    }

    #[test]
    fn compilers_forms() {
        let of = |b: &[u8]| {
            let mut p = Pass::default();
            p.update(b);
            p.finish().traits
        };
        assert_eq!(of(b"gpch+014"), Traits { asks_time: true, precompiled: true, ..Traits::default() });
        assert_eq!(of(b"CPCH\x01"), Traits { asks_time: true, precompiled: true, dated: true, ..Traits::default() });
        assert_eq!(of(b"\x7fELF............\0\0"), Traits::default());
        assert!(of(b"\x7fELF............\0\0__TIME__").asks_time);
        assert!(!of(b"!<arch>\na.o/ 0 0 0 644 8 `\n__TIME__").asks_time);
    }

    #[test]
    fn the_twin_is_found_in_the_same_pass() {
        let mut p = Pass::with_twin();
        [&b"a"[..], b"", b"bc"].into_iter().for_each(|b| p.update(b));
        let (content, twin) = p.finish_with_twin();
        assert_eq!(content.digest, Digest::of(b"abc"));
        // FIPS 180-2, appendix B.1.
        let known = blake3::Hash::from_hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
        assert_eq!(twin, Some(Sha256(*known.as_bytes())));
        assert_eq!(Pass::default().finish_with_twin().1, None);
    }

    #[test]
    fn hex_goes_both_ways() {
        let d = Digest::of(b"x");
        assert_eq!(Digest::from_hex(&d.hex()), Some(d));
    }
}
