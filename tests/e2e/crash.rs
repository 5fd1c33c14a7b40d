//! Killed at any moment: the cache opens, verifies, and the next build is right. And two at once.

use crate::world::World;
use std::time::Duration;

fn project() -> World {
    let w = World::new();
    let names: Vec<String> = (0..12).map(|i| format!("f{i}")).collect();
    for (i, n) in names.iter().enumerate() {
        w.write(
            &format!("{n}.c"),
            &format!("#include <stdio.h>\n#include <stdlib.h>\nint {n}(void) {{ return printf(\"{i}\"); }}\n"),
        );
    }
    let objects: Vec<String> = names.iter().map(|n| format!("{n}.o")).collect();
    w.write(
        "Makefile",
        &format!(
            "all: lib.a\nlib.a: {0}\n\trm -f $@; ar cr $@ {0}\n%.o: %.c\n\tgcc -O1 -c $< -o $@\n",
            objects.join(" ")
        ),
    );
    w
}

fn verified(w: &World) {
    let v = w.xl(&["cache", "verify"]).output().unwrap();
    assert_eq!(
        v.status.code(),
        Some(0),
        "{}{}",
        String::from_utf8_lossy(&v.stdout),
        String::from_utf8_lossy(&v.stderr)
    );
}

fn right(w: &World, want: &std::collections::BTreeMap<std::path::PathBuf, String>) {
    let r = w.run(&["make", "-j2"]);
    assert_eq!(r.code(), Some(0), "{}", r.stderr());
    assert_eq!(&w.snapshot(), want);
}

#[test]
fn killed_at_many_moments() {
    killed(20);
}

#[test]
#[ignore = "ten minutes; part of `cargo xtask ci --full`"]
fn killed_at_two_hundred_moments() {
    killed(200);
}

/// A number from 0 to 1, another one at each call and in each run.
fn chance() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    random as f64 / u64::MAX as f64
}

fn killed(times: u32) {
    let w = project();
    w.sh("make -j2");
    let want = w.snapshot();
    w.sh("rm -f *.o *.a");
    let started = std::time::Instant::now();
    w.run(&["make", "-j2"]);
    let whole = started.elapsed();
    for i in 0..times {
        w.sh("rm -f *.o *.a");
        if i % 2 == 0 {
            let _ = std::fs::remove_dir_all(w.cache());
        }
        let group = i % 4 < 2;
        use std::os::unix::process::CommandExt;
        let mut c = w.xl(&["run", "--summary", "off", "--", "make", "-j2"]);
        c.process_group(0).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = c.spawn().expect("xl");
        // The moment is the test's subject: anywhere in the run.
        std::thread::sleep(whole.mul_f64(chance()) + Duration::from_millis(3));
        let pid = rustix::process::Pid::from_child(&child);
        let _ = if group {
            rustix::process::kill_process_group(pid, rustix::process::Signal::KILL)
        } else {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL)
        };
        let _ = child.wait();
        // A build that lost only its supervisor goes on by itself; let it end.
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while w.sh(&format!("pgrep -r R,S,D,T -g {} >/dev/null", child.id())).status.success() {
            assert!(std::time::Instant::now() < deadline, "a process of the killed build hangs");
            std::thread::sleep(Duration::from_millis(20));
        }
        verified(&w);
        right(&w, &want);
    }
}

/// The power goes: of what was written last, files are empty, cut or full of zeros, and logs end anywhere.
#[test]
fn power_is_lost() {
    let w = project();
    w.sh("make -j2");
    let want = w.snapshot();
    for round in 0..6usize {
        let _ = std::fs::remove_dir_all(w.cache());
        w.sh("rm -f *.o *.a");
        if round % 2 == 1 {
            // What is in the data base is safe there; what comes after it is not.
            w.run(&["make", "f0.o", "f1.o", "f2.o"]);
            w.xl(&["cache", "gc"]).output().unwrap();
        }
        w.run(&["make", "-j2"]);
        let mut victims: Vec<_> = files(&w.cache());
        victims.sort();
        for (i, f) in victims.iter().enumerate() {
            let bytes = std::fs::read(f).expect("a file of the cache");
            let name = f.display().to_string();
            let log = name.ends_with("/cache/log");
            if log || (name.contains("/cas/") && (i + round) % 3 == 0) {
                let damaged = match (round + i) % 3 {
                    _ if log => bytes[..bytes.len() * round / 6].to_vec(),
                    0 => Vec::new(),
                    1 => bytes[..bytes.len() / 2].to_vec(),
                    _ => vec![0; bytes.len()],
                };
                std::fs::write(f, damaged).expect("damage");
            }
        }
        w.sh("rm -f *.o *.a");
        right(&w, &want);
        // Found out on the way, and gone: what is left is sound.
        w.xl(&["cache", "verify"]).output().unwrap();
        verified(&w);
        w.sh("rm -f *.o *.a");
        right(&w, &want);
    }
}

fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir(dir).expect("a directory").flatten().map(|e| e.path());
    all.flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] }).collect()
}

#[test]
fn eight_at_once_on_one_cache() {
    let all: Vec<World> = (0..8).map(|_| project()).collect();
    let dir = all[0].cache();
    for round in 0..2 {
        let run = |w: &World| w.xl(&["run", "--", "make"]).env("XL_CACHE_DIR", &dir).output().expect("xl");
        let outs: Vec<_> = std::thread::scope(|s| {
            let started: Vec<_> = all.iter().map(|w| s.spawn(move || run(w))).collect();
            started.into_iter().map(|t| t.join().unwrap()).collect()
        });
        for (w, o) in all.iter().zip(outs) {
            let text = String::from_utf8_lossy(&o.stderr).into_owned();
            assert!(o.status.success() && w.path("lib.a").exists(), "{text}");
            assert!(!text.contains("warning"), "{text}");
            assert!(round == 0 || text.contains("13 hits"), "{text}");
            w.sh("rm -f *.o *.a");
        }
    }
    verified(&all[0]);
}

/// Four builds are open at once: what the command of one has made the others have from then on, whoever came first, and
/// whoever is killed.
#[test]
fn what_one_build_makes_another_has_at_once() {
    let w = World::new();
    w.write("in", "1\n");
    // The open ones wait for a file; each runs its command when it is told to.
    w.write(
        "build.sh",
        "while [ ! -e \"go-$1\" ]; do :; done\nsh -c 'cat in; sort in > out'\n: > \"done-$1\"\nwhile [ ! -e end ]; do \
            :; done\n",
    );
    let json = |n: &str| w.path(&format!("../{n}.json"));
    let open = |n: &str| {
        let mut c = w.xl(&["run", "--summary", "off", "--json", json(n).to_str().unwrap(), "--", "sh", "build.sh", n]);
        c.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("xl")
    };
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(std::time::Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let [mut first, mut second, mut third, mut killed] = ["1", "2", "3", "4"].map(open);
    let ended = |n: &str| until(&format!("build {n} has run its command"), &|| w.path(&format!("done-{n}")).exists());
    // The last to come is the first to make something, and does not live to see the end.
    w.write("go-4", "");
    ended("4");
    killed.kill().unwrap();
    killed.wait().unwrap();
    w.sh("rm out");
    w.write("go-1", "");
    ended("1");
    assert!(w.path("out").exists());
    // Another input: another result, of a build that found nothing of its own when it began.
    w.write("in", "2\n");
    w.write("go-2", "");
    ended("2");
    let since = std::time::Instant::now();
    w.write("go-3", "");
    ended("3");
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    // A short build while the others are open is in the log, and so is what all of them made.
    let short = w.run(&["sh", "-c", "sh -c 'cat in; sort in > out'; :"]);
    assert_eq!(short.outcome("sort in"), "hit", "{}", short.story());
    let said = |words: &[&str]| String::from_utf8_lossy(&w.xl(words).output().unwrap().stdout).into_owned();
    assert_eq!(said(&["log"]).lines().count(), 1, "{}", said(&["log"]));
    assert!(said(&["cache", "stats"]).contains("results    2\n"), "{}", said(&["cache", "stats"]));
    verified(&w);
    w.write("end", "");
    let outcome = |n: &str, child: &mut std::process::Child| {
        assert!(child.wait().unwrap().success());
        let r: serde_json::Value = serde_json::from_slice(&std::fs::read(json(n)).unwrap()).unwrap();
        r["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|i| {
                i["command"].as_str().unwrap().contains(
                    "sort \
            in",
                )
            })
            .unwrap()["outcome"]
            .clone()
    };
    assert_eq!([outcome("1", &mut first), outcome("2", &mut second), outcome("3", &mut third)], ["hit", "miss", "hit"]);
    assert_eq!(said(&["log"]).lines().count(), 4, "{}", said(&["log"]));
}

/// A process that has been stopped while it was writing does not stop the others.
#[test]
fn a_stopped_process_stops_nobody() {
    let w = World::new();
    w.write("in", "1\n");
    w.pip("sort in > out");
    let log = std::fs::File::open(w.cache().join("log")).unwrap();
    rustix::fs::flock(&log, rustix::fs::FlockOperation::LockExclusive).unwrap();
    w.sh("rm out");
    let r = w.pip("sort in > out");
    assert_eq!((r.code(), r.pips("hit"), w.read("out").as_str()), (Some(0), 1, "1\n"), "{}", r.stderr());
    let r = w.pip("sort -r in > out");
    assert!(r.code() == Some(0) && r.stderr().contains("timed out"), "{}", r.stderr());
    drop(log);
    assert_eq!(w.pip("sort -r in > out").pips("hit"), 0);
    assert_eq!(w.pip("sort -r in > out").pips("hit"), 1);
}

#[test]
fn two_at_once_on_one_cache() {
    let (a, b) = (project(), project());
    let dir = a.cache();
    let run = |w: &World| {
        let mut c = w.xl(&["run", "--", "make", "-j2"]);
        c.env("XL_CACHE_DIR", &dir);
        c
    };
    let both =
        std::thread::scope(|s| [&a, &b].map(|w| s.spawn(|| run(w).output().expect("xl"))).map(|t| t.join().unwrap()));
    for o in both {
        assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    }
    // Both published: both trees are warm now.
    for w in [&a, &b] {
        w.sh("rm -f *.o *.a");
        let out = run(w).output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr);
        let line = text.lines().find(|l| l.starts_with("xl: ")).unwrap_or_default();
        assert!(line.contains("13 hits") || line.contains(" 0 ran"), "{text}");
    }
    verified(&a);
}

/// Calls that are answered by the keeper are those of a build that lost its supervisor: an ordinary end has none, and
/// trying which there might be took longer than all else.
#[test]
fn an_ordinary_end_leaves_nothing_to_the_keeper() {
    let w = World::new();
    let log = w.path("../calls");
    for what in ["run", "exec"] {
        let xl = env!("CARGO_BIN_EXE_xl");
        let text =
            format!("strace -f -e trace=ioctl,exit_group -o {} {xl} {what} --backend seccomp -- true", log.display());
        assert!(w.sh(&text).status.success());
        // strace ends when the keeper has.
        let calls = std::fs::read_to_string(&log).unwrap();
        let tried = calls.lines().filter(|l| l.contains("ioctl(") || l.contains("ioctl resumed")).count();
        assert!(
            calls.contains("exit_group(0)") && tried < 5000,
            "{what}: {tried} calls, for a command that makes a dozen"
        );
    }
}
