//! Precompiled headers: they know times that no source shows, those of their sources and, through macros, the clock's.

use crate::world::{Run, World};

fn tree(header: &str, compile: &str, form: &str, uses: &str) -> World {
    let w = World::new();
    w.write("v.h", header);
    w.write("a.c", "#include \"v.h\"\nint a = V;\nchar *t = T;\n");
    w.write("Makefile", &format!("a.o: a.c v.h {form}\n\t{uses} -c a.c\n{form}: v.h\n\t{compile}\n"));
    w
}

fn gcc(header: &str) -> World {
    tree(header, "gcc v.h -o v.h.gch", "v.h.gch", "gcc")
}

fn clang(more: &str) -> World {
    let flags = format!("clang {more} -x c-header v.h -o v.pch");
    tree("#pragma once\n#define V 1\n#define T 0\n", &flags, "v.pch", "clang -include-pch v.pch")
}

fn again(w: &World) -> Run {
    w.sh("rm -f a.o v.h.gch v.pch");
    w.run(&["make"])
}

#[test]
fn who_uses_one_hits() {
    for w in [gcc("#define V 1\n#define T 0\n"), clang("")] {
        assert_eq!(again(&w).code(), Some(0));
        let r = again(&w);
        assert_eq!((r.pips("hit"), r.pips("miss")), (2, 0), "{}", r.story());
        // Another content is another header.
        w.sh("sed -i 's/V 1/V 2/' v.h");
        let r = again(&w);
        assert_eq!((r.code(), r.pips("hit")), (Some(0), 0), "{}", r.story());
    }
}

#[test]
fn a_clock_inside_is_no_result() {
    let w = gcc("#define V 1\n#define T __TIME__\n");
    for made in ["miss", "hit"] {
        // It is not asked until somebody uses the macro.
        let r = again(&w);
        assert_eq!((r.code(), r.pips(made), r.pips("uncacheable")), (Some(0), 1, 1), "{}", r.story());
    }
    let w = gcc("#define V 1\n#define T 0\nstatic char *now = __TIME__;\n");
    for _ in 0..2 {
        let r = again(&w);
        assert_eq!((r.code(), r.pips("uncacheable")), (Some(0), 2), "{}", r.story());
    }
    // Made by somebody else: nobody can tell.
    let w = gcc("#define V 1\n#define T 0\n");
    w.sh("make v.h.gch");
    let r = w.run(&["make"]);
    assert!(r.pips("uncacheable") == 1 && r.story().contains("was not seen being made"), "{}", r.story());
}

#[test]
fn clang_compares_the_times_of_sources() {
    let w = clang("");
    assert_eq!(again(&w).code(), Some(0));
    // The header is newer, the user of the precompiled one is compiled for another reason: it must find the times that
    // it expects.
    w.sh("touch -d '+2 sec' v.h; echo 'int b;' >> a.c");
    let r = w.run(&["make"]);
    assert_eq!((r.code(), r.pips("hit")), (Some(0), 0), "{}{}", r.story(), r.stderr());
    assert!(w.sh("make -B").status.success());
    // A rule that does not know of the header: plainly this fails, and so it does here.
    w.write("Makefile", "a.o: a.c v.h\n\tclang -include-pch v.pch -c a.c\n");
    assert_eq!(w.run(&["make", "-B"]).code(), Some(0));
    w.sh("sed -i 's/V 1/V 2/' v.h; touch -d '+4 sec' v.h; rm a.o");
    assert_eq!(w.run(&["make"]).code(), Some(2));
    // Two of one command, of which one holds times.
    let both = "clang -Xclang -fno-pch-timestamp -x c-header u.h -o u.pch && clang -x c-header v.h -o v.pch";
    let w = tree("#pragma once\n#define V 1\n#define T 0\n", both, "v.pch", "clang -include-pch v.pch");
    w.write("u.h", "int u;\n");
    assert_eq!(again(&w).code(), Some(0));
    w.sh("touch -d '+2 sec' v.h");
    assert_eq!(again(&w).code(), Some(0));
    // Without times in it there is nothing to compare.
    let w = clang("-Xclang -fno-pch-timestamp");
    assert_eq!(again(&w).code(), Some(0));
    w.sh("touch -d '+2 sec' v.h");
    let r = again(&w);
    assert_eq!((r.code(), r.pips("hit")), (Some(0), 2), "{}", r.story());
}
