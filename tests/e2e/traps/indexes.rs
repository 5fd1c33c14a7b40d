//! Files of the machine in which programs look something up: another answer is a miss, another entry is none.
//!
//! Each run is in a mount namespace of its own, in which a copy stands for the machine's file.

use crate::world::{Run, World, skip};

/// A command, and the same file before and after.
struct Case<'a> {
    name: &'a str,
    command: &'a str,
    before: &'a str,
    after: &'a str,
    hits: bool,
    /// What the reason of the miss names.
    blames: &'a str,
}

const fn hit<'a>(name: &'a str, command: &'a str, before: &'a str, after: &'a str) -> Case<'a> {
    Case { name, command, before, after, hits: true, blames: "" }
}

const fn miss<'a>(name: &'a str, command: &'a str, before: &'a str, after: &'a str) -> Case<'a> {
    Case { name, command, before, after, hits: false, blames: "" }
}

impl<'a> Case<'a> {
    /// The reason names this.
    fn blames(mut self, what: &'a str) -> Self {
        self.blames = what;
        self
    }
}

/// A shell text that goes on in a namespace in which `file`, beside the tree, stands for `target`.
fn inside(target: &str, file: &str) -> String {
    format!("exec unshare -m sh -c 'mount --bind ../{file} {target} && exec \"$@\"' sh \"$@\"; ")
}

fn may_mount() -> bool {
    let may = std::process::Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|s| s.success());
    if !may {
        skip("no mount namespace can be made");
    }
    may
}

/// The command runs without `xl` with both files, and with it before, before and after.
fn check(w: &World, target: &str, case: &Case<'_>) {
    let Case { name, command, before, after, hits, blames } = *case;
    let plain = |file: &str| {
        let text = format!("{}exec \"$@\"", inside(target, file));
        let o = w.command("sh").args(["-c", &text, "sh", "sh", "-c", command]).output().expect("sh");
        (String::from_utf8_lossy(&o.stdout).into_owned(), o.status.code())
    };
    let xl = |file: &str| w.xl_run_after(&inside(target, file), "exec", &["sh", "-c", command]);
    let told = |r: &Run| (r.stdout(), r.code());
    w.sh("rm -rf ../cache");
    let want = [plain(before), plain(after)];
    assert_eq!(want[0] == want[1], hits, "{name}: {want:?}");
    assert_eq!(told(&xl(before)), want[0], "{name}");
    let again = xl(before);
    assert_eq!((again.pips("hit"), told(&again)), (1, want[0].clone()), "{name}: {}", again.story());
    let changed = xl(after);
    assert_eq!(told(&changed), want[1], "{name}: {}", changed.story());
    assert_eq!(changed.pips("hit") == 1, hits, "{name}: {}", changed.story());
    assert!(hits || changed.story().contains(blames), "{name}: {}", changed.story());
}

/// Makes caches of the dynamic loader: of a library in `one` (`base`), with others in `other` (`more`), in `two`
/// instead (`moved`), with one more that was looked for (`found`).
fn loader_caches(w: &World) {
    w.write(
        "v.sh",
        "mkdir -p $1; echo \"int v(void) { return $3; }\" > v.c; gcc -shared -fPIC -Wl,-soname,$2 v.c -o $1/$2\n",
    );
    w.write("m.c", "int v(void); int main(void) { return v(); }\n");
    w.write("d.c", "#include <dlfcn.h>\nint main(void) { return dlopen(\"libw.so.1\", RTLD_LAZY) ? 1 : 0; }\n");
    w.write(
        "r.c",
        "#include <fcntl.h>\n#include <unistd.h>\nint main(void) { static char b[1 << 20]; write(1, b, \
            read(open(\"/etc/ld.so.cache\", 0), b, sizeof b)); }\n",
    );
    w.write("a.c", "int a;\n");
    w.write("list", "/etc/ld.so.cache\n");
    w.write("g.py", "print(len(open('/etc/ld.so.cache', 'rb').read()))\n");
    w.write(
        "n.py",
        "import os\nprint([os.path.getsize('/etc/' + n) for n in os.listdir('/etc') if n.startswith('ld.so.c')])\n",
    );
    w.write(
        "../caches.sh",
        "mount -t tmpfs none /var/cache || exit\nmkdir /var/cache/ldconfig\ncache() { f=../$1; shift; { for d; do \
            echo $PWD/$d; done; cat /etc/ld.so.conf; } > ../conf; ldconfig -X -C $f -f ../conf; }\ncache base \
            one\ncache more one other\ncache moved two\ncache found one late\n",
    );
    w.write("o.c", "int o(void) { return 5; }\n");
    w.write("mo.c", "int o(void), v(void); int main(void) { return o() + v(); }\n");
    w.sh("lib() { sh v.sh \"$@\"; }; lib one libv.so.1 1; lib two libv.so.1 2; lib other libother.so.1 3; lib late \
        libw.so.1 4; gcc m.c one/libv.so.1 -o m; gcc d.c -o d; mkdir e own; gcc -shared -fPIC o.c \
        -Wl,-soname,libo.so.1 -o own/libo.so.1; gcc mo.c own/libo.so.1 one/libv.so.1 -Wl,-rpath,$PWD/own -o rp; gcc \
        -w r.c -o r; gcc -w -static r.c -o s; ln -s /etc/ld.so.cache l; unshare -m sh ../caches.sh");
    for name in ["base", "more", "moved", "found"] {
        assert!(w.path(&format!("../{name}")).exists(), "{name}");
    }
}

#[test]
fn the_loaders_cache() {
    if !may_mount() {
        return;
    }
    let w = World::new();
    loader_caches(&w);
    let cases = [
        hit("a program, and a library that is not its", "./m; echo $?", "base", "more"),
        hit("a compiler, and a library that is not its", "gcc -c a.c", "base", "more"),
        hit("a linker, and a library that is not its", "gcc -shared a.c -o a.so", "base", "more"),
        hit("Python, and a library that is not its", "python3 -c 'import json, hashlib; print(1)'", "base", "more"),
        miss("a library in use is moved", "./m; echo $?", "base", "moved").blames("`libv.so.1` in the loader's cache"),
        hit("a library that nobody wanted", "./d; echo $?", "base", "more"),
        miss("a library is there that was not", "./d; echo $?", "base", "found")
            .blames("`libw.so.1` in the loader's cache"),
        hit("a program with a library in a place of its own", "./rp; echo $?", "base", "more"),
        miss("a program with a library in a place of its own", "./rp; echo $?", "base", "moved"),
        hit("another directory in front", "LD_LIBRARY_PATH=$PWD/e ./m; echo $?", "base", "more"),
        miss(
            "a library in use is moved, behind another directory",
            "LD_LIBRARY_PATH=$PWD/e ./m; echo $?",
            "base",
            "moved",
        ),
        miss("who lists it", "ldconfig -p", "base", "more"),
        miss("who reads it", "cksum /etc/ld.so.cache", "base", "more"),
        miss("a program of the build's own that reads it", "./r | cksum", "base", "more"),
        miss("one that nobody loads", "./s | cksum", "base", "more"),
        miss("a shell that reads it", "wc -c < /etc/ld.so.cache", "base", "more"),
        miss("through a link", "cksum l | cut -d' ' -f1", "base", "more"),
        miss("by a name from a list", "cksum $(cat list)", "base", "more"),
        miss("by a name from a directory", "cksum /etc/ld.so.c*", "base", "more"),
        miss("from its directory", "cd /etc; cksum ld.so.cache", "base", "more"),
        miss("a script", "python3 g.py", "base", "more"),
        miss("a script that lists the directory", "python3 n.py", "base", "more"),
        miss("its size", "stat -c %s /etc/ld.so.cache", "base", "more"),
    ];
    for case in &cases {
        check(&w, "/etc/ld.so.cache", case);
    }
}

#[test]
fn users() {
    if !may_mount() {
        return;
    }
    let w = World::new();
    let base = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:\nbob:x:4242:4242::/:/bin/sh\n";
    w.write("../base", base);
    w.write("../more", &format!("{base}new:x:4343:4343::/:/bin/sh\n"));
    w.write("../own", &base.replace("root:x:0:0:root:/root", "toor:x:0:0:root:/toor"));
    w.write("../owner", &base.replace("bob", "rob"));
    w.write("a.c", "int a;\n");
    w.write("d/f", "f\n");
    w.write("user.tcl", "puts $tcl_platform(user)\n");
    w.write("owner.tcl", "puts [file attributes d/f -owner]\n");
    w.write("pwd.py", "import pwd\nprint(len(pwd.getpwall()))\n");
    w.write("count.sh", "n=0; while read l; do n=$((n + 1)); done < /etc/passwd; echo $n\n");
    w.write("name", "/etc/passwd\n");
    w.write(
        "u.c",
        "#include <pwd.h>\n#include <stdio.h>\nint main(void) { int n = 0; while (getpwent()) n++; \
            printf(\"%d\", n); }\n",
    );
    w.sh("chown 4242:4242 d/f; gcc u.c -o u");
    let home = "env -u HOME bash -c 'echo ~'";
    let hits =
        ["gcc -c a.c", "id -un", "id", "ls -l d", "stat -c %U d/f", "tar cf - d | cksum", home, "find d -printf %u"];
    let of_owner = ["ls -l d", "stat -c %U d/f", "tar cf - d | cksum", "find d -printf %u"];
    let of_all = [
        "id new 2>/dev/null || echo none",
        "getent passwd",
        "wc -l /etc/passwd",
        "wc -l < /etc/passwd",
        "bash count.sh",
        "cat $(cat name)",
        "bash -c 'echo ~new'",
        "echo 'echo ~new' > s; bash s",
        "echo 'echo ~new' | bash",
        "printf 'echo ~%s' new > s; bash s",
        "bash -c 'x=new; eval echo \"~\"$x'",
        "find d -user new 2>/dev/null || echo none",
        "python3 pwd.py",
        "./u",
    ];
    let with_tcl = std::process::Command::new("tclsh").arg("/dev/null").status().is_ok();
    let mut cases = Vec::new();
    cases.extend(hits.iter().map(|c| hit("another user", c, "base", "more")));
    cases.extend(
        ["id -un", "id", home].iter().map(|c| miss("the own user", c, "base", "own").blames("the own entry in")),
    );
    cases.extend(
        of_owner.iter().map(|c| miss("the owner of a file", c, "base", "owner").blames("the entry of number 4242")),
    );
    cases.extend(of_all.iter().map(|c| miss("whoever there is", c, "base", "more")));
    if with_tcl {
        cases.push(hit("another user", "tclsh user.tcl", "base", "more"));
        cases.push(miss("the own user", "tclsh user.tcl", "base", "own"));
        cases.push(hit("another user", "tclsh owner.tcl", "base", "more"));
        cases.push(miss("the owner of a file", "tclsh owner.tcl", "base", "owner"));
    }
    for case in &cases {
        check(&w, "/etc/passwd", case);
    }
}

#[test]
fn groups_and_services() {
    if !may_mount() {
        return;
    }
    let w = World::new();
    w.write("f", "f\n");
    w.sh("chown :4242 f");
    let base = "root:x:0:\nbobs:x:4242:\n";
    w.write("../base", base);
    w.write("../more", &format!("{base}new:x:4343:\n"));
    w.write("../own", "roots:x:0:\nbobs:x:4242:\n");
    w.write("../owner", "root:x:0:\nrobs:x:4242:\n");
    for case in [
        hit("another group", "id -gn", "base", "more"),
        hit("another group", "ls -l f", "base", "more"),
        hit("another group", "tar cf - f | cksum", "base", "more"),
        miss("the own group", "id -gn", "base", "own"),
        miss("the group of a file", "ls -l f", "base", "owner"),
        miss("the group of a file", "tar cf - f | cksum", "base", "owner"),
        miss("all groups", "getent group", "base", "more"),
    ] {
        check(&w, "/etc/group", &case);
    }
    let base = "passwd: files\ngroup: files\nhosts: files dns\n";
    w.write("../base", base);
    w.write("../hosts", &base.replace("dns", "mdns dns"));
    w.write("../db", &base.replace("passwd: files", "passwd: db"));
    check(&w, "/etc/nsswitch.conf", &hit("where hosts are looked up", "id -un", "base", "hosts"));
    check(&w, "/etc/nsswitch.conf", &miss("where users are looked up", "id -un 2>&1", "base", "db"));
}

#[test]
fn locales() {
    if !may_mount() || !std::path::Path::new("/usr/share/i18n/locales/de_DE").exists() {
        return skip("no locales can be made");
    }
    let w = World::new();
    w.write("a.c", "int a;\n");
    w.write(
        "l.c",
        "#include <langinfo.h>\n#include <locale.h>\n#include <stdio.h>\nint main(void) { setlocale(LC_ALL, \"\"); \
            puts(nl_langinfo(DAY_2)); }\n",
    );
    w.write("e.c", "#include <locale.h>\nint main(void) { return !setlocale(LC_ALL, \"fr_FR.UTF-8\"); }\n");
    w.write(
        "make.sh",
        "make() { d=../$1; shift; mkdir -p $d/usr/lib/locale; cp -a /usr/lib/locale/C.utf8 $d/usr/lib/locale; for l; \
            do localedef --prefix=$PWD/$d -i $l -f UTF-8 ${l#./}.UTF-8 || exit; done; mv $d/usr/lib/locale $d.d; rm -r \
            $d; mv $d.d $d; }\nmake none; make one de_DE; make more de_DE fr_FR; sed s/Montag/Mittag/ \
            /usr/share/i18n/locales/de_DE > de_DE; make other ./de_DE\n",
    );
    let made = w.sh("gcc l.c -o l; gcc e.c -o e; sh make.sh 2>&1");
    assert!(w.path("../other/locale-archive").exists(), "{}", String::from_utf8_lossy(&made.stdout));
    let (german, french) = ("LC_ALL=de_DE.UTF-8 ./l", "LC_ALL=fr_FR.UTF-8 ./l");
    for case in [
        hit("the first locale, and a compiler", "gcc -c a.c", "none", "one"),
        hit("another locale, and a compiler", "gcc -c a.c", "one", "more"),
        hit("another locale", german, "one", "more"),
        hit("a locale that nobody wanted", french, "none", "one"),
        hit("a locale that nobody wanted, by its name in a program", "./e; echo $?", "none", "one"),
        miss("a locale in use", german, "one", "other").blames("locale `de_DE.utf8`"),
        miss("a locale is there that was not", french, "one", "more"),
        miss("the first locale is there", german, "none", "one"),
        miss("by its name in a program", "./e; echo $?", "one", "more"),
        miss("who lists them", "locale -a", "one", "more"),
        miss("who reads the archive", "cksum < /usr/lib/locale/locale-archive", "one", "more"),
    ] {
        check(&w, "/usr/lib/locale", &case);
    }
}
