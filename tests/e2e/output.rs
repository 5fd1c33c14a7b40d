//! Where `xl` writes: standard output that nobody reads or that is full, files of options, `-`.

use crate::world::World;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

/// Every subcommand that ends, as it prints something; `run`, `exec` and what heals print nothing themselves.
const ALL: &[&[&str]] = &[
    &["run", "--", "true"],
    &["exec", "--", "true"],
    &["trace", "--", "sh", "-c", "cat in"],
    &["trace", "--json", "--", "true"],
    &["audit"],
    &["audit", "--format", "json"],
    &["audit", "--prove", "1"],
    &["audit", "--format", "html", "--", "make", "-s"],
    &["check"],
    &["check", "--json"],
    &["cache", "stats"],
    &["cache", "path"],
    &["cache", "gc"],
    &["cache", "verify"],
    &["log"],
    &["log", "--json"],
    &["log", "1"],
    &["log", "1", "--json"],
    &["explain", "out", "--build", "1"],
    &["explain", "--json"],
    &["explain", "--diff", "1", "1"],
    &["doctor"],
    &["serve", "--help"],
    &["doctor", "--remote", "grpc://127.0.0.1:1"],
    &["help"],
    &["man"],
    &["completions", "bash"],
    &["log", "--help"],
    &["--version"],
];

/// A pipe that nobody reads.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("/dev/full").into()
}

/// A reader that leaves ends a command as SIGPIPE would, a full disk is an error with its own code, and nothing panics.
#[test]
fn readers_that_leave_and_full_disks() {
    let w = World::new();
    w.write("in", "1\n");
    w.write("Makefile", "out:\n\tcat in > out\n");
    // Something to show: a build, an audit with a finding, a stale file.
    assert!(w.xl(&["audit", "--", "make"]).output().unwrap().status.code().is_some());
    w.write("in", "2\n");
    for words in ALL {
        let run =
            |out: Stdio, err: Stdio| w.xl(words).stdout(out).stderr(err).spawn().unwrap().wait_with_output().unwrap();
        let usual = run(Stdio::piped(), Stdio::piped());
        let prints = !usual.stdout.is_empty();
        assert!(
            matches!(words[0], "run" | "exec") || prints,
            "{words:?} prints nothing: {}",
            String::from_utf8_lossy(&usual.stderr)
        );
        let left = run(unread(), Stdio::piped());
        let said = String::from_utf8_lossy(&left.stderr).into_owned();
        assert!(!said.contains("panicked") && !said.contains("error"), "{words:?}: {said}");
        assert_eq!(left.status.signal(), prints.then_some(13), "{words:?}: {:?} {said}", left.status);
        let full_disk = run(full(), Stdio::piped());
        let said = String::from_utf8_lossy(&full_disk.stderr).into_owned();
        if prints {
            assert_eq!(full_disk.status.code(), Some(74), "{words:?}: {said}");
            assert!(
                said.contains("xl: error: cannot write to standard output\n  caused by: No space left"),
                "{words:?}: {said}"
            );
        } else {
            assert_eq!(full_disk.status.code(), usual.status.code(), "{words:?}: {said}");
        }
        // What it has to say besides may be lost, and nothing else.
        assert_eq!(run(Stdio::piped(), full()).status, usual.status, "{words:?}");
    }
    let help = w.xl(&["--help"]).output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let rows = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    let listed = rows.filter_map(|l| l.strip_prefix("  ")?.split(' ').next()).filter(|name| !name.is_empty());
    for command in listed {
        assert!(ALL.iter().any(|words| words[0] == command), "no row for `{command}`");
    }
}

/// What cannot be written is told before anything starts, whatever the option.
#[test]
fn mistyped_names_of_files() {
    let w = World::new();
    w.write("file", "");
    for (verb, option) in
        [("run", "--json"), ("run", "--log"), ("exec", "--json"), ("trace", "-o"), ("audit", "-o"), ("audit", "--json")]
    {
        for (name, why) in [("no/such/dir/f", "No such file"), (".", "directory"), ("file/f", "Not a directory")] {
            let o = w.xl(&[verb, option, name, "--", "touch", "made"]).output().unwrap();
            let said = String::from_utf8_lossy(&o.stderr).into_owned();
            assert_eq!(o.status.code(), Some(74), "{verb} {option} {name}: {said}");
            assert!(
                said.contains(&format!("xl: error: cannot write to `{name}`\n  caused by: ")) && said.contains(why),
                "{said}"
            );
            assert!(!w.path("made").exists(), "{verb} {option} {name}");
        }
    }
    // A command that cannot be found leaves no empty record.
    assert_eq!(w.xl(&["run", "--json", "r.json", "--", "no-such-command"]).status().unwrap().code(), Some(127));
    assert!(!w.path("r.json").exists());
}

/// `-` is standard output, which is the document's alone then: what the build prints there goes to standard error.
#[test]
fn a_hyphen_is_standard_output() {
    let w = World::new();
    w.write("Makefile", "all:\n\tcat in\n");
    w.write("in", "of the build\n");
    let run = |words: &[&str]| {
        let o = w.xl(words).output().unwrap();
        assert!(!w.path("-").exists(), "{words:?}");
        (
            String::from_utf8_lossy(&o.stdout).into_owned(),
            String::from_utf8_lossy(&o.stderr).into_owned(),
            o.status.code(),
        )
    };
    for options in
        [&["run", "--json", "-"][..], &["audit", "--format", "json", "-o", "-"], &["trace", "--json", "-o", "-"]]
    {
        let (out, err, code) = run(&[options, &["--", "make"]].concat());
        assert_eq!(code, Some(0), "{options:?} {err}");
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{options:?} {out}");
        assert!(err.contains("of the build"), "{options:?} {err}");
    }
    let (out, err, _) = run(&["run", "--log", "-", "--", "make"]);
    assert!(out.contains("cat in") && !out.contains("of the build"), "{out}");
    assert!(err.contains("of the build"), "{err}");
    // A document with another in it is none.
    for options in [&["run", "--json", "-", "--log", "-"][..], &["audit", "--json", "-"]] {
        let (out, err, code) = run(&[options, &["--", "touch", "made"]].concat());
        assert_eq!((out.as_str(), code), ("", Some(2)), "{err}");
        assert!(err.contains("only one thing can be written to standard output") && !w.path("made").exists(), "{err}");
    }
    // Where `xl` itself is not used, the command has its own.
    let (mut off, mut under) =
        (w.xl(&["run", "--json", "-", "--", "make", "-s"]), w.xl(&["run", "--", env!("CARGO_BIN_EXE_xl")]));
    off.env("XL_DISABLE", "1");
    under.args(["run", "--json", "-", "--", "make", "-s"]);
    for mut c in [off, under] {
        assert_eq!(String::from_utf8_lossy(&c.output().unwrap().stdout), "of the build\n");
    }
}
