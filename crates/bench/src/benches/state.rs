//! What a node of 4,096 resources shall be, and what is left to do when all of it is there: the two functions that every
//! change asks. Pure, so beside what must be done before either: reading the same snapshot as JSON.
//!
//! What is observed shares no memory with what is desired, as if it had just been read from a kernel. Times are of the
//! processor, which neighbours do not lengthen.

use sixfold_core::desire::desire;
use sixfold_core::model::Snapshot;
use sixfold_core::plan::plan;
use sixfold_core::state::NodeState;

use crate::Setting;
use crate::failed::Failed;
use crate::farm::{Farm, Shape, own};
use crate::figure::{Aim, Figure, Samples, Unit};
use crate::ground::timed;

/// Seconds for both together.
const AIM: f64 = 0.05;

pub(super) fn run(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let networks = setting.size(4096, 4);
    let bare = Shape { networks, nodes: 3, workloads: 0, gateway: false };
    let mut figures = measure(setting, bare)?;
    figures.extend(measure(setting, Shape { workloads: 1, ..bare })?);
    Ok(figures)
}

fn measure(setting: Setting, shape: Shape) -> Result<Vec<Figure>, Failed> {
    let text = text(&Farm::new(shape)?.snapshot()?)?;
    let (mut desiring, mut planning, mut both) = (Samples::default(), Samples::default(), Samples::default());
    let mut reading = Samples::default();
    for _ in 0..setting.rounds {
        let (time, snapshot) = timed(|| {
            let read: Result<Snapshot, _> = serde_json::from_slice(&text);
            read.map_err(|error| Failed::meaningless("a snapshot", error.to_string()))
        })?;
        reading.push(time.processor.as_secs_f64());
        let own = own(&snapshot);
        let (desire_took, desired) = timed(|| Ok(desire(&snapshot, &own)))?;
        let observed = apart(&desired);
        let (plan_took, left) = timed(|| Ok(plan(&desired, &observed)))?;
        if let Some(first) = left.steps.first() {
            return Err(Failed::meaningless("a plan of what is there", first.to_string()));
        }
        desiring.push(desire_took.processor.as_secs_f64());
        planning.push(plan_took.processor.as_secs_f64());
        both.push((desire_took + plan_took).processor.as_secs_f64());
    }
    let of = match shape.workloads {
        0 => format!("{} resources", shape.networks),
        _ => format!("{} resources with a workload each", shape.networks),
    };
    let beside = "the snapshot read";
    Ok(vec![
        Figure::new(format!("{of}: desire"), Unit::Seconds, desiring).beside(beside, reading.clone()),
        Figure::new(format!("{of}: plan, in sync"), Unit::Seconds, planning).beside(beside, reading.clone()),
        Figure::new(format!("{of}: both"), Unit::Seconds, both)
            .beside(beside, reading)
            .aiming(Aim::AtMost(AIM)),
    ])
}

/// The snapshot as it travels.
pub(super) fn text(snapshot: &Snapshot) -> Result<Vec<u8>, Failed> {
    serde_json::to_vec(snapshot).map_err(|error| Failed::meaningless("a snapshot", error.to_string()))
}

/// The same state, every part of it a copy of its own.
fn apart(state: &NodeState) -> NodeState {
    let mut state = state.clone();
    for namespace in state.namespaces.values_mut() {
        namespace.sysctls = (*namespace.sysctls).clone().into();
        for chain in namespace.firewall.iter_mut().flat_map(|firewall| firewall.chains.values_mut()) {
            chain.rules = (*chain.rules).clone().into();
        }
    }
    state
}
