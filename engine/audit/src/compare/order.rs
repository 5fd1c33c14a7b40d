//! The checks: each compares what pips did with what their steps declare, and accuses only with a reason.
//!
//! First every question is collected (is A made before B? does a change of F reach S?), then all are answered in two
//! walks over the graph ([`crate::declared::order`]), then the answers are judged. Which pip happened to be first does not
//! matter: only between the build tools that a script runs is there no other order than what was seen.

use super::suggest;
use crate::declared::order::{Answers, Asked, Links};
use crate::declared::{Declarations, StepId};
use crate::finding::{Fix, PipRef, Proof, Violation};
use crate::kinds::{Kind, Severity};
use crate::observer::Observed;
use crate::paths::{os_path, parent};
use crate::places::{Places, Surroundings, Where};
use crate::policy::Policy;
use crate::workspace::Workspace;
use cache::PathBytes;
use cache::shown as text;
use engine::seen::{How, Use};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;

/// Scripts of the build system that nobody declares as inputs: a change of one of them is a change of the tool.
const MACHINERY: &[&str] = &[
    "libtool",
    "ltmain.sh",
    "config.status",
    "depcomp",
    "missing",
    "install-sh",
    "mkinstalldirs",
    "ylwrap",
    "compile",
    "test-driver",
    "ar-lib",
    "config.guess",
    "config.sub",
    "configure",
    "move-if-change",
    "shtool",
];

/// A question about a pip and a file, with what is asked of the graph.
enum Case<'a> {
    /// Read; a source for all that is known.
    Source { pip: usize, used: &'a Use, path: PathBytes, levels: Vec<(StepId, Asked)> },
    /// Read or looked for in vain, and made by others: for each, is it before, is it after.
    Generated { pip: usize, used: &'a Use, makers: Vec<Maker>, noticed: Option<(StepId, Vec<Asked>)> },
    /// A directory was listed in which others make files.
    Listed { pip: usize, used: &'a Use, others: Vec<(usize, PathBytes, Asked, Asked)> },
    /// Two pips wrote it.
    Written { path: PathBytes, first: usize, second: usize, same: bool, orders: (Asked, Asked) },
}

/// Another pip that made a name: is it before, is it after? One answer that says so is enough: several targets of one
/// rule are several steps to make.
struct Maker {
    pip: usize,
    before: Vec<Asked>,
    after: Asked,
}

impl Maker {
    fn is_before(&self, a: &Answers) -> bool {
        self.before.iter().any(|q| a.ordered(*q))
    }
}

pub(super) struct Checker<'a> {
    pub(super) seen: &'a Observed,
    pub(super) declared: &'a Declarations,
    pub(super) places: Places<'a>,
    pub(super) policy: &'a Policy,
    links: Links,
    pub(super) makers: FxHashMap<PathBytes, Vec<usize>>,
    /// The names that are made, by their directories.
    members: FxHashMap<PathBytes, Vec<PathBytes>>,
    /// Directories in which build tools work, besides the workspace.
    grounds: Vec<PathBytes>,
    /// Makefiles and manifests.
    build_files: FxHashSet<PathBytes>,
    pub(super) out: Vec<Violation>,
}

/// The Python module that a compiled one stands for.
fn source_of(path: &PathBytes) -> PathBytes {
    let Some(at) = path.windows(13).position(|w| w == b"/__pycache__/") else { return path.clone() };
    let name = &path[at + 13..];
    let stem = &name[..name.iter().position(|b| *b == b'.').unwrap_or(name.len())];
    [&path[..=at], stem, b".py"].concat().into()
}

/// Everything that is wrong, in the order of the codes, and what could have been accused.
pub(crate) fn check(
    seen: &Observed,
    declared: &Declarations,
    workspace: &Workspace,
    around: &Surroundings,
) -> (Vec<Violation>, BTreeSet<String>) {
    let mut makers: FxHashMap<PathBytes, Vec<usize>> = FxHashMap::default();
    for (i, p) in seen.pips.iter().enumerate() {
        for m in p.made.iter().filter(|m| !m.is_dir && !m.deleted) {
            makers.entry(m.path.clone()).or_default().push(i);
        }
    }
    let mut members: FxHashMap<PathBytes, Vec<PathBytes>> = FxHashMap::default();
    for path in makers.keys() {
        members.entry(parent(path).into()).or_default().push(path.clone());
    }
    members.values_mut().for_each(|all| all.sort());
    let mut c = Checker {
        members,
        seen,
        declared,
        places: workspace.places(around),
        policy: &workspace.policy,
        links: Links::new(declared),
        makers,
        grounds: declared.drivers.iter().map(|d| d.dir.clone()).collect(),
        build_files: declared.drivers.iter().flat_map(|d| d.declared.files.iter().cloned()).collect(),
        out: Vec::new(),
    };
    c.grounds.sort();
    c.grounds.dedup();
    // A step that always runs may pass on that something has changed.
    for (p, steps) in seen.pips.iter().zip(&declared.steps) {
        let Some(s) = steps.first().filter(|s| declared.always(**s)) else { continue };
        for u in &p.uses {
            if u.how == How::Read && c.inside(&u.path) {
                c.links.notices(*s, &u.path);
            }
        }
    }
    c.run();
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

impl<'a> Checker<'a> {
    fn run(&mut self) {
        let mut cases = Vec::new();
        let seen = self.seen;
        for (i, p) in seen.pips.iter().enumerate() {
            self.faults(i, p);
            if p.exit_code != 0 {
                continue;
            }
            self.outside(i, p);
            if self.declared.steps[i].is_empty() {
                self.by_rule(i, p);
                continue;
            }
            let s = self.declared.steps[i][0];
            let step = self.declared.step(s);
            let named: FxHashSet<&PathBytes> = step.inputs.iter().chain(self.declared.discovered(s)).collect();
            for used in &p.uses {
                cases.extend(self.case(i, used, &named));
            }
        }
        self.double_writes(&mut cases);
        let answers = self.links.answer();
        for c in cases {
            self.judge(c, &answers);
        }
        self.steps();
        self.source_writes();
    }

    /// Every name under which something of this run may be accused.
    fn targets(&self) -> BTreeSet<String> {
        let steps = self.declared.steps.iter().flatten().map(|s| self.target(*s));
        let pips = (0..self.seen.pips.len()).map(|p| self.name(p));
        let shared = self.makers.iter().filter(|(_, pips)| pips.len() > 1).map(|(path, _)| self.shown(path));
        steps.chain(pips).chain(shared).collect()
    }

    /// Is it a file of this project, as far as one can tell?
    pub(super) fn inside(&self, path: &[u8]) -> bool {
        self.whereabouts(path) == Where::Inside
    }

    pub(super) fn whereabouts(&self, path: &[u8]) -> Where {
        self.places.of(path, &self.grounds)
    }

    fn share_a_step(&self, a: usize, b: usize) -> bool {
        a == b || self.declared.steps[a].iter().any(|s| self.declared.steps[b].contains(s))
    }

    pub(super) fn innermost(&self, pip: usize) -> Option<StepId> {
        self.declared.steps[pip].first().copied()
    }

    /// Others that made this name, as steps of their own.
    fn others(&self, pip: usize, path: &PathBytes) -> Vec<usize> {
        let all = self.makers.get(path).map(Vec::as_slice).unwrap_or_default();
        let Some(step) = self.innermost(pip) else { return Vec::new() };
        let comparable = |q: usize| self.innermost(q).is_some_and(|other| self.declared.comparable(step, other));
        all.iter().copied().filter(|q| !self.share_a_step(pip, *q) && comparable(*q)).collect()
    }

    fn ask_both(&mut self, a: usize, b: usize) -> Option<(Asked, Asked)> {
        let (a, b) = (self.innermost(a)?, self.innermost(b)?);
        if !self.declared.comparable(a, b) {
            return None;
        }
        Some((self.links.ask_order(a, b), self.links.ask_order(b, a)))
    }

    /// What is to be asked about one use of a pip, whose step names these.
    fn case(&mut self, pip: usize, used: &'a Use, named: &FxHashSet<&PathBytes>) -> Option<Case<'a>> {
        let declared = self.declared;
        let step = self.innermost(pip)?;
        if used.how == How::Listed {
            return self.listed(pip, used);
        }
        let mine = self.makers.get(&used.path).is_some_and(|all| all.iter().any(|q| self.share_a_step(pip, *q)));
        let known = declared.step(step);
        if mine || known.outputs.contains(&used.path) || known.byproducts.contains(&used.path) {
            return None;
        }
        let others = self.others(pip, &used.path);
        if !others.is_empty() {
            let noticed = (used.how == How::Read && !declared.always(step)).then(|| {
                // Made anew together with something that is an input, it is noticed with that.
                let with: Vec<StepId> = others.iter().filter_map(|q| self.innermost(*q)).collect();
                let with: Vec<Asked> = with.into_iter().map(|q| self.links.ask_rerun(step, q)).collect();
                (step, with.into_iter().chain([self.links.ask_change(step, &used.path)]).collect())
            });
            let makers = others.into_iter().filter_map(|q| self.maker(pip, q, &used.path)).collect();
            return Some(Case::Generated { pip, used, makers, noticed });
        }
        let made_here = self.makers.contains_key(&used.path);
        let path = source_of(&used.path);
        if used.how != How::Read || made_here || !self.inside(&path) || self.build_files.contains(&path) {
            return None;
        }
        // What only prints makes nothing that could be stale.
        if self.seen.pips[pip].made.iter().all(|m| m.is_dir) {
            return None;
        }
        let links = &mut self.links;
        let levels =
            declared.steps[pip].iter().filter(|s| !(declared.always(**s) || **s == step && named.contains(&path)));
        let levels: Vec<_> = levels.map(|s| (*s, links.ask_change(*s, &path))).collect();
        if levels.is_empty() {
            return None;
        }
        Some(Case::Source { pip, used, path, levels })
    }

    fn maker(&mut self, pip: usize, other: usize, path: &PathBytes) -> Option<Maker> {
        let (step, by) = (self.innermost(pip)?, self.innermost(other)?);
        let named = self.declared.drivers[by.driver].by_output.get(path).into_iter().flatten();
        let named = named.map(|s| StepId { driver: by.driver, step: *s });
        let commands = &self.declared.step(by).commands;
        let same: Vec<StepId> = named.filter(|s| *s != by && self.declared.step(*s).commands == *commands).collect();
        let before = [by].into_iter().chain(same).map(|s| self.links.ask_order(step, s)).collect();
        Some(Maker { pip: other, before, after: self.links.ask_order(by, step) })
    }

    fn listed(&mut self, pip: usize, used: &'a Use) -> Option<Case<'a>> {
        let mut found = Vec::new();
        for path in self.members.get(&used.path).cloned().unwrap_or_default() {
            for q in self.makers[&path].clone() {
                if self.share_a_step(pip, q) {
                    continue;
                }
                if let Some((x, y)) = self.ask_both(pip, q) {
                    found.push((q, path.clone(), x, y));
                }
            }
        }
        (!found.is_empty()).then_some(Case::Listed { pip, used, others: found })
    }

    fn double_writes(&mut self, cases: &mut Vec<Case<'a>>) {
        let several: Vec<(PathBytes, Vec<usize>)> = self
            .makers
            .iter()
            .filter(|(p, q)| q.len() > 1 && self.whereabouts(p) != Where::Scratch)
            .map(|(p, q)| (p.clone(), q.clone()))
            .collect();
        for (path, pips) in several {
            let digest = |i: usize| self.seen.pips[i].made.iter().find(|m| m.path == path).and_then(|m| m.digest);
            for (n, second) in pips.iter().enumerate() {
                // One accusation per later writer is enough.
                let Some(first) = pips[..n].iter().copied().find(|f| !self.share_a_step(*f, *second)) else { continue };
                let same = digest(first).is_some() && digest(first) == digest(*second);
                if let Some(orders) = self.ask_both(first, *second) {
                    cases.push(Case::Written { path: path.clone(), first, second: *second, same, orders });
                }
            }
        }
    }

    fn judge(&mut self, c: Case<'a>, a: &Answers) {
        match c {
            Case::Source { pip, used, path, levels } => {
                // Further out: whoever launched the build tool must run again too.
                let Some((step, _)) = levels.into_iter().find(|(_, asked)| !a.reached(*asked)) else { return };
                let machinery = MACHINERY.iter().any(|m| worker::tools::base_name(&path) == m.as_bytes());
                let s = self.declared.step(step);
                let message = format!("`{}` reads `{}`, which nothing declares", self.target(step), self.shown(&path));
                let mut v = self.violation(Kind::UndeclaredInput, pip, Some(step), &path, message);
                v.fix = suggest::input(self.declared, step, &path, self.places.root);
                v.reproduce = suggest::stale(self.seen, self.declared, step, &path);
                let exists = |i: &&PathBytes| std::fs::metadata(os_path(i)).is_ok_and(|m| m.is_file());
                v.control = s.inputs.iter().find(exists).map(|i| self.shown(i));
                if machinery {
                    v.severity = Severity::Note;
                }
                if self.declared.discovered(step).next().is_some() {
                    v.message.push_str(", not even its dependency file");
                    let message = format!(
                        "the dependency file of `{}` does not name `{}`, which it reads",
                        self.target(step),
                        self.shown(&path)
                    );
                    let omits = self.violation(Kind::StaleDepfile, pip, Some(step), &path, message);
                    self.accuse(omits, &[(pip, used)]);
                }
                self.accuse(v, &[(pip, used)]);
            }
            Case::Generated { pip, used, makers, noticed } => self.generated(pip, used, &makers, noticed, a),
            Case::Listed { pip, used, others } => {
                let mut unordered = others.iter().filter(|(_, _, x, y)| !a.ordered(*x) && !a.ordered(*y));
                let Some((other, name, ..)) = unordered.next() else { return };
                let more = unordered.count();
                let and = if more > 0 { format!(" and {more} more") } else { String::new() };
                let message = format!(
                    "`{}` lists `{}`, in which `{}`{and} is made",
                    self.name(pip),
                    self.shown(&used.path),
                    self.shown(name)
                );
                let mut v = self.violation(Kind::Listing, pip, None, &used.path, message);
                // An import lists directories for the names of modules only.
                let program = &self.seen.launches[self.seen.pips[pip].launch].program;
                if worker::tools::base_name(program).starts_with(b"python") {
                    v.severity = Severity::Note;
                }
                v.other = Some(self.pip(*other));
                self.accuse(v, &[(pip, used)]);
            }
            Case::Written { path, first, second, same, orders } => {
                let ordered = a.ordered(orders.0) || a.ordered(orders.1);
                let how = match (ordered, same) {
                    (true, _) => "one after the other",
                    (false, true) => "in no declared order, with the same content this time",
                    (false, false) => "in no declared order",
                };
                let message = format!("`{}` is written by two commands, {how}", self.shown(&path));
                let mut v = self.violation(Kind::DoubleWrite, second, None, &path, message);
                // Members of an archive: make writes one after the other, unless it is told to hurry.
                let declares = |pip: usize| {
                    self.innermost(pip).filter(|s| self.declared.step(*s).outputs.contains(&path)).map(|s| s.driver)
                };
                let members = declares(first).is_some() && declares(first) == declares(second);
                v.severity = if ordered || members { Severity::Note } else { v.severity };
                if same && !ordered {
                    v.severity = v.severity.min(Severity::Warning);
                }
                v.target = self.shown(&path);
                v.other = Some(self.pip(first));
                self.out.push(v);
            }
        }
    }

    /// A name that others make was read, or missed.
    fn generated(
        &mut self,
        pip: usize,
        used: &Use,
        makers: &[Maker],
        noticed: Option<(StepId, Vec<Asked>)>,
        a: &Answers,
    ) {
        let before = makers.iter().find(|m| m.is_before(a)).map(|m| m.pip);
        let unordered = makers.iter().find(|m| !m.is_before(a) && !a.ordered(m.after)).map(|m| m.pip);
        let (target, file) = (self.name(pip), self.shown(&used.path));
        if used.how != How::Read {
            if let (None, Some(other)) = (before, unordered) {
                let message = format!("`{target}` looks whether there is `{file}`, which another command makes");
                let mut v = self.violation(Kind::UndeclaredAbsent, pip, None, &used.path, message);
                v.other = Some(self.pip(other));
                v.fix = self.edge(pip, other, &used.path);
                self.accuse(v, &[(pip, used)]);
            }
            return;
        }
        match (before, unordered) {
            (Some(_), Some(other)) => {
                let message = format!("`{target}` reads `{file}` while another command may be writing it again");
                let mut v = self.violation(Kind::ReadWriteRace, pip, None, &used.path, message);
                v.other = Some(self.pip(other));
                self.accuse(v, &[(pip, used)]);
            }
            (None, Some(other)) => {
                let message = format!("`{target}` reads `{file}`, and nothing says that it is made first");
                let mut v = self.violation(Kind::MissingEdge, pip, None, &used.path, message);
                v.other = Some(self.pip(other));
                v.fix = self.edge(pip, other, &used.path);
                v.reproduce = self.innermost(pip).and_then(|s| suggest::race(self.seen, self.declared, s, &used.path));
                self.accuse(v, &[(pip, used)]);
            }
            (None, None) => {
                let Some(other) = makers.first().map(|m| m.pip) else { return };
                let message = format!("`{target}` reads `{file}`, which is declared to be made from it");
                let mut v = self.violation(Kind::Cycle, pip, None, &used.path, message);
                v.other = Some(self.pip(other));
                self.accuse(v, &[(pip, used)]);
            }
            (Some(other), None) => {
                let Some((step, _)) = noticed.filter(|(_, asked)| !asked.iter().any(|q| a.reached(*q))) else { return };
                let message = format!("`{target}` reads `{file}`, which is made first, but is no input of it");
                let mut v = self.violation(Kind::UndeclaredInput, pip, Some(step), &used.path, message);
                v.other = Some(self.pip(other));
                v.fix = suggest::input(self.declared, step, &used.path, self.places.root);
                v.reproduce = suggest::stale(self.seen, self.declared, step, &used.path);
                self.accuse(v, &[(pip, used)]);
            }
        }
    }

    fn edge(&self, pip: usize, maker: usize, path: &PathBytes) -> Option<Fix> {
        let (step, producer) = (self.innermost(pip)?, self.innermost(maker)?);
        suggest::edge(self.declared, step, producer, path, self.places.root)
    }

    /// Relative to the workspace, where it is inside.
    pub(super) fn shown(&self, path: &[u8]) -> String {
        let root = self.places.root.as_os_str().as_bytes();
        match path.strip_prefix(root) {
            Some(rest) if rest.first() == Some(&b'/') => text(&rest[1..]),
            _ => text(path),
        }
    }

    /// What the build file calls a step.
    pub(super) fn target(&self, s: StepId) -> String {
        self.declared.step(s).outputs.first().map(|o| self.shown(o)).unwrap_or_default()
    }

    /// What a pip makes, in a word.
    pub(super) fn name(&self, pip: usize) -> String {
        if let Some(s) = self.innermost(pip) {
            return self.target(s);
        }
        let p = &self.seen.pips[pip];
        let first = p.made.iter().filter(|m| !m.is_dir && !m.deleted).map(|m| &m.path).min().map(|m| self.shown(m));
        first.unwrap_or_else(|| self.command(pip).chars().take(60).collect())
    }

    fn command(&self, pip: usize) -> String {
        self.seen.launches[self.seen.pips[pip].launch].shown.clone()
    }

    fn pip(&self, pip: usize) -> PipRef {
        let l = &self.seen.launches[self.seen.pips[pip].launch];
        let step = self.innermost(pip);
        let place = step.map(|s| &self.declared.step(s).place).filter(|p| !p.file.is_empty());
        let place =
            place.map(|p| if p.line > 0 { format!("{}:{}", self.shown(&p.file), p.line) } else { self.shown(&p.file) });
        PipRef {
            id: u32::try_from(pip + 1).unwrap_or(u32::MAX),
            command: self.command(pip),
            cwd: text(&l.cwd),
            target: step.map(|s| self.target(s)).unwrap_or_default(),
            declared_at: place.unwrap_or_default(),
            tool: step.map(|s| suggest::tool(self.seen, &self.declared.drivers[s.driver])).unwrap_or_default(),
            tool_dir: step.map(|s| text(&self.declared.drivers[s.driver].dir)).unwrap_or_default(),
        }
    }

    pub(super) fn violation(
        &self,
        code: Kind,
        pip: usize,
        step: Option<StepId>,
        file: &PathBytes,
        message: String,
    ) -> Violation {
        let about = code.about();
        Violation {
            code,
            name: about.name.to_owned(),
            severity: about.severity,
            message,
            why: about.why.to_owned(),
            target: step.map_or_else(|| self.name(pip), |s| self.target(s)),
            file: self.shown(file),
            pip: self.pip(pip),
            other: None,
            evidence: Vec::new(),
            fix: None,
            reproduce: None,
            control: None,
            allowed: None,
        }
    }

    /// Adds what is known of how, and keeps the violation.
    pub(super) fn accuse(&mut self, mut v: Violation, uses: &[(usize, &Use)]) {
        for (pip, u) in uses {
            let what = match u.how {
                How::Read => "read",
                How::Probed => "probed",
                How::Missed => "looked for, absent",
                How::Listed => "listed",
            };
            let what = if self.seen.pips[*pip].hit {
                format!("{what}, by the recorded run of this hit")
            } else {
                what.to_owned()
            };
            let e = u.evidence.as_ref();
            v.evidence.push(Proof {
                path: text(&u.path),
                what,
                process: e.map(|e| format!("{} ({})", e.program, e.pid)),
                call: e.map(|e| e.call.to_owned()),
                time_ms: e.map(|e| e.time),
            });
        }
        self.out.push(v);
    }
}
