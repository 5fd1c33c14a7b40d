//! The audit: each defect is first shown to bite, then exactly that is found; what is declared well is never accused.

use crate::world::World;
use audit::frontend::{absolute, declared};
use serde_json::Value;
use std::collections::BTreeSet;

/// An audit's exit code and report. The tree is the workspace.
pub(crate) fn audit(w: &World, options: &[&str], cmd: &[&str]) -> (i32, Value) {
    let json = w.tree().with_file_name("audit.json");
    let _ = std::fs::remove_file(&json);
    let mut words = vec!["audit", "--summary", "off", "--format", "json", "-o", json.to_str().expect("utf-8")];
    words.extend(options);
    words.push("--");
    words.extend(cmd);
    let out = w.xl(&words).output().expect("xl");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let report = std::fs::read(&json).ok().and_then(|b| serde_json::from_slice(&b).ok());
    (out.status.code().expect("an exit code"), report.unwrap_or_else(|| panic!("no report: {said}")))
}

pub(crate) fn list(v: &Value) -> &[Value] {
    v.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v[key].as_str().unwrap_or_default()
}

/// `XL001 target file` of each violation of these severities that nothing allows.
pub(crate) fn found(report: &Value, severities: &[&str]) -> BTreeSet<String> {
    list(&report["violations"])
        .iter()
        .filter(|v| severities.contains(&text(v, "severity")) && v["allowed"].is_null())
        .map(|v| format!("{} {} {}", text(v, "code"), text(v, "target"), text(v, "file")).trim().to_owned())
        .collect()
}

fn serious(report: &Value) -> BTreeSet<String> {
    found(report, &["error", "warning"])
}

pub(crate) fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|s| (*s).to_owned()).collect()
}

/// Cold, then warm in a tree without outputs: both find exactly this, and the same notes.
fn finds(w: &World, cmd: &[&str], clean: &str, expected: &[&str]) -> Value {
    let (code, cold) = audit(w, &[], cmd);
    assert_eq!(serious(&cold), set(expected), "cold: {cold:#}");
    assert_eq!(code, i32::from(!expected.is_empty()), "{cold:#}");
    w.sh(clean);
    let (code, warm) = audit(w, &[], cmd);
    assert!(code == i32::from(!expected.is_empty()) && warm["hits"].as_u64() > Some(0), "{code}: {warm:#}");
    let all = ["error", "warning", "note"];
    assert_eq!(found(&warm, &all), found(&cold, &all), "a warm build tells something else");
    assert_eq!(list(&cold["gaps"]).len(), 0, "{}", cold["gaps"]);
    cold
}

pub(crate) fn c_files(w: &World) {
    w.write("main.c", "#include \"a.h\"\nint main(void) { return A; }\n");
    w.write("a.h", "#include \"b.h\"\n#define A B\n");
    w.write("b.h", "#define B 0\n");
}

/// Does an edit of `file` reach `target`? What plain make says.
fn is_stale_after(w: &World, file: &str, make: &str) -> bool {
    let out = w.sh(&format!("touch -d '+1 hour' {file} && {make}"));
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    w.sh(&format!("touch -d '-1 hour' {file}"));
    said.contains("up to date") || said.contains("no work to do")
}

#[test]
fn an_undeclared_header_of_a_makefile() {
    let w = World::new();
    c_files(&w);
    w.write(
        "Makefile",
        "prog: main.o\n\tgcc -o $@ main.o\nmain.o: main.c a.h\n\t@cat note.txt\n\tgcc -c \\\n\t  main.c\nclean:\n\trm \
            -f prog main.o\n",
    );
    w.write("note.txt", "only printed\n");
    let r = finds(&w, &["make"], "make clean", &["XL001 main.o b.h"]);
    let v = &r["violations"][0];
    assert_eq!((text(&v["fix"], "text"), text(&v["fix"], "place")), ("main.o: b.h", "Makefile:4"));
    assert!(
        text(&v["evidence"][0], "process").contains("cc1") && text(&v["evidence"][0], "call").starts_with("open"),
        "{v:#}"
    );
    // The same for people, of the last audit.
    let said = String::from_utf8_lossy(&w.xl(&["audit"]).output().expect("xl").stdout).into_owned();
    let show = format!("  show: cd {} && touch b.h && make main.o   (or: xl audit --prove 1)", w.tree().display());
    for line in [
        "error[XL001 undeclared-input] #1: `main.o` reads `b.h`, which nothing declares",
        "   --> Makefile:4",
        "    by: gcc -c main.c",
        "   why: editing the file does not rebuild the target",
        "   fix: main.o: b.h  (Makefile:4)",
        &show,
    ] {
        assert!(said.lines().any(|l| l.starts_with(line)), "`{line}` is not in\n{said}");
    }
    w.sh("make");
    assert!(is_stale_after(&w, "b.h", "make"), "the defect does not bite");
    assert!(!is_stale_after(&w, "a.h", "make"), "the check itself is wrong");
    // The line that is suggested repairs it.
    w.write("Makefile", &(w.read("Makefile") + "main.o: b.h\n"));
    w.sh("make clean");
    assert_eq!(serious(&audit(&w, &[], &["make"]).1), set(&[]));
}

#[test]
fn dependency_files_that_make_reads() {
    let w = World::new();
    c_files(&w);
    let rules = "prog: main.o\n\tgcc -o $@ $^\n%.o: %.c | deps\n\tgcc -MMD -MP -MF deps/$*.Tpo -c -o $@ $<\n\tmv \
        deps/$*.Tpo deps/$*.d\ndeps:\n\tmkdir $@\nclean:\n\trm -rf prog *.o deps\n.PHONY: clean\n";
    w.write("Makefile", &format!("{rules}-include deps/main.d\n"));
    finds(&w, &["make"], "make clean", &[]);
    // Written, and read by nobody: a common fault.
    w.write("Makefile", rules);
    w.sh("make clean");
    finds(&w, &["make"], "make clean", &["XL001 main.o a.h", "XL001 main.o b.h"]);
}

#[test]
fn a_generated_header_without_an_edge() {
    let w = World::new();
    c_files(&w);
    w.sh("rm b.h");
    let rules = "all: b.h prog\nprog: main.o\n\tgcc -o $@ $^\nmain.o: main.c a.h\n\tgcc -MMD -c main.c\nb.h:\n\techo \
        '#define B 0' > $@\nclean:\n\trm -f prog *.o *.d b.h\n-include main.d\n";
    w.write("Makefile", rules);
    // Serial and lucky: the dependency file names it, so that later builds know, but nobody makes it first.
    let r = finds(&w, &["make", "-j1"], "make clean", &["XL002 main.o b.h"]);
    assert_eq!(text(&r["violations"][0]["other"], "target"), "b.h");
    w.sh("make clean");
    assert!(!w.sh("make main.o").status.success(), "the defect does not bite");
    w.write("Makefile", &rules.replace("main.c a.h", "main.c a.h | b.h"));
    w.sh("make clean");
    finds(&w, &["make"], "make clean", &[]);
}

#[test]
fn a_generated_header_in_ninja() {
    let w = World::new();
    c_files(&w);
    w.sh("rm b.h");
    let manifest = |edge: &str| {
        format!(
            "rule cc\n  command = gcc -MD -MF $out.d -c $in -o $out\n  depfile = $out.d\n  deps = gcc\nrule gen\n  \
                command = echo '#define B 0' > $out\n  restat = 1\n\
             rule link\n  command = gcc @$out.rsp -o $out\n  rspfile = $out.rsp\n  rspfile_content = $in\nbuild b.h: gen\nbuild gen: phony b.h\nbuild main.o: cc main.c{edge}\nbuild prog: link main.o\n"
        )
    };
    w.write("build.ninja", &manifest(""));
    let r = finds(&w, &["ninja", "-j1", "b.h", "prog"], "ninja -t clean", &["XL002 main.o b.h"]);
    assert_eq!(text(&r["violations"][0]["fix"], "text"), "build main.o: … || b.h");
    w.write("build.ninja", &manifest(" || gen"));
    w.sh("ninja -t clean; rm -f .ninja_*");
    finds(&w, &["ninja"], "ninja -t clean", &[]);
    // Made first, but a change of it is not noticed.
    w.write("build.ninja", &manifest(" || gen").replace("  depfile = $out.d\n  deps = gcc\n", ""));
    w.sh("ninja -t clean; rm -f .ninja_*");
    finds(&w, &["ninja"], "ninja -t clean", &["XL001 main.o a.h", "XL001 main.o b.h"]);
}

#[test]
fn makes_below_a_make() {
    let w = World::new();
    w.write("lib/lib.c", "int f(void) { return 0; }\n");
    w.write(
        "lib/Makefile",
        "lib.a: lib.o\n\tar rc $@ lib.o\nlib.o: lib.c\n\tgcc -c lib.c\nver.h:\n\techo '#define V 0' > $@\n",
    );
    w.write("app/main.c", "#include \"../lib/ver.h\"\nint f(void);\nint main(void) { return f() + V; }\n");
    w.write(
        "app/Makefile",
        "prog: main.o ../lib/lib.a\n\tgcc -o $@ $^\nmain.o: main.c ../lib/ver.h\n\tgcc -c main.c\n",
    );
    let top = "all: app\nlib:\n\t$(MAKE) -C lib lib.a ver.h\napp:\n\tcd app && $(MAKE)\n.PHONY: all lib app\n";
    let clean = "rm -f lib/*.a lib/*.o lib/ver.h app/*.o app/prog";
    w.write("Makefile", &top.replace("app:\n", "app: lib\n"));
    finds(&w, &["make", "-j2"], clean, &[]);
    // In one recipe, one after the other: ordered too.
    w.write(
        "Makefile",
        "all:\n\tfor d in lib app; do $(MAKE) -C $$d `test $$d = app || echo lib.a ver.h` || exit 1; \
        done\n.PHONY: all\n",
    );
    w.sh(clean);
    finds(&w, &["make"], clean, &[]);
    w.write("Makefile", &top.replace("all: app", "all: lib app"));
    w.sh(clean);
    let r = finds(&w, &["make", "-j1"], clean, &["XL002 app/main.o lib/ver.h", "XL002 app/prog lib/lib.a"]);
    assert_eq!(text(&r["violations"][0]["fix"], "text"), "app: lib");
    w.sh(clean);
    assert!(!w.sh("make app").status.success(), "the defect does not bite");
}

/// Settings that the build keeps take a step away for the next time: what its make did came in an order that nobody can
/// tell any more.
#[test]
fn a_step_that_is_not_declared_any_more() {
    let w = World::new();
    w.write(
        "Makefile",
        "-include settings\nall: prog\nifneq ($(DONE),yes)\nprog: deps\nendif\ndeps:\n\techo DONE=yes > \
            settings\n\t$(MAKE) -C sub\nprog: main\n\tcat main sub/lib > prog\n.PHONY: all deps\n",
    );
    w.write("sub/Makefile", "lib:\n\techo 1 > lib\n");
    w.write("main", "");
    finds(&w, &["make"], "rm -f settings prog sub/lib", &[]);
    // Where it is declared, it is known that nothing waits for it.
    w.write(
        "Makefile",
        "all: deps prog\ndeps:\n\t$(MAKE) -C sub\nprog: main\n\tcat main sub/lib > prog\n.PHONY: all deps\n",
    );
    w.sh("rm -f settings prog sub/lib");
    finds(&w, &["make", "-j1"], "rm -f prog sub/lib", &["XL002 prog sub/lib"]);
}

#[test]
fn files_of_several_makers() {
    let w = World::new();
    w.write("in", "1\n");
    w.write(
        "Makefile",
        "all: a b c\na: in\n\tcp in a; cp in shared\nb: in\n\tcp in b; echo 2 > shared\nc: a \
        shared.txt\n\tcat a shared > c\nshared.txt: in\n\tcp in shared.txt\nclean:\n\trm -f a b c shared shared.txt\n",
    );
    // Who reads it waits for one of the writers only.
    finds(&w, &["make", "-j1"], "make clean", &["XL006 shared shared", "XL008 c shared"]);
}

#[test]
fn sources_that_the_build_changes() {
    let w = World::new();
    w.write("version", "1\n");
    w.write("Makefile", "out: in\n\techo 2 > version; cp in out\n");
    w.write("in", "x\n");
    w.sh("git init -q . && git add in version && git -c user.name=x -c user.email=x@x commit -qm x");
    let (_, r) = audit(&w, &[], &["make"]);
    assert_eq!(serious(&r), set(&["XL007 out version"]), "{r:#}");
}

#[test]
fn what_a_command_does_besides() {
    let w = World::new();
    w.write("when.c", "const char *when = __DATE__;\n");
    w.write(
        "net.py",
        "import socket\ns = socket.socket()\ns.settimeout(1)\ntry:\n    s.connect(('127.0.0.1', \
        9))\nexcept OSError:\n    pass\nopen('net', 'w').write('x')\n",
    );
    w.write(
        "build.ninja",
        "rule sh\n  command = $do\nbuild when.o: sh when.c\n  do = gcc -c when.c\nbuild net: sh net.py\n  do = \
            /usr/bin/python3 -I net.py\n\
         build stay: sh\n  do = (sleep 3 </dev/null >/dev/null 2>&1 &) ; touch stay\nbuild gone: sh\n  do = true\n",
    );
    let (code, r) = audit(&w, &[], &["ninja", "-j1"]);
    let kinds: BTreeSet<_> =
        list(&r["violations"]).iter().map(|v| format!("{} {}", text(v, "code"), text(v, "target"))).collect();
    assert_eq!(kinds, set(&["XL005 gone", "XL011 net", "XL015 stay", "XL018 when.o"]), "{r:#}");
    assert_eq!(code, 1);
}

#[test]
fn names_that_come_and_go() {
    let w = World::new();
    w.write(
        "build.ninja",
        "rule sh\n  command = $do\nbuild names: sh\n  do = ls gen > names\nbuild gen/a: sh\n  do = \
        echo a > gen/a\nbuild opt: sh\n  do = if test -e gen/a; then echo 1 > opt; else echo 0 > opt; fi\n",
    );
    w.sh("mkdir gen");
    let (_, r) = audit(&w, &[], &["ninja", "-j1", "names", "opt", "gen/a"]);
    assert_eq!(serious(&r), set(&["XL003 opt gen/a", "XL017 names gen"]), "{r:#}");
}

#[test]
fn odd_names() {
    let w = World::new();
    w.write("a b.h", "#define B 0\n");
    w.write("it's$.c", "#include \"a b.h\"\nint x = B;\n");
    w.write("build.ninja", "rule cc\n  command = gcc -c $in -o $out\nbuild o$ ut$$/x.o: cc it's$$.c\n");
    w.sh("mkdir 'o ut$'; printf '#define C 0\\n' > \"$(printf 'c\\377.h')\"; printf '#include \"c\\377.h\"\\n' \
        >> \"it's$.c\"");
    let (_, r) = audit(&w, &[], &["ninja"]);
    assert_eq!(serious(&r), set(&["XL001 o ut$/x.o a b.h", "XL001 o ut$/x.o c\\xff.h"]), "{r:#}");
    assert_eq!(text(&r["violations"][0]["fix"], "text"), "build o$ ut$$/x.o: … | a$ b.h");
}

#[test]
fn nothing_is_run_in_the_tree_and_nobody_is_accused_without_knowing() {
    let w = World::new();
    c_files(&w);
    // A question that writes, a makefile that is made, one that deletes itself.
    w.write(
        "Makefile",
        "X := $(shell echo ran >> shell.log)\nall: main.o; @rm -f gen.mk.tmp\nmain.o: main.c\n\tgcc \
        -c main.c\ninclude gen.mk\ngen.mk:\n\techo made >> made.log; echo Y=1 > gen.mk\nsub:\n\t+touch plus\n",
    );
    let (_, r) = audit(&w, &[], &["make"]);
    // Once, and once more after the makefile was made: as without xl.
    assert_eq!(
        (w.read("shell.log").lines().count(), w.read("made.log").as_str(), w.path("plus").exists()),
        (2, "made\n", false)
    );
    assert_eq!(serious(&r), set(&["XL001 main.o a.h", "XL001 main.o b.h"]));
    // The manifest is gone when it is asked for.
    w.wipe();
    c_files(&w);
    w.write("build.ninja", "rule cc\n  command = gcc -c $in -o $out; rm build.ninja\nbuild main.o: cc main.c\n");
    let (code, r) = audit(&w, &[], &["ninja"]);
    assert_eq!((code, serious(&r), list(&r["gaps"]).len()), (0, set(&[]), 1), "{r:#}");
    assert!(r["gaps"][0].as_str().is_some_and(|g| g.contains("build.ninja")));
    // Not GNU make.
    w.wipe();
    w.write("bin/make", "#!/bin/sh\ncp in out\n");
    w.write("in", "");
    w.sh("chmod +x bin/make");
    let path = format!("{}:{}", w.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let mut other = World::new();
    other.env.insert("PATH".into(), path);
    other.write("in", "");
    let (code, r) = audit(&other, &[], &["make"]);
    assert_eq!((code, serious(&r)), (0, set(&[])), "{r:#}");
    assert!(r["gaps"][0].as_str().is_some_and(|g| g.contains("is it GNU make?")), "{}", r["gaps"]);
    // A broken manifest is ninja's to refuse; its code is the build's.
    w.wipe();
    w.write("build.ninja", "build x: nothing\n");
    let (code, r) = audit(&w, &[], &["ninja"]);
    assert_eq!((code, serious(&r)), (1, set(&[])), "{r:#}");
    assert!(r["gaps"][0].as_str().is_some_and(|g| g.contains("line 1") && g.contains("unknown rule")), "{}", r["gaps"]);
}

#[test]
fn severities_exceptions_and_the_ratchet() {
    let w = World::new();
    c_files(&w);
    w.write("Makefile", "main.o: main.c\n\tgcc -c main.c\n");
    w.write(
        "xl.toml",
        "[[audit.allow]]\nkind = 'XL001'\npath = 'b.h'\nreason = 'never edited'\n[[audit.allow]]\nkind \
        = 'XL001'\npath = 'nothing'\nreason = 'x'\n",
    );
    let (code, r) = audit(&w, &[], &["make"]);
    assert_eq!((code, serious(&r)), (1, set(&["XL001 main.o a.h"])));
    assert!(r["unused"].to_string().contains("nothing"), "{}", r["unused"]);
    w.write(
        "xl.toml",
        "[[audit.severity]]\nkind = 'undeclared-input'\npath = 'a.h'\nlevel = \
        'note'\n[[audit.severity]]\nkind = 'XL001'\npath = 'b.h'\nlevel = 'off'\n",
    );
    w.sh("rm main.o");
    assert_eq!(audit(&w, &[], &["make"]).0, 0);
    w.write("xl.toml", "[audit]\nbaseline = 'known.json'\n");
    w.sh("rm main.o");
    assert_eq!(audit(&w, &["--write-baseline"], &["make"]).0, 0);
    // Without a command: the last one, held against the baseline.
    assert_eq!(w.xl(&["audit"]).output().expect("xl").status.code(), Some(0));
    w.write("main.c", "#include \"a.h\"\n#include \"new.h\"\n");
    w.write("new.h", "");
    let (code, r) = audit(&w, &[], &["make"]);
    assert_eq!((code, serious(&r)), (1, set(&["XL001 main.o new.h"])), "{r:#}");
    let refused = w.xl(&["audit", "--write-baseline"]).output().expect("xl");
    assert_eq!(refused.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("may only shrink"));
    w.write("xl.toml", "[audit]\nbasline = 'x'\n");
    let wrong = w.xl(&["audit", "--", "make"]).output().expect("xl");
    assert!(
        wrong.status.code() == Some(65) && String::from_utf8_lossy(&wrong.stderr).contains("did you mean `baseline`")
    );
}

/// The edges and commands of generated manifests, as ninja itself has them.
#[test]
fn manifests_are_read_as_ninja_reads_them() {
    let w = World::new();
    c_files(&w);
    w.write("gen.c", "#include <stdio.h>\nint main(void) { puts(\"int g;\"); }\n");
    w.write(
        "CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.10)\nproject(p C)\nadd_executable(gen \
        gen.c)\nadd_custom_command(OUTPUT \"g g.c\" COMMAND gen > \"g g.c\" DEPENDS gen VERBATIM)\nadd_library(s \
        SHARED \"${CMAKE_CURRENT_BINARY_DIR}/g g.c\")\nadd_library(o OBJECT main.c)\nadd_executable(prog \
        $<TARGET_OBJECTS:o>)\ntarget_link_libraries(prog s)\n",
    );
    w.write(
        "meson.build",
        "project('p', 'c')\ng = executable('gen', 'gen.c', native: true)\nh = custom_target('h', \
        output: 'g.c', command: [g], capture: true)\nl = static_library('s', h)\nexecutable('prog', 'main.c', \
        link_with: l)\ntest('t', g)\n",
    );
    assert!(w.sh("cmake -G Ninja -S . -B c && CC=gcc meson setup m").status.success());
    for dir in ["c", "m"] {
        let cwd = w.path(dir);
        let cwd = cwd.as_os_str().as_encoded_bytes();
        let asked = declared(&[b"ninja".to_vec()], cwd, &[], &std::env::temp_dir(), &w.path(""));
        let d = asked.expect("a manifest").expect("ninja");
        let list =
            |command: &str| String::from_utf8_lossy(&w.sh(&format!("cd {dir} && {command}")).stdout).into_owned();
        // It leaves out edges without inputs.
        let some = d.steps.iter().filter(|s| !s.inputs.is_empty() || !s.order_only.is_empty());
        let shown = |c: &[u8]| String::from_utf8_lossy(c).into_owned();
        let ours: BTreeSet<String> = some.flat_map(|s| s.commands.iter().map(|c| shown(c))).collect();
        let theirs: Vec<Value> = serde_json::from_str(&list("ninja -t compdb")).expect("compdb");
        let key = |v: &Value| shown(&worker::command_text::normalised(text(v, "command").as_bytes()));
        let theirs: BTreeSet<String> = theirs.iter().map(key).filter(|c| !c.is_empty()).collect();
        assert_eq!(ours, theirs);
        for s in d.steps.iter().filter(|s| !s.phony) {
            let name = |p: &cache::PathBytes| {
                let prefix = format!("{}/", w.path(dir).display());
                let full = String::from_utf8_lossy(p).into_owned();
                full.strip_prefix(&prefix).map(str::to_owned).unwrap_or(full)
            };
            let said = list(&format!("ninja -t query '{}'", name(&s.outputs[0])));
            let inputs: Vec<&str> = said
                .lines()
                .take_while(|l| !l.starts_with("  outputs:"))
                .filter(|l| l.starts_with("    "))
                .map(str::trim)
                .collect();
            let theirs: BTreeSet<String> = inputs
                .iter()
                .map(|i| i.trim_start_matches("|| ").trim_start_matches("| ").to_owned())
                .map(|i| name(&absolute(cwd, i.as_bytes())))
                .collect();
            let ours: BTreeSet<String> = s.inputs.iter().chain(&s.order_only).map(name).collect();
            assert_eq!(ours, theirs, "{said}");
        }
    }
    // And both builds are declared well.
    finds(&w, &["ninja", "-C", "c"], "ninja -C c -t clean", &[]);
    finds(&w, &["ninja", "-C", "m"], "ninja -C m -t clean", &[]);
    w.sh("cmake -G 'Unix Makefiles' -S . -B u");
    finds(&w, &["make", "-C", "u"], "make -C u clean", &[]);
}

/// The table of the guide is the table of the program.
#[test]
fn the_guide_lists_every_kind() {
    let guide = include_str!("../../docs/audit.md");
    for a in audit::kinds::KINDS {
        let severity = format!("{:?}", a.severity).to_lowercase();
        let row = format!("| {} | {} | {severity} | {} |", a.code, a.name, a.why);
        assert!(guide.contains(&row), "docs/audit.md lacks: {row}");
    }
}

/// Styles of makefiles that declare everything, one way or another.
#[test]
fn makefiles_of_many_styles() {
    let w = World::new();
    let clean = "find . -name '*.o' -delete; rm -rf out bl/q br/q app x y lib.a one two gen.h";
    let build = |files: &[(&str, &str)]| {
        w.wipe();
        w.write("s.c", "#include \"s.h\"\nint s = S;\n");
        w.write("s.h", "#define S 1\n");
        w.write("t.c", "int t;\n");
        for (name, text) in files {
            w.write(name, text);
        }
    };
    // Double colons, a prefix of its own, blanks in names, several targets of one rule.
    build(&[(
        "Makefile",
        "all: x y\nx:: s.c\n\tcat s.c >> x\nx:: t.c\n\tcat t.c >> x\none two: s.c t.c\n\tcat s.c t.c > one; cp one \
            two\ny: one two\n\tcat one two > y\n",
    )]);
    finds(&w, &["make"], clean, &[]);
    build(&[("Makefile", ".RECIPEPREFIX = >\nx: s.c a\\ b.txt\n>cat s.c s.h 'a b.txt' > x\n"), ("a b.txt", "")]);
    finds(&w, &["make"], clean, &["XL001 x s.h"]);
    // Links: declared by one name, used by another.
    build(&[("Makefile", "x: ln/s.c lf bl/q\n\tcat ln/s.c lf bl/q > x\nbl/q: ln/s.h\n\tcp ln/s.h bl/q\n")]);
    w.sh("mkdir src br && mv s.c s.h src && ln -s src ln && ln -s t.c lf && ln -s br bl");
    finds(&w, &["make"], clean, &[]);
    // A make behind a shell, in a script, with a makefile of another name.
    let sub = [
        ("d/m.mk", "o.o: s.c\n\tgcc -I. -c s.c -o o.o\n"),
        ("d/s.c", "#include \"s.h\"\n"),
        ("d/s.h", ""),
        ("go.sh", "make -C d -f m.mk\n"),
    ];
    for top in [
        "all:\n\ttrue; cd d && $(MAKE) -f m.mk\n",
        "all:\n\tfor d in d; do $(MAKE) -C $$d -f m.mk || exit 1; done\n",
        "all:\n\tsh ./go.sh\n",
    ] {
        build(&[&sub[..], &[("Makefile", &format!("{top}.PHONY: all\n"))]].concat());
        finds(&w, &["make"], clean, &["XL001 d/o.o d/s.h"]);
    }
    build(&sub);
    finds(&w, &["sh", "-c", "sh go.sh; make -C d -f m.mk"], clean, &["XL001 d/o.o d/s.h"]);
    // In the order of a script.
    build(&[
        ("g/Makefile", "g.h: ../s.h\n\tcp ../s.h g.h\n"),
        ("m/Makefile", "m.o: m.c ../g/g.h\n\tgcc -c m.c\n"),
        ("m/m.c", "#include \"../g/g.h\"\n"),
    ]);
    finds(&w, &["sh", "-c", "make -C g && make -C m"], "rm -f g/g.h m/m.o", &[]);
    // What is configured before is no source of the build.
    build(&[("Makefile", "x: gen.h\n\tcat gen.h > x\n")]);
    finds(&w, &["sh", "-c", "cp s.h gen.h && make"], clean, &[]);
}

/// Without a build tool there are the rules of `xl.toml`.
#[test]
fn rules_for_what_scripts_run() {
    let w = World::new();
    w.write("gen.sh", "cat data/a extra > out; echo log > log\n");
    w.write("data/a", "1\n");
    w.write("extra", "2\n");
    let cmd = ["sh", "-c", "sh ./gen.sh; true"];
    assert_eq!(serious(&audit(&w, &[], &cmd).1), set(&[]), "nobody said anything about it");
    w.write(
        "xl.toml",
        "[[rule]]\ntool = 'gen.sh'\ninputs = ['data/**', 'gen.sh']\noutputs = ['out']\nreason = 'what it says'\n",
    );
    finds(&w, &cmd, "rm -f out log", &["XL001 log extra", "XL004 log log"]);
    w.write(
        "xl.toml",
        "[[rule]]\ntool = 'gen.sh'\ninputs = ['*', 'data/**']\noutputs = ['out', 'log']\nreason = 'what it says'\n",
    );
    w.sh("rm -f out log");
    finds(&w, &cmd, "rm -f out log", &[]);
}

/// Who looks for a file that appears meanwhile is caught, although nothing of it can be stored.
#[test]
fn a_race_that_really_happens() {
    let w = World::new();
    w.write("s", "s\n");
    // Each waits for the other: `o` looks before `g` is there, and reads it when it is.
    w.write(
        "Makefile",
        "all: o g\no: s\n\ttest -e g; touch ../looked; while ! test -e g; do sleep 0.05; done; cat s \
        g > o\ng: s\n\twhile ! test -e ../looked; do sleep 0.05; done; cp s g\n",
    );
    let (_, r) = audit(&w, &[], &["make", "-j2"]);
    // That one looks for the other's mark is a race too.
    let mark = format!("XL003 g {}", w.tree().with_file_name("looked").display());
    assert_eq!(serious(&r), set(&["XL002 o g", &mark]), "{r:#}");
}

#[test]
fn findings_are_tried_out() {
    let w = World::new();
    c_files(&w);
    let prove = |n: &str| {
        let out = w.xl(&["audit", "--prove", n]).output().expect("xl");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        (out.status.code(), text.lines().last().unwrap_or_default().to_owned())
    };
    w.write(
        "my.mk",
        "O = main.o\nall: $(O) g.h use\n$(O): main.c\n\tgcc -c main.c -o $(O)\nuse: main.c\n\tcat main.c g.h > \
            use\ng.h:\n\techo 1 > g.h\n",
    );
    w.sh("make -f my.mk O=m.o g.h");
    let (_, r) = audit(&w, &[], &["make", "-f", "my.mk", "-j1", "O=m.o"]);
    assert_eq!(serious(&r), set(&["XL001 m.o a.h", "XL001 m.o b.h", "XL001 use g.h"]), "{r:#}");
    let before = w.snapshot();
    assert_eq!(prove("1"), (Some(0), "proven: `m.o` is not made again when `a.h` changes".into()));
    assert_eq!(w.snapshot(), before, "the experiment changes the tree");
    // Repaired since.
    w.write("my.mk", &w.read("my.mk").replace("$(O): main.c", "$(O): main.c a.h b.h"));
    assert_eq!(prove("1"), (Some(1), "not proven: `m.o` is made again when `a.h` changes".into()));
    w.sh("rm -f m.o use g.h");
    let (_, r) = audit(&w, &[], &["make", "-f", "my.mk", "-j1", "O=m.o"]);
    assert_eq!(serious(&r), set(&["XL002 use g.h"]), "{r:#}");
    let (code, verdict) = prove("1");
    assert!(code == Some(0) && verdict.starts_with("proven: without `g.h` first, `use` fails: cat: g.h"), "{verdict}");
    assert_eq!(prove("99").0, Some(2));
}
