//! What is known of a kind of token before one is opened.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strongroom_proto::words::Scheme;

use super::TokenConfig;
use crate::keystore::{KeystoreError, Operation};

/// A token profile, as in `hsm-config/softhsm2.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenProfile {
    /// Where distributions put the module; the first that exists is used.
    pub modules: Vec<PathBuf>,
    /// The sealing scheme of new vault keys.
    pub scheme: Scheme,
    /// How many vault keys the token may hold.
    #[serde(default)]
    pub key_budget: Option<u32>,
}

impl TokenProfile {
    /// Makes the configuration of one token of this kind.
    ///
    /// # Errors
    /// `Module`, naming every place that was looked at, if none holds a file.
    pub fn config(&self, label: &str, storage: Option<&Path>) -> Result<TokenConfig, KeystoreError> {
        let missing = || KeystoreError::Module {
            operation: Operation::Open,
            module: self.modules.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or "),
            reason: "no such file: install the token's software or correct the profile".into(),
        };
        Ok(TokenConfig {
            module: self.modules.iter().find(|path| path.is_file()).cloned().ok_or_else(missing)?,
            label: label.into(),
            serial: None,
            storage: storage.map(Path::to_owned),
            key_budget: self.key_budget,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_module_that_exists_is_used() {
        let profile: TokenProfile =
            toml::from_str("modules = [\"/nonexistent.so\", \"/proc/self/status\"]\nscheme = \"resident\"").unwrap();
        let config = profile.config("a", None).unwrap();
        assert_eq!((config.module, config.key_budget), ("/proc/self/status".into(), None));
        let error = TokenProfile { modules: vec!["/nonexistent.so".into()], ..profile }.config("a", None).unwrap_err();
        assert!(error.to_string().contains("/nonexistent.so"), "{error}");
        assert!(toml::from_str::<TokenProfile>("modules = []\nscheme = \"resident\"\nbudget = 1").is_err());
    }
}
