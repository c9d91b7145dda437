//! What a file's age means.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::time::{Duration, SystemTime};

use provider_fresh_file::{Target, age, judge};
use tidegate_sdk::{Outcome, Period};

fn target() -> Target {
    Target { path: "export.csv".to_owned(), max_age: Period::minutes(60) }
}

#[test]
fn each_age_is_one_outcome() {
    let cases = [
        (Ok(Duration::from_secs(3_600)), Outcome::Ok),
        (Ok(Duration::from_secs(3_601)), Outcome::Corrupt),
        (Err(ErrorKind::NotFound), Outcome::Partial),
        (Err(ErrorKind::PermissionDenied), Outcome::Error),
    ];
    for (age, outcome) in cases {
        let finding = judge(&target(), age.map_err(Error::from));
        assert_eq!(finding.outcome, outcome, "{age:?}");
        assert_eq!(finding.detail.is_empty(), outcome == Outcome::Ok, "{age:?}");
    }
}

#[test]
fn reads_the_age_of_a_real_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let two_hours_ago = SystemTime::now() - Duration::from_secs(7_200);
    File::options().write(true).open(file.path()).unwrap().set_modified(two_hours_ago).unwrap();
    assert!(age(file.path()).unwrap() >= Duration::from_secs(7_200));
    assert_eq!(age(&file.path().with_extension("gone")).unwrap_err().kind(), ErrorKind::NotFound);
}
