//! The beginning of the running kernel's table of types (BTF), up to the last type that is asked for.
//!
//! The whole table takes 20 ms to read and take apart, and another 13 to search (127,000 types of Linux 6.18), in every
//! run that loads the programs. What they need is in its first seventh. A type is named by its place in the table, so a
//! beginning of the table is a valid table, which lacks the later types. If a type is not found, the whole table is
//! returned.
//!
//! Source: Documentation/bpf/btf.rst, "BTF Type and String Encoding".

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A kind of type, as the table numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Structure = 4,
    Name = 8,
}

/// Where the kernel shows the table.
pub(crate) const PLACE: &str = "/sys/kernel/btf/vmlinux";

const HEADER: usize = 24;
/// How much is read at once.
const PIECE: usize = 256 << 10;

/// The table in `file`, cut behind the last of the types `wanted`.
pub(crate) fn beginning(file: &File, wanted: &[(Kind, &str)]) -> io::Result<Vec<u8>> {
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "it is of no form that xl knows");
    let mut header = [0u8; HEADER];
    file.read_exact_at(&mut header, 0)?;
    let number = |b: &[u8], at: usize| Some(u32::from_ne_bytes(b.get(at..at + 4)?.try_into().ok()?));
    let field = |at| number(&header, at).map(|n| n as usize).ok_or_else(strange);
    let (begin, types, length, text, text_length) = (field(4)?, field(8)?, field(12)?, field(16)?, field(20)?);
    if header[..2] != 0xeb9f_u16.to_ne_bytes() || begin != HEADER || length > 1 << 30 || text_length > 1 << 30 {
        return Err(strange());
    }
    let mut strings = vec![0; text_length];
    file.read_exact_at(&mut strings, (begin + text) as u64)?;
    let is_called = |at: usize, name: &str| {
        strings.get(at..).and_then(|s| s.strip_prefix(name.as_bytes())).is_some_and(|rest| rest.first() == Some(&0))
    };
    let mut wanted = wanted.to_vec();
    let mut table = header.to_vec();
    let mut end = 0;
    while end < length && !wanted.is_empty() {
        let Some((name, info)) = number(&table, HEADER + end).zip(number(&table, HEADER + end + 4)) else {
            let have = table.len() - HEADER;
            let more = PIECE.min(length - have);
            if more == 0 {
                return Err(strange());
            }
            table.resize(HEADER + have + more, 0);
            file.read_exact_at(&mut table[HEADER + have..], (begin + types + have) as u64)?;
            continue;
        };
        wanted.retain(|(kind, n)| *kind as u32 != info >> 24 & 31 || !is_called(name as usize, n));
        end += size(info).ok_or_else(strange)?;
    }
    // The last may not have been read to its end.
    let have = (table.len() - HEADER).min(end);
    table.resize(HEADER + end, 0);
    file.read_exact_at(&mut table[HEADER + have..], (begin + types + have) as u64)?;
    for (at, n) in [(8, 0), (12, end), (16, end)] {
        table[at..at + 4].copy_from_slice(&u32::try_from(n).map_err(|_| strange())?.to_ne_bytes());
    }
    table.extend_from_slice(&strings);
    Ok(table)
}

/// How many bytes a type takes whose second word this is; `None` for a kind that is not known.
fn size(info: u32) -> Option<usize> {
    let members = (info & 0xffff) as usize;
    let behind = match info >> 24 & 31 {
        // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        // Array.
        3 => 12,
        // Structure, union, section, enumeration of 64 bits.
        4 | 5 | 15 | 19 => 12 * members,
        // Enumeration, parameters.
        6 | 13 => 8 * members,
        _ => return None,
    };
    Some(12 + behind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aya_obj::btf::{Btf, BtfKind};

    fn file(bytes: &[u8]) -> File {
        let f = tempfile::tempfile().expect("a scratch file");
        f.write_all_at(bytes, 0).expect("written");
        f
    }

    /// A table of an integer and then, in turn, structures of `i` members and other names of the integer.
    fn table(pairs: u32) -> File {
        let (mut types, mut strings) = (Vec::new(), b"\0int\0".to_vec());
        types.extend([1, 1 << 24, 4, 32]);
        for i in 0..pairs {
            for (kind, letter) in [(Kind::Structure, 's'), (Kind::Name, 't')] {
                let members = if kind == Kind::Structure { i } else { 0 };
                types.extend([
                    strings.len() as u32,
                    (kind as u32) << 24 | members,
                    if kind == Kind::Name { 1 } else { 4 },
                ]);
                types.extend((0..members).flat_map(|_| [1, 1, 0]));
                strings.extend(format!("{letter}{i}\0").bytes());
            }
        }
        let types: Vec<u8> = types.iter().flat_map(|n: &u32| n.to_ne_bytes()).collect();
        let mut all = 0xeb9f_u16.to_ne_bytes().to_vec();
        all.extend([1, 0]);
        let length = types.len() as u32;
        all.extend([HEADER as u32, 0, length, length, strings.len() as u32].iter().flat_map(|n| n.to_ne_bytes()));
        file(&[all, types, strings].concat())
    }

    fn id(table: &[u8], kind: BtfKind, name: &str) -> Option<u32> {
        Btf::parse(table, Default::default()).expect("a table").id_by_type_name_kind(name, kind).ok()
    }

    #[test]
    fn a_beginning_keeps_the_places() {
        let f = table(5);
        let cut =
            beginning(&f, &[(Kind::Name, "t1"), (Kind::Structure, "s3"), (Kind::Structure, "s0")]).expect("a table");
        assert_eq!(id(&cut, BtfKind::Typedef, "t1"), Some(5));
        assert_eq!(id(&cut, BtfKind::Struct, "s3"), Some(8));
        assert_eq!(id(&cut, BtfKind::Typedef, "t3"), None, "nobody asked for what comes after");
        // A name is no structure: what is not there makes the beginning the whole.
        let whole = beginning(&f, &[(Kind::Structure, "t1")]).expect("a table");
        assert_eq!(id(&whole, BtfKind::Typedef, "t4"), Some(11));
    }

    #[test]
    fn a_table_of_many_pieces_is_read_to_the_type() {
        let f = table(400);
        let cut = beginning(&f, &[(Kind::Structure, "s399")]).expect("a table");
        assert!(cut.len() > 2 * PIECE, "it is too small to test anything");
        assert_eq!(id(&cut, BtfKind::Struct, "s399"), Some(800));
        assert_eq!(id(&cut, BtfKind::Typedef, "t399"), None);
    }

    #[test]
    fn the_kernels_own_types_keep_their_places() {
        let Ok(f) = File::open(PLACE) else { return };
        let wanted = [(Kind::Structure, "dentry"), (Kind::Name, "btf_trace_sys_exit")];
        let cut = beginning(&f, &wanted).expect("a table");
        let all = std::fs::read(PLACE).expect("the table");
        for (kind, name) in [(BtfKind::Struct, "dentry"), (BtfKind::Typedef, "btf_trace_sys_exit")] {
            assert_eq!(id(&cut, kind, name), id(&all, kind, name));
        }
        assert!(cut.len() < all.len());
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for bytes in [&b""[..], &[0; 24], &[0xff; 64]] {
            assert!(beginning(&file(bytes), &[(Kind::Name, "x")]).is_err());
        }
        let mut short = vec![0; 24];
        table(3).read_exact_at(&mut short, 0).expect("a header");
        assert!(beginning(&file(&short), &[(Kind::Name, "x")]).is_err());
    }
}
