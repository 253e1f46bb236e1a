//! Every bound in the system, each with its reason.
//!
//! Owns: numbers only. Must not import anything of ours: everything may depend on this file.

/// Bytes in a label (farm, node, tenant, network, workload): a label is also one DNS label (RFC 1035, 2.3.4).
pub const LABEL_MAX: usize = 63;

/// Bytes in an interface name: the kernel's `IFNAMSIZ` less its closing zero.
pub const IFNAME_MAX: usize = 15;

/// Bytes in a namespace name: twice what our longest (`load-ffff-65535-254`) needs, and a short path under `/run`.
pub const NETNS_NAME_MAX: usize = 32;

/// The first grantable prefix index: everything below is PrefixZero.
pub const INDEX_FIRST: u16 = 0x1000;

/// One past the last grantable prefix index: the IPv4 of `0xff00` and up lies in the WireGuard range 10.255.0.0/16.
pub const INDEX_END: u16 = 0xff00;

/// Bytes in a file a person wrote: a thousand nodes fit, and a wrong file is refused before it is read as TOML.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Farms in one world: farms check each other's allocations for overlap, and people know each other's farms.
pub const FARMS_MAX: usize = 1024;

/// Networks in one world: as many as indices of one allocation, which one registry is built for.
pub const NETWORKS_MAX: usize = 65_536;

/// Allocations of one farm: an operator has a handful; each is compared with every other one.
pub const ALLOCATIONS_PER_FARM: usize = 64;

/// Nodes of one farm: each may hold a resource of each network, and a /52 slice has this many prefixes.
pub const NODES_PER_FARM: usize = 4096;

/// Exit slots of one farm: one per node that a farm may have.
pub const SLOTS_PER_FARM: usize = 4096;

/// Ports of a node's own services in `public`: elements of nft sets; past that it is no node any more.
pub const SERVICES_PER_NODE: usize = 256;

/// NICs of a node that are moved to where they serve: a card has some hundred virtual functions at most.
pub const NICS_PER_NODE: usize = 256;

/// Holders of one exit slot: one serves and the others wait; past a few the list is a mistake.
pub const HOLDERS_PER_SLOT: usize = 16;

/// Management prefixes of one farm: elements of one nft set in every gateway.
pub const MANAGEMENT_PER_FARM: usize = 256;

/// Nodes of one network: its slot has 4,096 indices, of which the exit point takes one.
pub const NODES_PER_NETWORK: usize = 4095;

/// Workloads of one network resource: host numbers 2 to 254 of its 10.h.l.0/24.
pub const WORKLOADS_PER_RESOURCE: usize = 253;

/// Exposed ports of one network: elements of one nft set in the resources that host them.
pub const EXPOSURES_PER_NETWORK: usize = 4096;

/// Ports of its own public IPv4 address that one network forwards: whoever serves more has an address for a workload alone.
pub const FORWARDS_PER_NETWORK: usize = 256;

/// Public IPv4 addresses that one slot has for tenants: a /24's worth. At most 63 networks of a slot speak IPv4.
pub const POOL_PER_SLOT: usize = 256;

/// Smallest MTU of any link, in bytes: IPv6 forbids less (RFC 8200, 5).
pub const MTU_MIN: u16 = 1280;

/// Bytes that WireGuard adds to a packet over IPv6: 40 (IPv6) + 8 (UDP) + 32 (header and tag).
pub const WIREGUARD_OVERHEAD: u16 = 80;

/// Bytes that WireGuard adds to a packet over IPv4: 20 (IPv4) + 8 (UDP) + 32 (header and tag).
pub const WIREGUARD_OVERHEAD_V4: u16 = 60;

/// Smallest MTU of a node's NIC, in bytes: what is left for a tunnel over IPv6 must be no less than [`MTU_MIN`].
pub const NIC_MTU_MIN: u16 = MTU_MIN + WIREGUARD_OVERHEAD;

/// The UDP port of nodes that tell each other who holds an exit slot: past all indices, which devices ask for as ports, and past
/// those that kernels choose from.
pub const GOSSIP_PORT: u16 = 0xff6f;

/// Bytes of what a node tells another, whatever it says: a signed tenure of the longest names is 246 bytes. So an answer is as long as what it
/// is an answer to.
pub const GOSSIP_BYTES: usize = 256;

/// Datagrams a second that a node lets in of those who may ask it who holds a slot: four thousand nodes that ask each twenty
/// seconds are two hundred.
pub const GOSSIP_PER_SECOND: u32 = 400;

/// Seconds between WireGuard keepalives where a NAT needs them: under the 30 s after which the strictest NATs forget UDP.
pub const KEEPALIVE_SECS: u16 = 20;

/// Bytes of one node's snapshot: 4,096 resources of a few thousand peers in all, with room; more is refused unread.
pub const SNAPSHOT_BYTES_MAX: usize = 64 << 20;

/// Prefixes of one tenant, those in quarantine included: one slot's worth, so that no tenant fills a second one unasked.
pub const PREFIXES_PER_TENANT: usize = 4096;

/// The first port that networks may speak IPv4 from: the ones below are those of services.
pub const PORT_FIRST: u16 = 1024;

/// Ports of a slot's IPv4 address for each of its networks, unless its farmer says more: 63 networks fit beside each other. It is
/// the least, since that many networks' connections are what a kernel tracks.
pub const PORTS_PER_NETWORK: u16 = 1024;

/// The most: three networks fit beside each other. Beyond [`CONNECTIONS_PER_NETWORK`] ports give a network no more connections.
pub const PORTS_PER_NETWORK_MAX: u16 = 16_384;

/// IPv4 connections that a network may have at once at its gateway, whatever ports it has: as many for each of the 63 blocks of ports
/// there are, and some for the gateway itself, make up the 262,144 that a kernel tracks in a namespace unless told otherwise.
pub const CONNECTIONS_PER_NETWORK: u32 = 4096;

/// The same where a node lets networks out itself: as many of 252 networks make up what a kernel tracks.
pub const CONNECTIONS_AT_A_NODE: u32 = 1024;

/// Tenants that a slot has ports and pool addresses for, unless its farmer says otherwise: each may have one part in so many of both.
pub const TENANTS_PER_SLOT: usize = 4;

/// The least bandwidth that a network is limited to, in thousand bits a second: a modem's. What says less is a mistake.
pub const BANDWIDTH_KBITS_MIN: u64 = 64;

/// The most (100 Gbit/s): the kernel reckons in nanoseconds of 64 bits, which end at some 147.
pub const BANDWIDTH_KBITS_MAX: u64 = 100_000_000;

/// Networks of one slot with a bandwidth of their own: a slot has as many indices.
pub const BANDWIDTHS_PER_SLOT: usize = 4096;

/// Seconds that a released prefix rests at most (7 days): a node that was away for longer starts from its snapshot anew.
pub const QUARANTINE_SECS: u64 = 7 * 24 * 60 * 60;

/// Seconds that a join token or an invitation may be good (31 days, and one for clocks that differ): a machine that was
/// ordered today is there in a month. A registry remembers those that were used for as long.
pub const TOKEN_SECS_MAX: u64 = 32 * 24 * 60 * 60;

/// Bytes of one signed statement: what fits in a file that a person wrote fits in here.
pub const STATEMENT_BYTES_MAX: usize = FILE_BYTES_MAX;

/// Rotations of one key: five years of one each week; each is verified wherever its owner's statements are.
pub const ROTATIONS_MAX: usize = 256;

/// Endpoints of one device: one for each address family.
pub const ENDPOINTS_MAX: usize = 2;

/// Bytes of a registry's address: the longest name that DNS has (RFC 1035, 2.3.4), brackets and a port.
pub const REGISTRY_ADDRESS_MAX: usize = 263;

/// Objects whose versions a node remembers: all prefixes of one allocation and their devices, twice over. Past it
/// nothing new is believed, so that a registry that makes up tenants cannot fill a disk.
pub const SEEN_MAX: usize = 1 << 18;
