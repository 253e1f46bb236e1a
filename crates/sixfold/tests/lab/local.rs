//! IPv4 that leaves at the nodes themselves, in a whole farm: by a public node's own address and by one of a home's.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::failover::cable;
use crate::ground::{SIXFOLD, Up, example, sixfold, soon_within, words};
use crate::moved::HOSTS;

const PROVISIONS: &str = "
[[provision]]
node = \"bee\"
local_v4 = { address = \"203.0.113.22/24\", router = \"203.0.113.1\" }

[[provision]]
node = \"cat\"
local_v4 = { address = \"192.168.1.50/24\", router = \"192.168.1.1\" }
";

/// The first farm, where one tenant wants it and the other does not.
fn folder(provisions: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str| fs::read_to_string(Path::new(&example("first-farm")).join(name)).unwrap();
    let put = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    // One node alone holds the slot: with it goes the exit.
    let farm = text("farm.toml").replacen("[\"ant\", \"bee\"]", "[\"ant\"]", 1);
    put("farm.toml", farm + provisions);
    put("acme.toml", text("acme.toml").replacen("exit = {", "local_v4 = true\nexit = {", 1));
    put("globex.toml", text("globex.toml"));
    folder
}

/// Of the workloads on a node, how many reach a host on the Internet.
fn reach(lab: &Up, node: &str, host: &str) -> usize {
    let names = lab.says(node, &["sh", "-c", "ip netns list | grep -o 'load-[^ ]*'"]);
    let ping = |netns: &&str| {
        let ping = ["ip", "netns", "exec", netns, "ping", "-n", "-c", "1", "-W", "2", host];
        lab.exec(node, &ping).status.success()
    };
    names.lines().filter(ping).count()
}

#[test]
fn ipv4_leaves_at_the_nodes_as_told_and_goes_on_without_the_exit() {
    let folder = folder(PROVISIONS);
    fs::write(folder.path().join("scenario.toml"), "steps = [\"expect matrix\"]\n").unwrap();
    let output = sixfold(&["lab", "run", "--json", &folder.path().display().to_string()]);
    assert!(output.status.success(), "{}", words(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = report["nodes"].as_array().unwrap();
    assert!(
        all.iter().all(|node| node["in_sync"] == true && node["drift"] == serde_json::json!([])),
        "{all:?}"
    );
    fs::remove_file(folder.path().join("scenario.toml")).unwrap();
    let lab = Up::of(&folder.path().display().to_string());
    let (registry, key) = (lab.registry(), "/run/lab/keys/tenant/acme.pem");
    let show = [SIXFOLD, "network", "show", "web", "--registry", &registry, "--key", key];
    let shown = lab.says("internet", &show);
    assert!(shown.contains("ipv4       at bee, cat from the node's own address"), "{shown}");
    let patience = Duration::from_secs(60);
    for node in ["bee", "cat"] {
        soon_within(patience, "both tenants reach the Internet", || reach(&lab, node, HOSTS[1]) == 2);
    }
    cable(&lab, "ant", "down");
    soon_within(patience, "who leaves by the exit does not reach it", || reach(&lab, "cat", HOSTS[1]) == 1);
    assert_eq!(reach(&lab, "bee", HOSTS[1]), 1);
    cable(&lab, "ant", "up");
    // The farmer takes it back: who left there leaves by the exit again.
    let without = self::folder("");
    let at = lab.at.display().to_string();
    let output = sixfold(&["lab", "apply", "--at", &at, &without.path().display().to_string()]);
    assert!(output.status.success(), "{}", words(&output));
    for node in ["bee", "cat"] {
        soon_within(patience, "all leave by the exit", || {
            !lab.says(node, &["ip", "netns", "list"]).contains("sixfold-egress")
                && reach(&lab, node, HOSTS[1]) == 2
        });
    }
}
