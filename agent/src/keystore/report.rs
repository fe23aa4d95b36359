//! What a probe found: plain data, a table for people and JSON for programs.

use std::fmt;

use serde::{Deserialize, Serialize};
use strongroom_proto::words::Scheme;

use super::{KeystoreError, Operation, TokenId};

/// How one check of a probe went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold: the token must not be used with this profile.
    Failed,
    /// It does not apply to this token, or could not be tried; the code says why.
    Skipped,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRow {
    /// What must hold.
    pub check: String,
    /// The scheme that needs it; absent if all do.
    pub scheme: Option<Scheme>,
    /// How it went.
    pub outcome: Outcome,
    /// What the token answered, or what was found.
    pub code: String,
}

/// All checks of one probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// The profile that was put to the proof.
    pub profile: String,
    /// The token.
    pub token: TokenId,
    /// The module's own description and version.
    pub module: String,
    /// The checks, in the order in which they were made.
    pub rows: Vec<ProbeRow>,
}

impl ProbeReport {
    /// True if something was checked and nothing failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.count(Outcome::Passed) > 0 && self.count(Outcome::Failed) == 0
    }

    /// Insists that the probe passed.
    ///
    /// # Errors
    /// `Unproven`, naming the first check that failed.
    pub fn require(&self, operation: Operation) -> Result<(), KeystoreError> {
        let failed = self.first_failure().map(|row| (row.check.clone(), row.code.clone()));
        let nothing = || (!self.passed()).then(|| ("anything at all".to_owned(), "nothing was checked".to_owned()));
        match failed.or_else(nothing) {
            Some((check, code)) => {
                Err(KeystoreError::Unproven { operation, profile: self.profile.clone(), check, code })
            }
            None => Ok(()),
        }
    }

    /// How many checks went this way.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.outcome == outcome).count()
    }

    /// The first check that failed.
    #[must_use]
    pub fn first_failure(&self) -> Option<&ProbeRow> {
        self.rows.iter().find(|row| row.outcome == Outcome::Failed)
    }

    /// One line: how many passed, and what failed first.
    #[must_use]
    pub fn summary(&self) -> String {
        let counts = format!(
            "profile {}: {} passed, {} failed, {} skipped",
            self.profile,
            self.count(Outcome::Passed),
            self.count(Outcome::Failed),
            self.count(Outcome::Skipped)
        );
        self.first_failure().map_or(counts.clone(), |row| format!("{counts}; first: {} ({})", row.check, row.code))
    }
}

impl fmt::Display for ProbeReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "token {}, module {}", self.token, self.module)?;
        for row in &self.rows {
            let outcome = match row.outcome {
                Outcome::Passed => "passed ",
                Outcome::Failed => "FAILED ",
                Outcome::Skipped => "skipped",
            };
            let scheme = row.scheme.map_or("", |scheme| scheme.as_str());
            writeln!(formatter, "{outcome} {scheme:<8} {:<60} {}", row.check, row.code)?;
        }
        writeln!(formatter, "{}", self.summary())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_fails_the_whole_and_nothing_proves_nothing() {
        let row = |outcome| ProbeRow { check: "a check".into(), scheme: None, outcome, code: "CKR_X".into() };
        let report = |outcomes: &[Outcome]| ProbeReport {
            profile: "p".into(),
            token: TokenId::new("1/t"),
            module: "m".into(),
            rows: outcomes.iter().copied().map(row).collect(),
        };
        use Outcome::{Failed, Passed, Skipped};
        assert!(report(&[Passed, Skipped]).passed());
        assert!(!report(&[Passed, Failed]).passed());
        assert!(!report(&[Skipped]).passed() && !report(&[]).passed());
        let failed = report(&[Passed, Failed]);
        assert!(failed.summary().contains("1 failed") && failed.summary().contains("a check (CKR_X)"));
        assert!(failed.to_string().contains("FAILED"), "{failed}");
    }
}
