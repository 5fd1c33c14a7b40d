//! Generated trees, generated commands, generated changes: whatever `xl` does must be what a plain run does.
//!
//! A failing case shrinks to a readable script. Parallel branches work on names of their own, because a command that
//! races with itself has no outcome to compare with.

use crate::world::World;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A step of a command or a change, as shell text.
#[derive(Clone, PartialEq, Eq)]
struct Step(String);

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A command: steps one after the other, then two branches at once.
#[derive(Clone)]
struct Script {
    steps: Vec<Step>,
    left: Vec<Step>,
    right: Vec<Step>,
}

impl Script {
    fn text(&self) -> String {
        let join = |v: &[Step]| v.iter().map(|s| s.0.as_str()).collect::<Vec<_>>().join("; ");
        let mut t = join(&self.steps);
        if !self.left.is_empty() && !self.right.is_empty() {
            t = format!(
                "{t}{}({}) > left.out 2>&1 & ({}) > right.out 2>&1 & wait",
                if t.is_empty() { "" } else { "; " },
                join(&self.left),
                join(&self.right)
            );
        }
        if t.is_empty() { ":".to_owned() } else { t }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

const NAMES: &[&str] = &["a", "b", "d/a", "d/b", "l", "d"];
const LEFT: &[&str] = &["x", "p/x", "p/y"];
const RIGHT: &[&str] = &["z", "q/z", "q/w"];

/// What looks.
fn look(names: &'static [&'static str]) -> impl Strategy<Value = Step> {
    (prop::sample::select(names), 0..9u8).prop_map(|(n, k)| {
        Step(match k {
            0 | 1 => format!("cat {n} 2>/dev/null"),
            2 => format!("test -e {n} && echo there || echo not"),
            3 => format!("test -s {n} && echo full"),
            4 => format!("ls {n} 2>/dev/null"),
            5 => format!("stat -c '%F %a %s' {n} 2>/dev/null"),
            6 => format!("readlink {n}"),
            7 => format!("test -d {n} && ls -A {n}"),
            _ => format!("wc -c < {n} 2>/dev/null"),
        })
    })
}

/// What changes something.
fn change(names: &'static [&'static str]) -> impl Strategy<Value = Step> {
    (prop::sample::select(names), prop::sample::select(names), 0..14u8, 0..3u8).prop_map(|(n, m, k, v)| {
        Step(match k {
            0 | 1 => format!("echo {v} > {n}"),
            2 => format!("echo {v} >> {n}"),
            3 => format!("rm -rf {n}"),
            4 => format!("mkdir -p {n}"),
            5 => format!("mv {n} {m} 2>/dev/null"),
            6 => format!("cp {n} {m} 2>/dev/null"),
            7 => format!("ln -sfn {m} {n} 2>/dev/null"),
            8 => format!("chmod {} {n} 2>/dev/null", ["600", "644", "755"][usize::from(v)]),
            9 => format!("rmdir {n} 2>/dev/null"),
            10 => format!("set -C; echo {v} > {n}; set +C"),
            11 => format!("sed -i 's/{v}/7/' {n} 2>/dev/null"),
            12 => format!("mkdir {n} 2>/dev/null && echo made"),
            _ => format!("touch {n} 2>/dev/null"),
        })
    })
}

fn steps(names: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(prop_oneof![look(names), change(names)], 0..most)
}

fn script() -> impl Strategy<Value = Script> {
    (steps(NAMES, 6), steps(LEFT, 4), steps(RIGHT, 4)).prop_map(|(steps, left, right)| Script { steps, left, right })
}

/// A tree, a command, and what is done to the tree before each further run.
fn case() -> impl Strategy<Value = (Vec<Step>, Script, Vec<Vec<Step>>)> {
    let all: &'static [&'static str] = &["a", "b", "d/a", "d/b", "l", "d", "x", "p/x", "z", "q", "q/z"];
    let changes = move |most| prop::collection::vec(change(all), 0..most);
    (changes(8), script(), prop::collection::vec(changes(3), 1..4))
}

type Outcome = (String, Option<i32>, BTreeMap<PathBuf, String>);

fn check(w: &World, tree: &[Step], script: &Script, changes: &[Vec<Step>]) -> Result<u64, TestCaseError> {
    let text = script.text();
    let join = |v: &[Step]| v.iter().map(|s| s.0.as_str()).collect::<Vec<_>>().join("; ");
    let prepare = |change: &[Step]| {
        w.wipe();
        w.sh(&format!("{}\n:", join(tree)));
        w.age(1_600_000_000);
        w.sh(&format!("{}\n:", join(change)));
        w.age(1_600_001_000);
    };
    let mut hits = 0;
    // The tree as it was is tried twice: there has to be something to hit.
    let none = Vec::new();
    for change in [&none, &none].into_iter().chain(changes).chain([&none]) {
        prepare(change);
        let o = w.sh(&text);
        let plain: Outcome = (String::from_utf8_lossy(&o.stdout).into_owned(), o.status.code(), w.snapshot());
        prepare(change);
        let r = w.pip(&text);
        let ours: Outcome = (r.stdout(), r.code(), w.snapshot());
        prop_assert_eq!(&ours, &plain, "after `{}`:\n{}\n{}", join(change), r.story(), r.stderr());
        hits += r.pips("hit");
    }
    Ok(hits)
}

#[test]
fn no_outcome_differs_from_a_plain_runs() {
    let cases = if std::env::var_os("XL_LONG_TESTS").is_some() { 400 } else { 60 };
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() });
    let hits = std::cell::Cell::new(0);
    let w = World::new();
    runner
        .run(&case(), |(tree, script, changes)| {
            w.sh("rm -rf ../cache");
            hits.set(hits.get() + check(&w, &tree, &script, &changes)?);
            Ok(())
        })
        .unwrap_or_else(|e| panic!("{e}"));
    // A cache that never hits proves nothing.
    assert!(hits.get() > u64::from(cases) / 2, "{} hits in {cases} cases", hits.get());
}
