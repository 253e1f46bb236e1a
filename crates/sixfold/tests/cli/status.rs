//! How a node is, from its agent's file; and what is said to those who have no key or name no registry.

use std::path::Path;

use sixfold_core::trust::SigningKey;

use super::{command, printed};

const STATUS: &str = r#"{
  "node": "ant", "revision": 7, "in_sync": false, "wireguard": "kernel", "devices": [],
  "drift": ["ip netns add net-19bb-1"], "failures": ["cannot add net-19bb-1: no space"],
  "refusals": ["farm x is refused"], "foreign": ["link eth9 in gw-1-1"],
  "peers": [
    { "resource": { "number": 1, "index": "19bb" }, "peer": "1a2b", "node": "bee", "path": "direct", "alive": true,
      "session": { "handshake_age_secs": 12, "rx_bytes": 1000, "tx_bytes": 2000, "drops": { "forged": 3, "no-peer": 1 } } },
    { "resource": { "number": 1, "index": "19bb" }, "peer": "1a2c", "node": "cat", "path": "direct", "alive": false,
      "silent": true, "session": { "handshake_age_secs": null, "rx_bytes": 0, "tx_bytes": 592 } },
    { "resource": { "number": 1, "index": "19bb" }, "peer": "1a2d", "node": "dog", "path": "exit", "alive": true }
  ],
  "registry": { "connected": false, "since_secs": 1, "fault": "nobody is there" },
  "passes": 3, "operations": 12, "of_a_later_version": true
}"#;

const TRAFFIC: &str = r#"[{
  "allocation": { "prefix": "2001:db8:a::/48", "number": 1 }, "slot": 1, "outside_drops": { "refused": 31 },
  "networks": [
    { "network": "acme/web", "exit": "10a9", "sent": { "packets": 50, "bytes": 50000 }, "sent_v4": { "packets": 3, "bytes": 1500 },
      "received": { "packets": 49, "bytes": 49000 }, "received_v4": { "packets": 2, "bytes": 1000 },
      "drops": { "barred": 5, "spoofed": 7 } },
    { "network": "globex/lab", "exit": "1e65", "sent": { "packets": 0, "bytes": 0 }, "sent_v4": { "packets": 0, "bytes": 0 },
      "received": { "packets": 0, "bytes": 0 }, "received_v4": { "packets": 0, "bytes": 0 } }
  ]
}, {
  "networks": [
    { "network": "acme/web", "exit": "1525", "sent": { "packets": 0, "bytes": 0 }, "sent_v4": { "packets": 4, "bytes": 400 },
      "received": { "packets": 0, "bytes": 0 }, "received_v4": { "packets": 2, "bytes": 200 }, "drops": { "share": 1 } }
  ]
}]"#;

#[test]
fn a_nodes_status_is_told_from_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().to_str().unwrap();
    let none = printed(&["status", "--run", run], 3).replace(run, "DIR");
    let write = |text: &str| std::fs::write(dir.path().join("status.json"), text).unwrap();
    write(STATUS);
    std::fs::write(dir.path().join("traffic.json"), TRAFFIC).unwrap();
    let out = printed(&["status", "--run", run], 3);
    let json = command(&["status", "--json", "--run", run]).output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(document["traffic"][0]["networks"][0]["drops"]["spoofed"], 7);
    assert_eq!((json.status.code(), &document["of_a_later_version"]), (Some(3), &true.into()));
    write(&STATUS.replace("\"in_sync\": false", "\"in_sync\": true"));
    printed(&["status", "--run", run], 0);
    write("{");
    let half = printed(&["status", "--run", run], 3).replace(run, "DIR");
    let timeless =
        |line: &str| if line.starts_with("written ") { "written   N s ago".into() } else { line.to_owned() };
    let out: Vec<String> = out.lines().map(timeless).collect();
    insta::assert_snapshot!([none, out.join("\n"), half].join("\n"));
}

#[test]
fn who_has_no_key_or_names_no_registry_is_told_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let said = |args: &[&str], registry: Option<&str>| {
        let mut command = command(args);
        command.env("XDG_CONFIG_HOME", home).env_remove("SIXFOLD_KEY").env_remove("SIXFOLD_REGISTRY");
        command.envs(registry.map(|registry| ("SIXFOLD_REGISTRY", registry)));
        let output = command.output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap().replace(home.to_str().unwrap(), "HOME");
        format!("{:?}\n{words}", output.status.code())
    };
    let file = "examples/first-farm/farm.toml";
    let keyless = said(&["farm", "create", file], Some("nonsense"));
    make(home, "farmer");
    let wrong = said(&["farm", "create", file], Some("nonsense"));
    let option = said(&["farm", "create", file, "--registry", "sixfold://key@host:1"], None);
    // Nobody listens at the discard port of this machine.
    let nobody = "sixfold://GX9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE@[::1]:9";
    let away = said(&["farm", "create", file], Some(nobody));
    insta::assert_snapshot!([keyless, wrong, option, away].join("\n"));
}

/// Puts a key in its place.
fn make(home: &Path, role: &str) {
    let file = home.join("sixfold").join(format!("{role}.pem"));
    printed(&["key", "new", role, "--file", file.to_str().unwrap()], 0);
    assert!(SigningKey::from_pem(&std::fs::read_to_string(file).unwrap()).is_ok());
}
