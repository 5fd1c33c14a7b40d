//! Progress on a terminal: one status line, drawn only while the build tool is silent, wiped before anything else.
//!
//! Nothing is printed when stderr is no terminal, or with `NO_COLOR`-less dumb terminals. The build tool's own
//! output is never touched: the line is written to stderr only after a second without a finished pip, and ends
//! with a carriage return, so that whatever the build prints next overwrites it.

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

/// How often the line is redrawn.
const EVERY: Duration = Duration::from_millis(500);

/// A callback for the engine.
pub fn reporter() -> Box<dyn Fn(&Item) + Send + Sync> {
    let terminal = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
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
            let line = format!("xl: {} hits, {} ran", c.hits, c.ran);
            // Erase to the end of the line, then go back to its start.
            let _ = write!(std::io::stderr(), "{line}\x1b[K\r");
        }
    })
}

/// Wipes a line that may still be there.
pub fn clear() {
    if std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "\x1b[K");
    }
}
