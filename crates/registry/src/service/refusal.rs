//! Why a request is not done, and what to do about it.
//!
//! Owns: the reasons. Nothing is written of what is refused.

use sixfold_core::allocate::AllocateError;
use sixfold_core::check::Violation;
use sixfold_core::id::{Generation, Label, NodeId, Revision, TenantId};
use sixfold_core::model::{Found, ResourceKey, SlotKey};
use sixfold_core::tenure;

use super::limit;
use crate::store::{DocumentId, StoreError};

/// Why the registry does not do what it is asked, told from what it has. The same request gets the same reason until
/// something changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What is asked for cannot be.
    #[error("{}", words(.0))]
    Invalid(Vec<Found>),
    /// There are no prefixes for it.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    /// An invariant would not hold any more.
    #[error("{}", words_of(.0))]
    Violated(Vec<Violation>),
    /// A later version is known.
    #[error("{id} is at version {known}, and this is version {given}")]
    Stale {
        /// What.
        id: DocumentId,
        /// The version known.
        known: u64,
        /// The version given.
        given: u64,
    },
    /// The same version with other words is known.
    #[error("{id} is known at version {version} with other words")]
    OtherWords {
        /// What.
        id: DocumentId,
        /// The version.
        version: u64,
    },
    /// A version that is none.
    #[error("{version} is no version of {id}")]
    Version {
        /// What.
        id: DocumentId,
        /// The version given.
        version: u64,
    },
    /// There is no such thing.
    #[error("there is no {0}")]
    Unknown(DocumentId),
    /// The resource is not the node's, or not there.
    #[error("node {node} has no resource {} of allocation {}", resource.index, resource.number)]
    NotSeated {
        /// The node that spoke.
        node: NodeId,
        /// The resource it spoke of.
        resource: ResourceKey,
    },
    /// The resource is of another grant by now.
    #[error("{} of allocation {} is at generation {current}, and this is of generation {given}", resource.index, resource.number)]
    Generation {
        /// The resource.
        resource: ResourceKey,
        /// The generation given.
        given: Generation,
        /// The generation in force.
        current: Generation,
    },
    /// A farm does not have the slot.
    #[error("farm {farm} has no exit slot {slot}")]
    NoSlot {
        /// The farm.
        farm: sixfold_core::id::FarmId,
        /// The slot.
        slot: SlotKey,
    },
    /// The slot stays as it is.
    #[error("exit slot {slot}: {why}")]
    Tenure {
        /// The slot.
        slot: SlotKey,
        /// Why.
        why: tenure::Refused,
    },
    /// A node is of another farm.
    #[error("node {node} is in farm {farm}")]
    OtherFarm {
        /// The node.
        node: NodeId,
        /// Its farm.
        farm: sixfold_core::id::FarmId,
    },
    /// Nobody joins without a token.
    #[error("node {node} is in no farm yet, and joins with a token only")]
    NoToken {
        /// The node.
        node: NodeId,
    },
    /// A farm, or an allocation of one, that the operator invited nobody for.
    #[error("{}", uninvited(.allocation))]
    Uninvited {
        /// The allocation, if there is one.
        allocation: Option<ipnet::Ipv6Net>,
    },
    /// A farm that somebody uses.
    #[error("farm {farm} is in use: {nodes} nodes are in it, and {networks} networks on them")]
    InUse {
        /// The farm.
        farm: sixfold_core::id::FarmId,
        /// Its nodes.
        nodes: usize,
        /// Networks that have a resource on one.
        networks: usize,
    },
    /// A token lets one in.
    #[error("this token was used already")]
    TokenUsed,
    /// All numbers of allocations are given, and none is ever given twice.
    #[error("there is no number left for allocation {prefix}")]
    NoNumber {
        /// The allocation.
        prefix: ipnet::Ipv6Net,
    },
    /// The key is another request's.
    #[error("{who} has used the key {key} for another request")]
    OtherRequest {
        /// Who.
        who: Label,
        /// The key.
        key: String,
    },
    /// It would take much away, and its owner has not said that this is meant.
    #[error("{}", breaker(*.taken, .node, .farm))]
    Breaker {
        /// The node that would lose the most, if it is about a node.
        node: Option<NodeId>,
        /// The farm that would be left empty, if it is about a farm.
        farm: Option<sixfold_core::id::FarmId>,
        /// How many resources one node would lose at most.
        taken: u64,
        /// What a confirmation has to name.
        change: [u8; 32],
    },
    /// It is signed by a key that was replaced meanwhile.
    #[error("the key that signed it is not the newest of {owner}")]
    Replaced {
        /// Whose.
        owner: sixfold_core::trust::Owner,
    },
    /// With a replaced key something is missing that the old one signed.
    #[error("{id} is still signed by the key that is replaced")]
    OldKey {
        /// What.
        id: DocumentId,
    },
    /// With a replaced key something is said that is not in force as it is said.
    #[error("{id} is not what is known, in a later version")]
    NotAgain {
        /// What.
        id: DocumentId,
    },
    /// A tenant has given too many names.
    #[error(
        "tenant {tenant} has given {} names to networks, as many as a tenant may",
        limit::NAMES_PER_TENANT
    )]
    Names {
        /// Who.
        tenant: TenantId,
    },
    /// A tenant has said too much.
    #[error(
        "what tenant {tenant} says of its networks would be {bytes} bytes, more than {}",
        limit::BYTES_PER_TENANT
    )]
    Bytes {
        /// Who.
        tenant: TenantId,
        /// Bytes with this.
        bytes: usize,
    },
    /// A farm has let in too many.
    #[error(
        "farm {farm} has let in {} nodes since it was made, as many as a farm may",
        limit::JOINS_PER_FARM
    )]
    Joins {
        /// Which.
        farm: sixfold_core::id::FarmId,
    },
    /// More bytes than a document has.
    #[error("a document of {bytes} bytes is longer than {}", limit::DOCUMENT_BYTES_MAX)]
    TooLong {
        /// Bytes given.
        bytes: usize,
    },
}

fn words(found: &[Found]) -> String {
    told(found.iter().map(|found| &found.fault))
}

fn words_of(found: &[Violation]) -> String {
    told(found.iter())
}

/// The first of them: there may be thousands, and nobody reads more.
fn told<T: ToString>(found: impl ExactSizeIterator<Item = T>) -> String {
    let more = found.len().saturating_sub(limit::FAULTS_TOLD);
    let mut words: Vec<String> = found.take(limit::FAULTS_TOLD).map(|found| found.to_string()).collect();
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    words.join("; ")
}

fn uninvited(allocation: &Option<ipnet::Ipv6Net>) -> String {
    match allocation {
        Some(prefix) => {
            format!("this registry takes allocation {prefix} by an invitation that names it only")
        }
        None => "this registry knows no such farm, and takes a new one by an invitation only".to_owned(),
    }
}

fn breaker(taken: u64, node: &Option<NodeId>, farm: &Option<sixfold_core::id::FarmId>) -> String {
    match (farm, node) {
        (Some(farm), _) => format!("farm {farm} would be left empty"),
        (None, Some(node)) => format!("node {node} would lose {taken} resources at once"),
        (None, None) => format!("a node would lose {taken} resources at once"),
    }
}

impl Refusal {
    /// What to do about it, in one line; empty where the words say it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Invalid(found) => found.first().map(|found| found.fault.hint()).unwrap_or_default(),
            Self::Allocate(error) => error.hint().to_owned(),
            Self::Violated(found) => found.first().map(Violation::hint).unwrap_or_default(),
            Self::Stale { known, .. } => format!("read what is known, and sign it as version {}", known + 1),
            Self::OtherWords { version, .. } => format!("sign it as version {}", version + 1),
            Self::Version { .. } => "versions are counted from 1".to_owned(),
            Self::Unknown(_) => "look at what there is".to_owned(),
            Self::NotSeated { .. } | Self::Generation { .. } => "take the newest snapshot first".to_owned(),
            Self::NoSlot { .. } => "look at the farm's slots".to_owned(),
            Self::Tenure { why, .. } => hint_of_tenure(why).to_owned(),
            Self::OtherFarm { .. } => "a node leaves one farm before it joins another".to_owned(),
            Self::NoToken { .. } => "ask the farm's operator for a token".to_owned(),
            Self::Uninvited { allocation } => {
                let prefix = allocation.map_or_else(|| "PREFIX".to_owned(), |prefix| prefix.to_string());
                format!("ask its operator for what `sixfold farm invite {prefix}` prints")
            }
            Self::InUse { .. } => {
                "its nodes leave first: `sixfold node leave` on each, or `sixfold node remove` by its farmer"
                    .to_owned()
            }
            Self::TokenUsed => "a token lets one in, once: ask for another".to_owned(),
            Self::NoNumber { .. } => {
                "this registry takes no further allocation: begin another one".to_owned()
            }
            Self::OtherRequest { .. } => "give each request a key of its own".to_owned(),
            Self::Breaker { .. } => "if it is meant, confirm exactly this change and sign that".to_owned(),
            Self::Replaced { .. } => "sign it by the key that came after".to_owned(),
            Self::OldKey { .. } => {
                "sign it again by the new key, one version later, and send all of it together".to_owned()
            }
            Self::NotAgain { .. } => {
                "replace the key first, with all that is known as it is; say what is new after that"
                    .to_owned()
            }
            Self::Names { .. } => "use the name of a network that was deleted again".to_owned(),
            Self::Bytes { .. } => "say less in some of them, or delete some".to_owned(),
            Self::Joins { .. } => "a node that comes again with its key needs no new token".to_owned(),
            Self::TooLong { .. } => "say less in one document".to_owned(),
        }
    }
}

fn hint_of_tenure(why: &tenure::Refused) -> &'static str {
    use tenure::Refused::{Moving, Nobody, NotListed, NotReady, Older, Settled};
    match why {
        Settled { .. } => "nothing has to be done",
        Moving { .. } => "wait until it is there: `sixfold exit status`",
        Nobody { .. } | NotReady { .. } => "look at the nodes that may hold it: `sixfold exit status`",
        NotListed { .. } => "name the node among the slot's holders in the farm file, and apply that",
        Older(_) => "take the newest snapshot first",
    }
}

/// Why a request has no answer but this.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failed {
    /// It is refused, and nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many requests wait. Nothing was written.
    #[error("{} requests wait already", limit::WAITING_MAX)]
    Busy,
    /// Too many requests of one asker wait. Nothing was written.
    #[error("{} requests of {who} wait already", limit::WAITING_PER_ASKER)]
    Crowded {
        /// Who.
        who: Label,
    },
    /// The disk is full. Nothing was written.
    #[error("the registry's disk is full: nothing is written, and reading goes on")]
    DiskFull,
    /// Somebody else writes to the same store. Nothing was written.
    #[error("somebody else writes to the registry's store")]
    Contended,
    /// The store would not have it. Nothing was written.
    #[error("the store refuses what was computed: {what}")]
    Defect {
        /// The store's words, or the invariant.
        what: String,
    },
    /// The writer gives no answer in time. Nothing was asked of it.
    #[error("the registry's disk takes long to write")]
    Slow,
    /// It may have been done, or not.
    #[error("it is not known whether this was written")]
    Unknown,
    /// The store is from before what nodes were told. Nothing was written.
    #[error("the registry was set back: its store is at revision {own}, and nodes were told revision {told}")]
    SetBack {
        /// The store's.
        own: Revision,
        /// The highest that is known to have been told.
        told: Revision,
    },
    /// The registry does not write any more.
    #[error("the registry has stopped writing: its store failed")]
    Stopped,
}

impl Failed {
    /// What to do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Refused(refusal) => return refusal.hint(),
            Self::Busy | Self::Crowded { .. } => "ask again in a moment, with the same key",
            Self::DiskFull => "make room on the registry's disk, and ask again with the same key",
            Self::Contended => "stop the second registry: one store has one",
            Self::Defect { .. } => {
                "this is a defect of the registry, not of what was asked; nothing was written"
            }
            Self::Slow => "its operator looks at the disk",
            Self::Unknown => "ask again with the same key: what was done is answered, what was not is done",
            Self::SetBack { told, .. } => {
                return format!(
                    "its operator stops it and restores a newer backup; if there is none: `sixfold registry advance --past {told}`"
                );
            }
            Self::Stopped => {
                "its operator looks at the disk and restarts it; ask again then, with the same key"
            }
        };
        hint.to_owned()
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::DiskFull,
            StoreError::Conflict { .. } => Self::Contended,
            StoreError::Refused { what } => Self::Defect { what },
            _ => Self::Unknown,
        }
    }
}
