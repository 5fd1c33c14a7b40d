//! What CI systems show of a run: GitHub's job summary and annotations, a section of GitLab's job log, JUnit's test
//! cases.
//!
//! Knows the build record, and the texts of commands that failed. Sources: GitHub, "Workflow commands" and "Adding a
//! job summary"; GitLab, "Custom collapsible sections"; the JUnit schema of Ant, which both read.

use crate::messages::write;
use crate::shorten::shorten;
use engine::{BuildRecord, Item, Outcome};
use std::fmt::Write as _;
use std::io::Write as _;

/// How many of a kind are shown: GitHub drops annotations after ten, and nobody reads more.
const MOST: usize = 10;
/// The width of a command in a table.
const WIDTH: usize = 100;

/// One of GitHub's annotations, at a place like `Makefile:12` if that is known.
pub(super) fn annotation(level: &str, place: &str, text: &str) {
    let escaped = |s: &str| s.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let at = match place.rsplit_once(':') {
        Some((file, line)) if line.parse::<u32>().is_ok() => {
            format!("file={},line={line},", escaped(file).replace(':', "%3A").replace(',', "%2C"))
        }
        _ => String::new(),
    };
    write(&format!("::{level} {at}title=xl::{}\n", escaped(text)));
}

/// What failed in a build that failed, the last first: what failed before may have been expected to (`grep -q`).
pub(super) fn failures(r: &BuildRecord) -> impl Iterator<Item = &Item> {
    r.items.iter().rev().filter(|i| r.exit_code != 0 && i.exit_code != 0)
}

/// Why commands of these outcomes ran: reason, how many, an example; the most frequent first.
pub(super) fn reasons<'a>(r: &'a BuildRecord, of: &[Outcome]) -> Vec<(String, u32, &'a str)> {
    let mut reasons: Vec<(String, u32, &str)> = Vec::new();
    for i in r.items.iter().filter(|i| of.contains(&i.outcome)) {
        let why = i.not_stored.clone().or_else(|| i.reason.as_ref().map(ToString::to_string)).unwrap_or_default();
        match reasons.iter_mut().find(|x| x.0 == why) {
            Some(x) => x.1 += 1,
            None => reasons.push((why, 1, &i.command)),
        }
    }
    reasons.sort_by_key(|x| std::cmp::Reverse(x.1));
    reasons
}

/// GitHub's job summary (Markdown, appended to the file that `$GITHUB_STEP_SUMMARY` names), and an annotation for each
/// warning, each failure and each violation.
pub(super) fn github(r: &BuildRecord, line: &str) -> std::io::Result<()> {
    r.warnings.iter().take(MOST).for_each(|w| annotation("warning", "", w));
    let mut errors: Vec<String> = r.items.iter().flat_map(|i| i.violations.iter().cloned()).collect();
    let failed: Vec<&Item> = failures(r).filter(|i| i.violations.is_empty()).collect();
    errors.extend(failed.iter().map(|i| format!("exit code {}: {}\n{}", i.exit_code, i.command, plain(&i.text))));
    errors.iter().take(MOST).for_each(|e| annotation("error", "", e));
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY") else { return Ok(()) };
    let mut text = format!("### xl\n\n{line}\n");
    for i in failures(r).take(MOST) {
        let _ = writeln!(text, "\n**failed with exit code {}**: {}\n", i.exit_code, code(&i.command));
        i.violations.iter().for_each(|v| text.push_str(&format!("- {}\n", cell(v))));
        let said = plain(&i.text);
        if !said.trim().is_empty() {
            let fence = "`".repeat(longest_run(&said, '`').max(2) + 1);
            let _ = writeln!(text, "{fence}\n{}\n{fence}", said.trim_end());
        }
    }
    for (title, of) in [("uncacheable", Outcome::Uncacheable), ("ran", Outcome::Miss)] {
        let reasons = reasons(r, &[of]);
        if !reasons.is_empty() {
            let _ = writeln!(text, "\n| {title} | why | for example |\n| ---: | --- | --- |");
            for (why, n, example) in reasons.iter().take(2 * MOST) {
                let _ = writeln!(text, "| {n} | {} | {} |", cell(why), cell(&code(&shorten(example, WIDTH))));
            }
        }
    }
    std::fs::OpenOptions::new().append(true).create(true).open(path)?.write_all(text.as_bytes())
}

/// Text in a cell of a table, which ends at a bar and at a line's end.
fn cell(s: &str) -> String {
    s.replace('|', "\\|").replace('\n', " ")
}

/// Text as code, whatever is in it.
fn code(s: &str) -> String {
    let fence = "`".repeat(longest_run(s, '`') + 1);
    let pad = if fence.len() > 1 { " " } else { "" };
    format!("{fence}{pad}{s}{pad}{fence}")
}

fn longest_run(s: &str, c: char) -> usize {
    s.split(|x| x != c).map(str::len).max().unwrap_or(0)
}

/// Without the colours of a terminal.
fn plain(s: &str) -> String {
    anstream::adapter::strip_str(s).to_string()
}

/// A collapsed section of GitLab's job log, with these lines.
pub(super) fn gitlab(lines: &[String]) {
    let now = cache::store::now();
    write(&format!(
        "\x1b[0Ksection_start:{now}:xl_details[collapsed=true]\r\x1b[0Kxl: what ran, and \
            why\n{}\n\x1b[0Ksection_end:{now}:xl_details\r\x1b[0K\n",
        lines.join("\n")
    ));
}

/// The lines of GitLab's section: what was uncacheable, what ran.
pub(super) fn details(r: &BuildRecord) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (what, of) in [("uncacheable", Outcome::Uncacheable), ("ran", Outcome::Miss)] {
        let reasons = reasons(r, &[of]);
        let shown = reasons.iter().take(2 * MOST);
        lines.extend(shown.map(|(why, n, example)| format!("  {n} {what}: {why} — `{}`", shorten(example, WIDTH))));
    }
    if lines.is_empty() {
        lines.push(if r.pips.total == 0 {
            "  no command was launched".into()
        } else {
            "  nothing: every command was skipped".into()
        });
    }
    lines
}

/// One test case per pip. A hit is a test that passed, and says so: *skipped* would mean that nobody knows.
pub(super) fn junit(r: &BuildRecord) -> String {
    let failed = r.items.iter().filter(|i| i.exit_code != 0).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"xl\" tests=\"{}\" failures=\"{failed}\" \
            errors=\"0\" skipped=\"0\" time=\"{:.3}\">\n",
        r.items.len(),
        r.wall_ms as f64 / 1e3
    );
    for i in &r.items {
        let name = xml(&i.command).replace(['\n', '\t'], " ");
        let _ = write!(text, "<testcase classname=\"pip\" name=\"{name}\" time=\"{:.3}\">", i.wall_ms / 1e3);
        if i.exit_code != 0 {
            let said = [i.violations.join("\n"), plain(&i.text)].concat();
            let _ = write!(text, "<failure message=\"exit code {}\">{}</failure>", i.exit_code, xml(&said));
        }
        let why = i.not_stored.clone().or_else(|| i.reason.as_ref().map(ToString::to_string));
        let outcome =
            serde_json::to_value(i.outcome).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let _ = writeln!(
            text,
            "<system-out>{}</system-out></testcase>",
            xml(&[Some(outcome), why].into_iter().flatten().collect::<Vec<_>>().join(": "))
        );
    }
    text.push_str("</testsuite>\n");
    text
}

/// Text in XML 1.0, in which control characters are not allowed, not even escaped.
fn xml(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c < ' ' || c == '\u{fffe}' || c == '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_it_stays_text() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("echo `date`"), "`` echo `date` ``");
        assert_eq!(cell("a|b\nc"), "a\\|b c");
        assert_eq!(xml("<\"&>\u{1}\n"), "&lt;&quot;&amp;&gt;\u{fffd}\n");
        assert_eq!(plain("\x1b[1mbold\x1b[0m"), "bold");
    }
}
