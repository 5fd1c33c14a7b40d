//! That the eBPF programs could be loaded here: found out once after each start of the machine, and again when `xl` itself has
//! changed, because it takes a tenth of a second that a warm build should not pay. If the memo is wrong, what should have been
//! observed is not cached, and that is said.

use std::path::PathBuf;

/// The memo, and what it must say.
pub struct EbpfMemo {
    file: PathBuf,
    text: String,
}

impl EbpfMemo {
    pub fn new() -> Option<Self> {
        let dir = engine::config::user_cache_dir(|v| std::env::var_os(v))?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let me = rustix::fs::stat("/proc/self/exe").ok()?;
        // What a sandbox takes away counts, too.
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let rights: String = status.lines().filter(|l| l.starts_with("CapEff:") || l.starts_with("Seccomp")).collect();
        let uid = rustix::process::geteuid().as_raw();
        // A change of the file's capabilities shows in its change time.
        let text = format!("{} {uid} {rights} {} {} {}.{}\n", boot.trim(), me.st_dev, me.st_ino, me.st_ctime, me.st_ctime_nsec);
        Some(Self { file: dir.join("ebpf-works"), text })
    }

    pub fn is_kept(&self) -> bool {
        std::fs::read_to_string(&self.file).is_ok_and(|t| t == self.text)
    }

    pub fn forget(&self) {
        drop(std::fs::remove_file(&self.file));
    }

    pub fn keep(&self) {
        // Without it the programs are tried again next time.
        let _ = self.file.parent().map(std::fs::create_dir_all).and_then(|_| std::fs::write(&self.file, &self.text).ok());
    }
}
