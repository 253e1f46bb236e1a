//! The two processes of a node that are services, and when one that ended is started again.
//!
//! Owns: their arguments, and how often at most. Must not start anything, nor look at the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sixfold_core::id::NodeId;

/// Between two starts of the same process at least, as a service manager would have it.
const PAUSE: Duration = Duration::from_secs(1);

/// A process that is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Hosts WireGuard devices.
    Tunnel,
    /// Makes the kernel hold what the snapshot says.
    Agent,
}

impl Service {
    /// In the order in which they are started.
    pub(super) const ALL: [Self; 2] = [Self::Tunnel, Self::Agent];

    /// As its command is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Agent => "agent",
        }
    }

    /// Its arguments, where it is said who carries WireGuard or left to the agent.
    pub(super) fn arguments(self, carrier: Option<&str>) -> Vec<&str> {
        let agent = ["agent", "--feed", "/run/sixfold/snapshot.json", "--state", "/run/sixfold/state"];
        match self {
            Self::Tunnel => vec!["tunnel", "run"],
            Self::Agent => {
                agent.into_iter().chain(carrier.into_iter().flat_map(|who| ["--wireguard", who])).collect()
            }
        }
    }

    /// Whose and which a process is that is called `node: name`; `None`: no service.
    fn of(process: &str) -> Option<(NodeId, Self)> {
        let (node, name) = process.split_once(": ")?;
        let service = Self::ALL.into_iter().find(|service| service.name() == name)?;
        Some((NodeId::try_from(node).ok()?, service))
    }
}

/// When each was started last, and which wait to be started again.
#[derive(Debug, Default)]
pub(super) struct Services {
    started: BTreeMap<(NodeId, Service), Instant>,
    down: BTreeSet<(NodeId, Service)>,
}

impl Services {
    pub(super) fn started(&mut self, node: &NodeId, service: Service, now: Instant) {
        let key = (node.clone(), service);
        self.down.remove(&key);
        self.started.insert(key, now);
    }

    /// Notes that the process of this name has ended.
    pub(super) fn ended(&mut self, process: &str) {
        self.down.extend(Service::of(process));
    }

    /// Those that may be started again now.
    pub(super) fn due(&self, now: Instant) -> Vec<(NodeId, Service)> {
        let rested = |key: &&(NodeId, Service)| {
            self.started.get(*key).is_none_or(|started| now.saturating_duration_since(*started) >= PAUSE)
        };
        self.down.iter().filter(rested).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_at_once_is_started_once_a_second() {
        let (ant, began) = (NodeId::try_from("ant").unwrap(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        let mut services = Services::default();
        services.started(&ant, Service::Tunnel, at(0));
        assert_eq!(services.due(at(5_000)), []);
        services.ended("ant: tunnel");
        assert_eq!(services.due(at(999)), []);
        assert_eq!(services.due(at(1_000)), [(ant.clone(), Service::Tunnel)]);
        services.started(&ant, Service::Tunnel, at(1_000));
        assert_eq!(services.due(at(3_000)), []);
        services.ended("ant: tunnel");
        assert_eq!(services.due(at(1_500)), []);
    }

    #[test]
    fn only_services_are_started_again() {
        let mut services = Services::default();
        for process in ["ant: keeper", "the probe of internet", "ant: ", ": agent", "ant: agent"] {
            services.ended(process);
        }
        assert_eq!(services.due(Instant::now()), [("ant".parse().unwrap(), Service::Agent)]);
    }

    #[test]
    fn an_agent_is_told_who_carries_wireguard() {
        assert_eq!(Service::Agent.arguments(Some("kernel"))[5..], ["--wireguard", "kernel"]);
        assert_eq!(Service::Agent.arguments(None).len(), 5);
    }
}
