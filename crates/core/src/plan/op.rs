//! Operations: what a plan is made of. Each is idempotent, leaves no choice to the hand that applies it, and prints
//! as the line a sysadmin would type (see `display`).

use serde::{Deserialize, Serialize};

use super::Stage;
use crate::mac::Mac;
use crate::name::IfName;
use crate::state::{
    AddressKey, Chain, ChainName, Device, ElementKey, Home, Link, NeighbourKey, Netns, Nexthop, NexthopId,
    Peer, PeerKey, RouteKey, RouteTarget, Set, SetName, SysctlName,
};

/// One operation in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When: see [`Stage`].
    pub stage: Stage,
    /// Where.
    pub netns: Netns,
    /// What.
    pub op: Op,
}

/// What is done. Adding what is there as desired, and deleting what is not there, is done already: no error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// Makes the namespace and sets its loopback up.
    AddNetns,
    /// Removes the namespace with all in it.
    DelNetns,
    /// Writes a sysctl.
    SetSysctl {
        /// Which.
        name: SysctlName,
        /// The value, as the kernel prints it.
        value: String,
    },
    /// Makes the table `inet sixfold`, empty.
    AddTable,
    /// Deletes the table with all in it.
    DelTable,
    /// Makes a set, empty.
    AddSet {
        /// Its name.
        name: SetName,
        /// Its kind.
        set: Set,
    },
    /// Deletes a set that no rule refers to.
    DelSet {
        /// Its name.
        name: SetName,
    },
    /// Puts an element into a set.
    AddElement(ElementKey),
    /// Takes an element out of a set.
    DelElement(ElementKey),
    /// Makes a base chain if it is not there, and replaces its rules.
    SetChain {
        /// Its name.
        name: ChainName,
        /// Hook and rules.
        chain: Chain,
    },
    /// Deletes a chain with its rules.
    DelChain {
        /// Its name.
        name: ChainName,
    },
    /// Makes a link, down. A veth's other end comes with it, down too. A NIC of the host's is moved from there.
    AddLink {
        /// Its name.
        name: IfName,
        /// What it shall be; `up` is a step of its own.
        link: Link,
        /// What a veth's other end shall be (its place is in `link.kind`).
        peer: Option<Link>,
    },
    /// Deletes a link, and a veth's other end with it.
    DelLink {
        /// Its name.
        name: IfName,
    },
    /// Moves a NIC home, into the host's namespace: there it is as it was before it was taken, and not ours any more.
    ReturnNic {
        /// Its name where it is.
        name: IfName,
        /// Its name at home.
        nic: IfName,
        /// How it was there, if that is known.
        home: Option<Home>,
    },
    /// Sets a link up or down.
    SetUp {
        /// The link.
        name: IfName,
        /// Up or down.
        up: bool,
    },
    /// Sets a link's MTU.
    SetMtu {
        /// The link.
        name: IfName,
        /// In bytes.
        mtu: u16,
    },
    /// Sets a link's hardware address.
    SetMac {
        /// The link.
        name: IfName,
        /// The address.
        mac: Mac,
    },
    /// Puts an address on a link, without duplicate address detection.
    AddAddress(AddressKey),
    /// Takes an address off a link.
    DelAddress(AddressKey),
    /// Gives a device its key and port. The private key comes from the key store at this moment.
    SetDevice {
        /// The device's link.
        link: IfName,
        /// Key and port.
        device: Device,
    },
    /// Has the tunnel process let go of a device.
    DelDevice {
        /// The device's link.
        link: IfName,
    },
    /// Makes or changes one peer and no other.
    SetPeer {
        /// Which.
        key: PeerKey,
        /// What the device shall know of it.
        peer: Peer,
    },
    /// Removes one peer.
    DelPeer(PeerKey),
    /// Makes or replaces a nexthop object.
    SetNexthop {
        /// Its number.
        id: NexthopId,
        /// Router and link.
        nexthop: Nexthop,
    },
    /// Deletes a nexthop object, and the routes over it.
    DelNexthop {
        /// Its number.
        id: NexthopId,
    },
    /// Makes or replaces a route.
    SetRoute {
        /// Destination and metric.
        key: RouteKey,
        /// Where to.
        target: RouteTarget,
    },
    /// Deletes a route.
    DelRoute {
        /// Destination and metric.
        key: RouteKey,
    },
    /// Makes or replaces a permanent neighbour.
    SetNeighbour {
        /// Link and address.
        key: NeighbourKey,
        /// Its hardware address.
        mac: Mac,
    },
    /// Deletes a neighbour.
    DelNeighbour(NeighbourKey),
}
