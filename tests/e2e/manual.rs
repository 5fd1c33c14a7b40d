//! What is made from the definition of the command line: version, manual pages, completions.

use crate::world::World;
use std::collections::BTreeSet;
use std::process::Command;

fn said(w: &World, args: &[&str]) -> String {
    let out = w.xl(args).output().expect("xl");
    assert!(out.status.success() && out.stderr.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("UTF-8")
}

#[test]
fn the_version_names_the_commit() {
    let git = Command::new("git")
        .args(["log", "-1", "--abbrev=10", "--format= (%h %cs)"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    // From an archive there is none.
    let commit =
        git.ok().filter(|o| o.status.success()).map(|o| String::from_utf8_lossy(&o.stdout).trim_end().to_owned());
    assert_eq!(
        said(&World::new(), &["--version"]).trim_end(),
        format!("xl {}{}", env!("CARGO_PKG_VERSION"), commit.unwrap_or_default())
    );
}

#[test]
fn every_command_has_a_page() {
    let w = World::new();
    let dir = w.path("man/1");
    assert_eq!(said(&w, &["man", "--dir", dir.to_str().expect("UTF-8")]), "");
    let pages =
        std::fs::read_dir(&dir).expect("pages").map(|e| e.expect("a page").file_name().into_string().expect("UTF-8"));
    let pages: BTreeSet<String> = pages.collect();
    let help = said(&w, &["--help"]);
    let commands = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    let commands: Vec<&str> = commands
        .filter_map(|l| l.strip_prefix("  ")?.split(' ').next())
        .filter(|c| !matches!(*c, "" | "help"))
        .collect();
    assert!(
        commands.len() > 9 && commands.iter().all(|c| pages.contains(&format!("xl-{c}.1"))),
        "{commands:?} {pages:?}"
    );
    assert!(!pages.contains("xl-heal.1") && pages.contains("xl-cache-gc.1"), "{pages:?}");
    // One page alone is the same.
    let page = |name: &str| std::fs::read_to_string(dir.join(name)).expect("a page");
    assert_eq!(said(&w, &["man"]), page("xl.1"));
    assert_eq!(said(&w, &["man", "cache", "gc"]), page("xl-cache-gc.1"));
    assert!(page("xl-run.1").contains("\\-\\-heal") && page("xl.1").contains("Exit codes"));
    assert_eq!(w.xl(&["man", "cache", "nothing"]).output().expect("xl").status.code(), Some(2));
}

#[test]
fn shells_complete() {
    let w = World::new();
    let bash = |words: &str| {
        let xl = env!("CARGO_BIN_EXE_xl");
        let text = format!(
            "eval \"$({xl} completions bash)\"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _xl xl \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let out = Command::new("bash").args(["-c", &text]).output().expect("bash");
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    assert_eq!((bash("xl ru"), bash("xl he"), bash("xl cache ver")), ("run".into(), "help".into(), "verify".into()));
    assert_eq!((bash("xl run --he"), bash("xl run --backend se")), ("--heal --help".into(), "seccomp".into()));
    for (shell, begins) in [("zsh", "#compdef xl"), ("fish", "# "), ("elvish", ""), ("powershell", "")] {
        let script = said(&w, &["completions", shell]);
        // What xl calls itself is no command.
        assert!(
            script.starts_with(begins) && script.contains("doctor") && !script.contains("What `run --heal` does first"),
            "{shell}"
        );
    }
}
