//! Compilers, what they call, and caches of compilers.

use super::super::row::Class::Toolchain;
use super::super::row::{OwnCache, Times, Tool, tool};

/// Variables of gcc (its manual, "Environment Variables Affecting GCC") and of clang. Those of clang for MSVC, HIP and
/// consoles are in its library; that `INCLUDE` counts was tried.
pub(super) const GCC: &[&str] = &[
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

/// What all that gcc and clang consist of has in common: they look at what they are about to write, and write it
/// anyway.
const fn of_gcc(names: &'static [&'static str]) -> Tool {
    tool(names).class(Toolchain).variables(GCC).replaces(|_| true)
}

pub(super) const ROWS: &[Tool] = &[
    of_gcc(&["gcc", "g++"])
        .distinct()
        .calls_a_preprocessor()
        .why("gcc(1), \"Environment Variables Affecting GCC\"; its driver looks at its output, by strace"),
    of_gcc(&["cc", "c++"]).calls_a_preprocessor().why("links to gcc or clang; the names are too short to be distinct"),
    of_gcc(&["gfortran"])
        .distinct()
        .calls_a_preprocessor()
        .other_language()
        .why("gfortran(1): the driver is gcc's; comments of Fortran's are others"),
    of_gcc(&["cpp"]).expands_macros().other_language().why("cpp(1): what it writes is read again by whom nobody knows"),
    of_gcc(&["clang", "clang++"])
        .distinct()
        .expands_macros()
        .seeds(u8::MAX)
        .undated_headers("-fno-pch-timestamp")
        .why("clang(1); names of scratch files are random (LLVM's `createUniqueFile`)"),
    of_gcc(&["gcc-nm", "gcc-ranlib"]).distinct().why("gcc's manual: they call nm and ranlib with its plugin"),
    of_gcc(&["cc1", "cc1plus", "cc1obj"])
        .distinct()
        .expands_macros()
        .seeds(1)
        .why("started by gcc; one random number for names of symbols with `-flto` (gcc(1), `-frandom-seed`)"),
    of_gcc(&["f951"])
        .distinct()
        .expands_macros()
        .other_language()
        .seeds(1)
        .why("Fortran's, started by gfortran; a random number as cc1 has"),
    of_gcc(&["lto1"])
        .distinct()
        .seeds(1)
        .why("started by lto-wrapper; it reads no source, and a random number as cc1 does"),
    of_gcc(&["collect2", "lto-wrapper"]).distinct().why("started by gcc for links (gccint, \"Collect2\")"),
    tool(&["gnat1", "go1"]).seeds(1).why("Ada's and Go's, started by gcc; a random number as cc1 has"),
    tool(&["d21"]).seeds(1).expands_macros().other_language().why("D's, started by gdc; a random number as cc1 has"),
    tool(&["rustc"])
        .distinct()
        .only_faster()
        .hands_on_limits(|_| true)
        .minds_owners(|_| false)
        .times(|_| Times::None)
        .knocks(u8::MAX)
        .searches_libraries()
        .why("no class: a source may name any variable (`env!`); asks the terminal for its width, by strace"),
    tool(&["rustdoc", "clippy-driver"])
        .times(|_| Times::None)
        .knocks(u8::MAX)
        .searches_libraries()
        .why("built on rustc's library, and like it in all of this"),
    tool(&["ocamlc", "ocamlc.opt", "ocamlopt", "ocamlopt.opt", "ocamldep", "ocamldep.opt"])
        .distinct()
        .times(|_| Times::None)
        .seeds(1)
        .why("OCaml's `Filename.temp_file` seeds itself once; compiled modules agree by digests, and no time is asked for"),
    tool(&["javac"])
        .times(|_| Times::Classes)
        .kernel_files(&["/proc/net/if_inet6"])
        .why("javac(1), `-Xprefer:newer`; the JVM's library for the network asks once whether there is IPv6, by strace"),
    tool(&["protoc"]).times(|_| Times::None).why("protoc's `DiskSourceTree` looks whether names are files, and at no time"),
    tool(&["go"])
        .times(|_| Times::None)
        .own_cache(&OwnCache { variable: "GOCACHE", default: "go-build", when: builds })
        .why("`go help cache`: results by digests of what they are made of, since 1.10; times only of what it may remove"),
    tool(&["ccache"])
        .daemon("CCACHE_DISABLE=", "it keeps a cache of its own; set CCACHE_DISABLE=1, or CC without ccache")
        .why("ccache(1): what it serves comes from a directory of its own"),
    tool(&["sccache"])
        .daemon("", "it hands its work to a daemon; set RUSTC_WRAPPER and CC without sccache")
        .why("its server compiles, and nobody sees what that reads"),
    tool(&["distcc"])
        .daemon("", "it hands its work to a daemon; set CC without distcc")
        .why("distcc(1): other machines compile"),
    tool(&["icecc"])
        .daemon("", "it hands its work to a daemon; set CC without icecc")
        .why("icecream's client: other machines compile"),
    tool(&["clang-cpp*"])
        .expands_macros()
        .other_language()
        .undated_headers("-fno-pch-timestamp")
        .why("clang as a preprocessor: what it writes is read again by whom nobody knows"),
    tool(&["flang*", "dmd*", "ldc2*", "d21*", "gdc*", "nasm*", "yasm*", "f951*", "*cpp*"])
        .expands_macros()
        .other_language()
        .why("Fortran, D and assembly have macros or words for the date; nothing else is known of them"),
    tool(&["clang*"])
        .expands_macros()
        .undated_headers("-fno-pch-timestamp")
        .why("clang's other programs preprocess as it does; nothing else is known of them"),
    tool(&["*-gfortran"])
        .calls_a_preprocessor()
        .other_language()
        .why("perhaps gfortran for some target, or what calls it"),
    tool(&["*-cc", "*-gcc", "*-g++", "*-c++"])
        .calls_a_preprocessor()
        .why("perhaps gcc for some target, or what calls it (`afl-gcc`); nothing else is known of them"),
    tool(&["cc1*", "tcc*", "icc*", "icx*", "icpx*", "nvc*", "armc*", "*clang*"])
        .expands_macros()
        .why("compilers of C, and what has clang in its name (`afl-clang-fast`); nothing else is known of them"),
    tool(&["llvm-*"]).seeds(u8::MAX).why("LLVM's tools name scratch files at random (`createUniqueFile`)"),
];

/// `go test` and `go run` have more in mind.
fn builds(argv: &[Vec<u8>]) -> bool {
    matches!(argv.get(1).map(Vec::as_slice), Some(b"build" | b"install" | b"vet"))
}
