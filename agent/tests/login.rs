//! A whole login over a real socket: the client helper, the server, the agent's proof and the verification of the
//! technician's, with keys made and used by the real `ssh-keygen` and `openssl`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end at any surprise")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use jiff::Timestamp;
use ssh_key::PublicKey;
use strongroom_agent::identity::{AgentProof, EnrolmentKey, Throttle, assurance, verify};
use strongroom_agent::server::{BoundListener, Limits, Peer, Reply, Service, serve};
use strongroom_proto::client::{
    CallError, Client, KnownAgents, Login, LoginError, PinVerdict, Pins, SignError, Signer,
};
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{Instance, SessionId, Slug};
use strongroom_proto::login::{LOGIN_NAMESPACE, login_text};
use strongroom_proto::method::Method as _;
use strongroom_proto::method::session::{Open, Prove, Proved};
use strongroom_proto::rpc::Request;
use tokio_util::sync::CancellationToken;

/// The least that a real service does at login.
struct LoginService {
    proof: AgentProof,
    enrolled: EnrolmentKey,
    throttle: Mutex<Throttle>,
}

#[derive(Default)]
struct Session {
    peer_uid: u32,
    awaiting: Option<(Open, String)>,
    logged_in: bool,
}

impl Service for LoginService {
    type Connection = Session;

    fn open(&self, peer: Peer, _: CancellationToken) -> Session {
        Session { peer_uid: peer.uid, ..Session::default() }
    }

    fn authenticated(&self, session: &Session) -> bool {
        session.logged_in
    }

    async fn call(&self, session: &mut Session, request: Request) -> Reply {
        match request.method.as_str() {
            Open::NAME => {
                let open: Open = serde_json::from_value(request.params).unwrap();
                let nonce = "5a".repeat(32);
                let opened = self.proof.open_reply(&open.client_nonce, &nonce).unwrap();
                session.awaiting = Some((open, nonce));
                Reply::result(request.id, &opened)
            }
            Prove::NAME => {
                let prove: Prove = serde_json::from_value(request.params).unwrap();
                match self.prove(session, &prove.signature) {
                    Ok(proved) => Reply::result(request.id, &proved),
                    Err(failure) => Reply::failure(request.id, failure),
                }
            }
            _ => Reply::failure(request.id, Failure::not_found()),
        }
    }

    fn closed(&self, _: Session) {}
}

impl LoginService {
    fn prove(&self, session: &mut Session, signature: &str) -> Result<Proved, Failure> {
        let denied = || Failure::new(ErrorKind::Unauthenticated, "The proof failed.");
        let (open, nonce) = session.awaiting.take().ok_or_else(denied)?;
        let shown = EnrolmentKey::parse(&open.public_key).map_err(|_| denied())?;
        let mut throttle = self.throttle.lock().unwrap();
        throttle
            .check(session.peer_uid, &shown.fingerprint, Instant::now())
            .map_err(|error| Failure::new(ErrorKind::RateLimited, error.to_string()))?;
        let text = login_text(
            self.proof.fingerprint(),
            self.proof.instance(),
            &nonce,
            &self.enrolled.fingerprint,
            &open.identity,
        );
        let Ok(proof) = verify(&self.enrolled.public_key, LOGIN_NAMESPACE, text.as_bytes(), signature) else {
            throttle.failed(session.peer_uid, &shown.fingerprint, Instant::now());
            return Err(denied());
        };
        session.logged_in = true;
        Ok(Proved {
            session: SessionId::random(),
            identity: open.identity,
            name: "Jana".to_owned(),
            roles: vec![],
            assurance: assurance(false, &proof),
            idle_timeout_s: 3600,
            expires_at: Timestamp::now(),
            notices: vec![],
        })
    }
}

/// Signs as a shell user would.
struct ShellSigner {
    path: PathBuf,
    public_key: PublicKey,
}

impl ShellSigner {
    fn new(folder: &std::path::Path, name: &str) -> Self {
        let path = folder.join(name);
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status().unwrap();
        assert!(made.success());
        let public_key = PublicKey::read_openssh_file(path.with_extension("pub")).unwrap();
        Self { path, public_key }
    }
}

impl Signer for ShellSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, namespace: &str, text: &[u8]) -> Result<String, SignError> {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(&self.path);
        Ok(String::from_utf8(pipe(command, text)).unwrap())
    }
}

struct Trusting;

impl Pins for Trusting {
    fn check(&self, _: &std::path::Path, _: &str, _: &str) -> PinVerdict {
        PinVerdict::Pinned
    }
}

fn pipe(mut command: Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// The agent identity key, kept in a file and used by openssl as a token would use it.
fn agent_proof(folder: &std::path::Path) -> AgentProof {
    let key = folder.join("identity");
    let made = Command::new("openssl")
        .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"])
        .arg(&key)
        .status()
        .unwrap();
    assert!(made.success());
    let mut public = Command::new("openssl");
    public.args(["ec", "-pubout", "-outform", "DER", "-in"]).arg(&key).stderr(Stdio::null());
    let spki = pipe(public, b"");
    let sign = move |digest: &[u8; 32]| {
        let mut command = Command::new("openssl");
        command.args(["pkeyutl", "-sign", "-pkeyopt", "digest:sha256", "-inkey"]).arg(&key);
        let der = pipe(command, digest);
        let mut raw = [0; 64];
        let mut rest = &der[2..];
        for half in raw.chunks_exact_mut(32) {
            let (number, after) = rest[2..].split_at(rest[1] as usize);
            let number = &number[number.len().saturating_sub(32)..];
            half[32 - number.len()..].copy_from_slice(number);
            rest = after;
        }
        Ok::<_, std::io::Error>(raw)
    };
    AgentProof::new(&spki[spki.len() - 65..], sign, Instance::random(), Timestamp::now()).unwrap()
}

struct Agent {
    folder: tempfile::TempDir,
    socket: PathBuf,
    technician: ShellSigner,
    fingerprint: String,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Agent {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let technician = ShellSigner::new(folder.path(), "jana");
        let line = std::fs::read_to_string(technician.path.with_extension("pub")).unwrap();
        let proof = agent_proof(folder.path());
        let fingerprint = proof.fingerprint().to_owned();
        let service = LoginService { proof, enrolled: EnrolmentKey::parse(&line).unwrap(), throttle: Mutex::default() };
        let (bound, shutdown) = (BoundListener::bind(&socket).await.unwrap(), CancellationToken::new());
        let task = tokio::spawn(serve(bound, Arc::new(service), shutdown.clone(), Limits::default()));
        Self { folder, socket, technician, fingerprint, shutdown, task }
    }

    async fn log_in(&self, signer: &dyn Signer, pins: &dyn Pins) -> Result<Proved, LoginError> {
        let mut client = Client::connect(&self.socket).await.unwrap();
        let identity = Slug::new("jana").unwrap();
        client.login(Login { identity: &identity, client: "test/1", signer, pins }).await
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_technician_logs_in_and_a_stranger_is_refused_and_then_held_back() {
    let agent = Agent::start().await;
    assert_eq!(agent.log_in(&agent.technician, &Trusting).await.unwrap().identity.as_str(), "jana");
    let stranger = ShellSigner::new(agent.folder.path(), "stranger");
    let mut kinds = Vec::new();
    for _ in 0..6 {
        match agent.log_in(&stranger, &Trusting).await {
            Err(LoginError::Call(CallError::Failure(failure))) => kinds.push(failure.kind),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(kinds[..5], [ErrorKind::Unauthenticated; 5]);
    assert_eq!(kinds[5], ErrorKind::RateLimited);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_trusted_on_first_use_and_another_at_its_place_is_not() {
    let agent = Agent::start().await;
    let file = agent.folder.path().join("known_agents");
    let pins = KnownAgents::new(None, Some(file.clone()));
    let unknown = agent.log_in(&agent.technician, &pins).await;
    assert!(matches!(unknown, Err(LoginError::UnknownAgent { fingerprint, .. }) if fingerprint == agent.fingerprint));
    let asking = KnownAgents::new(None, Some(file.clone())).ask(|_| true);
    agent.log_in(&agent.technician, &asking).await.unwrap();
    agent.log_in(&agent.technician, &pins).await.unwrap();

    let other = Agent::start().await;
    let moved =
        std::fs::read_to_string(&file).unwrap().replace(agent.socket.to_str().unwrap(), other.socket.to_str().unwrap());
    std::fs::write(&file, moved).unwrap();
    let changed = other.log_in(&other.technician, &pins).await;
    assert!(matches!(changed, Err(LoginError::ChangedAgent { fingerprint }) if fingerprint == other.fingerprint));
    agent.stop().await;
    other.stop().await;
}
