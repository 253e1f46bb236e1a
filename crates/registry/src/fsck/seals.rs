//! What the registry signed: every grant and number has a path to a group that is signed by its key, and who holds a slot is
//! signed by it.
//!
//! Owns: holding each path against its seal, and each seal and each tenure against the key.

use std::collections::BTreeMap;

use sixfold_core::id::Revision;
use sixfold_core::tenure::Tenure;
use sixfold_core::trust::{Granted, Group, Leaf, Proven, Signed};

use super::keys::Keys;
use super::statements::read;
use super::{Findings, Records, place};
use crate::store::{Model, Proof};

pub(super) fn check(found: &Records, keys: &Keys, findings: &mut Findings) {
    let groups = groups(found, keys, findings);
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
    for (id, (document, _)) in &found.documents {
        if let Model::Tenure(tenure) = &document.model
            && let Err(what) = holds(keys, &document.body, tenure)
        {
            findings.add(id, what);
        }
    }
}

/// Whether the registry signed that a slot is held so.
fn holds(keys: &Keys, body: &[u8], tenure: &Tenure) -> Result<(), String> {
    let said: Tenure = keys.of_registry(&read::<Signed>(body)?)?;
    if said == *tenure { Ok(()) } else { Err("says something else than was signed".to_owned()) }
}

/// The groups that the registry signed, by their commits.
fn groups(found: &Records, keys: &Keys, findings: &mut Findings) -> BTreeMap<Revision, Group> {
    let mut groups = BTreeMap::new();
    for (at, body) in &found.seals {
        let what = match read::<Signed>(body).and_then(|signed| keys.of_registry::<Group>(&signed)) {
            Err(what) => what,
            // Signed before it is written: another writer's commit may come first.
            Ok(group) if group.serial > at.0 => format!("is of group {}", group.serial),
            Ok(group) => {
                groups.insert(*at, group);
                continue;
            }
        };
        findings.add(format!("seal of revision {at}"), what);
    }
    groups
}

/// Whether the registry signed this leaf. Of a seal that is not there it is told elsewhere.
/// What was `released` may have lost its ports and its address since it was signed: once it has rested, they are another's.
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
        Ok(said) if said == *leaf || released && lessened(said.clone()).contains(leaf) => Ok(()),
        Ok(_) => Err("is proven to be something else".to_owned()),
    }
}

/// A leaf without its address, and without its ports.
fn lessened(leaf: Leaf) -> Vec<Leaf> {
    let Leaf::Grant(granted) = leaf else { return Vec::new() };
    let without_own = Granted { own_v4: None, ..granted };
    let without_ports = Granted { ports: None, ..without_own.clone() };
    vec![Leaf::Grant(without_own), Leaf::Grant(without_ports)]
}
