//! A gateway's routes: those of a full slot, three for each resource over one nexthop for each network, and a /64 for
//! each of 65,536. Against `ip -batch` of the same lines, and BIRD, all in the same namespace.

use std::collections::BTreeSet;
use std::path::Path;

use sixfold_core::name::NetnsName;
use sixfold_core::plan::{Plan, plan};
use sixfold_core::state::{METRIC, Netns, Nexthop, NexthopId, NodeState, RouteKey, RouteTarget};

use crate::Setting;
use crate::bird::Bird;
use crate::failed::Failed;
use crate::farm::{Farm, KeyMap, Shape};
use crate::figure::{Aim, Costs, Figure, Samples, Unit};
use crate::ground::{self, Node, alone, run as command, timed, write};

/// The gateway of slot 1 of the first allocation.
const GATEWAY: &str = "gw-1-1";
/// Networks whose resources, of so many nodes and an exit point each, fill a slot.
const FULL: Shape = Shape { networks: 256, nodes: 15, workloads: 0, gateway: true };
const TINY: Shape = Shape { networks: 4, nodes: 3, workloads: 0, gateway: true };
/// Every /64 of a /48.
const ALL_64S: u16 = u16::MAX;

const BATCH: &str = "/run/routes.batch";

pub(super) fn run(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let shape = setting.size(FULL, TINY);
    let mut figures = alone(move || Gateway::new(shape, None)?.measure(setting.rounds))?;
    let last = setting.size(ALL_64S, 63);
    figures.extend(alone(move || Gateway::new(TINY, Some(last))?.measure(setting.rounds))?);
    Ok(figures)
}

/// A gateway, and what it has but for what leads to resources.
struct Gateway {
    node: Node,
    scope: BTreeSet<Netns>,
    bare: NodeState,
    full: NodeState,
    routes: usize,
    aim: Option<Aim>,
}

impl Gateway {
    /// Makes it, without routes to resources. `last`: instead of those there are the /64s up to that, over the nexthops
    /// in turn.
    fn new(shape: Shape, last: Option<u16>) -> Result<Self, Failed> {
        let netns = gateway();
        let mut full = Farm::new(shape)?.desired()?;
        // The exit points are there for the other ends of links: their tunnels are not measured here.
        for namespace in full.namespaces.values_mut() {
            namespace.devices.clear();
            namespace.peers.clear();
        }
        if let Some(last) = last {
            lead_64s(&mut full, &netns, last);
        }
        let mut bare = full.clone();
        let emptied = bare.at(netns.clone());
        emptied.nexthops.clear();
        emptied.routes.retain(|_, target| !matches!(target, RouteTarget::Nexthop(_)));
        let routes = full.at(netns.clone()).routes.len() - bare.at(netns.clone()).routes.len();
        ground::nic()?;
        let mut node = Node::new()?;
        node.settle(&bare, &KeyMap::default(), "a gateway without routes")?;
        let aim = last.is_none().then_some(Aim::Times(5.0));
        Ok(Self { node, scope: [netns].into(), bare, full, routes, aim })
    }

    fn measure(&mut self, rounds: usize) -> Result<Vec<Figure>, Failed> {
        let todo = plan(&self.full.only(&self.scope), &self.bare.only(&self.scope));
        write(Path::new(BATCH), &batch(&todo))?;
        let batched = format!("ip -n {GATEWAY} -batch {BATCH}");
        let (mut ours, mut unchanged) = (Costs::default(), Costs::default());
        let (mut theirs, mut again, mut dumped) = <(Costs, Costs, Costs)>::default();
        let (mut changes, mut bird, mut bird_again) = <(Samples, Samples, Samples)>::default();
        let other = Bird::start(GATEWAY)?;
        let save = |family: &str| command(&format!("ip -n {GATEWAY} {family} route save table all"));
        let nexthops: Vec<Nexthop> =
            self.full.only(&self.scope).at(gateway()).nexthops.values().cloned().collect();
        for _ in 0..rounds {
            ours.push(timed(|| self.reach(true))?.0);
            let (cost, nothing) = timed(|| self.reach(true))?;
            unchanged.push(cost);
            changes.push(nothing.len() as f64);
            // What the kernel says, as it says it.
            dumped.push(timed(|| save("-6").and_then(|_| save("-4")))?.0);
            self.reach(false)?;
            self.node = Node::new()?; // what it kept open, every program that is started would have to close
            theirs.push(timed(|| command(&batched))?.0);
            again.push(timed(|| command(&batched))?.0);
            self.node.verify(&self.full, Some(&self.scope), "what ip -batch made")?;
            self.reach(false)?;
            for (side, count) in
                [(&mut bird, self.routes), (&mut bird_again, self.routes), (&mut Samples::default(), 0)]
            {
                side.push(other.configure(count, &nexthops)?.as_secs_f64());
            }
        }
        let routes = self.routes;
        let mut figures = Vec::new();
        let (by_clock, again_by_clock) = (ours.wall().clone(), unchanged.wall().clone());
        let unchanged_by_clock = again_by_clock.clone();
        let dumped = dumped.wall().clone();
        let built = ours.beside(&format!("{routes} routes from nothing"), "ip -batch", theirs);
        figures.extend(built.map(|figure| Figure { aim: self.aim, ..figure }));
        figures.extend(unchanged.beside(&format!("{routes} routes, nothing changed"), "ip -batch", again));
        // Told the same again, BIRD compares with what it was told, and does not look at the kernel.
        for (what, ours, name, theirs) in [
            ("from nothing", by_clock, "BIRD, as many /64s", bird),
            ("nothing changed", again_by_clock, "BIRD, without looking", bird_again),
        ] {
            let what = format!("{routes} routes, {what}");
            figures.push(Figure::new(what, Unit::Seconds, ours).beside(name, theirs));
        }
        let what = format!("{routes} routes, nothing changed");
        let looked = Figure::new(what, Unit::Seconds, unchanged_by_clock);
        figures.push(looked.beside("one dump: ip route save", dumped).aiming(Aim::Times(1.0)));
        let sent = format!("{routes} routes, nothing changed: changes");
        figures.push(Figure::new(sent, Unit::Count, changes).aiming(Aim::AtMost(0.0)));
        Ok(figures)
    }

    /// The path of the agent for this namespace: with what leads to resources, or without.
    fn reach(&mut self, full: bool) -> Result<Plan, Failed> {
        let desired = if full { &self.full } else { &self.bare };
        self.node.reach(desired, Some(&self.scope), &KeyMap::default())
    }
}

fn gateway() -> Netns {
    Netns::Named(NetnsName::try_from(GATEWAY).expect("a name that gateways have"))
}

/// Puts routes to /64s in the place of those to resources, as many over each nexthop.
fn lead_64s(state: &mut NodeState, netns: &Netns, last: u16) {
    let gateway = state.at(netns.clone());
    let nexthops: Vec<NexthopId> = gateway.nexthops.keys().copied().collect();
    gateway.routes.retain(|_, target| !matches!(target, RouteTarget::Nexthop(_)));
    for (number, nexthop) in (0..=last).zip(nexthops.into_iter().cycle()) {
        let destination = format!("2001:db8:b:{number:x}::/64").parse().expect("four groups are a prefix");
        gateway.routes.insert(RouteKey { destination, metric: METRIC }, RouteTarget::Nexthop(nexthop));
    }
}

/// A plan's lines, as `ip -batch` reads them: it knows a family by the prefix, and takes no option in a line.
fn batch(plan: &Plan) -> String {
    let start = format!("ip -n {GATEWAY} ");
    let line = |line: String| line.replace(&start, "").replacen("-6 ", "", 1).replacen("-4 ", "", 1);
    plan.steps.iter().map(|step| line(step.to_string()) + "\n").collect()
}
