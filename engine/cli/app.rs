//! Which command carries out which subcommand, and how `xl` ends.

use crate::args::{Cli, Command};
use crate::messages::{self, CommandError};
use crate::{commands, elsewhere, exit_code, output, usage};
use clap::Parser;
use std::ffi::OsString;
use tracer::Exited;

/// Parses and runs; the result is how this process is to end.
pub(crate) fn run() -> Exited {
    use clap::error::ErrorKind as K;
    let cli = match Cli::try_parse() {
        Ok(c) => c,
        Err(e) => {
            return match e.kind() {
                K::DisplayHelp | K::DisplayVersion => {
                    output::printed(e.print()).map_or_else(|e| e.report(), |()| Exited::Code(0))
                }
                K::DisplayHelpOnMissingArgumentOrSubcommand => {
                    messages::write(&e.render().to_string());
                    Exited::Code(exit_code::USAGE.into())
                }
                _ => usage::error(&e).report(),
            };
        }
    };
    if let Err(e) = elsewhere::enter(&cli) {
        return e.report();
    }
    let done = match cli.command {
        Command::Run(a) => named(&a.cmd).and_then(|()| commands::run::run(&a)),
        Command::Exec(a) => named(&a.cmd).and_then(|()| commands::run::exec(&a)),
        Command::Trace(a) => named(&a.cmd).and_then(|()| commands::trace::run(&a)),
        Command::Audit(a) => named(&a.cmd).and_then(|()| commands::audit::run(&a)),
        Command::Check(a) => named(&a.cmd).and_then(|()| commands::check::run(&a)).map(Exited::Code),
        Command::Heal(a) => commands::check::heal(&a).map(Exited::Code),
        Command::Cache(a) => commands::cache::run(&a).map(Exited::Code),
        Command::Log(a) => commands::log::run(&a).map(Exited::Code),
        Command::Explain(a) => commands::explain::run(&a).map(Exited::Code),
        Command::Doctor(a) => commands::doctor::run(&a).map(Exited::Code),
        Command::Serve(a) => commands::serve::run(&a).map(Exited::Code),
        Command::Completions(a) => commands::manual::completions(&a).map(Exited::Code),
        Command::Man(a) => commands::manual::man(&a).map(Exited::Code),
    };
    done.unwrap_or_else(|e| e.report())
}

/// No command's name begins with a hyphen: that is an option that was mistyped.
fn named(cmd: &[OsString]) -> Result<(), CommandError> {
    match cmd.first().filter(|c| c.as_encoded_bytes().starts_with(b"-")) {
        Some(c) => {
            let verb = std::env::args().nth(1).unwrap_or_default();
            let error = CommandError::new(exit_code::USAGE, format!("there is no option `{}`", c.to_string_lossy()));
            Err(error.hint(format!("`xl {verb} --help` shows what there is")))
        }
        None => Ok(()),
    }
}
