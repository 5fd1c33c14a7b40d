//! An audit: what a run was seen to do, held against what its build files declare, by the user's severities and exceptions.
//!
//! Runs after the build, on what [`crate::observed`] has collected. Its cost is that of asking the build tools again.

use crate::config::Config;
use crate::observed::Observed;
use crate::violation::check::check;
use crate::violation::declared::Declarations;
use crate::violation::place::Place;
use crate::violation::{Findings, Kind, Severity, Violation};
use std::os::unix::ffi::OsStrExt;

/// Compares, and applies the configuration.
pub fn audit(seen: &Observed, config: &Config) -> Findings {
    let declared = Declarations::ask(seen, &config.root, &config.cache_dir);
    let mut violations = check(seen, &declared, &place(config));
    settle(&mut violations, config);
    let steps: Vec<_> = declared.steps.iter().filter_map(|s| s.first()).collect();
    let compared = steps.len() as u64;
    let shown = |p: &[u8]| {
        let path = crate::frontend::os_path(p);
        path.strip_prefix(&config.root).unwrap_or(path).to_string_lossy().into_owned()
    };
    let targets = steps.iter().filter_map(|s| declared.step(**s).outputs.first()).map(|o| shown(o)).collect();
    Findings { violations, gaps: declared.gaps, targets, compared, undeclared: seen.pips.len() as u64 - compared }
}

/// What the checks need to know of the workspace.
pub(crate) fn place(config: &Config) -> Place<'_> {
    // What a compiler's cache keeps for the user is no trace of the build.
    let own = crate::config::user_cache_dir(|v| std::env::var_os(v)).and_then(|d| d.parent().map(|p| p.as_os_str().to_owned()));
    let scratch = ["TMPDIR", "XDG_RUNTIME_DIR"].iter().filter_map(std::env::var_os).chain(own).map(|d| d.as_bytes().into()).collect();
    Place {
        policy: &config.audit,
        root: &config.root,
        cache_dir: &config.cache_dir,
        scratch,
        outside_reads: config.audit.wants(Kind::OutsideRead),
    }
}

/// Applies the user's severities and exceptions.
pub(crate) fn settle(violations: &mut Vec<Violation>, config: &Config) {
    for v in violations.iter_mut() {
        let paths = [config.root.join(&v.file), config.root.join(&v.target)];
        if let Some(s) = config.audit.severity(v.code, &paths) {
            v.severity = s;
        }
        v.allowed = config.audit.allows(v.code, &paths);
    }
    violations.retain(|v| v.severity != Severity::Off);
}
