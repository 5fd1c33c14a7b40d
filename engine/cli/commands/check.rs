//! `xl check`, and what `xl run --heal` does before a build: files that are not what their inputs make.

use super::{config, open_cache};
use crate::app::{CheckArgs, RunArgs};
use crate::exit_code;
use crate::messages::{CommandError, say, warning};
use engine::frontend::{Declared, ask::Sandbox, make};
use engine::products::{self, Healed, Stale};
use engine::{BuildRecord, Config};
use std::path::PathBuf;

pub fn run(a: &CheckArgs) -> Result<i32, CommandError> {
    let config = config(&a.common)?;
    let (cache, notices) = open_cache(&config)?;
    notices.iter().for_each(|n| warning(n));
    let here = std::env::current_dir().unwrap_or_default();
    let (command, cwd) = if a.cmd.is_empty() {
        let none = || CommandError::new(exit_code::USAGE, "no build of this workspace is known").hint("xl check -- make");
        last(&cache, &config).ok_or_else(none)?
    } else {
        (a.cmd.clone(), here)
    };
    let declared = declared(&command, &cwd, &config);
    let all = products::stale(&cache, &config, &declared)?;
    let all = if all.is_empty() { all } else { unnoticed(all, &command, &cwd, &config) };
    let shown = |s: &Stale| {
        let root = format!("{}/", config.root.display());
        let path = String::from_utf8_lossy(&s.path).into_owned();
        path.strip_prefix(&root).map(str::to_owned).unwrap_or(path)
    };
    if a.json {
        let rows: Vec<_> = all.iter().map(|s| serde_json::json!({"path": shown(s), "changed": s.why})).collect();
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({"version": 1, "stale": rows})).unwrap_or_default());
    } else {
        all.iter().for_each(|s| println!("{}: {}", shown(s), s.why));
        let hint = if all.is_empty() { "" } else { "; `xl run --heal` makes them again" };
        say(&format!("{} stale files that `{}` would leave alone{hint}", all.len(), command.join(" ")));
    }
    cache.store.close();
    Ok(i32::from(if all.is_empty() { 0 } else { exit_code::VIOLATIONS }))
}

/// Command and directory of the last build of this workspace.
fn last(cache: &engine::run::CacheHandle, config: &Config) -> Option<(Vec<String>, PathBuf)> {
    let builds = cache.store.builds().ok()?;
    let records = builds.iter().rev().filter_map(|(_, b)| serde_json::from_slice::<BuildRecord>(b).ok());
    let mut here = records.filter(|r| std::path::Path::new(&r.cwd).starts_with(&config.root));
    here.next().map(|r| (r.command, r.cwd.into()))
}

/// What the makefiles say now, if the build command is a make. ninja sees changed commands by itself.
fn declared(command: &[String], cwd: &std::path::Path, config: &Config) -> Vec<Declared> {
    let is_make = command.first().is_some_and(|c| matches!(c.rsplit('/').next(), Some("make" | "gmake")));
    if !is_make {
        return Vec::new();
    }
    let argv: Vec<Vec<u8>> = command.iter().map(|c| c.as_bytes().to_vec()).collect();
    let env: Vec<Vec<u8>> = std::env::vars_os().map(|(k, v)| [k.as_encoded_bytes(), b"=", v.as_encoded_bytes()].concat()).collect();
    let cwd = cwd.as_os_str().as_encoded_bytes();
    let asked = Sandbox::new(&config.cache_dir).map_err(|why| engine::frontend::FrontendError::Ask { command: command.join(" "), why });
    match asked.and_then(|s| make::declared(&argv, cwd, &env, &s, &config.root, &Default::default())) {
        Ok(d) => vec![d],
        Err(e) => {
            warning(&format!("{e}; changed command lines are not noticed"));
            Vec::new()
        }
    }
}

fn unnoticed(all: Vec<Stale>, command: &[String], cwd: &std::path::Path, config: &Config) -> Vec<Stale> {
    match products::unnoticed(all.clone(), command, cwd, config) {
        Ok(some) => some,
        Err(why) => {
            warning(&format!("whether the build tool would notice cannot be tried here ({why}): everything that has changed is listed"));
            all
        }
    }
}

/// Heals in a process of its own: the supervisor forks and waits for signals, so it must not have the threads of an open cache.
pub fn heal_first(a: &RunArgs) -> Result<(), CommandError> {
    let failed = |why: String| CommandError::new(exit_code::INTERNAL, "what is stale could not be found, and nothing was run").cause(why);
    let me = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
    let mut c = std::process::Command::new(me);
    c.arg("heal");
    for (flag, value) in [("--cache-dir", &a.common.cache_dir), ("--config", &a.common.config)] {
        if let Some(v) = value {
            c.arg(flag).arg(v);
        }
    }
    let status = c.arg("--").args(&a.cmd).status().map_err(|e| failed(e.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

/// What is stale is removed, or made older, so that the build tool makes it again.
pub fn heal(a: &CheckArgs) -> Result<i32, CommandError> {
    let config = config(&a.common)?;
    let (cache, _) = open_cache(&config)?;
    let cwd = std::env::current_dir().unwrap_or_default();
    let all = products::stale(&cache, &config, &declared(&a.cmd, &cwd, &config))?;
    let why: Vec<&str> = all.iter().map(|s| s.why.as_str()).collect();
    for ((path, done), why) in products::heal(&all, &cache, &config).iter().zip(why) {
        let path = String::from_utf8_lossy(path);
        match done {
            Ok(Healed::Removed) => say(&format!("made anew: `{path}` ({why})")),
            Ok(Healed::Aged) => say(&format!("made older, as it may be a source: `{path}` ({why})")),
            Err(e) => warning(&format!("`{path}` is stale ({why}) and cannot be removed: {e}")),
        }
    }
    cache.store.close();
    Ok(0)
}
