//! `enforce = "block"`: refuses at the access what can be refused before it happens.
//!
//! Writes to files that git tracks (XL007), reads (XL009, if that is reported at all) and writes (XL010) outside the
//! workspace. Looking whether a file is there is never refused. Connections, bound sockets and messages with an address
//! (XL011). A pip gets `EACCES`, and says what it says then. What is warned of by default is refused too: whoever asks
//! for this wants it kept out. The baseline forgives nothing here, since it knows targets, and at an access nobody
//! knows of which target it is.

use crate::kinds::{Kind, Severity};
use crate::paths::os_path;
use crate::places::{Surroundings, Where};
use crate::policy::Enforce;
use crate::workspace::Workspace;
use cache::PathBytes;
use std::path::PathBuf;
use std::sync::RwLock;
use tracer::Op;

/// Refuses accesses.
pub(super) struct AccessGuard {
    workspace: Workspace,
    around: Surroundings,
    /// Where build tools work, besides the workspace.
    grounds: RwLock<Vec<PathBytes>>,
}

impl AccessGuard {
    /// If the configuration asks for it.
    pub(super) fn new(w: &Workspace) -> Option<Self> {
        (w.policy.enforce == Some(Enforce::Block)).then(|| Self {
            workspace: w.clone(),
            around: Surroundings::default(),
            grounds: RwLock::default(),
        })
    }

    /// What cannot be protected, and why.
    pub(super) fn trouble(&self) -> Option<String> {
        let why = self.around.tracked(&self.workspace.root).err()?;
        Some(format!("sources are not protected, because git does not say which files are sources: {why}"))
    }

    /// A build tool works there.
    pub(super) fn works_in(&self, dir: PathBytes) {
        let mut all = self.grounds.write().expect("grounds");
        if !all.contains(&dir) {
            all.push(dir);
        }
    }

    /// Why a pip may not do this.
    pub(super) fn refuses(&self, op: &Op, path: &PathBytes) -> Option<String> {
        let reads = matches!(op, Op::OpenRead { content: true });
        if !(reads || op.writes()) {
            return None;
        }
        let places = self.workspace.places(&self.around);
        let kind = match places.of(path, &self.grounds.read().expect("grounds")) {
            Where::Inside if op.writes() && self.is_source(path) => Kind::SourceWrite,
            Where::Outside if reads => Kind::OutsideRead,
            Where::Outside | Where::System if !reads => Kind::OutsideWrite,
            _ => return None,
        };
        self.configured(kind, PathBuf::from(os_path(path)))
    }

    fn is_source(&self, path: &PathBytes) -> bool {
        self.around.tracked(&self.workspace.root).ok().flatten().is_some_and(|t| t.contains(path))
    }

    /// Why a pip may not use a socket; `what` as the report would show it.
    pub(super) fn refuses_network(&self, what: &str) -> Option<String> {
        self.configured(Kind::Network, self.workspace.root.join(what))
    }

    /// Code and name of the kind, unless the configuration turns it off or allows it here.
    fn configured(&self, kind: Kind, path: PathBuf) -> Option<String> {
        let about = kind.about();
        let paths = [path];
        let policy = &self.workspace.policy;
        let off = policy.severity(kind, &paths).unwrap_or(about.severity) == Severity::Off;
        (!off && policy.allows(kind, &paths).is_none()).then(|| format!("{} {}", about.code, about.name))
    }
}
