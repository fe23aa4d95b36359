//! A maker of security keys of the test's own: a root, a key's certificate, and attestation files as ssh-keygen writes them
//! for keys that have one (OpenSSH's software security key writes an empty one). Certificates and signatures are openssl's.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ssh_key::PublicKey;
use ssh_key::public::KeyData;
use strongroom_agent::identity::Vendors;

use crate::tools;

/// The model of the maker's keys.
pub const AAGUID: [u8; 16] = [0xa1; 16];

/// A maker: `root.pem` and whatever it issued, in one folder.
pub struct Maker {
    folder: PathBuf,
}

/// What an attestation says; each part can be made wrong.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Which of the maker's certificates signs.
    pub certificate: &'static str,
    /// The application's hash, of `ssh:`.
    pub application: [u8; 32],
    /// Flags: user present, credential included.
    pub flags: u8,
    /// The model.
    pub aaguid: [u8; 16],
    /// What is behind the credential.
    pub tail: Vec<u8>,
}

impl Default for Claim {
    fn default() -> Self {
        Self {
            certificate: "key",
            // SHA-256 of "ssh:".
            application: hex::decode("e30610e8a162115960fe1ec223e6529c9f4b6e80200dcb5e5c321c8af1e2b1bf")
                .map_or([0; 32], |hash| hash.try_into().unwrap_or([0; 32])),
            flags: 0x41,
            aaguid: AAGUID,
            tail: Vec::new(),
        }
    }
}

impl Maker {
    /// Makes a root, and a certificate `key` of it for one model.
    ///
    /// # Panics
    /// If openssl fails.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join("roots")).expect("a folder can be made");
        let maker = Self { folder: folder.to_owned() };
        maker.root("root", "3650");
        maker.issue(
            "key",
            "root",
            &["basicConstraints=CA:FALSE", "1.3.6.1.4.1.45724.1.1.4=DER:0410a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"],
        );
        maker
    }

    /// The folder of roots, for the configuration.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.folder.join("roots")
    }

    /// The roots as the agent reads them.
    ///
    /// # Panics
    /// If they cannot be read.
    #[must_use]
    pub fn vendors(&self) -> Vendors {
        Vendors::read(&self.roots()).expect("the roots can be read")
    }

    fn path(&self, name: &str, end: &str) -> String {
        self.folder.join(format!("{name}.{end}")).display().to_string()
    }

    /// Makes a root that is trusted.
    ///
    /// # Panics
    /// If openssl fails.
    pub fn root(&self, name: &str, days: &str) {
        let (key, certificate) =
            (self.path(name, "key"), self.roots().join(format!("{name}.pem")).display().to_string());
        tools::run("openssl", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &key]);
        let subject = format!("/CN=Test maker {name}");
        tools::run(
            "openssl",
            &["req", "-x509", "-new", "-sha256", "-key", &key, "-subj", &subject, "-days", days, "-out", &certificate],
        );
        std::fs::copy(&certificate, self.path(name, "pem")).expect("it was written");
    }

    /// Issues a certificate with these extensions.
    ///
    /// # Panics
    /// If openssl fails.
    pub fn issue(&self, name: &str, by: &str, extensions: &[&str]) {
        self.issue_for(name, by, extensions, "3650");
    }

    /// As [`Maker::issue`], for so many days.
    ///
    /// # Panics
    /// If openssl fails.
    pub fn issue_for(&self, name: &str, by: &str, extensions: &[&str], days: &str) {
        let (key, request, file) = (self.path(name, "key"), self.path(name, "csr"), self.path(name, "ext"));
        tools::run("openssl", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &key]);
        let subject = format!("/O=Test/OU=Authenticator Attestation/CN=Test key {name}");
        tools::run("openssl", &["req", "-new", "-sha256", "-key", &key, "-subj", &subject, "-out", &request]);
        std::fs::write(&file, extensions.join("\n")).expect("the disk has room");
        let (ca, ca_key, out) = (self.path(by, "pem"), self.path(by, "key"), self.path(name, "pem"));
        tools::run(
            "openssl",
            &[
                "x509",
                "-req",
                "-sha256",
                "-in",
                &request,
                "-CA",
                &ca,
                "-CAkey",
                &ca_key,
                "-CAcreateserial",
                "-days",
                days,
                "-extfile",
                &file,
                "-out",
                &out,
            ],
        );
    }

    /// Puts a certificate that was issued among the trusted ones.
    ///
    /// # Panics
    /// If it was not issued.
    pub fn trust(&self, name: &str) {
        let to = self.roots().join(format!("{name}.pem"));
        std::fs::copy(self.path(name, "pem"), to).expect("it was issued");
    }

    /// An attestation file of a key, made with a challenge.
    ///
    /// # Panics
    /// If openssl fails or the key is no FIDO key.
    #[must_use]
    pub fn attest(&self, key: &PublicKey, challenge: &str, claim: &Claim) -> Vec<u8> {
        let data = authenticator_data(key, claim);
        let signed = [data.as_slice(), &self.sha256(challenge.as_bytes())].concat();
        let signature = self.sign(claim.certificate, &signed);
        self.file(claim.certificate, &signature, &data)
    }

    /// An attestation file as a U2F key's is.
    ///
    /// # Panics
    /// If openssl fails or the key is not of ECDSA.
    #[must_use]
    pub fn attest_u2f(&self, key: &PublicKey, challenge: &str) -> Vec<u8> {
        let claim = Claim { aaguid: [0; 16], certificate: "u2f", ..Claim::default() };
        let KeyData::SkEcdsaSha2NistP256(point) = key.key_data() else { panic!("U2F knows ECDSA only") };
        let parts = [
            &[0][..],
            &claim.application,
            &self.sha256(challenge.as_bytes()),
            CREDENTIAL_ID,
            point.ec_point().as_bytes(),
        ];
        self.file("u2f", &self.sign("u2f", &parts.concat()), &authenticator_data(key, &claim))
    }

    fn file(&self, certificate: &str, signature: &[u8], data: &[u8]) -> Vec<u8> {
        let path = self.path(certificate, "pem");
        let certificate = self.pipe(&["x509", "-outform", "DER", "-in", &path], b"");
        let mut wrapped = vec![0x59];
        wrapped.extend(u16::try_from(data.len()).expect("it is short").to_be_bytes());
        wrapped.extend(data);
        let mut file = Vec::new();
        for part in [b"ssh-sk-attest-v01".as_slice(), &certificate, signature, &wrapped] {
            file.extend(u32::try_from(part.len()).expect("it is short").to_be_bytes());
            file.extend(part);
        }
        file.extend([0; 8]);
        file
    }

    fn sha256(&self, bytes: &[u8]) -> Vec<u8> {
        self.pipe(&["dgst", "-sha256", "-binary"], bytes)
    }

    fn sign(&self, by: &str, bytes: &[u8]) -> Vec<u8> {
        self.pipe(&["dgst", "-sha256", "-sign", &self.path(by, "key"), "-binary"], bytes)
    }

    fn pipe(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = Command::new("openssl");
        let mut child = command
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl is there");
        child.stdin.take().expect("it reads").write_all(input).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "openssl {arguments:?}");
        output.stdout
    }
}

const CREDENTIAL_ID: &[u8] = b"credential";

/// WebAuthn §6.1, with the key as COSE writes it.
fn authenticator_data(key: &PublicKey, claim: &Claim) -> Vec<u8> {
    let mut data = claim.application.to_vec();
    data.push(claim.flags);
    data.extend([0, 0, 0, 7]);
    data.extend(claim.aaguid);
    data.extend(u16::try_from(CREDENTIAL_ID.len()).expect("it is short").to_be_bytes());
    data.extend(CREDENTIAL_ID);
    match key.key_data() {
        KeyData::SkEd25519(key) => {
            data.extend([0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 32]);
            data.extend(key.public_key().0);
        }
        KeyData::SkEcdsaSha2NistP256(key) => {
            let point = key.ec_point().as_bytes();
            data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 32]);
            data.extend(&point[1..33]);
            data.extend([0x22, 0x58, 32]);
            data.extend(&point[33..]);
        }
        _ => panic!("only FIDO keys attest"),
    }
    data.extend(&claim.tail);
    data
}
