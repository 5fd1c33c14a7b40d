//! The pseudo-terminal that stands in for a real one while a command's text is captured.
//!
//! It has the size and modes of the real one, and follows it when the user resizes the window. Its output is not
//! processed: the real one still does that. Knows nothing of what is written to it.

use crate::sys::signals;
use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// A stand-in's end, and the terminal whose size it has.
struct Pair {
    stand_in: OwnedFd,
    real: OwnedFd,
}

static LIVE: Mutex<Vec<Weak<Pair>>> = Mutex::new(Vec::new());
static FOLLOWER: OnceLock<()> = OnceLock::new();

/// Keeps a stand-in's size up to date while it lives.
pub struct Size(#[expect(dead_code, reason = "held for its life only")] Arc<Pair>);

/// Both ends of a stand-in for `real`: ours and the command's, and what keeps it of the same size.
pub fn like(real: &OwnedFd) -> rustix::io::Result<(OwnedFd, OwnedFd, Size)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let theirs = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    if let Ok(mut t) = tcgetattr(real) {
        t.output_modes.remove(OutputModes::OPOST);
        tcsetattr(&theirs, OptionalActions::Now, &t)?;
    }
    let pair = Arc::new(Pair { stand_in: fcntl_dupfd_cloexec(&ours, 3)?, real: fcntl_dupfd_cloexec(real, 3)? });
    LIVE.lock().expect("terminals").push(Arc::downgrade(&pair));
    FOLLOWER.get_or_init(follow);
    pair.adopt_size();
    Ok((ours, theirs, Size(pair)))
}

impl Pair {
    fn adopt_size(&self) {
        if let Ok(size) = tcgetwinsize(&self.real) {
            let _ = tcsetwinsize(&self.stand_in, size);
        }
    }
}

/// Copies sizes whenever the window changes. The command learns of it from the real terminal, which stays its
/// controlling one.
fn follow() {
    let Ok(resized) = signals::on_resize() else { return };
    let copy = move || {
        let mut count = [0; 8];
        while rustix::io::retry_on_intr(|| rustix::io::read(&resized, &mut count)).is_ok() {
            let mut live = LIVE.lock().expect("terminals");
            live.retain(|p| {
                p.upgrade().is_some_and(|p| {
                    p.adopt_size();
                    true
                })
            });
        }
    };
    let _ = std::thread::Builder::new().name("xl-size".into()).stack_size(64 << 10).spawn(copy);
}
