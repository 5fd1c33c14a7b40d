//! What is known of common programs, as data: which environment variables they read, whether they look at their output
//! before they replace it. To which of them file times matter is the business of [`crate::times`].
//!
//! A program that is not here is treated with full suspicion: every variable counts, every probe counts. So is one that
//! only has the name of another: builds make programs called `test` or `size`.

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
    "_POSIX2_VERSION",
    "OUTPUT_CHARSET",
];

const GCC: &[&str] = &[
    // Of clang, for other targets: MSVC, HIP and consoles. The names are in its library; that `INCLUDE` counts was
    // tried.
    "INCLUDE",
    "EXTERNAL_INCLUDE",
    "LIB",
    "VCINSTALLDIR",
    "VCToolsInstallDir",
    "ROCM_*",
    "HIP_*",
    "SCE_*",
    "PATH",
    "PWD",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "OBJC_INCLUDE_PATH",
    "LIBRARY_PATH",
    "OBJCPLUS_INCLUDE_PATH",
    "COMPILER_PATH",
    "CC_*",
    "LLD_*",
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
        names: &["as", "ld", "ld.bfd", "ld.gold", "ld.lld", "ld64.lld", "lld", "wasm-ld", "rust-lld", "mold", "gold"],
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
        env: &[
            "PATH",
            "PWD",
            "IFS",
            "ENV",
            "BASH_ENV",
            "CDPATH",
            "PS4",
            "SHELLOPTS",
            "BASHOPTS",
            "HOME",
            "BASH_FUNC_*",
            "BASH_COMPAT",
            "FUNCNEST",
            "EXECIGNORE",
            "GLOBIGNORE",
            "TIMEFORMAT",
            "TMOUT",
        ],
        probes_output: false,
    },
    Tool {
        names: &["cp", "install"],
        class: Class::Utility,
        env: &["SIMPLE_BACKUP_SUFFIX", "VERSION_CONTROL"],
        probes_output: true,
    },
    Tool { names: &["rm"], class: Class::Utility, env: &[], probes_output: true },
    Tool {
        names: &["mv", "ln"],
        class: Class::Utility,
        env: &["SIMPLE_BACKUP_SUFFIX", "VERSION_CONTROL"],
        probes_output: true,
    },
    Tool {
        names: &[
            "rmdir", "mkdir", "chmod", "cat", "echo", "true", "false", "basename", "dirname", "expr", "cut", "tr",
            "head", "tail", "wc", "tee", "uniq", "comm", "cmp", "test", "[", "printf", "readlink", "realpath", "seq",
            "sleep", "pwd", "paste", "join", "fold", "nl", "od",
        ],
        class: Class::Utility,
        env: &["TMPDIR", "PWD"],
        probes_output: false,
    },
    Tool { names: &["mktemp"], class: Class::Utility, env: &["TMPDIR", "PWD"], probes_output: false },
    Tool { names: &["sort"], class: Class::Utility, env: &["TMPDIR"], probes_output: false },
    Tool { names: &["touch"], class: Class::Utility, env: &[], probes_output: false },
    Tool { names: &["sed"], class: Class::Utility, env: &["COLS"], probes_output: false },
    Tool {
        names: &["grep", "egrep", "fgrep"],
        class: Class::Utility,
        env: &["GREP_*", "DEB_GREP_*"],
        probes_output: false,
    },
    Tool { names: &["m4"], class: Class::Utility, env: &["M4PATH", "TMPDIR"], probes_output: false },
    Tool {
        names: &["bison", "yacc"],
        class: Class::Utility,
        env: &["M4", "BISON_*", "PATH", "TMPDIR", "M4PATH"],
        probes_output: false,
    },
    Tool {
        names: &["flex", "lex"],
        class: Class::Utility,
        env: &["M4", "PATH", "TMPDIR", "M4PATH"],
        probes_output: false,
    },
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
    let toolchain = |n: &str| exact(n).filter(|t| t.class == Class::Toolchain);
    let bare = versionless(name);
    // A target triplet: the longest known name after a dash.
    toolchain(bare).or_else(|| after_target(bare).find_map(toolchain))
}

/// Without the version, which comes after a dash, or right after a distinct name: `cc65` is no `cc`.
fn versionless(name: &str) -> &str {
    let bare = unversioned(name);
    if name[bare.len()..].starts_with('-') || DISTINCT.contains(&bare) { bare } else { name }
}

/// What may be the name of a tool for the target that stands before it (`arm-none-eabi-ld`).
fn after_target(name: &str) -> impl Iterator<Item = &str> {
    let is_target = PROCESSORS.iter().any(|p| name.starts_with(p));
    name.match_indices('-').filter(move |_| is_target).map(|(i, _)| &name[i + 1..])
}

/// How the first words of target triplets begin (config.sub of GNU's config). `my-gcc` may be anything.
const PROCESSORS: &[&str] = &[
    "x86_64-",
    "i386-",
    "i486-",
    "i586-",
    "i686-",
    "arm",
    "aarch64",
    "riscv",
    "mips",
    "powerpc",
    "ppc",
    "s390",
    "sparc",
    "m68k-",
    "m68hc",
    "avr-",
    "avr32-",
    "msp430-",
    "xtensa",
    "sh-",
    "sh2",
    "sh3",
    "sh4",
    "shle-",
    "hppa",
    "alpha",
    "ia64-",
    "loongarch",
    "or1k-",
    "microblaze",
    "nios2-",
    "tricore-",
    "rx-",
    "v850",
    "h8300-",
    "bfin-",
    "cris-",
    "arc-",
    "arceb-",
    "csky-",
    "nds32",
    "lm32-",
    "rl78-",
    "vax-",
    "c6x-",
    "amdgcn-",
    "nvptx-",
    "bpf-",
    "wasm32-",
    "ft32-",
    "moxie-",
    "e2k-",
];

fn unversioned(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').trim_end_matches('-')
}

/// Names that nobody gives to a program of another kind.
const DISTINCT: &[&str] = &[
    "gcc",
    "g++",
    "clang",
    "clang++",
    "gfortran",
    "cc1",
    "cc1plus",
    "cc1obj",
    "f951",
    "collect2",
    "lto1",
    "lto-wrapper",
    "gcc-ar",
    "gcc-nm",
    "gcc-ranlib",
    "ld.bfd",
    "ld.gold",
    "ld.lld",
    "llvm-ar",
    "llvm-ranlib",
    "rustc",
];

/// Is a program what it is called? One that comes with the machine is. One of the build's own may be a compiler (its
/// name is distinct, or has a target before it: `arm-none-eabi-ld`), or be started by one `by_compiler`; but a program
/// called `test` is anything.
pub fn is_what_it_is_called(path: &[u8], root: &[u8], by_compiler: bool) -> bool {
    let name = || std::str::from_utf8(base_name(path)).unwrap_or_default();
    let known = |n: &str| DISTINCT.contains(&n) || DISTINCT.contains(&unversioned(n));
    let row = || tool(path);
    // What is in a directory of programs only is; elsewhere a `join` may be anything.
    let small =
        || row().is_some_and(|t| t.class != Class::Toolchain) && !SYSTEM.iter().any(|d| path.starts_with(d.as_bytes()));
    crate::scripts::is_foreign(path, root) && !small()
        || by_compiler && row().is_some()
        || known(name())
        || after_target(name()).any(|n| tool(n.as_bytes()).is_some_and(|t| t.class == Class::Toolchain))
}

/// Where the machine's own small programs are.
const SYSTEM: &[&str] = &["/usr/", "/bin/", "/sbin/", "/nix/store/", "/gnu/store/"];

/// Does this run make directories if they are not there, so that it makes no difference whether they are (mkdir(1),
/// cmake(1))?
pub fn ensures_directories(path: &[u8], argv: &[Vec<u8>]) -> bool {
    let options = || argv.iter().skip(1).filter(|a| a.starts_with(b"-"));
    match base_name(path) {
        b"mkdir" => options().any(|a| a != b"--") && options().all(|a| matches!(&a[..], b"-p" | b"--parents" | b"--")),
        b"cmake" => matches!(argv, [_, e, make, ..] if e == b"-E" && make == b"make_directory"),
        _ => false,
    }
}

/// The names that libtool's directory of objects can have (`lt_cv_objdir`).
pub const LIBTOOL_OBJECTS: [&[u8]; 2] = [b".libs", b"_libs"];

/// Does it give what it makes random names (mktemp(1): at least three random characters)?
pub fn invents_names(tool: &Tool) -> bool {
    tool.names.contains(&"mktemp")
}

/// Does it give files other names, or, where that is on another file system, make copies with their times?
pub fn moves(tool: &Tool) -> bool {
    tool.names.contains(&"mv")
}

/// Does it give what it makes the mode of what it reads, which it asks the open file for (`sed -i`)?
pub fn copies_modes(tool: &Tool) -> bool {
    tool.names.contains(&"sed")
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
            let long = [
                &b"--no-clobber"[..],
                b"--update",
                b"--backup",
                b"--interactive",
                b"--suffix",
                b"--link",
                b"--symbolic-link",
            ];
            let links = base_name(path) == b"cp" && short_flag(a, b"ls", b"tS");
            long.iter().any(|l| a.starts_with(l)) || short_flag(a, b"nubiS", b"gmot") || links
        }),
        // Without -f a missing name is an error.
        b"rm" => options.any(|a| a == b"--force" || short_flag(a, b"f", b"")),
        _ => true,
    }
}

/// Does it matter to this run of a known tool whether its standard input is a terminal? Compilers ask for its width;
/// `rm` and `mv` ask back on one. Nothing else of it matters to them: gnulib's `close_stdin` asks for the place in a
/// file that was read.
pub fn minds_terminal(path: &[u8], argv: &[Vec<u8>]) -> bool {
    match base_name(path) {
        b"test" | b"[" => true,
        b"rm" | b"mv" => !argv.iter().skip(1).any(|a| a == b"--force" || short_flag(a, b"f", b"tS")),
        _ => false,
    }
}

/// How often a program may read random bytes for its own needs: hash seeds (perl 5.36: twice at its start, by strace;
/// see `PERL_HASH_SEED` in perlrun), names of scratch files (LLVM's `createUniqueFile`, cmake's `try_compile`, sqlite,
/// rsync), names of symbols and sections that must differ from those of other files (gcc, once, with `-flto`: see
/// `-frandom-seed` in its manual). The machine's own scripts of perl's use them for scratch names, too (autom4te).
pub fn own_seeds(path: &[u8], runs_foreign_script: bool) -> u8 {
    const ONCE: &[&str] = &["cc1", "cc1plus", "cc1obj", "lto1", "f951", "gnat1", "d21", "go1"];
    const OFTEN: &[&str] =
        &["lld", "ld.lld", "rust-lld", "clang", "clang++", "wasm-ld", "cmake", "ctest", "sqlite3", "rsync"];
    let name = std::str::from_utf8(base_name(path)).unwrap_or_default();
    match unversioned(name) {
        "perl" if runs_foreign_script => u8::MAX,
        "perl" => 2,
        _ if ONCE.contains(&name) => 1,
        n if OFTEN.contains(&n) || n.starts_with("llvm-") => u8::MAX,
        _ => 0,
    }
}

/// How often may it open `/dev/tty` for its own needs? bash does once, at its start, and closes it again; rustc asks
/// how wide it is whenever it has something to say and no stream is a terminal (both by strace).
pub fn knocks(path: &[u8]) -> u8 {
    match base_name(path) {
        name if name.starts_with(b"bash") => 1,
        _ if compiles_rust(path) => u8::MAX,
        _ => 0,
    }
}

/// Does this program list directories only to find libraries whose names it knows the beginning of? rustc lists
/// `target/debug/deps`, which every other rustc of the build fills at the same time.
pub fn searches_libraries(path: &[u8]) -> bool {
    compiles_rust(path)
}

/// rustc and what is built on it; it has no row in the table, because a source may name any variable (`env!`).
pub fn compiles_rust(path: &[u8]) -> bool {
    matches!(base_name(path), b"rustc" | b"rustdoc" | b"clippy-driver")
}

/// Does this run of rustc ask for libraries by their whole names? cargo names each library after all that went into it
/// (`-C extra-filename=-HASH`), rustc notes that name in those that use it, and then looks for no other
/// (`rustc_metadata::locator`).
pub fn names_libraries_exactly(argv: &[Vec<u8>]) -> bool {
    argv.iter().any(|a| bstr::ByteSlice::contains_str(&a[..], "extra-filename="))
}

/// Crates that rustc adds by itself, by name alone.
const INJECTED: &[&[u8]] =
    &[b"std", b"core", b"alloc", b"proc_macro", b"test", b"compiler_builtins", b"profiler_builtins", b"panic_"];

/// How the names begin under which a library like this one would be found: `lib`, the crate's name, a dash; all of it
/// if names are `exact` (cargo starts a dependent while the `.rlib` beside the `.rmeta` is being made). `None`: not a
/// library.
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

/// Is it this program, or that for a target (`x86_64-linux-gnu-ar`)?
pub(crate) fn is_or_for(name: &[u8], program: &str) -> bool {
    let name = std::str::from_utf8(name).map_or(name, |n| unversioned(n).as_bytes());
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
    fn who_minds_whether_there_is_a_terminal() {
        let minds = |text: &str| {
            let argv: Vec<Vec<u8>> = text.split(' ').map(|w| w.as_bytes().to_vec()).collect();
            minds_terminal(&argv[0], &argv)
        };
        for text in ["/usr/bin/test -t 0", "[ -t 0 ]", "rm x", "mv -n x f", "mv -S f x y"] {
            assert!(minds(text), "{text}");
        }
        for text in ["gcc -c a.c", "cp a b", "rm -rf x", "mv -f x y", "mv --force x y"] {
            assert!(!minds(text), "{text}");
        }
    }

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
    fn who_is_what_it_is_called() {
        let is = |p: &str| is_what_it_is_called(p.as_bytes(), b"/src", false);
        for p in [
            "/usr/bin/test",
            "/opt/x/bin/ld",
            "/src/toolchain/clang-17",
            "/src/bin/arm-none-eabi-as",
            "/home/x/bin/gcc",
            "/src/x86_64-linux-gnu-gcc-12",
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
        ] {
            assert!(!is(p), "{p}");
        }
        assert!(
            is_what_it_is_called(b"/src/libexec/as", b"/src", true)
                && !is_what_it_is_called(b"/src/gen", b"/src", true)
        );
        assert_eq!(
            [&b"/usr/bin/perlin"[..], b"/src/clang-gen", b"/usr/bin/perl5.36", b"/usr/bin/clang-14"]
                .map(|p| own_seeds(p, false)),
            [0, 0, 2, u8::MAX]
        );
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
}
