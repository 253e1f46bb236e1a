//! A drill of an exit slot: it tells who is affected, moves the slot there and back, and what it says was lost is what flows lost.

use std::process::{Child, Output};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::failover::{cable, epoch, start, started, workload};
use crate::ground::{SIXFOLD, Up, soon, words};
use crate::moved::{BETWEEN, HOSTS, answered, told};

/// Longer than a drill takes.
const ECHOES: &str = "2000";
/// What may lie between what two measure of one gap: the pace of either, and what the machine does meanwhile.
const SLACK_MS: u64 = 1_500;

/// What the farmer types.
fn typed<'a>(url: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    let key = "SIXFOLD_KEY=/run/lab/keys/farmer/alpha.pem";
    [&["env", key, url, SIXFOLD][..], args].concat()
}

fn url(lab: &Up) -> String {
    format!("SIXFOLD_REGISTRY={}", lab.registry())
}

/// Echoes over IPv6 from a workload on cat; whose it is.
fn echoes(lab: &Up) -> (Child, String) {
    let (netns, address) = workload(lab);
    let between = format!("{}", BETWEEN as f64 / 1000.0);
    let ping = ["ping", "-D", "-n", "-i", &between, "-c", ECHOES, "-W", "1", HOSTS[0]];
    (start(lab, "cat", Some(&netns), &ping), address)
}

/// What a slot's networks leave by is dropped at the router for a while, and what comes to them: longer than [`SLACK_MS`].
fn cut(lab: &Up) {
    let rules = "add table inet cut; add chain inet cut way { type filter hook forward priority 0; }; \
        add rule inet cut way ip6 saddr 2001:db8:a:1000::/52 drop; add rule inet cut way ip6 daddr 2001:db8:a:1000::/52 drop";
    lab.says("router-alpha", &["nft", rules]);
    thread::sleep(Duration::from_secs(3));
    lab.says("router-alpha", &["nft", "delete table inet cut"]);
}

/// The longest gap that a drill saw of any network, and what it lost; of every network all that there is to tell.
fn seen(drill: &Output) -> (u64, u64) {
    let document: Value =
        serde_json::from_slice(&drill.stdout).unwrap_or_else(|_| panic!("{}", words(drill)));
    let networks = document["networks"].as_array().unwrap();
    assert_eq!(networks.len(), 2, "{document}");
    for network in networks {
        let resources = network["nodes"].as_array().unwrap().len();
        assert_eq!(network["answering"].as_u64(), Some(resources as u64), "{network}");
        let parts = network["loss"]["parts"].as_array().unwrap();
        assert!(parts.len() == 3 && parts.iter().all(|part| part["sent"].as_u64() > Some(0)), "{network}");
    }
    let moves = document["moves"].as_array().unwrap();
    assert!(moves.len() == 2 && moves.iter().all(|moved| moved["took_ms"].is_u64()), "{document}");
    let gap = networks.iter().filter_map(|network| network["loss"]["gap_max_ms"].as_u64()).max();
    (gap.unwrap(), document["lost"].as_u64().unwrap())
}

#[test]
fn a_drill_says_what_was_lost_and_the_slot_is_where_it_was() {
    let lab = started();
    let url = url(&lab);
    let farmer = |args: &[&str]| lab.exec("internet", &typed(&url, args));
    soon("every tunnel is awake", || {
        let foretold = farmer(&["exit", "drill", "1", "--dry-run"]);
        words(&foretold).contains("5 of 5 resources answer")
    });
    let foretold = farmer(&["exit", "drill", "1", "--dry-run"]);
    let text = words(&foretold);
    println!("{text}");
    assert!(
        foretold.status.success() && text.contains("2 networks of 2 tenants: 5 resources on 3 nodes"),
        "{text}"
    );
    assert!(text.contains("5 of 5 resources answer"), "{text}");
    assert_eq!(epoch(&lab, "ant"), 1, "nothing was moved");
    for is_cut in [false, true] {
        soon("ant serves, and bee stands by", || {
            told(&lab, "ant") == ["hold", "true", "answers", "silent"]
                && told(&lab, "bee") == ["rest", "false", "answers", "answers"]
        });
        let before = epoch(&lab, "ant");
        let (flow, address) = echoes(&lab);
        let drill = start(&lab, "internet", None, &typed(&url, &["exit", "drill", "1", "--yes", "--json"]));
        if is_cut {
            soon("the slot is on its way", || epoch(&lab, "bee") > before);
            cut(&lab);
        }
        let drill = drill.wait_with_output().unwrap();
        let (gap, lost) = seen(&drill);
        let (echoed, longest, _) = answered(flow);
        let longest = longest as u64;
        println!(
            "cut: {is_cut}; the drill saw {lost} lost, {gap} ms at most; echoes of {address}: {echoed} of {ECHOES}, gap {longest} ms"
        );
        assert_eq!(drill.status.code(), Some(if lost == 0 { 0 } else { 3 }), "{}", words(&drill));
        if is_cut || longest > 500 {
            assert!(lost > 0 && gap + SLACK_MS > longest, "the drill saw {gap} ms of {longest}");
        }
        assert!(gap < longest + SLACK_MS, "the drill saw {gap} ms of {longest}");
        assert_eq!(epoch(&lab, "ant"), before + 2, "there and back");
        assert_eq!(told(&lab, "ant")[..2], ["hold", "true"]);
    }
    // Where no second node is ready nothing is done.
    let version = || {
        let shown: Value = serde_json::from_slice(&farmer(&["farm", "show", "--json"]).stdout).unwrap();
        (shown["version"].clone(), shown["slots"].clone())
    };
    let before = (version(), epoch(&lab, "ant"));
    // Its router does not answer it any more, and all else of it goes on.
    let own = lab.says("bee", &["sh", "-c", "ip -br link show eth0 | awk '{ print $3 }'"]);
    let rules = format!(
        "add table inet deaf; add chain inet deaf way {{ type filter hook input priority 0; }}; \
         add rule inet deaf way ether saddr {} ip6 saddr fe80::/10 ip6 daddr ff02::/16 icmpv6 type nd-neighbor-solicit drop",
        own.trim()
    );
    lab.says("router-alpha", &["nft", &rules]);
    soon("bee sees no router", || told(&lab, "bee")[2] == "silent");
    let refuses = |how: &str| {
        let refused = farmer(&["exit", "drill", "1", how]);
        refused.status.code() == Some(1) && words(&refused).contains("no second node is ready")
    };
    soon("the registry hears of it", || refuses("--dry-run"));
    assert!(refuses("--yes"));
    assert_eq!((version(), epoch(&lab, "ant")), before);
}

/// The node that had the slot is gone when it is to have it back.
#[test]
fn a_drill_that_ends_half_way_says_where_the_slot_is_and_what_to_do() {
    let lab = started();
    let url = url(&lab);
    let all = ["sh", "-c", "exec \"$@\" 2>&1", "sh"];
    let drill = [&all[..], &typed(&url, &["exit", "drill", "1", "--yes"])].concat();
    let drill = start(&lab, "internet", None, &drill);
    let serves = || told(&lab, "bee")[..2] == ["hold", "true"];
    soon("the farmer hears that bee serves alone", || {
        let registry = url.split_once('=').unwrap().1;
        let seen = lab.exec("internet", &typed(&url, &["exit", "status", "--registry", registry, "--json"]));
        let seen: Value = serde_json::from_slice(&seen.stdout).unwrap_or_default();
        let nodes = seen["slots"][0]["nodes"].as_array().into_iter().flatten();
        let serving: Vec<&Value> = nodes.filter(|node| node["serves"] == true).collect();
        serving.len() == 1 && serving[0]["name"] == "bee"
    });
    cable(&lab, "ant", "down");
    let drill = drill.wait_with_output().unwrap();
    let said = words(&drill);
    println!("{said}");
    assert_ne!(drill.status.code(), Some(0), "{said}");
    let measured = said.contains("TO BEE") && said.contains("until both nodes said that it was done");
    assert!(
        measured && said.contains("the slot had gone to bee; once ant is ready `sixfold exit move"),
        "{said}"
    );
    soon("bee serves", serves);
}
