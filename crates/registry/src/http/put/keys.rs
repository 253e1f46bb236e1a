//! Keys that are replaced: the chain of them, and what their owner had said, by the new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use sixfold_api::problem::{Kind, Problem};
use sixfold_api::resource::{Keys, Rotated};
use sixfold_core::trust::{
    Chain, Delegation, DeviceStatement, NetworkStatement, NodeStatement, Owned, Owner, Role, Signed,
    Subject as Of,
};

use super::{ask, refused, said, unopened};
use crate::http::answer::{Answer, Call};
use crate::http::desk::Desk;
use crate::http::desk::caller::Subject;
use crate::http::read;
use crate::service::{Op, Said};
use crate::store::DocumentId;

/// An owner's rotations.
pub(in crate::http) async fn read(desk: Arc<Desk>, call: Call) -> Result<Answer, Problem> {
    let Subject::Owner(owner) = call.subject else { return Err(read::absent()) };
    let body = desk.service.read(|state| {
        let kept = state.document(&DocumentId::rotation(&owner))?;
        Some((Arc::clone(&kept.body), kept.revision))
    });
    let (body, revision) = body.ok_or_else(read::absent)?;
    let rotations =
        serde_json::from_slice(&body).map_err(|error| Problem::from_error(Kind::Internal, &error))?;
    Ok(Answer::of(&Keys { rotations })?.at(revision))
}

/// An owner's key is replaced.
pub(in crate::http) async fn put(desk: Arc<Desk>, mut call: Call) -> Result<Answer, Problem> {
    let Subject::Owner(owner) = call.subject.clone() else { return Err(read::absent()) };
    let given: Rotated = call.document().await?;
    let chain = Chain::read(&given.rotations).map_err(|error| Problem::from_error(Kind::Refused, &error))?;
    if *chain.owner() != owner {
        return Err(refused(format!(
            "the rotations are of {}, and the path is about {owner}",
            chain.owner()
        )));
    }
    let again = given.statements.iter().map(|signed| resigned(signed, &owner, &chain));
    let again = again.collect::<Result<Vec<Op>, Problem>>()?;
    let body =
        serde_json::to_vec(&given.rotations).map_err(|error| Problem::from_error(Kind::Internal, &error))?;
    let said = Said { version: chain.length() as u64, body: body.into() };
    let op = Op::Rotate { said, owner: owner.clone(), again };
    ask(&desk, call.idempotency_key()?, (owner, None), (op, None)).await
}

/// A statement of the owner's role, by the newest key.
fn resigned(signed: &Signed, owner: &Owner, chain: &Chain) -> Result<Op, Problem> {
    if signed.key != chain.newest() {
        return Err(refused("a statement is not signed by the newest key"));
    }
    let (whose, op) = match owner.role {
        Role::Farmer => {
            let farm: Delegation = signed.open().map_err(unopened)?;
            let said = said(signed, farm.version())?;
            (
                farm.owner(),
                Op::PutFarm {
                    said,
                    farm: farm.with_nodes(Vec::new()),
                    invited: None,
                    facts: BTreeMap::new(),
                },
            )
        }
        Role::Tenant => {
            let network: NetworkStatement = signed.open().map_err(unopened)?;
            let (whose, said) = (network.owner(), said(signed, network.version)?);
            match network.subject {
                Of::Live(network) => (whose, Op::PutNetwork { said, network: network.into() }),
                Of::Deleted(network) => (whose, Op::RemoveNetwork { said, network }),
            }
        }
        // Of a node there are two kinds.
        _ => match signed.open::<NodeStatement>() {
            Ok(node) => {
                let (whose, said) = (node.owner(), said(signed, node.version)?);
                (whose, Op::PutNode { said, farm: node.farm, node: node.node.into(), token: None })
            }
            Err(_) => {
                let device: DeviceStatement = signed.open().map_err(unopened)?;
                let said = said(signed, device.version())?;
                let (node, resource) = (device.node().clone(), device.key());
                let (generation, report) = (device.generation(), device.report().clone());
                (device.owner(), Op::PutDevice { said, node, resource, generation, report })
            }
        },
    };
    if whose == *owner {
        Ok(op)
    } else {
        Err(refused(format!("a statement is by {whose}, and not by {owner}")))
    }
}
