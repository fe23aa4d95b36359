//! Labels of our keys in the token: at most 40 bytes, because a YubiHSM 2 spends a second object on longer ones.

use strongroom_proto::ids::VaultId;

/// The agent identity key pair.
pub(super) const IDENTITY: &str = "sr:agent-identity";
/// The HMAC key that seals the store keys and binds resident seeds.
pub(super) const STORE_KEYS: &str = "sr:store-keys";
/// What every label of ours starts with.
pub(super) const PREFIX: &str = "sr:";

/// Temporary keys of a probe. What a killed probe left is destroyed by the next one.
pub(super) const PROBE: &str = "sr:probe:";
/// Keys that an operator made for vaults to come, on a token that makes none by itself.
pub(super) const SPARE: &str = "sr:spare:";

/// Whether a label of ours is a vault key's.
pub(super) fn is_vault_key(label: &str) -> bool {
    ![IDENTITY, STORE_KEYS].contains(&label) && ![PROBE, SPARE].iter().any(|prefix| label.starts_with(prefix))
}

/// The label of a vault key: `sr:`, the vault's id as 26 characters of base32, `:` and the key's number.
pub(super) fn vault_key(vault: VaultId, number: u32) -> String {
    format!("{PREFIX}{}:{number}", base32(*vault.as_bytes()))
}

/// Lower-case base32 without padding (RFC 4648 §6). 128 bits are 26 characters, the last of which carries 3 bits.
fn base32(bytes: [u8; 16]) -> String {
    let value = u128::from_be_bytes(bytes);
    let digit = |quintet: u128| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[(quintet & 31) as usize]);
    (0..25).map(|place| digit(value >> (123 - 5 * place))).chain([digit(value << 2)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_fit_in_forty_bytes() {
        assert_eq!(base32(*b"foobarfoobarfoob"), "mzxw6ytbojtg633cmfzgm33pmi"); // coreutils' base32 agrees
        let longest = vault_key(VaultId::random(), u32::MAX);
        assert!(longest.len() <= 40, "{longest}");
        assert!(is_vault_key(&longest));
        assert!(![IDENTITY, STORE_KEYS, "sr:probe:00", "sr:spare:1"].iter().any(|label| is_vault_key(label)));
    }
}
