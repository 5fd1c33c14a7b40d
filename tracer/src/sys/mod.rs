//! Every raw system call of the crate, each behind a small safe function.
//!
//! What `nix`, `rustix` or `std` offer safely is not repeated here. This module imports nothing from the rest of the
//! crate: it knows what the kernel offers, and not what `xl` wants of it. Sources: seccomp(2), seccomp_unotify(2),
//! ptrace(2), kcmp(2), bpf(2), `linux/seccomp.h`.

pub(crate) mod bpf;
pub(crate) mod capabilities;
pub(crate) mod closed_at_start;
pub(crate) mod fork;
pub(crate) mod launch;
pub(crate) mod mapping;
pub(crate) mod memory;
pub(crate) mod ptrace;
pub(crate) mod seccomp;
pub(crate) mod signals;
pub(crate) mod terminal;
pub(crate) mod wait;
