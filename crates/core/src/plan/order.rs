//! The order of a plan: create closed and advertise last, take away in reverse.

use serde::{Deserialize, Serialize};

/// When a step is done. All steps of a stage, in all namespaces, come before the next stage's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// What the outside reaches goes down first: an address that is taken away stops nobody who knows its neighbour.
    Fence,
    /// Routes and nexthops: nothing is drawn to what is about to vanish.
    Withdraw,
    /// Then peers and devices: nothing arrives any more, and the tunnel process lets go of its descriptors, which
    /// would keep a namespace alive.
    Disconnect,
    /// Then neighbours, addresses and links.
    Dismantle,
    /// `unreachable` routes last of all routes: while anything they cover was there, they lay underneath.
    Uncover,
    /// Namespaces with what is left in them.
    RemoveNetns,
    /// Building begins: namespaces.
    AddNetns,
    /// Sysctls before links: a link takes its namespace's defaults when it enters.
    Sysctl,
    /// The firewall before any link that it guards; one transaction for each namespace.
    Firewall,
    /// `unreachable` routes before anything that they cover.
    Cover,
    /// Links, down.
    Link,
    /// Addresses on links that are still down: nothing is announced yet.
    Address,
    /// WireGuard keys and peers: on a link that is still down nothing can be sent.
    Connect,
    /// Links up: after the firewall, before routes, which need a link that is up.
    Up,
    /// Permanent neighbours: setting a link up would have flushed them.
    Neighbour,
    /// Nexthop objects: the kernel makes them only where there is carrier.
    Nexthop,
    /// Routes last: only now is traffic drawn.
    Route,
}

impl Stage {
    /// What the stage does and why it comes here, for the plan's comments.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Fence => "cut off from the outside what goes, before anything else",
            Self::Withdraw => "withdraw routes, so that nothing is drawn to what goes",
            Self::Disconnect => "disconnect peers and devices",
            Self::Dismantle => "take down neighbours, addresses and links",
            Self::Uncover => "remove unreachable routes after all that they covered",
            Self::RemoveNetns => "remove namespaces with what is left in them",
            Self::AddNetns => "make namespaces",
            Self::Sysctl => "set sysctls before links, which inherit them",
            Self::Firewall => "close the firewall before any link is made",
            Self::Cover => "lay unreachable routes under everything granted",
            Self::Link => "make links, down",
            Self::Address => "give addresses while nothing is announced",
            Self::Connect => "give WireGuard its keys and peers",
            Self::Up => "set links up",
            Self::Neighbour => "fix neighbours, which setting up would have flushed",
            Self::Nexthop => "make nexthops, which need carrier",
            Self::Route => "draw traffic last",
        }
    }
}
