//! What the text of a build's own scripts and tools gives away of what no system call shows: that they ask for the time or for random
//! numbers (both come from the vDSO or from a seed of the interpreter's) or for the state of the machine, and which variables of a session or
//! CI job they name.
//!
//! A search for words, not a proof: `docs/safety.md` says what it cannot find. The machine's own scripts are not searched; those whose
//! point is the time are in [`crate::tools::VOLATILE`].

use crate::recorder::Program;
use crate::tools::base_name;
use bstr::ByteSlice;

/// A language: who runs it, how its files end, and its words for time and chance.
struct Language {
    interpreters: &'static [&'static str],
    endings: &'static [&'static str],
    words: &'static [&'static str],
}

const LANGUAGES: &[Language] = &[
    Language {
        interpreters: &["sh", "dash", "bash", "ksh", "zsh", "busybox"],
        endings: &[".sh"],
        words: &[
            "$RANDOM",
            "${RANDOM",
            "$SRANDOM",
            "$SECONDS",
            "${SECONDS",
            "$EPOCHSECONDS",
            "$EPOCHREALTIME",
            "printf '%(",
            "printf \"%(",
        ],
    },
    Language {
        interpreters: &["python", "pypy"],
        endings: &[".py"],
        words: &[
            ".now(",
            ".today(",
            ".utcnow(",
            "time.time(",
            "time.time_ns(",
            "time.localtime()",
            "time.gmtime()",
            "time.ctime()",
            "time.strftime(",
            "uuid1(",
            "uuid4(",
            "random.random(",
            "random.rand",
            "random.choice",
            "random.shuffle(",
            "random.sample(",
            "os.urandom(",
            "secrets.",
        ],
    },
    Language { interpreters: &["perl"], endings: &[".pl", ".pm"], words: &["localtime", "gmtime", "time()", "= time;", "rand(", "rand;"] },
    Language { interpreters: &["ruby"], endings: &[".rb"], words: &["Time.now", "Date.today", "DateTime.now", "rand(", "SecureRandom"] },
    Language { interpreters: &["awk", "gawk", "mawk"], endings: &[".awk"], words: &["systime(", "srand()", "strftime("] },
    Language { interpreters: &["node", "nodejs"], endings: &[".js", ".mjs", ".cjs"], words: &["Date.now(", "new Date()", "Math.random("] },
    Language { interpreters: &["tclsh"], endings: &[".tcl"], words: &["clock seconds", "clock format", "rand()"] },
    Language { interpreters: &["lua", "luajit"], endings: &[".lua"], words: &["os.time()", "os.date(", "os.clock(", "math.random("] },
    Language { interpreters: &["php"], endings: &[".php"], words: &["time()", "date(", "rand(", "uniqid("] },
];

/// Files that say what the machine does at the moment. Allocators and run-time libraries look into them, to no effect on what is made.
const STATE: &[&str] = &[
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/mounts",
    "/proc/self/limits",
    "/proc/self/stat",
    "/proc/self/statm",
    "/proc/self/status",
    "/proc/self/cgroup",
    "/proc/self/mountinfo",
    "/proc/self/maps",
    "/proc/self/environ",
    "/sys/fs/cgroup",
];

/// Where machines and package managers put the scripts of others.
const FOREIGN: &[&str] = &["/usr/", "/lib/", "/bin/", "/opt/", "/nix/"];
const PACKAGES: &[&str] = &["/site-packages/", "/dist-packages/", "/node_modules/", "/lib/python3", "/lib/perl5/"];

impl Language {
    fn runs(&self, program: &[u8]) -> bool {
        let name = base_name(program);
        let stem = name.trim_end_with(|c| c.is_ascii_digit() || c == '.' || c == '-');
        self.interpreters.iter().any(|i| i.as_bytes() == stem)
    }

    /// The word by which the text asks for time or chance.
    fn asks(&self, text: &[u8]) -> Option<&'static str> {
        let shell = self.interpreters[0] == "sh";
        // A number for the name of a scratch file is lost with it: `conf$$-$RANDOM`.
        let scratch = |line: &[u8]| shell && (line.contains_str("$$") || line.to_ascii_lowercase().contains_str("tmp"));
        let found = |w: &&&str| text.contains_str(w) && text.lines().any(|l| begins(l, w.as_bytes()) && !is_comment(l) && !scratch(l));
        self.words.iter().find(found).copied().or_else(|| STATE.iter().find(found).copied())
    }
}

/// Is `word` in the line, and not the end of a longer one (`operand(`)?
fn begins(line: &[u8], word: &[u8]) -> bool {
    let plain = word[0].is_ascii_alphanumeric();
    line.find_iter(word).any(|i| !(plain && part_of_name(i.checked_sub(1).and_then(|i| line.get(i)))))
}

fn part_of_name(b: Option<&u8>) -> bool {
    b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

fn is_comment(line: &[u8]) -> bool {
    let line = line.trim_start();
    line.starts_with(b"#") || line.starts_with(b"//")
}

/// May this file be a script of the build's own? `executable`: it has the permission.
pub fn is_own(path: &[u8], executable: bool) -> bool {
    let foreign = FOREIGN.iter().any(|d| path.starts_with(d.as_bytes())) || PACKAGES.iter().any(|d| path.contains_str(d));
    !foreign && (executable || LANGUAGES.iter().any(|l| l.endings.iter().any(|e| path.ends_with(e.as_bytes()))))
}

/// Is it a script for a shell, by its name or first line?
pub fn is_shell(path: &[u8], text: &[u8]) -> bool {
    let first = text.lines().next().filter(|l| l.starts_with(b"#!")).unwrap_or_default();
    path.ends_with(b".sh") || first.fields_with(|c| c == ' ' || c == '!').any(|w| LANGUAGES[0].runs(w))
}

/// The state of kernel or processes that a command line names, which programs also read for their own needs.
pub fn names_state(argv: &[Vec<u8>]) -> Option<&'static str> {
    argv.iter().skip(1).find_map(|a| STATE.iter().find(|s| names(a, s.as_bytes())).copied())
}

/// The script that an interpreter is given; what follows `-c`, `-e` or `-m` is none.
pub fn script_of<'a>(program: &[u8], argv: &'a [Vec<u8>]) -> Option<&'a [u8]> {
    LANGUAGES.iter().find(|l| l.runs(program))?;
    let first = argv.iter().skip(1).find(|a| !a.starts_with(b"-") || matches!(&a[..], b"-c" | b"-e" | b"-m"))?;
    (!first.starts_with(b"-")).then_some(first)
}

/// The word by which a file that these programs ran, or might have, asks for time or chance. With `SOURCE_DATE_EPOCH` in its text and in the
/// environment (`dated`) it is taken to use that.
pub fn asks(path: &[u8], text: &[u8], programs: &[Program], dated: bool) -> Option<&'static str> {
    if dated && text.contains_str("SOURCE_DATE_EPOCH") {
        return None;
    }
    let first = text.lines().next().filter(|l| l.starts_with(b"#!")).unwrap_or_default();
    let ran = |l: &&Language| programs.iter().any(|p| l.runs(&p.path) || p.path == path);
    let named = |l: &&Language| l.endings.iter().any(|e| path.ends_with(e.as_bytes()));
    let says = |l: &&Language| first.fields_with(|c| c == ' ' || c == '!').any(|w| l.runs(w));
    let given = |l: &&Language| programs.iter().any(|p| l.runs(&p.path) && p.argv.iter().skip(1).any(|a| base_name(a) == base_name(path)));
    let all = || LANGUAGES.iter();
    all().find(named).or_else(|| all().find(says)).or_else(|| all().find(given)).filter(ran)?.asks(text)
}

/// The same for a text on a command line (`python3 -c TEXT`, `awk TEXT`); shells are asked in [`crate::environment::volatile_variable`].
pub fn command_asks(program: &Program) -> Option<&'static str> {
    let l = LANGUAGES.iter().skip(1).find(|l| l.runs(&program.path))?;
    program.argv.iter().skip(1).find_map(|a| l.asks(a))
}

/// Is the variable named in the text, as a whole word?
pub fn names(text: &[u8], variable: &[u8]) -> bool {
    text.find_iter(variable)
        .any(|i| !part_of_name(i.checked_sub(1).and_then(|i| text.get(i))) && !part_of_name(text.get(i + variable.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(path: &str, argv: &[&str]) -> Program {
        Program { path: path.into(), argv: argv.iter().map(|a| a.as_bytes().to_vec()).collect(), tool: None, pid: 1 }
    }

    #[test]
    fn words_for_time_and_chance() {
        let python = [program("/usr/bin/python3.11", &["python3", "gen"])];
        let shell = [program("/usr/bin/dash", &["sh", "configure"])];
        let asks = |path: &str, text: &str, programs: &[Program]| asks(path.as_bytes(), text.as_bytes(), programs, false);
        assert_eq!(asks("/w/gen", "import datetime\nprint(datetime.datetime.now())", &python), Some(".now("));
        assert_eq!(asks("/w/lib/util.py", "t = time.time()", &python), Some("time.time("));
        assert_eq!(asks("/w/gen", "x = operand(1); my_random.randint(2)", &python), None);
        assert_eq!(asks("/w/gen", "# not .now() any more", &python), None);
        assert_eq!(asks("/w/data", "#!/usr/bin/env bash\necho $RANDOM", &python), None);
        assert_eq!(asks("/w/configure", "mkdir conf$$-$RANDOM\ntmp=x-${RANDOM-0}$$\n", &shell), None);
        assert_eq!(asks("/w/configure", "echo $RANDOM > out", &shell), Some("$RANDOM"));
        assert_eq!(super::asks(b"/w/gen", b"e = os.environ.get('SOURCE_DATE_EPOCH', time.time())", &python, true), None);
        assert_eq!(command_asks(&program("/usr/bin/mawk", &["awk", "BEGIN { srand(); print rand() }"])), Some("srand()"));
        assert_eq!(asks("/w/gen", "open('/proc/meminfo')", &python), Some("/proc/meminfo"));
        assert_eq!(command_asks(&program("/usr/bin/gcc", &["gcc", "-DX=time()"])), None);
    }

    #[test]
    fn whose_scripts() {
        assert!(is_own(b"/w/gen", true) && is_own(b"/w/gen.py", false) && !is_own(b"/w/data.txt", false));
        assert!(!is_own(b"/usr/bin/pod2man", true) && !is_own(b"/w/venv/lib/python3.11/random.py", false));
    }

    #[test]
    fn whole_names() {
        assert!(names(b"os.environ['BUILD_ID']", b"BUILD_ID") && !names(b"MY_BUILD_ID", b"BUILD_ID") && !names(b"BUILD_IDS", b"BUILD_ID"));
    }
}
