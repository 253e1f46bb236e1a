//! What can be verified of a network by what the registry shows to whoever asks.

use sixfold_api::resource::{self, Held};
use sixfold_core::id::NodeId;
use sixfold_core::model::{Network, Seat};
use sixfold_core::trust::{Object, Owner, Subject};

use super::{Resource, Said, Told};
use crate::caller::RegistryArgs;
use crate::failed::Failed;
use crate::network::{self, Word, absent, prefix};
use crate::node::list::verified;

pub(super) fn told(word: &Word, registry: &RegistryArgs) -> Result<Told, Failed> {
    let (mut caller, id) = word.call(registry)?;
    let network = network::known(&mut caller, &id)?.ok_or_else(|| absent(&id))?;
    let mut statements = vec![Said {
        owner: Owner::tenant(&id.tenant),
        key: network.key,
        object: Object::Network(id.clone()).to_string(),
        version: network.version,
    }];
    let Subject::Live(live) = &network.subject else {
        return Ok(Told { network: id.to_string(), from: "registry", statements, resources: Vec::new() });
    };
    let known = caller.known()?;
    let farm = known.farms.iter().find(|farm| *farm.id() == live.exit().farm);
    let holder = farm.and_then(|farm| farm.delegation.slot(live.exit().key())?.holders.first());
    statements.extend(farm.map(|farm| Said {
        owner: Owner::farmer(farm.id()),
        key: farm.key,
        object: Object::Farm(farm.id().clone()).to_string(),
        version: farm.version,
    }));
    let mut grants: Vec<&Held> = network.grants.iter().collect();
    grants.sort_by(|one, other| one.seat.cmp(&other.seat));
    let mut resources = Vec::new();
    for held in grants {
        let (seat, prefix) = prefix(&known, held);
        let node = match &held.seat {
            Seat::Exit => holder,
            Seat::Node(node) => Some(node),
        };
        let mut statements = Vec::new();
        if let Some(node) = node
            && let Some(shown) = caller.find_if_allowed::<resource::Node>(&format!("/v1/nodes/{node}"))?
        {
            let version = verified(&mut caller, &shown, node)?.version;
            let (owner, object) = (Owner::node(node), Object::Node(node.clone()).to_string());
            statements.push(Said { owner, key: shown.statement.key, object, version });
        }
        let verdict = verdict(held, (live, holder), statements.is_empty());
        let what = format!("{seat}, prefix {prefix}");
        resources.push(Resource { what, statements, verdict: verdict.to_owned(), hint: None });
    }
    Ok(Told { network: id.to_string(), from: "registry", statements, resources })
}

/// What can be said of a grant whose proof is not shown.
fn verdict(held: &Held, (network, holder): (&Network, Option<&NodeId>), is_unseen: bool) -> &'static str {
    match (&held.seat, holder) {
        (Seat::Exit, None) => "its farmer delegates no such slot: not made",
        (Seat::Node(node), _) if !network.nodes().contains(node) => {
            "its tenant did not choose this node: not made"
        }
        _ if is_unseen => "granted, says the registry; what its node says is not shown to you",
        _ => "granted, says the registry; the proof of it, and of its device, goes to nodes",
    }
}
