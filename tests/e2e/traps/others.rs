//! What is not the command's own: its rights, the signals that it was told to ignore, files that others write to as
//! well, children that nobody saw being born.

use super::builds::{build, same};
use super::{spring, trap};
use crate::world::World;

#[test]
fn rights_and_signals() {
    if !rustix::process::geteuid().is_root() {
        return crate::world::skip("becoming another user needs root");
    }
    let open = "chmod 755 . ..; echo x > f";
    spring(
        &trap("a file that another user may read no more", open, "setpriv --reuid=65534 cat f 2>&1; :", "chmod 600 f")
            .unstored("changes its user"),
    );
    let builds = [
        build(
            "one command of two users",
            "chmod 755 . ..; echo x > f; chmod 600 f; printf 'exec setpriv \"$@\"\\n' > as.sh",
            "cat f 2>&1; sh -c '. ./as.sh' - --reuid=65534 cat f 2>&1; cat f 2>&1",
        ),
        build(
            "a driver that gives up its rights",
            "chmod 755 . ..; echo x > f; chmod 600 f; echo 'sh -c \"cat f 2>&1; :\"' > each.sh; echo 'import os, \
                sys\nif os.fork() == 0:\n    os.setuid(65534)\nelse:\n    os.wait()\nos.execvp(\"sh\", \
                [\"sh\", \"each.sh\"])' > both.py",
            "python3 -B both.py",
        ),
        build(
            "an ignored signal",
            "echo 'print $SIG{USR1} || \"default\", \"\\n\";' > p.pl",
            "perl p.pl; (trap '' USR1; perl p.pl); perl p.pl; (trap '' INT; perl p.pl)",
        ),
        build("a processor less", "", "nproc; taskset -cp 0 $$ > /dev/null; nproc"),
    ];
    builds.iter().for_each(same);
}

/// The kernel takes a variable as often as it is given; which one counts is each program's own business.
#[test]
fn a_variable_that_is_there_twice() {
    let w = World::new();
    w.write(
        "twice.c",
        "#include <unistd.h>\nint main(int c, char **v) { char *e[] = {v[1], v[2], 0}, *a[] = \
        {\"sh\", \"-c\", v[3], 0}; return execve(\"/bin/sh\", a, e); }\n",
    );
    w.sh("gcc twice.c -o twice");
    for text in ["echo $A; :", "/usr/bin/perl -e 'print $ENV{A}'; :"] {
        for (one, two) in [("A=1", "A=2"), ("A=2", "A=1"), ("A=1", "A=2")] {
            let command = ["./twice", one, two, text];
            let want = w.command(command[0]).args(&command[1..]).output().expect("twice").stdout;
            let r = w.run(&command);
            assert_eq!(r.stdout().as_bytes(), want, "{one} {two}: {}", r.story());
        }
    }
}

#[test]
fn files_that_others_write_to() {
    let builds = [
        build(
            "a log that the build script appends to meanwhile",
            "",
            "sh -c 'echo a >> log; seq 1 9000000 | tail -1; :' & while [ ! -s log ]; do :; done; echo b >> log; wait; \
                cat log",
        ),
        build(
            "a log that two commands append to",
            "",
            "sh -c 'echo a >> log; seq 1 9000000 | tail -1; :' & while [ ! -s log ]; do :; done; sh -c 'echo b >> \
                log; :'; wait; cat log",
        ),
        build(
            "a log that the build tool has open",
            "",
            "exec 9>>log; echo begin >&9; sh -c 'echo step >> log; :' 9>&-; echo end >&9; cat log",
        ),
    ];
    builds.iter().for_each(same);
}

/// What others do to a command's outputs while it runs is no result of it.
#[test]
fn outputs_that_others_take() {
    let gen_py = "echo 'import os, time; open(\"o.t\", \"w\").write(\"one\"); os.rename(\"o.t\", \"o\"); \
        [time.sleep(.01) for _ in iter(lambda: os.path.exists(\"go\"), True)]' > gen.py";
    let after = |what: &str| {
        format!(
            "/usr/bin/python3 -B gen.py & until [ -s o ]; do :; done; {what}; touch go; wait; rm -f o p; \
                /usr/bin/python3 -B gen.py; cat o"
        )
    };
    for what in ["rm -f o", "mv o p", "echo two > p; mv p o", "echo three > o"] {
        same(&build(what, gen_py, &after(what)));
    }
}

/// `make` removes a target when it is told to end, and the command ends well all the same.
#[test]
fn a_target_that_make_takes_back() {
    let w = World::new();
    w.write(
        "slow.py",
        "import os, time\nf = open('o', 'w')\nf.write('half')\nf.flush()\nwhile not \
        os.path.exists('go'): time.sleep(.01)\nf.write('whole')\n",
    );
    w.write("Makefile", "o: in\n\t@/usr/bin/python3 -B slow.py\n");
    w.write("in", "1");
    let xl = env!("CARGO_BIN_EXE_xl");
    let stop = format!(
        "setsid {xl} run -- make > /dev/null 2>&1 & p=$!; until [ -s o ]; do :; done; kill -TERM $p; while [ -e o ]; \
            do :; done; touch go; wait $p"
    );
    w.sh(&stop);
    let r = w.run(&["make"]);
    assert_eq!((r.code(), r.pips("hit")), (Some(0), 0), "{}", r.story());
    assert_eq!(w.read("o"), "halfwhole");
}

/// Nothing is put back before it is certain that the command will not run: what runs on its own outputs does everything
/// twice.
#[test]
fn a_hit_that_cannot_be_served() {
    let mut w = World::new();
    // One tracer per task: strace cannot work with the ptrace backend.
    w.env.insert("XL_BACKEND".into(), "seccomp".into());
    w.write("Makefile", "all:\n\t@sed -i s/a/aa/ f\n");
    w.write("step.sh", "echo x >> log\ncat small\n:\n");
    w.write("reader.sh", "trap '' PIPE\n(exec sh step.sh) | cat > /dev/null\n");
    w.write("nobody.sh", "trap '' PIPE\n(until [ -e go ]; do :; done; exec sh step.sh) | (exec <&-; touch go)\n");
    w.sh("seq 1 200 > small");
    // What hits undisturbed must run there.
    for (command, hits) in [("make", 0), ("make", 1), ("strace -f -o /dev/null make", 0)] {
        w.write("f", "a\n");
        let r = w.run(&command.split(' ').collect::<Vec<_>>());
        assert_eq!((w.read("f"), r.pips("hit")), ("aa\n".to_owned(), hits), "{command}: {}", r.story());
    }
    w.env.remove("XL_BACKEND");
    let served = |r: &crate::world::Run| r.outcome("sh step.sh") == "hit";
    for (script, hit) in [("reader.sh", false), ("reader.sh", true), ("nobody.sh", false)] {
        w.sh("rm -f go");
        w.write("log", "a\n");
        let r = w.run(&["bash", script]);
        assert_eq!((w.read("log"), served(&r)), ("a\nx\n".to_owned(), hit), "{script}: {}", r.story());
    }
}

/// A page of a file on tmpfs that was read before it is written through a mapping leaves no time.
#[test]
fn a_change_that_leaves_no_time() {
    let dir = tempfile::Builder::new().prefix("xl-mapped").tempdir_in("/dev/shm").expect("a directory");
    let w = World::new();
    let f = dir.path().join("f");
    w.write(
        "map.py",
        &format!("import mmap\nf = open('{}', 'r+b')\nm = mmap.mmap(f.fileno(), 0)\nm[0] = m[0] + 1\n", f.display()),
    );
    let text = format!("cat {0}; /usr/bin/python3 -B map.py; cat {0}", f.display());
    for time in 0..3 {
        std::fs::write(&f, "0000").expect("a file");
        w.sh(&format!("touch -d @1000 {}", f.display()));
        let r = w.run(&["sh", "-c", &text]);
        assert_eq!(r.stdout(), "00001000", "{time}: {}", r.story());
    }
}

/// The build has the file open, to read it: it is to find there what the command has written in place.
#[test]
fn what_the_build_reads_meanwhile() {
    let script = "echo 1 > f; exec 3< f; sh -c 'gcc -E a.c > t; cat t > f; rm t'; cat <&3 | tail -1; rm f";
    same(&build("a file that the build has open", "echo 'int a;' > a.c", script));
}

/// A mount point can neither be replaced nor removed; nothing else is put in place then.
#[test]
fn outputs_that_something_is_mounted_at() {
    if !rustix::process::geteuid().is_root() {
        return crate::world::skip("mounts need root");
    }
    let w = World::new();
    w.write("in", "new\n");
    w.write("make.sh", "cat in > a; cat in > b; echo done\n");
    let xl = env!("CARGO_BIN_EXE_xl");
    for _ in 0..2 {
        w.sh(&format!("rm -f a b; unshare -m {xl} exec --json ../r.json -- sh make.sh"));
    }
    assert!(std::fs::read_to_string(w.path("../r.json")).expect("a record").contains("\"hit\": 1"));
    w.sh("rm a; echo old > b; echo under > m");
    let o = w.sh(&format!(
        "unshare -m sh -c 'mount --bind m b; {xl} exec --json ../r.json -- sh make.sh; cat b'; cat a b m"
    ));
    assert_eq!(
        String::from_utf8_lossy(&o.stdout),
        "done\nnew\nnew\nold\nnew\n",
        "{}",
        String::from_utf8_lossy(&o.stderr)
    );
    let r = std::fs::read_to_string(w.path("../r.json")).expect("a record");
    assert!(r.contains("something is mounted at"), "{r}");
}

#[test]
fn the_terminal_by_its_name() {
    let w = World::new();
    w.write("read.sh", "read x < /dev/tty; echo got $x > out\n");
    w.write("knock.sh", "echo 1 > out\n");
    let xl = env!("CARGO_BIN_EXE_xl");
    let run = |shell: &str, script: &str, text: &str| {
        w.sh("rm -f out");
        w.sh(&format!(
            "(until [ -e out ]; do echo {text}; sleep .05; done) | script -qec '{xl} exec --json ../r.json -- {shell} \
                {script}' /dev/null"
        ));
        let r = w.record();
        (w.read("out"), r["pips"]["hit"].as_u64())
    };
    // rustc asks for the width, for its warnings.
    w.write("w.rs", "fn main() { let unused = 1; }\n");
    let r = w.xl_run("exec", &["rustc", "w.rs"]);
    assert_eq!((r.code(), r.pips("uncacheable")), (Some(0), 0), "{}", r.story());
    for shell in ["dash", "bash"] {
        for text in ["one", "two"] {
            assert_eq!(run(shell, "read.sh", text), (format!("got {text}\n"), Some(0)), "{shell}");
        }
        assert_eq!(run(shell, "knock.sh", "x").1, Some(0), "{shell}");
        assert_eq!(run(shell, "knock.sh", "x").1, Some(1), "{shell}");
    }
}

/// The parent is killed before it has made a call that anybody sees, and the grandchild goes on after the command has
/// ended.
#[test]
fn a_grandchild_that_nobody_saw() {
    for backend in ["seccomp", "ptrace"] {
        let mut w = World::new();
        w.env.insert("XL_BACKEND".into(), backend.into());
        w.write(
            "orphan.py",
            "import os, signal
r, w = os.pipe()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
child = os.fork()
if child == 0:
    late = os.fork()
    if late == 0:
        os.write(w, b'x')
        signal.sigwait([signal.SIGUSR1])
        open('late', 'w').write('late')
        os._exit(0)
    else:
        os.write(w, b'%d\\n' % late)
    signal.pause()
said = b''
while not (b'x' in said and b'\\n' in said): said += os.read(r, 99)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
open('pid', 'wb').write(said.replace(b'x', b''))
os._exit(0)
",
        );
        for _ in 0..2 {
            w.sh("rm -f late pid");
            let r = w.run(&[
                "sh",
                "-c",
                "/usr/bin/python3 -B orphan.py; kill -USR1 $(cat pid); while [ ! -s late ]; do :; done",
            ]);
            assert_eq!((r.pips("uncacheable"), r.pips("hit")), (1, 0), "{backend}: {}", r.story());
        }
    }
}
