//! A JUnit report, which every build server reads. Knows no case beyond its name and its failures.

use std::fmt::Write as _;

use super::test::Tested;

/// The whole file.
pub(super) fn report(tested: &Tested) -> String {
    let (all, failed) = (tested.cases.len(), tested.failed);
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  \
         <testsuite name=\"tidegate policy test\" tests=\"{all}\" failures=\"{failed}\">\n"
    );
    for case in &tested.cases {
        let (file, title) = (escaped(&case.file.display().to_string()), escaped(&case.title));
        // Writing to a string cannot fail.
        let _ = write!(xml, "    <testcase classname=\"{file}\" name=\"{title}\"");
        if case.failures.is_empty() {
            xml.push_str("/>\n");
            continue;
        }
        xml.push_str(">\n");
        for failure in &case.failures {
            let _ = writeln!(xml, "      <failure>{}</failure>", escaped(&failure.text));
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
    use super::escaped;

    #[test]
    fn text_from_a_policy_cannot_break_the_report() {
        assert_eq!(escaped("a <b> & \"c\"\u{1b}[1m\n"), "a &lt;b&gt; &amp; &quot;c&quot;[1m\n");
    }
}
