//! Which environment variables a result depends on.
//!
//! When every program that a pip executed is in the table, only the variables that those programs read count;
//! otherwise every variable does, except the ones that are passed through. A shell reads what its text names.
//! The environment that the command gets is never changed.

use crate::accesses::Program;
use crate::command_text::shell_text;
use crate::tools::{self, Class};
use cache::Observation;

/// Variables of the session, and our own: they count only where the text of a script names them. A trailing `*` is a
/// prefix.
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
    "XL_BACKEND",
    "XL_CACHE_DIR",
    "XL_CACHE_MAX_BYTES",
    "XL_DISABLE",
    "XL_EBPF_RING",
    "XL_LOG",
    "XL_REMOTE_CACHE",
    "XL_REMOTE_HEADERS",
    "XL_REMOTE_UPLOAD",
    "XL_REMOTE_WAIT",
    "XL_SESSION",
    "MAKE_TERMOUT",
    "MAKE_TERMERR",
];

/// Variables of the C library, the dynamic loader and message catalogues: they count for every program.
const EVERY_PROGRAM: &[&str] = &[
    "LD_*",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "LOCPATH",
    "NLSPATH",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "MALLOC_*",
    "TZ",
    "TZDIR",
    "POSIXLY_CORRECT",
    "_POSIX2_VERSION",
    "OUTPUT_CHARSET",
];

/// Identifiers of a CI job: they count only where a script or a tool of the build names them.
const JOB: &[&str] =
    &["CI_JOB_*", "CI_PIPELINE_*", "CI_RUNNER_*", "CI_BUILD_*", "GITHUB_RUN_*", "BUILD_NUMBER", "BUILD_ID", "RUNNER_*"];

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
    PASS_THROUGH.iter().chain(JOB).copied().chain(extra.iter().map(String::as_str)).any(|p| matches(p, name))
}

/// Is the name in the user's list?
pub fn listed(list: &[String], name: &[u8]) -> bool {
    list.iter().any(|p| matches(p, name))
}

/// How a text is searched for the names of variables that are passed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// For all of them, as words.
    Everything,
    /// For those of a CI job, as words.
    Job,
    /// For those of a CI job, anywhere: the strings of a program have no borders.
    Strings,
}

/// The variables that a text names, whether they are set or not; not those of the user's own list.
pub fn named(text: &[u8], search: Search, env: &[Vec<u8>], user: &[String]) -> Vec<Observation> {
    use bstr::ByteSlice;
    let session = if search == Search::Everything { PASS_THROUGH } else { &[] };
    let mut out = Vec::new();
    for p in JOB.iter().chain(session).filter(|p| p.len() > 2 && !p.starts_with("XL_")) {
        let (name, prefix) = p.strip_suffix('*').map_or((*p, false), |n| (n, true));
        let there = if search == Search::Strings {
            text.contains_str(name)
        } else {
            crate::scripts::has_word(text, name.as_bytes(), prefix)
        };
        if listed(user, name.as_bytes()) || !there {
            continue;
        }
        // Of a prefix: the names under it, and each by itself.
        out.push(Observation::Env(p.as_bytes().to_vec()));
        out.extend(
            env.iter()
                .map(|v| split(v).0)
                .filter(|n| prefix && matches(p, n) && !listed(user, n))
                .map(|n| Observation::Env(n.to_vec())),
        );
    }
    out
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
    let mut escaped = false;
    let mut all = value.split(|b| {
        let ends = *b == b' ' && !escaped;
        escaped = *b == b'\\' && !escaped;
        ends
    });
    let mut i = 0;
    while let Some(w) = all.next() {
        // From here on there are variables.
        if w == b"--" {
            words.push(w);
            words.extend(all);
            break;
        }
        let job = w.is_empty()
            || w.starts_with(b"-j")
            || w.starts_with(b"--jobserver")
            || w.starts_with(b"--jobs")
            || w.starts_with(b"-l")
            || w.starts_with(b"--sync");
        // The first word of MAKEFLAGS is bare letters; `j` among them is a job option (make's manual,
        // "Options/Recursion").
        if !(job || (i == 0 && w == b"j")) {
            words.push(w);
        }
        i += 1;
    }
    words.join(&b' ')
}

/// Does this option give a compiler texts with functions of their own (gcc's manual, "Spec Files": `%:getenv`), or code
/// of somebody's? It may read any variable then.
pub(crate) fn extends_compilers(option: &[u8]) -> bool {
    const OPTIONS: [&[u8]; 5] = [b"-specs", b"--specs", b"-fplugin=", b"-fpass-plugin=", b"-load"];
    OPTIONS.iter().any(|o| option.starts_with(o))
}

/// Does it lay out text for a terminal, whether there is one or not? Of compilers `--help` does.
fn is_laid_out(p: &Program) -> bool {
    match p.tool {
        Some(t) if t.is(Class::Toolchain) => p.argv.iter().any(|a| a.starts_with(b"--help")),
        _ => tools::find(&p.path).is_some_and(|k| k.lays_out(&p.argv)),
    }
}

/// The environment observations of a pip that executed `programs` with `env`. `track` always counts.
pub fn observations(programs: &[Program], env: &[Vec<u8>], pass: &[String], track: &[String]) -> Vec<Observation> {
    let named = |names: &[String]| names.iter().map(|n| Observation::Env(n.clone().into_bytes())).collect::<Vec<_>>();
    // What a shell's text names counts even if it would be passed through.
    let mut out = named(track);
    let mut patterns: Vec<String> = EVERY_PROGRAM.iter().map(|s| (*s).to_owned()).collect();
    // Code of somebody's is in every program.
    let preloads = |v: &Vec<u8>| [&b"LD_PRELOAD"[..], b"LD_AUDIT"].contains(&split(v).0) && !split(v).1.is_empty();
    let mut everything = env.iter().any(preloads);
    for p in programs {
        let names = match p.tool {
            Some(t) if t.is(Class::Shell) => shell_variables(&p.argv, env),
            Some(_) if p.argv.iter().any(|w| extends_compilers(w)) => None,
            Some(_) => Some(Vec::new()),
            None => None,
        };
        match names {
            Some(names) => out.extend(named(&names)),
            None => everything = true,
        }
        let goes_back = |t: &[u8]| bstr::ByteSlice::contains_str(t, "cd -") || bstr::ByteSlice::contains_str(t, "~-");
        if p.tool.is_some_and(|t| t.is(Class::Shell)) && shell_text(&p.argv).is_some_and(goes_back) {
            out.push(Observation::Env(b"OLDPWD".to_vec()));
        }
        if is_laid_out(p) {
            out.extend(["TERM", "COLUMNS", "LINES"].map(|n| Observation::Env(n.into())));
        }
        patterns.extend(p.tool.iter().flat_map(|t| t.variables).map(|s| (*s).to_owned()));
    }
    if everything {
        out.push(Observation::EnvAll);
        return out;
    }
    patterns.sort();
    patterns.dedup();
    for p in &patterns {
        // A prefix: the names under it, so that a new one is seen, and each by itself.
        if p.ends_with('*') || !passes(p.as_bytes(), pass) {
            out.push(Observation::Env(p.clone().into_bytes()));
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

/// Names that the text of `sh -c TEXT` may refer to; `None` when that cannot be told (a script, `eval`, arithmetic …).
fn shell_variables(argv: &[Vec<u8>], env: &[Vec<u8>]) -> Option<Vec<String>> {
    use bstr::ByteSlice;
    let text = shell_text(argv)?;
    // What the shell reads besides: a file of commands, functions, a prompt.
    let besides = |v: &Vec<u8>| {
        v.starts_with(b"BASH_ENV=") || v.starts_with(b"BASH_FUNC_") || v.starts_with(b"PS4=") && v.contains(&b'$')
    };
    if env.iter().any(besides) {
        return None;
    }
    // Names are values in arithmetic: also in subscripts and in offsets (`${a[N]}`, `a[N]=1`, `${s:N}`).
    let subscript = text.find_iter("[").any(|i| i > 0 && (text[i - 1].is_ascii_alphanumeric() || text[i - 1] == b'_'));
    let offset = text.find_iter(":").any(|i| {
        let name = text[..i].iter().rposition(|b| !(b.is_ascii_alphanumeric() || b"_@*".contains(b)));
        name.is_some_and(|n| text[n] == b'{' && n > 0 && text[n - 1] == b'$')
            && !matches!(text.get(i + 1), Some(b'-' | b'=' | b'?' | b'+'))
    });
    if subscript
        || offset
        || ["LD_PRELOAD", "LD_AUDIT", "((", "$[", "[[", "${!", " -v ", "cd -", "~-"]
            .iter()
            .any(|x| text.contains_str(x))
    {
        return None;
    }
    let plain = |b: &u8| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'/'));
    for w in text.split(|b| plain(b)) {
        if matches!(
            w,
            b"eval"
                | b"env"
                | b"printenv"
                | b"set"
                | b"export"
                | b"source"
                | b"."
                | b"declare"
                | b"typeset"
                | b"let"
                | b"readonly"
                | b"local"
                | b"compgen"
        ) {
            return None;
        }
    }
    let mut names = Vec::new();
    let mut rest: &[u8] = text;
    while let Some(i) = rest.iter().position(|b| *b == b'$') {
        rest = &rest[i + 1..];
        let body = rest.strip_prefix(b"{").unwrap_or(rest);
        let body = body.strip_prefix(b"#").unwrap_or(body);
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
            ("MAKEFLAGS", " -j2 -- L=-lfoo\\ -lm\\ -j", "-- L=-lfoo\\ -lm\\ -j"),
            ("CFLAGS", "-j2", "-j2"),
        ];
        for (n, v, want) in cases {
            assert_eq!(effective(n.as_bytes(), v.as_bytes()), want.as_bytes(), "{n}={v}");
        }
    }

    #[test]
    fn a_shell_reads_what_its_text_names() {
        let of = |t: &str| shell_variables(&[b"sh".to_vec(), b"-c".to_vec(), t.as_bytes().to_vec()], &[]);
        assert_eq!(of("gcc -c $SRC -o ${OUT}.o && : $? $$"), Some(vec!["SRC".into(), "OUT".into()]));
        assert_eq!(of("eval $X"), None);
        assert_eq!(of(". ./defs; echo"), None);
        for t in ["echo ${!NAME}", "echo ${a[N]}", "a[N]=5", "echo ${s:N}", "echo ${s:1:N}", "cd -; pwd", "echo ~-"] {
            assert_eq!(of(t), None, "{t}");
        }
        assert_eq!(of("echo ${A:-x} ${B-} [ab]*"), Some(vec!["A".into(), "B".into()]));
        assert_eq!(shell_variables(&[b"sh".to_vec(), b"build.sh".to_vec()], &[]), None);
        for v in [&b"BASH_ENV=rc"[..], b"BASH_FUNC_f%%=() { echo $X; }", b"PS4=$X "] {
            assert_eq!(shell_variables(&[b"bash".to_vec(), b"-c".to_vec(), b"f".to_vec()], &[v.to_vec()]), None);
        }
    }

    #[test]
    fn options_of_others_are_not_the_shells() {
        let words = |s: &str| s.split(' ').map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(shell_variables(&words("sh ./libtool --mode=compile gcc -c foo.c"), &[]), None);
        assert_eq!(shell_variables(&words("bash -o pipefail -ec $X"), &[]), Some(vec!["X".into()]));
        assert_eq!(shell_variables(&words("sh -c $((N+1))"), &[]), None);
    }

    #[test]
    fn an_unknown_program_makes_everything_count() {
        let program = |p: &str| Program {
            path: p.into(),
            argv: Vec::new(),
            pid: 0,
            is_opaque: true,
            tool: tools::kind(p.as_bytes()),
            interpreter: None,
        };
        let env = vec![b"LD_LIBRARY_PATH=x".to_vec(), b"FOO=1".to_vec()];
        assert_eq!(
            observations(&[program("/usr/bin/gcc"), program("/opt/gen")], &env, &[], &[]),
            vec![Observation::EnvAll]
        );
        let o = observations(&[program("/usr/bin/gcc")], &env, &[], &["CI_JOB_ID".into()]);
        for n in ["LD_LIBRARY_PATH", "CPATH", "CI_JOB_ID"] {
            assert!(o.contains(&Observation::Env(n.into())), "{n}");
        }
        assert!(!o.contains(&Observation::Env(b"FOO".to_vec())));
        let preloaded = observations(&[program("/usr/bin/gcc")], &[b"LD_PRELOAD=x".to_vec()], &[], &[]);
        assert!(preloaded.contains(&Observation::EnvAll));
    }
}
