//! Builds that nobody here wrote: cold and warm trees are those of a plain build, a warm build starts no tool, the
//! build tool then has nothing to do, and what one backend stores is what the others would.
//!
//! `XL_WORKLOADS` chooses some by name. Trees are kept below the target directory, so that a second run has its
//! sources.

#[path = "../../xtask/src/bench/workloads.rs"]
mod list;

use crate::backends::{differences, results};
use crate::world::{World, tree};
use list::{WORKLOADS, Workload};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Tree = BTreeMap<PathBuf, String>;

fn same(what: &str, plain: &Tree, now: &Tree) {
    let apart: Vec<_> = plain.keys().chain(now.keys()).filter(|k| plain.get(*k) != now.get(*k)).take(20).collect();
    assert!(apart.is_empty(), "{what}: {apart:?}");
}

/// Random numbers of 64 bits, as good as all of them longer than 15 digits, as one sign.
fn unnumbered(set: &[String]) -> Vec<String> {
    let random = |w: &str| w.len() > 15 && w.bytes().all(|b| b.is_ascii_digit());
    let digits = |o: &String| -> Vec<String> {
        o.chars()
            .collect::<Vec<char>>()
            .chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit())
            .map(|w| w.iter().collect())
            .collect()
    };
    let mut all: Vec<String> =
        set.iter().map(|o| digits(o).iter().map(|w| if random(w) { "#" } else { w }).collect::<String>()).collect();
    all.sort();
    all
}

fn build(w: &Workload) {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("workloads").join(w.name);
    let (src, pristine) = (base.join("src"), base.join("pristine"));
    let plainly = |text: &str, dir: &Path| {
        let mut c = std::process::Command::new("bash");
        c.args(["-c", text]).current_dir(dir).env_remove("CARGO_TARGET_DIR");
        // Whose version is asked for is not that of the checkout around.
        c.env("GIT_CEILING_DIRECTORIES", &base);
        c.env("CC", "gcc").env("CXX", "g++").env("LC_ALL", "C.UTF-8").output().expect("bash")
    };
    let sh = |text: &str, dir: &Path| {
        let o = plainly(text, dir);
        assert!(o.status.success(), "{}: `{text}`: {}", w.name, String::from_utf8_lossy(&o.stderr));
    };
    if !pristine.exists() {
        std::fs::create_dir_all(&base).expect("a directory");
        let fetch = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/fetch.sh");
        let o = std::process::Command::new(fetch).arg(w.package).arg(&src).output().expect("the script");
        if !o.status.success() {
            return crate::world::skip(&format!(
                "{}: the archive has no sources: {}",
                w.name,
                String::from_utf8_lossy(&o.stderr)
            ));
        }
        sh(w.configure, &src);
        std::fs::rename(&src, &pristine).expect("a new name");
    }
    let reset = || sh("rm -rf src && cp -a pristine src", &base);
    reset();
    sh(w.build, &src);
    let idle = || plainly(w.idle, &src).status.code();
    let idle_after_plain = idle();
    let now = || {
        let mut all = tree(&src, w.volatile);
        // What meson pickles is in no order.
        all.retain(|name, _| name.extension().is_none_or(|e| e != "dat"));
        all
    };
    let plain = now();

    let mut world = World::new();
    for (k, v) in [("CC", "gcc"), ("CXX", "g++")] {
        world.env.insert(k.into(), v.into());
    }
    world.env.insert("GIT_CEILING_DIRECTORIES".into(), base.display().to_string());
    let json = world.path("record.json");
    let run = |world: &World, what: &str, options: &[&str], build: &str| {
        let mut c = world.xl(&["run", "--json", json.to_str().expect("utf-8")]);
        let o = c.args(options).args(["--", "bash", "-c", build]).current_dir(&src).output().expect("xl");
        let said = String::from_utf8_lossy(&o.stderr).into_owned();
        assert!(o.status.success(), "{} {what}: {said}", w.name);
        let record: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).expect("a record")).expect("JSON");
        (record, said)
    };
    let mut stored: Option<BTreeMap<String, Vec<String>>> = None;
    for backend in ["seccomp", "ebpf"] {
        reset();
        world.env.insert("XL_BACKEND".into(), backend.into());
        // One at a time: which of two commands makes the directory that both need is part of what they do.
        run(&world, backend, &["--no-cache-read"], &w.build.replace("-j2", "-j1"));
        same(&format!("{} cold, {backend}", w.name), &plain, &now());
        let set = results(&world);
        if let Some(before) = &stored {
            // Who compares times of what the build makes depends on other values in every build.
            let timed =
                |set: &Vec<String>| set.iter().any(|o| o.contains("times: true")) && before.values().any(|b| b == set);
            // Build scripts of cargo's may make up names of scratch files (the cc crate: a random number).
            let made_up = |set: &Vec<String>| {
                before.values().any(|b| b != set && b.len() == set.len() && unnumbered(b) == unnumbered(set))
            };
            let fresh = set.iter().filter(|(k, set)| !before.contains_key(*k) && !timed(set) && !made_up(set)).count();
            assert_eq!(fresh, 0, "{}: {backend} stores something else: {}", w.name, differences(before, &set));
        }
        stored = Some(set);
    }
    world.env.remove("XL_BACKEND");
    // Users have one cold build behind them: what the others stored must not help.
    std::fs::remove_dir_all(world.cache()).expect("the cache");
    reset();
    run(&world, "cold", &[], w.build);
    same(&format!("{} cold", w.name), &plain, &now());
    let tools = |text: &String| {
        text.split([' ', '"', ';', '`'])
            .any(|word| worker::tools::is_toolchain(word.as_bytes()) || word.ends_with("/rustc"))
    };
    let warm = |what: &str| {
        let (r, said) = run(&world, what, &[], w.build);
        let items = r["items"].as_array().expect("items");
        let ran = items.iter().filter(|i| i["outcome"] != "hit");
        let ran: Vec<_> = ran.map(|i| format!("{} {} {}", i["outcome"], i["command"], i["reason"])).collect();
        assert!(!ran.iter().any(tools), "{} {what}: {ran:#?}", w.name);
        // What is too cheap to look up may run.
        let dear = ran.iter().filter(|r| !r.starts_with("\"bypassed\"")).count();
        assert!(dear * 20 <= items.len(), "{} {what}: {ran:#?} {said}", w.name);
        assert_eq!(idle(), idle_after_plain, "{} {what}: `{}`", w.name, w.idle);
    };
    reset();
    warm("warm");
    same(&format!("{} warm", w.name), &plain, &now());
    sh(w.anew, &src);
    warm("cleaned and configured again");
    // Every result once more, really: nothing that it makes is different.
    reset();
    let (r, _) = run(&world, "recheck", &["--recheck", "100"], w.build);
    let differ = r["rechecks"]["different"].as_array().expect("a list");
    let known = |d: &str| w.volatile.iter().any(|v| d.contains(&format!("/{v}`")));
    assert!(differ.iter().all(|d| known(d.as_str().expect("text"))), "{} recheck: {differ:#?}", w.name);
}

#[test]
#[ignore = "downloads sources; part of `cargo xtask ci --full`"]
fn what_nobody_here_wrote() {
    let chosen = std::env::var("XL_WORKLOADS").unwrap_or_default();
    let chosen: Vec<&str> = chosen.split(' ').filter(|n| !n.is_empty()).collect();
    for w in WORKLOADS.iter().filter(|w| chosen.is_empty() || chosen.contains(&w.name)) {
        build(w);
    }
}
