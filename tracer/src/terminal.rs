//! The pseudo-terminal that stands in for a real one while a command's text is captured.
//!
//! It has the size and modes of the real one, and follows it when the user resizes the window. The real terminal will
//! turn line ends into CR LF itself, so what the stand-in has made of them is undone before text is forwarded. Commands
//! can write to a stand-in, and nothing else: [`crate::real_terminal`] gives a command that sets its modes (curses, a
//! pager) or reads from it the real terminal, which [`behind`] finds.

use crate::sys::signals;
use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// A stand-in's end and its device number, and the terminal that it stands for.
struct Pair {
    stand_in: OwnedFd,
    device: u64,
    real: OwnedFd,
}

static LIVE: Mutex<Vec<Weak<Pair>>> = Mutex::new(Vec::new());
static FOLLOWER: OnceLock<()> = OnceLock::new();

/// Keeps a stand-in's size up to date while it lives.
pub(crate) struct Size(#[expect(dead_code, reason = "held for its life only")] Arc<Pair>);

/// A stand-in: both ends, ours and the command's, what keeps it of the same size, and how its text is to be forwarded.
pub(crate) struct StandIn {
    pub ours: OwnedFd,
    pub theirs: OwnedFd,
    pub size: Size,
    pub line_ends: Option<LineEnds>,
}

/// A stand-in for `real`; see [`follow_sizes`].
pub(crate) fn like(real: &OwnedFd) -> rustix::io::Result<StandIn> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let theirs = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let mut line_ends = None;
    if let Ok(mut t) = tcgetattr(real) {
        if t.output_modes == OutputModes::OPOST | OutputModes::ONLCR {
            line_ends = Some(LineEnds::default());
        } else {
            // What else it may make of the text cannot be undone.
            t.output_modes.remove(OutputModes::OPOST);
        }
        tcsetattr(&theirs, OptionalActions::Now, &t)?;
    }
    let device = rustix::fs::fstat(&theirs)?.st_rdev;
    let pair = Arc::new(Pair { stand_in: fcntl_dupfd_cloexec(&ours, 3)?, device, real: fcntl_dupfd_cloexec(real, 3)? });
    LIVE.lock().expect("terminals").push(Arc::downgrade(&pair));
    pair.adopt_size();
    Ok(StandIn { ours, theirs, size: Size(pair), line_ends })
}

/// From now on stand-ins follow the terminal's size. Starts a thread.
pub(crate) fn follow_sizes() {
    FOLLOWER.get_or_init(follow);
}

/// The real terminal behind the stand-in of this device number; `None` if it is none.
pub(crate) fn behind(device: u64) -> Option<OwnedFd> {
    let stands_for = |device: u64| {
        let live = LIVE.lock().expect("terminals");
        live.iter()
            .filter_map(Weak::upgrade)
            .find(|p| p.device == device)
            .and_then(|p| fcntl_dupfd_cloexec(&p.real, 3).ok())
    };
    let mut found = stands_for(device)?;
    // A command below one that turned out to start commands itself has a stand-in for a stand-in.
    while let Some(further) = rustix::fs::fstat(&found).ok().and_then(|s| stands_for(s.st_rdev)) {
        found = further;
    }
    Some(found)
}

/// `/dev/tty` is 5:0 (Documentation/admin-guide/devices.txt).
pub(crate) const DEV_TTY: u64 = libc::makedev(5, 0);

/// Is this the terminal that `xl` itself was started at? A command may have others of its own.
pub(crate) fn is_ours(device: u64) -> bool {
    static OURS: OnceLock<Vec<u64>> = OnceLock::new();
    let me = std::process::id().cast_signed();
    let ours = || (0..3).filter_map(|fd| crate::task_files::device(me, fd)).chain([DEV_TTY]).collect();
    OURS.get_or_init(ours).contains(&device)
}

/// Takes back what a terminal makes of line ends: it writes CR LF for each LF (`ONLCR`, termios(3)).
#[derive(Debug, Default)]
pub(crate) struct LineEnds {
    /// A CR that came last: its LF may follow.
    held: bool,
}

impl LineEnds {
    /// The text as the command wrote it, but for a last CR.
    pub(crate) fn undo(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 1);
        for b in bytes {
            if std::mem::take(&mut self.held) && *b != b'\n' {
                out.push(b'\r');
            }
            match b {
                b'\r' => self.held = true,
                b => out.push(*b),
            }
        }
        out
    }

    /// Nothing follows for now: the CR was one of the command's own.
    pub(crate) fn rest(&mut self) -> &'static [u8] {
        if std::mem::take(&mut self.held) { b"\r" } else { b"" }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_come_back_however_they_are_cut() {
        let written = b"a\nb\r\nc\r\r\n\n\r50%\r100%\r";
        let shown: Vec<u8> =
            written.iter().flat_map(|b| if *b == b'\n' { b"\r\n".to_vec() } else { vec![*b] }).collect();
        for cut in 0..=shown.len() {
            let mut l = LineEnds::default();
            let mut back = l.undo(&shown[..cut]);
            back.extend(l.undo(&shown[cut..]));
            back.extend(l.rest());
            assert_eq!(back, written, "cut at {cut}");
        }
    }
}
