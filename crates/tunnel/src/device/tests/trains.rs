//! Trains the whole way: super-packets of one TUN are cut, sealed, opened, put together and cut again by the kernel behind
//! the other. What arrives is what was sent, byte for byte and in the order of each flow.

use super::world::{Fate, World, peer};
use crate::offload::tests::{by_flow, cut, joined, train, wish};
use crate::uapi::SetPeer;
use proptest::prelude::*;

/// Two hosts with a session that carry for each other whatever addresses a packet has.
fn pair() -> World {
    let mut world = World::pair();
    for end in 0..2 {
        let all = ["::/0", "0.0.0.0/0"].map(|prefix| (prefix.parse().unwrap(), true));
        world.configure_peer(end, SetPeer { allowed_ips: all.to_vec(), ..peer(1 - end) });
    }
    world
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![8 => Just(Fate::Arrives), 1 => Just(Fate::IsLost), 1 => Just(Fate::ArrivesTwice)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_packet_arrives_byte_for_byte_in_the_order_of_its_flow(
        wishes in prop::collection::vec(wish(), 1..100), from in 0..2_usize, with_udp: bool,
        fates in prop_oneof![Just(Vec::new()), prop::collection::vec(fate(), 100)],
    ) {
        let packets = train(&wishes);
        let supers = joined(&packets, with_udp);
        // The wire sees the packets in the order in which the super-packets are cut.
        let sent = cut(&supers);
        let is_kept = |at: &usize| fates.get(*at) != Some(&Fate::IsLost);
        let kept: Vec<Vec<u8>> = (0..sent.len()).filter(is_kept).map(|at| sent[at].clone()).collect();
        let mut world = pair();
        world.fates = fates.into();
        for (header, packet) in &supers {
            world.send_super_packet(from, *header, packet);
        }
        let arrived = cut(&joined(&world.hosts[1 - from].received, with_udp));
        prop_assert_eq!(by_flow(&arrived), by_flow(&kept));
        prop_assert!(kept.len() < packets.len() || by_flow(&arrived) == by_flow(&packets));
    }
}
