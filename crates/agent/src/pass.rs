//! One pass: what the kernel holds is made what the snapshot asks for, and looked at again.
//!
//! ```text
//! scope ─▶ observe ─▶ keys ─▶ desire ─▶ plan ──empty──▶ in sync
//!            ▲                ▲          │
//!            │                └─ wider: namespaces whose desired state changed, other ends of links that change
//!            └──────── apply ◀───────────┘     at most ROUNDS times: a port that was taken changes what is desired
//! ```
//!
//! Owns: the order, and how far a pass looks. Must not repair anything in another way than by the plan. Every failure is
//! said and the rest goes on: one tenant's never stops another's.
//!
//! A pass over some namespaces is the same pass: desired is whole, and it and what was observed are compared within the
//! same namespaces. What was seen of the others serves to say what is desired (a firewall lets in the ports that devices
//! got), where links lead and what is left to do elsewhere. Where only what is desired changed, the last look is what is
//! planned from, since whatever changed behind it is told of; and what a plan was about is read again from the kernel: the
//! links that its steps name and what hangs on them, or the whole namespace.

mod near;
mod sessions;
mod sweep;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use sixfold_core::addr::Gateway;
use sixfold_core::desire::{self, Own, Roles};
use sixfold_core::model::{DeviceStatus, PeerStatus, ResourceKey, Snapshot};
use sixfold_core::name::IfName;
use sixfold_core::plan::{self, Plan, Step};
use sixfold_core::state::{Backend, LinkKind, Namespace, Netns, NodeState, PeerKey};
use sixfold_kernel::{Failure, Kernel, ObserveError, Report, Scope};

use self::near::{Known, Places, near, places};
use self::sessions::Sessions;
pub use self::sessions::Sums;
pub(crate) use self::sweep::Sweep;
pub use self::sweep::{PEERS_SECS, PERIOD_SECS, SLICE};
use self::turn::Publics;
use crate::devices::Devices;
use crate::exits::sight::FRESH;
use crate::exits::standing::Standing;
use crate::keys::{KeyStore, KeyStoreError};
use crate::status;

/// Applying once is enough but where a device gets another port than it asked for, which the firewall then follows.
const ROUNDS: usize = 3;

/// What the machine offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ground {
    /// Who carries WireGuard.
    pub backend: Backend,
    /// Whether the kernel can send bridged frames through the IP hooks.
    pub bridge_netfilter: bool,
}

/// What a pass is to do.
#[derive(Debug)]
pub struct Asked<'a> {
    /// What the node shall be.
    pub snapshot: &'a Snapshot,
    /// On what machine.
    pub ground: Ground,
    /// What the node is for exit slots, where that is not what the snapshot says.
    pub roles: Roles,
    /// Where peers that are hidden from here were heard last, if they are to be called there.
    pub heard: &'a BTreeMap<PeerKey, SocketAddr>,
    /// Since when that is known; none, if nothing depends on what others do just now.
    pub known_since: Option<Instant>,
    /// Where to look at least.
    pub scope: Scope,
}

/// What became of a pass.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is left to do on the whole node, as far as it was looked at: empty if the kernel holds what is desired.
    pub left: Plan,
    /// Steps that failed, each in the last round that tried it.
    pub failures: Vec<Rc<Failure>>,
    /// Resources whose key cannot be used.
    pub keys: Vec<(ResourceKey, KeyStoreError)>,
    /// The devices that are there, by resource.
    pub devices: Vec<DeviceStatus>,
    /// How other resources are reached.
    pub peers: Vec<PeerStatus>,
    /// What there is of others where all should be ours.
    pub foreign: Vec<String>,
    /// Steps that were done.
    pub operations: u64,
    /// A gateway did not begin to forward: what was heard had become old, and is other by now.
    pub held_back: bool,
    /// Namespaces that the first plan was about.
    pub touched: BTreeSet<Netns>,
}

impl Outcome {
    /// Whether the kernel holds all that the snapshot asks for.
    #[must_use]
    pub fn in_sync(&self) -> bool {
        self.left.is_empty() && self.keys.is_empty()
    }
}

/// Where a pass is to look before it plans.
enum Look {
    /// At all that is there in these namespaces.
    At(Scope),
    /// Where a plan that was done may have changed something.
    After(Places),
}

/// What passes hand on to the next: the whole of what is desired and of what was seen last, and what is left to do.
#[derive(Debug, Default)]
pub struct Picture {
    /// Whether all of the node has been looked at.
    whole: bool,
    /// What `desired` was made with; `None` if it has to be made anew.
    own: Option<Own>,
    desired: NodeState,
    seen: NodeState,
    left: Plan,
    failures: Vec<Rc<Failure>>,
    sessions: Sessions,
}

impl Picture {
    /// Reads what the devices whose turn it is counted of their peers: the next pass tells of it.
    pub(crate) fn read_sessions<K: Kernel>(&mut self, kernel: &mut K) {
        self.sessions.read(kernel, &self.seen, Instant::now());
    }

    /// What is desired, and what was seen last; none until a pass has seen all.
    pub(crate) fn states(&self) -> Option<(&NodeState, &NodeState)> {
        self.whole.then_some((&self.desired, &self.seen))
    }

    /// What all devices carried.
    pub(crate) const fn sums(&self) -> Sums {
        self.sessions.sums()
    }

    /// Another snapshot is to be used from now on.
    pub fn renew(&mut self) {
        self.own = None;
    }

    /// Every namespace that is desired or was seen.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&Netns> {
        self.desired.namespaces.keys().chain(self.seen.namespaces.keys()).collect()
    }

    /// Which next hops a gateway was when it was seen last; looks, if nothing has been seen yet. `None`: it cannot be seen.
    pub(crate) fn seen_standing<K: Kernel>(&self, kernel: &mut K, gateway: &Gateway) -> Option<Standing> {
        if self.whole { Some(Standing::of(&self.seen, gateway)) } else { Self::standing(kernel, gateway) }
    }

    /// Which next hops a gateway is. `None`: it cannot be seen.
    pub(crate) fn standing<K: Kernel>(kernel: &mut K, gateway: &Gateway) -> Option<Standing> {
        let only = BTreeMap::from([(Netns::Named(gateway.netns), BTreeSet::from([gateway.public]))]);
        kernel.observe_links(&only).ok().map(|state| Standing::of(&state, gateway))
    }

    /// Whether nothing was left to do in a namespace that is there.
    pub(crate) fn is_made(&self, netns: &Netns) -> bool {
        let is_left = |step: &Step| step.netns == *netns;
        self.whole && self.seen.namespaces.contains_key(netns) && !self.left.steps.iter().any(is_left)
    }

    /// Whether there is none of the devices that shall be: the process that carries them has begun anew, or is yet to.
    pub(crate) fn lacks_devices(&self) -> bool {
        let has_some = |state: &NodeState| state.namespaces.values().any(|there| !there.devices.is_empty());
        self.whole && has_some(&self.desired) && !has_some(&self.seen)
    }

    /// Every namespace in which a device was seen, or its link.
    #[must_use]
    pub(crate) fn with_devices(&self) -> BTreeSet<&Netns> {
        let has_device = |there: &Namespace| {
            let mut kinds = there.links.values().map(|link| &link.kind);
            kinds.any(|kind| matches!(kind, LinkKind::Tun { .. } | LinkKind::Wireguard { .. }))
        };
        self.seen.namespaces.iter().filter(|(_, there)| has_device(there)).map(|(netns, _)| netns).collect()
    }

    /// Which of these have other devices or peers than when they were looked at last.
    pub(crate) fn differing_devices<K: Kernel>(&self, kernel: &mut K, asked: &Scope) -> BTreeSet<Netns> {
        let netnss = match asked {
            Scope::All => self.with_devices().into_iter().cloned().collect(),
            Scope::Only(netnss) => netnss.clone(),
        };
        kernel.differing_devices(&self.seen, &netnss)
    }

    /// Makes the node what its snapshot says: within the scope, where the snapshot's answer changed, and where something
    /// was left to do. The first pass, and the one after a failure to observe, looks everywhere. `hear`: what the node is for its
    /// slots by what is heard now, where gateways are as given; asked before a gateway begins by what has become old.
    ///
    /// # Errors
    /// If the kernel cannot be observed; nothing more is changed then.
    pub fn pass<K: Kernel>(
        &mut self,
        kernel: &mut K,
        keys: &mut KeyStore,
        (asked, hear): (&Asked<'_>, &mut dyn FnMut(&NodeState) -> Roles),
    ) -> Result<Outcome, ObserveError> {
        let whole = std::mem::replace(&mut self.whole, false);
        let (devices, failed) = Devices::of(asked.snapshot, |resource| keys.provide(resource));
        let mut outcome = Outcome { keys: failed, ..Outcome::default() };
        let mut within = if whole { self.due(&asked.scope) } else { Scope::All };
        let mut plan = self.look(kernel, Look::At(within.clone()), (&mut within, &devices, asked))?;
        outcome.touched = plan.netns().into_iter().cloned().collect();
        let (mut failures, mut known_since) = (Vec::new(), asked.known_since);
        let publics = Publics::of(asked.snapshot);
        for _ in 0..ROUNDS {
            if plan.is_empty() {
                break;
            }
            let look = match &within {
                Scope::All => Look::At(Scope::All),
                Scope::Only(_) => Look::After(places(&plan, self.known())),
            };
            let mut held_back = None;
            if known_since.is_some_and(|since| since.elapsed() > FRESH) {
                held_back = publics.without_begins(&plan).filter(|_| hear(&self.seen) != asked.roles);
                known_since = Some(Instant::now());
            }
            outcome.held_back |= held_back.is_some();
            let now = held_back.as_ref().unwrap_or(&plan);
            let report = apply_in_turn(kernel, now, (&publics, keys));
            outcome.operations += done(now, &report);
            failures = report.failures;
            let before = plan;
            plan = self.look(kernel, look, (&mut within, &devices, asked))?;
            if plan == before {
                break; // the same again would fail the same way: the next pass tries
            }
        }
        if plan.is_empty() {
            failures.clear(); // refused and there all the same: it was done already
        }
        self.keep(&within, plan.steps, failures);
        self.whole = true;
        outcome.left = self.left.clone();
        outcome.failures = self.failures.clone();
        outcome.foreign = foreign(kernel);
        outcome.devices = devices.report(&self.seen);
        outcome.peers =
            devices.peers(asked.snapshot, &self.seen, |key| self.sessions.of(key, Instant::now()));
        outcome.keys.extend(devices.retire(keys, &self.seen));
        Ok(outcome)
    }

    /// The scope, and wherever something was left to do.
    fn due(&self, scope: &Scope) -> Scope {
        let left = self.left.steps.iter().map(|step| &step.netns);
        let failed = self.failures.iter().map(|failure| &failure.step.netns);
        match scope {
            Scope::All => Scope::All,
            Scope::Only(netnss) => Scope::Only(netnss.iter().chain(left).chain(failed).cloned().collect()),
        }
    }

    const fn known(&self) -> Known<'_> {
        Known { desired: &self.desired, seen: &self.seen }
    }

    /// Observes, desires and plans, until there is nothing more to look at: what it plans for the namespaces within is what
    /// a plan for the whole node would have for them. Where only what is desired changed the last look holds: what changed
    /// since was told of, and so is within, or is for a timer to find; and what comes of the plan is looked at.
    fn look<K: Kernel>(
        &mut self,
        kernel: &mut K,
        look: Look,
        (within, devices, asked): (&mut Scope, &Devices, &Asked<'_>),
    ) -> Result<Plan, ObserveError> {
        match look {
            Look::At(scope) => self.see(kernel, &scope)?,
            Look::After(places) => self.see_places(kernel, &places)?,
        }
        loop {
            let changed = self.desire(devices, asked);
            let Scope::Only(netnss) = within else { return Ok(plan::plan(&self.desired, &self.seen)) };
            netnss.extend(changed);
            let plan = plan::plan_within(&self.desired, &self.seen, netnss);
            let mut ends = near(&plan, self.known());
            ends.retain(|netns, _| !netnss.contains(netns));
            if ends.is_empty() {
                return Ok(plan);
            }
            netnss.extend(ends.keys().cloned());
            self.see_places(kernel, &Places::at(ends, self.known()))?;
        }
    }

    /// Links first: in the host's namespace shows what the tunnel process holds without one.
    fn see_places<K: Kernel>(&mut self, kernel: &mut K, places: &Places) -> Result<(), ObserveError> {
        self.see_links(kernel, &places.links)?;
        self.see(kernel, &Scope::Only(places.whole.clone()))
    }

    fn see<K: Kernel>(&mut self, kernel: &mut K, scope: &Scope) -> Result<(), ObserveError> {
        let mut observed = match scope {
            Scope::Only(netnss) if netnss.is_empty() => return Ok(()),
            scope => kernel.observe(scope)?,
        };
        self.share(&mut observed);
        match scope {
            Scope::All => self.seen = observed,
            Scope::Only(netnss) => {
                netnss.iter().for_each(|netns| drop(self.seen.namespaces.remove(netns)));
                self.seen.namespaces.extend(observed.namespaces);
            }
        }
        Ok(())
    }

    /// Looks at some links, and what hangs on them, of namespaces that were seen before.
    fn see_links<K: Kernel>(
        &mut self,
        kernel: &mut K,
        links: &BTreeMap<Netns, BTreeSet<IfName>>,
    ) -> Result<(), ObserveError> {
        if links.is_empty() {
            return Ok(());
        }
        let mut observed = kernel.observe_links(links)?;
        self.share(&mut observed);
        for (netns, links) in links {
            match observed.namespaces.remove(netns) {
                Some(part) => self.seen.at(netns.clone()).renew(links, part),
                None => drop(self.seen.namespaces.remove(netns)),
            }
        }
        Ok(())
    }

    /// What is seen as it is desired is one with that in memory.
    fn share(&self, observed: &mut NodeState) {
        for (netns, namespace) in &mut observed.namespaces {
            if let Some(desired) = self.desired.namespaces.get(netns) {
                namespace.share(desired);
            }
        }
    }

    /// Says what is desired, if anything that it depends on changed; and where it is something else than before.
    fn desire(&mut self, devices: &Devices, asked: &Asked<'_>) -> BTreeSet<Netns> {
        let own = devices.own(&self.seen, asked.ground, (asked.roles.clone(), asked.heard));
        if self.own.as_ref() == Some(&own) {
            return BTreeSet::new();
        }
        let desired = desire::desire(asked.snapshot, &own);
        self.own = Some(own);
        let before = std::mem::replace(&mut self.desired, desired);
        let (was, is) = (&before.namespaces, &self.desired.namespaces);
        was.keys().chain(is.keys()).filter(|netns| was.get(*netns) != is.get(*netns)).cloned().collect()
    }

    /// Remembers what is left to do where this pass looked; what was left elsewhere stays.
    fn keep(&mut self, within: &Scope, steps: Vec<Step>, failures: Vec<Failure>) {
        self.left.steps.retain(|step| !within.contains(&step.netns));
        self.left.steps.extend(steps);
        self.left.steps.sort_by(|a, b| (a.stage, &a.netns).cmp(&(b.stage, &b.netns)));
        self.failures.retain(|failure| !within.contains(&failure.step.netns));
        self.failures.extend(failures.into_iter().map(Rc::new));
    }
}

/// What there is of others where all should be ours, a line for each.
fn foreign<K: Kernel>(kernel: &K) -> Vec<String> {
    let by_netns = kernel.foreign().iter();
    by_netns.flat_map(|(netns, all)| all.iter().map(move |one| format!("{netns}: {one}"))).collect()
}

/// Applies a plan: what begins and ends at gateways first.
fn apply_in_turn<K: Kernel>(kernel: &mut K, plan: &Plan, (publics, keys): (&Publics, &KeyStore)) -> Report {
    let Some([first, rest]) = publics.split(plan) else {
        return apply(kernel, plan, keys);
    };
    let mut report = apply(kernel, &first, keys);
    if !rest.is_empty() {
        report.failures.extend(apply(kernel, &rest, keys).failures);
    }
    report
}

/// Applies a plan, saying in the log what it does.
pub(crate) fn apply<K: Kernel>(kernel: &mut K, plan: &Plan, keys: &KeyStore) -> Report {
    for step in &plan.steps {
        let words = status::one_line(&step.to_string());
        tracing::debug!(stage = ?step.stage, netns = %step.netns, step = words, "step");
    }
    let began = Instant::now();
    let report = kernel.apply(plan, keys);
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(steps = plan.len(), failed = report.failures.len(), took_ms, "applied");
    report
}

/// Steps of a plan that did not fail.
pub(crate) fn done(plan: &Plan, report: &Report) -> u64 {
    plan.len().saturating_sub(report.failures.len()) as u64
}
