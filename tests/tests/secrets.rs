//! No seed, PIN or code in anything that agent and command write, and no name in the store in clear: recognisable ones are
//! planted, then everything is searched. And the agent's memory stays its own: no core dump, no debugger.

#![allow(unsafe_code, reason = "raising this process's own core limit has no safe wrapper")]

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use strongroom_proto::method::code::Release;
use strongroom_proto::method::{identity, vault};
use strongroom_proto::words::{Algorithm, IdentityKind, OrgRole, OtpKind, VaultRole};
use strongroom_tests::organisation::{Organisation, Setup, give, import, row, slug, try_import};
use strongroom_tests::people::Person;
use strongroom_tests::schemes::schemes;
use strongroom_tests::seeds::base32;

/// Planted seeds; long enough that no form of them comes about by chance.
const SEEDS: [&[u8]; 4] =
    [b"SEED-CANARY-one-a8Kq", b"SEED-CANARY-two-Zp31", b"SEED-CANARY-six-m0Xe", b"SEED-CANARY-ten-Vb7t"];
/// Names that must not be readable in the store.
const NAMES: [&str; 6] = [
    "quokka-holdings",
    "Quokka Holdings Ltd",
    "wombat-admin",
    "wombat-admin@example",
    "Canary Person",
    "canary-reason-4711",
];

/// All forms in which a seed could leak, with what to call it.
fn forms(seed: &[u8]) -> Vec<(String, Vec<u8>)> {
    let hexed = hex::encode(seed);
    let mut forms = vec![
        ("raw".to_owned(), seed.to_vec()),
        ("the raw first half of".to_owned(), seed[..12].to_vec()),
        ("the raw second half of".to_owned(), seed[8..].to_vec()),
        ("upper-case hex of".to_owned(), hexed.to_uppercase().into_bytes()),
        ("hex of".to_owned(), hexed.into_bytes()),
        ("base32 of".to_owned(), base32(seed).into_bytes()),
        ("lower-case base32 of".to_owned(), base32(seed).to_lowercase().into_bytes()),
        ("a byte list of".to_owned(), format!("{:?}", &seed[..12]).trim_matches(['[', ']']).as_bytes().to_vec()),
    ];
    // Within a longer text base64 depends on where the seed begins: the inner groups of all three positions.
    for shift in 0..3 {
        let encoded = BASE64.encode([&vec![0; shift][..], seed].concat());
        forms.push((format!("base64 at {shift} of"), encoded.as_bytes()[4..encoded.len() - 4].to_vec()));
    }
    forms
}

struct Search {
    /// Needles with their names, by their first two bytes.
    beginnings: HashMap<[u8; 2], Vec<(String, Vec<u8>)>>,
    looked_at: usize,
    found: Vec<String>,
}

impl Search {
    fn of(needles: Vec<(String, Vec<u8>)>) -> Self {
        let mut beginnings: HashMap<[u8; 2], Vec<_>> = HashMap::new();
        for (name, needle) in needles {
            beginnings.entry([needle[0], needle[1]]).or_default().push((name, needle));
        }
        Self { beginnings, looked_at: 0, found: Vec::new() }
    }

    fn bytes(&mut self, place: &str, bytes: &[u8]) {
        self.looked_at += bytes.len();
        for (at, pair) in bytes.windows(2).enumerate() {
            let Some(candidates) = self.beginnings.get(pair) else { continue };
            for (name, needle) in candidates {
                if bytes[at..].starts_with(needle) {
                    self.found.push(format!("{name} in {place}"));
                }
            }
        }
    }

    fn folder(&mut self, folder: &Path, except: &[PathBuf]) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if except.contains(&path) {
                continue;
            }
            let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
            self.bytes("a file's name", path.as_os_str().as_encoded_bytes());
            if kind.is_dir() {
                self.folder(&path, except);
            } else if kind.is_file() {
                self.bytes(&path.display().to_string(), &std::fs::read(&path).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn nothing_that_was_written_holds_a_seed_a_pin_or_a_code() {
    let setup = Setup { environment: vec![("STRONGROOM_LOG".into(), "trace".into())], ..Setup::default() };
    let mut organisation = Organisation::found_with(&setup);
    let mut admin = organisation.admin.connect().await;
    let person = Person::new("canary", organisation.root(), &organisation.launch.socket);
    let enrol = identity::Enrol {
        identity: slug("canary"),
        name: "Canary Person".to_owned(),
        kind: IdentityKind::Technician,
        roles: vec![OrgRole::Auditor],
        public_key: person.public_key(),
        attestation: None,
        until: None,
        service: None,
    };
    admin.call(&enrol).await.unwrap();
    let manager = organisation.enrol(&mut admin, "manager", &[]).await;
    let create = |vault: &str, scheme| vault::Create {
        vault: slug(vault),
        name: "Quokka Holdings Ltd".to_owned(),
        scheme: Some(scheme),
        min_assurance: None,
    };
    let mut codes = Vec::new();
    let mut said = Vec::new();
    for (vault, scheme) in std::iter::zip(["quokka-holdings", "quokka-holdings-2"], schemes()) {
        admin.call(&create(vault, scheme)).await.unwrap();
        give(&mut admin, vault, "canary", VaultRole::Viewer).await;
        give(&mut admin, vault, "manager", VaultRole::Manager).await;
        let mut client = manager.connect().await;
        let rows = vec![
            row("wombat-admin", OtpKind::Totp, Algorithm::Sha1, 10, SEEDS[0]),
            row("wombat-hotp", OtpKind::Hotp, Algorithm::Sha512, 10, SEEDS[1]),
        ];
        import(&mut client, vault, rows).await;
        // Seeds that are refused, in every way there is, must not come back in an error either.
        for bad in [("no digits", 3, 30), ("no period", 6, 0)] {
            let mut bad_row = row("refused", OtpKind::Totp, Algorithm::Sha1, bad.1, SEEDS[2]);
            bad_row.period_s = bad.2;
            said.push(format!("{:?}", try_import(&mut client, vault, vec![bad_row]).await.unwrap_err()).into_bytes());
        }
        let mut bad_row = row("refused", OtpKind::Totp, Algorithm::Sha1, 6, SEEDS[2]);
        bad_row.seed = format!("{}!", BASE64.encode(SEEDS[2])).into();
        said.push(format!("{:?}", try_import(&mut client, vault, vec![bad_row]).await.unwrap_err()).into_bytes());

        let mut viewer = person.connect().await;
        for _ in 0..5 {
            for account in ["wombat-admin", "wombat-hotp"] {
                let account = format!("{vault}/{account}").parse().unwrap();
                let reason = Some("canary-reason-4711".to_owned());
                let wanted = Release { account, reason, ticket: None, min_remaining_s: None, step_up: None };
                codes.push(viewer.call(&wanted).await.unwrap().code.to_string());
            }
        }
    }
    malformed_frames(&organisation);

    // The command: an import from a file, one that fails, an export, a code, errors.
    let lists = organisation.root().join("lists");
    std::fs::create_dir(&lists).unwrap();
    let uri = |secret: &str| format!("otpauth://totp/Quokka:kea@example?secret={secret}&issuer=Quokka&digits=8\n");
    std::fs::write(lists.join("good"), uri(&base32(SEEDS[3]))).unwrap();
    std::fs::write(lists.join("bad"), uri(&format!("{}01", base32(SEEDS[2])))).unwrap();
    let export = organisation.root().join("export").display().to_string();
    let (good, bad) = (lists.join("good").display().to_string(), lists.join("bad").display().to_string());
    let calls: [(&Person, &[&str]); 9] = [
        (&manager, &["account", "import", "quokka-holdings", "--from", &good, "--dry-run"]),
        (&manager, &["account", "import", "quokka-holdings", "--from", &good]),
        (&manager, &["account", "import", "quokka-holdings", "--from", &bad]),
        (&manager, &["--json", "account", "import", "quokka-holdings", "--from", &bad]),
        (&manager, &["ls"]),
        (&manager, &["--json", "show", "quokka-holdings/wombat-admin"]),
        (&manager, &["audit", "export", "quokka-holdings", "--out", &export]),
        (&manager, &["--json", "audit", "show", "quokka-holdings"]),
        (&manager, &["code", "quokka-holdings/wombat-admin"]),
    ];
    for (who, arguments) in calls {
        let output = who.call(arguments);
        said.extend([output.stdout, output.stderr]);
    }
    assert!(Path::new(&export).join("log.ndjson").exists());
    let accounts = manager.succeed(&["ls"]);
    assert!(accounts.contains("kea@example"), "the import was taken: {accounts}");

    // Everything that is there while it runs, after a kill, after a restart, and after a stop.
    let mut needles: Vec<(String, Vec<u8>)> = Vec::new();
    for seed in SEEDS {
        needles.extend(forms(seed).into_iter().map(|(form, bytes)| (format!("{form} a seed"), bytes)));
    }
    needles.push(("the PIN".to_owned(), organisation.token.pin.as_bytes().to_vec()));
    needles.extend(codes.iter().map(|code| (format!("the code {code}"), code.as_bytes().to_vec())));
    let mut search = Search::of(needles);
    for output in &said {
        search.bytes("what a command said", output);
    }
    let except = [lists, organisation.root().join("pin")];
    for ending in ["running", "killed", "restarted", "stopped"] {
        match ending {
            "running" | "restarted" => {
                if ending == "restarted" {
                    organisation.start();
                }
                let process = format!("/proc/{}", organisation.running().pid());
                for file in ["cmdline", "environ"] {
                    search.bytes(file, &std::fs::read(format!("{process}/{file}")).unwrap());
                }
            }
            "killed" => organisation.running().kill(),
            _ => drop(organisation.running().stop()),
        }
        let root = organisation.root().to_owned();
        search.folder(&root, &except);
        let mut names = Search::of(names());
        names.folder(&organisation.data_dir, &[]);
        assert_eq!(names.found, Vec::<String>::new(), "{ending}: names in the store");
    }
    assert_eq!(search.found, Vec::<String>::new());
    assert!(search.looked_at > 1_000_000, "only {} bytes were looked at", search.looked_at);
    let log = std::fs::read_to_string(&organisation.launch.log).unwrap();
    assert!(log.contains("INFO"), "the agent logged nothing: {log}");
    // The search finds what is there.
    search.folder(organisation.root(), &[]);
    assert!(search.found.iter().any(|found| found.contains("the PIN")));
    assert!(search.found.iter().any(|found| found.contains("base32 of a seed")));
}

fn names() -> Vec<(String, Vec<u8>)> {
    NAMES.iter().map(|name| ((*name).to_owned(), name.as_bytes().to_vec())).collect()
}

/// Frames with a seed in every place where a parser might quote it.
fn malformed_frames(organisation: &Organisation) {
    use std::io::{Read as _, Write as _};
    let seed = BASE64.encode(SEEDS[2]);
    for frame in [
        format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{seed}\",\"params\":{{}}}}"),
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"account.import_rows\",\"params\":{{\"rows\":\"{seed}\"}}}}"
        ),
        format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"seed\":\"{seed}"),
        seed.clone(),
    ] {
        let mut stream = std::os::unix::net::UnixStream::connect(&organisation.launch.socket).unwrap();
        stream.write_all(format!("{frame}\n").as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("error") && !answer.contains(&seed), "{answer}");
    }
}

#[tokio::test]
async fn a_crash_leaves_no_core_and_a_debugger_is_kept_out() {
    let mut organisation = Organisation::found();
    organisation.running().stop();
    // What the agent's limits would be if it did not set its own.
    let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the struct outlives the call, which changes this process only.
    let raised = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const unlimited) } == 0;

    for signal in [libc::SIGSEGV, libc::SIGABRT] {
        organisation.start();
        let pid = organisation.running().pid();
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
        // Rust's own handler takes the first SIGSEGV for a stack overflow's and steps aside for the second.
        while organisation.running().is_running() {
            // SAFETY: the child is ours and has not been waited for.
            assert_eq!(unsafe { libc::kill(i32::try_from(pid).unwrap(), signal) }, 0);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let ended = organisation.running().wait();
        assert_eq!((ended.signal(), ended.core_dumped()), (Some(signal), false));
    }
    // Without the agent's own precautions this machine would have dumped: the test can fail.
    let scratch = tempfile::tempdir().unwrap();
    let control = Command::new("sh").args(["-c", "kill -SEGV $$"]).current_dir(scratch.path()).status().unwrap();
    if !raised || !control.core_dumped() {
        println!("this machine dumps no cores at all: only the agent's own limits were shown");
    }
    organisation.start();
    not_dumpable(organisation.running().pid());
}

/// A process that is not dumpable belongs to root in /proc, whoever runs it, and its user cannot read its memory.
fn not_dumpable(pid: u32) {
    use std::os::unix::fs::MetadataExt as _;
    let own = std::fs::metadata("/proc/self").unwrap().uid();
    if own == 0 {
        println!("skipped in part: root may read every process");
        return;
    }
    assert_eq!(std::fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid(), 0);
    assert!(std::fs::File::open(format!("/proc/{pid}/mem")).is_err());
}
