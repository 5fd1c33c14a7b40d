//! What is wrong with a command line, in the voice of all other errors.
//!
//! clap finds it and knows what was probably meant; its first paragraph says what is wrong, and the rest is a hint.

use crate::exit_code;
use crate::messages::CommandError;
use clap::error::{ContextKind as K, ContextValue, ErrorKind};
use engine::values::nearest;

/// `clap`'s error as one of ours.
pub(crate) fn error(e: &clap::Error) -> CommandError {
    let error = CommandError::new(exit_code::USAGE, message(e));
    match hint(e) {
        Some(h) => error.hint(h),
        None => error,
    }
}

/// One value, or all of several.
fn context(e: &clap::Error, kind: K) -> Vec<String> {
    match e.get(kind) {
        Some(ContextValue::String(s)) => vec![s.clone()],
        Some(ContextValue::Strings(all)) => all.clone(),
        Some(ContextValue::StyledStr(s)) => vec![s.to_string()],
        Some(ContextValue::StyledStrs(all)) => all.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

fn quoted(words: &[String]) -> String {
    words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

fn message(e: &clap::Error) -> String {
    let of = |kind| context(e, kind).into_iter().next().unwrap_or_default();
    match e.kind() {
        ErrorKind::MissingRequiredArgument if of(K::InvalidArg).starts_with("<CMD>") => "no command is given".into(),
        ErrorKind::MissingRequiredArgument => format!("{} is missing", quoted(&context(e, K::InvalidArg))),
        ErrorKind::InvalidSubcommand => format!("there is no subcommand `{}`", of(K::InvalidSubcommand)),
        ErrorKind::UnknownArgument if of(K::InvalidArg).starts_with('-') => {
            format!("there is no option `{}`", of(K::InvalidArg))
        }
        ErrorKind::InvalidValue if is_from_environment(e) => {
            format!("XL_BACKEND is `{}`, which is no backend", of(K::InvalidValue))
        }
        _ => {
            let whole = e.render().to_string();
            let lines = whole.lines().take_while(|l| !l.is_empty()).filter(|l| !l.starts_with("  [possible values"));
            let text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
            text.strip_prefix("error: ").unwrap_or(&text).replace('\'', "`")
        }
    }
}

/// clap does not tell where a value came from.
fn is_from_environment(e: &clap::Error) -> bool {
    let value = context(e, K::InvalidValue).into_iter().next().unwrap_or_default();
    let set = std::env::var_os("XL_BACKEND").is_some_and(|v| v == *value);
    let of_backend = context(e, K::InvalidArg).first().is_some_and(|a| a.starts_with("--backend "));
    of_backend && set && !std::env::args_os().any(|a| a.as_encoded_bytes().starts_with(b"--backend"))
}

/// The words that say what the command line is about: `xl cache gc`.
fn subcommand() -> String {
    let top = crate::args::definition();
    let (mut command, mut words) = (&top, vec!["xl"]);
    for w in std::env::args_os().skip(1) {
        let Some(inner) = command.find_subcommand(w) else { break };
        words.push(inner.get_name());
        command = inner;
    }
    words.join(" ")
}

fn hint(e: &clap::Error) -> Option<String> {
    let meant = [K::SuggestedArg, K::SuggestedValue].map(|k| context(e, k)).concat();
    let known = context(e, K::ValidValue);
    let usage = context(e, K::Usage).join(" ");
    let usage = usage.trim_start_matches("Usage:").lines().next().unwrap_or_default().trim().to_owned();
    let about = subcommand();
    match e.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = context(e, K::InvalidSubcommand).into_iter().next()?;
            let all = crate::args::definition();
            let offered = all.get_subcommands().filter(|c| !c.is_hide_set());
            // clap does not see letters that have changed places, and takes any word with some letters of a command for
            // that command.
            if let Some(meant) = nearest(&name, offered.map(clap::Command::get_name)) {
                return Some(format!("did you mean `{meant}`?"));
            }
            let is_program = tracer::search_path(name.as_ref(), &std::env::var_os("PATH")?).is_some();
            Some(if is_program { format!("to run it: xl run -- {name}") } else { "`xl help` lists them".into() })
        }
        _ if !meant.is_empty() => Some(format!("did you mean {}?", quoted(&meant).replace(", ", " or "))),
        _ if !known.is_empty() => Some(format!("it is one of {}", quoted(&known))),
        ErrorKind::MissingRequiredArgument if usage.ends_with("<CMD>...") => Some(format!("{about} -- make")),
        ErrorKind::MissingRequiredArgument => Some(usage).filter(|u| !u.is_empty()),
        _ => Some(format!("`{about} --help` shows what there is")),
    }
}
