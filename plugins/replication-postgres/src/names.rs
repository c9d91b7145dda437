//! PostgreSQL's small languages: `synchronous_standby_names`, `primary_conninfo`, positions in the log, timelines' histories.
//!
//! Pure.

use postgres_protocol::escape::{escape_identifier, escape_literal};

/// Whom a commit waits for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Synchronous {
    /// `application_name` of each.
    pub nodes: Vec<String>,
    /// How many of them.
    pub wait_for: u32,
}

/// A timeline that was left, and where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Left {
    /// The timeline.
    pub timeline: u64,
    /// The position at which the next one begins.
    pub at: u64,
}

impl Synchronous {
    /// `ANY n (…)`, `FIRST n (…)`, `n (…)` and the plain list; none for anything else, `*` included, which names nobody.
    /// `FIRST` too has every acknowledged commit on n of them, whichever those are.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Some(Self::default());
        }
        let Some(list) = text.strip_suffix(')') else {
            return Some(Synchronous { nodes: list(text)?, wait_for: 1 });
        };
        let (method, names) = list.split_once('(')?;
        let method = method.trim();
        let count = ["ANY", "FIRST"].iter().find_map(|word| strip_word(method, word)).unwrap_or(method);
        let (nodes, wait_for) = (self::list(names)?, count.trim().parse().ok()?);
        (wait_for > 0).then_some(Synchronous { nodes, wait_for })
    }

    /// As the setting's value.
    pub fn text(&self) -> String {
        if self.wait_for == 0 || self.nodes.is_empty() {
            return String::new();
        }
        let names: Vec<String> = self.nodes.iter().map(|name| escape_identifier(name)).collect();
        format!("ANY {} ({})", self.wait_for, names.join(", "))
    }
}

/// "0/16B3740" → bytes.
pub fn position(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some(u64::from(u32::from_str_radix(high, 16).ok()?) << 32 | u64::from(u32::from_str_radix(low, 16).ok()?))
}

/// Bytes → "0/16B3740".
pub fn position_text(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xffff_ffff)
}

/// The timeline of a log file's name, "000000020000000000000003" → 2.
pub fn timeline_of_file(name: &str) -> Option<u64> {
    u64::from_str_radix(name.get(..8)?, 16).ok()
}

/// The file that tells where a timeline comes from.
pub fn history_file(timeline: u64) -> String {
    format!("pg_wal/{timeline:08X}.history")
}

/// What that file says, the oldest first.
pub fn history(text: &str) -> Vec<Left> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some(Left { timeline: words.next()?.parse().ok()?, at: position(words.next()?)? })
    };
    text.lines().filter_map(line).collect()
}

/// A value of a setting, quoted.
pub fn literal(value: &str) -> String {
    escape_literal(value)
}

/// `primary_conninfo` from its parts.
pub fn conninfo(parts: &[(&str, &str)]) -> String {
    let quote = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
    parts.iter().map(|(key, value)| format!("{key}='{}'", quote(value))).collect::<Vec<_>>().join(" ")
}

fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    (start.eq_ignore_ascii_case(word) && rest.starts_with(char::is_whitespace)).then_some(rest)
}

/// Names with commas between them, each quoted or plain.
fn list(text: &str) -> Option<Vec<String>> {
    let (mut names, mut rest) = (Vec::new(), text.trim());
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_name(quoted)?,
            None => plain_name(rest)?,
        };
        names.push(name);
        rest = after.trim_start();
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

fn quoted_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

fn plain_name(text: &str) -> Option<(String, &str)> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::{Left, Synchronous, conninfo, history, history_file, position, position_text, timeline_of_file};

    #[test]
    fn reads_every_form_that_names_its_standbys() {
        let cases: [(&str, u32, &[&str]); 9] = [
            ("", 0, &[]),
            (r#"ANY 1 ("b", "c")"#, 1, &["b", "c"]),
            ("ANY 2 (b, c,d)", 2, &["b", "c", "d"]),
            ("any 1(b)", 1, &["b"]),
            (r#"FIRST 1 ("b-1")"#, 1, &["b-1"]),
            ("2 (b, c)", 2, &["b", "c"]),
            ("b", 1, &["b"]),
            (r#"b, "c ""x"", y""#, 1, &["b", r#"c "x", y"#]),
            ("anyone", 1, &["anyone"]),
        ];
        for (text, wait_for, nodes) in cases {
            let expected = Synchronous { nodes: nodes.iter().map(|name| (*name).to_owned()).collect(), wait_for };
            assert_eq!(Synchronous::parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn claims_nothing_of_what_names_nobody() {
        for text in ["*", "ANY 1 (*)", "ANY (b)", "ANY 0 (b)", "ANY 1 (b", "b,", r#""b"#, "ANY x (b)", "1 ()"] {
            assert_eq!(Synchronous::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let set = Synchronous { nodes: vec!["b".to_owned(), "node \"2\"".to_owned()], wait_for: 1 };
        assert_eq!(set.text(), r#"ANY 1 ("b", "node ""2""")"#);
        assert_eq!(Synchronous::parse(&set.text()), Some(set));
        assert_eq!(Synchronous { nodes: vec!["b".to_owned()], wait_for: 0 }.text(), "");
    }

    #[test]
    fn counts_positions_in_bytes() {
        assert_eq!(position("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(position_text(0x16_0000_0028), "16/28");
        assert_eq!((position("16"), position("x/1"), position("")), (None, None, None));
    }

    #[test]
    fn reads_where_a_timeline_comes_from() {
        assert_eq!((timeline_of_file("0000000A0000000000000003"), timeline_of_file("")), (Some(10), None));
        assert_eq!(history_file(10), "pg_wal/0000000A.history");
        let text = "1\t0/3000148\tno recovery target specified\n\n2\t0/5000000\tno recovery target specified\n";
        assert_eq!(history(text), [Left { timeline: 1, at: 0x300_0148 }, Left { timeline: 2, at: 0x500_0000 }]);
    }

    #[test]
    fn a_password_cannot_end_its_quotes() {
        let text = conninfo(&[("host", "h"), ("password", r"it's \")]);
        assert_eq!(text, r"host='h' password='it\'s \\'");
    }
}
