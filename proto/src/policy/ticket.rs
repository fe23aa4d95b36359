//! What a ticket number looks like.

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

/// Longest pattern, in bytes.
const PATTERN_LEN_MAX: usize = 100;

/// A regular expression that the whole ticket has to match, in the syntax of the `regex` crates: matching takes time linear
/// in the ticket, whatever the pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TicketPattern(String);

impl TicketPattern {
    /// Checks and takes a pattern.
    ///
    /// # Errors
    /// A sentence, if it is longer than 100 bytes or no regular expression.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_LEN_MAX {
            return Err(format!("a ticket pattern has at most {PATTERN_LEN_MAX} bytes"));
        }
        whole(text).map(|_| Self(text.to_owned())).map_err(|error| format!("no regular expression: {error}"))
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a ticket matches from its first to its last character.
    #[must_use]
    pub fn fits(&self, ticket: &str) -> bool {
        whole(&self.0).is_ok_and(|regex| regex.is_match(ticket))
    }
}

/// The group keeps an alternation from reaching beyond the anchors.
fn whole(pattern: &str) -> Result<Regex, regex_lite::Error> {
    // Compiled alone first: a pattern like `a)|(b` would close the group.
    Regex::new(pattern)?;
    Regex::new(&format!("^(?:{pattern})$"))
}

impl TryFrom<String> for TicketPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text)
    }
}

impl From<TicketPattern> for String {
    fn from(pattern: TicketPattern) -> Self {
        pattern.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_ticket_has_to_match() {
        let pattern = TicketPattern::new("T-[0-9]+|INC[0-9]{6}").unwrap();
        assert!(pattern.fits("T-4711") && pattern.fits("INC004711"));
        for ticket in ["", "T-", "T-4711x", "xT-4711", "T-1\n", "T-4711 INC004711"] {
            assert!(!pattern.fits(ticket), "{ticket:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert!(TicketPattern::new("(").is_err());
        assert!(TicketPattern::new("a)|(b").is_err());
        assert!(TicketPattern::new(&"x".repeat(101)).is_err());
    }
}
