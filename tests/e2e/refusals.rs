//! Every call that `xl` itself makes, refused by a seccomp profile as containers have them, with EPERM and with ENOSYS;
//! and no `/proc`.
//!
//! The build ends as it does without `xl` under the same profile, and whatever `xl` cannot do there it says: never
//! silence, and with `--strict` an error. Not here: what no program lives without. The dynamic loader needs `mprotect`,
//! `newfstatat`, `pread64` and `close`; Rust's runtime `poll`, `futex` and `rt_sigaction`; a shell `wait4`; RocksDB
//! ends the process without `munmap`, and where `sync_file_range` fails with EPERM.

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

type Calls = &'static [(&'static str, libc::c_long, Then)];

#[rustfmt::skip]
const PROCESSES: Calls = calls![
    // What processes are launched, held and looked into with.
    SYS_process_vm_readv Hits, SYS_process_vm_writev Hits, SYS_pidfd_open Without("pidfd_open"), SYS_kcmp Hits,
    SYS_pidfd_getfd Says("cannot be taken \
        over"), SYS_ioctl Hits, SYS_seccomp Hits, SYS_bpf Hits, SYS_prctl Hits, SYS_kill Hits,
    SYS_tkill Hits, SYS_tgkill Hits, SYS_socketpair Without("pair of \
        sockets"), SYS_sendmsg Hits, SYS_recvmsg Hits, SYS_sendto Hits,
    SYS_recvfrom Hits, SYS_clone Without("cannot trace the \
        command"), SYS_setsid Hits, SYS_close_range Hits, SYS_waitid Hits, SYS_capget Hits,
    SYS_capset Hits, SYS_pause Hits, SYS_sched_getaffinity Hits, SYS_getrandom Hits, SYS_sigaltstack Hits,
    // What is waited with.
    SYS_epoll_create1 Without("epoll"), SYS_epoll_ctl Without("epoll"), SYS_epoll_pwait Without("epoll"), SYS_eventfd2 Without("eventfd2"),
    SYS_pipe2 Without("pipe2"), SYS_ppoll Without("poll"), SYS_inotify_init1 Hits, SYS_inotify_add_watch Hits,
];

#[rustfmt::skip]
const FILES: Calls = calls![
    // What files are looked at with.
    SYS_statx Without("statx"), SYS_open Without("open"), SYS_fstat Without("fstat"), SYS_getdents64 Without("getdents64"),
    SYS_readlinkat Without("readlink"), SYS_openat2 Hits, SYS_llistxattr Hits, SYS_lgetxattr Hits, SYS_fadvise64 Hits,
    // What results are kept and put back with.
    SYS_access Says(CLOSED), SYS_flock Says("cannot \
        lock"), SYS_mkdir Says(CLOSED), SYS_statfs Says(CLOSED), SYS_fstatfs Says(CLOSED),
    SYS_unlink Says(CLOSED), SYS_linkat Says(LOST), SYS_fchmod Says(LOST), SYS_utimensat Says(LOST), SYS_copy_file_range Hits,
    SYS_memfd_create Hits, SYS_fallocate Hits, SYS_ftruncate Hits, SYS_pwrite64 Hits, SYS_madvise Hits, SYS_mremap Hits,
];

/// A tiny build: text, several outputs, an exit code of its own.
const BUILD: &str = "cat in > out\nsh -c 'mkdir -p d; sort in > d/sorted; ln -sf out link; cp out d/copy; chmod 755 \
    d/copy; echo text'\nls d > list\nexit 3\n";

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
    let xl = |options: &str| build(&w, &format!("{refuse} {XL} run {options} --"));
    // Without `xl` there is nothing to run twice.
    let times = if matches!(then, Without(_)) { 1 } else { 2 };
    let runs: Vec<Ran> = (0..times).map(|_| xl("")).collect();
    let strict = if times == 1 { Some(xl("--strict")) } else { None };
    let said: String = runs.iter().chain(&strict).map(Ran::said).collect();
    let wrong = |what: &str| {
        Err(format!("{what}: {:?}\n{said}", runs.iter().chain(&strict).map(|r| r.out.status).collect::<Vec<_>>()))
    };
    if plain.out.status.code() != Some(3) {
        return wrong("the profile hinders the build itself");
    }
    if runs.iter().any(|r| r.result() != plain.result()) {
        return wrong("the build does not end as it does without xl");
    }
    let hits = runs.last().is_some_and(|r| r.said().contains(": 3 hits, 0 ran"));
    let refused = |s: &Ran| s.out.status.code() == Some(77) && s.out.stdout.is_empty() && s.said().contains("hint: ");
    match then {
        Hits if !hits => wrong("not everything hits"),
        Says(words) if hits || !said.contains(words) => wrong("it says nothing of it"),
        Without(words) if !said.contains("runs without xl") || !said.contains(words) => wrong("no warning"),
        Without(_) if !strict.as_ref().is_some_and(refused) => wrong("--strict is none"),
        _ => Ok(()),
    }
}

/// Tries all of them, as many at once as there are processors.
fn try_all(base: &str, calls: &[Calls], but: &[(&str, Then)]) {
    let w = World::new();
    let refuse = crate::places::refuse(&w);
    let rows = Mutex::new(calls.iter().copied().flatten().flat_map(|c| [(c, libc::EPERM), (c, libc::ENOSYS)]));
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
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn calls_of_the_gate() {
    try_all("bpf", &[PROCESSES, FILES], &[]);
}

#[test]
fn calls_of_the_stepper() {
    try_all("listener", &[PROCESSES], &[]);
}

#[test]
fn calls_of_both() {
    let w = World::new();
    let refuse = crate::places::refuse(&w);
    for errno in [libc::EPERM, libc::ENOSYS] {
        let one = |base: &str, call, then| {
            try_one(&format!("{refuse} {base} {call}:{errno} --"), then)
                .unwrap_or_else(|e| panic!("{base} {call} {errno}: {e}"));
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
            try_one(&format!("{refuse} {base} {}:{errno} --", libc::SYS_clone3), then)
                .unwrap_or_else(|e| panic!("clone3 {errno}: {e}"));
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

/// The doctor tries, and says at which step it goes wrong and what to do.
#[test]
fn the_doctor_proves() {
    let mut w = World::new();
    let refuse = crate::places::refuse(&w);
    w.env.insert("XDG_CACHE_HOME".into(), w.path("../user").display().to_string());
    let doctor = |what: &str| {
        let o = w.sh(&format!("{refuse} {what} -- {XL} doctor"));
        (o.status.code(), String::from_utf8_lossy(&o.stdout).into_owned() + &String::from_utf8_lossy(&o.stderr))
    };
    let (code, said) = doctor("nothing");
    let tried = said.matches("a tiny build ran, was known, and ran again with another input").count();
    assert!(code == Some(0) && tried >= 3 && said.contains("`--backend auto`       takes "), "{said}");
    for (what, step, remedy) in [
        (
            format!("{}:1", libc::SYS_pidfd_open),
            "the first run: error: no process can be supervised",
            "allows `pidfd_open`",
        ),
        (format!("{}:38", libc::SYS_statx), "files cannot be looked at (`statx`", "newer container runtime"),
        (format!("{}:1", libc::SYS_clone3), "no thread can be started", "answers `clone3` with ENOSYS"),
        ("ptrace".into(), "the first run: error: ptrace is forbidden here", "--cap-add SYS_PTRACE"),
        ("getfd".into(), "the first run: of 3 commands it saw 3, and could store 2", "--cap-add SYS_PTRACE"),
        (format!("{}:1", libc::SYS_linkat), "the second run, in which all is known: ", "could not be restored"),
    ] {
        let (code, said) = doctor(&what);
        assert!(
            code == Some(1) && said.contains("FAIL  ") && said.contains(step) && said.contains(remedy),
            "{what}: {said}"
        );
    }
    // One way is closed, another is open: that one is taken.
    let (code, said) = doctor("listener");
    assert!(code == Some(1) && said.contains("takes ptrace: a tiny build ran"), "{said}");
    assert!(said.contains("FAIL  backend `seccomp`") && said.contains("cannot install a seccomp listener"), "{said}");
    // Nothing is left behind.
    assert_eq!(
        std::fs::read_dir(w.cache())
            .expect("a cache")
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().starts_with("doctor-"))
            .count(),
        0
    );
}

/// A build of programs that nobody can look into: they run, and that is said.
#[test]
fn programs_that_cannot_be_looked_into() {
    let mut w = World::new();
    // execve of i386, as every program in a 32-bit container makes it; its arguments lie below four GiB.
    w.write(
        "old.c",
        "#define _GNU_SOURCE\n#include <string.h>\n#include <sys/mman.h>\n#include <sys/wait.h>\n#include <unistd.h>\n\
         int main(void) {\n  char *low = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);\n\
         strcpy(low, \"/bin/true\"); unsigned *argv = (unsigned *)(low + 64); argv[0] = (unsigned)(long)low;\n\
         if (!fork()) { long r; __asm__ volatile(\"int $0x80\" : \"=a\"(r) \
             : \"a\"(11), \"b\"(low), \"c\"(argv), \"d\"(0) : \"memory\"); _exit(9); }\n\
         int s; wait(&s); return WEXITSTATUS(s);\n}\n",
    );
    assert!(w.sh("gcc -o old old.c").status.success());
    if w.sh("./old").status.code() != Some(0) {
        return skip("the kernel has no 32-bit calls");
    }
    for backend in ["seccomp", "ebpf", "ptrace"] {
        w.env.insert("XL_BACKEND".into(), backend.into());
        let r = w.run(&["./old"]);
        let said = r.stderr();
        assert_eq!((r.code(), r.record["unseen"].as_u64()), (Some(0), Some(1)), "{backend}: {said}");
        assert!(
            said.contains("warning: a program was executed that could not be looked into") && said.contains("32-bit"),
            "{said}"
        );
        let o = w.xl(&["run", "--strict", "--", "./old"]).output().expect("xl");
        let said = String::from_utf8_lossy(&o.stderr);
        assert!(o.status.code() == Some(77) && said.contains("none of them could be looked into"), "{backend}: {said}");
        // Others could.
        let o = w
            .xl(&["run", "--strict", "--", "sh", "-c", "./old; cat old.c > copy; cmp copy old.c"])
            .output()
            .expect("xl");
        assert_eq!(o.status.code(), Some(0), "{backend}: {}", String::from_utf8_lossy(&o.stderr));
        // The build's own failure comes first.
        let o = w.xl(&["run", "--strict", "--", "sh", "-c", "./old; exit 5"]).output().expect("xl");
        assert_eq!(o.status.code(), Some(5), "{backend}: {}", String::from_utf8_lossy(&o.stderr));
    }
}
