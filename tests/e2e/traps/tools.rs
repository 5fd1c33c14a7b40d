//! What tools of builds are forgiven, each in both directions: another answer to what a command asked is a miss, and
//! what it did not ask for makes none.

use super::{spring, trap};
use crate::world::{World, skip};

fn has(program: &str) -> bool {
    let found = std::process::Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let there = found.is_ok_and(|o| o.status.success());
    if !there {
        skip(program);
    }
    there
}

/// The command again after `setup`, after `same` and after `other`: a hit, a hit, and no hit, each with what a plain
/// run makes.
fn both_ways(name: &str, setup: &str, command: &str, same: &str, other: &str) {
    let w = World::new();
    let prepare = |change: &str| {
        w.wipe();
        w.sh(setup);
        w.sh(change);
    };
    let run = |change: &str, want: &str| {
        prepare(change);
        let plain = w.sh(command);
        let tree = w.snapshot();
        prepare(change);
        let r = w.pip(command);
        assert_eq!((r.stdout(), r.code()), (String::from_utf8_lossy(&plain.stdout).into_owned(), plain.status.code()));
        assert_eq!(w.snapshot(), tree, "{name} after `{change}`\n{}", r.story());
        assert_eq!(r.pips("hit") > 0, want == "hit", "{name} after `{change}`\n{}", r.story());
        r
    };
    let first = run("", "miss");
    assert_eq!(first.pips("uncacheable"), 0, "{name}\n{}", first.story());
    run("", "hit");
    run(same, "hit");
    run(other, "miss");
}

#[test]
fn a_glob_depends_on_what_matches() {
    for (name, setup, command, same, other) in [
        ("a name that comes", "echo 1 > a.c; echo 2 > b.c", "cat *.c > all", "echo 3 > c.o", "echo 3 > c.c"),
        ("a name that goes", "echo 1 > a.c; echo 2 > b.c; echo 3 > c.o", "cat *.c > all", "rm c.o", "rm b.c"),
        ("in a directory", "mkdir d; echo 1 > d/a.c", "cat d/*.c > all", "echo 2 > d/x", "echo 2 > d/b.c"),
        (
            "a directory that comes",
            "mkdir d; echo 1 > d/a.c",
            "cat d*/*.c > all",
            "mkdir e",
            "mkdir d2; echo 2 > d2/b.c",
        ),
        ("a set", "echo 1 > a1; echo 2 > b1", "cat [ab]1 > all", "rm -f nothing", "echo 3 > a1"),
        ("one that was not there", "echo 1 > a.c", "ls *.h 2>/dev/null; cat *.c > all", "echo 1 > x.o", "echo 1 > x.h"),
    ] {
        both_ways(name, setup, command, same, other);
    }
}

#[test]
fn a_glob_that_cannot_be_told() {
    let traps = [
        trap("of a variable", "echo 1 > a.c", "P='*.c'; cat $P > all", "echo 2 > b.c"),
        trap("in braces", "echo 1 > a.c", "bash -c 'cat {*.c,a.c} > all'", "echo 2 > b.c"),
        trap("evaluated", "echo 1 > a.c", "eval 'cat *.c > all'", "echo 2 > b.c"),
        trap("of a script", "echo 1 > a.c; echo 'cat *.c > all' > s", "sh ./s", "echo 2 > b.c"),
        trap("sourced", "echo 1 > a.c; echo 'cat *.c > all' > s", ". ./s", "echo 2 > b.c"),
        trap("without regard to case", "echo 1 > a.c", "bash -O nocaseglob -c 'cat *.C > all'", "echo 2 > b.c"),
        trap("listed by another, too", "echo 1 > a.c", "cat *.c > all; ls >> all", "echo 2 > b.o"),
    ];
    traps.iter().for_each(spring);
}

#[test]
fn directories_that_are_made_sure_of() {
    both_ways(
        "a way out of them",
        "echo 'int a;' > a.c",
        "mkdir -p x/y; cd x/y && gcc -c ../../a.c",
        "mkdir x",
        "echo 'int b;' > a.c",
    );
    spring(&trap(
        "a link in the way",
        "echo 'int a;' > a.c; mkdir -p z/z; echo 'int b;' > z/a.c",
        "mkdir -p x/y; cd x/y && gcc -c ../../a.c",
        "mkdir -p z/z/y; ln -s z/z x",
    ));
}

/// A script that says that it is libtool, and does what libtool does of it.
const LIBTOOL: &str = "cat > libtool <<'E'\n# Provide generalized library-building support services.\nmode=$1; shift\ncase \
    $mode in\n--mode=compile) test -d .libs || mkdir .libs; readlink .libs; gcc -c $1 -o .libs/x.o;;\n\
    --mode=link) for p in .libs/*; do case $p in .libs/libfoo.*) echo $p;; esac; done > list; gcc -shared -o \
    .libs/libfoo.so a.o;;\nesac\nE\necho 'int a;' > a.c; gcc -c a.c";

#[test]
fn libtool_and_its_directory() {
    let compile = "bash ./libtool --mode=compile a.c";
    both_ways("compiles", LIBTOOL, compile, "mkdir .libs; echo x > .libs/y", "echo 'int b;' > a.c");
    both_ways("compiles in it", &format!("{LIBTOOL}; mkdir .libs"), compile, "rmdir .libs", "chmod 700 .libs");
    spring(&trap("a link", LIBTOOL, "bash ./libtool --mode=compile a.c; cp .libs/x.o y.o", "mkdir d; ln -s d .libs"));
    let link = "bash ./libtool --mode=link -o libfoo.la";
    let setup = format!("{LIBTOOL}; mkdir .libs; echo 1 > .libs/libfoo.la");
    both_ways("links", &setup, link, "echo x > .libs/libfoobar.so; echo x > .libs/a.o", "echo x > .libs/libfoo.so.1");
    both_ways("links without", &setup, link, "echo x > .libs/mod.la", "rm .libs/libfoo.la");
}

#[test]
fn how_far_cmake_is() {
    if has("cmake") {
        both_ways(
            "the share of what is done",
            "mkdir -p P/Progress; echo 4 > P/Progress/count.txt; touch P/Progress/1",
            "cmake -E cmake_echo_color --progress-dir=$PWD/P --progress-num=2 text",
            "mv P/Progress/1 P/Progress/3",
            "touch P/Progress/3",
        );
    }
}

#[test]
fn what_configure_steps_launch() {
    let w = World::new();
    let makefile = "all: ; gcc -c t.c -o t.o; cp in out";
    w.write("configure", &format!("# Generated by GNU Autoconf 2.71.\necho '{makefile}' | make -s -f -\n"));
    w.write("t.c", "int t;");
    let run = |text: &str| {
        w.sh("rm -f t.o out");
        w.write("in", text);
        let r = w.run(&["sh", "-c", "sh ./configure; :"]);
        assert_eq!(w.read("out"), text, "{}", r.story());
        assert!(w.path("t.o").exists(), "{}", r.story());
        assert_eq!(r.pips("total"), 1, "{}", r.story());
        r.pips("hit")
    };
    assert_eq!([run("1"), run("1"), run("2"), run("2"), run("1")], [0, 1, 0, 1, 1]);
    // What only has the name launches a build as anybody does.
    w.write("configure", &format!("echo '{makefile}' | make -s -f -\n"));
    assert!(w.run(&["sh", "-c", "sh ./configure; :"]).story().contains("cp in out"));
}

#[test]
fn who_measures_and_waits() {
    let script = |body: &str| format!("cat > g.py <<'E'\n{body}\nE\necho 1 > in");
    for body in [
        "from time import sleep, perf_counter\nt = perf_counter(); sleep(0.01)\nopen('o', 'w').write(open('in').read())",
        "import time\nt = time.monotonic() - time.process_time()\nopen('o', 'w').write(open('in').read())",
    ] {
        both_ways("python", &script(body), "python3 g.py", "echo 2 > other", "echo 2 > in");
    }
    both_ways("a shell", "echo 1 > in", "sleep 0.1; cat in > o", "echo 2 > other", "echo 2 > in");
    let w = World::new();
    w.write("g.py", "from time import sleep, time\nprint(int(time()))");
    assert_eq!([w.pip("python3 g.py"), w.pip("python3 g.py")].map(|r| r.pips("uncacheable")), [1, 1]);
    assert_eq!([w.pip("sleep 0.01"), w.pip("sleep 0.01")].map(|r| r.pips("uncacheable")), [1, 1]);
}

#[test]
fn compilers_of_ocaml() {
    if has("ocamlopt") {
        let setup = "echo 'let () = print_int 3' > a.ml";
        let other = "echo 'let () = print_int 4' > a.ml";
        both_ways("ocamlopt", setup, "ocamlopt -g -o p a.ml; ./p", "touch a.ml", other);
        both_ways("ocamlc", setup, "ocamlc -c a.ml", "touch a.ml", "echo 'let x = 1' > a.ml");
        spring(&trap(
            "an interface",
            "echo 'let x = 1' > a.ml",
            "ocamlc -c a.ml 2>&1",
            "echo 'val x : int' > a.mli; ocamlc -c a.mli",
        ));
    }
}

#[test]
fn compilers_of_java() {
    if !has("javac") {
        return;
    }
    let setup = "mkdir s; echo 'class A { int x() { return new B().y(); } }' > s/A.java; echo 'class B { int y() { \
        return 1; } }' > s/B.java";
    both_ways("javac", setup, "javac -d out s/A.java s/B.java", "touch s/*.java", "sed -i s/1/2/ s/B.java");
    // The newer of a source and a class is what counts.
    spring(&trap(
        "an older class",
        &format!("{setup}; cd s; javac A.java; rm A.class; sed -i s/1/2/ B.java; touch -d @1500000000 B.java"),
        "cd s; javac A.java",
        "touch -d @1650000000 s/B.java",
    ));
    let jar = "jar --create --file x.jar --date=2020-01-01T00:00:00Z -C out .";
    both_ways("jar", "mkdir out; echo 1 > out/f", jar, "touch out/f", "echo 2 > out/f");
    let w = World::new();
    w.sh("mkdir out; echo 1 > out/f");
    assert_eq!(w.pip("jar cf x.jar -C out .").pips("uncacheable"), 1);
}

#[test]
fn compilers_of_messages() {
    if has("protoc") {
        both_ways(
            "protoc",
            "echo 'syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; message M { string a = 1; }' > m.proto",
            "protoc --cpp_out=. m.proto 2>/dev/null",
            "touch m.proto",
            "sed -i s/a/b/ m.proto",
        );
    }
}

#[test]
fn go_and_its_cache() {
    if !has("go") {
        return;
    }
    let setup = "mkdir m; cd m; printf 'module x\\n\\ngo 1.19\\n' > go.mod; printf 'package main\\nimport \"fmt\"\\nfunc \
        main() { fmt.Println(1) }\\n' > main.go";
    let build = "cd m; export GOCACHE=$PWD/../../go GOFLAGS=-buildvcs=false; go build -o p .";
    both_ways("go build", setup, build, "touch m/main.go; rm -rf ../go", "sed -i s/1/2/ m/main.go");
    // What it has to do is told by its cache.
    let w = World::new();
    w.sh(setup);
    let r = w.pip("cd m; export GOCACHE=$PWD/../../go; go build -buildvcs=false -v -o p .");
    assert_eq!(r.pips("uncacheable"), 1, "{}", r.story());
}

#[test]
fn who_only_asks_a_compiler() {
    // The text is no source of what was compiled, for nothing was.
    both_ways(
        "gcc -dumpmachine",
        "echo __TIMESTAMP__ > words",
        "gcc -dumpmachine > o; gcc -v 2>> o; cat words >> o",
        "touch words",
        "echo x >> words",
    );
    let w = World::new();
    w.write("a.c", "char *t = __TIMESTAMP__;");
    assert_eq!(w.pip("gcc -c a.c").pips("uncacheable"), 1);
}

#[test]
fn launchers_of_compilers() {
    let files = "for i in 1 2 3; do echo \"int f$i;\" > a$i.c; done";
    for (needs, script) in [
        ("xargs", "ls *.c | xargs -P2 -n1 gcc -c"),
        ("parallel", "ls *.c | parallel -j2 gcc -c {}"),
        ("find", "find . -name '*.c' -exec gcc -c {} \\;"),
        ("xargs", "sh -c 'ls *.c | xargs -n1 gcc -c; :'"),
        ("time", "for i in 1 2 3; do /usr/bin/time -o t gcc -c a$i.c; done; rm -f t"),
        ("timeout", "for i in 1 2 3; do timeout 60 nice gcc -c a$i.c; done"),
        ("script", "for i in 1 2 3; do script -qc \"gcc -c a$i.c\" /dev/null; done"),
        ("nohup", "for i in 1 2 3; do nohup stdbuf -oL gcc -c a$i.c < /dev/null; done"),
    ] {
        if !has(needs) {
            continue;
        }
        let w = World::new();
        let prepare = || {
            w.wipe();
            w.sh(files);
            w.write("build.sh", script);
        };
        prepare();
        w.run(&["sh", "build.sh"]);
        let tree = w.snapshot();
        prepare();
        let warm = w.run(&["sh", "build.sh"]);
        assert_eq!(w.snapshot(), tree, "{script}\n{}", warm.story());
        let compiled = |r: &crate::world::Run, how: &str| {
            r.story().lines().filter(|l| l.starts_with(&format!("\"{how}\"")) && l.contains("gcc -c")).count()
        };
        assert_eq!((compiled(&warm, "hit"), compiled(&warm, "miss")), (3, 0), "{script}\n{}", warm.story());
        // One that changed is one that runs.
        prepare();
        w.write("a2.c", "int g;");
        let one = w.run(&["sh", "build.sh"]);
        assert_eq!((compiled(&one, "hit"), compiled(&one, "miss")), (2, 1), "{script}\n{}", one.story());
        assert!(String::from_utf8_lossy(&w.sh("nm a2.o").stdout).contains(" g"));
    }
}

#[test]
fn a_compiler_as_the_root_command() {
    let w = World::new();
    w.write("a.c", "int a;");
    assert_eq!(w.run(&["cc", "-c", "a.c"]).pips("miss"), 1);
    w.sh("rm a.o");
    let r = w.run(&["cc", "-c", "a.c"]);
    assert_eq!((r.pips("hit"), r.pips("total")), (1, 1), "{}", r.story());
    w.write("a.c", "int b;");
    assert_eq!(w.run(&["cc", "-c", "a.c"]).pips("miss"), 1);
    assert!(String::from_utf8_lossy(&w.sh("nm a.o").stdout).contains(" b"));
}
