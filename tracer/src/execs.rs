//! The calls that begin and end programs: an `execve` that is about to happen, whether it has happened, and the
//! `exit_group` of a process.
//!
//! Runs on the receiving threads; nothing here blocks. What is held becomes a ticket ([`crate::ticket`]), which whoever
//! decides answers.

use crate::access::{Access, EscapeKind, Op};
use crate::arch::{self, At};
use crate::gate::Gate;
use crate::interpreters;
use crate::process::{Found, Process};
use crate::request::ExecRequest;
use crate::sys::memory;
use crate::sys::seccomp::Notification;
use crate::task_files;
use crate::ticket::{ExecTicket, ExitTicket};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Gate {
    pub(crate) fn exec(self: &Arc<Self>, n: Notification, p: Arc<Process>) {
        let scope = p.scope();
        let tid = n.tid.cast_signed();
        let reads = self.supervisor.observes_reads(scope);
        let at = if n.nr == arch::EXECVE { At(None, 0) } else { At(Some(0), 1) };
        let (argv_at, env_at) = if n.nr == arch::EXECVE { (1, 2) } else { (2, 3) };
        let operand = match self.operand(&n, &p, at) {
            Ok(Some(o)) => o,
            Ok(None) => return self.transport.proceed(n.id),
            Err(why) => {
                self.unseen(Some(scope), EscapeKind::Unreadable, why);
                return self.transport.proceed(n.id);
            }
        };
        let (base, raw) = operand;
        let program = if raw.is_empty() {
            // fexecve: the file behind the descriptor.
            match task_files::fd_path(tid, n.args[0] as i32) {
                Some(path) => self.resolver.resolve(b"/", &path, true),
                None => {
                    self.unseen(Some(scope), EscapeKind::Unreadable, "it executes a file without a name");
                    return self.transport.proceed(n.id);
                }
            }
        } else {
            self.resolver.resolve(&base, &own_image(raw, p.pid), true)
        };
        let image =
            interpreters::of(&program, &self.cwd(&p, tid).unwrap_or_else(|| Arc::from(&b"/"[..])), &self.resolver);
        if image.is_err() {
            self.unseen(Some(scope), EscapeKind::Unreadable, "it executes a file of a format that xl does not know");
        }
        let Some((interpreters, image)) = image.ok().flatten() else {
            // It will fail (a PATH search tries many): only that it was looked for counts.
            if reads {
                let _ = self.supervisor.access(
                    scope,
                    p.pid,
                    &Access { op: Op::Stat, path: program, call: "execve", late: None },
                );
            }
            return self.transport.proceed(n.id);
        };
        let (Ok(argv), Ok(env), Some(cwd)) =
            (memory::read_strings(tid, n.args[argv_at]), memory::read_strings(tid, n.args[env_at]), self.cwd(&p, tid))
        else {
            if self.transport.is_valid(n.id) {
                self.unseen(Some(scope), EscapeKind::Unreadable, "its arguments cannot be read");
            }
            return self.transport.proceed(n.id);
        };
        if !self.transport.is_valid(n.id) {
            return;
        }
        p.cwd.lock().expect("cwd").take();
        let request = ExecRequest { process: p, scope, program, interpreters, image, argv, env, cwd, tid };
        self.supervisor.exec(ExecTicket { request, gate: self.clone(), note: n, answered: false });
    }

    /// The first call after an `execve` was let go tells whether it happened.
    pub(crate) fn settle_exec(&self, p: &Arc<Process>, n: &Notification) {
        let mut slot = p.exec_pending.lock().expect("exec");
        let Some(pending) = slot.take() else { return };
        let happened = pending.image == (0, 0) || task_files::image(p.pid).is_none_or(|i| i == pending.image);
        if !happened && pending.tid != n.tid.cast_signed() {
            // Another thread's call: the exec may still be on its way.
            *slot = Some(pending);
            return;
        }
        drop(slot);
        if happened {
            p.execs.fetch_add(1, Ordering::Relaxed);
            p.cwd.lock().expect("cwd").take();
            self.processes.forget_threads(p);
            return;
        }
        for (target, original) in &pending.originals {
            self.transport.restore_fd(n.id, original, *target);
        }
        let started = p.scope();
        p.set_scope(pending.before);
        if started != pending.before {
            self.end_scope(started);
            self.supervisor.exec_failed(started);
        }
    }

    /// Whose parent was killed before it was seen is our child now, and may be of any pip that runs.
    fn admit_orphans(&self) {
        let me = std::process::id().cast_signed();
        // The kernel gives orphans to the first thread that lives (`find_alive_thread`).
        for child in task_files::children_of_thread(me, me) {
            if child == self.root || child == self.keeper.pid || self.processes.known(child).is_some() {
                continue;
            }
            let since = task_files::stat(child).map_or(0, |s| s.start);
            if self.strangers.contains(&(child, since)) {
                continue;
            }
            if let Found::Orphan(p) = self.processes.find(child)
                && !self.known_to_kernel(&p)
                && task_files::stat(child).is_some_and(|s| s.state != b'Z')
            {
                self.escape(None, EscapeKind::Orphan, format!("process {child}"));
            }
        }
    }

    pub(crate) fn exit(self: &Arc<Self>, n: Notification, p: &Arc<Process>) {
        self.processes.adopt_children(p);
        let is_root = self.is_root(p);
        if is_root {
            self.admit_losses(p.scope());
            self.admit_orphans();
        }
        p.ending.store(true, Ordering::Release);
        if is_root {
            self.supervisor.root_exit(ExitTicket {
                scope: p.scope(),
                code: (n.args[0] & 0xff) as i32,
                process: p.clone(),
                gate: self.clone(),
                note: n,
                answered: false,
            });
        } else {
            self.transport.proceed(n.id);
        }
    }
}

/// `/proc/self/exe` means the task's image, not ours.
fn own_image(raw: Vec<u8>, pid: i32) -> Vec<u8> {
    if raw == b"/proc/self/exe" {
        rustix::fs::readlink(format!("/proc/{pid}/exe"), Vec::new()).map_or(raw, std::ffi::CString::into_bytes)
    } else {
        raw
    }
}
