//! Every call that `xl` itself makes, refused by a seccomp profile as containers have them, with EPERM and with ENOSYS; and no `/proc`.
//!
//! The build ends as it does without `xl` under the same profile, and whatever `xl` cannot do there it says: never silence, and with
//! `--strict` an error. Not here: what no program lives without. The dynamic loader needs `mprotect`, `newfstatat`, `pread64` and `close`;
//! Rust's runtime `poll`, `futex` and `rt_sigaction`; a shell `wait4`; RocksDB ends the process without `munmap`, and where
//! `sync_file_range` fails with EPERM.

use crate::world::{World, skip, tree};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Mutex;

const XL: &str = env!("CARGO_BIN_EXE_xl");

/// What becomes of a build in two equal runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Nothing is missing: the second run hits throughout.
    Hits,
    /// The first or the second run says these words, and something runs again.
    Says(&'static str),
    /// It runs as if there were no `xl`, which says so with these words, and `--strict` refuses to.
    Without(&'static str),
}

use Then::{Hits, Says, Without};

const CLOSED: &str = "the build runs without a cache";
const LOST: &str = "could not be restored, the command runs";

/// By number and name.
macro_rules! calls {
    ($($call:ident $then:expr),* $(,)?) => { &[$((concat!(stringify!($call)), libc::$call, $then)),*] };
}

#[rustfmt::skip]
const CALLS: &[(&str, libc::c_long, Then)] = calls![
    // What processes are launched, held and looked into with.
    SYS_process_vm_readv Hits, SYS_process_vm_writev Hits, SYS_pidfd_open Without("pidfd_open"), SYS_kcmp Hits,
    SYS_pidfd_getfd Says("cannot be looked into"), SYS_ioctl Hits, SYS_seccomp Hits, SYS_bpf Hits, SYS_prctl Hits, SYS_kill Hits,
    SYS_tkill Hits, SYS_tgkill Hits, SYS_socketpair Without("pair of sockets"), SYS_sendmsg Hits, SYS_recvmsg Hits, SYS_sendto Hits,
    SYS_recvfrom Hits, SYS_clone Without("cannot fork"), SYS_setsid Hits, SYS_close_range Hits, SYS_waitid Hits, SYS_capget Hits,
    SYS_capset Hits, SYS_pause Hits, SYS_sched_getaffinity Hits, SYS_getrandom Hits, SYS_sigaltstack Hits,
    // What is waited with.
    SYS_epoll_create1 Without("epoll"), SYS_epoll_ctl Without("epoll"), SYS_epoll_pwait Without("epoll"), SYS_eventfd2 Without("eventfd2"),
    SYS_pipe2 Without("pipe2"), SYS_ppoll Hits, SYS_inotify_init1 Hits, SYS_inotify_add_watch Hits,
    // What files are looked at with.
    SYS_statx Without("statx"), SYS_open Without("open"), SYS_fstat Without("fstat"), SYS_getdents64 Without("getdents64"),
    SYS_readlinkat Without("readlink"), SYS_openat2 Hits, SYS_llistxattr Hits, SYS_lgetxattr Hits, SYS_fadvise64 Hits,
    // What results are kept and put back with.
    SYS_access Says(CLOSED), SYS_flock Says(CLOSED), SYS_mkdir Says(CLOSED), SYS_statfs Says(CLOSED), SYS_fstatfs Says(CLOSED),
    SYS_unlink Says(CLOSED), SYS_linkat Says(LOST), SYS_fchmod Says(LOST), SYS_utimensat Says(LOST), SYS_copy_file_range Hits,
    SYS_memfd_create Hits, SYS_fallocate Hits, SYS_ftruncate Hits, SYS_pwrite64 Hits, SYS_madvise Hits, SYS_mremap Hits,
];

/// A tiny build: text, several outputs, an exit code of its own.
const BUILD: &str = "cat in > out\nsh -c 'mkdir -p d; sort in > d/sorted; ln -sf out link; cp out d/copy; chmod 755 d/copy; echo text'\nls d > list\nexit 3\n";

struct Ran {
    out: Output,
    tree: BTreeMap<PathBuf, String>,
}

impl Ran {
    fn said(&self) -> String {
        String::from_utf8_lossy(&self.out.stderr).into_owned()
    }

    /// What the caller of a build gets.
    fn result(&self) -> (Option<i32>, &[u8], &BTreeMap<PathBuf, String>) {
        (self.out.status.code(), &self.out.stdout, &self.tree)
    }
}

/// Runs the tiny build, in a fresh tree, behind these words.
fn build(w: &World, before: &str) -> Ran {
    w.wipe();
    w.write("in", "2\n1\n");
    w.write("build.sh", BUILD);
    let out = w.sh(&format!("exec timeout 60 {before} sh build.sh"));
    Ran { out, tree: tree(&w.tree(), &[]) }
}

/// Tries one refusal; the error says what was not as it should be.
fn try_one(refuse: &str, then: Then) -> Result<(), String> {
    let mut w = World::new();
    w.env.insert("XL_BACKEND".into(), "auto".into());
    w.env.insert("XDG_CACHE_HOME".into(), w.path("../user").display().to_string());
    let plain = build(&w, refuse);
    let runs = ["", ""].map(|options| build(&w, &format!("{refuse} {XL} run {options} --")));
    let strict = build(&w, &format!("{refuse} {XL} run --strict --"));
    let said: String = runs.iter().map(Ran::said).collect();
    let wrong = |what: &str| Err(format!("{what}: {:?}\n{said}strict: {}", runs.each_ref().map(|r| r.out.status), strict.said()));
    if plain.out.status.code() != Some(3) {
        return wrong("the profile hinders the build itself");
    }
    if runs.iter().any(|r| r.result() != plain.result()) {
        return wrong("the build does not end as it does without xl");
    }
    let hits = runs[1].said().contains(": 3 hits, 0 ran");
    let refused = strict.out.status.code() == Some(77) && strict.out.stdout.is_empty();
    match then {
        Hits if !hits => wrong("not everything hits"),
        Says(words) if hits || !said.contains(words) => wrong("it says nothing of it"),
        Without(words) if !said.contains("runs without xl") || !said.contains(words) => wrong("no warning"),
        Without(_) if !refused || !strict.said().contains("hint: ") => wrong("--strict is none"),
        _ => Ok(()),
    }
}

/// Tries all of them, as many at once as there are processors.
fn try_all(base: &str, but: &[(&str, Then)]) {
    let w = World::new();
    let refuse = crate::places::refuse(&w);
    let rows = CALLS.iter().flat_map(|c| [(c, libc::EPERM), (c, libc::ENOSYS)]);
    let rows = Mutex::new(rows);
    let wrong = Mutex::new(Vec::new());
    let next = || rows.lock().expect("rows").next();
    std::thread::scope(|s| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            s.spawn(|| {
                while let Some(((name, number, then), errno)) = next() {
                    let then = but.iter().find(|(n, _)| n == name).map_or(*then, |(_, t)| *t);
                    if let Err(why) = try_one(&format!("{refuse} {base} {number}:{errno} --"), then) {
                        wrong.lock().expect("wrong").push(format!("{name} with {errno}, {then:?}: {why}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("wrong");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 2 * CALLS.len(), wrong.join("\n"));
}

#[test]
fn calls_of_the_gate() {
    try_all("bpf", &[]);
}

#[test]
fn calls_of_the_stepper() {
    try_all("listener", &[]);
}

#[test]
fn calls_of_both() {
    let w = World::new();
    let refuse = crate::places::refuse(&w);
    for errno in [libc::EPERM, libc::ENOSYS] {
        let one = |base: &str, call, then| {
            try_one(&format!("{refuse} {base} {call}:{errno} --"), then).unwrap_or_else(|e| panic!("{base} {call} {errno}: {e}"));
        };
        one("bpf", libc::SYS_ptrace, Says("ptrace is forbidden"));
        one("listener", libc::SYS_ptrace, Without("cannot trace the command"));
        one("listener", libc::SYS_signalfd4, Without("cannot trace the command"));
        one("listener", libc::SYS_dup3, Says("its text could not be captured"));
        one("bpf", libc::SYS_signalfd4, Hits);
        // With all that the machine offers.
        one("nothing", libc::SYS_process_vm_readv, Hits);
        one("nothing", libc::SYS_pidfd_open, Without("pidfd_open"));
        one("nothing", libc::SYS_bpf, Hits);
    }
    // The old answer of container runtimes to what they do not know; the new one is no hindrance.
    for base in ["bpf", "listener"] {
        let one = |errno, then| {
            try_one(&format!("{refuse} {base} {}:{errno} --", libc::SYS_clone3), then).unwrap_or_else(|e| panic!("clone3 {errno}: {e}"));
        };
        one(libc::EPERM, Without("clone3"));
        one(libc::ENOSYS, Hits);
    }
}

#[test]
fn without_proc() {
    if !rustix::process::geteuid().is_root() {
        return skip("mounts need root");
    }
    // Not mounted, and that of another process namespace, in which our numbers are others'.
    for (how, hidden) in [("--mount", "mount -t tmpfs none /proc"), ("--pid --fork --mount", ":")] {
        let before = format!("unshare {how} sh -c '{hidden}; exec \"$@\"' sh");
        try_one(&before, Without("`/proc` does not show this process")).unwrap_or_else(|e| panic!("{how}: {e}"));
    }
}
