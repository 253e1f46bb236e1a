//! `sixfold farm exit set`: who holds an exit slot.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sixfold_core::id::{ExitSlot, Label};
use sixfold_core::model::{FarmDraft, SlotDraft, SlotKey};
use sixfold_core::trust::Role;

use super::{change, draft, keys, own};
use crate::caller::{KnownFarm, RegistryArgs, RemovalArgs};
use crate::failed::{Failed, Kind};

/// Say which nodes hold an exit slot
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, after_long_help = "Examples:\n  sixfold farm exit set 1 ant bee")]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Set(SetArgs),
}

/// Make an exit slot, or give it other holders: the first one serves until the slot passes on, the others have everything ready. Another first one is a move at once, without the questions of `sixfold exit move`
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    sixfold farm exit set 1 ant bee --public-v4 203.0.113.5/24 --default-v4 203.0.113.1\n  \
    sixfold farm exit set 2001:db8:a::/48#1 bee ant")]
struct SetArgs {
    /// 1 to 15; with its /48 (2001:db8:a::/48#1) where the farm has several
    #[arg(value_name = "SLOT")]
    slot: String,

    /// Public nodes of the farm, by name or id
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<Label>,

    /// The address that tenants' IPv4 leaves from, with the length of its subnet [default: as it was]
    #[arg(long, value_name = "ADDRESS/LENGTH", requires = "default_v4")]
    public_v4: Option<Ipv4Net>,

    /// The IPv4 default gateway of that subnet [default: as it was]
    #[arg(long, value_name = "ADDRESS", requires = "public_v4")]
    default_v4: Option<Ipv4Addr>,

    /// Whether the router has two next hops for the slot, so that two of its nodes forward its IPv6 at once [default: as it was]
    #[arg(long, value_name = "true|false")]
    ecmp: Option<bool>,

    #[command(flatten)]
    removal: RemovalArgs,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let Verb::Set(args) = &args.verb;
    let mut caller = args.registry.call(Role::Farmer)?;
    let farm = own(&mut caller)?;
    let before = draft(&farm);
    let key = slot_key(&args.slot, &before)?;
    let holders = holders(&farm, &args.nodes)?;
    let was = before.slots.iter().find(|slot| slot.key == key).cloned();
    let was = was.unwrap_or_else(|| SlotDraft::new(key, Vec::new()));
    let mut slots: Vec<SlotDraft> = before.slots.iter().filter(|slot| slot.key != key).cloned().collect();
    slots.push(SlotDraft {
        holders,
        public_v4: args.public_v4.or(was.public_v4),
        default_v4: args.default_v4.or(was.default_v4),
        ecmp: args.ecmp.unwrap_or(was.ecmp),
        tenure: None,
        ..was
    });
    slots.sort_by_key(|slot| slot.key);
    change(&mut caller, &farm, FarmDraft { slots, ..before }, &args.removal)
}

fn holders(farm: &KnownFarm, words: &[Label]) -> Result<Vec<sixfold_core::id::NodeId>, Failed> {
    let names = farm.names();
    let found = words.iter().map(|word| names.node_of(farm.id(), word).cloned());
    Ok(found.collect::<Result<_, _>>()?)
}

/// The slot that is meant: its number is enough where the farm has one /48, or one slot of that number.
pub(crate) fn slot_key(text: &str, farm: &FarmDraft) -> Result<SlotKey, Failed> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let slot: ExitSlot = text.parse().map_err(|error| {
        Failed::new(Kind::Usage, error).hint(Some("a slot is 1 to 15, or like 2001:db8:a::/48#1"))
    })?;
    let of_number: Vec<SlotKey> = farm.slots.iter().map(|it| it.key).filter(|key| key.slot == slot).collect();
    match (&of_number[..], &farm.allocations[..]) {
        ([key], _) => Ok(*key),
        ([], [prefix]) if prefix.prefix_len() == 48 => Ok(SlotKey { prefix: *prefix, slot }),
        ([], _) => {
            let what = format!("the farm has several /48s: slot {slot} is of one of them");
            Err(Failed::new(Kind::Usage, what).hint(Some(format!("like 2001:db8:a::/48#{slot}"))))
        }
        (several, _) => {
            let what = format!("the farm has several slots {slot}: {}", keys(several.iter().copied()));
            Err(Failed::new(Kind::Usage, what).hint(Some("name one of them")))
        }
    }
}
