//! Runs a process tree under supervision: *gates* chosen `execve`s and reports file *accesses*.
//!
//! A [`Session`] launches one command under a seccomp filter whose notifications arrive here. Every
//! process of the tree belongs to a [`Scope`]; whoever implements [`Supervisor`] decides, exec by exec,
//! which scope a process enters, whether the exec happens at all, and what is done with its accesses.
//!
//! The way of a call: `transport` (seccomp, or `stepper` for ptrace) receives it → `dispatch` finds out whom it is for
//! → `calls` reads its operands, `meaning` says what they ask for → `report` resolves the path and tells the
//! supervisor. Looks that the eBPF programs (`programs`, `observer`) record enter at `report`, by `ebpf_records`.
//! Programs that begin and end go through `execs` to a `ticket`, which the supervisor answers. Text goes through
//! `capture`.
//!
//! This crate knows nothing of fingerprints, caches or build tools. Architecture-specific numbers live in `arch`; the
//! only unsafe code lives in `sys`.

mod access;
mod arch;
mod calls;
mod capture;
mod descriptors;
mod dispatch;
mod ebpf_records;
mod execs;
mod filter;
mod gate;
mod given_descriptors;
mod interpreters;
mod keeper;
mod kernel_types;
mod loader;
mod meaning;
mod observer;
mod pool;
mod preconditions;
mod process;
mod program_search;
mod programs;
mod real_terminal;
mod report;
mod request;
mod resolve;
mod sa_restart;
mod session;
mod stepper;
mod sys;
mod task_files;
mod terminal;
mod terminal_forwarder;
mod ticket;
mod transport;
mod writing;

pub use access::{Access, Escape, EscapeKind, Fact, Late, Made, Meta, Op, StdinUse};
pub use capture::{Chunk, Incomplete, Stream};
pub use descriptors::{Descriptors, Fd, FdKind, Inherited, InheritedFile, Stdin};
pub use gate::{Flow, Supervisor};
pub use preconditions::{Lacking, Need, of_ourselves as prove};
pub use process::{Process, Scope};
pub use program_search::{may_execute, search_path};
pub use programs::{RingSize, Unavailable as EbpfUnavailable};
pub use report::LOADER_CACHE;
pub use request::{Credentials, ExecRequest};
pub use resolve::{Crossed, Resolved};
pub use rustix::fs::FileType;
pub use session::{Backend, Options, Session, SpawnError, TracerStats};
pub use sys::signals::{die_of, forward_signals, survive_failed_writes};
pub use sys::wait::Exited;
pub use task_files::{
    descends_from, has_terminal_alone, may_be_supervised, own_inherited as inherited, parent_of, program_name, started,
};
pub use terminal_forwarder::Screen;
pub use ticket::{ExecTicket, ExitTicket, HitError, Tap};
pub use writing::write_all;
