//! One command with several things on its standard descriptors, in one build: what it can tell apart makes another
//! result.

use super::builds::{build, same};
use crate::world::World;

#[test]
fn what_a_command_can_tell_of_them() {
    let ask = "printf 'if [ -t 0 ]; then echo terminal; elif [ -p /dev/stdin ]; then echo pipe; elif [ -c /dev/stdin \
        ]; then echo device; else echo file; fi\\n' > ask.sh; printf 'import os, \
        stat\\nprint(stat.S_ISFIFO(os.fstat(0).st_mode))\\n' > ask.py; printf '#include <stdio.h>\\n#include \
        <sys/stat.h>\\nint main() { struct stat s; fstat(0, &s); printf(\"%%d\\\\n\", S_ISCHR(s.st_mode)); }\\n' > \
        ask.c; gcc ask.c -o ask; printf 'import os\\nos.write(1, b\"at %d\\\\n\" % os.lseek(1, 0, 1))\\n' > tell.py";
    let inputs = |command| format!("{command} < /dev/null; : | {command}; {command} < ask.c; {command} < /dev/null");
    let [shell, script, own] = ["sh ask.sh", "python3 -B ask.py", "./ask"].map(inputs);
    let builds = [
        build("a shell asks what its standard input is", ask, &shell),
        build("a script asks", ask, &script),
        build("a program of the build's own asks", ask, &own),
        build(
            "a loop over a file",
            ask,
            "printf 'while read x; do echo $x; done < ask.sh\nread y; echo then $y\n' > l.sh; for i in 1 2; do sh \
                l.sh < /dev/null; echo $i | sh l.sh; echo $i | bash l.sh; done",
        ),
        build(
            "a descriptor put aside and read by its number",
            "printf 'exec {n}<&0\nread -u $n x\necho $x\n' > l.sh",
            "for i in 1 2; do echo $i | bash l.sh; echo $i | bash -c 'exec {n}<&0; read -r -u $n x; echo $x'; done",
        ),
        build(
            "the place in the file",
            ask,
            "python3 -B tell.py > a; { printf xx; python3 -B tell.py; } > b; python3 -B tell.py >> b; cat a b",
        ),
        build(
            "a device that is full",
            "",
            "for f in o /dev/full o; do python3 -c 'print(1)' 2>/dev/null > $f; echo $?; done; cat o",
        ),
        build(
            "standard input that is written to",
            "echo 1 > f",
            "for i in 1 2; do sh -c 'echo more >&0; :' 0<>f; cat f; done; cat < f",
        ),
    ];
    builds.iter().for_each(same);
}

/// On a terminal, beside one, and on it again: known tools, too, may ask what it is.
#[test]
fn tools_that_ask_for_a_terminal() {
    let xl = env!("CARGO_BIN_EXE_xl");
    for text in [
        "env test -t 0 && echo yes || echo no",
        "env [ -t 0 ] && echo yes || echo no",
        "[ -t 0 ] && echo yes || echo no",
    ] {
        let w = World::new();
        w.write("ask.sh", &format!("{text}\n"));
        for time in 0..3 {
            let on = w.sh(&format!("script -qec '{xl} exec --summary off -- sh ask.sh 2>&1 | cat' /dev/null")).stdout;
            let off = w.sh(&format!("{xl} exec --summary off -- sh ask.sh 2>&1 < /dev/null | cat")).stdout;
            let said = (String::from_utf8_lossy(&on).into_owned(), String::from_utf8_lossy(&off).into_owned());
            assert!(said.0.contains("yes") && said.1.contains("no"), "{text}, {time}: {said:?}");
        }
    }
}

/// `rm` asks whether there is a terminal, and nothing else; a program that could read its standard input does not: that
/// a build tool gives its commands an empty pipe one time and a device the other is all the same to them.
#[test]
fn what_is_no_terminal_is_all_one() {
    let xl = env!("CARGO_BIN_EXE_xl");
    let w = World::new();
    w.write("own.c", "#include <stdio.h>\nint main(int n, char **v) { return n > 1 ? fgetc(stdin) : 0; }\n");
    w.write("rm.sh", "echo 1 > t; cp t o; rm t; ./own; [ -t 0 ] || perl do.pl > /dev/null\n");
    w.write("do.pl", "print -t STDIN ? 1 : 0; print <STDIN> if 0;\n");
    w.sh("gcc own.c -o own");
    let run = |how: &str| {
        w.sh(&how.replace("XL", &format!("{xl} exec --json ../r.json -- bash rm.sh")));
        let r = w.record();
        r["pips"]["hit"].as_u64()
    };
    assert_eq!(run("XL < /dev/null"), Some(0));
    for how in ["XL < /dev/null", ": | XL", "XL < /dev/zero"] {
        assert_eq!(run(how), Some(1), "{how}");
    }
    for (time, hits) in [0, 1].into_iter().enumerate() {
        assert_eq!(run("script -qec 'XL' /dev/null"), Some(hits), "{time}");
    }
}

/// libtool reads the first lines of a file by putting standard input aside. To the shell that means nothing; what it
/// starts may read there.
#[test]
fn standard_input_that_is_put_aside() {
    let xl = env!("CARGO_BIN_EXE_xl");
    let w = World::new();
    let aside = |between: &str| format!("exec 5<&0 < in\nread x\necho $x\n{between}\nexec 0<&5 5<&-\ncp in out\n");
    w.write("in", "first\nsecond\n");
    for (name, between) in [
        ("plain", ""),
        ("program", "/usr/bin/python3 -B -c 'import os; print(os.read(5, 9))'"),
        ("file", "cat /dev/fd/5"),
        ("again", "cat <&5"),
        ("asks", "[ -t 5 ] && echo terminal"),
    ] {
        w.write(&format!("{name}.sh"), &aside(between));
        let run = |how: &str| {
            let text = how.replace("XL", &format!("{xl} exec --json ../r.json -- bash {name}.sh"));
            let out = String::from_utf8_lossy(&w.sh(&text).stdout).replace('\r', "");
            let r = w.record();
            (out, r["pips"]["hit"].as_u64().expect("a number"))
        };
        let (first, hits) = run("XL < /dev/null");
        assert_eq!((first.starts_with("first\n"), hits), (true, 0), "{name}: {first}");
        assert_eq!(run("XL < /dev/null"), (first.clone(), 1), "{name}");
        assert_eq!(run(": | XL").1, u64::from(matches!(name, "plain" | "asks")), "{name}");
        for _ in 0..2 {
            let (said, _) = run("script -qec 'XL' /dev/null < /dev/null");
            assert_eq!(said.contains("terminal"), name == "asks", "{name}: {said}");
            let (said, hits) = run("echo text | XL");
            let (reads, says) = (matches!(name, "program" | "file" | "again"), said.contains("text"));
            assert_eq!((says, reads && hits > 0), (reads, false), "{name}: {said}");
        }
    }
}

#[test]
fn sockets_as_standard_output() {
    let w = World::new();
    w.write("kind.sh", "[ -S /dev/stdout ] && echo socket || echo other; [ -S /dev/stderr ] && echo socket >&2; :\n");
    w.write(
        "build.py",
        "import socket, subprocess
for _ in 1, 2:
    a, b = socket.socketpair()
    subprocess.run(['sh', 'kind.sh'], stdout=b, stderr=b)
    b.close()
    print(a.makefile().read().split(), subprocess.run(['sh', 'kind.sh'], stdout=subprocess.PIPE).stdout, flush=True)
",
    );
    let want = w.sh("/usr/bin/python3 -B build.py").stdout;
    assert!(want.starts_with(b"['socket', 'socket'] b'other"), "{}", String::from_utf8_lossy(&want));
    for time in 0..3 {
        let r = w.run(&["/usr/bin/python3", "-B", "build.py"]);
        assert_eq!(r.stdout().as_bytes(), want, "{time}: {}", r.story());
    }
}

/// On a socket bash takes itself for one that a network server has started, and reads the user's start-up file.
#[test]
fn a_socket_as_standard_input() {
    let w = World::new();
    w.write(".bashrc", "echo started\n");
    w.write(
        "build.py",
        "import os, socket, subprocess
a, b = socket.socketpair()
env = {'HOME': os.getcwd(), 'PATH': os.environ['PATH']}
for stdin in subprocess.DEVNULL, b, subprocess.DEVNULL, b:
    print(subprocess.run(['bash', '-c', 'echo text; :'], stdin=stdin, env=env, stdout=subprocess.PIPE).stdout, flush=True)
",
    );
    let want = w.sh("/usr/bin/python3 -B build.py").stdout;
    assert!(want.starts_with(b"b'text\\n'\nb'started"), "{}", String::from_utf8_lossy(&want));
    for time in 0..2 {
        let r = w.run(&["/usr/bin/python3", "-B", "build.py"]);
        assert_eq!(r.stdout().as_bytes(), want, "{time}: {}", r.story());
    }
}

/// A pipe that a command inherits is none of make's only because there is a make above.
#[test]
fn a_pipe_beside_the_job_server() {
    let w = World::new();
    w.write("read.py", "import os, sys\nprint(os.read(int(sys.argv[1].split('/')[-1]), 9))\n");
    w.write(
        "build.sh",
        "export MAKEFLAGS=' -j --jobserver-auth=3,4'\nfor i in 1 2 1; do echo $i > in; python3 -B read.py <(cat in); \
            done\n",
    );
    for time in 0..3 {
        let r = w.run(&["bash", "build.sh"]);
        assert_eq!(r.stdout(), "b'1\\n'\nb'2\\n'\nb'1\\n'\n", "{time}: {}", r.story());
    }
}

/// Of the commands that `make -j` runs at once one has the terminal as its standard input, and the next time that is
/// another one. Those that do not look at it hit all the same.
#[test]
fn who_has_the_terminal_does_not_matter() {
    let w = World::new();
    let steps = "%.o: %.c\n\t@gcc -c $<\n%.txt: %.c\n\t@sed s/int/long/ $< > $@; sort $< >> $@; cp $< $@.2\n%.list: \
        %.c\n\t@sh list.sh $< > $@\n";
    w.write("Makefile", &format!("all: $(foreach n,a b c d,$n.o $n.txt $n.list)\n{steps}"));
    w.write("list.sh", "while read l; do echo $l; done < $1; perl -pe 1 $1\npython3 -B list.py $1\n");
    w.write("list.py", "import sys\nprint(open(sys.argv[1]).read())\n");
    for n in ["a", "b", "c", "d"] {
        w.write(&format!("{n}.c"), &format!("int {n};\n"));
    }
    for time in 0..4 {
        w.sh("rm -f *.o *.txt *.2 *.list");
        let o =
            w.sh(&format!("script -qec '{} run --json ../r.json -- make -s -j3' /dev/null", env!("CARGO_BIN_EXE_xl")));
        let r = w.record();
        assert_eq!(
            r["pips"]["hit"].as_u64(),
            Some(if time == 0 { 0 } else { 12 }),
            "{time}: {}\n{r}",
            String::from_utf8_lossy(&o.stdout)
        );
    }
}
