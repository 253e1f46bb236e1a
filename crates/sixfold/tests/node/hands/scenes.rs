//! What happens on a host sooner or later, to everything at once: each scene's damage is undone, and then the node is
//! as it was before.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use super::ground::{self, Machine, soon};
use super::seen::{Facts, namespaces, run, tried};

/// What is called, and what does it to a node that was so before.
type Scene = (&'static str, fn(&Machine, &Facts));

pub(super) fn all(machine: &mut Machine, before: &Facts) {
    let scenes: [Scene; 5] = [
        ("`nft flush ruleset` in every namespace", flush_rulesets),
        ("every route and nexthop of protocol 200 deleted", delete_routes),
        ("a link of each kind renamed", rename_links),
        ("the uplink taken down and set up", uplink_down),
        ("the uplink renamed and renamed back", uplink_renamed),
    ];
    for (name, strike) in scenes {
        strike(machine, before);
        let time = ground::as_before(name, before);
        machine.others_are_untouched(name);
        println!("{name}: as before {:.2} s later", time.as_secs_f64());
    }
    soon("in sync", || ground::in_sync(2));
}

/// In the namespace that others have a table in, ours alone.
fn flush_rulesets(machine: &Machine, _: &Facts) {
    for netns in namespaces() {
        let what = if netns == machine.shared { "delete table inet sixfold" } else { "flush ruleset" };
        run(&format!("ip netns exec {netns} nft {what}"));
    }
}

/// As `systemd-networkd` does to routes that it did not make.
fn delete_routes(_: &Machine, before: &Facts) {
    for netns in namespaces() {
        let here =
            before.iter().filter(|((at, what), fact)| *at == netns && fact.ours && what.starts_with("route"));
        let lines = here.map(|((_, what), _)| {
            let words: Vec<&str> = what.split(' ').collect();
            format!("{} del {} metric {}\n", words[0], words[1], words[2])
        });
        let (v6, v4): (Vec<_>, Vec<_>) = lines.partition(|line| line.contains(':'));
        for (family, lines) in [("-6", v6), ("-4", v4)] {
            fs::write("/run/routes", lines.concat()).unwrap();
            // Some are gone by then, with a nexthop; and some may be back.
            let _some_gone = tried(&format!("ip -n {netns} {family} -force -batch /run/routes"));
        }
        run(&format!("ip -n {netns} nexthop flush proto 200"));
    }
}

fn rename_links(_: &Machine, _: &Facts) {
    let of_role = |role: &str| namespaces().into_iter().find(|name| name.starts_with(role)).unwrap();
    for (netns, kind) in [
        (of_role("gw-1-"), "to-"),
        (of_role("gw-1-"), "pub-"),
        (of_role("load-"), "eth0"),
        (of_role("net-"), "wg-"),
    ] {
        let links = run(&format!("ip -n {netns} -br link"));
        let names = links.lines().filter_map(|line| line.split(['@', ' ']).next());
        let link = names.into_iter().find(|name| name.starts_with(kind)).expect(kind);
        // The agent may be at it between the two.
        run(&format!("ip -n {netns} link set {link} down"));
        if let Err(said) = tried(&format!("ip -n {netns} link set {link} name was-{kind}")) {
            assert!(said.contains("busy") || said.contains("Busy"), "{said}");
            run(&format!("ip -n {netns} link set {link} down name was-{kind}"));
        }
    }
}

fn uplink_down(_: &Machine, _: &Facts) {
    run("ip link set eth0 down");
    sleep(Duration::from_millis(1500));
    run("ip link set eth0 up");
}

fn uplink_renamed(_: &Machine, _: &Facts) {
    run("ip link set eth0 down");
    run("ip link set eth0 name eth9");
    run("ip link set eth9 up");
    soon("the agent says what it misses", || ground::status().contains("no link eth0"));
    run("ip link set eth9 down");
    run("ip link set eth9 name eth0");
    run("ip link set eth0 up");
}
