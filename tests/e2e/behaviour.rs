//! The build tool cannot tell: exit codes, text, descriptors, signals, survivors.

use crate::world::World;

#[test]
fn exit_codes_are_the_commands_own() {
    let w = World::new();
    for code in [0, 1, 7, 255] {
        for _ in 0..2 {
            assert_eq!(w.pip(&format!("exit {code}")).code(), Some(code));
            assert_eq!(w.run(&["sh", "-c", &format!("sh -c 'exit {code}'")]).code(), Some(code));
        }
    }
    assert_eq!(w.run(&["no-such-command-here"]).code(), Some(127));
    assert_eq!(w.run(&["/etc/passwd"]).code(), Some(126));
}

#[test]
fn text_is_replayed_on_both_streams_in_order() {
    let w = World::new();
    let text = "i=0; while [ $i -lt 300 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let first = w.pip(text);
    let second = w.pip(text);
    assert_eq!(second.pips("hit"), 1, "{}", second.story());
    assert_eq!(first.output.stdout, second.output.stdout);
    assert!(second.stderr().starts_with(&"err 0\nerr 1\n".to_owned()));
    // One description: the order between the streams is kept.
    let w = World::new();
    let merged = format!("({text}) 2>&1");
    let run = || w.xl(&["exec", "--summary", "off", "--", "sh", "-c", &merged]).output().expect("xl").stdout;
    let (a, b) = (run(), run());
    assert_eq!(a, b);
    assert!(String::from_utf8_lossy(&a).starts_with("out 0\nerr 0\nout 1\n"));
}

#[test]
fn two_megabytes_of_text_through_a_slow_reader() {
    let w = World::new();
    w.write("driver.sh", "sh -c 'head -c 2000000 /dev/zero | tr \"\\\\0\" x' | (cat a-small-file; wc -c)\n");
    w.write("a-small-file", "");
    for _ in 0..2 {
        let r = w.run(&["sh", "driver.sh"]);
        assert_eq!(r.stdout().trim(), "2000000", "{}", r.story());
    }
}

/// The parent waits for the exec itself before it reads: text that does not fit into the pipe must not be waited for.
#[test]
fn a_large_hit_under_a_parent_that_waits_for_the_exec() {
    let w = World::new();
    w.sh("head -c 300000 /dev/zero | tr '\\0' b > l");
    w.write("p.py", "import subprocess\nprint(len(subprocess.run(['cat', 'l'], capture_output=True).stdout))\n");
    w.write("build.ninja", "rule r\n  command = cat l\nbuild o: r\n");
    for _ in 0..2 {
        let r = w.run(&["python3", "-B", "p.py"]);
        assert_eq!(r.stdout(), "300000\n", "{}", r.story());
        let r = w.run(&["ninja"]);
        assert!(r.output.stdout.len() >= 300_000, "{}", r.story());
    }
}

#[test]
fn redirected_output_is_read_by_the_next_line() {
    let w = World::new();
    w.write("gen.py", "print('#define N 41')\n");
    w.write("build.sh", "python3 -B gen.py > n.h\necho '/* more */' >> n.h\npython3 -B gen.py >> n.h\nwc -l < n.h\n");
    for kind in ["miss", "hit"] {
        w.sh("rm -f n.h");
        let r = w.run(&["sh", "build.sh"]);
        assert_eq!(r.stdout().trim(), "3", "{}", r.story());
        assert_eq!(r.outcome("gen.py"), kind, "{}", r.story());
        assert_eq!(w.read("n.h"), "#define N 41\n/* more */\n#define N 41\n");
    }
}

#[test]
fn a_terminal_stays_a_terminal() {
    let w = World::new();
    w.write(
        "Makefile",
        "all:\n\t@python3 -B -c 'import os; print(os.isatty(1), os.get_terminal_size(1).columns if os.isatty(1) else \
            0)'\n",
    );
    let xl = env!("CARGO_BIN_EXE_xl");
    for _ in 0..2 {
        let out = w.sh(&format!("script -qec 'stty cols 77; {xl} run -- make' /dev/null"));
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(text.contains("True 77"), "{text}");
        assert!(!text.contains("\r\r\n"), "output is processed once: {text:?}");
    }
    // The same command without a terminal is another one.
    let r = w.run(&["make"]);
    assert!(r.stdout().contains("False"), "{}", r.stdout());
}

#[test]
fn a_survivor_is_not_cached_and_does_not_hang() {
    let w = World::new();
    let started = std::time::Instant::now();
    // `sleep` itself is a reason not to cache; this one only outlives.
    let r = w.pip("tail -f /dev/null >/dev/null 2>&1 & echo $!");
    let stopped = w.sh(&format!("kill {}", r.stdout().trim()));
    assert!(started.elapsed().as_secs() < 20, "xl waits for a daemon");
    assert_eq!(r.pips("uncacheable"), 1, "{}", r.story());
    assert!(r.story().contains("outlives"), "{}", r.story());
    assert!(stopped.status.success(), "it did not outlive");
}

#[test]
fn a_daemon_goes_on_after_the_run() {
    let w = World::new();
    let r = w.run(&["sh", "-c", "(sleep 1; touch late; cat late && echo worked > proof) >/dev/null 2>&1 & exit 0"]);
    assert_eq!(r.code(), Some(0));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !w.path("proof").exists() {
        assert!(std::time::Instant::now() < deadline, "the daemon's calls fail once xl is gone");
        std::thread::yield_now();
    }
}

#[test]
fn failures_are_not_replayed() {
    let w = World::new();
    w.write("Makefile", "all:\n\tgcc -c bad.c\n");
    w.write("bad.c", "int x = ;\n");
    let a = w.run(&["make"]);
    let b = w.run(&["make"]);
    assert_eq!((a.code(), b.code()), (Some(2), Some(2)));
    assert_eq!(b.outcome("bad.c"), "failed", "{}", b.story());
    assert!(b.stderr().contains("bad.c:1"));
}

#[test]
fn a_nested_run_joins_the_outer_one() {
    let w = World::new();
    w.write("a.c", "int a;\n");
    w.write("Makefile", "all:\n\tgcc -c a.c\n");
    let xl = env!("CARGO_BIN_EXE_xl");
    let r = w.run(&[xl, "run", "--", "make"]);
    assert_eq!(r.code(), Some(0), "{}", r.stderr());
    assert_eq!(r.outcome("gcc -c a.c"), "miss", "{}", r.story());
    w.sh("rm a.o");
    assert_eq!(w.run(&[xl, "run", "--", "make"]).outcome("gcc -c a.c"), "hit");
}

/// A shell that a build left behind (a terminal multiplexer's) has its variable for ever.
#[test]
fn a_session_that_is_over_does_not_count() {
    if std::fs::read_to_string("/proc/self/status").is_ok_and(|s| s.contains("Seccomp:\t2")) {
        return crate::world::skip("something has a filter here, and might be that session");
    }
    let mut w = World::new();
    w.write("a.c", "int a;\n");
    w.env.insert("XL_SESSION".into(), "4194304".into());
    for outcome in ["miss", "hit"] {
        w.sh("rm -f a.o");
        let r = w.run(&["sh", "-c", "gcc -c a.c; :"]);
        assert_eq!(r.outcome("gcc -c a.c"), outcome);
        assert!(r.stderr().contains("XL_SESSION is set, but no xl supervises this"), "{}", r.stderr());
    }
}

/// Who has neither a home nor a cache directory gets his build.
#[test]
fn nowhere_to_keep_a_cache() {
    if !rustix::process::geteuid().is_root() {
        return crate::world::skip("to be a user without a home needs root");
    }
    let w = World::new();
    w.sh("cp $XL ../xl; chmod 755 ../xl . ..".replace("$XL", env!("CARGO_BIN_EXE_xl")).as_str());
    let run = |options: &str| {
        let no_user =
            "env -u HOME -u XDG_CACHE_HOME -u XL_CACHE_DIR setpriv --reuid=54321 --regid=54321 --clear-groups";
        let o = w.sh(&format!("{no_user} ../xl run {options} -- sh -c 'echo built; exit 3'"));
        (
            String::from_utf8_lossy(&o.stdout).into_owned(),
            o.status.code(),
            String::from_utf8_lossy(&o.stderr).into_owned(),
        )
    };
    let (out, code, err) = run("");
    assert_eq!((out.as_str(), code), ("built\n", Some(3)), "{err}");
    assert!(err.contains("no cache directory") && err.contains("runs without xl"), "{err}");
    let (out, code, err) = run("--strict");
    assert_eq!((out.as_str(), code), ("", Some(74)), "{err}");
    assert!(err.contains("XL_CACHE_DIR"), "{err}");
}

/// Nor does a limit that is too low for xl end a build that can live with it.
#[test]
fn little_address_space() {
    let w = World::new();
    let run = |options: &str| {
        let o = w.sh(&format!(
            "ulimit -v 500000; exec {} run {options} -- sh -c 'echo built; exit 3'",
            env!("CARGO_BIN_EXE_xl")
        ));
        (
            String::from_utf8_lossy(&o.stdout).into_owned(),
            o.status.code(),
            String::from_utf8_lossy(&o.stderr).into_owned(),
        )
    };
    let (out, code, err) = run("");
    assert_eq!((out.as_str(), code), ("built\n", Some(3)), "{err}");
    assert!(err.contains("ulimit -v") && err.contains("runs without xl"), "{err}");
    assert_eq!(run("--strict").1, Some(74));
}

#[test]
fn disabled_means_a_plain_exec() {
    let mut w = World::new();
    w.env.insert("XL_DISABLE".into(), "1".into());
    let r = w.run(&["sh", "-c", "echo hi"]);
    assert_eq!((r.stdout().as_str(), r.stderr().as_str()), ("hi\n", ""));
    assert!(!w.cache().exists());
}

#[test]
fn signals_reach_the_build() {
    let w = World::new();
    w.write("b.sh", "trap 'echo got it; exit 3' TERM\necho ready > ready\nwhile :; do sleep 0.05; done\n");
    let mut child = w.xl(&["run", "--", "sh", "b.sh"]).stdout(std::process::Stdio::piped()).spawn().expect("xl");
    while !w.path("ready").exists() {
        std::thread::yield_now();
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .expect("a signal");
    let out = std::io::read_to_string(child.stdout.take().expect("its output")).expect("text");
    assert_eq!(child.wait().expect("its end").code(), Some(3));
    assert_eq!(out, "got it\n");
}

#[test]
fn debuggers_and_leak_checkers_work_inside() {
    let mut w = World::new();
    w.env.insert("XL_BACKEND".into(), "seccomp".into());
    w.write("leak.c", "int main(void) { return 0; }\n");
    w.sh("gcc -fsanitize=address leak.c -o leak");
    assert_eq!(w.xl_run("exec", &["./leak"]).code(), Some(0));
    let r = w.run(&["sh", "-c", "strace -f -o log sh -c 'true; ls' && grep -c execve log"]);
    assert_eq!(r.code(), Some(0), "{}", r.stderr());
    // One tracer per task: with ptrace they fail, and that is said.
    w.env.insert("XL_BACKEND".into(), "ptrace".into());
    w.sh("rm -rf ../cache");
    for command in [&["strace", "-o", "log", "true"][..], &["./leak"]] {
        let r = w.xl_run("exec", command);
        assert!(r.stderr().contains("it traces processes itself") && r.pips("hit") == 0, "{}", r.stderr());
    }
}

#[test]
fn closed_descriptors_stay_closed() {
    let w = World::new();
    let xl = env!("CARGO_BIN_EXE_xl");
    for _ in 0..2 {
        let out = w.sh(&format!(
            "{xl} run --summary off -- sh -c 'ls -d . >&- 2>/dev/null; echo $?; cat 2>/dev/null; echo $?' <&-"
        ));
        assert_eq!(String::from_utf8_lossy(&out.stdout), "2\n1\n");
    }
}

#[test]
fn cheap_commands_are_bypassed_and_compilers_never() {
    let mut w = World::new();
    // A stop at every call makes no command cheap.
    w.env.insert("XL_BACKEND".into(), "seccomp".into());
    w.write("Makefile", "all:\n\t@/bin/true\n\t@as -o e.o e.s\n");
    w.write("e.s", "nop\n");
    // Only real runs are measured, and how many it takes until two in a row are short depends on how busy the machine
    // is.
    let bypassed = (0..40).any(|_| {
        let r = w.xl(&["run", "--no-cache-read", "--json", "../r.json", "--", "make"]).output().expect("xl");
        assert!(r.status.success());
        let record: serde_json::Value = serde_json::from_slice(&std::fs::read(w.path("../r.json")).unwrap()).unwrap();
        let outcome = |c: &str| {
            record["items"].as_array().unwrap().iter().find(|i| i["command"].as_str().unwrap().contains(c)).unwrap()
                    ["outcome"]
                    .clone()
        };
        assert_ne!(outcome("as -o"), "bypassed");
        outcome("/bin/true") == "bypassed"
    });
    assert!(bypassed, "`/bin/true` is never cheap enough");
}

#[test]
fn an_ordinary_user_gets_hits() {
    if !rustix::process::geteuid().is_root() {
        return; // Every other test is this one then.
    }
    let w = World::new();
    w.write("Makefile", "all: a.o\na.o: a.c\n\tgcc -c a.c\n");
    w.write("a.c", "int a;\n");
    w.sh("chmod -R a+rwX ..");
    let xl = w.path("../xl");
    std::fs::copy(env!("CARGO_BIN_EXE_xl"), &xl).expect("a copy that anybody may run");
    let run = |backend: &str, verb: &str| {
        let user = format!(
            "setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/nonexistent XL_BACKEND={backend} \
                XL_CACHE_DIR={0}/../ucache {1} {verb}",
            w.tree().display(),
            xl.display()
        );
        let o = w.sh(&user);
        assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
        String::from_utf8_lossy(&o.stderr).into_owned()
    };
    let said = run("auto", "run -- make");
    assert!(said.contains("0 hits, 1 ran") && said.contains("seccomp"), "{said}");
    w.sh("rm -f a.o");
    let said = run("auto", "run -- make");
    assert!(said.contains("1 hit, 0 ran"), "{said}");
    // With the two capabilities, and with the doctor's words for how to get them.
    let o = w.sh(&format!(
        "setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/nonexistent {} doctor",
        xl.display()
    ));
    let said = String::from_utf8_lossy(&o.stdout).into_owned();
    let line = said.lines().find_map(|l| l.split_once("sudo ").map(|(_, command)| command.to_owned())).expect("a hint");
    assert!(w.sh(&line).status.success(), "{line}");
    w.sh("rm -f a.o");
    let said = run("auto", "run --no-cache-read -- make");
    assert!(said.contains("0 hits, 1 ran ·") && said.contains("ebpf"), "{said}");
    // The build has none of that.
    let said = run("ebpf", "run -- sh -c 'grep Cap /proc/self/status >&2; grep Cap /proc/$PPID/task/$PPID/status >&2'");
    let sets: Vec<&str> = said.lines().filter(|l| l.starts_with("CapPrm") || l.starts_with("CapEff")).collect();
    assert!(
        sets.len() == 4 && sets.iter().all(|l| l.ends_with(" 0000000000000000") || l.ends_with("\t0000000000000000")),
        "{said}"
    );
}

/// A command that waits for the size to change sees it, although its terminal is a stand-in.
#[test]
fn a_resized_window() {
    let w = World::new();
    w.write(
        "inner.py",
        "import os, signal, time\nprint('ready', os.get_terminal_size(1).columns, flush=True)\nend = time.time() + \
            20\nwhile os.get_terminal_size(1).columns != 57 and time.time() < end: time.sleep(0.01)\nprint('now', \
            os.get_terminal_size(1).columns)\n",
    );
    w.write(
        "outer.py",
        "import fcntl, os, pty, struct, sys, termios\npid, fd = pty.fork()\nif pid == 0: os.execvp(sys.argv[1], \
            sys.argv[1:])\nseen = b''\ndone = False\nwhile True:\n    try: b = os.read(fd, 4096)\n    except OSError: \
            break\n    if not b: break\n    seen += b\n    if b'ready' in seen and not done:\n        fcntl.ioctl(fd, \
            termios.TIOCSWINSZ, struct.pack('HHHH', 20, 57, 0, 0)); done = True\nsys.stdout.write(seen.decode())\n",
    );
    let xl = env!("CARGO_BIN_EXE_xl");
    let o = w.sh(&format!("python3 -B outer.py {xl} exec -- python3 -B inner.py"));
    assert!(
        String::from_utf8_lossy(&o.stdout).contains("now 57"),
        "{}{}",
        String::from_utf8_lossy(&o.stdout),
        String::from_utf8_lossy(&o.stderr)
    );
}

/// What a configure script does: a log on descriptor 5, read and written by the script and by some of its commands.
#[test]
fn inherited_files() {
    let w = World::new();
    w.write("a.c", "int a;\n");
    w.write("in", "one\ntwo\n");
    let script = "exec 5>>config.log 6<in\necho start >&5\ngcc -c a.c\nsh -c 'echo used >&5; :'\ngcc -c missing.c \
        2>&5\nsh -c 'cat <&6; :'\n";
    w.write("configure", script);
    let plain = World::new();
    for t in [&w, &plain] {
        t.write("configure", script);
        t.write("a.c", "int a;\n");
        t.write("in", "one\ntwo\n");
    }
    for n in 0..3 {
        let want = plain.sh("sh configure");
        w.sh("rm -f a.o");
        let r = w.run(&["sh", "configure"]);
        assert_eq!(r.stdout().as_bytes(), want.stdout, "{}", r.story());
        assert_eq!(w.read("config.log"), plain.read("config.log"), "{}", r.story());
        assert_eq!(r.outcome("gcc -c a.c"), if n == 0 { "miss" } else { "hit" }, "{}", r.story());
        // What goes through the descriptor is not captured: it must really run.
        for command in ["echo used", "cat <&6"] {
            assert!(["uncacheable", "bypassed"].contains(&&*r.outcome(command)), "{}", r.story());
        }
    }
    // An input that can be read through it counts.
    w.write("in", "three\n");
    w.sh("rm -f a.o");
    assert_eq!(w.run(&["sh", "configure"]).outcome("gcc -c a.c"), "miss");
}
