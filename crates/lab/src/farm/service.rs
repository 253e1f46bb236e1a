//! The processes that are services, and when one that ended is started again.
//!
//! Owns: their names and arguments, and how often at most. Must not start anything, nor look at the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sixfold_core::id::NodeId;

use crate::node;

/// Between two starts of the same process at least, as a service manager would have it.
const PAUSE: Duration = Duration::from_secs(1);

/// A process that is always there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Process {
    /// The registry.
    Registry,
    /// One of a node's.
    Of {
        /// Which.
        service: Service,
        /// The node.
        node: NodeId,
    },
}

/// Which of a node's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Hosts WireGuard devices.
    Tunnel,
    /// Makes the kernel hold what owners declared.
    Agent,
}

impl Process {
    /// How the lab calls it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Registry => "registry".to_owned(),
            Self::Of { service, node } => format!("{node}: {}", service.name()),
        }
    }

    /// The service that is called so; `None`: none is.
    fn called(name: &str) -> Option<Self> {
        if name == Self::Registry.name() {
            return Some(Self::Registry);
        }
        let (node, name) = name.split_once(": ")?;
        let service = [Service::Tunnel, Service::Agent].into_iter().find(|service| service.name() == name)?;
        Some(Self::Of { service, node: NodeId::try_from(node).ok()? })
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry => f.write_str("the registry"),
            Self::Of { service, node } => write!(f, "the {} of {node}", service.name()),
        }
    }
}

/// Where a process of that name has its log, if it is the registry's or a node's.
pub(super) fn log_of(name: &str) -> Option<PathBuf> {
    if name == Process::Registry.name() {
        return Some(PathBuf::from(super::enrol::LOG));
    }
    let (node, log) = name.split_once(": ")?;
    Some(node::run_dir(&NodeId::try_from(node).ok()?).join("log").join(log))
}

impl Service {
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
        match self {
            Self::Tunnel => vec!["tunnel", "run"],
            Self::Agent => {
                let carrier = carrier.into_iter().flat_map(|who| ["--wireguard", who]);
                ["agent", "--state", super::STATE].into_iter().chain(carrier).collect()
            }
        }
    }
}

/// When each was started last, and which wait to be started again.
#[derive(Debug, Default)]
pub(super) struct Services {
    started: BTreeMap<Process, Instant>,
    down: BTreeSet<Process>,
}

impl Services {
    pub(super) fn started(&mut self, process: &Process, now: Instant) {
        self.down.remove(process);
        self.started.insert(process.clone(), now);
    }

    /// Notes that the process of this name has ended.
    pub(super) fn ended(&mut self, name: &str) {
        self.down.extend(Process::called(name));
    }

    /// Those that may be started again now.
    pub(super) fn due(&self, now: Instant) -> Vec<Process> {
        let rested = |process: &&Process| {
            self.started.get(*process).is_none_or(|started| now.saturating_duration_since(*started) >= PAUSE)
        };
        self.down.iter().filter(rested).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_ant(service: Service) -> Process {
        Process::Of { service, node: NodeId::try_from("ant").unwrap() }
    }

    #[test]
    fn what_ends_at_once_is_started_once_a_second() {
        let (tunnel, began) = (of_ant(Service::Tunnel), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        let mut services = Services::default();
        services.started(&tunnel, at(0));
        assert_eq!(services.due(at(5_000)), []);
        services.ended("ant: tunnel");
        assert_eq!(services.due(at(999)), []);
        assert_eq!(services.due(at(1_000)), std::slice::from_ref(&tunnel));
        services.started(&tunnel, at(1_000));
        assert_eq!(services.due(at(3_000)), []);
        services.ended("ant: tunnel");
        assert_eq!(services.due(at(1_500)), []);
    }

    #[test]
    fn only_services_are_started_again() {
        let mut services = Services::default();
        for process in ["ant: keeper", "the probe of internet", "ant: ", ": agent", "ant: agent", "registry"]
        {
            services.ended(process);
        }
        assert_eq!(services.due(Instant::now()), [Process::Registry, of_ant(Service::Agent)]);
    }

    #[test]
    fn an_agent_is_told_who_carries_wireguard() {
        assert_eq!(Service::Agent.arguments(Some("kernel"))[3..], ["--wireguard", "kernel"]);
        assert_eq!(Service::Agent.arguments(None).len(), 3);
    }
}
