//! `xl trace` against strace: what two independent tracers saw of the same command must agree.

use crate::world::World;
use serde_json::Value;
use std::collections::BTreeSet;

/// Names that strace saw opened for reading, and looked for in vain, by a plain reading of its log.
fn strace(w: &World, cmd: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let log = w.path("../strace.log");
    let out = w.sh(&format!(
        "strace -f -y -qq -s 4096 -e \
        trace=open,openat,stat,lstat,newfstatat,access,faccessat,faccessat2,statx,execve -e signal=none -o {} \
        {cmd}",
        log.display()
    ));
    assert!(out.status.success(), "{cmd}: {}", String::from_utf8_lossy(&out.stderr));
    let text = std::fs::read_to_string(&log).expect("strace's log");
    let (mut read, mut absent) = (BTreeSet::new(), BTreeSet::new());
    for l in text.lines() {
        let Some((_, call)) = l.split_once(' ') else { continue };
        let Some(name) = call.split('"').nth(1) else { continue };
        if call.contains("ENOENT") {
            if name.starts_with('/') {
                absent.insert(name.to_owned());
            }
        } else if call.trim_start().starts_with("open")
            && !call.contains("O_WRONLY")
            && !call.contains("O_RDWR")
            && !call.contains("O_DIRECTORY")
            && !call.contains("O_PATH")
            && call.contains(" = ")
            && let Some(real) =
                call.rsplit(" = ").next().and_then(|r| r.split_once('<')).and_then(|(_, r)| r.strip_suffix('>'))
        {
            // A directory that is opened is not read, but looked at.
            if !std::path::Path::new(real).is_dir() {
                read.insert(real.to_owned());
            }
        }
    }
    (read, absent)
}

fn set(v: &Value, key: &str) -> BTreeSet<String> {
    v[key].as_array().expect(key).iter().map(|s| s.as_str().unwrap_or_default().to_owned()).collect()
}

fn agrees(files: &[(&str, &str)], cmd: &str) {
    let prepare = |w: &World| files.iter().for_each(|(n, t)| w.write(n, t));
    let w = World::new();
    prepare(&w);
    let (read, absent) = strace(&w, cmd);
    let clean = |w: &World| drop(w.sh("find . -mindepth 1 -delete; touch xl.toml"));
    clean(&w);
    prepare(&w);
    let before = states(&w);
    let out = w.xl(&["trace", "--json", "--", "sh", "-c", &format!("exec {cmd}")]).output().expect("xl");
    let text = String::from_utf8_lossy(&out.stdout);
    let json = text.find("{\n").map(|i| &text[i..]).unwrap_or_default();
    let t: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {text}"));
    let ordinary = |p: &String| {
        !p.starts_with("/proc") && !p.starts_with("/dev") && !p.starts_with("/sys") && !p.starts_with("/tmp/cc")
    };
    let (seen_read, seen_absent) = (set(&t, "read"), set(&t, "absent"));
    let known: BTreeSet<String> =
        ["inputs", "probed", "listed", "written", "temps", "symlinks"].iter().flat_map(|k| set(&t, k)).collect();
    // Scratch files have another name each time.
    let scratch = |p: &String| std::path::Path::new(p).starts_with(w.tree()) && !std::path::Path::new(p).exists();
    // What it reads of its own doing is no input.
    let own = set(&t, "written");
    let lost: Vec<_> =
        read.iter().filter(|p| ordinary(p) && !scratch(p) && !seen_read.contains(*p) && !own.contains(*p)).collect();
    assert!(lost.is_empty(), "{cmd}: strace saw these read, xl did not: {lost:?}");
    let canonical = |p: &String| {
        let p = &p.trim_end_matches('/').to_owned();
        let dir = std::path::Path::new(p).parent().and_then(|d| d.canonicalize().ok());
        dir.map_or(p.clone(), |d| d.join(std::path::Path::new(p).file_name().unwrap_or_default()).display().to_string())
    };
    let lost: Vec<_> = absent
        .iter()
        .filter(|p| ordinary(p))
        .map(canonical)
        .filter(|p| !p.contains("/..") && !p.contains(".txt.tmp") && !seen_absent.contains(p) && !known.contains(p))
        .collect();
    assert!(lost.is_empty(), "{cmd}: strace saw these missing, xl did not: {lost:?}");
    // In the tree nothing is made up either: what was written is what has changed, what was read strace saw, too.
    let root = w.tree().canonicalize().expect("the tree").display().to_string() + "/";
    let here = |s: BTreeSet<String>| -> BTreeSet<String> {
        s.iter().filter_map(|p| p.strip_prefix(&root)).map(str::to_owned).collect()
    };
    let changed: BTreeSet<String> =
        states(&w).into_iter().filter(|(p, s)| before.get(p) != Some(s)).map(|(p, _)| p).collect();
    assert_eq!(here(set(&t, "outputs")), changed, "{cmd}: outputs");
    let gone: BTreeSet<String> = before.keys().filter(|p| !states(&w).contains_key(*p)).cloned().collect();
    let deleted: BTreeSet<String> = here(set(&t, "deleted"));
    let directory = |p: &String| gone.iter().any(|g| g.starts_with(&format!("{p}/")));
    assert_eq!(deleted.iter().filter(|p| !directory(p)).cloned().collect::<BTreeSet<_>>(), gone, "{cmd}: deleted");
    let invented: Vec<String> = here(seen_read)
        .difference(&here(read))
        .filter(|p| !changed.contains(*p) && w.path(p).exists())
        .cloned()
        .collect();
    assert!(invented.is_empty(), "{cmd}: xl says that these were read, strace does not: {invented:?}");
}

/// Every file and link of the tree, with what changes when it is written.
fn states(w: &World) -> std::collections::BTreeMap<String, String> {
    let out = w.sh("find . -mindepth 1 -not -type d -printf '%P\\t%i %s %T@ %m\\n'");
    let text = String::from_utf8(out.stdout).expect("names that are text");
    text.lines().filter_map(|l| l.split_once('\t')).map(|(p, s)| (p.to_owned(), s.to_owned())).collect()
}

#[test]
fn compilers_and_binutils() {
    let c = [("a.c", "#include <stdio.h>\n#include \"a.h\"\nint main(void) { return A; }\n"), ("a.h", "#define A 0\n")];
    agrees(&c, "gcc -c a.c -o a.o");
    agrees(&c, "gcc a.c -o prog");
    agrees(&[("b.cc", "#include <vector>\nint main() {}\n")], "g++ -c b.cc");
    agrees(&[("s.s", ".globl f\nf: ret\n")], "as s.s -o s.o");
    agrees(&[("x.o", "not an object"), ("y.o", "neither")], "ar crS lib.a x.o y.o");
}

#[test]
fn scripts_and_text_tools() {
    agrees(&[("in", "1\n2\n")], "sed -i s/1/3/ in");
    agrees(&[("m.py", "X = 1\n"), ("p.py", "import json, os, m\nprint(os.listdir('.'), m.X)\n")], "python3 -B p.py");
    agrees(&[("Makefile", "all: o\no: i\n\tcp i o\n"), ("i", "x")], "make -s");
    agrees(&[("f", "x")], "cp -p f g");
}

#[test]
fn twenty_more_tools() {
    let hello = ("h.c", "#include <stdio.h>\nint main(void) { puts(\"x\"); return 0; }\n");
    let made = |w: &str| format!("sh -c '{w}'");
    agrees(&[hello], "clang -c h.c -o h.o");
    agrees(&[hello], &made("gcc -c h.c && gcc -fuse-ld=lld h.o -o p"));
    agrees(&[hello], &made("gcc -c h.c && ld -r h.o -o r.o"));
    agrees(&[hello], &made("gcc -c h.c && ar cr l.a h.o && ranlib l.a && nm l.a"));
    agrees(&[hello], &made("gcc -g h.c -o p && strip p && objcopy --only-section=.text p t && objdump -h t"));
    agrees(&[("g.y", "%{\nint yylex(void); void yyerror(const char *s) {}\n%}\n%%\ns: ;\n%%\n")], "bison -d g.y");
    agrees(&[("l.l", "%option noyywrap\n%%\na ;\n")], "flex l.l");
    agrees(&[("m/M.pm", "package M; 1;\n"), ("p.pl", "use M; open(F, \">o\"); print F 1;\n")], "perl -Im p.pl");
    agrees(&[("in", "1 2\n")], &made("awk \"{ print > FILENAME \\\".o\\\" }\" in"));
    agrees(&[("f", "x")], &made("install -m 755 f g && install -d d/e && install -p f d/e/h"));
    agrees(&[("f", "x")], "mv f g");
    agrees(&[("d/f", "x"), ("d/e/g", "y")], &made("tar cf t.tar d && mkdir o && tar xf t.tar -C o"));
    agrees(&[("f", "x")], &made("git init -q . && git add f && git status --short"));
    agrees(
        &[("CMakeLists.txt", "cmake_minimum_required(VERSION 3.10)\nproject(p NONE)\nfile(WRITE made x)\n")],
        "cmake -S . -B b",
    );
    agrees(&[("f", "3\n1\n")], &made("sort f -o f && uniq f u && split -l 1 u part. && cat part.* > all"));
    agrees(&[("f", "x")], &made("ln -s f soft && cp -P soft copy && cat copy"));
    agrees(&[("f", "x")], &made("gzip -k f && gunzip -c f.gz > g && touch f"));
    agrees(&[("a", "1\n"), ("b", "2\n")], &made("diff a b > d; patch -s a d; cmp a b"));
    agrees(&[("d/x", "1"), ("d/y", "2")], &made("find d -name x -exec cp {} c \\; && rm -r d"));
    let raw = "#include <fcntl.h>\n#include <unistd.h>\nint main(void) { char b[9]; return read(open(\"f\", 0), b, 9) \
        != 3 || creat(\"o\", 0600) < 0; }\n";
    agrees(&[("r.c", raw), ("f", "abc")], &made("gcc -static r.c -o r && ./r"));
}
