//! `xl run` and `xl exec`.

use super::{SESSION, become_command, config, launch, open_cache, shell_code};
use crate::app::RunArgs;
use crate::messages::{CommandError, cache_hint, say, warning};
use crate::{exit_code, progress};
use engine::run::{Engine, Run, Switches};
use engine::{BuildRecord, Mode, Outcome};
use std::sync::Arc;

pub fn run(a: &RunArgs, mode: Mode) -> Result<i32, CommandError> {
    let nested = std::env::var_os(SESSION).is_some();
    if nested || std::env::var_os("XL_DISABLE").is_some_and(|v| v == "1") {
        // Under an outer run the outer one sees everything already.
        return Err(become_command(&a.cmd));
    }
    if !matches!(a.backend.as_str(), "auto" | "seccomp") {
        return Err(CommandError::new(exit_code::BACKEND, format!("the backend `{}` is not available", a.backend))
            .hint("this version observes with `seccomp`; `--backend auto` picks it"));
    }
    let config = config(&a.common)?;
    let inherited = tracer::inherited();
    let session = launch(&a.cmd, Some(&config.cache_dir))?;
    let pid = session.pid();
    tracer::forward_signals(pid);
    let cache = match open_cache(&config) {
        Ok((c, notices)) => {
            notices.iter().for_each(|n| warning(n));
            Some(c)
        }
        Err(e) if a.strict => {
            session.abandon();
            return Err(e.into());
        }
        Err(e) => {
            warning(&format!("{e}; the build runs without a cache"));
            if let Some(h) = cache_hint(&e) {
                eprintln!("  hint: {h}");
            }
            None
        }
    };
    let switches = Switches { mode, read: !a.no_cache_read, write: !a.no_cache_write, inherited };
    let cwd = std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default();
    let progress = progress::Progress::start();
    let engine = Arc::new(Engine::new(config, switches, cache, progress.reporter()));
    let (exited, stats) = session
        .run(Arc::new(Run(engine.clone())))
        .map_err(|e| CommandError::new(exit_code::INTERNAL, "the supervisor could not start").cause(e.to_string()))?;
    let code = shell_code(exited);
    if std::env::var_os("XL_LOG").is_some() {
        say(&format!("{} calls observed, {} processes", stats.calls, stats.processes));
    }
    let command: Vec<Vec<u8>> = a.cmd.iter().map(|c| c.as_encoded_bytes().to_vec()).collect();
    let record = engine.close(engine::record::redact(&command), cwd, code, 0);
    drop(progress);
    record.warnings.iter().for_each(|w| warning(w));
    if a.summary != "off" {
        summary(&record, mode);
    }
    if let Some(file) = &a.json {
        let text = serde_json::to_vec_pretty(&record).unwrap_or_default();
        if let Err(e) = std::fs::write(file, text) {
            warning(&format!("the build record cannot be written to `{}`: {e}", file.display()));
        }
    }
    Ok(code)
}

/// The closing line, and for a build with uncacheable commands why.
fn summary(r: &BuildRecord, mode: Mode) {
    let p = &r.pips;
    let ran = p.miss + p.uncacheable + p.failed;
    let what = match (mode, p.total) {
        (Mode::Single, _) => "command",
        (_, 1) => "pip",
        _ => "pips",
    };
    let hits = if p.hit == 1 { "hit" } else { "hits" };
    let saved = if r.saved_cpu_ms > 0 { format!(" (saved {})", duration(r.saved_cpu_ms)) } else { String::new() };
    say(&format!(
        "{} {what}: {} {hits}, {ran} ran, {} uncacheable, {} bypassed · {}{saved} · {}",
        p.total,
        p.hit,
        p.uncacheable,
        p.bypassed,
        duration(r.wall_ms),
        r.backend
    ));
    let mut reasons: Vec<(String, u32, &str)> = Vec::new();
    for i in r.items.iter().filter(|i| i.outcome == Outcome::Uncacheable) {
        let why = i.not_stored.clone().or_else(|| i.reason.as_ref().map(ToString::to_string)).unwrap_or_default();
        match reasons.iter_mut().find(|x| x.0 == why) {
            Some(x) => x.1 += 1,
            None => reasons.push((why, 1, &i.command)),
        }
    }
    reasons.sort_by_key(|x| std::cmp::Reverse(x.1));
    for (why, n, example) in reasons.iter().take(5) {
        let short: String = example.chars().take(60).collect();
        say(&format!("  {n} not cached: {why} — `{short}`"));
    }
}

/// `0.43 s`, `11.8 s`, `3 m 02 s`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{:.2} s", ms as f64 / 1e3),
        10_000..60_000 => format!("{:.1} s", ms as f64 / 1e3),
        _ => format!("{} m {:02} s", ms / 60_000, ms / 1000 % 60),
    }
}
