//! What a program or library says of itself to the dynamic loader: which libraries it needs, and what it is called.
//!
//! Knows headers only (elf(5)); of what is not understood nothing is said, and whoever asked has to assume the worst.

use object::elf;
use object::read::ReadRef;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, ReadCache};

/// A file that the dynamic loader loads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linking {
    /// The loader.
    pub interpreter: Option<Vec<u8>>,
    /// The libraries that it needs.
    pub needed: Vec<Vec<u8>>,
    /// What it is called (`DT_SONAME`).
    pub name: Option<Vec<u8>>,
    /// It brings code that runs while it is being loaded (rtld-audit(7)).
    pub audits: bool,
}

impl Linking {
    /// `None`: it is no such file of this machine's kind.
    pub fn of_file(path: &[u8]) -> Option<Self> {
        let file = cache::collect::open_file(path)?;
        Self::parse(&ReadCache::new(file))
    }

    /// The same of its bytes.
    pub fn parse<'a, R: ReadRef<'a>>(data: R) -> Option<Self> {
        let header = elf::FileHeader64::<Endianness>::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, data).ok()?;
        let mut out = Self::default();
        for s in segments {
            if let Some(i) = s.interpreter(endian, data).ok()? {
                out.interpreter = Some(i.to_vec());
            }
            let Some(entries) = s.dynamic(endian, data).ok()? else { continue };
            let entries = || entries.iter().take_while(|d| d.tag(endian) != elf::DT_NULL);
            let strings = entries().find(|d| d.tag(endian) == elf::DT_STRTAB)?.val(endian);
            let string = |at: u64| {
                let address = strings.checked_add(at)?;
                let load = segments.iter().find(|l| {
                    let from = l.p_vaddr(endian);
                    l.p_type(endian) == elf::PT_LOAD
                        && (from..from.saturating_add(l.p_filesz(endian))).contains(&address)
                })?;
                let (from, length) = load.file_range(endian);
                let begin = from.saturating_add(address - load.p_vaddr(endian));
                data.read_bytes_at_until(begin..from.saturating_add(length), 0).ok().map(<[u8]>::to_vec)
            };
            for d in entries() {
                match d.tag(endian) {
                    elf::DT_NEEDED => out.needed.push(string(d.val(endian))?),
                    elf::DT_SONAME => out.name = Some(string(d.val(endian))?),
                    elf::DT_AUDIT | elf::DT_DEPAUDIT => out.audits = true,
                    _ => {}
                }
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_programs() {
        let sh = Linking::of_file(b"/bin/sh").expect("a program");
        assert!(sh.needed.iter().any(|n| n.starts_with(b"libc.so")), "{sh:?}");
        let loader = sh.interpreter.expect("its loader");
        let named = Linking::of_file(&loader).expect("a library");
        assert_eq!(named.name.as_deref(), Some(crate::tools::base_name(&loader)));
        assert!(named.needed.is_empty() && named.interpreter.is_none() && !named.audits);
        assert_eq!(Linking::parse(&b"#!/bin/sh\n"[..]), None);
    }
}
