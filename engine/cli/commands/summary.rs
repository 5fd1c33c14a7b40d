//! The summary after a run: one line for people, and the forms that CI systems show.
//!
//! Knows the build record only.

use crate::app::Summary;
use crate::messages::{say, warning};
use engine::{BuildRecord, Item, Mode, Outcome};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

/// Shows the summary in the form asked for.
pub fn show(r: &BuildRecord, mode: Mode, form: Summary) {
    if form == Summary::Off {
        return;
    }
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| v == "true");
    let form = match form {
        Summary::Auto if set("GITHUB_ACTIONS") => Summary::Github,
        Summary::Auto if set("GITLAB_CI") => Summary::Gitlab,
        other => other,
    };
    say(&line(r, mode));
    for what in &r.rechecks.different {
        say(&format!("  a recheck made something else: {what}"));
    }
    failures(r).for_each(|f| say(&f));
    let details: Vec<String> =
        obstacles(r).iter().take(5).map(|(why, n, of)| format!("  {n} uncacheable: {why} — `{}`", example(of))).collect();
    if form != Summary::Gitlab {
        details.iter().for_each(|d| say(d));
    }
    let written = match form {
        Summary::Github => github(r, mode),
        Summary::Gitlab => {
            gitlab(&details);
            Ok(())
        }
        Summary::Junit => std::fs::write("xl-junit.xml", junit(r)),
        Summary::Auto | Summary::Off => Ok(()),
    };
    if let Err(e) = written {
        warning(&format!("the summary could not be written: {e}"));
    }
}

/// GitHub's job summary (Markdown, appended to the file that it names), and an annotation per warning.
fn github(r: &BuildRecord, mode: Mode) -> std::io::Result<()> {
    for w in &r.warnings {
        eprintln!("::warning title=xl::{}", w.replace('%', "%25").replace('\n', "%0A"));
    }
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY") else { return Ok(()) };
    let cell = |s: &str| s.replace('|', "\\|").replace('\n', " ");
    let mut text = format!("### xl\n\n{}\n", line(r, mode));
    let reasons = obstacles(r);
    if !reasons.is_empty() {
        text.push_str("\n| not cached | why | for example |\n| ---: | --- | --- |\n");
        for (why, n, example) in reasons.iter().take(20) {
            let _ = writeln!(text, "| {n} | {} | `{}` |", cell(why), cell(&example.chars().take(100).collect::<String>()));
        }
    }
    std::fs::OpenOptions::new().append(true).create(true).open(Path::new(&path))?.write_all(text.as_bytes())
}

/// A collapsed section of GitLab's job log.
fn gitlab(details: &[String]) {
    if details.is_empty() {
        return;
    }
    let now = cache::store::now();
    eprintln!("\x1b[0Ksection_start:{now}:xl_details[collapsed=true]\r\x1b[0Kxl: what was not cached, and why");
    details.iter().for_each(|d| eprintln!("{d}"));
    eprintln!("\x1b[0Ksection_end:{now}:xl_details\r\x1b[0K");
}

/// One test case per pip, in the form that CI systems read from test runners.
fn junit(r: &BuildRecord) -> String {
    let quoted = |s: &str| {
        let mut out = String::new();
        for c in s.chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\n' | '\t' => out.push(' '),
                // Not allowed in XML 1.0, not even escaped.
                c if c < ' ' || c == '\u{fffe}' || c == '\u{ffff}' => out.push('\u{fffd}'),
                c => out.push(c),
            }
        }
        out
    };
    let failed = r.items.iter().filter(|i| i.exit_code != 0).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"xl\" tests=\"{}\" failures=\"{failed}\" skipped=\"{}\" time=\"{:.3}\">\n",
        r.items.len(),
        r.pips.hit,
        r.wall_ms as f64 / 1e3
    );
    for i in &r.items {
        let _ = write!(text, "<testcase classname=\"pip\" name=\"{}\" time=\"{:.3}\">", quoted(&i.command), i.wall_ms / 1e3);
        let why = i.not_stored.clone().or_else(|| i.reason.as_ref().map(ToString::to_string)).unwrap_or_default();
        if i.exit_code != 0 {
            let _ = write!(text, "<failure message=\"exit code {}\"/>", i.exit_code);
        } else if i.outcome == Outcome::Hit {
            text.push_str("<skipped message=\"hit\"/>");
        } else {
            let _ = write!(text, "<system-out>{}</system-out>", quoted(&why));
        }
        text.push_str("</testcase>\n");
    }
    text.push_str("</testsuite>\n");
    text
}

/// The closing line. It counts each pip once: as a hit, as one that ran, or as one that was bypassed.
fn line(r: &BuildRecord, mode: Mode) -> String {
    use Outcome as O;
    let (hits, of_hits) = group(r, &[O::Hit]);
    let (ran, of_ran) = group(r, &[O::Miss, O::Remote, O::Uncacheable, O::Failed]);
    let mut parts = vec![format!("{}{of_hits}, {ran} ran{of_ran}", counted(hits, "hit"))];
    if let (bypassed @ 1.., of_bypassed) = group(r, &[O::Bypassed]) {
        parts[0].push_str(&format!(", {bypassed} bypassed{of_bypassed}"));
    }
    parts.push(duration(r.wall_ms));
    if r.saved_cpu_ms > 0 {
        // The sum of what each took when it ran: side by side they would have taken less.
        parts.push(format!("{} of commands skipped", duration(r.saved_cpu_ms)));
    }
    if r.rechecks.total() > 0 {
        parts.push(format!("{} rechecked, {} differ", r.rechecks.total(), r.rechecks.different.len()));
    }
    parts.push(r.backend.clone());
    format!("{}: {}", counted(r.pips.total, if mode == Mode::Single { "command" } else { "pip" }), parts.join(" · "))
}

/// How many pips have one of these outcomes, and, in parentheses, how many of those failed or cannot be stored.
fn group(r: &BuildRecord, of: &[Outcome]) -> (u64, String) {
    let count = |what: fn(&Item) -> bool| r.items.iter().filter(|i| of.contains(&i.outcome) && what(i)).count() as u64;
    let special = [(count(|i| i.exit_code != 0), "failed"), (count(|i| i.outcome == Outcome::Uncacheable), "uncacheable")];
    let special: Vec<String> = special.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    (count(|_| true), if special.is_empty() { String::new() } else { format!(" ({})", special.join(", ")) })
}

/// `1 pip`, `2 pips`.
pub fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// The last commands that failed, of a build that failed: those before may have been expected to (`grep -q`).
fn failures(r: &BuildRecord) -> impl Iterator<Item = String> + '_ {
    let failed = r.items.iter().rev().filter(|i| r.exit_code != 0 && i.exit_code != 0);
    failed.take(3).map(|i| format!("  failed with exit code {}: `{}`", i.exit_code, example(&i.command)))
}

/// As much of a command as fits behind a reason.
fn example(command: &str) -> String {
    command.chars().take(60).collect()
}

/// Why commands were uncacheable: reason, how many, an example; the most frequent first.
fn obstacles(r: &BuildRecord) -> Vec<(String, u32, &str)> {
    let mut reasons: Vec<(String, u32, &str)> = Vec::new();
    for i in r.items.iter().filter(|i| i.outcome == Outcome::Uncacheable) {
        let why = i.not_stored.clone().or_else(|| i.reason.as_ref().map(ToString::to_string)).unwrap_or_default();
        match reasons.iter_mut().find(|x| x.0 == why) {
            Some(x) => x.1 += 1,
            None => reasons.push((why, 1, &i.command)),
        }
    }
    reasons.sort_by_key(|x| std::cmp::Reverse(x.1));
    reasons
}

/// `0.43 s`, `11.8 s`, `3 m 02 s`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{:.2} s", ms as f64 / 1e3),
        10_000..60_000 => format!("{:.1} s", ms as f64 / 1e3),
        _ => format!("{} m {:02} s", ms / 60_000, ms / 1000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!([430, 11_800, 182_000].map(duration), ["0.43 s", "11.8 s", "3 m 02 s"]);
    }

    /// A record of pips with these outcomes and exit codes.
    fn record(pips: &[(Outcome, i32)], skipped_ms: u64, exit_code: i32) -> BuildRecord {
        let item = |(outcome, exit_code): &(Outcome, i32)| {
            serde_json::json!({"id": 1, "command": format!("tool --fails-with {exit_code}"), "argv": [], "cwd": "/", "outcome": outcome, "outputs": [],
                "wall_ms": 1.0, "exit_code": exit_code})
        };
        let whole = serde_json::json!({"version": 1, "command": [], "cwd": "/", "started": 0, "exit_code": exit_code, "backend": "ebpf",
            "wall_ms": 430, "pips": engine::record::Pips::default(), "saved_cpu_ms": skipped_ms, "bytes": {"restored": 0, "stored": 0},
            "violations": {"error": 0, "warning": 0}, "lost_events": 0, "items": pips.iter().map(item).collect::<Vec<_>>()});
        let mut r: BuildRecord = serde_json::from_value(whole).expect("a record");
        r.count();
        r
    }

    #[test]
    fn each_pip_is_counted_once() {
        use Outcome as O;
        let check = |pips: &[(Outcome, i32)], skipped, expected| assert_eq!(line(&record(pips, skipped, 0), Mode::Build), expected);
        check(&[], 0, "0 pips: 0 hits, 0 ran · 0.43 s · ebpf");
        check(&[(O::Uncacheable, 0)], 0, "1 pip: 0 hits, 1 ran (1 uncacheable) · 0.43 s · ebpf");
        check(&[(O::Hit, 0), (O::Miss, 0)], 7_480, "2 pips: 1 hit, 1 ran · 0.43 s · 7.48 s of commands skipped · ebpf");
        let all = [(O::Hit, 0), (O::Hit, 1), (O::Failed, 2), (O::Uncacheable, 1), (O::Miss, 0), (O::Bypassed, 0)];
        check(&all, 0, "6 pips: 2 hits (1 failed), 3 ran (2 failed, 1 uncacheable), 1 bypassed · 0.43 s · ebpf");
        assert!(line(&record(&all[..1], 0, 0), Mode::Single).starts_with("1 command: 1 hit, 0 ran"));
    }

    #[test]
    fn failures_are_named_if_the_build_failed() {
        let pips = [(Outcome::Miss, 0), (Outcome::Failed, 7)];
        assert_eq!(failures(&record(&pips, 0, 2)).collect::<Vec<_>>(), ["  failed with exit code 7: `tool --fails-with 7`"]);
        assert_eq!(failures(&record(&pips, 0, 0)).count(), 0);
    }
}
