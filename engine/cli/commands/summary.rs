//! The summary after a run: one line for people, and the forms that CI systems show.
//!
//! Knows the build record only.

use crate::app::Summary;
use crate::messages::{say, warning};
use engine::{BuildRecord, Mode, Outcome};
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
    let details: Vec<String> = obstacles(r)
        .iter()
        .take(5)
        .map(|(why, n, example)| format!("  {n} not cached: {why} — `{}`", example.chars().take(60).collect::<String>()))
        .collect();
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

/// The closing line.
fn line(r: &BuildRecord, mode: Mode) -> String {
    let p = &r.pips;
    let ran = p.miss + p.uncacheable + p.failed;
    let what = match (mode, p.total) {
        (Mode::Single, _) => "command",
        (_, 1) => "pip",
        _ => "pips",
    };
    let hits = if p.hit == 1 { "hit" } else { "hits" };
    let saved = if r.saved_cpu_ms > 0 { format!(" (saved {})", duration(r.saved_cpu_ms)) } else { String::new() };
    let rechecked = match r.rechecks.total() {
        0 => String::new(),
        n => format!(" · {n} rechecked, {} differ", r.rechecks.different.len()),
    };
    format!(
        "{} {what}: {} {hits}, {ran} ran, {} uncacheable, {} bypassed · {}{saved}{rechecked} · {}",
        p.total,
        p.hit,
        p.uncacheable,
        p.bypassed,
        duration(r.wall_ms),
        r.backend
    )
}

/// Why commands were not cached: reason, how many, an example; the most frequent first.
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
}
