//! `xl log`: past builds; of one build, each command with outcome and reason.

use super::{config, open_cache, summary::duration};
use crate::app::LogArgs;
use crate::exit_code;
use crate::messages::{CommandError, warning};
use engine::{BuildRecord, Outcome};

pub fn run(a: &LogArgs) -> Result<i32, CommandError> {
    let config = config(&a.common)?;
    let (cache, notices) = open_cache(&config)?;
    notices.iter().for_each(|n| warning(n));
    let builds = cache.store.builds()?;
    let parse = |b: &[u8]| serde_json::from_slice::<BuildRecord>(b).ok();
    match a.build {
        None => {
            for (id, bytes) in &builds {
                let Some(r) = parse(bytes) else { continue };
                if a.json {
                    println!(
                        "{}",
                        serde_json::json!({"build": id, "command": r.command, "exit_code": r.exit_code, "wall_ms": r.wall_ms, "pips": r.pips})
                    );
                } else {
                    println!(
                        "{id:>4}  {:>9}  {:>4} pips {:>4} hits  exit {}  {}",
                        duration(r.wall_ms),
                        r.pips.total,
                        r.pips.hit,
                        r.exit_code,
                        r.command.join(" ")
                    );
                }
            }
        }
        Some(id) => {
            let missing = || CommandError::new(exit_code::USAGE, format!("no build {id} in the log")).hint("`xl log` lists the builds");
            let (_, bytes) = builds.iter().find(|(n, _)| *n == id).ok_or_else(missing)?;
            if a.json {
                println!("{}", String::from_utf8_lossy(bytes));
            } else {
                parse(bytes).ok_or_else(missing)?.items.iter().for_each(|i| print!("{}", lines(i)));
            }
        }
    }
    cache.store.close();
    Ok(0)
}

/// What happened to a pip: outcome, time and command, and why it ran.
pub fn lines(i: &engine::Item) -> String {
    let outcome = match i.outcome {
        Outcome::Hit => "hit",
        Outcome::Miss => "miss",
        Outcome::Remote => "remote",
        Outcome::Uncacheable => "uncacheable",
        Outcome::Bypassed => "bypassed",
        Outcome::Failed => "failed",
    };
    let command: String = i.command.chars().take(100).collect();
    let mut text = format!("{:>5}  {outcome:<11} {:>8.1} ms  {command}\n", i.id, i.wall_ms);
    if let Some(r) = i.reason.as_ref().filter(|_| i.outcome != Outcome::Hit) {
        text.push_str(&format!("       ran: {r}\n"));
    }
    if let Some(n) = &i.not_stored {
        text.push_str(&format!("       not stored: {n}\n"));
    }
    text
}
