//! The kernel that this process runs on.
//!
//! Owns: handles into namespaces, and the order of conversations with the kernel. What is said is `rtnl`'s, `nft`'s and
//! `wireguard`'s; what should be said is the plan's.

mod apply;
mod device;
mod firewall;
mod handle;
mod kind;
mod links;
mod nic;
mod observe;
mod part;
mod steps;
mod sysctl;
mod traffic;
mod watch;
mod wireguard;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use sixfold_core::name::IfName;
use sixfold_core::plan::Plan;
use sixfold_core::state::{Netns, NodeState, PeerKey, SetName};

pub use self::device::{open_udp, probe_wireguard};
use self::handle::Handles;
pub use self::watch::{Watch, WatchError};
use crate::netns::{Directory, NetnsError, Worker};
use crate::nft::Counter;
use crate::{Foreigners, Kernel, Keys, LinkTraffic, ObserveError, Report, Scope, Session};

/// Where things are on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Directory of named namespaces.
    pub netns_dir: PathBuf,
    /// Control socket of the tunnel process.
    pub tunnel: PathBuf,
    /// Directory of the devices' configuration sockets.
    pub uapi_dir: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            netns_dir: "/run/netns".into(),
            tunnel: "/run/sixfold/tunnel.sock".into(),
            uapi_dir: "/run/wireguard".into(),
        }
    }
}

/// The kernel as seen from the namespace and mounts of the thread that made this value.
pub struct Linux {
    config: Config,
    handles: Handles,
    wireguard: Option<u16>,
    foreign: Foreigners,
    /// How often each device of the tunnel process had been changed when it was last read with its link.
    changes: BTreeMap<IfName, u32>,
}

impl Linux {
    /// Begins a conversation. The caller's namespace becomes [`sixfold_core::state::Netns::Host`].
    ///
    /// # Errors
    /// If `/proc` is not mounted or no thread can be started.
    pub fn new(config: Config) -> Result<Self, NetnsError> {
        let worker = Worker::start()?;
        let directory = Directory::new(config.netns_dir.clone())?;
        Ok(Self {
            config,
            handles: Handles::new(worker, directory),
            wireguard: None,
            foreign: Foreigners::new(),
            changes: BTreeMap::new(),
        })
    }
}

impl Kernel for Linux {
    fn observe(&mut self, scope: &Scope) -> Result<NodeState, ObserveError> {
        let observed = self.observe_scope(scope);
        if observed.is_err() {
            // A conversation that broke off may leave answers behind.
            self.handles.close_all_but(|_| false);
        }
        observed
    }

    fn observe_links(
        &mut self,
        links: &BTreeMap<Netns, BTreeSet<IfName>>,
    ) -> Result<NodeState, ObserveError> {
        let observed = self.observe_parts(links);
        if observed.is_err() {
            self.handles.close_all_but(|_| false);
        }
        observed
    }

    fn apply(&mut self, plan: &Plan, keys: &dyn Keys) -> Report {
        self.apply_plan(plan, keys)
    }

    fn foreign(&self) -> &Foreigners {
        &self.foreign
    }

    fn differing_devices(&mut self, seen: &NodeState, netnss: &BTreeSet<Netns>) -> BTreeSet<Netns> {
        self.find_differing_devices(seen, netnss)
    }

    fn sessions(&mut self, seen: &NodeState, netnss: &BTreeSet<Netns>) -> BTreeMap<PeerKey, Session> {
        self.read_sessions(seen, netnss)
    }

    fn traffic(&mut self, netns: &Netns, links: &BTreeSet<IfName>) -> BTreeMap<IfName, LinkTraffic> {
        self.read_traffic(netns, links)
    }

    fn tallies(&mut self, netns: &Netns, set: &SetName) -> BTreeMap<Option<IfName>, Counter> {
        self.read_tallies(netns, set)
    }
}
