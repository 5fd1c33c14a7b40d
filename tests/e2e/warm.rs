//! The main promise: a second build in a clean tree executes no compiler and leaves the same tree.

use crate::world::{World, skip};
use std::process::Command;

const MAKEFILE: &str = "\
CFLAGS = -O1 -Iinc
all: prog
prog: main.o lib.a
\tgcc -o $@ main.o lib.a
lib.a: a.o b.o
\trm -f $@
\tar cr $@ a.o b.o
\tranlib $@
%.o: %.c
\tgcc $(CFLAGS) -MD -c $< -o $@
main.o a.o: inc/x.h
clean:
\trm -f *.o *.d *.a prog
";

fn c_project(w: &World) {
    w.write("Makefile", MAKEFILE);
    w.write("inc/x.h", "#define X 3\nint a(void); int b(void);\n");
    w.write(
        "main.c",
        "#include <stdio.h>\n#include \"x.h\"\nint main(void) { printf(\"%d\\n\", a() + b() + X); return 0; }\n",
    );
    w.write("a.c", "#include \"x.h\"\nint a(void) { return X; }\n");
    w.write("b.c", "int b(void) { return 1; }\nint unused_warning(int x) { int y; return 0; }\n");
}

#[test]
fn make_is_warm_in_a_clean_tree() {
    let w = World::new();
    c_project(&w);
    let cold = w.run(&["make", "-j2"]);
    assert_eq!(cold.code(), Some(0), "{}", cold.stderr());
    assert_eq!(cold.pips("hit"), 0);
    assert_eq!(cold.pips("uncacheable"), 0, "{}", cold.story());
    let tree = w.snapshot();
    w.sh("make clean");
    let warm = w.run(&["make", "-j2"]);
    assert_eq!(warm.code(), Some(0));
    for c in ["-c main.c", "-c a.c", "-c b.c", "ar cr", "ranlib", "gcc -o prog"] {
        assert_eq!(warm.outcome(c), "hit", "{}", warm.story());
    }
    assert_eq!(w.snapshot(), tree);
    assert!(w.sh("make -q").status.success(), "make must find nothing to do");
    assert_eq!(String::from_utf8_lossy(&w.sh("./prog").stdout), "7\n");
}

/// An automake tree with three libtool libraries and ten modules, built in another order each time.
#[test]
fn libtool_in_any_order() {
    if !["libtoolize", "automake"].iter().all(|t| Command::new(t).arg("--version").output().is_ok()) {
        return skip("libtool and automake");
    }
    let w = World::new();
    w.write(
        "configure.ac",
        "AC_INIT([lt],[1.0])\nAM_INIT_AUTOMAKE([foreign])\nAC_PROG_CC\nAM_PROG_AR\nLT_INIT\nAC_CONFIG_FILES([Makefile])\n\
            AC_OUTPUT\n",
    );
    let (mut makefile, mut goals) = (String::from("lib_LTLIBRARIES = libfoo.la libfoobar.la libbaz.la\n"), Vec::new());
    for (library, sources) in [("foo", 3), ("foobar", 3), ("baz", 3)] {
        let all: Vec<String> = (0..sources).map(|i| format!("{library}{i}.c")).collect();
        all.iter().for_each(|c| w.write(c, &format!("int {}(int x) {{ return x; }}\n", c.trim_end_matches(".c"))));
        makefile += &format!("lib{library}_la_SOURCES = {}\n", all.join(" "));
        goals.push(format!("lib{library}.la"));
    }
    let modules: Vec<String> = (0..10).map(|i| format!("mod{i}")).collect();
    makefile += &format!("libfoobar_la_LIBADD = libfoo.la\npkglib_LTLIBRARIES = {}.la\n", modules.join(".la "));
    for m in &modules {
        w.write(&format!("{m}.c"), &format!("int {m}(void) {{ return 1; }}\n"));
        makefile += &format!("{m}_la_SOURCES = {m}.c\n{m}_la_LDFLAGS = -module -avoid-version\n");
        goals.push(format!("{m}.la"));
    }
    w.write("Makefile.am", &makefile);
    assert!(w.sh("autoreconf -fi && ./configure && make libtool && cp -a . ../start").status.success());
    for round in 0..12 {
        w.sh("find . -mindepth 1 -delete; cp -a ../start/. .");
        let cut = (round * 5) % goals.len();
        let order: Vec<&str> = goals[cut..].iter().rev().chain(&goals[..cut]).map(String::as_str).collect();
        let r = w.run(&[&["make", "-j4"], &order[..]].concat());
        assert_eq!(r.code(), Some(0), "{}", r.stderr());
        assert_eq!(r.pips("uncacheable"), 0, "round {round}\n{}", r.story());
        assert!(round == 0 || r.pips("miss") == 0, "round {round}\n{}", r.story());
    }
}

#[test]
fn a_changed_header_rebuilds_what_it_should() {
    let w = World::new();
    c_project(&w);
    w.run(&["make"]);
    w.write("inc/x.h", "#define X 5\nint a(void); int b(void);\n");
    let r = w.run(&["make"]);
    assert_eq!(r.outcome("-c a.c"), "miss", "{}", r.story());
    assert_eq!(String::from_utf8_lossy(&w.sh("./prog").stdout), "11\n");
    // And back, with the outputs in place: everything is known.
    w.write("inc/x.h", "#define X 3\nint a(void); int b(void);\n");
    let r = w.run(&["make"]);
    assert_eq!(r.outcome("-c a.c"), "hit", "{}", r.story());
    assert_eq!(String::from_utf8_lossy(&w.sh("./prog").stdout), "7\n");
}

/// Runs `f` under the kernel's process accounting; how many processes called `name` ended meanwhile?
/// `None` where accounting is not to be had.
fn ended_processes(w: &World, name: &str, f: impl FnOnce()) -> Option<usize> {
    let file = w.path("../acct");
    std::fs::write(&file, "").expect("an accounting file");
    let on = Command::new("accton").arg(&file).output().is_ok_and(|o| o.status.success());
    f();
    let _ = Command::new("accton").arg("off").output();
    if !on {
        return None;
    }
    // acct(5): records of version 3 have 64 bytes, the last 16 are the command's name.
    let bytes = std::fs::read(&file).expect("the accounting file");
    Some(bytes.chunks_exact(64).filter(|r| r[48..].split(|b| *b == 0).next() == Some(name.as_bytes())).count())
}

/// Counted by the kernel, not by what `xl` says of itself. The tool has a name of its own, since other tests run
/// compilers.
#[test]
fn no_tool_starts_in_a_warm_build() {
    let w = World::new();
    let name = format!("xlas-{}", std::process::id());
    w.sh(&format!("cp $(readlink -f $(command -v as)) {name}"));
    w.write("Makefile", &format!("all: a.o b.o\n%.o: %.s\n\t./{name} $< -o $@\n"));
    w.write("a.s", "nop\n");
    w.write("b.s", "ret\n");
    let build = || assert_eq!(w.run(&["make", "-j2"]).code(), Some(0));
    let Some(cold) = ended_processes(&w, &name, build) else {
        return skip("process accounting needs root, the package acct and a kernel that has it");
    };
    assert_eq!(cold, 2, "the counting itself works");
    w.sh("rm *.o");
    assert_eq!(ended_processes(&w, &name, build), Some(0));
    assert!(w.path("a.o").exists() && w.path("b.o").exists());
}

#[test]
fn ninja_with_depfiles_is_warm() {
    let w = World::new();
    w.write(
        "build.ninja",
        "rule cc\n  command = gcc -MD -MF $out.d -c $in -o $out\n  depfile = $out.d\n  deps = gcc\nrule link\n  \
            command = gcc -o $out @$out.rsp\n  rspfile = $out.rsp\n  rspfile_content = $in\nbuild a.o: cc a.c\nbuild \
            m.o: cc m.c\nbuild prog: link a.o m.o\ndefault prog\n",
    );
    w.write("a.c", "#include \"h.h\"\nint a(void) { return H; }\n");
    w.write("m.c", "#include \"h.h\"\nint a(void);\nint main(void) { return a() - H; }\n");
    w.write("h.h", "#define H 4\n");
    let cold = w.run(&["ninja"]);
    assert_eq!(cold.code(), Some(0), "{}", cold.stdout());
    assert_eq!(cold.pips("uncacheable"), 0, "{}", cold.story());
    w.sh("ninja -t clean; rm -f .ninja_deps .ninja_log");
    let warm = w.run(&["ninja"]);
    assert_eq!((warm.pips("hit"), warm.pips("miss")), (3, 0), "{}", warm.story());
    assert!(String::from_utf8_lossy(&w.sh("ninja -n").stdout).contains("no work to do"));
    w.write("h.h", "#define H 5\n");
    let after = w.run(&["ninja"]);
    assert_eq!(after.pips("miss"), 3, "{}", after.story());
    assert!(w.sh("./prog").status.success());
}

#[test]
fn recursive_make_in_a_shell_is_a_driver() {
    let w = World::new();
    w.write("Makefile", "all:\n\tcd sub && $(MAKE) && true\n");
    w.write("sub/Makefile", "all: x.o y.o\n%.o: %.c\n\tgcc -c $< -o $@\n");
    w.write("sub/x.c", "int x;\n");
    w.write("sub/y.c", "int y;\n");
    let cold = w.run(&["make"]);
    assert_eq!(cold.code(), Some(0), "{}", cold.stderr());
    w.sh("rm -f sub/*.o");
    w.write("sub/y.c", "int y = 1;\n");
    let r = w.run(&["make"]);
    assert_eq!(r.outcome("-c x.c"), "hit", "{}", r.story());
    assert_eq!(r.outcome("-c y.c"), "miss", "{}", r.story());
}

/// What is there from an earlier build does not matter to commands that replace it anyway.
#[test]
fn the_first_rebuild_in_place() {
    let w = World::new();
    w.write("a.c", "int a;\n");
    for text in [
        "gcc -c a.c -MD -MF a.Tpo && mv -f a.Tpo a.Po",
        "cp a.c b.c",
        "install -m 644 a.c i.c",
        "ln -sf a.c l.c",
        "gcc -c a.c -o x.o && ar crD l.a x.o && strip -g x.o",
        "rm -f gone; gcc -S a.c",
    ] {
        w.sh("rm -f a.Po b.c i.c l.c x.o l.a a.s");
        w.pip(text);
        w.sh("for f in a.Po x.o a.s; do echo an older and longer one > $f; done; rm -f l.a");
        let r = w.pip(text);
        assert_eq!(r.pips("hit"), 1, "{text}: {}", r.story());
    }
}

/// Text that was kept may be thrown away; text that was thrown away is not there to be printed.
#[test]
fn output_to_nowhere() {
    let w = World::new();
    let xl = env!("CARGO_BIN_EXE_xl");
    let text = "echo out; echo err >&2; echo made > f";
    let run = |to: &str| {
        let o = w.sh(&format!("rm -f f; {xl} exec --summary off --json ../r.json -- sh -c '{text}' {to}"));
        let r: serde_json::Value = serde_json::from_slice(&std::fs::read(w.path("../r.json")).unwrap()).unwrap();
        assert_eq!(w.read("f"), "made\n");
        (
            r["pips"]["hit"].as_u64().unwrap(),
            String::from_utf8_lossy(&o.stdout).into_owned(),
            String::from_utf8_lossy(&o.stderr).into_owned(),
        )
    };
    let s = str::to_owned;
    assert_eq!(run(">/dev/null"), (0, s(""), s("err\n")));
    // A known tool writes to `xl` either way.
    assert_eq!(run(""), (1, s("out\n"), s("err\n")));
    assert_eq!(run(">/dev/null 2>&1"), (1, s(""), s("")));
    assert_eq!(run("2>/dev/null"), (1, s("out\n"), s("")));
    assert_eq!(run(">/dev/null"), (1, s(""), s("err\n")));
    assert_eq!(run("2>&1"), (0, s("out\nerr\n"), s("")));
    assert_eq!(run("2>&1"), (1, s("out\nerr\n"), s("")));
}

#[test]
fn the_summary_names_the_backend() {
    let mut w = World::new();
    for backend in ["seccomp", "ptrace", "ebpf"] {
        w.env.insert("XL_BACKEND".into(), backend.into());
        let r = w.run(&["true"]);
        assert!(r.stderr().lines().any(|l| l.starts_with("xl: ") && l.ends_with(backend)), "{}", r.stderr());
        assert_eq!(r.record["backend"], backend);
        assert_eq!(r.record["version"], 1);
    }
}

/// One command that depends on something else each time: its candidates stay few, and every result is found again.
#[test]
fn many_path_sets_of_one_command() {
    let w = World::new();
    w.write("p.py", "n = open('select').read()\nopen('out', 'w').write(open('f' + n).read())\n");
    let select = |i: u32| w.write("select", &i.to_string());
    for i in 0..9 {
        w.write(&format!("f{i}"), &format!("content {i}"));
        select(i);
        assert_eq!(w.pip("python3 -B p.py").pips("miss"), 1);
    }
    for i in 0..9 {
        select(i);
        w.sh("rm out");
        let r = w.pip("python3 -B p.py");
        assert_eq!(r.pips("hit"), 1, "{i}: {}", r.story());
        assert_eq!(w.read("out"), format!("content {i}"));
    }
    // A changed file is a miss at either level.
    for i in [0, 8] {
        w.write(&format!("f{i}"), "changed");
        select(i);
        assert_eq!(w.pip("python3 -B p.py").pips("miss"), 1);
        assert_eq!(w.read("out"), "changed");
    }
}

/// A build that nobody here wrote, from Debian's archive; needs the network.
#[test]
#[ignore = "downloads sources; part of `cargo xtask ci --full`"]
fn a_real_build_from_the_archive() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/lua.sh");
    let out = Command::new(script).arg(env!("CARGO_BIN_EXE_xl")).output().expect("the example");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.contains("bit for bit the same") && text.contains("0 ran"), "{text}");
}

/// What one command makes, the next changes in place, at once: each is judged by what it found.
#[test]
fn files_that_are_changed_in_place() {
    let w = World::new();
    w.write("a.c", "int main() { return 0; }\n");
    let rules: String =
        (0..20).map(|i| format!("p{i}: a.c\n\tgcc -g a.c -o $@\n\tstrip $@\n\tchmod 711 $@\n")).collect();
    let all: String = (0..20).map(|i| format!(" p{i}")).collect();
    w.write("Makefile", &format!("all:{all}\n{rules}"));
    w.sh("make");
    let plain = w.snapshot();
    w.sh("rm p*");
    for outcome in ["miss", "hit"] {
        let r = w.run(&["make"]);
        assert_eq!((r.code(), r.pips(outcome), r.pips("uncacheable")), (Some(0), 60, 0), "{}", r.story());
        assert_eq!(w.snapshot(), plain);
        w.sh("rm p*");
    }
}

/// Directories that come and go take no knowledge away of what is made in them anew.
#[test]
fn a_directory_that_is_made_anew() {
    let w = World::new();
    w.write("a.c", "int a;\n");
    let chain: String = (0..20).map(|i| format!("\tcat obj/{i}.o > obj/{}.o\n", i + 1)).collect();
    w.write("Makefile", &format!("all:\n\trm -rf obj; mkdir -p obj\n\tgcc -c a.c -o obj/0.o\n{chain}"));
    w.sh("make");
    for outcome in ["miss", "hit"] {
        let r = w.run(&["make"]);
        assert_eq!((r.code(), r.pips(outcome), r.pips("uncacheable")), (Some(0), 22, 0), "{}", r.story());
    }
}

/// What every `./configure` does: scratch names with its process number, a look at the inode of where it is, many small
/// programs.
#[test]
fn a_configure_script() {
    let mut w = World::new();
    w.write("c.in", "cc=@CC@\n");
    w.write(
        "configure",
        "#!/bin/sh\n# Generated.\nac_pwd=`pwd` && ac_ls_di=`ls -di .` && ac_pwd_ls_di=`cd \"$ac_pwd\" && ls -di .` || \
            exit 1\ntest \"X$ac_ls_di\" = \"X$ac_pwd_ls_di\" || exit 1\nrm -f conf$$ conf$$.exe conf$$.file\nmkdir \
            conf$$.dir 2>/dev/null\necho > conf$$.file\nif ln -s conf$$.file conf$$ 2>/dev/null; then as_ln_s='ln \
            -s'; fi\nrm -f conf$$ conf$$.dir/conf$$.file conf$$.file\nrmdir conf$$.dir\necho timestamp > \
            conftest.file\nset X `ls -Lt configure conftest.file`\ntest \"$2\" = conftest.file || exit 1\nls -1 c.in; \
            echo 'int main() { return 0; }' > conftest.c\nif gcc -o conftest conftest.c && ./conftest; then have=1; \
            fi; gcc -E - < /dev/null > /dev/null\nsleep 0.1; rm -rf conftest* tmp\n{ tmp=./conf$$-$RANDOM; (umask 077 \
            && mkdir \"$tmp\"); } || exit 1\nsed \"s/@CC@/gcc/\" c.in > $tmp/out && mv $tmp/out c.out\nrm -r $tmp\n",
    );
    w.sh("chmod +x configure");
    for outcome in ["miss", "hit", "hit"] {
        w.sh("rm -f c.out");
        let r = w.xl_run("exec", &["./configure"]);
        assert_eq!((r.code(), r.pips(outcome), r.pips("uncacheable")), (Some(0), 1, 0), "{}", r.story());
        assert_eq!(w.read("c.out"), "cc=gcc\n");
        // Whose output nobody lays out does not depend on how wide a terminal is.
        w.env.insert("COLUMNS".into(), "77".into());
    }
}

/// A file may change under another name of it, and after the command that changes it.
#[test]
fn files_that_change_behind_their_names() {
    let w = World::new();
    w.write("links.sh", "echo a > f; ln f f2; echo c > x\ncat f\ncat f\ncp x f2\ncat f\n");
    w.write("later.sh", "exec 3>>f; (sleep 0.4; echo b >&3; touch done) >/dev/null 2>&1 &\n");
    w.write(
        "wait.sh",
        "rm -f f done; echo a > f\nsh later.sh\ncat f\ncat f\nwhile ! test -e done; do sleep 0.05; done; cat f\n",
    );
    for (script, want) in [("links.sh", "a\na\nc\n"), ("wait.sh", "a\na\na\nb\n")] {
        let r = w.run(&["sh", script]);
        assert_eq!((r.code(), r.stdout()), (Some(0), want.to_owned()), "{}", r.story());
    }
}

/// What is renamed or gets another mode keeps its time, and that is no input: each build has another one.
#[test]
fn who_moves_a_file_leaves_its_time() {
    let w = World::new();
    let modified = |name: &str| String::from_utf8(w.sh(&format!("stat -c %Y {name}")).stdout).expect("a number");
    for (text, made) in [
        ("mv -f a b", "b"),
        ("chmod 700 a", "a"),
        ("mv a c; mv c b", "b"),
        ("chmod 700 a; mv a b", "b"),
        ("mv b c; mv a b; mv c a", "b"),
        ("python3 -B -c 'import os; os.rename(\"a\", \"b\")'", "b"),
    ] {
        for (outcome, time) in [("miss", 1000), ("hit", 3000), ("hit", 2000)] {
            w.sh(&format!(
                "rm -f a b c; echo x > a; chmod 644 a; echo y > b; touch -d @{time} a; touch -d @{} b",
                5000 - time
            ));
            let r = w.pip(text);
            assert_eq!(r.pips(outcome), 1, "{text}: {}", r.story());
            assert_eq!(modified(made), format!("{time}\n"), "{text}: {}", r.story());
        }
    }
    // Removed for good: it does not matter what it was.
    for (n, outcome) in [(1, "miss"), (1000, "hit")] {
        w.sh(&format!("seq {n} > a"));
        assert_eq!(w.pip("rm -f a").pips(outcome), 1);
        assert!(!w.path("a").exists());
    }
}

/// gcc runs a make of its own for the parts of such a link; that is no build tool.
#[test]
fn a_link_in_parts() {
    let mut w = World::new();
    w.write("m.c", "int main(void) { return 0; }\n");
    w.write("Makefile", "p: m.o\n\tgcc -O2 -flto=auto -o p m.o\nm.o: m.c\n\tgcc -O2 -flto -c m.c\n");
    // What others do where scratch files are does not matter.
    w.sh("mkdir tmp; touch tmp/one");
    w.env.insert("TMPDIR".into(), w.path("tmp").display().to_string());
    w.run(&["make"]);
    w.sh("rm p m.o tmp/one; touch tmp/two");
    let r = w.run(&["make"]);
    assert_eq!((r.code(), r.pips("hit"), r.pips("miss")), (Some(0), 2, 0), "{}", r.story());
}

/// A file that is cut, written and closed again and again makes ext4 write it to the disk each time (`auto_da_alloc`),
/// and a build with nothing to do would wait for that.
#[test]
fn a_start_does_not_cut_files_again_and_again() {
    let mut w = World::new();
    // One tracer a task: strace cannot look at the `ptrace` backend.
    w.env.insert("XL_BACKEND".into(), "seccomp".into());
    let log = w.path("../opens");
    for _ in 0..2 {
        let text = format!(
            "strace -f -e trace=openat,creat,open -o {} {} run -- true",
            log.display(),
            env!("CARGO_BIN_EXE_xl")
        );
        assert!(w.sh(&text).status.success());
    }
    let opens = std::fs::read_to_string(&log).unwrap();
    let cache = w.cache().display().to_string();
    let mut cut: Vec<&str> =
        opens.lines().filter(|l| l.contains("O_TRUNC")).filter_map(|l| l.split('"').nth(1)).collect();
    cut.retain(|p| p.starts_with(&cache));
    assert!(!cut.is_empty(), "the test looks at the wrong calls");
    let all = cut.len();
    cut.sort_unstable();
    cut.dedup();
    assert_eq!(cut.len(), all, "a file of {cut:?} is cut more than once");
}
