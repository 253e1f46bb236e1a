//! Resources on one node, each with a workload, a firewall and a tunnel, built and torn down. Against `ip -batch`,
//! `nft -f` and `wg setconf`, one run of each for each namespace, of the lines of the same plan.
//!
//! Ours is what the agent does: observe, plan, apply, and again until nothing is left. The reference only writes. Its
//! sysctls are set and not counted: the three programs set none.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use sixfold_core::name::NetnsRole;
use sixfold_core::plan::{Op, Step, plan};
use sixfold_core::state::{LinkKind, Netns, NodeState, RouteTarget};

use crate::Setting;
use crate::bystander::Bystander;
use crate::failed::Failed;
use crate::farm::{Farm, KeyMap, Shape};
use crate::figure::{Aim, Costs, Figure, Samples, Unit};
use crate::ground::{self, Node, Process, alone, timed};
use crate::script::{Script, interface};

const FULL: Shape = Shape { networks: 256, nodes: 4, workloads: 1, gateway: false };
const TINY: Shape = Shape { networks: 4, nodes: 4, workloads: 1, gateway: false };

/// The kernel ends namespaces after it has answered: a bystander may wait for that too.
const AFTERMATH: Duration = Duration::from_millis(500);

pub(super) fn run(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let shape = setting.size(FULL, TINY);
    let rounds = setting.rounds;
    let told = |part: &str| format!("{} resources, {part}", shape.networks);
    let (whole, links) = (told("firewall and tunnel"), told("links, addresses and routes alone"));
    let site = move |is_whole| {
        let farm = Farm::new(shape)?;
        Site::new(farm.desired()?, farm.keys()?, is_whole)
    };
    let mut figures = alone(move || site(true)?.measure(rounds, &whole, Some(5.0)))?;
    figures.extend(alone(move || site(false)?.measure(rounds, &links, Some(8.0)))?);
    Ok(figures)
}

/// A node, what it shall be, and what is there before anything is measured.
pub(super) struct Site {
    node: Node,
    keys: KeyMap,
    /// Only where tunnels are.
    _tunnel: Option<Process>,
    before: NodeState,
    /// What is there afterwards.
    ground: NodeState,
    full: NodeState,
}

/// What one side took, round by round.
#[derive(Default)]
struct Side {
    built: Costs,
    removed: Costs,
    both: Costs,
}

impl Site {
    /// One that shall be so, with those keys; or only its links, addresses and routes.
    pub(super) fn new(mut full: NodeState, keys: KeyMap, whole: bool) -> Result<Self, Failed> {
        if !whole {
            only_links(&mut full);
        }
        ground::nic()?;
        let tunnel = if whole { Some(Process::tunnel()?) } else { None };
        let before = before(&full);
        let ground = ground_of(&full);
        Ok(Self { node: Node::new()?, keys, _tunnel: tunnel, before, ground, full })
    }

    /// Ours and the programs in turn, of what is told so.
    pub(super) fn measure(
        &mut self,
        rounds: usize,
        what: &str,
        aim: Option<f64>,
    ) -> Result<Vec<Figure>, Failed> {
        let (mut ours, mut theirs) = (Side::default(), Side::default());
        let (mut our_stall, mut their_stall) = (Samples::default(), Samples::default());
        for _ in 0..rounds {
            our_stall.push(self.ours(&mut ours)?);
            their_stall.push(self.theirs(&mut theirs)?);
        }
        let name = "ip + nft + wg";
        let told = |part: &str| format!("{what}: {part}");
        let mut figures = Vec::new();
        let both = ours.both.beside(&told("built and torn down"), name, theirs.both);
        figures.extend(both.map(|figure| Figure { aim: aim.map(Aim::Times), ..figure }));
        figures.extend(ours.built.beside(&told("built"), name, theirs.built));
        figures.extend(ours.removed.beside(&told("torn down"), name, theirs.removed));
        let stall = told("longest wait of a bystander");
        figures.push(Figure::new(stall, Unit::Seconds, our_stall).beside(name, their_stall));
        Ok(figures)
    }

    /// Builds and tears down by the agent's path; the longest wait of a bystander, in seconds.
    fn ours(&mut self, side: &mut Side) -> Result<f64, Failed> {
        self.prepare()?;
        let bystander = Bystander::start();
        let (full, nothing) = (self.full.clone(), self.ground.clone());
        let built = timed(|| self.reach(&full, "built"))?.0;
        let removed = timed(|| self.reach(&nothing, "torn down"))?.0;
        sleep(AFTERMATH);
        let longest = bystander.stop()?;
        side.built.push(built);
        side.removed.push(removed);
        side.both.push(built + removed);
        Ok(longest.as_secs_f64())
    }

    /// The same by programs, from the same before.
    fn theirs(&mut self, side: &mut Side) -> Result<f64, Failed> {
        self.prepare()?;
        let folder = Path::new("/run/script");
        let to_build = plan(&self.full, &self.node.observe(None)?);
        let script = Script::new(&folder.join("build"), &to_build, |step| self.interface(step))?;
        self.node = Node::new()?; // what it kept open, every program that is started would have to close
        let bystander = Bystander::start();
        let built = script.run()?;
        let building = bystander.stop()?;
        self.verify_made()?;
        self.let_go()?;
        let to_remove = plan(&self.ground, &self.node.observe(None)?);
        let script = Script::new(&folder.join("remove"), &to_remove, |_| None)?;
        self.node = Node::new()?;
        let bystander = Bystander::start();
        let removed = script.run()?;
        sleep(AFTERMATH);
        let removing = bystander.stop()?;
        self.node.verify(&self.ground, None, "what ip, nft and wg left")?;
        side.built.push(built);
        side.removed.push(removed);
        side.both.push(built + removed);
        Ok(building.max(removing).as_secs_f64())
    }

    /// That the programs made what is desired. A rule that nft compiles is not byte for byte the one that we write: its
    /// chains count as made, the rest of a firewall must be right. Settings of links are sysctls too.
    fn verify_made(&mut self) -> Result<(), Failed> {
        let rest = self.node.plan(&self.full, None)?;
        let missing =
            rest.steps.iter().find(|step| !matches!(step.op, Op::SetChain { .. } | Op::SetSysctl { .. }));
        match missing {
            None => Ok(()),
            Some(step) => {
                Err(Failed::meaningless("what ip, nft and wg made", format!("{step} is left to do")))
            }
        }
    }

    fn prepare(&mut self) -> Result<(), Failed> {
        self.node.settle(&self.before, &self.keys, "what is there beforehand")
    }

    fn reach(&mut self, desired: &NodeState, what: &str) -> Result<(), Failed> {
        self.node.settle(desired, &self.keys, what)
    }

    /// Has the tunnel process let go of every device: none of the programs could ask it to.
    fn let_go(&mut self) -> Result<(), Failed> {
        let observed = self.node.observe(None)?;
        let mut without = observed.clone();
        for namespace in without.namespaces.values_mut() {
            namespace.devices.clear();
            namespace.peers.clear();
        }
        let todo = plan(&without, &observed);
        self.node.apply(&todo, &self.keys)
    }

    /// What `wg setconf` says of the device whose peer a step sets.
    fn interface(&self, step: &Step) -> Option<String> {
        let Op::SetPeer { key, .. } = &step.op else { return None };
        let device = self.full.namespaces.get(&step.netns)?.devices.get(&key.link)?;
        interface(&self.keys, &device.public_key, device.listen_port)
    }
}

/// What is of no resource: the host's namespace, and `public`, where tunnels' sockets live.
fn ground_of(full: &NodeState) -> NodeState {
    let of_a_resource = |netns: &Netns| match netns {
        Netns::Host => false,
        Netns::Named(name) => name.role() != Some(NetnsRole::Public),
    };
    let mut ground = full.clone();
    ground.namespaces.retain(|netns, _| !of_a_resource(netns));
    ground
}

/// That and tunnels: a namespace each with its sysctls, a TUN and a device without peers.
fn before(full: &NodeState) -> NodeState {
    let mut before = ground_of(full);
    for (netns, namespace) in full.namespaces.iter().filter(|(_, namespace)| !namespace.devices.is_empty()) {
        let there = before.at(netns.clone());
        there.sysctls = namespace.sysctls.clone();
        there.devices = namespace.devices.clone();
        there.links = namespace.links.clone();
        there.links.retain(|_, link| matches!(link.kind, LinkKind::Loopback | LinkKind::Tun { .. }));
        there.links.values_mut().for_each(|link| link.up = link.kind == LinkKind::Loopback);
    }
    before
}

/// Takes firewalls and tunnels away, and the routes by them.
fn only_links(state: &mut NodeState) {
    for namespace in state.namespaces.values_mut() {
        let tunnels: BTreeSet<_> = namespace
            .links
            .iter()
            .filter(|(_, link)| matches!(link.kind, LinkKind::Tun { .. }))
            .map(|(name, _)| *name)
            .collect();
        namespace.firewall = None;
        namespace.devices.clear();
        namespace.peers.clear();
        namespace.links.retain(|name, _| !tunnels.contains(name));
        namespace.addresses.retain(|key, ()| !tunnels.contains(&key.link));
        namespace.routes.retain(|_, target| match target {
            RouteTarget::Link(link) | RouteTarget::Via { link, .. } => !tunnels.contains(link),
            RouteTarget::Nexthop(_) | RouteTarget::Unreachable => true,
        });
    }
}
