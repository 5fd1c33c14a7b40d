//! The archive of locales (localedef(1), "--add-to-archive"; glibc's `locarchive.h`): the data of each, by its name.
//!
//! A locale that is not in it has a directory of its own, if it is there at all, and who looks for it there is seen.

use bstr::ByteSlice;
use cache::Value;
use cache::observation::value;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

pub(super) const ARCHIVE: &[u8] = b"/usr/lib/locale/locale-archive";
/// What it lies in, with the directories of locales.
const DIRECTORY: &[u8] = b"/usr/lib/locale/";

const MAGIC: u32 = 0xde02_0109;
/// Categories of a locale, among them one for all of them.
const CATEGORIES: usize = 13;

/// What is in the archive.
pub struct Locales(FxHashMap<Vec<u8>, Value>);

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?) as usize)
}

impl Locales {
    /// `None`: it is in another form, or damaged.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        (number(bytes, 0)? == MAGIC as usize).then_some(())?;
        let (table, slots) = (number(bytes, 8)?, number(bytes, 16)?);
        let mut data: FxHashMap<(usize, usize), [u8; 32]> = FxHashMap::default();
        let mut out = FxHashMap::default();
        for i in 0..slots {
            let at = table + 12 * i;
            let (name, record) = (number(bytes, at + 4)?, number(bytes, at + 8)?);
            if record == 0 {
                continue;
            }
            let name = bytes.get(name..)?;
            let name = &name[..name.find_byte(0)?];
            let mut parts = Vec::new();
            for c in 0..CATEGORIES {
                let part = (number(bytes, record + 4 + 8 * c)?, number(bytes, record + 8 + 8 * c)?);
                let text = bytes.get(part.0..part.0.checked_add(part.1)?)?;
                parts.push(*data.entry(part).or_insert_with(|| cache::Digest::of(text).0));
            }
            out.insert(name.to_vec(), value::answer(&parts.iter().map(|p| &p[..]).collect::<Vec<_>>()));
        }
        Some(Self(out))
    }

    /// The data of one.
    pub fn locale(&self, name: &[u8]) -> Value {
        self.0.get(name).copied().unwrap_or_else(|| value::answer(&[]))
    }

    /// All of them.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.keys().map(Vec::as_slice)
    }
}

/// The locales that were looked for beside the archive, or are in the environment: those that were not found in it are
/// among them.
pub(super) fn wanted<'a>(paths: impl Iterator<Item = &'a [u8]>, env: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    let directory = |p: &'a [u8]| p.strip_prefix(DIRECTORY)?.split_once_str("/").map(|(name, _)| name);
    let value = |v: &Vec<u8>| {
        let (name, value) = v.split_once_str("=")?;
        (name.starts_with(b"LC_") || name == b"LANG").then(|| value.to_vec())
    };
    let names = paths.filter_map(directory).map(<[u8]>::to_vec).chain(env.iter().filter_map(value));
    names.filter(|n| !n.is_empty()).flat_map(|n| [normalised(&n), n]).collect()
}

/// The name with its code set as the C library looks it up (`_nl_normalize_codeset`): `C.UTF-8` is `C.utf8`.
fn normalised(name: &[u8]) -> Vec<u8> {
    let Some((front, rest)) = name.split_once_str(".") else { return name.to_vec() };
    let (set, back) = rest.split_at(rest.find_byte(b'@').unwrap_or(rest.len()));
    let set: Vec<u8> = set.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect();
    let iso: &[u8] = if set.iter().all(u8::is_ascii_digit) { b"iso" } else { b"" };
    [front, b".", iso, &set, back].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive with these locales.
    fn made(all: &[(&str, &str)]) -> Vec<u8> {
        let (slots, size) = (all.len() + 3, 4 + 8 * CATEGORIES);
        let table = 56;
        let mut out = vec![0; table + 12 * slots + size * all.len()];
        let put = |out: &mut Vec<u8>, at: usize, n: usize| {
            out[at..at + 4].copy_from_slice(&u32::try_from(n).unwrap().to_ne_bytes());
        };
        put(&mut out, 0, MAGIC as usize);
        put(&mut out, 8, table);
        put(&mut out, 16, slots);
        for (i, (name, text)) in all.iter().enumerate() {
            let record = table + 12 * slots + size * i;
            let end = out.len();
            put(&mut out, table + 12 * (i + 2) + 4, end);
            put(&mut out, table + 12 * (i + 2) + 8, record);
            out.extend_from_slice(name.as_bytes());
            out.push(0);
            let begin = out.len();
            out.extend_from_slice(text.as_bytes());
            put(&mut out, record + 4, begin);
            put(&mut out, record + 8, text.len());
        }
        out
    }

    #[test]
    fn the_data_of_one_locale() {
        let of = |all: &[(&str, &str)]| Locales::parse(&made(all)).unwrap().locale(b"de_DE.utf8");
        let german = ("de_DE.utf8", "Montag");
        assert_eq!(of(&[german]), of(&[("fr_FR.utf8", "lundi"), german]));
        assert_ne!(of(&[german]), of(&[("de_DE.utf8", "Mittag")]));
        assert_eq!(of(&[("fr_FR.utf8", "lundi")]), value::answer(&[]));
        let good = made(&[german]);
        assert!((0..good.len()).all(|n| Locales::parse(&good[..n]).is_none()), "cut");
    }

    #[test]
    fn names_by_which_a_locale_is_looked_for() {
        for (name, want) in [
            ("de_DE.UTF-8", "de_DE.utf8"),
            ("de_DE.ISO-8859-1@euro", "de_DE.iso88591@euro"),
            ("x.8859-1", "x.iso88591"),
            ("de_DE", "de_DE"),
        ] {
            assert_eq!(normalised(name.as_bytes()), want.as_bytes());
        }
        let paths = [&b"/usr/lib/locale/fr.UTF-8/LC_TIME"[..], b"/usr/lib/locale/locale-archive", b"/w/a"];
        let env = [b"LC_ALL=de".to_vec(), b"LANGUAGE=x".to_vec(), b"LANG=".to_vec()];
        let names = wanted(paths.into_iter(), &env);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), [&b"de"[..], b"fr.UTF-8", b"fr.utf8"]);
    }
}
