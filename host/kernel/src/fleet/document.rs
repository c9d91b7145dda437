//! A fleet file and its includes as one tree, in which every value knows its place.
//!
//! Knows TOML and `include`, and no other key.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::problem::{Report, Source, Spot};

/// A table's keys.
pub(super) type Fields = BTreeMap<String, Field>;

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) key_at: Spot,
    pub(super) node: Node,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Spot,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    DateTime(toml::value::Datetime),
    List(Vec<Node>),
    Table(Fields),
}

impl Value {
    /// For people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::DateTime(_) => "a date or time",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Text(text) => text.as_str().into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Boolean(yes) => (*yes).into(),
            Value::DateTime(time) => time.to_string().into(),
            Value::List(nodes) => nodes.iter().map(|node| node.value.to_json()).collect(),
            Value::Table(fields) => fields_to_json(fields.iter()),
        }
    }

    pub(super) fn to_toml(&self) -> toml::Value {
        match self {
            Value::Text(text) => text.as_str().into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Boolean(yes) => (*yes).into(),
            Value::DateTime(time) => toml::Value::Datetime(*time),
            Value::List(nodes) => toml::Value::Array(nodes.iter().map(|node| node.value.to_toml()).collect()),
            Value::Table(fields) => toml::Value::Table(
                fields.iter().map(|(key, field)| (key.clone(), field.node.value.to_toml())).collect(),
            ),
        }
    }
}

pub(super) fn fields_to_json<'a>(fields: impl Iterator<Item = (&'a String, &'a Field)>) -> serde_json::Value {
    serde_json::Value::Object(fields.map(|(key, field)| (key.clone(), field.node.value.to_json())).collect())
}

/// What `fields` leave unsaid is as in `defaults`; tables are filled in key by key.
pub(super) fn fill_in(fields: &mut Fields, defaults: &Fields) {
    for (key, default) in defaults {
        match (fields.get_mut(key).map(|field| &mut field.node.value), &default.node.value) {
            (Some(Value::Table(fields)), Value::Table(defaults)) => fill_in(fields, defaults),
            (Some(_), _) => {}
            (None, _) => {
                fields.insert(key.clone(), default.clone());
            }
        }
    }
}

/// Reads the file and all that it includes.
pub(super) fn load(entry: &Path, read: &dyn Fn(&Path) -> io::Result<String>) -> (Fields, Report) {
    let mut loader = Loader { read, report: Report::default(), merged: Fields::new(), under_way: Vec::new() };
    loader.file(normal(entry), None);
    (loader.merged, loader.report)
}

struct Loader<'a> {
    read: &'a dyn Fn(&Path) -> io::Result<String>,
    report: Report,
    merged: Fields,
    /// The files that include each other down to the one being read.
    under_way: Vec<PathBuf>,
}

impl Loader<'_> {
    fn file(&mut self, path: PathBuf, included_at: Option<Spot>) {
        if self.under_way.contains(&path) {
            return self.tell_cycle(&path, included_at);
        }
        if self.report.sources.iter().any(|source| source.path == path) {
            return;
        }
        let number = self.report.sources.len();
        let text = (self.read)(&path);
        let known = text.as_deref().unwrap_or_default().to_owned();
        self.report.sources.push(Source { path: path.clone(), text: known });
        match text {
            Ok(text) => self.text(number, &path, &text),
            Err(error) => {
                let at = included_at.unwrap_or(Spot { file: number, offset: 0 });
                self.report.error(
                    at,
                    format!("cannot read {}: {error}", path.display()),
                    "correct the path or the file's permissions",
                );
            }
        }
    }

    fn text(&mut self, number: usize, path: &Path, text: &str) {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            self.report.error(Spot { file: number, offset }, syntax(error.message()), syntax_todo(error.message()));
        }
        let mut fields = self.fields(number, table.get_ref());
        let includes = fields.remove("include");
        self.merge(fields);
        self.under_way.push(path.to_owned());
        if let Some(includes) = includes {
            self.includes(path, &includes.node);
        }
        self.under_way.pop();
    }

    fn includes(&mut self, path: &Path, node: &Node) {
        const TODO: &str = "write include = [\"services.toml\", …]: paths relative to the file that includes";
        let Value::List(nodes) = &node.value else {
            return self.report.error(node.at, format!("`include` is {}, not a list", node.value.kind()), TODO);
        };
        for node in nodes {
            match &node.value {
                Value::Text(name) if !Path::new(name).is_absolute() => {
                    let included = path.parent().unwrap_or(Path::new("")).join(name);
                    self.file(normal(&included), Some(node.at));
                }
                Value::Text(name) => self.report.error(node.at, format!("`{name}` is an absolute path"), TODO),
                other => self.report.error(node.at, format!("an include is {}, not a path", other.kind()), TODO),
            }
        }
    }

    fn tell_cycle(&self, path: &Path, included_at: Option<Spot>) {
        let chain = self.under_way.iter().map(|path| path.display().to_string());
        let chain = chain.chain([path.display().to_string()]).collect::<Vec<_>>().join(" → ");
        let what = format!("files include each other in a circle: {chain}");
        self.report.error(included_at.unwrap_or_default(), what, "take one of these includes out");
    }

    /// Sections of several files are one section; what two files name alike is a mistake.
    fn merge(&mut self, fields: Fields) {
        for (name, field) in fields {
            match self.merged.get_mut(&name) {
                None => {
                    self.merged.insert(name, field);
                }
                Some(known) => merge_section(&self.report, &name, known, field),
            }
        }
    }

    fn fields(&self, file: usize, table: &DeTable<'_>) -> Fields {
        let field = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
            let key_at = Spot { file, offset: key.span().start };
            (key.get_ref().to_string(), Field { key_at, node: self.node(file, value) })
        };
        table.iter().map(field).collect()
    }

    fn node(&self, file: usize, value: &toml::Spanned<DeValue<'_>>) -> Node {
        let at = Spot { file, offset: value.span().start };
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => Value::Integer(self.integer(at, number.as_str(), number.radix())),
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(yes) => Value::Boolean(*yes),
            DeValue::Datetime(time) => Value::DateTime(*time),
            DeValue::Array(nodes) => Value::List(nodes.iter().map(|node| self.node(file, node)).collect()),
            DeValue::Table(table) => Value::Table(self.fields(file, table)),
        };
        Node { at, value }
    }

    fn integer(&self, at: Spot, digits: &str, radix: u32) -> i64 {
        i64::from_str_radix(digits, radix).unwrap_or_else(|_| {
            self.report.error(at, format!("{digits} is out of range"), "write a number that 64 bits can hold");
            0
        })
    }
}

fn merge_section(report: &Report, section: &str, known: &mut Field, new: Field) {
    let (Value::Table(known), Value::Table(new)) = (&mut known.node.value, new.node.value) else {
        let place = report.place(known.key_at);
        return report.error(new.key_at, format!("`{section}` is already set at {place}"), "keep one of the two");
    };
    for (name, field) in new {
        if let Some(first) = known.get(&name) {
            let place = report.place(first.key_at);
            let what = format!("`{section}.{name}` is already declared at {place}");
            report.error(field.key_at, what, "keep one of the two, or give one another name");
        } else {
            known.insert(name, field);
        }
    }
}

fn syntax(message: &str) -> String {
    format!("not TOML: {}", message.trim().replace('\n', "; "))
}

fn syntax_todo(message: &str) -> &'static str {
    if message.contains("duplicate key") {
        "keep one of the two, or give one another name"
    } else {
        "correct the line; strings need quotes, tables are [section.name]"
    }
}

/// Without `.` and, where possible, without `..`, so that one file has one name.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(normal.components().next_back(), Some(Component::Normal(_))) => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}
