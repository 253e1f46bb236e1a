//! What a network stands on by the proofs that the registry shows to whoever may see it, each verified here.
//!
//! The registry's key is the one of its URL, all others follow from ids that the tenant signed. What the registry lists and
//! does not prove is told as that.

use std::collections::BTreeSet;

use sixfold_api::resource::Held;
use sixfold_core::trust::{Evidence, Object, Owner, Proofs, Role, Seen, Subject};

use super::{From, Resource, Said, Told, evidence};
use crate::caller::RegistryArgs;
use crate::failed::Failed;
use crate::network::{self, Word, absent};

pub(super) fn told(word: &Word, registry: &RegistryArgs) -> Result<Told, Failed> {
    let (mut caller, id) = word.call(registry)?;
    let network = network::known(&mut caller, &id)?.ok_or_else(|| absent(&id))?;
    let own = Said {
        owner: Owner::tenant(&id.tenant),
        key: network.key,
        object: Object::Network(id.clone()).to_string(),
        version: network.version,
    };
    if let Subject::Deleted(_) = &network.subject {
        let (network, statements) = (id.to_string(), vec![own]);
        let (resources, refusals) = (Vec::new(), Vec::new());
        return Ok(Told { network, from: From::Registry, statements, resources, refusals });
    }
    let proofs: Proofs = caller.get(&format!("{}/proofs", network::path(&id)))?;
    let pinned = caller.url().key().owner(Role::Registry);
    // Nothing was seen before: an older word than one that a node has seen is believed here.
    let (evidence, _) = Evidence::open(&proofs, &pinned, &Seen::default());
    let mut told = evidence::told(&evidence, &id, From::Registry);
    if told.statements.is_empty() {
        told.statements.push(own);
    }
    told.refusals = evidence.refusals().iter().map(ToString::to_string).collect();
    let proven: BTreeSet<_> = evidence.verdicts(&id).into_iter().map(|verdict| verdict.key).collect();
    let unproven = network.grants.iter().filter(|held| !proven.contains(&held.resource));
    told.resources.extend(unproven.map(unproven_resource));
    Ok(told)
}

fn unproven_resource(held: &Held) -> Resource {
    let key = held.resource;
    Resource {
        what: format!("{}, prefix {} of allocation {}", evidence::seat(&held.seat), key.index, key.number),
        statements: Vec::new(),
        verdict: "not proved: the registry says that it is granted, and shows no signature for that"
            .to_owned(),
        hint: Some("no node makes it by that: ask the registry's operator".to_owned()),
    }
}
