//! That the eBPF programs could be loaded here: found out once after each start of the machine, and again when `xl`
//! itself has changed, because it takes 15 to 20 ms that a build with nothing to do should not pay. If the memo is
//! wrong, what should have been observed is not cached, and that is said. One line for each `xl` and each place that it
//! runs in, so that two of them on one machine do not forget for each other.

use std::path::PathBuf;

/// The newest lines that are kept.
const MOST: usize = 16;

/// The memo, and what it must say.
pub(crate) struct EbpfMemo {
    file: PathBuf,
    text: String,
}

impl EbpfMemo {
    pub(crate) fn new() -> Option<Self> {
        let dir = cache::home::user_cache_dir(|v| std::env::var_os(v))?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let me = rustix::fs::stat("/proc/self/exe").ok()?;
        // What a sandbox takes away counts, too.
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let rights: String = status.lines().filter(|l| l.starts_with("CapEff:") || l.starts_with("Seccomp")).collect();
        let uid = rustix::process::geteuid().as_raw();
        // A change of the file's capabilities shows in its change time.
        let text =
            format!("{} {uid} {rights} {} {} {}.{}", boot.trim(), me.st_dev, me.st_ino, me.st_ctime, me.st_ctime_nsec);
        Some(Self { file: dir.join("ebpf-works"), text })
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.lines().contains(&self.text)
    }

    pub(crate) fn forget(&self) {
        self.write(self.others());
    }

    pub(crate) fn keep(&self) {
        let mut lines = self.others();
        lines.drain(..lines.len().saturating_sub(MOST - 1));
        lines.push(self.text.clone());
        self.write(lines);
    }

    fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(&self.file).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn others(&self) -> Vec<String> {
        self.lines().into_iter().filter(|l| *l != self.text).collect()
    }

    /// Without it, or if another run wrote at the same time, the programs are tried again next time.
    fn write(&self, lines: Vec<String>) {
        let text: String = lines.into_iter().map(|l| l + "\n").collect();
        let _ = self.file.parent().map(std::fs::create_dir_all).and_then(|_| std::fs::write(&self.file, text).ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_alternate_keep_what_they_know() {
        let dir = tempfile::tempdir().expect("a directory");
        let memo = |text: String| EbpfMemo { file: dir.path().join("cache/ebpf-works"), text };
        let (a, b) = (memo("a".into()), memo("b".into()));
        assert!(!a.is_kept());
        a.keep();
        b.keep();
        a.keep();
        assert!(a.is_kept() && b.is_kept());
        b.forget();
        assert!(a.is_kept() && !b.is_kept());
        let many: Vec<EbpfMemo> = (0..MOST).map(|i| memo(format!("boot {i}"))).collect();
        many.iter().for_each(EbpfMemo::keep);
        assert!(!a.is_kept() && many.iter().all(EbpfMemo::is_kept), "only the newest are kept");
    }
}
