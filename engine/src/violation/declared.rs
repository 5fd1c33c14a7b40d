//! What the build tools of a run declare, and which of their steps each pip is.
//!
//! A pip of ninja is the edge with its command; a pip of make is known by its command too, and by the targets that it wrote where several
//! have the same. What a script launches belongs to the step that launched the script. A pip that is no step (a `$(shell …)` of a
//! makefile, a command of a manifest that has changed since) is compared with nothing.

use crate::frontend::ask::Sandbox;
use crate::frontend::{Declared, Step, absolute, depfile, executed_key, make, ninja, os_path};
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
    /// For each driver, the step that launched it; several if the build file runs the same command for each of them.
    pub around: Vec<Vec<StepId>>,
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

/// The run of make that started itself again as this one, having remade its makefiles.
fn again(seen: &Observed, i: usize) -> Option<usize> {
    let l = &seen.launches[i];
    l.parent.filter(|p| l.again && is_make(l) && is_make(&seen.launches[*p]) && seen.launches[*p].cwd == l.cwd)
}

/// Asks these build tools, several at once: most of the time it is make that works. What cannot be asked says why.
fn answers(
    seen: &Observed,
    tools: &[usize],
    root: &Path,
    scratch: &Path,
    generated: &FxHashSet<PathBytes>,
) -> FxHashMap<usize, Result<Declared, String>> {
    let sandbox = tools.iter().any(|i| is_make(&seen.launches[*i])).then(|| Sandbox::new(scratch));
    let one = |i: usize| {
        let l = &seen.launches[i];
        let declared = match &sandbox {
            _ if is_ninja(l) => ninja::declared(&l.argv, &l.cwd),
            Some(Ok(s)) => make::declared(&l.argv, &l.cwd, &l.env, s, root, generated),
            Some(Err(why)) => return Err(format!("make's rules are not known: {why}")),
            None => return Err("nobody was asked".to_owned()),
        };
        declared.map_err(|e| {
            let cause = std::error::Error::source(&e).map(|c| format!(": {c}")).unwrap_or_default();
            format!("{e}{cause}; its commands are compared with nothing")
        })
    };
    let next = std::sync::atomic::AtomicUsize::new(0);
    let all = std::sync::Mutex::new(FxHashMap::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(tools.len());
    std::thread::scope(|s| {
        for _ in 0..threads {
            s.spawn(|| {
                while let Some(i) = tools.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let answer = one(*i);
                    all.lock().expect("answers").insert(*i, answer);
                }
            });
        }
    });
    all.into_inner().expect("answers")
}

impl Declarations {
    /// Asks every build tool of the run. `root` is the workspace, `scratch` a directory for a mount point.
    pub fn ask(seen: &Observed, root: &Path, scratch: &Path) -> Self {
        let mut d = Self::default();
        let generated: FxHashSet<PathBytes> = seen.pips.iter().flat_map(|p| p.made.iter().map(|m| m.path.clone())).collect();
        let mut number: FxHashMap<usize, usize> = FxHashMap::default();
        let tools: Vec<usize> = (0..seen.launches.len())
            .filter(|i| {
                let l = &seen.launches[*i];
                (is_make(l) || is_ninja(l)) && !only_asks(l)
            })
            .collect();
        let first = |i: &usize| again(seen, *i).is_none();
        let mut answers = answers(seen, &tools.iter().copied().filter(first).collect::<Vec<_>>(), root, scratch, &generated);
        for i in tools {
            if let Some(n) = again(seen, i).and_then(|before| number.get(&before).copied()) {
                number.insert(i, n);
                continue;
            }
            match answers.remove(&i) {
                Some(Ok(declared)) => {
                    number.insert(i, d.drivers.len());
                    d.drivers.push(Driver::new(i, &seen.launches[i], declared));
                }
                Some(Err(gap)) if !d.gaps.contains(&gap) => d.gaps.push(gap),
                _ => {}
            }
        }
        // Innermost last: a driver's surroundings are known before its own commands are placed.
        d.around = d.drivers.iter().map(|r| d.launching(seen, r.launch, &number)).collect();
        d.steps = seen
            .pips
            .iter()
            .map(|p| {
                let made: Vec<PathBytes> = p.made.iter().filter(|m| !m.deleted).map(|m| m.path.clone()).collect();
                d.enclosing(seen, p.launch, &number, &made)
            })
            .collect();
        d.collected(seen);
        d
    }

    /// Where the generator of the makefiles collects dependency files at the next start, they count.
    fn collected(&mut self, seen: &Observed) {
        for (p, steps) in seen.pips.iter().zip(&self.steps) {
            let Some(s) = steps.first().filter(|s| self.drivers[s.driver].declared.collects_depfiles) else { continue };
            let driver = &mut self.drivers[s.driver];
            for m in p.made.iter().filter(|m| m.path.ends_with(b".d")) {
                let rules = depfile::parse(&std::fs::read(os_path(&m.path)).unwrap_or_default());
                let inputs = rules.into_iter().flat_map(|(_, inputs)| inputs).map(|i| absolute(&seen.launches[p.launch].cwd, &i));
                driver.declared.steps[s.step].discovered.extend(inputs);
            }
        }
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

    /// The steps with this command.
    fn candidates(&self, command: &Launch, tool: &Launch) -> &[usize] {
        let key = executed_key(&command.argv);
        let key = if is_make(tool) { make::key_with_make(&key, tool.argv.first().map_or(b"make", Vec::as_slice)) } else { key };
        self.by_command.get(&key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Which step is this command, that has made these files?
    fn step(&self, command: &Launch, tool: &Launch, made: &[PathBytes]) -> Option<usize> {
        let wrote = |s: &usize| self.declared.steps[*s].outputs.iter().any(|o| made.contains(o));
        match self.candidates(command, tool) {
            [one] => Some(*one),
            several @ [_, _, ..] => several.iter().find(|s| wrote(s)).copied(),
            // Its text was written differently: make's own shell functions, a variable that changed.
            [] => made.iter().find_map(|m| self.by_output.get(m)?.iter().find(|s| !self.declared.steps[**s].phony).copied()),
        }
    }
}
