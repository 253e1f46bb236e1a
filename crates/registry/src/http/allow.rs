//! Who may do what. One function over role, verb and object decides every request; what it does not name is refused.
//!
//! Owns: the roles, the verbs, the kinds of objects, and that function. Whose an object is, is found out before (`whose`
//! is part of the object). Must not read anything. The whole table is written out in `tests/http/table`.

use std::fmt;

/// In what capacity somebody asks. A key may have several: an id is derived for each, and an object that belongs to one
/// of them is its own in that capacity alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nobody: no key was proven.
    Anonymous,
    /// Whoever owns networks.
    Tenant,
    /// Whoever owns a farm.
    Farmer,
    /// A machine.
    Node,
    /// The registry's operator.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Anonymous, Self::Tenant, Self::Farmer, Self::Node, Self::Admin];
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// To see it.
    Read,
    /// To have it so.
    Put,
    /// To have it gone.
    Delete,
}

/// What it is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// Whether the registry lives, and its version.
    Service,
    /// A farm: its delegation, and what its nodes say of themselves.
    Farm,
    /// A node, and where it is reached.
    Node,
    /// A WireGuard device of a node.
    Device,
    /// What a node shall be.
    Snapshot,
    /// What a node says of itself.
    Status,
    /// The list of a tenant's networks.
    Tenant,
    /// A network and its prefixes.
    Network,
    /// The list of the networks that leave by a farm's exits, with their prefixes.
    Guests,
    /// What happened.
    Events,
    /// The keys that an owner had.
    Key,
}

/// Whose it is, as seen by the role that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// The asker's own: its id, its farm, a network of its own, or one that nodes of its own take part in.
    Own,
    /// Anybody else's.
    Others,
}

/// An object: what it is, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// What.
    pub thing: Thing,
    /// Whose.
    pub whose: Whose,
}

/// Whether a role may.
#[must_use]
pub const fn allows(role: Role, verb: Verb, object: Object) -> bool {
    match (role, verb, object.thing, object.whose) {
        (_, Verb::Read, Thing::Service, _) => true,
        // Tenants choose exits and nodes among all farms.
        (Role::Tenant | Role::Farmer | Role::Node, Verb::Read, Thing::Farm, _) => true,
        (Role::Tenant, Verb::Read, Thing::Tenant, Whose::Own) => true,
        (Role::Tenant, Verb::Read | Verb::Put, Thing::Network, Whose::Own) => true,
        (Role::Tenant | Role::Farmer | Role::Node, Verb::Read, Thing::Events, Whose::Own) => true,
        // Whoever is shown what somebody signed may see by which keys.
        (Role::Tenant | Role::Farmer | Role::Node | Role::Admin, Verb::Read, Thing::Key, _) => true,
        (Role::Tenant | Role::Farmer | Role::Node, Verb::Put, Thing::Key, Whose::Own) => true,
        (Role::Farmer, Verb::Put, Thing::Farm, Whose::Own) => true,
        // Each of them they may read by its id.
        (Role::Farmer, Verb::Read, Thing::Guests, Whose::Own) => true,
        (Role::Farmer | Role::Node, Verb::Delete, Thing::Node, Whose::Own) => true,
        (Role::Farmer, Verb::Read, Thing::Node | Thing::Status | Thing::Network, Whose::Own) => true,
        (Role::Node, Verb::Read | Verb::Put, Thing::Node | Thing::Status, Whose::Own) => true,
        (Role::Node, Verb::Read, Thing::Snapshot | Thing::Network, Whose::Own) => true,
        (Role::Node, Verb::Put, Thing::Device, Whose::Own) => true,
        // The operator sees what is stored, and may take prefixes back and farms that nobody uses; nobody's words are theirs
        // to change.
        (Role::Admin, Verb::Read, Thing::Farm | Thing::Node | Thing::Status, _) => true,
        (Role::Admin, Verb::Read, Thing::Tenant | Thing::Network | Thing::Guests | Thing::Events, _) => true,
        (Role::Admin, Verb::Delete, Thing::Network | Thing::Farm, _) => true,
        _ => false,
    }
}

macro_rules! words {
    ($name:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $word),+ })
            }
        }
    };
}

words!(Role {
    Anonymous => "anonymous",
    Tenant => "tenant",
    Farmer => "farmer",
    Node => "node",
    Admin => "admin",
});
words!(Verb { Read => "read", Put => "put", Delete => "delete" });
words!(Thing {
    Service => "service",
    Farm => "farm",
    Node => "node",
    Device => "device",
    Snapshot => "snapshot",
    Status => "status",
    Tenant => "tenant",
    Network => "network",
    Guests => "guests",
    Events => "events",
    Key => "key",
});
