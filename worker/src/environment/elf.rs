//! Which variables a compiled program can read: those of the C library, if it imports nothing by which others are read.
//!
//! A dynamic program comes to its environment through the C library (`getenv`, `environ`), or hands it on to others
//! (`execvp`). What loads code or finds functions by their names may do either. A program gets its environment from
//! the kernel, too, beside its arguments: the third parameter of `main`. Nobody sees who looks there, but it has to
//! know the name that it looks for: variables whose names are anywhere in the file count. That leaves who goes through
//! all of them with that parameter, or computes names for it.

use object::{Object, ObjectSymbol};

/// Imports of a program that may read variables which nobody names, or hand them on.
const READERS: &[&str] = &[
    "getenv",
    "secure_getenv",
    "__secure_getenv",
    "__libc_secure_getenv",
    "environ",
    "__environ",
    "_environ",
    "setenv",
    "putenv",
    "unsetenv",
    "clearenv",
    "wordexp",
    "dlopen",
    "dlsym",
    "dlvsym",
    "dlmopen",
    "__libc_dlopen_mode",
    "__libc_dlsym",
    "syscall",
    "_dl_argv",
    "__libc_argv",
    "getauxval",
    "__getauxval",
    "prctl",
    "ptrace",
    "process_vm_readv",
    "argp_parse",
    "getopt_init",
];

/// Beginnings of names of functions that hand the environment on.
const LAUNCHERS: &[&str] = &["exec", "fexec", "posix_spawn"];

/// The C library and what comes with it and the compiler: what these read is known
/// ([`super::EVERY_PROGRAM`], [`LIBRARIES_READ`]).
const LIBRARIES: &[&str] = &[
    "ld-linux",
    "libc.so",
    "libm.so",
    "libpthread.so",
    "libdl.so",
    "librt.so",
    "libutil.so",
    "libgcc_s.so",
    "libstdc++.so",
    "libatomic.so",
    "libmvec.so",
];

/// What the C library reads for who calls it (glibc's manual, "Environment Variables" and by function), and libstdc++
/// (its manual, "Debugging", "Pool allocator", and `temp_directory_path`).
pub(super) const LIBRARIES_READ: &[&str] = &[
    "HOME",
    "PATH",
    "TMPDIR",
    "TMP",
    "TEMP",
    "TEMPDIR",
    "DATEMSK",
    "MSGVERB",
    "SEV_LEVEL",
    "GETCONF_DIR",
    "LOCALDOMAIN",
    "RES_OPTIONS",
    "HOSTALIASES",
    "RESOLV_*",
    "GLIBCXX_*",
    "GMON_OUT_PREFIX",
    "ARGP_HELP_FMT",
];

/// Is it one of the libraries of the machine whose variables are known?
pub(super) fn is_of_the_c_library(path: &[u8]) -> bool {
    let name = crate::tools::base_name(path);
    crate::places::belongs_to_the_machine(path) && LIBRARIES.iter().any(|l| name.starts_with(l.as_bytes()))
}

/// What a compiled file can do with its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Imports {
    /// Nothing that is seen in its imports.
    None,
    /// It may read any variable by its name.
    Names,
    /// It may go through all of them.
    All,
    /// It cannot be told: no dynamic program of this machine's kind.
    Unknown,
}

/// What the imports of this file tell; what is no dynamic ELF file of 64 bits tells nothing.
pub(super) fn imports(file: &[u8]) -> Imports {
    let Ok(elf) = object::read::elf::ElfFile64::<object::Endianness>::parse(file) else { return Imports::Unknown };
    let mut found = Imports::None;
    let mut any = false;
    for s in elf.dynamic_symbols().filter(|s| s.is_undefined() || s.address() != 0) {
        let Ok(name) = s.name() else { return Imports::Unknown };
        any = true;
        // A copy of the C library's variable is a definition.
        if name.ends_with("environ") {
            return Imports::All;
        }
        if s.is_undefined() && (READERS.contains(&name) || LAUNCHERS.iter().any(|l| name.starts_with(l))) {
            found = Imports::Names;
        }
    }
    if any { found } else { Imports::Unknown }
}

/// Which of the variables that are set does the file name?
pub(super) fn named(file: &[u8], env: &[Vec<u8>]) -> Vec<Vec<u8>> {
    use bstr::ByteSlice;
    let names = env.iter().map(|v| super::split(v).0);
    names.filter(|n| !n.is_empty() && file.contains_str(n)).map(<[u8]>::to_vec).collect()
}
