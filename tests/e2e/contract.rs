//! The contract of the observers: one system call a case, each backend, exactly the expected report.
//!
//! Cases and expectations are in `tests/contract/calls.c`.

use crate::world::World;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Kinds that must be exactly as stated, nothing when not stated.
const EXACT: &[&str] =
    &["read", "probed", "absent", "listed", "symlinks", "written", "outputs", "temps", "deleted", "directories"];

type Sets = BTreeMap<String, BTreeSet<String>>;

fn expectation(text: &str) -> Sets {
    let mut out = Sets::new();
    // A value may hold blanks: a new kind begins at a word with a colon.
    let mut kind = String::new();
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        match word.split_once(':') {
            Some((k, v)) => {
                kind = k.to_owned();
                out.entry(kind.clone()).or_default().extend(v.split(',').filter(|v| !v.is_empty()).map(str::to_owned));
            }
            None => {
                let last = out.get_mut(&kind).and_then(BTreeSet::pop_last).expect("a word after a kind");
                out.get_mut(&kind).expect("a kind").insert(format!("{last} {word}"));
            }
        }
    }
    out
}

fn observed(w: &World, trace: &Value) -> Sets {
    let root = w.tree().canonicalize().expect("the tree").display().to_string();
    let below = |p: &str| match p.strip_prefix(&root) {
        Some("") => Some(".".to_owned()),
        Some(rest) => rest.strip_prefix('/').map(str::to_owned),
        None => None,
    };
    let names = |k: &&str| {
        let all = trace[*k].as_array().expect(k);
        ((*k).to_string(), all.iter().filter_map(|p| below(p.as_str()?)).collect())
    };
    let facts = trace["facts"].as_array().expect("facts");
    let facts = ("facts".to_owned(), facts.iter().filter_map(|f| f.as_str().map(str::to_owned)).collect());
    EXACT.iter().chain(&["inputs"]).map(names).chain([facts]).collect()
}

fn check(program: &str, backend: &str, case: &str, want: &str) -> Result<(), String> {
    let w = World::new();
    w.sh("rm xl.toml; echo f > f; echo g > g; printf '#!/bin/true\\n' > s; chmod 755 s; mkdir m d; echo d > d/f; ln \
        -s f l; ln -s nowhere x; ln -s d dl; ln -s ../g d/up");
    let json = w.path("../trace.json");
    let o = w
        .xl(&["trace", "--backend", backend, "--json", "-o", json.to_str().unwrap(), "--", program, case])
        .output()
        .unwrap();
    if o.status.code() != Some(0) {
        return Err(format!("{backend} {case}: {:?} {}", o.status, String::from_utf8_lossy(&o.stderr)));
    }
    let trace: Value =
        serde_json::from_slice(&std::fs::read(&json).map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    let (want, mut seen) = (expectation(want), observed(&w, &trace));
    let mut wrong = Vec::new();
    for kind in EXACT.iter().chain(["inputs", "facts"].iter().filter(|k| want.contains_key(**k))) {
        let mut w = want.get(*kind).cloned().unwrap_or_default();
        let s = seen.remove(*kind).unwrap_or_default();
        if *kind == "inputs" {
            // What it also read is named there.
            w.retain(|p| s.contains(p) || !want.get("read").is_some_and(|r| r.contains(p)));
        }
        // Libraries ask for some at their start.
        if *kind == "facts" && w.is_subset(&s) {
            continue;
        }
        if w != s {
            wrong.push(format!("{kind} is {s:?}, not {w:?}"));
        }
    }
    let escapes: Vec<String> =
        trace["escapes"].as_array().unwrap().iter().map(|e| e.as_str().unwrap().to_owned()).collect();
    match want.get("escapes").and_then(BTreeSet::first) {
        Some(e) if escapes.len() == 1 && escapes[0].contains(e.as_str()) => {}
        None if escapes.is_empty() => {}
        e => wrong.push(format!("escapes are {escapes:?}, not {e:?}")),
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{backend} {case}: {}", wrong.join("; "))) }
}

fn contract(backend: &str) {
    let w = World::new();
    let program = w.path("../calls");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contract/calls.c");
    let built = w.sh(&format!("gcc -O1 -Wno-trampolines -o {} {source} -lpthread", program.display()));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let program = program.display().to_string();
    let list = w.sh(&format!("{program} --list"));
    let list = String::from_utf8(list.stdout).unwrap();
    let cases: Vec<(&str, &str)> = list.lines().map(|l| l.split_once('\t').unwrap()).collect();
    assert!(cases.len() >= 140, "{} cases", cases.len());
    let wrong: Vec<String> =
        cases.iter().filter_map(|(case, want)| check(&program, backend, case, want).err()).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn seccomp() {
    contract("seccomp");
}

#[test]
fn ptrace() {
    contract("ptrace");
}

#[test]
fn ebpf() {
    contract("ebpf");
}
