//! An audit as a document: text for a terminal, JSON for programs, SARIF for code hosts, one page for people.
//!
//! The JSON form is versioned, kept for `xl audit` without a command, and what the others are made from;
//! `docs/audit.md` describes it.

pub mod html;
pub mod sarif;
pub mod text;

use crate::finding::Findings;
use crate::kinds::Severity;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of the JSON form.
pub const VERSION: u32 = 1;

/// The document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub version: u32,
    pub command: Vec<String>,
    /// Where it was started.
    pub cwd: String,
    /// The workspace root.
    pub root: String,
    /// Exit code of the build.
    pub exit_code: i32,
    pub backend: String,
    /// Seconds since the epoch.
    pub started: u64,
    pub pips: u64,
    pub hits: u64,
    pub build_ms: u64,
    /// What asking the build tools and comparing took.
    pub audit_ms: u64,
    #[serde(flatten)]
    pub findings: Findings,
    /// Exceptions and baseline entries that covered nothing.
    pub unused: Vec<String>,
}

impl Report {
    /// Errors and warnings that nothing allows.
    pub fn failures(&self) -> u64 {
        self.findings.count(Severity::Error) + self.findings.count(Severity::Warning)
    }

    /// Keeps it for the next time.
    ///
    /// # Errors
    /// The directory or the file cannot be written; what was kept before is still there.
    pub fn keep(&self, file: &Path) -> std::io::Result<()> {
        if let Some(dir) = file.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let next = file.with_extension(format!("{}.new", std::process::id()));
        std::fs::write(&next, serde_json::to_vec(self)?)?;
        std::fs::rename(next, file)
    }

    /// The one that was kept; `None` if there is none, or it is of another version.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn last(file: &Path) -> std::io::Result<Option<Self>> {
        let bytes = match std::fs::read(file) {
            Ok(b) => b,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let report: Self = serde_json::from_slice(&bytes)?;
        Ok((report.version == VERSION).then_some(report))
    }
}
