//! What owners signed: every statement is by a key of its owner and says what its record means. As a node would judge it, from
//! the records alone.
//!
//! Owns: holding each signature and each meaning against the other.

use serde::de::DeserializeOwned;
use sixfold_core::model::{FarmDraft, NetworkDraft, NodeDraft};
use sixfold_core::trust::{
    Confirm, Delegation, DeviceStatement, Dissolution, Leaving, NetworkStatement, NodeStatement, Owned,
    Reclaim, Signed, Statement, Subject,
};

use super::keys::Keys;
use super::{Findings, Records};
use crate::service::device_version;
use crate::store::{Document, DocumentId, Kind, Model};

pub(super) fn check(found: &Records, keys: &Keys, findings: &mut Findings) {
    for (id, (document, _)) in &found.documents {
        if let Err(what) = says(found, keys, id, document) {
            findings.add(id, what);
        }
    }
}

pub(super) fn opened<T: Statement>(signed: &Signed) -> Result<T, String> {
    signed.open().map_err(|error| format!("is no statement of this kind: {error}"))
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("cannot be read: {error}"))
}

/// Whether a document's words are signed by whom they should be, and mean what the record says.
fn says(found: &Records, keys: &Keys, id: &DocumentId, document: &Document) -> Result<(), String> {
    let signed = || read::<Signed>(&document.body);
    let (version, is_it) = match &document.model {
        Model::Farm(farm) => {
            let says: Delegation = keys.opened(&signed()?, true)?;
            (says.version(), FarmDraft { nodes: Vec::new(), ..farm.clone() } == says.with_nodes(Vec::new()))
        }
        Model::Network(network) => {
            let says: NetworkStatement = keys.opened(&signed()?, true)?;
            let version = says.version;
            let live = match says.subject {
                Subject::Live(live) => Some(NetworkDraft::from(live)),
                Subject::Deleted(_) => None,
            };
            (version, live.as_ref() == Some(network))
        }
        Model::Node { farm, node } => {
            let says: NodeStatement = keys.opened(&signed()?, true)?;
            (says.version, says.farm == *farm && NodeDraft::from(says.node) == *node)
        }
        Model::Device { resource, node, generation, report } => {
            let now = found.grants.get(resource).map(|(grant, _, _)| grant);
            let is_newest = now.is_some_and(|now| now.is_live() && now.generation == *generation);
            let in_force = is_newest && !is_said_again(found, id);
            let says: DeviceStatement = keys.opened(&signed()?, in_force)?;
            let is_it = (says.key(), says.generation(), says.report()) == (*resource, *generation, report)
                && node.as_ref().is_none_or(|node| node == says.node());
            let version = u32::try_from(says.version()).map(|version| device_version(*generation, version));
            (version.unwrap_or_default(), is_it)
        }
        Model::Gone => gone(keys, id, &signed()?)?,
        Model::Bytes if id.kind == Kind::Confirm => {
            let (signed, says) =
                signed().and_then(|signed| Ok((signed.clone(), opened::<Confirm>(&signed)?)))?;
            keys.are(&says.owner, &signed.key, false)?;
            (document.version, says.owner.id.as_str() == id.name)
        }
        // Nor is who holds a slot an owner's word: it is held against the registry's key.
        Model::Bytes | Model::Tenure(_) => return Ok(()),
    };
    if !is_it {
        return Err("says something else than was signed".to_owned());
    }
    if version != document.version {
        return Err(format!("is of version {}, and what was signed of {version}", document.version));
    }
    Ok(())
}

/// Whether it is of an exit point from before there were standbys, and its nodes speak for themselves by now: the key that it is
/// signed by may have been replaced since.
fn is_said_again(found: &Records, id: &DocumentId) -> bool {
    let first = DocumentId { kind: Kind::Device, name: format!("{}@", id.name) };
    let next = found.documents.range(&first..).next();
    next.is_some_and(|(next, _)| next.kind == Kind::Device && next.name.starts_with(&first.name))
}

/// That something is no more: the version, and whether it is about this.
fn gone(keys: &Keys, id: &DocumentId, signed: &Signed) -> Result<(u64, bool), String> {
    if id.kind == Kind::Node {
        let says: Leaving = opened(signed)?;
        let one = says.owners().iter().any(|owner| keys.are(owner, &signed.key, false).is_ok());
        if !one {
            return Err(format!("is signed neither by node {} nor by farm {}", says.node, says.farm));
        }
        return Ok((says.version, DocumentId::node(&says.node) == *id));
    }
    if id.kind == Kind::Farm {
        let says: Dissolution = keys.of_operator(signed)?;
        return Ok((says.version, DocumentId::farm(&says.farm) == *id));
    }
    // By the operator, or by the tenant.
    if opened::<Reclaim>(signed).is_ok() {
        let says: Reclaim = keys.of_operator(signed)?;
        return Ok((says.version, DocumentId::network(&says.network) == *id));
    }
    let says: NetworkStatement = keys.opened(signed, false)?;
    let deleted = matches!(&says.subject, Subject::Deleted(network) if DocumentId::network(network) == *id);
    Ok((says.version, deleted))
}
