//! What a run asks for that is another thing each time: the present, chance, the state of the machine, names of its own
//! making. As data, by the names of programs and the words of their command lines.
//!
//! What only a text gives away is the business of [`crate::scripts`], macros of compilers that of [`crate::macros`].

use crate::recorder::Program;
use crate::tools::{Class, base_name, has_directive, prints, short_flag};
use bstr::ByteSlice;

/// Programs that exist to say something that changes from run to run: never cached.
pub const VOLATILE: &[(&str, &str)] = &[
    ("date", "it tells the time"),
    ("uuidgen", "it makes random identifiers"),
    ("mcookie", "it makes random numbers"),
    ("shuf", "it makes a random order"),
    ("ssh-keygen", "it makes random keys"),
    ("uptime", "it tells the time"),
    ("who", "it tells who is there"),
    ("w", "it tells who is there"),
    ("last", "it tells who was there"),
    ("df", "it tells how much room is left"),
    ("du", "it tells how much room files take"),
    ("free", "it tells how much memory is left"),
    ("vmstat", "it tells what the machine does"),
    ("mountpoint", "it asks what is mounted"),
    ("mount", "it asks what is mounted"),
    ("findmnt", "it asks what is mounted"),
    ("lsblk", "it asks what is mounted"),
    ("domainname", "it tells a name of the machine that is not tracked"),
    ("nisdomainname", "it tells a name of the machine that is not tracked"),
    ("lsattr", "it tells attributes that are not tracked"),
    ("dmesg", "it tells what the machine does"),
    ("ss", "it looks at other processes"),
    ("netstat", "it looks at other processes"),
    ("lsof", "it looks at other processes"),
    ("top", "it looks at other processes"),
    ("ps", "it looks at other processes"),
    ("pgrep", "it looks at other processes"),
    ("pkill", "it signals other processes"),
    ("kill", "it signals other processes"),
];

/// Do these programs do nothing but wait? (`./configure` waits for the clock to go on, among much else.)
pub fn only_wait(programs: &[Program]) -> bool {
    let waits = |p: &Program| base_name(&p.path) == b"sleep";
    programs.iter().any(waits) && programs.iter().all(|p| waits(p) || p.tool.is_some_and(|t| t.class == Class::Shell))
}

/// Programs that have inputs which nobody sees, wherever they are installed, unless this variable is set.
const DAEMONS: &[(&str, &str, &str)] = &[
    ("sccache", "", "it hands its work to a daemon; set RUSTC_WRAPPER and CC without sccache"),
    ("ccache", "CCACHE_DISABLE=", "it keeps a cache of its own; set CCACHE_DISABLE=1, or CC without ccache"),
    ("distcc", "", "it hands its work to a daemon; set CC without distcc"),
    ("icecc", "", "it hands its work to a daemon; set CC without icecc"),
];

/// The program among these that works with what nobody sees, and why.
pub fn daemon(programs: &[Program], env: &[Vec<u8>]) -> Option<(&'static str, &'static str)> {
    let named = |n: &str| {
        programs
            .iter()
            .any(|p| base_name(&p.path) == n.as_bytes() || p.argv.first().is_some_and(|a| base_name(a) == n.as_bytes()))
    };
    let off = |variable: &str| !variable.is_empty() && env.iter().any(|v| v.starts_with(variable.as_bytes()));
    DAEMONS.iter().find(|(n, variable, _)| named(n) && !off(variable)).map(|(n, _, why)| (*n, *why))
}

/// Programs that write the time into what they make, unless `SOURCE_DATE_EPOCH` tells them one.
pub const DATED: &[&str] = &[
    "help2man",
    "xgettext",
    "msginit",
    "jar",
    "javadoc",
    "latex",
    "pdflatex",
    "xelatex",
    "lualatex",
    "tex",
    "pdftex",
    "dvips",
    "dvipdfm",
    "groff",
    "gs",
    "ps2pdf",
    "mkimage",
    "mksquashfs",
    "genisoimage",
    "mkisofs",
    "xorriso",
    "xorrisofs",
    "makensis",
    "rpmbuild",
];

/// Does it write the time into what it makes?
pub fn is_dated(path: &[u8]) -> bool {
    DATED.iter().any(|n| n.as_bytes() == base_name(path))
}

/// What this run asks for that is another thing each time, although the program has other uses.
pub fn asks_for_now(path: &[u8], argv: &[Vec<u8>]) -> Option<&'static str> {
    let arg = |f: &dyn Fn(&[u8]) -> bool| argv.iter().skip(1).any(|a| f(a));
    let is = |words: &'static [&'static str]| argv.iter().skip(1).any(|a| words.iter().any(|w| w.as_bytes() == &a[..]));
    match base_name(path) {
        b"find" if is(&["-mtime", "-mmin", "-atime", "-amin", "-ctime", "-cmin", "-used"]) => {
            Some("it compares times with the present")
        }
        b"find" if is(&["-cnewer", "-anewer", "-ls", "-inum", "-samefile"]) || prints(argv, b"aAcCikb") => {
            Some("it tells inode numbers, or times of access or change")
        }
        // `-newerXY`: a, B and c are times of access, birth and change.
        b"find"
            if arg(&|a| {
                a.strip_prefix(b"-newer").is_some_and(|xy| xy.len() == 2 && xy.iter().any(|b| b"aBc".contains(b)))
            }) =>
        {
            Some("it compares times of access or change")
        }
        b"stat" if arg(&|a| a == b"--file-system" || short_flag(a, b"f", b"c")) => {
            Some("it tells how much room is left")
        }
        b"stat" if stat_format(argv).is_none_or(|f| has_directive(f, b"iXxZzWwbB")) => {
            Some("it tells inode numbers, or times of access or change")
        }
        b"find"
            if argv.windows(2).any(|w| w[0].starts_with(b"-newer") && w[0].ends_with(b"t") && !is_absolute(&w[1])) =>
        {
            Some("it compares times with the present")
        }
        b"touch" if date_of_touch(argv).is_some_and(|d| !is_absolute(d)) => Some("it reckons from the present"),
        b"flock"
            if { argv }.iter().skip(1).take_while(|a| a.starts_with(b"-")).any(|a| {
                [&b"--nb"[..], b"--nonblock", b"--timeout", b"--wait"].contains(&&a[..]) || short_flag(a, b"nw", b"Ec")
            }) =>
        {
            Some("it asks whether somebody holds a lock")
        }
        b"sh" | b"dash" | b"bash" if arg(&|a| a.contains_str("[ -N ") || a.contains_str("test -N ")) => {
            Some("it asks for a time of access")
        }
        b"test" | b"[" if is(&["-N"]) => Some("it asks for a time of access"),
        b"sh" | b"dash" | b"bash" | b"test" | b"["
            if argv.iter().skip(1).any(|a| a.split_str(" ").any(|w| w == b"-ef")) =>
        {
            Some("it asks whether two names are of one file")
        }
        b"ls" if arg(&|a| a.strip_prefix(b"--time=").is_some_and(|t| !t.starts_with(b"m"))) => {
            Some("it tells times of access or change")
        }
        // How `./configure` scripts find out whether two names are of one directory.
        b"ls" if argv.iter().skip(1).map(Vec::as_slice).eq([&b"-di"[..], b"."]) => None,
        b"ls" if arg(&|a| a == b"--size" || a == b"--inode" || short_flag(a, b"scui", b"ITw")) => {
            Some("it tells inode numbers, times of access or change, or how much room files take")
        }
        b"mktemp" if arg(&|a| a == b"--dry-run" || short_flag(a, b"u", b"p")) => Some("it makes up a name"),
        b"sqlite3"
            if arg(&|a| ["'now'", "random()", "CURRENT_TIME", "CURRENT_DATE"].iter().any(|w| a.contains_str(w))) =>
        {
            Some("it tells the time, or makes random numbers")
        }
        _ if arg(&|a| a.contains_str("--build-id=uuid")) => Some("it makes a random build id"),
        // lld removes what is old (`pruneCache` of LLVM).
        _ if arg(&|a| a.contains_str("--thinlto-cache-dir")) => {
            Some("it looks after a cache of its own, by the age of what is in it")
        }
        b"nice" if argv.len() == 1 => Some("it tells its own priority"),
        b"git" => git(argv),
        b"sort"
            if arg(&|a| {
                a.starts_with(b"--ra")
                    || a.starts_with(b"--so") && a.contains_str("=r")
                    || short_flag(a, b"R", b"StTo")
                    || sorts_by(a)
            }) =>
        {
            Some("it makes a random order")
        }
        b"openssl" if is(&["rand", "genrsa", "genpkey", "req", "ecparam", "dhparam", "dsaparam", "gendsa"]) => {
            Some("it makes random keys")
        }
        b"gpg" | b"gpg2"
            if is(&[
                "-s",
                "-c",
                "-e",
                "--sign",
                "--clearsign",
                "--detach-sign",
                "--encrypt",
                "--symmetric",
                "-b",
                "-sb",
            ]) =>
        {
            Some("it signs with the time, or encrypts with a random key")
        }
        _ => None,
    }
}

/// Is this a date that does not depend on the present: seconds after the epoch, or one that says its year?
fn is_absolute(date: &[u8]) -> bool {
    let years =
        |w: &[u8]| w.len() == 4 && (w.starts_with(b"19") || w.starts_with(b"20")) && w.iter().all(u8::is_ascii_digit);
    date.starts_with(b"@") || date.split(|b| !b.is_ascii_digit()).any(years)
}

/// The date that `touch` is told; one of its own form (`-t`) as one that says its year, if it does.
fn date_of_touch(argv: &[Vec<u8>]) -> Option<&[u8]> {
    let value = |i: usize, a: &'static [u8]| {
        argv[i].strip_prefix(a).filter(|v| !v.is_empty()).or_else(|| argv.get(i + 1).map(|v| &v[..]))
    };
    let short = |i: usize, letter: u8| {
        let at = argv[i].iter().position(|b| *b == letter)?;
        let plain = argv[i].starts_with(b"-")
            && !argv[i].starts_with(b"--")
            && argv[i][1..at].iter().all(|b| b"achm".contains(b));
        plain.then(|| Some(&argv[i][at + 1..]).filter(|v| !v.is_empty()).or_else(|| argv.get(i + 1).map(|v| &v[..])))?
    };
    (1..argv.len()).find_map(|i| match &argv[i][..] {
        a if a.starts_with(b"--date=") => Some(&a[7..]),
        b"--date" => value(i, b"--date"),
        _ => short(i, b'd').or_else(|| {
            short(i, b't')
                .map(|t| if t.iter().take_while(|b| b.is_ascii_digit()).count() >= 10 { &b"@0"[..] } else { t })
        }),
    })
}

/// A key of `sort`: `-k1,1R`, or `1,1R` after `-k`.
fn sorts_by(word: &[u8]) -> bool {
    let key = word.strip_prefix(b"--key=").unwrap_or(word);
    key.ends_with(b"R")
        && key.iter().all(|b| b.is_ascii_alphanumeric() || b",.".contains(b))
        && key.first().is_some_and(u8::is_ascii_digit)
}

/// git notes the time when it makes commits, tags or entries of its logs, and compares with the present wherever a date
/// is not a number (gitrevisions(7), git-log(1), "date" in its `approxidate`: what a date does not say is taken from
/// now).
fn git(argv: &[Vec<u8>]) -> Option<&'static str> {
    const COMPARES: Option<&str> = Some("it compares times with the present");
    let mut words = argv.iter().skip(1).map(Vec::as_slice);
    let mut settings = Vec::new();
    let command = loop {
        match words.next()? {
            b"-c" => settings.extend(words.next()),
            b"-C" | b"--git-dir" | b"--work-tree" | b"--namespace" | b"--config-env" | b"--super-prefix" => {
                _ = words.next()
            }
            w if w.starts_with(b"-") => {}
            w => break w,
        }
    };
    let rest: Vec<&[u8]> = words.collect();
    let any = |f: &dyn Fn(&&&[u8]) -> bool| rest.iter().any(|w| f(&w));
    let says = |w: &[u8]| ["relative", "human", "auto", "%ar", "%cr", "%ah", "%ch"].iter().any(|f| w.contains_str(f));
    let sets = |w: &&[u8]| {
        let name = w.to_ascii_lowercase();
        says(w)
            && [&b"log.date="[..], b"blame.date=", b"format.pretty=", b"pretty."].iter().any(|k| name.starts_with(k))
    };
    let shows = |w: &[u8]| {
        ["%ar", "%cr", "%ah", "%ch", ":relative", ":human"].iter().any(|f| w.contains_str(f))
            || [&b"--date=relative"[..], b"--date=human", b"--date=auto", b"--relative-date"]
                .iter()
                .any(|d| w.starts_with(d))
    };
    let separate = rest.windows(2).any(|w| w[0] == b"--date" && says(w[1]));
    let until = [&b"--since"[..], b"--after", b"--until", b"--before", b"--expire"];
    // `@{1}` is a place in the log, `@{u}` a branch.
    let dated = |w: &[u8]| {
        w.find(b"@{").is_some_and(|i| {
            let inner = w[i + 2..].split(|b| *b == b'}').next().unwrap_or_default();
            let place = inner.iter().all(|b| b.is_ascii_digit() || *b == b'-');
            !(place || ["u", "upstream", "push"].iter().any(|n| inner.eq_ignore_ascii_case(n.as_bytes())))
        })
    };
    match command {
        b"commit" | b"commit-tree" | b"am" | b"rebase" | b"cherry-pick" | b"revert" | b"merge" | b"stash" | b"pull"
        | b"clone" | b"fetch" | b"checkout" | b"switch" | b"reset" | b"notes" | b"gc" | b"var" => {
            Some("it notes the time")
        }
        // Neither looks into a file whose state is that of the index.
        b"diff-index" | b"diff-files" => Some("it compares inode numbers and times of change"),
        b"tag"
            if any(&|w| {
                [&b"-a"[..], b"-s", b"-u", b"-m", b"-F", b"--annotate", b"--sign", b"--message", b"--file"].contains(w)
            }) =>
        {
            Some("it notes the time")
        }
        // Of a tree, not of a commit, and what is a hash may be either.
        b"archive"
            if any(&|w| {
                w.contains(&b':') || w.contains_str("^{tree") || w.len() > 6 && w.iter().all(u8::is_ascii_hexdigit)
            }) =>
        {
            Some("it notes the time in archives of trees")
        }
        _ if separate
            || settings.iter().any(sets)
            || any(&|w| shows(w) || dated(w) || until.iter().any(|u| w.starts_with(u))) =>
        {
            COMPARES
        }
        _ => None,
    }
}

/// Why the result of this program is never the same twice; `name` is what it is called, `path` where it is: a tool of
/// the build's own may have the name of another.
pub fn volatile(path: &[u8], name: &[u8]) -> Option<&'static str> {
    let named = VOLATILE.iter().find(|(n, _)| n.as_bytes() == base_name(name)).map(|(_, why)| *why);
    named.filter(|_| crate::scripts::is_foreign(path, b""))
}

/// The format that `stat` is given.
fn stat_format(argv: &[Vec<u8>]) -> Option<&[u8]> {
    let next = |a: &[u8]| matches!(a, b"--format" | b"--printf") || a.ends_with(b"c") && short_flag(a, b"c", b"");
    let own = |a: &'_ [u8]| {
        [&b"--format="[..], b"--printf=", b"-c"].iter().find_map(|p| Some(a.len() - a.strip_prefix(*p)?.len()))
    };
    argv.iter()
        .enumerate()
        .find_map(|(i, a)| if next(a) { argv.get(i + 1).map(Vec::as_slice) } else { a.get(own(a)?..) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_that_are_switched_off() {
        let program = |path: &str, name: &str| {
            let argv = vec![name.as_bytes().to_vec()];
            Program { path: path.into(), argv, tool: None, is_opaque: false, interpreter: None, pid: 1 }
        };
        let named = |p: Program, env: &str| daemon(&[p], &[env.into()]).map(|(n, _)| n);
        assert_eq!(named(program("/usr/bin/ccache", "gcc"), "A=b"), Some("ccache"));
        assert_eq!(named(program("/usr/bin/ccache", "ccache"), "CCACHE_DISABLE=1"), None);
        assert_eq!(named(program("/opt/x", "/opt/sccache"), "CCACHE_DISABLE=1"), Some("sccache"));
        assert_eq!(named(program("/usr/bin/gcc", "gcc"), "A=b"), None);
    }

    #[test]
    fn what_is_another_thing_each_time() {
        let asks = |line: &str| {
            let argv: Vec<Vec<u8>> = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
            volatile(b"/usr/bin/x", &argv[0]).is_some() || asks_for_now(&argv[0], &argv).is_some()
        };
        for line in [
            "/usr/bin/df .",
            "find . -mmin -5",
            "find . -printf %p%i",
            "stat -fc %a .",
            "stat f",
            "stat -c %Z f",
            "stat -c%Z f",
            "find . -printf %-10i",
            "ls -ls",
            "ls -i",
            "nice",
            "mktemp -u",
            "sqlite3 x.db strftime('now')",
            "ls -di . d",
            "git log -1 --format=%cr",
            "git log -1 --format=%ah",
            "git log -1 --date=relative --pretty=%ad",
            "git log -1 --date relative",
            "git -c log.date=human log",
            "git rev-list --since=1.day HEAD",
            "git rev-list --before 2020-01-01 HEAD",
            "git show HEAD@{yesterday}",
            "git for-each-ref --format=%(committerdate:relative)",
            "git archive HEAD:src",
            "git tag -a v1 -m x",
            "git -C d commit -m x",
            "touch -d yesterday f",
            "touch --date=now f",
            "touch -md 10:00 f",
            "touch -t 01010000 f",
            "find . -newermt yesterday",
            "find . -newercm f",
            "find . -neweraB f",
            "git diff-index --quiet HEAD",
            "/bin/mount",
            "flock -n l true",
            "[ -N f ]",
            "sort -R f",
            "sort -k1,1R f",
            "sort -k 2R f",
            "sort --sor=r f",
            "ls -l --time=ctime f",
            "openssl rand 4",
            "shuf f",
        ] {
            assert!(asks(line), "{line}");
        }
        for line in [
            "find . -newer f",
            "find . -printf %p%s",
            "stat -c %s f",
            "stat -Lc %s f",
            "stat --printf=%s f",
            "ls -l --color f",
            "touch -d @1000 f",
            "touch -d 2020-01-01 f",
            "touch -cmd 2020-01-01 f",
            "touch -t 202001010000 f",
            "touch -r ref f",
            "touch f t d",
            "find . -newermt 2020-01-01",
            "flock l make -n",
            "nm -N f",
            "sort -r f",
            "sort -k1,1n README",
            "ls -l --time-style=full-iso f",
            "git -c gc.auto=0 describe",
            "git -c safe.directory=/b/automake rev-parse HEAD",
            "nice -n 5 gcc",
            "git describe --tags",
            "git diff --relative",
            "git log -1 --date=iso -- human/yesterday.c",
            "git log --grep=relative --format=%cd merge",
            "git ls-files am stash",
            "git show HEAD@{1} @{u}",
            "git archive --format=tar HEAD",
            "git tag -l",
            "ls -di .",
            "ls -Iscui -l",
            "mktemp -p/usr x.XXXX",
            "stat -cf f",
            "git log -1 --format=%ct",
            "openssl dgst f",
        ] {
            assert!(!asks(line), "{line}");
        }
        assert!(is_dated(b"/usr/bin/xgettext"));
    }
}
