//! A node that joined a farm, with the real registry: it becomes what owners sign, goes on without the registry, and
//! leaves. Real processes on a machine of their own; needs root, iproute2 and util-linux; without them it fails.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![allow(clippy::print_stdout, reason = "what was measured is said, as it depends on the machine")]

mod machine;
mod realm;

use std::fs;
use std::io::Write as _;

use machine::{Machine, Process};
use realm::{ADDRESS, Realm, farmer};
use serde_json::Value;
use sixfold_api::resource::{Heard, Node};
use sixfold_core::id::NodeId;
use sixfold_core::key::PublicKey;
use sixfold_core::trust::VerifyingKey;

/// Where each machine's agent tells what it counts.
const METRICS: &str = "127.0.0.1:7445";
/// Not before the end of any test.
fn later() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs() + 60 * 60
}

fn registry(machine: &Machine) -> (Process, VerifyingKey) {
    let dir = machine.at("registry");
    let process = machine.begin(
        "registry",
        &["registry", "run", "--open", "--listen", ADDRESS, "--dir", dir.to_str().unwrap()],
    );
    let key = process.said("key ").parse().unwrap();
    process.said("listening at ");
    (process, key)
}

/// The words that `node join` has on each machine, after those given.
fn join(machine: &Machine, words: &[&str]) -> Vec<String> {
    let (key, state) = (machine.at("node.pem"), machine.at("state"));
    let own = ["--key", key.to_str().unwrap(), "--state", state.to_str().unwrap()];
    ["node", "join"].into_iter().chain(words.iter().copied()).chain(own).map(str::to_owned).collect()
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn joined(machine: &Machine, token: &str) -> NodeId {
    let join = join(machine, &[token, "--name", "ant", "--address", "2001:db8:f::a/64"]);
    let said = machine.succeeds(&words(&join));
    said.lines().find_map(|line| line.strip_prefix("node ")).unwrap().trim().parse().unwrap()
}

fn agent(machine: &Machine) -> Process {
    let (key, state) = (machine.at("node.pem"), machine.at("state"));
    machine.begin(
        "agent",
        &[
            "agent",
            "--key",
            key.to_str().unwrap(),
            "--state",
            state.to_str().unwrap(),
            "--wireguard",
            "tunnel",
            "--metrics",
            METRICS,
        ],
    )
}

fn is_in_sync(status: &Value, revision: u64) -> bool {
    status["in_sync"] == true && status["revision"].as_u64().is_some_and(|at| at >= revision)
}

#[test]
fn a_node_joins_follows_its_owners_and_goes_on_without_the_registry() {
    let machine = Machine::start();
    let (process, key) = registry(&machine);
    let realm = Realm { machine: &machine, registry: key };
    realm.put_farm(1, None);
    let token = realm.token(1, later());
    let node = joined(&machine, &token);
    assert_eq!(joined(&machine, &token), node, "the same command again");
    realm.put_farm(2, Some(&node));
    let _tunnel = machine.begin("tunnel", &["tunnel", "run"]);
    let running = agent(&machine);
    machine.await_status("in sync with an empty farm", |status| is_in_sync(status, 1));

    let done = realm.put_network(1, &node);
    let status = machine.await_status("in sync with a network", |status| {
        is_in_sync(status, done.revision.0) && status["devices"].as_array().is_some_and(|all| all.len() == 2)
    });
    assert_eq!(status["registry"]["connected"], true, "{status:#}");
    assert_eq!(status["refusals"], Value::Array(vec![]), "{status:#}");
    let namespaces = machine.netns();
    let has = |start: &str| namespaces.iter().any(|name| name.starts_with(start));
    assert!(has("gw-1-1") && has("net-"), "{namespaces:?}");
    // Its devices came back by way of the registry: each is the other's peer.
    machine.await_status("in sync with its own devices", |status| is_in_sync(status, done.revision.0 + 1));
    assert_peers_are_told_of(&machine);
    assert_a_report_has_what_the_registry_showed_and_no_secret(&machine, &token);

    process.kill();
    machine.await_status("told that the registry is away", |status| status["registry"]["connected"] == false);
    running.end();
    for namespace in &namespaces {
        machine.prints("ip", &["netns", "delete", namespace]);
    }
    machine.forget_status();
    let running = agent(&machine);
    let status = machine.await_status("in sync from disk", |status| is_in_sync(status, done.revision.0));
    assert_eq!(status["registry"]["connected"], false, "{status:#}");
    assert_eq!(machine.netns(), namespaces);

    let (_process, again) = registry(&machine);
    assert_eq!(again, key);
    machine.await_status("told that the registry is back", |status| status["registry"]["connected"] == true);
    let heard = |revision| {
        realm.ask(&farmer(), async |client| {
            let path = format!("/v1/nodes/{node}/status");
            let mut heard = client.get::<Heard>(&path).await.ok();
            for _ in 0..600 {
                if heard
                    .as_ref()
                    .is_some_and(|heard| heard.status.in_sync && heard.status.revision.0 >= revision)
                {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                heard = client.get::<Heard>(&path).await.ok();
            }
            heard
        })
    };
    let heard = heard(done.revision.0).unwrap();
    assert!(heard.status.in_sync, "{heard:?}");
    let peers = &heard.status.peers;
    assert!(peers.len() == 2 && peers.iter().all(|peer| peer.session.is_none()), "{peers:?}");

    // Whoever speaks with the registry has no rights, is nobody, and knows no key.
    let courier = running.children().pop().expect("the agent has a courier");
    let status = fs::read_to_string(format!("/proc/{courier}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{status}");
    }
    assert_eq!((field("Uid:"), field("Gid:")), (vec!["65534".to_owned(); 4], vec!["65534".to_owned(); 4]));
    assert_eq!(field("NoNewPrivs:"), ["1"]);
}

/// What nobody else may know, in every way that it may be written: the node's key, its devices' keys, its token.
fn secrets(machine: &Machine, token: &str) -> Vec<String> {
    let pem = fs::read_to_string(machine.at("node.pem")).unwrap();
    let body = pem.lines().find(|line| !line.starts_with('-')).unwrap().to_owned();
    let mut secrets = vec![token.to_owned(), token.split('.').next_back().unwrap().to_owned(), body];
    for file in fs::read_dir(machine.at("state/keys")).unwrap() {
        let key = fs::read(file.unwrap().path()).unwrap();
        if let Ok(key) = <[u8; 32]>::try_from(key) {
            // Public or private, 32 bytes are written alike.
            let text = PublicKey::from_bytes(key).to_string();
            let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            secrets.extend([text.trim_end_matches('=').to_owned(), hex]);
        }
    }
    secrets
}

fn assert_a_report_has_what_the_registry_showed_and_no_secret(machine: &Machine, token: &str) {
    let secrets = secrets(machine, token);
    assert!(
        secrets.len() >= 3 + 2 * 2 && secrets.iter().all(|secret| secret.len() > 40),
        "{}",
        secrets.len()
    );
    let log = machine.at("agent.log");
    let before = fs::read_to_string(&log).unwrap();
    assert!(!secrets.iter().any(|secret| before.contains(secret)), "a secret was logged");
    // As if they had been.
    let leaked: String = secrets.iter().map(|secret| format!("leaked {secret}, and on\n")).collect();
    fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(leaked.as_bytes()).unwrap();
    let (report, state) = (machine.at("report"), machine.at("state"));
    let places = ["--state", state.to_str().unwrap(), "--wireguard", "tunnel"];
    machine.succeeds(&[&["bug-report", "--output", report.to_str().unwrap()], &places[..]].concat());
    let text = fs::read_to_string(&report).unwrap();
    assert!(text.contains("\n0 steps to revision "), "{text}");
    assert!(
        text.matches("[key removed], and on").count() >= secrets.len(),
        "the end of the log is not in it"
    );
    let told = secrets.iter().position(|secret| text.contains(secret));
    assert_eq!(told, None, "which of the secrets is in the report");
}

/// A packet to the other one, and what status, command and metrics say of the session that it led to.
fn assert_peers_are_told_of(machine: &Machine) {
    let sessions = |status: &Value| -> Vec<Value> {
        let peers = status["peers"].as_array().cloned().unwrap_or_default();
        peers.iter().map(|peer| peer["session"].clone()).filter(|session| !session.is_null()).collect()
    };
    let status = machine.await_status("told of two peers", |status| sessions(status).len() == 2);
    let peer = &status["peers"][0];
    let index = |value: &Value| value.as_str().unwrap().to_owned();
    let (own, other) = (index(&peer["resource"]["index"]), index(&peer["peer"]));
    let netns = format!("net-{own}-1");
    let exec = ["netns", "exec", &netns, "ping", "-c", "1", "-W", "1", &format!("2001:db8:a:{other}::1")];
    // Whether it is answered is for the exit point's firewall to say: sessions are what it is sent for.
    machine.prints("ip", &exec);
    let status = machine.await_status("told of a handshake", |status| {
        sessions(status)
            .iter()
            .all(|session| session["handshake_age_secs"].as_u64().is_some_and(|age| age < 60))
    });
    // An answer to a call is the least that either received (92 bytes).
    assert!(sessions(&status).iter().all(|it| it["rx_bytes"].as_u64() >= Some(92)), "{status:#}");
    let text = machine.succeeds(&["status"]);
    let row = |line: &str| line.contains(&format!("{own}-1")) && line.contains(&format!("{other}-1  "));
    assert!(text.contains("HANDSHAKE") && text.lines().any(row), "{text}");

    let ask = |path: &str| machine.prints("curl", &["-s", "-i", &format!("http://{METRICS}{path}")]);
    let told = ask("/metrics");
    for line in [
        "sixfold_agent_in_sync 1",
        "sixfold_agent_registry_connected 1",
        "sixfold_agent_peers_alive 2",
        "sixfold_agent_peers_silent 0",
        "sixfold_tunnel_devices 2",
    ] {
        assert!(told.lines().any(|it| it == line), "{line} is not in\n{told}");
    }
    for name in ["sixfold_agent_wireguard_sent_bytes_total", "sixfold_tunnel_sent_bytes_total"] {
        let value = told.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        assert!(value >= Some(148), "{name} {value:?}\n{told}");
    }
    for path in ["/healthz", "/readyz"] {
        let answer = ask(path);
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{path}: {answer}");
    }
}

#[test]
fn whoever_may_not_join_is_told_why() {
    let machine = Machine::start();
    let (_process, key) = registry(&machine);
    let realm = Realm { machine: &machine, registry: key };
    realm.put_farm(1, None);
    let fails = |token: &str, words: &[&str], code, said: &[&str]| {
        let all = join(&machine, &[&[token, "--name", "ant"], words].concat());
        let err = machine.fails(&self::words(&all), code);
        assert!(said.iter().all(|said| err.contains(said)), "{said:?} not in {err}");
    };
    fails(&realm.token(1, 1), &[], 1, &["the join token expired", "hint: ask the farmer for another one"]);
    let stranger = Realm { machine: &machine, registry: farmer().verifying() };
    fails(
        &stranger.token(1, later()),
        &[],
        3,
        &["cannot connect to the registry", "not the registry that the key"],
    );
    assert!(!machine.at("state/joined.json").exists());
    joined(&machine, &realm.token(1, later()));
    // The same token again, by another machine.
    let other = machine.at("other.pem");
    let other = other.to_str().unwrap();
    let state = machine.at("elsewhere");
    let words = [
        "node",
        "join",
        &realm.token(1, later()),
        "--name",
        "bee",
        "--key",
        other,
        "--state",
        state.to_str().unwrap(),
    ];
    let err = machine.fails(&words, 1);
    assert!(err.contains("used") && err.contains("hint: "), "{err}");
    // The same machine again says what is new, by a token that is used up, and does not change farms.
    let renamed =
        machine.succeeds(&self::words(&join(&machine, &[&realm.token(1, later()), "--name", "bee"])));
    assert!(renamed.contains("name      bee\n") && renamed.contains("public, 2001:db8:f::a/64"), "{renamed}");
    let moved = realm.token_of(&realm::tenant());
    fails(&moved, &[], 1, &["this node is in farm", "hint: to move it, first: sixfold node leave"]);
}

#[test]
fn a_node_that_leaves_is_known_no_more_and_can_come_back() {
    let machine = Machine::start();
    let (process, key) = registry(&machine);
    let realm = Realm { machine: &machine, registry: key };
    realm.put_farm(1, None);
    let node = joined(&machine, &realm.token(1, later()));
    let (file, state) = (machine.at("node.pem"), machine.at("state"));
    let leave = ["node", "leave", "--key", file.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let err = machine.fails(&leave, 1);
    assert!(err.contains("would be left empty") && err.contains("--confirm-removal 0"), "{err}");
    let said = machine.succeeds(&[&leave[..], &["--confirm-removal", "0"]].concat());
    assert!(said.contains("has left farm") && !said.contains("not told"), "{said}");
    assert!(!state.exists(), "{state:?} is left");
    let path = format!("/v1/nodes/{node}");
    let known = realm.ask(&farmer(), async |client| client.get::<Node>(&path).await.is_ok());
    assert!(!known, "the registry still knows it");

    assert_eq!(joined(&machine, &realm.token(2, later())), node, "by its key it is the same");
    realm.put_farm(2, Some(&node));
    let before = machine.prints("ip", &["-br", "link"]);
    let _tunnel = machine.begin("tunnel", &["tunnel", "run"]);
    let running = agent(&machine);
    machine.await_status("in sync", |status| is_in_sync(status, 1));
    let err = machine.fails(&leave, 3);
    assert!(err.contains("another agent is running"), "{err}");
    running.end();
    let err = machine.fails(&leave, 1);
    assert!(err.contains("slot"), "the slot needs its holder: {err}");
    assert!(state.join("joined.json").exists());
    process.kill();
    let err = machine.fails(&leave, 3);
    assert!(err.contains("cannot connect to the registry"), "{err}");
    let said = machine.succeeds(&[&leave[..], &["--offline"]].concat());
    assert!(said.contains("the registry was not told"), "{said}");
    assert!(!state.exists(), "{state:?} is left");
    assert_eq!(machine.prints("ip", &["-br", "link"]), before);
    assert_eq!(machine.netns(), Vec::<String>::new());
}

#[test]
fn a_registry_that_was_set_back_is_not_followed() {
    let machine = Machine::start();
    let (process, key) = registry(&machine);
    let realm = Realm { machine: &machine, registry: key };
    realm.put_farm(1, None);
    let node = joined(&machine, &realm.token(1, later()));
    realm.put_farm(2, Some(&node));
    process.end();
    let store = machine.at("registry/registry.db");
    fs::copy(&store, machine.at("old.db")).unwrap();
    let (process, _) = registry(&machine);
    let _tunnel = machine.begin("tunnel", &["tunnel", "run"]);
    let _running = agent(&machine);
    let done = realm.put_network(1, &node);
    machine.await_status("in sync with a network", |status| is_in_sync(status, done.revision.0));
    let namespaces = machine.netns();
    process.end();
    fs::copy(machine.at("old.db"), &store).unwrap();
    let (process, _) = registry(&machine);
    let status = machine.await_status("told that the registry was set back", |status| {
        status["registry"]["held"].as_str().is_some_and(|held| held.contains("the registry was set back"))
    });
    assert_eq!(status["in_sync"], true, "{status:#}");
    assert_eq!(machine.netns(), namespaces);
    // To the registry it is not: what it was set back behind is not gone from the node.
    let mut heard = None;
    for _ in 0..600 {
        let path = format!("/v1/nodes/{node}/status");
        heard = realm.ask(&farmer(), async |client| client.get::<Heard>(&path).await.ok());
        if heard.as_ref().is_some_and(|heard| !heard.status.in_sync) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(heard.is_some_and(|heard| !heard.status.in_sync));
    // Its operator has it go on beyond what the node was told, and whoever signed what is missing says it again.
    process.end();
    let (store, told) = (store.to_str().unwrap(), status["revision"].to_string());
    machine.succeeds(&["registry", "advance", "--store", store, "--past", &told]);
    let (_process, _) = registry(&machine);
    let done = realm.put_network(1, &node);
    println!("said again at revision {}", done.revision.0);
    machine.await_status("following again", |status| status["registry"]["held"].is_null());
    assert_eq!(machine.netns(), namespaces);
}
