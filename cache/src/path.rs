//! Paths: bytes as the kernel has them, and the text that people read.

/// A path as the kernel has it: bytes, shared.
pub type PathBytes = std::sync::Arc<[u8]>;

/// Names that begin like this are ours, and left over if an interrupted run finds them.
pub const TEMPORARY_PREFIX: &str = ".xl-restore-";

/// A name as text: two different ones stay different, bytes that are no UTF-8 are `\xHH`.
pub fn shown(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.utf8_chunks() {
        out.push_str(c.valid());
        c.invalid().iter().for_each(|b| out.push_str(&format!("\\x{b:02x}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_different() {
        assert_eq!(shown("ä b".as_bytes()), "ä b");
        assert_eq!((shown(b"c\xff.h"), shown(b"c\xfe.h")), ("c\\xff.h".into(), "c\\xfe.h".into()));
    }
}
