//! The cache of glibc's dynamic loader: which library is where (ld.so(8), ldconfig(8); glibc's `dl-cache.h`).
//!
//! Reads the form that glibc 2.2 and later write. Knows nothing of who asks.

use cache::Value;
use cache::observation::value;
use rustc_hash::FxHashMap;

/// How the file begins: magic and version.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// Magic, version, number of entries, length of the strings, flags, place of the extension, 12 bytes that are not used.
const HEADER: usize = 48;
const ENTRY: usize = 24;
const EXTENSION: u32 = 0xeaa4_2174;
/// The part of the extension that names directories of libraries for better processors.
const HWCAPS: u32 = 1;

/// A part of a library's name. The loader takes digits for a number: to it `libx.so.1` and `libx.so.01` are one
/// (`_dl_cache_libcmp`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Token {
    Byte(u8),
    Number(i32),
}

fn tokens(name: &[u8]) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::with_capacity(name.len());
    for b in name {
        match (b, out.last_mut()) {
            (b'0'..=b'9', Some(Token::Number(n))) => *n = n.wrapping_mul(10).wrapping_add(i32::from(b - b'0')),
            (b'0'..=b'9', _) => out.push(Token::Number(i32::from(b - b'0'))),
            _ => out.push(Token::Byte(*b)),
        }
    }
    out
}

/// What is in the file.
pub struct LoaderCache {
    /// All entries of a name, in their order: kind, system, processor, path.
    answers: FxHashMap<Vec<Token>, Vec<u8>>,
    /// Names, with the base names of their paths.
    names: Vec<(Vec<u8>, Vec<u8>)>,
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn string(bytes: &[u8], at: u32) -> Option<&[u8]> {
    let rest = bytes.get(at as usize..)?;
    Some(&rest[..rest.iter().position(|b| *b == 0)?])
}

/// The directories of libraries for better processors, to which entries refer by number.
fn hwcaps(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let at = number(bytes, 32)? as usize;
    if at == 0 {
        return Some(Vec::new());
    }
    (number(bytes, at)? == EXTENSION).then_some(())?;
    let sections = (0..number(bytes, at + 4)? as usize).map(|i| at + 8 + 16 * i);
    let mut out = Vec::new();
    for s in sections {
        if number(bytes, s)? == HWCAPS {
            let (from, size) = (number(bytes, s + 8)? as usize, number(bytes, s + 12)? as usize);
            for i in (from..from + size).step_by(4) {
                out.push(string(bytes, number(bytes, i)?)?);
            }
        }
    }
    Some(out)
}

impl LoaderCache {
    /// `None`: it is in another form, or damaged.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        // Of a machine of this byte order: 0 is unset, 2 little, 3 big.
        let is_ours = bytes.starts_with(MAGIC) && cfg!(target_endian = "little") && matches!(bytes.get(28)?, 0 | 2);
        is_ours.then_some(())?;
        let hwcaps = hwcaps(bytes)?;
        let mut out = Self { answers: FxHashMap::default(), names: Vec::new() };
        let mut last: Option<Vec<Token>> = None;
        for i in 0..number(bytes, 20)? as usize {
            let at = HEADER + ENTRY * i;
            let (name, path) = (string(bytes, number(bytes, at + 4)?)?, string(bytes, number(bytes, at + 8)?)?);
            let key = tokens(name);
            // The loader looks for names by halves.
            if last.as_ref().is_some_and(|l| *l < key) {
                return None;
            }
            let answer = out.answers.entry(key.clone()).or_default();
            answer.extend_from_slice(bytes.get(at..at + 4)?);
            answer.extend_from_slice(bytes.get(at + 12..at + 16)?);
            let (low, high) = (number(bytes, at + 16)?, number(bytes, at + 20)?);
            if high == 1 << 30 {
                answer.push(1);
                answer.extend_from_slice(hwcaps.get(low as usize)?);
            } else {
                answer.push(2);
                answer.extend_from_slice(bytes.get(at + 16..at + 24)?);
            }
            answer.push(0);
            answer.extend_from_slice(path);
            answer.push(0);
            out.names.push((name.to_vec(), crate::tools::base_name(path).to_vec()));
            last = Some(key);
        }
        Some(out)
    }

    /// Where the library is.
    pub fn library(&self, name: &[u8]) -> Value {
        self.answers.get(&tokens(name)).map_or_else(|| value::answer(&[]), |a| value::answer(&[a]))
    }

    /// The names by which one with this base name of its path may have been found.
    pub fn names_of<'a>(&'a self, base: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.names.iter().filter(move |(_, b)| b == base).map(|(name, _)| &name[..])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A cache with these names and paths, sorted as ldconfig does; a path below `glibc-hwcaps` is for that processor.
    pub(crate) fn made(all: &[(&str, &str)]) -> Vec<u8> {
        let mut all = all.to_vec();
        all.sort_by_key(|(name, _)| std::cmp::Reverse(tokens(name.as_bytes())));
        let mut strings: Vec<u8> = Vec::new();
        let start = HEADER + ENTRY * all.len();
        let mut put = |s: &str| {
            let at = u32::try_from(start + strings.len()).unwrap();
            strings.extend_from_slice(s.as_bytes());
            strings.push(0);
            at
        };
        let cap = put("x86-64-v3");
        let mut entries = Vec::new();
        for (name, path) in &all {
            let (high, low) = if path.contains("glibc-hwcaps") { (1 << 30, 0) } else { (0, 0) };
            for n in [0x303, put(name), put(path), 0, low, high] {
                entries.extend_from_slice(&u32::to_le_bytes(n));
            }
        }
        strings.resize(strings.len().next_multiple_of(4), 0);
        let extension = u32::try_from(start + strings.len()).unwrap();
        let mut out = MAGIC.to_vec();
        for n in [all.len() as u32, strings.len() as u32, 2, extension, 0, 0, 0] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend(entries);
        out.extend(strings);
        for n in [EXTENSION, 1, HWCAPS, 0, extension + 24, 4, cap] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out
    }

    #[test]
    fn an_answer_is_all_that_is_said_of_one_name() {
        let of = |all: &[(&str, &str)], name: &str| LoaderCache::parse(&made(all)).unwrap().library(name.as_bytes());
        let libx = ("libx.so.1", "/lib/libx.so.1");
        let alone = of(&[libx], "libx.so.1");
        assert_eq!(alone, of(&[libx, ("liba.so", "/lib/liba.so"), ("libz.so.9", "/lib/libz.so.9")], "libx.so.1"));
        assert_eq!(alone, of(&[libx], "libx.so.01"), "digits are a number");
        assert_eq!(of(&[libx], "liby.so"), value::answer(&[]));
        for other in [
            &[("libx.so.1", "/opt/libx.so.1")][..],
            &[libx, ("libx.so.1", "/opt/libx.so.1")],
            &[libx, ("libx.so.1", "/lib/glibc-hwcaps/x86-64-v3/libx.so.1")],
            &[libx, ("libx.so.01", "/lib/libx.so.01")],
            &[],
        ] {
            assert_ne!(alone, of(other, "libx.so.1"), "{other:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let good = made(&[("liba.so", "/lib/liba.so"), ("libb.so", "/lib/libb.so")]);
        assert!(LoaderCache::parse(&good).is_some());
        let mut unsorted = good.clone();
        let (a, b) = (HEADER, HEADER + ENTRY);
        let entry = unsorted[a..b].to_vec();
        unsorted.copy_within(b..b + ENTRY, a);
        unsorted[b..b + ENTRY].copy_from_slice(&entry);
        assert!(LoaderCache::parse(&unsorted).is_none());
        assert!((0..good.len()).all(|n| LoaderCache::parse(&good[..n]).is_none()), "cut");
        assert!(LoaderCache::parse(b"ld.so-1.7.0").is_none());
    }

    #[test]
    fn this_machines_cache() {
        if let Ok(bytes) = std::fs::read("/etc/ld.so.cache") {
            let c = LoaderCache::parse(&bytes).expect("its form");
            assert_ne!(c.library(b"libc.so.6"), c.library(b"libno-such.so.6"));
            assert!(c.names_of(b"libc.so.6").any(|n| n == b"libc.so.6"));
        }
    }
}
