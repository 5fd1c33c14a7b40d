//! What the user may ask for: rechecks, denials, logs, summaries, limits of the cache.

use crate::world::World;

#[test]
fn a_recheck_tells_the_same_from_the_different() {
    let w = World::new();
    let recheck = |text: &str| {
        let json = w.path("../record.json");
        let o = w.xl(&["exec", "--recheck", "100", "--json", json.to_str().unwrap(), "--", "sh", "-c", text]).output().unwrap();
        let record: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        (String::from_utf8_lossy(&o.stderr).into_owned(), record)
    };
    w.pip("echo 1 > f; echo text");
    let (said, r) = recheck("echo 1 > f; echo text");
    assert_eq!((&r["rechecks"]["same"], r["pips"]["miss"].as_u64()), (&1.into(), Some(1)), "{said}");
    assert!(said.contains("1 rechecked, 0 differ"), "{said}");

    // The process id of a shell is nothing that any tracer sees.
    let volatile = "python3 -c 'import os; open(\"f\", \"w\").write(str(os.getpid()))'";
    w.pip(volatile);
    let (said, r) = recheck(volatile);
    assert_eq!(r["rechecks"]["different"].as_array().map(Vec::len), Some(1), "{said}");
    assert!(said.contains("1 differ") && said.contains("/f`"), "{said}");
}

#[test]
fn denied_paths_cannot_be_opened() {
    let w = World::new();
    w.write("secret/key", "1");
    w.write("open/key", "2");
    w.write("xl.toml", "[[deny]]\npath = 'secret/**'\nreason = 'belongs to the release'\n[[deny]]\npath = 'never'\nreason = 'unused'\n");
    let r = w.pip("cat open/key secret/key secret/key; echo x > secret/new; mv open/key secret/moved; true");
    assert_eq!(r.stdout(), "2", "{}", r.stderr());
    assert_eq!(r.stderr().matches("cat: secret/key: Permission denied").count(), 2, "{}", r.stderr());
    assert!(r.stderr().contains("denied `") && r.stderr().contains("belongs to the release"), "{}", r.stderr());
    assert!(r.stderr().contains("unused in this build: [[deny]] path = \"never\""), "{}", r.stderr());
    assert!(w.path("open/key").exists() && !w.path("secret/new").exists() && !w.path("secret/moved").exists());
    // Lifting the rule must not serve what was made under it.
    w.write("xl.toml", "");
    let r = w.pip("cat open/key secret/key secret/key; echo x > secret/new; mv open/key secret/moved; true");
    assert_eq!((r.stdout().as_str(), r.pips("hit")), ("211", 0), "{}", r.stderr());
}

#[test]
fn log_and_summaries() {
    let mut w = World::new();
    w.write("Makefile", "all: a.o b\na.o: a.c\n\tgcc -c a.c\nb:\n\thead -c 2 /dev/urandom | od > b; echo '<\"&>' > /dev/null\n");
    w.write("a.c", "int a;\n");
    let step = w.path("../step.md");
    w.env.insert("GITHUB_STEP_SUMMARY".into(), step.display().to_string());
    let run = |form: &str| {
        w.sh("rm -f a.o b");
        let o = w.xl(&["run", "--summary", form, "--log", "../log", "--", "make"]).output().unwrap();
        assert!(o.status.success());
        String::from_utf8_lossy(&o.stderr).into_owned()
    };
    let said = run("github");
    let text = std::fs::read_to_string(&step).unwrap();
    assert!(text.contains("### xl") && text.contains("2 pips") && text.contains("| 1 | it reads random bytes"), "{text}{said}");
    let log = w.read("../log");
    assert!(log.contains("miss") && log.contains("gcc -c a.c") && log.contains("not stored: it reads random bytes"), "{log}");
    let said = run("gitlab");
    assert!(said.contains("section_start") && said.contains("1 uncacheable") && said.contains("section_end"), "{said}");
    run("junit");
    let checked = w.sh("python3 -c \"import xml.etree.ElementTree as e; s = e.parse('xl-junit.xml').getroot(); print(s.get('tests'), s.get('skipped'), sum('<' in c.get('name') for c in s))\"");
    assert_eq!(String::from_utf8_lossy(&checked.stdout).trim(), "2 1 1", "{}", w.read("xl-junit.xml"));
    assert!(!run("off").contains("xl:"));
    let o = w.xl(&["run", "--log", "no/such/dir/log", "--", "touch", "made"]).output().unwrap();
    assert_eq!(o.status.code(), Some(2));
    assert!(!w.path("made").exists(), "a mistyped name is told before anything starts");
}

/// However many the build tool starts, one runs; and nobody waits for somebody who waits.
#[test]
fn one_local_job() {
    let w = World::new();
    w.write(
        "step.sh",
        "mkdir busy || { echo two at once; exit 1; }; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; rmdir busy; echo $1 > $1.out\n",
    );
    w.write("Makefile", "all: 1.out 2.out 3.out 4.out 5.out 6.out\n%.out:\n\tsh step.sh $*\n");
    let run = |cmd: &[&str]| {
        let o = w.xl(&["run", "--no-cache-read", "--local-jobs", "1", "--"]).args(cmd).output().unwrap();
        (String::from_utf8_lossy(&o.stdout).into_owned(), String::from_utf8_lossy(&o.stderr).into_owned(), o.status.code())
    };
    let (out, err, code) = run(&["make", "-s", "-j6"]);
    assert_eq!((out.as_str(), code), ("", Some(0)), "{err}");
    w.write("pipes.sh", "sh -c 'seq 1 100000; :' | sh -c 'sort -n; :' | sh -c 'tail -1; :'\nmkfifo p\nsh -c 'echo through > p; :' &\nsh -c 'cat p; :'\nwait\nmkfifo q; sh -c 'cat; :' < q & sh -c 'echo again; :' > q; wait\n");
    let (out, err, code) = run(&["sh", "pipes.sh"]);
    assert_eq!((out.as_str(), code), ("100000\nthrough\nagain\n", Some(0)), "{err}");
}

/// A command that is killed while it waits takes no slot with it.
#[test]
fn killed_while_waiting_for_a_slot() {
    let w = World::new();
    w.write(
        "build.sh",
        "sh -c 'while [ ! -e go ]; do :; done; :' & slow=$!\ni=0; while [ $i -lt 100000 ]; do i=$((i+1)); done\nsh -c 'echo never; :' & pid=$!\ni=0; while [ $i -lt 300000 ]; do i=$((i+1)); done\nkill -9 $pid; wait $pid 2>/dev/null\n: > go; wait $slow\nfor i in 1 2 3; do sh -c 'echo quick; :'; done\n",
    );
    let started = std::time::Instant::now();
    let o = w.xl(&["run", "--no-cache-read", "--local-jobs", "1", "--", "sh", "build.sh"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&o.stdout), "quick\nquick\nquick\n", "{}", String::from_utf8_lossy(&o.stderr));
    assert!(started.elapsed() < std::time::Duration::from_secs(18), "{:?}", started.elapsed());
}

#[test]
fn limits_by_number_and_age() {
    let w = World::new();
    for i in 0..6 {
        w.pip(&format!("echo {i} > f{i}"));
    }
    w.write("xl.toml", "[cache]\nmax_count = 2\n");
    let o = w.xl(&["cache", "gc"]).output().unwrap();
    let said = String::from_utf8_lossy(&o.stdout).into_owned();
    assert!(said.starts_with("removed 4 results"), "{said}");
    assert_eq!([5, 4, 0].map(|i| w.pip(&format!("echo {i} > f{i}")).pips("hit")), [1, 1, 0]);
    let checked = || String::from_utf8_lossy(&w.xl(&["cache", "verify"]).output().unwrap().stdout).into_owned();
    assert!(checked().contains(" 0 damaged"));
    w.write("xl.toml", "[cache]\nmax_age = '0s'\n");
    w.xl(&["cache", "gc"]).output().unwrap();
    // Path sets go with the last result that needs them. What is left: notes on files and commands, and builds.
    assert!(checked().starts_with("0 blobs"), "{}", checked());
    w.write("xl.toml", "");
    assert_eq!(w.pip("echo 5 > f5").pips("hit"), 0);
}

/// A tool whose looks do not count, by the user's word: what it writes still does.
#[test]
fn an_ignored_tool() {
    let w = World::new();
    w.write("xl.toml", "[[ignore]]\ntool = 'cat'\nreason = 'shows the time of day'\n");
    w.write("in", "1\n");
    let text = "cat in > out; sort out";
    w.pip(text);
    w.write("in", "2\n");
    w.sh("rm out");
    let r = w.pip(text);
    assert_eq!((r.pips("hit"), w.read("out").as_str()), (1, "1\n"), "{}", r.story());
    // The tool itself is an input all the same.
    w.write("xl.toml", "[[ignore]]\ntool = 'mytool'\nreason = 'only the tool counts'\n");
    w.sh("cp /bin/cat mytool");
    for outcome in ["miss", "hit"] {
        assert_eq!(w.pip("./mytool in > out; :").pips(outcome), 1);
    }
    w.sh("cp /bin/tac mytool");
    assert_eq!(w.pip("./mytool in > out; :").pips("miss"), 1);
    w.write("xl.toml", "");
    assert_eq!(w.pip(text).stdout(), "2\n");
    w.write("xl.toml", "[[ignore]]\nreason = 'nothing'\n");
    assert_eq!(w.pip(text).code(), Some(65));
}

#[test]
fn a_command_is_needed_and_a_mistyped_option_is_none() {
    let w = World::new();
    for words in [
        &["run"][..],
        &["exec"],
        &["trace"],
        &["run", "--strict"],
        &["run", "--strikt", "--", "true"],
        &["check", "--jsn"],
        &["audit", "--prov", "1"],
    ] {
        let out = w.xl(words).output().expect("xl");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(2) && !said.contains("panicked") && !said.is_empty(), "{words:?}: {:?} {said}", out.status);
    }
}

/// Who replaces an old file makes the same as who finds none.
#[test]
fn a_recheck_of_an_incremental_build() {
    let w = World::new();
    w.write("a.c", "int a;\n");
    w.write("Makefile", "a.o: a.c\n\tgcc -c a.c -o a.o\n");
    assert_eq!(w.run(&["make"]).pips("miss"), 1);
    w.sh("touch -d '+1 hour' a.c");
    let json = w.path("../r.json");
    let o = w.xl(&["run", "--recheck", "100", "--json", json.to_str().unwrap(), "--", "make"]).output().unwrap();
    let r: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(r["rechecks"]["same"], 1, "{}", String::from_utf8_lossy(&o.stderr));
}
