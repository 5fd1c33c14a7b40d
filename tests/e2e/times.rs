//! Modification times that are inputs: rows for tools that are known, and for all others the evidence in what they
//! made. In both directions: another time is a miss where the result shows it, and a hit where it does not.

use crate::world::{World, skip};

/// A generator that nobody knows: looks at its file (by name, or through the open file), reads it, and writes its time
/// in a form.
const GEN: &str = r##"
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
int main(int c, char **v) {
    struct stat s; char b[99]; FILE *f = fopen(v[2], "r");
    if (c > 3) fstat(fileno(f), &s); else stat(v[2], &s);
    printf("content %.*s", (int)fread(b, 1, sizeof b, f), b);
    long long t = s.st_mtime; uint32_t small = t; uint64_t ms = t * 1000 + s.st_mtim.tv_nsec / 1000000, order = __builtin_bswap64(t);
    switch (*v[1]) {
    case 's': printf("#define T %lldL\n", t); break;
    case 'm': printf("%llu\n", (unsigned long long)ms); break;
    case 'o': printf("%llo\n", t); break;
    case '4': fwrite(&small, 4, 1, stdout); fputc(0, stdout); break;
    case '8': fwrite(&order, 8, 1, stdout); break;
    case 'M': fwrite(&ms, 8, 1, stdout); break;
    case 'c': fputs(ctime(&s.st_mtime), stdout); break;
    case 'd': strftime(b, sizeof b, "made of a file of %B %d, %Y\n", localtime(&s.st_mtime)); fputs(b, stdout); break;
    case 'i': strftime(b, sizeof b, "%Y%m%dT%H%M%SZ\n", gmtime(&s.st_mtime)); fputs(b, stdout); break;
    case 'z': printf("size %lld\n", (long long)s.st_size); break;
    }
    return 0;
}
"##;

const TIMES: [&str; 2] = ["2024-06-01T10:20:30.25", "2025-03-04T05:06:07.5"];

/// Does `text` run again when `file` has another time? If so, it makes then what it makes without `xl`.
fn minds(w: &World, text: &str, file: &str) -> bool {
    let set = |time: &str| w.sh(&format!("touch -h -d {time} {file}; rm -rf out"));
    set(TIMES[0]);
    let first = w.pip(text);
    assert_eq!(first.pips("miss"), 1, "`{text}`: {}", first.story());
    set(TIMES[0]);
    let again = w.pip(text);
    assert_eq!(again.pips("hit"), 1, "`{text}` with the same time: {}", again.story());
    set(TIMES[1]);
    let (other, made) = (w.pip(text), std::fs::read(w.path("out")).ok());
    set(TIMES[1]);
    let plain = w.sh(text);
    assert_eq!(
        (other.output.stdout.as_slice(), made),
        (plain.stdout.as_slice(), std::fs::read(w.path("out")).ok()),
        "`{text}`"
    );
    other.pips("hit") == 0
}

#[test]
fn what_shows_a_time_depends_on_it() {
    let w = World::new();
    w.write("gen.c", GEN);
    w.write("in", "words\n");
    assert!(w.sh("gcc gen.c -o gen; touch -d 2001-02-03 gen gen.c").status.success());
    for form in ["s", "m", "o", "4", "8", "M", "c", "d", "i"] {
        assert!(minds(&w, &format!("./gen {form} in >out"), "in"), "form {form}");
    }
    // Through the open file nobody sees it asked for; and what is printed counts as what is made.
    assert!(
        minds(&w, "./gen s in open >out", "in") && minds(&w, "./gen c in", "in") && minds(&w, "./gen 4 in open", "in")
    );
    for (text, file) in [
        ("./gen z in >out", "in"),
        ("./gen z in open", "in"),
        ("./gen s in >out; :", "gen.c"),
        ("gcc -c gen.c -o out", "gen.c"),
    ] {
        assert!(!minds(&w, text, file), "{text}, {file}");
    }
}

#[test]
fn headers_may_be_touched() {
    let w = World::new();
    w.write("a.c", "#include \"a.h\"\nint a = A;\n");
    w.write("a.h", "#define A 1\n");
    assert!(!minds(&w, "gcc -g -c a.c -o out", "a.c a.h") && !minds(&w, "gcc -g a.c -c -o a.o; ar rcs out a.o", "a.h"));
}

#[test]
fn tools_that_are_known() {
    let mut w = World::new();
    w.write("res.txt", "hello\n");
    w.write("r.qrc", "<RCC><qresource><file>res.txt</file></qresource></RCC>");
    w.write("d/f", "hello\n");
    let rcc = "PATH=$PATH:/usr/lib/qt5/bin:/usr/lib/qt6/libexec rcc";
    for (tool, text, file) in [
        ("rcc", format!("{rcc} r.qrc -o out"), "res.txt"),
        ("rcc", format!("{rcc} --binary r.qrc -o out"), "res.txt"),
        ("mksquashfs", "mksquashfs d out -quiet -no-progress >/dev/null".to_owned(), "d/f"),
        ("zip", "zip -qX out.zip res.txt; mv out.zip out".to_owned(), "res.txt"),
    ] {
        if !w.sh(&format!("PATH=$PATH:/usr/lib/qt5/bin:/usr/lib/qt6/libexec command -v {tool}")).status.success() {
            skip(&format!("there is no {tool}"));
            continue;
        }
        // Without it the time of the run is in what it makes; `rcc` takes it for the time of every file.
        let epoch = (tool == "mksquashfs").then(|| ("SOURCE_DATE_EPOCH".to_owned(), "2000000000".to_owned()));
        w.env = epoch.into_iter().collect();
        assert!(minds(&w, &text, file), "{text}");
    }
}

/// `mv -u` and `cp -u` decide by two times; without that option there is nothing to decide.
#[test]
fn an_update_compares() {
    for (text, minds) in
        [("mv -u a b", true), ("mv --update a b", true), ("cp -u a b", true), ("mv a b", false), ("cp a b", false)]
    {
        let w = World::new();
        let prepare =
            |of_a: u32| w.sh(&format!("echo new >a; echo old >b; touch -d @{of_a} a; touch -d @1600000000 b"));
        for (of_a, hits) in [(1_700_000_000, 0), (1_700_000_000, 1), (1_500_000_000, u64::from(!minds))] {
            prepare(of_a);
            let r = w.pip(text);
            let made = w.read("b");
            assert_eq!(r.pips("hit"), hits, "`{text}`, {of_a}: {}", r.story());
            prepare(of_a);
            w.sh(text);
            assert_eq!(made, w.read("b"), "`{text}`, {of_a}");
        }
    }
}
