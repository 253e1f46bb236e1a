//! `sixfold node join`: this machine becomes a node of the farm that a token is for.
//!
//! ```text
//! key file ─▶ is it known already? ─no─▶ its statement, with the token ─▶ STATE/joined.json
//!                      └─yes─▶ the same words: nothing to say; others: a newer statement, without a token
//! ```
//!
//! Owns: the order. Each step may be the last one: the same command again goes on from there, also when the registry took
//! the token and its answer was lost.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use ipnet::{Ipv4Net, Ipv6Net};
use sixfold_agent::remote::joined::Joined;
use sixfold_agent::run::Places;
use sixfold_api::client::{Client, ClientError, Method};
use sixfold_api::problem::Kind as Told;
use sixfold_api::resource::{self, Done as Answered, Put};
use sixfold_api::tls::Identity;
use sixfold_api::url::RegistryUrl;
use sixfold_core::id::{Label, NodeId};
use sixfold_core::model::{Family, NodeDraft, Reach};
use sixfold_core::name::IfName;
use sixfold_core::trust::{NodeStatement, Role, Signed, SigningKey, Token};

use super::detect::{self, WayOut};
use super::list;
use crate::failed::{Failed, Kind};
use crate::{Done, caller, key, output};

/// Let this machine join a farm
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Let this machine join a farm, by a token that its farmer made with `sixfold farm token`.\n\n\
    The machine gets a key of its own, if it has none, and tells the registry how it is reached: at addresses of its own, which \
    must be free on the link's segment, or not at all (hidden: behind a NAT or a firewall). From then on it trusts the \
    farm and the registry that the token names, and no others.\n\n\
    The same command again goes on where it was cut short, and with other options says what is new.",
    after_long_help = "Exit codes:\n  \
        0  the node is in the farm\n  \
        1  refused: the token is used or expired, the machine is in another farm, or what is said cannot be\n  \
        2  usage: the arguments are wrong, or something has to be said that cannot be found out\n  \
        3  environment: the registry cannot be reached, or is another one\n\n\
        Examples:\n  \
        sixfold node join sixfold1.AbCd...\n  \
        sixfold node join sixfold1.AbCd... --name ant --nic eth0 --address 2001:db8::a/64 --address-v4 192.0.2.10/24"
)]
pub(super) struct Args {
    /// What `sixfold farm token` printed
    #[arg(value_name = "TOKEN")]
    token: String,

    /// What the node is called [default: the first part of the host name]
    #[arg(long, value_name = "NAME")]
    name: Option<Label>,

    /// Link to the underlay: a card, a VLAN, a bond [default: that of the default route]
    #[arg(long, value_name = "LINK")]
    nic: Option<IfName>,

    /// MTU of that link in bytes [default: what it has]
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u16>,

    /// Public: an IPv6 address for tunnels, free on the link's segment
    #[arg(long, value_name = "ADDRESS/LENGTH", conflicts_with = "hidden")]
    address: Option<Ipv6Net>,

    /// Public: an IPv4 address for tunnels, free on the link's segment
    #[arg(long, value_name = "ADDRESS/LENGTH", conflicts_with = "hidden")]
    address_v4: Option<Ipv4Net>,

    /// Nobody can speak to the node first; so it is where no address is given
    #[arg(long)]
    hidden: bool,

    /// Hidden: a family it can send in; may be given twice [default: those that have a default route]
    #[arg(long, value_name = "FAMILY", conflicts_with_all = ["address", "address_v4"])]
    family: Vec<FamilyArg>,

    /// The node's key, made if it is not there [env: SIXFOLD_KEY] [default: /etc/sixfold/node.pem]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Folder that outlives a reboot
    #[arg(long, value_name = "DIR", default_value = "/var/lib/sixfold")]
    state: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FamilyArg {
    /// IPv6
    Ipv6,
    /// IPv4
    Ipv4,
}

impl From<FamilyArg> for Family {
    fn from(family: FamilyArg) -> Self {
        match family {
            FamilyArg::Ipv6 => Self::Ipv6,
            FamilyArg::Ipv4 => Self::Ipv4,
        }
    }
}

pub(super) fn run(args: Args) -> Result<Done, Failed> {
    let (token, _) =
        Token::read(&args.token).map_err(|error| Failed::refused(error.clone()).hint(Some(error.hint())))?;
    let file = Places { state: args.state.clone(), ..Places::default() }.joined();
    let before = Joined::read(&file).map_err(super::joined_failed)?;
    if let Some(before) = &before {
        same_farm(before, &token)?;
    }
    let path = key::node_file(args.key.as_deref());
    let key = key::read_or_make(Role::Node, &path)?;
    let id = NodeId::from(key.verifying().id(Role::Node));
    if let Some(before) = before.as_ref().filter(|before| *before.node.id() != id) {
        let what =
            format!("this node joined as {}, and the key in {} is of {id}", before.node.id(), path.display());
        return Err(Failed::refused(what).hint(Some("name its key with --key, or first: sixfold node leave")));
    }
    let wanted = wanted(&args, &token, before.as_ref(), id)?;
    let registry = RegistryUrl::new(token.registry_key, &token.registry).map_err(Failed::refused)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failed::environment)?;
    let statement = runtime.block_on(register(&token, &args.token, &key, wanted))?;
    let joined = Joined::new(registry, statement);
    sixfold_agent::disk::make_private_dir(&args.state).map_err(Failed::environment)?;
    joined.write(&file).map_err(super::joined_failed)?;
    output::print(&told(&joined, &args.state))?;
    Ok(Done::Yes)
}

/// Refuses to leave a farm silently.
fn same_farm(before: &Joined, token: &Token) -> Result<(), Failed> {
    let hint = Some("to move it, first: sixfold node leave");
    if before.farm != token.farm {
        let what = format!("this node is in farm {}, and the token is for farm {}", before.farm, token.farm);
        return Err(Failed::refused(what).hint(hint));
    }
    if before.registry.key() != token.registry_key {
        let what = format!(
            "this node trusts the registry with key {}, and the token names one with key {}",
            before.registry.key(),
            token.registry_key
        );
        return Err(Failed::refused(what).hint(hint));
    }
    Ok(())
}

/// What the node is to say of itself: what was typed, else what it said before, else what the machine shows.
fn wanted(args: &Args, token: &Token, before: Option<&Joined>, id: NodeId) -> Result<NodeStatement, Failed> {
    let untold = |what: &str, option: &str| {
        Failed::new(Kind::Usage, format!("{what} cannot be found out"))
            .hint(Some(format!("say it with {option}")))
    };
    let way_out = WayOut::here();
    let name = args.name.clone().or_else(|| before.map(|before| before.name.clone())).or_else(detect::name);
    let name = name.ok_or_else(|| untold("the machine's name", "--name"))?;
    let nic = args.nic.or_else(|| before.map(|before| before.node.nic())).or(way_out.nic);
    let nic = nic.ok_or_else(|| untold("the link to the underlay", "--nic"))?;
    let mtu = args.mtu.or_else(|| detect::mtu(&nic));
    let mtu = mtu.ok_or_else(|| untold(&format!("the MTU of {nic}"), "--mtu"))?;
    let reach = match (args.address, args.address_v4) {
        (None, None) if args.family.is_empty() && !args.hidden && before.is_some() => {
            before.map(|before| before.node.reach().clone()).expect("it is there")
        }
        (None, None) if args.family.is_empty() => Reach::Hidden { families: way_out.families },
        (None, None) => Reach::Hidden { families: args.family.iter().copied().map(Family::from).collect() },
        (address, address_v4) => Reach::Public { address, address_v4 },
    };
    if matches!(&reach, Reach::Hidden { families } if families.is_empty()) {
        return Err(untold("in which families the node can send", "--family, or give it an --address"));
    }
    let draft = NodeDraft { id, reach, nic, mtu };
    let node = draft.try_into().map_err(|fault: sixfold_core::model::Fault| {
        let hint = fault.hint();
        Failed::refused(fault).hint(Some(hint))
    })?;
    let newer = before.map_or(0, |before| before.version + 1);
    Ok(NodeStatement { farm: token.farm.clone(), name, version: newer.max(now_millis()), node })
}

/// A version that is higher than any before, as far as the clock goes: a node that left and comes back does not know
/// which it had.
pub(super) fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Has the registry know the node so. Gives the statement that it holds.
async fn register(
    token: &Token,
    text: &str,
    key: &SigningKey,
    wanted: NodeStatement,
) -> Result<NodeStatement, Failed> {
    let identity = Identity::of(key).map_err(Failed::environment)?;
    let mut client = Client::new(&token.registry, *token.registry_key.as_bytes(), Some(&identity))?;
    let register = async |client: &mut Client| try_register(client, text, key, &wanted).await;
    Ok(caller::again(&mut client, register).await?)
}

/// Asks first: the answer to an earlier try may have been lost, and its token is used up.
async fn try_register(
    client: &mut Client,
    token: &str,
    key: &SigningKey,
    wanted: &NodeStatement,
) -> Result<NodeStatement, ClientError> {
    let path = format!("/v1/nodes/{}", wanted.node.id());
    let known = match client.get::<resource::Node>(&path).await {
        Ok(node) => node.statement.open::<NodeStatement>().ok(),
        Err(ClientError::Refused(problem)) if problem.kind == Told::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut statement = wanted.clone();
    let mut by = Some(token.to_owned());
    if let Some(known) = known {
        statement.version = statement.version.max(known.version + 1);
        if (NodeStatement { version: statement.version, ..known.clone() }) == statement {
            return Ok(known);
        }
        by = None;
    }
    let put = Put { statement: Signed::new(&statement, key), confirmation: None, token: by };
    client.send::<Answered>(Method::PUT, &path, &put, None).await?;
    Ok(statement)
}

fn told(joined: &Joined, state: &Path) -> String {
    let Joined { registry, farm, name, node, .. } = joined;
    let registry = registry.address();
    let reach = list::reach(node.reach());
    let (id, nic, mtu) = (node.id(), node.nic(), node.mtu());
    let state = match state == Path::new("/var/lib/sixfold") {
        true => String::new(),
        false => format!(" --state {}", state.display()),
    };
    format!(
        "node      {id}\nname      {name}\nfarm      {farm}\nregistry  {registry}\nlink      {nic}, MTU {mtu}\nreach     {reach}\n\
        it is in the farm; now start its agent: sixfold agent{state}\n"
    )
}
