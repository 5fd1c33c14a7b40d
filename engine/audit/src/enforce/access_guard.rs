//! `enforce = "block"`: refuses at the access what can be refused before it happens.
//!
//! Refused are writes to files that git tracks (XL007), reads (XL009, if that kind is reported at all) and writes
//! (XL010) outside the workspace, and the network: connections, bound sockets and messages with an address (XL011). To
//! look whether a file is there is never refused. The pip gets `EACCES`, and says what it says then.
//!
//! Kinds that are only warned of by default are refused too: users who ask for this want them kept out. The baseline
//! forgives nothing here, since it knows targets, and at an access nobody knows the target.

use crate::kinds::{Kind, Severity};
use crate::paths::os_path;
use crate::places::{Surroundings, Where};
use crate::policy::Enforce;
use crate::workspace::Workspace;
use cache::PathBytes;
use std::path::PathBuf;
use std::sync::RwLock;
use tracer::Op;

/// Refuses accesses, by the places that they are about and by what the user allows.
pub(super) struct AccessGuard {
    workspace: Workspace,
    around: Surroundings,
    /// Where build tools work, besides the workspace.
    grounds: RwLock<Vec<PathBytes>>,
}

impl AccessGuard {
    /// A guard, if the configuration asks for one.
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
