//! The ratchet: a file keeps the violations that are known today, and later runs complain of new ones only.
//!
//! The file may only shrink. A violation is known by its kind, target and file, not by its text or its line, so that
//! editing a build file elsewhere makes no violation new.

use crate::finding::{Findings, Violation};
use crate::kinds::{Kind, Severity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// Version of the file.
const VERSION: u32 = 1;

/// One known violation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Known {
    pub code: Kind,
    pub target: String,
    pub file: String,
}

/// The violations that are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    version: u32,
    pub known: BTreeSet<Known>,
}

/// Why a baseline cannot be used, or written.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    #[error("cannot read the baseline `{path}`")]
    Read { path: String, source: std::io::Error },
    #[error("`{path}` is no baseline")]
    Parse { path: String, source: serde_json::Error },
    #[error("the baseline `{path}` is of version {found}; this xl knows {VERSION}")]
    Version { path: String, found: u32 },
    #[error("the baseline `{path}` may only shrink, and {count} violations are new")]
    Grows { path: String, count: usize },
    #[error("cannot write the baseline `{path}`")]
    Write { path: String, source: std::io::Error },
}

fn known(v: &Violation) -> Known {
    Known { code: v.code, target: v.target.clone(), file: v.file.clone() }
}

impl Baseline {
    /// Reads a baseline; `None` if there is none.
    pub fn load(path: &Path) -> Result<Option<Self>, BaselineError> {
        let shown = path.display().to_string();
        let bytes = match std::fs::read(path) {
            Ok(b) => b,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BaselineError::Read { path: shown, source }),
        };
        let b: Self =
            serde_json::from_slice(&bytes).map_err(|source| BaselineError::Parse { path: shown.clone(), source })?;
        if b.version == VERSION { Ok(Some(b)) } else { Err(BaselineError::Version { path: shown, found: b.version }) }
    }

    /// Writes today's errors and warnings over `before`, which must contain them all unless it is the first.
    pub fn write(path: &Path, before: Option<&Self>, f: &Findings) -> Result<Self, BaselineError> {
        let shown = path.display().to_string();
        let counts = |v: &&Violation| v.severity >= Severity::Warning && v.allowed.is_none();
        let mut known: BTreeSet<Known> = f.violations.iter().filter(counts).map(known).collect();
        if let Some(b) = before {
            // Of what was not built this time nothing is known that is new.
            known.extend(b.known.iter().filter(|k| !f.targets.contains(&k.target)).cloned());
            let count = known.difference(&b.known).count();
            if count > 0 {
                return Err(BaselineError::Grows { path: shown, count });
            }
        }
        let b = Self { version: VERSION, known };
        // By another name first: an interruption must not cost what is known.
        let next = path.with_extension(format!("{}.new", std::process::id()));
        let text = serde_json::to_vec_pretty(&b).map_err(std::io::Error::from);
        let written = text.and_then(|t| std::fs::write(&next, t)).and_then(|()| std::fs::rename(&next, path));
        written.map_err(|source| BaselineError::Write { path: shown, source })?;
        Ok(b)
    }

    /// Is it one of those that are known?
    pub(crate) fn knows(&self, v: &Violation) -> bool {
        self.known.contains(&known(v))
    }

    /// Marks what is known; the result is what is known and was not found any more.
    pub fn apply(&self, f: &mut Findings) -> Vec<Known> {
        let mut gone = self.known.clone();
        for v in &mut f.violations {
            let k = known(v);
            if self.known.contains(&k) {
                gone.remove(&k);
                v.allowed.get_or_insert_with(|| "in the baseline".to_owned());
            }
        }
        gone.into_iter().filter(|k| f.targets.contains(&k.target)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::PipRef;

    fn finding(files: &[&str]) -> Findings {
        let pip = PipRef {
            id: 1,
            command: String::new(),
            cwd: String::new(),
            target: String::new(),
            declared_at: String::new(),
            tool_dir: String::new(),
            tool: vec![],
        };
        let one = |f: &&str| Violation {
            code: Kind::UndeclaredInput,
            name: String::new(),
            severity: Severity::Error,
            message: String::new(),
            why: String::new(),
            target: "t".into(),
            file: (*f).to_owned(),
            pip: pip.clone(),
            other: None,
            evidence: vec![],
            fix: None,
            reproduce: None,
            control: None,
            allowed: None,
        };
        Findings {
            violations: files.iter().map(one).collect(),
            targets: ["t".to_owned()].into(),
            ..Findings::default()
        }
    }

    #[test]
    fn it_only_shrinks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.json");
        assert_eq!(Baseline::load(&path).unwrap(), None);
        let b = Baseline::write(&path, None, &finding(&["x", "y"])).unwrap();
        assert_eq!(Baseline::load(&path).unwrap().as_ref(), Some(&b));
        let mut now = finding(&["y", "z"]);
        assert_eq!(b.apply(&mut now).iter().map(|k| k.file.as_str()).collect::<Vec<_>>(), ["x"]);
        assert_eq!(now.count(Severity::Error), 1);
        assert!(matches!(
            Baseline::write(&path, Some(&b), &finding(&["z"])),
            Err(BaselineError::Grows { count: 1, .. })
        ));
        assert_eq!(Baseline::write(&path, Some(&b), &finding(&["y"])).unwrap().known.len(), 1);
        let elsewhere = Findings::default();
        assert_eq!(Baseline::write(&path, Some(&b), &elsewhere).unwrap().known.len(), 2, "nothing was built");
        assert_eq!(b.apply(&mut Findings::default()), []);
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(Baseline::load(&path), Err(BaselineError::Parse { .. })));
    }
}
