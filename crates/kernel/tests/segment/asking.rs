//! Whether gateways and the router answer, and to whom.

use std::time::{Duration, Instant};

use sixfold_kernel::segment::{Ask, Segment};

use crate::ground::gateway::ant;
use crate::ground::{Node, alone, ip, link, run};
use crate::place::*;

#[test]
fn a_gateway_answers_every_machine_but_its_own_whether_or_not_an_agent_runs() {
    alone(|| {
        segment();
        // The machine that the desired state is of is the one where this thread is.
        run("ip link add eth0 type veth peer name ant netns segment");
        run("ip -n segment link set ant master br0");
        plugged("ant", "");
        machine("cat");
        Node::new().converge(&ant());
        let (mut ant, mut cat) = (Segment::open(link("eth0")).unwrap(), listen("cat"));
        assert_eq!(find_out(&mut cat, Ask::Gateway(GATEWAY)), answers(SLOT), "through its firewall");
        assert_eq!(find_out(&mut ant, Ask::Gateway(GATEWAY)), SILENT, "its own");
        set("gw-1-1", "down");
        assert_eq!(find_out(&mut cat, Ask::Gateway(GATEWAY)), SILENT, "nobody's");
    });
}

#[test]
fn a_slot_that_moves_is_heard_where_it_is_and_two_at_once_hear_each_other() {
    alone(|| {
        segment();
        ["ant", "bee", "cat"].into_iter().for_each(machine);
        let (at_ant, at_bee) = (gateway("ant"), gateway("bee"));
        let [mut ant, mut bee, mut cat] = ["ant", "bee", "cat"].map(listen);
        let ask = Ask::Gateway(GATEWAY);
        set(&at_ant, "up");
        // The switch has heard who listens to questions for the address, and sends them nowhere else.
        wait_until(|| run("bridge -n segment mdb show").contains("port ant grp ff02::1:ff00:1"));
        assert_eq!(find_out(&mut bee, ask), answers(SLOT), "a standby's own link is down");
        set(&at_bee, "up");
        for (name, machine) in [("ant", &mut ant), ("bee", &mut bee), ("cat", &mut cat)] {
            assert_eq!(find_out(machine, ask), answers(SLOT), "two at once, by {name}");
        }
        set(&at_ant, "down");
        assert_eq!(find_out(&mut ant, ask), answers(SLOT), "it has moved");
        assert_eq!(find_out(&mut cat, ask), answers(SLOT));
        assert_eq!(find_out(&mut bee, ask), SILENT, "to itself");
        let mut times: Vec<Duration> = (0..100).map(|_| time_of(&mut cat, ask)).collect();
        times.sort();
        println!("an answer takes {:.0?} (the median of 100), {:.0?} at most", times[50], times[99]);
    });
}

/// From a question to its answer.
fn time_of(segment: &mut Segment, ask: Ask) -> Duration {
    let began = Instant::now();
    segment.ask(ask).unwrap();
    while read_within(segment, Duration::from_secs(1)).answers.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(10), "no answer");
    }
    began.elapsed()
}

#[test]
fn a_router_answers_and_is_not_kept_from_an_address_that_it_is_about_to_take() {
    alone(|| {
        const SOON: &str = "fe80::5";
        segment();
        router();
        machine("cat");
        // Of IPv6 the NIC needs nothing.
        run("ip netns exec cat sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1");
        let mut cat = listen("cat");
        assert_eq!(find_out(&mut cat, Ask::Router(ROUTER)), answers(ROUTER_MAC));
        assert_eq!(find_out(&mut cat, Ask::Router(GATEWAY)), SILENT, "not its address");
        run("ip netns exec router sysctl -qw net.ipv6.conf.eth0.dad_transmits=2");
        let flag = |name: &str| {
            let listed = ip("-n router -6 address show dev eth0");
            let all = listed[0]["addr_info"].as_array().unwrap();
            all.iter().any(|one| one["local"] == SOON && one[name] == true)
        };
        // A kernel gives up the address if it is asked for as another that looks for a duplicate would.
        let address = SOON.parse().unwrap();
        for (ask, harmed) in [(Ask::Router(address), false), (Ask::Gateway(address), true)] {
            run(&format!("ip -n router address add {SOON}/64 dev eth0"));
            assert!(flag("tentative"), "nothing would be shown");
            wait_until(|| {
                cat.ask(ask).unwrap();
                read_within(&mut cat, Duration::from_millis(50));
                !flag("tentative") || flag("dadfailed")
            });
            assert_eq!(flag("dadfailed"), harmed, "{ask:?}");
            run(&format!("ip -n router address del {SOON}/64 dev eth0"));
        }
    });
}
