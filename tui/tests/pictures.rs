//! The pictures of the documents show the screen as it is.

#![allow(clippy::unwrap_used, reason = "in a test program a failure is the message")]

use std::collections::BTreeMap;
use std::path::Path;

#[allow(dead_code, reason = "an example has a main function")]
#[path = "../examples/picture.rs"]
mod picture;

fn files(folder: &Path) -> BTreeMap<String, String> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap())
    };
    std::fs::read_dir(folder).unwrap().map(read).collect()
}

#[test]
fn the_pictures_of_the_documents_are_current() {
    let folder = tempfile::tempdir().unwrap();
    picture::write(folder.path()).unwrap();
    let (drawn, kept) = (files(folder.path()), files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures")));
    assert!(drawn.keys().eq(kept.keys()), "{:?} / {:?}", drawn.keys(), kept.keys());
    for (name, picture) in &drawn {
        assert!(
            kept[name] == *picture,
            "docs/pictures/{name} is stale: cargo run -p strongroom --example picture -- docs/pictures"
        );
    }
}
