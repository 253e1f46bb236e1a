//! A registry as a process of its own, which a test may end at any moment, and tenants who ask it over TLS.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sixfold_api::client::{Client, ClientError};
use sixfold_api::problem::Problem;
use sixfold_api::resource::{Done, Put};
use sixfold_api::tls::Identity;
use sixfold_core::id::{NetworkId, TenantId};
use sixfold_core::model::{ExitDraft, NetworkDraft};
use sixfold_core::trust::{NetworkStatement, Role, Signed, SigningKey, Subject};
use sixfold_registry::fsck::{Proven, fsck_sealed};
use sixfold_registry::seal::Signing;
use sixfold_registry::store::Sqlite;
use tokio::runtime::Runtime;

use crate::ground::{Hands, Registry};
use crate::statements::{REGISTRY, signing};

/// How long a process has to begin to listen, on a machine with much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(3);

/// An address of this process's own, at which nobody else listens or is spoken from.
pub(crate) fn address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, NEXT.fetch_add(1, Ordering::Relaxed), high, low.max(1)), 7443).into()
}

/// A running registry.
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Starts it on the store in a folder; `cut` ends it at that step of its commits.
    pub(crate) fn start(dir: &Path, address: SocketAddr, cut: Option<(usize, &Path)>) -> Self {
        let folder = std::env::current_exe().unwrap();
        let program = folder.parent().unwrap().parent().unwrap().join("examples/registry-process");
        assert!(program.exists(), "{} is built with the tests", program.display());
        let mut command = Command::new(program);
        command.arg(dir).arg(address.to_string()).stderr(Stdio::null());
        command.env_remove("SIXFOLD_CUT").env_remove("SIXFOLD_EFFECTS");
        if let Some((step, told)) = cut {
            command.env("SIXFOLD_CUT", step.to_string()).env("SIXFOLD_EFFECTS", told);
        }
        Self { child: command.spawn().unwrap(), address }
    }

    /// Waits until it listens; whether it does.
    pub(crate) fn listens(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && self.ended().is_none() {
            if self.is_listening() {
                return true;
            }
            sleep(PAUSE);
        }
        false
    }

    /// Whether it listens now.
    pub(crate) fn is_listening(&self) -> bool {
        TcpStream::connect(self.address).is_ok()
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits so long until it ends; whether it does.
    pub(crate) fn ends_within(&mut self, patience: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if self.ended().is_some() {
                return true;
            }
            sleep(Duration::from_millis(1));
        }
        false
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What is asked of a network.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The idempotency key.
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) version: u64,
    /// None: it shall be no more.
    pub(crate) nodes: Option<Vec<String>>,
}

/// Somebody with a key.
pub(crate) struct Tenant {
    key: SigningKey,
    client: Client,
    runtime: Runtime,
}

impl Tenant {
    pub(crate) fn new(seed: u8, registry: SocketAddr) -> Self {
        let key = SigningKey::from_seed(&[seed; 32]);
        let pinned = *own_key().verifying().as_bytes();
        let identity = Identity::of(&key).unwrap();
        let client = Client::new(registry.to_string(), pinned, Some(&identity)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { key, client, runtime }
    }

    pub(crate) fn network(&self, name: &str) -> NetworkId {
        let tenant: TenantId = self.key.verifying().id(Role::Tenant).into();
        NetworkId { tenant, name: name.parse().unwrap() }
    }

    fn put(&self, asked: &Asked) -> Put {
        let id = self.network(&asked.name);
        let subject = match &asked.nodes {
            None => Subject::Deleted(id),
            Some(nodes) => {
                let exit = ExitDraft {
                    farm: "alpha".parse().unwrap(),
                    prefix: Some("2001:db8:a::/48".parse().unwrap()),
                    slot: 1_u8.try_into().unwrap(),
                };
                let nodes = nodes.iter().map(|node| node.parse().unwrap()).collect();
                let draft = NetworkDraft {
                    id,
                    nodes,
                    exit,
                    workloads: Vec::new(),
                    exposures: Vec::new(),
                    own_v4: Default::default(),
                    local_v4: false,
                };
                Subject::Live(draft.try_into().unwrap())
            }
        };
        let statement = NetworkStatement { version: asked.version, subject };
        Put { statement: Signed::new(&statement, &self.key), confirmation: None, token: None }
    }

    /// Asks once.
    pub(crate) fn ask(&mut self, asked: &Asked) -> Result<Done, ClientError> {
        let path = format!("/v1/networks/{}", self.network(&asked.name));
        let put = self.put(asked);
        let sending = self.client.send(axum::http::Method::PUT, &path, &put, Some(&asked.key));
        self.runtime.block_on(sending)
    }

    /// Asks until there is an answer, again and again with the same key. Also tells how often it was asked.
    pub(crate) fn insist(&mut self, asked: &Asked) -> (Result<Done, Box<Problem>>, usize) {
        let begun = Instant::now();
        for count in 1.. {
            match self.ask(asked) {
                Ok(done) => return (Ok(done), count),
                Err(error) if error.is_passing() => {
                    assert!(begun.elapsed() < PATIENCE, "the registry does not come back: {error}");
                    sleep(error.retry_after().unwrap_or(PAUSE));
                }
                Err(ClientError::Refused(problem)) => return (Err(problem), count),
                Err(error) => panic!("{error}"),
            }
        }
        unreachable!("the count has no end")
    }
}

/// The key that a process has.
pub(crate) fn own_key() -> SigningKey {
    signing(REGISTRY)
}

/// A store with farm alpha and so many nodes, sealed by the key that a process has, and closed.
pub(crate) fn furnished(path: &Path, nodes: usize) {
    let sealer = Signing { key: own_key(), operator: None };
    let store = Sqlite::open(path).unwrap();
    Registry::sealed(store, &Hands::at(1), Some(Box::new(sealer))).furnish(nodes).end();
}

/// Proves a store that nobody writes to, with every seal and every path in it. Who said its documents is not proven: they were
/// written past the routes.
pub(crate) fn proven(path: &Path) -> Proven {
    let proven = fsck_sealed(&Sqlite::open_to_read(path).unwrap()).unwrap();
    assert_eq!(proven.findings, [], "{}", path.display());
    proven
}
