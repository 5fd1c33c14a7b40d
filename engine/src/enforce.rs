//! Enforcement: a pip with an error fails when it ends, as if its compiler had found it, and nothing of it is stored.
//!
//! Each build tool is asked once, when the first of its pips ends; a pip is then judged with those that made what it
//! used. Any dependency file that it has made counts, since the build tool reads it later. So a pip may pass here and
//! still be accused by the audit of the whole run at the end, never the other way round.

use crate::audit;
use crate::config::Config;
use crate::observed::{Observed, Observer, Seen};
use crate::violation::baseline::Baseline;
use crate::violation::check::check;
use crate::violation::declared::{Declarations, Driver, ancestors, answers};
use crate::violation::place::{Surroundings, is_system};
use crate::violation::{Kind, Severity, Violation};
use cache::PathBytes;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What one pip can be accused of when it ends. The rest needs the whole run: a later line of its recipe may make what
/// is missing.
const DECIDABLE: &[Kind] = &[
    Kind::UndeclaredInput,
    Kind::MissingEdge,
    Kind::UndeclaredOutput,
    Kind::SourceWrite,
    Kind::OutsideRead,
    Kind::OutsideWrite,
    Kind::Network,
    Kind::NonDeterministic,
    Kind::SurvivingProcess,
    Kind::Environment,
];

/// What is known of the build tools so far, and what is forgiven.
#[derive(Default)]
pub struct Enforcer {
    drivers: Mutex<FxHashMap<usize, Option<Arc<Driver>>>>,
    /// Build tools that could not be asked, and why, for those who have not been told.
    gaps: Mutex<Vec<String>>,
    baseline: Option<Baseline>,
    around: Surroundings,
    /// Was it said that git does not answer?
    told: AtomicBool,
}

/// A pip has to fail.
pub struct Verdict {
    pub errors: Vec<Violation>,
    /// What its step declares to make.
    pub outputs: FxHashSet<PathBytes>,
}

impl Verdict {
    /// What is said of each error, and what would repair it.
    pub fn reasons(&self) -> Vec<String> {
        let shown = |v: &Violation| {
            let fix = v.fix.as_ref().map(|f| format!("; add `{}`", f.text)).unwrap_or_default();
            format!("{} {}: {}{fix}", v.code.about().code, v.name, v.message)
        };
        self.errors.iter().map(shown).collect()
    }
}

impl Enforcer {
    pub fn new(baseline: Option<Baseline>) -> Self {
        Self { baseline, ..Self::default() }
    }

    /// Why something is not judged, once.
    pub fn take_gaps(&self) -> Vec<String> {
        let mut gaps = self.gaps.lock().expect("gaps");
        if let Some(why) = self.around.trouble()
            && !self.told.swap(true, Ordering::Relaxed)
        {
            gaps.push(why);
        }
        std::mem::take(&mut gaps)
    }

    /// Must a pip that is about to end fail?
    pub fn judge(&self, o: &Observer, pip: &Seen, config: &Config) -> Option<Verdict> {
        if pip.exit_code != 0 {
            return None;
        }
        self.verdict(&o.around(pip), config)?;
        // Somebody else may pass on that a file has changed: before anybody is accused, all are heard.
        self.verdict(&o.so_far(pip), config)
    }

    /// On the last pip of these; the others were before it.
    fn verdict(&self, around: &Observed, config: &Config) -> Option<Verdict> {
        let pip = around.pips.last()?;
        let drivers = self.known(around, config);
        let declared = Declarations::of(around, &drivers, true);
        let last = around.pips.len() - 1;
        let step = declared.steps[last].first().copied()?;
        if is_plain(pip, &declared, step) {
            return None;
        }
        let (mut found, _) = check(around, &declared, &audit::place(config, &self.around));
        audit::settle(&mut found, config);
        let id = u32::try_from(last + 1).unwrap_or(u32::MAX);
        found.retain(|v| {
            v.pip.id == id && DECIDABLE.contains(&v.code) && v.severity == Severity::Error && v.allowed.is_none()
        });
        if let Some(b) = &self.baseline {
            found.retain(|v| !b.knows(v));
        }
        let outputs = || declared.steps[last].iter().flat_map(|s| declared.step(*s).outputs.iter().cloned()).collect();
        (!found.is_empty()).then(|| Verdict { errors: found, outputs: outputs() })
    }

    /// The build tools around these pips, asked if they were not.
    fn known(&self, around: &Observed, config: &Config) -> FxHashMap<usize, Arc<Driver>> {
        let mut wanted: Vec<usize> = around.pips.iter().flat_map(|p| ancestors(around, p.launch)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut all = self.drivers.lock().expect("drivers");
        let new: Vec<usize> = wanted.iter().copied().filter(|l| !all.contains_key(l)).collect();
        if !new.is_empty() {
            let generated: FxHashSet<PathBytes> =
                around.pips.iter().flat_map(|p| p.made.iter().map(|m| m.path.clone())).collect();
            let mut asked = answers(around, &new, &config.root, &config.cache_dir, &generated);
            for l in new {
                let driver = match asked.remove(&l) {
                    Some(Ok(d)) => Some(Arc::new(d)),
                    Some(Err(why)) => {
                        self.gaps.lock().expect("gaps").push(why);
                        None
                    }
                    None => None,
                };
                all.insert(l, driver);
            }
        }
        wanted.into_iter().filter_map(|l| Some((l, all.get(&l)?.clone()?))).collect()
    }
}

/// Is every file that it read an input of its step, by name? Most are, and need no graph.
fn is_plain(pip: &Seen, declared: &Declarations, step: crate::violation::declared::StepId) -> bool {
    let s = declared.step(step);
    let names: FxHashSet<&PathBytes> =
        s.inputs.iter().chain(declared.discovered(step)).chain(&s.outputs).chain(&s.byproducts).collect();
    let ordered: FxHashSet<&PathBytes> = s.inputs.iter().chain(&s.order_only).collect();
    let made_by_others =
        |p: &PathBytes| declared.drivers.iter().any(|d| d.by_output.contains_key(p)) && !ordered.contains(p);
    let fine = |p: &PathBytes| names.contains(p) && !made_by_others(p);
    pip.faults.is_empty()
        && pip.uses.iter().all(|u| u.how == crate::observed::How::Probed || fine(&u.path) || is_system(&u.path))
        && pip
            .made
            .iter()
            .all(|m| m.is_dir || m.deleted || s.outputs.contains(&m.path) || s.byproducts.contains(&m.path))
}
