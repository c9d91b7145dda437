//! A JUnit report, which every build server reads. Knows no case beyond its name and its failures.

use std::fmt::Write as _;

use super::test::Tested;

/// The whole file.
pub(super) fn report(tested: &Tested) -> String {
    let (all, failed) = (tested.cases.len(), tested.failed);
    let took: f64 = tested.cases.iter().map(|case| case.took_s).sum();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  \
         <testsuite name=\"tidegate policy test\" tests=\"{all}\" failures=\"{failed}\" time=\"{took:.3}\">\n"
    );
    for case in &tested.cases {
        let (file, title) = (escaped(&case.file.display().to_string()), escaped(&case.title));
        // Writing to a string cannot fail.
        let _ = write!(xml, "    <testcase classname=\"{file}\" name=\"{title}\" time=\"{:.3}\"", case.took_s);
        if case.failures.is_empty() {
            xml.push_str("/>\n");
            continue;
        }
        xml.push_str(">\n");
        for failure in &case.failures {
            let _ = writeln!(xml, "      <failure>{}</failure>", escaped(&case.told(failure)));
        }
        xml.push_str("    </testcase>\n");
    }
    xml + "  </testsuite>\n</testsuites>\n"
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    // XML 1.0 has no way to say other control characters.
    text.chars().filter(|c| !c.is_control() || "\n\t".contains(*c)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tidegate_simulator::scenario::Failure;

    use super::super::test::{Case, Tested};
    use super::{escaped, report};

    #[test]
    fn a_case_says_how_long_it_took_and_a_failure_where_it_is() {
        let at = |line, text: &str| Failure { line, text: text.into() };
        let failures = vec![at(10, "it did not come to this"), at(0, "line 3 of night.timeline was: a")];
        let case = |title: &str, took_s, failures| {
            let (file, title) = ("night.toml".into(), title.into());
            Case { file, title, failures, not_compared: None, simulated: 0, took_s }
        };
        let cases = vec![case("well", 0.25, Vec::new()), case("bad", 1.5, failures)];
        let (codes, never_given, unlisted) = (BTreeSet::new(), None, None);
        let xml = report(&Tested { passed: 1, failed: 1, cases, codes, never_given, unlisted });
        for line in [
            "tests=\"2\" failures=\"1\" time=\"1.750\">",
            "<testcase classname=\"night.toml\" name=\"well\" time=\"0.250\"/>",
            "<testcase classname=\"night.toml\" name=\"bad\" time=\"1.500\">",
            "<failure>night.toml:10: it did not come to this</failure>",
            "<failure>line 3 of night.timeline was: a</failure>",
        ] {
            assert!(xml.contains(line), "{line} is not in {xml}");
        }
    }

    #[test]
    fn text_from_a_policy_cannot_break_the_report() {
        assert_eq!(escaped("a <b> & \"c\"\u{1b}[1m\n"), "a &lt;b&gt; &amp; &quot;c&quot;[1m\n");
    }
}
