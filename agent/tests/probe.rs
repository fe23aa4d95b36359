//! `strongroom-agent probe` on a real SoftHSM token, as an operator runs it.
#![allow(clippy::unwrap_used, reason = "a test may end at any surprise")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PIN: &str = "probe-pin-5302";
const SOFTHSM2: &str = include_str!("../../hsm-config/profiles/softhsm2.toml");

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let shared_memory = Path::new("/dev/shm");
        let parent = if shared_memory.is_dir() { shared_memory.to_owned() } else { std::env::temp_dir() };
        let bench = Self { folder: tempfile::tempdir_in(parent).unwrap() };
        let tokens = bench.path("tokens");
        std::fs::create_dir(&tokens).unwrap();
        std::fs::write(bench.path("softhsm2.conf"), format!("directories.tokendir = {}\n", tokens.display())).unwrap();
        bench.private("pin", PIN);
        bench.private(
            "agent.toml",
            &format!(
                "[token]\nuri = \"pkcs11:token=probed;manufacturer=SoftHSM%20project?pin-source=file:{}\"\nstorage = \"{}\"\n",
                bench.path("pin").display(),
                tokens.display()
            ),
        );
        let made = Command::new("softhsm2-util")
            .env("SOFTHSM2_CONF", bench.path("softhsm2.conf"))
            .args(["--init-token", "--free", "--label", "probed", "--so-pin", "so-pin-77120", "--pin", PIN])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn private(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn probe(&self, arguments: &[&str]) -> (bool, String) {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_strongroom-agent"))
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .env("STRONGROOM_LOG", "error")
            .arg("--config")
            .arg(self.path("agent.toml"))
            .arg("probe")
            .args(arguments)
            .output()
            .unwrap();
        let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(!text.contains(PIN), "{text}");
        (status.success(), text)
    }
}

#[test]
fn the_table_says_what_holds_and_the_exit_code_says_whether_all_does() {
    let bench = Bench::new();
    let (passed, table) = bench.probe(&[]);
    assert!(passed, "{table}");
    for said in ["a seed cannot be unwrapped as extractable", "codes of RFC 4226 and 6238, SHA512", " 0 failed"] {
        assert!(table.contains(said), "{table}");
    }
    let (passed, json) = bench.probe(&["--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(passed && report["profile"] == "softhsm2" && report["rows"].as_array().unwrap().len() > 50, "{json}");

    // A profile of one's own whose keys could be changed afterwards.
    let own = SOFTHSM2.replace("unnameable = []", "unnameable = [\"modifiable\", \"copyable\"]");
    let own = bench.private("own.toml", &own);
    let (passed, table) = bench.probe(&["--profile", own.to_str().unwrap()]);
    assert!(!passed && table.contains("FAILED  resident ... nor made to derive"), "{table}");

    // Another form of PIN: this one is not tried, and not shown.
    let form = SOFTHSM2.replace("shape = \"text\"", "shape = \"yubihsm-auth-key\"");
    let form = bench.private("form.toml", &form);
    let (passed, text) = bench.probe(&["--profile", form.to_str().unwrap()]);
    assert!(!passed && text.contains("four hexadecimal digits") && text.contains("not tried"), "{text}");
    let (passed, text) = bench.probe(&["--profile", "no-such"]);
    assert!(!passed && text.contains("no built-in profile"), "{text}");
}
