//! Things of others where all should be ours: they are told of and never touched. They are no state, so that no plan can
//! be about them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::IpNet;
use sixfold_core::name::IfName;
use sixfold_core::state::Netns;

/// What there is of others, by namespace.
pub type Foreigners = BTreeMap<Netns, BTreeSet<Foreign>>;

/// One thing of somebody else's, in a namespace of ours or with a name like one of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Foreign {
    /// The namespace itself: its name is like ours, and it is not ours.
    Namespace,
    /// A link that does not bear our mark, with all that is on it.
    Link(IfName),
    /// A route of another protocol in the main table.
    Route {
        /// Where to.
        destination: IpNet,
        /// Its protocol's number.
        protocol: u8,
    },
    /// A table of rules besides ours.
    Table {
        /// `inet`, `ip`, ...
        family: &'static str,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace => f.write_str("the namespace, which is not ours"),
            Self::Link(name) => write!(f, "link {name}"),
            Self::Route { destination, protocol } => write!(f, "route {destination} of protocol {protocol}"),
            Self::Table { family, name } => write!(f, "table {family} {}", name.escape_default()),
        }
    }
}
