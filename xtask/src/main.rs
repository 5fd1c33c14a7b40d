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
            eprintln!("usage: cargo xtask ci [--full] | long | tidy | package | bench [WORKLOAD…] [--rounds N] [--dir DIR] [--json FILE]");
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

/// What runs with the best backend only: the first two try all of them anyway, the others are about texts, options, reports and the store.
const ONE_BACKEND_TELLS: &[&str] = &[
    "contract::",
    "backends::",
    "audit::",
    "cache_faults::",
    "heal::",
    "kinds::",
    "manual::",
    "options::",
    "reports::",
    "safety::",
    "traps::hidden::",
];

fn ci(full: bool) -> bool {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut ok = step("format", &cargo, &["fmt", "--all", "--check"]);
    eprintln!("== tidy");
    ok &= tidy::run();
    ok &= step("lints", &cargo, &["clippy", "--release", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
    ok &= step("tests", &cargo, &["test", "--release", "--workspace", "--quiet"]);
    for other in ["seccomp", "ptrace"] {
        let e2e = ["test", "--release", "--test", "e2e", "--quiet", "--"];
        let skips = ONE_BACKEND_TELLS.iter().flat_map(|m| ["--skip", m]);
        let args: Vec<&str> = e2e.into_iter().chain(skips).collect();
        ok &= step_with(&[("XL_BACKEND", other)], &format!("tests, {other}"), &cargo, &args);
    }
    ok && (!full || long())
}

/// The checks that take minutes: real archives, hundreds of kills, hundreds of generated commands.
fn long() -> bool {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let e2e = ["test", "--release", "--test", "e2e", "--"];
    let ignored = [&e2e[..], &["--ignored", "--test-threads", "1"]].concat();
    let generated = [&e2e[..], &["property"]].concat();
    step("long tests", &cargo, &ignored) & step_with(&[("XL_LONG_TESTS", "1")], "generated commands", &cargo, &generated)
}
