//! The files that an enrolment reads: a public key, and what a security key says of itself.

use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::error::CliError;

/// Longest public key file that is read, in bytes.
const KEY_FILE_LEN_MAX: u64 = 16 * 1024;

/// Reads the one line of a `.pub` file. A private key is refused here, before it could leave this machine.
pub(super) fn read_public_key(path: &Path) -> Result<String, CliError> {
    let failed = |error: std::io::Error| CliError::caused(&format!("cannot read {}", path.display()), &error);
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = zeroize::Zeroizing::new(String::new());
    file.take(KEY_FILE_LEN_MAX).read_to_string(&mut text).map_err(failed)?;
    if text.contains("PRIVATE KEY") {
        return Err(CliError::usage(format!("{} is a private key.", path.display()))
            .hint(format!("give its public half: {}.pub", path.display())));
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line.to_owned()),
        _ => Err(CliError::usage(format!("{} does not hold exactly one public key.", path.display()))),
    }
}

/// Reads an attestation file, in base64 as the protocol wants it.
pub(super) fn read_attestation(path: Option<&Path>) -> Result<Option<String>, CliError> {
    let Some(path) = path else { return Ok(None) };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(KEY_FILE_LEN_MAX).read_to_end(&mut bytes))
        .map_err(|error| CliError::caused(&format!("cannot read {}", path.display()), &error))?;
    Ok(Some(BASE64.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, text).unwrap();
        read_public_key(&path)
    }

    #[test]
    fn a_private_key_never_leaves() {
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
        let error = read(private).unwrap_err();
        assert_eq!(error.code, 2);
        assert!(error.hint.unwrap().ends_with("key.pub"));
    }

    #[test]
    fn a_public_key_file_has_one_line() {
        assert_eq!(read("# a comment\nssh-ed25519 AAAA jana\r\n").unwrap(), "ssh-ed25519 AAAA jana");
        assert_eq!(read("").unwrap_err().code, 2);
        assert_eq!(read("ssh-ed25519 AAAA\nssh-ed25519 BBBB\n").unwrap_err().code, 2);
    }
}
