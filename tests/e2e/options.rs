//! What the user may ask for: rechecks, denials, logs, summaries, limits of the cache.

use crate::world::World;

#[test]
fn a_recheck_tells_the_same_from_the_different() {
    let w = World::new();
    let recheck = |text: &str| {
        let json = w.path("../record.json");
        let words = ["exec", "--recheck", "100", "--json", json.to_str().unwrap(), "--", "sh", "-c", text];
        let o = w.xl(&words).output().unwrap();
        assert_eq!(o.status.code(), Some(0));
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
    assert!(
        said.contains("1 differ")
            && said.contains("xl: warning: a recheck made something else")
            && said.contains("/f`"),
        "{said}"
    );
    // Who wants to rely on it sees it in the exit code, and also without a summary.
    let strict = |text: &str| {
        let o = w
            .xl(&["exec", "--recheck", "100", "--strict", "--summary", "off", "--", "sh", "-c", text])
            .output()
            .unwrap();
        (o.status.code(), String::from_utf8_lossy(&o.stderr).contains("warning: a recheck made something else"))
    };
    assert_eq!((strict(volatile), strict("echo 1 > f; echo text")), ((Some(1), true), (Some(0), false)));
}

#[test]
fn denied_paths_cannot_be_opened() {
    let w = World::new();
    w.write("secret/key", "1");
    w.write("open/key", "2");
    w.write(
        "xl.toml",
        "[[deny]]\npath = 'secret/**'\nreason = 'belongs to the release'\n[[deny]]\npath = \
        'never'\nreason = 'unused'\n",
    );
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

/// However many the build tool starts, one runs; and nobody waits for somebody who waits.
#[test]
fn one_local_job() {
    let w = World::new();
    w.write(
        "step.sh",
        "mkdir busy || { echo two at once; exit 1; }; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; rmdir busy; \
            echo $1 > $1.out\n",
    );
    w.write("Makefile", "all: 1.out 2.out 3.out 4.out 5.out 6.out\n%.out:\n\tsh step.sh $*\n");
    let run = |cmd: &[&str]| {
        let o = w.xl(&["run", "--no-cache-read", "--local-jobs", "1", "--"]).args(cmd).output().unwrap();
        (
            String::from_utf8_lossy(&o.stdout).into_owned(),
            String::from_utf8_lossy(&o.stderr).into_owned(),
            o.status.code(),
        )
    };
    let (out, err, code) = run(&["make", "-s", "-j6"]);
    assert_eq!((out.as_str(), code), ("", Some(0)), "{err}");
    w.write(
        "pipes.sh",
        "sh -c 'seq 1 100000; :' | sh -c 'sort -n; :' | sh -c 'tail -1; :'\nmkfifo p\nsh -c 'echo \
        through > p; :' &\nsh -c 'cat p; :'\nwait\nmkfifo q; sh -c 'cat; :' < q & sh -c 'echo again; :' > q; wait\n",
    );
    let (out, err, code) = run(&["sh", "pipes.sh"]);
    assert_eq!((out.as_str(), code), ("100000\nthrough\nagain\n", Some(0)), "{err}");
}

/// A command that is killed while it waits takes no slot with it.
#[test]
fn killed_while_waiting_for_a_slot() {
    let w = World::new();
    w.write(
        "build.sh",
        "sh -c 'while [ ! -e go ]; do :; done; :' & slow=$!\ni=0; while [ $i -lt 100000 ]; do i=$((i+1)); done\nsh -c \
            'echo never; :' & pid=$!\ni=0; while [ $i -lt 300000 ]; do i=$((i+1)); done\nkill -9 $pid; wait $pid \
            2>/dev/null\n: > go; wait $slow\nfor i in 1 2 3; do sh -c 'echo quick; :'; done\n",
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

/// Whoever finds it, clap or we: one voice, one exit code, and what was probably meant.
#[test]
fn what_is_wrong_with_a_command_line_or_a_setting() {
    let w = World::new();
    let check = |words: &[&str], env: &[(&str, &str)], code: i32, expected: &str| {
        let out = w.xl(words).envs(env.iter().copied()).output().expect("xl");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!((said.trim_end(), out.status.code()), (expected, Some(code)), "{words:?}");
        assert!(out.stdout.is_empty(), "{words:?}");
    };
    for verb in ["run", "exec", "trace"] {
        let usage = format!("xl: error: no command is given\n  hint: xl {verb} -- make");
        check(&[verb], &[], 2, &usage);
    }
    check(
        &["run", "--strikt", "--", "true"],
        &[],
        2,
        "xl: error: there is no option `--strikt`\n  hint: `xl run --help` shows what there is",
    );
    check(
        &["check", "--jsn"],
        &[],
        2,
        "xl: error: there is no option `--jsn`\n  hint: `xl check --help` shows what there is",
    );
    check(&["log", "--jsn"], &[], 2, "xl: error: there is no option `--jsn`\n  hint: did you mean `--json`?");
    check(&["rnu", "--", "make"], &[], 2, "xl: error: there is no subcommand `rnu`\n  hint: did you mean `run`?");
    check(&["true"], &[], 2, "xl: error: there is no subcommand `true`\n  hint: to run it: xl run -- true");
    check(&["blubb"], &[], 2, "xl: error: there is no subcommand `blubb`\n  hint: `xl help` lists them");
    let backends = "hint: it is one of `auto`, `ebpf`, `seccomp`, `ptrace`";
    check(
        &["run", "--", "true"],
        &[("XL_BACKEND", "wrong")],
        2,
        &format!("xl: error: XL_BACKEND is `wrong`, which is no backend\n  {backends}"),
    );
    check(
        &["run", "--backend", "sec", "--", "true"],
        &[],
        2,
        "xl: error: invalid value `sec` for `--backend <BACKEND>`\n  hint: did you mean `seccomp`?",
    );
    check(&["check", "--", "nosuch"], &[], 127, "xl: error: cannot run `nosuch`\n  caused by: no such command in PATH");
    let no_size =
        "is no size: write bytes, or a number with a unit, as in 500M (10^6 bytes each) or 20GiB (2^30 bytes each)";
    check(
        &["cache", "gc", "--max-bytes", "5X"],
        &[],
        2,
        &format!(
            "xl: error: invalid value `5X` for `--max-bytes <SIZE>`: `5X` {no_size}\n  hint: `xl cache gc --help` \
                shows what there is"
        ),
    );
    check(
        &["cache", "path"],
        &[("XL_CACHE_MAX_BYTES", "much")],
        65,
        &format!("xl: error: XL_CACHE_MAX_BYTES cannot be used\n  caused by: `much` {no_size}"),
    );
    w.write("xl.toml", "[audit]\nfoo = 1\n");
    let file = w.path("xl.toml").display().to_string();
    check(
        &["cache", "path"],
        &[],
        65,
        &format!(
            "xl: error: cannot read `{file}`\n  caused by: unknown key `foo` at line 2\n  hint: known there: \
                `enforce`, `baseline`, `severity`, `allow`"
        ),
    );
}

/// Sizes have units, and no directory is called `~`, wherever either is said.
#[test]
fn sizes_and_the_home_directory() {
    let mut w = World::new();
    let home = w.path("../home").display().to_string();
    w.sh("mkdir ../home");
    w.env.insert("HOME".into(), home.clone());
    let path = |w: &World, words: &[&str]| String::from_utf8_lossy(&w.xl(words).output().unwrap().stdout).into_owned();
    assert_eq!(path(&w, &["cache", "--cache-dir=~/a", "path"]), format!("{home}/a\n"));
    w.env.insert("XL_CACHE_DIR".into(), "~/b".into());
    assert_eq!(path(&w, &["cache", "path"]), format!("{home}/b\n"));
    w.env.insert("XL_CACHE_MAX_BYTES".into(), "3M".into());
    w.write("xl.toml", "[cache]\nmax_bytes = '10G'\n");
    assert!(path(&w, &["cache", "stats"]).contains(" of 2.9 MiB)"), "{}", path(&w, &["cache", "stats"]));
    assert!(w.xl(&["cache", "gc", "--max-bytes", "5M"]).status().unwrap().success());
    assert!(w.xl(&["run", "--json=~/r.json", "--", "true"]).status().unwrap().success());
    assert!(w.path("../home/r.json").exists() && !w.path("~").exists());
}

/// Where nothing can be supervised for want of a place, the command runs all the same.
#[test]
fn a_directory_that_is_gone() {
    let w = World::new();
    let run = |options: &str| {
        let text = format!("mkdir gone && cd gone && rmdir ../gone && exec {} {options}", env!("CARGO_BIN_EXE_xl"));
        let o = w.sh(&text);
        (
            o.status.code(),
            String::from_utf8_lossy(&o.stdout).into_owned(),
            String::from_utf8_lossy(&o.stderr).into_owned(),
        )
    };
    for options in ["run -- echo done", "exec -- echo done", "run -- sh -c 'echo done; exit 3'"] {
        let (code, out, err) = run(options);
        assert_eq!((code, out.as_str()), (Some(if options.contains("exit 3") { 3 } else { 0 }), "done\n"), "{err}");
        assert_eq!(err.matches("xl: ").count(), 1, "{err}");
        assert!(err.contains("xl: warning: the current directory cannot be used: No such file"), "{err}");
    }
    for options in ["run --strict -- echo done", "run --heal -- echo done", "log"] {
        let (code, out, err) = run(options);
        assert_eq!((code, out.as_str()), (Some(74), ""), "{err}");
        assert!(err.contains("xl: error: the current directory cannot be used"), "{err}");
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
