//! Asking a registry: which one, as whom, and again where that may help.
//!
//! Owns: the options that all such commands have, and the one way in which they ask. What is written is sent under an
//! idempotency key, so that it may be sent again when nobody knows whether it arrived. Must not know what is asked.

mod file;
mod names;

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sixfold_agent::disk;
use sixfold_api::client::{Client, ClientError, Method};
use sixfold_api::problem::{Kind as Told, Problem};
use sixfold_api::resource::{Done, Keys, Put};
use sixfold_api::retry;
use sixfold_api::tls::Identity;
use sixfold_api::url::RegistryUrl;
use sixfold_core::id::{FarmId, TenantId};
use sixfold_core::trust::{Chain, Confirm, Owner, Role, Signed, Statement, VerifyingKey};
use tokio::runtime::{Builder, Runtime};

use crate::failed::{Failed, Kind};
use crate::key::{self, Held};

pub(crate) use file::{invalid, parsed};
pub(crate) use names::{Known, KnownFarm};

/// Where a machine's people find their registry.
const REGISTRY_FILE: &str = "/etc/sixfold/registry";
/// Bytes of that file that are read: one line.
const REGISTRY_FILE_MAX: usize = 4096;
/// Tries until the registry answers: with the waits between them a quarter of a minute at most.
const TRIES: u32 = 6;

/// Which registry, and as whom.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RegistryArgs {
    /// The registry, as `sixfold registry run` prints it: sixfold://KEY@HOST:PORT [default: SIXFOLD_REGISTRY, else the line
    /// in /etc/sixfold/registry]
    #[arg(long, value_name = "URL", help_heading = "Registry")]
    registry: Option<RegistryUrl>,

    /// Your private key's file [default: SIXFOLD_KEY, else its place, see `sixfold key`]
    #[arg(long, value_name = "FILE", help_heading = "Registry")]
    key: Option<PathBuf>,
}

fn of_environment(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|told| !told.is_empty())
}

impl RegistryArgs {
    /// Whether a registry is named among the arguments.
    pub(crate) const fn is_named(&self) -> bool {
        self.registry.is_some()
    }

    /// Which registry.
    pub(crate) fn url(&self) -> Result<RegistryUrl, Failed> {
        registry(self.registry.as_ref())?.ok_or_else(no_registry)
    }

    /// The file of the key that was told, if one was.
    fn key_file(&self) -> Option<PathBuf> {
        self.key.clone().or_else(|| of_environment("SIXFOLD_KEY").map(PathBuf::from))
    }

    /// Ready to ask in a role.
    pub(crate) fn call(&self, role: Role) -> Result<Caller, Failed> {
        let held = key::held(role, self.key_file().as_deref())?;
        Caller::new(self.url()?, role, held)
    }

    /// Ready to ask in the first of some roles that has a key: what is asked is answered in each of them.
    pub(crate) fn call_as_any(&self, roles: &[Role]) -> Result<Caller, Failed> {
        let file = self.key_file();
        let mut first = None;
        for role in roles {
            match key::held(*role, file.as_deref()) {
                Ok(held) => return Caller::new(self.url()?, *role, held),
                Err(failed) => drop(first.get_or_insert(failed)),
            }
        }
        Err(first.expect("there is a role"))
    }
}

/// The registry that was typed, else that of the environment or this machine, if there is one.
pub(crate) fn registry(typed: Option<&RegistryUrl>) -> Result<Option<RegistryUrl>, Failed> {
    if let Some(url) = typed {
        return Ok(Some(url.clone()));
    }
    let (text, place) = match of_environment("SIXFOLD_REGISTRY") {
        Some(text) => (text.to_string_lossy().into_owned(), "SIXFOLD_REGISTRY"),
        None => {
            let path = Path::new(REGISTRY_FILE);
            let read = disk::read(path, REGISTRY_FILE_MAX).map_err(Failed::environment)?;
            let Some(bytes) = read else { return Ok(None) };
            (String::from_utf8_lossy(&bytes).trim().to_owned(), REGISTRY_FILE)
        }
    };
    text.parse().map(Some).map_err(|error: sixfold_api::url::UrlError| {
        let hint = error.hint();
        Failed::new(Kind::Usage, format!("{place}: {error}")).hint(Some(hint))
    })
}

pub(crate) fn no_registry() -> Failed {
    let hint = format!("give --registry URL, set SIXFOLD_REGISTRY, or write the URL in {REGISTRY_FILE}");
    Failed::new(Kind::Usage, "no registry is named").hint(Some(hint))
}

/// Somebody who asks a registry.
pub(crate) struct Caller {
    url: RegistryUrl,
    owner: Owner,
    held: Held,
    runtime: Runtime,
    client: Client,
    /// No other run of this program has it: idempotency keys begin with it.
    run: String,
    /// Requests under an idempotency key so far.
    sent: u64,
    /// What lets somebody in of whom nothing is known yet.
    token: Option<String>,
}

impl Caller {
    /// Ready to ask as the holder of a key.
    pub(crate) fn new(url: RegistryUrl, role: Role, held: Held) -> Result<Self, Failed> {
        let identity = Identity::of(held.key()).map_err(Failed::environment)?;
        let client = Client::new(url.address(), *url.key().as_bytes(), Some(&identity))?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Failed::environment)?;
        let run = nonce()?.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { url, owner: held.owner(role), held, runtime, client, run, sent: 0, token: None })
    }

    /// The same, let in by a token.
    pub(crate) fn with_token(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }

    pub(crate) const fn url(&self) -> &RegistryUrl {
        &self.url
    }

    /// The farm of a farmer.
    pub(crate) fn farm(&self) -> FarmId {
        self.owner.id.clone().into()
    }

    /// A tenant.
    pub(crate) fn tenant(&self) -> TenantId {
        self.owner.id.clone().into()
    }

    /// What the key's holder is called: as the key's file, unless that has the name that all of its role have.
    pub(crate) fn called(&self) -> Option<String> {
        let stem = self.held.path().file_stem()?.to_str()?;
        (stem != self.owner.role.word()).then(|| stem.to_owned())
    }

    pub(crate) fn sign<T: Statement>(&self, statement: &T) -> Signed {
        Signed::new(statement, self.held.key())
    }

    /// Reads something.
    pub(crate) fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failed> {
        Ok(self.runtime.block_on(self.client.get(path))?)
    }

    /// Reads something that whoever asks may not be allowed to see.
    pub(crate) fn find_if_allowed<T: DeserializeOwned>(&mut self, path: &str) -> Result<Option<T>, Failed> {
        match self.runtime.block_on(self.client.get(path)) {
            Err(ClientError::Refused(problem))
                if matches!(problem.kind, Told::NotFound | Told::Forbidden) =>
            {
                Ok(None)
            }
            found => Ok(Some(found?)),
        }
    }

    /// Whether a key speaks for an owner: the last of those that replaced the first one, from which the id follows.
    pub(crate) fn is_of(&mut self, owner: &Owner, key: VerifyingKey) -> Result<bool, Failed> {
        let chain = self.chain(owner)?;
        Ok(chain.map_or_else(|| key.id(owner.role) == owner.id, |chain| chain.newest() == key))
    }

    /// Whether a key spoke for an owner at any time.
    pub(crate) fn was_of(&mut self, owner: &Owner, key: VerifyingKey) -> Result<bool, Failed> {
        let chain = self.chain(owner)?;
        let is_in = |chain: Chain| (0..=chain.length()).any(|length| chain.key(length) == Some(key));
        Ok(chain.map_or_else(|| key.id(owner.role) == owner.id, is_in))
    }

    /// The keys of an owner who replaced one.
    fn chain(&mut self, owner: &Owner) -> Result<Option<Chain>, Failed> {
        let Owner { role, id } = owner;
        let keys: Option<Keys> = self.find_if_allowed(&format!("/v1/keys/{role}/{id}"))?;
        let chain = keys.and_then(|keys| Chain::read(&keys.rotations).ok());
        Ok(chain.filter(|chain| chain.owner() == owner))
    }

    /// Reads something that may not be there.
    pub(crate) fn find<T: DeserializeOwned>(&mut self, path: &str) -> Result<Option<T>, Failed> {
        match self.runtime.block_on(self.client.get(path)) {
            Err(ClientError::Refused(problem)) if problem.kind == Told::NotFound => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    /// Reads something, and again while that may help.
    pub(crate) fn get_again<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failed> {
        Ok(self.runtime.block_on(again(&mut self.client, async |client| client.get(path).await))?)
    }

    /// Sends something, and again while that may help.
    pub(crate) fn send<T: DeserializeOwned>(
        &mut self,
        method: &Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.sent += 1;
        let key = format!("{}-{}", self.run, self.sent);
        let ask = async |client: &mut Client| client.send(method.clone(), path, body, Some(&key)).await;
        self.runtime.block_on(again(&mut self.client, ask))
    }

    /// Has an object be as a statement says. What takes much away is confirmed if `removal` allows one node to lose so many
    /// resources.
    pub(crate) fn put<T: Statement>(
        &mut self,
        path: &str,
        statement: &T,
        removal: &RemovalArgs,
    ) -> Result<Done, Failed> {
        self.say(&Method::PUT, path, statement, removal)
    }

    /// The same, by another method.
    pub(crate) fn say<T: Statement>(
        &mut self,
        method: &Method,
        path: &str,
        statement: &T,
        removal: &RemovalArgs,
    ) -> Result<Done, Failed> {
        let limit = removal.confirm_removal;
        let answered = self.say_within(method, path, statement, limit)?;
        answered.map_err(|error| {
            let hint = "if it is meant, say how many resources one node may lose: --confirm-removal N";
            let is_unsaid = limit.is_none() && is_unconfirmed(&error);
            Failed::from(error).hint(is_unsaid.then_some(hint))
        })
    }

    /// Sends a statement, and if the registry wants it, the word that it is meant, where a limit is given. What the registry
    /// answers is for whoever asks to judge.
    pub(crate) fn say_within<T: Statement>(
        &mut self,
        method: &Method,
        path: &str,
        statement: &T,
        limit: Option<u32>,
    ) -> Result<Result<Done, ClientError>, Failed> {
        let put = Put { statement: self.sign(statement), confirmation: None, token: self.token.clone() };
        match (self.send(method, path, &put), limit) {
            (Err(ClientError::Refused(problem)), Some(limit)) if problem.kind == Told::Unconfirmed => {
                let confirmation = Some(self.confirmation(&problem, limit)?);
                Ok(self.send(method, path, &Put { confirmation, ..put }))
            }
            (answered, _) => Ok(answered),
        }
    }

    /// The word that exactly the change is meant that a problem is about.
    fn confirmation(&self, problem: &Problem, limit: u32) -> Result<Signed, Failed> {
        let change = problem.change.as_deref().unwrap_or_default().parse();
        let change = change.map_err(|error| {
            Failed::environment(format!("the registry does not say what is to be confirmed: {error}"))
        })?;
        Ok(self.sign(&Confirm { owner: self.owner.clone(), change, limit }))
    }
}

/// Whether the registry wants the word that a change is meant.
pub(crate) fn is_unconfirmed(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(problem) if problem.kind == Told::Unconfirmed)
}

/// Asks until there is an answer that stays, so many times. What is asked must be right however often it arrives.
pub(crate) async fn again<T>(
    client: &mut Client,
    ask: impl AsyncFn(&mut Client) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut attempt = 0;
    loop {
        match ask(client).await {
            Err(error) if may_pass(&error) && attempt + 1 < TRIES => {
                tracing::warn!(%error, "trying again");
                // Without randomness the longest wait.
                let random = getrandom::u64().unwrap_or(u64::MAX);
                tokio::time::sleep(retry::wait(attempt, random)).await;
                attempt += 1;
            }
            answered => return answered,
        }
    }
}

/// Whether the same may succeed while a person waits: not if the registry is another one.
fn may_pass(error: &ClientError) -> bool {
    let is_another =
        matches!(error, ClientError::Connect { source, .. } if source.kind() == io::ErrorKind::InvalidData);
    error.is_passing() && !is_another
}

/// What a person has to say who takes much away at once.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct RemovalArgs {
    /// Mean it, where so much is taken away that the registry wants a word: one node may lose up to N resources
    #[arg(long, value_name = "N")]
    pub(crate) confirm_removal: Option<u32>,
}

/// 16 random bytes.
pub(crate) fn nonce() -> Result<[u8; 16], Failed> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Failed::environment)?;
    Ok(bytes)
}
