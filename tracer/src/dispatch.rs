//! Which part of the crate a received call is for.
//!
//! Runs on the receiving threads; nothing here blocks. Before a call is looked at, everything that the task and others
//! have looked at so far is reported, and what the task's last call has changed is forgotten.

use crate::access::EscapeKind;
use crate::arch;
use crate::calls::Call;
use crate::gate::Gate;
use crate::process::Found;
use crate::sys::seccomp::Notification;
use crate::task_files;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Gate {
    /// A defect of ours must not leave a task blocked for ever.
    pub(crate) fn guarded(self: &Arc<Self>, n: Notification) {
        let handled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.handle(n)));
        if handled.is_err() {
            self.escape(None, EscapeKind::Unreadable, "xl failed");
            self.transport.proceed(n.id);
        }
    }

    fn handle(self: &Arc<Self>, n: Notification) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let tid = n.tid.cast_signed();
        // What was looked at before is judged before anything else happens.
        self.drain();
        let p = match self.processes.find(tid) {
            Found::Known(p) | Found::New(p) => p,
            Found::Orphan(p) if self.known_to_kernel(&p) => p,
            Found::Orphan(p) => {
                self.escape(None, EscapeKind::Orphan, format!("process {tid}"));
                p
            }
            Found::Gone => {
                match self.transport.is_valid(n.id) {
                    true if executes(&n) => self.unseen(None, EscapeKind::Unreadable, ""),
                    true => self.escape(None, EscapeKind::Unreadable, format!("process {tid}")),
                    false => {}
                }
                return self.transport.proceed(n.id);
            }
        };
        if p.moving.compare_exchange(tid, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            p.cwd.lock().expect("cwd").take();
        }
        if p.unsettled.compare_exchange(tid, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.settle_names(&p);
        }
        self.settle_exec(&p, &n);
        let scope = p.scope();
        if n.arch != arch::AUDIT_ARCH || n.nr.cast_unsigned() & arch::FOREIGN_ABI_BIT != 0 {
            match executes(&n) {
                true => self.unseen(Some(scope), EscapeKind::ForeignAbi, ""),
                false => self.escape(Some(scope), EscapeKind::ForeignAbi, format!("number {}", n.nr)),
            }
            return self.transport.proceed(n.id);
        }
        if !self.watched.is_empty() {
            self.born_used(&n, scope);
        }
        match n.nr {
            arch::EXECVE | arch::EXECVEAT => return self.exec(n, p),
            arch::EXIT if task_files::threads(p.pid) == 1 => return self.exit(n, &p),
            arch::EXIT => self.processes.forget_thread(tid, &p),
            arch::EXIT_GROUP => return self.exit(n, &p),
            arch::IOCTL
                if [arch::TERMINAL_SETTERS, arch::TERMINAL_OWNERS]
                    .iter()
                    .any(|all| all.contains(&(n.args[1] as u32))) =>
            {
                return self.terminal_taken(n, &p, scope);
            }
            arch::IOCTL if n.args[1] as u32 == arch::TIOCGPGRP => return self.whose_terminal(&n, &p, scope),
            nr if arch::DUPLICATORS.contains(&nr) && n.args[1] as i32 == 0 && matches!(n.args[0] as i32, 1 | 2) => {
                return self.terminal_taken(n, &p, scope);
            }
            arch::RT_SIGACTION => self.child_handler(&n, &p),
            nr if arch::READERS.contains(&nr) && matches!(n.args[0] as i32, 1 | 2) => {
                return self.terminal_taken(n, &p, scope);
            }
            // Only the transport that is in their way asks about these.
            arch::PTRACE | arch::CLONE | arch::CLONE3 => self.escape(Some(scope), EscapeKind::Tracing, ""),
            nr => match self.shapes.get(nr.cast_unsigned() as usize).copied().flatten() {
                Some((name, shape)) => {
                    if arch::STDIN_ASKERS.iter().any(|(asks, _)| *asks == nr) {
                        self.stdin_used(&n, &p, scope);
                    }
                    return self.call(Call { note: &n, process: &p, scope, name, shape });
                }
                None if nr.cast_unsigned() > arch::HIGHEST_KNOWN => {
                    self.escape(Some(scope), EscapeKind::UnknownCall, format!("number {nr}"));
                }
                None => self.stdin_used(&n, &p, scope),
            },
        }
        self.transport.proceed(n.id);
    }
}

/// Is this call an `execve`, of whatever kind?
fn executes(n: &Notification) -> bool {
    let calls = if n.arch == arch::AUDIT_ARCH { &[arch::EXECVE, arch::EXECVEAT][..] } else { arch::FOREIGN_EXECS };
    calls.contains(&n.nr) || arch::FOREIGN_EXECS.contains(&n.nr) && n.nr.cast_unsigned() & arch::FOREIGN_ABI_BIT != 0
}
