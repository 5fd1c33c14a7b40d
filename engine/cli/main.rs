//! `xl`: parses the command line and hands over. How anything is done is in the libraries.

mod app;
mod args;
mod commands;
mod ebpf_memo;
mod elsewhere;
mod exit_code;
mod lines;
mod messages;
mod output;
mod progress;
mod self_test;
mod shorten;
mod usage;

fn main() -> std::process::ExitCode {
    let exited = app::run();
    if let tracer::Exited::Signal(s) = exited {
        let _ = std::io::Write::flush(&mut std::io::stdout());
        tracer::die_of(s);
    }
    std::process::ExitCode::from(u8::try_from(exited.shell_code()).unwrap_or(exit_code::INTERNAL))
}
