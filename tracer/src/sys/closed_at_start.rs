//! Which of the standard descriptors were closed when this process was started.
//!
//! Rust's runtime opens `/dev/null` in their place before `main`; the build must find them as the user left them. So
//! they are looked at earlier, by a function that the loader runs before the runtime.

use std::sync::atomic::{AtomicU8, Ordering};

static CLOSED: AtomicU8 = AtomicU8::new(0);

extern "C" fn look() {
    for fd in 0..3 {
        // SAFETY: fcntl with integers; nothing else has run yet.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            CLOSED.fetch_or(1 << fd, Ordering::Relaxed);
        }
    }
}

// SAFETY: `.init_array` holds functions of this type, which the C library's start-up calls once (ELF gABI,
// "Initialization and Termination Functions"); `look` uses nothing that the Rust runtime has to set up first.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Descriptors among 0, 1, 2 that were closed.
pub(crate) fn descriptors() -> impl Iterator<Item = i32> {
    let closed = CLOSED.load(Ordering::Relaxed);
    (0..3).filter(move |fd| closed & (1 << fd) != 0)
}
