//! What is known of common programs, as data: which environment variables they read, whether they look at
//! their output before they replace it, whether file times matter to them.
//!
//! A program that is not here is treated with full suspicion: every variable counts, every probe counts.

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Compilers, assemblers, linkers, archivers: always worth a lookup.
    Toolchain,
    Shell,
    /// Small file and text tools.
    Utility,
}

/// One row of the table.
#[derive(Debug)]
pub struct Tool {
    pub names: &'static [&'static str],
    pub class: Class,
    /// Variables that it reads, besides those of every program; a trailing `*` is a prefix.
    pub env: &'static [&'static str],
    /// It probes its output before it replaces it, and makes the same one either way.
    pub probes_output: bool,
}

/// Variables of the C library, the dynamic loader and message catalogues: they count for every program.
pub const EVERY_PROGRAM: &[&str] = &[
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
];

const GCC: &[&str] = &[
    "PATH",
    "PWD",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "OBJC_INCLUDE_PATH",
    "LIBRARY_PATH",
    "COMPILER_PATH",
    "GCC_*",
    "COLLECT_*",
    "DEPENDENCIES_OUTPUT",
    "SUNPRO_DEPENDENCIES",
    "SOURCE_DATE_EPOCH",
    "GNUTARGET",
    "LDEMULATION",
    "CCC_*",
    "SDKROOT",
    "CL",
    "_CL_",
    "CLANG_*",
    "AS_*",
];

/// The table. Sources: the manual of each program, and what each was seen to read.
pub const TOOLS: &[Tool] = &[
    Tool {
        names: &["gcc", "g++", "c++", "cc", "cpp", "clang", "clang++", "gfortran", "gcc-ar", "gcc-nm", "gcc-ranlib"],
        class: Class::Toolchain,
        env: GCC,
        probes_output: true,
    },
    Tool {
        names: &["cc1", "cc1plus", "cc1obj", "f951", "collect2", "lto1", "lto-wrapper"],
        class: Class::Toolchain,
        env: GCC,
        probes_output: true,
    },
    Tool {
        names: &["as", "ld", "ld.bfd", "ld.gold", "ld.lld", "lld", "mold", "gold"],
        class: Class::Toolchain,
        env: GCC,
        probes_output: true,
    },
    Tool {
        // What is in an archive stays in it: that it was absent matters.
        names: &["ar", "llvm-ar", "nm", "objdump", "readelf", "size"],
        class: Class::Toolchain,
        env: &["GNUTARGET", "SOURCE_DATE_EPOCH", "TMPDIR"],
        probes_output: false,
    },
    Tool {
        names: &["ranlib", "llvm-ranlib", "strip", "objcopy"],
        class: Class::Toolchain,
        env: &["GNUTARGET", "SOURCE_DATE_EPOCH", "TMPDIR"],
        probes_output: true,
    },
    Tool {
        names: &["sh", "dash", "bash"],
        class: Class::Shell,
        env: &["PATH", "PWD", "IFS", "ENV", "BASH_ENV", "CDPATH", "PS4", "SHELLOPTS", "BASHOPTS", "HOME", "BASH_FUNC_*"],
        probes_output: false,
    },
    Tool { names: &["cp", "install"], class: Class::Utility, env: &["SIMPLE_BACKUP_SUFFIX", "VERSION_CONTROL"], probes_output: true },
    Tool { names: &["rm"], class: Class::Utility, env: &[], probes_output: true },
    Tool { names: &["mv", "ln"], class: Class::Utility, env: &["SIMPLE_BACKUP_SUFFIX", "VERSION_CONTROL"], probes_output: true },
    Tool {
        names: &[
            "rmdir", "mkdir", "chmod", "cat", "echo", "true", "false", "basename", "dirname", "expr", "cut", "tr", "head", "tail", "wc",
            "tee", "uniq", "comm", "cmp", "test", "[", "printf", "readlink", "realpath", "seq", "sleep", "pwd", "paste", "join", "fold",
            "nl", "od",
        ],
        class: Class::Utility,
        env: &["TMPDIR", "PWD"],
        probes_output: false,
    },
    Tool { names: &["mktemp"], class: Class::Utility, env: &["TMPDIR", "PWD"], probes_output: false },
    Tool { names: &["sort"], class: Class::Utility, env: &["TMPDIR", "_POSIX2_VERSION"], probes_output: false },
    Tool { names: &["touch"], class: Class::Utility, env: &[], probes_output: false },
    Tool { names: &["sed"], class: Class::Utility, env: &["COLS"], probes_output: false },
    Tool { names: &["grep", "egrep", "fgrep"], class: Class::Utility, env: &["GREP_*"], probes_output: false },
    Tool { names: &["m4"], class: Class::Utility, env: &["M4PATH", "TMPDIR"], probes_output: false },
    Tool { names: &["bison", "yacc"], class: Class::Utility, env: &["M4", "BISON_*", "PATH", "TMPDIR", "M4PATH"], probes_output: false },
    Tool { names: &["flex", "lex"], class: Class::Utility, env: &["M4", "PATH", "TMPDIR", "M4PATH"], probes_output: false },
];

/// File name of a path.
pub fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

/// Finds the row of a program: by its name, also with a target prefix and a version (`x86_64-linux-gnu-gcc-12`).
pub fn tool(path: &[u8]) -> Option<&'static Tool> {
    let name = std::str::from_utf8(base_name(path)).ok()?;
    let exact = |n: &str| TOOLS.iter().find(|t| t.names.contains(&n));
    if let Some(t) = exact(name) {
        return Some(t);
    }
    let unversioned = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').trim_end_matches('-');
    exact(unversioned).or_else(|| {
        // A target triplet: the longest known name after a dash.
        let toolchain = |n: &str| exact(n).filter(|t| t.class == Class::Toolchain);
        unversioned.match_indices('-').find_map(|(i, _)| toolchain(&unversioned[i + 1..]))
    })
}

/// Does it give what it makes random names (mktemp(1): at least three random characters)?
pub fn invents_names(tool: &Tool) -> bool {
    tool.names.contains(&"mktemp")
}

/// Does it give files other names, or, where that is on another file system, make copies with their times?
pub fn moves(tool: &Tool) -> bool {
    tool.names.contains(&"mv")
}

/// Is a probe of an output by this run without effect on what it makes?
pub fn probes_output(tool: &Tool, path: &[u8], argv: &[Vec<u8>]) -> bool {
    if !tool.probes_output {
        return false;
    }
    // What is made from itself is refused if it is there.
    let operands: Vec<&Vec<u8>> = argv.iter().skip(1).filter(|a| a.first() != Some(&b'-')).collect();
    if tool.class == Class::Utility && operands.len() == 2 && operands[0] == operands[1] {
        return false;
    }
    let mut options = argv.iter().skip(1).filter(|a| a.first() == Some(&b'-'));
    match base_name(path) {
        // Not overwriting, only if older, asking, with a backup: all depend on what is there.
        // Without -f an old name is an error.
        b"ln" if !argv.iter().skip(1).any(|a| a == b"--force" || short_flag(a, b"f", b"tS")) => false,
        b"cp" | b"mv" | b"ln" | b"install" => !options.any(|a| {
            let long = [&b"--no-clobber"[..], b"--update", b"--backup", b"--interactive", b"--suffix"];
            long.iter().any(|l| a.starts_with(l)) || short_flag(a, b"nubiS", b"gmot")
        }),
        // Without -f a missing name is an error.
        b"rm" => options.any(|a| a == b"--force" || short_flag(a, b"f", b"")),
        _ => true,
    }
}

/// How often a program reads random bytes for its own needs: hash seeds (perl 5.36: twice at its start, by strace; see
/// `PERL_HASH_SEED` in perlrun), names of scratch files (LLVM's `createUniqueFile`), names of symbols and sections that must differ from
/// those of other files (gcc, once, with `-flto`: see `-frandom-seed` in its manual).
pub fn own_seeds(path: &[u8]) -> u8 {
    let name = base_name(path);
    let is = |n: &[u8]| name.starts_with(n);
    match () {
        () if is(b"perl") => 2,
        () if [&b"cc1"[..], b"lto1", b"f951", b"gnat1", b"d21", b"go1"].iter().any(|n| is(n)) => 1,
        () if [&b"lld"[..], b"ld.lld", b"rust-lld", b"clang", b"llvm-", b"wasm-ld"].iter().any(|n| is(n)) => u8::MAX,
        () => 0,
    }
}

/// Does this program list directories only to find libraries whose names it knows the beginning of? rustc lists
/// `target/debug/deps`, which every other rustc of the build fills at the same time.
pub fn searches_libraries(path: &[u8]) -> bool {
    matches!(base_name(path), b"rustc" | b"rustdoc" | b"clippy-driver")
}

/// Does this run of rustc ask for libraries by their whole names? cargo names each library after all that went into it
/// (`-C extra-filename=-HASH`), rustc notes that name in those that use it, and then looks for no other
/// (`rustc_metadata::locator`).
pub fn names_libraries_exactly(argv: &[Vec<u8>]) -> bool {
    argv.iter().any(|a| bstr::ByteSlice::contains_str(&a[..], "extra-filename="))
}

/// Crates that rustc adds by itself, by name alone.
const INJECTED: &[&[u8]] = &[b"std", b"core", b"alloc", b"proc_macro", b"test", b"compiler_builtins", b"profiler_builtins", b"panic_"];

/// How the names begin under which a library like this one would be found: `lib`, the crate's name, a dash; all of it if
/// names are `exact` (cargo starts a dependent while the `.rlib` beside the `.rmeta` is being made). `None`: not a library.
pub fn library_stem(name: &[u8], exact: bool) -> Option<Vec<u8>> {
    let rest = name.strip_prefix(b"lib")?;
    let dot = rest.iter().position(|b| *b == b'.')?;
    if !cache::observation::is_library(&rest[dot..]) {
        return None;
    }
    let dash = rest[..dot].iter().rposition(|b| *b == b'-');
    let exact = exact && dash.is_some() && !INJECTED.iter().any(|i| rest.starts_with(i));
    let end = if exact { rest.len() } else { dash.unwrap_or(dot) };
    Some(name[..3 + end].to_vec())
}

/// Does this script compare file times?
pub fn compares_times(script: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    // Never anything that opening or reading would change: pipes, terminals, devices.
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(script));
    let readable = !script.starts_with(b"/dev/") && !script.starts_with(b"/proc/") && path.metadata().is_ok_and(|m| m.is_file());
    let mut text = Vec::new();
    if readable && let Ok(f) = std::fs::File::open(path) {
        let _ = std::io::Read::read_to_end(&mut std::io::Read::take(f, 4 << 20), &mut text);
    }
    compares(&text)
}

/// Has this text a word for comparing or handing on file times?
fn compares(text: &[u8]) -> bool {
    use bstr::ByteSlice;
    const WORDS: &[&str] =
        &[" -nt ", " -ot ", "-newer", "mtime", " -M ", "copy2", "copystat", "copytree", "zipfile", "tarfile", "make_archive", "st_mtim"];
    WORDS.iter().any(|w| text.contains_str(w))
}

/// The script file of a shell's command line, if it runs one.
fn shell_script(argv: &[Vec<u8>]) -> Option<&[u8]> {
    argv.iter().skip(1).map(Vec::as_slice).find(|a| !matches!(a.first(), Some(b'-' | b'+')))
}

/// Of which names a program reads the modification time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    #[default]
    None,
    /// Python's modules, to judge their compiled form; of other files as `Unread`.
    Modules,
    /// Files, but directories only to find their way.
    Files,
    /// Files and directories, but not the directories that it is in: a script goes through those to get anywhere.
    Elsewhere,
    /// Whatever it looks at (archivers and copiers).
    All,
    /// Nothing is known of it: perhaps of what it looks at and does not read, to see whether there is something to do.
    Unread,
}

impl Times {
    /// Does the time of `path` count, for a program that was started in `cwd`?
    pub fn of(self, path: &[u8], directory: bool, cwd: &[u8]) -> bool {
        match self {
            Self::None | Self::Unread => false,
            Self::Modules => path.ends_with(b".py") || path.ends_with(b".pyc"),
            Self::Files => !directory,
            Self::Elsewhere => !(directory && cwd.strip_prefix(path).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))),
            Self::All => true,
        }
    }

    /// Does the time count of what is looked at and then not read, and that of what is read where times are set on what it makes?
    pub fn of_unread(self) -> bool {
        matches!(self, Self::Modules | Self::Unread)
    }
}

/// Which modification times a run of this program with these arguments in `cwd` reads.
pub fn reads_times(path: &[u8], argv: &[Vec<u8>], cwd: &[u8]) -> Times {
    use bstr::ByteSlice;
    let arg = |f: &dyn Fn(&[u8]) -> bool| argv.iter().skip(1).any(|a| f(a));
    let when = |yes: bool, t: Times| if yes { t } else { Times::None };
    let script =
        || shell_script(argv).is_some_and(|s| compares_times(&if s.starts_with(b"/") { s.to_vec() } else { [cwd, b"/", s].concat() }));
    match base_name(path) {
        b"cp" => {
            let long = |a: &[u8]| [&b"--preserve"[..], b"--archive", b"--update"].iter().any(|l| a.starts_with(l));
            when(arg(&|a| long(a) || short_flag(a, b"pau", b"tS")), Times::All)
        }
        b"install" => when(arg(&|a| a == b"--preserve-timestamps" || short_flag(a, b"p", b"gmotS")), Times::Files),
        b"touch" => when(arg(&|a| a.starts_with(b"--ref") || short_flag(a, b"r", b"dt")), Times::All),
        b"find" => {
            let words = |a: &[u8]| a.starts_with(b"-newer") || a == b"-links";
            when(arg(&words) || prints(argv, b"tTn"), Times::All)
        }
        b"tar" | b"bsdtar" | b"rsync" | b"cpio" | b"zip" | b"7z" | b"jar" | b"stat" => Times::All,
        b"ls" => {
            let long = |a: &[u8]| [&b"--full"[..], b"--sort", b"--time", b"--format", b"--author"].iter().any(|l| a.starts_with(l));
            when(arg(&|a| long(a) || short_flag(a, b"lgnot", b"ITw")), Times::All)
        }
        b"gzip" | b"pod2man" | b"make" | b"gmake" | b"ninja" | b"samu" => Times::Files,
        b"sh" | b"dash" | b"bash" | b"test" | b"[" => {
            // A shell looks at its own directory to know where it is, unless it is told to compare that one.
            let text = || argv.iter().skip(1).flat_map(|a| a.split_str(" ")).filter(|w| !w.is_empty()).collect::<Vec<_>>();
            let asks = arg(&|a| a.contains_str("-nt") || a.contains_str("-ot"));
            if asks && compares_directories(&text()) { Times::All } else { when(asks || script(), Times::Elsewhere) }
        }
        // Debian's `ar` is a link to `x86_64-linux-gnu-ar`.
        name if is_or_for(name, "ar") => when(argv.get(1).is_some_and(|a| a.contains(&b'U')), Times::Files),
        name if is_or_for(name, "strip") || is_or_for(name, "objcopy") => {
            when(arg(&|a| a == b"--preserve-dates" || short_flag(a, b"p", b"FIOBjRKNGWLbo")), Times::Files)
        }
        name if name.starts_with(b"python") || name == b"node" => {
            let asks = argv.iter().any(|a| compares(a)) || script();
            if asks { Times::Elsewhere } else { Times::Modules }
        }
        b"perl" | b"ruby" | b"tclsh" if script() => Times::Elsewhere,
        b"which" | b"file" | b"env" | b"xargs" | b"diff" | b"awk" | b"mawk" | b"gawk" | b"unzip" => Times::None,
        _ if tool(path).is_some() || searches_libraries(path) => Times::None,
        _ => Times::Unread,
    }
}

/// Does it write down the time of the file on its standard input? (gzip(1), `--name`)
pub fn keeps_time_of_stdin(path: &[u8], argv: &[Vec<u8>]) -> bool {
    const NOT: &[&[u8]] = &[b"--no-name", b"--decompress", b"--uncompress", b"--test", b"--list", b"--version", b"--help", b"--license"];
    let has_value = |a: &[u8]| [&b"-S"[..], b"-b", b"-p", b"--suffix", b"--blocksize", b"--processes"].contains(&a);
    let words = argv.windows(2).filter(|w| !has_value(&w[0])).map(|w| &w[1][..]);
    let not = |a: &[u8]| NOT.contains(&a) || short_flag(a, b"ndtlVLh", b"bSp") || !a.starts_with(b"-");
    matches!(base_name(path), b"gzip" | b"pigz") && !{ words }.any(not)
}

/// Is it this program, or that for a target (`x86_64-linux-gnu-ar`)?
fn is_or_for(name: &[u8], program: &str) -> bool {
    name.strip_suffix(program.as_bytes()).is_some_and(|before| before.is_empty() || before.ends_with(b"-"))
}

/// Does the format of `find -printf` have one of these letters?
pub(crate) fn prints(argv: &[Vec<u8>], letters: &[u8]) -> bool {
    argv.windows(2).any(|w| matches!(&w[0][..], b"-printf" | b"-fprintf") && has_directive(&w[1], letters))
}

/// `%` and one of these letters, with flags and a width between.
pub(crate) fn has_directive(format: &[u8], letters: &[u8]) -> bool {
    let directive = |rest: &[u8]| rest.iter().find(|b| !(b.is_ascii_digit() || b"#-+ .".contains(b))).copied();
    format.split(|b| *b == b'%').skip(1).filter_map(directive).any(|l| letters.contains(&l))
}

/// Might `-nt` or `-ot` be asked about a directory on the way: `.`, `..`, a variable's value?
fn compares_directories(words: &[&[u8]]) -> bool {
    let plain = |w: Option<&&[u8]>| w.is_some_and(|w| w.iter().any(|b| !b"./".contains(b)) && !w.iter().any(|b| b"$`\"'*?[~".contains(b)));
    words
        .iter()
        .enumerate()
        .any(|(i, w)| matches!(*w, b"-nt" | b"-ot") && !(plain(i.checked_sub(1).and_then(|i| words.get(i))) && plain(words.get(i + 1))))
}

/// `-xyz` holds one of `letters`. What follows one of `valued` is its value.
pub(crate) fn short_flag(a: &[u8], letters: &[u8], valued: &[u8]) -> bool {
    let flags = a.strip_prefix(b"-").filter(|rest| !rest.starts_with(b"-")).unwrap_or_default();
    let end = flags.iter().position(|c| letters.contains(c) || valued.contains(c));
    end.is_some_and(|i| letters.contains(&flags[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_search_for_libraries_would_find() {
        let stem = |n: &str, exact| library_stem(n.as_bytes(), exact).map(|s| String::from_utf8(s).unwrap());
        assert_eq!(stem("libfoo-12ab.rlib", true).as_deref(), Some("libfoo-12ab.rlib"));
        assert_eq!(stem("libfoo-12ab.rlib", false).as_deref(), Some("libfoo"));
        assert_eq!(stem("libfoo.rlib", true).as_deref(), Some("libfoo"));
        assert_eq!(stem("libstd-77.rlib", true).as_deref(), Some("libstd"));
        assert_eq!(stem("foo.d", true), None);
        assert_eq!(stem("libfoo.txt", true), None);
    }

    #[test]
    fn names_are_found_with_prefix_and_version() {
        let class = |p: &str| tool(p.as_bytes()).map(|t| t.class);
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
        for p in ["gcc-wrapper", "my-cp", "python3.11", "wayland-scanner", "has"] {
            assert_eq!(class(p), None, "{p}");
        }
        assert_eq!(class("/bin/dash"), Some(Class::Shell));
    }

    #[test]
    fn times_matter_where_they_are_asked_for() {
        let of = |line: &[&str]| {
            let argv: Vec<Vec<u8>> = line.iter().map(|s| s.as_bytes().to_vec()).collect();
            reads_times(&argv[0], &argv, b"/")
        };
        assert_eq!(of(&["cp", "-pR", "a", "b"]), Times::All);
        assert_eq!(of(&["cp", "a", "b"]), Times::None);
        assert_eq!(of(&["sh", "-c", "test a -nt b"]), Times::Elsewhere);
        assert_eq!(of(&["sh", "-c", "test . -nt b"]), Times::All);
        assert_eq!(of(&["sh", "-c", "test a -ot $b"]), Times::All);
        assert_eq!(of(&["tar", "cf", "x"]), Times::All);
        assert_eq!(of(&["python3.11", "x.py"]), Times::Modules);
        let of = |t: Times, path: &str, directory| t.of(path.as_bytes(), directory, b"/d/e");
        assert!(of(Times::Modules, "/a/b.py", false) && !of(Times::Modules, "/a/b.h", false));
        assert!(of(Times::All, "/d", true) && !of(Times::Files, "/d", true));
        assert!(!of(Times::Elsewhere, "/d", true) && !of(Times::Elsewhere, "/d/e", true) && of(Times::Elsewhere, "/d/ee", true));
        assert!(of(Times::Elsewhere, "/d/e/f", true) && of(Times::Elsewhere, "/d/e", false));
    }
}
