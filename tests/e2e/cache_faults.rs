//! A broken configuration or cache costs speed and a message, never the build.

use crate::world::World;
use std::os::unix::fs::PermissionsExt;

fn project() -> World {
    let w = World::new();
    w.write("Makefile", "all: a.o\na.o: a.c\n\tgcc -c a.c\n");
    w.write("a.c", "int a = 1;\n");
    w
}

fn builds_anyway(w: &World, says: &str) {
    w.sh("rm -f a.o");
    let r = w.run(&["make"]);
    assert_eq!(r.code(), Some(0), "{}", r.stderr());
    assert!(w.path("a.o").exists());
    assert!(r.stderr().contains(says), "no `{says}` in: {}", r.stderr());
}

#[test]
fn unknown_keys_are_errors_with_a_suggestion() {
    let w = project();
    w.write("xl.toml", "[cache]\nmax_byte = 3\n");
    let r = w.run(&["make"]);
    assert_eq!(r.code(), Some(65));
    let e = r.stderr();
    assert!(e.contains("unknown key `max_byte` at line 2") && e.contains("did you mean `max_bytes`?"), "{e}");
    assert!(!w.path("a.o").exists(), "nothing was started");
}

#[test]
fn a_directory_of_a_newer_version_is_left_alone() {
    let w = project();
    std::fs::create_dir_all(w.cache()).unwrap();
    std::fs::write(w.cache().join("format"), "99\n").unwrap();
    builds_anyway(&w, "has format 99");
    assert_eq!(std::fs::read_dir(w.cache()).unwrap().count(), 1);
    let strict = w.xl(&["run", "--strict", "--", "make"]).output().unwrap();
    assert_eq!(strict.status.code(), Some(74));
}

#[test]
fn somebody_elses_directory_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return crate::world::skip("giving a directory to somebody else needs root");
    }
    let w = project();
    std::fs::create_dir_all(w.cache()).unwrap();
    std::os::unix::fs::chown(w.cache(), Some(65534), None).unwrap();
    builds_anyway(&w, "belongs to user 65534");
}

#[test]
fn a_file_in_place_of_the_directory() {
    let w = project();
    std::fs::write(w.cache(), "not a directory").unwrap();
    builds_anyway(&w, "runs without a cache");
}

#[test]
fn a_flipped_byte_in_a_blob_costs_a_miss() {
    let w = project();
    builds_anyway(&w, "xl:");
    let mut flipped = 0;
    for fan in std::fs::read_dir(w.cache().join("cas")).unwrap().flatten() {
        for blob in std::fs::read_dir(fan.path()).unwrap().flatten() {
            let mut b = std::fs::read(blob.path()).unwrap();
            b[0] ^= 1;
            std::fs::write(blob.path(), b).unwrap();
            flipped += 1;
        }
    }
    assert!(flipped > 0);
    let good = std::fs::read(w.path("a.o")).unwrap();
    builds_anyway(&w, "is damaged");
    assert_eq!(std::fs::read(w.path("a.o")).unwrap(), good);
    // It was stored again.
    w.sh("rm a.o");
    assert_eq!(w.run(&["make"]).outcome("gcc -c a.c"), "hit");
}

#[test]
fn verify_finds_and_drops_damage() {
    let w = project();
    builds_anyway(&w, "xl:");
    assert_eq!(w.xl(&["cache", "verify"]).status().unwrap().code(), Some(0));
    let fan = std::fs::read_dir(w.cache().join("cas"))
        .unwrap()
        .flatten()
        .find(|d| std::fs::read_dir(d.path()).unwrap().count() > 0)
        .unwrap();
    let blob = std::fs::read_dir(fan.path()).unwrap().flatten().next().unwrap();
    std::fs::write(blob.path(), "x").unwrap();
    assert_eq!(w.xl(&["cache", "verify"]).output().unwrap().status.code(), Some(1));
    assert_eq!(w.xl(&["cache", "verify"]).output().unwrap().status.code(), Some(0));
}

#[test]
fn a_damaged_data_base_is_set_aside() {
    let w = project();
    builds_anyway(&w, "xl:");
    w.xl(&["cache", "gc"]).output().unwrap();
    for f in std::fs::read_dir(w.cache().join("db")).unwrap().flatten() {
        if f.file_name().to_string_lossy().starts_with("MANIFEST") {
            let mut b = std::fs::read(f.path()).unwrap();
            b.iter_mut().take(64).for_each(|x| *x ^= 0x55);
            std::fs::write(f.path(), b).unwrap();
        }
    }
    builds_anyway(&w, "was damaged");
    builds_anyway(&w, "1 hit,");
}

#[test]
fn a_directory_whose_name_is_no_text() {
    let w = project();
    let o =
        w.sh(&format!("XL_CACHE_DIR=$(printf '../c\\377') {} run -- make && test -e a.o", env!("CARGO_BIN_EXE_xl")));
    let said = String::from_utf8_lossy(&o.stderr);
    assert!(o.status.success() && said.contains("not UTF-8") && said.contains("XL_CACHE_DIR"), "{said}");
}

#[test]
fn a_damaged_key_is_set_aside() {
    let w = project();
    for damage in ["echo short > key", "mkdir key", "mkfifo key", "ln -s nowhere key", ": > key"] {
        builds_anyway(&w, "xl:");
        w.sh(&format!("cd {} && rm -rf key && {damage}", w.cache().display()));
        builds_anyway(&w, "the key of the cache was damaged");
        builds_anyway(&w, "1 hit,");
    }
}

/// From no room at all to enough of it: the build is as it would be without, and `xl` says why nothing is stored.
#[test]
fn a_small_disk() {
    if !rustix::process::geteuid().is_root() {
        return crate::world::skip("mounting a small file system needs root");
    }
    let mut w = project();
    let small = w.path("../small");
    std::fs::create_dir_all(&small).unwrap();
    w.env.insert("XL_CACHE_DIR".into(), small.join("c").display().to_string());
    w.write("Makefile", "all: a.o b\na.o: a.c\n\tgcc -c a.c\nb:\n\tseq 1 400000 > b; head -c 2000000 b > b2\n");
    for size in ["4k", "64k", "300k", "1M", "4M", "7M", "9M", "size=64M,nr_inodes=20", "size=64M,nr_inodes=100"] {
        let size = if size.contains('=') { size.to_owned() } else { format!("size={size}") };
        if !w.sh(&format!("mount -t tmpfs -o {size},mode=700 none {}", small.display())).status.success() {
            return crate::world::skip("no mount here");
        }
        let seen: Vec<_> = (0..3)
            .map(|_| {
                w.sh("rm -f a.o b b2");
                let r = w.run(&["make", "-j2"]);
                (
                    r.code(),
                    w.path("a.o").exists(),
                    w.path("b2").metadata().map(|m| m.len()).ok(),
                    r.pips("hit"),
                    r.stderr(),
                )
            })
            .collect();
        w.sh(&format!("umount {}", small.display()));
        for (code, a, b2, _, said) in &seen {
            assert_eq!((*code, *a, *b2), (Some(0), true, Some(2_000_000)), "{size}: {said}");
        }
        // What did not hit in the end was not stored, and it was said why.
        let (_, _, _, hits, said) = &seen[2];
        assert!(*hits == 2 || said.contains("full") || said.contains("No space"), "{size}: {hits} hits: {said}");
    }
}

#[test]
fn a_full_disk_stores_nothing_and_stops_nothing() {
    if !rustix::process::geteuid().is_root() {
        return crate::world::skip("mounting a small file system needs root");
    }
    let mut w = project();
    let small = w.path("../small");
    std::fs::create_dir_all(&small).unwrap();
    let mounted = w.sh(&format!("mount -t tmpfs -o size=12M,mode=700 none {}", small.display()));
    if !mounted.status.success() {
        return crate::world::skip("no mount here");
    }
    w.env.insert("XL_CACHE_DIR".into(), small.join("c").display().to_string());
    w.write("Makefile", "all: big\nbig:\n\tdd if=/dev/zero bs=1M count=30 2>/dev/null | tr '\\0' x > big\n");
    let r = w.run(&["make"]);
    let state = (r.code(), w.path("big").metadata().map(|m| m.len()).ok());
    let said = r.stderr();
    w.sh(&format!("umount {}", small.display()));
    assert_eq!(state, (Some(0), Some(30 << 20)), "{said}");
    assert!(said.contains("full") || said.contains("No space"), "{said}");
}

#[test]
fn a_read_only_cache_still_hits() {
    if !rustix::process::geteuid().is_root() {
        return crate::world::skip("a read-only mount needs root");
    }
    let w = project();
    builds_anyway(&w, "xl:");
    let dir = w.cache().display().to_string();
    if !w.sh(&format!("mount --bind {dir} {dir} && mount -o remount,ro,bind {dir}")).status.success() {
        return crate::world::skip("no mount here");
    }
    w.sh("rm a.o");
    let r = w.run(&["make"]);
    w.sh(&format!("umount {dir}"));
    assert_eq!(r.code(), Some(0), "{}", r.stderr());
    assert_eq!(r.outcome("gcc -c a.c"), "hit", "{}\n{}", r.story(), r.stderr());
}

#[test]
fn eviction_keeps_the_cache_below_its_cap() {
    let w = World::new();
    w.write("xl.toml", "[cache]\nmax_bytes = 300000\nevict_bytes = 100000\n");
    for i in 0..6 {
        let r = w.pip(&format!("head -c 100000 /dev/zero | tr '\\0' {i} > f{i}"));
        assert_eq!(r.code(), Some(0), "{}", r.stderr());
    }
    let stats = String::from_utf8(w.xl(&["cache", "stats"]).output().unwrap().stdout).unwrap();
    let bytes: u64 =
        stats.lines().find_map(|l| l.strip_prefix("bytes")?.split_whitespace().next()?.parse().ok()).unwrap();
    assert!(bytes <= 300_000, "{stats}");
    w.sh("rm -f f5");
    assert_eq!(w.pip("head -c 100000 /dev/zero | tr '\\0' 5 > f5").pips("hit"), 1, "the newest stays");
}

/// No environment value and no secret-looking argument reaches the disk in clear text.
#[test]
fn canaries_stay_out_of_the_cache() {
    let mut w = project();
    w.env.insert("DEPLOY_TOKEN".into(), "canary-in-the-environment".into());
    w.write(
        "Makefile",
        "all:\n\t@python3 -B -c 'import os; print(len(os.environ))' --password=canary-in-an-argument\n",
    );
    let r = w.run(&["make"]);
    assert_eq!(r.code(), Some(0), "{}", r.stderr());
    fn search(dir: &std::path::Path, found: &mut Vec<String>) {
        for e in std::fs::read_dir(dir).unwrap().flatten() {
            if e.path().is_dir() {
                search(&e.path(), found);
            } else if let Ok(b) = std::fs::read(e.path()) {
                let text = String::from_utf8_lossy(&b);
                found.extend(
                    ["canary-in-the-environment", "canary-in-an-argument"]
                        .iter()
                        .filter(|c| text.contains(**c))
                        .map(|c| format!("{c} in {}", e.path().display())),
                );
            }
        }
    }
    let mut found = Vec::new();
    search(&w.cache(), &mut found);
    assert!(found.is_empty(), "{found:?}");
    let mode = w.cache().metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
}

/// A byte flipped in the log or in the data base's tables: read errors are misses, the build goes on, and afterwards it
/// is warm again.
#[test]
fn a_flipped_byte_in_the_records() {
    for in_data_base in [false, true] {
        let w = project();
        builds_anyway(&w, "xl:");
        if in_data_base {
            w.xl(&["cache", "gc"]).output().unwrap();
        }
        let tables = std::fs::read_dir(w.cache().join("db")).into_iter().flatten().flatten().map(|f| f.path());
        let tables = tables.filter(|p| p.extension().is_some_and(|e| e == "sst"));
        let victims: Vec<_> = if in_data_base { tables.collect() } else { vec![w.cache().join("log")] };
        assert!(!victims.is_empty());
        for p in victims {
            let mut b = std::fs::read(&p).unwrap();
            let middle = b.len() / 2;
            b[middle] ^= 0x10;
            std::fs::write(p, b).unwrap();
        }
        builds_anyway(&w, if in_data_base { "was damaged" } else { "xl:" });
        builds_anyway(&w, "1 hit,");
        let verified = w.xl(&["cache", "verify"]).output().unwrap();
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    }
}

/// A source that somebody edits while the compiler reads it: the result is not stored.
#[test]
fn an_input_that_changes_under_the_command() {
    let w = World::new();
    w.write("in", "one\n");
    w.write("Makefile", "all: out\nout: in\n\tpython3 -B s.py\n");
    // The editor is not part of the pip: it belongs to the driver script, and waits until the pip has read.
    w.write("driver.sh", "mkfifo go done\n(read x < go; echo two > in; echo > done) &\nmake\nwait\n");
    w.write(
        "s.py",
        "x = open('in').read()\nopen('go', 'w').write('\\n')\nopen('done').read()\nopen('out', 'w').write(x)\n",
    );
    let r = w.run(&["sh", "driver.sh"]);
    assert_eq!(r.code(), Some(0), "{}", r.stderr());
    assert_eq!(w.read("out"), "one\n");
    assert_eq!(r.outcome("s.py"), "uncacheable", "{}", r.story());
}
