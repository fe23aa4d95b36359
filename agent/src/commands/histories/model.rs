//! The reference: who may take which code, in as few lines as can be read at a glance. It knows nothing of rows, records, indexes or
//! denials; it hears what was done and says what a release must come to.

use std::collections::{BTreeMap, BTreeSet};

/// People, groups, vaults and accounts by place; times in seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) grants: BTreeMap<usize, Right>,
    pub(super) members: BTreeSet<usize>,
    /// Who enrolled somebody, and whoever gave or confirmed something of theirs.
    pub(super) vouched: BTreeMap<usize, BTreeSet<usize>>,
    pub(super) suspended: BTreeSet<usize>,
    pub(super) revoked: BTreeSet<usize>,
    pub(super) frozen: BTreeSet<usize>,
}

/// A viewer's grant.
#[derive(Clone, Debug)]
pub(super) struct Right {
    /// Whose; `None` is the group's.
    pub(super) who: Option<usize>,
    pub(super) vault: usize,
    /// `None` is the whole vault.
    pub(super) account: Option<usize>,
    pub(super) from: i64,
    pub(super) until: Option<i64>,
    pub(super) exclusive: bool,
    /// Whether it waits for a second person.
    pub(super) waits: bool,
    pub(super) ended: bool,
    /// Whoever gave, confirmed or approved it.
    pub(super) hands: BTreeSet<usize>,
}

impl Right {
    fn covers(&self, vault: usize, account: usize, now: i64) -> bool {
        self.vault == vault
            && self.account.is_none_or(|only| only == account)
            && !self.waits
            && !self.ended
            && self.from <= now
            && self.until.is_none_or(|until| now < until)
    }
}

impl Model {
    fn serves(&self, right: &Right, who: usize) -> bool {
        right.who.map_or_else(|| self.members.contains(&who), |own| own == who)
    }

    /// The rights by which somebody may take a code now.
    pub(super) fn rights(&self, who: usize, vault: usize, account: usize, now: i64) -> Vec<&Right> {
        let able = !self.suspended.contains(&who) && !self.revoked.contains(&who) && !self.frozen.contains(&vault);
        let rights = self.grants.values();
        rights.filter(|right| able && self.serves(right, who) && right.covers(vault, account, now)).collect()
    }

    /// Whether somebody gets a code now.
    pub(super) fn gives(&self, who: usize, vault: usize, account: usize, now: i64) -> bool {
        let taken = self
            .grants
            .values()
            .any(|right| right.exclusive && right.covers(vault, account, now) && !self.serves(right, who));
        !taken && !self.rights(who, vault, account, now).is_empty()
    }

    /// Everybody other than `who` who stands behind them and their rights here.
    pub(super) fn hands(&self, who: usize, vault: usize, account: usize, now: i64) -> BTreeSet<usize> {
        let mut hands: BTreeSet<usize> = self.vouched.get(&who).cloned().unwrap_or_default();
        for right in self.rights(who, vault, account, now) {
            hands.extend(right.hands.iter().copied());
        }
        hands.remove(&who);
        hands
    }
}
