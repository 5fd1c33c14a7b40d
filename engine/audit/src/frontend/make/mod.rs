//! GNU make: its data base, and which command belongs to which target, as the next `make` would have them.
//!
//! Each make process of a build is asked again, by itself, with its own words, directory and environment, in a
//! throw-away layer ([`crate::layer`]): `-n -B` says every command, `--trace` of which target, `-p` the data base after
//! implicit rules were searched. `MAKE=:` keeps it from running the makes below, which are asked in turn.
//! `MAKE_RESTARTS=1` keeps `-B` from remaking included makefiles. The run itself cannot be asked: its data base lacks
//! what the dependency files say that it has just made.

mod database;
mod origin;

use super::depfile;
use super::step::{Declared, FrontendError};
use crate::layer::{Layer, PATIENCE};
use crate::paths::{absolute, os_path};
use cache::PathBytes;
use engine::redact::{one_line, redact};
use rustc_hash::{FxHashMap, FxHashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// What is added to the words of the command.
const QUESTION: &[&str] = &["-n", "-B", "-k", "-p", "-j1", "--trace", "--no-print-directory", "MAKE=:"];

/// The directory in which a make command works: `-C` options, one after the other.
pub(crate) fn directory(argv: &[Vec<u8>], cwd: &[u8]) -> Vec<u8> {
    let mut dir = cwd.to_vec();
    let mut words = argv.iter().skip(1).map(Vec::as_slice);
    while let Some(w) = words.next() {
        let to = match w {
            b"--directory" => words.next().unwrap_or_default(),
            b"--file" | b"--makefile" | b"--include-dir" | b"--old-file" | b"--what-if" | b"--eval" => {
                words.next();
                continue;
            }
            _ if w.starts_with(b"--directory=") => &w[12..],
            // Letters of options without values may come before one with a value (make(1)); of `-j`, `-l` and `-O` it
            // is attached.
            [b'-', letters @ ..] if !letters.starts_with(b"-") => {
                let Some(at) = letters.iter().position(|b| b"CfIoWEjlO".contains(b)) else { continue };
                let (option, rest) = (letters[at], &letters[at + 1..]);
                let value =
                    if rest.is_empty() && !b"jlO".contains(&option) { words.next().unwrap_or_default() } else { rest };
                if option != b'C' {
                    continue;
                }
                value
            }
            _ => continue,
        };
        dir = absolute(&dir, to).to_vec();
    }
    dir
}

/// What this make command declares. `generated` is what the build has made: dependency files among that
/// tell of changes, but a fresh build knows nothing of them and so takes no order from them.
pub(crate) fn declared(
    argv: &[Vec<u8>],
    cwd: &[u8],
    env: &[Vec<u8>],
    s: &Layer,
    generated: &FxHashSet<PathBytes>,
) -> Result<Declared, FrontendError> {
    if argv
        .windows(2)
        .any(|w| matches!(&w[0][..], b"-f" | b"--file" | b"--makefile") && matches!(&w[1][..], b"-" | b"/dev/stdin"))
    {
        return Err(FrontendError::Ask {
            command: one_line(&redact(argv, env)),
            why: "its makefile came from standard input".into(),
        });
    }
    let now = ask(argv, cwd, env, s, &[])?;
    let fragments: Vec<PathBytes> =
        now.files.iter().filter(|f| generated.contains(*f) && is_fragment(f)).cloned().collect();
    if fragments.is_empty() {
        return Ok(now);
    }
    let fresh = ask(argv, cwd, env, s, &fragments)?;
    let mut inputs: FxHashMap<&PathBytes, FxHashSet<&PathBytes>> = FxHashMap::default();
    let mut order_only: FxHashMap<&PathBytes, Vec<&PathBytes>> = FxHashMap::default();
    for step in &fresh.steps {
        for o in &step.outputs {
            inputs.entry(o).or_default().extend(&step.inputs);
            order_only.entry(o).or_default().extend(&step.order_only);
        }
    }
    let mut d = now;
    for step in &mut d.steps {
        let known = |i: &PathBytes| step.outputs.iter().any(|o| inputs.get(o).is_none_or(|all| all.contains(i)));
        let (kept, discovered) = std::mem::take(&mut step.inputs).into_iter().partition(|i| known(i));
        // What is named in both ways is an ordinary prerequisite to make, and was order-only without the dependency
        // file.
        let lost = step.outputs.iter().filter_map(|o| order_only.get(o)).flatten().map(|p| (*p).clone());
        let lost: Vec<PathBytes> = lost.filter(|p| !step.order_only.contains(p)).collect();
        step.order_only.extend(lost);
        (step.inputs, step.discovered) = (kept, discovered);
    }
    Ok(d)
}

/// Does this included file hold nothing but dependencies, as compilers write them?
fn is_fragment(path: &[u8]) -> bool {
    let text = std::fs::read(os_path(path)).unwrap_or_default();
    // A recipe, a variable or a directive makes it a makefile.
    text.split(|b| *b == b'\n').all(|l| !l.starts_with(b"\t") && !l.contains(&b'=') && !l.starts_with(b"include"))
        && !depfile::parse(&text).is_empty()
}

/// One question; the files `emptied` are empty for it.
fn ask(
    argv: &[Vec<u8>],
    cwd: &[u8],
    env: &[Vec<u8>],
    s: &Layer,
    emptied: &[PathBytes],
) -> Result<Declared, FrontendError> {
    let failed = |why: String| FrontendError::Ask { command: one_line(&redact(argv, env)), why };
    let mut words: Vec<OsString> = Vec::new();
    if !emptied.is_empty() {
        let text = r#"n=$1; shift; while [ "$n" -gt 0 ]; do : > "$1"; n=$((n - 1)); shift; done; exec "$@""#;
        words.extend(["sh".into(), "-c".into(), text.into(), "sh".into(), emptied.len().to_string().into()]);
        words.extend(emptied.iter().map(|p| OsString::from_vec(p.to_vec())));
    }
    words.extend(argv.iter().map(|a| OsString::from_vec(a.clone())).chain(QUESTION.iter().map(OsString::from)));
    let vars = env.iter().filter_map(|v| {
        let at = v.iter().position(|b| *b == b'=')?;
        let (name, value) = (v[..at].to_vec(), v[at + 1..].to_vec());
        let value = match &name[..] {
            // Without the job slots, which are not there any more.
            b"MAKEFLAGS" => worker::environment::effective(&name, &value),
            b"MFLAGS" | b"LC_ALL" | b"LANGUAGE" | b"MAKE_RESTARTS" => return None,
            _ => value,
        };
        Some((OsString::from_vec(name), OsString::from_vec(value)))
    });
    // Its messages are read; the locale is one that sorts as before.
    let vars = vars.chain([("LC_ALL".into(), "C.UTF-8".into()), ("MAKE_RESTARTS".into(), "1".into())]);
    let dir = directory(argv, cwd);
    let out = s.run(&words, os_path(cwd), os_path(&dir), vars, PATIENCE).map_err(failed)?;
    let mut d = database::parse(&out, &dir).ok_or_else(|| failed("it printed no data base; is it GNU make?".into()))?;
    origin::trace(&mut d);
    Ok(d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories() {
        let v = |s: &str| s.split(' ').map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(directory(&v("make -C a -f -C --directory=../b all"), b"/x"), b"/x/b");
        assert_eq!(directory(&v("make -sC sub -j 2 -W -C -Ckk"), b"/x"), b"/x/sub/kk");
        assert_eq!(directory(&v("make -j2 -lC all"), b"/x"), b"/x");
    }
}
