//! One cache for several machines: each has its own local cache, and they meet in a remote one only. A machine is a
//! cache directory here; the tree is at the same place for all.

use crate::world::{Run, World};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MAKEFILE: &str = "\
all: prog
prog: main.o a.o
\tgcc -o $@ main.o a.o
%.o: %.c x.h
\tgcc -O1 -c $< -o $@
";

fn project() -> World {
    let mut w = World::new();
    w.env.insert("XL_REMOTE_UPLOAD".into(), "always".into());
    fill(&w);
    w
}

fn fill(w: &World) {
    w.write("Makefile", MAKEFILE);
    w.write("x.h", "int f(int);\n");
    w.write("main.c", "#include \"x.h\"\nint main(void) { return f(0); }\n");
    w.write("a.c", "#include \"x.h\"\nint f(int n) { return n; }\n");
}

/// A build on machine `name`, with `words` before the command.
fn build(w: &World, name: &str, words: &[&str]) -> Run {
    build_of(w, name, words, &["make", "-s"])
}

fn build_of(w: &World, name: &str, words: &[&str], cmd: &[&str]) -> Run {
    let json = w.path("../record.json");
    let _ = std::fs::remove_file(&json);
    let output = w
        .xl(&["run", "--json", json.to_str().expect("UTF-8")])
        .args(words)
        .arg("--")
        .args(cmd)
        .env("XL_CACHE_DIR", w.path(&format!("../{name}")))
        .output()
        .expect("xl");
    let record = std::fs::read(&json).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
    Run { output, record }
}

fn fresh(w: &World) {
    w.wipe();
    fill(w);
}

fn directory(w: &World) -> (PathBuf, String) {
    let dir = w.path("../shared");
    let url = format!("file://{}", dir.display());
    (dir, url)
}

/// Everything was a hit, and so many came from the remote cache.
fn warm(r: &Run, far: u64) {
    assert_eq!(r.code(), Some(0), "{}", r.stderr());
    assert_eq!((r.pips("miss"), r.pips("far")), (0, far), "{}\n{}", r.story(), r.stderr());
    assert_eq!(r.pips("hit"), r.pips("total"), "{}", r.story());
}

#[test]
fn a_directory_makes_a_second_machine_warm() {
    let w = project();
    let (_, url) = directory(&w);
    let first = build(&w, "one", &["--remote-cache", &url]);
    assert_eq!((first.code(), first.pips("hit")), (Some(0), 0), "{}", first.stderr());
    assert!(first.stderr().contains("3 results sent"), "{}", first.stderr());
    let made = std::fs::read(w.path("prog")).unwrap();
    fresh(&w);
    let second = build(&w, "two", &["--remote-cache", &url]);
    warm(&second, 3);
    assert!(second.stderr().contains("3 hits (3 from the remote cache), 0 ran"), "{}", second.stderr());
    assert_eq!(std::fs::read(w.path("prog")).unwrap(), made);
    // From then on they are here.
    fresh(&w);
    warm(&build(&w, "two", &["--remote-cache", &url]), 0);
    fresh(&w);
    warm(&build(&w, "two", &["--offline"]), 0);
    // What differs is not served.
    fresh(&w);
    w.write("x.h", "int f(int); /* other */\n#define N 1\n");
    let third = build(&w, "three", &["--remote-cache", &url]);
    assert_eq!((third.code(), third.pips("miss"), third.pips("hit")), (Some(0), 2, 1), "{}", third.story());
    // And what is as it was is, although something else came in between.
    fresh(&w);
    warm(&build(&w, "four", &["--remote-cache", &url]), 3);
}

#[test]
fn values_of_variables_and_arguments_leave_only_as_digests() {
    const CANARY: &str = "Zq7Canary";
    const CONTROL: &str = "Zq7Control";
    let mut w = project();
    w.env.insert("SECRET_THING".into(), format!("{CANARY}1"));
    w.env.insert(CONTROL.into(), format!("{CANARY}2"));
    w.write("g.sh", "#!/bin/sh\ntest -n \"$SECRET_THING\" && cat in >out\n");
    w.write("in", CONTROL);
    w.sh("chmod +x g.sh");
    let (dir, url) = directory(&w);
    let cmd = ["sh", "-c", &format!("./g.sh --token={CANARY}3; sh -c ': {CANARY}4; echo ${CONTROL} >/dev/null'")];
    let first = build_of(&w, "one", &["--remote-cache", &url], &cmd);
    assert_eq!(first.code(), Some(0), "{}", first.stderr());
    let mut found = 0;
    let mut files = 0;
    every_file(&dir, &mut |path| {
        let bytes = std::fs::read(path).unwrap();
        files += 1;
        let has = |what: &str| bytes.windows(what.len()).any(|w| w == what.as_bytes());
        assert!(!has(CANARY), "{}", path.display());
        found += usize::from(has(CONTROL));
    });
    assert!(found > 0, "the search would have found nothing in {files} files");
    // They count all the same.
    w.sh("rm -f out");
    let second = build_of(&w, "two", &["--remote-cache", &url], &cmd);
    assert_eq!(second.pips("miss"), 0, "{}", second.story());
    w.env.insert("SECRET_THING".into(), format!("{CANARY}5"));
    let third = build_of(&w, "three", &["--remote-cache", &url], &cmd);
    assert!(third.pips("miss") > 0, "{}", third.story());
}

fn every_file(dir: &Path, f: &mut impl FnMut(&Path)) {
    for e in std::fs::read_dir(dir).unwrap().flatten() {
        if e.path().is_dir() { every_file(&e.path(), f) } else { f(&e.path()) }
    }
}

#[test]
fn contents_that_are_lost_or_damaged_are_made_anew() {
    let w = project();
    let (dir, url) = directory(&w);
    build(&w, "one", &["--remote-cache", &url]);
    let mut n = 0;
    every_file(&dir.join("cas"), &mut |path| {
        // Some are gone, the others lie.
        n += 1;
        if n % 2 == 0 { std::fs::remove_file(path).unwrap() } else { std::fs::write(path, "damaged").unwrap() }
    });
    fresh(&w);
    let second = build(&w, "two", &["--remote-cache", &url]);
    assert_eq!((second.code(), second.pips("hit")), (Some(0), 0), "{}", second.story());
    assert!(w.sh("./prog").status.success());
    fresh(&w);
    warm(&build(&w, "three", &["--remote-cache", &url]), 3);
}

#[test]
fn who_only_reads_sends_nothing() {
    let mut w = project();
    let (dir, url) = directory(&w);
    build(&w, "one", &["--remote-cache", &url]);
    let count = || {
        let mut n = 0;
        every_file(&dir, &mut |_| n += 1);
        n
    };
    let before = count();
    w.env.insert("XL_REMOTE_UPLOAD".into(), "never".into());
    fresh(&w);
    w.write("a.c", "#include \"x.h\"\nint f(int n) { return n + 0; }\n");
    let second = build(&w, "two", &["--remote-cache", &url]);
    assert!(second.stderr().contains("the remote cache is only read"), "{}", second.stderr());
    assert!(second.pips("far") >= 1 && second.pips("miss") >= 1, "{}", second.story());
    assert_eq!(count(), before);
}

/// `xl serve` on a port of its own.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(dir: &Path) -> Self {
        Self::at(dir, "127.0.0.1:0")
    }

    fn at(dir: &Path, listen: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_xl"))
            .args(["serve", "--listen", listen, "--dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("xl serve");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("its first line");
        let url = line.split_whitespace().find(|w| w.starts_with("grpc://")).expect("an address").to_owned();
        Self { child, url }
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill");
        assert!(done.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_makes_a_second_machine_warm() {
    let w = project();
    let dir = w.path("../served");
    let server = Server::start(&dir);
    let first = build(&w, "one", &["--remote-cache", &server.url]);
    assert!(first.stderr().contains("3 results sent"), "{}", first.stderr());
    fresh(&w);
    warm(&build(&w, "two", &["--remote-cache", &server.url]), 3);
    // It keeps all when it starts anew, and a directory is one whoever looks at it.
    drop(server);
    let server = Server::start(&dir);
    fresh(&w);
    warm(&build(&w, "three", &["--remote-cache", &server.url]), 3);
    fresh(&w);
    warm(&build(&w, "four", &["--remote-cache", &format!("file://{}", dir.display())]), 3);
}

/// A pip that waits until `go` is there, in the middle of the build.
const WAITING: &str = "\
all: early late
early: in
\tcat in >$@
late: gate in2
\tcat in2 >$@
gate: early
\ttouch at-gate; while ! test -e go; do sleep 0.02; done; touch gate
";

#[test]
fn a_server_that_dies_or_freezes_in_a_build_costs_no_more_than_seconds() {
    for signal in ["-KILL", "-STOP"] {
        let w = project();
        let server = Server::start(&w.path("../served"));
        w.write("Makefile", WAITING);
        w.sh("echo 1 >in; echo 2 >in2");
        let began = Instant::now();
        let builder = std::thread::scope(|s| {
            let run = s.spawn(|| build(&w, "one", &["--remote-cache", &server.url]));
            while !w.path("at-gate").exists() && began.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(Duration::from_millis(10));
            }
            server.signal(signal);
            w.write("go", "");
            run.join().expect("a build")
        });
        assert_eq!(builder.code(), Some(0), "{}", builder.stderr());
        assert_eq!(w.read("late"), "2\n");
        assert!(builder.stderr().contains("the build goes on without"), "{signal}: {}", builder.stderr());
        assert!(began.elapsed() < Duration::from_secs(40), "{signal}: {:?}", began.elapsed());
    }
}

#[test]
fn nobody_there_is_said_and_no_harm() {
    let w = project();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("grpc://{free}");
    let r = build(&w, "one", &["--remote-cache", &url]);
    assert_eq!((r.code(), r.pips("miss")), (Some(0), 3), "{}", r.stderr());
    assert!(r.stderr().contains("the build uses the cache of this machine alone"), "{}", r.stderr());
    fresh(&w);
    let strict = build(&w, "one", &["--strict", "--remote-cache", &url]);
    assert_eq!(strict.code(), Some(69), "{}", strict.stderr());
    let nonsense = build(&w, "one", &["--remote-cache", "ftp://x"]);
    assert_eq!(nonsense.code(), Some(65), "{}", nonsense.stderr());
    assert!(nonsense.stderr().contains("grpc://host:port"), "{}", nonsense.stderr());
}

/// A proxy that passes everything on, and flips bytes of long answers.
#[test]
fn a_wire_that_lies_is_not_believed() {
    let w = project();
    let server = Server::start(&w.path("../served"));
    build(&w, "one", &["--remote-cache", &server.url]);
    let made = std::fs::read(w.path("prog")).unwrap();
    let at = server.url.trim_start_matches("grpc://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("grpc://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for from in listener.incoming().flatten() {
            let to = TcpStream::connect(&at).unwrap();
            let (mut a, mut b) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut a, &mut b));
            let (mut from, mut to) = (to, from);
            std::thread::spawn(move || {
                let mut buf = vec![0; 1 << 16];
                while let Ok(n @ 1..) = from.read(&mut buf) {
                    // The machine code of objects: what begins an ELF file is one more.
                    let mut i = 0;
                    while let Some(found) = buf[i..n].windows(4).position(|w| w == b"\x7fELF") {
                        i += found + 4;
                        buf[(i + 20).min(n - 1)] ^= 1;
                    }
                    if to.write_all(&buf[..n]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    fresh(&w);
    let second = build(&w, "two", &["--remote-cache", &url]);
    assert_eq!((second.code(), second.pips("far")), (Some(0), 0), "{}\n{}", second.story(), second.stderr());
    assert_eq!(std::fs::read(w.path("prog")).unwrap(), made);
}
