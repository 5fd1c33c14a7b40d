//! Makes a pip with an error fail when it ends, as if its compiler had found the error; nothing of it is stored.
//!
//! The enforcer asks each build tool once, when the first of its pips ends. It judges a pip together with those that
//! made what the pip used. Any dependency file that the pip has made counts as read, since the build tool reads it
//! later. So a pip may pass here and still be accused by the audit of the whole run at the end, never the other way
//! round.

use super::access_guard::AccessGuard;
use crate::baseline::Baseline;
use crate::compare::check;
use crate::declared::{Declarations, Driver, StepId, ancestors, answers};
use crate::finding::Violation;
use crate::frontend;
use crate::kinds::{Kind, Severity};
use crate::observer::{Observed, Observer};
use crate::places::{Surroundings, is_system};
use crate::workspace::Workspace;
use cache::PathBytes;
use engine::event::{Event, Sink};
use engine::judge::{Attempt, Judge, Verdict};
use engine::seen::{How, Seen};
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

/// What is known of the run and its build tools so far, and what is forgiven.
pub struct Enforcer {
    workspace: Workspace,
    observer: Arc<Observer>,
    /// Do pips with errors fail? If not, only the guard is asked.
    fails: bool,
    baseline: Option<Baseline>,
    guard: Option<AccessGuard>,
    drivers: Mutex<FxHashMap<usize, Option<Arc<Driver>>>>,
    /// Build tools that could not be asked, and why, for those who have not been told.
    gaps: Mutex<Vec<String>>,
    around: Surroundings,
    /// Was it said that git does not answer?
    told: AtomicBool,
}

/// What is said of an error, and what would repair it.
fn reason(v: &Violation) -> String {
    let fix = v.fix.as_ref().map(|f| format!("; add `{}`", f.text)).unwrap_or_default();
    format!("{} {}: {}{fix}", v.code.about().code, v.name, v.message)
}

impl Enforcer {
    /// Judges by what `observer` collects, and with `fails` makes pips with errors fail that `baseline` does not know;
    /// refuses accesses if the configuration asks for that. `None` if there is nothing to do.
    pub fn new(w: &Workspace, observer: Arc<Observer>, fails: bool, baseline: Option<Baseline>) -> Option<Self> {
        let guard = AccessGuard::new(w);
        (fails || guard.is_some()).then(|| Self {
            workspace: w.clone(),
            observer,
            fails,
            baseline,
            guard,
            drivers: Mutex::default(),
            gaps: Mutex::default(),
            around: Surroundings::default(),
            told: AtomicBool::new(false),
        })
    }

    /// What cannot be protected from the accesses of pips, and why.
    pub fn trouble(&self) -> Option<String> {
        self.guard.as_ref()?.trouble()
    }

    /// On the last pip of these; the others were before it.
    fn verdict(&self, around: &Observed) -> Option<Verdict> {
        let pip = around.pips.last()?;
        let drivers = self.known(around);
        let declared = Declarations::of(around, &drivers, true);
        let last = around.pips.len() - 1;
        let step = declared.steps[last].first().copied()?;
        if is_plain(pip, &declared, step) {
            return None;
        }
        let (mut found, _) = check(around, &declared, &self.workspace, &self.around);
        self.workspace.settle(&mut found);
        let id = u32::try_from(last + 1).unwrap_or(u32::MAX);
        found.retain(|v| {
            v.pip.id == id && DECIDABLE.contains(&v.code) && v.severity == Severity::Error && v.allowed.is_none()
        });
        if let Some(b) = &self.baseline {
            found.retain(|v| !b.knows(v));
        }
        let outputs = || declared.steps[last].iter().flat_map(|s| declared.step(*s).outputs.iter().cloned()).collect();
        (!found.is_empty()).then(|| Verdict { reasons: found.iter().map(reason).collect(), outputs: outputs() })
    }

    /// The build tools around these pips, asked if they were not.
    fn known(&self, around: &Observed) -> FxHashMap<usize, Arc<Driver>> {
        let mut wanted: Vec<usize> = around.pips.iter().flat_map(|p| ancestors(around, p.launch)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut all = self.drivers.lock().expect("drivers");
        let new: Vec<usize> = wanted.iter().copied().filter(|l| !all.contains_key(l)).collect();
        if !new.is_empty() {
            let generated: FxHashSet<PathBytes> =
                around.pips.iter().flat_map(|p| p.made.iter().map(|m| m.path.clone())).collect();
            let mut asked = answers(around, &new, &self.workspace.root, &self.workspace.cache_dir, &generated);
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

impl Sink for Enforcer {
    fn on(&self, event: &Event<'_>) {
        if let (Event::Launched { what, .. }, Some(guard)) = (event, &self.guard)
            && what.driver
        {
            guard.works_in(frontend::directory(&what.program, &what.argv, &what.cwd));
        }
    }
}

impl Judge for Enforcer {
    fn guards(&self) -> bool {
        self.guard.is_some()
    }

    fn refuses(&self, what: Attempt<'_>) -> Option<String> {
        let guard = self.guard.as_ref()?;
        match what {
            Attempt::Access(op, path) => guard.refuses(op, path),
            Attempt::Network(what) => guard.refuses_network(what),
        }
    }

    fn judge(&self, pip: &Seen) -> Option<Verdict> {
        if !self.fails || pip.exit_code != 0 {
            return None;
        }
        self.verdict(&self.observer.around(pip))?;
        // Somebody else may pass on that a file has changed: before anybody is accused, all are heard.
        self.verdict(&self.observer.so_far(pip))
    }

    fn take_gaps(&self) -> Vec<String> {
        let mut gaps = self.gaps.lock().expect("gaps");
        if let Some(why) = self.around.trouble()
            && !self.told.swap(true, Ordering::Relaxed)
        {
            gaps.push(why);
        }
        std::mem::take(&mut gaps)
    }
}

/// Is every file that it read an input of its step, by name? Most are, and need no graph.
fn is_plain(pip: &Seen, declared: &Declarations, step: StepId) -> bool {
    let s = declared.step(step);
    let names: FxHashSet<&PathBytes> =
        s.inputs.iter().chain(declared.discovered(step)).chain(&s.outputs).chain(&s.byproducts).collect();
    let ordered: FxHashSet<&PathBytes> = s.inputs.iter().chain(&s.order_only).collect();
    let made_by_others =
        |p: &PathBytes| declared.drivers.iter().any(|d| d.by_output.contains_key(p)) && !ordered.contains(p);
    let fine = |p: &PathBytes| names.contains(p) && !made_by_others(p);
    pip.faults.is_empty()
        && pip.uses.iter().all(|u| u.how == How::Probed || fine(&u.path) || is_system(&u.path))
        && pip
            .made
            .iter()
            .all(|m| m.is_dir || m.deleted || s.outputs.contains(&m.path) || s.byproducts.contains(&m.path))
}
