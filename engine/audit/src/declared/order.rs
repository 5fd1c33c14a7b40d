//! The declared graph of a whole run, over all build tools: which step is made before which, and what a change reaches.
//!
//! Nodes: before and after each step, each file as each build tool names it, each file as such. A make that a step of
//! another make launched begins after that step's inputs and ends before its outputs, so orders declared further out
//! hold inside. What two makes call by one name is one file for changes, but gives no order: neither of them waits for
//! the other.

use super::declarations::{Declarations, Driver, StepId};
use super::reach::{Along, Graph, Need, Node};
use cache::PathBytes;
use rustc_hash::{FxHashMap, FxHashSet};

/// The graph, and the questions that are collected before they are answered together.
pub struct Links {
    graph: Graph,
    before: Vec<Vec<Node>>,
    after: Vec<Vec<Node>>,
    files: FxHashMap<PathBytes, Node>,
    orders: Vec<(Node, Node)>,
    changes: Vec<(Node, Node)>,
}

/// A question whose answer comes later.
#[derive(Clone, Copy, Debug)]
pub struct Asked(usize);

/// The answers.
pub struct Answers {
    orders: Vec<bool>,
    changes: Vec<bool>,
}

impl Answers {
    pub fn ordered(&self, a: Asked) -> bool {
        self.orders[a.0]
    }

    pub fn reached(&self, a: Asked) -> bool {
        self.changes[a.0]
    }
}

/// The steps of a driver that make its build files, and all that those need.
fn early(d: &Driver) -> FxHashSet<usize> {
    let mut found = FxHashSet::default();
    let mut open: Vec<&PathBytes> = d.declared.files.iter().collect();
    while let Some(path) = open.pop() {
        for s in d.by_output.get(path).into_iter().flatten() {
            if found.insert(*s) {
                let step = &d.declared.steps[*s];
                open.extend(step.inputs.iter().chain(&step.order_only));
            }
        }
    }
    found
}

impl Links {
    pub fn new(d: &Declarations) -> Self {
        let mut l = Self {
            graph: Graph::default(),
            before: Vec::new(),
            after: Vec::new(),
            files: FxHashMap::default(),
            orders: Vec::new(),
            changes: Vec::new(),
        };
        let mut ends: Vec<(Node, Node)> = Vec::new();
        for (number, driver) in d.drivers.iter().enumerate() {
            let (entry, exit) = (l.graph.node(), l.graph.node());
            ends.push((entry, exit));
            let mut named: FxHashMap<PathBytes, Node> = FxHashMap::default();
            let (mut before, mut after) = (Vec::new(), Vec::new());
            // Included makefiles are made before anything else.
            let ready = l.graph.node();
            l.graph.need(ready, entry, Need::Order);
            let early = early(driver);
            for f in &driver.declared.files {
                if driver.by_output.contains_key(f) {
                    let file = l.named(&mut named, f, false);
                    l.graph.need(ready, file, Need::Order);
                }
            }
            for (i, s) in driver.declared.steps.iter().enumerate() {
                let (b, a) = (l.graph.node(), l.graph.node());
                before.push(b);
                after.push(a);
                l.graph.need(a, b, Need::Input);
                l.graph.need(b, if early.contains(&i) { entry } else { ready }, Need::Order);
                l.graph.need(exit, a, Need::Order);
                for o in &s.outputs {
                    let here = l.named(&mut named, o, s.phony);
                    l.graph.need(here, a, Need::Input);
                    if !s.phony {
                        let file = l.file(o);
                        l.graph.need(file, a, Need::Noticed);
                    }
                }
                let id = StepId { driver: number, step: i };
                let inputs = s.inputs.iter().map(|p| (p, Need::Input));
                let all = inputs
                    .chain(d.discovered(id).map(|p| (p, Need::Noticed)))
                    .chain(s.order_only.iter().map(|p| (p, Need::Order)));
                for (path, need) in all {
                    let here = l.named(&mut named, path, false);
                    l.graph.need(b, here, need);
                }
            }
            l.before.push(before);
            l.after.push(after);
        }
        for (later, earlier) in &d.in_turn {
            l.graph.need(ends[*later].0, ends[*earlier].1, Need::Order);
        }
        for (around, (entry, exit)) in d.around.iter().zip(ends) {
            for s in around {
                l.graph.need(entry, l.before[s.driver][s.step], Need::Order);
                l.graph.need(l.after[s.driver][s.step], exit, Need::Order);
            }
        }
        l
    }

    /// A name as one build tool knows it.
    fn named(&mut self, named: &mut FxHashMap<PathBytes, Node>, path: &PathBytes, phony: bool) -> Node {
        if let Some(n) = named.get(path) {
            return *n;
        }
        let n = self.graph.node();
        named.insert(path.clone(), n);
        if !phony {
            let file = self.file(path);
            self.graph.need(n, file, Need::Noticed);
        }
        n
    }

    fn file(&mut self, path: &PathBytes) -> Node {
        if let Some(n) = self.files.get(path) {
            return *n;
        }
        let n = self.graph.node();
        self.files.insert(path.clone(), n);
        n
    }

    /// A change of `path` makes `s` act again, although it declares nothing of the kind: it always runs.
    pub fn notices(&mut self, s: StepId, path: &PathBytes) {
        let file = self.file(path);
        self.graph.need(self.before[s.driver][s.step], file, Need::Noticed);
    }

    /// Is `first` always done before `then` begins?
    pub fn ask_order(&mut self, then: StepId, first: StepId) -> Asked {
        self.orders.push((self.before[then.driver][then.step], self.after[first.driver][first.step]));
        Asked(self.orders.len() - 1)
    }

    /// Does a change of `path` make `s` run again?
    pub fn ask_change(&mut self, s: StepId, path: &PathBytes) -> Asked {
        let file = self.file(path);
        self.changes.push((self.before[s.driver][s.step], file));
        Asked(self.changes.len() - 1)
    }

    /// Does it make `s` run again when `other` makes something new?
    pub fn ask_rerun(&mut self, s: StepId, other: StepId) -> Asked {
        self.changes.push((self.before[s.driver][s.step], self.after[other.driver][other.step]));
        Asked(self.changes.len() - 1)
    }

    /// Answers everything.
    pub fn answer(&self) -> Answers {
        Answers {
            orders: self.graph.reaches(&self.orders, Along::Order),
            changes: self.graph.reaches(&self.changes, Along::Change),
        }
    }
}
