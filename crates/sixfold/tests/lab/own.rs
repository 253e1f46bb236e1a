//! A public IPv4 address that is a network's own: who calls it reaches the workload that it leads to, and what that sends leaves
//! with it, by whichever node holds the slot.

use std::process::Child;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::failover::{moves, start};
use crate::ground::{SIXFOLD, Up, example, sixfold, soon, soon_within, words};
use crate::moved::{BETWEEN, answered};

const HOST: &str = "198.51.100.1";
/// As who speaks IPv6 alone knows it.
const HOST_TRANSLATED: &str = "64:ff9b:1::c633:6401";

/// Takes connections, and tells each whom it sees.
const SERVES: &str = "import socket
s=socket.create_server(('::',int(__import__('sys').argv[1])),family=socket.AF_INET6,dualstack_ipv6=True)
while True:
    c,peer=s.accept(); c.sendall(peer[0].removeprefix('::ffff:').encode()); c.close()";

/// Calls somebody, and says what that one says.
const CALLS: &str = "import socket,sys
c=socket.create_connection((sys.argv[1],int(sys.argv[2])),2); print(c.recv(64).decode())";

/// The first farm with a pool of two addresses, one on the segment and one that the router sends to the slot's: of acme's a port leads to
/// `backup`, which speaks IPv6 alone, all of globex's to `sensor`.
fn folder() -> tempfile::TempDir {
    let farm = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(example("first-farm")).unwrap().map(Result::unwrap) {
        if entry.file_name() != "scenario.toml" {
            std::fs::copy(entry.path(), farm.path().join(entry.file_name())).unwrap();
        }
    }
    let change = |file: &str, says: &dyn Fn(&str) -> String| {
        let file = farm.path().join(file);
        let said = says(&std::fs::read_to_string(&file).unwrap());
        std::fs::write(&file, said).unwrap();
    };
    let slot = "public_v4 = \"203.0.113.5/24\"\n";
    let pooled = "public_v4 = \"203.0.113.5/25\"\npool_v4 = [\"203.0.113.20\", \"203.0.113.200\"]\n";
    change("farm.toml", &|text| text.replacen(slot, pooled, 1));
    let forward = "[[forward]]\nprotocol = \"tcp\"\nport = 443\nworkload = \"backup\"\n";
    let alone = |text: &str| text.replacen("name = \"backup\"\n", "name = \"backup\"\nipv6_only = true\n", 1);
    change("acme.toml", &|text| format!("{}\n{forward}", alone(text)));
    change("globex.toml", &|text| text.replacen("[[workload]]", "own_v4 = \"sensor\"\n[[workload]]", 1));
    farm
}

/// What `network show` tells of a tenant's network.
fn shown(lab: &Up, tenant: &str, network: &str) -> Value {
    let key = format!("SIXFOLD_KEY=/run/lab/keys/tenant/{tenant}.pem");
    let registry = format!("SIXFOLD_REGISTRY={}", lab.registry());
    let told = lab.says("internet", &["env", &key, &registry, SIXFOLD, "network", "show", network, "--json"]);
    serde_json::from_str(&told).unwrap()
}

/// The namespace of a workload on `cat`.
fn workload(lab: &Up, network: &Value, name: &str) -> String {
    let mut all = network["workloads"].as_array().unwrap().iter();
    let address = all.find(|workload| workload["name"] == name).unwrap()["address"].as_str().unwrap();
    let find = format!(
        "for n in $(ip netns list | grep -o 'load-[^ ]*'); do ip -n $n addr | grep -q ' {address}/' && echo $n; done; true"
    );
    lab.says("cat", &["sh", "-c", &find]).trim().to_owned()
}

/// What a server says to whoever calls it from a place.
fn called(lab: &Up, place: (&str, Option<&str>), (address, port): (&str, &str)) -> Option<String> {
    let output =
        start(lab, place.0, place.1, &["python3", "-c", CALLS, address, port]).wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    (!said.is_empty()).then_some(said)
}

fn echo(lab: &Up, place: &str, netns: Option<&str>, address: &str) -> bool {
    start(lab, place, netns, &["ping", "-n", "-c", "1", "-W", "1", address]).wait().unwrap().success()
}

fn echoes(lab: &Up, address: &str) -> Child {
    let between = format!("{}", BETWEEN as f64 / 1000.0);
    start(lab, "internet", None, &["ping", "-D", "-n", "-i", &between, "-c", "800", "-W", "1", address])
}

#[test]
fn every_expectation_holds_where_networks_have_addresses_of_their_own() {
    let farm = folder();
    let output = sixfold(&["lab", "run", &farm.path().display().to_string(), "--json"]);
    assert!(output.status.success(), "{}", words(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cells = report["matrix"]["cells"].as_array().unwrap();
    let is_own =
        |cell: &&Value| ["203.0.113.20", "203.0.113.200"].iter().any(|own| cell["cell"]["address"] == *own);
    let own: Vec<&Value> = cells.iter().filter(is_own).collect();
    let passing = own.iter().filter(|cell| cell["cell"]["verdict"] == "passes").count();
    println!("{passing} of {} cells by an address of its own pass", own.len());
    assert!(passing > 2 && own.len() - passing > 10, "{passing} of {}", own.len());
    assert!(cells.iter().all(|cell| cell["held"] == true));
}

#[test]
fn who_has_an_address_is_called_by_it_and_calls_with_it_wherever_the_slot_is() {
    let farm = folder();
    let lab = Up::of(&farm.path().display().to_string());
    let (globex, acme) = (shown(&lab, "globex", "lab"), shown(&lab, "acme", "web"));
    let [own, ports] =
        [&globex, &acme].map(|network| network["own_v4"]["address"].as_str().unwrap().to_owned());
    let (sensor, backup) = (workload(&lab, &globex, "sensor"), workload(&lab, &acme, "backup"));
    let serve = |place: &str, netns: Option<&str>, port: &str| {
        start(&lab, place, netns, &["python3", "-c", SERVES, port])
    };
    let mut servers = [
        serve("cat", Some(&sensor), "8443"),
        serve("cat", Some(&backup), "443"),
        serve("internet", None, "9000"),
    ];
    let all = |holder: &str| {
        let patience = Duration::from_secs(30);
        soon_within(patience, "an echo to the address comes back", || echo(&lab, "internet", None, &own));
        soon("a port of it, whichever", || {
            called(&lab, ("internet", None), (&own, "8443")).is_some_and(|seen| seen == HOST)
        });
        soon("a port that is forwarded", || {
            called(&lab, ("internet", None), (&ports, "443")).is_some_and(|seen| seen == HOST_TRANSLATED)
        });
        assert_eq!(called(&lab, ("internet", None), (&ports, "8443")), None, "no other port leads anywhere");
        let seen = |netns: &str, host: &str| called(&lab, ("cat", Some(netns)), (host, "9000"));
        soon("it leaves with it", || seen(&sensor, HOST).is_some_and(|seen| seen == own));
        soon("who has ports alone leaves with the slot's", || {
            seen(&backup, HOST_TRANSLATED).is_some_and(|seen| seen == "203.0.113.5")
        });
        assert_eq!(
            called(&lab, ("cat", Some(&backup)), (&format!("64:ff9b:1::{own}"), "8443")),
            None,
            "not from behind the same gateway"
        );
        assert!(!echo(&lab, "cat", Some(&backup), &format!("64:ff9b:1::{own}")), "nor an echo");
        let who = format!("{own}:80");
        let told = lab.says(holder, &[SIXFOLD, "exit", "who", &who, "--state", "/run/sixfold/state"]);
        assert!(told.contains("/lab  an address of its own"), "{told}");
    };
    all("ant");
    let flow = echoes(&lab, &own);
    thread::sleep(Duration::from_secs(1));
    soon("bee is ready", || {
        let url = lab.registry();
        let (key, registry) =
            ("SIXFOLD_KEY=/run/lab/keys/farmer/alpha.pem", format!("SIXFOLD_REGISTRY={url}"));
        lab.exec("internet", &["env", key, &registry, SIXFOLD, "exit", "move", "1", "bee"]).status.success()
    });
    let (came, longest, last) = answered(flow);
    println!("moved to bee: {came} of 800 echoes to the address answered, gap {longest} ms");
    assert_eq!(last, 800, "the last are answered again");
    let there = lab.says("ant", &["ip", "-n", "gw-1-1", "-4", "-o", "addr", "show", "dev", "pub-1-1", "up"]);
    assert_eq!(there.trim(), "", "the old holder's link is down");
    all("bee");
    moves(&lab, "ant");
    all("ant");
    for server in &mut servers {
        server.kill().unwrap();
        server.wait().unwrap();
    }
}
