//! What the half without privilege may have signed by the node's key: the proof, to a TLS server, that it holds the key.
//!
//! Owns: telling such a message from all others (RFC 8446, 4.4.3). A statement begins otherwise, so nobody who took over
//! that half can have one signed.

use sixfold_core::trust::{Signature, SigningKey};

/// What stands before everything that TLS 1.3 signs.
const PAD: [u8; 64] = [b' '; 64];
/// What a client signs for, with the zero byte that ends it.
const PURPOSE: &[u8] = b"TLS 1.3, client CertificateVerify\0";
/// Bytes of a transcript's hash: of SHA-256, of SHA-384.
const HASHES: [usize; 2] = [32, 48];

/// Bytes of the longest message that is signed.
pub const MESSAGE_BYTES_MAX: usize = PAD.len() + PURPOSE.len() + HASHES[1];

/// Signs exactly what a TLS 1.3 client signs to prove its key, and nothing else.
#[must_use]
pub fn sign(key: &SigningKey, message: &[u8]) -> Option<Signature> {
    let hash = message.strip_prefix(&PAD).and_then(|rest| rest.strip_prefix(PURPOSE))?;
    HASHES.contains(&hash.len()).then(|| key.sign(message))
}
