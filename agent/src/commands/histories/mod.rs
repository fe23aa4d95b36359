//! Random histories of grants, groups, requests, confirmations, suspensions, revocations, freezes and clock steps, run by the real
//! commands and told to a small reference model. After every step each person tries every account: a code is given exactly when the
//! model gives it, and behind whoever gets one stand two other people. And after every step the logs alone say what the state says.

mod model;
mod world;

use proptest::prelude::*;
use proptest::sample::Index;

use self::world::{PEOPLE, World};

/// One thing that somebody tries.
#[derive(Clone, Debug)]
enum Step {
    Give { by: usize, who: Option<usize>, vault: usize, account: Option<usize>, in_s: i64, for_s: Option<i64> },
    End { by: usize, which: Index },
    Confirm { by: usize, which: Index },
    Reject { by: usize, which: Index },
    Ask { by: usize, vault: usize, account: Option<usize>, for_s: u64, glass: bool },
    Approve { by: usize, which: Index },
    Deny { by: usize, which: Index },
    Cancel { by: usize, which: Index },
    Join { by: usize, who: usize },
    Leave { by: usize, who: usize },
    Suspend { by: usize, who: usize },
    Resume { by: usize, who: usize },
    Revoke { by: usize, who: usize },
    Freeze { by: usize, vault: usize },
    Thaw { by: usize, vault: usize },
    OpenIncident { by: usize, vault: usize, who: usize },
    CloseIncident { by: usize, which: Index, undo: bool },
    See { by: usize, which: Index },
    Answer { by: usize, which: Index },
    Clock { seconds: i64 },
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let person = || 0..PEOPLE;
    let which = any::<Index>;
    let account = || proptest::option::of(0..2_usize);
    prop_oneof![
        6 => (person(), proptest::option::weighted(0.8, person()), 0..2_usize, account(), -5..40_i64, proptest::option::of(1..90_i64))
            .prop_map(|(by, who, vault, account, in_s, for_s)| Step::Give { by, who, vault, account, in_s, for_s }),
        3 => (person(), which()).prop_map(|(by, which)| Step::End { by, which }),
        6 => (person(), which()).prop_map(|(by, which)| Step::Confirm { by, which }),
        1 => (person(), which()).prop_map(|(by, which)| Step::Reject { by, which }),
        4 => (person(), 0..2_usize, account(), 60..200_u64, proptest::bool::weighted(0.3))
            .prop_map(|(by, vault, account, for_s, glass)| Step::Ask { by, vault, account, for_s, glass }),
        8 => (person(), which()).prop_map(|(by, which)| Step::Approve { by, which }),
        1 => (person(), which()).prop_map(|(by, which)| Step::Deny { by, which }),
        2 => (person(), which()).prop_map(|(by, which)| Step::Cancel { by, which }),
        3 => (person(), person()).prop_map(|(by, who)| Step::Join { by, who }),
        1 => (person(), person()).prop_map(|(by, who)| Step::Leave { by, who }),
        1 => (person(), person()).prop_map(|(by, who)| Step::Suspend { by, who }),
        2 => (person(), person()).prop_map(|(by, who)| Step::Resume { by, who }),
        1 => (person(), person()).prop_map(|(by, who)| Step::Revoke { by, who }),
        1 => (person(), 0..2_usize).prop_map(|(by, vault)| Step::Freeze { by, vault }),
        2 => (person(), 0..2_usize).prop_map(|(by, vault)| Step::Thaw { by, vault }),
        1 => (person(), 0..2_usize, person()).prop_map(|(by, vault, who)| Step::OpenIncident { by, vault, who }),
        2 => (person(), which(), any::<bool>()).prop_map(|(by, which, undo)| Step::CloseIncident { by, which, undo }),
        1 => (person(), which()).prop_map(|(by, which)| Step::See { by, which }),
        1 => (person(), which()).prop_map(|(by, which)| Step::Answer { by, which }),
        5 => (-120..150_i64).prop_map(|seconds| Step::Clock { seconds }),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_code_is_given_exactly_when_the_model_gives_it_and_two_others_stand_behind_it(
        steps in proptest::collection::vec(step(), 1..70),
        cut in any::<Index>(),
    ) {
        let mut world = World::founded();
        for step in &steps {
            world.take(step);
            world.compare(step);
            world.compare_with_logs(step);
        }
        world.compare_with_snapshots(&cut);
    }
}
