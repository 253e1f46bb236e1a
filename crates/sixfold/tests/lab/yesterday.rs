//! A machine that was off comes back with what it knew: that it holds the slot, and nothing of a network that came since.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::failover::{cable, epoch, gaps, process, signal, started};
use crate::ground::{SIXFOLD, Up, soon};
use crate::moved::{HOSTS, echoes, is_up, told};

/// Takes a node's processes and namespaces away, as a machine loses them that has no power; what is on its disk stays. The lab
/// starts its services again, as a machine does.
const POWER_LOST: &str = r#"
me=$(readlink /proc/self/ns/mnt)
for p in /proc/[0-9]*; do
  [ "$(readlink $p/ns/mnt)" = "$me" ] || continue
  case "$(tr '\0' '\n' < $p/cmdline | sed -n 2p)" in agent|tunnel) kill -9 "${p#/proc/}";; esac
done
rm -f /run/sixfold/status.json
for n in $(ip netns list | cut -d' ' -f1); do ip netns del $n; done
"#;

/// A network that leaves by slot 1.
fn add_network(lab: &Up, name: &str) {
    let url = lab.registry();
    let script = format!(
        "set -e; d=$(mktemp -d); cd $d; export SIXFOLD_REGISTRY={url} SIXFOLD_KEY=/run/lab/keys/tenant/acme.pem
         printf 'tenant = \"acme\"\\nnetwork = \"{name}\"\\nnodes = [\"cat\"]\\nexit = {{ farm = \"alpha\", slot = 1 }}\\n' > n.toml
         {SIXFOLD} network apply --yes n.toml; rm -r $d"
    );
    lab.says("internet", &["sh", "-c", &script]);
}

/// Exit points that a node's gateway leads to.
fn exits(lab: &Up, node: &str) -> usize {
    let shown = lab.says(node, &["sh", "-c", "ip -n gw-1-1 -o link | grep -c ' to-' || true"]);
    shown.trim().parse().unwrap()
}

/// Whether a node has its gateway again, with as many exit points, and waits.
fn waits(lab: &Up, node: &str, known: usize) -> bool {
    let is_made = lab.exec(node, &["ip", "-n", "gw-1-1", "link"]).status.success();
    let says = || lab.exec(node, &["test", "-e", "/run/sixfold/status.json"]).status.success();
    is_made && says() && exits(lab, node) == known && told(lab, node)[0] == "rest"
}

/// Ant held the slot when it lost its way and its power; bee serves, and a network more.
fn comes_back(is_reachable: bool) {
    let lab = started();
    let known = exits(&lab, "ant");
    cable(&lab, "ant", "down");
    soon("bee serves", || told(&lab, "bee") == ["hold", "true", "answers", "silent"]);
    add_network(&lab, "since");
    soon("it serves a network that came since", || exits(&lab, "bee") == known + 1);
    let registry = process(&lab, "internet", "registry");
    if !is_reachable {
        signal(&lab, "internet", &registry, "STOP");
    }
    lab.says("ant", &["sh", "-c", POWER_LOST]);
    soon("the machine is there again, as it was", || waits(&lab, "ant", known));
    let flows = HOSTS.map(|host| echoes(&lab, "cat", host));
    thread::sleep(Duration::from_secs(1));
    cable(&lab, "ant", "up");
    let registry_is = if is_reachable { "there" } else { "away" };
    assert_eq!(
        gaps(&format!("ant comes back, the registry {registry_is}"), flows),
        [0, 0],
        "nothing is lost"
    );
    assert!(is_up(&lab, "bee") && !is_up(&lab, "ant"));
    signal(&lab, "internet", &registry, "CONT");
    soon("both know who serves, and all that came since", || {
        told(&lab, "bee") == ["hold", "true", "answers", "silent"]
            && told(&lab, "ant") == ["rest", "false", "answers", "answers"]
            && epoch(&lab, "ant") == epoch(&lab, "bee")
            && exits(&lab, "ant") == known + 1
    });
}

#[test]
fn a_machine_that_comes_back_with_yesterdays_word_disturbs_nobody() {
    comes_back(true);
}

#[test]
fn nor_does_it_while_the_registry_is_away() {
    comes_back(false);
}

/// How many peers of a node's devices are hidden from it, and with how many there is a session.
fn hidden(lab: &Up, node: &str) -> [usize; 2] {
    let output = lab.exec(node, &[SIXFOLD, "tunnel", "show", "--json"]);
    let Ok(shown) = serde_json::from_slice::<Value>(&output.stdout) else { return [0; 2] };
    let heard = lab.says(node, &["cat", "/run/sixfold/state/heard.json"]);
    let peers = shown.as_array().unwrap().iter().flat_map(|device| device["peers"].as_array().unwrap());
    let hidden: Vec<_> = peers.filter(|peer| heard.contains(peer["public_key"].as_str().unwrap())).collect();
    let alive = hidden.iter().filter(|peer| !peer["handshake_age_secs"].is_null()).count();
    [hidden.len(), alive]
}

/// What is hidden calls first, and does so only once its old session is two minutes old; a slot that moves here before would
/// serve none of it.
#[test]
fn a_standby_that_had_no_power_calls_who_is_hidden() {
    let lab = started();
    soon("it knows where hidden peers are", || {
        lab.exec("bee", &["grep", "-q", "wg-", "/run/sixfold/state/heard.json"]).status.success()
    });
    let [known, alive] = hidden(&lab, "bee");
    assert!(known > 0 && alive == known, "{known} hidden peers, {alive} with a session");
    let exits = exits(&lab, "bee");
    lab.says("bee", &["sh", "-c", POWER_LOST]);
    soon("the machine is there again, as it was", || waits(&lab, "bee", exits));
    soon("it has a session with each of them", || hidden(&lab, "bee") == [known, known]);
}
