//! Typed settings: from JSON, with every problem named by its JSON Pointer, and their JSON Schema for the manifest.
//!
//! Does not know what the settings mean; a plugin says the rest in [`Settings::check`].

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_path_to_error::{Segment, Track};

use crate::contract::Problem;

/// What an operator can set, as one type. Keys that the type does not have are refused for it.
///
/// `#[serde(default, rename_all = "kebab-case")]` makes everything optional and named as the fleet file names things.
pub trait Settings: DeserializeOwned + JsonSchema {
    /// What the types alone cannot refuse: two values that contradict each other, a number out of its range.
    fn check(&self) -> Vec<Problem> {
        Vec::new()
    }
}

/// For a plugin that has nothing to set: any key is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Deserialize, JsonSchema)]
pub struct NoSettings {}

impl Settings for NoSettings {}

impl Problem {
    /// A problem at a JSON Pointer ("" = the whole).
    pub fn new(at: impl Into<String>, text: impl Into<String>) -> Self {
        Problem { at: at.into(), text: text.into() }
    }
}

/// The value that a JSON text stands for, or everything that is wrong with it.
pub fn parse<S: Settings>(json: &str) -> Result<S, Vec<Problem>> {
    let value: S = read(json)?;
    match value.check() {
        problems if problems.is_empty() => Ok(value),
        problems => Err(problems),
    }
}

/// As [`parse`], for what has been checked before: quick, and one sentence if it fails all the same.
pub(crate) fn reread<S: Settings>(json: &str) -> Result<S, String> {
    serde_json::from_str(or_empty(json)).map_err(|error| format!("settings: {error}"))
}

#[doc(hidden)]
pub fn check<S: Settings>(json: &str) -> Result<(), Vec<Problem>> {
    parse::<S>(json).map(drop)
}

#[doc(hidden)]
pub fn schema<S: Settings>() -> String {
    schema_of::<S>().as_value().to_string()
}

fn schema_of<S: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(refuse_unknown_keys));
    settings.into_generator().into_root_schema_for::<S>()
}

fn refuse_unknown_keys(schema: &mut Schema) {
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema.insert("additionalProperties".to_owned(), false.into());
    }
}

fn read<S: Settings>(json: &str) -> Result<S, Vec<Problem>> {
    let mut text = serde_json::Deserializer::from_str(or_empty(json));
    let (mut track, mut unknown) = (Track::new(), Vec::new());
    let tracked = serde_path_to_error::Deserializer::new(&mut text, &mut track);
    let parsed = serde_ignored::deserialize(tracked, |path| unknown.push(unknown_key::<S>(&path)));
    let parsed = parsed.and_then(|value| text.end().map(|()| value));
    match parsed {
        Ok(value) if unknown.is_empty() => Ok(value),
        Ok(_) => Err(unknown),
        Err(error) => {
            unknown.push(Problem::new(pointer(&track.path()), error.to_string()));
            Err(unknown)
        }
    }
}

/// A slot without settings is one with empty settings.
fn or_empty(json: &str) -> &str {
    if json.is_empty() { "{}" } else { json }
}

fn unknown_key<S: Settings>(path: &serde_ignored::Path<'_>) -> Problem {
    let (at, top) = match path {
        serde_ignored::Path::Map { parent: serde_ignored::Path::Root, .. } => (ignored_pointer(path), true),
        _ => (ignored_pointer(path), false),
    };
    let schema = schema_of::<S>();
    let known = schema.get("properties").and_then(|properties| properties.as_object());
    match known {
        Some(known) if top => {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            Problem::new(at, format!("unknown key; known here: {}", names.join(", ")))
        }
        _ => Problem::new(at, "unknown key; remove it, or see the plugin's schema for the right name"),
    }
}

fn ignored_pointer(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}/{index}", ignored_pointer(parent)),
        Path::Map { parent, key } => format!("{}/{}", ignored_pointer(parent), escape(key)),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            ignored_pointer(parent)
        }
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", escape(key)),
            Segment::Enum { .. } | Segment::Unknown => String::new(),
        })
        .collect()
}

/// RFC 6901, section 3.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::{NoSettings, Settings, parse, schema};
    use crate::{Period, Problem};

    #[derive(Debug, Default, PartialEq, serde::Deserialize, schemars::JsonSchema)]
    #[serde(default, rename_all = "kebab-case")]
    struct Example {
        cooldown: Period,
        sites: Vec<Site>,
        limit: u32,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize, schemars::JsonSchema)]
    #[serde(default)]
    struct Site {
        name: String,
        rank: u32,
    }

    impl Settings for Example {
        fn check(&self) -> Vec<Problem> {
            if self.limit > 100 { vec![Problem::new("/limit", "at most 100")] } else { Vec::new() }
        }
    }

    #[test]
    fn names_each_problem_by_its_pointer() {
        let cases = [
            (r#"{"limit": "three"}"#, "/limit", "expected u32"),
            (r#"{"sites": [{"rank": 1}, {"rank": -1}]}"#, "/sites/1/rank", "expected u32"),
            (r#"{"cooldown": "10"}"#, "/cooldown", "not a length of time"),
            (r#"{"colldown": "10s"}"#, "/colldown", "known here: cooldown, limit, sites"),
            (r#"{"sites": [{"rnk": 1}]}"#, "/sites/0/rnk", "unknown key"),
            (r#"{"a/b": 1}"#, "/a~1b", "unknown key"),
            (r#"{"limit": 101}"#, "/limit", "at most 100"),
            (r#"{"limit": 1} x"#, "", "trailing characters"),
            ("[", "", "EOF"),
        ];
        for (json, at, text) in cases {
            let problems = parse::<Example>(json).unwrap_err();
            assert_eq!(problems[0].at, at, "{json}: {problems:?}");
            assert!(problems[0].text.contains(text), "{json}: {problems:?}");
        }
    }

    #[test]
    fn no_settings_are_the_defaults() {
        assert_eq!(parse::<Example>("").unwrap(), Example::default());
        assert_eq!(parse::<Example>("{}").unwrap(), Example::default());
    }

    #[test]
    fn nothing_to_set_takes_nothing() {
        assert_eq!(parse::<NoSettings>(""), Ok(NoSettings {}));
        assert_eq!(parse::<NoSettings>("{}"), Ok(NoSettings {}));
        assert_eq!(parse::<NoSettings>(r#"{"a": 1}"#).unwrap_err()[0].at, "/a");
    }

    #[test]
    fn the_schema_refuses_what_the_parser_refuses() {
        let schema: serde_json::Value = serde_json::from_str(&schema::<Example>()).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["$defs"]["Site"]["additionalProperties"], false);
        assert_eq!(schema["properties"]["cooldown"]["type"], "string");
    }
}
