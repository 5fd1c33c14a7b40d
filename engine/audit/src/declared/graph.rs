//! The declared graph of a whole run, over all build tools: which step is made before which, and what a change reaches.
//!
//! Nodes: before and after each step, each file as each build tool names it, each file as such. A make that a step of
//! another make launched begins after that step's inputs and ends before its outputs, so orders declared further out
//! hold inside. What two makes call by one name is one file for changes, but gives no order: neither of them waits for
//! the other.

use super::declarations::{Declarations, StepId};
use super::driver::Driver;
use super::reach::{Along, Graph, Need, Node};
use cache::PathBytes;
use rustc_hash::{FxHashMap, FxHashSet};

/// The graph, and the questions that are collected before they are answered together.
pub(crate) struct DeclaredGraph {
    graph: Graph,
    before: Vec<Vec<Node>>,
    after: Vec<Vec<Node>>,
    files: FxHashMap<PathBytes, Node>,
    orders: Vec<(Node, Node)>,
    changes: Vec<(Node, Node)>,
}

/// A question whose answer comes later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked(usize);

/// The answers.
pub(crate) struct Answers {
    orders: Vec<bool>,
    changes: Vec<bool>,
}

impl Answers {
    pub(crate) fn ordered(&self, a: Asked) -> bool {
        self.orders[a.0]
    }

    pub(crate) fn reached(&self, a: Asked) -> bool {
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

impl DeclaredGraph {
    pub(crate) fn new(d: &Declarations) -> Self {
        let mut g = Self {
            graph: Graph::default(),
            before: Vec::new(),
            after: Vec::new(),
            files: FxHashMap::default(),
            orders: Vec::new(),
            changes: Vec::new(),
        };
        let ends: Vec<(Node, Node)> = (0..d.drivers.len()).map(|number| g.add_driver(d, number)).collect();
        for (later, earlier) in &d.in_turn {
            g.graph.need(ends[*later].0, ends[*earlier].1, Need::Order);
        }
        for (around, (entry, exit)) in d.around.iter().zip(ends) {
            for s in around {
                g.graph.need(entry, g.before[s.driver][s.step], Need::Order);
                g.graph.need(g.after[s.driver][s.step], exit, Need::Order);
            }
        }
        g
    }

    /// Adds what one build tool declares; the result is where it begins, and where it has ended.
    fn add_driver(&mut self, d: &Declarations, number: usize) -> (Node, Node) {
        let driver = &d.drivers[number];
        let (entry, exit, ready) = (self.graph.node(), self.graph.node(), self.graph.node());
        let mut named: FxHashMap<PathBytes, Node> = FxHashMap::default();
        // Included makefiles are made before anything else.
        self.graph.need(ready, entry, Need::Order);
        let early = early(driver);
        for f in driver.declared.files.iter().filter(|f| driver.by_output.contains_key(*f)) {
            let file = self.named(&mut named, f, false);
            self.graph.need(ready, file, Need::Order);
        }
        self.before.push(Vec::new());
        self.after.push(Vec::new());
        for step in 0..driver.declared.steps.len() {
            let begin = if early.contains(&step) { entry } else { ready };
            self.add_step(d, StepId { driver: number, step }, &mut named, (begin, exit));
        }
        (entry, exit)
    }

    /// Adds a step after those before it, between these two.
    fn add_step(
        &mut self,
        d: &Declarations,
        id: StepId,
        named: &mut FxHashMap<PathBytes, Node>,
        (begin, exit): (Node, Node),
    ) {
        let s = d.step(id);
        let (before, after) = (self.graph.node(), self.graph.node());
        self.before[id.driver].push(before);
        self.after[id.driver].push(after);
        self.graph.need(after, before, Need::Input);
        self.graph.need(before, begin, Need::Order);
        self.graph.need(exit, after, Need::Order);
        for o in &s.outputs {
            let here = self.named(named, o, s.phony);
            self.graph.need(here, after, Need::Input);
            if !s.phony {
                let file = self.file(o);
                self.graph.need(file, after, Need::Noticed);
            }
        }
        let inputs = s.inputs.iter().map(|p| (p, Need::Input));
        let discovered = d.discovered(id).map(|p| (p, Need::Noticed));
        for (path, need) in inputs.chain(discovered).chain(s.order_only.iter().map(|p| (p, Need::Order))) {
            let here = self.named(named, path, false);
            self.graph.need(before, here, need);
        }
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
    pub(crate) fn notices(&mut self, s: StepId, path: &PathBytes) {
        let file = self.file(path);
        self.graph.need(self.before[s.driver][s.step], file, Need::Noticed);
    }

    /// Is `first` always done before `then` begins?
    pub(crate) fn ask_order(&mut self, then: StepId, first: StepId) -> Asked {
        self.orders.push((self.before[then.driver][then.step], self.after[first.driver][first.step]));
        Asked(self.orders.len() - 1)
    }

    /// Does a change of `path` make `s` run again?
    pub(crate) fn ask_change(&mut self, s: StepId, path: &PathBytes) -> Asked {
        let file = self.file(path);
        self.changes.push((self.before[s.driver][s.step], file));
        Asked(self.changes.len() - 1)
    }

    /// Does it make `s` run again when `other` makes something new?
    pub(crate) fn ask_rerun(&mut self, s: StepId, other: StepId) -> Asked {
        self.changes.push((self.before[s.driver][s.step], self.after[other.driver][other.step]));
        Asked(self.changes.len() - 1)
    }

    /// Answers everything.
    pub(crate) fn answer(&self) -> Answers {
        Answers {
            orders: self.graph.reaches(&self.orders, Along::Order),
            changes: self.graph.reaches(&self.changes, Along::Change),
        }
    }
}
