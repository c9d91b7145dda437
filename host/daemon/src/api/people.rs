//! Who asks, and what they may: people by token over the network, by login name over the Unix socket.
//!
//! Does not know what there is to ask for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use tidegate_kernel::fleet::Person;

use crate::secrets::Secrets;

/// What somebody may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// See.
    Viewer,
    /// Order, swap, try.
    Operator,
    /// Answer questions.
    Approver,
}

/// Somebody who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// As the journal will name them.
    pub name: String,
    roles: BTreeSet<Role>,
}

/// Everybody whom the fleet file names.
#[derive(Debug, Default)]
pub struct People {
    by_name: BTreeMap<String, Caller>,
    /// By the token's SHA-256: comparing that tells nobody how much of a guess was right.
    by_token: HashMap<[u8; 32], Caller>,
}

impl Role {
    fn named(name: &str) -> Option<Role> {
        match name {
            "viewer" => Some(Role::Viewer),
            "operator" => Some(Role::Operator),
            "approver" => Some(Role::Approver),
            _ => None,
        }
    }

    /// As the fleet file writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Approver => "approver",
        }
    }
}

impl Caller {
    /// Whether they may; every role may see.
    pub fn may(&self, role: Role) -> bool {
        self.roles.contains(&role) || (role == Role::Viewer && !self.roles.is_empty())
    }

    fn of(name: &str, person: &Person) -> Self {
        Caller { name: name.to_owned(), roles: person.roles.iter().filter_map(|role| Role::named(role)).collect() }
    }
}

impl People {
    /// Those of the fleet file, with the tokens as they are today.
    pub fn new(people: &BTreeMap<String, Person>, secrets: &Secrets) -> Self {
        let mut known = People::default();
        for (name, person) in people {
            let caller = Caller::of(name, person);
            if let Some(token) = person.token.as_deref().and_then(|token| secrets.get(token)) {
                known.by_token.insert(Sha256::digest(token.bytes()).into(), caller.clone());
            }
            known.by_name.insert(name.clone(), caller);
        }
        known
    }

    /// Whose token this request shows.
    pub fn by_token(&self, headers: &HeaderMap) -> Option<&Caller> {
        let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        self.by_token.get(&<[u8; 32]>::from(Sha256::digest(token.trim())))
    }

    /// Who has logged in under this name and may open the host's socket.
    pub fn by_login(&self, name: &str) -> Caller {
        let everything =
            || Caller { name: name.to_owned(), roles: [Role::Viewer, Role::Operator, Role::Approver].into() };
        self.by_name.get(name).cloned().unwrap_or_else(everything)
    }
}

/// The login name of a user of this machine, or their number.
pub(super) fn login(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("uid-{uid}"))
}

#[cfg(test)]
mod tests {
    use tidegate_kernel::fleet::SecretSource;

    use super::*;

    fn people() -> People {
        let directory = tempfile::tempdir().unwrap();
        let mut sources = BTreeMap::new();
        for (name, token) in [("ada-token", "correct horse\n"), ("vic-token", "battery staple")] {
            let path = directory.path().join(name);
            std::fs::write(&path, token).unwrap();
            sources.insert(name.to_owned(), SecretSource::File(path));
        }
        let person = |roles: &[&str], token: Option<&str>| Person {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            token: token.map(str::to_owned),
        };
        let named = [
            ("ada", person(&["operator"], Some("ada-token"))),
            ("vic", person(&["viewer"], Some("vic-token"))),
            ("lost", person(&["approver"], Some("no-such-secret"))),
            ("local", person(&["approver"], None)),
        ];
        People::new(&named.map(|(name, person)| (name.to_owned(), person)).into(), &Secrets::read(&sources).0)
    }

    fn caller(authorization: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, authorization.parse().unwrap())]);
        people().by_token(&headers).map(|caller| caller.name.clone())
    }

    #[test]
    fn a_token_names_one_person_and_nothing_else_does() {
        for (authorization, name) in [
            ("Bearer correct horse", Some("ada")),
            ("Bearer battery staple", Some("vic")),
            ("Bearer battery stapl", None),
            ("Bearer ", None),
            ("correct horse", None),
            ("Basic correct horse", None),
            ("Bearer no-such-secret", None),
        ] {
            assert_eq!(caller(authorization).as_deref(), name, "{authorization}");
        }
        assert_eq!(people().by_token(&HeaderMap::new()), None);
    }

    #[test]
    fn each_role_may_its_own_and_see() {
        for (login, may) in [
            ("ada", [true, true, false]),
            ("vic", [true, false, false]),
            ("local", [true, false, true]),
            ("root", [true, true, true]),
        ] {
            let caller = people().by_login(login);
            assert_eq!([Role::Viewer, Role::Operator, Role::Approver].map(|role| caller.may(role)), may, "{login}");
        }
    }
}
