//! The build record: what happened to each pip, as versioned JSON.
//!
//! Fields may be added; none changes its meaning within a version. Secret-looking arguments are blanked before
//! they get here, and environment values never do.

use crate::lookup::Reason;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What the root command is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A build tool: each command that it launches is a pip.
    #[default]
    Build,
    /// One pip.
    Single,
}

/// Version of the JSON form.
pub const VERSION: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Never ran: its result was restored.
    Hit,
    /// Ran, and its result was stored.
    Miss,
    Remote,
    /// Ran, and its result could not be stored.
    Uncacheable,
    /// Too cheap for a lookup.
    Bypassed,
    /// Ran, and failed.
    Failed,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    pub id: u32,
    /// One line for people.
    pub command: String,
    pub argv: Vec<String>,
    pub cwd: String,
    pub outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// Why the result was not stored, if it was not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_stored: Option<String>,
    pub outputs: Vec<String>,
    /// Of a command that ran: the fields that its weak fingerprint is made of, each with its value, in hexadecimal; of
    /// a long one the beginning of its digest.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub facts: Vec<(String, String)>,
    /// Of a result that was stored or served: its strong fingerprint and its path set, under which the cache keeps what
    /// it observed and with which values.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub result: Option<[String; 2]>,
    /// The weak fingerprint under which it is stored: there the cache has its values.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub weak: Option<String>,
    /// In an exported build: what its result observed, which is in no cache of another machine.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seen: Option<Kept>,
    /// Why it failed although the command did not: what its build file does not declare.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub violations: Vec<String>,
    /// The end of what it printed, if it failed. Only this process knows it: records are kept.
    #[serde(skip)]
    pub text: String,
    pub wall_ms: f64,
    /// What the hit saved.
    #[serde(default)]
    pub saved_ms: f64,
    pub exit_code: i32,
    /// Start, milliseconds after the build's.
    #[serde(default)]
    pub start_ms: f64,
    /// Of a hit: it came from the remote cache.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub far: bool,
}

/// What a result observed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// The path set as it is stored, in hexadecimal.
    pub set: String,
    /// The short values, in its order.
    pub values: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Pips {
    pub total: u64,
    pub hit: u64,
    pub miss: u64,
    pub remote: u64,
    pub uncacheable: u64,
    pub bypassed: u64,
    pub failed: u64,
    /// Hits that came from the remote cache.
    #[serde(default)]
    pub far: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Bytes {
    pub restored: u64,
    pub stored: u64,
    /// To the remote cache.
    #[serde(default)]
    pub sent: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Violations {
    pub error: u64,
    pub warning: u64,
}

/// Hits that really ran, by `--recheck`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rechecks {
    /// How many made what the cache would have restored.
    pub same: u64,
    /// How many could not be compared, because this time the result cannot be stored.
    pub unknown: u64,
    /// What made something else, and which outputs differ.
    pub different: Vec<String>,
}

impl Rechecks {
    pub fn total(&self) -> u64 {
        self.same + self.unknown + self.different.len() as u64
    }
}

/// A workspace that was somewhere else for its commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Its path outside.
    pub really: String,
    /// Its path for the commands.
    pub at: String,
}

/// `path` as it is called below `to`, if it is below `from`.
fn moved(path: &str, from: &str, to: &str) -> String {
    match path.strip_prefix(from) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{to}{rest}"),
        _ => path.to_owned(),
    }
}

/// What the remote cache did in a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Remote {
    /// Results that it was given.
    pub sent: u64,
    /// None are given to it.
    pub only_read: bool,
    /// It failed for a while, or to the end.
    pub failed: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BuildRecord {
    pub version: u32,
    pub command: Vec<String>,
    pub cwd: String,
    /// Where the workspace really is, if its commands saw it at another path (`--at`), which all paths here are of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub workspace: Option<Workspace>,
    /// Of a build that was imported: the name of the key with which values of variables are digested there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// Seconds since the epoch.
    pub started: u64,
    pub exit_code: i32,
    #[serde(default)]
    pub mode: Mode,
    pub backend: String,
    pub wall_ms: u64,
    pub pips: Pips,
    pub saved_cpu_ms: u64,
    pub bytes: Bytes,
    pub violations: Violations,
    #[serde(default)]
    pub rechecks: Rechecks,
    pub lost_events: u64,
    /// How often a build tool executed something that could not be looked into: it is not among the items.
    #[serde(default)]
    pub unseen: u64,
    /// There was a remote cache in this run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remote: Option<Remote>,
    /// What went wrong with `xl` itself.
    #[serde(default)]
    pub warnings: Vec<String>,
    pub items: Vec<Item>,
}

impl BuildRecord {
    /// Was it started in `dir` or below? One that was moved is of the place where it really was, one that was imported
    /// of none here.
    pub fn is_below(&self, dir: &Path) -> bool {
        self.key.is_none() && Path::new(&self.place(&self.cwd)).starts_with(dir)
    }

    /// A path of the record, as it is outside.
    pub fn place(&self, path: &str) -> String {
        self.workspace.as_ref().map_or_else(|| path.to_owned(), |w| moved(path, &w.at, &w.really))
    }

    /// A path outside, as the record has it.
    pub fn recorded(&self, path: &str) -> String {
        self.workspace.as_ref().map_or_else(|| path.to_owned(), |w| moved(path, &w.really, &w.at))
    }

    /// Programs were executed, and none of them could be looked into.
    pub fn is_blind(&self) -> bool {
        self.unseen > 0 && self.pips.total == 0
    }

    /// Counts the items.
    pub fn count(&mut self) {
        let mut p = Pips { total: self.items.len() as u64, ..Pips::default() };
        for i in &self.items {
            p.far += u64::from(i.far);
            match i.outcome {
                Outcome::Hit => p.hit += 1,
                Outcome::Miss => p.miss += 1,
                Outcome::Remote => p.remote += 1,
                Outcome::Uncacheable => p.uncacheable += 1,
                Outcome::Bypassed => p.bypassed += 1,
                Outcome::Failed => p.failed += 1,
            }
        }
        self.pips = p;
    }
}

/// How much of a text is shown, bytes.
const TEXT: usize = 8 << 10;

/// The end of what a command printed, from the beginning of a line.
pub fn end_of<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> String {
    let all = chunks.collect::<Vec<_>>().concat();
    let end = &all[all.len().saturating_sub(TEXT)..];
    let cut = all.len() > TEXT;
    let start = if cut { end.iter().position(|b| *b == b'\n').map_or(0, |i| i + 1) } else { 0 };
    String::from_utf8_lossy(&end[start..]).into_owned()
}
