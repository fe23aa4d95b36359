//! Which of the tokens behind a module is meant.

use std::fmt;

use cryptoki::context::Pkcs11;
use cryptoki::slot::Slot;
use serde::{Deserialize, Serialize};

use crate::keystore::TokenId;

/// What must hold of the token. What is `None` may be anything; exactly one token must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenSelector {
    /// The token's label.
    pub label: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// Who made the token.
    pub manufacturer: Option<String>,
    /// The token's model.
    pub model: Option<String>,
    /// The slot's number. Some modules give a slot another number at the next start.
    pub slot_id: Option<u64>,
    /// Who made the slot.
    pub slot_manufacturer: Option<String>,
    /// The slot's description.
    pub slot_description: Option<String>,
    /// Who made the module.
    pub library_manufacturer: Option<String>,
    /// The module's description.
    pub library_description: Option<String>,
    /// The module's version, `major.minor`.
    pub library_version: Option<String>,
}

impl TokenSelector {
    /// Any token of this label.
    #[must_use]
    pub fn labelled(label: impl Into<String>) -> Self {
        Self { label: Some(label.into()), ..Self::default() }
    }

    /// True if nothing is asked of the token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The id of the token in this slot if it fits. A slot that answers an error does not fit: one damaged token must not
    /// hide the others.
    pub(super) fn fits(&self, module: &Pkcs11, slot: Slot) -> Option<TokenId> {
        let token = module.get_token_info(slot).ok().filter(|token| token.token_initialized())?;
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let mut fits = is(&self.label, token.label())
            && is(&self.serial, token.serial_number())
            && is(&self.manufacturer, token.manufacturer_id())
            && is(&self.model, token.model())
            && self.slot_id.is_none_or(|wanted| wanted == slot.id());
        if self.slot_manufacturer.is_some() || self.slot_description.is_some() {
            let found = module.get_slot_info(slot).ok()?;
            fits &= is(&self.slot_manufacturer, found.manufacturer_id());
            fits &= is(&self.slot_description, found.slot_description());
        }
        if self.library_manufacturer.is_some() || self.library_description.is_some() || self.library_version.is_some() {
            let found = module.get_library_info().ok()?;
            let version = format!("{}.{}", found.library_version().major(), found.library_version().minor());
            fits &= is(&self.library_manufacturer, found.manufacturer_id());
            fits &= is(&self.library_description, found.library_description());
            fits &= is(&self.library_version, &version);
        }
        fits.then(|| TokenId::new(format!("{}/{}", token.serial_number(), token.label())))
    }
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot_id = self.slot_id.map(|id| id.to_string());
        let said = [
            ("label", &self.label),
            ("serial", &self.serial),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
            ("slot", &slot_id),
            ("slot manufacturer", &self.slot_manufacturer),
            ("slot description", &self.slot_description),
            ("library manufacturer", &self.library_manufacturer),
            ("library description", &self.library_description),
            ("library version", &self.library_version),
        ];
        let said: Vec<String> = said
            .into_iter()
            .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}")))
            .collect();
        formatter.write_str(if said.is_empty() { "any token" } else { "" })?;
        formatter.write_str(&said.join(", "))
    }
}
