//! `xl explain`: after each kind of change the words that matter, and no others.

use crate::world::{Run, World};

fn explain(w: &World, words: &[&str]) -> String {
    let o = w.xl(&[&["explain"], words].concat()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&o.stdout).into_owned(), String::from_utf8_lossy(&o.stderr).into_owned());
    assert!(o.status.success() && err.is_empty(), "{words:?}: {out}{err}");
    out
}

/// What is said to differ.
fn differences(text: &str) -> Vec<&str> {
    text.lines().filter_map(|l| l.strip_prefix("    ")).collect()
}

/// Two sources, two headers, an archive, a program; built once.
fn built() -> World {
    let mut w = World::new();
    // As the shells have it that some of the builds are started from.
    w.env.insert("PWD".into(), w.tree().display().to_string());
    w.write(
        "Makefile",
        "FLAGS = -O1\nprog: main.o lib.a\n\tcc -o prog main.o lib.a\n%.o: %.c\n\tcc $(FLAGS) -c -o $@ $<\n\
         lib.a: util.o\n\tar rc lib.a util.o\n",
    );
    w.write(
        "main.c",
        "#include \"a.h\"\n#include \"b.h\"\nint util(void);\nint main(void) { return util() + A + B; }\n",
    );
    w.write("util.c", "#include \"b.h\"\nint util(void) { return B; }\n");
    w.write("a.h", "#define A 0\n");
    w.write("b.h", "#define B 0\n");
    assert_eq!(w.run(&["make"]).code(), Some(0));
    w
}

/// Everything anew, so that what has changed is the cache's business and not make's.
fn again(w: &World, first: &str, words: &[&str]) -> Run {
    w.sh("rm -f prog *.o *.a");
    let run = w.xl_run_after(first, "run", words);
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    run
}

#[test]
fn changed_headers_and_the_chain() {
    let w = built();
    w.write("a.h", "#define A 1\n");
    again(&w, "", &["make"]);
    let out = explain(&w, &["main.o"]);
    assert!(out.contains(" ran: cc -O1 -c -o main.o main.c") && out.contains("makes `main.o`"), "{out}");
    assert_eq!(differences(&out), ["content of `a.h` changed"], "{out}");
    assert!(explain(&w, &["util.o"]).contains("nothing that it depends on has changed"), "a hit");
    // Both of two.
    w.write("a.h", "#define A 2\n");
    w.write("b.h", "#define B 2\n");
    again(&w, "", &["make"]);
    assert_eq!(differences(&explain(&w, &["main.o"])), ["content of `a.h` changed", "content of `b.h` changed"]);
    // From the program over the archive to the header.
    let out = explain(&w, &["prog"]);
    assert_eq!(differences(&out), ["content of `lib.a` changed", "content of `main.o` changed"], "{out}");
    for (file, why) in
        [("lib.a", "`util.o` changed"), ("util.o", "`b.h` changed"), ("main.o", "`a.h` changed, `b.h` changed")]
    {
        let line = out
            .lines()
            .find(|l| l.contains(&format!("`{file}` was made again by #")))
            .unwrap_or_else(|| panic!("{out}"));
        assert!(line.ends_with(&format!(" because {why}")), "{out}");
    }
    // Who reads a header, and all that ran.
    let out = explain(&w, &["b.h"]);
    assert!(out.contains("main.o main.c") && out.contains("util.o util.c") && !out.contains("makes `prog`"), "{out}");
    assert_eq!(explain(&w, &[]).matches("build 3, #").count(), 4);
    // What the command itself left there is blamed last.
    w.write("util.c", "#include \"b.h\"\nint util(void) { return B + 1; }\n");
    assert_eq!(w.run(&["make"]).code(), Some(0));
    let out = explain(&w, &["lib.a"]);
    assert_eq!(differences(&out)[0], "content of `util.o` changed", "{out}");
    assert!(out.contains("`util.o` was made again by #1 because `util.c` changed"), "{out}");
    // An earlier build by its number.
    assert_eq!(differences(&explain(&w, &["main.o", "--build", "2"])), ["content of `a.h` changed"]);
    let json = explain(&w, &["prog", "--json"]);
    let e: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(e["commands"][0]["chain"].as_array().map(Vec::len), Some(2), "{json}");
    assert_eq!(e["commands"][0]["differences"][0]["kind"], "input", "{json}");
}

#[test]
fn how_the_command_is_run() {
    let w = built();
    again(&w, "", &["make", "FLAGS=-O2"]);
    let out = explain(&w, &["main.o"]);
    assert_eq!(differences(&out), ["argument `-O1` → `-O2`"], "{out}");
    assert!(out.contains("nearest earlier run, #1 of build 1"), "{out}");
    again(&w, "umask 077; ", &["make"]);
    let out = explain(&w, &["main.o"]);
    assert_eq!(differences(&out), ["umask: `0022` → `0077`"], "{out}");
    assert!(out.contains("to do: build with the same umask"), "{out}");
    again(&w, "ulimit -S -n 200; ", &["make"]);
    let out = explain(&w, &["main.o"]);
    assert!(differences(&out).iter().any(|l| l.starts_with("a low resource limit (`ulimit -a` shows them)")), "{out}");
}

#[test]
fn variables() {
    let mut w = built();
    let build = |w: &mut World, name: &str, value: &str| {
        w.env.insert(name.into(), value.into());
        again(w, "", &["make"]);
        w.env.remove(name);
        explain(w, &["main.o"])
    };
    let out = build(&mut w, "CPATH", "/usr/include");
    assert!(differences(&out).contains(&"variable CPATH is set, and was not"), "{out}");
    assert!(out.contains("`pass = [\"CPATH\"]` in `[env]`"), "{out}");
    // Not that which only the newest result has.
    let out = build(&mut w, "LC_ALL", "C");
    assert_eq!(differences(&out), ["variable LC_ALL has another value"], "{out}");
}

#[test]
fn another_program_and_another_directory() {
    let w = World::new();
    w.write("bin/tool", "#!/bin/sh\ncat \"$1\" > \"$2\"\n");
    w.write("in", "1\n");
    w.write("one/in", "1\n");
    w.sh("chmod +x bin/tool");
    let tool = |w: &World| w.path("bin/tool").display().to_string();
    w.write("Makefile", &format!("out:\n\t{} in out\n", tool(&w)));
    assert_eq!(w.run(&["make"]).code(), Some(0));
    w.sh("rm out");
    w.write("bin/tool", "#!/bin/sh\n# another\ncat \"$1\" > \"$2\"\n");
    assert_eq!(w.run(&["make"]).code(), Some(0));
    let out = explain(&w, &["out"]);
    assert!(differences(&out).iter().any(|l| l.contains("bin/tool` was replaced in place")), "{out}");
    assert!(out.contains("to do: nothing: the results of the earlier program are kept"), "{out}");
    // The same command in another directory makes the same file.
    let text = format!("{} in {}", tool(&w), w.path("out").display());
    assert_eq!(w.xl_run("exec", &["sh", "-c", &text]).code(), Some(0));
    let o = w.xl(&["exec", "--", "sh", "-c", &text]).current_dir(w.path("one")).output().unwrap();
    assert!(o.status.success());
    let out = explain(&w, &["out"]);
    assert!(differences(&out).contains(&"directory: `.` → `one`"), "{out}");
}

#[test]
fn what_cannot_be_told() {
    let w = World::new();
    let fails = |w: &World, words: &[&str]| {
        let o = w.xl(&[&["explain"], words].concat()).output().unwrap();
        assert_eq!(o.status.code(), Some(2), "{words:?}");
        String::from_utf8_lossy(&o.stderr).into_owned()
    };
    assert!(fails(&w, &["x"]).contains("xl: error: no build of this workspace is recorded\n"));
    w.write("Makefile", "main.o:\n\tsh -c 'date +%N > main.o'\n");
    w.run(&["make"]);
    assert_eq!(fails(&w, &["mian.o"]), "xl: error: nothing made `mian.o` in build 1\n  hint: did you mean `main.o`?\n");
    assert!(fails(&w, &["--build", "9"]).contains("no build 9 is known"));
    assert!(fails(&w, &["#9"]).contains("build 1 has no command #9\n  hint: `xl log 1` lists its commands"));
    let out = explain(&w, &["main.o"]);
    assert!(out.contains("no earlier run of what makes `main.o` is recorded"), "{out}");
    let out = if out.contains("uncacheable") { out } else { panic!("{out}") };
    assert!(out.contains("its result is not stored: ") && out.contains("to do: it runs each time until"), "{out}");
    w.sh("rm main.o");
    w.run(&["make"]);
    let out = explain(&w, &["main.o"]);
    assert!(out.contains("the same command ran in build 1, and its result was not stored: "), "{out}");
}

/// Two builds of one machine, and one of another machine whose cache has another key.
#[test]
fn two_builds() {
    let mut w = built();
    again(&w, "", &["make"]);
    // A hit of the one is a hit of the other.
    let out = explain(&w, &["--diff", "1", "2"]);
    assert_eq!(out, "build 1: 4 commands, 0 hits; build 2: 4 commands, 4 hits; 4 with the same result\n");
    w.write("a.h", "#define A 1\n");
    w.env.insert("LC_ALL".into(), "C".into());
    again(&w, "", &["make", "FLAGS=-O2"]);
    // What hit is known by the run that made its result.
    let out = explain(&w, &["--diff", "2", "3"]);
    for lines in [
        "1 command: `main.o`\n    argument `-O1` → `-O2`\n    content of `a.h` changed\n    variable LC_ALL has another value\n",
        "1 command: `util.o`\n    argument `-O1` → `-O2`\n    variable LC_ALL has another value\n",
        "2 commands: `prog`, `lib.a`\n    variable LC_ALL has another value\n",
    ] {
        assert!(out.contains(lines) || out.contains(&lines.replace("`prog`, `lib.a`", "`lib.a`, `prog`")), "{out}");
    }
    let json: serde_json::Value = serde_json::from_str(&explain(&w, &["--diff", "2", "3", "--json"])).unwrap();
    assert_eq!((json["same"].as_u64(), json["hits"][1].as_u64()), (Some(0), Some(0)), "{json:#}");

    let file = w.path("build.json").display().to_string();
    let log = |words: &[&str]| w.xl(&[&["log"], words].concat()).output().unwrap();
    assert!(log(&["2", "--export", &file]).status.success());
    let there = w.path("../there").display().to_string();
    let o = log(&["--import", &file, "--cache-dir", &there]);
    assert_eq!(String::from_utf8_lossy(&o.stdout), "build 1\n", "{}", String::from_utf8_lossy(&o.stderr));
    // It is no build of this workspace.
    let o = log(&["--cache-dir", &there]);
    assert!(o.stdout.is_empty(), "{}", String::from_utf8_lossy(&o.stdout));
    w.sh("rm -f prog *.o *.a");
    let o = w.xl(&["run", "--cache-dir", &there, "--", "make"]).output().unwrap();
    assert!(o.status.success());
    let out = explain(&w, &["--diff", "1", "2", "--cache-dir", &there]);
    let head = "build 1: 4 commands, 4 hits; build 2: 4 commands, 0 hits; 2 with the same result\n";
    assert!(
        out.starts_with(&format!("{head}1 command: `main.o`\n    content of `a.h` changed\n1 command: `prog`\n")),
        "{out}"
    );
    assert!(out.contains("variables are not compared"), "{out}");
    for (bad, why) in [("Makefile", "no build that"), ("nowhere", "cannot read"), ("bare.json", "it was not exported")]
    {
        std::fs::write(w.path("bare.json"), log(&["2", "--json"]).stdout).unwrap();
        let o = log(&["--import", &w.path(bad).display().to_string()]);
        let said = String::from_utf8_lossy(&o.stderr).into_owned();
        assert!(o.status.code() == Some(2) && said.contains(why), "{bad}: {said}");
    }
    let all = String::from_utf8_lossy(&log(&["--all", "--cache-dir", &there]).stdout).into_owned();
    assert!(all.lines().count() == 2 && all.contains("  imported: "), "{all}");
}
