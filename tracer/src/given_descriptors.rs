//! What a process does through descriptors that its command was given and did not open itself: standard input, and
//! those that `xl` itself was started with.
//!
//! The filter and the tables of [`crate::arch`] decide which calls arrive here; the supervisor decides what they mean
//! for a result. A process may have put something else behind a number, so the kernel's name of what is behind it is
//! compared with the name at the start.

use crate::access::{EscapeKind, StdinUse};
use crate::arch;
use crate::gate::{Gate, ScopeState, WatchedStdin};
use crate::process::{Process, Scope};
use crate::report::Caller;
use crate::sys::seccomp::Notification;
use crate::task_files;
use std::sync::{Arc, Mutex};

impl Gate {
    /// Begins to watch what `pid`, the root of a new scope, has as its standard input.
    pub(crate) fn watch_stdin(&self, scope: Scope, pid: i32, live: bool) {
        let stdin = task_files::fd_link(pid, 0).map(|link| WatchedStdin { link, live });
        let s = ScopeState { stdin: Mutex::new(stdin), ..ScopeState::default() };
        self.scopes.write().expect("scopes").insert(scope, Arc::new(s));
    }

    /// Descriptor 0 was used, by number or by name (`/dev/stdin`), by a process that may have another one there than
    /// the root.
    pub(crate) fn stdin_touched(&self, who: &Caller<'_>, scope: Scope, how: StdinUse) {
        let Some(s) = self.scope_state(scope) else { return };
        let stdin = s.stdin.lock().expect("stdin");
        let Some(stdin) = stdin.as_ref() else { return };
        // Of a task that went on nobody knows any more what its descriptor was.
        if matches!(who, Caller::Gone { .. }) || task_files::fd_link(who.pid(), 0).as_ref() == Some(&stdin.link) {
            self.supervisor.stdin(scope, who.pid(), how, stdin.live);
            if stdin.live && how == StdinUse::Takes {
                self.escape(Some(scope), EscapeKind::LiveStdin, "");
            }
        }
    }

    /// Reports it if the call does something with descriptor 0.
    pub(crate) fn stdin_used(&self, n: &Notification, p: &Process, scope: Scope) {
        let of = |calls: &[(i32, u8)]| calls.iter().any(|(nr, i)| *nr == n.nr && n.args[*i as usize] as i32 == 0);
        let how = match n.nr {
            arch::FCNTL if n.args[0] as i32 == 0 => {
                // See the `savefd` of dash and `add_undo_redirect` of bash.
                const FIRST_OF_A_SHELL: u64 = 10;
                if n.args[2] >= FIRST_OF_A_SHELL { StdinUse::Saves } else { StdinUse::Takes }
            }
            // Its place among the standard streams is a use.
            nr if n.args[0] as i32 == 0 && arch::DUPLICATORS.contains(&nr) && n.args[1] as i32 > 2 => StdinUse::Lends,
            _ if of(arch::STDIN_READERS) => StdinUse::Takes,
            arch::IOCTL if n.args[0] as i32 == 0 && arch::TERMINAL_REQUESTS.contains(&(n.args[1] as u32)) => {
                StdinUse::AsksTerminal
            }
            _ if of(arch::STDIN_ASKERS) => StdinUse::Asks,
            _ => return,
        };
        if how == StdinUse::Takes {
            self.terminal_read(n.tid.cast_signed());
        }
        self.stdin_touched(&Caller::Blocked { tid: n.tid.cast_signed(), process: p }, scope, how);
    }

    /// Reports it if the call uses a descriptor that `xl` was started with.
    pub(crate) fn born_used(&self, n: &Notification, scope: Scope) {
        // Whether an `execve` closes it is no matter of what is behind it: xargs asks that of all that it has.
        if n.nr == arch::FCNTL && matches!(n.args[1] as i32, libc::F_GETFD | libc::F_SETFD) {
            return;
        }
        let of = |table: &'static [(i32, u8)]| {
            table.iter().filter(|(nr, _)| *nr == n.nr).map(|(_, i)| n.args[*i as usize] as i32)
        };
        for fd in of(arch::DESCRIPTOR_USERS) {
            let born = self.watched.iter().find(|(number, _)| *number == fd);
            // The number may stand for something else by now.
            if born.is_some_and(|(_, link)| task_files::fd_link(n.tid.cast_signed(), fd).as_ref() == Some(link)) {
                self.escape(Some(scope), EscapeKind::BornDescriptor, format!("{fd}"));
            }
        }
    }
}
