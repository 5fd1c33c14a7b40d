//! Collects the questions about order that a run raises, and has them answered together.
//!
//! Is A made before B? Does a change of F make S run again? A run of thousands of pips raises hundreds of thousands of
//! such questions, and two walks over the declared graph answer all of them ([`crate::declared::graph`]).
//! [`super::between_pips`] judges by the answers.

use super::authors::{Author, author, for_generator, only_touches};
use super::checker::Checker;
use crate::declared::StepId;
use crate::declared::graph::{Answers, Asked, DeclaredGraph};
use crate::paths::{below, parent};
use crate::places::Where;
use cache::PathBytes;
use engine::seen::{How, Use};
use rustc_hash::{FxHashMap, FxHashSet};

/// A question about a pip and a file, with what is asked of the graph.
pub(super) enum Case<'a> {
    /// It was read, and nobody is known to make it: would a change of it make these steps run again?
    Source { pip: usize, used: &'a Use, path: PathBytes, levels: Vec<(StepId, Asked)> },
    /// It was read, or looked for in vain, and others make it: is each of them before the pip, or after it?
    Generated { pip: usize, used: &'a Use, makers: Vec<Maker>, noticed: Option<(StepId, Vec<Asked>)> },
    /// A directory was listed in which others make files: is each of them before the pip, or after it?
    Listed { pip: usize, used: &'a Use, others: Vec<(usize, PathBytes, Asked, Asked)> },
    /// Two pips wrote it: is one of them before the other?
    Written { path: PathBytes, first: usize, second: usize, same: bool, orders: (Asked, Asked) },
}

/// Another pip that made a name: is it before, is it after? One answer that says so is enough: several targets of one
/// rule are several steps to make.
pub(super) struct Maker {
    pub(super) pip: usize,
    before: Vec<Asked>,
    pub(super) after: Asked,
    /// Another build tool that one step of a third one launched, as it did that of the pip: only that it is before says
    /// something, for what else the step does is its own business.
    pub(super) beside: bool,
}

impl Maker {
    pub(super) fn is_before(&self, a: &Answers) -> bool {
        self.before.iter().any(|q| a.ordered(*q))
    }
}

/// Collects questions.
struct Questions<'c, 'a> {
    checker: &'c Checker<'a>,
    graph: DeclaredGraph,
    /// The names that are made, by their directories.
    members: FxHashMap<PathBytes, Vec<PathBytes>>,
    /// Makefiles and manifests.
    build_files: FxHashSet<PathBytes>,
}

/// The Python module that a compiled one stands for.
fn source_of(path: &PathBytes) -> PathBytes {
    let Some(at) = path.windows(13).position(|w| w == b"/__pycache__/") else { return path.clone() };
    let name = &path[at + 13..];
    let stem = &name[..name.iter().position(|b| *b == b'.').unwrap_or(name.len())];
    [&path[..=at], stem, b".py"].concat().into()
}

/// Asks everything that there is to ask about a run.
pub(super) fn ask<'a>(c: &Checker<'a>) -> (Vec<Case<'a>>, Answers) {
    let mut q = Questions::new(c);
    let mut cases = Vec::new();
    for (i, p) in c.seen.pips.iter().enumerate().filter(|(_, p)| p.exit_code == 0) {
        let Some(s) = c.innermost(i) else { continue };
        let named: FxHashSet<&PathBytes> = c.declared.step(s).inputs.iter().chain(c.declared.discovered(s)).collect();
        cases.extend(p.uses.iter().filter_map(|used| q.case(i, used, &named)));
    }
    q.double_writes(&mut cases);
    (cases, q.graph.answer())
}

impl<'c, 'a> Questions<'c, 'a> {
    fn new(c: &'c Checker<'a>) -> Self {
        let mut members: FxHashMap<PathBytes, Vec<PathBytes>> = FxHashMap::default();
        for path in c.makers.keys().filter(|p| !for_generator(p)) {
            members.entry(parent(path).into()).or_default().push(path.clone());
        }
        members.values_mut().for_each(|all| all.sort());
        let mut graph = DeclaredGraph::new(c.declared);
        // A step that always runs may pass on that something has changed.
        for (p, steps) in c.seen.pips.iter().zip(&c.declared.steps) {
            let Some(s) = steps.first().filter(|s| c.declared.always(**s)) else { continue };
            for u in p.uses.iter().filter(|u| u.how == How::Read && c.inside(&u.path)) {
                graph.notices(*s, &u.path);
            }
        }
        let build_files = c.declared.drivers.iter().flat_map(|d| d.declared.files.iter().cloned()).collect();
        Self { checker: c, graph, members, build_files }
    }

    /// Others that made this name, as steps of their own.
    fn others(&self, pip: usize, path: &PathBytes) -> Vec<usize> {
        let c = self.checker;
        let all = c.makers.get(path).map(Vec::as_slice).unwrap_or_default();
        let Some(step) = c.innermost(pip) else { return Vec::new() };
        let comparable = |q: usize| c.innermost(q).is_some_and(|other| c.declared.comparable(step, other));
        all.iter().copied().filter(|q| !c.one_step(pip, *q) && comparable(*q)).collect()
    }

    /// Is `a` made before `b`, and the other way round?
    fn ask_both(&mut self, a: usize, b: usize) -> Option<(Asked, Asked)> {
        let (a, b) = (self.checker.innermost(a)?, self.checker.innermost(b)?);
        if !self.checker.declared.comparable(a, b) {
            return None;
        }
        Some((self.graph.ask_order(a, b), self.graph.ask_order(b, a)))
    }

    /// What is to be asked about one use of a pip, whose step names these.
    fn case(&mut self, pip: usize, used: &'a Use, named: &FxHashSet<&PathBytes>) -> Option<Case<'a>> {
        if used.how == How::Listed {
            return self.listed(pip, used);
        }
        let c = self.checker;
        let step = c.innermost(pip)?;
        let mine = c.makers.get(&used.path).is_some_and(|all| all.iter().any(|q| c.one_step(pip, *q)));
        let known = c.declared.step(step);
        if mine || known.outputs.contains(&used.path) || known.byproducts.contains(&used.path) {
            return None;
        }
        let others = self.others(pip, &used.path);
        if others.is_empty() { self.source(pip, step, used, named) } else { self.generated(pip, step, used, &others) }
    }

    /// About a name that others make.
    fn generated(&mut self, pip: usize, step: StepId, used: &'a Use, others: &[usize]) -> Option<Case<'a>> {
        let c = self.checker;
        let noticed = (used.how == How::Read && !c.declared.always(step)).then(|| {
            // Made anew together with something that is an input, it is noticed with that.
            let with = others.iter().filter_map(|q| c.innermost(*q));
            let mut all: Vec<Asked> = with.map(|q| self.graph.ask_rerun(step, q)).collect();
            all.push(self.graph.ask_change(step, &used.path));
            (step, all)
        });
        let makers = others.iter().filter_map(|q| self.maker(pip, *q, &used.path)).collect();
        Some(Case::Generated { pip, used, makers, noticed })
    }

    /// About a name that nobody is known to make.
    fn source(&mut self, pip: usize, step: StepId, used: &'a Use, named: &FxHashSet<&PathBytes>) -> Option<Case<'a>> {
        let c = self.checker;
        let made_here = c.makers.contains_key(&used.path);
        let path = source_of(&used.path);
        let of_tool = self.build_files.contains(&path) || for_generator(&path);
        if used.how != How::Read || made_here || !c.inside(&path) || of_tool {
            return None;
        }
        // What only prints makes nothing that could be stale.
        if c.seen.pips[pip].made.iter().all(|m| m.is_dir) {
            return None;
        }
        // A generator that makes build files looks at what it has generated before, and leaves alone what is right.
        let generates = c.declared.step(step).outputs.iter().any(|o| self.build_files.contains(o));
        if generates
            && below(&path, &c.declared.drivers[step.driver].dir)
            && author(&c.declared.drivers[step.driver]) != Author::Person
        {
            return None;
        }
        if c.is_copy(pip, step, &path) {
            return None;
        }
        let levels = c.declared.steps[pip].iter();
        let levels = levels.filter(|s| !(c.declared.always(**s) || **s == step && named.contains(&path)));
        let levels: Vec<_> = levels.map(|s| (*s, self.graph.ask_change(*s, &path))).collect();
        if levels.is_empty() {
            return None;
        }
        Some(Case::Source { pip, used, path, levels })
    }

    fn maker(&mut self, pip: usize, other: usize, path: &PathBytes) -> Option<Maker> {
        let c = self.checker;
        let (step, by) = (c.innermost(pip)?, c.innermost(other)?);
        let named = c.declared.drivers[by.driver].by_output.get(path).into_iter().flatten();
        let named = named.map(|s| StepId { driver: by.driver, step: *s });
        let commands = &c.declared.step(by).commands;
        let same = named.filter(|s| *s != by && c.declared.step(*s).commands == *commands);
        let before = [by].into_iter().chain(same).map(|s| self.graph.ask_order(step, s)).collect();
        let beside = c.share_a_step(pip, other);
        Some(Maker { pip: other, before, after: self.graph.ask_order(by, step), beside })
    }

    fn listed(&mut self, pip: usize, used: &'a Use) -> Option<Case<'a>> {
        let c = self.checker;
        let mut found = Vec::new();
        for path in self.members.get(&used.path).cloned().unwrap_or_default() {
            for q in c.makers[&path].iter().filter(|q| !c.share_a_step(pip, **q)) {
                if let Some((x, y)) = self.ask_both(pip, *q) {
                    found.push((*q, path.clone(), x, y));
                }
            }
        }
        (!found.is_empty()).then_some(Case::Listed { pip, used, others: found })
    }

    fn double_writes(&mut self, cases: &mut Vec<Case<'a>>) {
        let c = self.checker;
        let several = c.makers.iter().filter(|(p, q)| q.len() > 1 && c.whereabouts(p) != Where::Scratch);
        let writes = |i: &usize| !only_touches(&c.seen.launches[c.seen.pips[*i].launch].argv);
        for (path, pips) in several {
            let pips: Vec<usize> = pips.iter().copied().filter(writes).collect();
            let digest = |i: usize| c.seen.pips[i].made.iter().find(|m| m.path == *path).and_then(|m| m.digest);
            for (n, second) in pips.iter().enumerate() {
                // One accusation per later writer is enough.
                let Some(first) = pips[..n].iter().copied().find(|f| !c.share_a_step(*f, *second)) else { continue };
                // Of two at once, each has seen at its end what the last writer had left by then.
                let [x, y] = [first, *second].map(|i| &c.seen.pips[i]);
                let at_once = !x.hit && !y.hit && x.end_ms > y.start_ms && y.end_ms > x.start_ms;
                let same = !at_once && digest(first).is_some() && digest(first) == digest(*second);
                if let Some(orders) = self.ask_both(first, *second) {
                    cases.push(Case::Written { path: path.clone(), first, second: *second, same, orders });
                }
            }
        }
    }
}
