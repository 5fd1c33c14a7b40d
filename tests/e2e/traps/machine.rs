//! More stale-hit traps: what compilers, shells and the machine around a command depend on.

use super::{Trap, spring, trap};
use crate::backends::results;
use crate::world::World;

#[test]
fn compilers() {
    spring(&trap(
        "a shared library of a tool",
        "echo 'int v(void) { return 1; }' > v.c; gcc -shared -fPIC v.c -o libv.so; echo 'int v(void); int main(void) \
            { return v(); }' > m.c; gcc m.c -L. -lv -Wl,-rpath,. -o m",
        "./m; echo $?",
        "echo 'int v(void) { return 2; }' > v.c; gcc -shared -fPIC v.c -o libv.so",
    ));
    spring(&trap(
        "a compiler replaced in place, of equal size and time",
        "printf '#!/bin/sh\\nexec gcc -DV=1 \"$@\"\\n' > cc1x; chmod +x cc1x; touch -d @1000 cc1x; echo 'int v = V;' \
            > a.c",
        "./cc1x -S a.c -o a.s",
        "printf '#!/bin/sh\\nexec gcc -DV=2 \"$@\"\\n' > cc1x; touch -d @1000 cc1x",
    ));
    spring(&trap(
        "a precompiled header appears",
        "echo '#define V 1' > v.h; printf '#include \"v.h\"\\nint v = V;\\n' > a.c",
        "gcc -S a.c -o a.s; rm -f v.h.gch",
        "echo '#define V 2' > v2.h; gcc -x c-header v2.h -o v.h.gch",
    ));
    spring(
        &trap(
            "a precompiled header goes stale",
            "echo '#define V 1' > v.h; gcc v.h -o v.h.gch; printf '#include \"v.h\"\\nint v = V;\\n' > a.c",
            "gcc -S a.c -o a.s; rm -f v.h.gch",
            "echo '#define V 3' > v.h; gcc v.h -o v.h.gch",
        )
        .unstored("was not seen being made"),
    );
    spring(&trap(
        "a module of C++",
        "printf 'export module m;\\nexport constexpr int v() { return 1; }\\n' > m.cc; g++ -std=c++20 -fmodules-ts -c \
            m.cc; printf 'import m;\\nint x = v();\\n' > a.cc",
        "g++ -std=c++20 -fmodules-ts -S a.cc -o a.s; grep -c 'long.1' a.s; rm -rf gcm.cache m.o",
        "sed -i s/1/2/ m.cc; g++ -std=c++20 -fmodules-ts -c m.cc",
    ));
    spring(&trap(
        "an included binary",
        "printf abc > b; printf '.incbin \"b\"\\n' > a.s",
        "as a.s -o a.o",
        "printf abd > b",
    ));
    spring(&trap(
        "a linker script",
        "echo 'int main(void) { return 0; }' > a.c; gcc -c a.c; echo 'INPUT(a.o)' > libq.so; echo 'int q = 1;' > q.c; \
            gcc -c q.c",
        "gcc -L. -lq -o p; nm p | grep -c ' q$'; true",
        "echo 'INPUT(a.o q.o)' > libq.so",
    ));
    spring(&trap(
        "a library earlier in the path",
        "mkdir e l; echo 'int v(void) { return 1; }' > v.c; gcc -c v.c; ar cr l/libv.a v.o; echo 'int v(void); int \
            main(void) { return v(); }' > m.c",
        "gcc m.c -Le -Ll -lv -o m; ./m; echo $?",
        "echo 'int v(void) { return 2; }' > v.c; gcc -c v.c; ar cr e/libv.a v.o",
    ));
    spring(&trap(
        "a specs file",
        "echo 'int a;' > a.c",
        "gcc -specs=sp -S a.c -o a.s 2>&1; ls",
        "printf '*cpp:\\n-DX\\n' > sp",
    ));
    spring(&trap(
        "profile data",
        "echo 'int main(int c, char **v) { int s = 0; for (int i = 0; i < 10 * c; i++) s += i; return s & 1; }' > a.c",
        "gcc -frandom-seed=1 -O2 -fprofile-use -Wno-missing-profile -S a.c -o a.s; rm -f a.gcda",
        "gcc -frandom-seed=1 -O2 -fprofile-generate -c a.c && gcc -fprofile-generate a.o -o q; ./q; rm -f q a.o a.gcno",
    ));
}

/// There is no second processor here: that it is observed has to do.
#[test]
fn what_is_best_for_this_processor() {
    for text in ["sh build.sh", "gcc @options -c a.c", "gcc @outer -c a.c", "gcc -march=native -c a.c"] {
        let w = World::new();
        w.write("a.c", "int a;\n");
        w.write("options", "-march=native\n");
        w.write("outer", "-O1 '@options'\n");
        w.write("build.sh", "gcc -march=native -c a.c\n");
        assert_eq!(w.pip(text).pips("miss"), 1);
        assert!(results(&w).values().flatten().any(|o| o == "Fact(Processor)"), "{text}: {:?}", results(&w));
    }
}

#[test]
fn files_and_names() {
    let traps = [
        trap(
            "a link retargeted in the middle",
            "mkdir -p a/1 a/2; echo 1 > a/1/f; echo 2 > a/2/f; ln -s 1 a/cur; ln -s a/cur top",
            "cat top/f",
            "ln -sfn 2 a/cur",
        ),
        trap("a link that dangles", "echo x > f; ln -s f l", "cat l 2>&1; true", "rm f"),
        trap(
            "a link becomes a file of the same content",
            "echo x > f; ln -s f l",
            "test -L l && echo link || echo file",
            "rm l; echo x > l",
        ),
        trap(
            "an executable bit",
            "printf '#!/bin/sh\\necho ran\\n' > t; chmod 755 t",
            "./t 2>/dev/null || echo no",
            "chmod 644 t",
        ),
        trap("the umask", "true", "umask; touch f; stat -c %a f", "true").with_umask(),
        trap("a glob in a deeper directory", "mkdir -p d/e; touch d/e/a", "find d -type f | sort", "touch d/e/b"),
        trap("a hidden file", "mkdir d", "ls -A d", "touch d/.h"),
        trap("a type in a listing", "mkdir d; touch d/x", "find d -type d", "rm d/x; mkdir d/x"),
        trap("a size in a listing", "mkdir d; echo 1 > d/x", "find d -size -3c -type f", "echo 12345 > d/x"),
        trap(
            "tar keeps times",
            "mkdir d; echo 1 > d/x; touch -d @1000 d/x d",
            "tar cf o.tar --owner=0 --group=0 d",
            "touch -d @2000 d/x",
        ),
        trap(
            "install -p keeps times",
            "echo 1 > a; touch -d @1000 a",
            "install -p a b; stat -c %Y b",
            "touch -d @2000 a",
        ),
        trap(
            "a creation that fails for want of a directory",
            "true",
            "sh -c 'set -C; echo 1 > no/n' 2>/dev/null; echo $?; ls",
            "mkdir no",
        ),
        trap("a failing mkdir", "true", "mkdir no/n 2>/dev/null; echo $?; ls", "mkdir no"),
        trap("moving without overwriting", "echo 1 > a", "cp a c; mv -n c b; cat b", "echo 2 > b"),
        trap("a loop of links", "ln -s q q", "cat q 2>/dev/null || echo loop", "rm q; echo fine > q"),
        trap("a here-document with a file", "echo 1 > v", "cat - v <<E\nhere\nE", "echo 2 > v"),
        trap(
            "access rights as another user sees them",
            "echo x > f",
            "test -w f && echo w; test -x f || echo nx",
            "chmod 777 f",
        ),
        trap(
            "awk reads a second file",
            "echo 1 > a; echo 2 > b",
            "awk '{ s += $1 } END { print s }' a b",
            "echo 5 > b",
        ),
        trap(
            "git describe",
            "git init -q . && GIT_AUTHOR_DATE='@1000 +0000' GIT_COMMITTER_DATE='@1000 +0000' git -c user.name=x -c \
                user.email=x@x commit -q --allow-empty -m 1 && git tag v1",
            "git describe --tags --always",
            "git tag -d v1 >/dev/null; git tag v2",
        ),
        trap("a locale file", "mkdir loc", "LOCPATH=$PWD/loc LC_ALL=xx_XX printf '%s\\n' x; ls loc", "mkdir loc/xx_XX"),
        trap(
            "perl's module",
            "mkdir lib; echo 'package M; $v = 1; 1;' > lib/M.pm",
            "perl -Ilib -MM -e 'print $M::v'",
            "echo 'package M; $v = 2; 1;' > lib/M.pm",
        ),
        trap(
            "a Python module that shadows",
            "echo 'import json; print(json.__name__, hasattr(json, \"x\"))' > p.py",
            "python3 -B p.py",
            "echo 'x = 1' > json.py",
        ),
        trap(
            "a Python package's new member",
            "mkdir k; echo > k/__init__.py; echo 'import importlib.util; print(importlib.util.find_spec(\"k.z\") is \
                not None)' > p.py",
            "python3 -B p.py",
            "echo > k/z.py",
        ),
        trap("a file replaced by one of another kind", "echo x > f", "cat f 2>&1; true", "rm f; mkdir f"),
        trap("an empty file against none", ": > f", "cat f 2>/dev/null && echo there || echo not", "rm f"),
        trap(
            "one bit in a large file",
            "head -c 3000000 /dev/zero > big",
            "cksum big",
            "printf x | dd of=big bs=1 seek=2999999 conv=notrunc 2>/dev/null",
        ),
        trap(
            "a path beyond one component's limit",
            "mkdir -p $(printf 'ddddddddd/%.0s' $(seq 60)); echo 1 > $(printf 'ddddddddd/%.0s' $(seq 60))f",
            "cat $(printf 'ddddddddd/%.0s' $(seq 60))f",
            "echo 2 > $(printf 'ddddddddd/%.0s' $(seq 60))f",
        ),
        trap("a long command line", "echo 1 > v", "true $(seq 1 20000) ; cat v", "echo 2 > v"),
        trap(
            "an extended attribute",
            "echo x > f",
            "python3 -c 'import os; print(os.listxattr(\"f\"))'",
            "python3 -c 'import os; os.setxattr(\"f\", \"user.a\", b\"1\")'",
        ),
        trap(
            "extended attributes, after a look, by descriptor",
            "echo x > f",
            "python3 -c 'import os; os.stat(\"f\"); print(os.listxattr(os.open(\"f\", 0)))'",
            "python3 -c 'import os; os.setxattr(\"f\", \"user.a\", b\"1\")'",
        ),
        trap(
            "extended attributes that are copied",
            "echo x > f",
            "cp -a f g; python3 -c 'import os; print(os.listxattr(\"g\"))'",
            "python3 -c 'import os; os.setxattr(\"f\", \"user.a\", b\"1\")'",
        ),
        trap(
            "files that are changed by who asked for their extended attributes",
            "echo x > f",
            "ls -l f | cut -c1-10 > o; echo y >> f; sed -i s/y/z/ f; mv f g",
            "echo w > f",
        ),
        trap(
            "extended attributes, after a change of mode",
            "echo x > f",
            "chmod 600 f; python3 -c 'import os; print(os.listxattr(\"f\"))'",
            "python3 -c 'import os; os.setxattr(\"f\", \"user.a\", b\"1\")'",
        ),
        trap(
            "extended attributes, after more was written",
            "echo x > f",
            "echo y >> f; python3 -c 'import os; print(os.listxattr(\"f\"))'",
            "python3 -c 'import os; os.setxattr(\"f\", \"user.a\", b\"1\")'",
        ),
        trap("the owner, after more was written", "echo x > f", "echo y >> f; stat -c %u f", "chown 1 f"),
        trap("the owner, after a change of mode", "echo x > f", "chmod 600 f; stat -c %u f", "chown 1 f"),
        trap("the owner of what is moved", "echo x > f", "mv f g; stat -c %u g", "chown 1 f"),
        trap("the group of a directory", "mkdir d; echo x > f", "mv f d/g; stat -c %g d/g", "chown :1 f"),
        trap(
            "extended attributes of what is moved",
            "echo x > f",
            "mv f g; python3 -c 'import os; print(os.listxattr(\"g\"))'",
            "python3 -c 'import os; os.setxattr(\"f\", \"user.a\", b\"1\")'",
        ),
        trap("the number of links", "echo x > f", "stat -c %h f", "ln f g"),
        trap("ulimit", "true", "ulimit -f", "true").with_limit(),
    ];
    traps.iter().for_each(spring);
}

/// Times that nobody compares, but that go into what is made.
#[test]
fn times_that_are_handed_on() {
    const COPIER: &str = "printf '#include <fcntl.h>\n#include <sys/stat.h>\n#include <unistd.h>\nint main() { char \
        b[9]; struct stat s; int i = open(\"a\", 0), n = read(i, b, 9), o = creat(\"b\", 0644); fstat(i, &s); \
        write(o, b, n); struct timespec t[] = { s.st_atim, s.st_mtim }; futimens(o, t); }\n' > c.c; gcc c.c -o copier";
    let source = "echo 'int main() { return 0; }' > a.c; gcc -c a.c; gcc a.o -o a; touch -d @1000 a.o a; ";
    let later = "touch -d @3000 a.o a";
    let with = |more: &str| format!("{source}{more}");
    const MOVER: &str = "printf '#include <stdio.h>\n#include <sys/stat.h>\nint main() { struct stat s; \
        rename(\"a\", \"b\"); stat(\"b\", &s); if (s.st_mtime > 2000) creat(\"late\", 0644); }\n' > m.c; gcc -w m.c \
        -o mover";
    let mover = with(MOVER);
    let other = format!("/dev/shm/xl-trap-{}", std::process::id());
    let away = format!("mv a {other}; mv {other} b; stat -c %Y b");
    let (copier, cmake) = (with(COPIER), with("printf 'file(INSTALL a DESTINATION %s/d)' $PWD > i.cmake"));
    let traps = [
        trap("by a tool of the build's own", &copier, "./copier; stat -c %Y b", later),
        trap("by cmake", &cmake, "cmake -P i.cmake; stat -c %Y d/a", later),
        trap("by strip", source, "strip -p a -o b; stat -c %Y b", later),
        trap("by objcopy", source, "objcopy --preserve-dates a b; stat -c %Y b", later),
        trap("by ar", source, "ar rcUS l.a a.o; ar tv l.a", later),
        trap("by xz", source, "xz -k a; stat -c %Y a.xz", later),
        trap(
            "by gzip with a suffix",
            "echo text > a.c; touch -d @1000 a.c",
            "gzip -c -S .gz < a.c | od -An -tx1",
            "touch -d @3000 a.c",
        ),
        trap(
            "by gzip from a descriptor",
            "echo text > a.c; touch -d @1000 a.c",
            "gzip -c < a.c | od -An -tx1",
            "touch -d @3000 a.c",
        ),
        // Who changes only the mode leaves the time.
        trap(
            "after a change of mode, compared",
            source,
            "chmod 600 a.o; if [ a.o -nt a ]; then echo newer; fi",
            "touch -d @3000 a.o",
        ),
        trap("after a change of mode, packed", source, "chmod 600 a; tar cf t.tar a", later),
        trap("after a change of mode, copied", source, "chmod 600 a; cp -p a b; stat -c %Y b", later),
        trap("after a change of mode, moved", source, "chmod 600 a; mv a b; stat -c %Y b", later),
        trap("after a move, shown", source, "mv a b; stat -c %Y b", later),
        trap("after two moves, packed", source, "mv a c; mv c b; tar cf t.tar b", later),
        trap("after a move, compared by a tool of the build's own", &mover, "./mover; ls", later),
        trap("by a move to another file system", source, &away, "touch -d @1500 a"),
        trap(
            "of what need not be installed again",
            "echo 1 > f; install f g; touch -d @1000 g",
            "install -C f g; stat -c %Y g",
            "touch -d @3000 g",
        ),
    ];
    traps.iter().for_each(spring);
    spring(&Trap {
        name: "the width of a terminal",
        setup: "mkdir d; touch d/a-long-name d/another-name d/one-more-name",
        command: "ls -C d",
        change: "true",
        prefix: "",
        env: &[("COLUMNS", "20")],
        unstored: None,
    });
}

#[test]
fn variables() {
    let mut w = World::new();
    w.write("a.c", "#include <v.h>\nint v = V;\n");
    w.write("one/v.h", "#define V 1\n");
    w.write("two/v.h", "#define V 2\n");
    let mut compile = |value: Option<&str>| {
        match value {
            Some(v) => w.env.insert("CPATH".into(), v.into()),
            None => w.env.remove("CPATH"),
        };
        w.sh("rm -f a.s");
        let r = w.xl_run("exec", &["gcc", "-S", "a.c"]);
        (r.code(), w.path("a.s").exists().then(|| w.read("a.s").contains("long\t2")))
    };
    assert_eq!(compile(Some("one")), (Some(0), Some(false)));
    assert_eq!(compile(Some("two")), (Some(0), Some(true)));
    assert_eq!(compile(None).0, Some(1));
    assert_eq!(compile(Some("one")), (Some(0), Some(false)));
    // argv[0], the working directory, and what a script makes of them.
    let w = World::new();
    w.sh("printf '#include <stdio.h>\\nint main(int c, char **v) { puts(v[0]); return 0; }\\n' > m.c; gcc m.c -o m; \
        ln -s m n");
    let say = |t: &str| w.xl_run("exec", &["sh", "-c", t]).stdout();
    assert_eq!([say("./m"), say("./n"), say("./m")], ["./m\n", "./n\n", "./m\n"]);
    w.sh("mkdir -p x y");
    let pwd = |d: &str| {
        let mut c = w.xl(&["exec", "--summary", "off", "--", "/bin/pwd", "-P"]);
        String::from_utf8(c.current_dir(w.path(d)).output().unwrap().stdout).unwrap()
    };
    for _ in 0..2 {
        assert!(pwd("x").ends_with("/x\n") && pwd("y").ends_with("/y\n"));
    }
}
