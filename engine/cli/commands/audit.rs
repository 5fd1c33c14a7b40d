//! `xl audit`: runs a build fully observed, compares with what is declared, writes the report.

use super::run::Done;
use super::{config, run};
use crate::app::{AuditArgs, Format};
use crate::exit_code;
use crate::messages::{CommandError, warning};
use engine::Mode;
use engine::report::{Report, VERSION, html, sarif, text};
use engine::violation::baseline::{Baseline, BaselineError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub fn run(a: &AuditArgs) -> Result<i32, CommandError> {
    let mut report = if a.run.cmd.is_empty() { last(a)? } else { audited(a)? };
    let config = config(&a.run.common)?;
    if let Some(path) = a.baseline.clone().or(config.audit.baseline) {
        apply(&mut report, &path, a.write_baseline)?;
    } else if a.write_baseline {
        return Err(CommandError::new(exit_code::USAGE, "--write-baseline needs --baseline FILE, or `baseline` in `[audit]` of xl.toml"));
    }
    if let Some(n) = a.prove {
        return prove(&report, n);
    }
    if report.findings.compared == 0 && report.pips > 0 && report.exit_code == 0 {
        warning("none of the commands could be compared with what is declared");
    }
    write(&report, a)?;
    Ok(match (report.exit_code, report.failures()) {
        (0, 0) => 0,
        (0, _) => i32::from(exit_code::VIOLATIONS),
        (code, _) => code,
    })
}

/// Runs the command, compares, and keeps the result for the next time.
fn audited(a: &AuditArgs) -> Result<Report, CommandError> {
    let done = run::build(&a.run, config(&a.run.common)?, Mode::Build, true)?;
    super::summary::show(&done.record, Mode::Build, a.run.summary);
    Ok(compare(&done))
}

/// What an enforced run has to answer for that no single command could be failed for. The result is how many errors there are.
pub fn late(done: &Done) -> Result<u64, CommandError> {
    let mut report = compare(done);
    if let Some(path) = &done.engine.config().audit.baseline
        && let Some(b) = Baseline::load(path).map_err(baseline_error)?
    {
        b.apply(&mut report.findings);
    }
    report.findings.violations.retain(|v| v.severity == engine::violation::Severity::Error);
    let errors = report.findings.count(engine::violation::Severity::Error);
    if errors > 0 {
        eprint!("{}", text::text(&report, false));
    }
    Ok(errors)
}

fn compare(done: &Done) -> Report {
    let started = Instant::now();
    let config = done.engine.config();
    let seen = done.engine.observer.as_ref().map(engine::observed::Observer::take).unwrap_or_default();
    let findings = engine::audit::audit(&seen, config);
    let report = Report {
        version: VERSION,
        command: done.record.command.clone(),
        cwd: done.record.cwd.clone(),
        root: config.root.display().to_string(),
        exit_code: done.code,
        backend: done.record.backend.clone(),
        started: done.record.started,
        pips: done.record.pips.total,
        hits: done.record.pips.hit,
        build_ms: done.record.wall_ms,
        audit_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        findings,
        unused: config.audit.unused(),
    };
    let kept = kept(&config.cache_dir, &config.root);
    let text = serde_json::to_vec(&report).unwrap_or_default();
    if let Err(e) = kept.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&kept, text)) {
        warning(&format!("the audit cannot be kept for later in `{}`: {e}", kept.display()));
    }
    report
}

/// Where the last audit of a workspace is kept.
fn kept(cache: &Path, root: &Path) -> PathBuf {
    let name = cache::Digest::of(root.as_os_str().as_encoded_bytes()).hex();
    cache.join("audits").join(format!("{}.json", &name[..16]))
}

fn last(a: &AuditArgs) -> Result<Report, CommandError> {
    let config = config(&a.run.common)?;
    let path = kept(&config.cache_dir, &config.root);
    let none = || CommandError::new(exit_code::USAGE, "no build was audited here yet").hint("xl audit -- make");
    let bytes = std::fs::read(&path).map_err(|_| none())?;
    let report: Report = serde_json::from_slice(&bytes).map_err(|e| none().cause(e.to_string()))?;
    if report.version == VERSION { Ok(report) } else { Err(none().cause("the last audit was kept by another version of xl")) }
}

/// What is wrong with a baseline.
pub fn baseline_error(e: BaselineError) -> CommandError {
    let cause = std::error::Error::source(&e).map(ToString::to_string);
    let error = CommandError::new(exit_code::CONFIG, e.to_string());
    cause.into_iter().fold(error, CommandError::cause)
}

fn apply(report: &mut Report, path: &Path, write: bool) -> Result<(), CommandError> {
    if write && report.exit_code != 0 {
        return Err(CommandError::new(exit_code::USAGE, "a build that failed is no measure: the baseline stays as it is"));
    }
    let before = Baseline::load(path).map_err(baseline_error)?;
    let now = if write { Some(Baseline::write(path, before.as_ref(), &report.findings).map_err(baseline_error)?) } else { before };
    let Some(b) = now else {
        return Err(
            CommandError::new(exit_code::CONFIG, format!("there is no baseline `{}`", path.display())).hint("--write-baseline makes it")
        );
    };
    let gone = b.apply(&mut report.findings);
    report.unused.extend(gone.iter().map(|k| format!("in the baseline, and gone: {} `{}` ← `{}`", k.code.about().code, k.target, k.file)));
    Ok(())
}

/// Tries a finding out, and says whether it is so.
fn prove(report: &Report, n: usize) -> Result<i32, CommandError> {
    let none = || CommandError::new(exit_code::USAGE, format!("there is no finding {n}")).hint("`xl audit` lists them, with their numbers");
    let v = n.checked_sub(1).and_then(|i| report.findings.violations.get(i)).ok_or_else(none)?;
    println!("{} {}: {}", v.code.about().code, v.name, v.message);
    let base = std::env::temp_dir();
    let experiment =
        engine::violation::prove::Experiment { command: &report.command, cwd: Path::new(&report.cwd), root: Path::new(&report.root) };
    let (verdict, steps) = experiment.run(v, &base);
    steps.iter().for_each(|s| println!("  {s}"));
    println!("{verdict}");
    Ok(i32::from(!matches!(verdict, engine::violation::prove::Verdict::Proven(_))))
}

fn write(report: &Report, a: &AuditArgs) -> Result<(), CommandError> {
    let body = match a.format {
        Format::Text => text::text(report, a.notes),
        Format::Json => serde_json::to_string_pretty(report).unwrap_or_default() + "\n",
        Format::Sarif => serde_json::to_string_pretty(&sarif::sarif(report)).unwrap_or_default() + "\n",
        Format::Html => html::html(report),
    };
    let written = match &a.output {
        Some(f) => std::fs::write(f, body).map_err(|e| (f.display().to_string(), e)),
        None => std::io::stdout().write_all(body.as_bytes()).map_err(|e| ("standard output".to_owned(), e)),
    };
    written.map_err(|(to, e)| CommandError::new(exit_code::USAGE, format!("the report cannot be written to `{to}`")).cause(e.to_string()))
}
