//! The NIC goes, comes, and is a gateway's link itself.

use sixfold_kernel::segment::{Ask, Kind, Segment, SegmentError, Word};

use crate::ground::{alone, chain, link, run};
use crate::place::*;

fn is_down(outcome: &Result<(), SegmentError>) -> bool {
    matches!(outcome, Err(SegmentError::Down { .. }))
}

#[test]
fn a_nic_that_is_down_cut_off_or_gone_is_no_silence_and_is_followed_when_it_comes_back() {
    alone(|| {
        segment();
        ["ant", "cat"].into_iter().for_each(machine);
        set(&gateway("ant"), "up");
        let mut cat = listen("cat");
        let ask = Ask::Gateway(GATEWAY);
        assert_eq!(find_out(&mut cat, ask), answers(SLOT));

        run("ip -n cat link set eth0 down");
        assert!(is_down(&cat.ask(ask)));
        assert!(cat.read().unwrap().deaf);
        plugged("cat", "-n cat");
        // Told once: no question got out since.
        assert_eq!(find_out(&mut cat, ask), answers(SLOT));

        // Down and up between two looks: told all the same.
        run("ip -n cat link set eth0 down");
        plugged("cat", "-n cat");
        assert!(cat.read().unwrap().deaf);
        assert_eq!(find_out(&mut cat, ask), answers(SLOT));

        // Nor is that told by the next question, which goes out.
        run("ip -n cat link set eth0 down");
        plugged("cat", "-n cat");
        cat.ask(ask).unwrap();
        assert!(cat.read().unwrap().deaf);
        assert_eq!(find_out(&mut cat, ask), answers(SLOT));

        run("ip -n segment link set cat down");
        wait_until(|| cat.read().unwrap().deaf);
        plugged("cat", "-n cat");
        cat.read().unwrap();
        assert_eq!(find_out(&mut cat, ask), answers(SLOT));
        run("ip -n segment link set cat down");
        wait_until(|| is_down(&cat.ask(ask)));
        plugged("cat", "-n cat");
        assert!(cat.read().unwrap().deaf, "a question could not be asked");
        assert_eq!(find_out(&mut cat, ask), answers(SLOT), "the cable is back");

        run("ip -n cat link del eth0");
        let error = cat.ask(ask).unwrap_err();
        assert_eq!(chain(&error), "no link eth0");
        assert!(error.hint().unwrap().contains("`nic` in the farm file"));
        assert!(cat.read().unwrap().deaf);
        cable("cat");
        assert!(cat.read().unwrap().deaf);
        assert!(
            run("ip -n cat maddress show dev eth0").contains("03:6f:00:00:00:01"),
            "what the NIC takes in"
        );
        assert_eq!(find_out(&mut cat, ask), answers(SLOT), "another link of that name");

        // Of the same name and number, as one that was lent to another namespace.
        run("ip netns add elsewhere");
        run("ip -n cat link set eth0 netns elsewhere");
        run("ip -n elsewhere link set eth0 netns cat");
        plugged("cat", "-n cat");
        assert!(cat.read().unwrap().deaf);
        assert_eq!(find_out(&mut cat, ask), answers(SLOT), "back from elsewhere");
    });
}

#[test]
fn a_segment_can_be_listened_to_before_its_nic_is_there_and_only_if_it_is_an_ethernet() {
    alone(|| {
        segment();
        machine("ant");
        set(&gateway("ant"), "up");
        run("ip netns add cat");
        let mut cat = listen("cat");
        let ask = Ask::Gateway(GATEWAY);
        assert!(matches!(cat.ask(ask), Err(SegmentError::NotThere { .. })));
        cable("cat");
        cat.read().unwrap();
        assert_eq!(find_out(&mut cat, ask), answers(SLOT));
        let error = Segment::open(link("lo")).unwrap_err();
        assert_eq!(
            chain(&error),
            "cannot listen to the segment of lo: EPFNOSUPPORT: Protocol family not supported"
        );
    });
}

/// Where the farm has a gateway use the NIC itself.
#[test]
fn a_gateway_that_is_the_nic_does_not_hear_itself_and_is_deaf_while_it_is_down() {
    alone(|| {
        segment();
        for name in ["ant", "bee"] {
            machine(name);
            run(&format!("ip -n {name} link set eth0 address {SLOT}"));
            run(&format!("ip netns exec {name} sysctl -qw net.ipv6.conf.eth0.accept_dad=0"));
            run(&format!("ip -n {name} address add {GATEWAY}/64 dev eth0 nodad"));
        }
        let (mut ant, mut bee) = (listen("ant"), listen("bee"));
        let ask = Ask::Gateway(GATEWAY);
        assert_eq!(find_out(&mut ant, ask), answers(SLOT), "the other one");
        run("ip -n bee link set eth0 down");
        assert_eq!(find_out(&mut ant, ask), SILENT, "itself");
        assert!(is_down(&bee.ask(ask)), "who rests by this link cannot watch by it");
        assert!(bee.read().unwrap().deaf);
    });
}

/// Puts another link between a machine and its cable, under the name that the NIC had.
fn wrap(name: &str, made: &str, joined: &str) {
    run(&format!("ip -n {name} link set eth0 down"));
    run(&format!("ip -n {name} link set eth0 name cable"));
    run(&format!("ip -n {name} link add {made}"));
    if !joined.is_empty() {
        run(&format!("ip -n {name} link set cable {joined}"));
    }
    run(&format!("ip -n {name} link set cable up"));
    plugged(name, &format!("-n {name}"));
}

/// As hosts of virtual machines have it.
#[test]
fn a_nic_may_be_a_bridge_with_the_cable_as_its_port() {
    alone(|| {
        segment();
        for name in ["ant", "bee"] {
            machine(name);
            wrap(name, "eth0 type bridge", "master eth0");
        }
        meet_by_their_nics();
    });
}

/// Both hear each other's gateway and words, and not their own, and the segment learns where the slot is.
fn meet_by_their_nics() {
    let (at_ant, mut ant, mut bee) = (gateway("ant"), listen("ant"), listen("bee"));
    set(&at_ant, "up");
    let ask = Ask::Gateway(GATEWAY);
    assert_eq!(find_out(&mut bee, ask), answers(SLOT));
    assert_eq!(find_out(&mut ant, ask), SILENT, "itself");
    let claim = Word::new(Kind::Claim, b"by whatever link".to_vec()).unwrap();
    ant.send(&claim).unwrap();
    wait_until(|| bee.read().unwrap().words.iter().any(|(_, word)| *word == claim));
    bee.announce(SLOT, &[GATEWAY.into()]).unwrap();
    let learned = run("bridge -n segment fdb show br br0");
    assert!(learned.contains(&format!("{SLOT} dev bee")), "{learned}");
}
