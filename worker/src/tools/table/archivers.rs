//! Archivers, compressors and makers of file systems: what they make holds times of files.

use super::super::arguments::{any, begins, short_flag};
use super::super::row::{Asks, Times, Tool, tool};

/// It writes the times of all that it packs.
const fn packer(names: &'static [&'static str]) -> Tool {
    tool(names).times(|_| Times::All)
}

pub(super) const ROWS: &[Tool] = &[
    tool(&["jar"])
        .times(|argv| if any(argv, is_date) { Times::None } else { Times::All })
        .seeds(2)
        .asks_for_now(|argv| {
            writes_present(argv).then_some("it writes the time into what it makes (`--date` says which)")
        })
        .why("jar(1), `--date`; the JVM seeds itself for the name of a scratch file from two devices, by strace"),
    packer(&["tar"])
        .asks_accounts(|argv| packs(argv).then_some(Asks::Owners))
        .why("tar(5): each member has its time and its owner's name; GNU tar looks that up when it packs"),
    packer(&["bsdtar", "star", "bsdcpio", "cpio", "pax"]).why("tar(5), cpio(5): each member has its time"),
    packer(&["zip", "7z", "7za", "7zr", "7zz", "rar", "lha", "arj"])
        .why("zip(1) and the like: each member has its time; what they compress shows none"),
    packer(&["dpkg-deb"]).why("deb(5): an archive of archives of tar's"),
    packer(&["mke2fs", "mkfs.ext2", "mkfs.ext3", "mkfs.ext4", "genext2fs"])
        .why("mke2fs(8), `-d`: inodes get the times of the files"),
    packer(&["mkfs.erofs", "mkfs.jffs2", "mkfs.ubifs", "gensquashfs"]).why("inodes get the times of the files"),
    packer(&["mksquashfs"]).dated().why("mksquashfs(1): inodes get the times of the files; the image has its own"),
    packer(&["genisoimage", "mkisofs", "xorriso", "xorrisofs"])
        .dated()
        .why("genisoimage(1): each file has its time; the volume has its own"),
    tool(&["gzip", "pigz"])
        .minds_owners(|_| false)
        .times(|_| Times::Files)
        .notes_time_of_stdin(names_stdin)
        .why("gzip(1), `--name`: the time of the file, or of that on standard input, is in the header; who may sets owners, which is seen"),
    tool(&["unzip"])
        .times(|argv| if any(argv, |a| short_flag(a, b"uf", b"dPx")) { Times::Files } else { Times::None })
        .why("unzip(1): `-u` and `-f` extract what is newer"),
    tool(&["rsync"])
        .times(|_| Times::All)
        .seeds(u8::MAX)
        .why("rsync(1): it compares and hands on times; scratch files have random names"),
    tool(&["mcopy"])
        .times(|argv| if any(argv, |a| short_flag(a, b"mp", b"iD")) { Times::Files } else { Times::None })
        .why("mcopy(1): `-m` and `-p` keep times and attributes"),
    // An option of Qt's that is on unless it is told otherwise.
    tool(&["rcc", "rcc-qt5", "rcc-qt6", "rcc6", "pyrcc5", "pyside2-rcc", "pyside6-rcc"])
        .times(|_| Times::Files)
        .why("Qt's rcc, format 2 on: the time of each resource in milliseconds, as the text of its bytes"),
];

/// Does `tar` make an archive, and is it told no owner, nor to read more options or names from somewhere?
fn packs(argv: &[Vec<u8>]) -> bool {
    let first = argv.get(1).map_or(&b""[..], Vec::as_slice);
    let letters = first.strip_prefix(b"-").unwrap_or(first);
    let creates = first == b"--create" || !first.starts_with(b"--") && letters.first() == Some(&b'c');
    let owners = |a: &[u8]| begins(a, &["--o", "--g", "--ow", "--gr", "--user", "--u"]);
    creates && letters.iter().all(|l| b"cvfzjJahpSZ".contains(l) || first == b"--create") && !any(argv, owners)
}

fn names_stdin(argv: &[Vec<u8>]) -> bool {
    const NOT: &[&[u8]] =
        &[b"--no-name", b"--decompress", b"--uncompress", b"--test", b"--list", b"--version", b"--help", b"--license"];
    let has_value = |a: &[u8]| [&b"-S"[..], b"-b", b"-p", b"--suffix", b"--blocksize", b"--processes"].contains(&a);
    let words = argv.windows(2).filter(|w| !has_value(&w[0])).map(|w| &w[1][..]);
    let not = |a: &[u8]| NOT.contains(&a) || short_flag(a, b"ndtlVLh", b"bSp") || !a.starts_with(b"-");
    !{ words }.any(not)
}

/// Does `jar` make or change an archive, without being told the time of its members?
fn writes_present(argv: &[Vec<u8>]) -> bool {
    let letters = argv.get(1).filter(|a| !a.starts_with(b"--")).is_some_and(|a| a.iter().any(|b| b"cui".contains(b)));
    let words = ["--create", "--update", "--generate-index"];
    let makes = letters || any(argv, |a| begins(a, &words) || short_flag(a, b"cui", b"feCm"));
    makes && !any(argv, is_date)
}

fn is_date(word: &[u8]) -> bool {
    word.starts_with(b"--date")
}
