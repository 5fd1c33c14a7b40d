//! Directories that a command makes if they are not there (`mkdir -p obj && gcc …`): with `make -j` it is chance which
//! command finds one. Whether it was there makes no difference, until somebody asks.

use super::{spring, trap};
use crate::world::World;

const LIBTOOL: &str =
    "# Provide generalized library-building support services.\ntest -d .libs || mkdir .libs\ncp a.c .libs/x\n";

#[test]
fn whether_one_was_there_does_not_matter() {
    let commands = [
        "mkdir -p obj/deep && gcc -c a.c -o obj/deep/a.o",
        "mkdir -p obj/deep/ \"$PWD/obj/other\"; cp a.c obj/deep/x; cd obj/deep; cp x y",
        "mkdir --parents obj; cp a.c obj/x; cat obj/x",
        "cmake -E make_directory obj && cp a.c obj/x",
        "bash ./libtool",
    ];
    let states = ["true", "mkdir -p obj/deep .libs", "mkdir -p obj/deep/z .libs; touch obj/z obj/deep/z/z .libs/z"];
    for command in commands {
        for (first, second) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
            let w = World::new();
            let reset = |state: &str| {
                w.sh("rm -rf obj .libs");
                w.write("a.c", "int a;\n");
                w.write("libtool", LIBTOOL);
                w.sh(state);
            };
            reset(states[second]);
            let plain = w.command("sh").args(["-c", command]).output().expect("sh").stdout;
            let want = (String::from_utf8_lossy(&plain).into_owned(), w.snapshot());
            reset(states[first]);
            assert_eq!(w.xl_run("exec", &["sh", "-c", command]).pips("miss"), 1, "{command}");
            reset(states[second]);
            let r = w.xl_run("exec", &["sh", "-c", command]);
            assert_eq!(r.pips("hit"), 1, "{command}: {first} {second}: {}", r.story());
            assert_eq!((r.stdout(), w.snapshot()), want, "{command}: {first} {second}");
        }
    }
}

#[test]
fn until_somebody_asks() {
    let there = "mkdir obj; echo 1 > obj/f; touch -d @1000 obj/f";
    let commands = [
        ("a file in it", "mkdir -p obj; cat obj/f 2>&1; :"),
        ("a file in it, looked for", "mkdir -p obj; test -f obj/f && echo there; :"),
        ("who asks before", "test -d obj && echo there; mkdir -p obj; :"),
        ("who goes there before", "(cd obj 2>/dev/null && echo there); mkdir -p obj; :"),
        ("who lists it", "mkdir -p obj; ls obj"),
        ("who lists what is around", "ls; mkdir -p obj"),
        ("without -p", "mkdir obj 2>/dev/null || echo there; :"),
        ("who tells of it", "mkdir -pv obj"),
        ("who removes it again", "mkdir -p obj; rmdir obj 2>/dev/null || echo full; :"),
        ("who has it replaced", "mkdir -p obj; cp obj/f g 2>/dev/null; rm -r obj; mkdir obj"),
        ("a script that only is called so", "echo 'test -d obj && echo there; mkdir -p obj' > libtool; sh libtool; :"),
    ];
    for (name, command) in commands {
        spring(&trap(name, "true", command, there));
        spring(&trap(name, there, command, "rm -r obj"));
    }
    let named = format!("printf '{}[ -d obj ] && echo there; mkdir -p obj\\n' > libtool", LIBTOOL.replace('\n', "\\n"));
    spring(&trap("a directory of another name", &format!("echo > a.c; {named}"), "sh libtool; :", there));
    let others = [
        trap("its mode", "mkdir obj", "mkdir -p obj; stat -c %a obj", "chmod 700 obj"),
        trap("its mode, after all", "true", "mkdir -p obj; stat -c %a obj", "mkdir obj; chmod 700 obj"),
        trap("a file of that name", "true", "mkdir -p obj 2>&1; echo $?", "touch obj"),
        trap("a link of that name", "true", "mkdir -p obj; touch obj/f", "mkdir x; ln -s x obj"),
        trap("a group that is handed on", "mkdir d", "mkdir -p d/obj; stat -c %A d/obj", "chmod g+s d"),
    ];
    others.iter().for_each(spring);
    for command in ["mv src t; cat t/f; mv t src", "mv src t; sed -i s/1/3/ t/f; mv t src; cat src/f"] {
        let away = trap("a directory that is away for a while", "mkdir src; echo 1 > src/f", command, "echo 2 > src/f");
        spring(&away.unstored("it renames the existing directory"));
    }
    if rustix::process::geteuid().is_root() {
        spring(&trap("its owner", "true", "mkdir -p obj; stat -c %u obj", "mkdir obj; chown 65534 obj"));
    } else {
        crate::world::skip("a directory of somebody else's needs root");
    }
}

/// Who makes a file and removes it again could make it: the directory has to be there.
#[test]
fn a_directory_of_scratch_files() {
    for command in [
        "(echo 0 > q/w; rm -rf q/w) > out 2>&1; :",
        "echo 0 > q/w && rm q/w && echo made > out || echo refused > out",
        "cp f q/w 2>/dev/null && mv q/w out || echo refused > out",
        "mkdir q/w 2>/dev/null && rmdir q/w && echo made > out || echo refused > out",
    ] {
        spring(&trap(command, "echo x > f; mkdir q", command, "rmdir q"));
        spring(&trap(command, "echo x > f", command, "mkdir q"));
        spring(&trap(command, "echo x > f; mkdir q", command, "rmdir q; touch q"));
    }
}
