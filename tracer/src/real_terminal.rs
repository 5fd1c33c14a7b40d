//! Gives a command the real terminal in place of its stand-in, when it needs more than to write to it.
//!
//! `xl` gives commands a stand-in for the terminal ([`crate::terminal`]), which they can write to, and that is all.
//! When a task is about to set the modes of a terminal (menus, pagers, passwords do) or to read from it, the gate holds
//! its call until everything that the task has written is forwarded, and puts the real terminal behind its descriptors.
//! Its parents and siblings keep the stand-in. Which calls arrive here the filter decides; that the result of such a
//! pip cannot be stored, the supervisor.
//!
//! A build tool that only asks which process group the terminal belongs to (bash does when it starts) gets the answer
//! that the real terminal would have given.

use crate::access::EscapeKind;
use crate::gate::Gate;
use crate::process::{Process, Scope};
use crate::resolve::Resolved;
use crate::sys::seccomp::Notification;
use crate::sys::{memory, terminal::MODES};
use crate::{arch, task_files, terminal};
use std::os::fd::AsFd;
use std::sync::Arc;

impl Gate {
    /// The call sets the modes or the process group of what may be a terminal, or reads, directly or by another number,
    /// from what was given for output.
    pub(crate) fn terminal_taken(self: &Arc<Self>, n: Notification, p: &Process, scope: Scope) {
        self.stdin_used(&n, p, scope);
        let tid = n.tid.cast_signed();
        let fd = n.args[0] as i32;
        let stands_in = task_files::device(tid, fd).filter(|_| n.nr != arch::IOCTL || changes_modes(&n, fd));
        let stands_in = match stands_in {
            Some(d) if terminal::behind(d).is_some() => true,
            Some(d) if terminal::is_ours(d) => false,
            _ => return self.transport.proceed(n.id),
        };
        self.escape(Some(scope), EscapeKind::Terminal, "");
        let text = self.scope_state(scope).and_then(|s| s.text.get().cloned());
        if !stands_in && self.outward.is_none() {
            return self.transport.proceed(n.id);
        }
        let gate = self.clone();
        self.pool.run(Box::new(move || {
            // What it has written comes first.
            if let Some(t) = text {
                t.flush();
            }
            gate.outward.iter().for_each(|w| w.leave());
            for fd in task_files::fds(tid).into_iter().filter(|_| stands_in) {
                if let Some(real) = task_files::device(tid, fd).and_then(terminal::behind) {
                    // If it cannot be had, the command goes on with what it has.
                    let _ = gate.transport.install_fd(n.id, real.as_fd(), fd, task_files::closes_on_exec(tid, fd));
                }
            }
            gate.transport.proceed(n.id);
        }));
    }
}

impl Gate {
    /// The call asks for the process group of what may be a terminal. A pip is told by its stand-in that this is none
    /// of its: else its result would depend on whether the build runs in the background.
    pub(crate) fn whose_terminal(&self, n: &Notification, p: &Process, scope: Scope) {
        self.stdin_used(n, p, scope);
        let tid = n.tid.cast_signed();
        let group = || {
            let real = task_files::device(tid, n.args[0] as i32).and_then(terminal::behind)?;
            rustix::termios::tcgetpgrp(real).ok()
        };
        match group().filter(|_| !self.supervisor.observes_reads(scope)) {
            Some(g) if memory::write(tid, n.args[2], &g.as_raw_nonzero().get().to_ne_bytes()).is_ok() => {
                self.transport.succeed(n.id)
            }
            _ => self.transport.proceed(n.id),
        }
    }

    /// What is to be done before a task may open the terminal by its name, to write to it. bash does so when it starts,
    /// to see whether there is one, and closes it again.
    pub(crate) fn terminal_opened(&self, path: &Resolved, pid: i32, creates: bool) -> Option<Box<dyn FnOnce() + Send>> {
        let way = self.outward.as_ref().filter(|w| w.leads_to(path))?.clone();
        let knocks = !creates
            && task_files::executable(pid)
                .is_some_and(|e| e.rsplit(|b| *b == b'/').next().is_some_and(|n| n.starts_with(b"bash")));
        (!knocks).then(|| Box::new(move || way.leave()) as Box<dyn FnOnce() + Send>)
    }

    /// A task is about to read from its standard input. If that is the terminal, what is typed shows there.
    pub(crate) fn terminal_read(&self, tid: i32) {
        if let Some(way) = &self.outward
            && task_files::device(tid, 0).is_some_and(|d| way.is(d))
        {
            let way = way.clone();
            self.pool.run(Box::new(move || way.leave()));
        }
    }
}

/// Are the modes that the terminal is given others than it has? node gives back those that it has found whenever it
/// ends.
fn changes_modes(n: &Notification, fd: i32) -> bool {
    let tid = n.tid.cast_signed();
    if arch::TERMINAL_OWNERS.contains(&(n.args[1] as u32)) {
        return true;
    }
    let mut wanted = [0; MODES];
    let old = arch::TERMINAL_SETTERS_OLD.contains(&(n.args[1] as u32));
    let known = !old && memory::read(tid, n.args[2], &mut wanted).is_ok_and(|n| n == MODES);
    !known
        || task_files::reopen(tid, fd)
            .and_then(|t| crate::sys::terminal::modes(t.as_fd()).ok())
            .is_none_or(|has| has != wanted)
}
