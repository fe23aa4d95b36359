//! Handing new accounts to the agent: begin, rows, commit. Nothing is visible before the commit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use strongroom_proto::client::Client;
use strongroom_proto::ids::Slug;
use strongroom_proto::method::account::{ImportBegin, ImportCommit, ImportRows, Imported, Row};
use zeroize::Zeroizing;

use super::error::CliError;
use crate::import::Candidate;

/// Most rows in one call.
const CHUNK_ROWS_MAX: usize = 100;
/// Most bytes of rows in one call: the frame may have 64 KiB, its envelope needs little.
const CHUNK_LEN_MAX: usize = 48 * 1024;

/// The wire form of a candidate under its new slug.
pub(super) fn row(candidate: &Candidate, account: Slug) -> Row {
    Row {
        account,
        issuer: candidate.issuer.clone(),
        label: candidate.label.clone(),
        kind: candidate.kind,
        algorithm: candidate.algorithm,
        digits: candidate.digits,
        period_s: candidate.period_s,
        counter: candidate.counter,
        seed: Zeroizing::new(BASE64.encode(candidate.seed.as_slice())),
    }
}

/// Imports all rows in one commit, or none. With `replace`, accounts that exist get a new seed.
///
/// # Errors
/// What the agent answers; the import ends with the connection, so nothing is left over.
pub(super) async fn import(
    client: &mut Client,
    vault: &Slug,
    source: &str,
    replace: bool,
    rows: Vec<Row>,
) -> Result<Imported, CliError> {
    let begun = client.call(&ImportBegin { vault: vault.clone(), source: source.to_owned(), replace }).await?;
    for rows in chunks(rows)? {
        client.call(&ImportRows { import: begun.import, rows }).await?;
    }
    Ok(client.call(&ImportCommit { import: begun.import }).await?)
}

/// Cuts rows into calls that fit a frame, in order.
fn chunks(rows: Vec<Row>) -> Result<Vec<Vec<Row>>, CliError> {
    let mut chunks: Vec<Vec<Row>> = Vec::new();
    let mut len = 0;
    for row in rows {
        let row_len = wire_len(&row)?;
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_ROWS_MAX && len + row_len <= CHUNK_LEN_MAX => {
                chunk.push(row);
                len += row_len;
            }
            _ => {
                chunks.push(vec![row]);
                len = row_len;
            }
        }
    }
    Ok(chunks)
}

/// Counts the bytes that a value takes on the wire without keeping them.
fn wire_len(value: &impl Serialize) -> Result<usize, CliError> {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).map_err(|error| CliError::caused("cannot write a row", &error))?;
    Ok(counter.0 + 1)
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{agent, refusal};
    use super::*;
    use serde_json::json;
    use strongroom_proto::rpc::REQUEST_LEN_MAX;
    use strongroom_proto::words::{Algorithm, OtpKind};

    fn rows(count: usize, seed_len: usize, name_len: usize) -> Vec<Row> {
        let candidate = Candidate {
            line: 1,
            issuer: "\"".repeat(name_len),
            label: "ü".repeat(name_len / 2),
            kind: OtpKind::Totp,
            algorithm: Algorithm::Sha1,
            digits: 6,
            period_s: 30,
            counter: 0,
            seed: Zeroizing::new(vec![7; seed_len]),
            notes: vec![],
        };
        (0..count).map(|number| row(&candidate, Slug::new(&format!("a{number}")).unwrap())).collect()
    }

    #[test]
    fn chunks_fit_their_frame_and_keep_the_order() {
        for rows in [rows(250, 20, 10), rows(1000, 256, 200), rows(1, 256, 200), rows(0, 0, 0)] {
            let expected: Vec<_> = rows.iter().map(|row| row.account.clone()).collect();
            let chunks = chunks(rows).unwrap();
            for chunk in &chunks {
                assert!(chunk.len() <= CHUNK_ROWS_MAX);
                assert!(wire_len(chunk).unwrap() < REQUEST_LEN_MAX - 1024);
            }
            let found: Vec<_> = chunks.into_iter().flatten().map(|row| row.account).collect();
            assert_eq!(found, expected);
        }
        assert_eq!(chunks(rows(250, 20, 10)).unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
    }

    #[tokio::test]
    async fn an_import_is_begun_filled_and_committed_once() {
        let import_id = "00000000-0000-4000-8000-000000000001";
        let receipt = json!({ "log": "l", "seq": 7, "leaf": "ab" });
        let answers = vec![
            json!({ "import": import_id }),
            json!({ "staged": 100 }),
            json!({ "staged": 120 }),
            json!({ "accounts": [], "receipt": receipt }),
        ];
        let (mut client, asked) = agent(answers);
        let acme = Slug::new("acme").unwrap();
        let imported = import(&mut client, &acme, "otpauth", false, rows(120, 20, 4)).await.unwrap();
        assert_eq!(imported.receipt.seq, 7);
        let asked = asked.await.unwrap();
        assert_eq!(asked[0], json!(["account.import_begin", { "vault": "acme", "source": "otpauth" }]));
        assert_eq!(asked[1][1]["rows"].as_array().unwrap().len(), 100);
        assert_eq!(asked[2][1]["rows"].as_array().unwrap().len(), 20);
        assert_eq!(asked[3], json!(["account.import_commit", { "import": import_id }]));
    }

    #[tokio::test]
    async fn a_refused_row_is_never_committed() {
        let (mut client, asked) =
            agent(vec![json!({ "import": "00000000-0000-4000-8000-000000000001" }), refusal("conflict")]);
        let error =
            import(&mut client, &Slug::new("acme").unwrap(), "otpauth", false, rows(120, 20, 4)).await.unwrap_err();
        assert_eq!((error.kind, error.code), ("conflict", 1));
        assert_eq!(asked.await.unwrap().len(), 2);
    }
}
