//! What is committed as the registry's description, asked by a program that is not ours, as a stranger, as the owner of a
//! farm, a node and a network, and as the operator: no answer that it does not name, and none of the registry's own failures.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sixfold_api::client::{Client, Method};
use sixfold_api::resource::{Done, Farm, Network, Node, Put};
use sixfold_api::tls::Identity;
use sixfold_api::url::RegistryUrl;
use sixfold_core::id::{FarmId, NetworkId, NodeId, TenantId};
use sixfold_core::model::{
    DeviceReport, ExitDraft, FarmDraft, NetworkDraft, NodeDraft, Reach, Seat, SlotDraft, Upstream,
};
use sixfold_core::trust::{
    Delegation, DeviceOf, DeviceStatement, Dissolution, Leaving, NetworkStatement, NodeStatement, Reclaim,
    Role, Signed, SigningKey, Statement, Subject, Token,
};
use tokio::runtime::{Builder, Runtime};

use super::{Registry, command};

/// The start of the node's agent that all who ask as it are.
const SESSION: &str = "1-00000000000000ab";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// One key in three roles, and what is its in each.
struct Owner {
    key: SigningKey,
    farm: FarmId,
    node: NodeId,
    network: NetworkId,
}

impl Owner {
    fn new() -> Self {
        let key = key(0x21);
        let id = |role| key.verifying().id(role);
        let tenant: TenantId = id(Role::Tenant).into();
        let network = NetworkId { tenant, name: "web".parse().unwrap() };
        Self { farm: id(Role::Farmer).into(), node: id(Role::Node).into(), network, key }
    }

    fn put<T: Statement>(&self, statement: &T) -> Put {
        Put { statement: Signed::new(statement, &self.key), confirmation: None, token: None }
    }

    fn farm(&self, version: u64) -> Put {
        let slot = SlotDraft::new("2001:db8:a::/48#1".parse().unwrap(), vec![self.node.clone()]);
        let draft = FarmDraft {
            id: self.farm.clone(),
            allocations: vec!["2001:db8:a::/48".parse().unwrap()],
            upstream: Upstream::default(),
            management: Vec::new(),
            host_firewall: false,
            provisions: Vec::new(),
            nodes: Vec::new(),
            slots: if version > 1 { vec![slot] } else { Vec::new() },
        };
        self.put(&Delegation::new(draft, "alpha".parse().unwrap(), version).unwrap())
    }

    fn node(&self, version: u64) -> Put {
        let reach = Reach::Public { address: Some("2001:db8:f::1/64".parse().unwrap()), address_v4: None };
        let draft = NodeDraft { id: self.node.clone(), reach, nic: "eth0".parse().unwrap(), mtu: 1500 };
        let (farm, name) = (self.farm.clone(), "ant".parse().unwrap());
        self.put(&NodeStatement { farm, name, version, node: draft.try_into().unwrap() })
    }

    fn network(&self, version: u64) -> Put {
        let exit = ExitDraft { farm: self.farm.clone(), prefix: None, slot: 1_i64.try_into().unwrap() };
        let exit = ExitDraft { prefix: Some("2001:db8:a::/48".parse().unwrap()), ..exit };
        let (id, nodes) = (self.network.clone(), vec![self.node.clone()]);
        let draft = NetworkDraft {
            id,
            nodes,
            exit,
            workloads: Vec::new(),
            exposures: Vec::new(),
            own_v4: Default::default(),
            local_v4: false,
        };
        self.put(&NetworkStatement { version, subject: Subject::Live(draft.try_into().unwrap()) })
    }

    /// A device of the node's resource in the network.
    fn device(&self, done: &Done) -> Put {
        let held = done.grants.iter().find(|held| held.seat == Seat::Node(self.node.clone())).unwrap();
        let (key, generation) = (held.resource, held.generation);
        let of = DeviceOf { node: self.node.clone(), key, generation, network: self.network.clone() };
        let public_key = sixfold_core::key::PublicKey::from_bytes([7; 32]);
        let endpoints = vec!["[2001:db8:f::1]:5000".parse().unwrap()];
        let report = DeviceReport { public_key, listen_port: 5000, endpoints };
        self.put(&DeviceStatement::new(of, 1, report).unwrap())
    }
}

/// A registry with something in it.
struct Furnished {
    dir: tempfile::TempDir,
    registry: Registry,
    owner: Owner,
    runtime: Runtime,
    device: Put,
}

impl Furnished {
    fn new() -> Self {
        let (dir, owner) = (tempfile::tempdir().unwrap(), Owner::new());
        let operator = key(0xad).verifying().to_string();
        let mut command = command(&dir.path().join("registry"), "[::1]:0");
        let registry = Registry::of(command.args(["--open", "--admin", &operator]));
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let url: RegistryUrl = registry.said("reached by ").parse().unwrap();
        let mut client = client(&url, &owner.key);
        let registry_key = url.key();
        let token = Token {
            farm: owner.farm.clone(),
            registry: url.address().to_owned(),
            registry_key,
            nonce: [1; 16],
            expires: std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() + 3600,
        };
        let token = Some(Token::write(&Signed::new(&token, &owner.key)));
        let (farm, node) = (format!("/v1/farms/{}", owner.farm), format!("/v1/nodes/{}", owner.node));
        let done = runtime.block_on(async {
            let mut put = async |path: &str, put: Put| {
                client.send::<Done>(Method::PUT, path, &put, None).await.unwrap()
            };
            put(&farm, owner.farm(1)).await;
            put(&node, Put { token, ..owner.node(1) }).await;
            put(&farm, owner.farm(2)).await;
            put(&format!("/v1/networks/{}", owner.network), owner.network(1)).await
        });
        let device = owner.device(&done);
        Self { dir, registry, owner, runtime, device }
    }

    /// The committed description with what this owner, or the operator, may really send.
    fn description(&self) -> PathBuf {
        let mut document: Value = serde_json::from_str(&fs::read_to_string(committed()).unwrap()).unwrap();
        let owner = &self.owner;
        let operator = |statement: Signed| Put { statement, confirmation: None, token: None };
        let reclaim = Reclaim { network: owner.network.clone(), version: 9 };
        let dissolution = Dissolution { farm: owner.farm.clone(), version: 9 };
        let leaving = Leaving { node: owner.node.clone(), farm: owner.farm.clone(), version: 9 };
        let status = json!({ "node": owner.node, "revision": 1, "in_sync": true, "wireguard": "kernel", "devices": [],
            "drift": [], "failures": [], "passes": 1, "operations": 1 });
        let sent = |put: &Put| serde_json::to_value(put).unwrap();
        let examples = BTreeMap::from([
            (("/v1/farms/{farm}", "put"), sent(&owner.farm(3))),
            (("/v1/farms/{farm}", "delete"), sent(&operator(Signed::new(&dissolution, &key(0xad))))),
            (("/v1/nodes/{node}", "put"), sent(&owner.node(2))),
            (("/v1/nodes/{node}", "delete"), sent(&owner.put(&leaving))),
            (("/v1/nodes/{node}/devices", "put"), sent(&self.device)),
            (("/v1/nodes/{node}/status", "put"), status),
            (("/v1/networks/{tenant}/{network}", "put"), sent(&owner.network(2))),
            (
                ("/v1/networks/{tenant}/{network}", "delete"),
                sent(&operator(Signed::new(&reclaim, &key(0xad)))),
            ),
        ]);
        for ((path, method), example) in examples {
            let body = &mut document["paths"][path][method]["requestBody"]["content"]["application/json"];
            assert!(body.is_object(), "{method} {path} takes no body");
            body["example"] = example;
        }
        let path = self.dir.path().join("openapi.json");
        fs::write(&path, document.to_string()).unwrap();
        path
    }

    fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> T {
        let url: RegistryUrl = self.registry.said("reached by ").parse().unwrap();
        let mut client = client(&url, &self.owner.key);
        self.runtime.block_on(client.get(path)).unwrap()
    }
}

fn client(url: &RegistryUrl, key: &SigningKey) -> Client {
    let identity = Identity::of(key).unwrap();
    Client::new(url.address(), *url.key().as_bytes(), Some(&identity)).unwrap().in_session(SESSION)
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json").canonicalize().unwrap()
}

/// Has Schemathesis ask a registry for so many seconds, with a key and some parameters that stay the same.
fn asked(registry: &Registry, (dir, key): (&Path, &SigningKey), description: &Path, more: (&str, u32)) {
    let (parameters, secs) = more;
    let schemathesis = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/schemathesis/bin/st");
    assert!(schemathesis.exists(), "schemathesis is missing: cargo xtask test fetches it");
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("key.pem"), key.to_pem().as_bytes()).unwrap();
    let make = "openssl req -new -x509 -key key.pem -subj /CN=x -out cert.pem";
    let made = Command::new("sh").args(["-c", make]).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // Whoever waits for news is answered late, as they asked: here nobody waits long.
    let settings = format!("[parameters]\n\"query.wait\" = 1\n{parameters}");
    fs::write(dir.join("schemathesis.toml"), settings).unwrap();
    let checks =
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    let mut asking = Command::new(schemathesis);
    asking.arg("run").arg(description).current_dir(dir);
    asking.args(["--url", &format!("https://{}", registry.said("listening at ")), "--tls-verify", "false"]);
    asking.args(["--request-cert", "cert.pem", "--request-cert-key", "key.pem", "--checks", checks]);
    asking.args(["--phases", "examples,coverage,fuzzing", "--max-examples", "5"]);
    asking.args(["--max-time", &secs.to_string(), "--generation-deterministic", "--no-color"]);
    let asked = asking.output().unwrap();
    let said = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.status.success(), "{said}{}", String::from_utf8_lossy(&asked.stderr));
    let counted = said.lines().rfind(|line| line.contains(" generated, ")).unwrap_or_default().trim();
    assert!(!counted.is_empty(), "{said}");
    println!("schemathesis, {}: {counted}", dir.file_name().unwrap_or_default().display());
}

#[test]
fn a_stranger_is_answered_nothing_that_the_description_does_not_name() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start(&dir.path().join("registry"));
    asked(&registry, (&dir.path().join("stranger"), &key(0x77)), &committed(), ("", 40));
    assert_eq!(registry.end(), Some(0));
}

#[test]
fn an_owner_and_the_operator_are_answered_nothing_that_the_description_does_not_name() {
    let furnished = Furnished::new();
    let Furnished { dir, registry, owner, .. } = &furnished;
    let description = furnished.description();
    let (tenant, name) = (&owner.network.tenant, &owner.network.name);
    let parameters = format!(
        "\"path.farm\" = \"{}\"\n\"path.node\" = \"{}\"\n\"path.tenant\" = \"{tenant}\"\n\"path.network\" = \"{name}\"\n\
        \"path.role\" = \"tenant\"\n\"path.id\" = \"{tenant}\"\n\"header.sixfold-session\" = \"{SESSION}\"\n",
        owner.farm, owner.node
    );
    asked(registry, (&dir.path().join("owner"), &owner.key), &description, (&parameters, 20));
    // What it could send was taken: all of it was asked as its owner.
    let farm: Farm = furnished.get(&format!("/v1/farms/{}", owner.farm));
    let node: Node = furnished.get(&format!("/v1/nodes/{}", owner.node));
    let network: Network = furnished.get(&format!("/v1/networks/{}", owner.network));
    assert_eq!((farm.version, node.version, network.version), (3, 2, 2));
    asked(registry, (&dir.path().join("operator"), &key(0xad)), &description, (&parameters, 15));
    let network: Network = furnished.get(&format!("/v1/networks/{}", owner.network));
    assert!(network.deleted, "the operator's word was taken");
    let Furnished { registry, .. } = furnished;
    assert_eq!(registry.end(), Some(0));
}
