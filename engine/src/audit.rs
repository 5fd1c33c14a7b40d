//! An audit: what a run was seen to do, held against what its build files declare, by the user's severities and
//! exceptions.
//!
//! Runs after the build, on what [`crate::observed`] has collected. Its cost is that of asking the build tools again.

use crate::config::Config;
use crate::observed::Observed;
use crate::violation::check::check;
use crate::violation::declared::Declarations;
use crate::violation::place::{Place, Surroundings};
use crate::violation::{Findings, Kind, Severity, Violation};

/// Compares. What the user's configuration makes of it is [`settle`]'s, so that an audit that was kept can be judged by
/// another one.
pub fn audit(seen: &Observed, config: &Config) -> Findings {
    let declared = Declarations::ask(seen, &config.root, &config.cache_dir);
    let around = Surroundings::default();
    let (violations, targets) = check(seen, &declared, &place(config, &around));
    let compared = declared.steps.iter().filter(|s| !s.is_empty()).count() as u64;
    let gaps = declared.gaps.into_iter().chain(around.trouble()).collect();
    Findings { violations, gaps, targets, compared, undeclared: seen.pips.len() as u64 - compared }
}

/// What the checks need to know of the workspace.
pub(crate) fn place<'a>(config: &'a Config, around: &'a Surroundings) -> Place<'a> {
    Place {
        policy: &config.audit,
        root: &config.root,
        cache_dir: &config.cache_dir,
        around,
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
