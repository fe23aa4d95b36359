//! How the vaults of the suite are sealed.

use strongroom_proto::words::Scheme;

/// The sealing schemes of a test's first and second vault: one of each, or what `STRONGROOM_TEST_SCHEME` says.
///
/// # Panics
/// If it says what is none.
#[must_use]
pub fn schemes() -> [Scheme; 2] {
    match std::env::var("STRONGROOM_TEST_SCHEME").as_deref() {
        Err(_) | Ok("") => [Scheme::Resident, Scheme::Derived],
        Ok(word) => {
            let known = Scheme::ALL.iter().find(|scheme| scheme.as_str() == word);
            [*known.unwrap_or_else(|| panic!("STRONGROOM_TEST_SCHEME={word}: resident or derived")); 2]
        }
    }
}

/// The sealing scheme where one will do.
#[must_use]
pub fn scheme() -> Scheme {
    schemes()[0]
}

/// The two vaults that most tests work in.
#[must_use]
pub fn vaults() -> [(&'static str, Scheme); 2] {
    let [first, second] = schemes();
    [("acme", first), ("bluewater", second)]
}
