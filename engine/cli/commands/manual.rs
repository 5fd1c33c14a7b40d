//! `xl man` and `xl completions`: the command line as manual pages and as what shells complete, both made from its
//! definition.

use crate::args::{self, CompletionsArgs, ManArgs};
use crate::exit_code;
use crate::messages::CommandError;
use crate::output::print;
use ::cache::home;
use clap_mangen::Man;
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

/// One page to standard output (through man(1) if somebody is looking), or all of them into a directory.
pub(crate) fn man(a: &ManArgs) -> Result<i32, CommandError> {
    let mut top = args::definition().disable_help_subcommand(true);
    if let Some(dir) = &a.dir.as_deref().map(home::expand) {
        let failed = |e: std::io::Error| {
            CommandError::new(exit_code::CACHE, format!("the pages cannot be written to `{}`", dir.display()))
                .cause(e.to_string())
        };
        std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(top, dir)).map_err(failed)?;
        return Ok(0);
    }
    top.build();
    let none = |name| {
        CommandError::new(exit_code::USAGE, format!("there is no command `{name}`"))
            .hint("`xl --help` lists the commands")
    };
    let command = a.command.iter().try_fold(&top, |c, name| c.find_subcommand(name).ok_or_else(|| none(name)))?;
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).map_err(|e| CommandError::new(exit_code::INTERNAL, e.to_string()))?;
    if !(std::io::stdout().is_terminal() && shown(&page)) {
        print(&page)?;
    }
    Ok(0)
}

/// What a shell reads to complete this command line.
pub(crate) fn completions(a: &CompletionsArgs) -> Result<i32, CommandError> {
    let all = args::definition();
    let offered = all.get_subcommands().filter(|s| !s.is_hide_set()).cloned();
    let mut xl = clap::Command::new("xl").args(all.get_arguments().cloned()).subcommands(offered);
    let mut script = Vec::new();
    clap_complete::generate(a.shell, &mut xl, "xl", &mut script);
    print(&script)?;
    Ok(0)
}

/// Shows a page as `man` does; false if it cannot.
fn shown(page: &[u8]) -> bool {
    let man = Command::new("man").args(["-l", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut man) = man else { return false };
    // A pager that is left early reads no more.
    let _ = man.stdin.take().map(|mut i| i.write_all(page));
    man.wait().is_ok_and(|s| s.success())
}
