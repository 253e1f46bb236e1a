//! The comments of firewall rules that stop packets: the names by which reports and expectations refer to them, so that
//! what is expected (`reach`) and what is made (`desire`) can agree without knowing each other.

/// The source's way back does not lead out where the packet came in.
pub const SPOOFED: &str = "source is not from here";
/// The same over IPv4, where a gateway has a rule for each.
pub const SPOOFED_V4: &str = "source is not from here (IPv4)";
/// A source of the gateway's own slot comes from outside.
pub const OWN_SOURCE: &str = "source is from inside";
/// What a workload is called by in its network comes by that.
pub const OTHER_WAY: &str = "its network's address is not called by its own cable";
/// The same over IPv4.
pub const OTHER_WAY_V4: &str = "its network's address is not called by its own cable (IPv4)";
/// Nothing is forwarded between a workload's own cable and its network.
pub const APART: &str = "nothing passes between its own cable and its network";
/// A workload speaks from an address of its link alone.
pub const LINK_LOCAL: &str = "no link-local address speaks here";
/// Counts, and stops nothing itself: an `unreachable` route refuses the packet, of which the kernel has no counter.
pub const NO_WAY: &str = "a route refuses it";
/// The same over IPv4.
pub const NO_WAY_V4: &str = "a route refuses it (IPv4)";
/// Counts what the kernel sends an error for, as no hop is left, and stops what is more than a rate.
pub const LAST_HOP: &str = "its last hop is here";
/// The same over IPv4.
pub const LAST_HOP_V4: &str = "its last hop is here (IPv4)";
/// Last of a guarding chain.
pub const CLOSED: &str = "closed";
/// Last of a resource's forward chain.
pub const NOT_EXPOSED: &str = "not exposed";
/// A private or management address on the way out of the farm.
pub const BOGON_OUT: &str = "no way to private addresses";
/// The same over IPv4.
pub const BOGON_OUT_V4: &str = "no way to private addresses (IPv4)";
/// A private or management address that claims to come from outside.
pub const BOGON_IN: &str = "no private address comes from outside";
/// The same over IPv4.
pub const BOGON_IN_V4: &str = "no private address comes from outside (IPv4)";
/// IPv4 between networks.
pub const TENANTS_V4: &str = "no IPv4 between networks";
/// A protocol that port translation cannot serve.
pub const UNTRANSLATABLE: &str = "this protocol cannot be translated";
/// IPv4 of a network that was granted no ports of its slot's address.
pub const NO_PORTS: &str = "no ports of the slot's address are left for this network";
/// A public IPv4 address that is some network's own, from behind the same gateway.
pub const OWN_INSIDE: &str = "a network's own address is reached from outside alone";
/// A connection more than a network may have at once over IPv4, of those that come in to its own address.
pub const SHARE_IN: &str = "this network's share of IPv4 connections is in use (inward)";
/// A connection more than a network may have at once over IPv4.
pub const SHARE: &str = "this network's share of IPv4 connections is in use";
/// Beyond what a network may send in a second.
pub const BANDWIDTH_SENT: &str = "more than this network may send";
/// Beyond what a network may get in a second.
pub const BANDWIDTH_RECEIVED: &str = "more than this network may get";
/// IPv6 where a node lets out IPv4 alone.
pub const V4_ALONE: &str = "IPv4 alone leaves here";
/// A packet that would leave where it came in.
pub const HAIRPIN: &str = "no way back out where it came in";
/// IPv4 from outside that answers nothing.
pub const UNASKED_V4: &str = "unasked IPv4";
/// Connection tracking cannot place it; NAT would let it out with the address it has.
pub const UNCONNECTED: &str = "belongs to no connection";
