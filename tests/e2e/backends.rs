//! The backends see the same: what one stores, another finds, and neither stores anything that the other would not.
//! And the one that records after the fact, when it cannot keep up.

use crate::world::World;
use std::collections::BTreeMap;

/// Every result by its strong fingerprint, which stands for command, path set and all values; with the path set, to be
/// shown.
pub(crate) fn results(w: &World) -> BTreeMap<String, Vec<String>> {
    let (store, _) = cache::Store::open(&w.cache()).expect("a cache");
    let sets = store.results().expect("its results");
    store.close();
    let shown = |o: &cache::Observation| match o.path() {
        Some(p) => format!("{o:?}").replace(&format!("{p:?}"), &String::from_utf8_lossy(p)),
        None => format!("{o:?}"),
    };
    sets.into_iter().map(|(d, set)| (format!("{d:?}"), set.observations().iter().map(shown).collect())).collect()
}

/// What is in `now` and was not in `before`, next to the likest of those.
pub(crate) fn differences(before: &BTreeMap<String, Vec<String>>, now: &BTreeMap<String, Vec<String>>) -> String {
    let mut text = String::new();
    for (_, new) in now.iter().filter(|(k, _)| !before.contains_key(*k)) {
        let apart = |old: &&Vec<String>| {
            old.iter().filter(|o| !new.contains(o)).count() + new.iter().filter(|o| !old.contains(o)).count()
        };
        let Some(old) = before.values().min_by_key(apart) else { continue };
        text += "one more:\n";
        old.iter().filter(|o| !new.contains(o)).for_each(|o| text += &format!("  - {o}\n"));
        new.iter().filter(|o| !old.contains(o)).for_each(|o| text += &format!("  + {o}\n"));
    }
    text
}

fn same(w: &mut World, prepare: impl Fn(&World), command: &[&str]) {
    let mut stored: Option<BTreeMap<_, _>> = None;
    // Python looks at times.
    let fresh = |w: &World| {
        w.wipe();
        prepare(w);
        w.sh("find . -exec touch -h -d @1000000000 {} +");
    };
    for backend in ["seccomp", "ebpf", "ptrace"] {
        fresh(w);
        w.env.insert("XL_BACKEND".into(), backend.into());
        let all = [&["--no-cache-read"][..], &["--"], command].concat();
        let o = w.xl(&["run"]).args(&all).output().expect("xl");
        let said = String::from_utf8_lossy(&o.stderr);
        assert!(o.status.success() && said.contains(backend) && !said.contains("not deterministic"), "{said}");
        let now = results(w);
        // In one cache: whatever differs is added.
        if let Some(before) = &stored {
            assert!(now == *before, "{backend}: {}", differences(before, &now));
        }
        assert!(now.len() > 3, "{said}");
        stored = Some(now);
        fresh(w);
        let warm = w.run(command);
        assert_eq!((warm.pips("miss"), warm.pips("uncacheable")), (0, 0), "{backend}: {}", warm.story());
    }
}

/// A scratch name that holds the number of the process is another one each time, and no input.
#[test]
fn names_that_are_made_up_count_for_nothing() {
    let w = World::new();
    w.write(
        "s.sh",
        "rm -rf w$$; mkdir w$$ && touch w$$/a && test -e w$$/a && rm -r w$$; cp in out\nt=$(mktemp \
        ./tmp.XXXXXXXX); d=$(mktemp -d ./tmp.XXXXXXXX); echo int x\\; > $t.c; gcc -c $t.c -o $t.o; cp in $d/a; rm -r \
        $t $t.* $d\n",
    );
    w.write("in", "1");
    let mut first = BTreeMap::new();
    for _ in 0..3 {
        let o = w.xl(&["exec", "--no-cache-read", "--", "sh", "s.sh"]).output().expect("xl");
        assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
        first = if first.is_empty() { results(&w) } else { first };
        assert_eq!((results(&w).len(), differences(&first, &results(&w))), (1, String::new()));
    }
    w.write("r.rs", "pub fn r() -> u8 { 1 }\n");
    let mut known = BTreeMap::new();
    for _ in 0..2 {
        w.sh("rm -f libr.rlib");
        let o = w.xl(&["exec", "--no-cache-read", "--", "rustc", "--crate-type", "rlib", "r.rs"]).output().expect("xl");
        assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
        known = if known.is_empty() { results(&w) } else { known };
        assert_eq!((results(&w).len(), differences(&known, &results(&w))), (2, String::new()));
    }
    // A name that only looks like one is an input.
    w.write("s.sh", "test -e other.4711 || cp in out\n");
    let o = w.xl_run("exec", &["sh", "s.sh"]);
    assert_eq!((o.pips("miss"), w.xl_run("exec", &["sh", "s.sh"]).pips("hit")), (1, 1));
    w.write("other.4711", "");
    assert_eq!(w.xl_run("exec", &["sh", "s.sh"]).pips("hit"), 0);
}

#[test]
fn make_and_the_usual_tools() {
    same(
        &mut World::new(),
        |w| {
            w.write("inc/deep/v.h", "#define V 3\n");
            w.write(
                "a.c",
                "#include \"v.h\"\n#include <stdio.h>\n#if __has_include(\"none.h\")\n#error\n#endif\nint \
                a(void) { return printf(\"%d\", V); }\n",
            );
            w.write(
                "b.cc",
                "#include <vector>\nextern \"C\" int a(void);\nint main() { std::vector<int> v(3); return a() + \
                    (int)v.size(); }\n",
            );
            w.write(
                "gen.py",
                "import os, sys, json\nopen(sys.argv[1], 'w').write('int g = %d;\\n' % len(os.listdir('inc')))\n",
            );
            w.write(
                "t.sh",
                "for f in inc/*; do test -d $f && echo $f; done > list\nsed s/inc/out/ list | sort > \
                list2\nrm list; [ -e nothing ] || echo none >> list2\n",
            );
            w.sh("ln -s inc/deep include");
            w.write(
                "Makefile",
                "all: prog lib.a list2\nprog: a.o b.o g.o\n\tg++ -o $@ $^\nlib.a: a.o g.o\n\tar cr $@ $^\n\tranlib \
                    $@\na.o: a.c\n\tgcc -MD -Iinclude -c $<\n\
                 b.o: b.cc\n\tg++ -O1 -c $<\ng.c:\n\tpython3 -I -B gen.py $@\ng.o: g.c\n\tgcc -c $<\nlist2:\n\tsh t.sh\ninstall: all\n\tinstall -m 755 prog bin\n",
            );
        },
        &["make", "-j2", "all", "install"],
    );
}

#[test]
fn ninja_with_response_files() {
    same(
        &mut World::new(),
        |w| {
            w.write(
                "build.ninja",
                "rule cc\n  command = gcc -MD -MF $out.d @$out.rsp -c $in -o $out\n  depfile = $out.d\n  deps = \
                    gcc\n  rspfile = $out.rsp\n  rspfile_content = -DN=1 -Iinc\n\
                 rule link\n  command = gcc -o $out @$out.rsp\n  rspfile = $out.rsp\n  rspfile_content = $in\n\
                 rule cat\n  command = cat $in > $out && cp $out $out.copy && mv $out.copy $out.2\n\
                 build o/a.o: cc a.c\nbuild o/b.o: cc b.c\nbuild p: link o/a.o o/b.o\nbuild text: cat a.c b.c\n",
            );
            w.write("inc/n.h", "int f(int);\n");
            w.write("a.c", "#include \"n.h\"\nint main(void) { return f(N); }\n");
            w.write("b.c", "#include \"n.h\"\nint f(int n) { return n - 1; }\n");
        },
        &["ninja", "-j2"],
    );
}

/// A mount over the tree, as long as this lives.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// Paths go through mounts, and inode numbers are not the same wherever one asks.
#[test]
fn on_other_file_systems() {
    if !rustix::process::geteuid().is_root() {
        return crate::world::skip("mounts need root");
    }
    for mount in [
        "mkdir -p ../l ../u ../k && mount -t overlay overlay -o lowerdir=../l,upperdir=../u,workdir=../k",
        "mkdir -p ../real/deep && mount --bind ../real/deep",
        "mount -t tmpfs tmpfs",
    ] {
        let mut w = World::new();
        let tree = w.tree();
        w.sh("echo '#define LOWER 1' > ../lower.h; mkdir ../l; cp ../lower.h ../l");
        let o = w
            .command("sh")
            .current_dir(tree.parent().expect("its parent"))
            .args(["-c", &format!("cd t; {mount} \"$PWD\"")])
            .output()
            .expect("sh");
        assert!(o.status.success(), "{mount}: {}", String::from_utf8_lossy(&o.stderr));
        let _mounted = Mounted(tree);
        same(
            &mut w,
            |w| {
                w.write("in/a.h", "#define A 1\n");
                w.sh("cp ../lower.h lower.h");
                w.write("src/a.c", "#include \"a.h\"\n#include \"../lower.h\"\nint a = A;\n");
                w.write("src/b.c", "#include <stdio.h>\nint b(void) { return puts(\"b\"); }\n");
                w.write(
                    "Makefile",
                    "all: a.o b.o l.a\n\tcd src && cat ../in/a.h a.c > ../all.txt; sort ../all.txt > \
                    ../sorted\na.o b.o: %.o: src/%.c\n\tgcc -Iin -c $<\nl.a: a.o b.o\n\tar cr $@ $^\n",
                );
            },
            &["make", "-j2"],
        );
    }
}

/// A program that looks at `processes` × `names` names that are not there.
fn flood(w: &World) {
    w.write(
        "flood.c",
        "#include <stdio.h>\n#include <stdlib.h>\n#include <sys/stat.h>\n#include <sys/wait.h>\n#include <unistd.h>\n\
         int main(int c, char **v) {\n  for (int p = 0; p < atoi(v[1]); p++)\n    if (!fork()) {\n      char n[64]; struct stat s;\n\
         for (int i = 0; i < atoi(v[2]); i++) { sprintf(n, \"no/%d.%d\", p, i); stat(n, &s); }\n      _exit(0);\n    \
             }\n  while (wait(0) > 0);\n  return 0;\n}\n",
    );
    w.sh("gcc -O1 flood.c -o flood");
    w.write("a.c", "int a;\n");
    w.write("build.sh", "gcc -c a.c\n./flood 4 100000\ngcc -S a.c\n");
}

/// Recorded, lost and stops, as `XL_LOG` tells them.
fn counts(said: &str) -> (u64, u64, u64) {
    let number = |what: &str| {
        let before = said.split(what).next().expect("its text");
        before
            .rsplit([' ', ','])
            .find(|w| !w.is_empty())
            .and_then(|w| w.parse().ok())
            .unwrap_or_else(|| panic!("{what}: {said}"))
    };
    (number(" recorded"), number(" lost"), number(" stops"))
}

#[test]
fn a_flood_is_kept_up_with_or_admitted() {
    let mut w = World::new();
    flood(&w);
    w.env.insert("XL_BACKEND".into(), "ebpf".into());
    w.env.insert("XL_LOG".into(), "1".into());
    let mut run = |ring: &str| {
        w.env.insert("XL_EBPF_RING".into(), ring.into());
        w.sh("rm -rf a.o a.s ../cache");
        let r = w.run(&["sh", "build.sh"]);
        assert_eq!(r.code(), Some(0), "{}", r.stderr());
        let outcomes = ["gcc -c", "flood", "gcc -S"].map(|c| r.outcome(c));
        (counts(&r.stderr()), outcomes, r.record["lost_events"].as_u64().unwrap(), r.stderr())
    };
    let ((all, lost, stops), outcomes, told, said) = run("");
    assert_eq!((lost, told, outcomes), (0, 0, ["miss", "miss", "miss"].map(str::to_owned)), "{said}");
    assert!(all > 400_000 && stops < 1000, "{said}");
    // Too small, and nobody waits: every record is accounted for, and only whose they are has no result.
    let ((some, lost, _), outcomes, told, said) = run("65536!");
    assert!(lost > 1000 && some + lost >= all - 50 && some + lost <= all + 50, "{some} + {lost}, not {all}: {said}");
    assert_eq!((told, outcomes), (lost, ["miss", "uncacheable", "miss"].map(str::to_owned)), "{said}");
    assert!(said.contains("faster than they could be recorded"), "{said}");
    // Too small, and they wait.
    let ((some, lost, stops), outcomes, _, said) = run("65536");
    assert_eq!((lost, outcomes), (0, ["miss", "miss", "miss"].map(str::to_owned)), "{said}");
    assert!(stops > 0 && some.abs_diff(all) < 50, "{said}");
}

/// Killed while somebody waits for the ring: the build goes on.
#[test]
fn nobody_stays_stopped() {
    let mut w = World::new();
    flood(&w);
    w.env.insert("XL_BACKEND".into(), "ebpf".into());
    w.env.insert("XL_EBPF_RING".into(), "65536".into());
    // Another test floods too: this one is known by its name.
    let name = format!("flood{}", std::process::id());
    w.sh(&format!("mv flood {name}"));
    let mut stopped = 0;
    for _ in 0..5 {
        w.sh("rm -f done a.s");
        let mut c = w.xl(&["run", "--summary", "off", "--", "sh", "-c", &format!("./{name} 4 100000; touch done")]);
        let mut child = c.spawn().expect("xl");
        // As soon as somebody is stopped.
        while child.try_wait().expect("its state").is_none() {
            if w.sh(&format!("pgrep -r T -x {name}")).status.success() {
                stopped += 1;
                break;
            }
        }
        drop(child.kill());
        drop(child.wait());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !w.path("done").exists() {
            assert!(std::time::Instant::now() < deadline, "the build stands still");
            std::thread::yield_now();
        }
    }
    assert!(stopped > 0, "nobody ever waited");
}

/// Programs are loaded for who needs them: a build that only hits goes without, even where none can be loaded any more.
/// One that is not what it was runs, and what it could not observe it does not store.
#[test]
fn a_warm_build_loads_no_programs() {
    let mut w = World::new();
    let refuse = crate::places::refuse(&w);
    w.env.insert("XDG_CACHE_HOME".into(), w.path("../user").display().to_string());
    w.write("a.c", "int a;\n");
    let run = |what: &str| {
        w.sh("rm -f a.o");
        let o = w.sh(&format!(
            "{refuse} {what} -- {} run --backend ebpf -- sh -c 'gcc -c a.c; test -e a.o'",
            env!("CARGO_BIN_EXE_xl")
        ));
        assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
        String::from_utf8_lossy(&o.stderr).into_owned()
    };
    assert!(run("nothing").contains("0 hits, 1 ran ·"));
    let said = run("bpf");
    assert!(said.contains("1 hit, 0 ran") && said.contains("ebpf") && said.lines().count() == 1, "{said}");
    w.write("a.c", "int a, b;\n");
    let said = run("bpf");
    assert!(said.contains("1 ran (1 uncacheable)") && said.contains("could not be observed"), "{said}");
    // And it has learned.
    let o = w.sh(&format!(
        "{refuse} bpf -- {} run --backend auto -- sh -c 'gcc -c a.c; test -e a.o'",
        env!("CARGO_BIN_EXE_xl")
    ));
    assert!(String::from_utf8_lossy(&o.stderr).contains("seccomp"), "{}", String::from_utf8_lossy(&o.stderr));
}

/// A look at a file that a signal interrupts is made again, and seen: dash, whose handler for the ends of children does
/// not ask for that, would take it for a directory of `PATH` that lacks the command. Children end here all the time.
#[test]
fn looks_that_signals_interrupt() {
    let mut w = World::new();
    w.env.insert("XL_BACKEND".into(), "seccomp".into());
    let path: String = (0..40).map(|n| format!("/none/{n}:")).collect();
    let lines: String = (0..100).map(|n| format!("for i in 1 2 3 4 5 6 7 8; do : & done; tool-{n} 2>&-\n")).collect();
    w.write("looks.sh", &format!("PATH={path}$PATH\n{lines}echo done > out\n"));
    let r = w.xl_run("exec", &["dash", "looks.sh"]);
    assert_eq!((r.code(), r.pips("miss")), (Some(0), 1), "{}", r.story());
    let seen: Vec<String> = results(&w).into_values().flatten().filter(|o| o.starts_with("Absent(/none/")).collect();
    assert_eq!(seen.len(), 40 * 100);
}
