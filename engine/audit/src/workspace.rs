//! What the audit needs to know of the configuration: where the workspace is, and what the user thinks of violations.
//!
//! Everything here is settled before a run starts, and shared by those who judge while it goes on and afterwards.

use crate::finding::Violation;
use crate::kinds::Severity;
use crate::places::{Places, Surroundings};
use crate::policy::{Policy, PolicyError};
use engine::config::Config;
use std::path::PathBuf;
use std::sync::Arc;

/// A workspace, with the user's word on it. Clones share the count of which exceptions were of use.
#[derive(Clone, Debug)]
pub struct Workspace {
    pub(crate) root: PathBuf,
    /// Not part of the build; a place for scratch directories.
    pub(crate) cache_dir: PathBuf,
    pub policy: Arc<Policy>,
}

impl Workspace {
    /// # Errors
    /// The configuration says of audits what cannot be used.
    pub fn new(c: &Config) -> Result<Self, PolicyError> {
        Ok(Self { root: c.root.clone(), cache_dir: c.cache_dir.clone(), policy: Arc::new(Policy::load(c)?) })
    }

    pub(crate) fn places<'a>(&'a self, around: &'a Surroundings) -> Places<'a> {
        Places { root: &self.root, cache_dir: &self.cache_dir, around }
    }

    /// Applies the user's severities and exceptions. So an audit that was kept can be judged by another configuration.
    pub fn settle(&self, violations: &mut Vec<Violation>) {
        for v in violations.iter_mut() {
            let paths = [self.root.join(&v.file), self.root.join(&v.target)];
            if let Some(s) = self.policy.severity(v.code, &paths) {
                v.severity = s;
            }
            v.allowed = self.policy.allows(v.code, &paths);
        }
        violations.retain(|v| v.severity != Severity::Off);
    }
}
