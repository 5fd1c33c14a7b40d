//! Writing to descriptors whose readers take their time.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// Writes everything, waiting where the descriptor is non-blocking by somebody else's choice.
///
/// # Errors
/// What write(2) says, for the first byte that could not be written.
pub fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Writes what can be written without waiting; returns how much that was.
pub(crate) fn write_fitting(fd: BorrowedFd<'_>, bytes: &[u8]) -> rustix::io::Result<usize> {
    /// `PIPE_BUF`: a pipe that polls writable takes this much.
    const ATOMIC: usize = 4096;
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut done = 0;
    while done < bytes.len() {
        let mut p = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
        poll(&mut p, Some(&now))?;
        if p[0].revents().contains(PollFlags::ERR) {
            return Err(Errno::PIPE);
        }
        if !p[0].revents().contains(PollFlags::OUT) {
            break;
        }
        match rustix::io::write(fd, &bytes[done..bytes.len().min(done + ATOMIC)]) {
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}
