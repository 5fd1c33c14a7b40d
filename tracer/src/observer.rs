//! The eBPF observer's loader: which programs, which calls, whose tasks; and the way records come back.
//!
//! The programs are attached when the first pip starts, not before: a build that only hits never pays for them. They
//! see what the tasks look at *after* it has happened. That is early enough, because everything that changes a file
//! still stops at the gate, and before the gate decides anything it reads the ring to its end: each look is judged
//! before the next change is let go. Nothing here knows what a record means; see [`crate::ebpf_records`].

use crate::arch::{self, Looks, Shape};
use crate::process::{Process, Scope};
use crate::programs::{self, Plan, Programs, RingSize, Unavailable};
use crate::sys::bpf::{self, Ring, SharedState};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tracer_ebpf as layout;

/// The loaded programs. They are detached when this is dropped, or the process ends in whatever way.
pub(crate) struct Observer {
    _programs: Programs,
    ring: Mutex<Ring>,
    events: OwnedFd,
    tasks: OwnedFd,
    state: SharedState,
    lost: OwnedFd,
    stopped: Mutex<OwnedFd>,
    /// How many stops were known of when the ring was read last, and an event for when there are more.
    noticed: AtomicU64,
    nudge: OwnedFd,
}

/// The programs and their tracepoints.
const PROGRAMS: &[(&str, &str)] =
    &[("on_fork", "sched_process_fork"), ("on_exec", "sched_process_exec"), ("on_sys_exit", "sys_exit")];

/// What the programs are told of each call, from the one table of calls.
fn calls() -> Vec<u64> {
    let mut all = vec![0u64; layout::CALLS as usize];
    let index = |i: Option<u8>, shift: u32| i.map_or(0, |i| (u64::from(i) + 1) << shift);
    for (nr, _, shape) in arch::TABLE {
        let bits = match shape.looks() {
            Looks::No if shape.renames() => layout::CALL_DONE,
            Looks::No => 0,
            Looks::Yes => layout::CALL_SEES,
            Looks::UnlessChanging(_) => layout::CALL_SEES | layout::CALL_OPENS,
        };
        let moves = if matches!(shape, Shape::Rename(..)) { layout::CALL_MOVES } else { 0 };
        let operand = match shape {
            Shape::Open(at, _) | Shape::Stat(at, _) | Shape::Access(at, ..) | Shape::Readlink(at) => {
                index(Some(at.1), layout::CALL_PATH) | index(at.0, layout::CALL_DIRECTORY)
            }
            _ => 0,
        };
        all[nr.cast_unsigned() as usize] = u64::from(bits | moves) | operand | index(shape.flags(), layout::CALL_FLAGS);
    }
    for (nr, buffer, statx) in arch::STAT_BUFFERS {
        let kind = if *statx { layout::CALL_STATXES } else { layout::CALL_STATS };
        all[nr.cast_unsigned() as usize] |= u64::from(kind) | index(Some(*buffer), layout::CALL_BUFFER);
    }
    for nr in [arch::EXECVE, arch::EXECVEAT] {
        all[nr.cast_unsigned() as usize] = u64::from(layout::CALL_EXECS);
    }
    all
}

impl Observer {
    /// Loads and attaches the programs. Takes 15 to 20 ms, of which the kernel's checks are four.
    pub(crate) fn load(ring: RingSize) -> Result<Self, Unavailable> {
        let object = layout::OBJECT.ok_or(Unavailable::NotBuilt(layout::WHY_NOT))?;
        if !programs::may_load() {
            return Err(Unavailable::Forbidden);
        }
        let mut programs = Programs::load(&Plan {
            object,
            programs: PROGRAMS,
            structures: layout::KERNEL_STRUCTURES,
            constants: vec![
                ("CALLS_BY_NUMBER", calls().iter().flat_map(|c| c.to_ne_bytes()).collect()),
                ("RING_SIZE", u64::from(ring.bytes).to_ne_bytes().to_vec()),
                ("WAITS", u64::from(ring.waits).to_ne_bytes().to_vec()),
            ],
            entries: ("EVENTS", ring.bytes),
        })?;
        let events = programs.take("EVENTS")?;
        let reader = Ring::new(events.as_fd(), ring.bytes).map_err(Unavailable::Memory)?;
        let state = SharedState::new(programs.take("STATE")?.as_fd()).map_err(Unavailable::Memory)?;
        let nudge =
            rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK);
        let nudge = nudge.map_err(|e| Unavailable::Memory(e.into()))?;
        Ok(Self {
            noticed: AtomicU64::new(0),
            nudge,
            ring: Mutex::new(reader),
            events,
            tasks: programs.take("TASKS")?,
            state,
            lost: programs.take("LOST")?,
            stopped: Mutex::new(programs.take("STOPPED")?),
            _programs: programs,
        })
    }

    /// From now on, and from the next program on if this one is replaced, task `tid` of `p` is observed for `scope`;
    /// its children inherit that. `before` is what an `execve` that fails returns it to. `None` is not to be observed.
    pub(crate) fn follow(
        &self,
        p: &Process,
        tid: i32,
        scope: Option<Scope>,
        before: Option<Scope>,
    ) -> std::io::Result<()> {
        let number = |s: Option<Scope>| s.map_or(0, |s| s.0 + 1);
        let task = layout::Task { scope: number(scope), before: number(before), ..layout::Task::default() };
        if tid == p.pid {
            return bpf::set_task(self.tasks.as_fd(), &p.pidfd, &task);
        }
        // A thread that executes becomes the process.
        const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL.cast_unsigned());
        let pid = Pid::from_raw(tid).ok_or(std::io::ErrorKind::NotFound)?;
        bpf::set_task(self.tasks.as_fd(), &pidfd_open(pid, THREAD)?, &task)
    }

    /// For which scope the kernel observes the main task of `p`.
    pub(crate) fn followed(&self, p: &Process) -> Option<Scope> {
        bpf::get_task(self.tasks.as_fd(), &p.pidfd).ok()?.scope.checked_sub(1).map(Scope)
    }

    /// Directories may have got other names.
    pub(crate) fn moved(&self) {
        self.state.moved();
    }

    /// Hands over all records up to this moment. What others are still handing over is waited for.
    pub(crate) fn drain(&self, mut f: impl FnMut(&layout::Record, &[u8])) {
        let mut ring = self.ring.lock().expect("ring");
        if ring.is_empty() {
            return;
        }
        ring.drain(|bytes| {
            if let Some(r) = layout::Record::read(bytes) {
                f(&r, &bytes[layout::Record::SIZE..]);
            }
        });
        drop(ring);
        let stops = self.stops();
        if self.noticed.swap(stops, Ordering::AcqRel) != stops {
            // Whoever waits for room is the waiting thread's to continue.
            let _ = rustix::io::write(&self.nudge, &1u64.to_ne_bytes());
        }
    }

    /// Continues who was stopped. `false` when somebody may be stopped who is not known yet: to be asked again.
    ///
    /// A task is counted in `stops`, then named in `STOPPED`, then stopped, then counted in `stopped`. Equal counts
    /// around the reading of the names mean that everybody named is stopped already, and that nobody else is.
    fn resume(&self) -> bool {
        let before = self.state.get();
        if before.stops == 0 {
            return true;
        }
        let stopped = self.stopped.lock().expect("stopped");
        let all = bpf::keys(stopped.as_fd());
        if before.stops != before.stopped || self.state.get().stops != before.stops {
            return false;
        }
        for pid in all {
            // First the name, then the signal: it may be stopped again at once.
            bpf::remove(stopped.as_fd(), pid);
            if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                let _ = rustix::process::kill_process(pid, Signal::CONT);
            }
        }
        self.state.get().stops == before.stops
    }

    /// Waits until the ring is filling up, and lets those go on who were stopped because it was full.
    pub(crate) fn wait(&self) {
        use rustix::event::{PollFd, PollFlags, poll};
        let soon = rustix::time::Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        let quiet = self.resume();
        let mut both = [PollFd::new(&self.events, PollFlags::IN), PollFd::new(&self.nudge, PollFlags::IN)];
        let _ = poll(&mut both, (!quiet).then_some(&soon));
        if both[1].revents().contains(PollFlags::IN) {
            let _ = rustix::io::read(&self.nudge, &mut [0u8; 8]);
        }
    }

    /// How often a task had to wait for the ring.
    pub(crate) fn stops(&self) -> u64 {
        self.state.get().stops
    }

    /// How many records of all scopes found no room, and of how many nobody knows whose.
    pub(crate) fn lost(&self) -> (u64, u64) {
        let s = self.state.get();
        (s.dropped, s.unattributed)
    }

    /// How many records of `scope` found no room.
    pub(crate) fn lost_of(&self, scope: Scope) -> u64 {
        if self.state.get().dropped == 0 { 0 } else { bpf::count(self.lost.as_fd(), scope.0 + 1).unwrap_or(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_either_the_gates_or_the_programs() {
        use crate::filter::{Calls, Verdict, build, decide};
        let (gate, all) = (build(&[], Calls::Gate), build(&[], Calls::All));
        let calls = calls();
        for (nr, name, shape) in arch::TABLE {
            let flags = shape.flags().map_or(5, usize::from);
            for value in [
                0,
                libc::O_RDONLY | libc::O_CLOEXEC,
                libc::O_WRONLY,
                libc::O_RDWR | libc::O_CREAT,
                libc::O_TRUNC,
                libc::O_PATH,
            ] {
                let mut args = [9; 6];
                args[flags] = value.cast_unsigned();
                let notified = |p| decide(p, *nr, arch::AUDIT_ARCH, args) == Verdict::Notify;
                let call = calls[nr.cast_unsigned() as usize];
                let changes =
                    call & u64::from(layout::CALL_OPENS) != 0 && value.cast_unsigned() & layout::OPEN_CHANGES != 0;
                let emitted = call & u64::from(layout::CALL_SEES) != 0 && !changes;
                if notified(&all) {
                    assert_eq!(notified(&gate), !emitted, "{name} with {value:o}");
                }
            }
        }
    }
}
