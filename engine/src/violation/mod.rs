//! Declared against observed: what the build files do not say.
//!
//! [`declared`] asks the front ends and finds each pip's step; [`links`] makes one graph of it; [`check`] compares and
//! accuses, with [`conduct`] for what needs no order; [`place`] says what is whose; [`suggest`] writes the line to add;
//! [`prove`] tries a finding out; [`policy`] is the user's word on it; [`baseline`] keeps what is known. Checks look at
//! the whole run when it is over, so the order of arrival does not matter, nor whether a pip ran or hit. Where nothing
//! is declared that could be compared (a script, an unknown build tool), nobody is accused.

pub mod baseline;
pub mod check;
mod conduct;
pub mod declared;
pub mod links;
pub(crate) mod place;
pub mod policy;
pub mod prove;
pub mod suggest;

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The kinds, by their stable codes. The text of each is in [`Kind::about`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    #[serde(rename = "XL001")]
    UndeclaredInput,
    #[serde(rename = "XL002")]
    MissingEdge,
    #[serde(rename = "XL003")]
    UndeclaredAbsent,
    #[serde(rename = "XL004")]
    UndeclaredOutput,
    #[serde(rename = "XL005")]
    MissingOutput,
    #[serde(rename = "XL006")]
    DoubleWrite,
    #[serde(rename = "XL007")]
    SourceWrite,
    #[serde(rename = "XL008")]
    ReadWriteRace,
    #[serde(rename = "XL009")]
    OutsideRead,
    #[serde(rename = "XL010")]
    OutsideWrite,
    #[serde(rename = "XL011")]
    Network,
    #[serde(rename = "XL012")]
    UnusedInput,
    #[serde(rename = "XL013")]
    StaleDepfile,
    #[serde(rename = "XL014")]
    NonDeterministic,
    #[serde(rename = "XL015")]
    SurvivingProcess,
    #[serde(rename = "XL016")]
    Cycle,
    #[serde(rename = "XL017")]
    Listing,
    #[serde(rename = "XL018")]
    Environment,
}

/// How much a violation matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Off,
    Note,
    Warning,
    Error,
}

/// Code, name, severity unless configured, and what goes wrong for the user.
pub struct About {
    pub kind: Kind,
    pub code: &'static str,
    pub name: &'static str,
    pub severity: Severity,
    pub why: &'static str,
}

use Severity as S;
/// Every kind, in the order of the codes.
pub const KINDS: &[About] = &[
    about(Kind::UndeclaredInput, "XL001", "undeclared-input", S::Error, "editing the file does not rebuild the target"),
    about(
        Kind::MissingEdge,
        "XL002",
        "missing-edge",
        S::Error,
        "a parallel or fresh build may use the file before it is made",
    ),
    about(
        Kind::UndeclaredAbsent,
        "XL003",
        "undeclared-absent",
        S::Warning,
        "whether the file is found depends on timing",
    ),
    about(
        Kind::UndeclaredOutput,
        "XL004",
        "undeclared-output",
        S::Note,
        "clean, install and the build tool's own checks miss the file",
    ),
    about(
        Kind::MissingOutput,
        "XL005",
        "missing-output",
        S::Warning,
        "the target is made again each time, or breaks what needs it",
    ),
    about(Kind::DoubleWrite, "XL006", "double-write", S::Error, "the last writer wins, by timing"),
    about(Kind::SourceWrite, "XL007", "source-write", S::Error, "the build changes its own sources"),
    about(Kind::ReadWriteRace, "XL008", "read-write-race", S::Error, "what is read depends on timing"),
    about(Kind::OutsideRead, "XL009", "outside-read", S::Off, "it does not build elsewhere"),
    about(Kind::OutsideWrite, "XL010", "outside-write", S::Warning, "the build leaves things behind on the machine"),
    about(Kind::Network, "XL011", "network", S::Warning, "the result depends on somebody else's machine"),
    about(Kind::UnusedInput, "XL012", "unused-input", S::Note, "editing the file rebuilds the target for nothing"),
    about(
        Kind::StaleDepfile,
        "XL013",
        "stale-depfile",
        S::Note,
        "the dependency file is not what was read: too much or too little is rebuilt",
    ),
    about(
        Kind::NonDeterministic,
        "XL014",
        "non-deterministic",
        S::Warning,
        "the same inputs give other outputs, so caches diverge",
    ),
    about(
        Kind::SurvivingProcess,
        "XL015",
        "surviving-process",
        S::Warning,
        "what the process writes later belongs to nobody",
    ),
    about(Kind::Cycle, "XL016", "cycle", S::Error, "no order is right"),
    about(Kind::Listing, "XL017", "listing", S::Warning, "what the listing shows depends on timing"),
    about(
        Kind::Environment,
        "XL018",
        "environment",
        S::Warning,
        "the result says when it was made, so no two are equal",
    ),
];

const fn about(kind: Kind, code: &'static str, name: &'static str, severity: Severity, why: &'static str) -> About {
    About { kind, code, name, severity, why }
}

impl Kind {
    pub fn about(self) -> &'static About {
        &KINDS[self as usize]
    }

    /// From a code (`XL001`) or a name (`undeclared-input`).
    pub fn parse(text: &str) -> Option<Self> {
        KINDS.iter().find(|a| a.code == text || a.name == text).map(|a| a.kind)
    }
}

/// A pip as a report shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipRef {
    /// Number of the pip in the build, in the order of starting.
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

/// How it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub path: String,
    /// What was done to it, in a word.
    pub what: String,
    /// The program, its process and the system call; not known of a hit.
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
    pub fn identity(&self) -> (Kind, &str, &str) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        for (i, a) in KINDS.iter().enumerate() {
            assert_eq!((a.code.to_owned(), a.kind as usize), (format!("XL{:03}", i + 1), i));
            assert_eq!(serde_json::to_value(a.kind).unwrap(), a.code);
            assert_eq!(Kind::parse(a.name), Kind::parse(a.code));
        }
    }
}
