//! Who asks, and whose what they ask for is.
//!
//! Owns: the ids of a key, and the relation of each to an object. Must not decide what follows from it: `allow` does.

use sixfold_api::event::Happened;
use sixfold_core::id::{FarmId, NetworkId, NodeId, TenantId};
use sixfold_core::trust::{self, Owner, VerifyingKey};

use crate::http::allow::{Object, Role, Thing, Whose};
use crate::http::read;
use crate::service::State;
use crate::store::DocumentId;

/// What is asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) enum Subject {
    Nothing,
    Farm(FarmId),
    Node(NodeId),
    Tenant(TenantId),
    Network(NetworkId),
    Owner(Owner),
}

/// Whoever asks.
#[derive(Debug, Clone)]
pub(in crate::http) enum Caller {
    Nobody,
    Key(Box<Ids>),
}

/// What a key is, in each capacity it can ask in.
#[derive(Debug, Clone)]
pub(in crate::http) struct Ids {
    pub(in crate::http) tenant: Option<TenantId>,
    pub(in crate::http) farm: Option<FarmId>,
    pub(in crate::http) node: Option<NodeId>,
    admin: bool,
}

impl Ids {
    pub(in crate::http) fn of(key: &VerifyingKey, admin: Option<&VerifyingKey>, state: &State) -> Self {
        let id = |role| state.owner_of(role, key).map(|owner| owner.id);
        Self {
            tenant: id(trust::Role::Tenant).map(TenantId::from),
            farm: id(trust::Role::Farmer).map(FarmId::from),
            node: id(trust::Role::Node).map(NodeId::from),
            admin: admin == Some(key),
        }
    }

    /// Whether anything is registered under it.
    pub(in crate::http) fn is_known(&self, state: &State) -> bool {
        let said = |id: &DocumentId| state.document(id).is_some_and(|kept| !kept.gone);
        self.admin
            || self.node.as_ref().map(DocumentId::node).as_ref().is_some_and(said)
            || self.farm.as_ref().map(DocumentId::farm).as_ref().is_some_and(said)
            || self.tenant.as_ref().is_some_and(|tenant| state.ledger().count_of(tenant) > 0)
    }

    /// Whether it concerns it: its own networks, its own farm, itself; the operator, everything.
    pub(in crate::http) fn hears_of(&self, what: &Happened) -> bool {
        self.admin
            || what.farm.is_some() && what.farm == self.farm
            || what.node.is_some() && what.node == self.node
            || what.network.as_ref().is_some_and(|network| self.is_tenant(&network.tenant))
    }

    fn whose(&self, role: Role, subject: &Subject, state: &State) -> Whose {
        let own = match (role, subject) {
            (Role::Farmer, Subject::Farm(farm)) => Some(farm) == self.farm.as_ref(),
            (Role::Farmer, Subject::Node(node)) => self.is_home_of(node, state),
            (Role::Farmer, Subject::Network(network)) => {
                nodes_of(network, state).iter().any(|node| self.is_home_of(node, state))
            }
            (Role::Node, Subject::Node(node)) => Some(node) == self.node.as_ref(),
            (Role::Node, Subject::Network(network)) => {
                self.node.as_ref().is_some_and(|node| nodes_of(network, state).contains(node))
            }
            (Role::Tenant, Subject::Tenant(tenant)) => self.is_tenant(tenant),
            (Role::Tenant, Subject::Network(network)) => self.is_tenant(&network.tenant),
            (role, Subject::Owner(owner)) => self.is_owner(role, owner),
            // What it hears of is what concerns it.
            (_, Subject::Nothing) => true,
            _ => false,
        };
        if own { Whose::Own } else { Whose::Others }
    }

    fn is_tenant(&self, tenant: &TenantId) -> bool {
        self.tenant.as_ref() == Some(tenant)
    }

    fn is_owner(&self, role: Role, owner: &Owner) -> bool {
        let is = |own: Option<&str>| own == Some(owner.id.as_str());
        match (role, owner.role) {
            (Role::Tenant, trust::Role::Tenant) => is(self.tenant.as_ref().map(TenantId::as_str)),
            (Role::Farmer, trust::Role::Farmer) => is(self.farm.as_ref().map(FarmId::as_str)),
            (Role::Node, trust::Role::Node) => is(self.node.as_ref().map(NodeId::as_str)),
            _ => false,
        }
    }

    fn is_home_of(&self, node: &NodeId, state: &State) -> bool {
        self.farm.is_some() && read::farm_of(state, node) == self.farm
    }
}

impl Caller {
    /// The roles it can ask in, and whose the subject is in each.
    pub(in crate::http) fn objects(
        &self,
        thing: Thing,
        subject: &Subject,
        state: &State,
    ) -> Vec<(Role, Object)> {
        let Self::Key(ids) = self else {
            return vec![(Role::Anonymous, Object { thing, whose: Whose::Others })];
        };
        let admin = ids.admin.then_some(Role::Admin);
        let roles = [Role::Tenant, Role::Farmer, Role::Node].into_iter().chain(admin);
        roles.map(|role| (role, Object { thing, whose: ids.whose(role, subject, state) })).collect()
    }
}

/// The nodes that a network has a resource on, the exit point's among them.
fn nodes_of(network: &NetworkId, state: &State) -> Vec<NodeId> {
    let Some(network) = state.world().network(network) else { return Vec::new() };
    let exit = network.exit();
    let holder = state.world().farm(&exit.farm).and_then(|farm| farm.slot(exit.key()));
    network.nodes().iter().chain(holder.map(|slot| slot.holder())).cloned().collect()
}
