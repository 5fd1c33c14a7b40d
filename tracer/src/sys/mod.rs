//! Every raw system call of the crate, each behind a small safe function.
//!
//! What `rustix` or `std` offer safely is not repeated here. Sources: seccomp(2), seccomp_unotify(2),
//! ptrace(2), process_vm_readv(2), kcmp(2), `linux/seccomp.h`.

pub mod bpf;
pub mod closed;
pub mod launch;
pub mod memory;
pub mod ptrace;
pub mod seccomp;
pub mod shared;
pub mod signals;
pub mod stepper;
pub mod terminal;
