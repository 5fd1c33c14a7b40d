//! Programs that launch the commands of a build, and libtool.

use super::super::arguments::{any, begins, says, short_flag};
use super::super::languages::CMAKE;
use super::super::row::BuildFiles::{Make, Ninja};
use super::super::row::{Times, Tool, tool};

pub(super) const ROWS: &[Tool] = &[
    tool(&["make", "gmake"])
        .only_faster()
        .minds_owners(|_| false)
        .hands_on_limits(|_| true)
        .times(|_| Times::Files)
        .drives()
        .reads(Make)
        .why("GNU make's manual, \"Rules\": it compares times; it raises its stack as far as it may (main.c)"),
    tool(&["remake", "bmake"]).drives().why("makes by other names"),
    tool(&["ninja", "samu"])
        .only_faster()
        .minds_owners(|_| false)
        .times(|_| Times::Files)
        .drives()
        .reads(Ninja)
        .why("ninja's manual: it compares times; its `-v` shows commands"),
    tool(&["ninja-build"]).drives().reads(Ninja).why("Fedora's name of ninja"),
    tool(&["scons", "cargo", "bazel", "waf"]).drives().why("build tools, by their manuals"),
    tool(&["dh", "dh_auto_build", "dh_auto_test", "dh_auto_install", "dpkg-buildpackage"])
        .drives()
        .why("dh(1), dpkg-buildpackage(1): they call one helper after another, or make"),
    tool(&["xl"]).drives().why("it is this program"),
    tool(&["cmake"])
        .runs(&CMAKE)
        .times(tool_times)
        .seeds(u8::MAX)
        .ensures(|argv| matches!(argv, [_, e, make, ..] if e == b"-E" && make == b"make_directory"))
        .minds_owners(|argv| !(argv.get(1).is_some_and(|a| a == b"-E") && argv.get(2).is_some_and(|v| v != b"tar")))
        .drives_if(|argv| argv.get(1).is_some_and(|a| a == b"--build" || a == b"--install"))
        .configures(|argv| {
            !argv.get(1).is_some_and(|a| ["--build", "--install", "-E", "-P"].iter().any(|o| o.as_bytes() == a))
        })
        .counts_progress(counts_progress)
        .counts_members(tells_share)
        .why("cmake(1), \"Build a Project\", \"Run a Command-Line Tool\"; `try_compile` has random directories"),
    tool(&["ctest"])
        .runs(&CMAKE)
        .seeds(u8::MAX)
        .drives_if(|_| true)
        .why("ctest(1): it launches tests; scripts as cmake's"),
    tool(&["time"]).drives().why("time(1): what it prints was measured"),
    tool(&["script"]).drives().why("script(1): it launches a shell on a terminal of its own, and notes when"),
    tool(&["xargs"])
        .times(|_| Times::None)
        .hands_out(|_| true)
        .minds_owners(|_| false)
        .hands_on_limits(|argv| !any(argv, |a| begins(a, &["--max-c", "--show"]) || short_flag(a, b"sx", b"adEIiLnP")))
        .why("xargs(1): it runs programs; 128 KiB are less than any stack that counts allows on a command line"),
    tool(&["parallel"]).hands_out(|_| true).why("parallel(1): it starts a shell for each argument"),
    tool(&["meson"])
        .configures(|argv| argv.get(1).is_some_and(|a| a == b"setup"))
        .drives_if(launches)
        .why("meson's manual, \"Commandline\": it calls ninja, or starts tests itself"),
    tool(&["*libtool"])
        .ensures_objects("Provide generalized library-building support services.")
        .why("GNU libtool makes the directory of its objects (`func_mkdir_p`), and asks for it for nothing else"),
];

/// `cmake -E`: what packs or compares. Without it, cmake is as one of which nothing is known.
fn tool_times(argv: &[Vec<u8>]) -> Times {
    match argv.get(1).is_some_and(|a| a == b"-E") {
        true if says(argv, &["tar", "copy_if_different"]) => Times::Elsewhere,
        true => Times::None,
        false => Times::Unread,
    }
}

/// CMake's makefiles call this at the beginning and end of each run, for a directory of marks: nothing of it repeats.
fn counts_progress(words: &[&[u8]]) -> bool {
    matches!(words, [_, b"-E", verb, ..] if verb.starts_with(b"cmake_progress_"))
}

/// And this before each step: it makes its mark, and tells the share of all that is there (`cmcmd.cxx`).
fn tells_share(argv: &[Vec<u8>]) -> bool {
    matches!(argv, [_, e, verb, ..] if e == b"-E" && verb == b"cmake_echo_color")
}

/// `meson compile`, and the same with the program's name twice.
fn launches(argv: &[Vec<u8>]) -> bool {
    let word = |i: usize| argv.get(i).map_or(&b""[..], Vec::as_slice);
    let verb = if super::super::base_name(word(1)) == b"meson" { word(2) } else { word(1) };
    matches!(verb, b"compile" | b"install" | b"test")
}
