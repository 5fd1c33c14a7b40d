//! `xl doctor`: what works on this machine, found out by doing it, and which setting came from where.

use super::{config, open_cache};
use crate::app::CommonArgs;
use crate::messages::CommandError;

pub fn run(a: &CommonArgs) -> Result<i32, CommandError> {
    // First, while this process has one thread.
    let attach = tracer::probe_attaching();
    let gate = tracer::probe();
    let mut bad = 0;
    let mut say = |what: &str, r: Result<String, String>| match r {
        Ok(text) => println!("ok    {what:<22} {text}"),
        Err(why) => {
            bad += 1;
            println!("FAIL  {what:<22} {why}");
        }
    };
    let usable = match (&gate, &attach) {
        (Ok(()), _) => "seccomp",
        (_, Ok(())) => "ptrace",
        _ => "none: commands run as if there were no xl",
    };
    say("backend `seccomp`", gate.map(|()| "system calls are notified".into()).map_err(|e| e.to_string()));
    // Containers and hardened kernels forbid it in their own ways.
    let hint = "nothing can hit: allow ptrace (kernel.yama.ptrace_scope below 2; in a container --cap-add SYS_PTRACE)";
    say("ptrace", attach.map(|()| "hits work; backend `ptrace` works".into()).map_err(|e| format!("{e}: {hint}")));
    println!("--    {:<22} {usable}", "`--backend auto` takes");
    println!("--    {:<22} not part of this version", "backend `ebpf`");
    let kernel = rustix::system::uname();
    say("kernel", Ok(kernel.release().to_string_lossy().into_owned()));
    let config = config(a)?;
    say("workspace root", Ok(config.root.display().to_string()));
    let cache = open_cache(&config).map(|(c, notices)| {
        let access = format!("{} ({:?})", config.cache_dir.display(), c.store.access());
        c.store.close();
        [vec![access], notices].concat().join("; ")
    });
    say("cache", cache.map_err(|e| e.to_string()));
    for (key, value, from) in &config.origins {
        println!("      {key} = {value}  (from {from})");
    }
    Ok(i32::from(bad > 0))
}
