//! `sixfold network`: what a tenant says of its networks.
//!
//! ```text
//! FILE ── names become ids ──▶ statement, one version on ── plan: the registry tells what it would do
//!                                                       └── apply: the same, asked, signed, sent
//! ```
//!
//! Owns: what its subcommands say alike: what is known of a network, and the statement that comes next.

mod apply;
mod change;
mod own;
mod reclaim;
mod show;

use clap::Subcommand;
use sixfold_api::resource::{self, Held};
use sixfold_core::addr::Allocation;
use sixfold_core::id::{Label, NetworkId, NodeId, Revision, TenantId};
use sixfold_core::model::Seat;
use sixfold_core::trust::{NetworkStatement, Owner, Reclaim, Role, Subject, VerifyingKey};

use crate::Done;
use crate::caller::{Caller, Known, RegistryArgs};
use crate::failed::{Failed, Kind};

/// Say what your networks are
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    long_about = "Say what your networks are.\n\n\
    A network is its tenant's key's. What is said of it is signed with that key; the registry keeps it, grants it prefixes \
    and tells the nodes, which check it again. In a file, a farm or a node is named by its id or by the name that its owner \
    gives it; where several have a name, only the id will do.\n\n\
    The tenant in a file is the key's id, or what the key's file is called (acme for acme.pem; tenant.pem may be anybody's).",
    after_long_help = "Examples:\n  \
        sixfold key new tenant\n  \
        sixfold network plan examples/first-farm/acme.toml\n  \
        sixfold network apply examples/first-farm/acme.toml\n  \
        sixfold network show web\n  \
        sixfold network delete web"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Plan(apply::PlanArgs),
    Apply(apply::Args),
    Show(show::Args),
    List(show::ListArgs),
    Delete(apply::DeleteArgs),
    Reclaim(reclaim::Args),
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    match &args.verb {
        Verb::Plan(args) => apply::plan(args),
        Verb::Apply(args) => apply::run(args).map(|()| Done::Yes),
        Verb::Show(args) => show::run(args).map(|()| Done::Yes),
        Verb::List(args) => show::list(args).map(|()| Done::Yes),
        Verb::Delete(args) => apply::delete(args).map(|()| Done::Yes),
        Verb::Reclaim(args) => reclaim::run(args).map(|()| Done::Yes),
    }
}

/// A network, as its tenant signed it.
pub(crate) struct KnownNetwork {
    pub(crate) id: NetworkId,
    pub(crate) subject: Subject,
    pub(crate) version: u64,
    /// By which its tenant signed it.
    pub(crate) key: VerifyingKey,
    pub(crate) revision: Revision,
    pub(crate) grants: Vec<Held>,
}

/// What is known of a network, if anything is.
pub(crate) fn known(caller: &mut Caller, id: &NetworkId) -> Result<Option<KnownNetwork>, Failed> {
    let found: Option<resource::Network> = caller.find(&path(id))?;
    let Some(network) = found else { return Ok(None) };
    let lie = |what: String| {
        let hint = "ask its operator; nodes believe no more of it than this does";
        Failed::refused(format!("the registry shows network {id}, and {what}")).hint(Some(hint))
    };
    let (key, revision, grants) = (network.statement.key, network.revision, network.grants);
    // The operator's word, where the tenant gave none.
    if let Some(reclaim) = network.statement.open::<Reclaim>().ok().filter(|reclaim| reclaim.network == *id) {
        let (subject, version) = (Subject::Deleted(id.clone()), reclaim.version);
        return Ok(Some(KnownNetwork { id: id.clone(), subject, version, key, revision, grants }));
    }
    let statement: NetworkStatement =
        network.statement.open().map_err(|error| lie(format!("its statement cannot be used: {error}")))?;
    let tenant = Owner::tenant(&id.tenant);
    // What is gone is not signed again when a key is replaced.
    let is_its = match &statement.subject {
        Subject::Live(_) => caller.is_of(&tenant, key)?,
        Subject::Deleted(_) => caller.was_of(&tenant, key)?,
    };
    if statement.id() != id || !is_its {
        return Err(lie("its tenant did not sign it".to_owned()));
    }
    let NetworkStatement { version, subject } = statement;
    Ok(Some(KnownNetwork { id: id.clone(), subject, version, key, revision, grants }))
}

pub(crate) fn path(id: &NetworkId) -> String {
    format!("/v1/networks/{id}")
}

/// A network as it is typed: a name, of one's own, or `TENANT/NAME`.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    tenant: Option<TenantId>,
    name: Label,
}

impl std::str::FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words =
            |error: &dyn std::fmt::Display| format!("{error}: a network is like web, or TENANT-ID/web");
        match text.contains('/') {
            true => {
                let id: NetworkId = text.parse().map_err(|error| words(&error))?;
                Ok(Self { tenant: Some(id.tenant), name: id.name })
            }
            false => Ok(Self { tenant: None, name: text.parse().map_err(|error| words(&error))? }),
        }
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.tenant {
            Some(tenant) => write!(f, "{tenant}/{}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

impl Word {
    /// Whether a network may be meant.
    pub(crate) fn fits(&self, id: &NetworkId) -> bool {
        self.name == id.name && self.tenant.as_ref().is_none_or(|tenant| *tenant == id.tenant)
    }

    /// The network that is meant by somebody who has none of that name.
    fn whole(&self) -> Result<NetworkId, Failed> {
        let tenant = self.tenant.clone().ok_or_else(|| {
            let what = format!("{self} may be any tenant's");
            Failed::new(Kind::Usage, what).hint(Some(format!("name it whole: TENANT-ID/{}", self.name)))
        })?;
        Ok(NetworkId { tenant, name: self.name.clone() })
    }

    /// Ready to ask about it: as its tenant if it is one's own, else as anybody who may see it.
    pub(crate) fn call(&self, registry: &RegistryArgs) -> Result<(Caller, NetworkId), Failed> {
        let name = self.name.clone();
        match &self.tenant {
            Some(tenant) => {
                let caller = registry.call_as_any(&[Role::Tenant, Role::Farmer, Role::Node, Role::Admin])?;
                Ok((caller, NetworkId { tenant: tenant.clone(), name }))
            }
            None => {
                let caller = registry.call(Role::Tenant)?;
                let tenant = caller.tenant();
                Ok((caller, NetworkId { tenant, name }))
            }
        }
    }
}

pub(crate) fn absent(id: &NetworkId) -> Failed {
    Failed::refused(format!("there is no network {id}")).hint(Some("`sixfold network list` lists yours"))
}

/// What a node is called, or its id.
fn called(known: &Known, node: &NodeId) -> String {
    known.names.of_node(node).map_or_else(|| node.to_string(), ToString::to_string)
}

/// The allocation that a granted prefix is of.
fn allocation(known: &Known, held: &Held) -> Option<Allocation> {
    let all = known.farms.iter().flat_map(|farm| &farm.allocations);
    all.copied().find(|allocation| allocation.number() == held.resource.number)
}

/// A granted prefix: for which seat, and which it is.
pub(crate) fn prefix(known: &Known, held: &Held) -> (String, String) {
    let seat = match &held.seat {
        Seat::Exit => "exit point".to_owned(),
        Seat::Node(node) => called(known, node),
    };
    let prefix = allocation(known, held).map(|allocation| allocation.prefix(held.resource.index).to_string());
    (seat, prefix.unwrap_or_else(|| "-".to_owned()))
}
