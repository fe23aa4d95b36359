//! What a recovery copy says: enough to rebuild the account by hand, in any year, with no part of Strongroom at hand.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;
use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::words::{Algorithm, OtpKind};
use zeroize::Zeroizing;

use super::{OpenError, Recipient, RecoveryError, RecoveryIdentity, open, seal_to};
use crate::keystore::{Seed, SeedContext};

/// Longest document around a seed of the greatest length, in bytes. The buffer never grows: growing would leave a copy
/// of the seed behind.
const DOCUMENT_LEN_MAX: usize = 512 + 4 * crate::keystore::SEED_LEN_MAX.div_ceil(3);

/// The word for this document.
const FORMAT: &str = "strongroom.recovery/1";

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
        r#"{{"format":"{FORMAT}","store":"{store}","vault":"{vault}","account":"{account}","kind":"{kind}","algorithm":"{algorithm}","digits":{digits},"period_s":{period_s},"revision":{revision},"seed":""#
    );
    let mut text = Zeroizing::new(Vec::with_capacity(DOCUMENT_LEN_MAX));
    text.extend_from_slice(before.as_bytes());
    text.resize(before.len() + 4 * seed.expose().len().div_ceil(3), 0);
    let place = text.get_mut(before.len()..).unwrap_or_default();
    BASE64_STANDARD.encode_slice(seed.expose(), place).map_err(|_| RecoveryError::Sealing)?;
    text.extend_from_slice(b"\"}\n");
    Ok(text)
}

/// What a copy holds. The seed is borrowed from the wiped buffer that the file was opened into.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    format: &'a str,
    store: OrgId,
    vault: VaultId,
    account: AccountId,
    kind: OtpKind,
    algorithm: Algorithm,
    digits: u8,
    period_s: u32,
    revision: u32,
    seed: &'a str,
}

/// Opens a recovery copy: the seed, and the account it says it belongs to. The caller compares that with the account it
/// meant: a copy put beside another account opens just as well.
///
/// # Errors
/// As [`open`]; `Malformed` if what is inside is no recovery copy.
pub fn open_copy(identity: &RecoveryIdentity, copy: &[u8]) -> Result<(SeedContext, Seed), OpenError> {
    let malformed = |_| OpenError::Malformed("the recovery copy");
    let text = open(identity, copy)?;
    // serde's own words could quote the text: they are not passed on.
    let document: Document<'_> = serde_json::from_slice(&text).map_err(malformed)?;
    if document.format != FORMAT {
        return Err(OpenError::Malformed("the format of the recovery copy"));
    }
    let mut bytes = Zeroizing::new(vec![0; document.seed.len()]);
    let len = BASE64_STANDARD
        .decode_slice(document.seed, &mut bytes)
        .map_err(|_| OpenError::Malformed("the seed of the recovery copy"))?;
    bytes.truncate(len);
    let Document { store, vault, account, kind, algorithm, digits, period_s, revision, .. } = document;
    let context = SeedContext { store, vault, account, kind, algorithm, digits, period_s, revision };
    let seed = Seed::new(std::mem::take(&mut *bytes)).map_err(|_| OpenError::Malformed("the length of the seed"))?;
    Ok((context, seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::SEED_LEN_MAX;
    use crate::recovery::test_pairs::Pair;

    #[test]
    fn a_copy_opens_to_what_it_was_made_of_and_to_nothing_else() {
        let context = SeedContext {
            store: OrgId::random(),
            vault: VaultId::random(),
            account: AccountId::random(),
            kind: OtpKind::Totp,
            algorithm: Algorithm::Sha1,
            digits: 6,
            period_s: 30,
            revision: 2,
        };
        let pair = Pair::new();
        let seed = Seed::new(vec![5; 20]).unwrap();
        let copy = recovery_copy(&context, &seed, &[*pair.identity().recipient()]).unwrap();
        let (of, opened) = open_copy(&pair.identity(), &copy).unwrap();
        assert_eq!((of, opened.expose()), (context, seed.expose()));
        for text in ["", "{}", r#"{"format":"strongroom.recovery/2"}"#] {
            let other = seal_to(&[*pair.identity().recipient()], text.as_bytes()).unwrap();
            assert!(matches!(open_copy(&pair.identity(), &other), Err(OpenError::Malformed(_))), "{text}");
        }
    }

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
