//! What the kernel opens besides a program to execute it: interpreters of scripts, and of ELF images.
//!
//! As execve(2) has it. Formats that `binfmt_misc` adds are not known here, and are told apart from what cannot be
//! executed at all.

use crate::resolve::{Resolved, Resolver};
use rustix::fs::{FileType, OFlags};

/// `BINPRM_BUF_SIZE`: how much of a file the kernel looks at.
const HEAD: usize = 256;

fn head(path: &[u8]) -> Option<Vec<u8>> {
    let f =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, rustix::fs::Mode::empty()).ok()?;
    let mut b = vec![0; HEAD];
    let n = rustix::io::pread(&f, &mut b, 0).ok()?;
    b.truncate(n);
    Some(b)
}

/// Interpreters, and which of them becomes the image; see [`crate::ExecRequest`].
pub(crate) type Interpreters = (Vec<Resolved>, Option<usize>);

/// The file is executable and of no format that is known here (a `binfmt_misc` one, perhaps).
pub(crate) struct UnknownFormat;

/// What the kernel opens to execute `program`: `#!` interpreters in order, then the ELF interpreter. `None`
/// when the exec would fail: not there, not a file, not executable, or an interpreter missing.
pub(crate) fn of(program: &Resolved, cwd: &[u8], resolver: &Resolver) -> Result<Option<Interpreters>, UnknownFormat> {
    let mut out: Vec<Resolved> = Vec::new();
    // The kernel follows at most five (`exec_binprm`).
    for _ in 0..6 {
        let file = out.last().unwrap_or(program);
        let Some(state) = file.state else { return Ok(None) };
        if FileType::from_raw_mode(state.stx_mode.into()) != FileType::RegularFile || state.stx_mode & 0o111 == 0 {
            return Ok(None);
        }
        let Some(head) = head(&file.path) else { return Ok(None) };
        if let Some(line) = head.strip_prefix(b"#!") {
            let line = line.split(|c| *c == b'\n').next().unwrap_or_default();
            let mut words = line.split(|c| matches!(c, b' ' | b'\t')).filter(|w| !w.is_empty());
            let Some(interpreter) = words.next() else { return Ok(None) };
            out.push(resolver.resolve(cwd, interpreter, true));
            continue;
        }
        if head.starts_with(b"\x7fELF") {
            let image = out.len().checked_sub(1);
            if let Some(loader) = elf_interpreter(&file.path, &head) {
                let r = resolver.resolve(cwd, &loader, true);
                if r.state.is_none() {
                    return Ok(None);
                }
                out.push(r);
            }
            return Ok(Some((out, image)));
        }
        // Plain text is refused by the kernel, and shells then read it themselves.
        let text = head.iter().all(|b| *b >= 0x20 || matches!(b, b'\n' | b'\t' | b'\r' | 0x0c));
        return if text { Ok(None) } else { Err(UnknownFormat) };
    }
    Ok(None)
}

/// `PT_INTERP` of a 64-bit little-endian ELF file (elf(5)); `None` for static and foreign ones.
fn elf_interpreter(path: &[u8], head: &[u8]) -> Option<Vec<u8>> {
    let u16_at = |b: &[u8], o: usize| Some(u16::from_le_bytes(b.get(o..o + 2)?.try_into().ok()?));
    let u64_at = |b: &[u8], o: usize| Some(u64::from_le_bytes(b.get(o..o + 8)?.try_into().ok()?));
    if head.get(4) != Some(&2) || head.get(5) != Some(&1) {
        return None;
    }
    let (table, size, count) = (u64_at(head, 32)?, u16_at(head, 54)?, u16_at(head, 56)?);
    let f = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty()).ok()?;
    let mut headers = vec![0; usize::from(size) * usize::from(count)];
    let n = rustix::io::pread(&f, &mut headers, table).ok()?;
    headers.truncate(n);
    for h in headers.chunks_exact(usize::from(size).max(1)) {
        const PT_INTERP: u8 = 3;
        if h.get(..4) == Some(&[PT_INTERP, 0, 0, 0]) {
            let mut name = vec![0; usize::try_from(u64_at(h, 32)?).ok()?.min(4096)];
            let n = rustix::io::pread(&f, &mut name, u64_at(h, 8)?).ok()?;
            name.truncate(n);
            while name.last() == Some(&0) {
                name.pop();
            }
            return Some(name);
        }
    }
    None
}
