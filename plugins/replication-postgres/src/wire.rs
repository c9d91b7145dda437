//! PostgreSQL's messages: what is sent, and what the answers add up to.
//!
//! Pure: bytes in, bytes out. Knows neither sockets nor what a query is for.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::IsNull;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{DataRowBody, ErrorResponseBody, Message};
use postgres_protocol::message::frontend::{self, BindError};

use crate::trouble::Trouble;

/// The oldest major version whose standbys can be told whom to follow without a restart.
const MAJOR_MIN: u32 = 13;

/// What a query with parameters brings at most: no answer that anybody waits for is longer.
const ROWS_MAX: i32 = 100;

/// One row as text; none = NULL.
pub type Row = Vec<Option<String>>;

/// Who connects, and to what.
#[derive(Clone)]
pub struct Access {
    /// The role.
    pub user: String,
    /// Its password, if it has one.
    pub password: Option<String>,
    /// The database.
    pub database: String,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub enum Query<'a> {
    /// One or several statements without parameters.
    Simple(&'a str),
    /// One statement, with its parameters as text.
    With(&'a str, &'a [&'a str]),
}

/// The way from the first byte to the first question.
pub struct Login {
    access: Access,
    scram: Option<ScramSha256>,
    /// The server has proven that it knows the password too.
    proven: bool,
    /// As the server says it.
    pub version: String,
}

/// The answer to one query, as far as it was heard.
#[derive(Default)]
pub struct Answer {
    rows: Vec<Row>,
    trouble: Option<Trouble>,
}

impl Query<'_> {
    /// Appends it to what is to be sent.
    pub fn encode(self, out: &mut BytesMut) -> Result<(), Trouble> {
        match self {
            Query::Simple(text) => frontend::query(text, out).map_err(|error| senseless(&error)),
            Query::With(text, parameters) => extended(text, parameters, out),
        }
    }
}

impl Login {
    /// Begins: appends the first message.
    pub fn start(access: Access, out: &mut BytesMut) -> Result<Self, Trouble> {
        let parameters = [
            ("user", access.user.as_str()),
            ("database", access.database.as_str()),
            ("application_name", "tidegate"),
            ("client_encoding", "UTF8"),
        ];
        frontend::startup_message(parameters, out).map_err(|error| senseless(&error))?;
        Ok(Login { access, scram: None, proven: false, version: String::new() })
    }

    /// Takes one message, appends what it asks for; true = questions can be asked now.
    pub fn hear(&mut self, message: Message, out: &mut BytesMut) -> Result<bool, Trouble> {
        match message {
            Message::AuthenticationSasl(offer) => {
                let known =
                    offer.mechanisms().any(|name| Ok(name == SCRAM_SHA_256)).map_err(|error| senseless(&error))?;
                self.begin_scram(known, out)?;
            }
            Message::AuthenticationSaslContinue(body) => {
                let scram = self.scram.as_mut().ok_or_else(out_of_turn)?;
                scram.update(body.data()).map_err(|error| unproven(&error))?;
                frontend::sasl_response(scram.message(), out).map_err(|error| senseless(&error))?;
            }
            Message::AuthenticationSaslFinal(body) => {
                let scram = self.scram.as_mut().ok_or_else(out_of_turn)?;
                scram.finish(body.data()).map_err(|error| unproven(&error))?;
                self.proven = true;
            }
            Message::AuthenticationOk if self.scram.is_some() && !self.proven => return Err(out_of_turn()),
            Message::AuthenticationCleartextPassword => return Err(unsafe_way("a password in the clear")),
            Message::AuthenticationMd5Password(_) => return Err(unsafe_way("an md5 password")),
            Message::ErrorResponse(body) => return Err(error(&body, &self.access.user)),
            Message::ParameterStatus(status) => self.note(status.name(), status.value()),
            Message::ReadyForQuery(_) => return self.refuse_the_old().map(|()| true),
            Message::AuthenticationOk | Message::BackendKeyData(_) | Message::NoticeResponse(_) => {}
            _ => return Err(out_of_turn()),
        }
        Ok(false)
    }

    fn begin_scram(&mut self, is_known: bool, out: &mut BytesMut) -> Result<(), Trouble> {
        if !is_known {
            return Err(unsafe_way("something else than SCRAM-SHA-256"));
        }
        let password = self.access.password.as_ref().ok_or_else(|| {
            let text = format!("{} needs a password; name its secret in `password`", self.access.user);
            Trouble::Unauthorized(text)
        })?;
        let scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), out).map_err(|error| senseless(&error))?;
        self.scram = Some(scram);
        Ok(())
    }

    fn note(&mut self, name: std::io::Result<&str>, value: std::io::Result<&str>) {
        if let (Ok("server_version"), Ok(version)) = (name, value) {
            version.clone_into(&mut self.version);
        }
    }

    fn refuse_the_old(&self) -> Result<(), Trouble> {
        match major(&self.version) {
            Some(MAJOR_MIN..) => Ok(()),
            _ => Err(Trouble::TooOld(self.version.clone())),
        }
    }
}

impl Answer {
    /// Takes one message; true = the server is ready for the next query.
    pub fn hear(&mut self, message: Message, user: &str) -> Result<bool, Trouble> {
        match message {
            Message::DataRow(body) => self.rows.push(row(&body)?),
            Message::ErrorResponse(body) => {
                self.trouble.get_or_insert(error(&body, user));
            }
            Message::ReadyForQuery(_) => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    /// The rows of all its statements, or the first error.
    pub fn outcome(self) -> Result<Vec<Row>, Trouble> {
        self.trouble.map_or(Ok(self.rows), Err)
    }

    /// The error that was heard before the connection ended.
    pub fn last_words(self) -> Option<Trouble> {
        self.trouble
    }
}

/// "15.18 (Debian 15.18-0+deb12u1)", "17beta1" → 15, 17.
pub fn major(version: &str) -> Option<u32> {
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().ok()
}

/// The unnamed statement and portal: parse, bind, execute, sync.
fn extended(text: &str, parameters: &[&str], out: &mut BytesMut) -> Result<(), Trouble> {
    frontend::parse("", text, [], out).map_err(|error| senseless(&error))?;
    let write = |value: &&str, out: &mut BytesMut| {
        out.extend_from_slice(value.as_bytes());
        Ok(IsNull::No)
    };
    frontend::bind("", "", [], parameters, write, [], out).map_err(|error| match error {
        BindError::Conversion(error) => Trouble::Broken(error.to_string()),
        BindError::Serialization(error) => senseless(&error),
    })?;
    frontend::execute("", ROWS_MAX, out).map_err(|error| senseless(&error))?;
    frontend::sync(out);
    Ok(())
}

fn row(body: &DataRowBody) -> Result<Row, Trouble> {
    let text = |range: std::ops::Range<usize>| String::from_utf8_lossy(&body.buffer()[range]).into_owned();
    body.ranges().map(|range| Ok(range.map(text))).collect().map_err(|error| senseless(&error))
}

fn error(body: &ErrorResponseBody, user: &str) -> Trouble {
    let (mut code, mut message) = (String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let value = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => code = value(),
            b'M' => message = value(),
            _ => {}
        }
    }
    Trouble::from_server(code, message, user)
}

fn senseless(error: &std::io::Error) -> Trouble {
    Trouble::Broken(format!("no sense in what was said: {error}"))
}

fn out_of_turn() -> Trouble {
    Trouble::Broken("the server did not keep to the protocol".to_owned())
}

/// Either the password is wrong, or whoever answered does not know it.
fn unproven(error: &std::io::Error) -> Trouble {
    Trouble::Unauthorized(format!("the server did not prove that it knows the password: {error}"))
}

fn unsafe_way(what: &str) -> Trouble {
    let text = format!(
        "the server asks for {what}, which is not given away; set password_encryption = 'scram-sha-256' there, set the role's password anew and write scram-sha-256 in pg_hba.conf"
    );
    Trouble::Unauthorized(text)
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use postgres_protocol::message::backend::Message;

    use super::{Access, Answer, Login, Query, major};
    use crate::trouble::Trouble;

    fn login() -> (Login, BytesMut) {
        let mut out = BytesMut::new();
        let access = Access { user: "tidegate".into(), password: Some("secret".into()), database: "postgres".into() };
        (Login::start(access, &mut out).unwrap(), out)
    }

    fn message(tag: u8, body: &[u8]) -> Message {
        let mut bytes = BytesMut::new();
        bytes.put_u8(tag);
        bytes.put_u32(body.len() as u32 + 4);
        bytes.put_slice(body);
        Message::parse(&mut bytes).unwrap().unwrap()
    }

    #[test]
    fn gives_no_password_away() {
        for body in [&b"\0\0\0\x03"[..], b"\0\0\0\x05salt", b"\0\0\0\x0aOTHER\0\0"] {
            let (mut login, mut out) = login();
            out.clear();
            let trouble = login.hear(message(b'R', body), &mut out).unwrap_err();
            assert!(matches!(trouble, Trouble::Unauthorized(text) if text.contains("not given away")));
            assert!(out.is_empty(), "nothing was sent");
        }
    }

    #[test]
    fn lets_no_server_in_that_has_not_proven_itself() {
        let (mut login, mut out) = login();
        login.hear(message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"), &mut out).unwrap();
        assert!(matches!(login.hear(message(b'R', b"\0\0\0\0"), &mut out), Err(Trouble::Broken(_))));
    }

    #[test]
    fn refuses_what_is_older_than_13() {
        for (version, fine) in [("12.22", false), ("9.6.1", false), ("", false), ("13.0", true), ("18beta1", true)] {
            let (mut login, mut out) = login();
            let status = format!("server_version\0{version}\0");
            login.hear(message(b'S', status.as_bytes()), &mut out).unwrap();
            let ready = login.hear(message(b'Z', b"I"), &mut out);
            let expected = if fine { Ok(true) } else { Err(Trouble::TooOld(version.to_owned())) };
            assert_eq!(ready, expected, "{version}");
        }
        assert_eq!(major("15.18 (Debian 15.18-0+deb12u1)"), Some(15));
    }

    #[test]
    fn an_error_among_the_rows_is_the_outcome() {
        let mut answer = Answer::default();
        assert_eq!(answer.hear(message(b'D', b"\0\x02\0\0\0\x01x\xff\xff\xff\xff"), "tidegate"), Ok(false));
        assert_eq!(answer.hear(message(b'E', b"C42501\0Mmay not\0\0"), "tidegate"), Ok(false));
        assert_eq!(answer.hear(message(b'Z', b"I"), "tidegate"), Ok(true));
        assert_eq!(answer.outcome().unwrap_err().to_string(), "may not (42501)");
    }

    #[test]
    fn parameters_travel_beside_the_statement() {
        let mut out = BytesMut::new();
        Query::With("SELECT $1", &["'; DROP TABLE x; --"]).encode(&mut out).unwrap();
        let statement_end = out.iter().position(|byte| *byte == b'B').unwrap();
        assert!(!out[..statement_end].windows(4).any(|part| part == b"DROP"));
    }
}
