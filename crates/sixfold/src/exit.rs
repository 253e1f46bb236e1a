//! `sixfold exit`: what a node does as the way out of networks.

mod drill;
mod moving;
mod status;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use sixfold_agent::blocks::{self, Taken};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::events::utc;
use crate::failed::Failed;
use crate::{Done, output};

/// Exit slots: who serves them, who shall, and who spoke from where
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "Examples:\n  sixfold exit status\n  sixfold exit move 1 bee\n  sixfold exit drill 1 --dry-run\n  sixfold exit who 203.0.113.7:40123 2026-11-20T12:00:00+01:00"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Status(status::Args),
    Move(moving::Args),
    Drill(drill::Args),
    Who(WhoArgs),
}

/// Say which network spoke from a port of this node's public IPv4 address, and when
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Say which network spoke from a port of this node's public IPv4 address, and when.\n\n\
    A gateway gives each network a block of ports of its slot's address, and some an address of their own, and writes down who has \
    which from when until when: not connections, only blocks. So a complaint can be answered that names an address, a port and a time. ICMP echoes have an \
    identifier in place of a port. What ended is kept for 180 days, on the node that held the slot then; `agent --remove` \
    deletes it. IPv6 needs none of this: its addresses are the networks' own.\n\n\
    Networks whose IPv4 leaves at a node itself (`local_v4`) speak there from the same ports: each that could is told, by that node.\n\n\
    Behind a router that translates once more, the address and port are those that the router saw from this node.\n\n\
    With --json: address, port, at_secs (since 1970), and found: a list of network, ports (null: all of an address of its own), allocation, slot, index, from_secs, \
    until_secs.",
    after_long_help = "Exit codes:\n  \
        0  somebody had it\n  \
        1  refused: nobody had it, or what was given is wrong\n  \
        2  usage: the arguments are wrong, or do not go together\n  \
        3  environment: the log cannot be read, or there is none\n\n\
        Examples:\n  \
        sixfold exit who 203.0.113.7:40123 2026-11-20T12:00:00+01:00\n  \
        sixfold exit who 203.0.113.7:40123 --json | jq -r '.found[].network'"
)]
struct WhoArgs {
    /// As the complaint names it
    #[arg(value_name = "ADDRESS:PORT")]
    who: SocketAddrV4,

    /// When it was, with its time zone [default: now]
    #[arg(value_name = "TIME", value_parser = moment)]
    time: Option<u64>,

    /// Folder of what outlives a reboot
    #[arg(long, value_name = "DIR", default_value = "/var/lib/sixfold")]
    state: PathBuf,

    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    match &args.verb {
        Verb::Status(args) => status::run(args)?,
        Verb::Move(args) => moving::run(args)?,
        Verb::Drill(args) => drill::run(args)?,
        Verb::Who(args) => who(args)?,
    }
    Ok(Done::Yes)
}

fn who(args: &WhoArgs) -> Result<(), Failed> {
    let read = blocks::read(&args.state).map_err(|error| {
        let hint = error.hint();
        Failed::environment(error).hint(hint)
    })?;
    let all = read.filter(|all| !all.is_empty()).ok_or_else(|| {
        let what =
            format!("no ports were given here: {} tells of none", args.state.join(blocks::FILE).display());
        Failed::environment(what)
            .hint(Some("ask the node that held the slot then; --state names its agent's folder"))
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let at_secs = args.time.unwrap_or(now);
    let (address, port) = (*args.who.ip(), args.who.port());
    let found: Vec<&Taken> = all.iter().filter(|taken| taken.has(address, port, at_secs)).collect();
    if args.json {
        let found: Vec<_> = found.iter().map(|taken| document(taken)).collect();
        output::print_json(&json!({ "address": address, "port": port, "at_secs": at_secs, "found": found }))?;
    } else {
        output::print(&found.iter().map(|taken| line(taken)).collect::<String>())?;
    }
    if !found.is_empty() {
        return Ok(());
    }
    let ours: BTreeSet<Ipv4Addr> = all.iter().map(|taken| taken.block.address).collect();
    let hint = match ours.contains(&address) {
        true => "look whether the port is the sender's, and the time right to the second and in its zone"
            .to_owned(),
        false => {
            let ours: Vec<String> = ours.iter().map(ToString::to_string).collect();
            format!("this node's addresses were: {}", ours.join(", "))
        }
    };
    Err(Failed::refused(format!("nobody had {} at {}", args.who, utc(at_secs))).hint(Some(hint)))
}

fn line(taken: &Taken) -> String {
    let Taken { block, network, from_secs, until_secs } = taken;
    let network = network.as_ref().map_or_else(|| "a network without a name".to_owned(), ToString::to_string);
    let until = until_secs.map_or_else(|| "now".to_owned(), utc);
    format!(
        "{network}  {} slot {} of {}, {} until {until}\n",
        block
            .ports
            .map_or_else(|| "an address of its own, by".to_owned(), |ports| format!("ports {ports} of")),
        block.index.slot(),
        block.allocation,
        utc(*from_secs)
    )
}

fn document(taken: &Taken) -> serde_json::Value {
    let Taken { block, network, from_secs, until_secs } = taken;
    json!({
        "network": network, "ports": block.ports, "allocation": block.allocation, "slot": block.index.slot(),
        "index": block.index, "from_secs": from_secs, "until_secs": until_secs,
    })
}

/// Seconds since 1970 of a time as RFC 3339 has it.
fn moment(text: &str) -> Result<u64, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|error| {
        format!("{error}; a time is written 2026-11-20T12:00:00Z or 2026-11-20T13:00:00+01:00")
    })?;
    u64::try_from(time.unix_timestamp()).map_err(|_| "it is before 1970".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

    use super::moment;

    #[test]
    fn a_time_has_a_zone() {
        assert_eq!(moment("1970-01-01T01:00:05+01:00").unwrap(), 5);
        assert_eq!(moment("2026-11-21T18:46:12Z").unwrap(), 1_795_286_772);
        let refused = moment("2026-11-21T18:46:12").unwrap_err();
        assert!(refused.contains("+01:00"), "{refused}");
        assert!(moment("1969-12-31T23:59:59Z").is_err());
    }
}
