//! Both ways against Debian's `age`: what we seal it opens, what it seals we open, what it refuses we refuse.

use std::io::{Read as _, Write as _};

use super::*;
use crate::recovery::test_pairs::Pair;
use crate::recovery::{OpenError, Recipient, RecoveryError};

const LENGTHS: [usize; 6] = [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 2 * CHUNK_LEN];

fn plaintext(len: usize) -> Vec<u8> {
    (0..len).map(|place| (place % 251) as u8).collect()
}

#[test]
fn age_opens_what_is_sealed_to_one_or_two_recipients() {
    let pairs = [Pair::new(), Pair::new()];
    let both = [pairs[0].recipient(), pairs[1].recipient()];
    for recipients in [&both[..1], &both] {
        for len in LENGTHS {
            let sealed = seal_to(recipients, &plaintext(len)).unwrap();
            for pair in &pairs[..recipients.len()] {
                let output = pair.age_opens(&sealed);
                assert!(output.status.success(), "{len}: {}", String::from_utf8_lossy(&output.stderr));
                assert!(output.stdout == plaintext(len), "{len} bytes came out different");
                assert!(*open(&pair.identity(), &sealed).unwrap() == plaintext(len), "{len}");
            }
        }
    }
    let outsider = pairs[1].age_opens(&seal_to(&both[..1], b"x").unwrap());
    assert!(!outsider.status.success());
}

#[test]
fn what_age_seals_is_opened_by_whom_it_is_for() {
    let (first, second, outsider) = (Pair::new(), Pair::new(), Pair::new());
    assert_eq!(first.identity().recipient(), &first.recipient());
    for len in LENGTHS {
        let sealed = Pair::age_seals(&[&first, &second], &plaintext(len));
        for pair in [&first, &second] {
            assert!(*open(&pair.identity(), &sealed).unwrap() == plaintext(len), "{len}");
        }
        assert!(matches!(open(&outsider.identity(), &sealed), Err(OpenError::NotForThisIdentity)));
    }
}

#[test]
fn every_altered_byte_and_every_cut_is_refused_as_age_does() {
    let pair = Pair::new();
    let identity = pair.identity();
    let sealed = seal_to(&[pair.recipient()], b"a recovery copy").unwrap();
    for place in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[place] ^= 1;
        assert!(open(&identity, &altered).is_err(), "byte {place}");
        assert!(open(&identity, &sealed[..place]).is_err(), "cut at {place}");
    }
    assert!(open(&identity, &[&sealed[..], b"x"].concat()).is_err());
    // Somewhere in the version, the share, the wrapped key, the MAC, the nonce, the payload and the tag.
    for place in [3, 40, 90, 140, sealed.len() - 40, sealed.len() - 20, sealed.len() - 1] {
        let mut altered = sealed.clone();
        altered[place] ^= 1;
        assert!(!pair.age_opens(&altered).status.success(), "byte {place}");
    }
    assert!(!pair.age_opens(&sealed[..sealed.len() - 1]).status.success());
    assert!(!pair.age_opens(&[&sealed[..], b"x"].concat()).status.success());
}

#[test]
fn chunks_cannot_be_left_out_swapped_or_ended_early() {
    let pair = Pair::new();
    let sealed = seal_to(&[pair.recipient()], &plaintext(3 * CHUNK_LEN)).unwrap();
    let chunk = CHUNK_LEN + TAG_LEN;
    let start = sealed.len() - 3 * chunk;
    let parts = |order: &[usize]| {
        let mut file = sealed[..start].to_vec();
        for part in order {
            file.extend_from_slice(&sealed[start + part * chunk..start + (part + 1) * chunk]);
        }
        file
    };
    assert!(open(&pair.identity(), &parts(&[0, 1, 2])).is_ok());
    for order in [&[0, 1][..], &[0, 2], &[1, 0, 2], &[0, 1, 2, 2], &[2], &[]] {
        assert!(open(&pair.identity(), &parts(order)).is_err(), "{order:?}");
    }
}

#[test]
fn a_stream_is_the_same_whatever_the_size_of_the_writes_and_reads() {
    let pair = Pair::new();
    let plain = plaintext(3 * CHUNK_LEN + 7);
    let mut writer = SealingWriter::new(&[pair.recipient()], Vec::new()).unwrap();
    for piece in plain.chunks(10_007) {
        writer.write_all(piece).unwrap();
    }
    let sealed = writer.finish().unwrap();
    assert!(pair.age_opens(&sealed).stdout == plain);
    let mut reader = OpeningReader::new(&pair.identity(), sealed.as_slice()).unwrap();
    let (mut opened, mut piece) = (Vec::new(), [0; 4099]);
    loop {
        match reader.read(&mut piece).unwrap() {
            0 => break,
            len => opened.extend_from_slice(&piece[..len]),
        }
    }
    assert!(opened == plain);
}

#[test]
fn a_writer_that_was_not_finished_leaves_a_file_that_nobody_opens() {
    let pair = Pair::new();
    let mut file = Vec::new();
    let mut writer = SealingWriter::new(&[pair.recipient()], &mut file).unwrap();
    writer.write_all(&plaintext(2 * CHUNK_LEN)).unwrap();
    drop(writer);
    assert!(open(&pair.identity(), &file).is_err());
}

#[test]
fn stanzas_of_other_types_are_passed_over_and_malformed_ones_refused() {
    let pair = Pair::new();
    let sealed = |stanza: &str| {
        // A header that says something else needs a MAC of its own: made here from the parts that sealing uses.
        let plain = seal_to(&[pair.recipient()], b"x").unwrap();
        let end = plain.windows(4).position(|window| window == b"--- ").unwrap();
        let header = header::read(&mut plain.as_slice()).unwrap();
        let key = open::file_key_for_tests(&pair.identity(), &header);
        let mut file = header::VERSION.to_vec();
        file.extend_from_slice(stanza.as_bytes());
        file.extend_from_slice(&plain[header::VERSION.len()..end + 3]);
        let mac = ring::hmac::sign(&header_key(&key).unwrap(), &file);
        use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine as _};
        file.extend_from_slice(format!(" {}\n", BASE64_STANDARD_NO_PAD.encode(mac)).as_bytes());
        let payload = plain.iter().skip(end).position(|byte| *byte == b'\n').unwrap() + end + 1;
        file.extend_from_slice(&plain[payload..]);
        file
    };
    for good in ["-> grease a b\n\n", "-> ssh-ed25519 x y\nAAAA\n", &format!("-> a\n{}\n\n", "A".repeat(64))] {
        let file = sealed(good);
        assert_eq!(open(&pair.identity(), &file).unwrap().as_slice(), b"x", "{good}");
        assert_eq!(pair.age_opens(&file).stdout, b"x", "{good}");
    }
    let zero = format!("-> X25519 {}\n{}\n", "A".repeat(43), "A".repeat(43));
    for bad in ["-> \n\n", "->\n\n", "-> X25519\n\n", "-> a  b\n\n", "-> a\nAAA=\n", "-> X25519 AAAA\nAAAA\n", &zero] {
        assert!(matches!(open(&pair.identity(), &sealed(bad)), Err(OpenError::Malformed(_))), "{bad:?}");
        assert!(!pair.age_opens(&sealed(bad)).status.success(), "{bad:?}");
    }
}

#[test]
fn an_endless_header_is_given_up() {
    let identity = Pair::new().identity();
    let endless = std::io::repeat(b'a').take(u64::MAX);
    assert!(matches!(OpeningReader::new(&identity, endless), Err(OpenError::Malformed(_))));
    let stanzas = b"-> a\n\n".iter().copied().cycle().take(1 << 20).collect::<Vec<_>>();
    let file = [header::VERSION, &stanzas].concat();
    assert!(matches!(OpeningReader::new(&identity, file.as_slice()), Err(OpenError::Malformed(_))));
    assert!(matches!(open(&identity, &vec![0; 1 << 21]), Err(OpenError::TooLong)));
}

#[test]
fn nobody_and_a_weak_point_are_refused() {
    assert_eq!(seal_to(&[], b"x"), Err(RecoveryError::NoRecipients));
    let zero = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse_unchecked("age"), &[0; 32]).unwrap();
    assert_eq!(seal_to(&[Recipient::parse(&zero).unwrap()], b"x"), Err(RecoveryError::WeakRecipient));
    assert!(SealingWriter::new(&[], Vec::new()).is_err());
}

#[test]
fn two_copies_of_the_same_share_nothing() {
    let pair = Pair::new();
    let copies = [0, 1].map(|_| seal_to(&[pair.recipient()], &[0; 100]).unwrap());
    let start = "age-encryption.org/v1\n-> X25519 ".len();
    assert_ne!(copies[0][start..start + 43], copies[1][start..start + 43]);
    assert_ne!(copies[0][copies[0].len() - 116..], copies[1][copies[1].len() - 116..]);
}
