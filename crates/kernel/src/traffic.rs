//! What a link counted of what it carried: numbers only, which nothing is planned by.

use crate::nft::Counter;

/// Both ways of a link, since it is there. Bytes are from the network header on, as the firewall counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkTraffic {
    /// What came in by it.
    pub received: Counter,
    /// Of this, over IPv6.
    pub received_v6: Counter,
    /// What went out by it. Of how much of that is IPv6, kernels tell at places that differ.
    pub sent: Counter,
}
