//! What the text of a build's own scripts and tools gives away of what no system call shows: that they ask for the time
//! or for random numbers (both come from the vDSO or from a seed of the interpreter's) or for the state of the machine,
//! and which variables of a session or CI job they name.
//!
//! A search for words, not a proof: `docs/safety.md` says what it cannot find. The machine's own scripts are not
//! searched; programs whose point is the time are in the table of tools, as are the languages.

use crate::accesses::Program;
use crate::command_text::shell_text;
use crate::tools::{self, Class, Known, Language, languages};
use bstr::ByteSlice;

/// Files that say what the machine does at the moment. Allocators and run-time libraries look into them, to no effect
/// on what is made.
const STATE: &[&str] = &[
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/mounts",
    "/proc/self/stat",
    "/proc/self/statm",
    "/proc/self/status",
    "/proc/self/cgroup",
    "/proc/self/mountinfo",
    "/proc/self/maps",
    ENVIRONMENT,
    "/sys/fs/cgroup",
];

/// What `./configure` scripts take the size of pages and of the memory from: that counts, and not how much of it is
/// free.
pub const MEMORY: &str = "/proc/meminfo";

/// Where a process finds all of its environment.
pub(crate) const ENVIRONMENT: &str = "/proc/self/environ";

/// Variables of a shell's own that have another value each time.
const SHELL: &[&str] = &["PPID", "RANDOM", "SRANDOM", "SECONDS", "EPOCHSECONDS", "EPOCHREALTIME", "BASHPID"];

/// The word by which the text of a script asks for time, chance or the state of the machine.
fn asks_in(language: &Language, text: &[u8]) -> Option<&'static str> {
    let seeded = || text.find_iter("srand(").any(|i| !text[i + 6..].trim_start().starts_with(b")"));
    let means = |w: &str| !(w == "rand()" && language.may_be_seeded && seeded());
    let found = |w: &&&str| {
        text.contains_str(w)
            && means(w)
            && text.lines().any(|l| begins(l, w.as_bytes()) && !is_comment(l) && !imports_no_date(l))
    };
    let cmake = || if language.is_cmake { cmake_asks(text) } else { None };
    let word = language.words.iter().find(found).copied().or_else(cmake);
    word.or_else(|| STATE.iter().filter(|s| **s != MEMORY).find(found).copied())
}

/// Does a line of Python's import from `time` only what waits, or measures how long something takes?
fn imports_no_date(line: &[u8]) -> bool {
    const NAMES: &[&str] =
        &["sleep", "perf_counter", "perf_counter_ns", "process_time", "process_time_ns", "monotonic", "monotonic_ns"];
    let names = line.trim().strip_prefix(b"from time import ").unwrap_or_default();
    let names = || names.split(|b| *b == b',').map(<[u8]>::trim);
    names().all(|n| NAMES.iter().any(|w| w.as_bytes() == n))
}

/// The language of the scripts that this program runs.
fn language_of(program: &[u8]) -> Option<&'static Language> {
    tools::find(program)?.language()
}

/// Does it run scripts of this language?
fn runs(language: &Language, program: &[u8]) -> bool {
    language_of(program) == Some(language)
}

/// The variables of these shells' own that have another value each time.
fn own_variables<'a>(shells: impl Iterator<Item = &'a [u8]>) -> &'static [&'static str] {
    let own = |p: &[u8]| tools::find(p).and_then(Known::changing_variables).unwrap_or(SHELL);
    { shells }.map(own).max_by_key(|v| v.len()).unwrap_or_default()
}

/// Where this variable stands in a line as a word of its own, and is not set.
fn places<'a>(line: &'a [u8], variable: &'a str) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let halves = move |i: usize| (&line[..i], &line[i + variable.len()..]);
    let is_set = |after: &[u8]| after.starts_with(b"=") && !after.starts_with(b"==");
    let whole = move |(before, after): &(&[u8], &[u8])| {
        !part_of_name(before.last()) && !part_of_name(after.first()) && !is_set(after)
    };
    line.find_iter(variable).map(halves).filter(whole)
}

/// Does the line tell the time in a format (`printf '%(%F)T'`), or expand a prompt (`${x@P}`)?
fn prints_time(line: &[u8]) -> bool {
    let format = |rest: &[u8]| rest.find_byte(b')').is_some_and(|end| rest[end..].starts_with(b")T"));
    line.contains_str("@P}") || line.contains_str("printf") && line.find_iter("%(").any(|i| format(&line[i..]))
}

/// Where a shell takes names for values.
const VALUES: &[&str] = &["((", "$[", "[[", "let ", "declare", "typeset"];

/// The variable by which a shell's script asks for time or chance: with `$`, or any mention where names have values
/// without one (bash(1), "Arithmetic evaluation"). But a number for the name of a scratch file is lost with it: what is
/// glued to a process number in an assignment to something of that name (`tmp=conf$$-$RANDOM`) is one.
fn shell_asks(text: &[u8], variables: &[&'static str]) -> Option<&'static str> {
    let arithmetic = VALUES.iter().any(|w| text.contains_str(w));
    let uses = |(before, after): (&[u8], &[u8])| {
        let value = arithmetic || before.ends_with(b"$") || before.ends_with(b"[") || before.contains_str("${");
        let border = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'`' | b';');
        let begin = before.iter().rposition(border).map_or(0, |b| b + 1);
        let end = after.iter().position(border).unwrap_or(after.len());
        let glued = before[begin..].contains_str("$$") || after[..end].contains_str("$$");
        let word = before.iter().rposition(|b| b.is_ascii_whitespace()).map_or(0, |b| b + 1);
        let assigned = before[word..].split_once_str("=").is_some_and(|(name, _)| name.contains_str("tmp"));
        // Whether there is such a variable is no secret.
        let tested = [&b"-n \"$"[..], b"-n $", b"-z \"$", b"-z $"].iter().any(|t| before.ends_with(t));
        // libtool has this in every `configure`, for one system of long ago.
        let libtool = before.ends_with(b"${") && after.starts_with(b"-$$}");
        value && !(tested || libtool || assigned && glued)
    };
    let asks = |v: &&&str| text.contains_str(v) && text.lines().any(|l| !is_comment(l) && places(l, v).any(uses));
    variables.iter().find(asks).copied().or_else(|| text.lines().any(prints_time).then_some("printf %(…)T"))
}

/// The same for a text on a command line: if it has values at all.
fn shell_text_asks(text: &[u8], variables: &[&'static str]) -> Option<&'static str> {
    let values = text.contains(&b'$') || VALUES.iter().any(|w| text.contains_str(w));
    let asks = |v: &&&str| values && places(text, v).next().is_some();
    variables.iter().find(asks).copied().or_else(|| prints_time(text).then_some("printf %(…)T"))
}

/// `string(TIMESTAMP …)` and `string(RANDOM …)` of cmake's, in any layout; a random string with a seed is no random
/// one.
fn cmake_asks(text: &[u8]) -> Option<&'static str> {
    let code: Vec<u8> = text.lines_with_terminator().filter(|l| !is_comment(l)).flatten().copied().collect();
    let word = |i: usize| {
        let (name, rest) = (code[..i].trim_end(), code[i + 1..].trim_start());
        let is_string = name.len() > 5 && name[name.len() - 6..].eq_ignore_ascii_case(b"string");
        let begins = |w: &str| rest.strip_prefix(w.as_bytes()).is_some_and(|r| !part_of_name(r.first()));
        let end = rest.find_byte(b')').unwrap_or(rest.len());
        is_string.then(|| match () {
            () if begins("TIMESTAMP") => Some("string(TIMESTAMP"),
            () if begins("RANDOM") && !rest[..end].contains_str("RANDOM_SEED") => Some("string(RANDOM"),
            () => None,
        })?
    };
    code.find_iter("(").find_map(word)
}

/// Is `word` in the line, and not the end of a longer one (`operand(`)?
fn begins(line: &[u8], word: &[u8]) -> bool {
    let plain = word[0].is_ascii_alphanumeric();
    // `$rand` of perl is a variable.
    let longer = |b: Option<&u8>| part_of_name(b) || b.is_some_and(|b| b"$@%".contains(b));
    line.find_iter(word).any(|i| !(plain && longer(i.checked_sub(1).and_then(|i| line.get(i)))))
}

pub(crate) fn part_of_name(b: Option<&u8>) -> bool {
    b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

fn is_comment(line: &[u8]) -> bool {
    let line = line.trim_start();
    line.starts_with(b"#") || line.starts_with(b"//")
}

/// Does this program run scripts?
pub(crate) fn interprets(program: &[u8]) -> bool {
    language_of(program).is_some()
}

/// Does the script say in its beginning that it is the one of this `title`? A name alone does not tell.
pub(crate) fn is_titled(script: &[u8], title: &str) -> bool {
    let beginning = |f: std::fs::File| {
        let mut text = Vec::new();
        let _ = std::io::Read::read_to_end(&mut std::io::Read::take(f, 4096), &mut text);
        text
    };
    cache::collect::open_file(script).map(beginning).is_some_and(|text| text.contains_str(title))
}

/// Is it a shell, by its name?
pub(crate) fn is_shell_program(program: &[u8]) -> bool {
    language_of(program).is_some_and(|l| l.is_shell)
}

/// May these programs have run it? It is one of them, was given to one, or is named as a module of a language and an
/// interpreter has touched it (`interpreted`).
pub fn may_have_run(path: &[u8], interpreted: bool, programs: &[Program]) -> bool {
    let module = || languages::ALL.iter().any(|l| l.endings.iter().any(|e| path.ends_with(e.as_bytes())));
    programs.iter().any(|p| p.path == path) || (interpreted && module()) || is_given(path, programs)
}

/// Was it given to an interpreter on its command line?
pub fn is_given(path: &[u8], programs: &[Program]) -> bool {
    programs.iter().flat_map(|p| scripts_of(&p.path, &p.argv)).any(|s| is_name_of(s, path))
}

/// Is it a script for a shell, by its name or first line?
pub fn is_shell(path: &[u8], text: &[u8]) -> bool {
    let first = text.lines().next().filter(|l| l.starts_with(b"#!")).unwrap_or_default();
    path.ends_with(b".sh") || first.fields_with(|c| c == ' ' || c == '!').any(is_shell_program)
}

/// The name in our table of a file below `/proc` or `/sys` that says what the machine does at the moment.
pub fn state(path: &[u8]) -> Option<&'static str> {
    let own = path.strip_prefix(b"/proc/").and_then(|p| {
        p.iter().position(|b| *b == b'/').filter(|n| p[..*n].iter().all(u8::is_ascii_digit)).map(|n| &p[n..])
    });
    let name = own.map_or_else(|| path.to_vec(), |rest| [b"/proc/self", rest].concat());
    // A thread has the same as its process.
    let name = if name.starts_with(b"/proc/") && name.ends_with(b"/environ") { ENVIRONMENT.into() } else { name };
    STATE.iter().find(|s| name == s.as_bytes() || (s.starts_with("/sys") && name.starts_with(s.as_bytes()))).copied()
}

/// Does a command line name it? Compilers are told of names to write them down.
pub fn says(program: &Program, state: &str) -> bool {
    program.tool.is_none_or(|t| !t.is(Class::Toolchain))
        && program.argv.iter().skip(1).any(|a| has_word(a, state.as_bytes(), false))
}

/// The scripts that an interpreter may be given: what is no option. What follows `-c`, `-e` or `-m` is none.
pub fn scripts_of<'a>(program: &[u8], argv: &'a [Vec<u8>]) -> impl Iterator<Item = &'a [u8]> {
    let runs = interprets(program);
    let words = argv.iter().skip(1).map(Vec::as_slice).take_while(|a| !matches!(*a, b"-c" | b"-e" | b"-m"));
    words.filter(move |a| runs && !a.starts_with(b"-"))
}

/// Does the word of a command line name this file?
pub(crate) fn is_name_of(word: &[u8], path: &[u8]) -> bool {
    if word.starts_with(b"/") {
        return word == path;
    }
    let tail = word.rsplit_str("../").next().unwrap_or(word);
    let tail = tail.strip_prefix(b"./").unwrap_or(tail);
    path.strip_suffix(tail).is_some_and(|rest| rest.ends_with(b"/"))
}

/// The word by which a file that these programs ran, or might have, asks for time or chance. With `SOURCE_DATE_EPOCH`
/// in its text and in the environment (`dated`) it is taken to use that.
pub fn asks(path: &[u8], text: &[u8], programs: &[Program], dated: bool) -> Option<&'static str> {
    if text.starts_with(b"\x7fELF") || dated && text.contains_str("SOURCE_DATE_EPOCH") {
        return None;
    }
    let first = text.lines().next().filter(|l| l.starts_with(b"#!")).unwrap_or_default();
    let ran =
        |l: &&Language| programs.iter().any(|p| runs(l, &p.path) || p.interpreter.as_ref().is_some_and(|i| runs(l, i)));
    let named = |l: &&Language| l.endings.iter().any(|e| path.ends_with(e.as_bytes()));
    let says = |l: &&Language| first.fields_with(|c| c == ' ' || c == '!').any(|w| runs(l, w));
    let given = |l: &&Language| {
        programs
            .iter()
            .filter(|p| runs(l, &p.path))
            .flat_map(|p| scripts_of(&p.path, &p.argv))
            .any(|s| is_name_of(s, path))
    };
    let all = || languages::ALL.into_iter().filter(ran);
    let language = all().find(named).or_else(|| all().find(says)).or_else(|| all().find(given))?;
    let shells = programs
        .iter()
        .flat_map(|p| [Some(&p.path[..]), p.interpreter.as_deref()])
        .flatten()
        .filter(|p| runs(language, p));
    let shell = || if language.is_shell { shell_asks(text, own_variables(shells)) } else { None };
    asks_in(language, text).or_else(shell)
}

/// The same of a text that a shell among these programs has opened: it may have been sourced.
pub fn asks_if_sourced(text: &[u8], programs: &[Program]) -> Option<&'static str> {
    let shells = programs
        .iter()
        .flat_map(|p| [Some(&p.path[..]), p.interpreter.as_deref()])
        .flatten()
        .filter(|p| is_shell_program(p));
    shell_asks(text, own_variables(shells))
}

/// The same for a text on a command line (`sh -c TEXT`, `python3 -c TEXT`, `awk TEXT`).
pub fn command_asks(program: &Program) -> Option<&'static str> {
    let l = language_of(&program.path)?;
    if l.is_shell {
        let text = shell_text(&program.argv)?;
        let own = own_variables([&program.path[..]].into_iter());
        shell_text_asks(text, own).or_else(|| asks_in(l, text).filter(|w| !STATE.contains(w)))
    } else {
        program.argv.iter().skip(1).find_map(|a| asks_in(l, a))
    }
}

/// Is the word in the text, and neither the end of a longer one nor, if it is no prefix, the beginning?
pub fn has_word(text: &[u8], word: &[u8], prefix: bool) -> bool {
    let before = |i: usize| i.checked_sub(1).and_then(|i| text.get(i));
    text.find_iter(word).any(|i| !part_of_name(before(i)) && (prefix || !part_of_name(text.get(i + word.len()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(path: &str, argv: &[&str]) -> Program {
        Program {
            path: path.into(),
            argv: argv.iter().map(|a| a.as_bytes().to_vec()).collect(),
            tool: None,
            interpreter: None,
            pid: 1,
            is_opaque: false,
        }
    }

    #[test]
    fn words_for_time_and_chance() {
        let python = [program("/usr/bin/python3.11", &["python3", "gen"])];
        let shell = [program("/usr/bin/bash", &["bash", "configure"])];
        let dash = [program("/usr/bin/dash", &["sh", "configure"])];
        let asks =
            |path: &str, text: &str, programs: &[Program]| asks(path.as_bytes(), text.as_bytes(), programs, false);
        assert_eq!(asks("/w/gen", "import datetime\nprint(datetime.datetime.now())", &python), Some(".now("));
        assert_eq!(asks("/w/lib/util.py", "t = time.time()", &python), Some("time.time("));
        assert_eq!(asks("/w/gen", "x = operand(1); my_random.randint(2)", &python), None);
        assert_eq!(asks("/w/gen", "# not .now() any more", &python), None);
        assert_eq!(asks("/w/data", "#!/usr/bin/env bash\necho $RANDOM", &python), None);
        assert_eq!(
            asks(
                "/w/configure",
                "tmp=./conf$$-$RANDOM\ntmp=\"x-${RANDOM-0}$$\"\ntest -n \"$RANDOM\" && tmp=$tmp/cg$$-$RANDOM\n`expr \
                    ${RANDOM-$$} % 4`\n",
                &shell
            ),
            None
        );
        for line in [
            "echo $RANDOM > o.tmp",
            "echo $((RANDOM % 10))",
            "x=${RANDOM}",
            "echo id-$$-$RANDOM",
            "echo ${a[RANDOM % 11]}",
            "let n=RANDOM",
            "declare -i n=RANDOM",
            "[[ RANDOM -gt 5 ]] && echo",
            "echo ${x:RANDOM%3}",
            "n=$((\n RANDOM % 10\n))",
            "declare -ri k=RANDOM",
            "id=$$-$RANDOM; echo $id",
        ] {
            assert_eq!(command_asks(&program("/usr/bin/bash", &["bash", "-c", line])), Some("RANDOM"), "{line}");
            assert_eq!(asks("/w/configure", line, &dash), None, "{line}");
            assert_eq!(asks("/w/configure", line, &shell), Some("RANDOM"), "{line}");
        }
        assert_eq!(asks("/w/configure", "x=${RANDOM_SEED:-5}; RANDOM=1", &shell), None);
        assert_eq!(command_asks(&program("/usr/bin/sh", &["sh", "-c", "gcc -DRANDOM -DMY_SECONDS=$X a.c"])), None);
        assert_eq!(
            super::asks(b"/w/gen", b"e = os.environ.get('SOURCE_DATE_EPOCH', time.time())", &python, true),
            None
        );
        assert_eq!(
            command_asks(&program("/usr/bin/mawk", &["awk", "BEGIN { srand(); print rand() }"])),
            Some("rand()")
        );
        assert_eq!(asks("/w/gen", "open('/proc/loadavg')", &python), Some("/proc/loadavg"));
        let own = [Program { interpreter: Some(b"/usr/bin/python3".to_vec()), ..program("/w/t.py", &["./t.py"]) }];
        assert_eq!(asks("/w/lib.py", "datetime.now()", &own), Some(".now("));
        assert_eq!(command_asks(&program("/usr/bin/sh", &["sh", "-c", "echo $RANDOM"])), Some("RANDOM"));
        assert_eq!(
            command_asks(&program("/usr/bin/bash", &["bash", "-c", "printf -v d 'at %(%s)T' -1"])),
            Some("printf %(…)T")
        );
        assert_eq!(asks("/w/configure", "id=$PPID", &dash), Some("PPID"));
        assert_eq!(command_asks(&program("/usr/bin/bash", &["bash", "-c", "grep -i SECONDS f"])), None);
        let cmake = [program("/usr/bin/cmake", &["cmake", "-P", "stamp.cmake"])];
        assert_eq!(asks("/w/stamp.cmake", "STRING(\n  TIMESTAMP T \"%s\" UTC)", &cmake), Some("string(TIMESTAMP"));
        for text in [
            "set(TIMESTAMP 0)",
            "find_package(UUID REQUIRED)",
            "string(RANDOM LENGTH 4 RANDOM_SEED 3 v)",
            "# string(TIMESTAMP x)",
        ] {
            assert_eq!(asks("/w/stamp.cmake", text, &cmake), None, "{text}");
        }
        for text in [
            "echo waiting 5 SECONDS",
            "#define MODE RANDOM",
            "case $1 in RANDOM) ;; esac",
            "grep '\\D{1}'",
            "printf '%(x)s' '(a)T'",
        ] {
            assert_eq!(asks("/w/configure", text, &shell), None, "{text}");
        }
        assert_eq!(asks_if_sourced(b"echo $RANDOM", &shell), Some("RANDOM"));
        let mawk = [program("/usr/bin/mawk", &["mawk", "-f", "a.awk"])];
        assert_eq!(asks("/w/a.awk", "BEGIN { print rand() }", &mawk), Some("rand()"));
        assert_eq!(asks("/w/a.awk", "BEGIN { srand(1); print rand() }", &mawk), None);
        assert_eq!(command_asks(&program("/usr/bin/sh", &["sh", "-c", "gcc -DM='\"/proc/mounts\"' -c a.c"])), None);
        assert_eq!(command_asks(&program("/usr/bin/gcc", &["gcc", "-DX=time()"])), None);
    }

    #[test]
    fn whose_scripts() {
        let bash = [program("/usr/bin/bash", &["bash", "-o", "pipefail", "gen"])];
        assert!(
            may_have_run(b"/usr/bin/bash", false, &bash)
                && may_have_run(b"/w/gen.py", true, &[])
                && !may_have_run(b"/w/gen.py", false, &[])
        );
        assert!(may_have_run(b"/w/gen", false, &bash));
    }

    #[test]
    fn the_state_of_the_machine() {
        assert_eq!(
            (state(b"/proc/4711/statm"), state(b"/proc/loadavg"), state(b"/proc/4711/fd")),
            (Some("/proc/self/statm"), Some("/proc/loadavg"), None)
        );
        assert!(says(&program("/usr/bin/cat", &["cat", "/proc/loadavg"]), "/proc/loadavg"));
        let gcc = Program { tool: tools::kind(b"gcc"), ..program("/usr/bin/gcc", &["gcc", "-DX=\"/proc/loadavg\""]) };
        assert!(!says(&gcc, "/proc/loadavg"));
    }

    #[test]
    fn whole_names() {
        let has = |text: &str, prefix| has_word(text.as_bytes(), b"BUILD_ID", prefix);
        assert!(
            has("os.environ['BUILD_ID']", false)
                && !has("MY_BUILD_ID", true)
                && !has("BUILD_IDS", false)
                && has("BUILD_IDS", true)
        );
    }
}
