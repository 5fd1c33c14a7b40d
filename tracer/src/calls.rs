//! From a blocked system call to what it does: operands are read, each thing that it does to a path is reported, and
//! the call is let go, refused, or let go after something else.
//!
//! Runs on the receiving threads; nothing here blocks. What a call does comes from the table of [`crate::arch`] and
//! from [`crate::meaning`]; from a path on, [`crate::report`] goes on. Looks that a record of the eBPF programs tells
//! of do not come here but to [`crate::ebpf_records`].

use crate::access::{Escape, EscapeKind, Op};
use crate::arch::{self, At, Follow, Shape};
use crate::gate::{Flow, Gate};
use crate::meaning::{self, Step};
use crate::process::{Process, Scope};
use crate::report::{Caller, Named, TOO_DEEP};
use crate::sys::memory;
use crate::sys::seccomp::Notification;
use crate::task_files;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A blocked call of the table.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub note: &'a Notification,
    pub process: &'a Arc<Process>,
    /// The scope of the process.
    pub scope: Scope,
    /// The call's name, as evidence.
    pub name: &'static str,
    pub shape: Shape,
}

impl Call<'_> {
    fn tid(&self) -> i32 {
        self.note.tid.cast_signed()
    }

    fn arg(&self, i: u8) -> u64 {
        self.note.args[usize::from(i)]
    }

    /// A descriptor that is an argument: the kernel looks at the low half only.
    fn fd(&self, i: u8) -> i32 {
        self.arg(i) as i32
    }

    fn caller(&self) -> Caller<'_> {
        Caller::Blocked { tid: self.tid(), process: self.process }
    }
}

/// The directory that a path argument is relative to, and the argument.
pub(crate) type Operand = (Arc<[u8]>, Vec<u8>);

impl Gate {
    /// The directory that a path argument is relative to, and the argument. `Err` says why not.
    pub(crate) fn operand(&self, n: &Notification, p: &Process, at: At) -> Result<Option<Operand>, &'static str> {
        let tid = n.tid.cast_signed();
        let address = n.args[at.1 as usize];
        let raw = match memory::read_path(tid, address) {
            Ok(Some(raw)) => raw,
            // The kernel will refuse the call: too long, or a bad or null pointer.
            Ok(None) => return Ok(None),
            Err(e) if e.raw_os_error() == Some(libc::EFAULT) => return Ok(None),
            Err(_) if !self.transport.is_valid(n.id) => return Ok(None),
            Err(_) => return Err("its memory cannot be read"),
        };
        if raw.first() == Some(&b'/') {
            return Ok(Some((Arc::from(&b"/"[..]), raw)));
        }
        let dirfd = at.0.map_or(libc::AT_FDCWD, |i| n.args[i as usize] as i32);
        let base = if dirfd == libc::AT_FDCWD {
            self.cwd(p, tid).ok_or("its working directory is gone")?
        } else {
            match task_files::fd_path(tid, dirfd) {
                Some(d) => d.into(),
                None if task_files::is_too_deep(tid, dirfd) => return Err(TOO_DEEP),
                // Not a directory, or not open: the call fails. Or a deleted directory: nothing can be found there.
                None => return Ok(None),
            }
        };
        Ok(Some((base, raw)))
    }

    /// Reports what a call does, and answers it.
    pub(crate) fn call(self: &Arc<Self>, c: Call<'_>) {
        let id = c.note.id;
        match self.does(&c) {
            Flow::Go => self.transport.proceed(id),
            Flow::Refuse => self.transport.fail(id, libc::EACCES),
            Flow::After(job) => {
                let gate = self.clone();
                self.pool.run(Box::new(move || {
                    job();
                    gate.transport.proceed(id);
                }));
            }
        }
    }

    fn does(&self, c: &Call<'_>) -> Flow {
        let reads = self.supervisor.observes_reads(c.scope);
        let arg = |i| c.arg(i);
        if let Some(look) = meaning::look(c.shape, arg) {
            return self.step(c, look, reads);
        }
        match c.shape {
            Shape::OpenHow(at, how) => self.open_how(c, at, c.arg(how), reads),
            Shape::SetTimes(at, follow, times) => self.set_times(c, at, follow, c.arg(times)),
            Shape::SetMetaFd(meta) => self.on_fd(c, 0, Op::SetMeta(meta)),
            Shape::AttributesFd if reads => self.on_fd(c, 0, Op::Attributes),
            Shape::TruncateFd => self.on_fd(c, 0, Op::Truncate),
            Shape::List if reads => self.on_fd(c, 0, Op::List),
            Shape::List | Shape::AttributesFd => Flow::Go,
            Shape::Rename(.., flags) => {
                if flags.is_some_and(|i| meaning::has(arg(i), libc::RENAME_EXCHANGE.cast_signed())) {
                    self.escape(Some(c.scope), EscapeKind::UnknownCall, "renameat2 with RENAME_EXCHANGE");
                }
                self.all(c, meaning::changes(c.shape, arg))
            }
            Shape::Creat(_)
            | Shape::Unlink(_)
            | Shape::Make(..)
            | Shape::MakeDirectory(..)
            | Shape::SetMeta(..)
            | Shape::Truncate(_)
            | Shape::Link(..) => self.all(c, meaning::changes(c.shape, arg)),
            Shape::Chdir(at) => {
                // It changes only after this; the next call reads it again.
                let flow = match at {
                    Some(at) if reads => self.step(c, Step { at, op: Op::Chdir, follow: true }, reads),
                    _ => Flow::Go,
                };
                c.process.moving.store(c.tid(), Ordering::Release);
                c.process.cwd.lock().expect("cwd").take();
                flow
            }
            Shape::Fact(fact) => {
                if reads {
                    self.supervisor.fact(c.scope, c.process.pid, fact);
                }
                Flow::Go
            }
            Shape::Limit(resource) => {
                if reads {
                    self.supervisor.fact(c.scope, c.process.pid, meaning::limit(arg(resource)));
                }
                Flow::Go
            }
            Shape::Socket(address, length) => self.socket(c, c.arg(address), c.arg(length)),
            Shape::Message(header) => {
                // `struct msghdr` begins with the address and its length.
                let at = c.arg(header);
                match (memory::read_u64(c.tid(), at), memory::read_u64(c.tid(), at + 8)) {
                    (Ok(address), Ok(length)) if address != 0 => self.socket(c, address, length & 0xffff_ffff),
                    _ => Flow::Go,
                }
            }
            Shape::Seccomp | Shape::Signal(..) | Shape::Ids(..) | Shape::Escape(_) => {
                if reads
                    && let Shape::Signal(_, number) = c.shape
                    && meaning::may_leave_core(c.arg(number))
                {
                    // Whether who is ended by it leaves a core file, a shell says.
                    self.supervisor.fact(c.scope, c.process.pid, meaning::limit(libc::RLIMIT_CORE.into()));
                }
                if let Some((kind, detail)) = self.escapes(c) {
                    self.escape(Some(c.scope), kind, detail);
                }
                Flow::Go
            }
            Shape::Open(..) | Shape::Stat(..) | Shape::Access(..) | Shape::Attributes(..) | Shape::Readlink(_) => {
                unreachable!("a look")
            }
        }
    }

    /// What a call that names no path does that no observation can describe.
    fn escapes(&self, c: &Call<'_>) -> Option<(EscapeKind, &'static str)> {
        match c.shape {
            Shape::Seccomp => {
                const NEW_LISTENER: i32 = 1 << 3;
                meaning::has(c.arg(1), NEW_LISTENER).then_some((EscapeKind::Listener, ""))
            }
            Shape::Signal(to, _) => {
                // Other than a positive number is a group.
                let to = c.fd(to);
                let own = to > 0 && self.processes.target(to).is_some_and(|t| t.scope() == c.scope);
                (!own).then_some((EscapeKind::Signal, ""))
            }
            Shape::Ids(count, groups) => {
                let own =
                    if groups { rustix::process::getegid().as_raw() } else { rustix::process::geteuid().as_raw() };
                meaning::changes_ids(&c.note.args[..usize::from(count)], own).then_some((EscapeKind::Rights, c.name))
            }
            Shape::Escape(kind) => Some((kind, c.name)),
            _ => None,
        }
    }

    /// openat2: its flags are behind a pointer, `how`.
    fn open_how(&self, c: &Call<'_>, at: At, how: u64, reads: bool) -> Flow {
        // Of `struct open_how`, the third number; RESOLVE_IN_ROOT makes `/` another directory (openat2(2)).
        const RESOLVE: u64 = 16;
        const IN_ROOT: u64 = 0x10;
        let Ok(flags) = memory::read_u64(c.tid(), how) else {
            self.escape(Some(c.scope), EscapeKind::Unreadable, c.name);
            return Flow::Go;
        };
        if memory::read_u64(c.tid(), how.wrapping_add(RESOLVE)).is_ok_and(|r| r & IN_ROOT != 0) {
            self.escape(Some(c.scope), EscapeKind::Namespace, c.name);
        }
        let (op, follow) = meaning::open(flags, 0o777);
        self.step(c, Step { at, op, follow }, reads)
    }

    /// utimensat and its like. Without a path they set the times of a descriptor.
    fn set_times(&self, c: &Call<'_>, at: At, follow: Follow, times: u64) -> Flow {
        let op = Op::SetTimes { now: self.sets_now(c.note, times) };
        if c.arg(at.1) == 0 {
            return self.on_fd(c, at.0.unwrap_or(at.1), op);
        }
        self.step(c, Step { at, op, follow: meaning::follows(follow, |i| c.arg(i)) }, true)
    }

    /// One thing that a call does to one path. Looks are reported only if anybody wants them (`reads`).
    fn step(&self, c: &Call<'_>, s: Step, reads: bool) -> Flow {
        let Step { at, op, follow } = s;
        let writes = op.writes();
        if !writes && !reads {
            return Flow::Go;
        }
        let (base, raw) = match self.operand(c.note, c.process, at) {
            Ok(Some(o)) => o,
            Ok(None) => return Flow::Go,
            Err(why) => {
                self.escape(Some(c.scope), EscapeKind::Unreadable, why);
                return Flow::Go;
            }
        };
        if raw.is_empty() {
            // AT_EMPTY_PATH: the descriptor itself, whose open was seen.
            return if writes || op == Op::Attributes {
                self.access(&c.caller(), c.scope, c.name, op, &Named { base: &base, raw: b".", follow: true })
            } else {
                Flow::Go
            };
        }
        let named = Named { base: &base, raw: &raw, follow };
        let program = (c.process.pid, c.process.execs.load(Ordering::Relaxed));
        let answer = || crate::resolve::inode(&base, &raw, follow);
        if !writes && !self.is_news(c.scope, program, &op, &named, answer) {
            return Flow::Go;
        }
        let flow = self.access(&c.caller(), c.scope, c.name, op, &named);
        if let (Flow::Refuse, Some(s)) = (&flow, self.scope_state(c.scope)) {
            // The next try is to be refused, too.
            s.seen.lock().expect("seen").clear();
        }
        flow
    }

    /// A call that does something to the file behind the descriptor that is argument `i`.
    fn on_fd(&self, c: &Call<'_>, i: u8, op: Op) -> Flow {
        match task_files::fd_path(c.tid(), c.fd(i)) {
            Some(path) => {
                let named = Named { base: b"/", raw: &path, follow: false };
                self.access(&c.caller(), c.scope, c.name, op, &named)
            }
            None => self.nameless(c.tid(), c.scope, c.fd(i)),
        }
    }

    /// A call that changes names or files: what happens to a source, then to the target.
    fn all(&self, c: &Call<'_>, steps: Vec<Step>) -> Flow {
        let mut flows = Vec::new();
        if let [Step { at, follow, .. }, _, ..] = &steps[..]
            && let Ok(Some((base, raw))) = self.operand(c.note, c.process, *at)
            && !raw.is_empty()
            && self.resolver.resolve(&base, &raw, *follow).state.is_none()
            && !raw.starts_with(b"/proc/")
        {
            // Nothing can be moved or linked that is not there.
            return self.step(c, Step { at: *at, op: Op::Stat, follow: *follow }, true);
        }
        for step in steps {
            match self.step(c, step, true) {
                Flow::Go => {}
                Flow::After(job) => flows.push(job),
                Flow::Refuse => return Flow::Refuse,
            }
        }
        if flows.is_empty() { Flow::Go } else { Flow::After(Box::new(move || flows.into_iter().for_each(|j| j()))) }
    }

    /// Do these times mean "now"? (utimensat(2): a null pointer, or `UTIME_NOW` / `UTIME_OMIT`.)
    fn sets_now(&self, n: &Notification, times: u64) -> bool {
        const UTIME_NOW: u64 = (1 << 30) - 1;
        const UTIME_OMIT: u64 = (1 << 30) - 2;
        if times == 0 {
            return true;
        }
        // The second timespec is the modification time; its second half the nanoseconds.
        n.nr == arch::UTIMENSAT
            && memory::read_u64(n.tid.cast_signed(), times + 24).is_ok_and(|ns| ns == UTIME_NOW || ns == UTIME_OMIT)
    }

    /// A call that gives a socket an address.
    fn socket(&self, c: &Call<'_>, address: u64, length: u64) -> Flow {
        let mut b = [0u8; LONGEST_ADDRESS];
        let length = usize::try_from(length).unwrap_or(b.len()).min(b.len());
        let got = memory::read(c.tid(), address, &mut b[..length]).unwrap_or(0);
        match peer(c.name, &b, got) {
            Some(detail) => self.supervisor.connects(c.scope, Escape { kind: EscapeKind::Network, detail }),
            None => Flow::Go,
        }
    }
}

/// `struct sockaddr_un` is the longest of those that are told apart here (unix(7)).
const LONGEST_ADDRESS: usize = 110;

/// Whom a call addresses, for people; `None` if that makes no difference to what comes out: the kernel itself
/// (netlink(7)), and the name service cache daemon, which the C library asks and goes on without. `length` bytes of the
/// address could be read.
fn peer(call: &str, address: &[u8; LONGEST_ADDRESS], length: usize) -> Option<String> {
    let b = address;
    let detail = match i32::from(u16::from_ne_bytes([b[0], b[1]])) {
        _ if length < 2 => call.to_owned(),
        libc::AF_NETLINK => return None,
        libc::AF_UNIX => {
            let path: Vec<u8> = b[2..length].iter().copied().take_while(|c| *c != 0).collect();
            if path.starts_with(b"/var/run/nscd/") || path.starts_with(b"/run/nscd/") {
                return None;
            }
            format!("{call} to {}", String::from_utf8_lossy(&path))
        }
        libc::AF_INET => {
            format!("{call} to {}.{}.{}.{}:{}", b[4], b[5], b[6], b[7], u16::from_be_bytes([b[2], b[3]]))
        }
        family => format!("{call}, address family {family}"),
    };
    Some(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_socket_addresses() {
        let check = |family: i32, rest: &[u8], expected: Option<&str>| {
            let mut b = [0; LONGEST_ADDRESS];
            b[..2].copy_from_slice(&(family as u16).to_ne_bytes());
            b[2..2 + rest.len()].copy_from_slice(rest);
            assert_eq!(peer("connect", &b, 2 + rest.len()).as_deref(), expected, "{family} {rest:?}");
        };
        check(libc::AF_INET, &[0x1f, 0x90, 127, 0, 0, 1, 0, 0], Some("connect to 127.0.0.1:8080"));
        check(libc::AF_INET6, &[0; 26], Some("connect, address family 10"));
        check(libc::AF_UNIX, b"/run/docker.sock\0rest", Some("connect to /run/docker.sock"));
        check(libc::AF_UNIX, b"/run/nscd/socket\0", None);
        check(libc::AF_UNIX, b"/var/run/nscd/socket", None);
        check(libc::AF_NETLINK, &[0; 10], None);
        assert_eq!(peer("sendto", &[0; LONGEST_ADDRESS], 0).as_deref(), Some("sendto"));
    }
}
