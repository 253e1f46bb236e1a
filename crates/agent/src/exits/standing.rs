//! Which of a slot's next hops a node's gateway is, by what its kernel has: with an agent or without, that is what it forwards as.
//!
//! Owns: reading that off a state. Must not decide anything by it.

use std::collections::BTreeMap;

use sixfold_core::addr::Gateway;
use sixfold_core::model::SlotKey;
use sixfold_core::state::{AddressKey, Netns, NodeState};
use sixfold_core::tenure::Duty;

/// Which next hops a gateway is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// The first, by which IPv4 goes too: its link is up by any hardware address but the second's.
    pub first: bool,
    /// The second: its link is up and has that address.
    pub second: bool,
}

impl Standing {
    /// As it was seen.
    #[must_use]
    pub fn of(state: &NodeState, gateway: &Gateway) -> Self {
        let Some(there) = state.namespaces.get(&Netns::Named(gateway.netns)) else { return Self::default() };
        let Some(link) = there.links.get(&gateway.public).filter(|link| link.up) else {
            return Self::default();
        };
        let second = AddressKey { link: gateway.public, address: gateway.second_address.into() };
        Self { first: link.mac != Some(gateway.second_mac), second: there.addresses.contains_key(&second) }
    }
}

/// What a node is for its exit slots, where that is not what its snapshot says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// What it does for those of which a registry says who holds them.
    pub duties: BTreeMap<SlotKey, Duty>,
    /// Whether it is the second next hop of those that have two.
    pub seconds: BTreeMap<SlotKey, bool>,
}
