//! What a plugin writes: log lines, standard output, standard error; up to a limit, the rest is counted.
//!
//! Does not know where the lines go.

use serde::{Deserialize, Serialize};

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// For who writes the plugin.
    Debug,
    /// For who operates it.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something went wrong.
    Error,
}

/// One line of a plugin's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line {
    /// How loud.
    pub level: Level,
    /// What it says.
    pub text: String,
}

/// The lines of one call.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: Vec<Line>,
    /// Standard output and error, until a line ends.
    partial: Vec<u8>,
    left: u64,
    cut: u64,
}

impl Log {
    pub(crate) fn new(limit: u64) -> Self {
        Log { left: limit, ..Log::default() }
    }

    pub(crate) fn line(&mut self, level: Level, mut text: String) {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        if text.len() > room {
            let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            self.cut += (text.len() - end) as u64;
            text.truncate(end);
        }
        self.left -= text.len() as u64;
        // A line costs memory even if it is empty.
        self.left = self.left.saturating_sub(16);
        if !text.is_empty() {
            self.lines.push(Line { level, text });
        }
    }

    pub(crate) fn print(&mut self, bytes: &[u8]) {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).saturating_sub(self.partial.len());
        let kept = bytes.len().min(room);
        self.cut += (bytes.len() - kept) as u64;
        self.partial.extend_from_slice(&bytes[..kept]);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.line(Level::Debug, String::from_utf8_lossy(&line[..end]).into_owned());
        }
    }

    /// What was written since the last time, and how much of it did not fit.
    pub(crate) fn take(&mut self, limit: u64) -> Vec<Line> {
        if !self.partial.is_empty() {
            let rest = std::mem::take(&mut self.partial);
            self.line(Level::Debug, String::from_utf8_lossy(&rest).into_owned());
        }
        let mut lines = std::mem::take(&mut self.lines);
        if self.cut > 0 {
            lines.push(Line { level: Level::Warn, text: format!("{} bytes of log were cut off", self.cut) });
        }
        *self = Log::new(limit);
        lines
    }
}

/// What a plugin said before it crashed, without what its runtime adds for whoever has a debugger.
pub(crate) fn last_words(lines: &[Line]) -> String {
    let said = lines.iter().rev().find(|line| !line.text.starts_with("note: run with `RUST_BACKTRACE"));
    said.map(|line| format!("; it last said: {}", line.text)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut log = Log::new(100);
        for _ in 0..1_000 {
            log.line(Level::Info, "ä".repeat(30));
        }
        let lines = log.take(100);
        assert!(lines.len() < 10, "{}", lines.len());
        assert!(lines.last().unwrap().text.contains("cut off"));
        log.print(&[b'x'; 1_000]);
        assert_eq!(log.take(100)[0].text.len(), 100);
    }

    #[test]
    fn printed_text_becomes_lines() {
        let mut log = Log::new(1_000);
        log.print(b"one\ntw");
        log.print(b"o\nthree");
        let texts: Vec<_> = log.take(1_000).into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["one", "two", "three"]);
    }
}
