//! Holds what a run was seen to do against what its build files declare, and accuses only with a reason.
//!
//! The checks look at the whole run when it is over, so neither the order matters in which pips ended, nor whether a
//! pip ran or was a hit. `within_pip` judges what needs no order; `questions` asks the declared graph about order,
//! and `between_pips` judges by the answers; `suggest` writes the line that a person should add.

mod authors;
mod between_pips;
mod checker;
mod cmake;
mod meson;
mod questions;
mod suggest;
#[cfg(test)]
mod tests;
mod within_pip;

use crate::declared::Declarations;
use crate::finding::{Findings, Violation};
use crate::kinds::Kind;
use crate::observer::Observed;
use crate::places::Surroundings;
use crate::workspace::Workspace;
use checker::Checker;
use rustc_hash::FxHashSet;
use std::collections::BTreeSet;

/// Asks the build tools, and compares. What the user's configuration makes of it is for [`Workspace::settle`].
pub fn compare(seen: &Observed, workspace: &Workspace) -> Findings {
    let declared = Declarations::ask(seen, &workspace.root, &workspace.cache_dir);
    let around = Surroundings::default();
    let (violations, targets) = check(seen, &declared, workspace, &around);
    let compared = declared.steps.iter().filter(|s| !s.is_empty()).count() as u64;
    let gaps = declared.gaps.into_iter().chain(around.trouble()).collect();
    Findings { violations, gaps, targets, compared, undeclared: seen.pips.len() as u64 - compared }
}

/// Everything that is wrong, in the order of the codes, and every name that could have been accused.
pub(crate) fn check(
    seen: &Observed,
    declared: &Declarations,
    workspace: &Workspace,
    around: &Surroundings,
) -> (Vec<Violation>, BTreeSet<String>) {
    let mut c = Checker::new(seen, declared, workspace, around);
    for (i, p) in seen.pips.iter().enumerate() {
        c.faults(i, p);
        if p.exit_code == 0 {
            c.outside(i, p);
            if declared.steps[i].is_empty() {
                c.by_rule(i, p);
            }
        }
    }
    c.between_pips();
    c.steps();
    c.source_writes();
    let targets = c.targets();
    let mut out = c.out;
    out.sort_by(|a, b| (a.code, &a.target, &a.file).cmp(&(b.code, &b.target, &b.file)));
    out.dedup_by(|a, b| a.identity() == b.identity());
    // Whoever reads a file also looks at it.
    let read: FxHashSet<(String, String)> =
        out.iter().filter(|v| v.code == Kind::MissingEdge).map(|v| (v.target.clone(), v.file.clone())).collect();
    out.retain(|v| v.code != Kind::UndeclaredAbsent || !read.contains(&(v.target.clone(), v.file.clone())));
    (out, targets)
}
