//! Is a command too cheap to bother? Pure rules over its history, program and arguments.

use worker::tools::{self, Known, is_shell, is_toolchain};

/// A command whose observed runs take less than this is not worth a lookup, microseconds. Running `/bin/true` for
/// real takes about 1 ms of CPU, a hit 0.6 to 1 ms.
pub const CHEAP_US: u64 = 2_000;
/// After so many short runs in a row.
pub const CHEAP_RUNS: u32 = 2;

/// May this command be bypassed, given its history?
pub fn is_cheap(h: &cache::store::History, program: &[u8], argv: &[Vec<u8>]) -> bool {
    shows_progress(program, argv) || (h.cheap_runs >= CHEAP_RUNS && !is_toolchain(program))
}

/// Does it only count how far the build is, directly or by a shell? Nothing of that repeats.
fn shows_progress(program: &[u8], argv: &[Vec<u8>]) -> bool {
    if !(is_shell(program) || tools::find(program).is_some_and(Known::may_count_progress)) {
        return false;
    }
    let text = worker::command_text::executed(argv);
    let words: Vec<&[u8]> = text.split(|b| *b == b' ').collect();
    let alone = !text.iter().any(|b| matches!(b, b';' | b'&' | b'|' | b'`' | b'$' | b'>' | b'<'));
    alone && tools::find(words[0]).is_some_and(|k| k.counts_progress(&words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').map(|s| s.as_bytes().to_vec()).collect()
    }

    #[test]
    fn who_shows_progress() {
        let h = cache::store::History::default();
        let cheap = |line: &str| is_cheap(&h, b"/usr/bin/cmake", &args(line));
        assert!(cheap("cmake -E cmake_progress_start /b/CMakeFiles 12"));
        // It takes longer than its own hit: the program is large.
        assert!(!cheap("cmake -E cmake_echo_color --green --progress-dir=/b --progress-num=3 text"));
        assert!(!cheap("cmake -E cmake_echo_color --green text") && !cheap("cmake -E copy a b") && !cheap("cmake -E"));
        let shell = |text: &str| is_cheap(&h, b"/bin/dash", &["/bin/sh".into(), "-c".into(), text.into()]);
        assert!(shell("/usr/bin/cmake -E cmake_progress_start \"/b/CMakeFiles\" 0"));
        assert!(!shell("cmake -E cmake_progress_start /b 0 > log"));
    }
}
