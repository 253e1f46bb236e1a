//! An agent that is killed under traffic: nothing is lost, and the one that comes after it changes nothing.

use std::thread;

use serde_json::Value;

use crate::ground::{SIXFOLD, Up, soon, words};

/// Kills the node's agent and starts another, as a service manager would.
const AGAIN: &str = r#"
me=$(readlink /proc/self/ns/mnt)
killed=0
for p in /proc/[0-9]*; do
  [ "$(readlink $p/ns/mnt)" = "$me" ] || continue
  [ "$(tr '\0' '\n' < $p/cmdline | sed -n 2p)" = agent ] || continue
  kill -9 "${p#/proc/}" && killed=$((killed + 1))
done
[ $killed = 1 ] || { echo "killed $killed agents"; exit 1; }
rm -f /run/sixfold/status.json
sleep 0.5
setsid "$0" agent --feed /run/sixfold/snapshot.json --state /run/sixfold/state </dev/null >/run/second.log 2>&1 &
"#;

fn workload(lab: &Up, node: &str, other_than: Option<&str>) -> String {
    let names = lab.says(node, &["ip", "netns", "list"]);
    let mut loads = names.split_whitespace().filter(|name| name.starts_with("load-"));
    loads.find(|name| Some(*name) != other_than).unwrap().to_owned()
}

fn addresses(netns: &str) -> [String; 2] {
    let mut parts = netns.split('-').skip(1);
    let index = u16::from_str_radix(parts.next().unwrap(), 16).unwrap();
    let k = parts.nth(1).unwrap();
    [format!("2001:db8:a:{index:x}::{k}"), format!("10.{}.{}.{k}", index >> 8, index & 0xff)]
}

fn status(lab: &Up, node: &str) -> Option<Value> {
    let output = lab.exec(node, &["cat", "/run/sixfold/status.json"]);
    output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_killed_agent_costs_no_packet_and_its_successor_changes_nothing() {
    let lab = Up::start("first-farm");
    let front = workload(&lab, "ant", None);
    // Of the two workloads on bee, acme's answers to acme's.
    let first = workload(&lab, "bee", None);
    let second = workload(&lab, "bee", Some(&first));
    let answers = |netns: &str| {
        let address = &addresses(netns)[0];
        lab.exec("ant", &["ip", "netns", "exec", &front, "ping", "-c", "2", "-W", "1", address])
            .status
            .success()
    };
    let store = if answers(&first) { first } else { second };
    assert!(answers(&store));
    let [address, address_v4] = addresses(&store);
    let internet = "2001:db8:ffff::1".to_owned();
    thread::scope(|scope| {
        let streams: Vec<_> = [&address, &address_v4, &internet]
            .into_iter()
            .map(|to| {
                let (lab, front) = (&lab, &front);
                scope.spawn(move || {
                    lab.exec(
                        "ant",
                        &["ip", "netns", "exec", front, "ping", "-q", "-i", "0.01", "-c", "400", to],
                    )
                })
            })
            .collect();
        for node in ["ant", "bee"] {
            lab.says(node, &["sh", "-c", AGAIN, SIXFOLD]);
        }
        for stream in streams {
            let said = words(&stream.join().unwrap());
            assert!(said.contains("400 packets transmitted, 400 received, 0% packet loss"), "{said}");
        }
    });
    for node in ["ant", "bee"] {
        soon(&format!("{node} has a status again"), || status(&lab, node).is_some());
        let status = status(&lab, node).unwrap();
        assert_eq!(
            (&status["in_sync"], &status["operations"]),
            (&Value::Bool(true), &Value::from(0)),
            "{status}"
        );
    }
}
