//! The modes of a terminal, as the kernel has them: what `TCSETS` is given can be compared with them byte by byte.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Size of `struct termios` of the kernel (asm-generic/termbits.h): four words of flags, the line discipline, 19
/// control characters. `struct termios2` begins with the same.
pub(crate) const MODES: usize = 36;

/// `TCGETS` (ioctl_tty(2)).
pub(crate) fn modes(fd: BorrowedFd<'_>) -> io::Result<[u8; MODES]> {
    let mut modes = [0; MODES];
    // SAFETY: the kernel writes one `struct termios`, which is as long as the buffer.
    if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TCGETS, modes.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(modes)
}
