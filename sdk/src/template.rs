//! Texts with `{names}` in them, and the values that a runbook's step gives to those names.
//!
//! Knows no protocol: whoever fills in says how a value has to be escaped where it goes.

use std::collections::BTreeMap;

use crate::contract::{Call, Failure};

/// Names and their values.
pub type Values = BTreeMap<String, String>;

/// A step's arguments (a JSON object of texts, numbers and truth values), and `{key}` and `{epoch}` of its call.
pub fn values(arguments: &str, call: &Call) -> Result<Values, Failure> {
    let mut values = read(arguments)?;
    values.insert("key".to_owned(), call.key.clone());
    values.insert("epoch".to_owned(), call.epoch.to_string());
    Ok(values)
}

/// The names in a text: lower-case letters, digits and hyphens in braces. Any other brace is only a brace.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Name(name) => Some(name),
        Piece::Text(_) => None,
    })
}

/// The text with every name replaced by its value, escaped for where it goes.
pub fn fill(text: &str, values: &Values, escape: fn(&str) -> String) -> Result<String, Failure> {
    let mut filled = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Name(name) => {
                let missing = || Failure::Invalid(format!("the step gives no value for {{{name}}}"));
                filled.push_str(&escape(values.get(name).ok_or_else(missing)?));
            }
        }
    }
    Ok(filled)
}

/// As it is.
pub fn plain(value: &str) -> String {
    value.to_owned()
}

/// For a path segment or a query of a URL: nothing in it can end the segment.
pub fn percent(value: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let escape = |byte: u8| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    value.bytes().map(escape).collect()
}

/// For the inside of a JSON string.
pub fn json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = split(rest)?;
        rest = after;
        Some(piece)
    })
}

/// The first piece, and what follows it.
fn split(text: &str) -> Option<(Piece<'_>, &str)> {
    if let Some((name, after)) = leading_name(text) {
        return Some((Piece::Name(name), after));
    }
    let skip = usize::from(text.starts_with('{'));
    let end = text.get(skip..)?.find('{').map_or(text.len(), |at| at + skip);
    (end > 0).then(|| (Piece::Text(&text[..end]), &text[end..]))
}

fn leading_name(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix('{')?.split_once('}')?;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(allowed)).then_some((name, after))
}

fn read(arguments: &str) -> Result<Values, Failure> {
    use serde_json::Value;
    if arguments.is_empty() {
        return Ok(Values::new());
    }
    let object: BTreeMap<String, Value> = serde_json::from_str(arguments)
        .map_err(|error| Failure::Invalid(format!("the step's arguments are not a JSON object: {error}")))?;
    let text = |(name, value)| match value {
        Value::String(text) => Ok((name, text)),
        Value::Number(_) | Value::Bool(_) => Ok((name, value.to_string())),
        _ => Err(Failure::Invalid(format!("the step's argument {name} is neither text nor number nor truth value"))),
    };
    object.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::{fill, json, names, percent, plain, values};
    use crate::contract::{Call, Failure};

    fn call() -> Call {
        Call { epoch: 7, key: "run-1/scale".to_owned(), timeout: 1_000 }
    }

    #[test]
    fn fills_in_arguments_and_the_calls_own_words() {
        let values = values(r#"{"site": "west", "replicas": 3, "force": true}"#, &call()).unwrap();
        let cases = [
            ("{site}: {replicas} {force}", "west: 3 true"),
            ("{key} {epoch}", "run-1/scale 7"),
            (r#"{"replicas": {replicas}}"#, r#"{"replicas": 3}"#),
            ("{} {A} {a b} { {", "{} {A} {a b} { {"),
            ("", ""),
        ];
        for (text, filled) in cases {
            assert_eq!(fill(text, &values, plain).unwrap(), filled);
        }
    }

    #[test]
    fn names_what_is_missing() {
        let values = values("", &call()).unwrap();
        assert_eq!(
            fill("{site}", &values, plain),
            Err(Failure::Invalid("the step gives no value for {site}".to_owned()))
        );
        assert_eq!(names("a {site} {key} {}").collect::<Vec<_>>(), ["site", "key"]);
    }

    #[test]
    fn a_value_cannot_leave_its_place() {
        assert_eq!(percent("../a b?x=1&y"), "..%2Fa%20b%3Fx%3D1%26y");
        assert_eq!(json("a\"},{\"b\n"), r#"a\"},{\"b\n"#);
    }

    #[test]
    fn refuses_arguments_that_are_no_plain_values() {
        for arguments in ["[]", "{\"a\": [1]}", "{\"a\": null}", "x"] {
            assert!(matches!(values(arguments, &call()), Err(Failure::Invalid(_))), "{arguments}");
        }
    }
}
