//! What developers run: `cargo xtask ci`, `long`, `tidy`, `bench`, `package`.
//!
//! `ci` is what `.ci/run` calls: format, lints, tidy, all tests, in one profile, so that nothing is compiled twice.
//! `ci --full` is `ci` and then `long`.

mod bench;
mod package;
mod tidy;

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let ok = match words.as_slice() {
        ["ci"] => ci(false),
        ["ci", "--full"] => ci(true),
        ["long"] => long(),
        ["tidy"] => tidy::run(),
        ["package"] => package::run(),
        ["bench", rest @ ..] => bench::run(rest),
        _ => {
            eprintln!(
                "usage: cargo xtask ci [--full] | long | tidy | package | bench [WORKLOAD…] [--rounds N] [--dir DIR] \
                    [--json FILE] [--peer WORDS]"
            );
            false
        }
    };
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn step(name: &str, program: &str, args: &[&str]) -> bool {
    step_with(&[], name, program, args)
}

fn step_with(vars: &[(&str, &str)], name: &str, program: &str, args: &[&str]) -> bool {
    eprintln!("== {name}");
    match Command::new(program).args(args).envs(vars.iter().copied()).status() {
        Ok(s) if s.success() => true,
        Ok(s) => {
            eprintln!("xtask: {name} failed: {s}");
            false
        }
        Err(e) => {
            eprintln!("xtask: cannot run `{program}`: {e}");
            false
        }
    }
}

/// What depends on how calls are held and told of, and so runs with each backend: how programs behave, end, die and are
/// killed, their streams and terminals, who else changes files, builds that behave oddly. `contract` (each call) and
/// `backends` (what one stores is what the others would) try all three themselves; what an access then means is the
/// same code for all, and the rest of the suite tries it with the best one, and with the others in `long`.
const EACH_BACKEND_TELLS: &[&str] = &[
    "behaviour::",
    "crash::",
    "endings::",
    "terminal::",
    "traps::builds::",
    "traps::descriptors::",
    "traps::meanwhile::names_that_another",
    "traps::meanwhile::who_waits",
    "traps::others::",
    "traps::streams::",
    "warm::",
];

/// The end-to-end tests whose names contain one of these words (all, if there are none), with a backend.
fn with_backend(cargo: &str, backend: &str, words: &[&str]) -> bool {
    let args = [&["test", "--release", "--test", "e2e", "--quiet", "--"], words].concat();
    step_with(&[("XL_BACKEND", backend)], &format!("tests, {backend}"), cargo, &args)
}

fn ci(full: bool) -> bool {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut ok = step("format", &cargo, &["fmt", "--all", "--check"]);
    eprintln!("== tidy");
    ok &= tidy::run();
    ok &= step(
        "lints",
        &cargo,
        &["clippy", "--release", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"],
    );
    ok &= step("tests", &cargo, &["test", "--release", "--workspace", "--quiet"]);
    for other in OTHERS {
        ok &= with_backend(&cargo, other, EACH_BACKEND_TELLS);
    }
    ok && (!full || long())
}

/// The backends that `auto` does not choose where eBPF works.
const OTHERS: [&str; 2] = ["seccomp", "ptrace"];

/// The checks that take minutes: real archives, hundreds of kills, hundreds of generated commands, everything with the
/// other backends.
fn long() -> bool {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let e2e = ["test", "--release", "--test", "e2e", "--"];
    let ignored = [&e2e[..], &["--ignored", "--test-threads", "1"]].concat();
    let generated = [&e2e[..], &["property"]].concat();
    let ok = step("long tests", &cargo, &ignored)
        & step_with(&[("XL_LONG_TESTS", "1")], "generated commands", &cargo, &generated);
    OTHERS.iter().fold(ok, |ok, other| ok & with_backend(&cargo, other, &[]))
}
