//! Which environment variables a result depends on.
//!
//! When it is known of every program that a pip executed what it can read ([`readers`]), only those variables count;
//! otherwise every variable does, except the ones that are passed through: those of the session, and identifiers of a
//! job ([`jobs`]). Lists of directories count as what a search meets in them ([`search`]). The environment that the
//! command gets is never changed.

mod awk;
mod elf;
mod jobs;
mod python;
mod readers;
pub(crate) mod search;
mod shell;

pub(crate) use shell::commands;

use crate::accesses::{Accesses, Program};
use crate::command_text::shell_text;
use crate::judgement::Context;
use crate::look::Look;
use crate::record::{Image, Record};
use crate::tools::{self, Class};
use cache::{Observation, PathBytes};
use rustc_hash::FxHashMap;

type Names = FxHashMap<PathBytes, Record>;

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
    "LD_LIBRARY_PATH",
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
    PASS_THROUGH.iter().copied().chain(jobs::patterns()).any(|p| matches(p, name)) || listed(extra, name)
}

/// Is it an identifier of a job, which passes unless somebody names it?
pub(crate) fn is_of_job(name: &[u8], user: &[String]) -> bool {
    jobs::patterns().any(|p| matches(p, name)) && !listed(user, name)
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
    let session = if search == Search::Everything { PASS_THROUGH } else { &[] };
    let mut out = Vec::new();
    let mut add = |name: &[u8]| out.extend((!listed(user, name)).then(|| Observation::Env(name.to_vec())));
    // Of a prefix: the names under it, and each by itself.
    let under = |prefix: &[u8], add: &mut dyn FnMut(&[u8])| {
        add(&[prefix, b"*"].concat());
        env.iter().map(|v| split(v).0).filter(|n| n.starts_with(prefix)).for_each(add);
    };
    for p in session.iter().filter(|p| p.len() > 2 && !p.starts_with("XL_")) {
        match p.strip_suffix('*') {
            Some(prefix) if crate::scripts::has_word(text, prefix.as_bytes(), true) => {
                under(prefix.as_bytes(), &mut add);
            }
            None if crate::scripts::has_word(text, p.as_bytes(), false) => add(p.as_bytes()),
            _ => {}
        }
    }
    for name in jobs::named(text, search == Search::Strings) {
        match name {
            jobs::Named::Whole(name) => add(name),
            jobs::Named::Beginning(prefix) => under(prefix, &mut add),
        }
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

/// Does a text name the variables by which code of somebody's is in every program that it launches (ld.so(8))?
fn preloads(text: &[u8]) -> bool {
    ["LD_PRELOAD", "LD_AUDIT"].iter().any(|n| bstr::ByteSlice::contains_str(text, n))
}

/// Does it lay out text for a terminal, whether there is one or not? Of compilers `--help` does.
fn is_laid_out(p: &Program) -> bool {
    match p.tool {
        Some(t) if t.is(Class::Toolchain) => p.argv.iter().any(|a| a.starts_with(b"--help")),
        _ => tools::find(&p.path).is_some_and(|k| k.lays_out(&p.argv)),
    }
}

/// The environment observations of a pip. What the user tracks always counts.
pub(crate) fn observations(a: &Accesses, names: &Names, look: &impl Look, c: &Context<'_>) -> Vec<Observation> {
    let (programs, env) = (&a.programs, c.env);
    // What a script's text names counts even if it would be passed through.
    let mut texts: Vec<Vec<u8>> = c.track.iter().map(|n| n.clone().into_bytes()).collect();
    let mut patterns: Vec<&str> = EVERY_PROGRAM.to_vec();
    // Code of somebody's is in every program.
    let preloads = |v: &Vec<u8>| [&b"LD_PRELOAD"[..], b"LD_AUDIT"].contains(&split(v).0) && !split(v).1.is_empty();
    let mut everything = env.iter().any(preloads);
    let mut goes_through = false;
    let world = readers::Pip { names, look, c };
    for (image, p) in (1..).zip(programs) {
        let image: Image = image;
        match world.reads(p, image) {
            readers::Reads::All { job } => {
                everything = true;
                goes_through |= job;
            }
            readers::Reads::These { named, read } => {
                texts.extend(named);
                patterns.extend(read);
            }
        }
        let goes_back = |t: &[u8]| bstr::ByteSlice::contains_str(t, "cd -") || bstr::ByteSlice::contains_str(t, "~-");
        if p.tool.is_some_and(|t| t.is(Class::Shell)) && shell_text(&p.argv).is_some_and(goes_back) {
            texts.push(b"OLDPWD".to_vec());
        }
        if is_laid_out(p) {
            texts.extend(["TERM", "COLUMNS", "LINES"].map(Into::into));
        }
        if p.tool.is_some_and(|t| t.is(Class::Toolchain)) && p.argv.iter().any(|w| search::shows_directories(w)) {
            texts.extend(search::all().map(Into::into));
        }
        patterns.extend(p.tool.iter().flat_map(|t| t.variables));
    }
    // It has read them, whoever it is.
    if a.state.contains(crate::scripts::ENVIRONMENT) {
        (everything, goes_through) = (true, true);
    }
    let mut out: Vec<Observation> = texts.iter().cloned().map(Observation::Env).collect();
    if everything {
        out.push(Observation::EnvAll);
        out.extend(goes_through.then_some(Observation::EnvJob));
        return out;
    }
    patterns.sort_unstable();
    patterns.dedup();
    for p in &patterns {
        if let Some(s) = search::searched(p.as_bytes()) {
            if !texts.iter().any(|n| n == p.as_bytes()) {
                let accessed = names.keys().chain(a.links.keys()).map(|p| &p[..]);
                out.extend(s.observation(env, accessed));
            }
            continue;
        }
        // A prefix: the names under it, so that a new one is seen, and each by itself.
        if p.ends_with('*') || !passes(p.as_bytes(), c.pass) {
            out.push(Observation::Env(p.as_bytes().to_vec()));
        }
    }
    for v in env {
        let (name, _) = split(v);
        let is_list = search::searched(name).is_some();
        if !is_list && patterns.iter().any(|p| p.ends_with('*') && matches(p, name)) && !passes(name, c.pass) {
            out.push(Observation::Env(name.to_vec()));
        }
    }
    out
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

    fn of(programs: &[&str], env: &[&str], track: &[String]) -> Vec<Observation> {
        let program = |p: &&str| Program {
            path: p.as_bytes().into(),
            argv: Vec::new(),
            pid: 0,
            is_opaque: true,
            tool: tools::kind(p.as_bytes()),
            interpreter: None,
        };
        let env: Vec<Vec<u8>> = env.iter().map(|v| v.as_bytes().to_vec()).collect();
        let c = Context {
            env: &env,
            pass: &[],
            track,
            dated: false,
            stdin: Default::default(),
            said: b"",
            ran: [0, 0],
            root: b"/w",
            deterministic: &|_| false,
        };
        let a = Accesses { programs: programs.iter().map(program).collect(), ..Accesses::default() };
        observations(&a, &Names::default(), &crate::testing::Table::new(), &c)
    }

    #[test]
    fn an_unknown_program_makes_everything_count() {
        let env = ["LD_LIBRARY_PATH=x", "FOO=1"];
        assert_eq!(of(&["/usr/bin/gcc", "/opt/gen"], &env, &[]), vec![Observation::EnvAll]);
        let o = of(&["/usr/bin/gcc"], &env, &["CI_JOB_ID".into()]);
        for n in ["LD_*", "SOURCE_DATE_EPOCH", "CI_JOB_ID"] {
            assert!(o.contains(&Observation::Env(n.into())), "{n}");
        }
        for n in ["LD_LIBRARY_PATH", "CPATH"] {
            assert!(o.contains(&Observation::Found { variable: n.into(), names: Vec::new() }), "{n}");
            assert!(!o.contains(&Observation::Env(n.into())), "{n}");
        }
        assert!(!o.contains(&Observation::Env(b"FOO".to_vec())));
        assert!(of(&["/usr/bin/gcc"], &["LD_PRELOAD=x"], &[]).contains(&Observation::EnvAll));
        // What shows all of them shows those of a job, too.
        assert_eq!(of(&["/usr/bin/env"], &env, &[]), vec![Observation::EnvAll, Observation::EnvJob]);
    }
}
