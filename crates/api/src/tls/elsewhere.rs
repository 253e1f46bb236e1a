//! A key that is not here: whoever has it is asked to sign.
//!
//! Owns: how TLS asks. What may be signed is decided where the key is.

use std::fmt;
use std::sync::Arc;

use rustls::sign::{Signer, SigningKey};
use rustls::{Error as RustlsError, SignatureAlgorithm, SignatureScheme};

/// Signs in the name of a key that is elsewhere; none if that is refused. TLS waits for the answer.
pub type Sign = dyn Fn(&[u8]) -> Option<[u8; 64]> + Send + Sync;

/// The key, as TLS sees it.
#[derive(Clone)]
pub(super) struct Elsewhere(pub(super) Arc<Sign>);

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is elsewhere")
    }
}

impl SigningKey for Elsewhere {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Elsewhere {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, RustlsError> {
        let signed = (self.0)(message).map(|signature| signature.to_vec());
        signed.ok_or_else(|| RustlsError::General("whoever has the key does not sign".to_owned()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}
