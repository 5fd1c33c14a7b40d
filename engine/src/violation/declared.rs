//! What the build tools of a run declare, and which of their steps each pip is.
//!
//! A pip of ninja is the edge with its command; a pip of make is known by its command too, and by the targets that it wrote where several
//! have the same. What a script launches belongs to the step that launched the script. A pip that is no step (a `$(shell …)` of a
//! makefile, a command of a manifest that has changed since) is compared with nothing.

use crate::frontend::ask::Sandbox;
use crate::frontend::{Declared, Step, executed_key, make, ninja};
use crate::observed::{Launch, Observed};
use cache::PathBytes;
use rustc_hash::{FxHashMap, FxHashSet};
use std::path::Path;

/// A build tool that could be asked.
pub struct Driver {
    pub launch: usize,
    /// Where it works.
    pub dir: PathBytes,
    pub declared: Declared,
    by_command: FxHashMap<Vec<u8>, Vec<usize>>,
    pub by_output: FxHashMap<PathBytes, Vec<usize>>,
}

/// A step of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId {
    pub driver: usize,
    pub step: usize,
}

/// Everything that is declared, and whose.
#[derive(Default)]
pub struct Declarations {
    pub drivers: Vec<Driver>,
    /// For each pip, its step and those around it, innermost first.
    pub steps: Vec<Vec<StepId>>,
    /// What could not be asked, and why.
    pub gaps: Vec<String>,
    /// For each driver, the step that launched it.
    pub around: Vec<Option<StepId>>,
}

fn base(path: &[u8]) -> &[u8] {
    worker::tools::base_name(path)
}

fn is_make(l: &Launch) -> bool {
    l.driver && matches!(base(&l.program), b"make" | b"gmake")
}

fn is_ninja(l: &Launch) -> bool {
    l.driver && matches!(base(&l.program), b"ninja" | b"ninja-build" | b"samu")
}

/// Does this run of make build nothing (`make --version`, a probe of `configure`)?
fn only_asks(l: &Launch) -> bool {
    crate::policy::only_asks(&l.argv)
}

impl Declarations {
    /// Asks every build tool of the run. `root` is the workspace, `scratch` a directory for a mount point.
    pub fn ask(seen: &Observed, root: &Path, scratch: &Path) -> Self {
        let mut d = Self::default();
        let generated: FxHashSet<PathBytes> = seen.pips.iter().flat_map(|p| p.made.iter().map(|m| m.path.clone())).collect();
        let mut sandbox: Option<Result<Sandbox, String>> = None;
        let mut number: FxHashMap<usize, usize> = FxHashMap::default();
        let mut known: FxHashMap<(Vec<Vec<u8>>, PathBytes), usize> = FxHashMap::default();
        for (i, l) in seen.launches.iter().enumerate().filter(|(_, l)| (is_make(l) || is_ninja(l)) && !only_asks(l)) {
            let declared = if is_ninja(l) {
                ninja::declared(&l.argv, &l.cwd)
            } else {
                match sandbox.get_or_insert_with(|| Sandbox::new(scratch)) {
                    Ok(s) => make::declared(&l.argv, &l.cwd, &l.env, s, root, &generated),
                    Err(why) => {
                        let gap = format!("make's rules are not known: {why}");
                        if !d.gaps.contains(&gap) {
                            d.gaps.push(gap);
                        }
                        continue;
                    }
                }
            };
            match declared {
                Ok(declared) => {
                    known.insert((l.argv.clone(), l.cwd.clone()), d.drivers.len());
                    number.insert(i, d.drivers.len());
                    d.drivers.push(Driver::new(i, l, declared));
                }
                Err(e) => {
                    let cause = std::error::Error::source(&e).map(|c| format!(": {c}")).unwrap_or_default();
                    d.gaps.push(format!("{e}{cause}; its commands are compared with nothing"));
                }
            }
        }
        // Innermost last: a driver's surroundings are known before its own commands are placed.
        d.around = d.drivers.iter().map(|_| None).collect();
        for n in 0..d.drivers.len() {
            d.around[n] = d.enclosing(seen, d.drivers[n].launch, &number, &[]).first().copied();
        }
        d.steps = seen
            .pips
            .iter()
            .map(|p| {
                let made: Vec<PathBytes> = p.made.iter().filter(|m| !m.deleted).map(|m| m.path.clone()).collect();
                d.enclosing(seen, p.launch, &number, &made)
            })
            .collect();
        d
    }

    /// The steps that this launch is part of, innermost first; empty if it is no step of the build tool that launched it.
    fn enclosing(&self, seen: &Observed, launch: usize, number: &FxHashMap<usize, usize>, made: &[PathBytes]) -> Vec<StepId> {
        let mut out: Vec<StepId> = Vec::new();
        let mut at = launch;
        while let Some(parent) = seen.launches[at].parent {
            if let Some(driver) = number.get(&parent).copied() {
                let tool = &seen.launches[parent];
                let outputs = if out.is_empty() { made } else { &[] };
                match self.drivers[driver].step(&seen.launches[at], tool, outputs) {
                    Some(step) => out.push(StepId { driver, step }),
                    // Something that a makefile does while it is read, or that is no longer declared.
                    None if out.is_empty() => return out,
                    None => {}
                }
            } else if is_make(&seen.launches[parent]) || is_ninja(&seen.launches[parent]) {
                // A build tool that could not be asked.
                return out;
            }
            at = parent;
        }
        out
    }

    pub fn step(&self, s: StepId) -> &Step {
        &self.drivers[s.driver].declared.steps[s.step]
    }
}

impl Driver {
    fn new(launch: usize, l: &Launch, declared: Declared) -> Self {
        let mut by_command: FxHashMap<Vec<u8>, Vec<usize>> = FxHashMap::default();
        let mut by_output: FxHashMap<PathBytes, Vec<usize>> = FxHashMap::default();
        for (i, s) in declared.steps.iter().enumerate() {
            for c in &s.commands {
                let mut keys = vec![c.clone()];
                // Executed without a shell, the words come without their quotes.
                if c.iter().any(|b| matches!(b, b'\'' | b'"' | b'\\')) {
                    let words: Vec<Vec<u8>> = shlex::bytes::Shlex::new(c).collect();
                    keys.push(crate::frontend::command_key(&words.join(&b' ')));
                }
                for k in keys {
                    let all = by_command.entry(k).or_default();
                    if all.last() != Some(&i) {
                        all.push(i);
                    }
                }
            }
            for o in &s.outputs {
                by_output.entry(o.clone()).or_default().push(i);
            }
        }
        let dir = if is_make(l) { make::directory(&l.argv, &l.cwd).into() } else { ninja::directory(&l.argv, &l.cwd) };
        Self { launch, dir, declared, by_command, by_output }
    }

    /// Which step is this command, that has made these files?
    fn step(&self, command: &Launch, tool: &Launch, made: &[PathBytes]) -> Option<usize> {
        let key = executed_key(&command.argv);
        let key = if is_make(tool) { make::key_with_make(&key, tool.argv.first().map_or(b"make", Vec::as_slice)) } else { key };
        let by_command = self.by_command.get(&key);
        let wrote = |s: &usize| self.declared.steps[*s].outputs.iter().any(|o| made.contains(o));
        match by_command.map(Vec::as_slice) {
            Some([one]) => Some(*one),
            Some(several) => several.iter().find(|s| wrote(s)).copied(),
            // Its text was written differently: make's own shell functions, a variable that changed.
            None => made.iter().find_map(|m| self.by_output.get(m)?.iter().find(|s| !self.declared.steps[**s].phony).copied()),
        }
    }
}
