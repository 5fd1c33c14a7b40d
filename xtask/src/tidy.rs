//! Rules of the tree that no compiler checks: module docs, file sizes, where `unsafe` and printing may occur, which
//! crate may use which.

use std::path::{Path, PathBuf};

/// Longer files have a second job.
const MAX_LINES: usize = 800;

/// The formatter cuts code; comments are for whoever writes them.
const MAX_COLUMNS: usize = 120;

/// What each crate may use, in the order of the pipeline.
const ARROWS: &[(&str, &[&str])] = &[
    ("tracer-ebpf", &[]),
    ("tracer", &["tracer-ebpf"]),
    ("cache", &[]),
    ("remote", &["cache"]),
    ("worker", &["cache", "tracer"]),
    ("engine", &["cache", "tracer", "worker"]),
    ("engine/audit", &["cache", "tracer", "worker", "engine"]),
    ("xtask", &[]),
];

/// What asks the name service, in the standard library.
const NAME_SERVICE: &[&str] = &["home_dir()", "to_socket_addrs(", "TcpStream::connect("];

const CRATES: &[&str] = &["tracer-ebpf", "tracer", "cache", "remote", "worker", "engine", "audit"];

/// Checks the tree; prints what is wrong.
pub(crate) fn run() -> bool {
    let mut wrong = Vec::new();
    for file in sources(Path::new(".")) {
        match std::fs::read_to_string(&file) {
            Ok(text) => check(&file, &text, &mut wrong),
            Err(e) => wrong.push(format!("{}: {e}", file.display())),
        }
    }
    for (dir, allowed) in ARROWS {
        let manifest = match std::fs::read_to_string(format!("{dir}/Cargo.toml")) {
            Ok(text) => text,
            Err(e) => {
                wrong.push(format!("{dir}/Cargo.toml: {e}"));
                continue;
            }
        };
        let name = dir.rsplit('/').next().unwrap_or(dir);
        for other in CRATES.iter().filter(|o| **o != name && !allowed.contains(o)) {
            if manifest.lines().any(|l| l.starts_with(&format!("{other}.")) || l.starts_with(&format!("{other} "))) {
                wrong.push(format!("{dir}/Cargo.toml: `{name}` must not use `{other}`"));
            }
        }
    }
    for w in &wrong {
        eprintln!("tidy: {w}");
    }
    wrong.is_empty()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else { return out };
    for e in entries.flatten() {
        let p = e.path();
        let name = e.file_name();
        if p.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            out.extend(sources(&p));
        } else if p.extension().is_some_and(|x| x == "rs") {
            out.push(p);
        }
    }
    out
}

fn check(file: &Path, text: &str, wrong: &mut Vec<String>) {
    let path = file.display().to_string();
    let path = path.trim_start_matches("./");
    if !text.starts_with("//!") {
        wrong.push(format!("{path}: no module documentation"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        wrong.push(format!("{path}: {lines} lines; split it"));
    }
    let may_be_unsafe =
        path.starts_with("tracer/src/sys/") || path.starts_with("tracer-ebpf/") || path.starts_with("xtask/");
    let may_print = path.starts_with("xtask/") || path.starts_with("tests/") || path.ends_with("build.rs");
    for (n, l) in text.lines().enumerate() {
        if l.trim_start().starts_with("//") && l.chars().count() > MAX_COLUMNS {
            wrong.push(format!("{path}:{}: a comment of more than {MAX_COLUMNS} columns", n + 1));
        }
        let code = l.split("//").next().unwrap_or_default();
        if !may_be_unsafe && code.contains("unsafe ") {
            wrong.push(format!("{path}:{}: unsafe outside tracer/src/sys", n + 1));
        }
        // It loads what nsswitch.conf names, and a statically linked program dies of that.
        if NAME_SERVICE.iter().any(|n| code.contains(n)) && !path.starts_with("xtask/") && !path.starts_with("tests/") {
            wrong.push(format!("{path}:{}: the static binary cannot ask the name service", n + 1));
        }
        if !may_print && (code.contains("println!(") || code.contains("print!(")) {
            wrong.push(format!(
                "{path}:{}: printing panics when nobody reads: see engine/cli/output.rs and messages.rs",
                n + 1
            ));
        }
    }
}
