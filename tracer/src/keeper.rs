//! The keeper: a small process that takes over if the supervisor dies.
//!
//! A seccomp filter cannot be taken back: once nobody holds the listener, every filtered call of the build fails
//! with ENOSYS, and captured pipes give SIGPIPE; make cannot even remove half-written targets. So a helper is
//! forked before anything starts. It holds the listener and both ends of every capture, and sleeps. When its
//! socket closes, because `xl` ended (a daemon of the build may outlive it) or was killed, it
//!
//! 1. answers the calls that were received and never answered. Their cookies count upwards; the newest one is in
//!    a page shared with the supervisor;
//! 2. answers "go on" to everything else until the filter has no users left;
//! 3. goes on forwarding what the captured commands print;
//! 4. continues those that the eBPF observer had stopped until its ring had room.

use crate::sys::mapping::SharedCounter;
use crate::sys::seccomp::Listener;
use crate::sys::{capabilities, fork, signals};
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How many of the newest cookies are answered at a takeover: more than calls can be pending.
const RECENT: u64 = 1 << 16;

/// The supervisor's handle of the keeper.
#[derive(Clone)]
pub(crate) struct Keeper {
    /// Its process.
    pub pid: i32,
    socket: Arc<OwnedFd>,
    next: Arc<AtomicU32>,
    newest: Arc<SharedCounter>,
}

impl Keeper {
    /// Forks the keeper. Must be called while the process has one thread.
    ///
    /// `journal` is removed when the build goes on without its supervisor: what its commands leave is whole then.
    pub(crate) fn start(
        listener: Option<&Listener>,
        root: i32,
        journal: Option<std::path::PathBuf>,
    ) -> std::io::Result<Self> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let newest = Arc::new(SharedCounter::new()?);
        let (root_pid, supervisor) = (root, std::process::id().cast_signed());
        let root = rustix::process::Pid::from_raw(root)
            .map(|p| rustix::process::pidfd_open(p, rustix::process::PidfdFlags::empty()));
        let root = root.and_then(Result::ok);
        let mut fds = vec![theirs.as_fd()];
        fds.extend(listener.map(Listener::fd));
        let supervisor = rustix::process::Pid::from_raw(supervisor);
        let supervisor =
            supervisor.and_then(|p| rustix::process::pidfd_open(p, rustix::process::PidfdFlags::empty()).ok());
        let build = Build { supervisor, root, root_pid };
        fds.extend([&build.root, &build.supervisor].into_iter().flatten().map(AsFd::as_fd));
        let pid = fork::child(|| {
            settle_in(&fds);
            keep(listener, &build, &theirs, &newest, journal.as_deref());
            0
        })?;
        Ok(Self { pid, socket: Arc::new(ours), next: Arc::default(), newest })
    }

    /// Notes the cookie of a received call.
    pub(crate) fn received(&self, id: u64) {
        self.newest.raise(id);
    }

    /// Hands over copies of a capture's ends; the result names it for [`Keeper::release`].
    pub(crate) fn hold(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> u32 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let fds = [from, to];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        // If this fails the capture merely loses its heir.
        let _ =
            rustix::net::sendmsg(&*self.socket, &[IoSlice::new(&id.to_ne_bytes())], &mut control, SendFlags::NOSIGNAL);
        id
    }

    /// The capture has ended.
    pub(crate) fn release(&self, id: u32) {
        let _ = rustix::net::send(&*self.socket, &id.to_ne_bytes(), SendFlags::NOSIGNAL);
    }
}

/// Whom the keeper looks after: descriptors that become readable when the process is gone.
struct Build {
    supervisor: Option<OwnedFd>,
    root: Option<OwnedFd>,
    root_pid: i32,
}

/// What makes the fork a process of its own: a session, no terminal, no text, and of its parent's descriptors only
/// `keep`.
fn settle_in(keep: &[BorrowedFd<'_>]) {
    let keep: Vec<i32> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    let _ = rustix::process::setsid();
    capabilities::drop_given();
    for s in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE] {
        signals::ignore(s);
    }
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    // close_range(2) is younger than some profiles of containers: they refuse it. What stayed open would look to others
    // as if we lived.
    let me = std::process::id().cast_signed();
    for fd in crate::task_files::fds(me).into_iter().filter(|fd| *fd > 2 && !keep.contains(fd)) {
        let _ = nix::unistd::close(fd);
    }
    let _ = rustix::thread::set_name(c"xl-keeper");
}

fn keep(
    listener: Option<&Listener>,
    build: &Build,
    socket: &OwnedFd,
    newest: &SharedCounter,
    journal: Option<&std::path::Path>,
) {
    let mut held: HashMap<u32, (OwnedFd, OwnedFd)> = HashMap::new();
    loop {
        let mut body = [0; 4];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got =
            rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut body)], &mut control, RecvFlags::CMSG_CLOEXEC);
        match got {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(m) if m.bytes == 4 => {}
            _ => break,
        }
        let id = u32::from_ne_bytes(body);
        let mut fds = control
            .drain()
            .filter_map(|m| if let RecvAncillaryMessage::ScmRights(f) = m { Some(f) } else { None })
            .flatten();
        match (fds.next(), fds.next()) {
            (Some(from), Some(to)) => drop(held.insert(id, (from, to))),
            _ => drop(held.remove(&id)),
        }
    }
    let mut relays: Vec<_> =
        held.into_values().map(|(from, to)| std::thread::spawn(move || relay(&from, &to))).collect();
    let copy = |fd: &Option<OwnedFd>| fd.as_ref().and_then(|fd| fd.try_clone().ok());
    if let (Some(supervisor), Some(root), root_pid) = (copy(&build.supervisor), copy(&build.root), build.root_pid) {
        relays.push(std::thread::spawn(move || {
            let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
            let gone =
                |fd: &OwnedFd, timeout| rustix::event::poll(&mut [PollFd::new(fd, PollFlags::IN)], timeout) != Ok(0);
            // What the supervisor had attached is detached once it is gone. Mostly the build has ended before.
            if gone(&supervisor, None) && !gone(&root, Some(&now)) {
                continue_stopped(root_pid);
            }
        }));
    }
    match listener {
        Some(l) => answer_all(l, newest.get(), journal),
        // Nobody waits for an answer: the kernel has let go of every task that we were attached to.
        None => watch(build.root.as_ref(), journal),
    }
    for r in relays {
        let _ = r.join();
    }
}

/// Continues every stopped descendant of the build's root. One that its user stopped goes on with it: whoever kills a
/// supervisor with a build on hold has lost that.
fn continue_stopped(root: i32) {
    let Ok(all) = std::fs::read_dir("/proc") else { return };
    let pids = all.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let known: HashMap<i32, crate::task_files::Stat> =
        pids.filter_map(|p| Some((p, crate::task_files::stat(p)?))).collect();
    for (pid, s) in known.iter().filter(|(_, s)| s.state == b'T') {
        let mut above = Some(s.parent);
        let mut steps = 0;
        while let Some(p) = above.filter(|p| *p != root && *pid != root && steps < 1000) {
            above = known.get(&p).map(|s| s.parent);
            steps += 1;
        }
        if *pid == root || above == Some(root) {
            signals::send(*pid, Signal::SIGCONT);
        }
    }
}

/// Lets every call go that was or will be made, until nobody is left to make any.
fn answer_all(listener: &Listener, newest: u64, journal: Option<&std::path::Path>) {
    // The ordinary end: nobody is left already. Otherwise nobody knows which calls were received and not answered, and
    // trying takes 20 ms, on a processor that the next build may want.
    if listener.is_orphaned() {
        return;
    }
    for id in newest.wrapping_sub(RECENT)..=newest.wrapping_add(64) {
        listener.proceed(id);
    }
    // A kill of the whole group reaches us first or last by chance. Whoever still calls after a while was left alone.
    let began = Instant::now();
    let mut journal = journal;
    while let Ok(n) = listener.wait() {
        if let Some(n) = n {
            listener.proceed(n.id);
        }
        if began.elapsed() > GROUP_KILL
            && let Some(j) = journal.take()
        {
            let _ = std::fs::remove_file(j);
        }
    }
}

/// Removes the journal if the build goes on without its supervisor.
fn watch(root: Option<&OwnedFd>, journal: Option<&std::path::Path>) {
    let (Some(root), Some(journal)) = (root, journal) else { return };
    let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: GROUP_KILL.subsec_nanos().into() };
    if rustix::event::poll(&mut [PollFd::new(root, PollFlags::IN)], Some(&timeout)) == Ok(0) {
        let _ = std::fs::remove_file(journal);
    }
}

/// How long the members of a killed group take to disappear.
const GROUP_KILL: Duration = Duration::from_millis(300);

fn relay(from: &OwnedFd, to: &OwnedFd) {
    let mut buf = vec![0; 64 << 10];
    loop {
        match rustix::io::read(from, &mut buf) {
            Ok(0) => return,
            Ok(n) => {
                if crate::writing::write_all(to.as_fd(), &buf[..n]).is_err() {
                    return;
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                let _ = rustix::event::poll(&mut [PollFd::new(from, PollFlags::IN)], None);
            }
            Err(_) => return,
        }
    }
}
