//! What all checks share: the run, what is declared for it, and the violations that were found so far.
//!
//! [`Checker`] knows how a report calls a pip, a step and a file, and adds the evidence to a violation. It judges
//! nothing itself.

use super::suggest;
use crate::declared::{Declarations, StepId};
use crate::finding::{PipRef, Proof, Violation};
use crate::kinds::Kind;
use crate::observer::Observed;
use crate::paths::{below, os_path};
use crate::places::{Places, Surroundings, Where};
use crate::policy::Policy;
use crate::workspace::Workspace;
use cache::{PathBytes, shown as text};
use engine::event::Launch;
use engine::seen::{How, Use};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;

/// The state of one comparison.
pub(super) struct Checker<'a> {
    pub(super) seen: &'a Observed,
    pub(super) declared: &'a Declarations,
    pub(super) places: Places<'a>,
    pub(super) policy: &'a Policy,
    /// The pips that made each file, in the order in which they started.
    pub(super) makers: FxHashMap<PathBytes, Vec<usize>>,
    /// Directories in which build tools work, besides the workspace.
    grounds: Vec<PathBytes>,
    pub(super) out: Vec<Violation>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(
        seen: &'a Observed,
        declared: &'a Declarations,
        workspace: &'a Workspace,
        around: &'a Surroundings,
    ) -> Self {
        let mut makers: FxHashMap<PathBytes, Vec<usize>> = FxHashMap::default();
        for (i, p) in seen.pips.iter().enumerate() {
            for m in p.made.iter().filter(|m| !m.is_dir && !m.deleted) {
                makers.entry(m.path.clone()).or_default().push(i);
            }
        }
        let mut grounds: Vec<PathBytes> = declared.drivers.iter().map(|d| d.dir.clone()).collect();
        grounds.sort();
        grounds.dedup();
        let (places, policy) = (workspace.places(around), &*workspace.policy);
        Self { seen, declared, places, policy, makers, grounds, out: Vec::new() }
    }

    /// Every name under which something of this run may be accused.
    pub(super) fn targets(&self) -> BTreeSet<String> {
        let steps = self.declared.steps.iter().flatten().map(|s| self.target(*s));
        let pips = (0..self.seen.pips.len()).map(|p| self.name(p));
        let shared = self.makers.iter().filter(|(_, pips)| pips.len() > 1).map(|(path, _)| self.shown(path));
        steps.chain(pips).chain(shared).collect()
    }

    /// Is this file, which a pip has read, the copy that it makes of another one, and left alone because it was right
    /// (`cmake -E copy_if_different`, `install -C`)? What git tracks is nobody's copy. The original is what the step
    /// names, or what is not where the build tool works.
    pub(super) fn is_copy(&self, pip: usize, step: StepId, path: &PathBytes) -> bool {
        let name = worker::tools::base_name(path);
        let (dir, inputs) = (&self.declared.drivers[step.driver].dir, &self.declared.step(step).inputs);
        let original = |u: &&Use| {
            u.how == How::Read
                && u.path != *path
                && worker::tools::base_name(&u.path) == name
                && (inputs.contains(&u.path) || below(path, dir) && !below(&u.path, dir))
        };
        let mut originals = self.seen.pips[pip].uses.iter().filter(original).peekable();
        if inputs.contains(path) || originals.peek().is_none() {
            return false;
        }
        let tracked = self.places.around.tracked(self.places.root);
        if tracked.is_ok_and(|t| t.is_some_and(|t| t.contains(path))) {
            return false;
        }
        let bytes = |p: &PathBytes| std::fs::read(os_path(p)).ok();
        bytes(path).is_some_and(|own| originals.any(|u| bytes(&u.path).as_ref() == Some(&own)))
    }

    /// Is it a file of this project, as far as one can tell?
    pub(super) fn inside(&self, path: &[u8]) -> bool {
        self.whereabouts(path) == Where::Inside
    }

    pub(super) fn whereabouts(&self, path: &[u8]) -> Where {
        self.places.of(path, &self.grounds)
    }

    /// Are both part of one step of the innermost build tool that has launched both? What is further out says nothing
    /// of their order: the makes below CMake's `all` are ordered, or not, by the make between.
    pub(super) fn share_a_step(&self, a: usize, b: usize) -> bool {
        let (a_steps, b_steps) = (&self.declared.steps[a], &self.declared.steps[b]);
        let meeting = a_steps.iter().find(|s| b_steps.iter().any(|t| t.driver == s.driver)).map(|s| s.driver);
        a == b || a_steps.iter().any(|s| Some(s.driver) == meeting && b_steps.contains(s))
    }

    /// Is one of them part of the other's own step? Two makes of one recipe are not.
    pub(super) fn one_step(&self, a: usize, b: usize) -> bool {
        let within = |a: usize, b: usize| self.innermost(a).is_some_and(|s| self.declared.steps[b].contains(&s));
        a == b || within(a, b) || within(b, a)
    }

    pub(super) fn innermost(&self, pip: usize) -> Option<StepId> {
        self.declared.steps[pip].first().copied()
    }

    /// A path as reports show it: relative to the workspace, if it is inside.
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

    /// What a pip is called: by the target of its step, else by a file that it made, else by its command.
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

    /// A pip as a report shows it.
    pub(super) fn pip(&self, pip: usize) -> PipRef {
        self.pip_in(pip, self.innermost(pip))
    }

    /// The launch of this step that a pip is, or is below: a make that the step launched, for one.
    fn launch_in(&self, pip: usize, step: Option<StepId>) -> &Launch {
        let own = self.seen.pips[pip].launch;
        let tool = step.filter(|s| self.innermost(pip) != Some(*s)).map(|s| self.declared.drivers[s.driver].launch);
        let mut at = own;
        while tool.is_some() && self.seen.launches[at].parent != tool {
            let Some(parent) = self.seen.launches[at].parent else { return &self.seen.launches[own] };
            at = parent;
        }
        &self.seen.launches[at]
    }

    fn pip_in(&self, pip: usize, step: Option<StepId>) -> PipRef {
        let l = self.launch_in(pip, step);
        let place = step.map(|s| &self.declared.step(s).place).filter(|p| !p.file.is_empty());
        let place =
            place.map(|p| if p.line > 0 { format!("{}:{}", self.shown(&p.file), p.line) } else { self.shown(&p.file) });
        PipRef {
            id: u32::try_from(pip + 1).unwrap_or(u32::MAX),
            command: l.shown.clone(),
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
            pip: self.pip_in(pip, step.or_else(|| self.innermost(pip))),
            other: None,
            evidence: Vec::new(),
            fix: None,
            reproduce: None,
            control: None,
            allowed: None,
        }
    }

    /// Keeps a violation, with the evidence: how, and by which program, the file was used.
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
                process: e.map(|e| e.program.to_string()),
                call: e.map(|e| e.call.to_owned()),
                time_ms: e.map(|e| e.time),
            });
        }
        self.out.push(v);
    }
}
