//! A thousand agents that hold feeds: the real client and the real agent, each with its files on a disk, over a kernel that
//! is pretended. One change that touches ten of them: from the tenant's sending it until the ten have no plan left, and
//! what is sent for it. The registry is a process of its own.
//!
//! Beside the time: what the commit alone takes. Beside the bytes: what the ten were sent at their start, which is all
//! that they may see. That nobody else was sent anything is not a figure: the bench fails otherwise.

mod crowd;
mod realm;

use std::time::{Duration, Instant};

use self::crowd::Crowd;
use self::realm::Realm;
pub(crate) use self::realm::be_the_registry;
use crate::Setting;
use crate::failed::Failed;
use crate::figure::{Aim, Figure, Samples, Unit};

/// Nodes of a network; with the exit's holder it touches one more.
const MEMBERS: usize = 9;
/// Agents are all in sync by then.
const START: Duration = Duration::from_secs(300);
/// A change has come to all that it touches by then.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nobody has news for so long: what was begun is over.
const QUIET: Duration = Duration::from_secs(2);
/// Changes in a round.
const CHANGES: usize = 6;

pub(super) fn run(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let nodes = setting.size(1000, 1 + 3 * MEMBERS);
    let networks = (nodes - 1) / MEMBERS;
    let realm = Realm::found(nodes, networks, MEMBERS)?;
    let mut crowd = Crowd::gather(&realm)?;
    let began = Instant::now();
    crowd.drive(began + START, |_, member| member.is_in_sync() && member.is_served())?;
    // Who has a key says it, and others hear of it.
    let settled = crowd.settle(began + START, QUIET)?;
    let mut start = Samples::default();
    start.push(settled.duration_since(began).as_secs_f64());
    let at_start = crowd.bytes();
    let (mut slowest, mut commits, mut bytes, mut shown) =
        (Samples::default(), Samples::default(), Samples::default(), Samples::default());
    for round in 0..setting.rounds {
        let mut times = Vec::new();
        for change in 0..CHANGES {
            let network = (round * CHANGES + change) % networks;
            let touched = realm.touched(network);
            crowd.settle(Instant::now() + PATIENCE, QUIET)?;
            let before = crowd.bytes();
            let revisions = crowd.revisions();
            let began = Instant::now();
            let put = realm.change(network)?;
            let mut arrived = vec![None; nodes];
            crowd.drive(began + PATIENCE, |at, member| {
                let there =
                    !touched.contains(&at) || (member.revision() > revisions[at] && member.is_in_sync());
                if there && arrived[at].is_none() {
                    arrived[at] = Some(began.elapsed());
                }
                there
            })?;
            let commit = put.join()?;
            times.extend(touched.iter().filter_map(|at| arrived[*at]).map(|time| time.as_secs_f64()));
            commits.push(commit.as_secs_f64());
            let after = crowd.bytes();
            let sent = |at: &usize| after[*at] - before[*at];
            if let Some(other) = (0..nodes).find(|at| !touched.contains(at) && sent(at) > 0) {
                let what = format!("node {other} was sent {} bytes that are not its own", sent(&other));
                return Err(Failed::meaningless("a change of ten", what));
            }
            bytes.push(touched.iter().map(|at| sent(at) as f64).sum());
            shown.push(touched.iter().map(|at| at_start[*at] as f64).sum());
        }
        times.sort_by(f64::total_cmp);
        let at = (times.len() * 99).div_ceil(100).saturating_sub(1);
        times.get(at).into_iter().for_each(|time| slowest.push(*time));
    }
    let what = |of: &str| format!("{nodes} agents: {of}");
    Ok(vec![
        Figure::new(what("all in sync from their start"), Unit::Seconds, start),
        Figure::new(what("a change of ten, p99 to the empty plan"), Unit::Seconds, slowest)
            .beside("the commit alone", commits)
            .aiming(Aim::AtMost(0.5)),
        Figure::new(what("a change of ten, sent"), Unit::Bytes, bytes).beside("all that the ten see", shown),
    ])
}
