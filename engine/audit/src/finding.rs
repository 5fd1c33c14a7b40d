//! What an audit found, as reports show it and as it is kept for later: plain data, whose JSON form has the version of
//! the report.

use crate::kinds::{Kind, Severity};
use cache::PathBytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A pip as a report shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipRef {
    /// Number of the pip in the build, in the order of starting, which is another one the next time: not in reports.
    #[serde(skip)]
    pub id: u32,
    pub command: String,
    pub cwd: String,
    /// What the build file calls it; empty if it does not.
    pub target: String,
    /// File and line of its step.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub declared_at: String,
    /// The directory in which the build tool works that launched it.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub tool_dir: String,
    /// Its words, without goals: with a target it makes that target, there.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tool: Vec<String>,
}

/// How a violation is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub path: String,
    /// What was done to it, in a word.
    pub what: String,
    /// The program and the system call; not known of a hit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub process: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub call: Option<String>,
    /// Milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub time_ms: Option<u64>,
}

/// The edit that repairs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fix {
    /// Where; may be empty.
    pub place: String,
    /// In the syntax of the build file.
    pub text: String,
    /// The same for a program; not for what only a person can write.
    #[serde(skip)]
    pub edit: Option<Edit>,
}

impl Fix {
    /// An edit that nobody can try.
    pub(crate) fn by_hand(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into(), edit: None }
    }
}

/// Where the text of a repair goes: in a file that the build tool reads, or that what makes its files reads. Lines are
/// counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub(crate) file: PathBytes,
    pub(crate) at: Spot,
}

/// The spot in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    End,
    /// The line before this one, which is the first of a make recipe: the text is a new head of the rule.
    HeadBefore(usize),
    /// The edge of ninja that begins in this line.
    Edge(usize),
    /// The call of meson that begins in this line, or in the one before: the text is one more argument.
    Call(usize),
}

/// One difference between declared and observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    pub code: Kind,
    pub name: String,
    pub severity: Severity,
    /// One sentence about this case.
    pub message: String,
    /// What goes wrong.
    pub why: String,
    /// What is made wrongly, relative to the workspace; with `code` and `file` the identity of a violation.
    pub target: String,
    /// The file in question.
    pub file: String,
    pub pip: PipRef,
    /// The other pip: the producer, the second writer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub other: Option<PipRef>,
    pub evidence: Vec<Proof>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fix: Option<Fix>,
    /// A command that shows it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reproduce: Option<String>,
    /// An input that is declared: a change of it does rebuild the target.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub control: Option<String>,
    /// The reason of the allow-list entry that covers it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub allowed: Option<String>,
}

impl Violation {
    /// What stays the same from build to build.
    pub(crate) fn identity(&self) -> (Kind, &str, &str) {
        (self.code, &self.target, &self.file)
    }
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    pub violations: Vec<Violation>,
    /// What could not be compared, and why.
    pub gaps: Vec<String>,
    /// Every name under which something of this run may have been accused: a known violation of one of these that was
    /// not found is gone.
    #[serde(default)]
    pub targets: BTreeSet<String>,
    /// Pips that were held against a declaration.
    pub compared: u64,
    /// Pips of which nothing is declared.
    pub undeclared: u64,
}

impl Findings {
    /// Violations of this severity that no allow-list entry covers.
    pub fn count(&self, s: Severity) -> u64 {
        self.violations.iter().filter(|v| v.severity == s && v.allowed.is_none()).count() as u64
    }
}
