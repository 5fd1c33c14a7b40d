//! Who runs a command: what one user made is served to another who is allowed the same and did not ask who he is.
//!
//! Two users of their own trees at one place, the second with a copy of the first one's cache.

use super::hosts::{COMMANDS, prepare};
use crate::world::World;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// A user, by number, and supplementary groups.
#[derive(Clone, Copy)]
struct User(u32, &'static str);

const ROOT: User = User(0, "0");
const ONE: User = User(61_001, "61001");
const OTHER: User = User(61_002, "61002,61009");
/// As the first, and in one group more.
const MEMBER: User = User(61_001, "61001,61009");

type Outcome = (String, Option<i32>, BTreeMap<PathBuf, String>);

/// A world whose tree others may enter, with an `xl` that they may run.
fn open_world() -> World {
    let w = World::new();
    w.sh("chmod 755 . ..");
    std::fs::copy(env!("CARGO_BIN_EXE_xl"), w.path("../xl")).expect("xl");
    w
}

impl User {
    /// The words that become this user.
    fn become_it(self, w: &World) -> Command {
        let mut c = w.command("setpriv");
        c.args([format!("--reuid={}", self.0), format!("--regid={}", self.0), format!("--groups={}", self.1)]);
        c.env("HOME", "/nonexistent").env("PATH", "/usr/local/bin:/usr/bin:/bin");
        c
    }

    /// Makes tree and cache his own.
    fn takes(self, w: &World) {
        w.sh(&format!("mkdir -p ../cache; chown -R {0}:{0} . ../cache", self.0));
    }

    fn plain(self, w: &World, command: &[&str]) -> Outcome {
        let o = self.become_it(w).args(command).output().expect("setpriv");
        (String::from_utf8_lossy(&o.stdout).into_owned(), o.status.code(), w.snapshot())
    }

    /// What `xl` made of it, hits and misses, and the story for messages.
    fn runs(self, w: &World, verb: &str, command: &[&str]) -> (Outcome, [u64; 2], String) {
        let mut c = self.become_it(w);
        c.arg(w.path("../xl")).args([verb, "--json", "../cache/r.json", "--"]).args(command);
        let o = c.output().expect("setpriv");
        let record: serde_json::Value = std::fs::read(w.path("../cache/r.json"))
            .ok()
            .and_then(|b| serde_json::from_slice(&b).ok())
            .unwrap_or_else(|| panic!("no record: {}", String::from_utf8_lossy(&o.stderr)));
        std::fs::remove_file(w.path("../cache/r.json")).expect("a record");
        let count = |k: &str| record["pips"][k].as_u64().expect("a count");
        let items = record["items"].as_array().cloned().unwrap_or_default();
        let story: Vec<String> = items
            .iter()
            .map(|i| format!("{} {} {} {}", i["outcome"], i["command"], i["reason"], i["not_stored"]))
            .collect();
        let outcome = (String::from_utf8_lossy(&o.stdout).into_owned(), o.status.code(), w.snapshot());
        (outcome, [count("hit"), count("miss")], story.join("\n"))
    }
}

fn verb(command: &[&str]) -> &'static str {
    if command[0] == "make" { "run" } else { "exec" }
}

fn needs_root() -> bool {
    if !rustix::process::geteuid().is_root() {
        crate::world::skip("becoming another user needs root");
    }
    rustix::process::geteuid().is_root()
}

#[test]
fn who_does_not_matter() {
    if !needs_root() {
        return;
    }
    for command in &COMMANDS[..3] {
        for users in [[ONE, OTHER], [ONE, MEMBER]] {
            served(users, command);
        }
    }
    served([ROOT, ONE], COMMANDS[0]);
    served([ONE, ROOT], COMMANDS[0]);
    served([ONE, MEMBER], &["sh", "-c", "test -w Makefile && cp f.c g.c; echo more >> g.c; ls; touch new"]);
}

/// Everything is a hit for the second, and what a plain run of his makes.
fn served([first, second]: [User; 2], command: &[&str]) {
    let w = open_world();
    let fresh = |u: User| {
        prepare(&w);
        u.takes(&w);
    };
    fresh(second);
    let want = second.plain(&w, command);
    assert_eq!(want.1, Some(0), "{command:?}");
    fresh(first);
    let (made, _, story) = first.runs(&w, verb(command), command);
    assert_eq!((&made.0, made.1), (&want.0, want.1), "{command:?}: {story}");
    fresh(second);
    let (got, [hits, misses], story) = second.runs(&w, verb(command), command);
    assert!(hits > 0 && misses == 0, "{command:?} of {} for {}: {story}", first.0, second.0);
    assert_eq!(got, want, "{command:?}: {story}");
}

/// Set up as root after the tree was given to who runs the command; what a plain run makes is another thing for each.
fn told_apart(name: &str, [first, second]: [User; 2], setup: &str, command: &str) {
    let w = open_world();
    let command = ["sh", "-c", command];
    let fresh = |u: User| {
        w.wipe();
        w.sh("echo x > f; mkdir d; echo y > d/g");
        w.age(super::BEFORE);
        u.takes(&w);
        w.sh(setup);
    };
    fresh(first);
    let before = first.plain(&w, &command);
    fresh(second);
    let want = second.plain(&w, &command);
    assert!(before != want, "{name}: this trap would bite nobody: {want:?}");
    for round in ["first", "again"] {
        fresh(first);
        let (made, [hits, _], story) = first.runs(&w, "exec", &command);
        assert_eq!(made, before, "{name}, {round}: {story}");
        assert!(round == "first" || hits == 1, "{name}: a cache that never hits would pass: {story}");
    }
    fresh(second);
    let (got, _, story) = second.runs(&w, "exec", &command);
    assert_eq!(got, want, "{name}: {story}");
}

#[test]
fn who_asks_is_told() {
    if !needs_root() {
        return;
    }
    let rows = [
        ("id", "id -u"),
        ("groups", "id -G"),
        ("stat", "stat -c '%u %g' f"),
        ("ls", "ls -ln f | cut -d ' ' -f 3-4"),
        ("tar", "tar cf - f | tar tvf - --numeric-owner | cut -d ' ' -f 2"),
        ("find", "find . -name f -printf '%U\\n'"),
        ("find, in words of its own", "find . -uid 61001 | sort"),
        ("bash", "bash -c 'echo $UID'"),
        ("bash, that shows all", "bash -c set | grep ^UID"),
        ("perl", "perl -e 'print $<'"),
        ("Python", "/usr/bin/python3 -c 'import os; print(os.stat(\"f\").st_uid)'"),
        (
            "Python, of what it made",
            "/usr/bin/python3 -c 'import os; open(\"n\", \"w\"); print(os.stat(\"n\").st_uid)'",
        ),
        ("a program of the build's own", "./own f"),
    ];
    let own = "printf '#include <stdio.h>\n#include <sys/stat.h>\nint main(int c, char **v) { struct stat s; stat(v[1], \
        &s); printf(\"%%d\\\\n\", (int)s.st_uid); return 0; }\n' > o.c; gcc o.c -o own; touch -d @1000 own o.c";
    for (name, command) in rows {
        let setup = if command.contains("own f") { own } else { "" };
        told_apart(name, [ONE, OTHER], setup, command);
    }
}

#[test]
fn what_one_may_the_other_may_not() {
    if !needs_root() {
        return;
    }
    let rows = [
        ("a file of the first", [ONE, OTHER], "chown 61001 f; chmod 600 f", "cat f 2>/dev/null; echo $?"),
        ("a file of root's", [ROOT, ONE], "chown 0 f; chmod 600 f", "cat f 2>/dev/null; echo $?"),
        ("a file that only its group may read", [ONE, MEMBER], "chown 0:61009 f; chmod 640 f", "test -r f; echo $?"),
        ("one that root may write", [ROOT, ONE], "chown 0 f", "test -w f; echo $?"),
        ("one that the owner may write, for bash", [ONE, OTHER], "chown 61001 f", "bash -c '[ -w f ]'; echo $?"),
        ("a tool of the first", [ONE, OTHER], TOOL, "./tool 2>/dev/null; echo $?"),
        (
            "a tool of root's",
            [ROOT, ONE],
            "cp /bin/true tool; chmod 744 tool; chown 0 tool",
            "./tool 2>/dev/null; echo $?",
        ),
        ("whose it is", [ONE, OTHER], "chown 61001 f", "test -O f; echo $?"),
        ("whose it is, for bash", [ONE, OTHER], "chown 61001 f", "bash -c '[[ -O f ]]'; echo $?"),
        ("a directory of the first", [ONE, OTHER], "chown 61001 d", "mkdir d/n 2>/dev/null; echo $?; ls d"),
        ("a directory of root's", [ROOT, ONE], "chown 0 d", "echo 1 > d/n; ls d; :"),
        ("a closed directory", [ONE, OTHER], "chown 61001 d; chmod 700 d", "cat d/g 2>/dev/null || echo no"),
        ("a closed directory, listed", [ONE, OTHER], "chown 61001 d; chmod 711 d", "ls d 2>/dev/null | wc -l"),
        ("what is in a sticky one", [ONE, OTHER], "chown 0 d; chmod 1777 d; chown 61001 d/g", "rm -f d/g; ls d"),
        ("a mode", [ONE, OTHER], "chown 61001 f", "chmod 755 f 2>/dev/null; echo $?; ls -l f | cut -c 1-10"),
        ("a time", [ONE, OTHER], "chown 61001 f", "touch -d @5000 f 2>/dev/null; echo $?"),
        ("what is added", [ONE, OTHER], "chown 61001 f", "echo 2>/dev/null >> f && cat f; echo $?"),
    ];
    for (name, users, setup, command) in rows {
        told_apart(name, users, setup, command);
    }
}

const TOOL: &str = "cp /bin/true tool; chmod 744 tool; chown 61001 tool";
