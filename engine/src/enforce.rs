//! Enforcement: a pip with an error fails when it ends, as if its compiler had found it, and nothing of it is stored.
//!
//! Each build tool is asked once, when the first of its pips ends; a pip is then judged with those that made what it used. Any dependency
//! file that it has made counts, since the build tool reads it later. So a pip may pass here and still be accused by the audit of the whole
//! run at the end, never the other way round.

use crate::audit;
use crate::config::Config;
use crate::observed::{Observed, Seen};
use crate::violation::baseline::Baseline;
use crate::violation::check::check;
use crate::violation::declared::{Declarations, Driver, ancestors, answers};
use crate::violation::{Severity, Violation};
use cache::PathBytes;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::{Arc, Mutex};

/// What is known of the build tools so far, and what is forgiven.
#[derive(Default)]
pub struct Enforcer {
    drivers: Mutex<FxHashMap<usize, Option<Arc<Driver>>>>,
    baseline: Option<Baseline>,
}

impl Enforcer {
    pub fn new(baseline: Option<Baseline>) -> Self {
        Self { baseline, ..Self::default() }
    }

    /// The errors of the last pip of `around`; the others are those that made what it used.
    pub fn judge(&self, around: &Observed, config: &Config) -> Vec<Violation> {
        let Some(pip) = around.pips.last().filter(|p| p.exit_code == 0) else { return Vec::new() };
        let drivers = self.known(around, config);
        let declared = Declarations::of(around, &drivers, true);
        let last = around.pips.len() - 1;
        let Some(step) = declared.steps[last].first().copied() else { return Vec::new() };
        if is_plain(pip, &declared, step) {
            return Vec::new();
        }
        let mut found = check(around, &declared, &audit::place(config));
        audit::settle(&mut found, config);
        let id = u32::try_from(last + 1).unwrap_or(u32::MAX);
        found.retain(|v| v.pip.id == id && v.severity == Severity::Error && v.allowed.is_none());
        if let Some(b) = &self.baseline {
            found.retain(|v| !b.knows(v));
        }
        found
    }

    /// The build tools around these pips, asked if they were not.
    fn known(&self, around: &Observed, config: &Config) -> FxHashMap<usize, Arc<Driver>> {
        let mut wanted: Vec<usize> = around.pips.iter().flat_map(|p| ancestors(around, p.launch)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut all = self.drivers.lock().expect("drivers");
        let new: Vec<usize> = wanted.iter().copied().filter(|l| !all.contains_key(l)).collect();
        if !new.is_empty() {
            let generated: FxHashSet<PathBytes> = around.pips.iter().flat_map(|p| p.made.iter().map(|m| m.path.clone())).collect();
            let mut asked = answers(around, &new, &config.root, &config.cache_dir, &generated);
            all.extend(new.into_iter().map(|l| (l, asked.remove(&l).and_then(Result::ok).map(Arc::new))));
        }
        wanted.into_iter().filter_map(|l| Some((l, all.get(&l)?.clone()?))).collect()
    }
}

/// Is every file that it read an input of its step, by name? Most are, and need no graph.
fn is_plain(pip: &Seen, declared: &Declarations, step: crate::violation::declared::StepId) -> bool {
    let s = declared.step(step);
    let names: FxHashSet<&PathBytes> = s.inputs.iter().chain(&s.discovered).chain(&s.outputs).chain(&s.byproducts).collect();
    let ordered: FxHashSet<&PathBytes> = s.inputs.iter().chain(&s.order_only).collect();
    let made_by_others = |p: &PathBytes| declared.drivers.iter().any(|d| d.by_output.contains_key(p)) && !ordered.contains(p);
    let fine = |p: &PathBytes| names.contains(p) && !made_by_others(p);
    pip.faults.is_empty()
        && pip.uses.iter().all(|u| {
            u.how == crate::observed::How::Probed
                || fine(&u.path)
                || ["/usr/", "/lib", "/etc/", "/bin/"].iter().any(|d| u.path.starts_with(d.as_bytes()))
        })
        && pip.made.iter().all(|m| m.is_dir || m.deleted || s.outputs.contains(&m.path) || s.byproducts.contains(&m.path))
}
