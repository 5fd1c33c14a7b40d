//! What no access shows: the clock, chance, the state of the machine. Who asks for it runs each time, and for that very
//! reason.

use crate::world::{Run, World};

/// Runs it twice: both times it runs, and its result is not stored because of `why`.
fn each_time(w: &World, why: &str, run: impl Fn(&World) -> Run) {
    for _ in 0..2 {
        let r = run(w);
        assert!(r.pips("uncacheable") == 1 && r.story().contains(why), "not `{why}`: {}{}", r.story(), r.stderr());
    }
}

fn every(w: &World, why: &str, commands: &[&str]) {
    commands.iter().for_each(|c| each_time(w, why, |w| w.pip(c)));
}

/// The second time it is replayed.
fn hits(w: &World, command: &str) {
    w.pip(command);
    let r = w.pip(command);
    assert_eq!(r.pips("hit"), 1, "{command}: {}", r.story());
}

#[test]
fn programs_and_devices() {
    let w = World::new();
    w.write("in", "1\n");
    every(&w, "it tells the time", &["date +%N"]);
    every(&w, "it only waits", &["sleep 0.01", "sleep 0.01; :"]);
    let random = [
        "head -c 4 /dev/urandom | od",
        "python3 -c 'open(\"/dev/urandom\", \"rb\").read(2)'",
        "perl -e 'open(F, \"/dev/urandom\"); read(F, $x, 2)'",
    ];
    every(&w, "(`/dev/urandom`)", &random);
    every(&w, "socket", &["python3 -c 'import socket; socket.socket().connect_ex((\"127.0.0.1\", 9))'"]);
    every(&w, "how much room", &["df .", "du in", "stat -f -c %a ."]);
    every(&w, "compares times with the present", &["find . -mmin +5"]);
    every(&w, "times of access or change", &["find . -cnewer in", "stat in", "stat -c %Z in", "ls -c"]);
    every(&w, "it makes random", &["openssl rand -hex 4"]);
    every(&w, "it makes up a name", &["mktemp -u"]);
    every(&w, "whose name it made up", &["mktemp -p ."]);
    every(&w, "it makes a random order", &["shuf -e 1 2 3", "sort -R in"]);
    every(&w, "it tells inode numbers", &["ls -i in"]);
    w.sh("git init -q; git -c user.name=x -c user.email=x commit -q --allow-empty -m x");
    every(
        &w,
        "compares times with the present",
        &["git log -1 --format=%cr", "git log -1 --format=%ah", "git rev-list --since=1.day HEAD"],
    );
    every(&w, "archives of trees", &["git archive HEAD: -o t.tar"]);
    hits(&w, "git log -1 --date=iso --format=%ad -- human/yesterday");
    every(&w, "two names are of one file", &["test in -ef in", "bash -c '[[ in -ef in ]]'"]);
    // What a program needs for itself is no obstacle: perl seeds its hash tables, gcc makes up names of sections.
    w.write("a.c", "int main() { return 0; }\n");
    w.sh("gcc -c a.c -flto -o made.o");
    for own in ["perl -e 'print 1'", "gcc -c -flto a.c", "gcc -flto made.o -o a"] {
        hits(&w, own);
    }
}

#[test]
fn clock_of_compilers() {
    let mut w = World::new();
    // A generated source keeps asking for the time when it was restored.
    w.write("gen.sh", "echo 'char *t = __TIME__;' > t.c\n");
    let time = "asks for date or time";
    each_time(&w, time, |w| {
        w.sh("rm -f t.c");
        w.pip("sh gen.sh");
        w.xl_run("exec", &["gcc", "-S", "t.c"])
    });
    // What the command makes itself, by whatever means.
    w.write("mkver.c", "#include <stdio.h>\nint main() { puts(\"char *t = __TIME__;\"); }\n");
    w.write("g.in", "char *t = @@TIME@@;\n");
    w.write("k.in", "#!/bin/sh\necho 'char *t = __TIME__;'\n");
    w.sh("gcc mkver.c -o mkver; rm mkver.c");
    w.write("n.in", "int n; /* __TIME__ is not used */\n");
    hits(&w, "cp n.in n.c; gcc -S n.c");
    let made = [
        "./mkver > v.c && gcc -S v.c",
        "./mkver > v.c && gcc -S v.c && rm v.c",
        "./mkver | gcc -S -x c - -o v.s",
        "tr @ _ < g.in > g.c; gcc -S g.c",
        "tr @ _ < g.in > g.c; gcc -S -x c - -o g.s < g.c; rm g.c",
        "cp k.in k; chmod +x k; ./k | gcc -S -x c - -o k.s; rm k",
    ];
    every(&w, time, &made);
    w.write("s.c", "char *t = __TIMESTAMP__;\n");
    w.write("i.c", "char *t = __TIME__;\n");
    w.write("u.c", "char *t = T;\n");
    every(&w, time, &["gcc -S -x c - -o i.s < i.c", "gcc -DT=__TIME__ -S u.c"]);
    // Of a compiler that is in no table the name tells.
    w.write("tcc", "#!/bin/sh\ncat i.c > i.o\n");
    w.sh("chmod +x tcc");
    every(&w, time, &["./tcc"]);
    // Who says what the macros are does not ask.
    hits(
        &w,
        r#"gcc -Wno-builtin-macro-redefined '-D__DATE__="x"' '-D__TIME__="x"' '-D__TIMESTAMP__="x"' -S i.c -o told.s"#,
    );
    // Who is told the time does not either, but for that of the file.
    w.env.insert("SOURCE_DATE_EPOCH".into(), "1".into());
    hits(&w, "gcc -S i.c");
    every(&w, "asks for its own time", &["gcc -S s.c"]);
}

#[test]
fn state_of_the_machine() {
    let w = World::new();
    let machine = "it reads the state of kernel or processes";
    w.write("state.py", "print(open('/proc/loadavg').read())\n");
    every(&w, machine, &["cat /proc/loadavg", "cat /proc/stat"]);
    hits(&w, "grep -c . /proc/self/limits");
    every(&w, "(`/proc/loadavg`)", &["python3 state.py"]);
    every(&w, machine, &["read x < /proc/meminfo; echo $x"]);
    every(&w, "it reads kernel state", &["cat /proc/uptime"]);
}

/// A word in a comment is not asked, nor is a macro that nobody uses, until somebody does, however it gets there.
#[test]
fn clock_that_nobody_asks() {
    let w = World::new();
    w.write("config.h", "/* Define when __DATE__ \" \" __TIME__ can be used */\n#define HAVE_DATE_TIME 1\n");
    w.write("version.h", "#include \"config.h\"\n#define STAMP __DATE__ \" \" __TIME__\n#define LONG \"v1 \" STAMP\n");
    w.write("a.c", "#include \"version.h\"\nint a;\n");
    hits(&w, "gcc -S a.c");
    hits(&w, "clang -S a.c");
    // The header alone may be precompiled; its users may ask.
    hits(&w, "gcc version.h -o version.h.gch");
    w.write("u.c", "#include \"version.h\"\nchar *t = LONG;\n");
    every(&w, "precompiled", &["gcc -S u.c"]);
    w.sh("rm version.h.gch");
    // What is precompiled may use what its user defines.
    w.write("use.h", "#define ALL STAMP\n");
    w.write("def.c", "#include \"use.h\"\n#define STAMP __TIME__\nchar *t = ALL;\n");
    w.pip("gcc use.h -o use.h.gch");
    every(&w, "asks for date or time", &["gcc -S def.c"]);
    w.write("pasted.c", "#include \"version.h\"\n#define P(x) STA ## x\nchar *t = P(MP);\n");
    w.write("pasted3.c", "#include \"version.h\"\n#define P(a, b) S##a##b\nchar *t = P(TA, MP);\n");
    w.write("t.c", "#include \"version.h\"\nchar *t = T;\n");
    w.write("cr.c", "int a; // x\rchar *t = __TIME__;\n");
    w.write("raw.c", "#warning /*\nchar *t = __TIME__; /* */\n");
    w.write("options", "-DT=LONG\n");
    w.write("slashes", "-I//x -DT=__TIME__\n");
    w.write("gen.sh", "printf '#include \"version.h\"\\nchar *t = ' > g.c; echo \"$1$2;\" >> g.c\n");
    let uses = [
        "gcc -S u.c",
        "clang -S u.c",
        "gcc -S pasted.c",
        "gcc -S pasted3.c",
        "gcc -S cr.c",
        "clang -S raw.c",
        "gcc @slashes -S t.c",
        "gcc -DT=LONG -S t.c",
        "gcc @options -S t.c",
        "sh gen.sh LO NG; gcc -S g.c; rm g.c",
        "sh gen.sh LO NG; gcc -S -x c - -o g.s < g.c; rm g.c",
        "gcc -E version.h -DT=LONG -include t.c -o t.i",
    ];
    every(&w, "asks for date or time", &uses);
}

/// Nobody sees who asks for the time, but the result shows it.
#[test]
fn results_that_show_the_time() {
    let mut w = World::new();
    w.write(
        "now.c",
        "#include <stdio.h>\n#include <time.h>\nint main(int n, char **v) { char s[99]; time_t t = time(0); \
            strftime(s, 99, v[1], localtime(&t)); puts(s); }\n",
    );
    w.sh("gcc now.c -o now");
    every(
        &w,
        "what it prints shows when `now` ran",
        &["./now %s", "./now %H:%M:%S", "./now %c", "./now %F", "./now '%B %d, %Y'"],
    );
    every(&w, "out` shows when", &["./now %T > out", "d=$(./now %s); echo \"#define T $d\" > out"]);
    every(&w, "shows when `python3", &["python3 -c 'import time as t; print(t.time_ns())'"]);
    w.env.insert("TZ".into(), "Asia/Kathmandu".into());
    every(&w, "shows when", &["./now %T", "TZ=UTC ./now %T"]);
    hits(&w, "./now v1.%Y");
    hits(&w, "./now '%F' > build.log");
    // What it was told, or found somewhere, is no present of its own.
    let today = String::from_utf8(w.sh("date +%F; touch f").stdout).expect("a date").trim().to_owned();
    w.write("dates", &format!("released {today}\n"));
    hits(&w, "./now - > /dev/null; cat dates");
    hits(&w, &format!("./now {today}"));
    hits(&w, "python3 -c 'import os, datetime as d; print(d.date.fromtimestamp(os.path.getmtime(\"f\")))'");
    w.write("xl.toml", "[[rule]]\ntool = 'now'\ndeterministic = true\nreason = 'told'\n");
    hits(&w, "./now %F");
}

/// What only a text tells: time and chance, without a system call.
#[test]
fn words_of_scripts() {
    let w = World::new();
    w.write("r.sh", "echo $RANDOM\n");
    w.write("sourced.sh", "id=$RANDOM\n");
    w.write("main.sh", ". ./sourced.sh\necho $id\n");
    w.sh("cp sourced.sh sourced; sed s/.sh// main.sh > main");
    w.write("r", "echo $((RANDOM % 1000)) > o.tmp; cat o.tmp\n");
    w.write("from.py", "from time import time; print(time())\n");
    w.write("own", "#!/usr/bin/env python3\nimport lib; print(lib.stamp())\n");
    w.write("lib.py", "import datetime\ndef stamp(): return datetime.datetime.now()\n");
    w.write("t.py", "import lib; print(lib.stamp())\n");
    w.sh("chmod +x own");
    every(
        &w,
        "(`RANDOM`)",
        &[
            "bash r.sh",
            "bash r",
            "bash -c 'let n=RANDOM; echo $n'",
            "bash -c 'echo id-$$-$RANDOM'",
            "bash -o pipefail r.sh",
            "bash main.sh",
            "bash main",
            "bash -c 'echo $RANDOM'",
        ],
    );
    every(&w, "(`from time import`)", &["python3 from.py"]);
    every(&w, "(`time.time(`)", &["python3 -c 'import time; print(time.time())'"]);
    every(&w, "(`statvfs(`)", &["python3 -c 'import os; print(os.statvfs(\".\").f_bavail)'"]);
    every(&w, "(`.now(`)", &["./own", "python3 t.py"]);
    every(&w, "(`printf %(…)T`)", &["bash -c \"printf '%(%s)T' -1\""]);
    every(&w, "(`-M \\\"`)", &["perl -e 'print -M \"lib.py\"'"]);
    every(&w, "(`rand()`)", &["mawk 'BEGIN { print rand() }'"]);
    w.write("stamp.cmake", "string(TIMESTAMP T \"%s\" UTC)\nfile(WRITE stamp.h \"${T}\")\n");
    every(&w, "(`string(TIMESTAMP`)", &["cmake -P stamp.cmake"]);
    w.write("xl.toml", "[[rule]]\ntool = 'lib.py'\ndeterministic = true\nreason = 'not told'\n");
    hits(&w, "python3 t.py > /dev/null");
    // Text that no shell opened was not sourced.
    w.write("manual", "echo $RANDOM\n");
    hits(&w, "sh -c 'perl -pe 1 manual; :' > /dev/null");
}

#[test]
fn rules_hold_whoever_starts_it() {
    let w = World::new();
    w.write(
        "xl.toml",
        "[[rule]]\ntool = 'gen-ids'\ncache = false\nreason = 'new ones'\n[[rule]]\ntool = 'ids.py'\ncache = \
            false\nreason = 'the same'\n",
    );
    w.write("gen-ids", "#!/bin/sh\necho id\n");
    w.write("ids.py", "print(1)\n");
    w.sh("chmod +x gen-ids");
    w.write(
        "build.ninja",
        "rule r\n  command = ./$in > $out\nbuild a: r gen-ids\nrule p\n  command = python3 -W ignore $in > \
            $out\nbuild b: p ids.py\n",
    );
    for _ in 0..2 {
        let r = w.run(&["ninja"]);
        let both = ["by rule: new ones", "by rule: the same"].iter().all(|why| r.story().contains(why));
        assert!(r.code() == Some(0) && r.pips("uncacheable") == 2 && both, "{}", r.story());
        w.sh("rm a b");
    }
}

/// A variable of the CI job counts where somebody says its name.
#[test]
fn variables_of_the_job() {
    let mut w = World::new();
    w.write("n.py", "import os; print(os.environ.get('BUILD_NUMBER'))\n");
    w.write(
        "n.c",
        "#include <stdio.h>\n#include <stdlib.h>\nint main() { printf(\"%s\\n\", getenv(\"BUILD_NUMBER\")); }\n",
    );
    w.sh("gcc n.c -o n");
    assert_eq!(w.pip("python3 n.py").stdout(), "None\n");
    for n in ["1", "2"] {
        w.env.insert("BUILD_NUMBER".into(), n.into());
        for text in ["python3 n.py", "./n", "perl -e 'print \"$ENV{BUILD_NUMBER}\\n\"'", "printenv BUILD_NUMBER"] {
            assert_eq!(w.pip(text).stdout(), format!("{n}\n"), "{text}");
        }
        w.pip("python3 -c 'print(1)'");
    }
    hits(&w, "python3 -c 'print(1)'");
}
