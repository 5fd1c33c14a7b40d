//! `xl doctor`: what works on this machine, found out by doing it, and which setting came from where.

use super::{config, open_cache};
use crate::app::CommonArgs;
use crate::messages::CommandError;

pub fn run(a: &CommonArgs) -> Result<i32, CommandError> {
    // First, while this process has one thread.
    let gate = tracer::probe();
    let mut bad = 0;
    let mut say = |what: &str, r: Result<String, String>| match r {
        Ok(text) => println!("ok    {what:<22} {text}"),
        Err(why) => {
            bad += 1;
            println!("FAIL  {what:<22} {why}");
        }
    };
    say("gate and observer", gate.map(|()| "seccomp user notification".into()).map_err(|e| e.to_string()));
    println!("--    {:<22} not part of this version", "eBPF observer");
    let kernel = rustix::system::uname();
    say("kernel", Ok(kernel.release().to_string_lossy().into_owned()));
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").map(|s| s.trim().to_owned());
    say(
        "ptrace (for hits)",
        match scope.as_deref() {
            Ok("2" | "3") => Err("kernel.yama.ptrace_scope forbids it: nothing can hit; sysctl kernel.yama.ptrace_scope=1".into()),
            Ok(s) => Ok(format!("kernel.yama.ptrace_scope = {s}")),
            Err(_) => Ok("no Yama".into()),
        },
    );
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
