//! What others do while the build runs: to the names that a running pip uses, and to the files that the next hit rests
//! on.
//!
//! Others are another command of the build, the script that drives it, and somebody outside, who is a thread of the
//! test. A pip gives them time by sleeping, since waiting for a file of theirs would be a look at it; whoever comes too
//! late makes a case that does not bite, and those that do are counted.

use crate::world::World;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Outside,
    Command,
    Driver,
}

/// What the other does to `d/f`: its name, what the pip finds there before, and the shell text.
const DEEDS: [(&str, &str, &str); 5] = [
    ("make", "mkdir d", "echo other > d/f"),
    ("replace", "mkdir d; echo old > d/f", "echo other > d/n; mv d/n d/f"),
    ("append", "mkdir d; echo old > d/f", "echo other >> d/f"),
    ("rename", "mkdir d; echo other > f", "mv f d/f"),
    ("remove", "mkdir d; echo old > d/f", "rm d/f"),
];

/// What the pip does with it.
const USES: [(&str, &str); 7] = [
    ("read", "cat d/f > out 2>&1"),
    ("read-and-remove", "cat d/f > out 2>&1; rm -f d/f"),
    ("list", "ls d > out; ls d/f* >> out 2>&1"),
    ("rename", "mv d/f out 2> err"),
    ("link", "ln d/f out 2> err; rm -f d/f"),
    ("remove", "rm -f d/f"),
    ("overwrite", "cat d/f > out 2>&1; echo mine > d/f"),
];

/// Before its first look, between that and the use, after both: the pip sleeps at `@`.
const ORDERS: [&str; 3] = ["@; USE", "LOOK; @; USE", "LOOK; USE; @"];

/// Every pair of deed and use, each in a directory of its own, in one build.
struct Pairs {
    world: World,
    all: Vec<(PathBuf, &'static str)>,
}

impl Pairs {
    fn new(who: Who, order: &str) -> Self {
        let world = World::new();
        let mut all = Vec::new();
        let mut script = String::from("read on < in\n");
        for (deed, _, act) in DEEDS {
            for (using, text) in USES {
                if who == Who::Outside
                    && using == "overwrite"
                    && order.ends_with('@')
                    && matches!(deed, "make" | "append" | "rename")
                {
                    // What somebody outside writes into a command's fresh output cannot be told from the command's own
                    // writing: docs/safety.md.
                    continue;
                }
                let name = format!("{deed}-{using}");
                let look = if using == "list" { "ls d > first" } else { "test -s d/f" };
                let pip = order.replace("LOOK", look).replace("USE", text).replace('@', ": > ready; sleep 1");
                let other = match who {
                    Who::Outside => String::new(),
                    Who::Command => format!("test $on = no || sh -c 'cd {name}; sleep .5; {act}; :' & "),
                    // What is no builtin is a command of its own, all the same.
                    Who::Driver => format!("test $on = no || (cd {name}; sleep .5; {act}) & "),
                };
                script += &format!("{other}sh -c 'cd {name}; {pip}; :' &\n");
                all.push((world.path(&name), act));
            }
        }
        script += "wait\n";
        world.write("../build.sh", &script);
        Self { world, all }
    }

    fn reset(&self, on: &str) {
        self.world.wipe();
        for (deed, setup, _) in DEEDS {
            self.world.sh(&format!("for u in {}; do mkdir {deed}-$u; (cd {deed}-$u; {setup}); done", self.kinds()));
        }
        self.world.write("in", &format!("{on}\n"));
    }

    fn kinds(&self) -> String {
        USES.map(|(u, _)| u).join(" ")
    }

    /// Somebody outside waits for each pip, and does it.
    fn outside(all: Vec<(PathBuf, &'static str)>) {
        let end = Instant::now() + Duration::from_secs(60);
        let mut left = all;
        while !left.is_empty() && Instant::now() < end {
            left.retain(|(dir, act)| {
                let ready = dir.join("ready").exists();
                if ready {
                    do_in(dir, act);
                }
                !ready
            });
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Shell text, without a shell's fork where it can be helped: there are a hundred at once.
fn do_in(dir: &Path, act: &str) {
    let f = dir.join("d/f");
    // What the pip has taken away by now cannot be changed any more.
    let _ = match act.split(' ').next() {
        Some("rm") => std::fs::remove_file(f),
        Some("mv") => std::fs::rename(dir.join("f"), f),
        _ if act.contains(">>") => {
            use std::io::Write as _;
            std::fs::OpenOptions::new().append(true).create(true).open(f).and_then(|mut o| o.write_all(b"other\n"))
        }
        _ if act.contains("mv") => {
            std::fs::write(dir.join("d/n"), "other\n").and_then(|()| std::fs::rename(dir.join("d/n"), f))
        }
        _ => std::fs::write(f, "other\n"),
    };
}

/// What a pip found that was somebody else's doing is no result of its own: where nobody does it, that is not served.
fn pairs(who: Who) {
    ORDERS.iter().for_each(|order| pairs_in(who, order));
}

fn pairs_in(who: Who, order: &str) {
    let p = Pairs::new(who, order);
    p.reset("no");
    p.world.sh("sh ../build.sh");
    let want = p.world.snapshot();

    p.reset("yes");
    let all = p.all.clone();
    let other = (who == Who::Outside).then(|| std::thread::spawn(move || Pairs::outside(all)));
    p.world.run(&["sh", "../build.sh"]);
    other.into_iter().for_each(|t| t.join().expect("who is outside"));
    let first = p.world.snapshot();
    let differs = |name: &Path| {
        let below = |t: &crate::traps::Tree| {
            t.iter().filter(|(p, _)| p.starts_with(name)).map(|(p, x)| (p.clone(), x.clone())).collect::<Vec<_>>()
        };
        below(&first) != below(&want)
    };
    let names = p.all.iter().map(|(d, _)| PathBuf::from(d.file_name().expect("a name")));
    let bitten = names.filter(|n| differs(n)).count();
    assert!(bitten * 3 > p.all.len(), "{who:?}, {order}: only {bitten} of {} cases were in time", p.all.len());

    p.reset("no");
    let r = p.world.run(&["sh", "../build.sh"]);
    let now = p.world.snapshot();
    let wrong: Vec<String> = now
        .iter()
        .filter(|(p, x)| want.get(*p) != Some(*x))
        .map(|(p, x)| format!("{}: {x}", p.display()))
        .chain(want.keys().filter(|p| !now.contains_key(*p)).map(|p| format!("{} is missing", p.display())))
        .collect();
    assert!(wrong.is_empty(), "{who:?}, {order}: {}\n{}", wrong.join("\n"), r.story());

    p.reset("no");
    let again = p.world.run(&["sh", "../build.sh"]);
    assert_eq!(p.world.snapshot(), want, "{who:?}, {order}");
    assert_eq!(
        again.pips("hit"),
        p.all.len() as u64,
        "{who:?}, {order}: undisturbed, each is known\n{}",
        again.story()
    );
}

#[test]
fn names_that_somebody_outside_changes() {
    pairs(Who::Outside);
}

#[test]
fn names_that_another_command_changes() {
    pairs(Who::Command);
}

#[test]
fn names_that_the_build_script_changes() {
    pairs(Who::Driver);
}

/// One program that looks again and again, and finds what another command made: each of its looks counts, not only the
/// first.
#[test]
fn who_waits_for_a_file() {
    // A minute is for machines that stand still for seconds under the load of other tests, which has been seen.
    let wait = |look: &str, after: &str| {
        format!(
            "import os, time\nn = 0\nwhile n < 6000:\n    n += 1\n    time.sleep(.01)\n    try: x = {look}\n    except \
                OSError: continue\n    break\n{after}\n"
        )
    };
    let cases = [
        wait("open('late').read()", "open('final', 'w').write(x); os.remove('late')"),
        wait("os.stat('late')", "os.rename('late', 'final')"),
        wait("os.readlink('late')", "open('final', 'w').write(x); os.remove('late')"),
    ];
    for (i, text) in cases.iter().enumerate() {
        let w = World::new();
        w.write("p.py", text);
        let make = if i == 2 { "ln -s \"$(cat in)\" late" } else { "cat in > n; mv n late" };
        w.write("b.sh", &format!("sh -c '(sleep 0.3; {make}) > /dev/null 2>&1 & exit 0'\n/usr/bin/python3 -B p.py\n"));
        for round in ["1", "2", "2"] {
            w.write("in", round);
            w.sh("rm -f final");
            let r = w.run(&["sh", "b.sh"]);
            assert_eq!((w.read("final").as_str(), w.path("late").exists()), (round, false), "{text}\n{}", r.story());
        }
    }
}

/// What is saved between the launch of one command and that of another, and the text of the other, which puts what it
/// saw into `out`.
struct Saved {
    name: &'static str,
    setup: &'static str,
    save: &'static str,
    command: &'static str,
}

const fn saved(name: &'static str, setup: &'static str, save: &'static str, command: &'static str) -> Saved {
    Saved { name, setup, save, command }
}

const C: &str =
    "mkdir inc; echo '#define K 1' > inc/k.h; printf '#include <k.h>\\nint a = K;\\n' > a.c; sed s/a/b/ a.c > b.c";
const A: &str = "gcc -S -Iinc a.c -o a.s";
const B: &str = "gcc -S -Iinc b.c -o out";

/// Saves while the build runs: what was known of the old state is not served any more.
#[test]
fn files_that_somebody_saves() {
    // Each at one of the moments.
    saves(|i| vec![["0", ".001", ".05", ".3"][i % 4]]);
}

#[test]
#[ignore = "takes three minutes (./setup long)"]
fn files_that_somebody_saves_at_every_moment() {
    saves(|_| vec!["0", ".001", ".05", ".3", "2"]);
}

fn saves(delays: fn(usize) -> Vec<&'static str>) {
    let git = "git init -q; git config user.email x@example.org; git config user.name x; mkdir inc; echo '#define K \
        1' > inc/k.h; printf '#include <k.h>\\nint b = K;\\n' > b.c; cp b.c a.c; git add .; git commit -qm 1; git \
        checkout -qb two; echo '#define K 2' > inc/k.h; git commit -qam 2; git checkout -q -";
    let all = [
        saved("written in place", C, "echo '#define K 2' > inc/k.h", B),
        saved(
            "written in place, same time",
            C,
            "touch -r inc/k.h t; echo '#define K 2' > inc/k.h; touch -r t inc/k.h; rm t",
            B,
        ),
        saved("replaced by rename", C, "echo '#define K 2' > n; mv n inc/k.h", B),
        saved("deleted and made again", C, "rm inc/k.h; echo '#define K 2' > inc/k.h", B),
        saved("deleted", C, "rm inc/k.h", "cat inc/k.h > out 2>&1; :"),
        saved(
            "a directory above it moved",
            "mkdir -p x/y z/y; echo 1 > x/y/f; echo 2 > z/y/f",
            "mv x w; mv z x",
            "cat x/y/f > out; :",
        ),
        saved("a link turned", "mkdir x z; echo 1 > x/f; echo 2 > z/f; ln -s x l", "ln -sfn z l", "cat l/f > out; :"),
        saved(
            "a link in the place of a directory",
            "mkdir x z; echo 1 > x/f; echo 2 > z/f",
            "mv x y; ln -s z x",
            "cat x/f > out; :",
        ),
        saved(
            "a header earlier in the path",
            "mkdir new; cp /dev/null new/none.h; mkdir inc; echo '#define K 1' > inc/k.h; printf '#include \
                <k.h>\\nint b = K;\\n' > b.c; cp b.c a.c",
            "echo '#define K 2' > new/k.h",
            "gcc -S -Inew -Iinc b.c -o out",
        ),
        saved("another branch", git, "git checkout -q two", B),
        saved("an output, by hand", C, "echo by hand >> a.s", "cp a.s out; :"),
        saved("the source", C, "echo 'int b = 2;' > b.c", B),
        saved("a listed directory", "mkdir d; touch d/a", "touch d/b", "ls d > out; :"),
        saved("what was not there", "true", "touch f", "test -e f && echo yes > out || echo no > out; :"),
        saved("the mode", "echo x > f; chmod 644 f", "chmod 755 f", "test -x f && echo yes > out || echo no > out; :"),
        saved(
            "a tool",
            "mkdir bin; printf '#!/bin/sh\\necho 1 > $1\\n' > bin/t; chmod +x bin/t",
            "printf '#!/bin/sh\\necho 2 > $1\\n' > bin/t",
            "bin/t out; :",
        ),
    ];
    // The first command has just shown that the old state is known.
    for (s, delay) in all.iter().enumerate().flat_map(|(i, s)| delays(i).into_iter().map(move |d| (s, d))) {
        let w = World::new();
        for (round, save) in [("cold", ""), ("warm", ""), ("saved", s.save)] {
            w.wipe();
            w.sh(s.setup);
            let first = if s.setup.contains("a.c") { A } else { ":" };
            let same = s.command.replace("out", "same");
            w.write(
                "b.sh",
                &format!(
                    "{first}\nsh -c '{same}'\n: > go\nuntil [ -e done ]; do sleep .01; done\nsleep {delay}\nsh \
                    -c '{}'\n",
                    s.command
                ),
            );
            let (tree, save) = (w.tree(), save.to_owned());
            let outside = std::thread::spawn(move || {
                let end = Instant::now() + Duration::from_secs(30);
                while !tree.join("go").exists() && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let o = std::process::Command::new("sh").args(["-c", &save]).current_dir(&tree).output().expect("sh");
                assert!(o.status.success(), "{save}: {o:?}");
                std::fs::write(tree.join("done"), "").expect("a mark");
            });
            let r = w.run(&["sh", "b.sh"]);
            outside.join().expect("who is outside");
            let made = w.read("out");
            w.sh("rm -f out");
            w.sh(s.command);
            assert_eq!(made, w.read("out"), "{}, {round}, after {delay} s\n{}", s.name, r.story());
            let name =
                if s.command.starts_with("gcc") { "gcc -S" } else { s.command.split(' ').next().expect("a word") };
            match round {
                "warm" => assert!(r.pips("hit") >= 2 && r.pips("miss") == 0, "{}: {name}\n{}", s.name, r.story()),
                "saved" => assert_ne!(made, w.read("same"), "{}: this would bite nobody", s.name),
                _ => {}
            }
        }
    }
}

/// With a thousand hits in flight, each that is launched after the save sees it.
#[test]
fn a_save_among_a_thousand_hits() {
    let w = World::new();
    w.write(
        "b.sh",
        "mkdir -p o\nfor i in $(seq 1000); do\n  [ -e saved ] && echo $i >> after\n  cp k.h o/$i &\n  [ \
        $((i % 8)) = 0 ] && wait\ndone\nwait\n",
    );
    w.write("k.h", "1");
    w.run(&["bash", "b.sh"]);
    w.sh("rm -rf o after");
    let tree = w.tree();
    let outside = std::thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(60);
        while !tree.join("o/300").exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::fs::write(tree.join("k.h"), "2").expect("a save");
        std::fs::write(tree.join("saved"), "").expect("a mark");
    });
    let r = w.run(&["bash", "b.sh"]);
    outside.join().expect("who is outside");
    let after: Vec<String> = w.read("after").split_whitespace().map(str::to_owned).collect();
    let stale: Vec<&String> = after.iter().filter(|i| w.read(&format!("o/{i}")) != "2").collect();
    assert!(after.len() > 100 && r.pips("hit") > 200, "{} after, {} hits", after.len(), r.pips("hit"));
    assert!(stale.is_empty(), "{} of {}: {stale:?}", stale.len(), after.len());
}
