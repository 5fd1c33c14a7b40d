//! `enforce = "block"`: what can be refused before it happens is refused.
//!
//! Writes to files that git tracks (XL007), reads (XL009, if that is reported at all) and writes (XL010) outside the workspace. Looking whether
//! a file is there is never refused. A pip gets `EACCES`, and says what it says then. Network use (XL011) is not refused but reported.

use crate::config::Config;
use crate::violation::policy::Enforce;
use crate::violation::{Kind, Severity};
use cache::PathBytes;
use rustc_hash::FxHashSet;
use std::path::PathBuf;
use std::sync::OnceLock;
use tracer::Op;

#[derive(Default)]
pub struct Block {
    sources: OnceLock<FxHashSet<PathBytes>>,
}

impl Block {
    /// If the configuration asks for it.
    pub fn new(c: &Config) -> Option<Self> {
        (c.audit.enforce == Some(Enforce::Block)).then(Self::default)
    }

    /// Must reads be known before they happen?
    pub fn needs_reads(c: &Config) -> bool {
        c.audit.enforce == Some(Enforce::Block) && c.audit.wants(Kind::OutsideRead)
    }

    /// Why a pip may not do this.
    pub fn refuses(&self, op: &Op, path: &PathBytes, c: &Config) -> Option<String> {
        let reads = matches!(op, Op::OpenRead { content: true });
        if !(reads || op.writes()) {
            return None;
        }
        let place = crate::audit::place(c);
        let kind = if !place.is_inside(path) {
            if place.is_scratch(path) || (reads && place.is_system(path)) {
                return None;
            }
            if reads { Kind::OutsideRead } else { Kind::OutsideWrite }
        } else if op.writes() && self.sources(c).contains(path) {
            Kind::SourceWrite
        } else {
            return None;
        };
        let paths = [PathBuf::from(crate::frontend::os_path(path))];
        let off = !c.audit.wants(kind) || c.audit.severity(kind, &paths) == Some(Severity::Off);
        if off || c.audit.allows(kind, &paths).is_some() {
            return None;
        }
        Some(format!("{} {}", kind.about().code, kind.about().name))
    }

    fn sources(&self, c: &Config) -> &FxHashSet<PathBytes> {
        self.sources.get_or_init(|| crate::violation::place::tracked(&c.root).unwrap_or_default())
    }
}
