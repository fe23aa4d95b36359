//! Openings beside the records that they open: both files are read once, side by side.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use super::ahead::Glance;
use super::read::Lines;
use super::{OPENING_LEN_MAX, OPENINGS_FILE, OpeningLine, VerifyError};
use crate::audit::signed_call::Values;

/// The file of openings, and the next line of it.
pub(super) struct Openings {
    /// `None` if the file is withheld as a whole.
    lines: Option<Lines>,
    next: Option<OpeningLine>,
    opened: u64,
    withheld: u64,
}

impl Openings {
    pub(super) fn open(folder: &Path) -> Result<Self, VerifyError> {
        let lines = match Lines::open(folder, OPENINGS_FILE, OPENING_LEN_MAX) {
            Ok(lines) => Some(lines),
            Err(VerifyError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut openings = Self { lines, next: None, opened: 0, withheld: 0 };
        openings.advance()?;
        Ok(openings)
    }

    /// Checks the openings of the next record against its commitments.
    pub(super) fn check(&mut self, record: &Glance) -> Result<(), VerifyError> {
        let opened = self.values(record.seq, &record.h)?.len();
        self.opened += opened as u64;
        self.withheld += (record.h.len() - opened) as u64;
        Ok(())
    }

    /// The values behind the next record's commitments, by field, each checked against its commitment.
    pub(super) fn values(&mut self, seq: u64, h: &BTreeMap<String, String>) -> Result<Values, VerifyError> {
        let mut values = Values::new();
        while let Some(opening) = self.next.take_if(|opening| opening.seq <= seq) {
            let (line, of, field) = (self.line(), opening.seq, opening.field.clone());
            let opening = opening.into_opening();
            if of < seq || values.contains_key(&field) {
                return Err(VerifyError::OpeningOrder { line, seq: of });
            }
            let committed = h.get(&field);
            if committed.is_none() || opening.commitment().as_ref() != committed {
                return Err(VerifyError::FalseOpening { line, seq: of, field });
            }
            values.insert(field, opening.value);
            self.advance()?;
        }
        Ok(values)
    }

    /// How many commitments were opened and how many were not. No opening may be left after the last record.
    pub(super) fn finish(self) -> Result<(u64, u64), VerifyError> {
        match &self.next {
            Some(opening) => Err(VerifyError::OpeningOrder { line: self.line(), seq: opening.seq }),
            None => Ok((self.opened, self.withheld)),
        }
    }

    fn line(&self) -> u64 {
        self.lines.as_ref().map_or(0, Lines::number)
    }

    fn advance(&mut self) -> Result<(), VerifyError> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        self.next = match lines.next()? {
            Some(bytes) => match serde_json::from_slice(bytes) {
                Ok(opening) => Some(opening),
                // The cause would quote the line, which may be personal text.
                Err(_) => return Err(VerifyError::NoOpening { line: lines.number() }),
            },
            None => None,
        };
        Ok(())
    }
}
