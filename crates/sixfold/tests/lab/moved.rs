//! A slot that its farmer gives to another node: everything is ready there, so what flows goes on after a moment.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::ground::{SIXFOLD, Up, soon, words};

/// Milliseconds between two echoes.
pub(crate) const BETWEEN: usize = 10;
/// The host in the Internet.
pub(crate) const HOSTS: [&str; 2] = ["2001:db8:ffff::1", "198.51.100.1"];

/// Echoes from a workload on a node to a host, until told otherwise.
pub(crate) fn echoes(lab: &Up, node: &str, host: &str) -> Child {
    let names = lab.says(node, &["ip", "netns", "list"]);
    let load = names.split_whitespace().find(|name| name.starts_with("load-")).unwrap().to_owned();
    let (at, between) = (lab.at.display().to_string(), format!("{}", BETWEEN as f64 / 1000.0));
    let mut command = Command::new(SIXFOLD);
    command.args(["lab", "exec", "--at", &at, node, "--", "ip", "netns", "exec", &load]);
    command.args(["ping", "-D", "-n", "-i", &between, "-c", "800", "-W", "1", host]);
    command.env_remove("SIXFOLD_LOG").stdout(Stdio::piped()).spawn().unwrap()
}

/// How many were answered, the longest time in milliseconds between two answers where one is missing, and the number of the last
/// that was. By the clock: while nothing comes back `ping` sends less often.
pub(crate) fn answered(pings: Child) -> (usize, usize, usize) {
    let output = String::from_utf8(pings.wait_with_output().unwrap().stdout).unwrap();
    let answer = |line: &str| -> Option<(f64, usize)> {
        let (at, rest) = line.strip_prefix('[')?.split_once(']')?;
        let number = rest.contains(" time=").then(|| rest.split("icmp_seq=").nth(1)?.split(' ').next())??;
        Some((at.parse().ok()?, number.parse().ok()?))
    };
    let all: Vec<(f64, usize)> = output.lines().filter_map(answer).collect();
    assert!(all.len() > 1, "no echo was answered");
    let missing = all.windows(2).filter(|two| two[1].1 > two[0].1 + 1);
    let longest = missing.map(|two| ((two[1].0 - two[0].0) * 1000.0).round() as usize).max();
    (all.len(), longest.unwrap_or_default(), all[all.len() - 1].1)
}

/// Whether the gateway's public link is up, as `ip` sees it.
pub(crate) fn is_up(lab: &Up, node: &str) -> bool {
    let shown = lab.says(node, &["ip", "-n", "gw-1-1", "-j", "link", "show", "dev", "pub-1-1"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    shown[0]["flags"].as_array().unwrap().iter().any(|flag| flag == "UP")
}

/// What a node's agent says of slot 1: its duty, whether it serves, whether router and the gateway elsewhere answer.
pub(crate) fn told(lab: &Up, node: &str) -> [String; 4] {
    let output = lab.exec(node, &[SIXFOLD, "exit", "status", "--json"]);
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let slot =
        all["exits"].as_array().unwrap().iter().find(|exit| exit["slot"] == "2001:db8:a::/48#1").unwrap();
    ["duty", "serves", "router", "others"].map(|field| slot[field].to_string().trim_matches('"').to_owned())
}

#[test]
fn a_slot_that_is_given_to_another_node_serves_on_after_a_moment() {
    let lab = Up::start("first-farm");
    let url = lab.registry();
    // The sessions of the tunnels stand: what is measured is the move.
    for host in HOSTS {
        soon("an echo comes back", || {
            let load = lab.says("cat", &["sh", "-c", "ip netns list | grep -o 'load-[^ ]*' | head -1"]);
            lab.exec("cat", &["ip", "netns", "exec", load.trim(), "ping", "-n", "-c", "1", "-W", "1", host])
                .status
                .success()
        });
    }
    soon("bee sees the router and ant's gateway", || {
        told(&lab, "bee") == ["rest", "false", "answers", "answers"]
    });
    for (holder, other) in [("bee", "ant"), ("ant", "bee")] {
        let flows = HOSTS.map(|host| echoes(&lab, "cat", host));
        thread::sleep(Duration::from_secs(1));
        let (key, registry) =
            ("SIXFOLD_KEY=/run/lab/keys/farmer/alpha.pem", format!("SIXFOLD_REGISTRY={url}"));
        let command = ["env", key, &registry, SIXFOLD, "exit", "move", "1", holder];
        let moved = lab.exec("internet", &command);
        assert!(moved.status.success(), "{}", words(&moved));
        assert!(is_up(&lab, holder) && !is_up(&lab, other), "{}", words(&moved));
        let again = lab.exec("internet", &command);
        assert!(again.status.success() && words(&again).contains("already"), "{}", words(&again));
        for (flow, host) in flows.into_iter().zip(HOSTS) {
            let (answered, longest, last) = answered(flow);
            println!("{other} to {holder}, {host}: {answered} of 800 answered, gap {longest} ms");
            assert_eq!(last, 800, "the last echoes to {host} are answered again");
            // Over IPv6 nobody keeps state, so nothing is lost. Where nothing was ready, more than half of both were.
            let least = if host.contains(':') { 800 } else { 650 };
            assert!(answered >= least, "{answered} of 800 to {host}");
        }
        soon("both say so, and see each other on the segment", || {
            told(&lab, holder) == ["hold", "true", "answers", "silent"]
                && told(&lab, other) == ["rest", "false", "answers", "answers"]
        });
        let farmers = ["env", key, &registry, SIXFOLD, "exit", "status", "--registry", &url];
        let farmers = lab.exec("internet", &farmers);
        assert!(farmers.status.success(), "{}", words(&farmers));
    }
}

/// The holder's agent is gone, and its kernel serves on; then somebody takes its cable.
#[test]
fn a_standby_sees_a_gateway_whose_agent_is_gone_and_that_one_is_cut_off() {
    let lab = Up::start("first-farm");
    let both = |bee: [&str; 4]| told(&lab, "bee") == bee;
    soon("bee sees ant's gateway", || both(["rest", "false", "answers", "answers"]));
    let agent = lab.says("ant", &["sh", "-c", "for p in /proc/[0-9]*; do [ \"$(tr '\\0' '\\n' < $p/cmdline | sed -n 2p)\" = agent ] && [ \"$(readlink $p/ns/mnt)\" = \"$(readlink /proc/self/ns/mnt)\" ] && echo ${p#/proc/}; done; true"]);
    assert!(!agent.trim().is_empty());
    lab.says("ant", &["sh", "-c", &format!("kill -STOP {}", agent.split_whitespace().next().unwrap())]);
    thread::sleep(Duration::from_secs(6));
    assert_eq!(told(&lab, "bee"), ["rest", "false", "answers", "answers"], "its kernel answers");
    lab.says("ant", &["ip", "-n", "gw-1-1", "link", "set", "pub-1-1", "down"]);
    soon("bee sees that nobody serves", || both(["rest", "false", "answers", "silent"]));
    lab.says("ant", &["sh", "-c", &format!("kill -CONT {}", agent.split_whitespace().next().unwrap())]);
    soon("ant's agent mends it", || both(["rest", "false", "answers", "answers"]));
}
