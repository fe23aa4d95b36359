//! The verifier against folders that nobody wrote: whatever is done to the bytes of a good folder, it ends, does not panic, and
//! accepts nothing but the log that was signed.

#![allow(clippy::unwrap_used, reason = "in a test program a failure is the message")]

use std::fs;
use std::sync::LazyLock;

use proptest::prelude::*;
use strongroom_proto::audit::export::{verify_folder, verify_signatures};
use strongroom_proto::audit::merkle::{leaf_hash, root_of};

mod support;
use support::Folder;

const FILES: [&str; 6] = ["log.ndjson", "state.json", "checkpoint", "log.pub", "openings.ndjson", "checkpoints/4"];

/// One thing done to a file's bytes. Places are taken modulo its length.
#[derive(Clone, Debug)]
enum Change {
    Flip(usize, u8),
    Put(usize, Vec<u8>),
    Cut(usize, usize),
    Double(usize, usize),
    Swap(usize, usize),
    End(usize),
    Lines(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    // What formats stumble over: ends of lines, quotes, digits and signs, deep nesting, bytes that are no UTF-8.
    let text = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..8),
        prop::sample::select(vec![
            b"\n".to_vec(),
            b"\r\n".to_vec(),
            b"\n\n".to_vec(),
            b"\"".to_vec(),
            b"\\u0000".to_vec(),
            b"{".repeat(200),
            b"[".repeat(200),
            b"9".repeat(30),
            b"-1".to_vec(),
            b"1e999".to_vec(),
            b"null".to_vec(),
            b"\xff\xfe".to_vec(),
            "\u{2014} ".as_bytes().to_vec(),
            b"A".repeat(9000),
        ]),
    ];
    prop_oneof![
        (any::<usize>(), 1..=255_u8).prop_map(|(at, bits)| Change::Flip(at, bits)),
        (any::<usize>(), text).prop_map(|(at, bytes)| Change::Put(at, bytes)),
        (any::<usize>(), 1..400_usize).prop_map(|(at, len)| Change::Cut(at, len)),
        (any::<usize>(), 1..400_usize).prop_map(|(at, len)| Change::Double(at, len)),
        (any::<usize>(), any::<usize>()).prop_map(|(one, other)| Change::Swap(one, other)),
        any::<usize>().prop_map(Change::End),
        (any::<usize>(), any::<usize>()).prop_map(|(one, other)| Change::Lines(one, other)),
    ]
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        if len == 0 {
            return;
        }
        match self {
            Self::Flip(at, bits) => bytes[at % len] ^= bits,
            Self::Put(at, more) => drop(bytes.splice(at % len..at % len, more.iter().copied())),
            Self::Cut(at, cut) => drop(bytes.drain(at % len..(at % len + cut).min(len))),
            Self::Double(at, span) => {
                let copy = bytes[at % len..(at % len + span).min(len)].to_vec();
                drop(bytes.splice(at % len..at % len, copy));
            }
            Self::Swap(one, other) => bytes.swap(one % len, other % len),
            Self::End(at) => bytes.truncate(at % len),
            Self::Lines(one, other) => {
                let mut lines: Vec<Vec<u8>> =
                    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                let count = lines.len();
                lines.swap(one % count, other % count);
                *bytes = lines.concat();
            }
        }
    }
}

/// Good folders, a whole one and a pruned one, and their files as they were; a file that one does not have is empty.
static GOOD: LazyLock<[(Folder, Vec<Vec<u8>>); 2]> = LazyLock::new(|| {
    [Folder::new(), Folder::pruned()].map(|folder| {
        let files = FILES.iter().map(|file| fs::read(folder.path.join(file)).unwrap_or_default()).collect();
        (folder, files)
    })
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn no_changed_folder_passes_for_another_log(
        which in 0..2_usize,
        changes in prop::collection::vec((0..FILES.len(), change()), 1..5),
    ) {
        let (folder, good) = &GOOD[which];
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("checkpoints")).unwrap();
        let mut files = good.clone();
        for (file, change) in &changes {
            change.apply(&mut files[*file]);
        }
        for (file, bytes) in FILES.iter().zip(&files) {
            fs::write(scratch.path().join(file), bytes).unwrap();
        }
        let pinned = verify_folder(scratch.path(), Some(&folder.log.pin()), None);
        // Without a pin too: then anything that agrees with itself passes, and nothing may panic on the way.
        let unpinned = verify_folder(scratch.path(), None, None);
        if let Ok(verified) = pinned {
            prop_assert_eq!(&files[..2], &good[..2], "another log was accepted");
            prop_assert_eq!(verified.pruned.is_some(), which == 1);
            prop_assert_eq!((&verified.origin, verified.size), (&folder.log.origin, folder.log.records.len() as u64));
            prop_assert_eq!(verified.root, root_of(folder.log.records.iter().map(|line| leaf_hash(line.as_bytes()))));
            // The second reading comes to the same end as the first.
            let signatures = verify_signatures(scratch.path(), &verified, &[], None).unwrap();
            prop_assert_eq!(signatures.unsigned_releases, [11, 9][which]);
            prop_assert!(unpinned.is_ok());
        }
    }
}
