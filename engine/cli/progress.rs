//! A line of status on the terminal while nothing else comes, gone before the build's next byte; and `xl`'s own words
//! between the build's.
//!
//! It is shown after two silent seconds (`make -s`, one long command), only where it is known that nobody's line or
//! sequence is open ([`crate::lines`]): the tracer lets nothing of the build pass it ([`tracer::Screen`]). What was in
//! the line when `xl` was started nobody knows (`printf 'building... '; xl run …`), so the cursor's place is saved,
//! nothing left of it is touched, and it is put back (DECSC, DECRC; without DECAWM the line ends at the margin). Each
//! of the two sequences, [`DRAW`]…[`DRAWN`] and [`ERASE`], is written whole.
//!
//! A title would do without a place in a line, but not without knowing that no sequence is open, and few look there.

use crate::lines::Lines;
use engine::Engine;
use rustix::termios::tcgetwinsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// Save the cursor and its colours, no line breaks at the margin, no colours.
const DRAW: &str = "\x1b7\x1b[?7l\x1b[m";
/// Line breaks again.
const DRAWN: &str = "\x1b[?7h";
/// Back to where the cursor was; the rest of the line is as it was, too: empty, without colours.
const ERASE: &str = "\x1b8\x1b[m\x1b[K\x1b8";

/// How long nothing has to come before the status is shown.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it changes.
const EVERY: Duration = Duration::from_millis(500);
/// Less is too narrow to say anything.
const LEAST_COLUMNS: usize = 30;

/// Terminals that know the sequences above, by the beginnings of their names (terminfo's `sc`, `rc`, `rmam`, `smam`,
/// `el`).
const TERMINALS: &[&str] = &[
    "xterm",
    "screen",
    "tmux",
    "linux",
    "vt1",
    "vt2",
    "vt3",
    "vt4",
    "vt5",
    "rxvt",
    "alacritty",
    "foot",
    "konsole",
    "gnome",
    "vte",
    "kitty",
    "st-",
    "wezterm",
    "mintty",
    "putty",
    "contour",
    "ghostty",
    "iterm",
    "nsterm",
    "eterm",
];

/// The line of this process, once there is one.
static LINE: OnceLock<Arc<StatusLine>> = OnceLock::new();

/// Standard error, in one write: several builds may share a terminal. If nobody reads it, nobody can be told.
pub(crate) fn write(text: &str) {
    match LINE.get() {
        Some(line) => line.say(text),
        None => drop(tracer::write_all(rustix::stdio::stderr(), text.as_bytes())),
    }
}

/// The run's progress; dropping it takes the line away.
pub(crate) struct Progress(Option<Arc<StatusLine>>);

impl Progress {
    /// `quiet`: none is wanted.
    pub(crate) fn new(quiet: bool) -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let knows = |t: String| TERMINALS.iter().any(|known| t.starts_with(known));
        let wanted = !quiet && set("NO_COLOR").is_none() && set("TERM").is_some_and(knows);
        // For those who try what happens then.
        let patience = set("XL_STATUS_AFTER").and_then(|ms| ms.parse().ok()).map_or(PATIENCE, Duration::from_millis);
        Self(
            wanted
                .then(|| Arc::new(StatusLine { patience, engine: OnceLock::new(), shared: Mutex::new(State::new()) })),
        )
    }

    /// What the tracer is to let everything pass.
    pub(crate) fn screen(&self) -> Option<Arc<dyn tracer::Screen>> {
        self.0.clone().map(|line| line as Arc<dyn tracer::Screen>)
    }

    /// The run begins.
    pub(crate) fn watch(&self, engine: &Arc<Engine>) {
        if let Some(line) = &self.0 {
            let _ = line.engine.set(engine.clone());
            let _ = LINE.set(line.clone());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(line) = &self.0 {
            let mut s = line.lock();
            s.hide();
            s.over = true;
            s.say_what_waits();
        }
    }
}

struct StatusLine {
    patience: Duration,
    engine: OnceLock<Arc<Engine>>,
    shared: Mutex<State>,
}

struct State {
    lines: Lines,
    shown: bool,
    /// When the build wrote last.
    last: Instant,
    /// Others write to the terminal themselves.
    left: bool,
    /// The build has ended.
    over: bool,
    /// What `xl` has to say when the build's line is over.
    waiting: String,
}

impl State {
    fn new() -> Self {
        Self {
            lines: Lines::default(),
            shown: false,
            last: Instant::now(),
            left: false,
            over: false,
            waiting: String::new(),
        }
    }

    fn hide(&mut self) {
        if std::mem::take(&mut self.shown) {
            put(ERASE);
        }
    }

    fn say_what_waits(&mut self) {
        let may = self.left || self.over || self.lines.are_closed();
        if !may || self.waiting.is_empty() {
            return;
        }
        self.hide();
        if self.over && self.lines.one_is_open() {
            self.waiting.insert(0, '\n');
        }
        let text = std::mem::take(&mut self.waiting);
        put(&text);
        self.lines.feed(text.as_bytes());
    }
}

impl StatusLine {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().expect("status line")
    }

    fn say(&self, text: &str) {
        let mut s = self.lock();
        s.waiting.push_str(text);
        s.say_what_waits();
    }

    fn text(&self) -> Option<String> {
        let columns = usize::from(tcgetwinsize(rustix::stdio::stderr()).ok()?.ws_col);
        let now = self.engine.get()?.now();
        let rate = (now.hits + now.ran) as f64 / now.elapsed.as_secs_f64().max(0.001);
        let mut text = format!("xl: {} hits, {} ran, {} running, {rate:.1}/s", now.hits, now.ran, now.running);
        if let Some((since, command)) = now.longest {
            text.push_str(&format!(", {} s: {command}", since.as_secs()));
        }
        (columns >= LEAST_COLUMNS)
            .then(|| text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(columns - 1).collect())
    }
}

/// Writes to the terminal. If it is gone, there is nobody to tell.
fn put(text: &str) {
    let _ = tracer::write_all(rustix::stdio::stderr(), text.as_bytes());
}

impl tracer::Screen for StatusLine {
    fn forward(&self, text: &[u8]) -> std::io::Result<()> {
        let mut s = self.lock();
        if text.is_empty() {
            return Ok(());
        }
        s.hide();
        tracer::write_all(rustix::stdio::stderr(), text)?;
        s.lines.feed(text);
        s.last = Instant::now();
        s.say_what_waits();
        Ok(())
    }

    fn idle(&self) -> Duration {
        /// Until something comes.
        const LONG: Duration = Duration::from_secs(3600);
        let mut s = self.lock();
        let silent = s.last.elapsed();
        if s.left || s.over || !s.lines.are_closed() {
            return LONG;
        }
        if silent < self.patience {
            return self.patience - silent;
        }
        if let Some(text) = self.text().filter(|_| tracer::has_terminal_alone(rustix::stdio::stderr())) {
            let erase = if s.shown { ERASE } else { "" };
            s.shown = true;
            put(&format!("{erase}{DRAW}{text}{DRAWN}"));
        }
        EVERY.min(self.patience.max(Duration::from_millis(1)))
    }

    fn pause(&self) {
        let mut s = self.lock();
        s.hide();
        s.last = Instant::now();
    }

    fn leave(&self) {
        let mut s = self.lock();
        s.hide();
        s.left = true;
        s.say_what_waits();
    }
}
