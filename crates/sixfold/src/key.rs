//! `sixfold key`: the keys by which tenants, farmers, nodes, registries and their operators are known.
//!
//! Owns: making, showing and replacing them. A private key goes from the system's randomness into its file, and is
//! never printed. What is a key and what follows from it is core's `trust`; files are `key/file.rs`.

mod file;
mod tell;

use std::path::{Path, PathBuf};

use serde::Serialize;
use sixfold_api::url::RegistryUrl;
use sixfold_core::trust::{Role, Rotation, Signed, SigningKey};
use zeroize::Zeroizing;

pub(crate) use self::file::Held;
use self::file::Place;
use crate::failed::Failed;
use crate::{Done, caller, output};

/// Make, show and replace the keys by which tenants, farmers, nodes and registries are known
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Make, show and replace the keys by which tenants, farmers, nodes and registries are known.\n\n\
    A key is an Ed25519 key; an id follows from the first key that its owner has, and stays when that is replaced. Who \
    has the file can speak for its owner: keep a copy where you keep what must not be lost.",
    after_long_help = "Files:\n  \
    ~/.config/sixfold/ROLE.pem    of a tenant, farmer or admin ($XDG_CONFIG_HOME for ~/.config)\n  \
    /etc/sixfold/ROLE.pem         of a node or registry\n  \
    ROLE.rotations.json           beside it: by which keys it was replaced; public\n  \
    ROLE.1.pem, ROLE.2.pem        beside it: the keys that were replaced\n\n\
    Examples:\n  sixfold key new tenant\n  sixfold key show\n  sixfold key show node --file /etc/sixfold/node.pem --json\n  \
    sixfold key rotate tenant"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a key, where there is none yet
    #[command(
        after_long_help = "Examples:\n  sixfold key new tenant\n  sixfold key new node --file ./node.pem"
    )]
    New(Whose),
    /// Show ids and public keys
    #[command(
        long_about = "Show keys: ids and public keys, nothing private; without a role, those in their places.\n\n\
        With --json: keys (role, id, public_key, rotations, file).",
        after_long_help = "Examples:\n  sixfold key show\n  sixfold key show node --json"
    )]
    Show {
        /// Whose [default: of every role that has a key in its place]
        #[arg(value_enum)]
        role: Option<RoleArg>,
        /// The key's file
        #[arg(long, value_name = "PATH", requires = "role")]
        file: Option<PathBuf>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Replace a key; the id stays
    #[command(
        long_about = "Replace a key; the id stays.\n\n\
        The old key signs the new one. The registry is told, with all that the old key had signed, signed again, and \
        takes all of it at once; from then on everybody believes only the new key. The old key's file is kept, with its \
        number in its name. Cut short, the same command goes on. A tenant's and a farmer's registry is told; a node leaves its farm \
        first, and joins again.",
        after_long_help = "Examples:\n  sixfold key rotate tenant\n  sixfold key rotate farmer --file ./alpha.pem\n  \
            sixfold key rotate tenant --tell"
    )]
    Rotate {
        #[command(flatten)]
        whose: Whose,
        /// The registry, as `sixfold registry run` prints it: sixfold://KEY@HOST:PORT [default: SIXFOLD_REGISTRY, else the
        /// line in /etc/sixfold/registry]
        #[arg(long, value_name = "URL")]
        registry: Option<RegistryUrl>,
        /// Replace nothing: tell the registry of keys that were replaced when none was named
        #[arg(long)]
        tell: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Whose {
    /// Whose
    #[arg(value_enum)]
    role: RoleArg,
    /// The key's file
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

/// A role as it is typed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RoleArg {
    /// Owns networks
    Tenant,
    /// Owns a farm
    Farmer,
    /// Is one machine
    Node,
    /// Grants prefixes
    Registry,
    /// Operates a registry
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Tenant => Self::Tenant,
            RoleArg::Farmer => Self::Farmer,
            RoleArg::Node => Self::Node,
            RoleArg::Registry => Self::Registry,
            RoleArg::Admin => Self::Admin,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    match &args.verb {
        Verb::New(whose) => new(whose),
        Verb::Show { role, file, json } => show(role.map(Role::from), file.as_deref(), *json),
        Verb::Rotate { whose, registry, tell } => rotate(whose, registry.as_ref(), *tell),
    }?;
    Ok(Done::Yes)
}

/// What is shown of a key.
#[derive(Debug, Serialize)]
struct Shown {
    role: Role,
    id: String,
    public_key: String,
    /// How often it was replaced.
    rotations: usize,
    file: PathBuf,
}

impl Shown {
    fn of(place: &Place, held: &Held) -> Self {
        Self {
            role: place.role(),
            id: held.owner(place.role()).id.to_string(),
            public_key: held.key().verifying().to_string(),
            rotations: held.rotations().len(),
            file: place.path().to_owned(),
        }
    }

    fn text(&self) -> String {
        let times = match self.rotations {
            0 => String::new(),
            1 => "replaced    once\n".to_owned(),
            times => format!("replaced    {times} times\n"),
        };
        let (role, file) = (self.role.word(), self.file.display());
        format!("{role:<12}{}\npublic key  {}\n{times}file        {file}\n", self.id, self.public_key)
    }
}

fn new(whose: &Whose) -> Result<(), Failed> {
    let place = Place::of(whose.role.into(), whose.file.as_deref())?;
    place.make(&random_key()?)?;
    output::print(&Shown::of(&place, &place.read()?).text())
}

fn show(role: Option<Role>, file: Option<&Path>, json: bool) -> Result<(), Failed> {
    let shown = match role {
        Some(role) => {
            let place = Place::of(role, file)?;
            vec![Shown::of(&place, &place.read()?)]
        }
        None => every_place()?,
    };
    if json {
        return output::print_json(&serde_json::json!({ "keys": shown }));
    }
    if shown.is_empty() {
        return output::print("no keys: `sixfold key new ROLE` makes one\n");
    }
    output::print(&shown.iter().map(Shown::text).collect::<Vec<_>>().join("\n"))
}

/// The keys of every role that are in their places.
fn every_place() -> Result<Vec<Shown>, Failed> {
    let mut shown = Vec::new();
    for role in Role::ALL {
        let place = Place::of(role, None)?;
        if place.is_taken()? {
            shown.push(Shown::of(&place, &place.read()?));
        }
    }
    Ok(shown)
}

fn rotate(whose: &Whose, registry: Option<&RegistryUrl>, only_tell: bool) -> Result<(), Failed> {
    let place = Place::of(whose.role.into(), whose.file.as_deref())?;
    let url = match place.role() {
        Role::Tenant | Role::Farmer => caller::registry(registry)?,
        Role::Node | Role::Registry | Role::Admin => registry.cloned(),
    };
    let held = place.read()?;
    if only_tell {
        let url = url.ok_or_else(caller::no_registry)?;
        let before = held.rotations().len().checked_sub(1).ok_or_else(|| {
            Failed::refused(format!("the key in {} was never replaced", place.path().display()))
        })?;
        return output::print(&told(tell::tell(&place, &url, place.before(&held, before)?, &held)?));
    }
    // One that a crash left behind, that the registry may know already.
    let next = match place.unfinished()? {
        Some(next) => next,
        None => place.make_next(&random_key()?)?,
    };
    let sequence = u32::try_from(held.rotations().len() + 1).map_err(Failed::refused)?;
    let owner = held.owner(place.role());
    let rotation = Signed::new(&Rotation { owner, sequence, next }, held.key());
    let said = match &url {
        Some(url) => {
            let new = place.replaced_by_next(place.read()?, rotation.clone())?;
            told(tell::tell(&place, url, place.read()?, &new)?)
        }
        None => untold(place.role()),
    };
    place.replace(&held, rotation)?;
    output::print(&format!("{}{said}", Shown::of(&place, &place.read()?).text()))
}

/// What the registry did.
fn told(again: Option<usize>) -> String {
    match again {
        None => "registry    knew it\n".to_owned(),
        Some(1) => "registry    told, with 1 statement signed again\n".to_owned(),
        Some(count) => format!("registry    told, with {count} statements signed again\n"),
    }
}

/// What is left to do where no registry was told.
fn untold(role: Role) -> String {
    match role {
        Role::Tenant | Role::Farmer => {
            format!(
                "registry    not told, as none is named; tell it: sixfold key rotate {role} --tell --registry URL\n"
            )
        }
        Role::Node | Role::Registry | Role::Admin => String::new(),
    }
}

/// The key in a file, made if there is none yet.
pub(crate) fn read_or_make(role: Role, file: &Path) -> Result<SigningKey, Failed> {
    let place = Place::of(role, Some(file))?;
    if !place.is_taken()? {
        place.make(&random_key()?)?;
    }
    Ok(place.read()?.into_key())
}

/// The key in a file.
pub(crate) fn read(role: Role, file: &Path) -> Result<SigningKey, Failed> {
    Ok(Place::of(role, Some(file))?.read()?.into_key())
}

/// The key of a role, in the file that was named or in its place.
pub(crate) fn held(role: Role, file: Option<&Path>) -> Result<Held, Failed> {
    Place::of(role, file)?.read()
}

/// The file of a node's key: what was typed, else `SIXFOLD_KEY`, else its place.
pub(crate) fn node_file(typed: Option<&Path>) -> PathBuf {
    let told = || std::env::var_os("SIXFOLD_KEY").filter(|told| !told.is_empty()).map(PathBuf::from);
    typed.map(Path::to_owned).or_else(told).unwrap_or_else(|| "/etc/sixfold/node.pem".into())
}

fn random_key() -> Result<SigningKey, Failed> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(Failed::environment)?;
    Ok(SigningKey::from_seed(&seed))
}
