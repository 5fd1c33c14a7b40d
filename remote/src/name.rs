//! How others name contents: SHA-256 and size. What has no such name yet is hashed once.

use crate::proto::Digest as Wire;
use cache::digest::Sha256;

/// A content, or a row (then it is that of its [`Action`](crate::proto::Action)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub hash: Sha256,
    pub size: u64,
}

impl Name {
    pub fn of(bytes: &[u8]) -> Self {
        Self { hash: Sha256::of(bytes), size: bytes.len() as u64 }
    }

    pub fn wire(&self) -> Wire {
        Wire { hash: self.hash.hex(), size_bytes: i64::try_from(self.size).unwrap_or(i64::MAX) }
    }

    /// `None`: that is no digest.
    pub fn read(d: &Wire) -> Option<Self> {
        let is_lower = d.hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let hash = Sha256::from_hex(&d.hash).filter(|_| is_lower && d.hash.len() == 64)?;
        Some(Self { hash, size: u64::try_from(d.size_bytes).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digests_are_names() {
        let good = Name::of(b"x").wire();
        assert_eq!(Name::read(&good), Some(Name::of(b"x")));
        let bad = |hash: &str, size_bytes| Name::read(&Wire { hash: hash.into(), size_bytes });
        assert_eq!(bad("../../../../etc/passwd", 1), None);
        assert_eq!(bad(&good.hash.to_uppercase(), 1), None);
        assert_eq!(bad(&good.hash[1..], 1), None);
        assert_eq!(bad(&good.hash, -1), None);
    }
}
