//! Judges what is wrong with one pip, or one step, by itself: outputs that are missing or not declared, inputs that
//! nobody uses, sources that are changed, accesses outside the workspace, the network, time and chance.

use super::authors::{for_generator, is_accessory, is_name_of_target};
use super::checker::Checker;
use super::suggest;
use crate::declared::StepId;
use crate::finding::Fix;
use crate::frontend::{Step, Tool, depfile};
use crate::kinds::{Kind, Severity};
use crate::paths::{below, os_path};
use crate::places::Where;
use cache::PathBytes;
use cache::shown;
use engine::seen::{Fault, How, Made, Seen, Use};
use rustc_hash::{FxHashMap, FxHashSet};
use std::os::unix::ffi::OsStrExt;
use worker::command_text::executed;

/// The program of a command, that of the text that it gives to a shell, and the script that an interpreter runs.
fn names<'a>(program: &'a [u8], executed: &'a [u8]) -> Vec<&'a [u8]> {
    const INTERPRETERS: &[&[u8]] = &[b"sh", b"bash", b"dash", b"perl", b"ruby", b"node", b"env"];
    let mut out = vec![program];
    for word in executed.split(|b| *b == b' ').filter(|w| !w.starts_with(b"-")) {
        out.push(word);
        let name = worker::tools::base_name(word);
        if !(INTERPRETERS.contains(&name) || name.starts_with(b"python")) {
            break;
        }
    }
    out
}

/// Is it a linker script, or a list of symbols? Build files name these although not every linker is given them.
fn for_linker(path: &[u8]) -> bool {
    const ENDINGS: &[&[u8]] = &[b".ld", b".lds", b".map", b".sym", b".syms", b".ver", b".vers", b".exp", b".def"];
    ENDINGS.iter().any(|e| path.ends_with(e))
}

/// From this many unused inputs on, a step gets one note about all of them.
const WHOLESALE: usize = 20;

impl Checker<'_> {
    /// What a step declares and its pips did not do, and what they did and it does not declare.
    pub(super) fn steps(&mut self) {
        let mut pips_of: FxHashMap<StepId, Vec<usize>> = FxHashMap::default();
        let build_files: FxHashSet<&PathBytes> = self.declared.drivers.iter().flat_map(|d| &d.declared.files).collect();
        for (i, p) in self.seen.pips.iter().enumerate() {
            for s in &self.declared.steps[i] {
                pips_of.entry(*s).or_default().push(i);
            }
            let Some(s) = self.innermost(i).filter(|_| p.exit_code == 0) else { continue };
            let step = self.declared.step(s);
            if step.phony {
                continue;
            }
            let (first, argv) = (step.outputs.first(), &self.seen.launches[p.launch].argv);
            let accessory = |path: &[u8]| first.is_some_and(|o| is_accessory(o, argv, path));
            let undeclared: Vec<&Made> = p
                .made
                .iter()
                .filter(|m| !m.is_dir && !m.deleted && self.inside(&m.path))
                .filter(|m| !step.outputs.contains(&m.path) && !step.byproducts.contains(&m.path))
                .filter(|m| !depfile::is_name(&m.path) && os_path(&m.path).symlink_metadata().is_ok())
                .filter(|m| !self.is_target(s, &m.path) && !for_generator(&m.path) && !accessory(&m.path))
                // Read by the build tool at its next start: dependency files of whatever name.
                .filter(|m| !build_files.contains(&m.path))
                .collect();
            for m in undeclared {
                let message =
                    format!("`{}` also writes `{}`, which it does not declare", self.target(s), self.shown(&m.path));
                let v = self.violation(Kind::UndeclaredOutput, i, Some(s), &m.path, message);
                self.out.push(v);
            }
        }
        let mut all: Vec<_> = pips_of.into_iter().collect();
        all.sort_unstable_by_key(|(s, _)| *s);
        for (s, pips) in all {
            let step = self.declared.step(s);
            if step.phony || pips.iter().any(|p| self.seen.pips[*p].exit_code != 0) {
                continue;
            }
            // Best it is a pip of the step's own, that has made what the step is there for.
            let made = |p: usize| self.seen.pips[p].made.iter().any(|m| step.outputs.contains(&m.path));
            let chief = pips.iter().copied().min_by_key(|p| (self.innermost(*p) != Some(s), !made(*p))).unwrap_or(0);
            self.missing_outputs(s, step, chief);
            // What is made in every build is not made again for nothing.
            if !self.declared.always(s) {
                self.unused(s, step, (chief, &pips));
            }
        }
    }

    /// Does the build tool of this step know how to make it, by whatever step?
    fn is_target(&self, s: StepId, path: &PathBytes) -> bool {
        let d = &self.declared.drivers[s.driver];
        d.by_output.get(path).into_iter().flatten().any(|step| {
            let step = &d.declared.steps[*step];
            !step.phony && !step.commands.is_empty()
        })
    }

    /// Is this input, which is not read, there for what is: does whoever makes it make something of that too (a stamp),
    /// or is it made of nothing but that (the list of a library's symbols), or does a link lead to it?
    fn stands_for(&self, s: StepId, step: &Step, input: &PathBytes, used: &FxHashSet<&PathBytes>) -> bool {
        let makers = self.makers.get(input).into_iter().flatten();
        let made = |p: &usize| self.seen.pips[*p].made.iter().any(|m| !m.is_dir && used.contains(&m.path));
        let d = &self.declared.drivers[s.driver];
        let steps = || d.by_output.get(input).into_iter().flatten().map(|i| &d.declared.steps[*i]);
        let of = |m: &Step| {
            m.outputs.iter().any(|o| used.contains(o))
                || !m.inputs.is_empty() && m.inputs.iter().all(|i| used.contains(i))
        };
        let leads = |o: &PathBytes| std::fs::canonicalize(os_path(o)).is_ok_and(|p| p == os_path(input));
        makers.into_iter().any(made) || steps().any(of) || step.outputs.iter().any(leads)
    }

    fn missing_outputs(&mut self, s: StepId, step: &Step, pip: usize) {
        let tool = self.declared.drivers[s.driver].declared.tool;
        for o in &step.outputs {
            if os_path(o).symlink_metadata().is_ok() || is_name_of_target(&self.declared.drivers[s.driver], o) {
                continue;
            }
            let message = format!("`{}` declares `{}` and does not make it", self.target(s), self.shown(o));
            let mut v = self.violation(Kind::MissingOutput, pip, Some(s), o, message);
            if tool == Tool::Make {
                // A name for a group of commands: it works, and only misses a word.
                v.severity = Severity::Note;
                v.fix = suggest::phony(self.declared, s, self.places.root);
            }
            self.out.push(v);
        }
    }

    fn unused(&mut self, s: StepId, step: &Step, (chief, pips): (usize, &[usize])) {
        let used: FxHashSet<&PathBytes> =
            pips.iter().flat_map(|p| self.seen.pips[*p].uses.iter().map(|u| &u.path)).collect();
        // A link stands for the file behind it, which is an input too.
        let is_file = |i: &&PathBytes| std::fs::symlink_metadata(os_path(i)).is_ok_and(|m| m.is_file());
        let discovered: Vec<&PathBytes> = self.declared.discovered(s).collect();
        // A makefile among the inputs means that the commands in it count.
        let files = &self.declared.drivers[s.driver].declared.files;
        for (list, kind) in [(step.inputs.iter().collect(), Kind::UnusedInput), (discovered, Kind::StaleDepfile)] {
            let idle: Vec<&PathBytes> =
                list.into_iter().filter(|i| !used.contains(i) && self.inside(i)).filter(is_file).collect();
            let meant = |i: &PathBytes| files.contains(i) || for_linker(i) || for_generator(i);
            let idle: Vec<_> = idle.into_iter().filter(|i| !meant(i) && !self.stands_for(s, step, i, &used)).collect();
            // Whoever names everything that there is means it.
            let shown = if idle.len() > WHOLESALE { 1 } else { idle.len() };
            for i in &idle[..shown] {
                let more =
                    if idle.len() > shown { format!(" and {} more files", idle.len() - shown) } else { String::new() };
                let message = match kind {
                    Kind::UnusedInput => {
                        format!("`{}` declares `{}`{more} and never reads it", self.target(s), self.shown(i))
                    }
                    _ => format!(
                        "the dependency file of `{}` names `{}`{more}, which it does not read",
                        self.target(s),
                        self.shown(i)
                    ),
                };
                let v = self.violation(kind, chief, Some(s), i, message);
                self.out.push(v);
            }
        }
    }

    /// Files that git tracks and that a pip wrote.
    pub(super) fn source_writes(&mut self) {
        let written: Vec<(PathBytes, usize)> = self
            .makers
            .iter()
            .filter(|(p, _)| below(p, self.places.root.as_os_str().as_bytes()))
            .map(|(p, pips)| (p.clone(), pips[0]))
            .collect();
        // Where git does not answer, it is as if there were none, and the report says so.
        let tracked =
            if written.is_empty() { None } else { self.places.around.tracked(self.places.root).ok().flatten() };
        let sources: FxHashSet<&PathBytes> =
            self.declared.drivers.iter().flat_map(|d| d.declared.steps.iter().flat_map(|s| &s.inputs)).collect();
        for (path, pip) in written {
            let declared = || self.declared.drivers.iter().any(|d| d.by_output.contains_key(&path));
            let changed = match tracked {
                // A result that is kept among the sources, and came out as it was.
                Some(t) => t.contains(&path) && !(declared() && self.places.around.is_as_committed(&path)),
                // Without git: a build file takes it for a source, and the step that writes it found it there.
                None => {
                    let found = |u: &Use| u.path == path && matches!(u.how, How::Read | How::Probed);
                    !declared()
                        && sources.contains(&path)
                        && self.innermost(pip).is_some()
                        && self.seen.pips[pip].uses.iter().any(found)
                }
            };
            if changed {
                let message = format!("`{}` changes `{}`, a source", self.name(pip), self.shown(&path));
                let v = self.violation(Kind::SourceWrite, pip, None, &path, message);
                self.out.push(v);
            }
        }
    }

    /// What makes the result of a pip doubtful, whatever is declared.
    pub(super) fn faults(&mut self, pip: usize, p: &Seen) {
        for f in &p.faults {
            let (kind, file, message) = match f {
                Fault::Network(to) => {
                    (Kind::Network, to.clone(), format!("`{}` uses the network ({to})", self.name(pip)))
                }
                Fault::Survivor => (
                    Kind::SurvivingProcess,
                    String::new(),
                    format!("a process that `{}` started outlives it", self.name(pip)),
                ),
                Fault::Time => (
                    Kind::Environment,
                    String::new(),
                    format!("a source of `{}` asks for date or time", self.name(pip)),
                ),
                Fault::Asks { who, word } => (
                    Kind::Environment,
                    String::new(),
                    format!("`{}` runs `{who}`, which asks for what is different each time (`{word}`)", self.name(pip)),
                ),
                Fault::DifferentFile(path) => (
                    Kind::NonDeterministic,
                    self.shown(path),
                    format!("`{}` made `{}` anew with other content", self.name(pip), self.shown(path)),
                ),
                Fault::Different(what) => (
                    Kind::NonDeterministic,
                    String::new(),
                    format!("`{}` was made anew, and {what} is another one", self.name(pip)),
                ),
            };
            let mut v = self.violation(kind, pip, None, &b""[..].into(), message);
            v.file = file;
            if *f == Fault::Time {
                v.fix = Some(Fix::by_hand("", "export SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)"));
            }
            self.out.push(v);
        }
    }

    /// A command that no build tool declares and that the user has written a rule for: what it uses and the rule does
    /// not grant.
    pub(super) fn by_rule(&mut self, pip: usize, p: &Seen) {
        let launch = &self.seen.launches[p.launch];
        let executed = executed(&launch.argv);
        let Some(grant) = self.policy.granted(&names(&launch.program, &executed)) else { return };
        let name = shown(executed.split(|b| *b == b' ').next().unwrap_or_default());
        for u in p.uses.iter().filter(|u| u.how == How::Read) {
            let own = p.made.iter().any(|m| m.path == u.path);
            if own || !self.inside(&u.path) || grant.may_read(os_path(&u.path)) {
                continue;
            }
            let message = format!("`{name}` reads `{}`, which its rule does not grant", self.shown(&u.path));
            let mut v = self.violation(Kind::UndeclaredInput, pip, None, &u.path, message);
            v.fix = Some(Fix::by_hand("xl.toml", format!("inputs = [\"{}\"]", self.shown(&u.path))));
            self.accuse(v, &[(pip, u)]);
        }
        for m in p.made.iter().filter(|m| !m.is_dir && !m.deleted) {
            if self.inside(&m.path) && !grant.may_make(os_path(&m.path)) {
                let message = format!("`{name}` writes `{}`, which its rule does not grant", self.shown(&m.path));
                let mut v = self.violation(Kind::UndeclaredOutput, pip, None, &m.path, message);
                v.severity = Severity::Error;
                v.fix = Some(Fix::by_hand("xl.toml", format!("outputs = [\"{}\"]", self.shown(&m.path))));
                self.out.push(v);
            }
        }
    }

    /// Reads and writes outside the workspace.
    pub(super) fn outside(&mut self, pip: usize, p: &Seen) {
        let installer = |target: &str| {
            let name = target.rsplit('/').next().unwrap_or_default();
            name.split(|c: char| !c.is_alphanumeric()).any(|w| w == "install" || w == "uninstall")
        };
        let installs = self.innermost(pip).is_some_and(|s| self.declared.always(s) && installer(&self.target(s)));
        for m in p.made.iter().filter(|m| !m.deleted && !installs && !m.path.is_empty()) {
            if matches!(self.whereabouts(&m.path), Where::Outside | Where::System) {
                let message = format!("`{}` writes `{}`, outside the workspace", self.name(pip), self.shown(&m.path));
                let v = self.violation(Kind::OutsideWrite, pip, None, &m.path, message);
                self.out.push(v);
            }
        }
        let outside_reads = self.policy.wants(Kind::OutsideRead);
        for u in p.uses.iter().filter(|u| outside_reads && u.how == How::Read) {
            if self.whereabouts(&u.path) == Where::Outside && !self.makers.contains_key(&u.path) {
                let message = format!("`{}` reads `{}`, outside the workspace", self.name(pip), self.shown(&u.path));
                let v = self.violation(Kind::OutsideRead, pip, None, &u.path, message);
                self.accuse(v, &[(pip, u)]);
            }
        }
    }
}
