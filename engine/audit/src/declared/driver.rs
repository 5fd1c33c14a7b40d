//! Asks one build tool of a run what it declares, and finds the step that a command is.
//!
//! ninja's edges are known by their commands. make's rules are too, and where several have the same command, by the
//! targets that the command wrote. Names are resolved to real paths, since the tracer reports real paths.

use super::launches::{is_make, is_ninja};
use crate::frontend::{self, Declared, make, ninja};
use crate::layer::Layer;
use crate::observer::Observed;
use crate::paths::os_path;
use cache::PathBytes;
use engine::event::Launch;
use rustc_hash::{FxHashMap, FxHashSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use worker::command_text::{executed, normalised, with_make_as_colon};

/// A build tool of the run, and what it answered.
#[derive(Clone)]
pub(crate) struct Driver {
    pub launch: usize,
    /// Where it works.
    pub dir: PathBytes,
    pub declared: Declared,
    by_command: FxHashMap<Vec<u8>, Vec<usize>>,
    pub by_output: FxHashMap<PathBytes, Vec<usize>>,
}

/// Asks these build tools, several at once, since most of the time is make's. For one that cannot be asked the answer
/// is why.
pub(crate) fn answers(
    seen: &Observed,
    tools: &[usize],
    root: &Path,
    scratch: &Path,
    generated: &FxHashSet<PathBytes>,
) -> FxHashMap<usize, Result<Driver, String>> {
    let layer = tools.iter().any(|i| is_make(&seen.launches[*i])).then(|| Layer::new(scratch, root));
    let one = |i: usize| {
        let l = &seen.launches[i];
        let declared = match &layer {
            _ if is_ninja(l) => ninja::declared(&l.argv, &l.cwd),
            Some(Ok(s)) => make::declared(&l.argv, &l.cwd, &l.env, s, generated),
            Some(Err(why)) => return Err(format!("make's rules are not known: {why}")),
            None => return Err("nobody was asked".to_owned()),
        };
        declared.map(|d| Driver::new(i, l, d)).map_err(|e| {
            let cause = std::error::Error::source(&e).map(|c| format!(": {c}")).unwrap_or_default();
            format!("{e}{cause}; its commands are compared with nothing")
        })
    };
    let next = AtomicUsize::new(0);
    let all = Mutex::new(FxHashMap::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(tools.len());
    std::thread::scope(|s| {
        for _ in 0..threads {
            s.spawn(|| {
                while let Some(i) = tools.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = one(*i);
                    all.lock().expect("answers").insert(*i, answer);
                }
            });
        }
    });
    all.into_inner().expect("answers")
}

/// What names really are: pips are seen to use files by their real paths.
#[derive(Default)]
pub(super) struct RealNames {
    dirs: FxHashMap<Vec<u8>, Vec<u8>>,
    /// Where symbolic links lead; many steps name the same files.
    links: FxHashMap<PathBytes, Option<PathBytes>>,
}

impl RealNames {
    /// A name with every directory resolved.
    fn of(&mut self, path: &PathBytes) -> PathBytes {
        let cut = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
        let real = self.dirs.entry(path[..cut].to_vec()).or_insert_with_key(|dir| {
            let found = std::fs::canonicalize(os_path(if dir.is_empty() { b"/" } else { dir }));
            found.map_or_else(|_| dir.clone(), |r| r.as_os_str().as_encoded_bytes().to_vec())
        });
        let real = if &real[..] == b"/" { &[][..] } else { real };
        if real == &path[..cut] { path.clone() } else { [real, &path[cut..]].concat().into() }
    }

    /// Resolves the names of a list, and adds where those lead that are symbolic links.
    pub(super) fn inputs(&mut self, list: &mut Vec<PathBytes>) {
        let mut more = Vec::new();
        for p in list.iter_mut() {
            *p = self.of(p);
            let to = self.links.entry(p.clone()).or_insert_with_key(|p| {
                let link = std::fs::symlink_metadata(os_path(p)).is_ok_and(|m| m.is_symlink());
                let to = if link { std::fs::canonicalize(os_path(p)).ok() } else { None };
                to.map(|to| to.as_os_str().as_encoded_bytes().into())
            });
            more.extend(to.clone());
        }
        list.extend(more);
    }

    fn resolve(&mut self, d: &mut Declared) {
        for s in &mut d.steps {
            if !s.phony {
                s.outputs.iter_mut().for_each(|o| *o = self.of(o));
            }
            for list in [&mut s.inputs, &mut s.discovered, &mut s.order_only] {
                self.inputs(list);
            }
        }
    }
}

impl Driver {
    pub(crate) fn new(launch: usize, l: &Launch, mut declared: Declared) -> Self {
        RealNames::default().resolve(&mut declared);
        let mut by_command: FxHashMap<Vec<u8>, Vec<usize>> = FxHashMap::default();
        let mut by_output: FxHashMap<PathBytes, Vec<usize>> = FxHashMap::default();
        for (i, s) in declared.steps.iter().enumerate() {
            for c in &s.commands {
                let mut keys = vec![c.clone()];
                // Executed without a shell, the words come without their quotes.
                if c.iter().any(|b| matches!(b, b'\'' | b'"' | b'\\')) {
                    let words: Vec<Vec<u8>> = shlex::bytes::Shlex::new(c).collect();
                    keys.push(normalised(&words.join(&b' ')));
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
        let dir = frontend::directory(&l.program, &l.argv, &l.cwd);
        Self { launch, dir, declared, by_command, by_output }
    }

    /// The text of a command as the build tool would say it now.
    pub(super) fn key(&self, command: &Launch, tool: &Launch) -> Vec<u8> {
        let key = executed(&command.argv);
        if is_make(tool) { with_make_as_colon(&key, tool.argv.first().map_or(b"make", Vec::as_slice)) } else { key }
    }

    /// The steps with this command.
    pub(super) fn candidates(&self, command: &Launch, tool: &Launch) -> &[usize] {
        self.by_command.get(&self.key(command, tool)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The steps that have the same commands as this one, with it.
    pub(crate) fn family(&self, step: usize) -> impl Iterator<Item = usize> {
        let commands = &self.declared.steps[step].commands;
        let of_first = commands.first().and_then(|c| self.by_command.get(c)).map(Vec::as_slice).unwrap_or_default();
        of_first.iter().copied().filter(|s| self.declared.steps[*s].commands == *commands)
    }

    /// Which step is this command, which has made these files?
    pub(super) fn step(&self, command: &Launch, tool: &Launch, made: &[PathBytes]) -> Option<usize> {
        let wrote = |s: &usize| self.declared.steps[*s].outputs.iter().any(|o| made.contains(o));
        match self.candidates(command, tool) {
            [one] => Some(*one),
            several @ [_, _, ..] => several.iter().find(|s| wrote(s)).copied(),
            // Its text was written differently: make's own shell functions, a variable that changed.
            [] => made
                .iter()
                .find_map(|m| self.by_output.get(m)?.iter().find(|s| !self.declared.steps[**s].phony).copied()),
        }
    }
}
