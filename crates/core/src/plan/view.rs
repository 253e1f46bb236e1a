//! The states that a plan is made of, as far as it looks: whole, or within some namespaces, without a copy.

use std::collections::BTreeSet;

use crate::state::{Namespace, Netns, NodeState};

/// A state within some namespaces, or all of it: what lies elsewhere seems not to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) state: &'a NodeState,
    pub(super) within: Option<&'a BTreeSet<Netns>>,
}

impl<'a> View<'a> {
    pub(super) fn get(self, netns: &Netns) -> Option<&'a Namespace> {
        let seen = self.within.is_none_or(|within| within.contains(netns));
        seen.then(|| self.state.namespaces.get(netns)).flatten()
    }

    /// In the order of their names.
    pub(super) fn namespaces(self) -> impl Iterator<Item = (&'a Netns, &'a Namespace)> {
        let all = self.within.is_none().then(|| self.state.namespaces.iter());
        let some = self.within.into_iter().flatten();
        let some = some.filter_map(move |netns| self.state.namespaces.get_key_value(netns));
        all.into_iter().flatten().chain(some)
    }
}

/// What of an observed state remains after removals: a copy only if there are any.
#[derive(Debug)]
pub(super) struct Remaining<'a> {
    observed: View<'a>,
    changed: Option<NodeState>,
}

impl<'a> Remaining<'a> {
    pub(super) fn of(observed: View<'a>) -> Self {
        Self { observed, changed: None }
    }

    pub(super) fn get(&self, netns: &Netns) -> Option<&Namespace> {
        match &self.changed {
            Some(changed) => changed.namespaces.get(netns),
            None => self.observed.get(netns),
        }
    }

    pub(super) fn to_mut(&mut self) -> &mut NodeState {
        let View { state, within } = self.observed;
        self.changed.get_or_insert_with(|| within.map_or_else(|| state.clone(), |within| state.only(within)))
    }
}
