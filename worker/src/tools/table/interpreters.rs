//! Interpreters of scripts, but for shells and cmake.

use super::super::arguments::{any, short_flag};
use super::super::base_name;
use super::super::languages::{AWK, JAVASCRIPT, LUA, MAWK, PERL, PHP, PYTHON, RUBY, TCL};
use super::super::row::{Asks, Times, Tool, tool};

pub(super) const ROWS: &[Tool] = &[
    tool(&["python", "python*"])
        .by_any_name()
        .runs(&PYTHON)
        .times(|_| Times::Modules)
        .drives_if(runs_a_build_tool)
        .why("PEP 3147: it judges a compiled module by the time of its source; meson, scons and waf are its programs"),
    tool(&["pypy"]).runs(&PYTHON).why("another Python, of which only the language is known"),
    tool(&["perl"])
        .runs(&PERL)
        .seeds(2)
        .seeds_of_others_scripts(u8::MAX)
        .why("perlrun(1), PERL_HASH_SEED: 5.36 reads seeds twice, by strace; the machine's scripts name scratch files"),
    tool(&["ruby"]).runs(&RUBY).why("ruby(1): only the language is known"),
    tool(&["awk", "gawk"])
        .only_faster()
        .minds_owners(|argv| {
            any(argv, |a| contains(a, "PROCINFO") || a.starts_with(b"--") || short_flag(a, b"filE", b"Fv"))
        })
        .runs(&AWK)
        .times(|_| Times::None)
        .why("gawk(1): no word of its language asks for a file's time; PROCINFO has users, and may be in a file"),
    tool(&["mawk"])
        .runs(&MAWK)
        .times(|_| Times::None)
        .only_faster()
        .minds_owners(|_| false)
        .why("mawk(1): as awk, but it seeds its random numbers itself"),
    tool(&["node"])
        .runs(&JAVASCRIPT)
        .times(|_| Times::Modules)
        .why("node(1): only the language is known, and that it finds its modules by looking at names"),
    tool(&["nodejs"]).runs(&JAVASCRIPT).why("Debian's name of node: only the language is known"),
    tool(&["tclsh"])
        .runs(&TCL)
        .asks_accounts(|_| Some(Asks::Owners))
        .why("tclsh(1): the language; it looks up its user at its start (`TclpSetVariables`), and owners (file(3tcl))"),
    tool(&["lua", "luajit"]).runs(&LUA).why("lua(1): only the language is known"),
    tool(&["php"]).runs(&PHP).why("php(1): only the language is known"),
    tool(&["sqlite3"])
        .asks_for_now(asks_sqlite)
        .seeds(u8::MAX)
        .why("sqlite.org/lang_datefunc.html, lang_corefunc.html: now and random(); scratch files have random names"),
];

/// `python3 /usr/bin/meson compile`, `scons`.
fn runs_a_build_tool(argv: &[Vec<u8>]) -> bool {
    let word = |i: usize| argv.get(i).map_or(&b""[..], Vec::as_slice);
    match base_name(word(1)) {
        b"meson" => matches!(word(2), b"compile" | b"install" | b"test"),
        script => matches!(script, b"scons" | b"waf"),
    }
}

fn contains(word: &[u8], text: &str) -> bool {
    bstr::ByteSlice::contains_str(word, text)
}

fn asks_sqlite(argv: &[Vec<u8>]) -> Option<&'static str> {
    const WORDS: &[&str] = &["'now'", "random()", "CURRENT_TIME", "CURRENT_DATE"];
    let asks = |a: &[u8]| WORDS.iter().any(|w| contains(a, w));
    any(argv, asks).then_some("it tells the time, or makes random numbers")
}
