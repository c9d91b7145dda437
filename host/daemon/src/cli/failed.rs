//! How a command ends: the exit codes, and the one shape of what an operator is told when something did not work.
//!
//! Knows no command; says what, where, what stayed unchanged and what to do next, as text and as JSON.

use std::fmt;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is so.
    Done = 0,
    /// It was tried and did not work.
    Failed = 1,
    /// It could not be tried: bad usage, bad input.
    Usage = 2,
    /// A guard said no.
    Refused = 3,
    /// A person has to decide first.
    Waiting = 4,
}

/// Why a command did not do what it was asked to.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// The exit code that goes with it.
    pub exit: Exit,
    /// What is told.
    pub told: Told,
}

/// What an operator is told; the API's errors have the same shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Told {
    /// What went wrong.
    pub what: String,
    /// Where: a file and line, an address, a service.
    #[serde(rename = "where")]
    pub place: Option<String>,
    /// What is as it was before.
    pub unchanged: Option<String>,
    /// What to do next.
    pub next: Option<String>,
}

impl Failed {
    /// Tried, and did not work.
    pub fn new(what: impl Into<String>) -> Self {
        Failed { exit: Exit::Failed, told: Told { what: what.into(), ..Told::default() } }
    }

    /// Bad usage or bad input.
    pub fn usage(what: impl Into<String>) -> Self {
        Failed { exit: Exit::Usage, ..Failed::new(what) }
    }

    /// A guard said no.
    pub fn refused(what: impl Into<String>) -> Self {
        Failed { exit: Exit::Refused, ..Failed::new(what) }
    }

    /// Adds where it happened.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.told.place = Some(place.to_string());
        self
    }

    /// Adds what stayed as it was.
    pub fn unchanged(mut self, what: impl Into<String>) -> Self {
        self.told.unchanged = Some(what.into());
        self
    }

    /// Adds what to do next.
    pub fn next(mut self, what: impl Into<String>) -> Self {
        self.told.next = Some(what.into());
        self
    }

    /// Nobody reads our output any more (`tidegate … | head`): no failure, and nothing left to say.
    pub fn reader_gone() -> Self {
        Failed { exit: Exit::Done, told: Told::default() }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for (name, text) in [("where", &self.place), ("unchanged", &self.unchanged), ("next", &self.next)] {
            if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
                write!(f, "\n  {name}: {}", text.replace('\n', "\n    "))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told.fmt(f)
    }
}

impl std::error::Error for Failed {}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Failed>() {
            Ok(failed) => failed,
            Err(error) => Failed::new(format!("{error:#}")),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::{Exit, Failed};

    #[test]
    fn says_what_where_what_stayed_and_what_next() {
        let failed = Failed::refused("shop may not move to east")
            .at("service shop")
            .unchanged("shop is served from west")
            .next("wait for the cooldown to end");
        assert_eq!(
            failed.to_string(),
            "shop may not move to east\n  where: service shop\n  unchanged: shop is served from west\n  \
             next: wait for the cooldown to end"
        );
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let table = [(Exit::Done, 0), (Exit::Failed, 1), (Exit::Usage, 2), (Exit::Refused, 3), (Exit::Waiting, 4)];
        for (exit, code) in table {
            assert_eq!(exit as u8, code);
        }
    }

    #[test]
    fn keeps_its_exit_code_when_it_travels_as_anyhow() {
        let error = anyhow::Error::from(Failed::refused("no")).context("while moving");
        assert_eq!(Failed::from(error).exit, Exit::Refused);
    }
}
