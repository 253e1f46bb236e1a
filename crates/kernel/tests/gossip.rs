//! Datagrams between a public node's namespace and a hidden node's own. Needs root and iproute2.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ground;

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ground::{alone, run};
use sixfold_core::limit::{GOSSIP_BYTES, GOSSIP_PORT};
use sixfold_core::name;
use sixfold_core::state::Netns;
use sixfold_kernel::gossip::{Gossip, GossipError};
use sixfold_kernel::netns::NetnsError;

/// `public`, on a cable to the machine's own namespace.
fn public() {
    run("ip netns add public");
    run("ip link add near type veth peer name far netns public");
    for (at, link, last) in [("", "near", 1), ("-n public", "far", 2)] {
        run(&format!("ip {at} address add 2001:db8::{last}/64 dev {link} nodad"));
        run(&format!("ip {at} address add 192.0.2.{last}/24 dev {link}"));
        run(&format!("ip {at} link set {link} up"));
    }
}

fn open(netns: &Netns) -> Result<Gossip, GossipError> {
    Gossip::open("/run/netns".into(), netns)
}

fn there() -> Netns {
    Netns::Named(name::netns_public())
}

/// What comes within five seconds, which is longer than anything takes here.
fn heard(gossip: &mut Gossip) -> Vec<(SocketAddr, Vec<u8>)> {
    let began = Instant::now();
    loop {
        let heard = gossip.read().unwrap();
        if !heard.is_empty() || began.elapsed() > Duration::from_secs(5) {
            return heard;
        }
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn who_speaks_first_is_answered_in_both_families_and_nothing_long_is_taken_whole() {
    alone(|| {
        public();
        let (mut public, mut hidden) = (open(&there()).unwrap(), open(&Netns::Host).unwrap());
        for (to, from) in [("2001:db8::2", "2001:db8::1"), ("192.0.2.2", "192.0.2.1")] {
            let to = SocketAddr::new(to.parse().unwrap(), GOSSIP_PORT);
            hidden.send(to, &[6; GOSSIP_BYTES]).unwrap();
            let (asker, bytes) = heard(&mut public).pop().unwrap();
            assert_eq!((asker.ip(), bytes.len()), (from.parse().unwrap(), GOSSIP_BYTES));
            public.send(asker, b"answer").unwrap();
            assert_eq!(heard(&mut hidden), [(to, b"answer".to_vec())]);
        }
        let to = SocketAddr::new("2001:db8::2".parse().unwrap(), GOSSIP_PORT);
        hidden.send(to, &[6; 1400]).unwrap();
        assert_eq!(heard(&mut public)[0].1.len(), GOSSIP_BYTES + 1);
    });
}

#[test]
fn a_reading_takes_no_more_of_a_flood_than_of_a_crowd() {
    alone(|| {
        public();
        let (mut public, mut hidden) = (open(&there()).unwrap(), open(&Netns::Host).unwrap());
        let to = SocketAddr::new("2001:db8::2".parse().unwrap(), GOSSIP_PORT);
        for _ in 0..5000 {
            hidden.send(to, &[6; GOSSIP_BYTES]).unwrap();
        }
        assert_eq!(heard(&mut public).len(), 64);
        let mut rest = 0;
        while let more @ 1.. = public.read().unwrap().len() {
            rest += more;
        }
        assert!(rest < 5000 - 64, "what waits is bounded: {rest}");
    });
}

#[test]
fn a_namespace_that_was_made_again_is_noticed_and_none_is_kept() {
    alone(|| {
        assert!(matches!(open(&there()), Err(GossipError::Netns(NetnsError::NotThere { .. }))));
        public();
        let mut first = open(&there()).unwrap();
        let taken = open(&there()).unwrap_err();
        assert!(matches!(taken, GossipError::Io { port: GOSSIP_PORT, .. }), "{taken}");
        assert!(taken.hint().is_some());
        run("ip netns del public");
        assert!(matches!(first.read(), Err(GossipError::Netns(NetnsError::NotThere { .. }))));
        run("ip netns add public");
        assert!(first.read().is_err());
        // It held the old one, with the cable's far end.
        run("ip link show near");
        drop(first);
        let began = Instant::now();
        while std::fs::read_to_string("/proc/thread-self/net/dev").unwrap().contains("near") {
            assert!(began.elapsed() < Duration::from_secs(5), "the namespace that is gone is kept");
            sleep(Duration::from_millis(20));
        }
        open(&there()).unwrap();
    });
}
