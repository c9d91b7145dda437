//! Text for people: tones, tables and indented facts.
//!
//! Always paints; whether colour reaches the reader is decided where it is printed. Knows nothing of what it shows.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use crate::said::Said;

/// Between two columns.
const GAP: usize = 2;

/// What a piece of text means for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// All is well.
    Good,
    /// Deserves a look.
    Warning,
    /// Deserves one now.
    Bad,
    /// Beside the point.
    Quiet,
    /// The name of what follows.
    Title,
}

/// A piece of text in one tone.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

/// Aligned columns under their headings.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

/// `text` in `tone`.
pub fn paint(text: impl AsRef<str>, tone: Tone) -> String {
    let (text, style) = (text.as_ref(), tone.style());
    if tone == Tone::Plain || text.is_empty() { text.to_owned() } else { format!("{style}{text}{style:#}") }
}

/// A cell in `tone`.
pub fn cell(text: impl Into<String>, tone: Tone) -> Cell {
    // A name or a plugin's sentence may not break the table, nor drive the terminal.
    Cell { text: one_line(&text.into()), tone }
}

/// `text` without line breaks and control characters, which a plugin or a fleet file may have put there.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `name   text`, the names of a block under each other.
pub fn facts<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = Table { rows: Vec::new() };
    for (name, text) in pairs {
        table.row([cell(name, Tone::Quiet), Cell { text, tone: Tone::Plain }]);
    }
    table.render()
}

impl Table {
    /// An empty table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Table { rows: vec![headings.map(|heading| cell(heading.to_uppercase(), Tone::Quiet)).into()] }
    }

    /// One more row.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// The table, one line for each row, without trailing blanks.
    pub fn render(&self) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
            for (column, cell) in row.iter().enumerate().take(last + 1) {
                let pad = if column == last { 0 } else { widths[column] + GAP - cell.width() };
                let _ = write!(text, "{}{:pad$}", paint(&cell.text, cell.tone), "");
            }
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        (0..columns)
            .map(|column| self.rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max().unwrap_or(0))
            .collect()
    }
}

impl Cell {
    fn width(&self) -> usize {
        self.text.width()
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        cell(text, Tone::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        cell(text, Tone::Plain)
    }
}

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Tone::Plain => Style::new(),
            Tone::Good => colour(AnsiColor::Green),
            Tone::Warning => colour(AnsiColor::Yellow),
            Tone::Bad => colour(AnsiColor::Red).bold(),
            Tone::Quiet => Style::new().dimmed(),
            Tone::Title => Style::new().bold(),
        }
    }
}

/// What a policy said, on one line.
pub fn said(said: &Said) -> String {
    let reasons: Vec<&str> = said.reasons.iter().map(|reason| reason.text.as_str()).collect();
    one_line(&format!("{} [{}] {}", said.verdict, said.analysis, reasons.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::{Table, Tone, cell, paint};

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_line_up_with_wide_characters_and_colours() {
        let mut table = Table::new(["service", "state"]);
        table.row([cell("店", Tone::Bad), "normal".into()]);
        table.row(["shop".into(), "".into()]);
        assert_eq!(plain(&table.render()), "SERVICE  STATE\n店       normal\nshop\n");
    }

    #[test]
    fn text_from_elsewhere_cannot_drive_the_terminal() {
        let mut table = Table::new(["reason"]);
        table.row(["a\u{1b}[2Jb\nc".into()]);
        assert!(table.render().ends_with("\na [2Jb c\n"), "{:?}", table.render());
    }

    #[test]
    fn paints_and_leaves_plain_text_alone() {
        assert_eq!(paint("x", Tone::Plain), "x");
        assert_eq!(paint("x", Tone::Good), "\u{1b}[32mx\u{1b}[0m");
    }
}
