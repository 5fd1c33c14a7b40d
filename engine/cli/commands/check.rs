//! `xl check`, and what `xl run --heal` does before a build and after it: files that are not what their inputs make.

use super::{config, find_program, here, open_cache, with_cache};
use crate::args::{CheckArgs, RunOptions};
use crate::exit_code;
use crate::messages::{CommandError, say, warning};
use crate::output::print;
use ::cache::CacheHandle;
use ::cache::shown;
use audit::frontend::{self, Declared};
use audit::stale::aside::{Aside, Done};
use audit::stale::find::{Stale, stale};
use audit::stale::heal::{self, Plan, Way};
use audit::stale::rehearsal::{self, Fate};
use engine::products::own_environment;
use engine::redact::{is_whole, redact};
use engine::{BuildRecord, Config, Mode};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use worker::drivers;

pub(crate) fn run(a: &CheckArgs) -> Result<i32, CommandError> {
    if !a.cmd.is_empty() {
        find_program(&a.cmd)?;
    }
    let config = config(&a.common)?;
    if a.restore {
        return restore(&config);
    }
    with_cache(&config, |cache| check(a, cache, &config))
}

fn check(a: &CheckArgs, cache: &CacheHandle, config: &Config) -> Result<i32, CommandError> {
    let (command, cwd) = if a.cmd.is_empty() { last(a, cache, config)? } else { (a.cmd.clone(), here()?) };
    let declared = declared(&command, &cwd, config);
    let (all, unknown) = stale(cache, config, declared.as_ref())?;
    let plan =
        Plan::new(&all, declared.as_ref(), cache, config).map_err(|why| CommandError::new(exit_code::CACHE, why))?;
    let fates = if all.is_empty() { Vec::new() } else { fates(&all, &plan, &command, &cwd, config) };
    let of = |fate| all.iter().zip(&fates).filter(move |(_, f)| **f == fate).map(|(s, _)| s);
    let (stale, unmade): (Vec<&Stale>, Vec<&Stale>) =
        (of(Fate::Healed).collect(), of(Fate::Unmade).filter(|s| s.is_untouched()).collect());
    let name = |s: &Stale| {
        let path = shown(&s.path);
        path.strip_prefix(&format!("{}/", config.root.display())).map(str::to_owned).unwrap_or(path)
    };
    let argv: Vec<Vec<u8>> = command.iter().map(|w| w.as_encoded_bytes().to_vec()).collect();
    let words = redact(&argv, &own_environment());
    if a.json {
        let rows = |all: &[&Stale]| -> Vec<_> {
            all.iter().map(|s| serde_json::json!({"path": name(s), "changed": s.why})).collect()
        };
        let document = serde_json::json!({
            "version": 1,
            "command": words,
            "stale": rows(&stale),
            "unmade": rows(&unmade),
            "unknown": unknown
        });
        print(format!("{document:#}\n"))?;
    } else {
        print(stale.iter().map(|s| format!("{}: {}\n", name(s), s.why)).collect::<String>())?;
        let words = words.join(" ");
        match stale.len() {
            0 => say(&format!("nothing is stale that `{words}` would leave alone")),
            1 => say(&format!(
                "1 stale file that `{words}` would leave alone; `xl run --heal -- {words}` makes it again"
            )),
            n => say(&format!(
                "{n} stale files that `{words}` would leave alone; `xl run --heal -- {words}` makes them again"
            )),
        }
        if let Some(first) = unmade.first() {
            let others = if unmade.len() > 1 { format!(" and {} more", unmade.len() - 1) } else { String::new() };
            say(&format!("`{words}` never makes `{}`{others}, whose inputs have changed as well", name(first)));
        }
        if unknown > 0 {
            say(&format!("of {unknown} files the cache does not know any more what they depended on"));
        }
    }
    Ok(i32::from(if stale.is_empty() { 0 } else { exit_code::VIOLATIONS }))
}

/// Command and directory of the last successful build of this workspace. A build tool is asked rather than what only
/// looks at what it made (`ctest`).
fn last(a: &CheckArgs, cache: &CacheHandle, config: &Config) -> Result<(Vec<OsString>, PathBuf), CommandError> {
    let builds = cache.store.builds()?;
    let records = builds.iter().rev().filter_map(|(_, b)| serde_json::from_slice::<BuildRecord>(b).ok());
    let place = a.place.really.as_ref().unwrap_or(&config.root);
    let here = |r: &BuildRecord| r.mode == Mode::Build && r.exit_code == 0 && r.is_below(place);
    let none = || {
        CommandError::new(exit_code::USAGE, "no successful build of this workspace is known").hint("xl check -- make")
    };
    let words = |r: &BuildRecord| r.command.iter().map(OsString::from).collect::<Vec<_>>();
    let mut past: Vec<BuildRecord> = records.filter(here).collect();
    let by_tool = past.iter().position(|r| build_tool(&words(r), Path::new(&r.cwd)).is_some());
    let r = if past.is_empty() { return Err(none()) } else { past.swap_remove(by_tool.unwrap_or(0)) };
    if !is_whole(&r.command) {
        let why = "the last build command held a secret, or a byte that is no UTF-8, which is not kept";
        return Err(CommandError::new(exit_code::USAGE, why).hint("give the command: xl check -- CMD"));
    }
    Ok((r.command.into_iter().map(OsString::from).collect(), r.cwd.into()))
}

/// What the build tool declares, if the command is one. What a script runs is not known.
fn declared(command: &[OsString], cwd: &Path, config: &Config) -> Option<Declared> {
    let argv: Vec<Vec<u8>> = build_tool(command, cwd)?.iter().map(|w| w.as_encoded_bytes().to_vec()).collect();
    let env = own_environment();
    match frontend::declared(&argv, cwd.as_os_str().as_encoded_bytes(), &env, &config.cache_dir, &config.root) {
        Ok(d) => d,
        Err(e) => {
            warning(&format!("{e}; changed command lines are not noticed"));
            None
        }
    }
}

/// A build tool, in the words of the program that starts it for the user.
fn build_tool(command: &[OsString], cwd: &Path) -> Option<Vec<OsString>> {
    let name = Path::new(command.first()?).file_name()?.as_encoded_bytes();
    if drivers::is_make(name) || drivers::is_ninja(name) {
        return Some(command.to_vec());
    }
    let after = |flag: &str| command.iter().position(|w| w == flag).and_then(|i| command.get(i + 1));
    let dir = match name {
        b"cmake" => after("--build")?.clone(),
        b"meson" if command.get(1).is_some_and(|w| w == "compile") => {
            after("-C").cloned().unwrap_or_else(|| ".".into())
        }
        _ => return None,
    };
    let tool = if cwd.join(&dir).join("build.ninja").exists() { "ninja" } else { "make" };
    Some(vec![tool.into(), "-C".into(), dir])
}

/// What becomes of each. Where it cannot be tried, everything that healing could help with is listed.
fn fates(all: &[Stale], plan: &Plan, command: &[OsString], cwd: &Path, config: &Config) -> Vec<Fate> {
    rehearsal::fates(all, plan, command, cwd, config).unwrap_or_else(|why| {
        warning(&format!(
            "whether the build tool would notice cannot be tried here ({why}): everything that has changed is listed"
        ));
        plan.ways.iter().map(|way| if *way == Way::Leave { Fate::Unmade } else { Fate::Healed }).collect()
    })
}

/// Heals in a process of its own: the supervisor forks and waits for signals, so it must not have the threads of an
/// open cache.
pub(crate) fn heal_first(o: &RunOptions, cmd: &[OsString], aside: &Aside) -> Result<(), CommandError> {
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
    // It may have been killed half way.
    put_back(aside);
    if o.strict {
        return Err(CommandError::new(exit_code::CACHE, "nothing was healed, and nothing was run").cause(why));
    }
    warning(&format!("nothing was healed ({why}); the build runs as it is"));
    Ok(())
}

/// What is stale is removed, or made older, so that the build tool makes it again.
pub(crate) fn heal(a: &CheckArgs) -> Result<i32, CommandError> {
    let config = config(&a.common)?;
    let aside = Aside::of(&config);
    let failed = |why: String| CommandError::new(exit_code::CACHE, "nothing can be healed here").cause(why);
    // What was interrupted: it is as stale as it was.
    aside.bring_back().map_err(|e| failed(e.to_string()))?;
    let (cache, _) = open_cache(&config)?;
    let declared = declared(&a.cmd, &here()?, &config);
    let (all, _) = stale(&cache, &config, declared.as_ref())?;
    let plan = Plan::new(&all, declared.as_ref(), &cache, &config).map_err(failed)?;
    for h in heal::heal(&all, &plan, &aside).map_err(|e| failed(format!("what is done cannot be noted: {e}")))? {
        let (path, why) = (shown(h.path), h.why);
        match (h.way, h.outcome) {
            (Way::Remove, Ok(())) => say(&format!("removed, to be made again: `{path}` ({why})")),
            (Way::Age, Ok(())) => say(&format!("made older, to be made again: `{path}` ({why})")),
            (Way::Leave, Ok(())) => {
                let made_by = all.iter().find(|s| s.path == *h.path).map_or("", |s| &s.product.command);
                say(&format!(
                    "stale, and left alone, as no build tool made it: `{path}` ({why}); run again what made it: \
                        {made_by}"
                ));
            }
            (_, Err(e)) => {
                warning(&format!("`{path}` is stale ({why}), and could be neither removed nor made older: {e}"))
            }
        }
    }
    cache.store.close();
    Ok(0)
}

/// However the build has ended: what it did not make again is put back, or gets its time back.
pub(crate) fn put_back(aside: &Aside) {
    match aside.bring_back() {
        Ok(all) => {
            for u in all {
                let path = shown(&u.path);
                match (u.was, u.outcome) {
                    (Done::Aged(_), Ok(())) => say(&format!("`{path}` was not made again: it has its time back")),
                    (Done::Removed, Ok(())) => say(&format!("`{path}` was not made again: it was put back")),
                    (_, Err(why)) => warning(&format!("`{path}` was not made again, and cannot be put back: {why}")),
                }
            }
        }
        Err(why) => warning(&format!("what this build did not make again cannot be put back: {why}")),
    }
}

/// Brings back what a healing that was killed has taken away and nothing has made since.
fn restore(config: &Config) -> Result<i32, CommandError> {
    let unreadable =
        |e: std::io::Error| CommandError::new(exit_code::CACHE, "what was removed is not known").cause(e.to_string());
    let all = Aside::of(config).bring_back().map_err(unreadable)?;
    let mut lost = 0;
    for u in &all {
        let path = shown(&u.path);
        match (u.was, &u.outcome) {
            (Done::Aged(_), Ok(())) => say(&format!("has its time again: `{path}`")),
            (Done::Removed, Ok(())) => say(&format!("brought back: `{path}`")),
            (_, Err(why)) => {
                lost += 1;
                warning(&format!("`{path}` cannot be brought back: {why}"));
            }
        }
    }
    if all.is_empty() {
        say("there is nothing to bring back: whatever `xl run --heal` has taken away is there again");
    }
    Ok(i32::from(if lost == 0 { 0 } else { exit_code::VIOLATIONS }))
}
