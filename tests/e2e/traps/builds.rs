//! Builds that behave oddly: plain, cold and warm must print, return and leave the same.

use crate::world::World;

/// Files of a tree, and the script that builds it.
pub(super) struct Build<'a> {
    name: &'a str,
    setup: &'a str,
    script: &'a str,
}

pub(super) const fn build<'a>(name: &'a str, setup: &'a str, script: &'a str) -> Build<'a> {
    Build { name, setup, script }
}

pub(super) fn same(b: &Build<'_>) {
    same_in(&World::new(), b);
}

fn same_in(w: &World, b: &Build<'_>) {
    let prepare = |w: &World| {
        w.sh(b.setup);
        w.write("build.sh", b.script);
    };
    w.wipe();
    prepare(w);
    let o = w.sh("sh build.sh");
    let want = (String::from_utf8_lossy(&o.stdout).into_owned(), o.status.code(), w.snapshot());
    for time in ["cold", "warm", "third"] {
        w.wipe();
        prepare(w);
        let r = w.run(&["sh", "build.sh"]);
        assert_eq!(
            (r.stdout(), r.code()),
            (want.0.clone(), want.1),
            "{} {time}: text or code\n{}\n{}",
            b.name,
            r.stderr(),
            r.story()
        );
        assert_eq!(w.snapshot(), want.2, "{} {time}: tree\n{}", b.name, r.story());
    }
}

#[test]
fn shell_scripts() {
    let builds = [
        build("a pipe", "seq 1 3000 > in", "cat in | sort -rn | sh -c 'head -5' > out; cat out"),
        build("background jobs", "echo 'int a;' > a.c; echo 'int b;' > b.c", "gcc -c a.c & gcc -c b.c & wait; ls"),
        build(
            "two writers in turn",
            "",
            "sh -c 'echo 1 > f; :'; sh -c 'echo 2 >> f; :'; sh -c 'cat f > g; :'; sh -c 'echo 3 > f; :'; cat f g",
        ),
        build("a FIFO", "mkfifo p", "sh -c 'echo through > p; :' & sh -c 'cat p > out; :'; wait; cat out; rm p"),
        build("a lock", "", "flock l sh -c 'echo 1 >> f; :'; flock l sh -c 'echo 2 >> f; :'; cat f"),
        build(
            "failing commands",
            "",
            "sh -c 'echo no >&2; exit 3; :'; echo $?; sh -c 'exit 0; :'; echo $?; gcc -c missing.c 2>/dev/null; echo \
                $?",
        ),
        build(
            "death by signal",
            "",
            "sh -c 'kill -9 $$; :' 2>/dev/null; echo $?; sh -c 'echo partial > p; kill -TERM $$; :' 2>/dev/null; echo \
                $?; cat p",
        ),
        build("partial outputs of a failure", "", "sh -c 'echo half > h; exit 1; :'; echo $?; cat h"),
        build(
            "output to /dev/stdout",
            "echo 'int a;' > a.c",
            "gcc -S a.c -o /dev/stdout | grep -c globl; sh -c 'echo x > /dev/stdout; echo y > /dev/fd/1; :'",
        ),
        build("a double fork", "echo 1 > in", "sh -c '(cat in > out &) ; while [ ! -s out ]; do :; done; :'; cat out"),
        build(
            "a working directory that is deleted",
            "",
            "mkdir w; (cd w; sh -c 'rmdir ../w; echo gone > ../o; :'); cat o",
        ),
        build(
            "directories renamed into place",
            "",
            "sh -c 'mkdir t; echo 1 > t/f; mkdir t/e; mv t final; :'; ls -R final; cat final/f",
        ),
        build(
            "several names of one file",
            "",
            "sh -c 'echo 1 > a; ln a b; ln a c; :'; stat -c %h a b c; sh -c 'cat a b c > d; :'",
        ),
        build(
            "names in odd places",
            "",
            "sh -c 'mkdir -p \"a b/c\"; echo 1 > \"a b/c/$(printf \"x\\\\ny\")\"; :'; ls -R",
        ),
        build(
            "a counter over steps",
            "echo 0 > n",
            "for i in 1 2 3; do sh -c 'expr $(cat n) + 1 > n2; mv n2 n; :'; done; cat n",
        ),
        build(
            "an archive that grows",
            "echo 'int a;' > a.c; echo 'int b;' > b.c",
            "gcc -c a.c b.c; ar cr l.a a.o; ar r l.a b.o; ar t l.a; ranlib l.a",
        ),
        build("sed -i, twice", "echo abc > f", "sed -i s/a/b/ f; sed -i s/b/c/ f; cat f"),
        build(
            "coverage data",
            "echo 'int main(void) { return 0; }' > a.c",
            "gcc --coverage -frandom-seed=1 a.c -o p; sh -c './p; ./p; :'; ls | grep -c gcda",
        ),
        build(
            "an unlinked log on standard output",
            "",
            "exec 3>log; sh -c 'echo to the log; :' >&3; rm log; sh -c 'echo more; :' >&3; ls",
        ),
        build("terminal-less input", "", "sh -c 'cat; echo end; :' < /dev/null; echo data | sh -c 'cat; :'"),
        build(
            "many outputs",
            "",
            "sh -c 'mkdir d; i=0; while [ $i -lt 5000 ]; do : > d/f$i; i=$((i+1)); done'; ls d | wc -l",
        ),
        build("a sparse output", "", "sh -c 'truncate -s 200M s; :'; stat -c %s s; cksum s; rm s"),
        build("empty directories", "", "sh -c 'mkdir -p a/b/c d; :'; find . -type d | sort"),
        build("a read-only output", "", "sh -c 'echo 1 > r; chmod 444 r; :'; stat -c %a r; cat r"),
        build(
            "a chain whose times stay in order",
            "",
            "sh -c 'echo 1 > a; :'; sh -c 'cp a b; :'; sh -c 'cp b c; :'; for p in 'b a' 'c b'; do set -- $p; [ $1 \
                -ot $2 ] && echo wrong $p; done; echo ok",
        ),
        build(
            "ulimits",
            "",
            "(ulimit -f 1; sh -c 'head -c 9000 /dev/zero > f 2>/dev/null; stat -c %s f; :' 2>/dev/null); echo $?",
        ),
        build("a set-uid program", "", "sh -c 'su --version > v 2>&1; test -s v && echo ran; :'"),
        build("closing standard output", "", "sh -c 'exec >&-; echo x 2>/dev/null || exit 7; :'; echo $?"),
        build(
            "a name that comes and goes",
            "",
            "sh -c 'echo 1 > t; :'; rm t; sh -c 'test -e t || echo gone > t2; :'; cat t2",
        ),
        build(
            "paths beyond PATH_MAX",
            "",
            "n=$(head -c 200 /dev/zero | tr '\\0' n); (i=0; while [ $i -lt 30 ]; do mkdir $n && cd -P $n || exit 9; \
                i=$((i+1)); done; echo deep > f; sh -c 'cat f; cp f g; cat g; :'; gcc -E -P -x c f); rm -rf n*; ls",
        ),
        build(
            "1.5 MB of arguments",
            "",
            "a=$(head -c 100000 /dev/zero | tr '\\0' x); sh -c 'echo $# ${#1} > n; :' x $a $a $a $a $a $a $a $a $a $a \
                $a $a $a $a $a; cat n",
        ),
        build(
            "a daemon",
            "",
            "sh -c 'sleep 300 >/dev/null 2>&1 & echo $! > pid; :'; kill $(cat pid); rm pid; echo done",
        ),
    ];
    builds.iter().for_each(same);
}

#[test]
fn a_debugger() {
    let mut w = World::new();
    // One tracer per task: it cannot work with the ptrace backend.
    w.env.insert("XL_BACKEND".into(), "seccomp".into());
    let script = "gcc -g d.c -o d; sh -c 'gdb -q -nx -batch -ex \"break f\" -ex run -ex \"print n\" -ex continue ./d \
        > log 2>&1; \
                  grep -c \"= 6\" log; grep -o \"exited with code 07\" log; rm log; :'";
    same_in(
        &w,
        &build("a debugger", "echo 'int f(int n) { return n + 1; } int main(void) { return f(6); }' > d.c", script),
    );
}

/// Where a command's text goes is its own affair, too: a file can be sought in, has a mode and a place, and others may
/// write to it.
#[test]
fn where_text_goes() {
    let python = |text: &str| format!("cat > t.py <<'E'\n{text}\nE\n");
    let seekable = python("import sys; print(sys.stdout.seekable())");
    let mode = python("import os; print(1); os.fchmod(1, 0o755)");
    let both = python("import os; os.write(3, b'3'); os.write(1, b'1')");
    let builds = [
        build("can it be sought in", &seekable, "python3 t.py > o; cat o; python3 t.py | cat"),
        build("a file that is added to itself", "echo 1 > a", "sh -c 'cat a; :' >> a"),
        build("a place in it", "echo 1 > a", "sh -c 'dd if=a bs=1 seek=3 status=none; :' > o; od -c o"),
        build("its mode", &mode, "python3 t.py > o; ls -l o | cut -c1-10"),
        build("text over text", "printf XX > x; printf 1234567890 > f", "sh -c 'head -c 2 x; :' 1<>f; cat f"),
        build(
            "other text over other text",
            "printf YY > x; printf abcdefghij > f",
            "sh -c 'head -c 2 x; :' 1<>f; cat f",
        ),
        build("two ways to one log", &both, "exec 3>log; python3 t.py >&3; python3 t.py; cat log"),
        build(
            "copies and their times",
            "mkdir s; echo 1 > s/f; ln -s f s/l; touch -h -d @1000000000 s/f s/l s",
            "cp -a s t; tar cf x.tar t; tar tvf x.tar",
        ),
        build("cp -r twice", "mkdir s; echo 1 > s/a", "cp -r s d; cp -r s d; find d | sort"),
        build(
            "a directory that make is told by",
            "printf 'gen: in\\n\\ttest -s in\\n\\ttouch gen\\n' > Makefile; mkdir gen; echo 1 > in; touch -d \
                2020-01-01 gen; touch -d 2021-01-01 in Makefile",
            "make -s; make -q; echo $?",
        ),
    ];
    builds.iter().for_each(same);
    // What went to a file is no answer for what goes to a pipe, nor the other way round.
    let w = World::new();
    for to in ["> o", "| cat > o", "> o"] {
        let script = format!("sh -c 'dd if=f bs=1 seek=3 status=none; :' {to}; od -c o");
        same_in(&w, &build("file or pipe", "echo 1 > f", &script));
    }
}

/// A lock that is held by somebody for the time of one run, a process that somebody looks for: never an input, always
/// asked anew.
#[test]
fn what_others_hold() {
    let w = World::new();
    let asks = "flock -n l echo got || echo busy";
    w.write("l", "");
    assert_eq!(w.pip(asks).stdout(), "got\n");
    let text = format!("exec 9<>l; flock 9; {} exec -- sh -c '{asks}' 9>&-; flock -u 9", env!("CARGO_BIN_EXE_xl"));
    assert_eq!(w.sh(&text).stdout, b"busy\n");
    let asks = "kill -0 $(cat pid) 2>/dev/null && echo alive || echo gone";
    for (end, want) in [("", "alive\n"), ("kill $!; wait $!;", "gone\n")] {
        let text =
            format!("sleep 60 & echo $! > pid; {end} {} exec -- sh -c '{asks}'; kill $!", env!("CARGO_BIN_EXE_xl"));
        assert_eq!(w.sh(&text).stdout, want.as_bytes());
    }
}

#[test]
fn compiled_trees() {
    let lto = "echo 'int f(void); int main(void) { return f(); }' > m.c; echo 'int f(void) { return 0; }' > f.c";
    let builds = [
        build(
            "link-time optimisation",
            lto,
            "gcc -O2 -flto -c m.c f.c; gcc -O2 -flto m.o f.o -o p; ./p; echo $?; rm m.o f.o",
        ),
        build(
            "split debug information",
            lto,
            "gcc -g -gsplit-dwarf -c f.c; ls; rm f.dwo; gcc -g -gsplit-dwarf -c f.c; ls",
        ),
        build("dependency files that are removed", lto, "gcc -MD -c f.c; cat f.d; rm f.d; gcc -MD -c f.c; cat f.d"),
        build(
            "notes for coverage",
            lto,
            "gcc --coverage -frandom-seed=1 -c f.c; ls; rm f.gcno; gcc --coverage -frandom-seed=1 -c f.c; ls",
        ),
        build("a static program and raw calls", lto, "gcc -static m.c f.c -o p; ./p; echo $?"),
        build("the same object twice", lto, "gcc -c f.c -o a.o; gcc -c f.c -o a.o; cksum a.o"),
        build("-march=native", lto, "gcc -march=native -c f.c; ls"),
        build(
            "a generator and its header",
            "printf 'printf \"#define N 3\\\\n\"' > gen; printf '#include \"n.h\"\\nint n = N;\\n' > n.c",
            "sh gen > n.h; gcc -c n.c; nm n.o | cut -c18-",
        ),
    ];
    builds.iter().for_each(same);
}

#[test]
fn make_and_its_slots() {
    let w = World::new();
    w.write(
        "Makefile",
        "OBJ = $(patsubst %.c,%.o,$(wildcard *.c))\nall: p sub\np: $(OBJ)\n\tgcc -o $@ $^\nsub:\n\t$(MAKE) -C \
            d\n.PHONY: all sub\n",
    );
    w.write("d/Makefile", "all: x.o\nx.o: x.c\n\tgcc -c x.c\n");
    w.write("d/x.c", "int x;\n");
    w.write("main.c", "int main(void) { return 0; }\n");
    for i in 0..8 {
        w.write(&format!("f{i}.c"), &format!("int f{i};\n"));
    }
    for n in 0..3 {
        w.sh("rm -f *.o p d/*.o");
        let r = w.run(&["make", "-j4"]);
        assert_eq!(r.code(), Some(0), "{}", r.stderr());
        assert_eq!(w.sh("make -q p && make -q -C d").status.code(), Some(0), "{}", r.story());
        if n > 0 {
            assert_eq!((r.pips("hit"), r.pips("miss")), (11, 0), "{}", r.story());
        }
        assert!(!r.stderr().contains("jobserver"), "{}", r.stderr());
    }
}

/// The compiler behind a daemon: what it reads nobody sees.
#[test]
fn a_compiler_daemon() {
    let w = World::new();
    w.write(
        "daemon.py",
        "import os, socket, subprocess, sys\ns = socket.socket(socket.AF_UNIX); s.bind('sock'); \
        s.listen()\nopen('up', 'w').close()\nwhile True:\n    c, _ = s.accept(); a = \
        c.recv(4096).decode().split('\\0'); r = subprocess.run(a).returncode; c.send(str(r).encode()); c.close()\n",
    );
    w.write(
        "client.py",
        "import socket, sys\ns = socket.socket(socket.AF_UNIX); s.connect('sock'); \
        s.send('\\0'.join(sys.argv[1:]).encode()); sys.exit(int(s.recv(10)))\n",
    );
    w.write("a.c", "#include \"v.h\"\nint v = V;\n");
    w.write("v.h", "#define V 1\n");
    w.sh("python3 -B daemon.py >/dev/null 2>&1 & echo $! > pid; while [ ! -e up ]; do :; done");
    let client = &["python3", "-B", "client.py", "gcc", "-S", "a.c"][..];
    let r = w.xl_run("exec", client);
    assert_eq!(r.pips("uncacheable"), 1, "{}", r.story());
    assert!(w.read("a.s").contains("long\t1"));
    w.write("v.h", "#define V 2\n");
    w.xl_run("exec", client);
    assert!(w.read("a.s").contains("long\t2"));
    w.sh("kill $(cat pid)");
}

/// An input that somebody changes while the command that has read it still runs.
#[test]
fn an_input_edited_in_between() {
    let w = World::new();
    w.write("in", "old\n");
    // The command waits for the edit, so that it happens after the read and before the end.
    let text = "cat in > out; echo ready > ready; while [ ! -e edited ]; do :; done; rm -f edited ready";
    let edit = w.sh("true");
    assert!(edit.status.success());
    std::thread::scope(|s| {
        s.spawn(|| {
            while !w.path("ready").exists() {
                std::thread::yield_now();
            }
            w.write("in", "new\n");
            w.write("edited", "");
        });
        let r = w.pip(text);
        assert_eq!(r.pips("uncacheable"), 1, "{}", r.story());
    });
    assert_eq!(w.read("out"), "old\n");
    w.write("edited", "");
    w.pip(text);
    assert_eq!(w.read("out"), "new\n");
}

/// Somebody outside the build changes what a program has just looked at, and the program does nothing that would be
/// noticed before it ends: an observer that learns of looks afterwards must find out that it sees another file than the
/// program did.
#[test]
fn what_was_seen_is_gone_before_anybody_asks() {
    use std::io::BufRead;
    for (look, change) in [
        ("open('d/f').read()", "mv d d2 && mv e d"),
        ("open('d/f').read()", "cp -p e/f d/f.new && mv d/f.new d/f"),
        ("open('l/f').read()", "ln -sfn e l"),
        ("os.readlink('l')", "ln -sfn e l"),
        ("os.path.exists('n')", "touch -d @1000 n"),
        ("os.path.exists('d/f')", "mv d/f gone"),
        ("os.stat('d/f').st_size", "rm d/f; touch -d @1000 d/f"),
        ("sorted(os.listdir('d'))", "touch d/more"),
    ] {
        let w = World::new();
        w.write("xl.toml", "[[ignore]]\npath = \"changed\"\nreason = \"how the test makes it wait\"\n");
        let wait = "print('ready', flush=True)\nwhile not os.path.exists('changed'): pass\n";
        w.write("look.py", &format!("import os\nseen = {look}\n{wait}print(seen)\n"));
        let prepare = || {
            w.sh("rm -rf d d2 e l n gone changed; mkdir d e; echo one > d/f; echo two > e/f; ln -s d l; touch -h -d \
                @1000 d/f e/f d e l look.py");
        };
        prepare();
        let mut c = w.xl(&["exec", "--json", "../r.json", "--", "/usr/bin/python3", "-I", "-B", "look.py"]);
        let mut child = c.stdout(std::process::Stdio::piped()).spawn().expect("xl");
        let mut said = String::new();
        let mut reader = std::io::BufReader::new(child.stdout.take().expect("its output"));
        reader.read_line(&mut said).expect("a line");
        w.sh(&format!("{change}; touch changed"));
        // Whoever leaves makes it uncacheable, too.
        reader.read_line(&mut said).expect("a line");
        child.wait().expect("its end");
        let r = w.record();
        assert_eq!(r["pips"]["uncacheable"].as_u64(), Some(1), "{look}, {change}: {r}");
        // Both states, from the start.
        let run = |change: &str| {
            prepare();
            w.sh(&format!("{change}; touch changed"));
            w.xl_run("exec", &["/usr/bin/python3", "-I", "-B", "look.py"]).stdout()
        };
        let (old, new) = (run("true"), run(change));
        assert_ne!(old, new, "{look}, {change}");
        assert_eq!((run("true"), run(change)), (old, new), "{look}, {change}");
    }
}

/// A header is saved by its author while the build runs: what was compiled before and what is compiled after differ.
#[test]
fn a_header_saved_during_the_build() {
    let w = World::new();
    w.write("v.h", "#define V 1\n");
    for f in ["a", "b"] {
        w.write(&format!("{f}.c"), &format!("#include \"v.h\"\nint {f} = V;\n"));
    }
    // The driver itself is the author: no pip writes the header.
    w.write("build.sh", "gcc -S a.c\necho '#define V 2' > v.h\ngcc -S b.c\ncat a.s b.s | grep -o 'long.[0-9]'\n");
    for _ in 0..3 {
        w.write("v.h", "#define V 1\n");
        w.sh("rm -f *.s");
        let r = w.run(&["sh", "build.sh"]);
        assert_eq!(r.stdout(), "long\t1\nlong\t2\n", "{}", r.story());
    }
}

/// A scratch file is no output and no input, but whoever makes and removes it removes what was there.
#[test]
fn a_scratch_file_that_is_somebodys() {
    let w = World::new();
    let text = "echo 1 > scratch; cat scratch; rm scratch";
    w.pip(text);
    assert_eq!(w.pip(text).pips("hit"), 1);
    w.write("scratch", "mine");
    let r = w.pip(text);
    assert_eq!((r.stdout().as_str(), w.path("scratch").exists()), ("1\n", false), "{}", r.story());
    // A name that was made to be free depends on nothing.
    let text = "t=$(mktemp ./tmp.XXXXXX); echo 1 > $t; cat $t; rm $t";
    w.pip(text);
    w.write("tmp.aaaaaa", "mine");
    assert_eq!(w.pip(text).pips("hit"), 1);
}

/// Descriptors that `xl` was started with: what goes through them is neither captured nor known.
#[test]
fn descriptors_from_outside() {
    let w = World::new();
    let xl = env!("CARGO_BIN_EXE_xl");
    w.write("m.mk", "all:\n\t@sh step.sh\n\t@echo a.c | xargs gcc -c\n");
    w.write("step.sh", "echo compiling >&3; echo x > out\n");
    w.write("a.c", "int a;\n");
    for n in 0..2 {
        w.sh("rm -f a.o");
        let o = w.sh(&format!("exec 3>&1; {xl} run --json ../r.json -- make -s -f m.mk | cat"));
        assert_eq!(String::from_utf8_lossy(&o.stdout), "compiling\n", "{n}");
        let r: serde_json::Value = serde_json::from_slice(&std::fs::read(w.path("../r.json")).unwrap()).unwrap();
        // Whoever only inherits it is none the worse, even if he asks whether it stays open (xargs).
        assert_eq!(r["pips"]["hit"].as_u64(), Some(n), "{r}");
    }
}

/// A directory, or a link to one, that arrives under a name that was looked below before.
#[test]
fn directories_that_arrive() {
    for arrive in ["mv E D", "ln -s E D", "cp -r E D", "mkdir D; cp E/x D/x"] {
        let w = World::new();
        w.write("t.sh", "if test -e D/x; then echo yes; else echo no; fi; /bin/true\n");
        w.write("build.sh", &format!("sh t.sh; {arrive}; sh t.sh\n"));
        for time in 0..3 {
            w.sh("rm -rf D E; mkdir E; echo x > E/x");
            let r = w.run(&["sh", "build.sh"]);
            assert_eq!(r.stdout(), "no\nyes\n", "{arrive}, {time}\n{}", r.story());
        }
    }
}

/// Names that must not exist: commands that fail on them must fail.
#[test]
fn names_that_are_taken() {
    let w = World::new();
    for text in [
        "ln -s v1 cur",
        "ln v1 cur",
        "cp v1 x; ln x cur",
        "mkdir cur",
        "if mkdir lock 2>/dev/null; then echo got; rmdir lock; else echo busy; fi",
    ] {
        let free = || drop(w.sh("rm -rf cur lock x; echo 1 > v1"));
        for _ in 0..2 {
            free();
            assert_eq!(w.pip(text).code(), Some(0), "{text}");
        }
        free();
        w.sh("echo precious > cur; mkdir lock");
        let r = w.pip(text);
        if text.contains("lock") {
            assert_eq!(r.stdout(), "busy\n", "{}", r.story());
        } else {
            assert_eq!((r.code(), w.read("cur").as_str()), (Some(1), "precious\n"), "{text}: {}", r.story());
        }
    }
}

/// A script that comes through standard input is the shell's to read.
#[test]
fn scripts_from_nowhere() {
    let w = World::new();
    w.write("build.sh", "echo 'echo hello' | sh /dev/stdin; echo left: $(cat)\n");
    for _ in 0..2 {
        let o = w.sh(&format!("printf 'precious\\n' | {} run --summary off -- sh build.sh", env!("CARGO_BIN_EXE_xl")));
        assert_eq!(String::from_utf8_lossy(&o.stdout), "hello\nleft: precious\n");
    }
}

/// Somebody's way of not having zombies.
#[test]
fn a_parent_that_ignores_its_children() {
    let w = World::new();
    let start =
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])";
    for command in ["exit 3", "cat /etc/hostname >/dev/null; exit 4"] {
        let o = w.sh(&format!("timeout 20 python3 -c '{start}' {} run -- sh -c '{command}'", env!("CARGO_BIN_EXE_xl")));
        assert_eq!(
            o.status.code(),
            command.chars().last().and_then(|c| c.to_digit(10)).map(|d| d as i32),
            "{}",
            String::from_utf8_lossy(&o.stderr)
        );
    }
}

/// A build that changes its mounts: a name there is another file than the same name here.
#[test]
fn another_mount_namespace() {
    let w = World::new();
    w.write("one/x.c", "int one;\n");
    w.write("two/x.c", "int two;\n");
    w.sh("mkdir -p at");
    w.write("build.sh", "mount --bind $1 at && gcc -c at/x.c -o x.o && nm x.o | cut -c18- && echo $1 > at/made\n");
    w.write(
        "all.sh",
        "for d in one two one; do unshare -m sh build.sh $d; cat $d/made; rm $d/made; done; gcc -c one/x.c -o y.o\n",
    );
    for time in 0..3 {
        let r = w.run(&["sh", "all.sh"]);
        assert_eq!(r.stdout(), "B one\none\nB two\ntwo\nB one\none\n", "{time}\n{}\n{}", r.stderr(), r.story());
        assert_eq!(r.outcome("one/x.c"), if time == 0 { "miss" } else { "hit" }, "{}", r.story());
        assert_eq!(w.sh("ls at").stdout, b"", "nothing lands below the mount point");
    }
}

/// The kernel hands out a process id again as soon as it is free: what one command did is not the next one's.
#[test]
fn a_process_id_twice() {
    let w = World::new();
    for n in ["a", "b", "c"] {
        w.write(&format!("{n}.c"), &format!("#include \"{n}.h\"\nint {n} = V;\n"));
        w.write(&format!("{n}.h"), "#define V 1\n");
    }
    // Each command gets the id of the one before; the second is killed before it can say that it ends.
    w.write(
        "build.py",
        "import os, signal
def start(argv, like):
    while True:
        if like:
            with open('/proc/sys/kernel/ns_last_pid', 'w') as f: f.write(str(like - 1))
        pid = os.fork()
        if pid == 0:
            if like and os.getpid() != like: os._exit(99)
            os.execvp(argv[0], argv)
        if not like or pid == like: return pid
        os.waitpid(pid, 0)
first = start(['gcc', '-S', 'a.c'], 0)
os.waitpid(first, 0)
second = start(['sh', '-c', 'cat b.h; kill -9 $$; :'], first)
os.waitpid(second, 0)
for n in 'bc': os.waitpid(start(['gcc', '-S', n + '.c'], first), 0)
",
    );
    for (v, outcome) in [(1, "miss"), (1, "hit"), (2, "miss")] {
        w.write("c.h", &format!("#define V {v}\n"));
        w.sh("rm -f *.s");
        let r = w.run(&["/usr/bin/python3", "-B", "build.py"]);
        assert_eq!(r.code(), Some(0), "{}", r.stderr());
        assert_eq!(r.outcome("c.c"), outcome, "{}", r.story());
        assert!(w.read("c.s").contains(&format!("long\t{v}")), "{}", r.story());
        // What changed was read by the third only.
        assert_eq!(r.outcome("b.c"), if v == 1 { outcome } else { "hit" }, "{}", r.story());
        assert_eq!(r.outcome("a.c"), if v == 1 { outcome } else { "hit" }, "{}", r.story());
    }
}
