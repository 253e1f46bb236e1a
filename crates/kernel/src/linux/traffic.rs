//! What links and the firewall's sets counted. Whoever cannot be asked now is asked another time: nothing depends on it.

use std::collections::{BTreeMap, BTreeSet};

use sixfold_core::name::IfName;
use sixfold_core::state::{Netns, SetName};

use super::{Linux, firewall};
use crate::LinkTraffic;
use crate::nft::{self, Counter};
use crate::rtnl::link;

impl Linux {
    /// A question for each link: one for all would hold up whoever changes links meanwhile.
    pub(super) fn read_traffic(
        &mut self,
        netns: &Netns,
        links: &BTreeSet<IfName>,
    ) -> BTreeMap<IfName, LinkTraffic> {
        let Ok(handle) = self.handles.get(netns) else { return BTreeMap::new() };
        let mut read = BTreeMap::new();
        for name in links {
            let answer = handle.route.ask(link::get_counted(name));
            read.extend(answer.ok().and_then(|answer| link::traffic(&answer)).map(|told| (*name, told)));
        }
        read
    }

    pub(super) fn read_tallies(&mut self, netns: &Netns, set: &SetName) -> BTreeMap<Option<IfName>, Counter> {
        let socket = self.handles.get(netns).is_ok().then(|| firewall::socket(&mut self.handles, netns));
        let tallies = socket.flatten().and_then(|socket| nft::tallies(socket, set).ok());
        tallies.unwrap_or_default()
    }
}
