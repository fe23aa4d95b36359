//! Somebody who can write to the store of a stopped agent: whatever they change, the log it belongs to is sealed at the
//! next start, the log and `doctor` name it, and the other vaults keep working.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use strongroom_proto::audit::merkle::{Frontier, leaf_hash};
use strongroom_proto::client::{CallError, Client};
use strongroom_proto::error::ErrorKind;
use strongroom_proto::ids::VaultId;
use strongroom_proto::method::account::List;
use strongroom_proto::method::agent::{Health, State, Status};
use strongroom_proto::method::audit::{Checkpoint, Leaves};
use strongroom_proto::method::code::Release;
use strongroom_proto::method::grant::End;
use strongroom_proto::method::identity::Revoke;
use strongroom_proto::words::{Algorithm, OrgRole, OtpKind, VaultRole};
use strongroom_tests::organisation::{Organisation, create_vault, give, import, row, slug};
use strongroom_tests::people::Person;
use strongroom_tests::schemes::scheme;
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::tools;

const ORG: [u8; 16] = [0; 16];

/// What must be sealed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sealed {
    Acme,
    Both,
    Everything,
}

/// A stopped agent's data folder, and an older one, from before tech's grant ended and gone was revoked.
struct Scene {
    organisation: Organisation,
    tech: Person,
    witness: Person,
    acme: [u8; 16],
    bluewater: [u8; 16],
    ended: Vec<u8>,
    older: PathBuf,
    newest: PathBuf,
}

impl Scene {
    async fn set() -> Self {
        let mut organisation = Organisation::found();
        let mut admin = organisation.admin.connect().await;
        let tech = organisation.enrol(&mut admin, "tech", &[]).await;
        let witness = organisation.enrol(&mut admin, "witness", &[]).await;
        let manager = organisation.enrol(&mut admin, "manager", &[]).await;
        organisation.enrol(&mut admin, "gone", &[OrgRole::Auditor]).await;
        let (mut ids, mut ended) = (Vec::new(), None);
        for (vault, scheme) in [("acme", scheme()), ("bluewater", scheme())] {
            create_vault(&mut admin, vault, scheme).await;
            give(&mut admin, vault, "manager", VaultRole::Manager).await;
            give(&mut admin, vault, "witness", VaultRole::Viewer).await;
            let grant = give(&mut admin, vault, "tech", VaultRole::Viewer).await;
            ended = ended.or(Some(grant));
            let rows = ["one", "two"].map(|name| row(name, OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1));
            import(&mut manager.connect().await, vault, rows.to_vec()).await;
        }
        for item in admin.call(&strongroom_proto::method::vault::List {}).await.unwrap().items {
            ids.push(item.id);
        }
        let ended = ended.unwrap();
        let mut client = witness.connect().await;
        for account in ["acme/one", "acme/two", "bluewater/one"] {
            take(&mut client, account).await.unwrap();
        }
        let (older, newest) = (organisation.root().join("older"), organisation.root().join("newest"));
        organisation.running().stop();
        copy_folder(&organisation.data_dir, &older);

        organisation.start();
        let mut admin = organisation.admin.connect().await;
        admin.call(&End { grant: ended, reason: None }).await.unwrap();
        admin.call(&Revoke { identity: slug("gone"), reason: "left".to_owned() }).await.unwrap();
        let mut client = witness.connect().await;
        take(&mut client, "acme/one").await.unwrap();
        organisation.running().stop();
        copy_folder(&organisation.data_dir, &newest);
        let bytes = |id: VaultId| *id.as_bytes();
        let (acme, bluewater) = (bytes(ids[0]), bytes(ids[1]));
        Self { organisation, tech, witness, acme, bluewater, ended: ended.as_bytes().to_vec(), older, newest }
    }

    fn origin(&self, log: [u8; 16]) -> String {
        let id = hex::encode(log);
        if log == ORG {
            "/org: ".to_owned()
        } else {
            format!("/{}-{}-{}-{}-{}: ", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..])
        }
    }

    /// Runs one attack on the newest folder and looks at what the agent and `doctor` make of it.
    async fn after(&mut self, name: &str, expected: Sealed, attack: impl FnOnce(&Connection, &Self)) {
        let data = self.organisation.data_dir.clone();
        copy_folder(&self.newest, &data);
        let store = Connection::open(self.organisation.store()).unwrap();
        attack(&store, self);
        store.close().unwrap();

        let doctor = tools::output(&mut self.organisation.launch.command(&["doctor"]));
        let doctor_text = String::from_utf8(doctor.stdout).unwrap();
        assert_eq!(doctor.status.code(), Some(1), "{name}: doctor is content: {doctor_text}");
        std::fs::write(&self.organisation.launch.log, "").unwrap();
        self.organisation.start();
        let mut anybody = Client::connect(&self.organisation.launch.socket).await.unwrap();
        let status = anybody.call(&Status {}).await.unwrap();
        assert_eq!(status.store, Health::Failing, "{name}: status says nothing");
        let state = if expected == Sealed::Everything { State::Sealed } else { State::Ready };
        assert_eq!(status.state, state, "{name}");
        let log = self.organisation.running().log();
        assert!(log.contains("SEALED"), "{name}: {log}");
        let sealed: &[[u8; 16]] = match expected {
            Sealed::Acme => &[self.acme],
            Sealed::Both => &[self.acme, self.bluewater],
            Sealed::Everything => &[ORG],
        };
        for place in sealed {
            let origin = self.origin(*place);
            let named = doctor_text.lines().any(|line| line.starts_with("FAILED") && line.contains(&origin));
            assert!(named, "{name}: doctor does not name {origin}: {doctor_text}");
            assert!(log.contains(origin.trim_end_matches(": ")), "{name}: {log}");
        }

        for person in [&self.witness, &self.tech] {
            match person.try_connect().await {
                Ok(_) if expected == Sealed::Everything => panic!("{name}: {} could log in", person.slug),
                Ok(mut client) => {
                    for account in ["acme/one", "acme/two"] {
                        let refused = take(&mut client, account).await.unwrap_err();
                        // A grant that is gone, or does not open, is no grant: then the vault does not exist for them.
                        let expected = [ErrorKind::AuditUnavailable, ErrorKind::NotFound];
                        assert!(expected.contains(&refused), "{name}: {refused:?}");
                        // A signature would vouch for the forgery, and a list would tell names by it.
                        let vault = Some(slug("acme"));
                        let unsigned = client.call(&Checkpoint { vault: vault.clone() }).await;
                        assert!(unsigned.is_err(), "{name}: the forged log was signed");
                        assert!(client.call(&Leaves { vault, from: 0, limit: 1 }).await.is_err(), "{name}");
                        let listed = client.call(&List { vault: None, cursor: None }).await.unwrap().items;
                        let told = listed.iter().any(|item| item.account.vault == slug("acme"));
                        assert!(!told, "{name}: accounts of a sealed vault are listed");
                    }
                    let other = take(&mut client, "bluewater/one").await;
                    let works = if expected == Sealed::Acme { Ok(()) } else { Err(ErrorKind::AuditUnavailable) };
                    assert_eq!(other, works, "{name}: the other vault");
                }
                Err(error) => assert_eq!(expected, Sealed::Everything, "{name}: {error:#}"),
            }
        }
        self.organisation.running().kill();
    }

    /// Puts rows of the older store over those of the newest.
    fn put_back(&self, store: &Connection, table: &str, condition: &str, value: &[u8]) {
        store
            .execute("ATTACH DATABASE ?1 AS older", params![self.older.join("store.sqlite").to_str().unwrap()])
            .unwrap();
        let sql = format!("REPLACE INTO main.{table} SELECT * FROM older.{table} WHERE {condition}");
        assert!(store.execute(&sql, params![value]).unwrap() > 0, "nothing was put back");
    }
}

async fn take(client: &mut Client, account: &str) -> Result<(), ErrorKind> {
    let wanted =
        Release { account: account.parse().unwrap(), reason: None, ticket: None, min_remaining_s: None, step_up: None };
    match client.call(&wanted).await {
        Ok(_) => Ok(()),
        Err(CallError::Failure(failure)) => Err(failure.kind),
        Err(other) => panic!("{other}"),
    }
}

fn copy_folder(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn execute(store: &Connection, sql: &str, values: impl rusqlite::Params) {
    assert!(store.execute(sql, values).unwrap() > 0, "{sql} changed nothing");
}

/// The last place of a log, and the frontier of all records before it.
fn without_last(store: &Connection, log: [u8; 16]) -> (i64, Vec<u8>) {
    let mut frontier = Frontier::new();
    let mut statement = store.prepare("SELECT leaf FROM audit WHERE log = ?1 ORDER BY seq").unwrap();
    let leaves: Vec<[u8; 32]> =
        statement.query_map(params![log], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for leaf in &leaves[..leaves.len() - 1] {
        frontier.push(*leaf);
    }
    (i64::try_from(leaves.len()).unwrap() - 1, frontier.to_bytes())
}

#[tokio::test]
async fn rows_that_were_changed_seal_their_vault_or_everything() {
    let mut scene = Scene::set().await;
    scene
        .after("the row of an ended grant put back with its old tag", Sealed::Acme, |store, scene| {
            scene.put_back(store, "entity", "kind = 'grant' AND id = ?1", &scene.ended.clone());
        })
        .await;
    scene
        .after("a revoked identity and its key put back", Sealed::Everything, |store, scene| {
            scene.put_back(store, "entity", "kind IN ('identity', 'key') AND log = ?1", &ORG);
        })
        .await;
    scene
        .after("an org role edited", Sealed::Everything, |store, _| {
            execute(store, "UPDATE entity SET body = replace(body, '\"roles\":[]', '\"roles\":[\"admin\"]') WHERE kind = 'identity' AND body LIKE '%\"roles\":[]%'", []);
        })
        .await;
    scene
        .after("a vault role edited", Sealed::Acme, |store, scene| {
            execute(store, "UPDATE entity SET body = replace(body, 'viewer', 'manager') WHERE kind = 'grant' AND log = ?1 AND body LIKE '%viewer%'", params![scene.acme]);
        })
        .await;
    scene
        .after("a policy row deleted", Sealed::Acme, |store, scene| {
            execute(store, "DELETE FROM entity WHERE kind = 'policy' AND log = ?1", params![scene.acme]);
        })
        .await;
    scene
        .after("a revoked identity deleted with its key", Sealed::Everything, |store, _| {
            execute(store, "DELETE FROM entity WHERE kind = 'identity' AND body LIKE '%revoked%'", []);
        })
        .await;
    scene
        .after("the sealed seeds of two accounts swapped", Sealed::Acme, |store, scene| {
            let mut rows = store.prepare("SELECT id, body FROM entity WHERE kind = 'seed' AND log = ?1").unwrap();
            let seeds: Vec<(Vec<u8>, String)> = rows
                .query_map(params![scene.acme], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            for (to, from) in [(0, 1), (1, 0)] {
                execute(
                    store,
                    "UPDATE entity SET body = ?1 WHERE kind = 'seed' AND id = ?2",
                    params![seeds[from].1, seeds[to].0],
                );
            }
        })
        .await;
    scene
        .after("a whole seed row filed under another account", Sealed::Acme, |store, scene| {
            execute(store, "UPDATE entity SET id = randomblob(16) WHERE kind = 'seed' AND id = (SELECT min(id) FROM entity WHERE kind = 'seed' AND log = ?1)", params![scene.acme]);
        })
        .await;
    scene
        .after("a seed row moved to another vault", Sealed::Both, |store, scene| {
            execute(store, "UPDATE entity SET log = ?2 WHERE kind = 'seed' AND id = (SELECT min(id) FROM entity WHERE kind = 'seed' AND log = ?1)", params![scene.acme, scene.bluewater]);
        })
        .await;
    scene
        .after("encrypted names exchanged", Sealed::Acme, |store, scene| {
            execute(store, "UPDATE entity SET names = (SELECT max(names) FROM entity WHERE kind = 'account' AND log = ?1) WHERE kind = 'account' AND log = ?1", params![scene.acme]);
        })
        .await;
}

#[tokio::test]
async fn logs_that_were_changed_seal_their_vault_or_everything() {
    let mut scene = Scene::set().await;
    scene
        .after("a record edited", Sealed::Acme, |store, scene| {
            execute(store, "UPDATE audit SET record = replace(record, 'code.release', 'code.relEase') WHERE log = ?1 AND seq = (SELECT max(seq) FROM audit WHERE log = ?1 AND record LIKE '%code.release%')", params![scene.acme]);
        })
        .await;
    scene
        .after("a record erased beside its leaf", Sealed::Acme, |store, scene| {
            execute(store, "UPDATE audit SET record = NULL WHERE log = ?1 AND seq = 2", params![scene.acme]);
        })
        .await;
    scene
        .after("a record edited with its leaf", Sealed::Acme, |store, scene| {
            let sql = "SELECT record FROM audit WHERE log = ?1 AND seq = 2";
            let record: String = store.query_row(sql, params![scene.acme], |row| row.get(0)).unwrap();
            let record = record.replace("\"outcome\":\"ok\"", "\"outcome\":\"denied\"");
            let leaf = leaf_hash(record.as_bytes());
            execute(
                store,
                "UPDATE audit SET record = ?2, leaf = ?3 WHERE log = ?1 AND seq = 2",
                params![scene.acme, record, leaf],
            );
        })
        .await;
    scene
        .after("two records swapped", Sealed::Acme, |store, scene| {
            execute(store, "UPDATE audit SET seq = 1000 WHERE log = ?1 AND seq = 2", params![scene.acme]);
            execute(store, "UPDATE audit SET seq = 2 WHERE log = ?1 AND seq = 3", params![scene.acme]);
            execute(store, "UPDATE audit SET seq = 3 WHERE log = ?1 AND seq = 1000", params![scene.acme]);
        })
        .await;
    scene
        .after("a record in the middle dropped", Sealed::Acme, |store, scene| {
            execute(store, "DELETE FROM audit WHERE log = ?1 AND seq = 2", params![scene.acme]);
        })
        .await;
    scene
        .after("the last record dropped and the head adjusted", Sealed::Acme, |store, scene| {
            let (last, frontier) = without_last(store, scene.acme);
            execute(store, "DELETE FROM audit WHERE log = ?1 AND seq = ?2", params![scene.acme, last]);
            execute(store, "UPDATE log_head SET frontier = ?2 WHERE log = ?1", params![scene.acme, frontier]);
        })
        .await;
    scene
        .after("a head put back", Sealed::Acme, |store, scene| {
            scene.put_back(store, "log_head", "log = ?1", &scene.acme.clone());
        })
        .await;
    scene
        .after("the time of a head changed", Sealed::Acme, |store, scene| {
            execute(store, "UPDATE log_head SET last_ts = '2020-01-01T00:00:00Z' WHERE log = ?1", params![scene.acme]);
        })
        .await;
    scene
        .after("one vault's log deleted", Sealed::Acme, |store, scene| {
            execute(store, "DELETE FROM audit WHERE log = ?1", params![scene.acme]);
            execute(store, "DELETE FROM log_head WHERE log = ?1", params![scene.acme]);
            // Also without the anchors: the vault itself says that it has a log.
            std::fs::remove_file(scene.organisation.data_dir.join("anchors")).unwrap();
        })
        .await;
    scene
        .after("the org log deleted, and the anchors", Sealed::Everything, |store, scene| {
            execute(store, "DELETE FROM audit WHERE log = ?1", params![ORG]);
            execute(store, "DELETE FROM log_head WHERE log = ?1", params![ORG]);
            std::fs::remove_file(scene.organisation.data_dir.join("anchors")).unwrap();
        })
        .await;
    scene
        .after("all logs deleted", Sealed::Everything, |store, _| {
            execute(store, "DELETE FROM audit", []);
            execute(store, "DELETE FROM log_head", []);
        })
        .await;
    scene
        .after("one vault put back as a whole: rows, records and head", Sealed::Acme, |store, scene| {
            let acme = scene.acme;
            store
                .execute("ATTACH DATABASE ?1 AS older", params![scene.older.join("store.sqlite").to_str().unwrap()])
                .unwrap();
            for table in ["entity", "audit", "log_head"] {
                execute(store, &format!("DELETE FROM main.{table} WHERE log = ?1"), params![acme]);
                execute(
                    store,
                    &format!("INSERT INTO main.{table} SELECT * FROM older.{table} WHERE log = ?1"),
                    params![acme],
                );
            }
        })
        .await;
    let older = scene.older.join("store.sqlite");
    scene
        .after("the whole store put back: the anchors outside know better", Sealed::Everything, |store, scene| {
            let path = scene.organisation.store();
            assert_eq!(store.path(), path.to_str());
            std::fs::copy(&older, &path).unwrap();
        })
        .await;
}

/// The agent itself is content with what nobody changed, so the tests above show something.
#[tokio::test]
async fn an_untouched_store_is_not_sealed() {
    let mut scene = Scene::set().await;
    copy_folder(&scene.newest.clone(), &scene.organisation.data_dir.clone());
    let doctor = tools::output(&mut scene.organisation.launch.command(&["doctor"]));
    assert!(String::from_utf8(doctor.stdout).unwrap().contains("3 logs match"));
    scene.organisation.start();
    let state = tools::output(&mut scene.organisation.launch.command(&["audit", "check-state"]));
    let said = String::from_utf8(state.stdout).unwrap();
    assert!(state.status.success() && said.contains("; 0 differences between"), "{said}");
    take(&mut scene.witness.connect().await, "acme/one").await.unwrap();
    assert_eq!(take(&mut scene.tech.connect().await, "acme/one").await, Err(ErrorKind::NotFound));
}
