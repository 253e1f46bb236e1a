//! A slot whose gateways have NICs themselves, in a whole farm: it serves, passes on and comes back, and its NICs come home.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::failover::{find, moves, signal, start};
use crate::ground::{SIXFOLD, Up, example, sixfold, soon_within, words};
use crate::moved::{HOSTS, answered, echoes, told};

const NICS: &str = "
[[provision]]
node = \"ant\"
nics = [{ link = \"eth2\", slot = 1 }]
[[provision]]
node = \"bee\"
nics = [{ link = \"eth7\", slot = 1 }]
";
const PATIENCE: Duration = Duration::from_secs(60);

/// The first farm, whose farmer says this too.
fn folder(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["farm.toml", "acme.toml", "globex.toml"] {
        let text = fs::read_to_string(std::path::Path::new(&example("first-farm")).join(name)).unwrap();
        let more = if name == "farm.toml" { more } else { "" };
        fs::write(folder.path().join(name), text + more).unwrap();
    }
    folder
}

/// A node's link in its own namespace; null: it is not there.
fn at_home(lab: &Up, node: &str, link: &str) -> Value {
    let shown = lab.exec(node, &["ip", "-j", "link", "show", "dev", link]);
    serde_json::from_slice(&shown.stdout).map_or(Value::Null, |shown: Value| shown[0].clone())
}

fn are_answered(lab: &Up) {
    for host in HOSTS {
        soon_within(PATIENCE, "an echo comes back", || {
            let load = lab.says("cat", &["sh", "-c", "ip netns list | grep -o 'load-[^ ]*' | head -1"]);
            let echo = ["ping", "-n", "-c", "1", "-W", "1", host];
            start(lab, "cat", Some(load.trim()), &echo).wait_with_output().unwrap().status.success()
        });
    }
}

#[test]
fn a_slot_with_nics_of_its_own_serves_passes_on_and_gives_them_back() {
    let with = folder(NICS);
    let lab = Up::of(&with.path().display().to_string());
    are_answered(&lab);
    for (node, nic) in [("ant", "eth2"), ("bee", "eth7")] {
        soon_within(PATIENCE, "it is moved", || at_home(&lab, node, nic).is_null());
    }
    // A holder hears its own gateway by its other link, and cannot tell if there is another one.
    let holds = ["hold", "true", "answers", "unknown"];
    let rests = ["rest", "false", "answers", "answers"];
    soon_within(PATIENCE, "ant holds", || told(&lab, "ant") == holds && told(&lab, "bee") == rests);
    for (to, from) in [("bee", "ant"), ("ant", "bee")] {
        let flows = HOSTS.map(|host| echoes(&lab, "cat", host));
        thread::sleep(Duration::from_secs(1));
        moves(&lab, to);
        for (flow, host) in flows.into_iter().zip(HOSTS) {
            let (count, longest, last) = answered(flow);
            println!("to {to}, {host}: {count} of 800 answered, gap {longest} ms");
            assert_eq!(last, 800, "the last echoes to {host} are answered again");
        }
        soon_within(PATIENCE, "it is the other's", || told(&lab, to) == holds && told(&lab, from) == rests);
    }
    // The farmer gives them to the other slot: a cable of the lab's stays as it is.
    let (other, at) = (folder(&NICS.replace("slot = 1", "slot = 2")), lab.at.display().to_string());
    let output = sixfold(&["lab", "apply", "--at", &at, &other.path().display().to_string()]);
    assert!(output.status.success(), "{}", words(&output));
    for node in ["ant", "bee"] {
        soon_within(PATIENCE, "it is moved on", || {
            let noted = |slot: &str| {
                let (netns, link) = (format!("gw-{slot}-1"), format!("pub-{slot}-1"));
                // For a moment it is in neither.
                words(&lab.exec(node, &["ip", "-n", &netns, "-d", "link", "show", "dev", &link]))
            };
            noted("1").contains("macvlan") && noted("2").contains("sixfold nic=")
        });
    }
    are_answered(&lab);
    // Who takes all of ours off a node gets its NIC back.
    soon_within(PATIENCE, "it comes home", || {
        // The lab starts an agent again at once, and one that ended within a second after that: then there is time.
        if let Some(agent) = find(&lab, "ant", "agent") {
            signal(&lab, "ant", &agent, "KILL");
        }
        drop(lab.exec("ant", &[SIXFOLD, "agent", "--remove"]));
        let link = at_home(&lab, "ant", "eth2");
        let up = link["flags"].as_array().is_some_and(|flags| flags.contains(&"UP".into()));
        up && link["ifalias"].is_null() && !link["address"].to_string().contains("02:6f")
    });
}
