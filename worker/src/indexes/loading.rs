//! Which opens of the dynamic loader's cache are the loader's own, and not the program's.
//!
//! The loader opens its cache once, for the first library that it does not find otherwise, and the program's own code
//! runs only when all libraries are there that it needs, and that those need (ld.so(8)). So an open is the loader's if
//! at that moment something needed had not been opened yet. What is opened later may be for a library that is loaded
//! on demand (dlopen(3)), or the program's: that is told by [`super::texts`].

use super::linking::Linking;
use crate::tools::base_name;
use cache::PathBytes;
use rustc_hash::FxHashSet;
use tracer::{Access, Op};

/// More files than this are not opened before the cache is; a program that does is not judged.
const MOST: usize = 64;

/// What one image opened, until it opened the loader's cache.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Files that were there, each with the links through which it was named.
    before: Vec<(PathBytes, Vec<PathBytes>)>,
    /// How often it opened the cache.
    opens: u32,
    /// It did something else with it, or by another name.
    misuses: bool,
}

impl Load {
    /// Notes an access that is no write. `found`: there is a file.
    pub(crate) fn note(&mut self, access: &Access, found: bool) {
        let opens = access.op == Op::OpenRead { content: true };
        if *access.path.path == *tracer::LOADER_CACHE {
            self.opens += u32::from(opens);
            self.misuses |= !(opens || access.op == Op::Stat) || !access.path.links.is_empty();
        } else if opens && found && self.opens == 0 && self.before.len() <= MOST {
            let links = access.path.links.iter().map(|l| l.link.clone()).collect();
            self.before.push((access.path.path.clone(), links));
        }
    }

    /// May it have used the cache in another way than to open it by its name?
    pub(crate) fn misuses(&self) -> bool {
        self.misuses
    }

    /// Did nobody but the loader open the cache, while it started this program?
    pub(crate) fn is_start(&self, program: &Linking, of: impl Fn(&[u8]) -> Option<Linking>) -> bool {
        if self.opens != 1 || self.before.len() > MOST || program.interpreter.is_none() || program.audits {
            return false;
        }
        let bare = |l: &Linking| l.needed.iter().filter(|n| !n.contains(&b'/')).cloned().collect::<Vec<_>>();
        let mut needed: FxHashSet<Vec<u8>> = bare(program).into_iter().collect();
        let mut there: FxHashSet<Vec<u8>> = FxHashSet::default();
        for (path, links) in &self.before {
            if needed.iter().all(|n| there.contains(n)) {
                return false;
            }
            there.extend(links.iter().chain([path]).map(|p| base_name(p).to_vec()));
            if let Some(l) = of(path) {
                if l.audits {
                    return false;
                }
                needed.extend(bare(&l));
                there.extend(l.name);
            }
        }
        needed.iter().any(|n| !there.contains(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linking(name: &str, needed: &[&str]) -> Linking {
        Linking {
            interpreter: Some(b"/lib64/ld-linux-x86-64.so.2".to_vec()),
            needed: needed.iter().map(|n| n.as_bytes().to_vec()).collect(),
            name: Some(name.as_bytes().to_vec()).filter(|n| !n.is_empty()),
            audits: false,
        }
    }

    #[test]
    fn the_loader_is_done_when_all_that_is_needed_is_there() {
        let of = |p: &[u8]| match p {
            b"/w/liba.so.1.2" => Some(linking("liba.so.1", &["libb.so"])),
            b"/w/libb.so" | b"/w/libc.so.6" => Some(linking("", &[])),
            _ => None,
        };
        let program = linking("", &["liba.so.1", "libc.so.6"]);
        let opened = |before: &[&str], opens| Load {
            before: before.iter().map(|p| (p.as_bytes().into(), Vec::new())).collect(),
            opens,
            misuses: false,
        };
        for before in [&[][..], &["/w/liba.so.1.2"], &["/w/liba.so.1.2", "/w/libc.so.6"], &["/etc/ld.so.preload"]] {
            assert!(opened(before, 1).is_start(&program, of), "{before:?}");
        }
        let all = ["/w/liba.so.1.2", "/w/libc.so.6", "/w/libb.so"];
        assert!(!opened(&all, 1).is_start(&program, of), "its code runs");
        assert!(!opened(&[&all[..], &["/w/liba.so.1.2"]].concat(), 1).is_start(&program, of));
        assert!(!opened(&[], 2).is_start(&program, of), "one of them may be its own");
        assert!(!opened(&[], 1).is_start(&linking("", &[]), of), "nothing is to be loaded");
        let fixed = Linking { interpreter: None, ..program.clone() };
        assert!(!opened(&[], 1).is_start(&fixed, of), "nobody loads it");
        assert!(!opened(&["/w/x"; MOST + 1], 1).is_start(&program, of));
    }
}
