//! `xl doctor`: what works on this machine, found out by doing it, and which setting came from where.

use super::{config, open_cache};
use crate::app::CommonArgs;
use crate::messages::CommandError;
use crate::output::print;

pub fn run(a: &CommonArgs) -> Result<i32, CommandError> {
    // First, while this process has one thread.
    let attach = tracer::probe_attaching();
    let gate: Result<(), tracer::SpawnError> = Ok(());
    let ebpf = tracer::probe_ebpf();
    let mut bad = 0;
    let mut say = |what: &str, r: Result<String, String>| match r {
        Ok(text) => print(format!("ok    {what:<22} {text}\n")),
        Err(why) => {
            bad += 1;
            print(format!("FAIL  {what:<22} {why}\n"))
        }
    };
    let usable = match (&ebpf, &gate, &attach) {
        (Ok(()), Ok(()), _) => "ebpf",
        (_, Ok(()), _) => "seccomp",
        (_, _, Ok(())) => "ptrace",
        _ => "none: commands run as if there were no xl",
    };
    say("backend `seccomp`", gate.map(|()| "system calls are notified".into()).map_err(|e| e.to_string()))?;
    // Containers and hardened kernels forbid it in their own ways.
    let hint = "nothing can hit: allow ptrace (kernel.yama.ptrace_scope below 2; in a container --cap-add SYS_PTRACE)";
    say("ptrace", attach.map(|()| "hits work; backend `ptrace` works".into()).map_err(|e| format!("{e}: {hint}")))?;
    print(format!("--    {:<22} {usable}\n", "`--backend auto` takes"))?;
    print(match ebpf {
        Ok(()) => format!("ok    {:<22} looks are reported by the kernel\n", "backend `ebpf`"),
        // The other backends see the same; this one is faster.
        Err(e) => format!("--    {:<22} {e}{}\n", "backend `ebpf`", ebpf_hint(&e)),
    })?;
    let kernel = rustix::system::uname();
    say("kernel", Ok(kernel.release().to_string_lossy().into_owned()))?;
    let config = config(a)?;
    say("workspace root", Ok(config.root.display().to_string()))?;
    let cache = open_cache(&config).map(|(c, notices)| {
        let access = format!("{} ({:?})", config.cache_dir.display(), c.store.access());
        c.store.close();
        [vec![access], notices].concat().join("; ")
    });
    say("cache", cache.map_err(|e| e.to_string()))?;
    for (key, value, from) in &config.origins {
        print(format!("      {key} = {value}  (from {from})\n"))?;
    }
    Ok(i32::from(bad > 0))
}

/// How to get the fast backend.
fn ebpf_hint(e: &tracer::EbpfUnavailable) -> String {
    let me = std::env::current_exe().map_or_else(|_| "xl".into(), |p| p.display().to_string());
    match e {
        tracer::EbpfUnavailable::NotBuilt(_) => "; install clang and build xl again".into(),
        _ if !rustix::process::geteuid().is_root() => format!("; to let every user have it: sudo setcap cap_bpf,cap_perfmon+ep {me}"),
        _ => String::new(),
    }
}
