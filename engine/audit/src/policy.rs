//! `[audit]` of the configuration files, and the lists of `[[rule]]`: severities by kind and path, exceptions with
//! their reasons, enforcement, what a tool may use that no build tool speaks for.
//!
//! The engine reads everything else in the same files. It hands on their texts ([`Config::sections`]), so that mistakes
//! here are reported with the same words, file and line.

use crate::kinds::{Kind, Severity};
use cache::home::expand;
use engine::config::{Config, ConfigError, ToolGlob, one_glob};
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

/// What a configuration file says that is the audit's; everything else in it is the engine's.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    audit: Section,
    #[serde(default)]
    rule: Vec<RuleEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    enforce: Option<Enforce>,
    baseline: Option<PathBuf>,
    #[serde(default)]
    severity: Vec<SeverityEntry>,
    #[serde(default)]
    allow: Vec<AllowEntry>,
}

/// What a tool may read in the workspace, and make: globs.
#[derive(Deserialize)]
struct RuleEntry {
    tool: ToolGlob,
    inputs: Option<Vec<String>>,
    outputs: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeverityEntry {
    kind: NamedKind,
    /// Of the file or of the target; everything if absent.
    path: Option<String>,
    level: Severity,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowEntry {
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

/// Why what is configured cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error(transparent)]
    File(#[from] ConfigError),
    #[error("cannot use `[audit]` of `{}`", path.display())]
    Section { path: PathBuf, source: Wrong },
}

/// What is wrong with a section.
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
pub(crate) struct Grant {
    tool: ToolGlob,
    inputs: GlobSet,
    outputs: GlobSet,
}

impl Grant {
    pub(crate) fn may_read(&self, path: &Path) -> bool {
        self.inputs.is_match(path) || self.outputs.is_match(path)
    }

    pub(crate) fn may_make(&self, path: &Path) -> bool {
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
    /// What the files of a configuration say; what comes later wins.
    ///
    /// # Errors
    /// A file says something that the audit does not know, or holds what is no glob.
    pub(crate) fn load(c: &Config) -> Result<Self, PolicyError> {
        let mut p = Self::default();
        for (path, f) in c.sections::<File>()? {
            p.add(f, &c.root).map_err(|source| PolicyError::Section { path: path.to_owned(), source })?;
        }
        Ok(p)
    }

    fn add(&mut self, f: File, root: &Path) -> Result<(), Wrong> {
        for r in f.rule.into_iter().filter(|r| r.inputs.is_some() || r.outputs.is_some()) {
            let list = |l: Option<Vec<String>>| globs(&l.unwrap_or_default(), root);
            self.grants.push(Grant { tool: r.tool, inputs: list(r.inputs)?, outputs: list(r.outputs)? });
        }
        let s = f.audit;
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

    /// Must reads be known before they happen?
    pub fn refuses_reads(&self) -> bool {
        self.enforce == Some(Enforce::Block) && self.wants(Kind::OutsideRead)
    }

    /// What is granted to a program, or a script.
    pub(crate) fn granted(&self, names: &[&[u8]]) -> Option<&Grant> {
        self.grants.iter().find(|g| names.iter().any(|n| g.tool.names(n)))
    }

    /// The severity that is set for a kind, and for any of these paths.
    pub(crate) fn severity(&self, k: Kind, paths: &[PathBuf]) -> Option<Severity> {
        let matches = |g: &Option<GlobSet>| g.as_ref().is_none_or(|g| paths.iter().any(|p| g.is_match(p)));
        self.severities.iter().rev().find(|(kind, g, _)| *kind == k && matches(g)).map(|(.., s)| *s)
    }

    /// Is a kind reported at all, anywhere?
    pub(crate) fn wants(&self, k: Kind) -> bool {
        let set = self.severities.iter().any(|(kind, _, s)| *kind == k && *s != Severity::Off);
        set || k.about().severity != Severity::Off
    }

    /// The reason why this is allowed.
    pub(crate) fn allows(&self, k: Kind, paths: &[PathBuf]) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use engine::config::Overrides;

    fn load(text: &str) -> Result<Policy, PolicyError> {
        let t = tempfile::tempdir().unwrap();
        std::fs::write(t.path().join("xl.toml"), text).unwrap();
        let home = |v: &str| (v == "HOME").then(|| "/home/x".into());
        let mut c = Config::load(t.path(), &Overrides::default(), home).unwrap();
        c.root = "/w".into();
        Policy::load(&c)
    }

    #[test]
    fn the_last_severity_wins_and_exceptions_are_counted() {
        let p = load(
            "[audit]\nenforce = 'fail'\n[[audit.severity]]\nkind = 'XL004'\nlevel = 'warning'\n\
             [[audit.severity]]\nkind = 'undeclared-output'\npath = 'gen/**'\nlevel = 'off'\n\
             [[audit.allow]]\nkind = 'XL001'\npath = 'a.h'\nreason = 'r'\n\
             [[audit.allow]]\nkind = 'XL001'\npath = 'b.h'\nreason = 'r'\n",
        )
        .unwrap();
        assert_eq!(p.enforce, Some(Enforce::Fail));
        assert_eq!(p.severity(Kind::UndeclaredOutput, &["/w/gen/x".into()]), Some(Severity::Off));
        assert_eq!(p.severity(Kind::UndeclaredOutput, &["/w/x".into()]), Some(Severity::Warning));
        assert_eq!(p.allows(Kind::UndeclaredInput, &["/w/a.h".into()]).as_deref(), Some("r"));
        assert_eq!(p.unused(), ["[[audit.allow]] kind = \"XL001\" path = \"b.h\""]);
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text: &str, what: &str, expected: Option<&str>| {
            let Err(PolicyError::File(ConfigError::Parse { message, hint, .. })) = load(text) else { panic!("{text}") };
            assert_eq!((message.as_str(), hint.as_deref()), (what, expected));
        };
        check(
            "[audit]\nfoo = 1\n",
            "unknown key `foo` at line 2",
            Some("known there: `enforce`, `baseline`, `severity`, `allow`"),
        );
        check(
            "[[audit.allow]]\nkind = 'XL999'\npath = 'a'\nreason = 'r'\n",
            "`XL999` is no kind of violation: they are XL001 to XL018, or have names like undeclared-input at line 2",
            None,
        );
        let glob = load("[[audit.allow]]\nkind = 'XL001'\npath = 'a['\nreason = 'r'\n");
        assert!(matches!(glob, Err(PolicyError::Section { source: Wrong::Glob(_), .. })));
    }

    #[test]
    fn rules_grant() {
        let p = load("[[rule]]\ntool = 'gen'\ninputs = ['in/**']\noutputs = ['out/*']\nreason = 'r'\n").unwrap();
        let g = p.granted(&[b"/bin/sh", b"gen"]).unwrap();
        let may = |path: &str| (g.may_read(Path::new(path)), g.may_make(Path::new(path)));
        assert_eq!([may("/w/in/a/b"), may("/w/out/x"), may("/w/x")], [(true, false), (true, true), (false, false)]);
        assert!(p.granted(&[b"/bin/sh"]).is_none());
    }
}
