//! What is not the command's own: its rights, the signals that it was told to ignore, files that others write to as well, children that
//! nobody saw being born.

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
            "chmod 755 . ..; echo x > f; chmod 600 f; echo 'sh -c \"cat f 2>&1; :\"' > each.sh; echo 'import os, sys\nif os.fork() == 0:\n    os.setuid(65534)\nelse:\n    os.wait()\nos.execvp(\"sh\", [\"sh\", \"each.sh\"])' > both.py",
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
    w.write("twice.c", "#include <unistd.h>\nint main(int c, char **v) { char *e[] = {v[1], v[2], 0}, *a[] = {\"sh\", \"-c\", v[3], 0}; return execve(\"/bin/sh\", a, e); }\n");
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
            "sh -c 'echo a >> log; seq 1 9000000 | tail -1; :' & while [ ! -s log ]; do :; done; echo b >> log; wait; cat log",
        ),
        build(
            "a log that two commands append to",
            "",
            "sh -c 'echo a >> log; seq 1 9000000 | tail -1; :' & while [ ! -s log ]; do :; done; sh -c 'echo b >> log; :'; wait; cat log",
        ),
        build(
            "a log that the build tool has open",
            "",
            "exec 9>>log; echo begin >&9; sh -c 'echo step >> log; :' 9>&-; echo end >&9; cat log",
        ),
    ];
    builds.iter().for_each(same);
}

/// The parent is killed before it has made a call that anybody sees, and the grandchild goes on after the command has ended.
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
            let r = w.run(&["sh", "-c", "/usr/bin/python3 -B orphan.py; kill -USR1 $(cat pid); while [ ! -s late ]; do :; done"]);
            assert_eq!((r.pips("uncacheable"), r.pips("hit")), (1, 0), "{backend}: {}", r.story());
        }
    }
}
