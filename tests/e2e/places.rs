//! Odd places to run in: where tracing is refused, with few descriptors, under a shell's job control.

use crate::world::World;

/// A launcher after which the kernel refuses what is named.
pub(crate) fn refuse(w: &World) -> String {
    let program = w.path("../refuse").display().to_string();
    let built = w.sh(&format!("gcc -o {program} {}/tests/contract/refuse.c", env!("CARGO_MANIFEST_DIR")));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    program
}

const XL: &str = env!("CARGO_BIN_EXE_xl");

#[test]
fn where_tracing_is_refused() {
    let mut w = World::new();
    w.env.insert("XL_BACKEND".into(), "auto".into());
    // What an earlier run of this binary found out about other refusals is not to be believed here.
    w.env.insert("XDG_CACHE_HOME".into(), w.path("../home-cache").display().to_string());
    let refuse = refuse(&w);
    w.write("a.c", "int a;\n");
    w.write("build.sh", "gcc -c a.c && echo built; exit 4\n");
    let run = |what: &str, options: &str| {
        w.sh("rm -f a.o");
        let o = w.sh(&format!("timeout 60 {refuse} {what} -- {XL} run {options} -- sh build.sh"));
        (
            String::from_utf8_lossy(&o.stdout).into_owned(),
            String::from_utf8_lossy(&o.stderr).into_owned(),
            o.status.code(),
        )
    };
    // No listener: processes are attached to instead.
    for (n, want) in ["1 ran", "1 hit"].iter().enumerate() {
        let (out, err, code) = run("listener", "");
        assert_eq!((out.as_str(), code), ("built\n", Some(4)), "{err}");
        assert!(err.contains(want) && err.contains("ptrace"), "{n}: {err}");
    }
    // No eBPF programs: the gate asks about looks, too.
    let (out, err, code) = run("bpf", "");
    assert_eq!((out.as_str(), code), ("built\n", Some(4)), "{err}");
    assert!(err.contains("1 hit") && err.contains("seccomp") && !err.contains("warning"), "{err}");
    let (_, err, code) = run("bpf", "--backend ebpf");
    assert!(code == Some(77) && err.contains("cannot be loaded"), "{err}");
    // No ptrace: nothing can be skipped, and that is said.
    let (out, err, code) = run("ptrace", "");
    assert_eq!((out.as_str(), code), ("built\n", Some(4)), "{err}");
    assert!(err.contains("ptrace is forbidden") && err.contains("0 hits"), "{err}");
    // No pidfd_getfd, as in containers: descriptors are opened anew.
    for _ in 0..2 {
        let (out, err, code) = run("getfd", "");
        assert_eq!((out.as_str(), code), ("built\n", Some(4)), "{err}");
        assert!(err.contains("1 hit"), "{err}");
    }
    // Nothing at all: the build runs as if there were no xl, unless the user insists.
    let (out, err, code) = run("listener ptrace", "");
    assert_eq!((out.as_str(), code), ("built\n", Some(4)), "{err}");
    assert!(err.contains("warning") && err.contains("runs without xl"), "{err}");
    let (out, err, code) = run("listener ptrace", "--strict");
    assert_eq!((out.as_str(), code), ("", Some(77)), "{err}");
    assert!(err.contains("caused by"), "{err}");
    let (_, err, code) = run("listener", "--backend seccomp");
    assert_eq!(code, Some(77), "{err}");
}

#[test]
fn few_descriptors() {
    let w = World::new();
    w.write("build.sh", "for i in 1 2 3 4 5 6 7 8; do sh -c \"echo $i > f$i; sleep 0.1; :\" & done; wait; cat f*\n");
    for _ in 0..2 {
        w.sh("rm -f f*");
        let o = w.sh(&format!("ulimit -n 40; {XL} run -- sh build.sh"));
        assert_eq!(
            String::from_utf8_lossy(&o.stdout),
            "1\n2\n3\n4\n5\n6\n7\n8\n",
            "{}",
            String::from_utf8_lossy(&o.stderr)
        );
    }
}

#[test]
fn stopped_and_continued_by_a_shell() {
    let w = World::new();
    w.write("b.sh", "echo sta''rted; while [ ! -e go ]; do sleep 0.02; done; sh -c 'echo fin\"\"ished; :'\n");
    w.write(
        "shell.py",
        r#"
import os, pty, sys
pid, fd = pty.fork()
if pid == 0: os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
seen = b""
def until(text):
    global seen
    while text not in seen:
        try: b = os.read(fd, 4096)
        except OSError: b = b""
        if not b: sys.exit("lost: " + seen.decode())
        seen += b
    seen = seen[seen.index(text) + len(text):]
os.write(fd, (sys.argv[1] + " run -- sh b.sh\n").encode())
until(b"started")
os.write(fd, b"\x1a")
until(b"Stopped")
open("go", "w").close()
os.write(fd, b"fg\n")
until(b"finished")
until(b"xl: ")
os.write(fd, b"exit\n")
print("done")
"#,
    );
    for _ in 0..2 {
        w.sh("rm -f go");
        let o = w.sh(&format!("timeout 30 python3 -B shell.py {XL}"));
        assert_eq!(String::from_utf8_lossy(&o.stdout), "done\n", "{}", String::from_utf8_lossy(&o.stderr));
    }
}

#[test]
fn a_hangup_ends_the_build() {
    // Who is started with the signal ignored (nohup) cannot trap it: there is nothing to try.
    let ignored = std::fs::read_to_string("/proc/self/status").is_ok_and(|s| {
        let line = s.lines().find_map(|l| l.strip_prefix("SigIgn:")).map(str::trim).unwrap_or_default().to_owned();
        u64::from_str_radix(&line, 16).is_ok_and(|m| m & 1 == 1)
    });
    if ignored {
        return crate::world::skip("SIGHUP is ignored here");
    }
    let w = World::new();
    w.write("b.sh", "trap 'echo hung up; exit 5' HUP\n: > ready\nwhile :; do sleep 0.02; done\n");
    let mut child = w.xl(&["run", "--", "sh", "b.sh"]).stdout(std::process::Stdio::piped()).spawn().expect("xl");
    while !w.path("ready").exists() {
        std::thread::yield_now();
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::HUP)
        .expect("a signal");
    let out = std::io::read_to_string(child.stdout.take().expect("its output")).expect("text");
    assert_eq!((child.wait().expect("its end").code(), out.as_str()), (Some(5), "hung up\n"));
}

#[test]
fn closed_standard_descriptors() {
    let w = World::new();
    w.write("b.sh", "sh -c 'echo out; echo err >&2; :' > f 2>&1; cat f > g; gcc --version > v\n");
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        for _ in 0..2 {
            w.sh("rm -f f g v");
            let o = w.sh(&format!("{XL} run --json ../r.json -- sh b.sh {closed}"));
            assert_eq!(o.status.code(), Some(0), "{closed}");
            assert_eq!(w.read("g"), "out\nerr\n", "{closed}");
            assert!(w.read("v").contains("gcc"), "{closed}");
        }
    }
}
