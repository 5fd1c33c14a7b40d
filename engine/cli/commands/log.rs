//! `xl log`: past builds of a workspace; of one build, what happened to each command, and why.

use super::summary::{counted, duration};
use super::{config, here, with_cache};
use crate::args::{LogArgs, WhichBuild};
use crate::exit_code;
use crate::messages::{CommandError, say};
use crate::output::print;
use crate::shorten::shorten;
use ::cache::home;
use engine::explain::{Explainer, NotExported};
use engine::{BuildRecord, Item, Outcome};
use std::path::{Path, PathBuf};

pub(crate) fn run(a: &LogArgs) -> Result<i32, CommandError> {
    let config = config(&a.common)?;
    if a.export.is_some() || a.import.is_some() {
        return with_cache(&config, |cache| travel(a, &Explainer::new(cache, &config.root)));
    }
    let place = match &a.dir {
        Some(dir) => absolute(&home::expand(dir))?,
        None => config.root.clone(),
    };
    let builds = with_cache(&config, |cache| Ok(cache.store.builds()?))?;
    let parsed =
        builds.iter().filter_map(|(id, bytes)| Some((*id, serde_json::from_slice::<BuildRecord>(bytes).ok()?)));
    let builds: Vec<(u64, BuildRecord)> = parsed.collect();
    let is_here = |r: &BuildRecord| a.all || r.is_below(&place);
    let which = a.build.or_else(|| a.asks_for_commands().then_some(WhichBuild::Last));
    let Some(which) = which else {
        let shown: Vec<&(u64, BuildRecord)> = builds.iter().filter(|(_, r)| is_here(r)).collect();
        if shown.is_empty() {
            say(&format!(
                "no build in `{}` is known; `xl log --all` shows those of all directories ({})",
                place.display(),
                builds.len()
            ));
        }
        return print(shown.iter().map(|(id, r)| if a.json { row(*id, r) } else { line(*id, r) }).collect::<String>())
            .map(|()| 0);
    };
    let found = match which {
        WhichBuild::Number(n) => builds.into_iter().find(|(id, _)| *id == n),
        // Of a directory that is asked for, commands are wanted; the build may have been started above it.
        WhichBuild::Last if a.dir.is_some() => builds.into_iter().rev().find(|(_, r)| r.is_below(&config.root)),
        WhichBuild::Last => builds.into_iter().rev().find(|(_, r)| is_here(r)),
    };
    let missing = || {
        let what = if let WhichBuild::Number(n) = which {
            format!("no build {n} is known")
        } else {
            "no build is known here".into()
        };
        CommandError::new(exit_code::USAGE, what).hint("`xl log --all` lists all that are known")
    };
    let (id, mut record) = found.ok_or_else(missing)?;
    let all = record.items.len();
    let in_place = |i: &Item| Path::new(&record.place(&i.cwd)).starts_with(&place);
    let wanted: Vec<bool> = record.items.iter().map(|i| a.wants(i) && (a.dir.is_none() || in_place(i))).collect();
    let mut wanted = wanted.into_iter();
    record.items.retain(|_| wanted.next() == Some(true));
    if a.slowest {
        record.items.sort_by(|x, y| y.wall_ms.total_cmp(&x.wall_ms));
    }
    if a.json {
        let text =
            serde_json::to_string_pretty(&record).map_err(|e| CommandError::new(exit_code::INTERNAL, e.to_string()))?;
        return print(text + "\n").map(|()| 0);
    }
    let mut text = line(id, &record);
    let (mut inside, room) = (record.cwd.as_str(), columns());
    for i in &record.items {
        if i.cwd != inside {
            inside = &i.cwd;
            text.push_str(&format!("       in {}\n", tilde(&record.place(inside))));
        }
        text.push_str(&lines(i, room));
    }
    print(text)?;
    if record.items.len() < all {
        say(&format!("{} of {all} commands", record.items.len()));
    }
    Ok(0)
}

/// A build as a file, out or in.
fn travel(a: &LogArgs, all: &Explainer<'_>) -> Result<i32, CommandError> {
    let refused = |what: &str, file: &Path, e: std::io::Error| {
        CommandError::new(exit_code::USAGE, format!("cannot {what} `{}`", file.display())).cause(e.to_string())
    };
    if let Some(file) = &a.import {
        let bytes = std::fs::read(file).map_err(|e| refused("read", file, e))?;
        let number = all.import(&bytes)?;
        return print(format!("build {number}\n")).map(|()| 0);
    }
    let number = match a.build {
        Some(WhichBuild::Number(n)) => Some(n),
        Some(WhichBuild::Last) | None => None,
    };
    let bytes = all.export(number)?;
    if let Some(file) = &a.export {
        std::fs::write(file, bytes).map_err(|e| refused("write", file, e))?;
    }
    Ok(0)
}

impl From<NotExported> for CommandError {
    fn from(e: NotExported) -> Self {
        match e {
            NotExported::Unknown(e) => e.into(),
            NotExported::Cache(e) => {
                Self::new(exit_code::CACHE, "the cache cannot keep the build").cause(e.to_string())
            }
            other => {
                let cause = std::error::Error::source(&other).map(ToString::to_string);
                let error = Self::new(exit_code::USAGE, other.to_string()).hint("`xl log --export FILE` writes one");
                cause.into_iter().fold(error, Self::cause)
            }
        }
    }
}

impl LogArgs {
    /// Are commands wanted, rather than builds?
    fn asks_for_commands(&self) -> bool {
        self.ran || self.slowest || self.file.is_some() || self.tool.is_some()
    }

    fn wants(&self, i: &Item) -> bool {
        let base = |w: &str| w.rsplit('/').next().unwrap_or_default().to_owned();
        // A shell's text is the command that it stands for.
        let programs = || [i.argv.first().map(String::as_str), i.command.split_whitespace().find(|w| !w.contains('='))];
        let names = |text: &str| i.outputs.iter().any(|o| o.contains(text)) || i.argv.iter().any(|w| w.contains(text));
        (!self.ran || i.outcome != Outcome::Hit)
            && self.tool.as_ref().is_none_or(|t| programs().iter().flatten().any(|p| p == t || base(p) == *t))
            && self.file.as_ref().is_none_or(|f| names(f))
    }
}

fn absolute(dir: &Path) -> Result<PathBuf, CommandError> {
    // As the kernel names it, which is how builds are recorded; a directory may be gone, and its builds still be known.
    let dir = here()?.join(dir);
    Ok(dir.canonicalize().unwrap_or(dir))
}

/// The width of the terminal; a file or another program gets everything.
fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|c| *c > 0)
}

/// A directory, with the home directory as `~`.
fn tilde(dir: &str) -> String {
    let home = home::dir(|v| std::env::var_os(v)).unwrap_or_default();
    match Path::new(dir).strip_prefix(&home) {
        Ok(rest) if rest.as_os_str().is_empty() => "~".into(),
        Ok(rest) if home.components().count() > 1 => format!("~/{}", rest.display()),
        _ => dir.to_owned(),
    }
}

/// When it began, in local time.
fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    time.map(|t| t.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string())
        .unwrap_or_default()
}

/// A build in one line.
fn line(id: u64, r: &BuildRecord) -> String {
    let exit = if r.exit_code == 0 { String::new() } else { format!("exit {}", r.exit_code) };
    let head = format!(
        "{id:>4}  {}  {:>9}  {:>10} {:>10}  {exit:<8}  {}{}$ ",
        date(r.started),
        duration(r.wall_ms),
        counted(r.pips.total, "pip"),
        counted(r.pips.hit, "hit"),
        if r.key.is_some() { "imported: " } else { "" },
        tilde(&r.place(&r.cwd))
    );
    head.clone() + &fitting(&r.command.join(" "), columns(), head.chars().count()) + "\n"
}

/// The same for programs.
fn row(id: u64, r: &BuildRecord) -> String {
    let row = serde_json::json!({
        "build": id,
        "started": r.started,
        "cwd": r.place(&r.cwd),
        "command": r.command,
        "exit_code": r.exit_code,
        "wall_ms": r.wall_ms,
        "pips": r.pips
    });
    format!("{row}\n")
}

/// As much of a command as fits behind so much else; never so little that it tells nothing.
fn fitting(command: &str, columns: Option<usize>, behind: usize) -> String {
    columns.map_or_else(|| command.to_owned(), |c| shorten(command, c.saturating_sub(behind).max(40)))
}

/// What happened to a pip: outcome, time and command, and why it ran; `columns` wide, if there is a limit.
pub(crate) fn lines(i: &Item, columns: Option<usize>) -> String {
    let outcome = match i.outcome {
        Outcome::Hit => "hit",
        Outcome::Miss => "miss",
        Outcome::Remote => "remote",
        Outcome::Uncacheable => "uncacheable",
        Outcome::Bypassed => "bypassed",
        Outcome::Failed => "failed",
    };
    let head = format!("{:>5}  {outcome:<11} {:>8.1} ms  ", i.id, i.wall_ms);
    let mut text = head.clone() + &fitting(&i.command, columns, head.len()) + "\n";
    let ran = i.reason.as_ref().filter(|_| i.outcome != Outcome::Hit).map(|r| format!("ran: {r}"));
    let failed = (i.exit_code != 0).then(|| format!("exit code {}", i.exit_code));
    let not_stored = i.not_stored.as_ref().map(|n| format!("not stored: {n}"));
    for note in ran.iter().chain(&failed).chain(&not_stored).chain(&i.violations) {
        text.push_str(&format!("       {note}\n"));
    }
    text
}
