//! How `xl` ends when its command dies of a signal: of the same one, after everything was closed. Whoever waits sees
//! what it would see without `xl`: a shell ends its loop at Ctrl-C, a supervisor reads the signal from the wait status.

use crate::world::World;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::ExitStatus;

/// SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGKILL, SIGSEGV, SIGPIPE, SIGTERM, and one without a name.
const DEADLY: [i32; 9] = [1, 2, 3, 6, 9, 11, 13, 15, 40];

fn ended(w: &World, verb: &[&str], script: &str) -> (ExitStatus, String) {
    let words = [verb, &["--", "sh", "-c", script]].concat();
    let out = w.xl(&words).output().expect("xl");
    (out.status, String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn of_every_signal() {
    let w = World::new();
    for n in DEADLY {
        let (status, said) = ended(&w, &["run", "--json", "../r.json"], &format!("kill -{n} $$"));
        assert_eq!(status.signal(), Some(n), "{status}: {said}");
        assert_eq!(w.record()["exit_code"], 128 + n);
        assert!(said.contains("xl: ") && said.contains("pips"), "no summary of signal {n}: {said}");
    }
    // What exits with such a code was not killed.
    assert_eq!(ended(&w, &["run"], "exit 130").0.code(), Some(130));
    // Each of them closed the cache.
    let log = w.xl(&["log"]).output().expect("xl");
    assert_eq!(String::from_utf8_lossy(&log.stdout).lines().count(), DEADLY.len() + 1);
    assert!(w.xl(&["cache", "verify"]).output().expect("xl").status.success());
}

#[test]
fn under_every_subcommand() {
    let w = World::new();
    for verb in [&["exec"][..], &["audit", "-o", "report"], &["trace", "-o", "report"]] {
        for n in [2, 9, 11] {
            std::fs::write(w.path("report"), "").expect("a file");
            let (status, said) = ended(&w, verb, &format!("kill -{n} $$"));
            assert_eq!(status.signal(), Some(n), "{verb:?} {status}: {said}");
            assert_eq!(verb.len() > 1, !w.read("report").is_empty(), "{verb:?}: the report comes first");
        }
    }
}

/// The command has left a core already, where that is possible.
#[test]
fn without_a_core_of_its_own() {
    let w = World::new();
    let status = |cmd: &str| {
        w.command("sh").args(["-c", &format!("ulimit -c unlimited; exec {cmd}")]).output().expect("sh").status
    };
    let script = "sh -c 'kill -SEGV $$'";
    let plain = status(script);
    let with = status(&format!("{} run -- {script}", env!("CARGO_BIN_EXE_xl")));
    assert_eq!((plain.signal(), with.signal()), (Some(11), Some(11)));
    assert!(!with.core_dumped(), "a second core (without xl there is one: {})", plain.core_dumped());
}

/// Waits to be interrupted, and dies of it half a second later: `make` notices first. With one that died at once, make
/// 4.3 ended on a loaded machine with 2 (`wait: No child processes`), once, below the seccomp backend. Python's own
/// `KeyboardInterrupt` will not do: a signal that comes after its last look and before the system call lets it sleep to
/// the end (CI saw that, without `xl`).
const SLOW_TO_DIE: &str = "import os, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
open('started', 'w').close()
signal.sigwait([signal.SIGINT])
time.sleep(.5)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.kill(os.getpid(), signal.SIGINT)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
";

/// The whole group is interrupted, as a terminal does it. What the build tool makes of it is its own affair: make
/// tidies up and dies of it.
#[test]
fn interrupts_end_the_build_as_without_xl() {
    let w = World::new();
    // Not `touch started; sleep 20`: dash ignores an interrupt that comes between vfork and exec (its `onsig` returns
    // while `vforked`), and holding the exec makes that moment longer.
    w.write("s.py", SLOW_TO_DIE);
    w.write("Makefile", "all:\n\t@python3 -B s.py\n");
    let interrupted = |mut c: std::process::Command| {
        let _ = std::fs::remove_file(w.path("started"));
        c.process_group(0);
        let mut child = c.stderr(std::process::Stdio::null()).spawn().expect("a build");
        while !w.path("started").exists() {
            std::thread::yield_now();
        }
        let begun = std::time::Instant::now();
        rustix::process::kill_process_group(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
            .expect("a signal");
        let status = child.wait().expect("its end");
        assert!(begun.elapsed().as_secs() < 30);
        status
    };
    let plain = interrupted(w.command("make"));
    assert_eq!(plain.signal(), Some(2), "{plain}");
    assert_eq!(interrupted(w.xl(&["run", "--", "make"])), plain);
}

/// Drives an interactive shell: types a loop, interrupts its first round, and asks what came of it. The shell's words
/// for itself are split, so that the echo of what is typed is not taken for an answer.
const TYPIST: &str = r#"
import os, pty, select, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(PS1='$ ', TERM='dumb')
    os.execvp('bash', ['bash', '--norc', '--noprofile', '--noediting', '-i'])
seen = b''
def until(done, what):
    global seen
    end = time.time() + 60
    while not done():
        if time.time() > end: sys.exit('no %s in %r' % (what, seen))
        if select.select([fd], [], [], 0.02)[0]: seen += os.read(fd, 4096)
def say(line): os.write(fd, line.encode())
before = termios.tcgetattr(fd)
say("for i in 1 2; do echo x >>rounds; %s make; done; echo CONTI''NUED\n" % sys.argv[1])
until(lambda: os.path.exists('started'), 'start')
say('\x03')
say("echo AF''TER\n")
until(lambda: b'AFTER' in seen, 'prompt')
assert termios.tcgetattr(fd) == before, 'the terminal has other modes'
print(len(open('rounds').readlines()), b'CONTINUED' in seen)
"#;

#[test]
fn ctrl_c_ends_the_loop_of_an_interactive_shell() {
    let w = World::new();
    w.write("s.py", SLOW_TO_DIE);
    w.write("Makefile", "all:\n\t@python3 -B s.py\n");
    w.write("typist.py", TYPIST);
    for with in ["", &format!("{} run --", env!("CARGO_BIN_EXE_xl"))] {
        w.sh("rm -f started rounds");
        let out = w.command("python3").args(["-B", "typist.py", with]).output().expect("python3");
        let (said, wrong) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(said, "1 False\n", "with `{with}`: {wrong}");
    }
}
