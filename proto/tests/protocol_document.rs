//! PROTOCOL.md is the protocol: every method, field, word and error stands in it, nothing else does, and its examples are
//! read by the types that the agent and our own clients use.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test program a failure is the message")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use strongroom_proto::error::ErrorKind;
use strongroom_proto::ids::{Instance, Slug};
use strongroom_proto::login::{
    AGENT_NAMESPACE, CERTIFICATE_NAMESPACE, ENDORSEMENT_NAMESPACE, LOGIN_NAMESPACE, STEP_UP_NAMESPACE, agent_text,
    attestation_challenge, endorsement_text, login_text, step_up_text,
};
use strongroom_proto::method::{
    self, Method, account, agent, alert, audit, canary, ceremony, code, grant, group, identity, incident, pending,
    policy, request, review, rotation, session, vault,
};
use strongroom_proto::policy::{BreakGlass, Harvest, OrgPolicy, TicketPattern, VaultPolicy};
use strongroom_proto::rpc::{Outcome, REQUEST_LEN_MAX, RESPONSE_LEN_MAX, Request, Response};
use strongroom_proto::words;

const DOCUMENT: &str = include_str!("../PROTOCOL.md");

#[track_caller]
fn assert_written(text: &str) {
    assert!(DOCUMENT.contains(text), "PROTOCOL.md does not have {text}");
}

/// The text of a method's section.
fn section(method: &str) -> &'static str {
    let heading = format!("\n### `{method}`\n");
    let (_, rest) = DOCUMENT.split_once(&heading).unwrap_or_else(|| panic!("PROTOCOL.md has no section on {method}"));
    rest.split("\n## ").next().unwrap().split("\n### ").next().unwrap()
}

/// The first cells of the tables whose heading begins with this word.
fn rows(section: &str, heading: &str) -> BTreeSet<String> {
    let Some((_, table)) = section.split_once(&format!("| {heading} | type | ")) else { return BTreeSet::new() };
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    lines.map(|line| line.split('`').nth(1).unwrap().to_owned()).collect()
}

/// The blocks of one language, in order.
fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    let fence = format!("```{language}\n");
    DOCUMENT.split("```").zip(DOCUMENT.match_indices("```")).filter_map(move |(_, (at, _))| {
        let rest = DOCUMENT[at..].strip_prefix(&fence)?;
        rest.split("```").next()
    })
}

#[test]
fn there_is_a_section_for_every_method_and_for_no_other() {
    let documented: BTreeSet<_> =
        DOCUMENT.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    assert_eq!(documented, method::NAMES.iter().copied().collect());
}

#[test]
fn every_error_kind_has_its_row_with_code_and_exit_code_and_no_other_has() {
    let (_, table) = DOCUMENT.split_once("\n| kind | code | exit |").unwrap();
    let documented: Vec<Vec<&str>> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(str::trim).skip(1).take(3).collect())
        .collect();
    let expected: Vec<Vec<String>> = ErrorKind::ALL
        .iter()
        .map(|kind| vec![format!("`{kind}`"), kind.code().to_string(), kind.exit_code().to_string()])
        .collect();
    assert_eq!(documented, expected);
}

#[test]
fn limits_and_words_are_those_of_the_code() {
    assert_written(&format!("a frame from the client | {REQUEST_LEN_MAX} bytes"));
    assert_written(&format!("a frame from the agent | {RESPONSE_LEN_MAX} bytes"));
    assert_written(&format!("1 to {}; 100 when absent", audit::PAGE_LEN_MAX));
    assert_written(&format!("1 to {} |", audit::LEAVES_LEN_MAX));
    assert_written(&format!(
        "{} to {}; {} for `steam`",
        account::DIGITS_MIN,
        account::DIGITS_MAX,
        account::STEAM_DIGITS
    ));
    assert_written(&format!("1 to {}; 0 for `hotp`", account::PERIOD_S_MAX));
    assert_written(&format!("{} to {} bytes", account::SEED_LEN_MIN, account::SEED_LEN_MAX));

    let row = |name: &str| {
        DOCUMENT.lines().find(|line| line.starts_with(&format!("| {name} | "))).unwrap_or_else(|| panic!("{name}"))
    };
    let check = |name: &str, words: Vec<&str>| {
        for word in words {
            assert!(row(name).contains(&format!("`{word}`")), "{name} lacks {word}");
        }
    };
    check("vault role", words::VaultRole::ALL.iter().map(|word| word.as_str()).collect());
    check("org role", words::OrgRole::ALL.iter().map(|word| word.as_str()).collect());
    check("assurance", words::Assurance::ALL.iter().map(|word| word.as_str()).collect());
    check("identity kind", words::IdentityKind::ALL.iter().map(|word| word.as_str()).collect());
    check("identity status", words::IdentityStatus::ALL.iter().map(|word| word.as_str()).collect());
    check("otp kind", words::OtpKind::ALL.iter().map(|word| word.as_str()).collect());
    check("algorithm", words::Algorithm::ALL.iter().map(|word| word.as_str()).collect());
    check("scheme", words::Scheme::ALL.iter().map(|word| word.as_str()).collect());
    check("ceremony kind", words::CeremonyKind::ALL.iter().map(|word| word.as_str()).collect());
    check("ceremony status", words::CeremonyStatus::ALL.iter().map(|word| word.as_str()).collect());
    check("access", words::Access::ALL.iter().map(|word| word.as_str()).collect());
    check("pending kind", words::PendingKind::ALL.iter().map(|word| word.as_str()).collect());
    check("pending status", words::PendingStatus::ALL.iter().map(|word| word.as_str()).collect());
    check("rotation cause", words::RotationCause::ALL.iter().map(|word| word.as_str()).collect());
    check("incident cause", words::IncidentCause::ALL.iter().map(|word| word.as_str()).collect());
    check("request kind", words::RequestKind::ALL.iter().map(|word| word.as_str()).collect());
    check("request status", words::RequestStatus::ALL.iter().map(|word| word.as_str()).collect());
    for state in [agent::State::Ready, agent::State::HsmUnavailable, agent::State::Sealed] {
        let word = serde_json::to_string(&state).unwrap();
        assert!(section("agent.status").contains(&format!("`{}`", word.trim_matches('"'))), "{word}");
    }
}

#[test]
fn every_rule_of_a_policy_has_its_row() {
    let policy = OrgPolicy {
        portfolio_cap_percent: Some(20),
        session_idle_min: Some(15),
        session_longest_h: Some(12),
        harvest: Some(Harvest { accounts: 5, within_min: 10 }),
        vault: VaultPolicy {
            ticket_pattern: Some(TicketPattern::new("T-[0-9]+").unwrap()),
            releases_per_hour: Some(60),
            break_glass: Some(BreakGlass::default()),
            harvest: Some(Harvest { accounts: 5, within_min: 10 }),
            hours: serde_json::from_str(r#"{"days":["mon"],"from":"08:00","until":"18:00","zone":"UTC"}"#).unwrap(),
            ..VaultPolicy::default()
        },
        ..OrgPolicy::default()
    };
    let (section, _) = DOCUMENT.split_once("\n### Policies\n").unwrap().1.split_once("\n### ").unwrap();
    let row = |key: &str| assert!(section.contains(&format!("\n| `{key}` | ")), "{key} has no row");
    let Value::Object(rules) = serde_json::to_value(&policy).unwrap() else { panic!("an object") };
    rules.keys().for_each(|key| row(key));
    let Value::Object(rules) = &rules["vault"] else { panic!("an object") };
    for (key, value) in rules {
        match value {
            Value::Object(table) if key != "hours" => table.keys().for_each(|name| row(&format!("{key}.{name}"))),
            _ => row(key),
        }
    }
    // None was left out above: what is absent is not serialised.
    assert_eq!(rules.len(), 11);
}

/// One struct of the wire as its source has it.
#[derive(Debug, Default)]
struct Fields(Vec<Field>);

#[derive(Debug)]
struct Field {
    name: String,
    kind: String,
    flat: bool,
}

/// The wire types of one source file, by name, and its methods: name, parameters, result.
#[derive(Default)]
struct Source {
    types: BTreeMap<String, Fields>,
    methods: Vec<[String; 3]>,
}

impl Source {
    fn read(path: &Path) -> Self {
        let mut source = Self::default();
        let (mut open, mut flat) = (None, false);
        for line in fs::read_to_string(path).unwrap().lines() {
            if let Some(name) = line.strip_prefix("pub struct ") {
                let name = name.trim_end_matches(" {}").trim_end_matches(" {").to_owned();
                source.types.insert(name.clone(), Fields::default());
                open = (!line.ends_with('}')).then_some(name);
            } else if line == "}" {
                open = None;
            } else if let (Some(name), Some((field, kind))) =
                (&open, line.strip_prefix("    pub ").and_then(|field| field.split_once(": ")))
            {
                let field = Field { name: field.to_owned(), kind: kind.trim_end_matches(',').to_owned(), flat };
                source.types.get_mut(name).unwrap().0.push(field);
            } else if let Some(rest) = line.strip_prefix("method!(").and_then(|rest| rest.strip_suffix(");")) {
                let mut words = rest.split([' ', '"']).filter(|word| !word.is_empty() && !["=>", "->"].contains(word));
                let [params, name, result] = std::array::from_fn(|_| words.next().unwrap().to_owned());
                source.methods.push([name, params, result]);
            }
            flat = line.contains("serde(flatten)");
        }
        source
    }

    /// Every field of a type, as the tables name it: `items[].keys[].comment`.
    fn paths(&self, name: &str, prefix: &str, paths: &mut BTreeSet<String>) {
        for field in &self.types[name].0 {
            let inner = field.kind.trim_start_matches("Option<").trim_end_matches('>');
            let (inner, suffix) = match inner.strip_prefix("Vec<") {
                Some(inner) => (inner, "[]"),
                None => (inner, ""),
            };
            let path = format!("{prefix}{}", field.name);
            match (self.types.contains_key(inner), field.flat) {
                (true, true) => self.paths(inner, prefix, paths),
                (true, false) => {
                    self.paths(inner, &format!("{path}{suffix}."), paths);
                    paths.insert(path);
                }
                (false, _) => drop(paths.insert(path)),
            }
        }
    }
}

#[test]
fn every_field_has_its_row_and_every_row_its_field() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/method");
    let shared = Source::read(&folder.join("mod.rs"));
    let mut methods = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let source = Source::read(&entry.unwrap().path());
        for [name, params, result] in &source.methods {
            methods += 1;
            let mut expected = BTreeSet::new();
            source.paths(params, "", &mut expected);
            assert_eq!(rows(section(name), "parameter"), expected, "parameters of {name}");
            let mut expected = BTreeSet::new();
            let home = if source.types.contains_key(result) { &source } else { &shared };
            home.paths(result, "", &mut expected);
            // A receipt is one row; its own fields are described once for all.
            expected.retain(|path| !path.starts_with("receipt."));
            assert_eq!(rows(section(name), "result"), expected, "result of {name}");
        }
    }
    assert_eq!(methods, method::NAMES.len());

    let mut receipt = BTreeSet::new();
    shared.paths("Receipt", "receipt.", &mut receipt);
    let opening = Source::read(&folder.join("../audit/opening.rs"));
    let mut openings = BTreeSet::new();
    opening.paths("Opening", "openings[].", &mut openings);
    let pruned = Source::read(&folder.join("../audit/pruned.rs"));
    let mut prunings = BTreeSet::new();
    pruned.paths("Pruned", "pruned.", &mut prunings);
    assert_eq!((receipt.len(), openings.len(), prunings.len()), (3, 3, 4));
    for path in receipt.iter().chain(&openings).chain(&prunings) {
        assert_written(&format!("\n| `{path}` | "));
    }
}

/// Reads parameters and result of an example as the types of the method and writes them again: nothing may be lost.
fn read_back<M: Method>(params: &Value, result: &Value) {
    let read: M = serde_json::from_value(params.clone()).unwrap();
    assert_holds(&serde_json::to_value(read).unwrap(), params, M::NAME);
    let read: M::Result = serde_json::from_value(result.clone()).unwrap();
    assert_eq!(&serde_json::to_value(read).unwrap(), result, "result of {}", M::NAME);
}

/// Defaults may be written where an example leaves them out.
fn assert_holds(written: &Value, example: &Value, name: &str) {
    match (written, example) {
        (Value::Object(written), Value::Object(example)) => {
            example.iter().for_each(|(member, value)| assert_holds(&written[member], value, name));
        }
        (Value::Array(written), Value::Array(example)) if written.len() == example.len() => {
            written.iter().zip(example).for_each(|(written, example)| assert_holds(written, example, name));
        }
        _ => assert_eq!(written, example, "parameters of {name}"),
    }
}

/// Calls [`read_back`] for the method of this name.
macro_rules! by_name {
    ($name:expr, $params:expr, $result:expr, [$($method:ty),+ $(,)?]) => {
        match $name {
            $(<$method>::NAME => read_back::<$method>($params, $result),)+
            name => panic!("{name} is not tried here"),
        }
    };
}

#[test]
fn every_method_has_an_example_that_its_types_read() {
    let mut tried = BTreeSet::new();
    for block in blocks("json") {
        let [request, response] = block.trim_end().split('\n').collect::<Vec<_>>()[..] else { panic!("{block}") };
        let request: Request = serde_json::from_str(request).unwrap();
        let response: Response<Value> = serde_json::from_str(response).unwrap();
        assert_eq!(request.id, response.id, "{block}");
        match response.outcome {
            Outcome::Error(error) => assert_eq!(error.code, error.data.kind.code()),
            Outcome::Result(result) => {
                by_name!(
                    request.method.as_str(),
                    &request.params,
                    &result,
                    [
                        session::Open,
                        session::Prove,
                        session::Challenge,
                        session::Whoami,
                        session::List,
                        session::End,
                        vault::List,
                        vault::Create,
                        vault::Rename,
                        vault::Freeze,
                        vault::Thaw,
                        account::List,
                        account::Show,
                        account::ImportBegin,
                        account::ImportRows,
                        account::ImportCommit,
                        account::Remove,
                        code::Release,
                        grant::List,
                        grant::Give,
                        grant::End,
                        identity::List,
                        identity::Enrol,
                        identity::KeyAdd,
                        identity::KeyRemove,
                        identity::Revoke,
                        identity::Update,
                        identity::Roles,
                        identity::Certificates,
                        identity::Suspend,
                        identity::Resume,
                        identity::Report,
                        review::Start,
                        review::List,
                        review::Show,
                        review::Decide,
                        review::Close,
                        canary::Set,
                        canary::Clear,
                        canary::List,
                        alert::List,
                        alert::Ack,
                        incident::Open,
                        incident::List,
                        incident::Show,
                        incident::Close,
                        rotation::List,
                        rotation::Dismiss,
                        group::List,
                        group::Create,
                        group::Remove,
                        group::MemberAdd,
                        group::MemberRemove,
                        request::Make,
                        request::List,
                        request::Show,
                        request::Approve,
                        request::Deny,
                        request::Cancel,
                        request::Review,
                        pending::List,
                        pending::Show,
                        pending::Confirm,
                        pending::Reject,
                        policy::Show,
                        policy::Set,
                        policy::ShowOrg,
                        policy::SetOrg,
                        ceremony::Propose,
                        ceremony::List,
                        ceremony::Show,
                        ceremony::Confirm,
                        ceremony::Cancel,
                        ceremony::Run,
                        audit::Read,
                        audit::Search,
                        audit::Erase,
                        audit::Leaves,
                        audit::Checkpoint,
                        audit::Snapshot,
                        audit::Export,
                        agent::Status,
                    ]
                );
                tried.insert(request.method);
            }
        }
    }
    assert_eq!(tried, method::NAMES.iter().map(|name| (*name).to_owned()).collect());
}

/// The login example: what `session.open` sent and got, and what `session.prove` sent.
fn login_example() -> (session::Open, session::Opened, session::Prove) {
    let exchange = |name: &str| {
        let block = blocks("json").find(|block| block.contains(&format!("\"method\":\"{name}\""))).unwrap();
        let (request, response) = block.trim_end().split_once('\n').unwrap();
        let request: Request = serde_json::from_str(request).unwrap();
        let response: Value = serde_json::from_str(response).unwrap();
        (request.params, response["result"].clone())
    };
    let ((open, opened), (prove, _)) = (exchange(session::Open::NAME), exchange(session::Prove::NAME));
    let read = |value| serde_json::from_value(value).unwrap();
    (read(open), serde_json::from_value(opened).unwrap(), serde_json::from_value(prove).unwrap())
}

/// The text of the example of `session.challenge` and `ceremony.confirm`: its digest is that of the call's parameters.
fn step_up_example(agent: &str, instance: Instance, key: &str, identity: &Slug) -> String {
    let exchange = |name: &str| -> (Request, Value) {
        let block = blocks("json").find(|block| block.contains(&format!(",\"method\":\"{name}\",\"params\""))).unwrap();
        let (request, response) = block.trim_end().split_once('\n').unwrap();
        let response: Value = serde_json::from_str(response).unwrap();
        (serde_json::from_str(request).unwrap(), response["result"].clone())
    };
    let (challenge, challenged) = exchange(session::Challenge::NAME);
    let (confirm, _) = exchange(ceremony::Confirm::NAME);
    let mut confirm: ceremony::Confirm = serde_json::from_value(confirm.params).unwrap();
    confirm.step_up = None;
    let params = strongroom_proto::encoding::digest(&confirm).unwrap();
    assert_eq!(challenge.params["params_sha256"], params.as_str());
    let nonce = challenged["nonce"].as_str().unwrap();
    step_up_text(agent, instance, nonce, key, identity, ceremony::Confirm::NAME, &params)
}

#[test]
fn the_signed_texts_are_those_of_the_code() {
    let (open, opened, _) = login_example();
    let fingerprint = |key: &str| {
        let key = ssh_key::PublicKey::from_openssh(key).unwrap();
        key.fingerprint(ssh_key::HashAlg::Sha256).to_string()
    };
    let agent = fingerprint(&opened.agent_key);
    let endorsement = &opened.endorsement;
    let texts = [
        endorsement_text(
            &agent,
            opened.instance,
            &endorsement.session_key,
            endorsement.not_before,
            endorsement.not_after,
        ),
        agent_text(opened.instance, &open.client_nonce, &opened.nonce),
        login_text(&agent, opened.instance, &opened.nonce, &fingerprint(&open.public_key), &open.identity),
        attestation_challenge(&agent, &open.identity),
        step_up_example(&agent, opened.instance, &fingerprint(&open.public_key), &open.identity),
    ];
    assert_eq!(blocks("text").collect::<Vec<_>>(), texts);
    let namespaces =
        [ENDORSEMENT_NAMESPACE, AGENT_NAMESPACE, LOGIN_NAMESPACE, STEP_UP_NAMESPACE, CERTIFICATE_NAMESPACE];
    for namespace in namespaces {
        assert_written(&format!("| `{namespace}` | "));
    }
}

#[test]
fn the_commands_that_check_an_agent_accept_the_example_and_no_other_text() {
    let (open, opened, prove) = login_example();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let texts: Vec<_> = blocks("text").collect();
    write("endorse.sig", &opened.endorsement.signature);
    write("agent.sig", &opened.agent_signature);
    write("login.sig", &prove.signature);
    let recipe = blocks("sh").next().unwrap();
    let succeeds = |script: &str, input: &str| {
        let mut child = Command::new("sh")
            .args(["-ec", script])
            .current_dir(folder.path())
            .env("agent_key", &opened.agent_key)
            .env("session_key", &opened.endorsement.session_key)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait().unwrap().success()
    };
    for (endorse, agent, accepted) in [
        (texts[0].to_owned(), texts[1].to_owned(), true),
        (texts[0].replace("not-after 2026", "not-after 2027"), texts[1].to_owned(), false),
        (texts[0].to_owned(), texts[1].replace("nonce ", "nonce 0"), false),
    ] {
        write("endorse.txt", &endorse);
        write("agent.txt", &agent);
        assert_eq!(succeeds(recipe, ""), accepted);
    }
    write("login_signers", &format!("jana namespaces=\"{LOGIN_NAMESPACE}\" {}\n", open.public_key));
    let verify = format!("ssh-keygen -Y verify -f login_signers -I jana -n {LOGIN_NAMESPACE} -s login.sig");
    assert!(succeeds(&verify, texts[2]));
    assert!(!succeeds(&verify, &texts[2].replace("identity jana", "identity mara")));
}
