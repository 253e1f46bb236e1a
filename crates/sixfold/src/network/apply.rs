//! `sixfold network plan`, `apply` and `delete`: what would change, and changing it.

use std::path::{Path, PathBuf};

use sixfold_api::resource::Held;
use sixfold_core::id::NetworkId;
use sixfold_core::model::Seat;
use sixfold_core::shown::plain;
use sixfold_core::spec::{Tenant, parse_network};
use sixfold_core::trust::{Role, Subject};

use super::change::{Change, Next, next};
use super::own;
use super::show::ports;
use super::{Word, path, prefix};
use crate::caller::{Caller, Known, RegistryArgs, RemovalArgs, invalid, parsed};
use crate::failed::Failed;
use crate::{Done, output, table};

/// Show what a network's file would change on every node, and who would reach whom; change nothing
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Show what a network's file would change on every node, and who would reach whom; change nothing.\n\n\
    With --json: changes (true or false), version, and if there are changes preview: revision, nodes (node, name, steps (stage, \
    text)), untold, reach (gained, lost: from, to, family, traffic), grants, confirmation_needed (why, change, limit).",
    after_long_help = "Exit codes:\n  \
        0  done\n  \
        1  refused: what was given is wrong\n  \
        2  with --exit-code: something would change; else usage: the arguments are wrong, or do not go together\n  \
        3  environment: the system does not allow it, or something it needs is missing\n\n\
        Examples:\n  \
        sixfold network plan examples/first-farm/acme.toml\n  \
        sixfold network plan acme.toml --steps | less"
)]
pub(super) struct PlanArgs {
    /// Network file, as examples/first-farm/acme.toml
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print the commands of every node, and not only how many
    #[arg(long)]
    steps: bool,

    /// Exit with 2 if something would change
    #[arg(long)]
    exit_code: bool,

    /// Print one JSON document
    #[arg(long, conflicts_with = "steps")]
    json: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

/// Have a network be what its file says
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Have a network be what its file says.\n\n\
    Prints what `sixfold network plan` does, asks, signs the network under its next version and sends it. It is sent again if \
    nobody knows whether it arrived, and done once. If nothing changes, nothing is written.",
    after_long_help = "Examples:\n  \
        sixfold network apply examples/first-farm/acme.toml\n  \
        sixfold network apply acme.toml --yes"
)]
pub(super) struct Args {
    /// Network file, as examples/first-farm/acme.toml
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    consent: ConsentArgs,

    #[command(flatten)]
    registry: RegistryArgs,
}

/// Delete a network: its prefixes rest for a while, and come back if it does
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  sixfold network delete web\n  sixfold network delete web --yes")]
pub(super) struct DeleteArgs {
    /// Its name
    #[arg(value_name = "NETWORK")]
    network: Word,

    #[command(flatten)]
    consent: ConsentArgs,

    #[command(flatten)]
    registry: RegistryArgs,
}

/// What a person agrees to beforehand.
#[derive(Debug, clap::Args)]
struct ConsentArgs {
    /// Print the commands of every node, and not only how many
    #[arg(long)]
    steps: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    removal: RemovalArgs,
}

/// What a file says a network shall be.
fn wanted(caller: &mut Caller, file: &Path) -> Result<(Known, NetworkId, Subject), Failed> {
    let spec = parsed(file, parse_network)?;
    let (tenant, called) = (caller.tenant(), caller.called());
    let tenant = Tenant { id: &tenant, name: called.as_deref() };
    let mut known = match spec.words() {
        Some((farm, nodes)) => caller.known_by(Some(&farm), &nodes)?,
        None => caller.known()?,
    };
    let mut resolved = spec.clone().resolve(tenant, &known.names);
    if resolved.is_err() {
        // For names that may be meant.
        known = caller.known()?;
        resolved = spec.resolve(tenant, &known.names);
    }
    let network = resolved.map_err(invalid(file))?;
    Ok((known, network.id().clone(), Subject::Live(network)))
}

pub(super) fn plan(args: &PlanArgs) -> Result<Done, Failed> {
    let mut caller = args.registry.call(Role::Tenant)?;
    let (known, id, subject) = wanted(&mut caller, &args.file)?;
    let next = next(&mut caller, (&known, &id), subject)?;
    match &next {
        Next::Nothing(version) if args.json => {
            output::print_json(&serde_json::json!({ "changes": false, "version": version }))?;
        }
        Next::Nothing(version) => output::print(&nothing(&id, *version))?,
        Next::Change(change) if args.json => output::print_json(&serde_json::json!({
            "changes": true,
            "version": change.statement.version,
            "preview": change.preview,
        }))?,
        Next::Change(change) => {
            let text = change.text(&known.names, args.steps) + &own_v4_next(&known, change);
            output::print(&(text + &warning(change)))?;
        }
    }
    let pending = args.exit_code && matches!(next, Next::Change(_));
    Ok(if pending { Done::Pending } else { Done::Yes })
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let mut caller = args.registry.call(Role::Tenant)?;
    let (known, id, subject) = wanted(&mut caller, &args.file)?;
    let next = next(&mut caller, (&known, &id), subject)?;
    put(&mut caller, &known, (&id, next), &args.consent)
}

pub(super) fn delete(args: &DeleteArgs) -> Result<(), Failed> {
    let (mut caller, id) = args.network.call(&args.registry)?;
    let next = next(&mut caller, (&Known::default(), &id), Subject::Deleted(id.clone()))?;
    let before = match &next {
        Next::Change(change) => change.before.as_ref(),
        Next::Nothing(_) => None,
    };
    let known = before.map(|before| caller.known_of(before)).transpose()?.unwrap_or_default();
    put(&mut caller, &known, (&id, next), &args.consent)
}

/// Tells what comes, asks, and has it be so.
fn put(
    caller: &mut Caller,
    known: &Known,
    (id, next): (&NetworkId, Next),
    consent: &ConsentArgs,
) -> Result<(), Failed> {
    let change = match next {
        Next::Nothing(version) => return output::print(&nothing(id, version)),
        Next::Change(change) => change,
    };
    output::print(&(change.text(&known.names, consent.steps) + &own_v4_next(known, &change)))?;
    confirmed(&change, &consent.removal)?;
    output::agree("do it?", consent.yes)?;
    let done = caller.put(&path(id), &change.statement, &consent.removal)?;
    let version = change.statement.version;
    output::print(&format!(
        "\nnetwork {}: now version {version}, revision {}\n{}",
        id.name,
        done.revision,
        prefixes(known, &change.statement.subject, &done.grants)
    ))
}

/// Refuses what takes much away and was not said to be meant: before anybody is asked.
fn confirmed(change: &Change, removal: &RemovalArgs) -> Result<(), Failed> {
    let Some(needed) = &change.preview.confirmation_needed else { return Ok(()) };
    if removal.confirm_removal.is_some_and(|limit| u64::from(limit) >= needed.limit) {
        return Ok(());
    }
    let hint = format!("if it is meant: --confirm-removal {}", needed.limit);
    Err(Failed::refused(format!("nothing was done: {}", needed.why)).hint(Some(hint)))
}

fn warning(change: &Change) -> String {
    let needed = change.preview.confirmation_needed.as_ref();
    needed.map_or_else(String::new, |needed| {
        format!("\nto apply it takes --confirm-removal {}: {}\n", needed.limit, plain(&needed.why))
    })
}

fn nothing(id: &NetworkId, version: u64) -> String {
    format!("network {}: nothing changes, version {version}\n", id.name)
}

/// What comes of an address of its own, if it asks for one.
fn own_v4(known: &Known, subject: &Subject, grants: &[Held]) -> String {
    let Subject::Live(network) = subject else { return String::new() };
    own::words(known, network, grants).map_or_else(String::new, |own| format!("own ipv4: {own}\n"))
}

/// The same beforehand.
fn own_v4_next(known: &Known, change: &Change) -> String {
    let own = own_v4(known, &change.statement.subject, &change.preview.grants);
    if own.is_empty() { own } else { format!("\n{own}") }
}

fn prefixes(known: &Known, subject: &Subject, grants: &[Held]) -> String {
    let mut rows: Vec<Vec<String>> =
        grants.iter().map(|held| <[String; 2]>::from(prefix(known, held)).to_vec()).collect();
    rows.sort();
    let exits = grants.iter().filter(|held| held.seat == Seat::Exit);
    let ports = exits.map(|_| format!("ipv4: {}\n", ports(grants)));
    table::render(&[], rows) + &ports.collect::<String>() + &own_v4(known, subject, grants)
}
