//! The `ptrace` transport: every task stops at every system call; the same calls as with seccomp are handed over.
//!
//! `xl` uses it where it cannot install a listener. It leaves no filter behind, so that a process that outlives `xl`
//! simply goes on. All requests to the kernel must come from the thread that attached: that thread runs
//! [`Stepper::serve`], and others queue their answers.
//!
//! States of a task: *running* → (stop at a call's entry) → *asked*, if the call matters → (answered) → *inside* →
//! (stop at its exit) → *running*. The kernel says which stop it is (`PTRACE_GET_SYSCALL_INFO`, Linux 5.3). Stops for
//! signals and job control are passed on as they are. Sources: ptrace(2), syscall(2).

use crate::arch;
use crate::filter::{self, Verdict};
use crate::sys::memory;
use crate::sys::ptrace::{self, Registers, SyscallInfo, entry, registers, resume, set_registers};
use crate::sys::seccomp::{Instruction, Notification};
use crate::sys::signals;
use crate::sys::wait::{self, Exited};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustc_hash::FxHashMap;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::process::WaitStatus;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread::ThreadId;

/// What is to become of a task that was stopped at the entry of a call.
enum Answer {
    Proceed,
    Fail(i32),
    Exit(i32),
    /// Put a copy of this descriptor in place of number `target` first; the task stays stopped.
    Install(OwnedFd, i32, bool),
    /// Undo that.
    Restore(i32),
}

struct Order {
    id: u64,
    answer: Answer,
    done: mpsc::Sender<io::Result<()>>,
}

/// See the module's documentation.
pub(crate) struct Stepper {
    root: i32,
    /// Descriptors whose every use matters.
    watched: Vec<i32>,
    thread: OnceLock<ThreadId>,
    wake: OwnedFd,
    /// What the attached thread is to do; `None` once it has ended.
    orders: Mutex<Option<Vec<Order>>>,
    /// Tasks that were asked about, by the cookie of the question.
    asked: Mutex<FxHashMap<u64, i32>>,
    /// Readable when a task stops or ends.
    children: SignalFd,
    /// Where a replaced descriptor was put: by task and number.
    replaced: Mutex<FxHashMap<(i32, i32), i32>>,
    next: AtomicU64,
}

impl Stepper {
    /// For the tree of `root`, a child of this process that has not executed anything yet.
    pub(crate) fn new(root: i32, watched: Vec<i32>) -> io::Result<Self> {
        Ok(Self {
            children: children_changed()?,
            root,
            watched,
            thread: OnceLock::new(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            orders: Mutex::new(Some(Vec::new())),
            asked: Mutex::default(),
            replaced: Mutex::default(),
            next: AtomicU64::new(1),
        })
    }

    /// Attaches to the root and serves its tree until no task is left; the calls that matter go to `ask`, the end of
    /// the root to `ended`. `go` lets the root execute its program. To be called once, on a thread of its own.
    pub(crate) fn serve(&self, go: &OwnedFd, ask: impl Fn(Notification), ended: impl Fn(io::Result<Exited>)) {
        /// Whoever still waits for an answer learns that there is no task left to give one to.
        struct Close<'a>(&'a Stepper);
        impl Drop for Close<'_> {
            fn drop(&mut self) {
                self.0.orders.lock().expect("orders").take();
            }
        }
        let _close = Close(self);
        self.serve_all(go, ask, ended);
    }

    fn serve_all(&self, go: &OwnedFd, ask: impl Fn(Notification), ended: impl Fn(io::Result<Exited>)) {
        let _ = self.thread.set(std::thread::current().id());
        if let Err(e) = ptrace::attach_to_tree(self.root) {
            return ended(Err(e));
        }
        let _ = rustix::io::write(go, b"!");
        let rules = filter::build(&self.watched, filter::Calls::All);
        loop {
            let orders = self.orders.lock().expect("orders").as_mut().map(std::mem::take);
            for o in orders.unwrap_or_default() {
                let _ = o.done.send(self.carry_out(o.id, o.answer));
            }
            match wait::of_any_tracee() {
                Ok(Some((tid, status))) => self.stopped(tid, status, &rules, &ask, &ended),
                Ok(None) => self.idle(),
                Err(Errno::INTR) => {}
                // No tasks are left.
                Err(_) => return,
            }
        }
    }

    /// Waits for a stop or an order.
    fn idle(&self) {
        let mut p = [PollFd::new(&self.children, PollFlags::IN), PollFd::new(&self.wake, PollFlags::IN)];
        let _ = poll(&mut p, None);
        let mut buf = [0u8; 1024];
        let _ = rustix::io::read(&self.wake, &mut buf[..8]);
        let _ = rustix::io::read(&self.children, &mut buf);
    }

    fn stopped(
        &self,
        tid: i32,
        status: WaitStatus,
        rules: &[Instruction],
        ask: &impl Fn(Notification),
        ended: &impl Fn(io::Result<Exited>),
    ) {
        let Some(signal) = status.stopping_signal() else {
            self.forget(tid);
            if tid == self.root {
                ended(Ok(Exited::of(status)));
            }
            return;
        };
        match (signal, event(status)) {
            (s, 0) if s == libc::SIGTRAP | 0x80 => match entry(tid) {
                Some(call) => self.entered(tid, &call, rules, ask),
                None => resume(tid, 0),
            },
            // A stop for job control: it stays stopped until SIGCONT.
            (libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU, libc::PTRACE_EVENT_STOP) => {
                ptrace::stay_stopped(tid);
            }
            (s, 0) => resume(tid, s),
            (_, libc::PTRACE_EVENT_EXEC) => {
                // A thread may have taken over the number of its process's first one, whose call nobody waits for any
                // more.
                self.forget(tid);
                resume(tid, 0);
            }
            _ => resume(tid, 0),
        }
    }

    /// What was asked of a task that is gone, or is another program now, needs no answer.
    fn forget(&self, tid: i32) {
        self.asked.lock().expect("asked").retain(|_, t| *t != tid);
        self.replaced.lock().expect("replaced").retain(|(t, _), _| *t != tid);
    }

    fn entered(&self, tid: i32, call: &SyscallInfo, rules: &[Instruction], ask: &impl Fn(Notification)) {
        let nr = (call.nr & 0xffff_ffff) as u32;
        let verdict = if hindered(tid, nr.cast_signed(), call) {
            Verdict::Notify
        } else {
            filter::decide(rules, nr.cast_signed(), call.arch, call.args.map(|a| a as u32))
        };
        match verdict {
            Verdict::Allow => resume(tid, 0),
            Verdict::Fail(errno) => drop(fail(tid, errno)),
            Verdict::Notify => {
                let id = self.next.fetch_add(1, Ordering::Relaxed);
                self.asked.lock().expect("asked").insert(id, tid);
                ask(Notification::of(id, tid.cast_unsigned(), nr.cast_signed(), call.arch, call.args));
            }
        }
    }

    /// Carries out an order on the attached thread.
    fn carry_out(&self, id: u64, answer: Answer) -> io::Result<()> {
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        let tid = {
            let mut asked = self.asked.lock().expect("asked");
            let tid = if let Answer::Install(..) | Answer::Restore(_) = answer {
                asked.get(&id).copied()
            } else {
                asked.remove(&id)
            };
            tid.ok_or_else(gone)?
        };
        match answer {
            Answer::Proceed => {
                self.replaced.lock().expect("replaced").retain(|(t, _), _| *t != tid || self.keeps(tid));
                resume(tid, 0);
                Ok(())
            }
            Answer::Fail(errno) => fail(tid, errno),
            Answer::Exit(code) => {
                let mut r = registers(tid)?;
                r.orig_rax = arch::EXIT_GROUP as u64;
                r.rdi = code as u64;
                set_registers(tid, r)?;
                resume(tid, 0);
                Ok(())
            }
            Answer::Install(fd, target, close_on_exec) => self.install(tid, &fd, target, close_on_exec),
            Answer::Restore(target) => {
                let saved = self.replaced.lock().expect("replaced").remove(&(tid, target)).ok_or_else(gone)?;
                let mut task = Inside::new(tid)?;
                let put_back = task.call(libc::SYS_dup3, [saved as u64, target as u64, 0]);
                let closed = task.call(libc::SYS_close, [saved as u64, 0, 0]);
                task.leave()?;
                put_back.and(closed).map(drop)
            }
        }
    }

    /// Saved descriptors matter until it is known that the `execve` happened: it closes them.
    fn keeps(&self, tid: i32) -> bool {
        entry(tid).is_some_and(|c| c.nr == arch::EXECVE as u64 || c.nr == arch::EXECVEAT as u64)
    }

    /// The task opens our descriptor through `/proc` and puts it in place; what was there goes to a high number that
    /// the `execve` closes; if it is about to make another call, nothing is kept of it.
    fn install(&self, tid: i32, fd: &OwnedFd, target: i32, close_on_exec: bool) -> io::Result<()> {
        let flags = rustix::fs::fcntl_getfl(fd)?.bits() & libc::O_ACCMODE.cast_unsigned();
        let path = format!("/proc/{}/fd/{}\0", std::process::id(), fd.as_raw_fd());
        let executes = self.keeps(tid);
        let mut task = Inside::new(tid)?;
        let name = task.scratch(path.as_bytes())?;
        let flags = u64::from(flags) | (libc::O_NOCTTY | libc::O_CLOEXEC) as u64;
        let saved = task.call(libc::SYS_fcntl, [target as u64, libc::F_DUPFD_CLOEXEC as u64, 100]).and_then(|saved| {
            let new = task.call(libc::SYS_openat, [libc::AT_FDCWD as u64, name, flags])?;
            task.call(libc::SYS_dup3, [new, target as u64, if close_on_exec { libc::O_CLOEXEC as u64 } else { 0 }])?;
            task.call(libc::SYS_close, [new, 0, 0])?;
            if !executes {
                task.call(libc::SYS_close, [saved, 0, 0])?;
            }
            Ok(saved)
        });
        task.leave()?;
        let saved = saved?;
        if executes {
            self.replaced.lock().expect("replaced").insert((tid, target), saved as i32);
        }
        Ok(())
    }

    fn order(&self, id: u64, answer: Answer) -> io::Result<()> {
        if self.thread.get() == Some(&std::thread::current().id()) {
            return self.carry_out(id, answer);
        }
        let (done, result) = mpsc::channel();
        match &mut *self.orders.lock().expect("orders") {
            Some(all) => all.push(Order { id, answer, done }),
            None => return Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        result.recv().unwrap_or_else(|_| Err(io::Error::from_raw_os_error(libc::ESRCH)))
    }

    pub(crate) fn proceed(&self, id: u64) {
        let _ = self.order(id, Answer::Proceed);
    }

    pub(crate) fn fail(&self, id: u64, errno: i32) {
        let _ = self.order(id, Answer::Fail(errno));
    }

    /// Ends the task with `code` instead of what it called.
    pub(crate) fn exit_instead(&self, id: u64, code: i32) -> io::Result<()> {
        self.order(id, Answer::Exit(code))
    }

    pub(crate) fn is_valid(&self, id: u64) -> bool {
        let asked = self.asked.lock().expect("asked");
        let is_gone = |tid| rustix::process::test_kill_process(tid) == Err(rustix::io::Errno::SRCH);
        asked.get(&id).and_then(|tid| rustix::process::Pid::from_raw(*tid)).is_some_and(|tid| !is_gone(tid))
    }

    pub(crate) fn install_fd(
        &self,
        id: u64,
        source: BorrowedFd<'_>,
        target: i32,
        close_on_exec: bool,
    ) -> io::Result<()> {
        self.order(id, Answer::Install(rustix::io::fcntl_dupfd_cloexec(source, 3)?, target, close_on_exec))
    }

    /// Puts back what was replaced, after an `execve` that failed.
    pub(crate) fn restore_fd(&self, id: u64, target: i32) -> io::Result<()> {
        self.order(id, Answer::Restore(target))
    }
}

/// Which event of ptrace(2) a stop is for; 0: none.
fn event(stop: WaitStatus) -> i32 {
    stop.as_raw() >> 16
}

/// Does this call fail, or work differently, because we are attached? One tracer per task is all that there is;
/// LeakSanitizer makes itself an untraced helper first.
fn hindered(tid: i32, nr: i32, call: &SyscallInfo) -> bool {
    const SEIZE: u64 = 0x4206;
    let attaches = matches!(call.args[0], 0 | 16 | SEIZE);
    call.arch == arch::AUDIT_ARCH
        && match nr {
            arch::PTRACE => attaches,
            arch::CLONE => call.args[0] & libc::CLONE_UNTRACED as u64 != 0,
            // `struct clone_args` begins with the flags.
            arch::CLONE3 => {
                memory::read_u64(tid, call.args[0]).map_or(true, |flags| flags & libc::CLONE_UNTRACED as u64 != 0)
            }
            _ => false,
        }
}

fn fail(tid: i32, errno: i32) -> io::Result<()> {
    let mut r = registers(tid)?;
    r.orig_rax = u64::MAX;
    r.rax = i64::from(-errno).cast_unsigned();
    set_registers(tid, r)?;
    resume(tid, 0);
    Ok(())
}

/// Blocks SIGCHLD in this thread, and those that it starts, and makes a descriptor that becomes readable when a child
/// stops or ends.
fn children_changed() -> io::Result<SignalFd> {
    let set = SigSet::from(Signal::SIGCHLD);
    let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    set.thread_block()?;
    Ok(fd)
}

/// A task at the entry of a call, made to call other things first. Its call is begun anew each time, so that
/// [`Inside::leave`] finds it where it was. Signals that arrive in between are sent again at the end.
struct Inside {
    tid: i32,
    original: Registers,
    signals: Vec<i32>,
}

impl Inside {
    fn new(tid: i32) -> io::Result<Self> {
        Ok(Self { tid, original: registers(tid)?, signals: Vec::new() })
    }

    /// Writes `bytes` where nobody's data are: below the red zone of the stack (System V ABI, 3.2.2). A task under
    /// `vfork` is deeper in the shared stack than its parent.
    fn scratch(&self, bytes: &[u8]) -> io::Result<u64> {
        let at = (self.original.rsp - 512 - bytes.len() as u64) & !15;
        memory::write(self.tid, at, bytes)?;
        Ok(at)
    }

    fn call(&mut self, nr: i64, args: [u64; 3]) -> io::Result<u64> {
        let mut r = self.original;
        r.orig_rax = nr.cast_unsigned();
        (r.rdi, r.rsi, r.rdx, r.r10) = (args[0], args[1], args[2], 0);
        set_registers(self.tid, r)?;
        self.step(false)?;
        let result = registers(self.tid)?.rax.cast_signed();
        // Back over the `syscall` instruction: the task's own call is entered again.
        let mut again = self.original;
        arch::call_again(&mut again);
        set_registers(self.tid, again)?;
        self.step(true)?;
        if (-4095..0).contains(&result) {
            Err(io::Error::from_raw_os_error(-result as i32))
        } else {
            Ok(result.cast_unsigned())
        }
    }

    /// Goes on to the next entry or exit.
    fn step(&mut self, to_entry: bool) -> io::Result<()> {
        resume(self.tid, 0);
        loop {
            let status = wait::of_tracee(self.tid)?;
            let Some(signal) = status.stopping_signal() else {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            };
            match (signal, event(status)) {
                (s, 0) if s == libc::SIGTRAP | 0x80 && entry(self.tid).is_some() == to_entry => return Ok(()),
                (s, 0) if s == libc::SIGTRAP | 0x80 => {}
                (s, 0) => self.signals.push(s),
                _ => {}
            }
            resume(self.tid, 0);
        }
    }

    fn leave(self) -> io::Result<()> {
        set_registers(self.tid, self.original)?;
        for s in self.signals {
            signals::send_to_thread(self.tid, s);
        }
        Ok(())
    }
}
