//! Agents in one process: each with its feed, its files and a kernel that is pretended.
//!
//! Owns: going round among them. Their couriers are tasks of one runtime, their loops one thread's: what is measured has
//! waiting in it that a machine for each would not have.

use std::thread::sleep;
use std::time::{Duration, Instant};

use sixfold_agent::events::Events;
use sixfold_agent::pass::Ground;
use sixfold_agent::remote::{RegistryFeed, Setup};
use sixfold_agent::run::{Agent, Places};
use sixfold_core::state::Backend;
use sixfold_kernel::Scope;
use sixfold_kernel::fake::Fake;

use super::realm::{Realm, state_of};
use crate::failed::{Failed, chain};

/// Between two rounds in which nobody had news.
const PAUSE: Duration = Duration::from_millis(1);

/// A kernel that nobody else touches.
struct Quiet;

impl Events for Quiet {
    fn take(&mut self) -> Scope {
        Scope::Only(Default::default())
    }
}

/// One of them.
pub(super) struct Member {
    agent: Agent<Fake, RegistryFeed>,
}

impl Member {
    /// Of the snapshot that it is in sync with, or works at.
    pub(super) fn revision(&self) -> u64 {
        self.agent.status().map_or(0, |status| status.revision.0)
    }

    pub(super) fn is_in_sync(&self) -> bool {
        self.agent.status().is_some_and(|status| status.in_sync)
    }

    /// Whether the registry answers it.
    pub(super) fn is_connected(&self) -> bool {
        self.agent.feed().link().connected
    }

    /// What it was sent since its start.
    fn bytes(&self) -> u64 {
        self.agent.feed().link().received_bytes
    }

    /// Whether it takes part in something.
    pub(super) fn is_served(&self) -> bool {
        self.agent.status().is_some_and(|status| !status.devices.is_empty())
    }
}

/// All of them.
pub(super) struct Crowd(Vec<Member>);

impl Crowd {
    /// Opens every agent.
    pub(super) fn gather(realm: &Realm) -> Result<Self, Failed> {
        let open = |number, (joined, key)| -> Result<Member, Box<dyn std::error::Error>> {
            let state = state_of(realm.folder.path(), number);
            let places = Places { run: state.join("run"), state };
            let setup = Setup { joined, key, launch: realm.runtime.handle().clone() };
            let ground = || Ground { backend: Backend::Kernel, bridge_netfilter: false };
            Ok(Member { agent: Agent::of_registry(places, Fake::new(), setup, ground)?.with_events(Quiet) })
        };
        let opened = realm.nodes().enumerate().map(|(number, who)| open(number, who));
        opened
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(|error| Failed::meaningless("an agent", chain(&*error)))
    }

    /// Goes round among them until all are there.
    pub(super) fn drive(
        &mut self,
        until: Instant,
        mut is_there: impl FnMut(usize, &Member) -> bool,
    ) -> Result<(), Failed> {
        loop {
            let mut missing = Vec::new();
            for (at, member) in self.0.iter_mut().enumerate() {
                member.agent.heed();
                if !is_there(at, member) {
                    missing.push(at);
                }
            }
            let Some(first) = missing.first() else { return Ok(()) };
            if Instant::now() > until {
                let status = self.0[*first].agent.status();
                let what = format!("{} do not come to it, the first is {first}: {status:?}", missing.len());
                return Err(Failed::meaningless("a crowd of agents", what));
            }
            sleep(PAUSE);
        }
    }

    /// Goes round until nobody had news for so long; gives when the last ones came.
    pub(super) fn settle(&mut self, until: Instant, quiet: Duration) -> Result<Instant, Failed> {
        let (mut last, mut bytes) = (Instant::now(), self.bytes());
        while last.elapsed() < quiet {
            self.drive(until, |_, _| true)?;
            let now = self.bytes();
            if now != bytes {
                (last, bytes) = (Instant::now(), now);
            }
            if last > until {
                return Err(Failed::meaningless("a crowd of agents", "there is no end of news"));
            }
            sleep(PAUSE);
        }
        Ok(last)
    }

    /// What each was sent since its start.
    pub(super) fn bytes(&self) -> Vec<u64> {
        self.0.iter().map(Member::bytes).collect()
    }

    /// Where each is.
    pub(super) fn revisions(&self) -> Vec<u64> {
        self.0.iter().map(Member::revision).collect()
    }
}
