//! `sixfold node leave`: this machine is a node no more.
//!
//! ```text
//! no agent runs ─▶ the registry takes the node's word ─▶ everything of ours goes ─▶ STATE/joined.json goes
//! ```
//!
//! Owns: the order. What is not done yet is done by the same command again.

use std::path::PathBuf;

use sixfold_agent::disk;
use sixfold_agent::remote::joined::Joined;
use sixfold_agent::remove::remove;
use sixfold_agent::run::refuse_second;
use sixfold_api::client::{ClientError, Method};
use sixfold_api::problem::Kind as Told;
use sixfold_core::trust::{Leaving, Role};

use super::{join, joined_failed};
use crate::agent::{NodeArgs, agent_failed, remove_failed};
use crate::caller::{Caller, RemovalArgs, is_unconfirmed};
use crate::failed::Failed;
use crate::key::Held;
use crate::{Done, key, output};

/// Take this machine out of its farm, with everything of ours on it
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Take this machine out of its farm, with everything of ours on it.\n\n\
    The registry is told first, and refuses as long as a network or an exit slot needs the node. Then tunnels, namespaces, keys of \
    tunnels and snapshots go, and what the node knew of its farm. The node's own key stays, and with it its id. End the \
    agent first.",
    after_long_help = "Exit codes:\n  \
        0  the node has left\n  \
        1  refused: a network or an exit slot needs it\n  \
        2  usage: the arguments are wrong\n  \
        3  environment: it has not joined, its agent runs, the registry cannot be reached, or something of ours stays\n\n\
        Examples:\n  \
        systemctl stop sixfold-agent && sixfold node leave\n  \
        sixfold node leave --offline"
)]
pub(super) struct Args {
    /// Do not tell the registry: for one that is gone for good
    #[arg(long)]
    offline: bool,

    /// The node's key [env: SIXFOLD_KEY] [default: /etc/sixfold/node.pem]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    #[command(flatten)]
    removal: RemovalArgs,

    #[command(flatten)]
    node: NodeArgs,
}

pub(super) fn run(args: &Args) -> Result<Done, Failed> {
    let places = args.node.places();
    let joined = Joined::read(&places.joined()).map_err(joined_failed)?;
    let joined = joined.ok_or_else(|| {
        let what = format!("this node has not joined a farm: there is no {}", places.joined().display());
        Failed::environment(what).hint(Some("to take everything of ours off it: sixfold agent --remove"))
    })?;
    refuse_second(&places).map_err(agent_failed)?;
    let file = key::node_file(args.key.as_deref());
    if !args.offline {
        tell(&joined, key::held(Role::Node, Some(&file))?, &args.removal)?;
    }
    let operations = remove(&mut args.node.kernel()?, &places).map_err(remove_failed)?;
    disk::delete(&places.joined()).map_err(Failed::environment)?;
    disk::delete_empty_dir(&places.state).map_err(Failed::environment)?;
    let (id, farm) = (joined.node.id(), &joined.farm);
    let stays = match args.offline {
        false => String::new(),
        true => format!(
            "the registry was not told: it still has node {id}, and others their tunnels to it, until the farmer of {farm} takes it out\n"
        ),
    };
    output::print(&format!(
        "node {id} has left farm {farm}: {operations} operations, nothing of ours is left but its key, {}\n{stays}",
        file.display()
    ))?;
    Ok(Done::Yes)
}

/// Has the registry know that the node leaves; one that knows no such node was told before.
fn tell(joined: &Joined, key: Held, removal: &RemovalArgs) -> Result<(), Failed> {
    let id = joined.node.id();
    let mut caller = Caller::new(joined.registry.clone(), Role::Node, key)?;
    let version = join::now_millis().max(joined.version + 1);
    let leaving = Leaving { node: id.clone(), farm: joined.farm.clone(), version };
    let limit = removal.confirm_removal;
    match caller.say_within(&Method::DELETE, &format!("/v1/nodes/{id}"), &leaving, limit)? {
        Err(ClientError::Refused(problem)) if problem.kind == Told::NotFound => Ok(()),
        Err(error) => {
            let is_unsaid = limit.is_none() && is_unconfirmed(&error);
            Err(Failed::from(error).hint(is_unsaid.then_some("if it is meant: --confirm-removal 0")))
        }
        Ok(_) => Ok(()),
    }
}
