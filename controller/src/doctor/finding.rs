//! What a check has found.

use std::fmt::{self, Write as _};

use filter_policy::language::printable;
use serde::Serialize;

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// The filter works, but costs more, shows less or is less safe than it could be.
    Warn,
    /// The filter cannot work.
    Fail,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the check, such as `kernel`.
    pub check: &'static str,
    /// The interface that it is about; none if it is about the host.
    pub interface: Option<String>,
    /// How serious it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// How to fix it, with the command; none if there is nothing to fix.
    pub fix: Option<String>,
}

impl Finding {
    /// All is well.
    #[must_use]
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, interface: None, level: Level::Ok, found: found.into(), fix: None }
    }

    /// Something could be better.
    #[must_use]
    pub fn warn(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Warn, fix: Some(fix.into()), ..Self::ok(check, found) }
    }

    /// The filter cannot work.
    #[must_use]
    pub fn fail(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Fail, fix: Some(fix.into()), ..Self::ok(check, found) }
    }

    /// The same, about an interface.
    #[must_use]
    pub fn on(self, interface: &str) -> Self {
        Self { interface: Some(interface.to_owned()), ..self }
    }
}

/// All findings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The version of this program.
    pub version: &'static str,
    /// The worst of all levels.
    pub result: Level,
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

impl Report {
    /// A report of these findings.
    #[must_use]
    pub fn new(findings: Vec<Finding>) -> Self {
        let result = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
        Self { version: env!("CARGO_PKG_VERSION"), result, findings }
    }

    /// A line for each check, and a line for each fix.
    #[must_use]
    pub fn render(&self) -> String {
        let name = |finding: &Finding| match &finding.interface {
            Some(interface) => format!("{interface} {}", finding.check),
            None => finding.check.to_owned(),
        };
        let width = self.findings.iter().map(|finding| name(finding).chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for finding in &self.findings {
            let name = printable::escaped(&name(finding));
            let _ = writeln!(text, "{:4}  {name:width$}  {}", finding.level, printable::escaped(&finding.found));
            if let Some(fix) = &finding.fix {
                let _ = writeln!(text, "      {:width$}  fix: {}", "", printable::escaped(fix));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_as_bad_as_its_worst_finding_and_names_what_fixes_it() {
        let report = Report::new(vec![
            Finding::ok("kernel", "6.18.0"),
            Finding::warn("link", "it is down", "`ip link set dev a up`").on("a\u{1b}"),
        ]);
        assert_eq!(report.result, Level::Warn);
        let expected = "\
ok    kernel   6.18.0
warn  a\\u{1b} link  it is down
               fix: `ip link set dev a up`
";
        assert_eq!(report.render(), expected);
        assert_eq!(Report::new(vec![Finding::fail("x", "", "")]).result, Level::Fail);
        assert_eq!(Report::new(Vec::new()).result, Level::Ok);
    }
}
