//! An entry: everything that running the pip produced.

use crate::{Digest, PathBytes, Result};
use serde::{Deserialize, Serialize};

/// What a strong fingerprint names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub exit_code: i32,
    /// In the order in which they were last written.
    pub outputs: Vec<Output>,
    /// stdout and stderr in their order.
    pub text: Vec<Text>,
    /// Where the shared offset of a regular file on standard input was left.
    pub stdin_end: Option<u64>,
    /// Wall time of the run that made it, microseconds.
    pub wall_us: u64,
    /// Seconds since the epoch.
    #[serde(with = "behind_a_zero")]
    pub created: u64,
}

/// Where an earlier version had the CPU time of a run, which nobody measured, a zero stays: entries of both versions
/// are read by both.
mod behind_a_zero {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(n: &u64, to: S) -> Result<S::Ok, S::Error> {
        (0u64, n).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        <(u64, u64)>::deserialize(from).map(|(_, n)| n)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    pub path: PathBytes,
    pub kind: OutputKind,
}

impl Output {
    /// Without what tells of the name before: a compiler that replaces an old file makes the same as one that finds
    /// none.
    pub fn by_itself(&self) -> Self {
        let mut o = self.clone();
        match &mut o.kind {
            OutputKind::File { in_place, .. } => *in_place = false,
            OutputKind::Symlink { over, .. } => *over = false,
            OutputKind::Directory { .. } | OutputKind::Deleted => {}
        }
        o
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputKind {
    File {
        digest: Digest,
        size: u64,
        /// Permission bits.
        mode: u32,
        /// Outputs with the same number are names of one file.
        link_group: Option<u32>,
        /// The old file was overwritten in place, not replaced.
        in_place: bool,
        traits: crate::digest::Traits,
        time: Time,
    },
    Symlink {
        target: Vec<u8>,
        time: Time,
        /// It came in place of something that the pip knew: it did not go where that leads.
        over: bool,
    },
    Directory {
        mode: u32,
        /// Set by the pip; otherwise it is what comes of its members.
        time: Option<Time>,
    },
    /// It was there, and is not any more.
    Deleted,
}

/// The modification time of an output, when it is put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Time {
    /// The pip wrote it: it is new, and newer than the outputs before it.
    Fresh,
    /// The pip set it, nanoseconds since the epoch.
    Set(i64),
    /// It is the one that this file had before, under this name or another: who moves a file or changes its mode leaves
    /// its time.
    Of(PathBytes),
}

/// A piece of text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// 1 or 2.
    pub stream: u8,
    pub content: TextContent,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextContent {
    Inline(Vec<u8>),
    Blob(Digest),
}

/// Longer pieces of text become blobs.
pub const INLINE_TEXT: usize = 4096;

impl Entry {
    pub fn encode(&self) -> Result<Vec<u8>> {
        Ok(postcard::to_stdvec(self)?)
    }

    pub fn decode(b: &[u8]) -> Result<Self> {
        Ok(postcard::from_bytes(b)?)
    }

    /// Every blob that must be there for a hit, with its size if known.
    pub fn blobs(&self) -> impl Iterator<Item = &Digest> {
        let files = self.outputs.iter().filter_map(|o| match &o.kind {
            OutputKind::File { digest, .. } => Some(digest),
            _ => None,
        });
        let text = self.text.iter().filter_map(|t| match &t.content {
            TextContent::Blob(d) => Some(d),
            TextContent::Inline(_) => None,
        });
        files.chain(text)
    }

    /// Bytes that a restore writes.
    pub fn bytes(&self) -> u64 {
        self.outputs.iter().map(|o| if let OutputKind::File { size, .. } = o.kind { size } else { 0 }).sum()
    }

    /// Same result? (When and how fast it was made does not count, nor what was there before.)
    pub fn same_result(&self, other: &Self) -> bool {
        let sorted = |e: &Self| {
            let mut v: Vec<Output> = e.outputs.iter().map(Output::by_itself).collect();
            v.sort_by(|a, b| a.path.cmp(&b.path));
            v
        };
        self.exit_code == other.exit_code && self.text == other.text && sorted(self) == sorted(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a version with another struct has written.
    #[test]
    fn entries_of_earlier_versions_are_read() {
        let text = Text { stream: 2, content: TextContent::Inline(b"hm".to_vec()) };
        let entry = Entry { exit_code: 3, text: vec![text], wall_us: 5, created: 300, ..Entry::default() };
        let stored = [6, 0, 1, 2, 0, 2, b'h', b'm', 0, 5, 0, 0xac, 2];
        assert_eq!(entry.encode().unwrap(), stored);
        assert_eq!(Entry::decode(&stored).unwrap(), entry);
    }
}
