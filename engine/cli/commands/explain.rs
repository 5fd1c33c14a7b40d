//! `xl explain`: why a command ran: all that differs from the nearest earlier run, what that came of, what to do.

use super::summary::counted;
use super::{config, here, with_cache};
use crate::args::{ExplainArgs, WhichBuild};
use crate::exit_code;
use crate::messages::{CommandError, say};
use crate::output::print;
use engine::Outcome;
use engine::explain::{Comparison, Difference, Explained, Explainer, Explanation, Pair, Question, Unexplained};
use std::path::Path;

pub(crate) fn run(a: &ExplainArgs) -> Result<i32, CommandError> {
    let config = config(&a.common)?;
    if let Some([from, to]) = a.diff.as_deref() {
        let both = with_cache(&config, |cache| Ok(Explainer::new(cache, &config.root).between([*from, *to])?))?;
        return print(if a.json { json(serde_json::to_string_pretty(&both))? } else { compared(&both, &config.root) })
            .map(|()| 0);
    }
    let here = cache::shown(here()?.as_os_str().as_encoded_bytes());
    let question = Question::new(a.what.as_deref());
    let number = match a.build {
        Some(WhichBuild::Number(n)) => Some(n),
        Some(WhichBuild::Last) | None => None,
    };
    let explained =
        with_cache(&config, |cache| Ok(Explainer::new(cache, &config.root).explain(&question, number, &here)?))?;
    if a.json {
        return print(json(serde_json::to_string_pretty(&explained))?).map(|()| 0);
    }
    let mut text: String = explained.commands.iter().map(|e| lines(explained.build, e)).collect();
    if explained.commands.is_empty() {
        text = format!("build {}: nothing ran\n", explained.build);
    }
    print(relative(&text, &explained))?;
    if explained.more > 0 {
        say(&format!("{} more: `xl log {} --ran`", explained.more, explained.build));
    }
    Ok(0)
}

fn json(text: serde_json::Result<String>) -> Result<String, CommandError> {
    text.map(|t| t + "\n").map_err(|e| CommandError::new(exit_code::INTERNAL, e.to_string()))
}

/// Two builds, for people: what differs in most commands comes first.
fn compared(c: &Comparison, root: &Path) -> String {
    /// So many groups, and commands of each, are shown; JSON has them all.
    const SHOWN: usize = 20;
    const NAMED: usize = 3;
    let [from, to] = c.builds;
    let mut text = format!(
        "build {from}: {}, {}; build {to}: {}, {}; {} with the same result\n",
        counted(c.commands[0] as u64, "command"),
        counted(c.hits[0] as u64, "hit"),
        counted(c.commands[1] as u64, "command"),
        counted(c.hits[1] as u64, "hit"),
        c.same
    );
    let names = |all: &[Pair]| {
        let shown: Vec<String> = all.iter().take(NAMED).map(|p| format!("`{}`", p.name)).collect();
        let rest = if all.len() > NAMED { format!(" and {} more", all.len() - NAMED) } else { String::new() };
        format!("{}{rest}", shown.join(", "))
    };
    for g in c.groups.iter().take(SHOWN) {
        text.push_str(&format!("{}: {}\n", counted(g.commands.len() as u64, "command"), names(&g.commands)));
        g.differences.iter().for_each(|d| text.push_str(&format!("    {d}\n")));
    }
    if c.groups.len() > SHOWN {
        text.push_str(&format!("… and {} more groups: --json\n", c.groups.len() - SHOWN));
    }
    for (build, only) in c.builds.iter().zip(&c.only).filter(|(_, only)| !only.is_empty()) {
        text.push_str(&format!("{} only in build {build}: {}\n", counted(only.len() as u64, "command"), names(only)));
    }
    if c.other_key {
        text.push_str("variables are not compared: the two caches digest their values with different keys (caches that share a remote one share the key)\n");
    }
    let root = cache::shown(root.as_os_str().as_encoded_bytes());
    text.replace(&format!("`{root}/"), "`")
}

/// Names in the workspace as they are found from its root.
fn relative(text: &str, e: &Explained) -> String {
    let root = cache::shown(e.root.as_os_str().as_encoded_bytes());
    text.replace(&format!("`{root}/"), "`").replace(&format!("`{root}`"), "`.`")
}

/// One command.
fn lines(build: u64, e: &Explanation) -> String {
    let outcome = match e.outcome {
        Outcome::Hit => "hit",
        Outcome::Miss => "ran",
        Outcome::Remote => "ran remotely",
        Outcome::Uncacheable => "ran, uncacheable",
        Outcome::Bypassed => "ran, bypassed",
        Outcome::Failed => "failed",
    };
    let mut text = format!("build {build}, #{} {outcome}: {}\n", e.number, e.command);
    let mut add = |line: &str| text.push_str(&format!("  {line}\n"));
    if let Some(out) = e.outputs.first() {
        let rest = if e.outputs.len() > 1 { format!(" and {} more", e.outputs.len() - 1) } else { String::new() };
        add(&format!("makes `{out}`{rest}"));
    }
    if e.causes.differences.is_empty() {
        add(e.causes.instead.as_ref().unwrap_or(&e.why));
    } else {
        match e.causes.compared {
            Some((b, n)) => add(&format!("it differs from the nearest earlier run, #{n} of build {b}:")),
            None => add("it differs from the nearest result in the cache:"),
        }
        e.causes.differences.iter().map(Difference::line).for_each(|l| add(&format!("  {l}")));
        if e.causes.more > 0 {
            add(&format!("  and {} more", e.causes.more));
        }
    }
    for s in &e.chain {
        let how = match s.outcome {
            Outcome::Hit => "was put back",
            _ => "was made again",
        };
        let because = s.because.as_ref().map(|b| format!(" because {b}")).unwrap_or_default();
        add(&format!("`{}` {how} by #{}{because}", s.file, s.by));
    }
    e.not_stored.iter().for_each(|why| add(&format!("its result is not stored: {why}")));
    e.advice.iter().for_each(|what| add(&format!("to do: {what}")));
    text
}

impl From<Unexplained> for CommandError {
    fn from(e: Unexplained) -> Self {
        let error = Self::new(exit_code::USAGE, e.to_string());
        match e {
            Unexplained::NoBuild | Unexplained::NoSuchBuild(_) => error.hint("`xl log --all` lists all that are known"),
            Unexplained::NoSuchNumber { build, .. } | Unexplained::NotMade { build, near: None, .. } => {
                error.hint(format!("`xl log {build}` lists its commands"))
            }
            Unexplained::NotMade { near: Some(near), .. } => error.hint(format!("did you mean `{near}`?")),
        }
    }
}
