//! `sixfold exit drill`: what a move of a slot costs its networks, foretold and then measured by moving it.
//!
//! ```text
//! prediction ── is it meant? ──▶ measuring ── move there ── move back ──▶ loss of each network
//! ```
//!
//! Owns: the order of these. A move is that of `sixfold exit move`.

mod ahead;
mod loss;
mod prediction;
mod probe;
mod report;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sixfold_core::id::NodeId;
use sixfold_core::model::SlotDraft;
use sixfold_core::trust::Role;

use self::probe::{Probe, Target};
use self::report::{Moved, Report};
use super::moving::{self, Shift};
use crate::caller::{Caller, KnownFarm, RegistryArgs, RemovalArgs};
use crate::failed::{Failed, Kind};
use crate::{farm, output};

/// How long is measured before the first move, and after each.
const STILL: Duration = Duration::from_secs(3);
/// How long the node that had the slot may take to be ready to have it again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at that.
const PAUSE: Duration = Duration::from_millis(500);

/// Move an exit slot to the next of its nodes that is ready and back, and tell what each network lost by it
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Move an exit slot to the next of its nodes that is ready and back, and tell what each network lost by it.\n\n\
    It tells first who is affected and for how long, with who says so, and asks. Then it moves the slot as `sixfold exit move` does, and \
    back; IPv4 connections end at each move. Meanwhile it sends packets over IPv6 from this machine to an address that nobody has in each \
    resource of each network, which its node's kernel answers with an error: five a second to each resource, 320 to all together. No tenant \
    has to open anything, and no agent takes part. This machine needs a way over IPv6 to the farm; what is lost on it is counted, too, and what \
    was lost before the first move is told apart. Resources that do not answer before are not measured.\n\n\
    It is refused while no second node is ready, or nothing answers. If it ends half way it says where the slot is: `sixfold exit move` gives \
    it back.\n\n\
    With --json: farm, slot, from, to (id, name), stays, by_kernel, public_v4, between_ms, networks (network, nodes, ports_v4, own_v4, \
    answering, loss: gap_max_ms, parts (sent, lost)), moves (to, took_ms), lost.",
    after_long_help = "Exit codes:\n  \
        0  done, and no IPv6 packet was lost since the first move began\n  \
        1  refused: what was given is wrong, or no second node is ready\n  \
        2  usage: the arguments are wrong, or do not go together\n  \
        3  environment: packets were lost, the slot is not where it was, nothing answers from here, or the registry does not\n\n\
        Examples:\n  sixfold exit drill 1 --dry-run\n  sixfold exit drill 1\n  sixfold exit drill 1 --yes --json"
)]
pub(super) struct Args {
    /// 1 to 15; with its /48 (2001:db8:a::/48#1) where the farm has several
    #[arg(value_name = "SLOT")]
    slot: String,

    /// End after the prediction: move nothing
    #[arg(long)]
    dry_run: bool,

    /// Leave the slot where it goes to
    #[arg(long)]
    stay: bool,

    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,

    /// Print one JSON document; needs --yes or --dry-run
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    if args.json && !args.yes && !args.dry_run {
        let what = "--json asks nobody whether it is meant";
        return Err(Failed::new(Kind::Usage, what).hint(Some("say --yes if it is, or --dry-run")));
    }
    let mut caller = args.registry.call(Role::Farmer)?;
    let farm = farm::own(&mut caller)?;
    let slot = moving::slot(&args.slot, &farm::draft(&farm))?;
    let from = moving::holder(&mut caller, &farm, &slot)?;
    let to = ahead::next_ready(&mut caller, &farm, &slot, &from)?;
    let (prediction, targets) = ahead::predict(&mut caller, (&farm, &slot), (&from, &to), args.stay)?;
    if !args.json {
        output::print(&prediction.text())?;
    } else if args.dry_run {
        output::print_json(&Report::default().document(&prediction))?;
    }
    if args.dry_run {
        return Ok(());
    }
    if targets.is_empty() {
        let what = "nothing was done: no resource of the slot's networks answers from here, so nothing would be measured";
        let hint =
            "run it where the farm is reached over IPv6; `sixfold exit move` moves a slot without measuring";
        return Err(Failed::environment(what).hint(Some(hint)));
    }
    let back = if args.stay { "" } else { " and back" };
    output::agree(&format!("\nmove slot {} to {}{back}?", slot.key, prediction.to.name), args.yes)?;
    let mut drill = Drill { caller, farm, slot, quiet: args.json, moved: Vec::new() };
    let stays = args.stay;
    let (ended, probes) = drill.measured(&targets, |drill| {
        drill.shift((&from, &to)).map_err(|failed| {
            failed.hint(Some("`sixfold exit status --registry URL` tells who serves the slot now"))
        })?;
        if stays { Ok(()) } else { drill.back((&to, &from)) }
    })?;
    let report = Report::new(&prediction, (&targets, &probes), drill.moved);
    if args.json {
        output::print_json(&report.document(&prediction))?;
    } else {
        output::print(&report.text(&prediction))?;
    }
    ended?;
    report.verdict(&prediction)
}

/// Moves under way, and what was done so far.
struct Drill {
    caller: Caller,
    farm: KnownFarm,
    /// As it was before.
    slot: SlotDraft,
    quiet: bool,
    moved: Vec<Moved>,
}

impl Drill {
    /// Does something while resources are asked, with some time before and after. Gives how that ended, and all that was sent.
    fn measured(
        &mut self,
        targets: &[Target],
        moves: impl FnOnce(&mut Self) -> Result<(), Failed>,
    ) -> Result<(Result<(), Failed>, Vec<Probe>), Failed> {
        let asking = Asking::start(targets.to_vec());
        thread::sleep(STILL);
        let ended = moves(self);
        thread::sleep(STILL);
        match (ended, asking.end()) {
            (Err(failed), Err(_)) => Err(failed),
            (ended, probes) => Ok((ended, probes.map_err(Failed::environment)?)),
        }
    }

    /// Moves the slot by the way of `exit move`, to whom its farmer likes as before but for that.
    fn shift(&mut self, (from, to): (&NodeId, &NodeId)) -> Result<(), Failed> {
        let (key, order) = (self.slot.key, self.slot.holders.clone());
        let shift = Shift { key, from: from.clone(), to: to.clone(), order };
        let began = Instant::now();
        let name = moving::name_of(&self.farm, to);
        self.moved.push(Moved { to: to.clone(), name: name.clone(), began, took: None });
        let quiet = self.quiet;
        let mut tell = |text: &str| if quiet { Ok(()) } else { output::print(text) };
        shift.make(&mut self.caller, &RemovalArgs::default(), &mut tell)?;
        if let Some(moved) = self.moved.last_mut() {
            moved.took = Some(began.elapsed());
        }
        Ok(())
    }

    /// Gives the slot back, once the node that had it is ready.
    fn back(&mut self, (from, to): (&NodeId, &NodeId)) -> Result<(), Failed> {
        thread::sleep(STILL);
        let began = Instant::now();
        let where_it_is = |failed: Failed, drill: &Self| {
            let [from, to] = [from, to].map(|id| moving::name_of(&drill.farm, id));
            failed.hint(Some(format!(
                "the slot had gone to {from}; once {to} is ready `sixfold exit move {} {to}` gives it back",
                drill.slot.key
            )))
        };
        loop {
            match moving::may_move(&mut self.caller, &self.farm, &self.slot, (from, to)) {
                Ok(()) => break,
                Err(failed) if began.elapsed() > PATIENCE => return Err(where_it_is(failed, self)),
                Err(_) => thread::sleep(PAUSE),
            }
        }
        self.shift((from, to)).map_err(|failed| where_it_is(failed, self))
    }
}

/// Resources that are asked until it is ended.
struct Asking {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Vec<Probe>>>,
}

impl Asking {
    fn start(targets: Vec<Target>) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = thread::spawn(move || probe::ask(&targets, |_| told.load(Ordering::Relaxed)));
        Self { ends, thread }
    }

    /// All that was sent, and what of it was answered.
    fn end(self) -> io::Result<Vec<Probe>> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().expect("asking does not panic")
    }
}

/// So many of something.
fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
