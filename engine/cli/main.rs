//! `xl`: parses the command line and hands over. How anything is done is in the libraries.

mod app;
mod commands;
mod ebpf_memo;
mod exit_code;
mod messages;
mod progress;

fn main() -> std::process::ExitCode {
    let code = app::run();
    std::process::ExitCode::from(u8::try_from(code).unwrap_or(exit_code::INTERNAL))
}
