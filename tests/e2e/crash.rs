//! Killed at any moment: the cache opens, verifies, and the next build is right. And two at once.

use crate::world::World;
use std::time::Duration;

fn project() -> World {
    let w = World::new();
    let names: Vec<String> = (0..12).map(|i| format!("f{i}")).collect();
    for (i, n) in names.iter().enumerate() {
        w.write(&format!("{n}.c"), &format!("#include <stdio.h>\n#include <stdlib.h>\nint {n}(void) {{ return printf(\"{i}\"); }}\n"));
    }
    let objects: Vec<String> = names.iter().map(|n| format!("{n}.o")).collect();
    w.write("Makefile", &format!("all: lib.a\nlib.a: {0}\n\trm -f $@; ar cr $@ {0}\n%.o: %.c\n\tgcc -O1 -c $< -o $@\n", objects.join(" ")));
    w
}

fn verified(w: &World) {
    let v = w.xl(&["cache", "verify"]).output().unwrap();
    assert_eq!(v.status.code(), Some(0), "{}{}", String::from_utf8_lossy(&v.stdout), String::from_utf8_lossy(&v.stderr));
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
        w.run(&["make", "-j2"]);
        let mut victims: Vec<_> = files(&w.cache());
        victims.sort();
        for (i, f) in victims.iter().enumerate() {
            let bytes = std::fs::read(f).expect("a file of the cache");
            let name = f.display().to_string();
            let log = name.contains("/db/") && name.ends_with(".log");
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

#[test]
fn two_at_once_on_one_cache() {
    let (a, b) = (project(), project());
    let dir = a.cache();
    let run = |w: &World| {
        let mut c = w.xl(&["run", "--", "make", "-j2"]);
        c.env("XL_CACHE_DIR", &dir);
        c
    };
    let both = std::thread::scope(|s| [&a, &b].map(|w| s.spawn(|| run(w).output().expect("xl"))).map(|t| t.join().unwrap()));
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
