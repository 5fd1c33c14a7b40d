//! Why the result of a run is another one each time: it tells the present, works with what nobody sees, or only waits.
//!
//! Which programs and command lines do so is told by the table of tools; the few options that mean this to whoever is
//! given them are here. What only a text gives away is the business of [`crate::scripts`], macros of compilers that of
//! [`crate::date_macros`].

use crate::accesses::Program;
use crate::tools::{Class, Known, find};
use crate::{places, tools};
use bstr::ByteSlice;

/// Do these programs do nothing but wait? (`./configure` waits for the clock to go on, among much else.)
pub(crate) fn only_wait(programs: &[Program]) -> bool {
    let waits = |p: &Program| find(&p.path).is_some_and(Known::only_waits);
    programs.iter().any(waits) && programs.iter().all(|p| waits(p) || p.tool.is_some_and(|t| t.is(Class::Shell)))
}

/// The program among these that works with what nobody sees, and what to do about it.
pub(crate) fn daemon<'p>(programs: &'p [Program], env: &[Vec<u8>]) -> Option<(&'p [u8], &'static str)> {
    let is_set = |variable: &str| !variable.is_empty() && env.iter().any(|v| v.starts_with(variable.as_bytes()));
    let names = programs.iter().flat_map(|p| std::iter::once(&p.path).chain(p.argv.first()));
    { names }.find_map(|name| {
        let (variable, advice) = find(name)?.daemon()?;
        (!is_set(variable)).then(|| (tools::base_name(name), advice))
    })
}

/// Does it write the time into what it makes, unless it is told one?
pub(crate) fn is_dated(p: &Program) -> bool {
    std::iter::once(&p.path).chain(p.argv.first()).any(|name| find(name).is_some_and(Known::is_dated))
}

/// Why the result of this program is never the same twice; `name` is what it is called, `path` where it is: a tool of
/// the build's own may have the name of another.
pub(crate) fn never_the_same(path: &[u8], name: &[u8]) -> Option<&'static str> {
    find(name).and_then(Known::never_the_same).filter(|_| places::is_installed(path, b""))
}

/// What this run of what is called `name` asks for that is another thing each time.
pub(crate) fn asks_for_now(name: &[u8], argv: &[Vec<u8>]) -> Option<&'static str> {
    find(name).and_then(|k| k.asks_for_now(argv)).or_else(|| asks_by_option(argv))
}

/// The same of options that drivers of compilers hand on to linkers, whatever the drivers are called.
fn asks_by_option(argv: &[Vec<u8>]) -> Option<&'static str> {
    let says = |word: &str| argv.iter().skip(1).any(|a| a.contains_str(word));
    match () {
        () if says("--build-id=uuid") => Some("it makes a random build id"),
        // lld removes what is old (`pruneCache` of LLVM).
        () if says("--thinlto-cache-dir") => Some("it looks after a cache of its own, by the age of what is in it"),
        () => None,
    }
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
        let named =
            |p: Program, env: &str| daemon(&[p], &[env.into()]).map(|(n, _)| String::from_utf8_lossy(n).into_owned());
        assert_eq!(named(program("/usr/bin/ccache", "gcc"), "A=b"), Some("ccache".into()));
        assert_eq!(named(program("/usr/bin/ccache", "ccache"), "CCACHE_DISABLE=1"), None);
        assert_eq!(named(program("/opt/x", "/opt/sccache"), "CCACHE_DISABLE=1"), Some("sccache".into()));
        assert_eq!(named(program("/usr/bin/gcc", "gcc"), "A=b"), None);
    }

    #[test]
    fn what_is_another_thing_each_time() {
        let asks = |line: &str| {
            let argv: Vec<Vec<u8>> = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
            never_the_same(b"/usr/bin/x", &argv[0]).is_some() || asks_for_now(&argv[0], &argv).is_some()
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
    }
}
