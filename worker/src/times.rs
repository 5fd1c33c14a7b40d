//! To which programs file times matter, and of which files: as data, by names and command lines, and for what a pip
//! looked at.
//!
//! What only a script's text tells is found out when the pip has ended, over all texts that it ran: who runs scripts is
//! [`Times::Elsewhere`] here, and what that looked at counts if one of them compares times ([`compares`]). Of a
//! compiled program that nobody knows, what it looks at counts if it does not read all of it: [`Times::Unread`].

use crate::finish::Context;
use crate::look::Look;
use crate::record::{Image, Record};
use crate::recorder::{Accesses, Program};
use crate::scripts;
use crate::tools::{base_name, is_or_for, prints, searches_libraries, short_flag, tool};
use bstr::ByteSlice;
use cache::observation::value;
use cache::{Kind, Observation, PathBytes, Value};
use rustc_hash::{FxHashMap, FxHashSet};

/// Has this text of a script, or of a command line, a word for comparing or handing on file times?
pub fn compares(text: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "-newer",
        "mtime",
        "ST_MTIME",
        " -M ",
        // The time in what Python's and perl's `stat` give.
        ")[8]",
        ")[9]",
        "-M(",
        // distutils.dep_util.
        "newer(",
        "newer_",
        "filecmp",
        "py_compile",
        "copy2",
        "copystat",
        "copytree",
        "zipfile",
        "zipapp",
        "Archive::Tar",
        "Archive::Zip",
        // Its pod2man.
        "ExtUtils::Command",
        "ARCHIVE_CREATE",
        "tarfile",
        "make_archive",
        "st_mtim",
        "IS_NEWER_THAN",
    ];
    // cmake's `file(TIMESTAMP …)`, and no name of an option that has the word in it.
    let of_cmake = || scripts::has_word(text, b"TIMESTAMP", false);
    let of_list = || text.contains_str("stat") && (text.contains_str("[8]") || text.contains_str("[9]"));
    WORDS.iter().any(|w| text.contains_str(w))
        || of_list()
        || of_cmake()
        || text.fields().any(|w| matches!(w, b"-nt" | b"-ot"))
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
    /// Files and directories, but not the directories that it is in: a script, or cmake, goes through those to get
    /// anywhere.
    Elsewhere,
    /// Whatever it looks at (archivers and copiers).
    All,
    /// Nothing is known of it: perhaps of what it looks at and does not read, to see whether there is something to do;
    /// and then of all that it looks at.
    Unread,
}

impl Times {
    /// Does the time of `path` count, for a program that was started in `cwd`?
    pub fn of(self, path: &[u8], directory: bool, cwd: &[u8]) -> bool {
        match self {
            Self::None | Self::Unread => false,
            Self::Modules => path.ends_with(b".py") || path.ends_with(b".pyc"),
            Self::Files => !directory,
            Self::Elsewhere => {
                !(directory && cwd.strip_prefix(path).is_some_and(|rest| matches!(rest.first(), None | Some(b'/'))))
            }
            Self::All => true,
        }
    }

    /// Does the time count of what is looked at and then not read, and that of what is read where times are set on what
    /// it makes?
    pub fn of_unread(self) -> bool {
        matches!(self, Self::Modules | Self::Unread)
    }
}

/// Which modification times a run of this program with these arguments reads. It is what it is called.
pub fn reads_times(path: &[u8], argv: &[Vec<u8>]) -> Times {
    let arg = |f: &dyn Fn(&[u8]) -> bool| argv.iter().skip(1).any(|a| f(a));
    let when = |yes: bool, t: Times| if yes { t } else { Times::None };
    match base_name(path) {
        b"cp" => {
            let long = |a: &[u8]| [&b"--preserve"[..], b"--archive", b"--update"].iter().any(|l| a.starts_with(l));
            when(arg(&|a| long(a) || short_flag(a, b"pau", b"tS")), Times::All)
        }
        b"mv" => when(arg(&|a| a.starts_with(b"--update") || short_flag(a, b"u", b"tS")), Times::All),
        b"mcopy" => when(arg(&|a| short_flag(a, b"mp", b"iD")), Times::Files),
        b"install" => when(arg(&|a| a == b"--preserve-timestamps" || short_flag(a, b"p", b"gmotS")), Times::Files),
        b"touch" => when(arg(&|a| a.starts_with(b"--ref") || short_flag(a, b"r", b"dt")), Times::All),
        b"find" => {
            let words = |a: &[u8]| a.starts_with(b"-newer") || a == b"-links";
            when(arg(&words) || prints(argv, b"tTn"), Times::All)
        }
        b"tar" | b"bsdtar" | b"rsync" | b"cpio" | b"zip" | b"7z" | b"jar" | b"stat" => Times::All,
        // Their names and programs: Debian's packages of archivers and makers of file systems; what they compress shows
        // no times.
        b"star" | b"bsdcpio" | b"7za" | b"7zr" | b"7zz" | b"rar" | b"lha" | b"arj" | b"dpkg-deb" | b"mksquashfs"
        | b"gensquashfs" => Times::All,
        b"genisoimage" | b"mkisofs" | b"xorriso" | b"xorrisofs" | b"mkfs.erofs" | b"mkfs.jffs2" | b"mkfs.ubifs" => {
            Times::All
        }
        // The time of each resource, in milliseconds, as the text of its bytes.
        b"rcc" | b"rcc-qt5" | b"rcc-qt6" | b"rcc6" | b"pyrcc5" | b"pyside2-rcc" | b"pyside6-rcc" => Times::Files,
        b"cmake" if argv.get(1).is_some_and(|a| a == b"-E") => {
            when(arg(&|a| a == b"tar" || a == b"copy_if_different"), Times::Elsewhere)
        }
        b"ls" => {
            let long = |a: &[u8]| {
                [&b"--full"[..], b"--sort", b"--time", b"--format", b"--author"].iter().any(|l| a.starts_with(l))
            };
            when(arg(&|a| long(a) || short_flag(a, b"lgnot", b"ITw")), Times::All)
        }
        // What it prints before each file shows the time.
        b"diff" => {
            let long = |a: &[u8]| [&b"--unified"[..], b"--context", b"--new-file"].iter().any(|l| a.starts_with(l));
            when(arg(&|a| long(a) || short_flag(a, b"ucUCN", b"xXIFSDW")), Times::Files)
        }
        b"unzip" => when(arg(&|a| short_flag(a, b"uf", b"dPx")), Times::Files),
        name if is_or_for(name, "gcov") => Times::Files,
        b"busybox" | b"toybox" => {
            let applet = argv
                .iter()
                .take(2)
                .any(|a| matches!(base_name(a), b"tar" | b"cpio" | b"ls" | b"stat" | b"find" | b"cp" | b"touch"));
            if applet { Times::All } else { Times::Unread }
        }
        b"pax" | b"mke2fs" | b"mkfs.ext2" | b"mkfs.ext3" | b"mkfs.ext4" | b"genext2fs" => Times::All,
        b"gzip" | b"pigz" | b"pod2man" | b"pr" | b"make" | b"gmake" | b"ninja" | b"samu" => Times::Files,
        b"sh" | b"dash" | b"bash" | b"test" | b"[" => {
            // A shell looks at its own directory to know where it is, unless it is told to compare that one.
            let words: Vec<&[u8]> = argv.iter().skip(1).flat_map(|a| a.fields()).collect();
            let asks = words.iter().any(|w| matches!(*w, b"-nt" | b"-ot"));
            if asks && compares_directories(&words) { Times::All } else { when(asks, Times::Elsewhere) }
        }
        // Debian's `ar` is a link to `x86_64-linux-gnu-ar`. (ar(1): operation and modifiers, with or without a dash, in
        // one word or several.)
        name if is_or_for(name, "ar") => when(
            arg(&|a| a.contains(&b'U') && a.iter().all(|b| b"-dmpqrstxabcDfhilNoOPsSTuUvV".contains(b))),
            Times::Files,
        ),
        name if is_or_for(name, "strip") || is_or_for(name, "objcopy") => {
            when(arg(&|a| a == b"--preserve-dates" || short_flag(a, b"p", b"FIOBjRKNGWLbo")), Times::Files)
        }
        name if name.starts_with(b"python") || name == b"node" => Times::Modules,
        b"which" | b"file" | b"env" | b"xargs" | b"awk" | b"mawk" | b"gawk" => Times::None,
        _ if tool(path).is_some() || searches_libraries(path) => Times::None,
        _ => Times::Unread,
    }
}

/// Does it write down the time of the file on its standard input? (gzip(1), `--name`)
pub fn keeps_time_of_stdin(path: &[u8], argv: &[Vec<u8>]) -> bool {
    const NOT: &[&[u8]] =
        &[b"--no-name", b"--decompress", b"--uncompress", b"--test", b"--list", b"--version", b"--help", b"--license"];
    let has_value = |a: &[u8]| [&b"-S"[..], b"-b", b"-p", b"--suffix", b"--blocksize", b"--processes"].contains(&a);
    let words = argv.windows(2).filter(|w| !has_value(&w[0])).map(|w| &w[1][..]);
    let not = |a: &[u8]| NOT.contains(&a) || short_flag(a, b"ndtlVLh", b"bSp") || !a.starts_with(b"-");
    matches!(base_name(path), b"gzip" | b"pigz") && !{ words }.any(not)
}

/// Might `-nt` or `-ot` be asked about a directory on the way: `.`, `..`, a variable's value?
fn compares_directories(words: &[&[u8]]) -> bool {
    let plain = |w: Option<&&[u8]>| {
        w.is_some_and(|w| w.iter().any(|b| !b"./".contains(b)) && !w.iter().any(|b| b"$`\"'*?[~".contains(b)))
    };
    words.iter().enumerate().any(|(i, w)| {
        matches!(*w, b"-nt" | b"-ot")
            && !(plain(i.checked_sub(1).and_then(|i| words.get(i))) && plain(words.get(i + 1)))
    })
}

/// Decides of which names the time counts, where that could not be told when they were accessed.
pub(crate) fn count(names: &mut FxHashMap<PathBytes, Record>, a: &Accesses, look: &impl Look, c: &Context<'_>) {
    // A script of the machine's counts if it is what was to be run; what it loads does not.
    let is_script = |(p, r): &(&PathBytes, &Record)| {
        let told = || {
            scripts::is_given(p, &a.programs)
                || a.programs.iter().any(|x| x.interpreter.is_some() && x.path[..] == p[..])
        };
        r.interpreted && r.first.is_some_and(|s| s.is_file()) && (!scripts::is_foreign(p, c.root) || told())
    };
    let runs = |p: &Program| scripts::interprets(p.interpreter.as_ref().unwrap_or(&p.path));
    let compares = a.compares
        || a.programs.iter().filter(|p| runs(p)).any(|p| p.argv.iter().any(|w| compares(w)))
        || a.programs.iter().any(runs)
            && names.iter().filter(is_script).any(|(p, _)| look.source(p).is_some_and(|text| compares(&text)));
    // Python writes down the time of a module in its compiled form, and compares it.
    let compiled: FxHashSet<Vec<u8>> = names
        .iter()
        .filter(|(p, r)| p.ends_with(b".pyc") && (r.read || r.intent))
        .filter_map(|(p, _)| base_name(p).split(|b| *b == b'.').next().map(<[u8]>::to_vec))
        .collect();
    // Who knows of a file that it does not read compares times, if it does at all, with those of whatever it looks at.
    let is_opaque =
        |i: &Image| (*i as usize).checked_sub(1).and_then(|i| a.programs.get(i)).is_none_or(|p| p.is_opaque);
    let unread = |r: &Record| r.first.is_some_and(|s| s.is_file()) && r.judged();
    let comparing: FxHashSet<Image> = names
        .values()
        .filter(|r| unread(r))
        .flat_map(|r| r.lookers.iter().filter(|i| !r.readers.contains(i)))
        .filter(|i| is_opaque(i))
        .copied()
        .collect();
    for (path, r) in names.iter_mut() {
        let stem = || base_name(path).split(|b| *b == b'.').next().unwrap_or_default();
        r.times |= compares && r.may_compare
            || r.module && (path.ends_with(b".pyc") || compiled.contains(stem()))
            || r.first.is_some_and(|s| s.is_file()) && (r.judged() || r.lookers.iter().any(|i| comparing.contains(i)));
    }
}

/// Who compares the times of all files of which it knows, or hands them on: they are observed with the rest.
pub(crate) fn observe_all(
    all: &mut Vec<(Observation, Value)>,
    names: &FxHashMap<PathBytes, Record>,
    but: Option<&PathBytes>,
) {
    let file = |p: &PathBytes| names.get(p).and_then(|r| r.first).filter(|s| s.kind == Kind::File && but != Some(p));
    let more = |(o, _): &(Observation, Value)| match o {
        Observation::FileContent(p) | Observation::FileProbe { path: p, times: false } => {
            file(p).map(|s| (Observation::FileProbe { path: p.clone(), times: true }, value::probe(&s, true)))
        }
        _ => None,
    };
    let mut more: Vec<_> = all.iter().filter_map(more).collect();
    all.retain(|(o, _)| !matches!(o, Observation::FileProbe { path, times: false } if file(path).is_some()));
    all.append(&mut more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_compare_times() {
        for text in ["file(TIMESTAMP a t)", "FILE( TIMESTAMP a t )", "[ a -nt b ]", "os.path.getmtime(p)"] {
            assert!(compares(text.as_bytes()), "{text}");
        }
        assert!(!compares(b"CONFIG_FEATURE_LS_TIMESTAMPS=y\n# CONFIG_NO_TIMESTAMP is not set\ndont-nt"));
    }

    #[test]
    fn times_matter_where_they_are_asked_for() {
        let of = |line: &str| {
            let argv: Vec<Vec<u8>> = line.split('|').map(|s| s.as_bytes().to_vec()).collect();
            reads_times(&argv[0], &argv)
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
            !of(Times::Elsewhere, "/d", true)
                && !of(Times::Elsewhere, "/d/e", true)
                && of(Times::Elsewhere, "/d/ee", true)
        );
        assert!(of(Times::Elsewhere, "/d/e/f", true) && of(Times::Elsewhere, "/d/e", false));
    }

    #[test]
    fn words_that_compare() {
        for text in [
            "[ a -nt\tb ]",
            "test a -ot b",
            "os.stat(f)[8]",
            "(stat $f)[9]",
            "if(a IS_NEWER_THAN b)",
            "find . -newermt x",
        ] {
            assert!(compares(text.as_bytes()), "{text}");
        }
        for text in ["gcc foo-nt.c", "echo -ntx", "x[9]"] {
            assert!(!compares(text.as_bytes()), "{text}");
        }
    }
}
