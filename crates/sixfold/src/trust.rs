//! `sixfold trust show`: who vouches for what in a network.
//!
//! Owns: telling it. On a node it is what the agent believes, from the proofs that it keeps; elsewhere the same proofs are
//! asked of the registry and verified here.

mod evidence;
mod node;
mod registry;

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use sixfold_agent::remote::joined::Joined;
use sixfold_agent::run::Places;
use sixfold_core::trust::{Owner, VerifyingKey};

use crate::caller::RegistryArgs;
use crate::failed::Failed;
use crate::network::Word;
use crate::{Done, node as node_files, output};

/// Say who vouches for what
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, after_long_help = "Examples:\n  sixfold trust show web")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Show(ShowArgs),
}

/// Say who vouches for a network, and for each of its resources
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Say who vouches for a network, and for each of its resources.\n\n\
    A resource is made where its tenant, the farmer of its exit, the registry and its node agree, each by a signature of its own; \
    others peer with it once its node has signed its WireGuard key as well.\n\n\
    On a node it is told from the proofs that its agent keeps, without asking anybody. Elsewhere, or with --registry, the \
    registry is asked for the proofs, and each is verified by its owner's key.\n\n\
    With --json: network, from (node or registry), statements (role, id, key, object, version), resources (what, statements as \
    before, verdict, hint), refusals (what the registry shows and cannot be believed).",
    after_long_help = "Examples:\n  sixfold trust show abcdefghijklmnopqrstuvwxyz/web\n  \
        sixfold trust show web --json --key ~/.config/sixfold/tenant.pem"
)]
struct ShowArgs {
    /// Its name, or TENANT-ID/NAME
    #[arg(value_name = "NETWORK")]
    network: Word,

    /// Folder of this node's agent
    #[arg(long, value_name = "DIR", default_value = "/var/lib/sixfold")]
    state: PathBuf,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

/// All that is told of a network.
#[derive(Debug, Serialize)]
struct Told {
    network: String,
    from: From,
    /// What the whole network stands on.
    statements: Vec<Said>,
    resources: Vec<Resource>,
    /// What was shown and is signed wrongly, or by nobody who may.
    refusals: Vec<String>,
}

/// Who has shown the proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum From {
    Node,
    Registry,
}

/// A statement whose signature is its owner's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Said {
    #[serde(flatten)]
    owner: Owner,
    key: VerifyingKey,
    object: String,
    version: u64,
}

#[derive(Debug, Serialize)]
struct Resource {
    what: String,
    statements: Vec<Said>,
    verdict: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    let Verb::Show(args) = &args.verb;
    let places = Places { state: args.state.clone(), ..Places::default() };
    let joined = match args.registry.is_named() {
        true => None,
        false => Joined::read(&places.joined()).map_err(node_files::joined_failed)?,
    };
    let told = match joined {
        Some(joined) => node::told(&args.network, &joined, &args.state)?,
        None => registry::told(&args.network, &args.registry)?,
    };
    if args.json {
        output::print_json(&told)?
    } else {
        output::print(&told.text())?
    }
    Ok(Done::Yes)
}

impl Said {
    fn text(&self) -> String {
        let Self { owner, key, object, version } = self;
        let Owner { role, id } = owner;
        format!("  {role:<9}{id}\n           signed {object}, version {version}, with {key}\n")
    }
}

impl Told {
    fn text(&self) -> String {
        let from = match self.from {
            From::Node => "by the proofs that this node's agent keeps",
            From::Registry => "by the proofs that the registry shows",
        };
        let mut text = format!("network {}, {from}\n", self.network);
        text += &self.statements.iter().map(Said::text).collect::<String>();
        for resource in &self.resources {
            text += &format!("\n{}: {}\n", resource.what, resource.verdict);
            text += &resource.statements.iter().map(Said::text).collect::<String>();
            text += &resource.hint.iter().map(|hint| format!("  hint: {hint}\n")).collect::<String>();
        }
        if self.resources.is_empty() {
            text += "\nno prefix is granted to it\n";
        }
        if !self.refusals.is_empty() {
            let lines: String = self.refusals.iter().map(|words| format!("  {words}\n")).collect();
            text += &format!("\nshown by the registry and not believed\n{lines}");
        }
        text
    }
}
