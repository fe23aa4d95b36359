//! Tests on a real SoftHSM token.

mod attacks;
mod copies;
mod faults;
mod probe;
mod renewal;
mod scale;
mod sealing;
mod vectors;

use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::words::{Algorithm, OtpKind};

use crate::keystore::SeedContext;

fn context(vault: VaultId) -> SeedContext {
    SeedContext {
        store: OrgId::random(),
        vault,
        account: AccountId::random(),
        kind: OtpKind::Totp,
        algorithm: Algorithm::Sha1,
        digits: 6,
        period_s: 30,
        revision: 1,
    }
}
