//! Where a command runs: limits on resources, the names of machine and kernel, processors. What it asks for and uses
//! has to be as it was; what is only around it does not.

use super::{Trap, spring};
use crate::world::World;

/// Another name of the machine, for the rest of the command line, or for the command of a trap.
const RENAMED: &str = "exec unshare --uts sh -c 'hostname xl-trap; [ $# -gt 0 ] || set -- sh -c \"$COMMAND\"; exec \
    \"$@\"' sh \"$@\"; ";
const ONE_PROCESSOR: &str = "taskset -cp 0 $$ > /dev/null; ";

/// Nobody asks in there, or nobody who uses the answer.
const SOURCES: &str = "printf 'int f(void) { return 1; }\\n' > f.c; printf 'int f(void); int main(void) { return f() - \
    1; }\\n' > m.c; printf 'all: p\\np: m.o libf.a\\n\\tgcc m.o libf.a -o p\\nlibf.a: f.o\\n\\tar cr libf.a \
    f.o\\n%.o: %.c\\n\\tgcc -c $< -o $@\\n' > Makefile; printf 'set -e\\nmkdir -p sub\\nfor h in stdio stdlib \
    nothing; do\\n  echo \"#include <$h.h>\" > sub/t.c\\n  if gcc -E sub/t.c > /dev/null 2>&1; then echo HAVE_$h; \
    fi\\ndone | sort | sed s/H/h/ > conf.h\\nif test -f conf.h && [ -x /bin/sh ]; then grep -c have conf.h | tr 2 3; \
    fi\\nfind . -name \"*.c\" | sort | xargs cat | wc -l\\nawk \"{ n += 1 } END { print n }\" conf.h\\ncp conf.h c2; mv \
    c2 c3; install -m 644 c3 c4; rm -f c3 sub/t.c\\n' > conf.sh; printf 'import sys\\nopen(\"gen.c\", \
    \"w\").write(\"int g;\\\\n\" * 3)\\n' > gen.py";

/// All of which is served wherever it is asked for.
pub(super) const COMMANDS: [&[&str]; 4] =
    [&["make"], &["sh", "conf.sh"], &["bash", "conf.sh"], &["/usr/bin/python3", "-B", "gen.py"]];

/// The tree of these commands.
pub(super) fn prepare(w: &World) {
    w.wipe();
    w.sh(SOURCES);
    w.age(super::BEFORE);
}

fn prefixed<'a>(name: &'a str, command: &'a str, prefix: &'a str) -> Trap<'a> {
    Trap { name, setup: "echo x > f", command, change: "true", prefix, env: &[], unstored: None }
}

#[test]
fn what_is_only_around() {
    let root = rustix::process::geteuid().is_root();
    let around = [
        ("more open files", "ulimit -n 2048; "),
        ("fewer processes", "ulimit -u 4000; "),
        ("fewer pending signals", "ulimit -i 4000; "),
        ("a larger stack", "ulimit -S -s 65536; "),
        ("core files", "ulimit -c 1000; "),
        ("locked memory", "ulimit -l 128; "),
        ("one processor", ONE_PROCESSOR),
        ("another host", RENAMED),
    ];
    for command in COMMANDS {
        let w = World::new();
        prepare(&w);
        let verb = if command[0] == "make" { "run" } else { "exec" };
        let run = |prefix: &str| {
            // `ulimit -u` and `-i` are bash's.
            let text = format!("{prefix}exec \"$@\"");
            let mut c = w.command("bash");
            c.args(["-c", &text, "bash", env!("CARGO_BIN_EXE_xl"), verb, "--json", "../r.json", "--"]).args(command);
            c.output().expect("bash")
        };
        let first = run("");
        assert!(first.status.success(), "{command:?}: {}", String::from_utf8_lossy(&first.stderr));
        let want = w.snapshot();
        for (name, prefix) in around.iter().filter(|(_, p)| root || *p != RENAMED) {
            prepare(&w);
            let out = run(prefix);
            let record = w.record();
            let count = |k: &str| record["pips"][k].as_u64().expect("a count");
            assert!(count("hit") > 0 && count("miss") == 0, "{command:?}, {name}: {:#}", record["items"]);
            assert_eq!(out.stdout, first.stdout, "{command:?}, {name}");
            assert_eq!(w.snapshot(), want, "{command:?}, {name}");
        }
    }
}

#[test]
fn limits() {
    let ask = "printf '#include <stdio.h>\n#include <sys/resource.h>\nint main(void) { struct rlimit r; getrlimit(%s, \
        &r); printf(\"%%ld\\\\n\", (long)r.rlim_cur); return 0; }\n'";
    let stack = ask.replacen("%s", "RLIMIT_STACK", 1) + " > a.c; gcc a.c -o ask";
    let files = ask.replacen("%s", "RLIMIT_NOFILE", 1) + " > a.c; gcc -static a.c -o ask";
    let crash = "printf 'int main(void) { return *(volatile int *)0; }\n' > c.c; gcc -w c.c -o crash";
    let python = "/usr/bin/python3 -c 'import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))'";
    let deep = "printf 'int main(int c, char **v) { volatile char b[6 << 20]; for (int i = 0; i < sizeof b; i += 4096) \
        b[i] = c; return b[4096] - 1; }\n' > d.c; gcc d.c -o deep";
    let rows = [
        ("on open files, by a shell", "", "ulimit -n", "ulimit -S -n 1500; "),
        ("on open files, by bash", "", "bash -c 'ulimit -n'", "ulimit -S -n 1500; "),
        ("on the stack, by bash", "", "bash -c 'ulimit -s'", "ulimit -S -s 16384; "),
        ("on core files, by a shell", "", "ulimit -c", "ulimit -S -c 7; "),
        ("on open files, by Python", "", python, "ulimit -S -n 1500; "),
        ("on the stack, by a program of the build's own", stack.as_str(), "./ask", "ulimit -S -s 16384; "),
        ("on open files, by a static one", files.as_str(), "./ask", "ulimit -S -n 1500; "),
        ("on the stack, for the longest command line", "", "getconf ARG_MAX", "ulimit -S -s 16384; "),
        ("on open files, in a file", "", "grep 'open files' /proc/self/limits", "ulimit -S -n 1500; "),
        ("on the stack, that is met", deep, "./deep; echo $?", "ulimit -S -s 4096; "),
        ("on files, that is met", "", "(trap '' XFSZ; seq 9999) > o 2>/dev/null; echo $?", "ulimit -f 8; "),
        ("on open files, that is met", "", "bash -c 'exec 40< f && echo fine' 2>/dev/null; echo $?", "ulimit -n 30; "),
        ("on raising one", "", "ulimit -S -n 4000 2>/dev/null; echo $?", "ulimit -S -n 1500; ulimit -H -n 1500; "),
        (
            "on core files, of a child that crashes",
            crash,
            "(./crash; :) 2>&1 | sed 's/.*(core/core/'",
            "ulimit -S -c 0; ",
        ),
    ];
    for (name, setup, command, prefix) in rows {
        let setup = format!("echo x > f; {setup}");
        let unless = name.contains("crashes") && !bites(&setup, command, prefix);
        if unless {
            crate::world::skip("here no program leaves a core file");
            continue;
        }
        spring(&Trap { name, setup: &setup, command, change: "true", prefix, env: &[], unstored: None });
    }
}

/// Is the text of a plain run another one after this?
fn bites(setup: &str, command: &str, prefix: &str) -> bool {
    let w = World::new();
    w.sh(setup);
    w.sh(command).stdout != w.sh(&format!("{prefix}{command}")).stdout
}

#[test]
fn names_of_the_machine() {
    if !rustix::process::geteuid().is_root() {
        return crate::world::skip("another name for the machine needs root");
    }
    let rows = [
        ("by uname", "uname -n"),
        ("by uname, with all else", "uname -a"),
        ("by hostname", "hostname"),
        ("by bash", "bash -c 'echo $HOSTNAME'"),
        ("by bash, that shows all", "bash -c 'set' | grep HOSTNAME"),
        ("by Python", "/usr/bin/python3 -c 'import socket; print(socket.gethostname())'"),
        ("by perl", "perl -MPOSIX -e 'print((POSIX::uname)[1])'"),
        ("in a file", "cat /proc/sys/kernel/hostname"),
    ];
    for (name, command) in rows {
        spring(&prefixed(name, command, RENAMED));
    }
    // What else is asked for there is as it was.
    for command in ["uname -m", "uname -sr", "arch", "bash -c 'echo $PATH'", "cat /proc/sys/kernel/osrelease"] {
        let w = World::new();
        w.xl_run_after("true; ", "exec", &["sh", "-c", command]);
        let r = w.xl_run_after(RENAMED, "exec", &["sh", "-c", command]);
        assert_eq!(r.pips("hit"), 1, "{command}: {}", r.story());
    }
}

#[test]
fn processors() {
    if std::thread::available_parallelism().is_ok_and(|n| n.get() < 2) {
        return crate::world::skip("there is one processor");
    }
    for (name, command) in [
        ("by nproc", "nproc"),
        ("by Python", "/usr/bin/python3 -c 'import os; print(len(os.sched_getaffinity(0)))'"),
        ("by getconf", "getconf _NPROCESSORS_ONLN; nproc"),
    ] {
        spring(&prefixed(name, command, ONE_PROCESSOR));
    }
}
