//! Progress on a terminal, in its title: the build tool's own output is never touched.
//!
//! The old title is saved and put back (xterm's window operations 22 and 23; terminals without them ignore both).
//! Nothing is written when stderr is no terminal, or a dumb one.

use engine::{Item, Outcome};
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Counts {
    hits: u64,
    ran: u64,
    drawn: Option<Instant>,
}

/// How often the title changes.
const EVERY: Duration = Duration::from_millis(500);

/// The run's progress; dropping it puts the old title back.
pub struct Progress {
    terminal: bool,
}

impl Progress {
    pub fn start() -> Self {
        let terminal = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|t| t != "dumb");
        if terminal {
            let _ = write!(std::io::stderr(), "\x1b[22;0t");
        }
        Self { terminal }
    }

    /// A callback for the engine.
    pub fn reporter(&self) -> Box<dyn Fn(&Item) + Send + Sync> {
        let terminal = self.terminal;
        let counts = Mutex::new(Counts::default());
        Box::new(move |item| {
            let mut c = counts.lock().expect("progress");
            match item.outcome {
                Outcome::Hit => c.hits += 1,
                Outcome::Bypassed => {}
                _ => c.ran += 1,
            }
            if terminal && c.drawn.is_none_or(|t| t.elapsed() > EVERY) {
                c.drawn = Some(Instant::now());
                let _ = write!(std::io::stderr(), "\x1b]0;xl: {} hits, {} ran\x07", c.hits, c.ran);
            }
        })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\x1b[23;0t");
        }
    }
}
