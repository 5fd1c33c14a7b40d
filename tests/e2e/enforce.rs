//! Enforcement: who uses what is not declared fails, says why, and leaves nothing in the cache; who does not is not in
//! its way.

use crate::world::{Run, World};

fn sources(w: &World) {
    w.write("main.c", "#include \"a.h\"\nint main(void) { return A; }\n");
    w.write("a.h", "#define A 0\n");
}

fn enforced(w: &World, cmd: &[&str]) -> Run {
    let mut words = vec!["--enforce", "--"];
    words.extend(cmd);
    let json = w.tree().with_file_name("record.json");
    let _ = std::fs::remove_file(&json);
    let output = w.xl(&["run", "--json", json.to_str().expect("utf-8")]).args(&words).output().expect("xl");
    let record = std::fs::read(&json).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
    Run { output, record }
}

const WELL: &str = "prog: main.o\n\tgcc -o $@ $^\n%.o: %.c\n\tgcc -MMD -c $<\n-include main.d\n";
const BADLY: &str = "prog: main.o\n\tgcc -o $@ $^\nmain.o: main.c\n\tgcc -c main.c\n";

#[test]
fn a_command_that_reads_too_much_fails() {
    let w = World::new();
    sources(&w);
    w.write("Makefile", BADLY);
    for _ in 0..2 {
        let r = enforced(&w, &["make"]);
        assert_eq!((r.code(), r.pips("failed"), r.pips("hit")), (Some(2), 1, 0), "{}{}", r.story(), r.stderr());
        assert!(
            r.stderr().contains(
                "xl: error: XL001 undeclared-input: `main.o` reads `a.h`, which nothing declares; add `main.o: a.h`"
            ),
            "{}",
            r.stderr()
        );
        // Nothing is left that the next make would take for finished: this is tried again as it is.
        assert!(!w.path("prog").exists() && !w.path("main.o").exists());
    }
    // What was stored by a run without enforcement is no way around it.
    assert_eq!(w.run(&["make"]).code(), Some(0));
    w.sh("rm prog main.o");
    for _ in 0..2 {
        let r = enforced(&w, &["make"]);
        assert_eq!((r.code(), w.path("main.o").exists()), (Some(2), false), "{}", r.story());
    }
    let r = enforced(&w, &["make"]);
    assert_eq!((r.code(), r.outcome("main.c").as_str()), (Some(2), "failed"), "{}", r.story());
    // What was there before is not lost, and not finished either.
    w.write("main.o", "mine");
    w.sh("touch -d '-1 day' main.o");
    assert_eq!(enforced(&w, &["make"]).code(), Some(2));
    assert!(w.path("main.o").exists() && !w.sh("make -q").status.success());
    // An exception lets it pass, and then it hits.
    w.write(
        "xl.toml",
        "[audit]\nenforce = 'fail'\n[[audit.allow]]\nkind = 'XL001'\npath = 'a.h'\nreason = 'never edited'\n",
    );
    w.sh("rm -f main.o prog");
    let r = w.run(&["make"]);
    assert_eq!((r.code(), r.pips("hit")), (Some(0), 2), "{}{}", r.story(), r.stderr());
}

#[test]
fn who_declares_well_is_left_alone() {
    let w = World::new();
    sources(&w);
    w.write("Makefile", WELL);
    for hits in [0, 2] {
        let r = enforced(&w, &["make", "-j2"]);
        assert_eq!((r.code(), r.pips("failed"), r.pips("hit")), (Some(0), 0, hits), "{}{}", r.story(), r.stderr());
        w.sh("rm -f prog *.o *.d");
    }
    // Its dependency file is written and read by nobody: no single command can know, the run does.
    w.write("Makefile", &WELL.replace("-include main.d\n", ""));
    let r = enforced(&w, &["make"]);
    assert_eq!((r.code(), r.pips("failed")), (Some(1), 0), "{}{}", r.story(), r.stderr());
    assert!(r.stderr().contains("XL001") && r.stderr().contains("a.h"), "{}", r.stderr());
}

#[test]
fn ninja_stops_where_it_would_for_a_compiler() {
    let w = World::new();
    sources(&w);
    let manifest = |edge: &str| {
        format!(
            "rule cc\n  command = gcc -MD -MF $out.d -c $in -o $out\n  depfile = $out.d\n  deps = gcc\nrule gen\n  \
                command = printf '#define G 1\\n' > $out\n\
             build g.h: gen\nbuild main.o: cc main.c{edge}\nbuild all: phony g.h main.o\n"
        )
    };
    w.write("main.c", "#include \"a.h\"\n#include \"g.h\"\n");
    w.write("build.ninja", &manifest(""));
    let r = enforced(&w, &["ninja", "-j1", "g.h", "main.o"]);
    assert_eq!((r.code(), r.pips("failed")), (Some(1), 1), "{}{}", r.story(), r.stderr());
    assert!(r.stderr().contains("XL002 missing-edge: `main.o` reads `g.h`"), "{}", r.stderr());
    w.write("build.ninja", &manifest(" || g.h"));
    w.sh("rm -f main.o g.h .ninja_*");
    let r = enforced(&w, &["ninja", "all"]);
    assert_eq!((r.code(), r.pips("failed")), (Some(0), 0), "{}{}", r.story(), r.stderr());
}

#[test]
fn what_is_refused_at_the_access() {
    let mut w = World::new();
    // Below /tmp, and where a user's caches are, everything is scratch: a place that is neither.
    w.env.insert("XDG_CACHE_HOME".into(), w.cache().display().to_string());
    let home = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("enforce");
    std::fs::create_dir_all(&home).expect("a directory");
    if home.starts_with("/tmp") {
        return crate::world::skip("the target directory is below /tmp, where everything is scratch");
    }
    let kept = home.join("kept");
    let _ = std::fs::remove_file(&kept);
    w.write("source", "1\n");
    w.sh("git init -q . && git add source && git -c user.name=x -c user.email=x@x commit -qm x");
    let manifest = |text: &str| format!("rule sh\n  command = {text} && touch $out\nbuild o: sh\n");
    for enforce in ["block", "fail"] {
        w.write("xl.toml", &format!("[audit]\nenforce = '{enforce}'\n"));
        let elsewhere = format!("echo 2 > {}", kept.display());
        for (text, victim, kind) in
            [("echo 2 > source", w.path("source"), "XL007"), (&*elsewhere, kept.clone(), "XL010")]
        {
            w.write("build.ninja", &manifest(text));
            w.sh("rm -f o; git checkout -q source");
            let _ = std::fs::remove_file(&kept);
            let r = w.run(&["ninja"]);
            let changed = std::fs::read(&victim).is_ok_and(|b| b == b"2\n");
            assert_eq!(changed, enforce == "fail", "{text}: {}", r.stderr());
            assert_eq!(r.stderr().contains("denied"), enforce == "block", "{}", r.stderr());
            // At the access the tool fails; XL007 is an error at the end, too; XL010 is a warning, which fails nobody.
            assert_eq!(r.code() == Some(0), enforce == "fail" && kind == "XL010", "{}", r.stderr());
            assert!(r.stderr().contains(kind) || r.code() == Some(0), "{}", r.stderr());
        }
    }
    let _ = std::fs::remove_file(&kept);
}

#[test]
fn what_others_are_made_from_stays_newer_than_they_are() {
    let w = World::new();
    w.write("version.h", "1\n");
    w.write("Makefile", "all: user stamp\nuser: version.h\n\tcp version.h user\nstamp: in\n\tsh step.sh\n");
    w.write("step.sh", "cat in > version.h\ncat in > stamp\n");
    w.write("in", "2\n");
    w.sh("git init -q . && git add -A && git -c user.name=x -c user.email=x@x commit -qm x");
    w.sh("touch -d '-1 day' *; cp -p version.h user; cp -p version.h stamp; touch in");
    let r = enforced(&w, &["make"]);
    assert!(r.code() == Some(2) && r.stderr().contains("XL007"), "{}{}", r.story(), r.stderr());
    // The step is made again, and so is what is made from the source that it has changed.
    assert_eq!(w.read("version.h"), "2\n");
    assert!(
        w.sh("make -q user || make -q stamp").status.code() == Some(1)
            && w.sh("test version.h -nt user").status.success()
    );
}

#[test]
fn git_that_does_not_answer_is_no_silence() {
    let w = World::new();
    w.write("Makefile", "o: in\n\tcat in > o; echo >> log\n");
    w.write("in", "1\n");
    w.write(".git", "gitdir: nowhere\n");
    let r = enforced(&w, &["make"]);
    assert!(
        r.code() == Some(0) && r.stderr().contains("not enforced: git does not say which files are sources"),
        "{}",
        r.stderr()
    );
    w.sh("rm o log");
    let r = w.xl(&["audit", "--", "make"]).output().expect("xl");
    let said = String::from_utf8_lossy(&r.stdout).into_owned() + &String::from_utf8_lossy(&r.stderr);
    assert!(said.contains("git does not say which files are sources"), "{said}");
}

#[test]
fn a_connection_is_refused() {
    let w = World::new();
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("its address").port();
    let code = format!("import socket; print(socket.socket().connect_ex((\"127.0.0.1\", {port})))");
    w.write("build.ninja", &format!("rule net\n  command = python3 -c '{code}' > $out\nbuild o: net\n"));
    let refused = libc::EACCES.to_string();
    for (config, said) in [
        ("enforce = 'fail'", "0"),
        ("enforce = 'block'", &*refused),
        (
            "enforce = 'block'\n[[audit.allow]]\nkind = 'XL011'\npath = 'connect to 127.0.0.1:*'\nreason = 'our own'",
            "0",
        ),
    ] {
        w.write("xl.toml", &format!("[audit]\n{config}\n"));
        w.sh("rm -f o");
        let r = w.run(&["ninja"]);
        assert_eq!(w.read("o").trim(), said, "{config}: {}", r.stderr());
        let why = format!("denied `connect to 127.0.0.1:{port}`: XL011 network");
        assert_eq!(r.stderr().contains(&why), said == refused, "{config}: {}", r.stderr());
    }
}
