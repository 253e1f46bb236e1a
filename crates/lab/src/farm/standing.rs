//! How nodes stand, and in which order they are told of news.

use sixfold_core::id::{NodeId, Revision};
use sixfold_core::model::{Status, World};

/// How a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The node.
    pub node: NodeId,
    /// The newest revision there is.
    pub newest: Revision,
    /// What its agent last said; `None`: nothing yet.
    pub status: Option<Status>,
}

impl Standing {
    /// Whether its second plan was empty, at the newest revision.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.in_sync && status.revision == self.newest)
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        match &self.status {
            _ if self.is_done() => Vec::new(),
            None => vec![format!("{}: its agent has said nothing; see its log", self.node)],
            Some(status) => {
                let at = format!("{}: at revision {} of {}", self.node, status.revision, self.newest);
                let more = status.failures.iter().chain(&status.drift).take(5);
                [at].into_iter().chain(more.map(|line| format!("{}: {line}", self.node))).collect()
            }
        }
    }
}

/// Who is called by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// Holds a slot that a network leaves by: everyone calls it.
    Exit,
    /// Can be called.
    Public,
    /// Only calls.
    Hidden,
}

impl Rank {
    pub(super) const ALL: [Self; 3] = [Self::Exit, Self::Public, Self::Hidden];

    pub(super) fn of(world: &World, node: &NodeId) -> Self {
        let exits = world.networks().values().map(|network| network.exit());
        let mut slots = exits.filter_map(|exit| world.farm(&exit.farm)?.slot(exit.key()));
        if slots.any(|slot| slot.holder() == node) {
            return Self::Exit;
        }
        let hidden = world.node(node).is_some_and(|(_, node)| node.is_hidden());
        if hidden { Self::Hidden } else { Self::Public }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn exits_are_told_first_and_hidden_nodes_last() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/first-farm");
        let world = crate::files::load(&dir).unwrap();
        let rank = |node| Rank::of(&world, &NodeId::try_from(node).unwrap());
        assert_eq!([rank("ant"), rank("bee"), rank("cat")], Rank::ALL);
    }

    #[test]
    fn a_node_that_has_said_nothing_is_not_done() {
        let node = NodeId::try_from("ant").unwrap();
        let standing = Standing { node, newest: Revision(3), status: None };
        assert!(!standing.is_done());
        assert_eq!(standing.complaints(), ["ant: its agent has said nothing; see its log"]);
    }
}
