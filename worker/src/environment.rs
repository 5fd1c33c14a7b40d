//! Which environment variables a result depends on.
//!
//! When every program that a pip executed is in the table, only the variables that those programs read count;
//! otherwise every variable does, except the ones that are passed through. A shell reads what its text names.
//! The environment that the command gets is never changed.

use crate::tools::{self, Class, EVERY_PROGRAM};
use cache::Observation;

/// Variables that never count: identifiers of the session or the CI job, and our own. A trailing `*` is a prefix.
pub const PASS_THROUGH: &[&str] = &[
    "_",
    "SHLVL",
    "OLDPWD",
    "TERM",
    "COLUMNS",
    "LINES",
    "SSH_*",
    "DBUS_*",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "XDG_SESSION_*",
    "XDG_RUNTIME_DIR",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "WINDOWID",
    "TMUX",
    "TMUX_PANE",
    "STY",
    "CI_*",
    "GITHUB_RUN_*",
    "GITHUB_SHA",
    "BUILD_NUMBER",
    "BUILD_ID",
    "RUNNER_*",
    "XL_*",
    "MAKE_TERMOUT",
    "MAKE_TERMERR",
];

/// Variables whose job-server parts do not count.
const JOB_SERVER: &[&str] = &["MAKEFLAGS", "MFLAGS", "CARGO_MAKEFLAGS"];

fn matches(pattern: &str, name: &[u8]) -> bool {
    match pattern.strip_suffix('*') {
        Some(p) => name.starts_with(p.as_bytes()),
        None => pattern.as_bytes() == name,
    }
}

/// Is `name` passed through (by default, or by the user's own list)?
pub fn passes(name: &[u8], extra: &[String]) -> bool {
    PASS_THROUGH.iter().copied().chain(extra.iter().map(String::as_str)).any(|p| matches(p, name))
}

/// Name and value of `NAME=value`.
pub fn split(var: &[u8]) -> (&[u8], &[u8]) {
    let cut = var.iter().position(|b| *b == b'=').unwrap_or(var.len());
    (&var[..cut], var.get(cut + 1..).unwrap_or_default())
}

/// The value as it counts: without `-jN` and job-server descriptors.
pub fn effective(name: &[u8], value: &[u8]) -> Vec<u8> {
    if !JOB_SERVER.iter().any(|n| n.as_bytes() == name) {
        return value.to_vec();
    }
    let mut words: Vec<&[u8]> = Vec::new();
    for (i, w) in value.split(|b| *b == b' ').enumerate() {
        let job = w.is_empty()
            || w.starts_with(b"-j")
            || w.starts_with(b"--jobserver")
            || w.starts_with(b"--jobs")
            || w.starts_with(b"-l")
            || w.starts_with(b"--sync");
        // The first word of MAKEFLAGS is bare letters; `j` among them is a job option (make's manual, "Options/Recursion").
        if job || (i == 0 && w == b"j") {
            continue;
        }
        words.push(w);
    }
    words.join(&b' ')
}

/// The environment observations of a pip that executed `programs` (image path, argv) with `env`.
pub fn observations(programs: &[(Vec<u8>, Vec<Vec<u8>>)], env: &[Vec<u8>], pass: &[String], track: &[String]) -> Vec<Observation> {
    let mut patterns: Vec<String> = EVERY_PROGRAM.iter().map(|s| (*s).to_owned()).collect();
    for (path, argv) in programs {
        let Some(t) = tools::tool(path) else { return vec![Observation::EnvAll] };
        if t.class == Class::Shell {
            match shell_variables(argv) {
                Some(names) => patterns.extend(names),
                None => return vec![Observation::EnvAll],
            }
        }
        patterns.extend(t.env.iter().map(|s| (*s).to_owned()));
    }
    patterns.extend(track.iter().cloned());
    patterns.sort();
    patterns.dedup();
    let mut out: Vec<Observation> = Vec::new();
    for p in &patterns {
        match p.strip_suffix('*') {
            None if !passes(p.as_bytes(), pass) => out.push(Observation::Env(p.clone().into_bytes())),
            None => {}
            // A prefix: what is set now, and the prefix itself, so that a new variable under it is seen.
            Some(_) => out.push(Observation::Env(p.clone().into_bytes())),
        }
    }
    for v in env {
        let (name, _) = split(v);
        if patterns.iter().any(|p| p.ends_with('*') && matches(p, name)) && !passes(name, pass) {
            out.push(Observation::Env(name.to_vec()));
        }
    }
    out
}

/// Names that the text of `sh -c TEXT` refers to; `None` when that cannot be told (a script, `eval`, `env` …).
fn shell_variables(argv: &[Vec<u8>]) -> Option<Vec<String>> {
    let c = argv.iter().position(|a| a.first() == Some(&b'-') && a.get(1) != Some(&b'-') && a.contains(&b'c'))?;
    let text = argv.get(c + 1)?;
    let words = |sep: &dyn Fn(&u8) -> bool| text.split(|b| sep(b)).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let plain = |b: &u8| !(b.is_ascii_alphanumeric() || *b == b'_' || *b == b'.' || *b == b'-' || *b == b'/');
    for w in words(&plain) {
        if matches!(&w[..], b"eval" | b"env" | b"printenv" | b"set" | b"export" | b"source" | b"." | b"declare" | b"typeset") {
            return None;
        }
    }
    let mut names = Vec::new();
    let mut rest: &[u8] = text;
    while let Some(i) = rest.iter().position(|b| *b == b'$') {
        rest = &rest[i + 1..];
        let body = rest.strip_prefix(b"{").unwrap_or(rest);
        let body = body.strip_prefix(b"#").unwrap_or(body);
        if body.first() == Some(&b'!') {
            return None;
        }
        let end = body.iter().position(|b| !(b.is_ascii_alphanumeric() || *b == b'_')).unwrap_or(body.len());
        if end > 0 {
            names.push(String::from_utf8_lossy(&body[..end]).into_owned());
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_server_parts_do_not_count() {
        let cases = [
            ("MAKEFLAGS", " -j2 --jobserver-auth=3,4", ""),
            ("MAKEFLAGS", "j", ""),
            ("MAKEFLAGS", "ks -j --jobserver-fds=3,4 -- CC=gcc", "ks -- CC=gcc"),
            ("CFLAGS", "-j2", "-j2"),
        ];
        for (n, v, want) in cases {
            assert_eq!(effective(n.as_bytes(), v.as_bytes()), want.as_bytes(), "{n}={v}");
        }
    }

    #[test]
    fn a_shell_reads_what_its_text_names() {
        let of = |t: &str| shell_variables(&[b"sh".to_vec(), b"-c".to_vec(), t.as_bytes().to_vec()]);
        assert_eq!(of("gcc -c $SRC -o ${OUT}.o && : $? $$"), Some(vec!["SRC".into(), "OUT".into()]));
        assert_eq!(of("eval $X"), None);
        assert_eq!(of(". ./defs; echo"), None);
        assert_eq!(of("echo ${!NAME}"), None);
        assert_eq!(shell_variables(&[b"sh".to_vec(), b"build.sh".to_vec()]), None);
    }

    #[test]
    fn an_unknown_program_makes_everything_count() {
        let gcc = (b"/usr/bin/gcc".to_vec(), vec![]);
        let other = (b"/opt/gen".to_vec(), vec![]);
        let env = vec![b"LD_PRELOAD=x".to_vec(), b"FOO=1".to_vec()];
        assert_eq!(observations(&[gcc.clone(), other], &env, &[], &[]), vec![Observation::EnvAll]);
        let o = observations(&[gcc], &env, &[], &[]);
        assert!(o.contains(&Observation::Env(b"LD_PRELOAD".to_vec())));
        assert!(o.contains(&Observation::Env(b"CPATH".to_vec())));
        assert!(!o.contains(&Observation::Env(b"FOO".to_vec())));
    }
}
