//! What was signed: every statement is by a key of its owner and says what its record means, and every grant and number has a
//! path to a group that the registry signed. As a node would judge it, from the records alone.
//!
//! Owns: holding each signature and each meaning against the other. All groups are to be by one key; whose that is, the nodes
//! know, to whom it was told when they joined.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use sixfold_core::id::Revision;
use sixfold_core::model::{FarmDraft, NetworkDraft, NodeDraft};
use sixfold_core::trust::{
    Chain, Confirm, Delegation, DeviceStatement, Dissolution, Granted, Group, Leaf, Leaving,
    NetworkStatement, NodeStatement, Owned, Owner, Proven, Reclaim, Signed, Statement, Subject, VerifyingKey,
};

use super::{Findings, Records, place};
use crate::service::device_version;
use crate::store::{Document, DocumentId, Kind, Model, Proof};

pub(super) fn check(found: &Records, findings: &mut Findings) {
    let keys = Keys::of(found);
    for (id, (document, _)) in &found.documents {
        if let Err(what) = says(found, &keys, id, document) {
            findings.add(id, what);
        }
    }
    let groups = groups(found, findings);
    for (allocation, proof, _) in &found.allocations {
        let name = format!("allocation {} ({})", allocation.number(), allocation.whole());
        if let Err(what) = proves(&groups, proof.as_ref(), &Leaf::Number(*allocation), false) {
            findings.add(name, what);
        }
    }
    for (key, (grant, proof, _)) in &found.grants {
        if let Err(what) =
            proves(&groups, proof.as_ref(), &Leaf::Grant(Granted::of(*key, grant)), !grant.is_live())
        {
            findings.add(place(*key), what);
        }
    }
}

/// The keys that owners have and had.
struct Keys(BTreeMap<Owner, Chain>);

impl Keys {
    /// What is no chain is told of elsewhere.
    fn of(found: &Records) -> Self {
        let rotations = found.documents.iter().filter(|(id, _)| id.kind == Kind::Rotation);
        let chains = rotations.filter_map(|(_, (document, _))| {
            let rotations: Vec<Signed> = serde_json::from_slice(&document.body).ok()?;
            Chain::read(&rotations).ok()
        });
        Self(chains.map(|chain| (chain.owner().clone(), chain)).collect())
    }

    /// A statement that is its owner's; by the newest key, if it is in force.
    fn opened<T: Owned>(&self, signed: &Signed, in_force: bool) -> Result<T, String> {
        let statement: T = opened(signed)?;
        self.are(&statement.owner(), &signed.key, in_force)?;
        Ok(statement)
    }

    fn are(&self, owner: &Owner, key: &VerifyingKey, in_force: bool) -> Result<(), String> {
        let chain = self.0.get(owner);
        let newest = chain.map_or(key.owner(owner.role) == *owner, |chain| chain.newest() == *key);
        let earlier = chain.is_some_and(|chain| (0..chain.length()).any(|at| chain.key(at) == Some(*key)));
        match (newest, earlier) {
            (false, false) => Err(format!("is not signed by a key of {owner}")),
            (false, true) if in_force => Err(format!("is signed by a key of {owner} that was replaced")),
            _ => Ok(()),
        }
    }
}

fn opened<T: Statement>(signed: &Signed) -> Result<T, String> {
    signed.open().map_err(|error| format!("is no statement of this kind: {error}"))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
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
        Model::Device { resource, generation, report } => {
            let now = found.grants.get(resource).map(|(grant, _, _)| grant);
            let in_force = now.is_some_and(|now| now.is_live() && now.generation == *generation);
            let says: DeviceStatement = keys.opened(&signed()?, in_force)?;
            let is_it = (says.key(), says.generation(), says.report()) == (*resource, *generation, report);
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
        Model::Bytes => return Ok(()),
    };
    if !is_it {
        return Err("says something else than was signed".to_owned());
    }
    if version != document.version {
        return Err(format!("is of version {}, and what was signed of {version}", document.version));
    }
    Ok(())
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
        let says: Dissolution = opened(signed)?;
        return Ok((says.version, DocumentId::farm(&says.farm) == *id));
    }
    // By the operator, whose key is not in the store; or by the tenant.
    if let Ok(says) = opened::<Reclaim>(signed) {
        return Ok((says.version, DocumentId::network(&says.network) == *id));
    }
    let says: NetworkStatement = keys.opened(signed, false)?;
    let deleted = matches!(&says.subject, Subject::Deleted(network) if DocumentId::network(network) == *id);
    Ok((says.version, deleted))
}

/// The groups that the registry signed, by their commits.
fn groups(found: &Records, findings: &mut Findings) -> BTreeMap<Revision, Group> {
    let (mut groups, mut own) = (BTreeMap::new(), None);
    for (at, body) in &found.seals {
        let read = read::<Signed>(body).and_then(|signed| Ok((signed.key, opened::<Group>(&signed)?)));
        let what = match read {
            Err(what) => what,
            Ok((key, _)) if *own.get_or_insert(key) != key => {
                "is signed by another key than those before".to_owned()
            }
            Ok((_, group)) if group.serial != at.0 => format!("is of group {}", group.serial),
            Ok((_, group)) => {
                groups.insert(*at, group);
                continue;
            }
        };
        findings.add(format!("seal of revision {at}"), what);
    }
    groups
}

/// Whether the registry signed this leaf. Of a seal that is not there it is told elsewhere.
/// What was `released` may have lost its ports since it was signed: once it has rested, they are another's.
fn proves(
    groups: &BTreeMap<Revision, Group>,
    proof: Option<&Proof>,
    leaf: &Leaf,
    released: bool,
) -> Result<(), String> {
    let proof = proof.ok_or("is not proven by any seal")?;
    let Some(group) = groups.get(&proof.seal) else { return Ok(()) };
    let proven: Proven = read(&proof.path)?;
    match proven.open(group) {
        Err(error) => Err(format!("has no path to the seal of revision {}: {error}", proof.seal)),
        Ok(said) if said == *leaf || released && without_ports(said.clone()) == *leaf => Ok(()),
        Ok(_) => Err("is proven to be something else".to_owned()),
    }
}

fn without_ports(leaf: Leaf) -> Leaf {
    match leaf {
        Leaf::Grant(granted) => Leaf::Grant(Granted { ports: None, ..granted }),
        leaf @ Leaf::Number(_) => leaf,
    }
}
