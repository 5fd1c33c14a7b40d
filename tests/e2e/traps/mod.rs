//! Stale-hit traps: set up, run, change, run again in the same state; the result must be what a plain run gives.
//!
//! Each trap first shows that it bites: the change must alter what a plain run makes, so replaying the first result
//! would be wrong.

mod builds;
mod descriptors;
mod directories;
mod hidden;
mod hosts;
mod indexes;
mod machine;
mod meanwhile;
mod others;
mod precompiled;
mod state;
mod streams;
mod tools;
mod users;
mod variables;

use crate::world::World;

struct Trap<'a> {
    name: &'a str,
    setup: &'a str,
    command: &'a str,
    change: &'a str,
    /// What the shell that starts the second run does first.
    prefix: &'a str,
    /// Variables of the second run.
    env: &'a [(&'a str, &'a str)],
    /// Why the first result is not stored, so that even the same again would not hit.
    unstored: Option<&'a str>,
}

const fn trap<'a>(name: &'a str, setup: &'a str, command: &'a str, change: &'a str) -> Trap<'a> {
    Trap { name, setup, command, change, prefix: "", env: &[], unstored: None }
}

/// When files were made, and when they were changed, unless a trap says otherwise.
const BEFORE: u32 = 1_600_000_000;
const AFTER: u32 = 1_600_001_000;

type Tree = std::collections::BTreeMap<std::path::PathBuf, String>;

/// Text, code and tree of a run.
type Outcome = (String, Option<i32>, Tree);

/// A run without `xl`, after the tree that it begins with.
fn plain(w: &World, t: &Trap<'_>, changed: bool) -> (Tree, Outcome) {
    w.wipe();
    w.sh(t.setup);
    w.age(BEFORE);
    if changed {
        w.sh(t.change);
        w.age(AFTER);
    }
    let begin = w.snapshot();
    let text = if changed { format!("{}sh -c \"$COMMAND\"", t.prefix) } else { t.command.to_owned() };
    let vars = if changed { t.env } else { &[] };
    let o = w.command("sh").args(["-c", &text]).envs(vars.iter().copied()).output().expect("sh");
    (begin, (String::from_utf8_lossy(&o.stdout).into_owned(), o.status.code(), w.snapshot()))
}

/// What a cache that knows no inputs would give in the second tree: text and code of the first run, and what that did
/// to its tree.
fn replayed(first: &Tree, (out, code, after): &Outcome, second: &Tree) -> Outcome {
    let mut tree = second.clone();
    tree.retain(|name, _| after.contains_key(name) || !first.contains_key(name));
    tree.extend(
        after.iter().filter(|(name, is)| first.get(*name) != Some(*is)).map(|(name, is)| (name.clone(), is.clone())),
    );
    (out.clone(), *code, tree)
}

fn spring(t: &Trap<'_>) {
    let mut w = World::new();
    w.env.insert("COMMAND".into(), t.command.into());
    let (first_tree, before) = plain(&w, t, false);
    let (second_tree, want) = plain(&w, t, true);
    assert!(replayed(&first_tree, &before, &second_tree) != want, "{}: this trap would bite nobody", t.name);

    w.wipe();
    w.sh(t.setup);
    w.age(BEFORE);
    // Warm the cache, in this very tree, and put the tree back as it was.
    w.sh("rm -rf ../keep; cp -a . ../keep");
    let restore = "find . -mindepth 1 -delete; cp -a ../keep/. .";
    let first = w.xl_run("exec", &["sh", "-c", t.command]);
    assert_eq!(first.stdout(), before.0, "{}", t.name);
    w.sh(restore);
    let again = w.xl_run("exec", &["sh", "-c", t.command]);
    assert_eq!((again.stdout(), again.code()), (before.0.clone(), before.1), "{}", t.name);
    // A cache that never hits would pass every trap.
    match t.unstored {
        None => assert!(again.pips("hit") > 0 && again.pips("miss") == 0, "{}: {}", t.name, again.story()),
        Some(why) => assert!(again.pips("hit") == 0 && again.story().contains(why), "{}: {}", t.name, again.story()),
    }
    w.sh(restore);
    w.sh(t.change);
    w.age(AFTER);
    w.env.extend(t.env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    let second = w.xl_run_after(t.prefix, "exec", &["sh", "-c", t.command]);
    assert_eq!((second.stdout(), second.code()), (want.0, want.1), "{}: text or code\n{}", t.name, second.story());
    assert_eq!(w.snapshot(), want.2, "{}: tree\n{}", t.name, second.story());
}

const GCC: &str =
    "mkdir -p early late; echo '#define V 1' > late/v.h; echo '#include <v.h>' > a.c; echo 'int v = V;' >> a.c";

#[test]
fn inputs() {
    let traps = [
        trap("a header earlier in the path", GCC, "gcc -S -Iearly -Ilate a.c -o a.s", "echo '#define V 2' > early/v.h"),
        trap(
            "__has_include",
            "printf '#if __has_include(\"o.h\")\\nint yes;\\n#else\\nint no;\\n#endif\\n' > a.c",
            "gcc -S a.c -o a.s",
            "touch o.h",
        ),
        trap(
            "a tool earlier in PATH",
            "mkdir p q; printf '#!/bin/sh\\necho one\\n' > q/t; chmod +x q/t",
            "PATH=$PWD/p:$PWD/q:$PATH; t",
            "printf '#!/bin/sh\\necho two\\n' > p/t; chmod +x p/t",
        ),
        trap("a file added to a globbed directory", "mkdir d; touch d/a", "ls d", "touch d/b"),
        trap("a file removed from it", "mkdir d; touch d/a d/b", "cat d/* | wc; ls d", "rm d/a"),
        trap("empty against absent directory", "mkdir d", "ls d 2>/dev/null; echo $?", "rmdir d"),
        trap("a symlink retargeted", "echo 1 > one; echo 2 > two; ln -s one l", "cat l", "ln -sfn two l"),
        trap(
            "a directory symlink retargeted",
            "mkdir x y; echo 1 > x/f; echo 2 > y/f; ln -s x d; ln -s d e",
            "cat e/f",
            "ln -sfn y d",
        ),
        trap(
            "a source edited with its time restored",
            "echo 'int a = 1;' > a.c; touch -d @1000 a.c",
            "gcc -S a.c -o a.s",
            "echo 'int a = 2;' > a.c; touch -d @1000 a.c",
        ),
        trap("permissions only", "echo x > f; chmod 644 f", "stat -c %a f", "chmod 600 f"),
        trap("size only, by a probe", "echo x > f", "stat -c %s f", "echo xx > f"),
        trap(
            "time only",
            "touch -d @1000 a; touch -d @2000 b",
            "test a -nt b && echo newer || echo older",
            "touch -d @3000 a",
        ),
        trap(
            "times, compared by a script",
            "printf 1 > in; printf x > out; touch -d @1000 in; touch -d @2000 out; printf 'import os\nif \
                os.path.getmtime(\"in\") > os.path.getmtime(\"out\"): \
                open(\"out\", \"w\").write(open(\"in\").read())\n' > g.py",
            "python3 -B g.py; cat out",
            "touch -d @3000 in",
        ),
        trap(
            "a time that is handed on with the content",
            "printf x > in; touch -d @1000 in; printf 'import os\nprint(open(\"in\").read(), \
                os.path.getmtime(\"in\"))\n' > g.py",
            "python3 -B g.py",
            "touch -d @3000 in",
        ),
        trap(
            "times, compared by a tool of the build's own",
            "printf 1 > in; printf x > out; touch -d @1000 in; touch -d @2000 out; printf '#include \
                <sys/stat.h>\n#include <unistd.h>\nint main() { struct stat a, b; stat(\"in\", &a); stat(\"out\", \
                &b); if (a.st_mtime > b.st_mtime) rename(\"in\", \"out\"); }\n' > g.c; gcc g.c -o g",
            "./g; cat out",
            "touch -d @3000 in",
        ),
        trap(
            "two names of one file",
            "echo 1 > a; touch -d @1000 a; cp -p a b",
            "test a -ef b && echo same || echo other",
            "rm b; ln a b",
        )
        .unstored("two names are of one file"),
        trap("find -newer", "touch -d @1000 a; touch -d @2000 ref", "find . -name a -newer ref", "touch -d @3000 a"),
        trap("a name below what becomes a file", "ln -s d/a l", "ls l", "echo x > d"),
        trap("a name below what the command makes itself", "true", "cat d/x 2>&1; echo 1 > d", "echo 2 > d"),
        trap("a file becomes a directory", "echo x > f", "test -d f && echo d || echo f", "rm f; mkdir f"),
        trap("a response file", "echo 'int a = X;' > a.c; echo -DX=1 > r", "gcc -S @r a.c -o a.s", "echo -DX=2 > r"),
        trap(
            "a script's interpreter",
            "printf '#!/bin/sh\\necho interp one\\n' > i; printf '#!./i\\n' > s; chmod +x i s",
            "cat i; ./s",
            "printf '#!/bin/sh\\necho interp two\\n' > i",
        ),
        trap(
            "a Python module",
            "echo 'X = 1' > m.py; echo 'import m; print(m.X)' > p.py",
            "python3 -B p.py",
            "echo 'X = 22' > m.py",
        ),
        trap("standard input from a file", "echo 1 > in", "cat < in", "echo 2 > in"),
        trap(
            "a descriptor at an offset",
            "printf 'a\\nb\\n' > in; printf 'read x; cat\\n' > s.sh",
            "sh s.sh < in",
            "printf 'a\\nc\\n' > in",
        ),
        trap("a here-document's command", "echo 1 > v", "cat <<E\n$(cat v)\nE", "echo 2 > v"),
        trap(
            "a tool replaced in place, same size and time",
            "printf '#!/bin/sh\\necho 1\\n' > t; chmod +x t; touch -d @1000 t",
            "./t",
            "printf '#!/bin/sh\\necho 2\\n' > t; touch -d @1000 t",
        ),
        trap(
            "a thin archive's member",
            "echo 'int a = 1;' > a.c; gcc -c a.c; ar crT l.a a.o; echo 'int main() { extern int a; return a; }' > m.c",
            "gcc m.c l.a -o p; ./p; echo $?",
            "echo 'int a = 2;' > a.c; gcc -c a.c",
        ),
        trap(
            "the umask of a script",
            "printf 'umask $(cat u)\\ntouch f\\n' > s; echo 022 > u",
            "sh s; stat -c %a f",
            "echo 077 > u",
        ),
    ];
    traps.iter().for_each(spring);
}

#[test]
fn environment() {
    let show = |name, env| Trap {
        name,
        setup: "printf '#!/bin/sh\\necho ${FOO-unset}\\n' > t; chmod +x t",
        command: "./t",
        change: "true",
        prefix: "",
        env,
        unstored: None,
    };
    spring(&show("a variable is set", &[("FOO", "1")]));
    spring(&show("a variable is set to nothing", &[("FOO", "")]));
    spring(&Trap {
        name: "an include path",
        setup: GCC,
        command: "gcc -S -idirafter late a.c -o a.s",
        change: "echo '#define V 3' > early/v.h",
        prefix: "",
        env: &[("CPATH", "early")],
        unstored: None,
    });
    let read = |name: &'static str| {
        format!(
            "printf '#include <stdio.h>\n#include <stdlib.h>\nint main() {{ char *s = getenv(\"FOO\"); puts(s ? s \
                : \"none\"); }}' > x.c; mkdir -p tools; gcc x.c -o tools/{name}"
        )
    };
    // Programs that only look like compilers.
    for name in ["get-page-size", "my-gcc", "make-dist-ar", "cc65", "afl-clang-fast"] {
        let (setup, command) = (read(name), format!("tools/{name}"));
        spring(&Trap {
            name,
            setup: &setup,
            command: &command,
            change: "true",
            prefix: "",
            env: &[("FOO", "1")],
            unstored: None,
        });
    }
    let plug = "printf '#include <stdlib.h>\n#include <stdio.h>\nint plugin_is_GPL_compatible; int plugin_init(void \
        *a, void *b) { return 0; }\n__attribute__((constructor)) void f(void) { char *s = getenv(\"FOO\"); if (s) { \
        puts(s); fflush(stdout); } }\n' > p.c; gcc -w -shared -fPIC -o p.so p.c; echo 'int a;' > a.c";
    let old_tail = "seq 9 > f";
    let named = "printf 'V=1.$BUILD_NUMBER\n' > version; printf '. ./version; echo $V\n' > g.sh";
    let flavor = "echo 'import os; print(os.environ.get(\"XL_FLAVOR\"))' > g.py";
    let rows = [
        ("of a library that is loaded before all others", plug, "LD_PRELOAD=./p.so cat a.c", ("FOO", "1")),
        ("of a compiler's plugin", plug, "gcc -fplugin=./p.so -c a.c", ("FOO", "1")),
        ("of utilities of long ago", old_tail, "tail +8 f 2>&1; :", ("_POSIX2_VERSION", "200112")),
        ("by a name that is a value", "true", "bash -c 'f() { local -n r=FOO; echo $r; }; f'", ("FOO", "1")),
        ("of a job, in a sourced file", named, ". ./version; echo $V", ("BUILD_NUMBER", "7")),
        ("of a job, in a file that a script sources", named, "sh g.sh", ("BUILD_NUMBER", "7")),
        ("that begins as ours do", flavor, "python3 -B g.py", ("XL_FLAVOR", "1")),
    ];
    for (name, setup, command, env) in rows {
        spring(&Trap { name, setup, command, change: "true", prefix: "", env: &[env], unstored: None });
    }
    // One that no program in the table reads does not matter.
    let mut w = World::new();
    w.write("a.c", "int a;\n");
    w.xl_run("exec", &["gcc", "-c", "a.c"]);
    w.env.insert("UNRELATED".into(), "1".into());
    w.sh("rm a.o");
    let r = w.xl_run("exec", &["gcc", "-c", "a.c"]);
    assert_eq!(r.pips("hit"), 1, "{}", r.story());
}

impl Trap<'_> {
    /// The second run has another umask.
    fn with_umask(mut self) -> Self {
        self.prefix = "umask 077; ";
        self
    }

    /// The second run has a limit.
    fn with_limit(mut self) -> Self {
        self.prefix = "ulimit -f 1000000; ";
        self
    }

    /// Its result is not stored, for this reason.
    fn unstored(mut self, why: &'static str) -> Self {
        self.unstored = Some(why);
        self
    }
}

#[test]
fn outputs_and_state() {
    let traps = [
        trap("appending", "echo 1 > log", "echo 2 >> log", "echo 9 > log"),
        trap("a counter", "echo 1 > n", "echo $(($(cat n) + 1)) > n; cat n", "echo 7 > n"),
        trap("sed -i", "echo abc > f", "sed -i s/b/x/ f", "echo bbb > f"),
        trap(
            "ar r on an old archive",
            "echo 'int a;' > a.c; echo 'int b;' > b.c; gcc -c a.c b.c; ar cr l.a a.o",
            "ar r l.a b.o",
            "rm l.a; ar cr l.a b.o",
        ),
        trap("rename of an input", "echo 1 > a", "mv a b", "echo 2 > a"),
        trap("chmod of an input", "echo 1 > a; chmod 600 a", "chmod 755 a", "echo 2 > a"),
        trap("touch of an input", "echo 1 > a", "touch a; cat a", "echo 2 > a"),
        trap("a file that must not exist", "true", "mkdir d && echo made || echo there", "mkdir d"),
        trap("a copy keeps times", "echo 1 > a; touch -d @1000 a", "cp -p a b; stat -c %Y b", "touch -d @2000 a"),
        trap("a test before a write", "true", "test -e o || echo fresh > o; cat o", "echo old > o"),
        trap(
            "a new archive that has become an old one",
            "echo 'int a;' > a.c; echo 'int b;' > b.c; gcc -c a.c b.c",
            "ar rD l.a a.o; ar t l.a",
            "ar rcD l.a b.o",
        ),
        trap("cp -n", "echo 1 > a", "cp -n a b; cat b", "echo 2 > b"),
        trap("cp -b", "echo 1 > a", "cp -b a b; ls", "echo 2 > b"),
        trap("mv -n", "echo 1 > a", "cp a c; mv -n c b; cat b; ls", "echo 2 > b"),
        trap("an output that has become private", "echo 1 > a", "cp a b; stat -c %a b", "echo 2 > b; chmod 600 b"),
        trap(
            "an output that has become a link",
            "echo 'int main() { return 0; }' > a.c",
            "gcc -c a.c -o b.o; test -L b.o; echo $?; ls",
            "echo z > q; ln -s q b.o",
        ),
        trap(
            "an output that has become a hard link",
            "echo 1 > a",
            "cp a b; ls; cat c 2>/dev/null; true",
            "echo x > c; ln c b",
        ),
        trap("a hard link", "echo 1 > a", "ln a b; stat -c %h a", "echo 2 > a; ln a c")
            .unstored("is a hard link to a file"),
    ];
    traps.iter().for_each(spring);
}

/// Whatever happened to the outputs in between: the tree ends as a plain run ends it.
#[test]
fn damaged_outputs_end_as_a_plain_run_leaves_them() {
    let command = "umask 022; mkdir -p o/e; echo 1 > o/f; cp o/f o/x; chmod 755 o/x; ln -sf f o/l; rm -f gone; ln -f \
        o/f o/hard; printf '' > 'o/odd name'; true";
    for damage in [
        "rm -rf o",
        "rm o/f o/l",
        "echo hacked > o/f",
        "chmod 600 o/x",
        "rm o/hard; cp o/f o/hard",
        "rm -f o/l; ln -s x o/l",
        "echo back > gone",
        "rmdir o/e",
        "rm o/x; ln -s f o/x",
        "rm -rf o; mkdir o; ln -s ../gone o/f; echo g > gone",
    ] {
        let plain = World::new();
        let w = World::new();
        for t in [&plain, &w] {
            t.sh("echo old > gone");
        }
        plain.sh(command);
        plain.sh(damage);
        plain.sh(command);
        let first = w.pip(command);
        assert_eq!(first.code(), Some(0), "{}", first.stderr());
        w.sh(damage);
        let r = w.pip(command);
        assert_eq!(r.code(), Some(0), "{damage}: {}", r.stderr());
        assert_eq!(w.snapshot(), plain.snapshot(), "{damage}: {}", r.story());
    }
}

#[test]
fn odd_names_and_many_outputs() {
    let w = World::new();
    let command = "mkdir d; cd d; i=0; while [ $i -lt 500 ]; do echo $i > f$i; i=$((i+1)); done; echo a > \"$(printf \
        'new\\nline')\"; echo b > \"quo\\\"te\"; echo c > \"$(printf 'inv\\377')\"; echo d > $(printf 'x%.0s' $(seq \
        255)); truncate -s 20M sparse";
    w.pip(command);
    let want = w.snapshot();
    w.sh("rm -rf d");
    let r = w.pip(command);
    assert_eq!(r.pips("hit"), 1, "{}", r.story());
    assert_eq!(w.snapshot(), want);
}
