//! What a signature over one call leaves in the record of that call.

use crate::store::tx::Draft;

/// A signature over one call, verified. It goes into the record, where anybody can verify it again.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The nonce in the text.
    pub nonce: String,
    /// The digest of the call's parameters.
    pub params_sha256: String,
    /// The armoured SSHSIG.
    pub signature: String,
}

impl Signed {
    /// Adds to a record what rebuilds the signed text: agent, run, key and identity stand in the record already.
    #[must_use]
    pub fn note(&self, draft: Draft) -> Draft {
        draft
            .detail("nonce", self.nonce.clone())
            .detail("params_sha256", self.params_sha256.clone())
            .detail("signature", self.signature.clone())
    }
}
