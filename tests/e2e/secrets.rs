//! A secret on a command line reaches no disk and no eye: canaries in every form, every subcommand, every byte of what
//! `xl` leaves behind.
//!
//! What a command itself prints or writes is its result and is kept as it is, so the commands here say nothing of their
//! arguments. A word that is no secret stands beside each canary: where it is not found, the search would not have
//! found the canary either.

use crate::world::World;
use bstr::ByteSlice;
use rocksdb::{DB, IteratorMode, Options};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

/// Part of every secret. Letters and digits only, so that it fits into the shapes of tokens.
const CANARY: &str = "Zq7Canary";
/// Not a secret: what must be found.
const CONTROL: &str = "Zq7Control";

/// Recipes with the canary as what each form holds. `$(P)` is a program that does nothing with its arguments.
const FORMS: &[&str] = &[
    "./g.sh --token=CANARY",
    "./g.sh --password CANARY",
    "./g.sh --password='CANARY with CANARY blanks'",
    "./g.sh -DAPI_KEY=CANARY -Dgpg.passphrase=CANARY",
    "./g.sh -u me:CANARY --user me:CANARY",
    "./g.sh https://me:CANARY@host/x ssh://me:CANARY@host",
    "./g.sh 'https://host/?a=1&access_token=CANARY&b=2'",
    "./g.sh -H 'Authorization: Bearer CANARY' -H'X-Api-Key: CANARY'",
    "./g.sh -H Authorization: Basic CANARY",
    "./g.sh -d '{\"user\": \"me\", \"password\": \"CANARY\"}' -o user=me,password=CANARY",
    "env PGPASSWORD=CANARY ./g.sh",
    "PGPASSWORD=CANARY ./g.sh && MYSQL_PWD=\"CANARY CANARY\" ./g.sh",
    "sh -c 'SSHPASS=CANARY ./g.sh --secret CANARY'",
    "ln -sf g.sh mysql; ./mysql -uroot -pCANARY; rm mysql",
    "./g.sh ghp_CANARY0123456789abcdefghijkl glpat-CANARY0123456789abc xoxb-1234567890-CANARY0123456789",
    "./g.sh AKIACANARY1234567",
    // Without name and shape: what a variable with such a name holds.
    "./g.sh $(DEPLOY_TOKEN)",
    "./g.sh $$DEPLOY_TOKEN",
];

fn makefile() -> String {
    let mut text = String::from("all: prog a.o\n");
    for (i, form) in FORMS.iter().enumerate() {
        text.push_str(&format!("all: o{i}\no{i}: in; @{}; : {CONTROL}; cat in > $@\n", form.replace("CANARY", CANARY)));
    }
    text.push_str(&format!("a.o: a.c; @gcc -DAPI_KEY={CANARY} -DPLAIN={CONTROL} -c a.c\n"));
    text.push_str(&format!("prog: in; @/bin/echo prog >$@; : --token={CANARY} {CONTROL}\n"));
    text.push_str(&format!("fail:; @./g.sh --token={CANARY} {CONTROL}; false\n"));
    text.push_str(&format!("date: in; @./g.sh --token={CANARY} {CONTROL}; date >$@\n"));
    text.push_str(&format!("chance: in; @./g.sh --token={CANARY} {CONTROL}; echo $$$$ >$@\n"));
    text
}

/// Everything in which something was found, and everything in which it was looked for.
#[derive(Default)]
struct Search {
    leaks: Vec<String>,
    /// How often the control was found, by what was searched.
    found: BTreeMap<String, usize>,
}

impl Search {
    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        if let Some(at) = bytes.find(CANARY) {
            let around =
                String::from_utf8_lossy(&bytes[at.saturating_sub(120)..(at + 40).min(bytes.len())]).into_owned();
            self.leaks.push(format!("{name}: …{around}…"));
        }
        *self.found.entry(name.to_owned()).or_default() += bytes.find_iter(CONTROL).count();
    }

    fn output(&mut self, name: &str, o: &Output) {
        self.bytes(&format!("{name}, stdout"), &o.stdout);
        self.bytes(&format!("{name}, stderr"), &o.stderr);
    }

    fn file(&mut self, name: &str, path: &Path) {
        self.bytes(name, &std::fs::read(path).unwrap_or_else(|e| panic!("{name}: {e}")));
    }

    /// Every byte of every file below `dir`, and every name; of data bases also what is behind their compression.
    fn directory(&mut self, name: &str, dir: &Path) {
        for e in std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())).flatten() {
            let path = e.path();
            self.bytes(&format!("{name}, names"), path.as_os_str().as_encoded_bytes());
            if path.is_dir() {
                if path.join("CURRENT").exists() {
                    self.records(name, &path);
                }
                self.directory(name, &path);
            } else {
                let whose = if e.file_name().to_string_lossy().starts_with("LOG") { "RocksDB's log" } else { "files" };
                self.bytes(&format!("{name}, {whose}"), &std::fs::read(&path).unwrap_or_default());
            }
        }
    }

    fn records(&mut self, name: &str, db: &Path) {
        let o = Options::default();
        let tables = DB::list_cf(&o, db).expect("its tables");
        let db = DB::open_cf_for_read_only(&o, db, &tables, false).expect("a data base");
        for t in &tables {
            for row in db.iterator_cf(db.cf_handle(t).expect("a table"), IteratorMode::Start) {
                let (k, v) = row.expect("a record");
                self.bytes(&format!("{name}, table {t}"), &[&k[..], &v[..]].concat());
            }
        }
    }

    /// Nothing leaked, and in each of these the control was found.
    fn holds(&self, control: &[&str]) {
        assert!(self.leaks.is_empty(), "{}", self.leaks.join("\n"));
        let blind: Vec<&&str> = control.iter().filter(|name| self.found.get(**name).is_none_or(|n| *n == 0)).collect();
        assert!(blind.is_empty(), "the search of {blind:?} finds nothing: {:#?}", self.found);
    }
}

fn world() -> World {
    let mut w = World::new();
    w.env.insert("DEPLOY_TOKEN".into(), format!("{CANARY}InAVariable"));
    w.write("Makefile", &makefile());
    w.write("g.sh", "#!/bin/sh\ncat in >/dev/null\n");
    w.sh("chmod +x g.sh; echo 1 >in; echo '#include \"a.h\"' >a.c; echo '#define A 1' >a.h");
    w
}

#[test]
fn canaries_are_found_nowhere() {
    let w = world();
    let mut s = Search::default();
    let secret = format!("TOKEN={CANARY}");
    let out = w.path("../out");
    std::fs::create_dir(&out).unwrap();
    let at = |name: &str| out.join(name).to_str().expect("UTF-8").to_owned();
    let (json, log) = (at("json"), at("log"));
    let step = |s: &mut Search, name: &str, words: &[&str]| {
        let o = w.xl(words).env("XL_LOG", "1").env("GITHUB_STEP_SUMMARY", out.join("summary")).output().expect("xl");
        s.output(name, &o);
        s.directory(name, &w.cache());
        String::from_utf8_lossy(&o.stderr).into_owned()
    };
    let make = ["make", "-s", &secret, CONTROL_GOAL];

    let said = step(&mut s, "cold", &[&["run", "--json", &json, "--log", &log, "--"][..], &make].concat());
    assert!(said.contains(" 0 hits"), "{said}");
    s.file("cold, --json", json.as_ref());
    s.file("cold, --log", log.as_ref());
    w.sh("rm -f o* prog a.o");
    let said = step(&mut s, "warm", &[&["run", "--json", &json, "--log", &log, "--"][..], &make].concat());
    assert!(said.contains(" 0 ran"), "{said}");
    s.file("warm, --json", json.as_ref());
    s.file("warm, --log", log.as_ref());
    for _ in 0..2 {
        step(&mut s, "differs", &["run", "--recheck", "100", "--", "make", "-Bs", "chance"]);
    }
    for form in ["github", "gitlab", "junit"] {
        step(
            &mut s,
            form,
            &["run", "--summary", form, "--junit", "xl-junit.xml", "--", "make", "-Bks", "date", "fail"],
        );
    }
    s.file("github, file", &out.join("summary"));
    s.file("junit, file", &w.path("xl-junit.xml"));
    step(&mut s, "exec", &["exec", "--", "sh", "-c", &format!(": --token={CANARY} {CONTROL}; cat in >made")]);
    step(&mut s, "enforce", &["run", "--enforce", "--", "make", "-Bs", "a.o"]);
    for form in ["text", "json", "sarif", "html"] {
        let report = at(form);
        step(
            &mut s,
            form,
            &[&["audit", "--notes", "--format", form, "-o", &report, "--"][..], &["make", "-Bs", "all"]].concat(),
        );
        s.file(&format!("{form}, report"), report.as_ref());
    }
    step(&mut s, "again", &["audit", "--notes"]);
    step(&mut s, "prove", &["audit", "--prove", "1"]);
    step(&mut s, "audit with it", &[&["audit", "--"][..], &make].concat());
    for json in [&["--json"][..], &[]] {
        step(
            &mut s,
            "trace",
            &[&["trace"], json, &["--", "./g.sh", &format!("--token={CANARY}"), CONTROL][..]].concat(),
        );
        step(&mut s, "log", &[&["log"], json].concat());
        step(&mut s, "log of one", &[&["log", "1"], json].concat());
    }
    w.sh("echo 2 >in; touch -d '1 hour ago' in a.h; echo '#define A 2' >a.h; touch -d '1 hour ago' a.h");
    for json in [&["--json"][..], &[]] {
        step(&mut s, "check", &[&["check"], json, &["--"][..], &make].concat());
        step(&mut s, "check the last", &[&["check"], json].concat());
    }
    let healed = step(&mut s, "heal", &[&["run", "--heal", "--"][..], &make].concat());
    assert!(healed.contains("run again what made it"), "{healed}");
    step(&mut s, "restore", &["check", "--restore"]);
    for words in [&["stats"][..], &["verify"], &["gc"], &["path"], &["gc", "--max-bytes", "1"]] {
        step(&mut s, "cache", &[&["cache"], words].concat());
    }
    step(&mut s, "doctor", &["doctor"]);

    s.holds(&[
        "cold, --json",
        "cold, --log",
        "cold, files",
        "warm, --json",
        "warm, --log",
        "differs, stderr",
        "github, stderr",
        "github, file",
        "gitlab, stderr",
        "junit, file",
        "text, report",
        "json, report",
        "sarif, report",
        "html, report",
        "again, stdout",
        "trace, stdout",
        "log, stdout",
        "log of one, stdout",
        "check, stdout",
        "check, stderr",
        "heal, stderr",
        "cache, table default",
    ]);
}

/// The control among the words of the build command: a goal that needs nothing.
const CONTROL_GOAL: &str = "Zq7Control=1";

/// Lets what waits go on when the test ends, however it does.
struct Ends(std::path::PathBuf);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = std::fs::write(&self.0, "");
    }
}

#[test]
fn nor_while_it_runs_or_after_it_died() {
    let w = world();
    // They end with the tree, too: whoever is killed leaves its command behind.
    let until = |mark: &str| format!("while test -e {mark} && ! test -e go; do sleep 0.02; done");
    let waits = |mark: &str| format!("touch {mark}; : --token={CANARY} {CONTROL}; {}", until(mark));
    let _end = Ends(w.path("go"));
    let mut first = w.xl(&["run", "--", "sh", "-c", &waits("one")]).spawn().expect("xl");
    let there = |name: &str| {
        while !w.path(name).exists() {
            std::thread::yield_now();
        }
    };
    there("one");
    // Somebody else has the data base: this one appends to a spool, and is killed.
    w.sh(&format!("echo 'both: all {CONTROL}; @touch two; {}' >>Makefile", until("two")));
    w.sh(&format!("echo '{CONTROL}: in; @./g.sh --token={CANARY}; cat in >$@' >>Makefile"));
    let mut second = w.xl(&["run", "--", "make", "-s", "both"]).spawn().expect("xl");
    there("two");
    let mut s = Search::default();
    s.directory("running", &w.cache());
    second.kill().expect("the second");
    second.wait().expect("the second");
    s.directory("killed", &w.cache());
    w.sh("touch go");
    first.wait().expect("the first");
    s.output("taken in", &w.xl(&["log"]).output().expect("xl"));
    s.directory("taken in", &w.cache());
    s.holds(&["running, files", "killed, files", "taken in, files", "taken in, stdout"]);
}

/// Digests of arguments are keyed: with another key nothing is found, so without the key no guess can be tried on them.
#[test]
fn what_is_known_of_a_command_is_known_to_the_key() {
    let w = World::new();
    w.sh("echo 1 >in");
    let run = || w.pip(": --pin 1234; cat in >out").pips("hit");
    assert_eq!((run(), run()), (0, 1));
    w.sh("mv ../cache/key ../key");
    assert_eq!((run(), run()), (0, 1));
    w.sh("cp ../key ../cache/key");
    assert_eq!(run(), 1);
}
