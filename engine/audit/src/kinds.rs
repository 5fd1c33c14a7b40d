//! The kinds of violations: the code, name and default severity of each, and what goes wrong for the user.
//!
//! Codes and names are stable: configurations, baselines and code hosts keep them.

use serde::{Deserialize, Serialize};

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
    pub(crate) fn parse(text: &str) -> Option<Self> {
        KINDS.iter().find(|a| a.code == text || a.name == text).map(|a| a.kind)
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
