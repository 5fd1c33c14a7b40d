//! Traps for what is easily taken for nothing: kinds, modes, links, the way to a name, whose probe it was, times in
//! text, and variables that no dollar sign announces. Each was a wrong hit once.

use super::{Trap, spring, trap};
use crate::world::World;

/// What `setfacl -d -m u::rwx,g::rwx,o::--- d` does (the layout is in the kernel's `posix_acl_xattr.h`).
const ACL: &str = "python3 -c \"import os, struct; none = 2**32 - 1
a = struct.pack('<I' + 3 * 'HHI', 2, 1, 7, none, 4, 7, none, 32, 0, none)
os.setxattr('d', 'system.posix_acl_default', a)\"";

/// What is of a name: whether it is there, of which kind, with which mode, and how many names it has.
#[test]
fn what_a_name_is() {
    let traps = [
        trap("cp -r onto what has become a directory", "mkdir a; echo 1 > a/f", "cp -r a b", "mkdir b"),
        trap("mv of a new directory onto one", "true", "mkdir t; echo 1 > t/x; mv t u", "mkdir u"),
        trap("install -D below a private directory", "echo 1 > a", "install -D a p/q", "mkdir p; chmod 700 p"),
        trap("install -d of what is there", "true", "install -d d; cat d/x; :", "mkdir -m 700 d; echo 1 > d/x"),
        trap("mv -T onto a directory that is not empty", "true", "mkdir s; mv -T s d; echo $?", "mkdir -p d/s"),
        trap(
            "a directory in the place of an empty one",
            "mkdir u",
            "mkdir t; touch t/x; mv -T t u; echo $?",
            "touch u/y",
        ),
        trap("cp -s onto a file", "echo 1 > a", "cp -s $PWD/a d; echo $?", "echo x > d"),
        trap("cp -l onto a file", "echo 1 > a", "cp a b; cp -l b d; echo $?", "echo x > d"),
        trap("cp -s of what is read by nobody", "echo 1 > a", "cp -s a b; cat b", "echo 2 > a"),
        trap(
            "a way through `..`",
            "mkdir d; echo 1 > f",
            "cat d/../f",
            "rmdir d; mkdir -p x/y; echo 2 > x/f; ln -s x/y d",
        ),
        trap("a way through `..` that has gone", "mkdir d; echo 1 > f", "cat d/../f; :", "rmdir d"),
        trap("a link through `..`", "mkdir d; echo 1 > f; ln -s d/../f l", "cat l; :", "rmdir d"),
        trap(
            "an include path through `..`",
            "mkdir lib inc; echo 'int a;' > inc/a.h; echo '#include <a.h>' > a.c",
            "gcc -Ilib/../inc -E -P a.c; :",
            "rmdir lib",
        ),
        trap("a listing, and then a name in it", "echo 1 > a.txt", "ls *.txt; echo 3 > all.txt", "echo q > all.txt"),
        trap("a listing, and then a name out of it", "touch b", "ls; echo 3 > b", "rm b"),
        trap("rmdir of what is not empty any more", "mkdir d; touch d/x", "rmdir d 2>/dev/null; echo done", "rm d/x"),
        trap("rmdir of what is empty no more", "mkdir d", "ls; rmdir d 2>/dev/null; echo x > out", "touch d/x"),
        trap(
            "patch removes directories that it empties",
            r"mkdir d; echo x > d/f; printf -- '--- d/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n' > p",
            "patch -p0 < p",
            "echo y > d/g",
        ),
        trap("the mode of an open file", "echo 1 > a; chmod 644 a", "perl -pi -e s/1/2/ a", "chmod 600 a"),
        trap(
            "the mode of an open file, in a program of the build's own",
            r#"printf '#include <sys/stat.h>\n#include <stdio.h>\n#include <fcntl.h>\nint main(){struct stat a;fstat(open("in",O_RDONLY),&a);printf("%%o\\n",a.st_mode);}' > a.c; gcc a.c -o a; echo 1 > in; chmod 644 in"#,
            "./a",
            "chmod 600 in",
        ),
        trap("the mode of a directory", "mkdir d; chmod 755 d", "chmod 755 d", "chmod 700 d"),
        trap("a directory whose group is inherited", "mkdir d", "mkdir d/e", "chmod g+s d"),
        trap("a directory that says who may use what is new", "mkdir d", "echo x > d/f", ACL),
        trap(
            "the number of a directory's names",
            "mkdir d; touch -d @1000 d",
            "stat -c %h d",
            "mkdir d/x; touch -d @1000 d",
        ),
        trap(
            "dd without making a file",
            "echo 1 > a; echo 2 > f",
            "dd if=a of=f conv=nocreat status=none 2>&1; :",
            "rm f",
        ),
        trap(
            "a lock in a directory for everybody",
            "mkdir t; chmod 1777 t",
            "if mkdir t/lock 2>/dev/null; then echo got; rmdir t/lock; else echo busy; fi",
            "mkdir t/lock",
        ),
        trap("cp of two names of one file", "echo 1 > a; cp a b", "cp a b; echo $?", "rm b; ln a b"),
        trap(
            "an archive of hard links",
            "echo 1 > f; touch -d @1000000000 f; cp -p f d; ln f g; ln d i",
            "tar cf x.tar d f g i; tar tvf x.tar",
            "rm g i; ln f i; ln d g",
        ),
        trap(
            "an archive of names of files elsewhere",
            "mkdir s o; echo 1 > s/a; echo 1 > s/b; ln s/a o/a; ln s/b o/b; touch -d @1000000000 s/a s/b s",
            "tar cf x.tar --sort=name s; tar tvf x.tar",
            "rm s/b o/*; ln s/a s/b; touch -d @1000000000 s/a s",
        ),
        trap(
            "headers that are one file to clang",
            r#"mkdir a b; printf '#pragma once\nstruct s {int x;};\n' > a/h.h; ln a/h.h b/h.h; printf '#include "a/h.h"\n#include "b/h.h"\n' > m.c"#,
            "clang -c m.c; echo $?",
            "rm b/h.h; cp a/h.h b/h.h",
        ),
        trap(
            "headers that are one file to gcc",
            r#"mkdir a b; printf '#pragma once\nstruct s {int x;};\n' > a/h.h; cp a/h.h b/h.h; touch -d @1000000000 a/h.h b/h.h; printf '#include "a/h.h"\n#include "b/h.h"\n' > m.c"#,
            "gcc -c m.c 2>&1; echo $?",
            "touch b/h.h",
        ),
    ];
    traps.iter().for_each(spring);
}

/// A probe may be forgiven to who replaces the name anyway; not if another program makes it later.
#[test]
fn who_looks_and_who_makes() {
    let traps = [
        trap(
            "a library that is made after the link",
            "mkdir A B; echo 'int f(){return 1;}' > f.c; gcc -c f.c; ar rc B/libf.a f.o; echo 'int f(); int \
                main(){return f();}' > m.c; gcc -c m.c",
            "gcc m.o -LA -LB -lf -o m; ./m; echo $?; cat B/libf.a > A/libf.a",
            "echo 'int f(){return 2;}' > f.c; gcc -c f.c; ar rc A/libf.a f.o",
        ),
        trap(
            "an include directory that is made after the compilation",
            r"echo '#define A 1' > h.h; printf '#include <h.h>\nint x=A;\n' > m.c",
            "gcc -Iq -I. -S m.c; grep long m.s; mkdir -p q; echo '#define A 2' > q/h.h",
            "mkdir q; echo '#define A 3' > q/h.h",
        ),
        trap(
            "a warning about a directory that is made later",
            "echo 'int x;' > m.c",
            "gcc -Wmissing-include-dirs -Iq -c m.c 2>&1; mkdir -p q",
            "mkdir q",
        ),
        Trap {
            env: &[("FOO", "1")],
            ..trap(
                "a program of the build's own, called `test`",
                r#"printf '#include <stdio.h>\n#include <stdlib.h>\nint main() { char *f = getenv("FOO"); puts(f ? f : "none"); }\n' > x.c; gcc x.c -o test"#,
                "./test",
                "true",
            )
        },
        Trap {
            env: &[("FOO", "1")],
            ..trap(
                "one called `gen-size`",
                r#"printf '#include <stdio.h>\n#include <stdlib.h>\nint main() { char *f = getenv("FOO"); puts(f ? f : "none"); }\n' > x.c; gcc x.c -o gen-size"#,
                "./gen-size",
                "true",
            )
        },
        trap(
            "one called `install`",
            r#"printf '#include <stdio.h>\n#include <sys/stat.h>\nint main() { struct stat s; int r = stat("d", &s); fprintf(fopen("d", "w"), "%%d", r); }\n' > x.c; gcc x.c -o install"#,
            "./install; cat d",
            "echo x > d",
        ),
        trap(
            "times of what another reads",
            r#"printf '#include <sys/stat.h>\n#include <stdlib.h>\nint main(){struct stat a,b;stat("in",&a);stat("out",&b);return b.st_mtime<a.st_mtime?system("cp in out"):0;}' > a.c; gcc a.c -o a; echo 1 > in; echo 0 > out; touch -d 2020-01-01 in; touch -d 2021-01-01 out"#,
            "./a; cat out",
            "touch -d 2019-01-01 out",
        ),
    ];
    traps.iter().for_each(spring);
}

/// Times that end in what is made, or decide about it.
#[test]
fn times_in_text_and_in_comparisons() {
    let traps = [
        trap("diff -u", "echo 1 > a; echo 2 > b; touch -d @1000000000 a b", "diff -u a b; :", "touch -d @1200000000 a"),
        trap(
            "unzip -u",
            "echo 1 > a; touch -d @1000000000 a; python3 -m zipfile -c z.zip a; echo 2 > a; touch -d @1100000000 a",
            "unzip -uo z.zip >/dev/null; cat a",
            "touch -d @900000000 a",
        ),
        trap("pr", "echo 1 > a; touch -d @1000000000 a", "pr a | head -4", "touch -d @1200000000 a"),
        trap(
            "a script that is sourced",
            "echo '[ a -nt b ] && echo newer || echo older; cat a b' > lib.sh; echo 1 > a; echo 2 > b; touch -d \
                @1200000000 a; touch -d @1000000000 b",
            ". ./lib.sh",
            "touch -d @900000000 a",
        ),
        trap(
            "a here-document that compares",
            "touch -d @1200000000 a; touch -d @1000000000 b",
            "sh <<'E'
[ a -nt b ] && echo newer || echo older
E",
            "touch -d @900000000 a",
        ),
        trap(
            "bash with an option and its word",
            "echo 'test a -nt b && echo newer || echo older; cat a b' > b.sh; echo 1 > a; echo 2 > b; touch -d \
                @1000000000 a; touch -d @1100000000 b",
            "bash -o pipefail b.sh",
            "touch -d @1200000000 a",
        ),
        trap(
            "a module of Python's that asks",
            r#"echo x > a; printf 'import os\ndef gen():\n    print(int(os.path.getmtime("a")), open("a").read())\n' > util.py; printf 'import util\nutil.gen()\n' > gen.py; touch -d @1000000000 a"#,
            "python3 -B gen.py",
            "touch -d @1100000000 a",
        ),
        trap(
            "a module that is run",
            r#"mkdir p; touch p/__init__.py; echo x > a; printf 'import os\nprint(int(os.path.getmtime("a")), open("a").read())\n' > p/tool.py; touch -d @1000000000 a"#,
            "python3 -B -m p.tool",
            "touch -d @1100000000 a",
        ),
        trap(
            "Python with an option and its word",
            r#"echo x > a; printf 'import os\nprint(int(os.path.getmtime("a")), open("a").read())\n' > tool.py; touch -d @1000000000 a"#,
            "python3 -B -W ignore tool.py",
            "touch -d @1100000000 a",
        ),
        trap(
            "IS_NEWER_THAN",
            r"echo 1 > a; echo 2 > b; touch -d @1000000000 a; touch -d @1100000000 b; printf 'file(READ a x)\nfile(READ b y)\nif(a IS_NEWER_THAN b)\nmessage(STATUS newer)\nelse()\nmessage(STATUS older)\nendif()\n' > s.cmake",
            "cmake -P s.cmake",
            "touch -d @1200000000 a",
        ),
        trap("cmake -E tar", "echo 1 > a; touch -d @1000000000 a", "cmake -E tar cf x.tar a", "touch -d @1100000000 a"),
        trap("ar -U", "echo 1 > a; touch -d @1000000000 a", "ar -rc -U l.a a", "touch -d @1200000000 a"),
        trap(
            "perl's stat",
            r#"echo 1 > a; touch -d @1000000000 a; echo 'print((stat "a")[9]); open F,"a"; print <F>;' > x.pl"#,
            "perl x.pl",
            "touch -d @1200000000 a",
        ),
        trap(
            "gcov",
            "echo 'int main(int c,char**v){return c>1?1:0;}' > m.c; gcc -frandom-seed=3 --coverage m.c -o m; ./m; \
                touch -d @1000000000 m.c",
            "gcov m 2>&1",
            "touch -d @2000000000 m.c",
        ),
        trap("the time of a link", "ln -s x l; touch -h -d 2020-01-01 l", "tar cf o.tar l", "touch -h -d 2021-01-01 l"),
        trap(
            "the owner of a link",
            "ln -s x l; touch -h -d 2020-01-01 l",
            "tar cf o.tar l",
            "chown -h 1000 l; touch -h -d 2020-01-01 l",
        ),
    ];
    traps.iter().for_each(spring);
}

/// Variables that a shell or a compiler reads without a dollar sign before them.
#[test]
fn words_that_name_variables() {
    let traps = [
        Trap { env: &[("N", "2")], ..trap("a subscript", "true", "bash -c 'a=(x y z); echo ${a[N]}'", "true") },
        Trap { env: &[("N", "2")], ..trap("an offset", "true", "bash -c 's=abcdef; echo ${s:N}'", "true") },
        Trap { env: &[("OLDPWD", "/usr")], ..trap("cd -", "true", "bash -c 'cd -; pwd'", "true") },
        Trap {
            env: &[("BASH_ENV", "./rc"), ("FOO", "2")],
            ..trap("BASH_ENV", "echo 'echo $FOO' > rc", "bash -c 'echo hi'", "true")
        },
        Trap { env: &[("PS4", "$FOO "), ("FOO", "2")], ..trap("PS4", "true", "sh -c 'exec 2>&1; set -x; :'", "true") },
        Trap {
            env: &[("CC_PRINT_OPTIONS", "1"), ("CC_PRINT_OPTIONS_FILE", "opts")],
            ..trap("CC_PRINT_OPTIONS", "echo 'int a;' > a.c", "clang -c a.c", "true")
        },
        Trap {
            env: &[("COLUMNS", "40")],
            ..trap("COLUMNS", "true", "gcc --help=optimizers | head -20 | cksum", "true")
        },
    ];
    traps.iter().for_each(spring);
}

/// Who learns of an access afterwards does not store what went through a descriptor's directory; who is asked first
/// does.
#[test]
fn a_member_of_a_descriptors_directory() {
    let through = trap(
        "a member of a descriptor's directory",
        "mkdir d; echo 1 > d/f",
        "exec 3<d; cat /dev/fd/3/f",
        "echo 2 > d/f",
    );
    let at_once = std::env::var("XL_BACKEND").is_ok_and(|b| b != "ebpf");
    spring(&if at_once { through } else { through.unstored("changed while it ran") });
}

/// gcc refuses to work without a variable that its specs name, so both have it.
#[test]
fn a_variable_in_a_specs_file() {
    let mut w = World::new();
    w.sh(r"printf '*cpp_unique_options:\n+ -I%%:getenv(DIR /x)\n' > sp; mkdir -p 1/x 2/x; echo 'int a1;' > 1/x/h.h; echo 'int a2;' > 2/x/h.h; echo '#include <h.h>' > m.c");
    w.write("outer", "-O1 @inner\n");
    w.write("inner", "-specs=sp\n");
    for option in ["-specs=sp", "@outer"] {
        for dir in ["1", "2"] {
            w.env.insert("DIR".into(), dir.into());
            let r = w.xl_run("exec", &["gcc", option, "-c", "m.c"]);
            assert!(String::from_utf8_lossy(&w.sh("nm m.o").stdout).contains(&format!("a{dir}")), "{}", r.story());
        }
    }
}
