//! The audit trail has no blind spot: every method of the protocol is called once on a real agent, with success and without
//! the right to it, and what it left in the logs is compared with a table that must have every method.

mod calls;
mod catalogue;
mod house;
mod refusals;
mod table;

use std::collections::BTreeSet;

use strongroom_proto::method::NAMES;

use crate::table::{LINES, REFUSALS};

#[test]
fn every_method_has_its_lines_and_every_line_its_method() {
    let names: BTreeSet<&str> = NAMES.iter().copied().collect();
    let lines: BTreeSet<&str> = LINES.iter().map(|line| line.method).collect();
    assert_eq!(lines, names, "what a success leaves");
    let refusals: BTreeSet<&str> = REFUSALS.iter().map(|line| line.method).collect();
    assert_eq!(refusals, names, "what a refusal leaves");
}

#[tokio::test]
async fn every_method_leaves_exactly_what_the_table_says() {
    let mut house = house::House::open().await;
    calls::call_everything(&mut house).await;
    assert!(house.faults.is_empty(), "{:#?}", house.faults);
    house.assert_all_seen();
    catalogue::assert_documented(&house.seen);
}

#[tokio::test]
async fn every_refusal_leaves_exactly_what_the_table_says() {
    let mut house = house::House::open().await;
    refusals::refuse_everything(&mut house).await;
    assert!(house.faults.is_empty(), "{:#?}", house.faults);
    catalogue::assert_documented(&house.seen);
}
