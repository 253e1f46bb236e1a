//! The signing of a commit's new grants and numbers, all at once, and of who holds an exit slot.
//!
//! Owns: the port. Must not know private keys or how a signature is made.

use std::sync::Arc;

use sixfold_core::addr::Allocation;
use sixfold_core::id::Revision;
use sixfold_core::model::{Grant, ResourceKey};
use sixfold_core::tenure::Tenure;
use sixfold_core::trust::{Role, VerifyingKey};

/// What one commit newly says: numbers first, then grants, each in order.
#[derive(Debug, Clone, Copy)]
pub struct Newly<'a> {
    /// The revision that the commit is expected to have: where another writer commits first, it has a later one.
    pub serial: Revision,
    /// Allocations that get a number.
    pub numbers: &'a [Allocation],
    /// Grants that come into force.
    pub grants: &'a [(ResourceKey, &'a Grant)],
}

/// One signature over a group, and for each of its parts the way to it. Bytes, which are kept and given out as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The signed group.
    pub seal: Arc<[u8]>,
    /// The path of each number, then of each grant, in the order given.
    pub paths: Vec<Arc<[u8]>>,
}

/// Signs groups.
pub trait Sealer: Send {
    /// Signs what is newly said; never called with nothing.
    fn seal(&mut self, newly: &Newly<'_>) -> Sealed;

    /// Signs who holds an exit slot.
    fn tenure(&mut self, tenure: &Tenure) -> Arc<[u8]>;

    /// The public keys that the store is to name, so that a copy of it alone tells whose signatures are in it: the registry's
    /// own and its operator's. None: what signs here has no key.
    fn keys(&self) -> Vec<(Role, VerifyingKey)>;
}

impl<F: FnMut(&Newly<'_>) -> Sealed + Send> Sealer for F {
    fn seal(&mut self, newly: &Newly<'_>) -> Sealed {
        self(newly)
    }

    /// Of nobody's key: its words.
    fn tenure(&mut self, tenure: &Tenure) -> Arc<[u8]> {
        plain(tenure)
    }

    fn keys(&self) -> Vec<(Role, VerifyingKey)> {
        Vec::new()
    }
}

/// A tenure that nobody signed.
pub(super) fn plain(tenure: &Tenure) -> Arc<[u8]> {
    serde_json::to_vec(tenure).expect("a tenure is JSON, and memory takes any").into()
}
