//! Over real sockets, with a service that does what its methods say.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;

/// Tells a test that what was held has been let go.
#[derive(Default)]
struct Flag(AtomicBool);

impl Flag {
    fn is_up(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

struct RaiseOnDrop(Arc<Flag>);

impl Drop for RaiseOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct TestService {
    open: AtomicUsize,
    closed: AtomicUsize,
    let_go: Arc<Flag>,
    closers: Mutex<Vec<CancellationToken>>,
}

struct TestConnection {
    peer: Peer,
    logged_in: bool,
}

impl Service for TestService {
    type Connection = TestConnection;

    fn open(&self, peer: Peer, close: CancellationToken) -> TestConnection {
        self.open.fetch_add(1, Ordering::SeqCst);
        self.closers.lock().unwrap().push(close);
        TestConnection { peer, logged_in: false }
    }

    fn authenticated(&self, connection: &TestConnection) -> bool {
        connection.logged_in
    }

    async fn call(&self, connection: &mut TestConnection, request: Request) -> Reply {
        let id = request.id;
        match request.method.as_str() {
            "echo" => Reply::result(id, &request.params),
            "login" => {
                connection.logged_in = true;
                Reply::result(id, &json!({"uid": connection.peer.uid, "pid": connection.peer.pid}))
            }
            "held" => {
                let len = request.params["len"].as_u64().unwrap_or(10);
                let text = "x".repeat(usize::try_from(len).unwrap());
                Reply::result(id, &text).holding(Box::new(RaiseOnDrop(Arc::clone(&self.let_go))))
            }
            "sleep" => {
                sleep(Duration::from_millis(request.params["ms"].as_u64().unwrap())).await;
                Reply::result(id, &"slept")
            }
            "end" => Reply::result(id, &"bye").ending(),
            "panic" => panic!("asked to"),
            _ => Reply::failure(id, Failure::not_found()),
        }
    }

    fn closed(&self, _: TestConnection) {
        self.closed.fetch_add(1, Ordering::SeqCst);
    }
}

struct Agent {
    _root: tempfile::TempDir,
    path: PathBuf,
    service: Arc<TestService>,
    shutdown: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

impl Agent {
    async fn start(limits: Limits) -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("agent.sock");
        let bound = BoundListener::bind(&path).await.unwrap();
        let (service, shutdown) = (Arc::new(TestService::default()), CancellationToken::new());
        let task = tokio::spawn(serve(bound, Arc::clone(&service), shutdown.clone(), limits));
        Self { _root: root, path, service, shutdown, task }
    }

    async fn connect(&self) -> Peerside {
        Peerside(BufReader::new(UnixStream::connect(&self.path).await.unwrap()))
    }

    fn close_all(&self) {
        self.service.closers.lock().unwrap().iter().for_each(CancellationToken::cancel);
    }

    async fn stop(self) -> Arc<TestService> {
        self.shutdown.cancel();
        timeout(Duration::from_secs(10), self.task).await.unwrap().unwrap().unwrap();
        assert!(!self.path.exists());
        self.service
    }
}

struct Peerside(BufReader<UnixStream>);

impl Peerside {
    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    async fn ask(&mut self, method: &str, params: Value) {
        let frame = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.send(format!("{frame}\n").as_bytes()).await;
    }

    /// The next answer, or `None` at the end of the connection.
    async fn read(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = timeout(Duration::from_secs(10), self.0.read_line(&mut line)).await.expect("an answer in time");
        match read {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
        }
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.ask(method, params).await;
        self.read().await.expect("an answer")
    }

    async fn kind(&mut self) -> String {
        self.read().await.unwrap()["error"]["data"]["kind"].as_str().unwrap().to_owned()
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn calls_are_answered_and_the_peer_is_known() {
    let agent = Agent::start(Limits::default()).await;
    let mut peer = agent.connect().await;
    assert_eq!(peer.call("echo", json!({"a": 1})).await, json!({"jsonrpc": "2.0", "id": 1, "result": {"a": 1}}));
    let who = peer.call("login", json!({})).await;
    assert_eq!(who["result"]["pid"], std::process::id());
    assert_eq!(who["result"]["uid"], crate::os::user());
    assert_eq!(peer.call("end", json!({})).await["result"], "bye");
    assert!(peer.read().await.is_none());
    let service = agent.stop().await;
    assert_eq!(service.closed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn garbage_is_answered_and_does_not_end_the_connection_unless_frames_are_lost() {
    let agent = Agent::start(Limits::default()).await;
    let mut peer = agent.connect().await;
    for garbage in ["hello\n", "\n", "{\"jsonrpc\":\"2.0\"}\n", "[]\n"] {
        peer.send(garbage.as_bytes()).await;
        let answer = peer.read().await.unwrap();
        assert_eq!((&answer["id"], &answer["error"]["data"]["kind"]), (&Value::Null, &"parse".into()));
    }
    assert!(peer.call("echo", json!({})).await["result"].is_object());
    peer.send(b"\xff\xfe\n").await;
    assert_eq!(peer.kind().await, "parse");
    assert!(peer.read().await.is_none());
    agent.stop().await;
}

#[tokio::test]
async fn an_oversized_frame_is_refused_whether_or_not_it_ends() {
    let agent = Agent::start(Limits::default()).await;
    let fits = 64 * 1024 - json!({"jsonrpc": "2.0", "id": 1, "method": "echo", "params": {"a": ""}}).to_string().len();
    let mut peer = agent.connect().await;
    let answer = peer.call("echo", json!({"a": "x".repeat(fits)})).await;
    assert_eq!(answer["result"]["a"].as_str().unwrap().len(), fits);
    peer.ask("echo", json!({"a": "x".repeat(fits + 1)})).await;
    assert_eq!(peer.kind().await, "too_large");
    assert!(peer.read().await.is_none());

    let mut endless = agent.connect().await;
    endless.send("x".repeat(64 * 1024 + 1).as_bytes()).await;
    assert_eq!(endless.kind().await, "too_large");
    assert!(endless.read().await.is_none());
    agent.stop().await;
}

#[tokio::test]
async fn what_a_reply_holds_is_let_go_when_the_peer_has_read_it_and_not_before() {
    let agent = Agent::start(Limits::default()).await;
    let mut peer = agent.connect().await;
    peer.ask("held", json!({})).await;
    sleep(Duration::from_millis(300)).await;
    assert!(!agent.service.let_go.is_up(), "nothing was read yet");
    peer.read().await.unwrap();
    let read = Instant::now();
    eventually("let go after the reply was read", || agent.service.let_go.is_up()).await;
    assert!(read.elapsed() < Duration::from_millis(500));
    agent.stop().await;
}

#[tokio::test]
async fn a_peer_that_sends_ahead_without_reading_does_not_count_as_having_read() {
    let agent = Agent::start(Limits { drain_deadline: Duration::from_secs(60), ..Limits::default() }).await;
    let mut peer = agent.connect().await;
    peer.ask("held", json!({})).await;
    peer.ask("echo", json!({})).await;
    sleep(Duration::from_millis(200)).await;
    assert!(!agent.service.let_go.is_up());
    peer.read().await.unwrap();
    assert!(peer.read().await.unwrap()["result"].is_object());
    assert!(agent.service.let_go.is_up());
    agent.stop().await;
}

#[tokio::test]
async fn what_is_held_is_let_go_after_the_bound_and_when_the_peer_goes() {
    let agent = Agent::start(Limits { drain_deadline: Duration::from_millis(300), ..Limits::default() }).await;
    let mut peer = agent.connect().await;
    peer.ask("held", json!({})).await;
    sleep(Duration::from_millis(150)).await;
    assert!(!agent.service.let_go.is_up());
    sleep(Duration::from_millis(350)).await;
    assert!(agent.service.let_go.is_up());
    agent.stop().await;

    let agent = Agent::start(Limits { drain_deadline: Duration::from_secs(60), ..Limits::default() }).await;
    let mut peer = agent.connect().await;
    peer.ask("held", json!({})).await;
    sleep(Duration::from_millis(100)).await;
    assert!(!agent.service.let_go.is_up());
    drop(peer);
    eventually("let go after the peer went", || agent.service.let_go.is_up()).await;
    agent.stop().await;
}

#[tokio::test]
async fn ending_a_connection_waits_for_a_written_reply_and_abandons_one_being_written() {
    let agent = Agent::start(Limits { drain_deadline: Duration::from_secs(60), ..Limits::default() }).await;
    let mut peer = agent.connect().await;
    peer.ask("held", json!({})).await;
    sleep(Duration::from_millis(100)).await;
    agent.close_all();
    sleep(Duration::from_millis(100)).await;
    assert!(!agent.service.let_go.is_up(), "the reply can still be read");
    assert!(peer.read().await.is_some());
    eventually("let go after the reply was read", || agent.service.let_go.is_up()).await;
    assert!(peer.read().await.is_none());
    agent.stop().await;

    let agent = Agent::start(Limits { drain_deadline: Duration::from_millis(300), ..Limits::default() }).await;
    let mut peer = agent.connect().await;
    let len = 1_000_000;
    peer.ask("held", json!({"len": len})).await;
    sleep(Duration::from_millis(100)).await;
    agent.close_all();
    eventually("let go after the write was abandoned", || agent.service.let_go.is_up()).await;
    let mut rest = Vec::new();
    let _ = peer.0.read_to_end(&mut rest).await;
    assert!(rest.len() < len, "the rest of the reply must not come");
    agent.stop().await;
}

#[tokio::test]
async fn no_reply_is_written_to_a_connection_that_was_ended_during_its_call() {
    let agent = Agent::start(Limits::default()).await;
    let mut peer = agent.connect().await;
    peer.ask("sleep", json!({"ms": 200})).await;
    sleep(Duration::from_millis(50)).await;
    agent.close_all();
    assert!(peer.read().await.is_none());
    agent.stop().await;
}

#[tokio::test]
async fn strangers_and_slow_calls_meet_their_deadlines() {
    let limits = Limits {
        login_deadline: Duration::from_millis(200),
        call_deadline: Duration::from_millis(100),
        ..Limits::default()
    };
    let agent = Agent::start(limits).await;
    let (mut stranger, mut known) = (agent.connect().await, agent.connect().await);
    known.call("login", json!({})).await;
    assert!(stranger.read().await.is_none());
    known.ask("sleep", json!({"ms": 5_000})).await;
    assert_eq!(known.kind().await, "expired");
    assert!(known.call("echo", json!({})).await["result"].is_object());
    agent.stop().await;
}

#[tokio::test]
async fn a_fault_in_one_call_ends_only_its_connection() {
    let agent = Agent::start(Limits::default()).await;
    let (mut faulty, mut other) = (agent.connect().await, agent.connect().await);
    faulty.ask("panic", json!({})).await;
    assert!(faulty.read().await.is_none());
    assert!(other.call("echo", json!({})).await["result"].is_object());
    let service = agent.stop().await;
    assert_eq!((service.open.load(Ordering::SeqCst), service.closed.load(Ordering::SeqCst)), (2, 2));
}

#[tokio::test]
async fn one_user_cannot_take_all_connections_and_gets_them_back() {
    let agent = Agent::start(Limits { connections_per_uid: 3, ..Limits::default() }).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = agent.connect().await;
        peer.call("echo", json!({})).await;
        peers.push(peer);
    }
    let mut beyond = agent.connect().await;
    assert_eq!(beyond.kind().await, "rate_limited");
    assert!(beyond.read().await.is_none());
    peers.pop();
    eventually("the place is free again", || agent.service.closed.load(Ordering::SeqCst) == 1).await;
    sleep(Duration::from_millis(20)).await;
    assert!(agent.connect().await.call("echo", json!({})).await["result"].is_object());
    agent.stop().await;

    let agent = Agent::start(Limits { connections: 1, ..Limits::default() }).await;
    let mut first = agent.connect().await;
    first.call("echo", json!({})).await;
    assert_eq!(agent.connect().await.kind().await, "rate_limited");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_are_served_at_once() {
    let limits = Limits { connections_per_uid: 300, ..Limits::default() };
    let agent = Agent::start(limits).await;
    let mut clients = JoinSet::new();
    for number in 0..200 {
        let mut peer = agent.connect().await;
        clients.spawn(async move {
            for round in 0..20 {
                let answer = peer.call("held", json!({"len": number + round})).await;
                assert_eq!(answer["result"].as_str().unwrap().len(), number + round);
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let service = agent.stop().await;
    assert_eq!((service.open.load(Ordering::SeqCst), service.closed.load(Ordering::SeqCst)), (200, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holding_costs_a_client_that_reads_at_once_next_to_nothing() {
    let agent = Agent::start(Limits::default()).await;
    let mut peer = agent.connect().await;
    let mut elapsed = [Duration::ZERO; 2];
    for (place, method) in ["echo", "held"].into_iter().enumerate() {
        let start = Instant::now();
        for _ in 0..500 {
            peer.call(method, json!({})).await;
        }
        elapsed[place] = start.elapsed();
    }
    println!("500 calls: plain {:?}, held {:?}", elapsed[0], elapsed[1]);
    assert!(elapsed[1] < elapsed[0] * 3 + Duration::from_millis(100), "{elapsed:?}");
    agent.stop().await;
}

#[tokio::test]
async fn shutdown_lets_a_running_call_finish_and_gives_up_on_an_endless_one() {
    let agent = Agent::start(Limits { shutdown_grace: Duration::from_millis(500), ..Limits::default() }).await;
    let (mut brief, mut endless) = (agent.connect().await, agent.connect().await);
    brief.ask("sleep", json!({"ms": 200})).await;
    endless.ask("sleep", json!({"ms": 20_000})).await;
    sleep(Duration::from_millis(50)).await;
    let start = Instant::now();
    let service = agent.stop().await;
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(brief.read().await.unwrap()["result"], "slept");
    assert!(endless.read().await.is_none());
    assert_eq!(service.closed.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_client_helper_talks_to_the_server() {
    let agent = Agent::start(Limits::default()).await;
    let mut client = strongroom_proto::client::Client::connect(&agent.path).await.unwrap();
    let answer = client.call(&strongroom_proto::method::session::Whoami {}).await;
    assert!(matches!(
        answer,
        Err(strongroom_proto::client::CallError::Failure(failure)) if failure.kind == ErrorKind::NotFound
    ));
    agent.stop().await;
}

#[test]
fn accept_errors_are_sorted() {
    let sorted = |code| AcceptFault::of(&io::Error::from_raw_os_error(code));
    assert_eq!(sorted(libc::ECONNABORTED), AcceptFault::Ignore);
    assert_eq!(sorted(libc::EMFILE), AcceptFault::Wait);
    assert_eq!(sorted(libc::EBADF), AcceptFault::Fatal);
}
