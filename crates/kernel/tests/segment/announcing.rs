//! What switch and router learn when a slot moves.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use sixfold_kernel::segment::Repeats;

use crate::ground::{alone, ip, run};
use crate::place::*;

const ADDRESSES: [&str; 3] = ["fe80::1000:0:0:1", "2001:db8:a:0:1000::1", "203.0.113.5"];

fn addresses() -> Vec<IpAddr> {
    ADDRESSES.map(|address| address.parse().unwrap()).to_vec()
}

/// By which of the bridge's ports the slot is reached.
fn port() -> String {
    let all: Value = serde_json::from_str(&run("bridge -n segment -j fdb show br br0")).unwrap();
    let mac = SLOT.to_string();
    let ports = all.as_array().unwrap().iter().filter(|one| one["mac"] == mac.as_str());
    let ports: Vec<&str> = ports.map(|one| one["ifname"].as_str().unwrap()).collect();
    assert!(ports.len() <= 1, "{ports:?}");
    ports.concat()
}

/// The router's entries that are not the slot's.
fn still_wrong() -> Vec<Value> {
    let known = |address: &&str| ip(&format!("-n router neighbour show {address}"));
    let mac = SLOT.to_string();
    ADDRESSES.iter().map(known).filter(|entry| entry[0]["lladdr"] != mac.as_str()).collect()
}

#[test]
fn one_announcement_moves_the_slot_to_the_port_of_whoever_sends_it() {
    alone(|| {
        segment();
        ["ant", "bee"].into_iter().for_each(machine);
        let mut machines = ["ant", "bee"].map(listen);
        // Neither has a gateway: nothing is sent from the slot's address but this.
        assert_eq!(port(), "");
        for (name, at) in [("ant", 0), ("bee", 1), ("ant", 0)] {
            for address in addresses() {
                machines[at].announce(SLOT, &[address]).unwrap();
                assert_eq!(port(), name, "by {address} alone");
            }
        }
    });
}

#[test]
fn a_router_that_knew_other_hardware_addresses_has_the_slots_after_few_and_reaches_the_gateway() {
    alone(|| {
        segment();
        router();
        ["ant", "bee"].into_iter().for_each(machine);
        for address in ["2001:db8:a::1/64", "203.0.113.1/24"] {
            run(&format!("ip -n router address add {address} dev eth0 nodad"));
        }
        let gateways = [gateway("ant"), gateway("bee")];
        for netns in &gateways {
            run(&format!("ip -n {netns} address add {}/64 dev pub-1-1 nodad", ADDRESSES[1]));
            run(&format!("ip -n {netns} address add {}/24 dev pub-1-1", ADDRESSES[2]));
        }
        set(&gateways[0], "up");
        let mut machines = [listen("ant"), listen("bee")];
        machines[0].announce(SLOT, &addresses()).unwrap();
        assert_eq!(port(), "ant");
        // Somebody else was there a moment ago.
        for address in ADDRESSES {
            let stale = "lladdr 02:00:00:00:00:99 nud reachable dev eth0";
            run(&format!("ip -n router neighbour replace {address} {stale}"));
        }
        assert_eq!(still_wrong().len(), 3);
        set(&gateways[0], "down");

        set(&gateways[1], "up");
        let (began, mut sent) = (Instant::now(), 0);
        let mut repeats = Repeats::new(began);
        let mut right = [None; 2];
        while right.contains(&None) {
            if repeats.next() <= Instant::now() {
                machines[1].announce(SLOT, &addresses()).unwrap();
                repeats.sent(Instant::now());
                sent += 1;
            }
            let now = [port() == "bee", still_wrong().is_empty()];
            for (right, now) in right.iter_mut().zip(now) {
                *right = right.or(now.then(|| (sent, began.elapsed())));
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", still_wrong());
            thread::sleep(Duration::from_millis(5));
        }
        for (what, right) in ["the bridge's port", "all of the router's entries"].iter().zip(right) {
            let (sent, after) = right.unwrap();
            println!("{what} right after {sent} announcements, {after:.0?}");
        }
        for address in ["fe80::1000:0:0:1%eth0", ADDRESSES[1], ADDRESSES[2]] {
            run(&format!("ip netns exec router ping -c 1 -W 5 {address}"));
        }
    });
}
