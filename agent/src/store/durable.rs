//! "No record, no code" by types: a computed code is sealed, and only a durable record of its release opens it.

use strongroom_proto::ids::AccountId;
use strongroom_proto::method::Receipt;

use crate::otp::Code;

/// What a command gave, together with the proof that its record is durable. Only a store makes one, after the commit.
#[derive(Debug)]
pub struct Durable<T> {
    value: T,
    receipt: Receipt,
}

impl<T> Durable<T> {
    /// Called by engines after the commit, and by nobody else.
    pub(in crate::store) const fn new(value: T, receipt: Receipt) -> Self {
        Self { value, receipt }
    }

    /// What the command gave.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// Where its record stands.
    pub const fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Takes both apart.
    pub fn into_parts(self) -> (T, Receipt) {
        (self.value, self.receipt)
    }
}

/// What a durable release says: which account, which moving factor.
pub trait Releases {
    /// The account whose code may be handed out.
    fn account(&self) -> AccountId;
    /// The counter or time step it was released for.
    fn moving_factor(&self) -> u64;
}

/// A code that nobody can read yet. Wiped when dropped.
pub struct SealedCode {
    account: AccountId,
    moving_factor: u64,
    code: Code,
}

impl SealedCode {
    /// Seals a code as soon as it is computed.
    #[must_use]
    pub const fn new(account: AccountId, moving_factor: u64, code: Code) -> Self {
        Self { account, moving_factor, code }
    }

    /// Opens the code with the durable record of its own release.
    ///
    /// `None` if the record is about another account or another moving factor.
    #[must_use]
    pub fn open<T: Releases>(self, durable: &Durable<T>) -> Option<Code> {
        let released = durable.value();
        (released.account() == self.account && released.moving_factor() == self.moving_factor).then_some(self.code)
    }
}
