//! `enforce = "block"`: what can be refused before it happens is refused.
//!
//! Writes to files that git tracks (XL007), reads (XL009, if that is reported at all) and writes (XL010) outside the
//! workspace. Looking whether a file is there is never refused. Connections, bound sockets and messages with an address
//! (XL011). A pip gets `EACCES`, and says what it says then. What is warned of by default is refused too: whoever asks
//! for this wants it kept out. The baseline forgives nothing here, since it knows targets, and at an access nobody
//! knows of which target it is.

use crate::config::Config;
use crate::violation::place::{Surroundings, Where};
use crate::violation::policy::Enforce;
use crate::violation::{Kind, Severity};
use cache::PathBytes;
use std::path::PathBuf;
use std::sync::RwLock;
use tracer::Op;

#[derive(Default)]
pub struct Block {
    around: Surroundings,
    /// Where build tools work, besides the workspace.
    grounds: RwLock<Vec<PathBytes>>,
}

impl Block {
    /// If the configuration asks for it; and what cannot be protected, and why.
    pub fn new(c: &Config) -> (Option<Self>, Option<String>) {
        if c.audit.enforce != Some(Enforce::Block) {
            return (None, None);
        }
        let block = Self::default();
        let trouble = block.around.tracked(&c.root).err();
        let trouble = trouble
            .map(|why| format!("sources are not protected, because git does not say which files are sources: {why}"));
        (Some(block), trouble)
    }

    /// Must reads be known before they happen?
    pub fn needs_reads(c: &Config) -> bool {
        c.audit.enforce == Some(Enforce::Block) && c.audit.wants(Kind::OutsideRead)
    }

    /// A build tool works there.
    pub fn works_in(&self, dir: PathBytes) {
        let mut all = self.grounds.write().expect("grounds");
        if !all.contains(&dir) {
            all.push(dir);
        }
    }

    /// Why a pip may not do this.
    pub fn refuses(&self, op: &Op, path: &PathBytes, c: &Config) -> Option<String> {
        let reads = matches!(op, Op::OpenRead { content: true });
        if !(reads || op.writes()) {
            return None;
        }
        let kind = match crate::audit::place(c, &self.around).of(path, &self.grounds.read().expect("grounds")) {
            Where::Inside if op.writes() && self.is_source(path, c) => Kind::SourceWrite,
            Where::Outside if reads => Kind::OutsideRead,
            Where::Outside | Where::System if !reads => Kind::OutsideWrite,
            _ => return None,
        };
        configured(kind, PathBuf::from(crate::frontend::os_path(path)), c)
    }

    fn is_source(&self, path: &PathBytes, c: &Config) -> bool {
        self.around.tracked(&c.root).ok().flatten().is_some_and(|t| t.contains(path))
    }

    /// Why a pip may not use a socket; `what` as the report would show it.
    pub fn refuses_network(&self, what: &str, c: &Config) -> Option<String> {
        configured(Kind::Network, c.root.join(what), c)
    }
}

/// Code and name of the kind, unless the configuration turns it off or allows it here.
fn configured(kind: Kind, path: PathBuf, c: &Config) -> Option<String> {
    let about = kind.about();
    let paths = [path];
    let off = c.audit.severity(kind, &paths).unwrap_or(about.severity) == Severity::Off;
    (!off && c.audit.allows(kind, &paths).is_none()).then(|| format!("{} {}", about.code, about.name))
}
