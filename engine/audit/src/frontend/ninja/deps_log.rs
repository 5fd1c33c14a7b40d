//! `.ninja_deps`: what ninja remembers of dependency files that it has read and removed.
//!
//! The format is ninja's (`src/deps_log.h`): a signature, a version, then records of a size word and that many bytes. A
//! path record ends in the complement of its number; a dependency record (high bit of the size) holds output, time (4
//! bytes in version 3, 8 in version 4) and inputs as numbers. A record for an output replaces an earlier one. A torn
//! end is dropped, as ninja does.

use rustc_hash::FxHashMap;

/// What each output was found to depend on.
#[derive(Debug, Default)]
pub(crate) struct DepsLog {
    paths: Vec<Vec<u8>>,
    numbers: FxHashMap<Vec<u8>, u32>,
    inputs: FxHashMap<u32, Vec<u32>>,
}

const SIGNATURE: &[u8] = b"# ninjadeps\n";

impl DepsLog {
    /// Reads a log; one that is not there, or of another version, says nothing.
    pub(crate) fn load(path: &[u8]) -> Self {
        std::fs::read(crate::paths::os_path(path)).map(|b| Self::parse(&b)).unwrap_or_default()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut log = Self::default();
        let word = |b: &[u8]| b.first_chunk::<4>().map(|w| u32::from_le_bytes(*w));
        let Some(rest) = bytes.strip_prefix(SIGNATURE) else { return log };
        let time = match word(rest) {
            Some(3) => 4,
            Some(4) => 8,
            _ => return log,
        };
        let mut rest = &rest[4..];
        while let Some(size) = word(rest) {
            let (is_deps, size) = (size >> 31 == 1, (size & 0x7fff_ffff) as usize);
            let Some(record) = rest.get(4..4 + size).filter(|_| size >= 4 && size % 4 == 0) else { break };
            rest = &rest[4 + size..];
            if is_deps {
                let numbers: Vec<u32> = record.chunks_exact(4).filter_map(word).collect();
                let (Some(out), Some(inputs)) = (numbers.first(), numbers.get(1 + time / 4..)) else { break };
                if numbers.iter().take(1).chain(inputs).any(|n| *n as usize >= log.paths.len()) {
                    break;
                }
                log.inputs.insert(*out, inputs.to_vec());
            } else {
                let (name, check) = record.split_at(size - 4);
                let number = u32::try_from(log.paths.len()).unwrap_or(u32::MAX);
                if word(check) != Some(!number) {
                    break;
                }
                // Padded to whole words with up to three zeros.
                let end = name.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
                log.numbers.insert(name[..end].to_vec(), number);
                log.paths.push(name[..end].to_vec());
            }
        }
        log
    }

    /// What this output was found to depend on, as ninja spells it.
    pub(crate) fn inputs(&self, output: &[u8]) -> impl Iterator<Item = &[u8]> {
        let found = self.numbers.get(output).and_then(|n| self.inputs.get(n));
        found.into_iter().flatten().map(|n| &self.paths[*n as usize][..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(version: u32) -> Vec<u8> {
        let mut b = [SIGNATURE, &version.to_le_bytes()].concat();
        for (i, name) in ["a.o", "long.h"].iter().enumerate() {
            let mut padded = name.as_bytes().to_vec();
            padded.resize(name.len().next_multiple_of(4), 0);
            b.extend((padded.len() as u32 + 4).to_le_bytes());
            b.extend(padded);
            b.extend((!(i as u32)).to_le_bytes());
        }
        let time: &[u32] = if version == 4 { &[7, 0] } else { &[7] };
        let record = [&[0], time, &[1]].concat();
        b.extend(((record.len() as u32 * 4) | (1 << 31)).to_le_bytes());
        b.extend(record.iter().flat_map(|n| n.to_le_bytes()));
        b
    }

    #[test]
    fn both_versions() {
        for v in [3, 4] {
            assert_eq!(DepsLog::parse(&log(v)).inputs(b"a.o").collect::<Vec<_>>(), [b"long.h"]);
        }
        assert_eq!(DepsLog::parse(&log(5)).inputs(b"a.o").count(), 0);
    }

    #[test]
    fn a_torn_log_keeps_what_is_whole() {
        let whole = log(4);
        for end in 0..whole.len() {
            let _ = DepsLog::parse(&whole[..end]);
        }
        let mut twice = whole.clone();
        twice.extend([9, 0, 0]);
        assert_eq!(DepsLog::parse(&twice).inputs(b"a.o").count(), 1);
    }
}
