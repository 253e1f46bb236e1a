//! What is seen of nodes: by their farmer, by the registry's events, and by whoever asks who vouches for what.

use std::process::Command;
use std::time::Duration;

use sixfold_agent::remote::joined::Joined;
use sixfold_agent::remote::kept::{Kept, Shown};
use sixfold_agent::store::Store;
use sixfold_api::client::{Client, Method, News};
use sixfold_api::resource::Done;
use sixfold_api::tls::Identity;
use sixfold_api::url::RegistryUrl;
use sixfold_core::id::Revision;
use sixfold_core::model::{ExitStatus, Status};
use sixfold_core::trust::{Role, Seen, SigningKey, admit};
use tokio::runtime::Builder;

use super::farm::first_farm;
use super::ground::Ground;

pub(crate) const ACME: &str = "examples/first-farm/acme.toml";

/// A node's own word to its registry, as its agent has it.
fn as_node<T>(ground: &Ground, name: &str, ask: impl AsyncFnOnce(&mut Client, String) -> T) -> T {
    let path = format!("/v1/nodes/{}", ground.key(Role::Node, name));
    with_key_of(ground, name, async |client| ask(client, path).await)
}

/// Somebody's word to the registry, with the key in their file.
pub(crate) fn with_key_of<T>(ground: &Ground, name: &str, ask: impl AsyncFnOnce(&mut Client) -> T) -> T {
    let pem = std::fs::read_to_string(ground.path(&format!("{name}.pem"))).unwrap();
    let identity = Identity::of(&SigningKey::from_pem(&pem).unwrap()).unwrap();
    let url: RegistryUrl = ground.url.parse().unwrap();
    let client = Client::new(url.address(), *url.key().as_bytes(), Some(&identity)).unwrap();
    let mut client = client.in_session("1-00000000000000ab");
    Builder::new_current_thread().enable_all().build().unwrap().block_on(ask(&mut client))
}

/// Has a node say how it is.
fn say(ground: &Ground, name: &str, in_sync: bool) {
    say_of(ground, (name, in_sync), Vec::new());
}

/// The same, and how its exit slots are.
pub(crate) fn say_of(ground: &Ground, (name, in_sync): (&str, bool), exits: Vec<ExitStatus>) {
    let status = Status {
        exits,
        heard: Vec::new(),
        node: ground.key(Role::Node, name).parse().unwrap(),
        revision: Revision(6),
        in_sync,
        wireguard: "kernel".to_owned(),
        devices: Vec::new(),
        drift: if in_sync {
            Vec::new()
        } else {
            vec!["ip netns add gw-1-1\u{1b}]0;owned\u{7}\nheard     never".to_owned()]
        },
        failures: Vec::new(),
        unknown_fields: Vec::new(),
        foreign: Vec::new(),
        registry: None,
        refusals: Vec::new(),
        peers: Vec::new(),
        passes: 3,
        operations: 2,
    };
    as_node(ground, name, async |client, path| {
        client.send::<Done>(Method::PUT, &format!("{path}/status"), &status, None).await.unwrap();
    });
}

pub(crate) fn ids(ground: &Ground) -> Vec<(String, &'static str)> {
    let nodes = ["ant", "bee", "cat"].map(|name| (ground.key(Role::Node, name), name));
    let others = [(ground.key(Role::Farmer, "alpha"), "alpha"), (ground.key(Role::Tenant, "acme"), "acme")];
    nodes.into_iter().chain(others).collect()
}

#[test]
fn a_farmer_sees_the_nodes_and_removes_one() {
    let ground = Ground::new();
    first_farm(&ground);
    let alpha = |args: &[&str], code| ground.prints("alpha", args, code);
    let unheard = alpha(&["node", "list"], 0);
    for (name, in_sync) in [("ant", true), ("bee", false)] {
        say(&ground, name, in_sync);
    }
    let heard = alpha(&["node", "list"], 0);
    let shown = alpha(&["node", "show", "bee"], 0);
    let document = ground.json("alpha", &["node", "show", "bee", "--json"]);
    assert_eq!(
        (&document["state"], &document["heard"]["status"]["passes"]),
        (&"out-of-sync".into(), &3.into())
    );
    let is_quiet = |text: &str| text.chars().all(|letter| letter == '\n' || !letter.is_control());
    assert!(is_quiet(&shown) && shown.contains("gw-1-1\\u{1b}]0;owned\\u{7}\\nheard"), "{shown:?}");
    let status = alpha(&["status", "--registry", &ground.url], 3);
    let holder = alpha(&["node", "remove", "bee", "--yes"], 1);
    let unasked = alpha(&["node", "remove", "cat"], 2);
    let removed = alpha(&["node", "remove", "cat", "--yes"], 0);
    let left = ground.json("alpha", &["node", "list", "--json"]);
    assert_eq!(left["nodes"].as_array().unwrap().len(), 2);
    let again = alpha(&["node", "remove", "cat", "--yes"], 1);
    let said = [unheard, heard, shown, status, holder, unasked, removed, again].join("\n");
    let ids = ids(&ground);
    let ids: Vec<(&str, &str)> = ids.iter().map(|(id, name)| (id.as_str(), *name)).collect();
    insta::assert_snapshot!(ground.plain(&said, &ids));
}

#[test]
fn everybody_hears_what_concerns_them() {
    let ground = Ground::new();
    first_farm(&ground);
    ground.key(Role::Tenant, "acme");
    ground.prints("acme", &["network", "apply", ACME, "--yes"], 0);
    ground.prints("acme", &["network", "delete", "web", "--yes"], 0);
    let heard = |who: &str, args: &[&str]| -> Vec<(String, u64)> {
        let said = ground.prints(who, &[&["events", "--json"], args].concat(), 0);
        let documents = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let event = |event: serde_json::Value| {
            (event["kind"].as_str().unwrap().to_owned(), event["number"].as_u64().unwrap())
        };
        documents.map(event).collect()
    };
    let kinds = |events: &[(String, u64)]| events.iter().map(|(kind, _)| kind.clone()).collect::<Vec<_>>();
    assert_eq!(kinds(&heard("acme", &[])), ["network-put", "network-deleted"]);
    let farmer = heard("alpha", &[]);
    let made = ["farm-put", "node-joined", "node-joined", "node-joined", "farm-put", "slot-held"];
    assert_eq!(kinds(&farmer)[..6], made);
    assert!(farmer.len() > 6, "{farmer:?}");
    assert_eq!(heard("alpha", &["--after", &farmer[5].1.to_string()]), farmer[6..]);
    let text = ground.prints("acme", &["events"], 0);
    let network = format!("network {}/web", ground.key(Role::Tenant, "acme"));
    assert!(text.lines().count() == 2 && text.lines().all(|line| line.contains(&network)), "{text}");
}

#[test]
fn who_follows_reads_what_happens_when_it_does_until_nobody_reads() {
    let ground = Ground::new();
    first_farm(&ground);
    let network = format!("{}/web", ground.key(Role::Tenant, "acme"));
    let change = |args: &[&str]| ground.prints("acme", &[args, &["--yes"]].concat(), 0);
    let mut programs = ground.follows("acme", &["events", "--follow", "--json"]);
    let event = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    change(&["network", "apply", ACME]);
    let put = event(&programs.line());
    assert_eq!((&put["kind"], &put["network"]), (&"network-put".into(), &network.as_str().into()));
    // One who was away goes on after what was read last, and is told of what comes like everybody else.
    let number = put["number"].to_string();
    let persons = ground.follows("acme", &["events", "--follow", "--after", &number]);
    change(&["network", "delete", "web"]);
    let deleted = event(&programs.line());
    assert_eq!(deleted["kind"], "network-deleted");
    let line = persons.line();
    assert!(line.contains("network-deleted") && line.contains(&network), "{line}");
    assert!(line.trim_start().starts_with(&deleted["number"].to_string()), "{line}");
    assert_eq!(programs.ended(), None, "it waits for more");

    // Whoever reads no more is noticed once there is something to say, which ends it as it is to end.
    programs.leave();
    let mut ended = None;
    for _ in 0..20 {
        change(&["network", "apply", ACME]);
        change(&["network", "delete", "web"]);
        ended = programs.ended();
        if ended.is_some() {
            break;
        }
    }
    assert_eq!(ended, Some(Some(0)));
}

#[test]
fn who_vouches_for_a_network_is_told_from_the_registry_and_from_a_nodes_proofs() {
    let ground = Ground::new();
    first_farm(&ground);
    ground.key(Role::Tenant, "acme");
    ground.prints("acme", &["network", "apply", ACME, "--yes"], 0);
    let tenant = ground.prints("acme", &["trust", "show", "web"], 0);
    let farmer = format!("{}/web", ground.key(Role::Tenant, "acme"));
    let farmer = ground.prints("alpha", &["trust", "show", &farmer], 0);

    // What the agent of a node keeps once the registry has shown it.
    let state = ground.path("ant");
    let none = ground.prints("ant", &["trust", "show", "web", "--state", state.to_str().unwrap()], 3);
    let news = as_node(&ground, "ant", async |client, path| {
        client.news::<serde_json::Value>(&format!("{path}/snapshot"), None, Duration::ZERO).await.unwrap()
    });
    let News::Changed { value, .. } = news else { panic!("nothing is shown") };
    let shown = Shown::read(serde_json::to_vec(&value).unwrap()).unwrap();
    let joined = Joined::read(&state.join("joined.json")).unwrap().unwrap();
    let seen = admit(&shown.proofs, &joined.pins(), &Seen::default(), joined.node.id()).seen;
    Store::<Kept>::of(&state).unwrap().save(&Kept::new(shown, seen)).unwrap();
    let node = ground.prints("ant", &["trust", "show", "web", "--state", state.to_str().unwrap()], 0);
    let document =
        ground.json("ant", &["trust", "show", "web", "--json", "--state", state.to_str().unwrap()]);
    assert_eq!((&document["from"], document["resources"].as_array().unwrap().len()), (&"node".into(), 4));
    let other = ground.prints("ant", &["trust", "show", "wob", "--state", state.to_str().unwrap()], 1);

    let said = [tenant, farmer, none, node, other].join("\n");
    let url: RegistryUrl = ground.url.parse().unwrap();
    let (id, key) = (url.key().id(Role::Registry).to_string(), url.key().to_string());
    let mut ids = ids(&ground);
    ids.extend([(id, "registry"), (key, "key of the registry")]);
    let ids: Vec<(&str, &str)> = ids.iter().map(|(id, name)| (id.as_str(), *name)).collect();
    insta::assert_snapshot!(ground.plain(&said, &ids));
}

#[test]
fn who_replaces_a_key_goes_on_and_is_believed() {
    let ground = Ground::new();
    first_farm(&ground);
    let file = |name: &str| ground.path(name).to_str().unwrap().to_owned();
    for name in ["alpha", "acme"] {
        ground.key(if name == "alpha" { Role::Farmer } else { Role::Tenant }, name);
    }
    ground.prints("acme", &["network", "apply", ACME, "--yes"], 0);
    std::fs::copy(ground.path("alpha.pem"), ground.path("old.pem")).unwrap();
    let rotate = |role: &str, name: &str, more: &[&str]| {
        let file = file(name);
        ground.prints("alpha", &[&["key", "rotate", role, "--file", &file][..], more].concat(), 0)
    };
    let said = rotate("farmer", "alpha.pem", &[]);
    assert!(
        said.contains("replaced    once\n") && said.contains("told, with 1 statement signed again"),
        "{said}"
    );
    // Twice where nobody listens, and then told of both at once.
    for _ in 0..2 {
        let mut alone = Command::new(env!("CARGO_BIN_EXE_sixfold"));
        alone.args(["key", "rotate", "tenant", "--file", &file("acme.pem")]).env_remove("SIXFOLD_REGISTRY");
        let said = String::from_utf8(alone.output().unwrap().stdout).unwrap();
        assert!(said.contains("tell it: sixfold key rotate tenant --tell"), "{said}");
    }
    let said = rotate("tenant", "acme.pem", &["--tell"]);
    assert!(said.contains("told, with 1 statement signed again"), "{said}");
    let said = rotate("tenant", "acme.pem", &["--tell", "--registry", &ground.url]);
    assert!(said.contains("knew it"), "{said}");
    ground.prints("alpha", &["farm", "exit", "set", "2", "ant", "bee"], 0);
    ground.prints("acme", &["network", "delete", "web", "--yes"], 0);
    ground.prints("acme", &["network", "apply", ACME, "--yes"], 0);
    let refused = ground.prints("old", &["farm", "exit", "set", "2", "bee"], 1);
    assert!(refused.contains("error: "), "{refused}");
}

#[test]
fn who_deleted_a_network_or_lost_one_replaces_a_key_all_the_same() {
    let ground = Ground::new();
    first_farm(&ground);
    let tenant = ground.key(Role::Tenant, "acme");
    ground.key(Role::Admin, "operator");
    let file = ground.path("acme.pem").to_str().unwrap().to_owned();
    let rotate = || ground.prints("acme", &["key", "rotate", "tenant", "--file", &file], 0);
    for ends in ["deleted", "taken back"] {
        ground.prints("acme", &["network", "apply", ACME, "--yes"], 0);
        match ends {
            "deleted" => ground.prints("acme", &["network", "delete", "web", "--yes"], 0),
            _ => ground.prints("operator", &["network", "reclaim", &format!("{tenant}/web"), "--yes"], 0),
        };
        let said = rotate();
        assert!(said.contains("told, with 0 statements signed again"), "{ends}: {said}");
        ground.prints("acme", &["network", "apply", ACME, "--yes"], 0);
        let said = rotate();
        assert!(said.contains("told, with 1 statement signed again"), "{ends}: {said}");
        let store = ground.path("registry/registry.db");
        ground.prints("operator", &["registry", "fsck", store.to_str().unwrap()], 0);
    }
}
