//! Assemblers, linkers, and the tools for archives and objects of GNU and LLVM.

use super::super::arguments::{any, short_flag};
use super::super::row::Class::Toolchain;
use super::super::row::{Times, Tool, tool};
use super::compilers::GCC;

const BINUTILS: &[&str] = &["GNUTARGET", "SOURCE_DATE_EPOCH", "TMPDIR"];

const fn linker(names: &'static [&'static str]) -> Tool {
    tool(names).class(Toolchain).variables(GCC).replaces(|_| true)
}

const fn of_binutils(names: &'static [&'static str]) -> Tool {
    tool(names).class(Toolchain).variables(BINUTILS)
}

pub(super) const ROWS: &[Tool] = &[
    linker(&["as", "ld", "ld64.lld", "mold", "gold"])
        .why("as(1), ld(1): they look at their output and unlink it; gcc's variables, as its driver passes them on"),
    linker(&["ld.bfd", "ld.gold"]).distinct().why("ld(1) under the names by which gcc starts it"),
    linker(&["ld.lld"]).distinct().seeds(u8::MAX).why("ld.lld(1); scratch files have random names"),
    linker(&["lld", "wasm-ld", "rust-lld"])
        .seeds(u8::MAX)
        .why("lld under other names; scratch files have random names"),
    // What is in an archive stays in it: that it was absent matters.
    of_binutils(&["ar", "*-ar"])
        .by_any_name()
        .minds_owners(|argv| updates_members(argv) != Times::None)
        .times(updates_members)
        .why("ar(1), `U`: times and owners; Debian's is a link to `x86_64-linux-gnu-ar`; what is in an archive stays in it, so a look counts"),
    of_binutils(&["llvm-ar"])
        .distinct()
        .by_any_name()
        .minds_owners(|argv| updates_members(argv) != Times::None)
        .times(updates_members)
        .seeds(u8::MAX)
        .why("llvm-ar(1): options as ar's; scratch files have random names"),
    linker(&["gcc-ar"])
        .distinct()
        .by_any_name()
        .minds_owners(|argv| updates_members(argv) != Times::None)
        .times(updates_members)
        .why("gcc's manual: it calls ar with its plugin, and looks at its output as gcc does"),
    of_binutils(&["nm", "objdump", "readelf", "size"]).why("nm(1) and others: they only print"),
    of_binutils(&["ranlib"]).replaces(|_| true).why("ranlib(1): it replaces the archive by one with an index"),
    of_binutils(&["llvm-ranlib"])
        .distinct()
        .replaces(|_| true)
        .seeds(u8::MAX)
        .why("llvm-ranlib(1); scratch files have random names"),
    of_binutils(&["strip", "objcopy", "*-strip", "*-objcopy"])
        .by_any_name()
        .replaces(|_| true)
        .times(preserves_dates)
        .why("strip(1), objcopy(1): `-p` hands times on; the output is replaced"),
    tool(&["llvm-strip", "llvm-objcopy"])
        .by_any_name()
        .times(preserves_dates)
        .seeds(u8::MAX)
        .why("llvm-strip(1): options as strip's; scratch files have random names"),
    tool(&["gcov", "*-gcov"])
        .by_any_name()
        .times(|_| Times::Files)
        .why("gcov(1): it warns of a source that is newer than its notes"),
    tool(&["llvm-gcov"])
        .by_any_name()
        .times(|_| Times::Files)
        .seeds(u8::MAX)
        .why("llvm-cov(1), \"gcov\": as gcov; scratch files have random names"),
];

/// ar(1): operation and modifiers, with or without a dash, in one word or several; with `U` the members get their
/// times.
fn updates_members(argv: &[Vec<u8>]) -> Times {
    let with_times = |a: &[u8]| a.contains(&b'U') && a.iter().all(|b| b"-dmpqrstxabcDfhilNoOPsSTuUvV".contains(b));
    if any(argv, with_times) { Times::Files } else { Times::None }
}

fn preserves_dates(argv: &[Vec<u8>]) -> Times {
    let preserves = |a: &[u8]| a == b"--preserve-dates" || short_flag(a, b"p", b"FIOBjRKNGWLbo");
    if any(argv, preserves) { Times::Files } else { Times::None }
}
