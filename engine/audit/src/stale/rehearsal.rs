//! Rehearses a build in a throw-away layer, to tell what the build tool would make of stale files.
//!
//! Two builds. The first shows which stale files the build tool leaves alone. Before the second one everything is done
//! in the layer that healing would do: a file that the second build does not make again is one that `xl run --heal`
//! could not help with either, and the user need not be told of it again and again.

use super::find::Stale;
use super::heal::{Plan, Way};
use crate::layer::Layer;
use cache::PathBytes;
use engine::Config;
use rustc_hash::FxHashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What becomes of a stale file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The build tool makes it again by itself.
    Noticed,
    /// It does so if the file is healed.
    Healed,
    /// It never does, with this command.
    Unmade,
}

/// Prints the state of the files of a list, builds, prints it again, and the exit code; then the same after the files
/// of the second list were removed and those of the third made older. Records end with a NUL; an empty one ends a list.
const TRY: &str = r#"
all=$1 gone=$2 old=$3; shift 3
look() { xargs -0 -r stat --printf='%i %y %z\t%n\0' < "$all" 2>/dev/null; printf '\0'; }
build() { look; "$@" >/dev/null 2>&1; code=$?; look; printf '%s\0' "$code"; }
build "$@"
xargs -0 -r rm -f -- < "$gone"
xargs -0 -r touch -c -h -d @1 -- < "$old"
build "$@"
"#;

/// A list of files, for the script.
struct List(PathBuf);

impl List {
    fn new<'a>(config: &Config, name: &str, paths: impl Iterator<Item = &'a PathBytes>) -> Result<Self, String> {
        let file = config.cache_dir.join(format!("check-{}-{name}", std::process::id()));
        let text: Vec<u8> = paths.flat_map(|p| p.iter().copied().chain([0])).collect();
        std::fs::write(&file, text).map_err(|e| format!("`{}`: {e}", file.display()))?;
        Ok(Self(file))
    }
}

impl Drop for List {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Tells what becomes of each of these files; `plan` is what healing would do.
///
/// # Errors
/// There can be no layer here, or the build fails in it before anything is healed: nothing can be said then.
pub fn fates(
    all: &[Stale],
    plan: &Plan,
    command: &[OsString],
    cwd: &Path,
    config: &Config,
) -> Result<Vec<Fate>, String> {
    let layer = Layer::new(&config.cache_dir, &config.root)?;
    let actions = plan.actions(all);
    let of = |way| actions.iter().filter(move |(_, w, _)| *w == way).map(|(p, ..)| *p);
    let lists = [
        List::new(config, "all", all.iter().map(|s| &s.path))?,
        List::new(config, "gone", of(Way::Remove))?,
        List::new(config, "old", of(Way::Age))?,
    ];
    let mut words: Vec<OsString> = ["sh", "-c", TRY, "sh"].map(OsString::from).into();
    words.extend(lists.iter().map(|l| l.0.clone().into_os_string()));
    words.extend(command.iter().cloned());
    let out = layer.run(&words, cwd, cwd, std::env::vars_os(), None)?;
    let mut records = out.split(|b| *b == 0);
    let mut round = || {
        let mut look = || -> FxHashMap<&[u8], &[u8]> {
            let some = records.by_ref().take_while(|r| !r.is_empty());
            some.filter_map(|r| r.iter().position(|b| *b == b'\t').map(|cut| (&r[cut + 1..], &r[..cut]))).collect()
        };
        let (before, after) = (look(), look());
        (before, after, records.next().map(<[u8]>::to_vec).unwrap_or_default())
    };
    let (before, after, code) = round();
    if before.len() != all.len() {
        return Err("xargs and stat do not tell the state of the files there".into());
    }
    match &code[..] {
        b"0" => {}
        b"" => return Err("the trial ended early".into()),
        code => return Err(format!("the build fails there, with exit code {}", String::from_utf8_lossy(code))),
    }
    let (healed, again, code) = round();
    let fate = |(s, way): (&Stale, &Way)| {
        let path = &s.path[..];
        let is_made = again.contains_key(path) && again.get(path) != healed.get(path);
        match way {
            _ if after.get(path) != before.get(path) => Fate::Noticed,
            Way::Leave => Fate::Unmade,
            // A build that fails has not come to all of them.
            _ if is_made || code != b"0" => Fate::Healed,
            _ => Fate::Unmade,
        }
    };
    Ok(all.iter().zip(&plan.ways).map(fate).collect())
}
