//! Whose keys are whose: those of owners by their rotations, and the registry's and its operators' by the store's own word.
//!
//! Owns: opening a statement by who should have signed it. The registry writes its key and its operator's when it starts, and
//! starts with no other key again. Who can write the whole store anew can write these too: `registry run` holds the one in the
//! store against its own, and each node against what it was told when it joined.

use std::collections::{BTreeMap, BTreeSet};

use sixfold_core::trust::{Chain, Owned, Owner, Role, Signed, Statement, VerifyingKey};

use super::Records;
use super::statements::opened;
use crate::store::Kind;

/// The keys that owners have and had.
pub(super) struct Keys {
    chains: BTreeMap<Owner, Chain>,
    operators: BTreeSet<VerifyingKey>,
    registry: Option<VerifyingKey>,
}

impl Keys {
    /// What is no chain is told of elsewhere.
    pub(super) fn of(found: &Records) -> Self {
        let rotations = found.documents.iter().filter(|(id, _)| id.kind == Kind::Rotation);
        let chains = rotations.filter_map(|(_, (document, _))| {
            let rotations: Vec<Signed> = serde_json::from_slice(&document.body).ok()?;
            Chain::read(&rotations).ok()
        });
        let named = |role| found.documents.keys().filter_map(move |id| id.as_key(role));
        Self {
            chains: chains.map(|chain| (chain.owner().clone(), chain)).collect(),
            operators: named(Role::Admin).collect(),
            registry: named(Role::Registry).next(),
        }
    }

    /// A statement that is an operator's, today's or an earlier one's.
    pub(super) fn of_operator<T: Statement>(&self, signed: &Signed) -> Result<T, String> {
        let statement: T = opened(signed)?;
        if self.operators.contains(&signed.key) {
            Ok(statement)
        } else {
            Err("is not signed by a key of the operator's".to_owned())
        }
    }

    /// A statement that is the registry's.
    pub(super) fn of_registry<T: Statement>(&self, signed: &Signed) -> Result<T, String> {
        let statement: T = opened(signed)?;
        if self.registry == Some(signed.key) {
            Ok(statement)
        } else {
            Err("is not signed by the registry's key".to_owned())
        }
    }

    /// A statement that is its owner's; by the newest key, if it is in force.
    pub(super) fn opened<T: Owned>(&self, signed: &Signed, in_force: bool) -> Result<T, String> {
        let statement: T = opened(signed)?;
        self.are(&statement.owner(), &signed.key, in_force)?;
        Ok(statement)
    }

    pub(super) fn are(&self, owner: &Owner, key: &VerifyingKey, in_force: bool) -> Result<(), String> {
        let chain = self.chains.get(owner);
        let newest = chain.map_or(key.owner(owner.role) == *owner, |chain| chain.newest() == *key);
        let earlier = chain.is_some_and(|chain| (0..chain.length()).any(|at| chain.key(at) == Some(*key)));
        match (newest, earlier) {
            (false, false) => Err(format!("is not signed by a key of {owner}")),
            (false, true) if in_force => Err(format!("is signed by a key of {owner} that was replaced")),
            _ => Ok(()),
        }
    }
}
