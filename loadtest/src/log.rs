//! What a server logs, read while it runs: its lines are what kills are timed by, and what a start took.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Failure;

/// Between looks at the log.
const LOOK: Duration = Duration::from_micros(200);

/// The lines that are added to a log from now on.
#[derive(Debug)]
pub(crate) struct LogTail {
    file: File,
    /// Bytes of a line that is not at its end yet.
    begun: Vec<u8>,
}

impl LogTail {
    /// Begins behind what is logged already; the file is made where there is none.
    pub(crate) fn from_here(log: &Path) -> Result<Self, Failure> {
        let mut file = File::options().create(true).append(true).read(true).open(log)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, begun: Vec::new() })
    }

    /// The whole lines that came since the last call.
    pub(crate) fn lines(&mut self) -> Result<Vec<String>, Failure> {
        self.file.read_to_end(&mut self.begun)?;
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let rest = self.begun.split_off(end + 1);
        let whole = std::mem::replace(&mut self.begun, rest);
        Ok(String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect())
    }

    /// Waits for a line that holds `what`, giving every line read to `each`. False when none came in time.
    pub(crate) fn wait_for(
        &mut self,
        what: &str,
        patience: Duration,
        mut each: impl FnMut(&str),
    ) -> Result<bool, Failure> {
        let until = Instant::now() + patience;
        loop {
            let mut found = false;
            for line in self.lines()? {
                found |= line.contains(what);
                each(&line);
            }
            if found || Instant::now() >= until {
                return Ok(found);
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// The number of `name=NUMBER` in a line.
pub(crate) fn field(line: &str, name: &str) -> Option<u64> {
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
    value.trim_end_matches(',').parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use super::*;

    #[test]
    fn lines_are_given_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = File::create(&path).unwrap();
        log.write_all(b"before\n").unwrap();
        let mut tail = LogTail::from_here(&path).unwrap();
        log.write_all(b"one\ntw").unwrap();
        assert_eq!(tail.lines().unwrap(), ["one"]);
        assert!(tail.lines().unwrap().is_empty());
        log.write_all(b"o\nthree\n").unwrap();
        assert_eq!(tail.lines().unwrap(), ["two", "three"]);
    }

    #[test]
    fn a_line_that_never_comes_is_not_waited_for_and_the_others_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut tail = LogTail::from_here(&path).unwrap();
        std::fs::write(&path, "run sealed upto=7\n").unwrap();
        let mut seen = Vec::new();
        assert!(!tail.wait_for("merge begins", Duration::ZERO, |line| seen.push(line.to_owned())).unwrap());
        assert_eq!(seen, ["run sealed upto=7"]);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let line = "2026-01-01T00:00:00Z  INFO stampbook::engine: checkpoint is durable stop=3 op=12, bytes=4096";
        assert_eq!((field(line, "op"), field(line, "bytes"), field(line, "o")), (Some(12), Some(4_096), None));
    }
}
