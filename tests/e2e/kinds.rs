//! One small project for every kind of violation: the audit finds exactly it, plain commands show that it bites, and
//! the repaired project has nothing of the kind.

use crate::audit::{audit, found, list, set};
use crate::world::World;
use std::path::Path;

/// A project with one fault. `{OUT}` stands for a directory outside that is no scratch directory, `{PORT}` for a port
/// where nobody listens.
pub(crate) struct Fault {
    pub code: &'static str,
    pub setup: &'static str,
    pub build: &'static [&'static str],
    /// What an audit says of it; notes included, but for those of the makefile's style.
    pub finds: &'static [&'static str],
    /// After a plain build in a fresh tree: succeeds if the fault shows.
    pub bites: &'static str,
    pub repair: &'static str,
    /// Done between a first audit and the one that counts, with its options.
    pub again: Option<(&'static str, &'static str)>,
    /// Lets go what the audited build has left behind.
    pub after: &'static str,
    /// Done after setup, and again after the repair.
    pub configure: &'static str,
    /// `--prove` says that it is so.
    pub proven: bool,
}

/// A repair that is the one that the report prints.
pub(crate) const PRINTED: &str = "";

pub(crate) const FAULT: Fault = Fault {
    code: "",
    setup: "",
    build: &["ninja", "-j1"],
    finds: &[],
    bites: "",
    repair: "",
    again: None,
    after: "",
    configure: "",
    proven: false,
};

const FAULTS: &[Fault] = &[
    Fault {
        code: "XL001",
        setup: "echo 'int main(void) { return A; }' > m.c; sed -i '1i #include \"a.h\"' m.c; echo '#define A 1' > a.h
                printf 'm.o: m.c\\n\\tgcc -c m.c\\n' > Makefile",
        build: &["make"],
        finds: &["XL001 m.o a.h"],
        bites: "touch -d '+1 hour' a.h; make -q",
        repair: PRINTED,
        proven: true,
        ..FAULT
    },
    Fault {
        code: "XL002",
        setup: "printf 'all: gen.h m.o\\ngen.h:\\n\\techo > $@\\nm.o: m.c\\n\\tgcc -c m.c -include gen.h\\n.PHONY: \
            all\\n' > Makefile; touch m.c",
        build: &["make", "-j1"],
        finds: &["XL002 m.o gen.h"],
        bites: "rm m.o gen.h; ! make m.o",
        repair: PRINTED,
        proven: true,
        ..FAULT
    },
    Fault {
        code: "XL003",
        setup: "printf 'all: o conf\\nconf:\\n\\ttouch $@\\no:\\n\\tif test -e conf; then echo with; else echo \
            without; fi > $@\\n.PHONY: all\\n' > Makefile",
        build: &["make", "-j1"],
        finds: &["XL003 o conf"],
        bites: "mv o before; make -s all; ! cmp o before",
        repair: PRINTED,
        ..FAULT
    },
    Fault {
        code: "XL004",
        setup: "touch in; printf 'rule r\\n command = cp in o; cp in extra\\nbuild o: r in\\n' > build.ninja",
        finds: &["XL004 o extra"],
        bites: "ninja -t clean; test -e extra",
        repair: "sed -i 's/build o:/build o | extra:/' build.ninja",
        ..FAULT
    },
    Fault {
        code: "XL005",
        setup: "touch in; printf 'rule r\\n command = cat in\\nbuild o: r in\\n' > build.ninja",
        finds: &["XL005 o o"],
        bites: "ninja -n | grep 'cat in'",
        repair: "sed -i 's/cat in/cp in o/' build.ninja",
        ..FAULT
    },
    Fault {
        code: "XL006",
        setup: "printf 'rule r\\n command = echo $out > $out; echo $out > shared\\nbuild a: r\\nbuild b: r\\n' > \
            build.ninja",
        finds: &["XL004 a shared", "XL004 b shared", "XL006 shared shared"],
        bites: "try() { rm a b; ninja $1; ninja $2; cp shared $1$2; }; try a b; try b a; ! cmp ab ba",
        repair: "sed -i 's/ shared/ $out.own/' build.ninja",
        ..FAULT
    },
    Fault {
        code: "XL007",
        setup: "echo 1 > version; git init -q .; git add version; git -c user.name=x -c user.email=x@x commit -qm x
                printf 'rule r\\n command = echo 2 > version; touch o\\nbuild o: r\\n' > build.ninja",
        finds: &["XL004 o version", "XL007 o version"],
        bites: "! git diff --quiet",
        repair: "sed -i 's/version/o.version/' build.ninja",
        ..FAULT
    },
    Fault {
        code: "XL008",
        setup: "printf 'rule r\\n command = $do\\nbuild data: r\\n do = echo 1 > data\\nbuild o: r data\\n do = cat \
            data > o\\n\
                build two: r || data\\n do = echo 2 > data; touch two\\n' > build.ninja",
        finds: &["XL006 data data", "XL008 o data"],
        bites: "rm -f data o two .ninja*; ninja o; cp o first; rm -f data o two .ninja*; ninja two; ninja o; ! cmp o \
            first",
        repair: "sed -i 's/two: r || data/two: r || o/; s/echo 2 > data; //' build.ninja",
        ..FAULT
    },
    Fault {
        code: "XL009",
        setup: "echo x > {OUT}/conf; printf '[[audit.severity]]\\nkind = \"XL009\"\\nlevel = \"warning\"\\n' > xl.toml
                printf 'rule r\\n command = cat {OUT}/conf > o\\nbuild o: r\\n' > build.ninja",
        finds: &["XL009 o {OUT}/conf"],
        bites: "rm o; mv {OUT}/conf {OUT}/away; ! ninja; r=$?; mv {OUT}/away {OUT}/conf; exit $r",
        repair: "cp {OUT}/conf conf; printf 'rule r\\n command = cat conf > o\\nbuild o: r conf\\n' > build.ninja",
        ..FAULT
    },
    Fault {
        code: "XL010",
        setup: "rm -f {OUT}/left; printf 'rule r\\n command = touch o {OUT}/left\\nbuild o: r\\n' > build.ninja",
        finds: &["XL010 o {OUT}/left"],
        bites: "ninja -t clean; test -e {OUT}/left",
        repair: "sed -i 's,o {OUT}/left,o,' build.ninja",
        ..FAULT
    },
    Fault {
        code: "XL011",
        setup: "echo 'import socket; open(\"o\", \"w\").write(str(socket.socket().connect_ex((\"127.0.0.1\", \
            {PORT}))))' > net.py
                printf 'rule r\\n command = /usr/bin/python3 -I -S net.py\\nbuild o: r net.py\\n' > build.ninja",
        finds: &["XL011 o connect to 127.0.0.1:{PORT}"],
        bites: "mv o before; /usr/bin/python3 -c 'import socket, subprocess; s = socket.create_server((\"127.0.0.1\", \
            {PORT})); subprocess.run([\"ninja\"])'; ! cmp o before",
        repair: "echo 'open(\"o\", \"w\").write(\"0\")' > net.py",
        ..FAULT
    },
    Fault {
        code: "XL012",
        setup: "touch in idle; printf 'rule r\\n command = cp in o\\nbuild o: r in idle\\n' > build.ninja",
        finds: &["XL012 o idle"],
        bites: "touch -d '+1 hour' idle; ninja -n | grep 'cp in o'",
        repair: "sed -i 's/ idle//' build.ninja",
        ..FAULT
    },
    Fault {
        code: "XL013",
        setup: "touch in idle used; printf 'rule r\\n command = cat in used > o; echo o: in idle > o.d\\n depfile = \
            o.d\\nbuild o: r in\\n' > build.ninja",
        finds: &["XL001 o used", "XL013 o idle", "XL013 o used"],
        bites: "touch -d '+1 hour' used; ninja -n | grep 'no work' && touch -d '+1 hour' idle; ninja -n | grep 'cat \
            in'",
        repair: "sed -i 's/in idle/in used/' build.ninja",
        ..FAULT
    },
    Fault {
        code: "XL014",
        // Python seeds its hashes anew in every run.
        setup: "echo 'open(\"o\", \"w\").write(str(hash(\"a\")))' > when.py
                printf 'rule r\\n command = /usr/bin/python3 -I -S when.py\\nbuild o: r when.py\\n' > build.ninja",
        finds: &["XL014 o o"],
        bites: "mv o before; ninja; ! cmp o before",
        repair: "echo 'open(\"o\", \"w\").write(\"never\")' > when.py",
        again: Some(("rm o", "--no-cache-read")),
        ..FAULT
    },
    Fault {
        code: "XL015",
        setup: "mkfifo go; echo '(read x < go; echo late > late) > /dev/null 2>&1 < /dev/null & echo > o' > s.sh
                printf 'rule r\\n command = sh s.sh\\nbuild o: r s.sh\\n' > build.ninja",
        finds: &["XL015 o"],
        bites: "test ! -e late; echo > go; timeout 60 sh -c 'until test -s late; do :; done'",
        after: "echo > go",
        repair: "echo 'echo > o' > s.sh",
        ..FAULT
    },
    Fault {
        code: "XL016",
        setup: "echo 1 > b; touch -d '-1 hour' b; printf 'b: a\\n\\tcat a a > b\\na: in\\n\\tcat b > a\\n' > \
            Makefile; touch in",
        build: &["make"],
        finds: &["XL016 a b", "XL012 a in"],
        bites: "cp b before; touch -d '+1 hour' in; make; ! cmp b before",
        repair: "sed -i 's/cat b > a/cat in > a/' Makefile",
        again: Some(("rm a; echo 1 > b; touch -d '-1 hour' b", "--no-cache-read")),
        ..FAULT
    },
    Fault {
        code: "XL017",
        setup: "mkdir d; printf 'rule r\\n command = $do\\nbuild names: r\\n do = ls d > names\\nbuild d/a: r\\n do = \
            touch d/a\\n' > build.ninja",
        finds: &["XL017 names d"],
        bites: "rm -f names d/a; ninja names; cp names before; rm names; ninja d/a; ninja names; ! cmp names before",
        repair: "sed -i 's,names: r,names: r d/a,' build.ninja",
        ..FAULT
    },
    Fault {
        code: "XL018",
        setup: "echo 'const char *when = __TIME__;' > w.c; printf 'rule r\\n command = gcc -c w.c\\nbuild w.o: r \
            w.c\\n' > build.ninja",
        finds: &["XL018 w.o"],
        // A clock that shows seconds must be given one.
        bites: "mv w.o before; sleep 1.1; ninja; ! cmp w.o before",
        repair: "echo 'const char *when = \"never\";' > w.c",
        ..FAULT
    },
];

/// What is harder to see, or to repair, than the plain case of its kind.
const HARDER: &[Fault] = &[
    // One recipe for two targets: its commands have the same text, and the first names neither.
    Fault {
        code: "XL001",
        setup: "echo 1 > src; echo 2 > opt; printf 'all: a.c a.h\na.c a.h: src\n\tcat src opt > y\n\tcp y a.c\n\tcp \
            y a.h\n.PHONY: all\n' > Makefile",
        build: &["make", "-j1"],
        finds: &["XL001 a.c opt", "XL004 a.c y"],
        bites: "touch -d '+1 hour' opt; make -q a.c",
        repair: PRINTED,
        proven: true,
        ..FAULT
    },
    // The same, at once.
    Fault {
        code: "XL006",
        setup: "echo 1 > src; printf 'all: a.c a.h\na.c a.h: src\n\tsleep 0.5; cat src >a.c; cat src >a.h\n.PHONY: \
            all\n' > Makefile",
        build: &["make", "-j8"],
        finds: &["XL006 a.c a.c", "XL006 a.h a.h"],
        bites: "rm a.c a.h; make -j8 | grep -c cat | grep 2",
        repair: PRINTED,
        ..FAULT
    },
    Fault {
        code: "XL006",
        setup: "printf 'all: a b\na:\n\techo a > shared; sleep 0.5; cp shared a\nb:\n\techo b > shared; sleep 0.5; \
            cp shared b\n.PHONY: all\n' > Makefile",
        build: &["make", "-j8"],
        finds: &["XL004 a shared", "XL004 b shared", "XL006 shared shared"],
        bites: "cmp a b",
        // Then they are written one after the other, which is a note.
        repair: PRINTED,
        ..FAULT
    },
    // An earlier make has made it: it is there in time, and a change of it is not noticed.
    Fault {
        code: "XL001",
        setup: "touch in m.c; printf 'all:\n\t$(MAKE) gen.h\n\t$(MAKE) m.o\ngen.h: in\n\tcp in $@\nm.o: m.c\n\tgcc \
            -c m.c -include gen.h\n.PHONY: all\n' > Makefile",
        build: &["make", "-j8"],
        finds: &["XL001 m.o gen.h"],
        bites: "touch -d '+1 hour' gen.h; make -q m.o",
        repair: PRINTED,
        ..FAULT
    },
    Fault {
        code: "XL001",
        setup: "mkdir g m; touch g/in; echo '#include \"../g/g.h\"' > m/m.c
                printf 'all:; $(MAKE) -C g && $(MAKE) -C m\n.PHONY: all\n' > Makefile
                printf 'g.h: in\n\tcp in g.h\n' > g/Makefile; printf 'm.o: m.c\n\tgcc -c m.c\n' > m/Makefile",
        build: &["make", "-j8"],
        finds: &["XL001 m/m.o g/g.h"],
        bites: "touch -d '+1 hour' g/g.h; make -q -C m",
        repair: PRINTED,
        proven: true,
        ..FAULT
    },
    // The compiler has said it, and nobody listens.
    Fault {
        code: "XL001",
        setup: "echo '#include \"a.h\"' > m.c; touch a.h; printf 'm.o: m.c\n\tgcc -MD -c m.c\n' > Makefile",
        build: &["make"],
        finds: &["XL001 m.o a.h"],
        bites: "touch -d '+1 hour' a.h; make -q",
        repair: PRINTED,
        proven: true,
        ..FAULT
    },
    Fault {
        code: "XL001",
        setup: "mkdir .deps; echo '#include \"a.h\"' > m.c; touch a.h; printf 'm.o: m.c\n\tgcc -MMD -MF .deps/m.Po -c \
            m.c\n' > Makefile",
        build: &["make"],
        finds: &["XL001 m.o a.h"],
        bites: "touch -d '+1 hour' a.h; make -q",
        repair: PRINTED,
        proven: true,
        ..FAULT
    },
    // Nobody has a rule for what is read: `m.o: gen.h` would break a fresh build.
    Fault {
        code: "XL002",
        setup: "touch in m.c; printf 'all: gen.c m.o\ngen.c: in\n\tcp in gen.c; cp in gen.h\nm.o: m.c\n\tgcc -c m.c \
            -include gen.h\n.PHONY: all\n' > Makefile",
        build: &["make", "-j1"],
        finds: &["XL002 m.o gen.h", "XL004 gen.c gen.h"],
        bites: "rm m.o gen.h; ! make m.o",
        repair: PRINTED,
        proven: true,
        ..FAULT
    },
    // The dependency file names it as a target (`-MP`), but a fresh build has no dependency file.
    Fault {
        code: "XL002",
        setup: "touch in m.c; printf 'all: gen.c m.o\ngen.c: in\n\tcp in gen.c; cp in gen.h\nm.o: m.c\n\tgcc \
            -MD -MP -c m.c -include gen.h\n-include m.d\n.PHONY: all\n' > Makefile",
        build: &["make", "-j1"],
        finds: &["XL002 m.o gen.h", "XL004 gen.c gen.h"],
        bites: "rm m.o m.d gen.h; ! make m.o",
        repair: PRINTED,
        proven: true,
        ..FAULT
    },
    // The headers of a library, copied by its make; another make comes later by a declared order, or by a script.
    Fault {
        code: "XL001",
        setup: COPIED,
        build: &["make", "-j8"],
        finds: &["XL001 app/a.o include/l.h", "XL001 lib/l.a lib/l.h", "XL004 lib/l.a include/l.h"],
        bites: "touch -d '+1 hour' include/l.h; make -q -C app",
        repair: PRINTED,
        proven: true,
        ..FAULT
    },
    Fault {
        code: "XL001",
        setup: "mkdir lib app; echo 1 > lib/in; printf 'make -C lib && make -C app\n' > build.sh
                printf '../include/l.h: in\n\tmkdir -p ../include; cp in ../include/l.h\n' > lib/Makefile
                printf 'a: a.in\n\tcat a.in ../include/l.h > a\n' > app/Makefile; touch app/a.in",
        build: &["sh", "build.sh"],
        finds: &["XL001 app/a include/l.h"],
        bites: "touch -d '+1 hour' include/l.h; make -q -C app",
        repair: PRINTED,
        proven: true,
        ..FAULT
    },
    // All makes are below one step of the first; what orders them is the make between, and that does not.
    Fault {
        code: "XL002",
        setup: "mkdir lib app; echo 1 > lib/in; printf 'all:\n\t$(MAKE) -f two.mk\n.PHONY: all\n' > Makefile
                printf 'all: lib app\nlib app:\n\t$(MAKE) -C $@\n.PHONY: all lib app\n' > two.mk
                printf 'l.h: in\n\tcp in l.h\n' > lib/Makefile
                printf 'a: a.in\n\tcat a.in ../lib/l.h > a\n' > app/Makefile; touch app/a.in",
        build: &["make", "-j1"],
        finds: &["XL002 app/a lib/l.h"],
        bites: "rm app/a lib/l.h; ! make -C app",
        repair: PRINTED,
        proven: true,
        ..FAULT
    },
    Fault {
        code: "XL006",
        setup: "printf 'all:\n\t$(MAKE) -f two.mk\n.PHONY: all\n' > Makefile; mkdir a b
                printf 'all: a b\na b:\n\t$(MAKE) -C $@\n.PHONY: all a b\n' > two.mk
                printf 'x:\n\tpwd > ../shared; touch x\n' | tee a/Makefile > b/Makefile",
        build: &["make", "-j1"],
        finds: &["XL004 a/x shared", "XL004 b/x shared", "XL006 shared shared"],
        bites: "cp shared one; rm a/x; make -C a; ! cmp one shared",
        repair: "sed -i 's,\\.\\./shared,own,' a/Makefile b/Makefile",
        ..FAULT
    },
];

/// A library whose make copies a header for others.
const COPIED: &str = "mkdir lib app; echo 'int l;' > lib/l.c; touch lib/l.h; echo '#include \"l.h\"' > app/a.c
    printf 'all: lib app\nlib app:\n\t$(MAKE) -C $@\napp: lib\n.PHONY: all lib app\n' > Makefile
    printf 'l.a: l.o\n\tar rc $@ l.o\n\tmkdir -p ../include; cp l.h ../include/\nl.o: l.c\n\tgcc -c l.c\n' > \
    lib/Makefile
    printf 'a.so: a.o ../lib/l.a\n\tgcc -shared -o $@ a.o ../lib/l.a\na.o: a.c\n\tgcc -fPIC -I../include -c a.c\n' > \
    app/Makefile";

/// Does what the report prints as the repair of the violations of this kind: a rule, or what comes to the same, at the
/// end of the file; in the place of the head of a rule (grouped targets), at the end of that of an edge of ninja, among
/// the arguments of a call of meson.
fn apply(w: &World, report: &serde_json::Value, code: &str) {
    let text = crate::audit::text;
    let mut all: Vec<(&str, &str)> = Vec::new();
    for v in list(&report["violations"]).iter().filter(|v| text(v, "code") == code && !v["fix"].is_null()) {
        let fix = (text(&v["fix"], "text"), text(&v["fix"], "place"));
        if !all.contains(&fix) {
            all.push(fix);
        }
    }
    assert!(!all.is_empty(), "{code} has no repair: {report:#}");
    for (text, place) in all {
        assert!(!text.contains('…') || text.starts_with("build "), "a repair with a gap: {text}");
        assert!(!text.contains(" /") && !place.starts_with('/'), "a repair for this machine only: {text} {place}");
        let (file, line) = place.rsplit_once(':').unwrap_or((place, "0"));
        let line: usize = line.parse().expect("a number");
        let mut lines: Vec<String> = w.read(file).lines().map(str::to_owned).collect();
        if text.contains(" &: ") {
            lines[line - 2] = text.to_owned();
        } else if let Some((head, rest)) = text.strip_prefix("build ").and_then(|t| t.split_once(" …")) {
            let edge = lines.iter_mut().find(|l| l.starts_with(&format!("build {head}"))).expect("the edge");
            edge.push_str(rest);
        } else if text.contains(": files(") {
            lines[line - 1] = lines[line - 1].replacen("',", &format!("', {text},"), 1);
        } else {
            lines.push(text.to_owned());
        }
        w.write(file, &(lines.join("\n") + "\n"));
    }
}

pub(crate) fn try_one(f: &Fault, out: &Path, port: u16) {
    let text = |s: &str| s.replace("{OUT}", out.to_str().expect("utf-8")).replace("{PORT}", &port.to_string());
    let mut w = World::new();
    // A user's cache directory counts as scratch, and the tests may be in it.
    w.env.insert("XDG_CACHE_HOME".into(), w.cache().display().to_string());
    let shell = |t: &str| {
        let o = w.sh(&text(t));
        (
            o.status.success(),
            format!("{}: {t}: {}{}", f.code, String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr)),
        )
    };
    let all = ["error", "warning", "note"];
    let (ok, said) = shell(&format!("{}\n{}", f.setup, f.configure));
    assert!(ok, "{said}");
    let (_, mut report) = audit(&w, &[], f.build);
    if let Some((between, option)) = f.again {
        shell(between);
        report = audit(&w, &[option], f.build).1;
    }
    let finds: Vec<String> = f.finds.iter().map(|s| text(s)).collect();
    assert_eq!(
        found(&report, &all),
        set(&finds.iter().map(String::as_str).collect::<Vec<_>>()),
        "{}: {report:#}",
        f.code
    );
    let (ok, said) = shell(f.after);
    assert!(ok, "{said}");
    let found_first = report;
    if f.proven {
        let all = list(&found_first["violations"]);
        let n = all.iter().position(|v| crate::audit::text(v, "code") == f.code).expect("a violation") + 1;
        let out = w.xl(&["audit", "--prove", &n.to_string()]).output().expect("xl");
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.code() == Some(0), "{}: not proven: {said} {found_first:#}", f.code);
    }

    w.wipe();
    let (ok, said) = shell(&format!("{}\n{}", f.setup, f.configure));
    assert!(ok, "{said}");
    let (ok, said) = shell(&f.build.join(" "));
    assert!(ok, "{said}");
    let (ok, said) = shell(f.bites);
    assert!(ok, "it does not bite: {said}");

    let repaired = || {
        w.wipe();
        let (ok, said) = shell(&format!("{}\n{}", f.setup, f.repair));
        assert!(ok, "{said}");
        if f.repair == PRINTED {
            apply(&w, &found_first, f.code);
        }
        let (ok, said) = shell(f.configure);
        assert!(ok, "{said}");
    };
    repaired();
    let (_, mut report) = audit(&w, &[], f.build);
    if let Some((between, option)) = f.again {
        shell(between);
        report = audit(&w, &[option], f.build).1;
    }
    // One after the other, two may write.
    let counts = if f.code == "XL006" && f.repair == PRINTED { &all[..2] } else { &all };
    let left: Vec<String> = found(&report, counts).into_iter().filter(|v| v.starts_with(f.code)).collect();
    assert!(left.is_empty(), "{}: repaired, and still: {left:?} {report:#}", f.code);
    assert_eq!(report["exit_code"], 0, "{}: repaired, it does not build: {report:#}", f.code);
    // From scratch, by as many as want to.
    repaired();
    let hurry = if f.build[0] == "sh" { "MAKEFLAGS=-j8 " } else { "" };
    let (ok, said) = shell(&format!("{hurry}{}", f.build.join(" ").replace("-j1", "-j8")));
    assert!(ok, "repaired, it does not build from scratch: {said}");
}

#[test]
fn each_is_found_and_bites_and_can_be_repaired() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kinds");
    std::fs::create_dir_all(&out).expect("a directory outside");
    // Taken and given back: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    FAULTS.iter().for_each(|f| try_one(f, &out, port));
    let codes: Vec<&str> = FAULTS.iter().map(|f| f.code).collect();
    assert_eq!(codes, audit::kinds::KINDS.iter().map(|k| k.code).collect::<Vec<_>>(), "a kind without a project");
    std::fs::remove_dir_all(&out).expect("what is outside goes");
}

#[test]
fn harder_cases_are_found_and_bite_and_the_printed_repair_helps() {
    HARDER.iter().for_each(|f| try_one(f, Path::new("/nowhere"), 0));
}

/// A second build, in which something was touched: what is accused, and of how much it is said that it was not
/// compared.
fn again(setup: &str, touched: &str, finds: &[&str], gaps: usize) {
    let w = World::new();
    let out = w.sh(&format!("{setup}\nmake -j1; {touched}"));
    assert!(out.status.success(), "{setup}: {}", String::from_utf8_lossy(&out.stderr));
    let (_, report) = audit(&w, &[], &["make", "-j1"]);
    assert_eq!(found(&report, &["error", "warning", "note"]), set(finds), "{setup}: {report:#}");
    assert_eq!(list(&report["gaps"]).len(), gaps, "{setup}: {report:#}");
    assert_ne!(report["pips"], 0, "{setup}: nothing was run");
}

#[test]
fn what_looks_like_a_fault_and_is_none() {
    // A copy that is left alone because it is right; and one that is a source itself.
    let copy = "mkdir include src; echo 1 > src/a.h; printf 'stamp: src/a.h\\n\\tcmake -E copy_if_different src/a.h \
                include/a.h\\n\\ttouch stamp\\n' > Makefile";
    again(copy, "touch -d '+1 hour' src/a.h", &[], 0);
    // A result among the sources, remade because of times, and because of content.
    let git = "git init -q .; git add .; git -c user.name=x -c user.email=x@x commit -qm x";
    let kept = format!(
        "echo 1 > p.y; cp p.y p.c; printf 'all: p.c\\np.c: p.y\\n\\tcp p.y p.c\\n.PHONY: all\\n' > Makefile; {git}"
    );
    again(&kept, "touch -d '+1 hour' p.y", &[], 0);
    again(&kept, "echo 2 > p.y; touch -d '+1 hour' p.y", &["XL007 p.c p.c"], 0);
    // A makefile that counts as what is in it; a list that the linker may be given; a file that is nothing of the kind.
    let idle = "touch in m.map idle; printf 'o: in Makefile m.map idle\\n\\tcp in o\\n' > Makefile";
    again(idle, "rm o", &["XL012 o idle"], 0);
    // Written by two rules that both declare it, one after the other.
    let declared = "touch in; printf 'all: b\\na: in\\n\\tcp in a\\nb: a\\n\\tcp in b; cp in a\\n.PHONY: all\\n' > \
                    Makefile";
    again(declared, "rm a b", &["XL006 a a"], 0);
    // What cannot be told apart is said not to be compared.
    let same = "printf 'all: a b\\na:\\n\\techo 1 >> log\\n\\techo a > a\\nb:\\n\\techo 1 >> log\\n\\techo b > b\\n' > \
                Makefile";
    again(same, "rm a b", &[], 1);
    // Nor is one command among many silently left out.
    let shell = "printf 'T := $(shell echo 1 > side)\\nall: a b\\na:\\n\\techo a > a\\nb:\\n\\techo b > b\\n.PHONY: \
                 all\\n' > Makefile";
    again(shell, "rm a b side", &[], 1);
}

#[test]
fn a_build_with_nothing_to_do_is_no_audit() {
    let w = World::new();
    w.sh("touch in; printf 'o: in\\n\\tcp in o\\n' > Makefile");
    assert_eq!(audit(&w, &[], &["make"]).0, 0);
    let out = w.xl(&["audit", "--", "make"]).output().expect("xl");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(3) && said.contains("nothing to do"), "{:?} {said}", out.status);
}
