//! What a registry shows of farms: their farmers' words, verified, and who has joined.

use sixfold_api::resource::{self, Farms};
use sixfold_core::addr::Allocation;
use sixfold_core::id::{FarmId, Label, NodeId, Revision};
use sixfold_core::spec::Names;
use sixfold_core::trust::{Delegation, Owner};

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

/// All farms.
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
        let mut nodes: Vec<(NodeId, Label)> =
            farm.nodes.into_iter().map(|named| (named.id.into(), named.name)).collect();
        nodes.sort_by(|(id, name), (other, called)| (name, id).cmp(&(called, other)));
        let (version, revision) = (farm.version, farm.revision);
        Ok(Some(KnownFarm { delegation, version, revision, allocations: farm.allocations, nodes }))
    }

    /// The version that a farm that is not there comes with: after that of the last word on it, if there was one.
    pub(crate) fn version_after(&mut self, id: &FarmId) -> Result<u64, Failed> {
        let before = self.find::<resource::Farm>(&format!("/v1/farms/{id}"))?;
        Ok(before.map_or(1, |farm| farm.version.saturating_add(1)))
    }

    /// All farms, and who is called what.
    pub(crate) fn known(&mut self) -> Result<Known, Failed> {
        let list: Farms = self.get("/v1/farms")?;
        let (mut farms, mut names) = (Vec::new(), Names::default());
        for named in list.farms {
            // One that is gone since the list was made is none.
            let Some(farm) = self.known_farm(&FarmId::from(named.id))? else { continue };
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
