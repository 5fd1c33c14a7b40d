//! ninja: the manifest, dynamic dependencies, dependency files and the deps log, as the next `ninja` would read them.
//!
//! Asking `ninja -t` instead would mean to start it in the user's tree, once per question, and none of its tools tells
//! order-only inputs from others together with the command.

mod deps_log;
mod lexer;
mod manifest;

use super::depfile;
use super::step::{Declared, FrontendError, Place, Step, Tool};
use crate::paths::absolute;
use deps_log::DepsLog;
use manifest::{Edge, Manifest};
use rustc_hash::FxHashMap;
use worker::command_text::normalised;

/// What the words of a ninja command line say: directory (`-C`) and manifest (`-f`).
fn options(argv: &[Vec<u8>]) -> (Option<&[u8]>, &[u8]) {
    let (mut dir, mut file) = (None, &b"build.ninja"[..]);
    let mut words = argv.iter().skip(1).map(Vec::as_slice);
    while let Some(w) = words.next() {
        let mut value = |rest: &'_ [u8]| if rest.is_empty() { words.next() } else { None };
        match w {
            b"--" => break,
            _ if w.starts_with(b"-C") => dir = value(&w[2..]).or(Some(&w[2..])),
            _ if w.starts_with(b"-f") => file = value(&w[2..]).unwrap_or(&w[2..]),
            b"-j" | b"-k" | b"-l" | b"-d" | b"-w" | b"-t" => drop(words.next()),
            _ => {}
        }
    }
    (dir, file)
}

/// Where this command works.
pub(crate) fn directory(argv: &[Vec<u8>], cwd: &[u8]) -> cache::PathBytes {
    options(argv).0.map_or_else(|| cwd.into(), |d| absolute(cwd, d))
}

/// What the manifest of this command, started in `cwd`, declares.
pub(crate) fn declared(argv: &[Vec<u8>], cwd: &[u8]) -> Result<Declared, FrontendError> {
    let (dir, file) = (directory(argv, cwd), options(argv).1);
    let manifest = Manifest::load(&dir, file)?;
    let builddir = manifest.builddir();
    let log = absolute(&dir, &[&builddir[..], if builddir.is_empty() { b"" } else { b"/" }, b".ninja_deps"].concat());
    let log = DepsLog::load(&log);
    let mut d = Declared {
        tool: Tool::Ninja,
        files: manifest.files.iter().map(|f| absolute(&dir, f)).collect(),
        ..Declared::default()
    };
    let dynamic = dynamic(&manifest, &dir);
    for e in &manifest.edges {
        d.steps.push(step(&manifest, e, &dir, &log, &dynamic));
    }
    Ok(d)
}

/// Inputs and outputs that are only known while building, by first output.
type Dynamic = FxHashMap<Vec<u8>, (Vec<Vec<u8>>, Vec<Vec<u8>>)>;

fn dynamic(m: &Manifest, dir: &[u8]) -> Dynamic {
    let mut all = Dynamic::default();
    let mut files: Vec<Vec<u8>> = m.edges.iter().map(|e| m.value(e, b"dyndep")).filter(|f| !f.is_empty()).collect();
    files.sort();
    files.dedup();
    for f in files {
        // One that cannot be read was not made: its steps have not run.
        if let Ok(edges) = manifest::dyndep(dir, &f) {
            for e in edges {
                if let Some(first) = e.outputs.first() {
                    all.insert(first.clone(), (e.outputs[1..].to_vec(), e.implicit));
                }
            }
        }
    }
    all
}

fn step(m: &Manifest, e: &Edge, dir: &[u8], log: &DepsLog, dynamic: &Dynamic) -> Step {
    let full = |v: &[Vec<u8>]| v.iter().map(|p| absolute(dir, p)).collect::<Vec<_>>();
    let mut s = Step {
        outputs: full(&e.outputs),
        inputs: full(&[&e.inputs[..], &e.implicit[..]].concat()),
        order_only: full(&e.order_only),
        phony: e.rule == b"phony",
        place: Place { file: absolute(dir, &e.file).to_vec(), line: e.line },
        ..Step::default()
    };
    if s.phony {
        return s;
    }
    // Validations run besides it; they order nothing.
    s.commands = vec![normalised(&m.value(e, b"command"))];
    if let Some((outputs, inputs)) = e.outputs.first().and_then(|o| dynamic.get(o)) {
        s.outputs.extend(full(outputs));
        s.inputs.extend(full(inputs));
    }
    for name in [b"depfile".as_slice(), b"rspfile", b"dyndep"] {
        let file = m.value(e, name);
        if file.is_empty() {
            continue;
        }
        let path = absolute(dir, &file);
        if name == b"depfile" && m.value(e, b"deps").is_empty() {
            let text = std::fs::read(crate::paths::os_path(&path)).unwrap_or_default();
            s.discovered
                .extend(depfile::parse(&text).into_iter().flat_map(|(_, inputs)| inputs).map(|i| absolute(dir, &i)));
        }
        s.byproducts.push(path);
    }
    for o in &e.outputs {
        s.discovered.extend(log.inputs(o).map(|i| absolute(dir, i)));
    }
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let v = |s: &str| s.split(' ').map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(options(&v("ninja -C out -j 3 -fx.ninja all")), (Some(&b"out"[..]), &b"x.ninja"[..]));
        assert_eq!(options(&v("ninja -Cout -t graph")), (Some(&b"out"[..]), &b"build.ninja"[..]));
        assert_eq!(options(&v("ninja all")), (None, &b"build.ninja"[..]));
    }
}
