//! Routes that read: what owners said, as they said it, and the registry's word on it.
//!
//! Owns: finding it. Every look at the state takes what it needs and leaves: the writer waits meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sixfold_api::problem::{Kind, Problem};
use sixfold_api::resource::{Farm, Farms, Guest, Guests, Held, Named, Network, Networks, Node};
use sixfold_api::version::Version;
use sixfold_core::id::{FarmId, Label, NetworkId, NodeId};
use sixfold_core::model::{ResourceKey, SlotKey};
use sixfold_core::trust::{Delegation, Leaving, NodeStatement, Signed, Statement, decode};
use tokio::task::spawn_blocking;

use super::answer::{Answer, Call};
use super::desk::Desk;
use super::desk::caller::Subject;
use super::put::held;
use super::refuse;
use crate::service::{self, Kept, State};
use crate::store::{DocumentId, Kind as Document};

/// The version.
pub(super) async fn version(_: Arc<Desk>, _: Call) -> Result<Answer, Problem> {
    Answer::of(&Version::own())
}

/// That the state can be read, and the store written.
pub(super) async fn ready(desk: Arc<Desk>, _: Call) -> Result<Answer, Problem> {
    desk.readiness.look(&desk.service).await.map_err(|failed| refuse::problem(&failed))?;
    let revision = desk.service.read(State::revision);
    Ok(Answer::of(&Version::own())?.at(revision))
}

/// All farms; or those that are meant by some words, or have a node that is.
pub(super) async fn farms(desk: Arc<Desk>, call: Call) -> Result<Answer, Problem> {
    let (names, nodes) = (call.words("name")?, call.words("node")?);
    let bodies = |kind| -> Vec<(String, Arc<[u8]>)> {
        desk.service.read(|state| {
            let there = state.documents_of(kind).filter(|(_, kept)| !kept.gone);
            there.map(|(id, kept)| (id.to_owned(), Arc::clone(&kept.body))).collect()
        })
    };
    let farms = bodies(Document::Farm);
    let is_all = names.is_none() && nodes.is_none();
    let nodes = nodes.map(|words| (words, bodies(Document::Node)));
    // At the size of all farms this is more than a moment's work.
    let turn = if nodes.is_some() { Some(desk.builds.acquire().await) } else { None };
    let told = aside(move || {
        let mut homes = BTreeSet::new();
        for (id, body) in nodes.iter().flat_map(|(_, bodies)| bodies) {
            let node: NodeStatement = stated(body)?;
            let is_meant = |words: &BTreeSet<Label>| {
                words.contains(&node.name) || words.iter().any(|word| word.as_str() == id)
            };
            if nodes.as_ref().is_some_and(|(words, _)| is_meant(words)) {
                homes.insert(node.farm);
            }
        }
        let named = farms.iter().map(|(id, body)| named::<Delegation>(id, body, |farm| farm.name().clone()));
        let mut farms = named.collect::<Result<Vec<Named>, Problem>>()?;
        let is_named = |farm: &Named| {
            names.as_ref().is_some_and(|words| words.contains(&farm.name) || words.contains(&farm.id))
        };
        farms.retain(|farm| is_all || is_named(farm) || homes.contains(&FarmId::from(farm.id.clone())));
        Answer::of(&Farms { farms })
    });
    let told = told.await;
    drop(turn);
    told
}

/// A farm.
pub(super) async fn farm(desk: Arc<Desk>, call: Call) -> Result<Answer, Problem> {
    let Subject::Farm(id) = call.subject else { return Err(absent()) };
    let (kept, allocations, nodes) = desk.service.read(|state| {
        let kept = state.document(&DocumentId::farm(&id)).ok_or_else(absent)?.clone();
        if kept.gone {
            return Ok((kept, Vec::new(), Vec::new()));
        }
        let known = state.world().farm(&id).ok_or_else(absent)?;
        let allocations = known.allocations().iter().filter_map(|prefix| state.ledger().allocation(*prefix));
        let nodes = known.nodes().keys().map(|node| {
            let body = &self::kept(state, &DocumentId::node(node))?.body;
            Ok(Arc::clone(body))
        });
        let nodes = nodes.collect::<Result<Vec<_>, Problem>>()?;
        Ok::<_, Problem>((kept, allocations.collect(), nodes))
    })?;
    aside(move || {
        let nodes = nodes.iter().map(|body| signed_in(body)).collect::<Result<_, Problem>>()?;
        let (version, revision, deleted) = (kept.version, kept.revision, kept.gone);
        let statement = signed(&kept)?;
        Ok(Answer::of(&Farm { id, version, revision, deleted, statement, allocations, nodes })?.at(revision))
    })
    .await
}

/// Does what takes more than a moment where nobody else waits for it: a farm has thousands of statements.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    spawn_blocking(work).await.map_err(|error| Problem::from_error(Kind::Internal, &error))?
}

/// A node.
pub(super) async fn node(desk: Arc<Desk>, call: Call) -> Result<Answer, Problem> {
    let Subject::Node(id) = call.subject else { return Err(absent()) };
    let node = desk.service.read(|state| node_in(state, &id))?;
    Ok(Answer::of(&node)?.at(node.revision))
}

fn node_in(state: &State, id: &NodeId) -> Result<Node, Problem> {
    let kept = kept(state, &DocumentId::node(id))?;
    let (farm, _) = state.world().node(id).ok_or_else(absent)?;
    let farm = farm.id().clone();
    let (version, revision) = (kept.version, kept.revision);
    Ok(Node { id: id.clone(), farm, version, revision, statement: signed(kept)? })
}

/// The networks of a tenant.
pub(super) async fn networks(desk: Arc<Desk>, call: Call) -> Result<Answer, Problem> {
    let Subject::Tenant(tenant) = call.subject else { return Err(absent()) };
    let networks = desk.service.read(|state| state.networks_of(&tenant).map(|(id, _)| id).collect());
    Answer::of(&Networks { networks })
}

/// The networks that leave by a farm's slots: of each slot's grants, whose they are.
pub(super) async fn guests(desk: Arc<Desk>, call: Call) -> Result<Answer, Problem> {
    let Subject::Farm(id) = call.subject else { return Err(absent()) };
    let (revision, granted) = desk.service.read(|state| {
        let farm = state.world().farm(&id).ok_or_else(absent)?;
        let mut granted: BTreeMap<(SlotKey, NetworkId), Vec<Held>> = BTreeMap::new();
        for slot in farm.slots().keys() {
            let Some(allocation) = state.ledger().allocation(slot.prefix) else { continue };
            let number = allocation.number();
            let grants = state.ledger().grants_in(number, slot.slot).filter(|(_, grant)| grant.is_live());
            for (index, grant) in grants {
                let of = granted.entry((*slot, grant.network.clone())).or_default();
                of.push(held(service::Held::of(ResourceKey { number, index }, grant)));
            }
        }
        Ok::<_, Problem>((state.revision(), granted))
    })?;
    let networks = granted.into_iter().map(|((slot, id), grants)| Guest { id, slot, grants });
    let guests = Guests { networks: networks.collect() };
    aside(move || Ok(Answer::of(&guests)?.at(revision))).await
}

/// A network.
pub(super) async fn network(desk: Arc<Desk>, call: Call) -> Result<Answer, Problem> {
    let Subject::Network(id) = call.subject else { return Err(absent()) };
    let network = desk.service.read(|state| {
        let known = state.document(&DocumentId::network(&id)).ok_or_else(absent)?;
        Ok::<_, Problem>(Network {
            id: id.clone(),
            version: known.version,
            revision: known.revision,
            deleted: known.gone,
            statement: signed(known)?,
            grants: state.held_by(&id).into_iter().map(held).collect(),
        })
    })?;
    Ok(Answer::of(&network)?.at(network.revision))
}

/// There is no such thing; or none that may be seen, which is answered alike.
pub(super) fn absent() -> Problem {
    Problem::new(Kind::NotFound, "there is no such thing here")
}

fn kept<'a>(state: &'a State, id: &DocumentId) -> Result<&'a Kept, Problem> {
    state.document(id).filter(|kept| !kept.gone).ok_or_else(absent)
}

/// The farm of a node; of one that has left, the farm that it was in.
pub(super) fn farm_of(state: &State, node: &NodeId) -> Option<FarmId> {
    if let Some(home) = state.world().home(node) {
        return Some(home.clone());
    }
    let gone = state.document(&DocumentId::node(node)).filter(|kept| kept.gone)?;
    decode::<Leaving>(&signed(gone).ok()?.body).ok().map(|leaving| leaving.farm)
}

/// What a node is called by its operator.
pub(super) fn name_of(state: &State, node: &NodeId) -> Result<Label, Problem> {
    let statement: NodeStatement = stated(&kept(state, &DocumentId::node(node))?.body)?;
    Ok(statement.name)
}

/// What a document says. It was verified when it was taken.
fn stated<T: Statement>(body: &[u8]) -> Result<T, Problem> {
    decode(&signed_in(body)?.body).map_err(|error| Problem::from_error(Kind::Internal, &error))
}

/// The statement of a farm.
pub(super) fn statement_of_farm(state: &State, farm: &FarmId) -> Result<Signed, Problem> {
    kept(state, &DocumentId::farm(farm)).and_then(signed)
}

/// A document as its owner signed it.
pub(super) fn signed(kept: &Kept) -> Result<Signed, Problem> {
    signed_in(&kept.body)
}

fn signed_in(body: &[u8]) -> Result<Signed, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::from_error(Kind::Internal, &error))
}

/// An id with the name its owner gave it.
fn named<T: Statement>(id: &str, body: &[u8], name: impl Fn(&T) -> Label) -> Result<Named, Problem> {
    let statement: T = stated(body)?;
    let id = id.parse().map_err(|_| absent())?;
    Ok(Named { id, name: name(&statement) })
}
