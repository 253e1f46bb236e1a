//! The registry as a process, a farm in it, and those who speak to it: a farmer, a tenant for each network, the nodes.
//!
//! Owns: who they are and what they say. Keys are made of numbers: nothing here is anybody's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use sixfold_agent::remote::joined::Joined;
use sixfold_api::client::{Client, Method};
use sixfold_api::resource::{Done, Farms, Put};
use sixfold_api::tls::Identity;
use sixfold_api::url::RegistryUrl;
use sixfold_core::id::{FarmId, NetworkId, NodeId, TenantId};
use sixfold_core::model::{ExitDraft, FarmDraft, NetworkDraft, NodeDraft, Reach, SlotDraft, Upstream};
use sixfold_core::trust::{
    Delegation, NetworkStatement, NodeStatement, Role, Signed, SigningKey, Statement, Subject, Token,
};
use sixfold_registry::run::{Config, start};
use tokio::runtime::Runtime;

use crate::agent::Folder;
use crate::failed::{Failed, chain};
use crate::ground::{Process, await_file};

/// Between two questions of somebody else's.
const STRIDE: Duration = Duration::from_millis(5);
const PREFIX: &str = "2001:db8:a::/48";
/// Prefixes of a tenant at most: far more than a network here takes.
const QUOTA: usize = 1000;
/// Where the registry's process finds its folder, and says where it listens.
const REALM: &str = "SIXFOLD_BENCH_REALM";
/// The file in which it says where it listens, and the one in which it is told where it did.
const ADDRESS: &str = "address";
const BEFORE: &str = "before";

pub(super) type Failure = Box<dyn std::error::Error>;

fn failed(error: Failure) -> Failed {
    Failed::meaningless("a registry with a crowd", chain(&*error))
}

/// A key of a number.
pub(super) fn key(role: u8, number: usize) -> SigningKey {
    let mut seed = [role; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    SigningKey::from_seed(&seed)
}

fn registry_key() -> SigningKey {
    key(4, 0)
}

/// Is the registry, until it is ended.
pub(crate) fn be_the_registry() -> Result<(), Failed> {
    set_pdeathsig(Signal::SIGKILL).map_err(|errno| Failed::system("follow its parent")(errno.into()))?;
    sixfold_agent::run::raise_open_files();
    let serve = || -> Result<(), Failure> {
        let dir = PathBuf::from(std::env::var(REALM)?);
        // Started again, it is where it was.
        let listen = fs::read_to_string(dir.join(BEFORE)).unwrap_or_else(|_| "[::1]:0".to_owned());
        let listen = vec![listen.parse()?];
        let config = Config {
            dir: dir.clone(),
            listen,
            metrics: None,
            key: registry_key(),
            admin: None,
            is_open: true,
            quota: QUOTA,
        };
        let running = start(config)?;
        let address = running.addresses()?.first().ok_or("no address")?.to_string();
        fs::write(dir.join("aside"), address)?;
        fs::rename(dir.join("aside"), dir.join(ADDRESS))?;
        Ok(running.serve(|| ())?)
    };
    serve().map_err(failed)
}

/// A farm, its nodes, and networks that none of them shares with another but by the exit.
pub(super) struct Realm {
    pub(super) folder: Folder,
    pub(super) runtime: Runtime,
    registry: RegistryUrl,
    nodes: Vec<Joined>,
    members: usize,
    versions: Mutex<Vec<u64>>,
    process: Option<Process>,
}

/// A change that somebody is sending.
pub(super) struct Sent(JoinHandle<Result<Duration, String>>);

impl Sent {
    /// What it took until it was answered.
    pub(super) fn join(self) -> Result<Duration, Failed> {
        let sent = self.0.join().unwrap_or_else(|_| Err("a thread ended by a bug".to_owned()));
        sent.map_err(|what| Failed::meaningless("a change", what))
    }
}

impl Realm {
    /// Starts the registry, and has everybody say what there is to say.
    pub(super) fn found(nodes: usize, networks: usize, members: usize) -> Result<Self, Failed> {
        Self::found_at(None, nodes, networks, members)
    }

    /// The same at another address than this machine's of IPv6.
    pub(super) fn found_at(
        listen: Option<&str>,
        nodes: usize,
        networks: usize,
        members: usize,
    ) -> Result<Self, Failed> {
        let folder = Folder::new()?;
        if let Some(listen) = listen {
            fs::write(folder.path().join(BEFORE), listen).map_err(|error| failed(error.into()))?;
        }
        let process = Process::part_with("registry", &[(REALM, folder.path().as_os_str())])?;
        let file = folder.path().join(ADDRESS);
        await_file(&file)?;
        let found = || -> Result<Self, Failure> {
            let registry = RegistryUrl::new(registry_key().verifying(), &fs::read_to_string(&file)?)?;
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            let versions = Mutex::new(vec![1; networks]);
            let mut realm = Self {
                folder,
                runtime,
                registry,
                nodes: Vec::new(),
                members,
                versions,
                process: Some(process),
            };
            realm.put_farm(1)?;
            for number in 0..nodes {
                let joined = realm.join(number)?;
                realm.nodes.push(joined);
            }
            realm.put_farm(2)?;
            for network in 0..networks {
                realm.put_network(network, 1)?;
            }
            Ok(realm)
        };
        found().map_err(failed)
    }

    /// Ends the registry at once, as a machine that loses its power does.
    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again where it was; returns once it listens.
    pub(super) fn revive(&mut self) -> Result<(), Failed> {
        let folder = self.folder.path();
        fs::rename(folder.join(ADDRESS), folder.join(BEFORE)).map_err(|error| failed(error.into()))?;
        self.process = Some(Process::part_with("registry", &[(REALM, folder.as_os_str())])?);
        await_file(&folder.join(ADDRESS))
    }

    /// Somebody who asks for the farms each [`STRIDE`], until told to end: how long each answer took.
    pub(super) fn ask_on(&self, end: &Arc<AtomicBool>) -> Result<JoinHandle<Vec<Duration>>, Failed> {
        let mut client = self.client(&key(5, 0)).map_err(failed)?;
        let (handle, end) = (self.runtime.handle().clone(), Arc::clone(end));
        Ok(thread::spawn(move || {
            let mut took = Vec::new();
            while !end.load(Ordering::Relaxed) {
                let began = Instant::now();
                // Connecting, where it has to, is a part of it; whom nobody answers asks again.
                if handle.block_on(client.get::<Farms>("/v1/farms")).is_ok() {
                    took.push(began.elapsed());
                }
                thread::sleep(STRIDE);
            }
            took
        }))
    }

    /// Who is there, by number.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (Joined, SigningKey)> {
        self.nodes.iter().cloned().enumerate().map(|(number, joined)| (joined, key(3, number)))
    }

    /// Whom a network concerns: its nodes, and the one that holds its exit.
    pub(super) fn touched(&self, network: usize) -> BTreeSet<usize> {
        [0].into_iter().chain(self.members_of(network)).collect()
    }

    /// Has a network's tenant send that it is another.
    pub(super) fn change(&self, network: usize) -> Result<Sent, Failed> {
        let version = {
            let mut versions = self.versions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            versions[network] += 1;
            versions[network]
        };
        let ready = || -> Result<_, Failure> {
            let (path, statement) = self.network(network, version)?;
            let put =
                Put { statement: Signed::new(&statement, &tenant(network)), confirmation: None, token: None };
            Ok((path, put, self.client(&tenant(network))?))
        };
        let (path, put, mut client) = ready().map_err(failed)?;
        let handle = self.runtime.handle().clone();
        Ok(Sent(thread::spawn(move || {
            let began = Instant::now();
            let sent = handle.block_on(client.send::<Done>(Method::PUT, &path, &put, None));
            sent.map(|_| began.elapsed()).map_err(|error| chain(&error))
        })))
    }

    fn members_of(&self, network: usize) -> impl Iterator<Item = usize> {
        let first = 1 + network * self.members;
        first..first + self.members
    }

    fn id(&self, number: usize) -> NodeId {
        self.nodes[number].node.id().clone()
    }

    /// By which URL it is reached.
    pub(super) fn registry(&self) -> &RegistryUrl {
        &self.registry
    }

    pub(super) fn client(&self, key: &SigningKey) -> Result<Client, Failure> {
        let identity = Identity::of(key)?;
        Ok(Client::new(self.registry.address(), *self.registry.key().as_bytes(), Some(&identity))?)
    }

    fn put<T: Statement>(
        &self,
        (path, statement): (String, T),
        key: &SigningKey,
        token: Option<String>,
    ) -> Result<(), Failure> {
        let put = Put { statement: Signed::new(&statement, key), confirmation: None, token };
        let mut client = self.client(key)?;
        self.runtime.block_on(client.send::<Done>(Method::PUT, &path, &put, None))?;
        Ok(())
    }

    fn put_farm(&self, version: u64) -> Result<(), Failure> {
        let slot = |holder: NodeId| -> Result<SlotDraft, Failure> {
            let key = format!("{PREFIX}#1").parse()?;
            Ok(SlotDraft::new(key, vec![holder]))
        };
        let holder = (version > 1).then(|| slot(self.id(0))).transpose()?;
        let draft = FarmDraft {
            id: farm(),
            allocations: vec![PREFIX.parse()?],
            upstream: Upstream::default(),
            management: Vec::new(),
            host_firewall: false,
            provisions: Vec::new(),
            nodes: Vec::new(),
            slots: holder.into_iter().collect(),
        };
        let statement = Delegation::new(draft, "alpha".parse()?, version)?;
        self.put((format!("/v1/farms/{}", farm()), statement), &farmer(), None)
    }

    fn join(&self, number: usize) -> Result<Joined, Failure> {
        let key = key(3, number);
        let id = NodeId::from(key.verifying().id(Role::Node));
        let address = Some(format!("2001:db8:ffff::{:x}/64", number + 16).parse()?);
        let reach = Reach::Public { address, address_v4: None };
        let node = NodeDraft { id: id.clone(), reach, nic: "eth0".parse()?, mtu: 1500 };
        let name = format!("n{number}").parse()?;
        let statement = NodeStatement { farm: farm(), name, version: 1, node: node.try_into()? };
        let expires = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 3600;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let token = Token {
            farm: farm(),
            registry: self.registry.address().to_owned(),
            registry_key: self.registry.key(),
            nonce,
            expires,
        };
        let token = Token::write(&Signed::new(&token, &farmer()));
        self.put((format!("/v1/nodes/{id}"), statement.clone()), &key, Some(token))?;
        Ok(Joined::new(self.registry.clone(), statement))
    }

    fn put_network(&self, network: usize, version: u64) -> Result<(), Failure> {
        self.put(self.network(network, version)?, &tenant(network), None)
    }

    /// What a tenant says of its network: in every other version the last of its nodes is not in it.
    fn network(&self, network: usize, version: u64) -> Result<(String, NetworkStatement), Failure> {
        let tenant: TenantId = tenant(network).verifying().id(Role::Tenant).into();
        let id = NetworkId { tenant, name: "web".parse()? };
        let members = self.members - usize::from(version.is_multiple_of(2));
        let nodes: Vec<NodeId> =
            self.members_of(network).take(members).map(|number| self.id(number)).collect();
        let exit = ExitDraft { farm: farm(), prefix: Some(PREFIX.parse()?), slot: 1_i64.try_into()? };
        let draft = NetworkDraft {
            id: id.clone(),
            nodes,
            exit,
            workloads: Vec::new(),
            exposures: Vec::new(),
            own_v4: Default::default(),
            local_v4: false,
        };
        let statement = NetworkStatement { version, subject: Subject::Live(draft.try_into()?) };
        Ok((format!("/v1/networks/{id}"), statement))
    }
}

pub(super) fn farmer() -> SigningKey {
    key(1, 0)
}

fn tenant(network: usize) -> SigningKey {
    key(2, network)
}

fn farm() -> FarmId {
    farmer().verifying().id(Role::Farmer).into()
}

/// The state of one of the crowd.
pub(super) fn state_of(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("node-{number}"))
}
