//! Processes that are killed under traffic, and started again by the lab: without its agent a node loses nothing, and
//! the agent that comes after it changes nothing; without its tunnel it is cut until there is another.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ground::{Up, soon, soon_within, words};

/// Kills the node's process of that name.
const KILL: &str = r#"
me=$(readlink /proc/self/ns/mnt)
killed=0
for p in /proc/[0-9]*; do
  [ "$(readlink $p/ns/mnt)" = "$me" ] || continue
  [ "$(tr '\0' '\n' < $p/cmdline | sed -n 2p)" = "$0" ] || continue
  [ "$0" = tunnel ] || rm -f /run/sixfold/status.json
  kill -9 "${p#/proc/}" && killed=$((killed + 1))
done
[ $killed = 1 ] || { echo "killed $killed"; exit 1; }
"#;

/// How long a restart may take: at most once a second, and the agent has all to look at.
const RESTART: Duration = Duration::from_secs(10);

fn kill(lab: &Up, node: &str, process: &str) {
    lab.says(node, &["sh", "-c", KILL, process]);
}

fn within<'a>(netns: &'a str, command: &[&'a str]) -> Vec<&'a str> {
    [&["ip", "netns", "exec", netns], command].concat()
}

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

/// Acme's workload on ant and its one on bee: of bee's two it is the one that answers.
fn front_and_store(lab: &Up) -> (String, String) {
    let front = workload(lab, "ant", None);
    let first = workload(lab, "bee", None);
    let second = workload(lab, "bee", Some(&first));
    let answers = |netns: &str| {
        let address = &addresses(netns)[0];
        lab.exec("ant", &within(&front, &["ping", "-c", "2", "-W", "1", address])).status.success()
    };
    let store = if answers(&first) { first } else { second };
    assert!(answers(&store));
    (front, store)
}

/// There is a status again, of an agent that found nothing to do.
fn has_changed_nothing(lab: &Up, node: &str) {
    soon_within(RESTART, &format!("{node} has a status again"), || status(lab, node).is_some());
    let status = status(lab, node).unwrap();
    assert_eq!(
        (&status["in_sync"], &status["operations"]),
        (&Value::Bool(true), &Value::from(0)),
        "{status}"
    );
}

#[test]
fn a_killed_agent_costs_no_packet_and_its_successor_changes_nothing() {
    let lab = Up::start("first-farm");
    let (front, store) = front_and_store(&lab);
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
            kill(&lab, node, "agent");
        }
        for stream in streams {
            let said = words(&stream.join().unwrap());
            assert!(said.contains("400 packets transmitted, 400 received, 0% packet loss"), "{said}");
        }
    });
    ["ant", "bee"].iter().for_each(|node| has_changed_nothing(&lab, node));
}

#[test]
fn a_stream_outlives_the_agents_of_both_its_ends() {
    let lab = Up::start("first-farm");
    let (front, store) = front_and_store(&lab);
    lab.says("bee", &within(&store, &["iperf3", "-s", "-1", "-D"]));
    soon("iperf3 listens", || {
        lab.says("bee", &within(&store, &["ss", "-ltnH", "sport", "=", ":5201"])).contains("5201")
    });
    let address = &addresses(&store)[0];
    let output = thread::scope(|scope| {
        let command = within(&front, &["iperf3", "-c", address, "-t", "3", "-J"]);
        let lab = &lab;
        let stream = scope.spawn(move || lab.exec("ant", &command));
        soon("the stream runs", || {
            let said = lab.says("bee", &within(&store, &["ss", "-tnH", "sport", "=", ":5201"]));
            said.contains("ESTAB")
        });
        ["ant", "bee"].iter().for_each(|node| kill(lab, node, "agent"));
        stream.join().unwrap()
    });
    assert!(output.status.success(), "{}", words(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report.get("error").is_none(), "{report}");
    let (sent, got) = (&report["end"]["sum_sent"], &report["end"]["sum_received"]);
    println!(
        "the stream: {:.0} Mbit/s, {} retransmits",
        got["bits_per_second"].as_f64().unwrap() / 1e6,
        sent["retransmits"]
    );
    // In no second did it stand still.
    let still = report["intervals"].as_array().unwrap().iter().filter(|one| one["sum"]["bytes"] == 0).count();
    assert_eq!(still, 0, "{report}");
    ["ant", "bee"].iter().for_each(|node| has_changed_nothing(&lab, node));
}

#[test]
fn a_killed_tunnel_is_started_again_and_traffic_comes_back() {
    let lab = Up::start("first-farm");
    let (front, store) = front_and_store(&lab);
    let [to_store, to_front] = [&store, &front].map(|netns| addresses(netns)[0].clone());
    let ping = |node: &str, netns: &str, to: &str| {
        lab.exec(node, &within(netns, &["ping", "-c", "1", "-W", "1", to])).status.success()
    };
    kill(&lab, "bee", "tunnel");
    let began = Instant::now();
    assert!(!ping("ant", &front, &to_store), "bee has no tunnel any more");
    // A handshake that was made with the one before is given up after 15 s by a peer that only sends.
    soon_within(Duration::from_secs(40), "both ends reach each other again", || {
        ping("bee", &store, &to_front) && ping("ant", &front, &to_store)
    });
    println!("traffic came back {:.1} s after its tunnel was killed", began.elapsed().as_secs_f64());
    soon_within(RESTART, "bee is in sync again", || {
        status(&lab, "bee").is_some_and(|status| status["in_sync"] == true)
    });
}
