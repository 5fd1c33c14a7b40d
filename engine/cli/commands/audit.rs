//! `xl audit`: runs a build fully observed, compares with what is declared, writes the report.

use super::run::{Done, Want};
use super::{ci, run, settings_with, summary};
use crate::args::{AuditArgs, Format, RunOptions, Summary};
use crate::exit_code;
use crate::messages::{self, CommandError, say, warning};
use crate::output::{Document, print};
use audit::baseline::{Baseline, BaselineError};
use audit::compare::compare;
use audit::kinds::Severity;
use audit::prove;
use audit::report::{Report, VERSION, html, sarif, text};
use audit::trial::Trial;
use audit::workspace::Workspace;
use engine::{Config, Mode};
use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;
use tracer::Exited;

pub(crate) fn run(a: &AuditArgs) -> Result<Exited, CommandError> {
    let (config, workspace) = settings_with(&a.options.common, a.options.remote_cache.clone())?;
    let baseline = a.baseline.clone().or_else(|| workspace.policy.baseline.clone());
    // What is wrong with the command line should not cost a build.
    if a.write_baseline && baseline.is_none() {
        return Err(CommandError::new(
            exit_code::USAGE,
            "--write-baseline needs --baseline FILE, or `baseline` in `[audit]` of xl.toml",
        ));
    }
    let known = baseline.as_deref().map(|path| known(path, a)).transpose()?.flatten();
    let mut out = open(a)?;
    let (mut report, exited) = if a.cmd.is_empty() { last(a, &config)? } else { audited(a, &a.cmd)? };
    settle(&mut report, &workspace);
    if let Some(path) = &baseline {
        apply(&mut report, path, known, a.write_baseline)?;
    }
    if let Some(n) = a.prove {
        return try_out(&report, n).map(Exited::Code);
    }
    let f = &report.findings;
    if f.compared == 0 && report.pips > 0 && report.exit_code == 0 {
        warning("none of the commands could be compared with what is declared");
    }
    let looked = f.gaps.is_empty() && (f.compared > 0 || report.pips == 0);
    write(&mut out, &report, a)?;
    let found = report.failures() > 0 || a.options.strict && !looked;
    let idle = report.pips == 0 && report.exit_code == 0 && f.violations.is_empty() && f.gaps.is_empty();
    if idle {
        warning("the build had nothing to do, so nothing was compared; audit it in a tree without its outputs");
    }
    Ok(match exited {
        Exited::Code(0) if found => Exited::Code(exit_code::VIOLATIONS.into()),
        Exited::Code(0) if idle => Exited::Code(exit_code::UNTRIED.into()),
        other => other,
    })
}

/// Runs the command, and compares.
fn audited(a: &AuditArgs, cmd: &[OsString]) -> Result<(Report, Exited), CommandError> {
    let done = run::build(
        &a.options,
        cmd,
        settings_with(&a.options.common, a.options.remote_cache.clone())?,
        Want { mode: Mode::Build, audit: true, enforce: false, heal: false },
    )?;
    summary::show(&done.record, Mode::Build, a.options.summary());
    Ok((report(&done, Some((a, cmd))), done.ending(a.options.strict)))
}

/// The command by which repairs are tried: everything that it runs was run just now.
fn once_more(done: &Done, a: &AuditArgs, cmd: &[OsString]) -> Option<Vec<OsString>> {
    let mut words = vec![std::env::current_exe().ok()?.into_os_string()];
    words.extend(["run", "--quiet", "--offline", "--no-cache-write", "--backend"].map(OsString::from));
    words.extend([
        done.record.backend.as_str().into(),
        "--cache-dir".into(),
        done.engine.config().cache_dir.clone().into(),
    ]);
    for (option, value) in [("--config", &a.options.common.config), ("--really", &a.options.place.really)] {
        words.extend(value.iter().flat_map(|v| [option.into(), v.clone().into_os_string()]));
    }
    words.push("--".into());
    words.extend(cmd.iter().cloned());
    Some(words)
}

/// What an enforced run has to answer for that no single command could be failed for. The result is how many errors
/// there are, and with `--strict` what could not be compared.
pub(crate) fn late(done: &Done, o: &RunOptions) -> Result<u64, CommandError> {
    let mut report = report(done, None);
    settle(&mut report, &done.workspace);
    if let Some(path) = &done.workspace.policy.baseline
        && let Some(b) = Baseline::load(path).map_err(baseline_error)?
    {
        b.apply(&mut report.findings);
    }
    let errors = report.findings.count(Severity::Error);
    if errors > 0 {
        messages::write(&text::text(&report, Severity::Error));
        if summary::here(o.summary()) == Summary::Github {
            let bad =
                report.findings.violations.iter().filter(|v| v.severity == Severity::Error && v.allowed.is_none());
            for v in bad {
                let fix = v.fix.as_ref().map(|f| format!("; add `{}`", f.text)).unwrap_or_default();
                let place = v.fix.as_ref().map_or("", |f| &f.place);
                ci::annotation("error", place, &format!("{} {}: {}{fix}", v.code.about().code, v.name, v.message));
            }
        }
    } else {
        report.findings.gaps.iter().for_each(|g| warning(&format!("not enforced: {g}")));
    }
    Ok(errors + if o.strict { report.findings.gaps.len() as u64 } else { 0 })
}

/// Compares what was seen with what is declared, and keeps the result, for `xl audit` without a command. If there is a
/// command that can be run once more, only repairs that hold are printed.
fn report(done: &Done, again: Option<(&AuditArgs, &[OsString])>) -> Report {
    let started = Instant::now();
    let config = done.engine.config();
    let seen = done.observer.take();
    let mut findings = compare(&seen, &done.workspace);
    if done.exited.shell_code() == 0
        && let Some(command) = again.and_then(|(a, cmd)| once_more(done, a, cmd))
        && let Ok(cwd) = std::env::current_dir()
    {
        let base = std::env::temp_dir();
        Trial { command: &command, cwd: &cwd, root: &config.root, base: &base }.settle(&mut findings, &seen);
    }
    let report = Report {
        version: VERSION,
        command: done.record.command.clone(),
        cwd: done.record.cwd.clone(),
        root: config.root.display().to_string(),
        exit_code: done.exited.shell_code(),
        backend: done.record.backend.clone(),
        started: done.record.started,
        pips: done.record.pips.total,
        hits: done.record.pips.hit,
        build_ms: done.record.wall_ms,
        audit_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        findings,
        unused: Vec::new(),
    };
    let kept = config.kept("audits");
    if let Err(e) = report.keep(&kept) {
        warning(&format!("the audit cannot be kept for later in `{}`: {e}", kept.display()));
    }
    report
}

/// Judges by the configuration.
fn settle(report: &mut Report, workspace: &Workspace) {
    workspace.settle(&mut report.findings.violations);
    report.unused = workspace.policy.unused();
}

fn last(a: &AuditArgs, config: &Config) -> Result<(Report, Exited), CommandError> {
    let none = || {
        CommandError::new(exit_code::USAGE, "no build was audited here yet, or by another version of xl")
            .hint("xl audit -- make")
    };
    if a.options.recheck > 0 || a.options.json.is_some() || a.options.log.is_some() || a.options.junit.is_some() {
        return Err(CommandError::new(
            exit_code::USAGE,
            "these options are for running a build, and no command is given",
        )
        .hint("xl audit -- make"));
    }
    let file = config.kept("audits");
    let unreadable = |e: std::io::Error| {
        CommandError::new(exit_code::CACHE, format!("the last audit cannot be read from `{}`", file.display()))
            .cause(e.to_string())
    };
    let report = Report::last(&file).map_err(unreadable)?.ok_or_else(none)?;
    let exited = Exited::Code(report.exit_code);
    Ok((report, exited))
}

/// What is wrong with a baseline.
pub(crate) fn baseline_error(e: BaselineError) -> CommandError {
    let cause = std::error::Error::source(&e).map(ToString::to_string);
    let error = CommandError::new(exit_code::CONFIG, e.to_string());
    cause.into_iter().fold(error, CommandError::cause)
}

/// What is known; a baseline that the configuration names may have yet to be written.
fn known(path: &Path, a: &AuditArgs) -> Result<Option<Baseline>, CommandError> {
    let found = Baseline::load(path).map_err(baseline_error)?;
    if found.is_none() && !a.write_baseline {
        let missing = format!("there is no baseline `{}`", path.display());
        if a.baseline.is_some() {
            return Err(CommandError::new(exit_code::CONFIG, missing).hint("--write-baseline makes it"));
        }
        warning(&format!("{missing}: every violation counts; --write-baseline makes it"));
    }
    Ok(found)
}

fn apply(report: &mut Report, path: &Path, known: Option<Baseline>, write: bool) -> Result<(), CommandError> {
    if write && report.exit_code != 0 {
        warning("a build that failed is no measure: the baseline stays as it is");
    }
    let write = write && report.exit_code == 0;
    let now = if write {
        Some(Baseline::write(path, known.as_ref(), &report.findings).map_err(baseline_error)?)
    } else {
        known
    };
    let gone = now.map(|b| b.apply(&mut report.findings)).unwrap_or_default();
    report.unused.extend(
        gone.iter()
            .map(|k| format!("in the baseline, and gone: {} `{}` ← `{}`", k.code.about().code, k.target, k.file)),
    );
    Ok(())
}

/// Tries a finding out, and says whether it is so.
fn try_out(report: &Report, n: usize) -> Result<i32, CommandError> {
    let none = || {
        CommandError::new(exit_code::USAGE, format!("there is no finding {n}"))
            .hint("`xl audit` lists them, with their numbers")
    };
    let v = n.checked_sub(1).and_then(|i| report.findings.violations.get(i)).ok_or_else(none)?;
    print(format!("{} {}: {}\n", v.code.about().code, v.name, v.message))?;
    let base = std::env::temp_dir();
    let experiment =
        prove::Experiment { command: &report.command, cwd: Path::new(&report.cwd), root: Path::new(&report.root) };
    let (verdict, steps) = experiment.run(v, &base);
    print(steps.iter().map(|s| format!("  {s}\n")).collect::<String>() + &format!("{verdict}\n"))?;
    Ok(i32::from(match verdict {
        prove::Verdict::Proven(_) => 0,
        prove::Verdict::NotProven(_) => exit_code::VIOLATIONS,
        prove::Verdict::Untried(_) => exit_code::UNTRIED,
    }))
}

/// Opened before anything starts. What the build prints must not be mixed with a document: it goes to standard error
/// then.
fn open(a: &AuditArgs) -> Result<Document, CommandError> {
    let runs = !a.cmd.is_empty();
    match &a.output {
        Some(path) => Document::at(path, runs),
        None => Document::stdout(runs && a.format != Format::Text),
    }
}

fn write(out: &mut Document, report: &Report, a: &AuditArgs) -> Result<(), CommandError> {
    let json = |v: serde_json::Result<String>| {
        v.map(|s| s + "\n").map_err(|e| CommandError::new(exit_code::INTERNAL, e.to_string()))
    };
    out.write(match a.format {
        Format::Text => text::text(report, if a.notes { Severity::Note } else { Severity::Warning }),
        Format::Json => json(serde_json::to_string_pretty(report))?,
        Format::Sarif => json(serde_json::to_string_pretty(&sarif::sarif(report)))?,
        Format::Html => html::html(report),
    })?;
    if let (Document::File(to), Format::Html) = (&out, a.format) {
        say(&format!("the report is in `{}`", to.display()));
    }
    Ok(())
}
