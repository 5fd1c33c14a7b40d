//! The summary after a run: one line for people, and what the CI system around shows.
//!
//! Knows the build record only.

use super::ci;
use crate::args::Summary;
use crate::messages::{say, warning};
use crate::shorten::shorten;
use engine::record::Remote;
use engine::{BuildRecord, Item, Mode, Outcome};

/// Shows the summary in the form asked for.
pub(super) fn show(r: &BuildRecord, mode: Mode, form: Summary) {
    if form == Summary::Off {
        return;
    }
    let line = line(r, mode);
    say(&line);
    failures(r).for_each(|f| say(&f));
    match here(form) {
        Summary::Gitlab => ci::gitlab(&ci::details(r)),
        form => {
            let reasons = ci::reasons(r, &[Outcome::Uncacheable]);
            reasons
                .iter()
                .take(5)
                .for_each(|(why, n, of)| say(&format!("  {n} uncacheable: {why} — `{}`", shorten(of, EXAMPLE))));
            if form == Summary::Github
                && let Err(e) = ci::github(r, &line)
            {
                warning(&format!("the summary could not be written: {e}"));
            }
        }
    }
}

/// The form of a summary: what the CI system around shows, if that is to be found out.
pub(super) fn here(form: Summary) -> Summary {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| v == "true");
    match form {
        Summary::Auto if set("GITHUB_ACTIONS") => Summary::Github,
        Summary::Auto if set("GITLAB_CI") => Summary::Gitlab,
        other => other,
    }
}

/// The closing line. It counts each pip once: as a hit, as one that ran, or as one that was bypassed.
fn line(r: &BuildRecord, mode: Mode) -> String {
    use Outcome as O;
    let (hits, of_hits) = group(r, &[O::Hit]);
    let (ran, of_ran) = group(r, &[O::Miss, O::Remote, O::Uncacheable, O::Failed]);
    let far = match &r.remote {
        None => String::new(),
        Some(_) if hits > 0 => format!(" ({} from the remote cache)", r.pips.far),
        Some(_) => String::new(),
    };
    let mut parts = vec![format!("{}{of_hits}{far}, {ran} ran{of_ran}", counted(hits, "hit"))];
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
    match &r.remote {
        Some(Remote { only_read: true, .. }) => parts.push("the remote cache is only read".into()),
        Some(Remote { sent, .. }) if *sent > 0 => parts.push(format!("{} sent", counted(*sent, "result"))),
        _ => {}
    }
    parts.push(r.backend.clone());
    format!("{}: {}", counted(r.pips.total, if mode == Mode::Single { "command" } else { "pip" }), parts.join(" · "))
}

/// How many pips have one of these outcomes, and, in parentheses, how many of those failed or cannot be stored.
fn group(r: &BuildRecord, of: &[Outcome]) -> (u64, String) {
    let count = |what: fn(&Item) -> bool| r.items.iter().filter(|i| of.contains(&i.outcome) && what(i)).count() as u64;
    let special =
        [(count(|i| i.exit_code != 0), "failed"), (count(|i| i.outcome == Outcome::Uncacheable), "uncacheable")];
    let special: Vec<String> = special.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    (count(|_| true), if special.is_empty() { String::new() } else { format!(" ({})", special.join(", ")) })
}

/// `1 pip`, `2 pips`.
pub(super) fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// As much of a command as fits behind a reason.
const EXAMPLE: usize = 60;

/// The last commands that failed, of a build that failed.
fn failures(r: &BuildRecord) -> impl Iterator<Item = String> {
    ci::failures(r)
        .take(3)
        .map(|i| format!("  failed with exit code {}: `{}`", i.exit_code, shorten(&i.command, EXAMPLE)))
}

/// `0.43 s`, `11.8 s`, `3 m 02 s`.
pub(super) fn duration(ms: u64) -> String {
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
            serde_json::json!({"id": 1, "command": format!("tool --fails-with \
                {exit_code}"), "argv": [], "cwd": "/", "outcome": outcome, "outputs": [],
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
        let check = |pips: &[(Outcome, i32)], skipped, expected| {
            assert_eq!(line(&record(pips, skipped, 0), Mode::Build), expected)
        };
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
        assert_eq!(
            failures(&record(&pips, 0, 2)).collect::<Vec<_>>(),
            ["  failed with exit code 7: `tool --fails-with 7`"]
        );
        assert_eq!(failures(&record(&pips, 0, 0)).count(), 0);
    }
}
