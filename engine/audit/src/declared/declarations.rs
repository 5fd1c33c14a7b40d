//! What the build tools of a run declare, and which of their steps each pip is.
//!
//! What a script launches belongs to the step that launched the script. A pip that is no step (a `$(shell …)` of a
//! makefile, a command of a manifest that has changed since) is compared with nothing.

use super::alike::tell_apart;
use super::driver::{Driver, RealNames, answers};
use super::launches::{again, ancestors, asks, is_make, is_ninja};
use crate::frontend::{Step, Tool, depfile};
use crate::observer::Observed;
use crate::paths::{absolute, below, os_path};
use crate::places::is_scratch;
use cache::PathBytes;
use engine::seen::Made;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A step of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StepId {
    pub driver: usize,
    pub step: usize,
}

/// Everything that is declared, and whose.
#[derive(Default)]
pub(crate) struct Declarations {
    pub drivers: Vec<Arc<Driver>>,
    /// For each pip, its step and those around it, innermost first.
    pub steps: Vec<Vec<StepId>>,
    /// What could not be asked, and why.
    pub gaps: Vec<String>,
    /// Whether a step always runs, as far as that was asked.
    always: Mutex<FxHashMap<StepId, bool>>,
    /// Drivers that a script ran one after the other: the later, the earlier.
    pub in_turn: Vec<(usize, usize)>,
    /// Inputs from dependency files that no build tool has read yet, but will.
    extra: FxHashMap<StepId, Vec<PathBytes>>,
    /// For each driver, the step that launched it; several if the build file runs the same command for each of them.
    pub around: Vec<Vec<StepId>>,
    /// For each driver, whether it was launched by another one in a step that is not declared (any more): nothing is
    /// known of its order.
    adrift: Vec<bool>,
}

/// Has it left a file behind, other than in a scratch directory, for a build tool that works in `dir`?
fn left(m: &Made, dir: &[u8]) -> bool {
    let own = below(&m.path, dir) || !is_scratch(&m.path);
    own && !m.is_dir && !m.deleted && os_path(&m.path).symlink_metadata().is_ok()
}

/// Which build tools a script, or the lines of one recipe, have run one after the other. A script declares nothing;
/// that one began when the other had ended is all that there is to see of its order.
fn in_turn(
    seen: &Observed,
    drivers: &[Arc<Driver>],
    number: &FxHashMap<usize, usize>,
    steps_around: &[Vec<StepId>],
) -> Vec<(usize, usize)> {
    // The scripts around each driver, up to the next build tool.
    let scripts = |mut at: usize| {
        let mut out = FxHashSet::default();
        while let Some(p) = seen.launches[at].parent.filter(|p| !number.contains_key(p)) {
            out.insert(p);
            at = p;
        }
        out
    };
    let mut ends = vec![0.0f64; drivers.len()];
    for p in &seen.pips {
        let mut at = Some(p.launch);
        while let Some(l) = at {
            if let Some(n) = number.get(&l) {
                ends[*n] = ends[*n].max(p.end_ms);
            }
            at = seen.launches[l].parent;
        }
    }
    let around: Vec<FxHashSet<usize>> = drivers.iter().map(|d| scripts(d.launch)).collect();
    let mut out = Vec::new();
    for later in 0..drivers.len() {
        let begins = seen.launches[drivers[later].launch].start_ms;
        // Of one recipe is only known to be what has one step: the same commands for several targets run at once.
        let one = |e: usize| steps_around[e].len() == 1 && steps_around[e] == steps_around[later];
        out.extend(
            (0..later)
                .filter(|e| ends[*e] <= begins && (one(*e) || !around[later].is_disjoint(&around[*e])))
                .map(|e| (later, e)),
        );
    }
    out
}

impl Declarations {
    /// Asks every build tool of the run. `root` is the workspace, `scratch` a directory for a mount point.
    pub(crate) fn ask(seen: &Observed, root: &Path, scratch: &Path) -> Self {
        let generated: FxHashSet<PathBytes> =
            seen.pips.iter().flat_map(|p| p.made.iter().map(|m| m.path.clone())).collect();
        let tools: Vec<usize> = (0..seen.launches.len()).filter(|i| asks(seen, *i)).collect();
        let mut drivers: FxHashMap<usize, Arc<Driver>> = FxHashMap::default();
        let mut gaps: Vec<String> = Vec::new();
        let mut answers: Vec<_> = answers(seen, &tools, root, scratch, &generated).into_iter().collect();
        answers.sort_by_key(|(i, _)| *i);
        for (i, a) in answers {
            match a {
                Ok(driver) => drop(drivers.insert(i, Arc::new(driver))),
                Err(gap) if !gaps.contains(&gap) => gaps.push(gap),
                Err(_) => {}
            }
        }
        let mut d = Self::of(seen, &drivers, false);
        d.gaps.splice(0..0, gaps);
        d
    }

    /// The same of answers that are already there, by launch. `any_depfile`: whatever dependency file a pip has made
    /// counts, although nobody has read it yet.
    pub(crate) fn of(seen: &Observed, drivers: &FxHashMap<usize, Arc<Driver>>, any_depfile: bool) -> Self {
        let mut d = Self::default();
        let mut number: FxHashMap<usize, usize> = FxHashMap::default();
        for i in 0..seen.launches.len() {
            if let Some(n) = again(seen, i).and_then(|before| number.get(&before).copied()) {
                number.insert(i, n);
            } else if let Some(driver) = drivers.get(&i) {
                number.insert(i, d.drivers.len());
                d.drivers.push(driver.clone());
            }
        }
        d.around = d.drivers.iter().map(|r| d.launching(seen, r.launch, &number)).collect();
        let below = |r: &Driver| ancestors(seen, r.launch).iter().any(|l| *l != r.launch && number.contains_key(l));
        d.adrift = d.drivers.iter().zip(&d.around).map(|(r, around)| around.is_empty() && below(r)).collect();
        let told = tell_apart(seen, &d.drivers, &number);
        d.steps = seen
            .pips
            .iter()
            .map(|p| {
                let made: Vec<PathBytes> = p.made.iter().filter(|m| !m.deleted).map(|m| m.path.clone()).collect();
                d.enclosing(seen, p.launch, (&number, &told), &made)
            })
            .collect();
        d.in_turn = in_turn(seen, &d.drivers, &number, &d.around);
        d.collected(seen, any_depfile);
        d.unmatched(seen, &number);
        d
    }

    /// A build tool of whose commands none is declared has other build files by now than it had.
    fn unmatched(&mut self, seen: &Observed, number: &FxHashMap<usize, usize>) {
        let mut counts: FxHashMap<usize, (usize, usize)> = FxHashMap::default();
        for (p, steps) in seen.pips.iter().zip(&self.steps) {
            if let Some(driver) = seen.launches[p.launch].parent.and_then(|l| number.get(&l)) {
                let (all, known) = counts.entry(*driver).or_default();
                *all += usize::from(p.made.iter().any(|m| left(m, &self.drivers[*driver].dir)));
                *known += usize::from(!steps.is_empty());
            }
        }
        let mut lost: Vec<_> = counts.into_iter().filter(|(_, (all, known))| *known == 0 && *all > 0).collect();
        lost.sort_unstable();
        self.indistinct(seen, number, &lost.iter().map(|(d, _)| *d).collect());
        let made: FxHashSet<&PathBytes> = seen.pips.iter().flat_map(|p| p.made.iter().map(|m| &m.path)).collect();
        for (driver, (all, _)) in lost {
            let declared = &self.drivers[driver].declared;
            let says_nothing = declared.steps.iter().all(|s| s.commands.is_empty() && s.place.file.is_empty());
            if !says_nothing && !declared.files.is_empty() && !declared.files.iter().any(|f| made.contains(f)) {
                // What a makefile runs while it is read belongs to no step.
                continue;
            }
            let command = &seen.launches[self.drivers[driver].launch].shown;
            self.gaps.push(format!("none of the {all} commands of `{command}` is in its build files now"));
        }
    }

    /// Commands of no step that left a file behind all the same: their text is that of several steps, of none of which
    /// they wrote the output, or nobody's.
    fn indistinct(&mut self, seen: &Observed, number: &FxHashMap<usize, usize>, lost: &FxHashSet<usize>) {
        let mut found: BTreeMap<(usize, bool), (usize, usize)> = BTreeMap::new();
        for (p, _) in seen.pips.iter().zip(&self.steps).filter(|(p, steps)| steps.is_empty() && p.exit_code == 0) {
            let Some(parent) = seen.launches[p.launch].parent else { continue };
            let Some(driver) = number.get(&parent).copied().filter(|d| !lost.contains(d)) else { continue };
            let d = &self.drivers[driver];
            // Build files are read anew before they are asked for.
            if p.made.iter().any(|m| left(m, &d.dir) && !d.declared.files.contains(&m.path)) {
                let several = !d.candidates(&seen.launches[p.launch], &seen.launches[parent]).is_empty();
                found.entry((driver, several)).or_insert((p.launch, 0)).1 += 1;
            }
        }
        for ((driver, several), (first, n)) in found {
            let [tool, first] = [self.drivers[driver].launch, first].map(|l| &seen.launches[l].shown);
            let what = if n == 1 { "command" } else { "commands" };
            let why = if several {
                "several targets have the same text, and none of them was written"
            } else {
                "no target has the text, or declares what was written"
            };
            self.gaps.push(format!("{n} {what} of `{tool}`: {why} (`{first}`)"));
        }
    }

    /// Where the generator of the makefiles collects dependency files at the next start, they count.
    fn collected(&mut self, seen: &Observed, any: bool) {
        let mut real = RealNames::default();
        for (p, steps) in seen.pips.iter().zip(&self.steps) {
            let Some(s) = steps.first().filter(|s| any || self.drivers[s.driver].declared.collects_depfiles) else {
                continue;
            };
            for m in p.made.iter().filter(|m| depfile::is_name(&m.path)) {
                let rules = depfile::parse(&std::fs::read(os_path(&m.path)).unwrap_or_default());
                let inputs = rules
                    .into_iter()
                    .flat_map(|(_, inputs)| inputs)
                    .map(|i| absolute(&seen.launches[p.launch].cwd, &i));
                let mut inputs: Vec<PathBytes> = inputs.collect();
                real.inputs(&mut inputs);
                self.extra.entry(*s).or_default().extend(inputs);
            }
        }
    }

    /// What dependency files say that a step reads.
    pub(crate) fn discovered(&self, s: StepId) -> impl Iterator<Item = &PathBytes> {
        self.step(s).discovered.iter().chain(self.extra.get(&s).into_iter().flatten())
    }

    /// The steps that may have launched a build tool.
    fn launching(&self, seen: &Observed, launch: usize, number: &FxHashMap<usize, usize>) -> Vec<StepId> {
        let mut at = launch;
        while let Some(parent) = seen.launches[at].parent {
            if let Some(driver) = number.get(&parent).copied() {
                let found = self.drivers[driver].candidates(&seen.launches[at], &seen.launches[parent]);
                if !found.is_empty() {
                    return found.iter().map(|step| StepId { driver, step: *step }).collect();
                }
            }
            at = parent;
        }
        Vec::new()
    }

    /// The steps that this launch is part of, innermost first; empty if it is no step of the build tool that launched
    /// it.
    fn enclosing(
        &self,
        seen: &Observed,
        launch: usize,
        (number, told): (&FxHashMap<usize, usize>, &FxHashMap<usize, usize>),
        made: &[PathBytes],
    ) -> Vec<StepId> {
        let mut out: Vec<StepId> = Vec::new();
        let mut at = launch;
        while let Some(parent) = seen.launches[at].parent {
            if let Some(driver) = number.get(&parent).copied() {
                let tool = &seen.launches[parent];
                let outputs = if out.is_empty() { made } else { &[] };
                let told = told.get(&at).copied().filter(|_| out.is_empty());
                match told.or_else(|| self.drivers[driver].step(&seen.launches[at], tool, outputs)) {
                    Some(step) => out.push(StepId { driver, step }),
                    // Something that a makefile does while it is read, or that is no longer declared.
                    None if out.is_empty() && !seen.launches[at].driver => return out,
                    // One of several.
                    None => {
                        let all = self.drivers[driver].candidates(&seen.launches[at], tool);
                        out.extend(all.iter().map(|step| StepId { driver, step: *step }));
                    }
                }
            } else if is_make(&seen.launches[parent]) || is_ninja(&seen.launches[parent]) {
                // A build tool that could not be asked.
                return out;
            }
            at = parent;
        }
        out
    }

    /// Can anything be said about the order of these two?
    pub(crate) fn comparable(&self, a: StepId, b: StepId) -> bool {
        a.driver == b.driver || !(self.is_adrift(a.driver) || self.is_adrift(b.driver))
    }

    fn is_adrift(&self, driver: usize) -> bool {
        self.adrift[driver] || self.around[driver].iter().any(|s| s.driver != driver && self.is_adrift(s.driver))
    }

    /// This step and those around it, innermost first.
    fn chain(&self, s: StepId) -> impl Iterator<Item = StepId> {
        std::iter::successors(Some(s), |s| self.around[s.driver].first().copied())
    }

    /// Does one build tool, in whatever step, launch the other?
    pub(crate) fn launches(&self, outer: usize, inner: usize) -> bool {
        self.around[inner].first().is_some_and(|s| self.chain(*s).any(|s| s.driver == outer))
    }

    /// The steps in which these two are, or are below, where they part: those of the innermost build tool that launched
    /// both. `None` if that is one step.
    pub(crate) fn apart(&self, a: StepId, b: StepId) -> Option<(StepId, StepId)> {
        let pair = self.chain(a).find_map(|s| Some((s, self.chain(b).find(|t| t.driver == s.driver)?)));
        pair.filter(|(s, t)| s != t)
    }

    pub(crate) fn step(&self, s: StepId) -> &Step {
        &self.drivers[s.driver].declared.steps[s.step]
    }

    /// Does it run whenever it is asked for? A name that never becomes a file is always made again, and with it what
    /// needs it.
    pub(crate) fn always(&self, s: StepId) -> bool {
        if let Some(known) = self.always.lock().expect("always").get(&s) {
            return *known;
        }
        let (step, driver) = (self.step(s), &self.drivers[s.driver]);
        let there = |p: &PathBytes| std::fs::symlink_metadata(os_path(p)).is_ok();
        let never = |p: &PathBytes| match driver.by_output.get(p).and_then(|all| all.first()) {
            Some(maker) => {
                let m = &driver.declared.steps[*maker];
                // ninja looks through a phony name at what is behind it.
                let empty = m.inputs.is_empty() && m.order_only.is_empty();
                (driver.declared.tool == Tool::Make && m.phony)
                    || (m.phony && empty && !there(p))
                    || (!m.phony && !there(p))
            }
            None => false,
        };
        let found = step.phony || !step.outputs.iter().any(there) || step.inputs.iter().any(never);
        self.always.lock().expect("always").insert(s, found);
        found
    }
}
