//! What a registry shows of farms: their farmers' words, verified, and who has joined, by each node's own word.
//!
//! Owns: that no name is believed which its owner did not sign. A registry may still keep a farm or a node to itself and show
//! one of its own making that is called the same: so whoever prints a name prints the id beside it.

use std::collections::BTreeSet;

use sixfold_api::limit::WORDS_MAX;
use sixfold_api::resource::{self, Farms};
use sixfold_core::addr::Allocation;
use sixfold_core::id::{FarmId, Label, NodeId, Revision};
use sixfold_core::model::Network;
use sixfold_core::spec::Names;
use sixfold_core::trust::{Delegation, NodeStatement, Owner, Signed};

use super::Caller;
use crate::failed::Failed;

/// A farm, as its farmer signed it.
pub(crate) struct KnownFarm {
    pub(crate) delegation: Delegation,
    pub(crate) version: u64,
    pub(crate) revision: Revision,
    /// The /48s in use, with their numbers: the registry's word.
    pub(crate) allocations: Vec<Allocation>,
    /// Who has joined, in the order of the names that they give themselves.
    pub(crate) nodes: Vec<(NodeId, Label)>,
}

/// Farms, and who is called what in them.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) farms: Vec<KnownFarm>,
    pub(crate) names: Names,
}

impl Caller {
    /// A farm, if there is one.
    pub(crate) fn known_farm(&mut self, id: &FarmId) -> Result<Option<KnownFarm>, Failed> {
        let farm = self.find::<resource::Farm>(&format!("/v1/farms/{id}"))?;
        let Some(farm) = farm.filter(|farm| !farm.deleted) else { return Ok(None) };
        let lie = |what: String| {
            let hint = "ask its operator; nodes believe no more of it than this does";
            Failed::refused(format!("the registry shows farm {id}, and {what}")).hint(Some(hint))
        };
        let delegation: Delegation =
            farm.statement.open().map_err(|error| lie(format!("its statement cannot be used: {error}")))?;
        if delegation.id() != id || !self.is_of(&Owner::farmer(id), farm.statement.key)? {
            return Err(lie("its farmer did not sign it".to_owned()));
        }
        let mut nodes = Vec::new();
        for said in &farm.nodes {
            nodes.push(self.node_of(id, said)?.ok_or_else(|| {
                lie("somebody as its node who did not sign that, or is of another farm".to_owned())
            })?);
        }
        nodes.sort_by(|(id, name), (other, called)| (name, id).cmp(&(called, other)));
        let (version, revision) = (farm.version, farm.revision);
        Ok(Some(KnownFarm { delegation, version, revision, allocations: farm.allocations, nodes }))
    }

    /// A node and what it is called, if it says so itself.
    fn node_of(&mut self, farm: &FarmId, said: &Signed) -> Result<Option<(NodeId, Label)>, Failed> {
        let Ok(statement) = said.open::<NodeStatement>() else { return Ok(None) };
        let NodeStatement { farm: home, name, node, .. } = statement;
        let id = node.id().clone();
        // What a first key said of a name is that node's word, also where it was replaced since.
        let owner = Owner::node(&id);
        let is_its = said.key.id(owner.role) == owner.id || self.is_of(&owner, said.key)?;
        Ok((home == *farm && is_its).then_some((id, name)))
    }

    /// The version that a farm that is not there comes with: after that of the last word on it, if there was one.
    pub(crate) fn version_after(&mut self, id: &FarmId) -> Result<u64, Failed> {
        let before = self.find::<resource::Farm>(&format!("/v1/farms/{id}"))?;
        Ok(before.map_or(1, |farm| farm.version.saturating_add(1)))
    }

    /// All farms, and who is called what.
    pub(crate) fn known(&mut self) -> Result<Known, Failed> {
        let list: Farms = self.get("/v1/farms")?;
        self.listed(list.farms.into_iter().map(|named| named.id.into()).collect())
    }

    /// The farms that are meant by a word, or have a node that is meant by one of some.
    pub(crate) fn known_by(&mut self, farm: Option<&Label>, nodes: &[Label]) -> Result<Known, Failed> {
        let mut queries: Vec<String> = farm.iter().map(|word| format!("name={word}")).collect();
        for words in nodes.chunks(WORDS_MAX) {
            let words: Vec<&str> = words.iter().map(Label::as_str).collect();
            queries.push(format!("node={}", words.join(",")));
        }
        let mut ids = BTreeSet::new();
        for query in queries {
            let list: Farms = self.get(&format!("/v1/farms?{query}"))?;
            ids.extend(list.farms.into_iter().map(|named| FarmId::from(named.id)));
        }
        self.listed(ids)
    }

    /// The farms that a network uses.
    pub(crate) fn known_of(&mut self, network: &Network) -> Result<Known, Failed> {
        let nodes: Vec<Label> = network.nodes().iter().map(|node| node.clone().into()).collect();
        self.known_by(Some(&network.exit().farm.clone().into()), &nodes)
    }

    fn listed(&mut self, ids: BTreeSet<FarmId>) -> Result<Known, Failed> {
        let (mut farms, mut names) = (Vec::new(), Names::default());
        for id in ids {
            // One that is gone since the list was made is none.
            let Some(farm) = self.known_farm(&id)? else { continue };
            farm.add_to(&mut names);
            farms.push(farm);
        }
        Ok(Known { farms, names })
    }
}

impl KnownFarm {
    pub(crate) fn id(&self) -> &FarmId {
        self.delegation.id()
    }

    /// Adds what is called what in it.
    pub(crate) fn add_to(&self, names: &mut Names) {
        let slots = self.delegation.with_nodes(Vec::new()).slots.into_iter().map(|slot| slot.key);
        names.add(self.id().clone(), self.delegation.name().clone(), slots, self.nodes.iter().cloned());
    }

    /// What is called what in it.
    pub(crate) fn names(&self) -> Names {
        let mut names = Names::default();
        self.add_to(&mut names);
        names
    }
}
