//! One walk, two uses: what is hashed can be printed.
//!
//! Every field is named, typed by its length and fed to BLAKE3 in one order, so that no two different inputs
//! give the same stream. With a record attached the same walk keeps `name = value` lines for explanations.

use crate::Digest;

/// Raise this whenever the meaning of any fingerprint changes, or what is observed: an older version's result that
/// lacks an observation must not be found. 2: names that must not be there, directories that a creation needs. 3:
/// FIFOs, paths that are longer than the kernel takes, other roots; scratch names of compilers no more. 4: times of
/// what clang precompiles and of what unknown programs look at, variables and clocks that texts name, the processor
/// wherever it is asked for. 5: extended attributes, times that are handed on. 6: macros of nasm. 7: times that move
/// with their files; of what is removed only the kind. 8: standard input that nobody looks at counts no more, and which
/// kind it is does where somebody looks; the place where text goes. 9: results that show when they were made; who only
/// asks for a terminal; sockets as standard input. 10: programs that only look like known ones, variables and times
/// that tools were not known to read, the terminal by its name, what others do to outputs. 11: directories of scratch
/// files, files of options. 12: arguments are keyed; times of files that results show. 13: answers of indexes, searched
/// directories, variables that can be read, patterns that match, rights and limits by what they allow.
const FORMAT: u32 = 13;

/// A fingerprint under construction.
#[derive(Clone)]
pub struct Fingerprint {
    hasher: blake3::Hasher,
    record: Option<Vec<(String, Vec<u8>)>>,
}

impl Fingerprint {
    /// `domain` separates weak, strong and other fingerprints.
    pub fn new(domain: &'static str) -> Self {
        let mut f = Self { hasher: blake3::Hasher::new(), record: None };
        f.bytes("domain", domain.as_bytes());
        f.number("format", u64::from(FORMAT));
        f
    }

    /// The same, keeping what is fed in.
    pub fn recording(domain: &'static str) -> Self {
        let mut f = Self::new(domain);
        f.record = Some(Vec::new());
        f
    }

    pub fn bytes(&mut self, name: &str, value: &[u8]) {
        self.hasher.update(&(name.len() as u64).to_le_bytes());
        self.hasher.update(name.as_bytes());
        self.hasher.update(&(value.len() as u64).to_le_bytes());
        self.hasher.update(value);
        if let Some(r) = &mut self.record {
            r.push((name.to_owned(), value.to_vec()));
        }
    }

    pub fn number(&mut self, name: &str, value: u64) {
        self.bytes(name, &value.to_le_bytes());
    }

    pub fn digest(&mut self, name: &str, value: &Digest) {
        self.bytes(name, &value.0);
    }

    pub fn list<'a>(&mut self, name: &str, values: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.number(name, values.len() as u64);
        for v in values {
            self.bytes(name, v);
        }
    }

    pub fn finish(self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }

    /// The digest and the recorded fields.
    pub fn finish_recorded(mut self) -> (Digest, Vec<(String, Vec<u8>)>) {
        let record = self.record.take().unwrap_or_default();
        (self.finish(), record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_matter() {
        let of = |fields: &[(&str, &[u8])]| {
            let mut f = Fingerprint::new("test");
            fields.iter().for_each(|(n, v)| f.bytes(n, v));
            f.finish()
        };
        assert_ne!(of(&[("a", b"bc")]), of(&[("ab", b"c")]));
        assert_ne!(of(&[("a", b"b"), ("a", b"c")]), of(&[("a", b"bc")]));
        let list = |v: &[&[u8]]| {
            let mut f = Fingerprint::new("test");
            f.list("l", v.iter().copied());
            f.finish()
        };
        assert_ne!(list(&[b"ab", b""]), list(&[b"a", b"b"]));
        assert_ne!(list(&[]), list(&[b""]));
    }
}
