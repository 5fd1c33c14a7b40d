//! `/proc`, `/sys`, `/dev`: which paths say nothing, which are facts, and which make a result unrepeatable.

use cache::Fact;

/// What an access to such a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// An ordinary path.
    No,
    /// It says nothing that a result should depend on.
    Ignore,
    Fact(Fact),
    /// What was read cannot be had again.
    Volatile(&'static str),
}

/// Files of `/proc/self` (or `/proc/PID`) that say nothing about inputs.
const OWN_PROC: &[&str] = &[
    "exe",
    "fd",
    "fdinfo",
    "maps",
    "status",
    "stat",
    "statm",
    "cgroup",
    "mountinfo",
    "mounts",
    "task",
    "auxv",
    "cmdline",
    "comm",
    "environ",
    "oom_score_adj",
    "root",
    "cwd",
    "ns",
    "uid_map",
    "gid_map",
    "setgroups",
    "attr",
    "loginuid",
    "coredump_filter",
    "smaps",
];

const IGNORED: &[&str] = &[
    "/proc/filesystems",
    "/proc/cgroups",
    "/proc/mounts",
    "/proc/meminfo",
    "/proc/loadavg",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/kernel/ngroups_max",
    "/proc/sys/kernel/cap_last_cap",
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/fs/pipe-max-size",
    "/proc/sys/vm/mmap_min_addr",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/sys/kernel/mm",
    "/sys/fs/selinux",
    "/sys/fs/cgroup",
    "/sys/kernel/security",
    "/dev",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/stderr",
    "/dev/fd",
];

const CPU_COUNT: &[&str] = &["/proc/stat", "/sys/devices/system/cpu", "/sys/devices/system/node"];

fn below(path: &[u8], dir: &str) -> bool {
    path.strip_prefix(dir.as_bytes()).is_some_and(|r| matches!(r.first(), None | Some(b'/')))
}

/// The process that a path below `/proc` is about, if it is named by its number.
pub fn process(path: &[u8]) -> Option<i32> {
    let who = path.strip_prefix(b"/proc/")?.split(|b| *b == b'/').next()?;
    std::str::from_utf8(who).ok()?.parse().ok()
}

/// The slots of a make: from version 4.4 on they may be in a FIFO (`--jobserver-style=fifo`), which is nobody's input.
pub fn is_job_server(path: &[u8]) -> bool {
    crate::tools::base_name(path).starts_with(b"GMfifo")
}

/// Classifies `path`; `reads` says whether its content is wanted or only its existence.
pub fn classify(path: &[u8], reads: bool) -> Special {
    if !(below(path, "/proc") || below(path, "/sys") || below(path, "/dev")) || below(path, "/dev/shm") {
        return Special::No;
    }
    if let Some(rest) = path.strip_prefix(b"/proc/") {
        let mut parts = rest.splitn(2, |b| *b == b'/');
        let who = parts.next().unwrap_or_default();
        if who == b"self" || who == b"thread-self" || who.iter().all(u8::is_ascii_digit) {
            let mut inner = parts.next().unwrap_or_default().splitn(2, |b| *b == b'/');
            let what = inner.next().unwrap_or_default();
            let below = inner.next().unwrap_or_default();
            if matches!(what, b"cwd" | b"root") && !below.is_empty() || what == b"fd" && below.contains(&b'/') {
                return Special::Volatile("it looks through another process's directory");
            }
            if what == b"task"
                && [&b"/cwd/"[..], b"/root/", b"/fd/"].iter().any(|d| bstr::ByteSlice::contains_str(below, d))
            {
                return Special::Volatile("it looks through a directory of a task");
            }
            if what == b"limits" && reads {
                return Special::Fact(Fact::Limits);
            }
            let known = what.is_empty() || OWN_PROC.iter().any(|k| k.as_bytes() == what);
            return if known || !reads { Special::Ignore } else { Special::Volatile("it reads its own /proc entry") };
        }
    }
    match path {
        b"/proc/sys/kernel/hostname" => return Special::Fact(Fact::Host),
        b"/proc/sys/kernel/osrelease" => return Special::Fact(Fact::Release),
        b"/proc/sys/kernel/ostype" => return Special::Fact(Fact::System),
        b"/proc/sys/kernel/version" => return Special::Fact(Fact::KernelVersion),
        _ => {}
    }
    if path == b"/proc" && reads {
        return Special::Volatile("it looks at other processes");
    }
    if path == b"/proc/cpuinfo" {
        return Special::Fact(Fact::Processor);
    }
    if CPU_COUNT.iter().any(|c| below(path, c)) {
        return Special::Fact(Fact::Cpus);
    }
    if matches!(path, b"/dev/random" | b"/dev/urandom") {
        return if reads { Special::Volatile("it reads random bytes") } else { Special::Ignore };
    }
    if matches!(path, b"/dev/tty" | b"/dev/console") {
        return if reads { Special::Volatile("it uses the terminal by its name") } else { Special::Ignore };
    }
    // Whether there is such a device may be the question.
    if !reads && below(path, "/dev") && !IGNORED.iter().any(|i| path == i.as_bytes() || *i != "/dev" && below(path, i))
    {
        return Special::No;
    }
    if !reads || IGNORED.iter().any(|i| path == i.as_bytes() || (*i != "/dev" && below(path, i))) {
        return Special::Ignore;
    }
    if below(path, "/dev") {
        Special::Volatile("it reads a device")
    } else {
        Special::Volatile("it reads kernel state under /proc or /sys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_process() {
        let of = |p: &str| process(p.as_bytes());
        assert_eq!(
            [of("/proc/12"), of("/proc/12/fd/3"), of("/proc/self/fd"), of("/proc/meminfo"), of("/p")],
            [Some(12), Some(12), None, None, None]
        );
    }

    #[test]
    fn the_table() {
        let cases: &[(&str, bool, Special)] = &[
            ("/usr/include/stdio.h", true, Special::No),
            ("/process/x", true, Special::No),
            ("/dev/shm/file", true, Special::No),
            ("/proc/self/maps", true, Special::Ignore),
            ("/proc/123/fd/4", true, Special::Ignore),
            ("/proc/123/cwd", false, Special::Ignore),
            ("/proc/123/cwd/f", false, Special::Volatile("it looks through another process's directory")),
            ("/proc/123/limits", true, Special::Fact(Fact::Limits)),
            ("/proc/sys/kernel/hostname", true, Special::Fact(Fact::Host)),
            ("/proc/cpuinfo", true, Special::Fact(Fact::Processor)),
            ("/sys/devices/system/cpu/online", true, Special::Fact(Fact::Cpus)),
            ("/dev/null", true, Special::Ignore),
            ("/dev/urandom", true, Special::Volatile("it reads random bytes")),
            ("/proc/net/tcp", true, Special::Volatile("it reads kernel state under /proc or /sys")),
            ("/dev/sda", true, Special::Volatile("it reads a device")),
            ("/dev/sda", false, Special::No),
            ("/dev/pts/3", false, Special::Ignore),
            ("/proc/self/fd/3/f", false, Special::Volatile("it looks through another process's directory")),
        ];
        for (path, reads, want) in cases {
            assert_eq!(classify(path.as_bytes(), *reads), *want, "{path}");
        }
    }
}
