//! The worker's main loop: reads calls, asks the token, writes answers. One thread: SoftHSM and the YubiHSM 2 gain nothing
//! from more, and several workers do.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::frames::{Inbox, Malformed, append, read};
use super::launch::PIPE_LEN;
use super::sandbox::Sandbox;
use super::uses::Uses;
use super::wire::{
    Answer, Answered, Asked, Call, FromKeeper, Greeting, Hello, PinFrom, Purpose, Ready, WireCopyKey, now_ns,
};
use crate::keystore::batch::CopyKey;
use crate::keystore::pkcs11::Pkcs11Keystore;
use crate::keystore::{Keystore, KeystoreError, Operation, Seed, StoreKeys};
use crate::pin::PinError;
use crate::recovery::RecoveryIdentity;

/// How long the worker looks out for the next call before it sleeps: to be woken on a processor that sleeps too takes as
/// long as a call.
const LINGER: Duration = Duration::from_micros(100);
/// Answers that are held back while more calls are at hand, so that one write carries them all.
const ANSWERS_TOGETHER: usize = 8;
/// How long a call may go on after the agent has gone.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(5);

/// Runs a worker whose standard input is the agent's socket, until that closes.
#[must_use]
pub fn run() -> ExitCode {
    crate::os::ignore_stop_signals();
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the worker ends");
            ExitCode::FAILURE
        }
    }
}

fn work() -> io::Result<()> {
    let mut agent = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Refuses to run at a terminal or in a pipe: only a socket has a peer.
    agent.peer_addr()?;
    // Opened before the sandbox closes.
    let memory = File::open("/proc/self/statm").ok();
    let mut inbox = Inbox::new();
    let mut hello: Hello = loop {
        if let Some(frame) = inbox.next().map_err(io::Error::other)? {
            let text: Vec<u8> = read(frame).map_err(io::Error::other)?;
            break serde_json::from_slice(&text).map_err(|_| io::Error::other("a malformed greeting"))?;
        }
        if receive(&agent, &mut inbox)? == 0 {
            return Ok(());
        }
    };
    let (greeting, keystore) = match pin(&mut hello) {
        Ok(pin) => {
            let sandbox = Sandbox::enter(&hello.token);
            end_with(agent.try_clone()?);
            let greeted = match hello.purpose {
                Purpose::Probe => {
                    Pkcs11Keystore::probe_token(&hello.token, &pin).map(|report| (Greeting::Probed(report), None))
                }
                Purpose::Serve | Purpose::Provision => {
                    open(&hello, &pin, sandbox).map(|(ready, keystore)| (Greeting::Ready(ready), Some(keystore)))
                }
            };
            greeted.unwrap_or_else(|error| (Greeting::Failed(error), None))
        }
        Err(error) => {
            let reason = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            (Greeting::NoPin { reason: format!("{error}{reason}"), remedy: error.remedy() }, None)
        }
    };
    let mut answers = Zeroizing::new(Vec::new());
    append(&greeting, &mut answers).map_err(io::Error::other)?;
    agent.write_all(&answers)?;
    keystore.map_or(Ok(()), |keystore| serve(&agent, &mut inbox, &keystore, memory.as_ref()))
}

fn pin(hello: &mut Hello) -> Result<SecretString, PinError> {
    match &hello.pin {
        PinFrom::Source(source) => source.read(),
        PinFrom::Pipe => {
            // The pipe stands where standard output was: nothing was ever printed there.
            let failed = |source| PinError::Prompt { source };
            let pipe = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
            let mut text = Zeroizing::new(Vec::with_capacity(PIPE_LEN));
            File::from(pipe).take(PIPE_LEN as u64).read_to_end(&mut text).map_err(failed)?;
            let FromKeeper { pin, token } = serde_json::from_slice(&text)
                .map_err(|_| failed(io::Error::other("what the keeper wrote is malformed")))?;
            hello.token = token;
            let nowhere = File::options().write(true).open("/dev/null").map_err(failed)?;
            rustix::stdio::dup2_stdout(nowhere).map_err(|error| failed(error.into()))?;
            Ok(SecretString::from(pin))
        }
    }
}

fn open(hello: &Hello, pin: &SecretString, sandbox: Sandbox) -> Result<(Ready, Pkcs11Keystore), KeystoreError> {
    let mut keys_existed = false;
    if hello.purpose == Purpose::Provision {
        // Before anything is made to stay: does the token keep what its profile claims?
        Pkcs11Keystore::probe_token(&hello.token, pin)?.require(Operation::Provision)?;
        match Pkcs11Keystore::provision(&hello.token, pin) {
            Ok(()) => {}
            Err(KeystoreError::Exists { .. }) => keys_existed = true,
            Err(error) => return Err(error),
        }
    }
    let keystore = Pkcs11Keystore::open(&hello.token, pin)?;
    if hello.token.profile.workers > 1 {
        // Workers that log in again each for itself would present a PIN that was changed as often as there are workers.
        // This one ends instead, and a fresh one presents it, alone.
        keystore.forget_pin()?;
    }
    let canary = Sha256::digest(&*keystore.canary()?).into();
    let ready = Ready {
        token: keystore.token().clone(),
        identity: keystore.identity_key().to_vec(),
        canary,
        keys_existed,
        sandbox,
    };
    Ok((ready, keystore))
}

/// Ends the process some time after the agent has gone, whatever the module is doing. Not by way of `exit`: a module at
/// work while its memory is taken down corrupts it (seen with SoftHSM).
fn end_with(agent: UnixStream) {
    let watch = move || {
        let mut watched = [PollFd::new(&agent, PollFlags::RDHUP)];
        while matches!(poll(&mut watched, None::<&Timespec>), Err(rustix::io::Errno::INTR)) {}
        std::thread::sleep(ORPHAN_PATIENCE);
        crate::os::exit_at_once();
    };
    if let Err(error) = std::thread::Builder::new().name("orphan-watch".into()).spawn(watch) {
        tracing::warn!(%error, "nothing will end this worker if it hangs and the agent goes");
    }
}

fn serve(mut agent: &UnixStream, inbox: &mut Inbox, keystore: &dyn Keystore, memory: Option<&File>) -> io::Result<()> {
    let mut answers = Zeroizing::new(Vec::with_capacity(64 * 1024));
    let mut uses = Uses::new();
    loop {
        let mut held = 0;
        while let Some(frame) = inbox.next().map_err(io::Error::other)? {
            let Asked { id, until_ns, call }: Asked<Call> = read(frame).map_err(io::Error::other)?;
            let result = if now_ns() > until_ns || (changes_keys(&call) && is_gone(agent)) {
                // Nobody waits for it any more, and others may have acted on that.
                Err(KeystoreError::DeadlinePassed { operation: Operation::Wait })
            } else {
                counting(&mut uses, keystore, call, memory)
            };
            append(&Answered { id, result }, &mut answers).map_err(io::Error::other)?;
            held += 1;
            if held >= ANSWERS_TOGETHER || !inbox.has_next() {
                agent.write_all(&answers)?;
                wipe(&mut answers);
                held = 0;
            }
        }
        if receive(agent, inbox)? == 0 {
            return Ok(());
        }
    }
}

/// Whether a call makes or destroys keys.
fn changes_keys(call: &Call) -> bool {
    matches!(call, Call::CreateVaultKey { .. } | Call::DestroyVaultKey { .. } | Call::DiscardVaultKey { .. })
}

/// Whether the agent has closed its end: a killed one leaves calls behind that its successor knows nothing of.
fn is_gone(agent: &UnixStream) -> bool {
    let mut watched = [PollFd::new(agent, PollFlags::RDHUP)];
    !matches!(poll(&mut watched, Some(&Timespec::default())), Ok(0))
}

/// Empties the buffer and leaves nothing behind in it.
fn wipe(answers: &mut Zeroizing<Vec<u8>>) {
    answers.iter_mut().for_each(|byte| *byte = 0);
    answers.clear();
}

/// As [`answer`], and counts each code that a vault's key made: whoever asks for one cannot ask without being counted.
fn counting(
    uses: &mut Uses,
    keystore: &dyn Keystore,
    call: Call,
    memory: Option<&File>,
) -> Result<Answer, KeystoreError> {
    let vault = match &call {
        Call::Uses => return Ok(Answer::Uses(uses.iter().map(|(vault, count)| (*vault, *count)).collect())),
        Call::OtpMac { key, .. } => Some(key.vault),
        _ => None,
    };
    let result = answer(keystore, call, memory);
    if let Some(vault) = vault.filter(|_| result.is_ok()) {
        *uses.entry(vault).or_default() += 1;
    }
    result
}

fn answer(keystore: &dyn Keystore, call: Call, memory: Option<&File>) -> Result<Answer, KeystoreError> {
    match call {
        Call::CreateVaultKey { vault, number, scheme } => {
            keystore.create_vault_key(vault, number, scheme).map(Answer::VaultKey)
        }
        Call::DestroyVaultKey { key } => keystore.destroy_vault_key(&key).map(|()| Answer::Done),
        Call::CheckVaultKey { key } => keystore.check_vault_key(&key).map(|()| Answer::Done),
        Call::Seal { key, context, seed } => {
            let seed = Seed::from_wire(seed).map_err(|_| malformed(Operation::Seal))?;
            keystore.seal(&key, &context, &seed).map(Answer::Sealed)
        }
        Call::OtpMac { key, context, sealed, counter } => {
            let mac = keystore.otp_mac(&key, &context, &sealed, counter)?;
            Ok(Answer::Mac { algorithm: mac.algorithm(), mac: Zeroizing::new(mac.expose().to_vec()) })
        }
        Call::Sign { digest } => keystore.sign(&digest).map(|signature| Answer::Signature(signature.to_vec())),
        Call::SealStoreKeys { store, keys } => {
            let keys = StoreKeys::from_wire(&keys).ok_or_else(|| malformed(Operation::SealStoreKeys))?;
            keystore.seal_store_keys(store, &keys).map(Answer::Blob)
        }
        Call::OpenStoreKeys { store, sealed } => {
            keystore.open_store_keys(store, &sealed).map(|keys| Answer::StoreKeys(keys.to_wire()))
        }
        Call::DiscardVaultKey { vault, number } => keystore.discard_vault_key(vault, number).map(Answer::Flag),
        Call::CheckSealed { seeds } => keystore.check_sealed(&seeds).map(|()| Answer::Done),
        Call::CheckRecoverable { seeds, identity } => {
            keystore.check_recoverable(&seeds, &recovery(&identity)?).map(Answer::Accounts)
        }
        Call::Reseal { seeds, to, identity } => {
            let identity = identity.as_ref().map(recovery).transpose()?;
            keystore.reseal(&seeds, &to, identity.as_ref()).map(Answer::SealedSeeds)
        }
        Call::HandOver { order, identity } => keystore.hand_over(&order, &recovery(&identity)?).map(Answer::Blob),
        Call::CopyTo { seeds, recipient, identity } => {
            keystore.copy_to(&seeds, &recipient, &recovery(&identity)?).map(Answer::Blobs)
        }
        Call::MakeImportIdentity { store } => keystore.make_import_identity(store).map(Answer::ImportIdentity),
        Call::SealCopies { seeds, to, key: WireCopyKey::Recovery(identity) } => {
            let identity = recovery(&identity)?;
            keystore.seal_copies(&seeds, &to, &CopyKey::Recovery(&identity)).map(Answer::SealedSeeds)
        }
        Call::SealCopies { seeds, to, key: WireCopyKey::Import { store, sealed } } => {
            keystore.seal_copies(&seeds, &to, &CopyKey::Import { store, sealed: &sealed }).map(Answer::SealedSeeds)
        }
        Call::RenouncePin => keystore.renounce_pin().map(|()| Answer::Done),
        Call::Probe => keystore.probe().map(Answer::Probed),
        Call::Uses => Err(malformed(Operation::Wait)),
        Call::Health => keystore.health().map(|()| Answer::Healthy { resident_kib: resident_kib(memory) }),
    }
}

fn recovery(scalar: &Zeroizing<Vec<u8>>) -> Result<RecoveryIdentity, KeystoreError> {
    RecoveryIdentity::from_scalar(scalar).ok_or_else(|| malformed(Operation::Reseal))
}

fn malformed(operation: Operation) -> KeystoreError {
    KeystoreError::Refused { operation, code: Malformed.to_string() }
}

/// Resident memory of this process, in KiB; 0 where the system does not say (proc(5), `statm`).
fn resident_kib(memory: Option<&File>) -> u64 {
    let mut text = [0; 128];
    let read = memory.and_then(|memory| memory.read_at(&mut text, 0).ok()).unwrap_or(0);
    let text = text.get(..read).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * (rustix::param::page_size() as u64) / 1024
}

/// Waits for bytes and takes them. 0 means that the agent is gone.
fn receive(agent: &UnixStream, inbox: &mut Inbox) -> io::Result<usize> {
    let begun = Instant::now();
    let mut flags = RecvFlags::DONTWAIT;
    loop {
        match recv(agent, inbox.space(), flags) {
            Ok((received, _)) => {
                inbox.filled(received);
                return Ok(received);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) if begun.elapsed() < LINGER => std::thread::yield_now(),
            Err(rustix::io::Errno::AGAIN) => flags = RecvFlags::empty(),
            Err(error) => return Err(error.into()),
        }
    }
}
