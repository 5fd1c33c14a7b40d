//! An audit: what a run was seen to do, held against what its build files declare, by the user's severities and exceptions.
//!
//! Runs after the build, on what [`crate::observed`] has collected. Its cost is that of asking the build tools again.

use crate::config::Config;
use crate::observed::Observed;
use crate::violation::check::check;
use crate::violation::declared::Declarations;
use crate::violation::place::Place;
use crate::violation::{Findings, Kind, Severity, Violation};
use cache::PathBytes;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Compares. What the user's configuration makes of it is [`settle`]'s, so that an audit that was kept can be judged by another one.
pub fn audit(seen: &Observed, config: &Config) -> Findings {
    let declared = Declarations::ask(seen, &config.root, &config.cache_dir);
    let (violations, targets) = check(seen, &declared, &place(config, scratch()));
    let compared = declared.steps.iter().filter(|s| !s.is_empty()).count() as u64;
    Findings { violations, gaps: declared.gaps, targets, compared, undeclared: seen.pips.len() as u64 - compared }
}

/// Directories of this user in which anything may be left behind.
pub(crate) fn scratch() -> Arc<[PathBytes]> {
    // What a compiler's cache keeps for the user is no trace of the build.
    let own = crate::config::user_cache_dir(|v| std::env::var_os(v)).and_then(|d| d.parent().map(|p| p.as_os_str().to_owned()));
    let all = ["TMPDIR", "XDG_RUNTIME_DIR"].iter().filter_map(std::env::var_os).chain(own);
    all.filter(|d| d.as_bytes().starts_with(b"/")).map(|d| crate::frontend::absolute(b"/", d.as_bytes())).collect()
}

/// What the checks need to know of the workspace.
pub(crate) fn place(config: &Config, scratch: Arc<[PathBytes]>) -> Place<'_> {
    Place {
        policy: &config.audit,
        root: &config.root,
        cache_dir: &config.cache_dir,
        scratch,
        outside_reads: config.audit.wants(Kind::OutsideRead),
    }
}

/// Applies the user's severities and exceptions.
pub fn settle(violations: &mut Vec<Violation>, config: &Config) {
    for v in violations.iter_mut() {
        let paths = [config.root.join(&v.file), config.root.join(&v.target)];
        if let Some(s) = config.audit.severity(v.code, &paths) {
            v.severity = s;
        }
        v.allowed = config.audit.allows(v.code, &paths);
    }
    violations.retain(|v| v.severity != Severity::Off);
}
