//! Every class of the error table, injected between the keystore and a real SoftHSM: the right class is seen, no wrong MAC
//! comes out, the token is asked again at most once, no key is made, and a refused PIN is never presented again.

#[path = "token_faults/house.rs"]
mod house;

use std::sync::Arc;
use std::time::Instant;

use house::{Asked, House, PIN, files};
use strongroom_agent::keystore::ErrorClass::{self, Data, Device, Handle, KeyMismatch, Login, Pin, Session};
use strongroom_proto::words::Scheme::{Derived, Resident};
use strongroom_tests::fault_report::{Row, publish};
use strongroom_tests::fresh_token::with_token;

type Codes = &'static [(u64, &'static str)];

const SESSION: Codes = &[
    (0xb3, "SESSION_HANDLE_INVALID"),
    (0xb0, "SESSION_CLOSED"),
    (0x90, "OPERATION_ACTIVE"),
    (0x91, "OPERATION_NOT_INITIALIZED"),
];
const LOGIN: Codes = &[(0x101, "USER_NOT_LOGGED_IN")];
const HANDLE: Codes = &[
    (0x82, "OBJECT_HANDLE_INVALID"),
    (0x60, "KEY_HANDLE_INVALID"),
    (0xf0, "UNWRAPPING_KEY_HANDLE_INVALID"),
    (0x113, "WRAPPING_KEY_HANDLE_INVALID"),
];
const ODD: Codes = &[
    (0x68, "KEY_FUNCTION_NOT_PERMITTED"),
    (0x63, "KEY_TYPE_INCONSISTENT"),
    (0xf2, "UNWRAPPING_KEY_TYPE_INCONSISTENT"),
    (0x115, "WRAPPING_KEY_TYPE_INCONSISTENT"),
];
const DEVICE: Codes = &[
    (0x32, "DEVICE_REMOVED"),
    (0x30, "DEVICE_ERROR"),
    (0x31, "DEVICE_MEMORY"),
    (0x02, "HOST_MEMORY"),
    (0xe0, "TOKEN_NOT_PRESENT"),
    (0x06, "FUNCTION_FAILED"),
    (0x190, "CRYPTOKI_NOT_INITIALIZED"),
    (0x05, "GENERAL_ERROR"),
    (0x8000_0066, "VENDOR_DEFINED"),
    (0x7000_0001, "a value nobody knows"),
];
const DATA: Codes = &[
    (0x40, "ENCRYPTED_DATA_INVALID"),
    (0x41, "ENCRYPTED_DATA_LEN_RANGE"),
    (0x110, "WRAPPED_KEY_INVALID"),
    (0x112, "WRAPPED_KEY_LEN_RANGE"),
];
/// From C_Login. The last ones say nothing clear: they count as refusals, because a second attempt might lock the token.
const REFUSED_PIN: Codes = &[
    (0xa0, "PIN_INCORRECT"),
    (0xa1, "PIN_INVALID"),
    (0xa2, "PIN_LEN_RANGE"),
    (0xa3, "PIN_EXPIRED"),
    (0xa4, "PIN_LOCKED"),
    (0x102, "USER_PIN_NOT_INITIALIZED"),
    (0x103, "USER_TYPE_INVALID"),
    (0x200, "FUNCTION_REJECTED"),
    (0x40, "ENCRYPTED_DATA_INVALID"),
    (0x8000_0066, "VENDOR_DEFINED"),
    (0x7000_0001, "a value nobody knows"),
];

/// The calls of a release, by scheme.
const RELEASES: [(Asked, &[&str]); 2] = [
    (Asked::Code(Resident), &["C_UnwrapKey", "C_SignInit", "C_Sign", "C_VerifyInit", "C_Verify"]),
    (Asked::Code(Derived), &["C_SignInit", "C_Sign"]),
];

/// What the error table promises of a release: the classes that a lasting fault may be seen as. A single one is served, by
/// trying once more, if the first says so.
fn promised(class: &'static str, function: &str, code: u64) -> (bool, &'static [ErrorClass]) {
    match class {
        "session" => (true, &[Session, Device]),
        "login" => (true, &[Login, Device]),
        "handle" | "odd" => (true, &[Handle, Device]),
        // A canary settles what a failed unwrap means: here the token works, so it is the record.
        "device" if function == "C_UnwrapKey" && [0x30, 0x06, 0x05].contains(&code) => (false, &[Data]),
        "data" => (false, &[Data]),
        _ => (false, &[Device]),
    }
}

#[test]
fn every_return_value_of_a_release_is_seen_as_what_it_is() {
    with_token("every_return_value_of_a_release_is_seen_as_what_it_is", PIN, |token| {
        let mut house = House::new(token);
        let before = files(&token.tokens());
        let mut rows = Vec::new();
        for (asked, functions) in RELEASES {
            for function in functions {
                let data = if *function == "C_UnwrapKey" { ("data", DATA) } else { ("device", &DATA[..2]) };
                let classes = [
                    ("session", SESSION),
                    ("login", LOGIN),
                    ("handle", HANDLE),
                    ("odd", ODD),
                    ("device", DEVICE),
                    data,
                ];
                for (class, codes) in classes {
                    for (code, name) in codes {
                        for times in [" times=1", ""] {
                            let row = one(&mut house, class, asked, function, (*code, name), times);
                            assert_eq!(files(&token.tokens()), before, "{row:?}: a key was made");
                            rows.push(row);
                        }
                    }
                }
            }
        }
        assert!(rows.len() > 350, "{}", rows.len());
        publish("Keystore: return values during a release", &rows);
    });
}

fn one(
    house: &mut House,
    class: &'static str,
    asked: Asked,
    function: &str,
    (code, name): (u64, &str),
    times: &str,
) -> Row {
    let rule = format!("{function} {code:#x}{times}");
    house.module.fault(&[&rule]);
    let (seen, calls) = house.module.during(|| house.ask(asked));
    let (served_once, classes) = promised(class, function, code);
    let served = served_once && !times.is_empty();
    let context = format!("{asked:?} {rule}: {seen:?}");
    match seen {
        Ok(()) => assert!(served, "{context}"),
        Err(class) => assert!(!served && classes.contains(&class), "{context}"),
    }
    assert!((1..=2).contains(&calls.ruled()), "{context}: {} attempts", calls.ruled());
    assert_eq!(calls.keys_asked_for(), 0, "{context}");
    let pins = calls.count("C_Login");
    assert!(pins <= usize::from(class == "login"), "{context}: {pins} PINs");
    house.module.lift();
    let (recovered, by) = house.recover();
    let lasting = if times.is_empty() { "lasting" } else { "once" };
    Row {
        class,
        injected: format!("{function} {name} {lasting}"),
        asked: asked.to_string(),
        seen: seen.map_or_else(|class| format!("{class:?}"), |()| "served".into()),
        // A fault that was overcome was followed by one more attempt.
        retries: Some(if seen.is_ok() { calls.ruled() } else { calls.ruled() - 1 }),
        pins,
        keys: calls.keys_asked_for(),
        recovered,
        by,
    }
}

#[test]
fn a_refused_or_unclear_pin_is_presented_once_and_never_again() {
    with_token("a_refused_or_unclear_pin_is_presented_once_and_never_again", PIN, |token| {
        let mut house = House::new(token);
        let before = files(&token.tokens());
        let mut rows = Vec::new();
        for (code, name) in REFUSED_PIN {
            house.module.fault(&["C_SignInit 0x101", &format!("C_Login {code:#x}")]);
            let ((), calls) = house.module.during(|| {
                for _ in 0..3 {
                    for asked in [Asked::Code(Resident), Asked::Code(Derived), Asked::Sign, Asked::Health] {
                        assert_eq!(house.ask(asked), Err(Pin), "{name} {asked:?}");
                    }
                }
            });
            assert_eq!((calls.count("C_Login"), calls.keys_asked_for()), (1, 0), "{name}");
            house.module.lift();
            let (recovered, by) = house.recover_by_a_person();
            rows.push(Row {
                class: "PIN",
                injected: format!("C_Login {name} lasting"),
                asked: "12 operations".into(),
                seen: "Pin".into(),
                retries: Some(0),
                pins: calls.count("C_Login"),
                keys: 0,
                recovered,
                by,
            });
            // The same while opening.
            house.module.fault(&[&format!("C_Login {code:#x}")]);
            house.close();
            let module = Arc::clone(&house.module);
            let (class, calls) = module.during(|| house.try_open().err());
            assert_eq!((class, calls.count("C_Login")), (Some(Pin), 1), "{name} while opening");
            house.module.lift();
            house.recover_by_a_person();
        }
        assert_eq!(files(&token.tokens()), before);
        publish("Keystore: refused PINs", &rows);
    });
}

#[test]
fn no_objects_is_an_outage_and_never_a_reason_to_make_a_key() {
    with_token("no_objects_is_an_outage_and_never_a_reason_to_make_a_key", PIN, |token| {
        let mut house = House::new(token);
        let before = files(&token.tokens());
        let mut rows = Vec::new();
        for asked in
            [Asked::Code(Resident), Asked::Code(Derived), Asked::Sign, Asked::Create(Resident), Asked::Create(Derived)]
        {
            // The handles went stale as well, so that it has to search.
            house.module.fault(&["C_SignInit 0x82", "C_FindObjects empty"]);
            let (seen, calls) = house.module.during(|| house.ask(asked));
            assert_eq!((seen, calls.keys_asked_for(), calls.count("C_Login")), (Err(Device), 0, 0), "{asked:?}");
            house.module.fault(&["C_FindObjects empty"]);
            let (created, calls) = house.module.during(|| house.ask(Asked::Create(Resident)));
            assert_eq!((created, calls.keys_asked_for()), (Err(Device), 0), "the search lies: no key may be made");
            let module = Arc::clone(&house.module);
            let (opened, calls) = module.during(|| house.restart());
            assert!(opened.is_err() && opened != Err(Pin) && calls.count("C_Login") == 1, "{opened:?}");
            house.module.lift();
            let (recovered, by) = house.recover();
            rows.push(Row {
                class: "handle",
                injected: "C_FindObjects 0 objects, stale handles".into(),
                asked: asked.to_string(),
                seen: "Device".into(),
                retries: Some(0),
                pins: 0,
                keys: 0,
                recovered,
                by,
            });
        }
        assert_eq!(files(&token.tokens()), before);
        publish("Keystore: no objects with CKR_OK", &rows);
    });
}

#[test]
fn a_token_that_computes_wrong_gives_no_code_and_spoils_nothing() {
    with_token("a_token_that_computes_wrong_gives_no_code_and_spoils_nothing", PIN, |token| {
        let mut house = House::new(token);
        let mut rows = Vec::new();
        let all = [
            Asked::Code(Resident),
            Asked::Code(Derived),
            Asked::Sign,
            Asked::Seal(Resident),
            Asked::Seal(Derived),
            Asked::Create(Resident),
            Asked::Create(Derived),
            Asked::Health,
        ];
        let windows = (0..10).map(|after| format!("C_Sign flip after={after} times=1"));
        for rule in windows.chain(["C_Sign flip".into(), "C_Sign flip after=1".into(), "C_Sign flip after=2".into()]) {
            for asked in all {
                house.module.fault(&[&rule]);
                // Whatever is answered is right (`ask` compares), and what was sealed or made is good (`recover` uses it).
                let (seen, calls) = house.module.during(|| house.ask(asked));
                if calls.ruled() == 0 {
                    house.module.lift();
                    house.recover();
                    continue;
                }
                match seen {
                    Ok(()) | Err(Device | KeyMismatch) => {}
                    Err(other) => panic!("{asked:?} {rule}: {other:?}"),
                }
                house.module.lift();
                let (recovered, by) = house.recover();
                rows.push(Row {
                    class: "device",
                    injected: rule.clone(),
                    asked: asked.to_string(),
                    seen: seen.map_or_else(|class| format!("{class:?}"), |()| "served, right".into()),
                    retries: None,
                    pins: calls.count("C_Login"),
                    keys: calls.keys_asked_for(),
                    recovered,
                    by,
                });
            }
            // While opening: a keystore that opens must serve.
            house.close();
            house.module.fault(&[&rule]);
            let opened = house.try_open();
            house.module.lift();
            if opened.is_err() {
                house.recover_by_a_person();
            }
            house.recover();
        }
        publish("Keystore: wrong MACs and signatures", &rows);
    });
}

#[test]
fn whatever_fails_while_starting_it_is_an_outage_and_the_next_attempt_succeeds() {
    with_token("whatever_fails_while_starting_it_is_an_outage_and_the_next_attempt_succeeds", PIN, |token| {
        let mut house = House::new(token);
        let before = files(&token.tokens());
        let mut rows = Vec::new();
        let functions = [
            "C_Initialize",
            "C_GetSlotList",
            "C_GetTokenInfo",
            "C_OpenSession",
            "C_Login",
            "C_FindObjectsInit",
            "C_FindObjects",
            "C_GetAttributeValue",
            "C_SignInit",
            "C_Sign",
        ];
        for function in functions {
            for (code, name) in DEVICE.iter().filter(|(code, _)| function != "C_Login" || *code < 0x7000_0000) {
                let rule = format!("{function} {code:#x}");
                house.module.fault(&[&rule]);
                let module = Arc::clone(&house.module);
                let (seen, calls) = module.during(|| house.restart());
                assert!(seen.is_err() && seen != Err(Pin), "{rule}: {seen:?}");
                assert_eq!(house.ask(Asked::Code(Resident)), Err(Device), "{rule}");
                assert!(calls.count("C_Login") <= 1, "{rule}");
                house.module.lift();
                let (recovered, by) = house.recover();
                rows.push(Row {
                    class: "device",
                    injected: format!("{function} {name} lasting"),
                    asked: "start".into(),
                    seen: seen.map_or_else(|class| format!("{class:?}"), |()| "started".into()),
                    retries: None,
                    pins: calls.count("C_Login"),
                    keys: files(&token.tokens()).saturating_sub(before),
                    recovered,
                    by,
                });
            }
        }
        assert_eq!(files(&token.tokens()), before);
        publish("Keystore: failures while starting", &rows);
    });
}

#[test]
fn making_a_key_leaves_nothing_behind_unless_it_succeeds() {
    with_token("making_a_key_leaves_nothing_behind_unless_it_succeeds", PIN, |token| {
        let mut house = House::new(token);
        let before = files(&token.tokens());
        let functions =
            ["C_FindObjectsInit", "C_FindObjects", "C_SignInit", "C_Sign", "C_OpenSession", "C_GenerateKey"];
        for asked in [Asked::Create(Resident), Asked::Create(Derived)] {
            for function in functions {
                for (code, name) in DEVICE {
                    house.module.fault(&[&format!("{function} {code:#x}")]);
                    let (seen, calls) = house.module.during(|| house.ask(asked));
                    assert_eq!(seen, Err(Device), "{asked:?} {function} {name}");
                    assert!(calls.keys_asked_for() <= 2 && calls.count("C_Login") == 0, "{asked:?} {function} {name}");
                    house.module.lift();
                    house.recover();
                    assert_eq!(files(&token.tokens()), before, "{asked:?} {function} {name}");
                }
            }
        }
        // A session that ends after the key was made: it is made once more, and one stays.
        let mut made = files(&token.tokens()) - before;
        for after in 0..6 {
            house.module.fault(&[&format!("C_SignInit 0xb3 after={after} times=1")]);
            let (seen, calls) = house.module.during(|| house.ask(Asked::Create(Derived)));
            assert_eq!(seen, Ok(()), "after {after}");
            assert!((1..=2).contains(&calls.keys_asked_for()), "after {after}");
            house.module.lift();
            house.recover();
            made += 2;
            assert_eq!(files(&token.tokens()), before + made, "after {after}: one key with its lock file");
        }
        let before = before + made;
        // SoftHSM's race with a search: the key is made anew, and what the first attempt left is destroyed.
        for (place, rule) in ["C_GenerateKey 0x5 times=1", "C_GenerateKey lose=0x5 times=1"].into_iter().enumerate() {
            house.module.fault(&[rule]);
            let (seen, calls) = house.module.during(|| house.ask(Asked::Create(Derived)));
            assert_eq!((seen, calls.keys_asked_for()), (Ok(()), 2), "{rule}");
            house.module.lift();
            house.recover();
            assert_eq!(files(&token.tokens()), before + 2 * (place + 1), "one key with its lock file");
        }
    });
}

#[test]
fn a_slow_token_is_no_broken_one() {
    with_token("a_slow_token_is_no_broken_one", PIN, |token| {
        let house = House::new(token);
        house.module.fault(&["C_Sign delay=300"]);
        let begun = Instant::now();
        assert_eq!(house.ask(Asked::Code(Derived)), Ok(()));
        assert!(begun.elapsed().as_millis() >= 300);
    });
}
