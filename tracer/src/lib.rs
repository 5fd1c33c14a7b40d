//! Runs a process tree under supervision: *gates* chosen `execve`s and reports file *accesses*.
//!
//! A [`Session`] launches one command under a seccomp filter whose notifications arrive here. Every
//! process of the tree belongs to a [`Scope`]; whoever implements [`Supervisor`] decides, exec by exec,
//! which scope a process enters, whether the exec happens at all, and what is done with its accesses.
//!
//! This crate knows nothing of fingerprints, caches or build tools. Architecture-specific numbers live in
//! [`arch`]; the only unsafe code lives in [`sys`].

pub mod access;
pub mod arch;
mod capture;
mod dispatch;
mod filter;
mod front;
mod handover;
mod keeper;
mod kernel_types;
mod late;
mod loader;
mod meaning;
mod observer;
mod pool;
mod process;
mod programs;
mod proof;
pub mod request;
mod resolve;
mod restart;
pub mod session;
mod stepper;
mod sys;
mod task_files;
mod terminal;
mod ticket;
mod transport;
mod watched;

pub use access::{Access, Escape, EscapeKind, Late, Made, Meta, Op};
pub use capture::{Chunk, Incomplete, Stream, write_all};
pub use front::Screen;
pub use observer::{RingSize, Unavailable as EbpfUnavailable};
pub use process::{Process, Scope};
pub use proof::{Lacking, Need, of_ourselves as prove};
pub use request::{ExecRequest, Fd, FdKind, Stdin};
pub use resolve::{Crossed, Resolved};
pub use rustix::fs::FileType;
pub use session::{Backend, Flow, Options, Session, SpawnError, Supervisor, TracerStats, may_execute, search_path};
pub use sys::signals::{die_of, forward_signals, survive_failed_writes};
pub use sys::wait::Exited;
pub use task_files::{
    descends_from, has_terminal_alone, may_be_supervised, own_inherited as inherited, parent_of, program_name, started,
};
pub use ticket::{ExecTicket, ExitTicket, HitError, Tap};
