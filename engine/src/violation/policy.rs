//! `[audit]` of the configuration: severities by kind and path, exceptions with their reasons, enforcement.

use super::{Kind, Severity};
use crate::config::ToolGlob;
use cache::home::expand;
use globset::{GlobSet, GlobSetBuilder};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// What `xl run --enforce`, or `enforce` of the configuration, does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforce {
    /// The pip fails when it ends, and nothing of it is stored.
    Fail,
    /// Besides, what can be refused at the access is refused.
    Block,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    pub enforce: Option<Enforce>,
    pub baseline: Option<PathBuf>,
    #[serde(default)]
    pub severity: Vec<SeverityEntry>,
    #[serde(default)]
    pub allow: Vec<AllowEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeverityEntry {
    kind: NamedKind,
    /// Of the file or of the target; everything if absent.
    path: Option<String>,
    level: Severity,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowEntry {
    kind: NamedKind,
    path: String,
    reason: String,
}

/// A kind by its code or its name.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct NamedKind(Kind);

impl TryFrom<String> for NamedKind {
    type Error = Wrong;

    fn try_from(name: String) -> Result<Self, Wrong> {
        Kind::parse(&name).map(Self).ok_or(Wrong::Kind(name))
    }
}

/// What is wrong with the section.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    #[error("`{0}` is no kind of violation: they are XL001 to XL018, or have names like undeclared-input")]
    Kind(String),
    #[error("`{0}` is not a valid glob")]
    Glob(String),
}

#[derive(Debug)]
struct Exception {
    kind: Kind,
    path: GlobSet,
    shown: String,
    reason: String,
    used: AtomicBool,
}

/// What a `[[rule]]` lets a tool use that no build tool speaks for.
#[derive(Debug)]
pub struct Grant {
    tool: ToolGlob,
    inputs: GlobSet,
    outputs: GlobSet,
}

impl Grant {
    pub fn may_read(&self, path: &Path) -> bool {
        self.inputs.is_match(path) || self.outputs.is_match(path)
    }

    pub fn may_make(&self, path: &Path) -> bool {
        self.outputs.is_match(path)
    }
}

/// The section, ready for use.
#[derive(Debug, Default)]
pub struct Policy {
    grants: Vec<Grant>,
    pub enforce: Option<Enforce>,
    pub baseline: Option<PathBuf>,
    severities: Vec<(Kind, Option<GlobSet>, Severity)>,
    exceptions: Vec<Exception>,
}

impl Policy {
    /// Adds a file's section; what comes later wins.
    ///
    /// # Errors
    /// It holds what is no glob.
    pub fn add(&mut self, s: Section, root: &Path) -> Result<(), Wrong> {
        self.enforce = s.enforce.or(self.enforce);
        self.baseline = s.baseline.map(|b| root.join(expand(&b))).or(self.baseline.take());
        for e in s.severity {
            let path = e.path.map(|p| glob(&p, root)).transpose()?;
            self.severities.push((e.kind.0, path, e.level));
        }
        for e in s.allow {
            let (kind, path) = (e.kind.0, glob(&e.path, root)?);
            self.exceptions.push(Exception {
                kind,
                path,
                shown: e.path,
                reason: e.reason,
                used: AtomicBool::new(false),
            });
        }
        Ok(())
    }

    /// Adds what a rule grants.
    ///
    /// # Errors
    /// A list holds what is no glob.
    pub fn grant(&mut self, tool: &ToolGlob, inputs: &[String], outputs: &[String], root: &Path) -> Result<(), Wrong> {
        self.grants.push(Grant { tool: tool.clone(), inputs: globs(inputs, root)?, outputs: globs(outputs, root)? });
        Ok(())
    }

    /// What is granted to a program, or a script.
    pub fn granted(&self, names: &[&[u8]]) -> Option<&Grant> {
        self.grants.iter().find(|g| names.iter().any(|n| g.tool.names(n)))
    }

    /// The severity that is set for a kind, and for any of these paths.
    pub fn severity(&self, k: Kind, paths: &[PathBuf]) -> Option<Severity> {
        let matches = |g: &Option<GlobSet>| g.as_ref().is_none_or(|g| paths.iter().any(|p| g.is_match(p)));
        self.severities.iter().rev().find(|(kind, g, _)| *kind == k && matches(g)).map(|(.., s)| *s)
    }

    /// Is a kind reported at all, anywhere?
    pub fn wants(&self, k: Kind) -> bool {
        let set = self.severities.iter().any(|(kind, _, s)| *kind == k && *s != Severity::Off);
        set || k.about().severity != Severity::Off
    }

    /// The reason why this is allowed.
    pub fn allows(&self, k: Kind, paths: &[PathBuf]) -> Option<String> {
        let e = self.exceptions.iter().find(|e| e.kind == k && paths.iter().any(|p| e.path.is_match(p)))?;
        e.used.store(true, Ordering::Relaxed);
        Some(e.reason.clone())
    }

    /// Exceptions that covered nothing.
    pub fn unused(&self) -> Vec<String> {
        let idle = self.exceptions.iter().filter(|e| !e.used.load(Ordering::Relaxed));
        idle.map(|e| format!("[[audit.allow]] kind = \"{}\" path = \"{}\"", e.kind.about().code, e.shown)).collect()
    }
}

/// A glob over paths of the workspace.
fn glob(pattern: &str, root: &Path) -> Result<GlobSet, Wrong> {
    globs(&[pattern.to_owned()], root)
}

fn globs(patterns: &[String], root: &Path) -> Result<GlobSet, Wrong> {
    let mut all = GlobSetBuilder::new();
    for pattern in patterns {
        all.add(one_glob(pattern, root).map_err(|_| Wrong::Glob(pattern.clone()))?);
    }
    all.build().map_err(|_| Wrong::Glob(patterns.join(" ")))
}

pub(crate) fn one_glob(pattern: &str, root: &Path) -> Result<globset::Glob, globset::Error> {
    let below = |dir: &Path, rest: &str| format!("{}/{rest}", globset::escape(&dir.to_string_lossy()));
    let full = match pattern.strip_prefix("~/") {
        Some(rest) => below(&expand(Path::new("~")), rest),
        None if pattern.starts_with('/') => pattern.to_owned(),
        None => below(root, pattern),
    };
    globset::GlobBuilder::new(&full).literal_separator(true).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_severity_wins_and_exceptions_are_counted() {
        let s: Section = toml::from_str(
            "enforce = 'fail'\n[[severity]]\nkind = 'XL004'\nlevel = 'warning'\n[[severity]]\nkind = 'undeclared-output'\npath = 'gen/**'\nlevel = 'off'\n\
             [[allow]]\nkind = 'XL001'\npath = 'a.h'\nreason = 'r'\n[[allow]]\nkind = 'XL001'\npath = 'b.h'\nreason = 'r'\n",
        )
        .unwrap();
        let mut p = Policy::default();
        p.add(s, Path::new("/w")).unwrap();
        assert_eq!(p.severity(Kind::UndeclaredOutput, &["/w/gen/x".into()]), Some(Severity::Off));
        assert_eq!(p.severity(Kind::UndeclaredOutput, &["/w/x".into()]), Some(Severity::Warning));
        assert_eq!(p.allows(Kind::UndeclaredInput, &["/w/a.h".into()]).as_deref(), Some("r"));
        assert_eq!(p.unused(), ["[[audit.allow]] kind = \"XL001\" path = \"b.h\""]);
        let bad = toml::from_str::<Section>("[[allow]]\nkind = 'XL999'\npath = 'a'\nreason = 'r'\n");
        assert!(bad.is_err_and(|e| e.message().starts_with("`XL999` is no kind of violation")));
    }
}
