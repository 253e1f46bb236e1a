//! Who says what: keys, signed statements, and the one check by which a node believes them.
//!
//! ```text
//! tenant   ── network ─────┐
//! farmer   ── farm ────────┤                    ┌──▶ Snapshot: nothing in it that nobody signed
//! node     ── node, device ┼──▶ Proofs ── admit ┤
//! registry ── grants, by ──┘     │              └──▶ refusals, in words, and what was seen, for next time
//!            their group's root  └ JSON, from the registry, which can leave out but not make up
//! ```
//!
//! Owns: the encoding that is signed, what each signature says, and how signatures are judged together. A statement is a
//! value of the model with a name, a version and an owner; one that says something impossible cannot be built. Must not
//! read a clock (the caller says what time it is), nor know where keys and statements are kept.

mod admit;
mod difference;
mod grant;
mod key;
mod merkle;
mod parts;
pub mod pem;
mod proofs;
mod rotation;
mod seen;
mod shown;
mod signed;
mod statement;
mod verified;
mod wire;

pub use admit::{
    Admitted, Evidence, Objection, Pins, Refusal, Standby, Standing, Verdict, Voucher, admit, admit_again,
};
pub use difference::{Difference, DifferenceError};
pub use grant::{Granted, Group, Leaf, Proven, seal};
pub use key::{Digest, Owner, Role, Signature, SigningKey, VerifyingKey, VerifyingKeyError};
pub use merkle::{leaf_hash, paths, verify_path};
pub use parts::{Fingerprint, FingerprintError, Parts};
pub use pem::PemError;
pub use proofs::{ProofFormat, Proofs, ProvenGrant};
pub use rotation::{Chain, ChainError, Rotation};
pub use seen::{Mark, Object, Seen, Stale};
pub use shown::Shown;
pub use signed::{OpenError, Signed, Statement, decode, encode};
pub use statement::{
    Confirm, Delegation, DeviceOf, DeviceStatement, Dissolution, Invitation, InvitationError, Leaving,
    NetworkStatement, NodeStatement, Owned, Reclaim, Subject, Token, TokenError, is_registry_address,
};
pub use verified::Verified;
