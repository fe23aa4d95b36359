//! SSHSIG byte by byte (OpenSSH PROTOCOL.sshsig), for signatures that come from elsewhere as bytes. Keys and signatures
//! go in verbatim: nothing is parsed and written again on the way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha512};
use ssh_key::PublicKey;
use strongroom_proto::client::SignError;
use strongroom_proto::sshsig::{self, SshSigError};

const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
const HASH: &[u8] = b"sha512";
/// Base64 characters a line, as ssh-keygen writes them.
const LINE_LEN: usize = 70;

/// Appends an SSH string: its length as four bytes, then its bytes (RFC 4251 §5).
pub(super) fn put(bytes: &mut Vec<u8>, string: &[u8]) {
    // Nothing here is near 4 GiB: texts are a few lines, keys and signatures are bounded where they are read.
    bytes.extend_from_slice(&u32::try_from(string.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(string);
}

/// Takes an SSH string from the front.
pub(super) fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (string, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    *bytes = rest;
    Some(string)
}

/// What a key signs for a text.
pub(super) fn signed_data(namespace: &str, text: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    put(&mut bytes, namespace.as_bytes());
    put(&mut bytes, b"");
    put(&mut bytes, HASH);
    put(&mut bytes, &Sha512::digest(text));
    bytes
}

/// The armoured signature around a key and its signature, both in SSH wire form.
pub(super) fn armoured(key: &[u8], namespace: &str, signature: &[u8]) -> String {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    put(&mut bytes, key);
    put(&mut bytes, namespace.as_bytes());
    put(&mut bytes, b"");
    put(&mut bytes, HASH);
    put(&mut bytes, signature);
    let mut text = String::from("-----BEGIN SSH SIGNATURE-----\n");
    let mut rest = STANDARD.encode(bytes);
    while !rest.is_empty() {
        let tail = rest.split_off(rest.len().min(LINE_LEN));
        text.push_str(&rest);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END SSH SIGNATURE-----\n");
    text
}

/// Checks a signature that another program made: its form, purpose and key. The agent checks the rest; this is for a
/// sentence that helps.
pub(super) fn check(armoured: String, namespace: &str, key: &PublicKey, maker: &str) -> Result<String, SignError> {
    match sshsig::read(namespace, &armoured) {
        Ok(signature) if signature.public_key() == key.key_data() => Ok(armoured),
        Ok(_) => Err(SignError(format!("{maker} signed with another key than {}", sshsig::fingerprint(key)))),
        Err(SshSigError::Namespace) => {
            Err(SignError(format!("{maker} signed for another purpose; the namespace must be {namespace}")))
        }
        Err(error) => Err(SignError(format!("{maker} gave no usable signature: {error}"))),
    }
}
