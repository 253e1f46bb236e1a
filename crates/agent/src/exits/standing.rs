//! Which of a slot's next hops a node's gateway is, by what its kernel has: with an agent or without, that is what it forwards as.
//!
//! Owns: reading that off a state. Must not decide anything by it.

use sixfold_core::addr::Gateway;
use sixfold_core::state::{AddressKey, Netns, NodeState};

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
        let second = AddressKey::new(gateway.public, gateway.second_address.into());
        Self { first: link.mac != Some(gateway.second_mac), second: there.addresses.contains_key(&second) }
    }
}
