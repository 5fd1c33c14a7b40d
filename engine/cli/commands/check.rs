//! `xl check`, and what `xl run --heal` does before a build and after it: files that are not what their inputs make.

use super::{config, open_cache};
use crate::app::{CheckArgs, RunOptions};
use crate::exit_code;
use crate::messages::{CommandError, say, warning};
use engine::frontend::{self, Declared};
use engine::heal::{self, Healed};
use engine::products::{self, Stale};
use engine::record::shown;
use engine::redact::{is_whole, redact};
use engine::run::CacheHandle;
use engine::{BuildRecord, Config, Mode};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub fn run(a: &CheckArgs) -> Result<i32, CommandError> {
    let config = config(&a.common)?;
    let (cache, notices) = open_cache(&config)?;
    notices.iter().for_each(|n| warning(n));
    if a.restore {
        let code = restore(&cache, &config);
        cache.store.close();
        return code;
    }
    let (command, cwd) = if a.cmd.is_empty() { last(&cache, &config)? } else { (a.cmd.clone(), here()?) };
    let (all, unknown) = products::stale(&cache, &config, declared(&command, &cwd, &config).as_ref())?;
    let all = if all.is_empty() { all } else { unnoticed(all, &command, &cwd, &config) };
    let name = |s: &Stale| {
        let path = shown(&s.path);
        path.strip_prefix(&format!("{}/", config.root.display())).map(str::to_owned).unwrap_or(path)
    };
    let argv: Vec<Vec<u8>> = command.iter().map(|w| w.as_encoded_bytes().to_vec()).collect();
    let words = redact(&argv, &products::own_environment());
    if a.json {
        let rows: Vec<_> = all.iter().map(|s| serde_json::json!({"path": name(s), "changed": s.why})).collect();
        let document = serde_json::json!({"version": 1, "command": words, "stale": rows, "unknown": unknown});
        println!("{document:#}");
    } else {
        all.iter().for_each(|s| println!("{}: {}", name(s), s.why));
        let words = words.join(" ");
        match all.len() {
            0 => say(&format!("nothing is stale that `{words}` would leave alone")),
            n => say(&format!("{n} stale files that `{words}` would leave alone; `xl run --heal -- {words}` makes them again")),
        }
        if unknown > 0 {
            say(&format!("of {unknown} files the cache does not know any more what they depended on"));
        }
    }
    cache.store.close();
    Ok(i32::from(if all.is_empty() { 0 } else { exit_code::VIOLATIONS }))
}

fn here() -> Result<PathBuf, CommandError> {
    std::env::current_dir().map_err(|e| CommandError::new(exit_code::CONFIG, "the current directory cannot be used").cause(e.to_string()))
}

/// Command and directory of the last successful build of this workspace.
fn last(cache: &CacheHandle, config: &Config) -> Result<(Vec<OsString>, PathBuf), CommandError> {
    let builds = cache.store.builds()?;
    let records = builds.iter().rev().filter_map(|(_, b)| serde_json::from_slice::<BuildRecord>(b).ok());
    let here = |r: &BuildRecord| r.mode == Mode::Build && r.exit_code == 0 && Path::new(&r.cwd).starts_with(&config.root);
    let none = || CommandError::new(exit_code::USAGE, "no successful build of this workspace is known").hint("xl check -- make");
    let r = records.into_iter().find(here).ok_or_else(none)?;
    if !is_whole(&r.command) {
        let why = "the last build command held a secret, or a byte that is no UTF-8, which is not kept";
        return Err(CommandError::new(exit_code::USAGE, why).hint("give the command: xl check -- CMD"));
    }
    Ok((r.command.into_iter().map(OsString::from).collect(), r.cwd.into()))
}

/// What the build tool declares, if the command is one. What a script runs is not known.
fn declared(command: &[OsString], cwd: &Path, config: &Config) -> Option<Declared> {
    let bytes = |w: &OsString| w.as_encoded_bytes().to_vec();
    let argv: Vec<Vec<u8>> = command.iter().map(bytes).collect();
    let env = products::own_environment();
    match frontend::declared(&argv, cwd.as_os_str().as_encoded_bytes(), &env, &config.cache_dir, &config.root) {
        Ok(d) => d,
        Err(e) => {
            warning(&format!("{e}; changed command lines are not noticed"));
            None
        }
    }
}

fn unnoticed(all: Vec<Stale>, command: &[OsString], cwd: &Path, config: &Config) -> Vec<Stale> {
    match products::unnoticed(&all, command, cwd, config) {
        Ok(same) => all.into_iter().zip(same).filter(|(_, same)| *same).map(|(s, _)| s).collect(),
        Err(why) => {
            warning(&format!("whether the build tool would notice cannot be tried here ({why}): everything that has changed is listed"));
            all
        }
    }
}

/// Heals in a process of its own: the supervisor forks and waits for signals, so it must not have the threads of an open cache.
pub fn heal_first(o: &RunOptions, cmd: &[OsString]) -> Result<(), CommandError> {
    let healed = std::env::current_exe().and_then(|me| {
        let mut c = std::process::Command::new(me);
        c.arg("heal");
        for (flag, value) in [("--cache-dir", &o.common.cache_dir), ("--config", &o.common.config)] {
            if let Some(v) = value {
                c.arg(flag).arg(v);
            }
        }
        c.arg("--").args(cmd).status()
    });
    let why = match healed {
        Ok(s) if s.success() => return Ok(()),
        Ok(s) => s.to_string(),
        Err(e) => e.to_string(),
    };
    if o.strict {
        return Err(CommandError::new(exit_code::CACHE, "nothing was healed, and nothing was run").cause(why));
    }
    warning(&format!("nothing was healed ({why}); the build runs as it is"));
    Ok(())
}

/// What is stale is removed, or made older, so that the build tool makes it again.
pub fn heal(a: &CheckArgs) -> Result<i32, CommandError> {
    let config = config(&a.common)?;
    let (cache, _) = open_cache(&config)?;
    let declared = declared(&a.cmd, &here()?, &config);
    let (all, _) = products::stale(&cache, &config, declared.as_ref())?;
    let done = heal::heal(&all, declared.as_ref(), &cache, &config)
        .map_err(|why| CommandError::new(exit_code::CACHE, "nothing can be healed here").cause(why))?;
    for (s, done) in all.iter().zip(done) {
        let (path, why) = (shown(&s.path), &s.why);
        match done {
            Ok(Healed::Removed) => say(&format!("removed, to be made again: `{path}` ({why})")),
            Ok(Healed::Aged) => say(&format!("made older, as it may be a source: `{path}` ({why})")),
            Ok(Healed::Left) => {
                say(&format!(
                    "stale, and left alone, as no build tool made it: `{path}` ({why}); run again what made it: {}",
                    s.product.command
                ));
            }
            Err(e) => warning(&format!("`{path}` is stale ({why}), and could be neither removed nor made older: {e}")),
        }
    }
    cache.store.close();
    Ok(0)
}

/// After a build that went well: what it did not make again is put back, or gets its time back.
pub fn restore_unmade(config: &Config) {
    let done = open_cache(config).map_err(|e| e.to_string()).and_then(|(cache, _)| {
        let done = heal::bring_back(&cache, config).map_err(|e| e.to_string());
        cache.store.close();
        done
    });
    match done {
        Ok(all) => {
            for u in all {
                let path = shown(&u.path);
                match (u.was, u.outcome) {
                    (Healed::Aged, Ok(())) => {
                        warning(&format!("`{path}` is stale, and this build does not make it: it has its time again"))
                    }
                    (_, Ok(())) => warning(&format!("`{path}` is stale, and this build does not make it: it was put back")),
                    (_, Err(why)) => warning(&format!("`{path}` was stale, this build does not make it, and it cannot be put back: {why}")),
                }
            }
        }
        Err(why) => warning(&format!("what this build did not make again cannot be put back: {why}")),
    }
}

/// Brings back what the last healing has removed and nothing has made since.
fn restore(cache: &CacheHandle, config: &Config) -> Result<i32, CommandError> {
    let unreadable = |e: std::io::Error| CommandError::new(exit_code::CACHE, "what was removed is not known").cause(e.to_string());
    let all = heal::bring_back(cache, config).map_err(unreadable)?;
    let mut lost = 0;
    for u in &all {
        let path = shown(&u.path);
        match &u.outcome {
            Ok(()) if u.was == Healed::Aged => say(&format!("has its time again: `{path}`")),
            Ok(()) => say(&format!("brought back: `{path}`")),
            Err(why) => {
                lost += 1;
                warning(&format!("`{path}` cannot be brought back: {why}"));
            }
        }
    }
    if all.is_empty() {
        say("there is nothing to bring back: the last `xl run --heal` removed nothing that is still missing");
    }
    Ok(i32::from(if lost == 0 { 0 } else { exit_code::VIOLATIONS }))
}
