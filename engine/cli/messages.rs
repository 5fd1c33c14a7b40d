//! What `xl` says: always on stderr, always after `xl:`, errors with cause and hint. One place maps library
//! errors to message, hint and exit code.

use crate::exit_code;

/// An error as the user sees it.
#[derive(Debug)]
pub struct CommandError {
    pub message: String,
    pub causes: Vec<String>,
    pub hint: Option<String>,
    pub code: u8,
}

impl CommandError {
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new(), hint: None, code }
    }

    pub fn cause(mut self, c: impl Into<String>) -> Self {
        self.causes.push(c.into());
        self
    }

    pub fn hint(mut self, h: impl Into<String>) -> Self {
        self.hint = Some(h.into());
        self
    }

    /// Prints it and returns the exit code.
    pub fn report(&self) -> i32 {
        eprintln!("xl: error: {}", self.message);
        for c in &self.causes {
            eprintln!("  caused by: {c}");
        }
        if let Some(h) = &self.hint {
            eprintln!("  hint: {h}");
        }
        i32::from(self.code)
    }
}

/// One line after `xl:`, in one write: several builds may share a terminal.
pub fn say(text: &str) {
    crate::progress::write(&format!("xl: {text}\n"));
}

/// A warning, with what was done about it.
pub fn warning(text: &str) {
    say(&format!("warning: {text}"));
}

impl From<engine::config::ConfigError> for CommandError {
    fn from(e: engine::config::ConfigError) -> Self {
        use engine::config::ConfigError as E;
        let error = Self::new(exit_code::CONFIG, e.to_string());
        match e {
            E::Read { source, .. } => error.cause(source.to_string()),
            E::Parse { message, suggestion, .. } => {
                let error = error.cause(message);
                match suggestion {
                    Some(s) => error.hint(format!("did you mean `{s}`?")),
                    None => error,
                }
            }
            E::Glob { message, .. } => error.cause(message),
            E::Audit { source, .. } => {
                let error = error.cause(source.to_string());
                let kind = matches!(source, engine::violation::policy::Wrong::Kind(_));
                if kind { error.hint("kinds are XL001 to XL018, or their names") } else { error }
            }
            E::Age { .. } => error.hint("write a number and a unit: 90s, 15m, 12h, 30d, 8w"),
            E::Number(_) => error,
            E::NoHome => Self { code: exit_code::CACHE, ..error }.hint("set XL_CACHE_DIR"),
            E::Ignore { .. } => error.hint("one entry for a path, another for a tool"),
        }
    }
}

impl From<cache::Error> for CommandError {
    fn from(e: cache::Error) -> Self {
        let hint = cache_hint(&e);
        let error = Self::new(exit_code::CACHE, e.to_string());
        match hint {
            Some(h) => error.hint(h),
            None => error,
        }
    }
}

/// What to do about an unusable cache, when that is certain.
pub fn cache_hint(e: &cache::Error) -> Option<String> {
    match e {
        cache::Error::Owner { .. } => Some("choose another directory with --cache-dir or XL_CACHE_DIR".into()),
        cache::Error::Version { .. } => Some("use the newer xl, or another directory with --cache-dir".into()),
        _ => None,
    }
}

impl From<tracer::SpawnError> for CommandError {
    fn from(e: tracer::SpawnError) -> Self {
        Self::new(exit_code::BACKEND, "no process can be supervised here")
            .cause(e.to_string())
            .hint("`xl doctor` shows what works on this machine")
    }
}
