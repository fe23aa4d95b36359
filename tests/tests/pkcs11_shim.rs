//! The shim really does what it is told to: a test of faults that never happen proves nothing.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use strongroom_tests::faulty_module::{Call, FaultyModule};
use strongroom_tests::fresh_token::with_token;
use strongroom_tests::token::softhsm_module;

const PIN: &str = "test-pin-5302";
/// Tells a third process to crash.
const CRASH: &str = "STRONGROOM_TEST_CRASH";

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn it_forwards_leaks_hangs_and_crashes() {
    with_token("it_forwards_leaks_hangs_and_crashes", PIN, |_| {
        let module = FaultyModule::before(&softhsm_module());
        let context = Pkcs11::new(module.path()).unwrap();
        if std::env::var_os(CRASH).is_some() {
            module.fault(&["C_Initialize crash"]);
        }
        context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        let (slots, calls) = module.during(|| context.get_slots_with_token().unwrap());
        let forwarded = Call { function: "C_GetSlotList".into(), value: 0, is_ruled: false };
        assert!(!slots.is_empty() && calls.0.iter().all(|call| *call == forwarded), "{calls:?}");

        let before = resident_kib();
        module.fault(&["C_GetTokenInfo leak=67108864"]);
        context.get_token_info(slots[0]).unwrap();
        assert!(resident_kib() >= before + 60 * 1024);

        // A third process, because a crash ends this one.
        let own = std::env::current_exe().unwrap();
        let crashed = Command::new(own)
            .args(["--exact", "it_forwards_leaks_hangs_and_crashes"])
            .env(CRASH, "1")
            .output()
            .unwrap();
        assert_eq!(crashed.status.signal(), Some(libc::SIGSEGV), "{crashed:?}");

        module.fault(&["C_GetTokenInfo hang"]);
        let hung = std::thread::spawn(move || context.get_token_info(slots[0]).is_ok());
        std::thread::sleep(Duration::from_millis(500));
        assert!(!hung.is_finished());
    });
}
