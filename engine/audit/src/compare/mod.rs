//! What a run was seen to do, held against what its build files declare.
//!
//! Checks look at the whole run when it is over, so the order of arrival does not matter, nor whether a pip ran or hit.
//! [`order`] compares and accuses, with [`conduct`] for what needs no order; [`suggest`] writes the line to add.

mod conduct;
mod order;
mod suggest;

pub(crate) use order::check;

use crate::declared::Declarations;
use crate::finding::Findings;
use crate::observer::Observed;
use crate::places::Surroundings;
use crate::workspace::Workspace;

/// Asks the build tools, and compares. What the user's configuration makes of it is for [`Workspace::settle`].
pub fn compare(seen: &Observed, workspace: &Workspace) -> Findings {
    let declared = Declarations::ask(seen, &workspace.root, &workspace.cache_dir);
    let around = Surroundings::default();
    let (violations, targets) = check(seen, &declared, workspace, &around);
    let compared = declared.steps.iter().filter(|s| !s.is_empty()).count() as u64;
    let gaps = declared.gaps.into_iter().chain(around.trouble()).collect();
    Findings { violations, gaps, targets, compared, undeclared: seen.pips.len() as u64 - compared }
}
