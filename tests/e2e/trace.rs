//! `xl trace` against strace: what two independent tracers saw of the same command must agree.

use crate::world::World;
use serde_json::Value;
use std::collections::BTreeSet;

/// Names that strace saw opened for reading, and looked for in vain, by a plain reading of its log.
fn strace(w: &World, cmd: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let log = w.path("../strace.log");
    let out = w.sh(&format!("strace -f -y -qq -s 4096 -e trace=open,openat,stat,lstat,newfstatat,access,faccessat,faccessat2,statx,execve -e signal=none -o {} {cmd}", log.display()));
    assert!(out.status.success(), "{cmd}: {}", String::from_utf8_lossy(&out.stderr));
    let text = std::fs::read_to_string(&log).expect("strace's log");
    let (mut read, mut absent) = (BTreeSet::new(), BTreeSet::new());
    for l in text.lines() {
        let Some((_, call)) = l.split_once(' ') else { continue };
        let Some(name) = call.split('"').nth(1).filter(|n| n.starts_with('/')) else { continue };
        if call.contains("ENOENT") {
            absent.insert(name.to_owned());
        } else if call.trim_start().starts_with("open")
            && !call.contains("O_WRONLY")
            && !call.contains("O_RDWR")
            && !call.contains("O_DIRECTORY")
            && call.contains(" = ")
            && let Some(real) = call.rsplit(" = ").next().and_then(|r| r.split_once('<')).and_then(|(_, r)| r.strip_suffix('>'))
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
    let clean = |w: &World| drop(w.sh("rm -rf -- * ; touch xl.toml"));
    clean(&w);
    prepare(&w);
    let out = w.xl(&["trace", "--json", "--", "sh", "-c", &format!("exec {cmd}")]).output().expect("xl");
    let text = String::from_utf8_lossy(&out.stdout);
    let json = text.find("{\n").map(|i| &text[i..]).unwrap_or_default();
    let t: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {text}"));
    let ordinary = |p: &String| !p.starts_with("/proc") && !p.starts_with("/dev") && !p.starts_with("/sys") && !p.starts_with("/tmp/cc");
    let (seen_read, seen_absent) = (set(&t, "read"), set(&t, "absent"));
    let known: BTreeSet<String> = ["inputs", "probed", "listed", "written", "temps", "symlinks"].iter().flat_map(|k| set(&t, k)).collect();
    let lost: Vec<_> = read.iter().filter(|p| ordinary(p) && !seen_read.contains(*p)).collect();
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
        .filter(|p| !p.contains("/..") && !seen_absent.contains(p) && !known.contains(p))
        .collect();
    assert!(lost.is_empty(), "{cmd}: strace saw these missing, xl did not: {lost:?}");
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
