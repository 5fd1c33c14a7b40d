//! The two-phase store as rows of a plain action cache, which is a table from names to `ActionResult`s.
//!
//! | row | key | value |
//! | --- | --- | --- |
//! | links | weak fingerprint | path sets of its results, the newest first; small ones with their content |
//! | entry | strong fingerprint | the result |
//! | key | — | the key of all digests of what may be a secret |
//!
//! A name is that of a real `Action`, whose `salt` is the key; its command and its input root are the same for all. The
//! value is a record of ours in `stdout_raw`, which every server keeps (one that moves it into its content store
//! answers `stdout_digest`), and every content that it needs is an output file: so servers that check completeness, or
//! keep what rows name, do it for us. The exit code is 0, because some keep no others; ours is in the record.
//!
//! All path sets of a weak fingerprint are in one row, not in a numbered row each: one question instead of four. Who
//! adds to it reads it anew just before; an update that is lost costs a miss.

use crate::name::Name;
use crate::proto::{Action, ActionResult, Command, Message, OutputFile};
use cache::digest::Sha256;
use cache::{Digest, Entry, Link, PathSet};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Raise this when rows change: those of another version are not seen.
const VERSION: u32 = 1;

/// Which row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Links(Digest),
    Entry(Digest),
    Secret,
}

impl Key {
    /// The action that it is: its bytes, whose name is that of the row.
    pub(crate) fn action(&self) -> Vec<u8> {
        let salt = match self {
            Self::Links(d) => [b"links ".as_slice(), &d.0].concat(),
            Self::Entry(d) => [b"entry ".as_slice(), &d.0].concat(),
            Self::Secret => b"key".to_vec(),
        };
        let wire = |b: &[u8]| Some(Name::of(b).wire());
        Action { command_digest: wire(&command()), input_root_digest: wire(b""), salt, ..Action::default() }
            .encode_to_vec()
    }

    pub(crate) fn name(&self) -> Name {
        Name::of(&self.action())
    }
}

/// The command of all rows.
pub(crate) fn command() -> Vec<u8> {
    let arguments = vec!["xl".to_owned(), "row".to_owned(), VERSION.to_string()];
    Command { arguments, ..Command::default() }.encode_to_vec()
}

/// A record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// How the contents that it needs are called: by us, and by others.
    names: Vec<(Digest, [u8; 32], u64)>,
    pub(crate) body: Body,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Body {
    Links(Links),
    /// [`Entry::encode`].
    Entry(Vec<u8>),
    Secret([u8; 32]),
}

/// What is known of a weak fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Links {
    /// Path sets, and their contents if they are small.
    pub(crate) sets: Vec<(Digest, Option<Vec<u8>>)>,
    /// The newest first.
    links: Vec<Linked>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Linked {
    path_set: Digest,
    strong: Digest,
    values: Vec<u64>,
    at: u64,
}

/// Path sets of a weak fingerprint that are kept. A lookup tries all of them.
const SETS: usize = 8;
/// Links that are kept.
const LINKS: usize = 32;
/// Path sets up to this length are in the row.
pub(crate) const SMALL: usize = 16 << 10;
/// Bytes of values and small path sets in a row, from which on the oldest are dropped.
const ROOM: usize = 192 << 10;

impl Links {
    /// What [`cache::Results::candidates`] answers.
    pub(crate) fn all(&self) -> Vec<Link> {
        let link =
            |l: &Linked| Link { path_set: l.path_set, strong: l.strong, values: l.values.clone(), last_used: l.at };
        self.links.iter().map(link).collect()
    }

    /// Adds a result; the oldest go.
    pub(crate) fn add(&mut self, path_set: Digest, content: &[u8], link: Link) {
        self.links.retain(|l| (l.path_set, l.strong) != (link.path_set, link.strong));
        let Link { strong, values, last_used: at, .. } = link;
        self.links.insert(0, Linked { path_set, strong, values, at });
        let small = (content.len() <= SMALL).then(|| content.to_vec());
        self.sets.retain(|(d, _)| *d != path_set);
        self.sets.insert(0, (path_set, small));
        self.sets.truncate(SETS);
        self.links.truncate(LINKS);
        let mut room = ROOM;
        let mut has_room = |n: usize| {
            room = room.saturating_sub(n);
            room > 0
        };
        // The newest stays in any case.
        let mut first = true;
        self.sets.retain(|(_, content)| std::mem::take(&mut first) | has_room(content.as_ref().map_or(0, Vec::len)));
        let kept: HashSet<Digest> = self.sets.iter().map(|(d, _)| *d).collect();
        let mut first = true;
        self.links.retain(|l| {
            let stays = kept.contains(&l.path_set) && (has_room(8 * l.values.len()) | first);
            first = false;
            stays
        });
    }

    /// Path sets that are contents of their own.
    pub(crate) fn large(&self) -> impl Iterator<Item = &Digest> {
        self.sets.iter().filter(|(_, content)| content.is_none()).map(|(d, _)| d)
    }
}

/// A path set, if that is what these bytes are.
pub(crate) fn path_set(digest: &Digest, bytes: &[u8]) -> Option<PathSet> {
    let set = PathSet::decode(bytes).ok()?;
    (Digest::of(bytes) == *digest).then_some(set)
}

/// Longer records are contents of their own.
pub(crate) const INLINE: usize = 512 << 10;

impl Row {
    pub(crate) fn new(body: Body, names: impl Iterator<Item = (Digest, Name)>) -> Self {
        let mut seen = HashSet::new();
        let names = names.filter(|(d, _)| seen.insert(*d)).map(|(d, n)| (d, n.hash.0, n.size)).collect();
        Self { names, body }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = (Digest, Name)> {
        self.names.iter().map(|(d, hash, size)| (*d, Name { hash: Sha256(*hash), size: *size }))
    }

    /// What a server keeps, and the content that it needs besides, if the record is long.
    pub(crate) fn encode(&self) -> cache::Result<(ActionResult, Option<Vec<u8>>)> {
        let record = postcard::to_stdvec(&(VERSION, self))?;
        let file = |(i, (_, n)): (usize, (Digest, Name))| OutputFile {
            path: format!("{i}"),
            digest: Some(n.wire()),
            ..OutputFile::default()
        };
        let mut result =
            ActionResult { output_files: self.names().enumerate().map(file).collect(), ..Default::default() };
        if record.len() <= INLINE {
            result.stdout_raw = record;
            return Ok((result, None));
        }
        result.stdout_digest = Some(Name::of(&record).wire());
        Ok((result, Some(record)))
    }

    /// `None`: not ours, of another version, or damaged.
    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let (version, rest) = postcard::take_from_bytes::<u32>(record).ok()?;
        let (row, more) = postcard::take_from_bytes(rest).ok()?;
        (version == VERSION && more.is_empty()).then_some(row)
    }

    pub(crate) fn entry(&self) -> Option<Entry> {
        match &self.body {
            Body::Entry(b) => Entry::decode(b).ok().filter(|e| {
                let known: HashSet<&Digest> = self.names.iter().map(|(d, ..)| d).collect();
                e.blobs().all(|d| known.contains(d))
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(n: u8, values: usize) -> Link {
        Link { path_set: Digest([n; 32]), strong: Digest([n; 32]), values: vec![7; values], last_used: n.into() }
    }

    #[test]
    fn a_row_is_what_it_was() {
        let mut links = Links::default();
        links.add(Digest([1; 32]), b"set", link(1, 3));
        let row = Row::new(Body::Links(links), [(Digest([2; 32]), Name::of(b"x"))].into_iter());
        let (result, more) = row.encode().unwrap();
        assert_eq!((more, result.output_files[0].digest.clone()), (None, Some(Name::of(b"x").wire())));
        assert_eq!(Row::decode(&result.stdout_raw), Some(row));
        assert_eq!(Row::decode(&result.stdout_raw[1..]), None);
        assert_eq!(Row::decode(b""), None);
    }

    #[test]
    fn the_oldest_go() {
        let mut links = Links::default();
        (0..20).for_each(|n| links.add(Digest([n; 32]), b"set", link(n, 3)));
        assert_eq!(links.sets.len(), SETS);
        assert_eq!(links.all().iter().map(|l| l.last_used).collect::<Vec<_>>(), (12..20).rev().collect::<Vec<_>>());
        links.add(Digest([30; 32]), &[0; SMALL], link(30, ROOM));
        assert_eq!(links.all().len(), 1, "it has all the room");
        assert!(links.all()[0].values.len() == ROOM);
    }

    #[test]
    fn an_entry_needs_the_names_of_all_its_contents() {
        let blob = Digest([1; 32]);
        let content = cache::entry::TextContent::Blob(blob);
        let entry = Entry { text: vec![cache::Text { stream: 1, content }], ..Entry::default() };
        let row = |names: &[(Digest, Name)]| Row::new(Body::Entry(entry.encode().unwrap()), names.iter().copied());
        assert_eq!(row(&[]).entry(), None);
        assert_eq!(row(&[(blob, Name::of(b""))]).entry(), Some(entry.clone()));
    }
}
