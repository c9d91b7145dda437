//! Where a command's words go: standard output for results, standard error for progress and failures.
//!
//! Decides about colour and JSON once for all commands; knows no command.

use std::io::{self, BufRead, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use crate::cli::failed::Failed;
use crate::cli::text::{Tone, paint};
use crate::cli::times::Times;
use crate::client::Fetched;

/// Clears the terminal and goes to its top left corner.
const REDRAW: &str = "\u{1b}[H\u{1b}[2J";

/// Where a command's words go.
#[derive(Debug)]
pub struct Console {
    json: bool,
    times: Times,
}

impl Console {
    /// For this process; `choice` holds for everything that is printed from now on.
    pub fn new(json: bool, choice: ColorChoice) -> Self {
        choice.write_global();
        Console { json, times: Times::of_this_machine() }
    }

    /// Whether the reader is a program.
    pub fn json(&self) -> bool {
        self.json
    }

    /// The operator's zone and the time of the command's start.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// Whether somebody is there to be asked.
    pub fn interactive(&self) -> bool {
        !self.json && io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// Prints `value`: as JSON on one line, or as `render` puts it for people.
    pub fn show<T: Serialize>(&self, value: &T, render: impl FnOnce(&T, &Times) -> String) -> Result<(), Failed> {
        match self.json {
            true => self.document(value),
            false => self.say(&render(value, &self.times)),
        }
    }

    /// Prints what a host said: as it came, or as `render` puts it for people.
    pub fn show_fetched<T>(
        &self,
        fetched: &Fetched<T>,
        render: impl FnOnce(&T, &Times) -> String,
    ) -> Result<(), Failed> {
        match self.json {
            true => self.document(&fetched.raw),
            false => self.say(&render(&fetched.value, &self.times)),
        }
    }

    /// Prints what a host said now, in place of what it said before where that can be done.
    pub fn redraw<T>(&self, fetched: &Fetched<T>, render: impl FnOnce(&T, &Times) -> String) -> Result<(), Failed> {
        if !self.json && io::stdout().is_terminal() {
            self.say(REDRAW)?;
        }
        let now = Times::of_this_machine();
        self.show_fetched(fetched, |value, times| render(value, &times.moved_to(now.now())))
    }

    /// Prints one JSON document on one line.
    pub fn document<T: Serialize>(&self, value: &T) -> Result<(), Failed> {
        let mut line = serde_json::to_string(value).map_err(|error| Failed::new(format!("cannot print: {error}")))?;
        line.push('\n');
        self.write(&mut io::stdout().lock(), &line)
    }

    /// Prints text for people, ending its last line.
    pub fn say(&self, text: &str) -> Result<(), Failed> {
        let end = if text.ends_with('\n') || text == REDRAW { "" } else { "\n" };
        self.write(&mut AutoStream::auto(io::stdout()).lock(), &format!("{text}{end}"))
    }

    /// Tells that something is under way, to somebody who watches; never part of the result.
    pub fn progress(&self, text: &str) {
        if io::stderr().is_terminal() {
            anstream::eprintln!("{}", paint(text, Tone::Quiet));
        }
    }

    /// Tells what the reader has to know of a result; never part of it.
    pub fn note(&self, text: &str) {
        anstream::eprintln!("{} {text}", paint("note:", Tone::Warning));
    }

    /// Tells why the command did not work.
    pub fn failed(&self, failed: &Failed) {
        if self.json {
            // Where even this cannot be written nobody is left to be told.
            let _ = self.document(&serde_json::json!({ "error": failed.told }));
        } else {
            anstream::eprintln!("{} {failed}", paint("error:", Tone::Bad));
        }
    }

    /// Asks, and takes the line that is typed; an empty line takes `default`.
    pub fn ask(&self, question: &str, default: &str) -> Result<String, Failed> {
        let hint = if default.is_empty() { String::new() } else { paint(format!(" [{default}]"), Tone::Quiet) };
        anstream::eprint!("{question}{hint} ");
        let mut line = String::new();
        let read = io::stdin()
            .lock()
            .read_line(&mut line)
            .map_err(|error| Failed::new(format!("cannot read an answer: {error}")))?;
        match (read, line.trim()) {
            (0, _) => Err(Failed::usage("no answer was given").unchanged("nothing was changed")),
            (_, "") => Ok(default.to_owned()),
            (_, answer) => Ok(answer.to_owned()),
        }
    }

    fn write(&self, out: &mut impl Write, text: &str) -> Result<(), Failed> {
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failed::reader_gone(),
            _ => Failed::new(format!("cannot print: {error}")),
        })
    }
}
