//! What a policy is asked, as JSON under the contract's names: a situation, or a whole question with its picture; or the request of
//! another kind of policy.
//!
//! Strict: what is misspelt is named, because a policy would silently be asked something else. Knows no policy.

use std::io::Read as _;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_engine::{Question, Request, World};
use tidegate_kernel::contract::Situation;
use tidegate_kernel::picture::Picture;

use crate::cli::failed::Failed;

/// What is known here.
const KNOWN: &str =
    "`tidegate policy eval --example KIND` prints a whole one, and wit/v0.1.0/policies.wit says what it means";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Whole {
    situation: Arc<Situation>,
    #[serde(default)]
    memo_format: Option<String>,
    #[serde(default)]
    picture: Picture,
}

/// Reads what policies of that world are asked from a file, or from standard input where it is called `-`. A memo without its
/// format is taken for one of `memo_format`.
pub fn read(file: &str, world: World, memo_format: &str) -> Result<Request, Failed> {
    let text = match file {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        path => std::fs::read_to_string(path),
    };
    let text = text.map_err(|error| Failed::usage(format!("the input cannot be read: {error}")).at(file))?;
    request(&text, world, memo_format).map_err(|failed| failed.at(if file == "-" { "standard input" } else { file }))
}

/// Reads what policies of that world are asked from JSON.
pub fn request(text: &str, world: World, memo_format: &str) -> Result<Request, Failed> {
    match world {
        World::Retention => json(text).and_then(|_| strict(text)).map(|asked| Request::Retention(Arc::new(asked))),
        World::Tiering => json(text).and_then(|_| strict(text)).map(|asked| Request::Tiering(Arc::new(asked))),
        World::Cost => json(text).and_then(|_| strict(text)).map(|asked| Request::Cost(Arc::new(asked))),
        _ => question(text, memo_format).map(|asked| Request::Failover(Arc::new(asked))),
    }
}

/// Reads a situation, or a whole question with its picture, from JSON.
pub fn question(text: &str, memo_format: &str) -> Result<Question, Failed> {
    let whole = if json(text)?.get("situation").is_some() {
        strict(text)?
    } else {
        Whole { situation: strict(text)?, memo_format: None, picture: Picture::default() }
    };
    let memo_format = whole.memo_format.unwrap_or_else(|| memo_format.to_owned());
    Ok(Question { situation: whole.situation, memo_format, picture: whole.picture })
}

fn json(text: &str) -> Result<Value, Failed> {
    serde_json::from_str(text).map_err(|error| Failed::usage(format!("this is not JSON: {error}")))
}

/// Every field known, none left out; else which one, and what is known.
fn strict<T: DeserializeOwned>(text: &str) -> Result<T, Failed> {
    let mut json = serde_json::Deserializer::from_str(text);
    let (mut track, mut unknown) = (serde_path_to_error::Track::new(), Vec::new());
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let read = serde_ignored::deserialize(tracked, |path| unknown.push(path.to_string()));
    let failed = match read {
        Ok(value) if unknown.is_empty() => return Ok(value),
        Ok(_) => Failed::usage(format!("no such field: {}", unknown.join(", "))),
        Err(error) => Failed::usage(format!("{}: {error}", track.path())),
    };
    Err(failed.next(KNOWN))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_engine::{World, neutral};

    use super::{question, request};

    fn example() -> Value {
        serde_json::to_value(neutral::situation()).unwrap()
    }

    #[test]
    fn takes_a_situation_or_a_whole_question() {
        let asked = question(&example().to_string(), "v2").unwrap();
        assert_eq!(((*asked.situation).clone(), asked.memo_format.as_str()), (neutral::situation(), "v2"));
        let whole = json!({ "situation": example(), "memo-format": "v1", "picture": { "health": {} } });
        assert_eq!(question(&whole.to_string(), "v2").unwrap().memo_format, "v1");
    }

    #[test]
    fn takes_what_it_prints_as_an_example_of_each_kind_and_of_no_other() {
        let kinds = [World::Failover, World::Retention, World::Tiering, World::Cost];
        for kind in kinds {
            let asked = neutral::request(kind).unwrap();
            let text = serde_json::to_string(&asked).unwrap();
            assert_eq!(request(&text, kind, "").unwrap(), asked);
            for other in kinds.into_iter().filter(|other| *other != kind) {
                assert!(request(&text, other, "").is_err(), "{kind} as {other}");
            }
        }
        let mut misspelt = serde_json::to_value(neutral::request(World::Tiering).unwrap()).unwrap();
        misspelt["items"][0]["object"]["stored-as"] = json!("warm");
        let told = request(&misspelt.to_string(), World::Tiering, "").unwrap_err().to_string();
        assert!(told.contains("items[0].object.stored-as") && told.contains("`cool`"), "{told}");
    }

    #[test]
    fn says_which_field_is_wrong_and_what_is_known() {
        let cases = [
            ("/sites/1/consensus", "status", json!("dead"), ["sites[1].consensus.status", "`unhealthy`"]),
            ("/sites/0", "rnk", json!(1), ["no such field: sites.0.rnk", "--example"]),
            ("", "state-held", json!(-5), ["state-held", "u64"]),
        ];
        for (place, field, value, hints) in cases {
            let mut situation = example();
            situation.pointer_mut(place).unwrap()[field] = value;
            let told = question(&situation.to_string(), "").unwrap_err().to_string();
            assert!(hints.iter().all(|hint| told.contains(hint)), "{hints:?}: {told}");
        }
        let mut untold = example();
        untold.as_object_mut().unwrap().remove("tier");
        assert!(question(&untold.to_string(), "").unwrap_err().to_string().contains("missing field `tier`"));
        assert!(question("{", "").unwrap_err().to_string().contains("not JSON"));
    }
}
