//! How nodes stand: what an agent says, and what the declared world has it hold.
//!
//! Owns: the words for what is amiss. Must not look itself.

use sixfold_core::id::NodeId;
use sixfold_core::model::{Reports, Snapshot, Status};

/// How a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The node.
    pub node: NodeId,
    /// What its agent last said; `None`: nothing yet.
    pub status: Option<Status>,
    /// What is amiss, a line each: nothing where it is done.
    pub amiss: Vec<String>,
}

/// Lines of one kind that are told of a node.
const TOLD_MAX: usize = 5;

impl Standing {
    /// By what its agent says. `registry`: whether there is one that could answer.
    pub(super) fn new(node: &NodeId, status: Option<&Status>, registry: bool) -> Self {
        let mut amiss = Vec::new();
        match status {
            None => amiss.push("its agent has said nothing; see its log".to_owned()),
            Some(status) => {
                if !status.in_sync {
                    amiss.push(format!("not in sync at revision {}", status.revision));
                }
                let link = status.registry.as_ref().filter(|link| registry && !link.connected);
                amiss.extend(link.map(|link| {
                    format!("the registry does not answer it: {}", link.fault.as_deref().unwrap_or("not yet"))
                }));
                let more = [&status.failures, &status.refusals, &status.drift];
                amiss.extend(more.into_iter().flat_map(|lines| lines.iter().take(TOLD_MAX).cloned()));
            }
        }
        Self { node: node.clone(), status: status.cloned(), amiss }
    }

    /// Whether nothing is amiss.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.amiss.is_empty()
    }

    /// What is amiss, with the node's name.
    pub(super) fn complaints(&self) -> impl Iterator<Item = String> + '_ {
        self.amiss.iter().map(|line| format!("{}: {line}", self.node))
    }
}

/// What nodes say of their devices, all together.
pub(super) fn reports<'a>(statuses: impl Iterator<Item = &'a Status>) -> Reports {
    let devices = statuses.flat_map(|status| status.devices.iter().map(|device| (&status.node, device)));
    devices.map(|(node, device)| ((device.resource, node.clone()), device.report.clone())).collect()
}

/// The resources of a node that it says no device of, or says one of that is not its own.
pub(super) fn stray(snapshot: &Snapshot, status: &Status) -> Vec<String> {
    let mut own: Vec<_> = sixfold_core::desire::own_resources(snapshot).collect();
    own.sort();
    let mut said: Vec<_> = status.devices.iter().map(|device| device.resource).collect();
    said.sort();
    let lacks = own.iter().filter(|key| !said.contains(key)).map(|key| ("lacks", key));
    let keeps = said.iter().filter(|key| !own.contains(key)).map(|key| ("keeps", key));
    let lines =
        lacks.chain(keeps).map(|(what, key)| format!("{what} the device of {}-{}", key.index, key.number));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_has_said_nothing_is_not_done() {
        let standing = Standing::new(&NodeId::try_from("ant").unwrap(), None, true);
        assert!(!standing.is_done());
        let told: Vec<String> = standing.complaints().collect();
        assert_eq!(told, ["ant: its agent has said nothing; see its log"]);
    }
}
