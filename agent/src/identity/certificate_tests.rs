use std::path::Path;
use std::process::Command;

use strongroom_proto::login::LOGIN_NAMESPACE;

use super::*;
use crate::identity::proof::{ProofError, verify_with};
use crate::identity::test_keys::{Key, KeyFolder};

const DAY: SignedDuration = SignedDuration::from_hours(24);

struct Bench {
    folder: KeyFolder,
    authority: Key,
    key: Key,
}

impl Bench {
    fn new() -> Self {
        let folder = KeyFolder::new();
        let (authority, key) = (folder.make("ed25519", "", &[]), folder.make("ed25519", "", &[]));
        Self { folder, authority, key }
    }

    fn authorities(&self, krl: Option<&Path>) -> Authorities {
        Authorities::new(&[self.authority.public_line()], krl.map(Path::to_owned), DAY).unwrap()
    }

    /// A certificate for jana, good for an hour, unless the arguments say something else.
    fn certify(&self, more: &[&str]) -> UserCertificate {
        UserCertificate::parse(&self.key.certify(&self.authority, more)).unwrap()
    }

    fn refusal(&self, more: &[&str]) -> String {
        let allowed = ["jana".to_owned(), "jana@example".to_owned()];
        let judged = self.authorities(None).judge(&self.certify(more), &allowed, Timestamp::now());
        judged.map_or_else(|error| error.to_string(), |vouched| format!("accepted {}", vouched.serial))
    }
}

const HOUR: [&str; 2] = ["-V", "+1h"];
const NAMED: [&str; 2] = ["-n", "jana"];

#[test]
fn each_rule_refuses_the_certificate_that_breaks_it() {
    let bench = Bench::new();
    let table: [(&[&str], &str); 19] = [
        (&["-n", "jana", "-V", "+1h", "-z", "7"], "accepted 7"),
        (&["-n", "root,jana@example", "-V", "+1h", "-z", "18446744073709551615"], "accepted 18446744073709551615"),
        (&["-n", "jana", "-V", "+24h"], "accepted 0"),
        // Permissions that mean nothing here.
        (&["-n", "jana", "-V", "+1h", "-O", "clear", "-O", "permit-pty"], "accepted 0"),
        (&["-n", "jana", "-V", "+1h", "-O", "extension:login@example.org=x"], "accepted 0"),
        (&["-n", "jana", "-V", "+1h", "-O", "verify-required"], "accepted 0"),
        (&["-n", "jana", "-V", "always:forever"], "longer than is allowed"),
        (&["-n", "jana", "-V", "-1h:forever"], "longer than is allowed"),
        (&["-n", "jana", "-V", "+25h"], "longer than is allowed"),
        (&["-n", "jana", "-V", "-2h:-1h"], "has expired"),
        (&["-n", "jana", "-V", "+1h:+2h"], "not valid yet"),
        (&["-V", "+1h"], "names no principal"),
        (&["-n", "marcus", "-V", "+1h"], "names somebody else"),
        // A principal is compared literally.
        (&["-n", "*", "-V", "+1h"], "names somebody else"),
        (&["-n", "jana ,JANA,jan,jana1", "-V", "+1h"], "names somebody else"),
        (&["-n", "jana", "-V", "+1h", "-O", "force-command=/bin/true"], "critical option"),
        (&["-n", "jana", "-V", "+1h", "-O", "source-address=10.0.0.0/8"], "critical option"),
        (&["-n", "jana", "-V", "+1h", "-O", "critical:hello@example.org=x"], "critical option"),
        (&["-n", "jana", "-V", "+1h", "-I", &"x".repeat(257)], "key id"),
    ];
    for (arguments, expected) in table {
        let outcome = bench.refusal(arguments);
        assert!(outcome.contains(expected), "{arguments:?}: {outcome}");
    }
}

#[test]
fn only_a_trusted_authority_of_an_accepted_kind_vouches() {
    let bench = Bench::new();
    let allowed = ["jana".to_owned()];
    let now = Timestamp::now();
    for (kind, bits) in
        [("ed25519", ""), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "3072"), ("ed25519-sk", "")]
    {
        let authority = bench.folder.make(kind, bits, &[]);
        let line = bench.key.certify(&authority, &[NAMED, HOUR].concat());
        let certificate = UserCertificate::parse(&line).unwrap();
        let trusting = Authorities::new(&[authority.public_line()], None, DAY).unwrap();
        let vouched = trusting.judge(&certificate, &allowed, now).unwrap();
        assert_eq!(vouched.authority, authority.fingerprint(), "{kind} {bits}");
        let refused = bench.authorities(None).judge(&certificate, &allowed, now).unwrap_err();
        assert!(matches!(refused, CertificateRefusal::Authority), "{kind} {bits}");
        assert!(matches!(Authorities::none().judge(&certificate, &allowed, now), Err(CertificateRefusal::None)));

        // Any flipped byte of it is refused, one way or another.
        let (kind_word, base64) = line.trim().split_once(' ').unwrap();
        let base64 = base64.split(' ').next().unwrap();
        for place in (0..base64.len() - 4).step_by(7) {
            let other = if base64.as_bytes()[place] == b'A' { "B" } else { "A" };
            let forged = format!("{kind_word} {}{other}{}", &base64[..place], &base64[place + 1..]);
            let accepted =
                UserCertificate::parse(&forged).is_ok_and(|forged| trusting.judge(&forged, &allowed, now).is_ok());
            assert!(!accepted, "{kind} {bits}: byte {place} may be anything");
        }
    }

    let rsa = bench.folder.make("rsa", "3072", &[]);
    let sha1 = bench.key.certify(&rsa, &["-n", "jana", "-V", "+1h", "-t", "ssh-rsa"]);
    let trusting = Authorities::new(&[rsa.public_line()], None, DAY).unwrap();
    let refused = UserCertificate::parse(&sha1).and_then(|certificate| trusting.judge(&certificate, &allowed, now));
    assert!(matches!(refused, Err(CertificateRefusal::Signature | CertificateRefusal::Malformed)), "{refused:?}");
    let weak = bench.folder.make("rsa", "2048", &[]);
    assert_eq!(Authorities::new(&[weak.public_line()], None, DAY).unwrap_err(), (1, KeyRefusal::RsaBits(2048)));

    let host = bench.key.certify(&bench.authority, &["-h", "-n", "jana", "-V", "+1h"]);
    assert!(matches!(UserCertificate::parse(&host), Err(CertificateRefusal::Host)));
    let weak = weak.certify(&bench.authority, &[NAMED, HOUR].concat());
    assert!(matches!(UserCertificate::parse(&weak), Err(CertificateRefusal::Key(KeyRefusal::RsaBits(2048)))));
    for line in ["", "hello", &bench.key.public_line(), &"A".repeat(LINE_LEN_MAX + 1)] {
        assert!(matches!(UserCertificate::parse(line), Err(CertificateRefusal::Malformed)), "{line}");
    }
}

#[test]
fn the_signature_is_the_keys_whether_it_carries_the_certificate_or_not() {
    let bench = Bench::new();
    let certificate = bench.certify(&[NAMED, HOUR].concat());
    let verify = |certificate: Option<&UserCertificate>, armoured: &str| {
        let key = PublicKey::from_openssh(&bench.key.public_line()).unwrap();
        verify_with(&key, certificate, LOGIN_NAMESPACE, b"text", armoured)
    };
    let (plain, carrying) =
        (bench.key.sign(LOGIN_NAMESPACE, b"text", &[]), bench.key.sign_with_certificate(LOGIN_NAMESPACE, b"text"));
    assert!(verify(Some(&certificate), &plain).is_ok());
    assert!(verify(Some(&certificate), &carrying).is_ok());
    assert!(matches!(verify(None, &carrying), Err(ProofError::Signature(_))));
    // Another certificate of the same key, which nobody judged.
    let other = bench.certify(&["-n", "root", "-V", "+1h"]);
    assert!(matches!(verify(Some(&other), &carrying), Err(ProofError::Signature(_))));
}

/// Makes a list and asks `ssh-keygen -Q` and our reader about the same certificates.
#[test]
fn revocation_lists_mean_what_ssh_keygen_says() {
    let bench = Bench::new();
    let other_authority = bench.folder.make("ed25519", "", &[]);
    let bystander = bench.folder.make("ed25519", "", &[]);
    let specification = |text: &str| format!("{text}\n");
    let hash = |key: &Key| format!("hash: {}", key.fingerprint());
    let sha1 = |key: &Key| format!("sha1: {}", key.public_line());
    let lists = [
        (true, specification("serial: 7")),
        (true, specification("serial: 3\nserial: 5-9\nserial: 4000")),
        (
            true,
            specification(&(0..60).map(|serial| format!("serial: {}", serial * 5 + 2)).collect::<Vec<_>>().join("\n")),
        ),
        (true, specification("serial: 1-18446744073709551615")),
        (true, specification("id: jana laptop")),
        (false, specification(&bench.key.public_line())),
        (false, specification(&hash(&bench.key))),
        (false, specification(&sha1(&bench.key))),
        (false, specification(&sha1(&bystander))),
        (false, specification(&hash(&bench.authority))),
        (true, specification("")),
    ];
    let mut told = Vec::new();
    for (place, (by_authority, text)) in lists.iter().enumerate() {
        let folder = bench.key.path.parent().unwrap();
        let (spec, krl) = (folder.join("spec"), folder.join("krl"));
        std::fs::write(&spec, text).unwrap();
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-k", "-f"]).arg(&krl);
        if *by_authority {
            command.arg("-s").arg(bench.authority.path.with_extension("pub"));
        }
        assert!(command.arg(&spec).status().unwrap().success(), "{text}");
        let authorities = bench.authorities(Some(&krl));
        for (authority, serial, key_id) in [
            (&bench.authority, "0", "x"),
            (&bench.authority, "6", "jana"),
            (&bench.authority, "7", "jana laptop"),
            (&bench.authority, "8", "JANA LAPTOP"),
            (&bench.authority, "297", "jana"),
            (&bench.authority, "18446744073709551615", "jana"),
            (&other_authority, "7", "jana laptop"),
        ] {
            let line = bench.key.certify(authority, &["-n", "jana", "-V", "+1h", "-z", serial, "-I", key_id]);
            let mut path = bench.key.path.clone().into_os_string();
            path.push("-cert.pub");
            let revoked =
                !Command::new("ssh-keygen").args(["-Q", "-f"]).arg(&krl).arg(&path).output().unwrap().status.success();
            let ours = authorities.revokes(&UserCertificate::parse(&line).unwrap()).unwrap();
            assert_eq!(ours, revoked, "list {place}, serial {serial}, id {key_id}: {text}");
            told.push(ours);
        }
    }
    assert!(told.contains(&true) && told.contains(&false));
}

#[test]
fn a_list_that_cannot_be_used_lets_nobody_in() {
    let bench = Bench::new();
    let folder = bench.key.path.parent().unwrap().to_owned();
    let krl = folder.join("login.krl");
    let certificate = bench.certify(&[NAMED, HOUR].concat());
    let authorities = bench.authorities(Some(&krl));
    let judge = || authorities.judge(&certificate, &["jana".to_owned()], Timestamp::now());
    let unusable = || matches!(judge(), Err(CertificateRefusal::Krl(_)));
    assert!(unusable(), "it is missing");

    std::fs::write(folder.join("spec"), "serial: 99\n").unwrap();
    let make = |version: &str| {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-k", "-z", version, "-f"]).arg(&krl);
        command.arg("-s").arg(bench.authority.path.with_extension("pub")).arg(folder.join("spec"));
        assert!(command.status().unwrap().success());
        std::fs::read(&krl).unwrap()
    };
    let older = make("4");
    assert!(judge().is_ok());
    let good = make("5");
    assert!(judge().is_ok());
    std::fs::write(&krl, older).unwrap();
    assert!(unusable(), "an older list forgets revocations");

    for len in 0..good.len() {
        std::fs::write(&krl, &good[..len]).unwrap();
        assert!(unusable() || len == 44, "cut at {len}");
    }
    for (flaw, bytes) in [
        ("a byte behind", [good.as_slice(), b"x"].concat()),
        ("a part of an unknown kind", [good.as_slice(), &[9, 0, 0, 0, 0]].concat()),
        ("a signed list", [good.as_slice(), &[4, 0, 0, 0, 0, 0, 0, 0, 0]].concat()),
        ("no list", b"hello".to_vec()),
        ("another version of the format", {
            let mut bytes = good.clone();
            bytes[11] = 2;
            bytes
        }),
    ] {
        std::fs::write(&krl, bytes).unwrap();
        assert!(unusable(), "{flaw}");
    }
    std::fs::write(&krl, &good).unwrap();
    assert!(judge().is_ok(), "the next good list counts again");
}
