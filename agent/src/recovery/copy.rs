//! What a recovery copy says: enough to rebuild the account by hand, in any year, with no part of Strongroom at hand.

use base64::prelude::{BASE64_STANDARD, Engine};
use zeroize::Zeroizing;

use super::{Recipient, RecoveryError, seal_to};
use crate::keystore::{Seed, SeedContext};

/// Longest document around a seed of the greatest length, in bytes. The buffer never grows: growing would leave a copy
/// of the seed behind.
const DOCUMENT_LEN_MAX: usize = 512 + 4 * crate::keystore::SEED_LEN_MAX.div_ceil(3);

/// Seals a seed to the recovery recipients. Inside is one line of JSON:
/// `{"format":"strongroom.recovery/1","store":…,"vault":…,"account":…,"kind":"totp","algorithm":"SHA1","digits":6,`
/// `"period_s":30,"revision":1,"seed":"<base64>"}`.
///
/// # Errors
/// As [`seal_to`].
pub fn recovery_copy(context: &SeedContext, seed: &Seed, recipients: &[Recipient]) -> Result<Vec<u8>, RecoveryError> {
    seal_to(recipients, &document(context, seed)?)
}

/// Written by hand rather than by serde, whose buffers are not wiped. Every field is an id, a number or a word of a closed
/// vocabulary: nothing needs escaping.
fn document(context: &SeedContext, seed: &Seed) -> Result<Zeroizing<Vec<u8>>, RecoveryError> {
    let SeedContext { store, vault, account, kind, algorithm, digits, period_s, revision } = context;
    let before = format!(
        r#"{{"format":"strongroom.recovery/1","store":"{store}","vault":"{vault}","account":"{account}","kind":"{kind}","algorithm":"{algorithm}","digits":{digits},"period_s":{period_s},"revision":{revision},"seed":""#
    );
    let mut text = Zeroizing::new(Vec::with_capacity(DOCUMENT_LEN_MAX));
    text.extend_from_slice(before.as_bytes());
    text.resize(before.len() + 4 * seed.expose().len().div_ceil(3), 0);
    let place = text.get_mut(before.len()..).unwrap_or_default();
    BASE64_STANDARD.encode_slice(seed.expose(), place).map_err(|_| RecoveryError::Sealing)?;
    text.extend_from_slice(b"\"}\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use strongroom_proto::ids::{AccountId, OrgId, VaultId};
    use strongroom_proto::words::{Algorithm, OtpKind};

    use super::*;
    use crate::keystore::SEED_LEN_MAX;

    #[test]
    fn the_document_is_json_that_says_everything() {
        let context = SeedContext {
            store: OrgId::random(),
            vault: VaultId::random(),
            account: AccountId::random(),
            kind: OtpKind::Hotp,
            algorithm: Algorithm::Sha512,
            digits: 10,
            period_s: u32::MAX,
            revision: u32::MAX,
        };
        for len in [1, 20, SEED_LEN_MAX] {
            let seed: Vec<u8> = (0..len).map(|place| place as u8).collect();
            let text = document(&context, &Seed::new(seed.clone()).unwrap()).unwrap();
            assert!(text.capacity() == DOCUMENT_LEN_MAX, "the buffer grew and left a copy behind");
            let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(value["format"], "strongroom.recovery/1");
            assert_eq!(value["account"], context.account.to_string());
            assert_eq!(BASE64_STANDARD.decode(value["seed"].as_str().unwrap()).unwrap(), seed);
            // All but format and seed is the context itself.
            let mut rest = value;
            for field in ["format", "seed"] {
                rest.as_object_mut().unwrap().remove(field);
            }
            assert_eq!(serde_json::from_value::<SeedContext>(rest).unwrap(), context);
        }
    }
}
