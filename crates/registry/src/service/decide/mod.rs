//! What a request changes, computed from what is known: no clock, no store, no effect.
//!
//! Owns: the rules that hold between a request and the state beside those of `core`: versions only grow, the same words
//! twice are one change, who may be spoken for. A refusal leaves everything as it was.

mod breaker;
mod device;
mod farm;
mod hold;
mod network;
mod rotate;

use std::collections::BTreeSet;

use sixfold_core::id::Timestamp;
use sixfold_core::limit::NODES_PER_NETWORK;
use sixfold_core::model::{Fault, Item};

use super::limit;
use super::refusal::Refusal;
use super::request::{Op, Request, Said};
use super::state::{Change, State};
use crate::store::{Compared, Document, DocumentId, Kind, Model};

/// A change, and what it was computed from.
#[derive(Debug, Default)]
pub(super) struct Decided {
    pub(super) change: Change,
    pub(super) read: BTreeSet<Compared>,
    /// The network whose prefixes the asker is told.
    pub(super) network: Option<sixfold_core::id::NetworkId>,
}

impl Decided {
    /// Adds the documents of another change, and what they change in the world.
    fn add(&mut self, other: Self) {
        self.change.documents.extend(other.change.documents);
        self.change.edits.extend(other.change.edits);
        self.read.extend(other.read);
    }

    /// Was computed from everything that is known of these kinds.
    fn read_all(&mut self, kinds: impl IntoIterator<Item = Kind>) {
        self.read.extend(kinds.into_iter().map(Compared::Kind));
    }

    /// Has a document written, and compared with what it was before.
    fn write(&mut self, id: DocumentId, said: &Said, model: Model) {
        let document = Document { version: said.version, body: said.body.clone(), model };
        self.read.insert(Compared::Document(id.clone()));
        self.change.documents.push((id, document));
    }
}

/// Computes what a request changes. The state is lent to be tried on, and is given back as it was.
pub(super) fn decide(state: &mut State, request: &Request, now: Timestamp) -> Result<Decided, Refusal> {
    let Request { op, by, confirmed, .. } = request;
    // A key may have been replaced while the request waited.
    if let Some((owner, _)) =
        by.as_ref().filter(|(owner, key)| state.owner_of(owner.role, key).as_ref() != Some(owner))
    {
        return Err(Refusal::Replaced { owner: owner.clone() });
    }
    let mut decided = match op {
        Op::PutFarm { said, farm, invited, facts } => farm::put(state, said, farm, (invited.as_ref(), facts)),
        Op::RemoveFarm { said, farm } => farm::remove(state, said, farm),
        Op::PutNode { said, farm, node, token } => {
            farm::put_node(state, said, (farm, node), token.as_deref())
        }
        Op::RemoveNode { said, node, forced } => farm::remove_node(state, said, (node, *forced), now),
        Op::PutNetwork { .. } | Op::RemoveNetwork { .. } => of_network(state, op, now),
        Op::PutDevice { said, node, resource, generation, report } => {
            device::put(state, said, node, (*resource, *generation), report)
        }
        Op::Hold { farm, slot, ask, facts } => hold::hold(state, (farm, *slot), ask, facts),
        Op::Rotate { said, owner, again } => rotate::put(state, said, owner, again),
        Op::InSync { node, revision } => Ok(device::in_sync(state, node, *revision)),
    }?;
    if let Some(confirmation) = breaker::check(state, &decided.change, op, confirmed.as_ref())? {
        // Its owner's last one.
        let id = DocumentId { kind: Kind::Confirm, name: request.who.to_string() };
        let version = state.document(&id).map_or(0, |last| last.version) + 1;
        decided.write(id, &Said { version, body: confirmation.body.clone() }, Model::Bytes);
    }
    if let Some((owner, _)) = by {
        decided.read.insert(Compared::Document(DocumentId::rotation(owner)));
    }
    Ok(decided)
}

/// Computes what a request about a network changes, and what of it would have to be confirmed.
pub(super) fn decide_network(
    state: &State,
    op: &Op,
    now: Timestamp,
) -> Result<(Decided, Option<Refusal>), Refusal> {
    let decided = of_network(state, op, now)?;
    let breaker = breaker::check(state, &decided.change, op, None).err();
    Ok((decided, breaker))
}

/// Whether it is of a size that can be anything at all. Looked at before it is given to the writer, for whom others wait.
pub(super) fn fits(op: &Op) -> Result<(), Refusal> {
    if let Some(said) = op.said().filter(|said| said.body.len() > limit::DOCUMENT_BYTES_MAX) {
        return Err(Refusal::TooLong { bytes: said.body.len() });
    }
    match op {
        Op::PutNetwork { network, .. } if network.nodes.len() > NODES_PER_NETWORK => {
            let (what, count) = ("nodes", network.nodes.len());
            let fault = Fault::TooMany { what, count, limit: NODES_PER_NETWORK };
            Err(Refusal::Invalid(vec![Item::Whole.field(what).found(fault)]))
        }
        _ => Ok(()),
    }
}

/// Nothing, if it is not about a network.
fn of_network(state: &State, op: &Op, now: Timestamp) -> Result<Decided, Refusal> {
    match op {
        Op::PutNetwork { said, network } => network::put(state, said, network, now),
        Op::RemoveNetwork { said, network } => network::remove(state, said, network, now),
        _ => Ok(Decided::default()),
    }
}

/// Whether a document is news.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Yes,
    /// The same words at the same version are known.
    No,
}

/// Compares a document with the one known: a version only grows, and says one thing.
fn news(state: &State, id: &DocumentId, said: &Said) -> Result<News, Refusal> {
    if said.version == 0 || said.version > i64::MAX as u64 {
        return Err(Refusal::Version { id: id.clone(), version: said.version });
    }
    match state.document(id) {
        None => Ok(News::Yes),
        Some(known) if known.version < said.version => Ok(News::Yes),
        Some(known) if known.version > said.version => {
            Err(Refusal::Stale { id: id.clone(), known: known.version, given: said.version })
        }
        Some(known) if known.body == said.body => Ok(News::No),
        Some(_) => Err(Refusal::OtherWords { id: id.clone(), version: said.version }),
    }
}

/// Bytes as they are named.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes any text");
    }
    text
}
