//! What `/proc/PID` says about a task (proc(5)). `None` always means: it is gone, or may not be looked at.

use std::os::fd::{BorrowedFd, OwnedFd};

/// The fields of `/proc/PID/stat` that matter here.
pub(crate) struct Stat {
    pub state: u8,
    pub parent: i32,
    /// Clock ticks after boot.
    pub start: u64,
}

fn read(path: &str) -> Option<Vec<u8>> {
    std::fs::read(path).ok()
}

fn number<T: std::str::FromStr>(b: &[u8]) -> Option<T> {
    std::str::from_utf8(b).ok()?.trim().parse().ok()
}

/// State, parent and start time.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    let b = read(&format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; the last `)` ends it.
    let after = b.iter().rposition(|c| *c == b')')? + 2;
    let f: Vec<&[u8]> = b[after..].split(|c| *c == b' ').collect();
    Some(Stat { state: *f.first()?.first()?, parent: number(f.get(1)?)?, start: number(f.get(19)?)? })
}

/// Process id of the parent, now.
pub fn parent_of(pid: i32) -> Option<i32> {
    stat(pid).map(|s| s.parent)
}

/// Is this process a descendant of `ancestor`?
pub fn descends_from(ancestor: i32) -> bool {
    let mut above = parent_of(std::process::id().cast_signed());
    while let Some(pid) = above.filter(|p| *p > 0) {
        if pid == ancestor {
            return true;
        }
        above = parent_of(pid);
    }
    false
}

/// Is there a filter or a tracer on this process?
pub fn may_be_supervised() -> bool {
    let me = std::process::id().cast_signed();
    status_field(me, b"Seccomp:") == Some(2) || status_field(me, b"TracerPid:").is_some_and(|pid| pid != 0)
}

/// When a process started, in clock ticks after boot, and its parent's id.
pub fn started(pid: i32) -> Option<(u64, i32)> {
    stat(pid).map(|s| (s.start, s.parent))
}

/// Name of the program that a process runs, at most 15 bytes of it (proc(5), `comm`).
pub fn program_name(pid: i32) -> Option<Vec<u8>> {
    let mut name = read(&format!("/proc/{pid}/comm"))?;
    name.pop();
    Some(name)
}

/// The file that a process executes.
pub(crate) fn executable(pid: i32) -> Option<Vec<u8>> {
    rustix::fs::readlink(format!("/proc/{pid}/exe"), Vec::new()).ok().map(std::ffi::CString::into_bytes)
}

/// The id of the process that thread `tid` belongs to.
pub(crate) fn thread_group(tid: i32) -> Option<i32> {
    status_field(tid, b"Tgid:")
}

fn status_field(tid: i32, name: &[u8]) -> Option<i32> {
    let b = read(&format!("/proc/{tid}/status"))?;
    b.split(|c| *c == b'\n').find_map(|l| number(l.strip_prefix(name)?))
}

/// Children that have not been reaped, over all threads.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let threads = threads.flatten().filter_map(|t| number(t.file_name().as_encoded_bytes()));
    threads.flat_map(|tid| children_of_thread(pid, tid)).collect()
}

/// Those of one thread.
pub(crate) fn children_of_thread(pid: i32, tid: i32) -> Vec<i32> {
    let all = read(&format!("/proc/{pid}/task/{tid}/children")).unwrap_or_default();
    all.split(|c| *c == b' ').filter_map(number::<i32>).collect()
}

/// All processes below this one, with their start times, but for these and what is below them.
pub(crate) fn descendants(pid: i32, but: &[i32]) -> Vec<(i32, u64)> {
    let own = children(pid).into_iter().filter(|c| !but.contains(c));
    own.flat_map(|c| descendants(c, but).into_iter().chain(stat(c).map(|s| (c, s.start)))).collect()
}

/// Has this process the terminal behind `fd` for itself and its children? Not in the background, where the shell has
/// it, nor if somebody who was started beside it is in its group (`… | tee log`, another command of `make -j`). Those
/// that wait for it do not count.
pub fn has_terminal_alone(fd: BorrowedFd<'_>) -> bool {
    use rustix::process::{Pid, getpgid, getpgrp, getsid};
    let group = getpgrp();
    if rustix::termios::tcgetpgrp(fd) != Ok(group) {
        return false;
    }
    let in_group = |pid: &i32| Pid::from_raw(*pid).is_some_and(|p| getpgid(Some(p)) == Ok(group));
    let session = |pid: i32| getsid(Pid::from_raw(pid)).ok();
    let (mut pid, own) = (std::process::id().cast_signed(), getsid(None).ok());
    while let Some(parent) = parent_of(pid).filter(|p| *p > 0) {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{parent}/task")) else { break };
        let threads = threads.flatten().filter_map(|t| number::<i32>(t.file_name().as_encoded_bytes()));
        if threads.flat_map(|t| children_of_thread(parent, t)).any(|child| child != pid && in_group(&child)) {
            return false;
        }
        if session(parent) != own {
            break;
        }
        pid = parent;
    }
    true
}

/// How many threads a process has.
pub(crate) fn threads(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Working directory; `None` also when it was deleted.
pub(crate) fn cwd(pid: i32) -> Option<Vec<u8>> {
    let link = rustix::fs::readlink(format!("/proc/{pid}/cwd"), Vec::new()).ok()?.into_bytes();
    live(link, || rustix::fs::stat(format!("/proc/{pid}/cwd")).ok())
}

/// Path behind a descriptor, as the kernel shows it (`pipe:[1]`, `/a/b`, `/a/b (deleted)`).
pub(crate) fn fd_link(pid: i32, fd: i32) -> Option<Vec<u8>> {
    Some(rustix::fs::readlink(format!("/proc/{pid}/fd/{fd}"), Vec::new()).ok()?.into_bytes())
}

/// Path behind a descriptor of a file that still has its name.
pub(crate) fn fd_path(pid: i32, fd: i32) -> Option<Vec<u8>> {
    let link = fd_link(pid, fd)?;
    if link.first() != Some(&b'/') {
        return None;
    }
    live(link, || rustix::fs::stat(format!("/proc/{pid}/fd/{fd}")).ok())
}

/// Is the path behind a descriptor longer than the kernel can tell?
pub(crate) fn is_too_deep(pid: i32, fd: i32) -> bool {
    rustix::fs::readlink(format!("/proc/{pid}/fd/{fd}"), Vec::new()).is_err_and(|e| e == rustix::io::Errno::NAMETOOLONG)
}

/// A name that ends in ` (deleted)` is either gone, or really called that.
fn live(link: Vec<u8>, stat: impl FnOnce() -> Option<rustix::fs::Stat>) -> Option<Vec<u8>> {
    if !link.ends_with(b" (deleted)") {
        return Some(link);
    }
    let there = rustix::fs::lstat(link.as_slice()).ok()?;
    let held = stat()?;
    (there.st_ino == held.st_ino && there.st_dev == held.st_dev).then_some(link)
}

/// Open descriptors above 2, with their close-on-exec flag already applied: those that an `execve` leaves open.
pub(crate) fn inherited_fds(pid: i32) -> Option<Vec<i32>> {
    let mut out = Vec::new();
    for e in std::fs::read_dir(format!("/proc/{pid}/fd")).ok()? {
        let Some(fd) = number::<i32>(e.ok()?.file_name().as_encoded_bytes()) else { continue };
        if fd > 2 && fd_flags(pid, fd).is_none_or(|f| f & CLOEXEC == 0) {
            out.push(fd);
        }
    }
    out.sort_unstable();
    Some(out)
}

const CLOEXEC: u32 = 0o2_000_000;

/// All open descriptors.
pub(crate) fn fds(pid: i32) -> Vec<i32> {
    let Ok(all) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    all.flatten().filter_map(|e| number::<i32>(e.file_name().as_encoded_bytes())).collect()
}

/// Would an `execve` of the task close a pipe or a socket?
pub(crate) fn exec_closes_a_pipe(pid: i32) -> bool {
    let is_open_end = |fd| {
        let s = rustix::fs::stat(format!("/proc/{pid}/fd/{fd}"));
        s.is_ok_and(|s| {
            matches!(
                rustix::fs::FileType::from_raw_mode(s.st_mode),
                rustix::fs::FileType::Fifo | rustix::fs::FileType::Socket
            )
        })
    };
    fds(pid).into_iter().any(|fd| fd_flags(pid, fd).is_none_or(|f| f & CLOEXEC != 0) && is_open_end(fd))
}

/// Would an `execve` close it?
pub(crate) fn closes_on_exec(pid: i32, fd: i32) -> bool {
    fd_flags(pid, fd).is_some_and(|f| f & CLOEXEC != 0)
}

/// Device number of the terminal, or other character device, behind a descriptor.
pub(crate) fn device(pid: i32, fd: i32) -> Option<u64> {
    let s = rustix::fs::stat(format!("/proc/{pid}/fd/{fd}")).ok()?;
    (rustix::fs::FileType::from_raw_mode(s.st_mode) == rustix::fs::FileType::CharacterDevice).then_some(s.st_rdev)
}

/// Does the signal end the task: is it neither ignored, blocked nor handled?
pub(crate) fn dies_of(tid: i32, signal: i32) -> bool {
    let Some(b) = read(&format!("/proc/{tid}/status")) else { return false };
    let set = |name: &[u8]| {
        let line = b.split(|c| *c == b'\n').find_map(|l| l.strip_prefix(name))?;
        u64::from_str_radix(std::str::from_utf8(line).ok()?.trim(), 16).ok()
    };
    [&b"SigBlk:"[..], b"SigIgn:", b"SigCgt:"]
        .into_iter()
        .all(|name| set(name).is_some_and(|s| s >> (signal - 1) & 1 == 0))
}

/// Is there a regular file behind the descriptor?
pub(crate) fn is_regular(pid: i32, fd: i32) -> bool {
    std::fs::metadata(format!("/proc/{pid}/fd/{fd}")).is_ok_and(|m| m.is_file())
}

/// This process's own descriptors above 2, as many as can be watched, with the kernel's names.
pub fn own_inherited() -> Vec<(i32, Vec<u8>)> {
    let me = std::process::id().cast_signed();
    let all = inherited_fds(me).unwrap_or_default();
    // Regular files are looked at pip by pip.
    let others = all.into_iter().filter(|fd| !is_regular(me, *fd));
    others.filter_map(|fd| Some((fd, fd_link(me, fd)?))).take(crate::filter::MOST_WATCHED).collect()
}

/// Has the process put its own output aside, to lend descriptor 1 or 2 to a command? Shells keep it from 10 on, closed
/// on exec (POSIX, "Redirection"): something to write to that is not this file.
pub(crate) fn has_put_aside(pid: i32, file: (u64, u64)) -> bool {
    let mut kept = fds(pid).into_iter().filter(|fd| *fd >= 10);
    let is_other = |fd| rustix::fs::stat(format!("/proc/{pid}/fd/{fd}")).is_ok_and(|s| (s.st_dev, s.st_ino) != file);
    kept.any(|fd| fd_flags(pid, fd).is_some_and(|f| f & CLOEXEC != 0 && f & 3 != 0) && is_other(fd))
}

/// Has the process the file of this name open, or (`writing`) open for writing?
pub(crate) fn has_open(pid: i32, path: &[u8], writing: bool) -> bool {
    fds(pid).into_iter().any(|fd| {
        fd_link(pid, fd).is_some_and(|l| l == path) && (!writing || fd_flags(pid, fd).is_none_or(|f| f & 3 != 0))
    })
}

/// `flags` of `/proc/PID/fdinfo/FD`: open flags, and `O_CLOEXEC` (octal 2000000) for the descriptor.
pub(crate) fn fd_flags(pid: i32, fd: i32) -> Option<u32> {
    let b = read(&format!("/proc/{pid}/fdinfo/{fd}"))?;
    let line = b.split(|c| *c == b'\n').find_map(|l| l.strip_prefix(b"flags:"))?;
    u32::from_str_radix(std::str::from_utf8(line).ok()?.trim(), 8).ok()
}

/// What the task's paths start from: device and inode of its root directory, and its mount namespace.
pub(crate) fn view(pid: i32) -> Option<(u64, u64, Vec<u8>)> {
    let root = rustix::fs::stat(format!("/proc/{pid}/root/")).ok()?;
    let namespace = rustix::fs::readlink(format!("/proc/{pid}/ns/mnt"), Vec::new()).ok()?;
    Some((root.st_dev, root.st_ino, namespace.into_bytes()))
}

/// Device and inode of the running program image.
pub(crate) fn image(pid: i32) -> Option<(u64, u64)> {
    let s = rustix::fs::stat(format!("/proc/{pid}/exe")).ok()?;
    Some((s.st_dev, s.st_ino))
}

/// A descriptor of ours for what the task has open as `fd`, opened anew (the fallback where
/// `pidfd_getfd` is refused). Works for pipes, terminals and devices.
pub(crate) fn reopen(pid: i32, fd: i32) -> Option<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    // A regular file opened anew has an offset of its own: that would not be the same thing.
    let access = if fd == 0 { OFlags::RDONLY | OFlags::NONBLOCK } else { OFlags::WRONLY };
    (!is_regular(pid, fd))
        .then(|| {
            rustix::fs::open(format!("/proc/{pid}/fd/{fd}"), access | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
                .ok()
        })
        .flatten()
}
