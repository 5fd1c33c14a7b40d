//! Tables over the rows: each fact has programs of which it holds, and programs of which it does not.

use super::*;
use rustc_hash::FxHashSet;

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|w| w.as_bytes().to_vec()).collect()
}

#[test]
fn every_row_has_a_reason_and_names_of_its_own() {
    let mut seen = FxHashSet::default();
    for tool in table::rows() {
        assert!(tool.why.len() > 15, "{tool:?} says no reason");
        assert!(!tool.names.is_empty());
        for name in tool.names {
            assert!(seen.insert(name), "`{name}` is in two rows");
            let stars = name.matches('*').count();
            let is_plain = stars == usize::from(name.starts_with('*')) + usize::from(name.ends_with('*'));
            assert!(is_plain && name.len() > stars, "`{name}`");
            // A pattern that comes after one which takes all of its names would never be used.
            let found = find(name.trim_matches('*').as_bytes()).map(|k| k.tool.names);
            assert!(stars > 0 || found == Some(tool.names), "`{name}` is found as {found:?}");
        }
    }
}

/// A fact, as it is asked for a command line.
type Fact = (&'static str, fn(Known, &[Vec<u8>]) -> bool);

#[test]
fn facts_hold_of_some_and_not_of_others() {
    let cases: &[(Fact, &[&str], &[&str])] = &[
        (("is_distinct", |k, _| k.is_distinct()), &["gcc", "gcc-12", "clang14", "rustc"], &["cc", "ld", "cc65"]),
        (("kind", |k, _| k.kind().is_some()), &["gcc-12", "arm-none-eabi-ld", "sort"], &["sort-2", "my-ar", "tar"]),
        (("lays_out", |k, a| k.lays_out(a)), &["ls -C", "tput cols", "pr f"], &["ls", "ls -l", "cat f"]),
        (
            ("notes_time_of_stdin", |k, a| k.notes_time_of_stdin(a)),
            &["gzip", "pigz -9"],
            &["gzip -n", "gzip f", "tar c"],
        ),
        (
            ("replaces", |k, a| k.replaces(a)),
            &["gcc -c a.c", "cp a b", "ln -sf a b", "rm -f a", "mv a b", "strip a"],
            &["cp -n a b", "cp -s a b", "cp a a", "ln -s a b", "rm a", "mv --backup a b", "ar rc l.a", "tar c"],
        ),
        (("is_dated", |k, _| k.is_dated()), &["xgettext", "pdflatex"], &["tar", "pod2man", "xgettext-1"]),
        (
            ("asks_accounts", |k, a| k.asks_accounts(a).is_some()),
            &["ls -l", "id -un", "tar cf a.tar d", "tar -czf a d", "sh x", "tclsh8.6", "find . -ls"],
            &[
                "id bob",
                "tar xf a.tar",
                "tar cf a --owner=bob d",
                "cat f",
                "python3 x",
                "getent passwd",
                "find . -user x",
            ],
        ),
        (("only_waits", |k, _| k.only_waits()), &["sleep 1"], &["true"]),
        (("daemon", |k, _| k.daemon().is_some()), &["ccache", "distcc"], &["gcc", "ccache-4"]),
        (("never_the_same", |k, _| k.never_the_same().is_some()), &["date", "df"], &["cat", "date-1"]),
        (("asks_for_now", |k, a| k.asks_for_now(a).is_some()), &["git commit", "nice"], &["git log", "nice ls"]),
        (
            ("seeds", |k, _| k.seeds(false) > 0),
            &["perl5.36", "cc1", "clang-14", "llvm-nm", "sqlite3"],
            &["gcc", "my-perl"],
        ),
        (("knocks", |k, _| k.knocks() > 0), &["bash", "bash-5.2", "bash-static", "rustc"], &["sh", "dash", "gcc"]),
        (("language", |k, _| k.language().is_some()), &["python3.11", "sh", "cmake"], &["gcc", "python3-config"]),
        (("changing_variables", |k, _| k.changing_variables().is_some()), &["dash"], &["sh", "bash"]),
        (("expands_macros", |k, _| k.expands_macros()), &["cc1", "clang-14", "afl-clang-fast"], &["gcc", "as", "lto1"]),
        (("reads_source", |k, _| k.reads_source()), &["gcc-12", "afl-gcc", "cpp"], &["ld", "collect2", "ar"]),
        (
            ("is_of_other_language", |k, _| k.is_of_other_language()),
            &["gfortran-12", "x86_64-linux-gnu-gfortran", "nasm", "clang-cpp-14"],
            &["gcc", "cc1", "clang-14"],
        ),
        (
            ("undated_headers", |k, _| k.undated_headers().is_some()),
            &["clang", "clang++-14", "clang-cpp-14", "clang-tidy"],
            &["gcc", "afl-clang-fast"],
        ),
        (("searches_libraries", |k, _| k.searches_libraries()), &["rustc", "rustdoc"], &["ld", "cargo"]),
        (
            ("ensures", |k, a| k.ensures(a)),
            &["mkdir -p a", "cmake -E make_directory a"],
            &["mkdir a", "mkdir -pm 700 a", "cmake -E tar c", "install -d a"],
        ),
        (("makes_directories", |k, _| k.makes_directories()), &["mkdir"], &["cmake", "install"]),
        (("ensures_objects", |k, _| k.ensures_objects().is_some()), &["./libtool", "x-libtool"], &["libtoolize"]),
        (("moves", |k, _| k.kind().is_some_and(|t| t.moves)), &["mv"], &["ln", "cp"]),
        (("copies_modes", |k, _| k.kind().is_some_and(|t| t.copies_modes)), &["sed"], &["cat"]),
        (("invents_names", |k, _| k.kind().is_some_and(|t| t.invents_names)), &["mktemp"], &["touch"]),
        (("tells_dates", |k, _| k.tells_dates()), &["git"], &["date"]),
        (("always_drives", |k, _| k.always_drives()), &["make", "ninja", "xl"], &["cmake", "make-4.3", "ctest"]),
        (
            ("drives", |k, a| k.drives(a)),
            &["make", "ctest", "cmake --build .", "python3.11 /usr/bin/meson compile", "meson test", "python3 x/waf"],
            &["cmake -E copy", "python3 meson setup", "meson setup", "gcc", "ctest3"],
        ),
        (("reads ninja files", |k, _| k.reads(BuildFiles::Ninja)), &["ninja", "samu", "ninja-build"], &["make"]),
        (("reads makefiles", |k, _| k.reads(BuildFiles::Make)), &["make", "gmake"], &["remake", "ninja"]),
        (("is_trivial", |k, _| k.is_trivial()), &["echo", "[", ":", "exit"], &["cp", "sleep"]),
        (("may_count_progress", |k, _| k.may_count_progress()), &["cmake"], &["make"]),
    ];
    for ((fact, holds), yes, no) in cases {
        let of = |line: &str| {
            let argv = words(line);
            find(&argv[0]).is_some_and(|k| holds(k, &argv))
        };
        yes.iter().for_each(|line| assert!(of(line), "{fact} of `{line}`"));
        no.iter().for_each(|line| assert!(!of(line), "{fact} of `{line}`"));
    }
}

#[test]
fn who_minds_whether_there_is_a_terminal() {
    let minds = |text: &str| {
        let argv: Vec<Vec<u8>> = text.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        find(&argv[0]).is_some_and(|k| k.minds_terminal(&argv))
    };
    for text in ["/usr/bin/test -t 0", "[ -t 0 ]", "rm x", "mv -n x f", "mv -S f x y"] {
        assert!(minds(text), "{text}");
    }
    for text in ["gcc -c a.c", "cp a b", "rm -rf x", "mv -f x y", "mv --force x y"] {
        assert!(!minds(text), "{text}");
    }
}

#[test]
fn who_is_what_it_is_called() {
    let called = |p: &str, by_compiler| is_what_it_is_called(p.as_bytes(), find(p.as_bytes()), b"/src", by_compiler);
    let is = |p: &str| called(p, false);
    for p in [
        "/usr/bin/test",
        "/opt/x/bin/ld",
        "/src/toolchain/clang-17",
        "/src/bin/arm-none-eabi-as",
        "/home/x/bin/gcc",
        "/src/x86_64-linux-gnu-gcc-12",
        "/usr/local/bin/gcc",
        "/usr/local/bin/ld",
        "/usr/local/bin/python3",
        "/usr/local/bin/bash",
    ] {
        assert!(is(p), "{p}");
    }
    for p in [
        "/src/test",
        "/src/test1",
        "/src/ld",
        "/src/my-ld",
        "/src/my-gcc",
        "/src/gen-size",
        "/src/get-page-size",
        "/usr2/cc",
        "/opt/x/join",
        "/opt/x/bin/bash",
        "/usr/local/bin/test",
        "/usr/local/bin/install",
    ] {
        assert!(!is(p), "{p}");
    }
    assert!(called("/src/libexec/as", true) && !called("/src/gen", true));
    assert_eq!(
        [&b"/usr/bin/perlin"[..], b"/src/clang-gen", b"/usr/bin/perl5.36", b"/usr/bin/clang-14"]
            .map(|p| find(p).map_or(0, |k| k.seeds(false))),
        [0, 0, 2, u8::MAX]
    );
}

#[test]
fn names_are_found_with_prefix_and_version() {
    let class = |p: &str| kind(p.as_bytes()).and_then(|t| t.class);
    for p in [
        "/usr/bin/x86_64-linux-gnu-gcc-12",
        "gcc",
        "/usr/lib/gcc/x86_64-linux-gnu/12/cc1plus",
        "arm-none-eabi-ld",
        "g++-12",
        "clang-14",
        "x86_64-linux-gnu-ld.bfd",
        "x86_64-linux-gnu-g++-12",
    ] {
        assert_eq!(class(p), Some(Class::Toolchain), "{p}");
    }
    for p in [
        "cc65",
        "img-size",
        "my-gcc",
        "afl-gcc",
        "afl-clang-fast",
        "make-dist-ar",
        "gcc-wrapper",
        "my-cp",
        "python3.11",
        "wayland-scanner",
        "has",
        "test1",
        "sort-2",
        "join3",
    ] {
        assert_eq!(class(p), None, "{p}");
    }
    assert_eq!(class("/bin/dash"), Some(Class::Shell));
}

#[test]
fn times_matter_where_they_are_asked_for() {
    let of = |line: &str| {
        let argv: Vec<Vec<u8>> = line.split('|').map(|s| s.as_bytes().to_vec()).collect();
        find(&argv[0]).map_or(Times::Unread, |k| k.times(&argv))
    };
    for (line, want) in [
        ("cp|-pR|a|b", Times::All),
        ("cp|a|b", Times::None),
        ("sh|-c|test a -nt b", Times::Elsewhere),
        ("sh|-c|test a -nt\tb", Times::Elsewhere),
        ("sh|-c|test . -nt b", Times::All),
        ("sh|-c|test a -ot $b", Times::All),
        ("tar|cf|x", Times::All),
        ("python3.11|x.py", Times::Modules),
        ("diff|-u|a|b", Times::Files),
        ("diff|a|b", Times::None),
        ("unzip|-quo|z.zip", Times::Files),
        ("unzip|-p|z.zip", Times::None),
        ("ar|-rc|-U|l.a|a", Times::Files),
        ("llvm-ar|--format=gnu|rcU|l.a|a", Times::Files),
        ("ar|rc|libU.a|Unit.o", Times::None),
        ("cmake|-E|tar|cf|x", Times::Elsewhere),
        ("/usr/bin/x86_64-linux-gnu-gcov-12|m", Times::Files),
        ("gen", Times::Unread),
        ("mv|-fu|a|b", Times::All),
        ("mv|--update=older|a|b", Times::All),
        ("mv|-t|u|a", Times::None),
        ("/usr/lib/qt5/bin/rcc|a.qrc", Times::Files),
        ("mksquashfs|d|x", Times::All),
    ] {
        assert_eq!(of(line), want, "{line}");
    }
    let of = |t: Times, path: &str, directory| t.of(path.as_bytes(), directory, b"/d/e");
    assert!(of(Times::Modules, "/a/b.py", false) && !of(Times::Modules, "/a/b.h", false));
    assert!(of(Times::All, "/d", true) && !of(Times::Files, "/d", true));
    assert!(
        !of(Times::Elsewhere, "/d", true) && !of(Times::Elsewhere, "/d/e", true) && of(Times::Elsewhere, "/d/ee", true)
    );
    assert!(of(Times::Elsewhere, "/d/e/f", true) && of(Times::Elsewhere, "/d/e", false));
}
