//! A thousand agents that hold feeds: the real client and the real agent, each with its files on a disk, over a kernel that
//! is pretended. One change that touches ten of them: from the tenant's sending it until the ten have no plan left, and
//! what is sent for it. The registry is a process of its own.
//!
//! Then the registry ends and starts again under them: how long until all hold their feeds, what is sent for it, and how
//! long somebody else waits meanwhile.
//!
//! Beside the time: what the commit alone takes. Beside the bytes: what the ten were sent at their start, which is all
//! that they may see. That nobody else was sent anything is not a figure: the bench fails otherwise.

mod crowd;
mod realm;
pub(super) mod siege;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    let mut realm = Realm::found(nodes, networks, MEMBERS)?;
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
        slowest.push(p99(times));
    }
    let what = |of: &str| format!("{nodes} agents: {of}");
    let restarts = restarts(setting, &mut realm, &mut crowd)?;
    let mut figures = vec![
        Figure::new(what("all in sync from their start"), Unit::Seconds, start),
        Figure::new(what("a change of ten, p99 to the empty plan"), Unit::Seconds, slowest)
            .beside("the commit alone", commits)
            .aiming(Aim::AtMost(0.5)),
        Figure::new(what("a change of ten, sent"), Unit::Bytes, bytes).beside("all that the ten see", shown),
    ];
    let Restarts { held, bytes, all, slowest } = restarts;
    figures.extend([
        Figure::new(what("the registry restarts, until all hold feeds"), Unit::Seconds, held),
        Figure::new(what("the registry restarts, sent"), Unit::Bytes, bytes).beside("all that they see", all),
        Figure::new(what("the registry restarts, another's answer, p99"), Unit::Seconds, slowest),
    ]);
    Ok(figures)
}

/// What restarts come to.
#[derive(Default)]
struct Restarts {
    held: Samples,
    bytes: Samples,
    all: Samples,
    slowest: Samples,
}

/// Ends the registry and starts it again under all agents. Counted from when it listens until each has its feed again and
/// nobody has news; beside them somebody asks who has nothing to do with them.
fn restarts(setting: Setting, realm: &mut Realm, crowd: &mut Crowd) -> Result<Restarts, Failed> {
    let mut restarts = Restarts::default();
    for _ in 0..setting.rounds {
        crowd.settle(Instant::now() + PATIENCE, QUIET)?;
        let before: u64 = crowd.bytes().iter().sum();
        realm.kill();
        crowd.drive(Instant::now() + PATIENCE, |_, member| !member.is_connected())?;
        realm.revive()?;
        let (began, end) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let asking = realm.ask_on(&end)?;
        crowd.drive(began + PATIENCE, |_, member| member.is_connected() && member.is_in_sync())?;
        restarts.held.push(began.elapsed().as_secs_f64());
        crowd.settle(Instant::now() + PATIENCE, QUIET)?;
        end.store(true, Ordering::Relaxed);
        let took = asking.join().map_err(|_| Failed::meaningless("somebody else", "ended by a bug"))?;
        restarts.slowest.push(p99(took.iter().map(Duration::as_secs_f64).collect()));
        let after: u64 = crowd.bytes().iter().sum();
        restarts.bytes.push((after - before) as f64);
        restarts.all.push(before as f64);
    }
    Ok(restarts)
}

/// What all but one of a hundred are below; 0 of none.
fn p99(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get((times.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}
