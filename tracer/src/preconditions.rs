//! Tries, before a build starts, everything without which `xl` could not observe its commands.
//!
//! Each needed call is made once: on this process, and on the launched one, which is a fork of it that waits. Profiles
//! of containers refuse calls by number; `/proc` may not be mounted, or show another process namespace. If `xl` went on
//! there, it would see no command and say nothing, or take for absent what is there. So it tries instead of asking for
//! versions of the kernel or names of profiles.
//!
//! A call without which only one pip could not be cached, or not be a hit, is not tried here: the code that makes it
//! says so of that pip.

use crate::request::Credentials;
use crate::sys::memory;
use crate::task_files;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// An ability without which no run can be observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Need {
    #[error("`/proc` does not show this process")]
    Proc,
    #[error("no thread can be started (`clone3`)")]
    Threads,
    #[error("files cannot be looked at (`statx`, `open`, `fstat`, `readlink`, `getdents64`)")]
    Files,
    #[error("nothing can be waited for (`epoll`, `eventfd2`, `pipe2`, `poll`)")]
    Waiting,
    #[error("processes cannot be held on to (`pidfd_open`)")]
    Handles,
    #[error("the memory of a command cannot be read (`process_vm_readv`, `/proc/PID/mem`)")]
    Memory,
    #[error("`/proc` does not show what a command has inherited")]
    Task,
}

/// The ability that is lacking, and what the kernel said.
#[derive(Debug, thiserror::Error)]
#[error("{need}: {source}")]
pub struct Lacking {
    pub need: Need,
    source: io::Error,
}

trait For<T> {
    fn needed(self, need: Need) -> Result<T, Lacking>;
}

impl<T, E: Into<io::Error>> For<T> for Result<T, E> {
    fn needed(self, need: Need) -> Result<T, Lacking> {
        self.map_err(|e| Lacking { need, source: e.into() })
    }
}

/// An error for what `/proc` does not show as expected: the call itself succeeded, or its error is lost.
fn shown(is_so: bool) -> io::Result<()> {
    if is_so { Ok(()) } else { Err(io::Error::other("it shows something else, or nothing")) }
}

/// Can this process do what it needs by itself? Must be called while it has one thread.
pub fn of_ourselves() -> Result<(), Lacking> {
    let me = match rustix::fs::readlink("/proc/self", Vec::new()) {
        Err(e @ rustix::io::Errno::NOENT) => Err(e).needed(Need::Proc)?,
        other => other.needed(Need::Files)?,
    };
    // The `/proc` of another process namespace shows others under our numbers.
    shown(me.as_bytes() == std::process::id().to_string().as_bytes()).needed(Need::Proc)?;
    let thread = std::thread::Builder::new().spawn(|| ()).needed(Need::Threads)?;
    thread.join().map_err(|_| io::Error::other("it has panicked")).needed(Need::Threads)?;
    files().needed(Need::Files)?;
    let (reading, _writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).needed(Need::Waiting)?;
    wait_for(reading.as_fd()).needed(Need::Waiting)
}

/// Makes the calls that look at a program and its inputs, on our own program.
fn files() -> rustix::io::Result<()> {
    const PROGRAM: &str = "/proc/self/exe";
    rustix::fs::statx(CWD, "/", AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?;
    let program = rustix::fs::open(PROGRAM, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::fstat(&program)?;
    rustix::fs::stat(PROGRAM)?;
    rustix::io::pread(&program, &mut [0u8; 4], 0)?;
    let root = rustix::fs::open("/proc/self", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::Dir::new(root)?.next().transpose().map(drop)
}

/// Waits for a descriptor in each way that the crate uses, with a timeout of zero.
fn wait_for(fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    drop(eventfd(0, EventfdFlags::CLOEXEC)?);
    poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&now))?;
    let all = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&all, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    let mut events = Vec::with_capacity(1);
    epoll::wait(&all, rustix::buffer::spare_capacity(&mut events), Some(&now)).map(drop)
}

/// What is in the memory of every fork of ours, at one address.
static MARK: [u8; 16] = *b"xl can read this";

/// Can `pid` be looked into, a fork of this process, made by this thread, that has not executed anything yet?
pub(crate) fn of_fork(pid: i32) -> Result<(), Lacking> {
    let me = std::process::id().cast_signed();
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let handle = Pid::from_raw(pid)
        .ok_or_else(gone)
        .and_then(|p| Ok(pidfd_open(p, PidfdFlags::empty())?))
        .needed(Need::Handles)?;
    wait_for(handle.as_fd()).needed(Need::Handles)?;
    let mut mark = [0; MARK.len()];
    let read = memory::read(pid, MARK.as_ptr() as u64, &mut mark).needed(Need::Memory)?;
    shown(read == MARK.len() && mark == MARK).needed(Need::Memory)?;
    let is_child = task_files::stat(pid).is_some_and(|s| s.parent == me) && task_files::thread_group(pid) == Some(pid);
    let is_listed = task_files::children_of_thread(me, me).contains(&pid) && task_files::threads(pid) == 1;
    let is_alike = task_files::view(pid).is_some_and(|v| Some(v) == task_files::view(me))
        && task_files::image(pid) == task_files::image(me);
    let is_told = Credentials::of(pid).is_some()
        && task_files::inherited_fds(pid).is_some()
        && task_files::cwd(pid) == task_files::cwd(me);
    shown(is_child && is_listed && is_alike && is_told).needed(Need::Task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_works_is_found_to_work() {
        of_ourselves().expect("this machine runs the tests");
        // A child that is no fork of ours has other memory.
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat");
        let lacking = of_fork(child.id().cast_signed()).expect_err("another program");
        assert_eq!(lacking.need, Need::Memory, "{lacking}");
        child.kill().and_then(|()| child.wait()).expect("its end");
    }
}
