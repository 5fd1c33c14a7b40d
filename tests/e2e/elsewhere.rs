//! `--at`: checkouts that have one path for their commands share results that name it.

use crate::world::World;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A world with checkouts beside each other, and a place for them.
struct Checkouts {
    world: World,
    at: String,
}

const MAKEFILE: &str = "prog: main.o where.txt\n\tgcc -g main.o -o $@\n\
    main.o: main.c k.h\n\tgcc -g -c main.c -o $@\n\
    where.txt:\n\tpwd > $@; echo $(CURDIR) >> $@\n";
const MAIN: &str = "#include \"k.h\"\n#include <stdio.h>\nint main(void) { puts(__FILE__); return K; }\n";

impl Checkouts {
    fn new(names: &[&str]) -> Self {
        let world = World::new();
        for name in names {
            world.write(&format!("../{name}/Makefile"), MAKEFILE);
            world.write(&format!("../{name}/main.c"), MAIN);
            world.write(&format!("../{name}/k.h"), "#define K 0\n");
            world.write(&format!("../{name}/xl.toml"), "");
        }
        let at = world.path("../at").display().to_string().replace("/t/..", "");
        Self { world, at }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.world.path("..").canonicalize().expect("the scratch directory").join(name)
    }

    fn xl(&self, checkout: &str, words: &[&str]) -> Command {
        let mut c = self.world.xl(words);
        c.current_dir(self.dir(checkout)).env("PWD", self.dir(checkout));
        c
    }

    /// Standard output, standard error and code.
    fn said(mut c: Command) -> (String, String, Option<i32>) {
        let o = c.output().expect("xl");
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        (text(&o.stdout), text(&o.stderr), o.status.code())
    }

    fn make(&self, checkout: &str) -> String {
        let (_, err, code) = Self::said(self.xl(checkout, &["run", "--at", &self.at, "--", "make"]));
        assert_eq!(code, Some(0), "{err}");
        err
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

#[test]
fn checkouts_at_one_place_share_what_names_it() {
    let c = Checkouts::new(&["one", "two"]);
    let first = c.make("one");
    assert!(first.contains("3 pips: 0 hits"), "{first}");
    let second = c.make("two");
    assert!(second.contains("3 pips: 3 hits"), "{second}");
    assert!(second.contains(&format!("set substitute-path {} {}", c.at, c.dir("two").display())), "{second}");
    for name in ["main.o", "prog", "where.txt"] {
        let (one, two) = (c.bytes(&format!("one/{name}")), c.bytes(&format!("two/{name}")));
        assert!(one == two, "{name}");
        assert!(!contains(&two, c.dir("one").to_str().expect("utf-8")), "{name} names the checkout");
    }
    assert!(contains(&c.bytes("two/main.o"), &c.at), "debug information names the place");
    assert_eq!(String::from_utf8_lossy(&c.bytes("two/where.txt")), format!("{0}\n{0}\n", c.at));
    // A plain build in that place makes the same.
    let plain = c.world.sh(&format!(
        "unshare -m sh -c 'mkdir -p {at}; cp -r {one} ../plain; rm ../plain/*.o ../plain/prog ../plain/where.txt; mount \
         --bind ../plain {at}; cd {at}; make'",
        at = c.at,
        one = c.dir("one").display()
    ));
    assert!(plain.status.success(), "{}", String::from_utf8_lossy(&plain.stderr));
    assert!(c.bytes("plain/main.o") == c.bytes("two/main.o") && c.bytes("plain/prog") == c.bytes("two/prog"));
    // What differs in a checkout counts there.
    c.world.write("../two/k.h", "#define K 7\n");
    c.world.sh("touch -d '+1 minute' ../two/k.h");
    let third = c.make("two");
    assert!(third.contains("2 pips: 0 hits"), "{third}");
    assert_eq!(Command::new(c.dir("two/prog")).output().expect("prog").status.code(), Some(7));
    // Records say where it was.
    let (log, ..) = Checkouts::said(c.xl("two", &["log"]));
    assert_eq!(log.lines().count(), 2, "{log}");
    assert!(log.contains(c.dir("two").to_str().expect("utf-8")), "{log}");
    let (why, err, _) = Checkouts::said(c.xl("two", &["explain", "main.o"]));
    assert!(why.contains("`k.h`") && !why.contains(&c.at), "{why}{err}");
    // Files that are stale are found there, too.
    c.world.write("../two/where.txt", "gone\n");
    let (_, err, code) = Checkouts::said(c.xl("two", &["check", "--at", &c.at]));
    assert!(code == Some(0) && err.contains("nothing is stale"), "{err}");
}

#[test]
fn the_configuration_may_say_where() {
    let c = Checkouts::new(&["one", "two"]);
    for name in ["one", "two"] {
        c.world.write(&format!("../{name}/xl.toml"), &format!("[workspace]\nat = {:?}\n", c.at));
        std::fs::create_dir_all(c.dir(&format!("{name}/sub"))).expect("a directory");
    }
    let run = |name: &str| {
        let (out, err, code) = Checkouts::said(c.xl(name, &["run", "--", "sh", "-c", "pwd; echo $PWD; make -C .."]));
        assert_eq!(code, Some(0), "{err}");
        (out, err)
    };
    let (out, _) = run("one/sub");
    assert!(out.starts_with(&format!("{0}/sub\n{0}/sub\n", c.at)), "{out}");
    let (_, err) = run("two/sub");
    assert!(err.contains("3 hits"), "{err}");
    let (_, err, code) = Checkouts::said(c.xl("two/sub", &["check"]));
    assert!(code == Some(0) && err.contains("nothing is stale"), "{err}");
    // Below another xl, and switched off, nothing moves.
    let xl = env!("CARGO_BIN_EXE_xl");
    let (out, err, code) = Checkouts::said(c.xl("one/sub", &["run", "--", xl, "run", "--", "pwd"]));
    assert_eq!((out, code), (format!("{}/sub\n", c.at), Some(0)), "{err}");
    let mut off = c.xl("one", &["run", "--", "pwd"]);
    off.env("XL_DISABLE", "1");
    assert_eq!(Checkouts::said(off).0, format!("{}\n", c.dir("one").display()));
}

#[test]
fn not_every_place_will_do() {
    let c = Checkouts::new(&["one"]);
    let one = c.dir("one").display().to_string();
    std::os::unix::fs::symlink("one", c.dir("link")).expect("a link");
    let full = c.dir("full").display().to_string();
    c.world.write("../full/f", "");
    for (at, why) in [
        ("src", "absolute"),
        ("/a/../b", "absolute"),
        (&*format!("{one}/below"), "inside"),
        (&*c.dir("").display().to_string().trim_end_matches('/').to_owned(), "inside"),
        (&*full, "hidden"),
        (&*c.dir("link").display().to_string(), "symbolic link"),
    ] {
        let (_, err, code) = Checkouts::said(c.xl("one", &["run", "--at", at, "--", "touch", "ran"]));
        assert!(code == Some(2) && err.contains(why), "{at}: {code:?} {err}");
        assert!(!c.dir("one/ran").exists(), "{at}");
    }
    // Where it is already, nothing has to be done.
    let (out, err, code) = Checkouts::said(c.xl("one", &["run", "--at", &one, "--", "pwd"]));
    assert_eq!((out, code), (format!("{one}\n"), Some(0)), "{err}");
}

/// In a user namespace, and at a name that this user cannot make: in front of `/` there is a directory of its own.
#[test]
fn ordinary_users_may() {
    let c = Checkouts::new(&["one", "two"]);
    let at = format!("/xl-e2e-{}/src", std::process::id());
    c.world.sh("chmod 755 ..; chown -R nobody ..");
    let run = |name: &str, words: &[&str]| {
        let mut p = c.world.command("setpriv");
        p.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", env!("CARGO_BIN_EXE_xl"), "run", "--at", &at]);
        p.arg("--").args(words).current_dir(c.dir(name)).env("HOME", c.dir("home"));
        Checkouts::said(p)
    };
    let (_, err, code) = run("one", &["make"]);
    assert!(code == Some(0) && err.contains("3 pips: 0 hits"), "{err}");
    let (_, err, code) = run("two", &["make"]);
    assert!(code == Some(0) && err.contains("3 pips: 3 hits"), "{err}");
    assert!(contains(&c.bytes("two/main.o"), &at));
    assert!(!Path::new(&at).exists(), "nothing is left behind");
    let (out, err, _) =
        run("two", &["sh", "-c", "id -un; ls -d /etc /tmp; readlink /bin; echo x > /tmp/../xl-was-here"]);
    assert!(out.starts_with("nobody\n/etc\n/tmp\nusr/bin") && err.contains("xl-was-here"), "{out}{err}");
}
