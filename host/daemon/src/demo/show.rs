//! How the demonstration talks: chapters, facts and quoted output; coloured on a terminal, plain in a pipe, silent for `--json`.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Where the story goes.
pub(super) struct Show {
    /// None = only the JSON document at the end.
    colour: Option<bool>,
    began: Instant,
}

impl Show {
    /// Talks to standard output, unless one JSON document is all that is wanted.
    pub(super) fn new(json: bool) -> Show {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Show { colour: (!json).then_some(colour), began: Instant::now() }
    }

    /// A chapter's heading.
    pub(super) fn chapter(&self, title: &str) {
        self.print(&format!("\n{}  {}\n", self.paint("36", &self.clock()), self.paint("1", title)));
    }

    /// Something that happened.
    pub(super) fn fact(&self, text: &str) {
        self.print(&format!("        {text}\n"));
    }

    /// Something that happened as it should.
    pub(super) fn good(&self, text: &str) {
        self.print(&format!("     {}  {text}\n", self.paint("32", "ok")));
    }

    /// Something that did not happen as it should.
    pub(super) fn bad(&self, text: &str) {
        self.print(&format!("  {}  {text}\n", self.paint("31", "wrong")));
    }

    /// What a command printed, under the line that anybody can type.
    pub(super) fn quote(&self, command: &str, output: &str) {
        self.print(&format!("        {}\n", self.paint("2", &format!("$ {command}"))));
        for line in output.lines() {
            self.print(&format!("        {}\n", self.paint("2", "| ").to_string() + line));
        }
    }

    fn clock(&self) -> String {
        format!("{:5.1} s", Duration::as_secs_f64(&self.began.elapsed()))
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour == Some(true) { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn print(&self, text: &str) {
        if self.colour.is_some() {
            let mut out = std::io::stdout().lock();
            // Whoever reads may stop reading; the demonstration goes on and its exit code says how it ended.
            drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
        }
    }
}
