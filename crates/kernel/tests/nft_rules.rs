//! Rules and their bytes, both ways, without a kernel.

#![allow(clippy::unwrap_used)] // a test's unwrap is its assertion

use proptest::collection::vec;
use proptest::prelude::*;
use sixfold_core::state::*;
use sixfold_kernel::nft::{decode, encode};

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9-]{0,14}"
}

fn link() -> impl Strategy<Value = LinkPattern> {
    prop_oneof![
        name().prop_map(|name| LinkPattern::Is(name.parse().unwrap())),
        name().prop_map(LinkPattern::Begins)
    ]
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Ipv6), Just(Family::Ipv4)]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Icmp), Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Icmpv6)]
}

fn net() -> impl Strategy<Value = ipnet::IpNet> {
    let v6 = (any::<u128>(), 0..=128_u8).prop_map(|(bits, len)| {
        ipnet::IpNet::new(std::net::Ipv6Addr::from(bits).into(), len).unwrap().trunc()
    });
    let v4 = (any::<u32>(), 0..=32_u8).prop_map(|(bits, len)| {
        ipnet::IpNet::new(std::net::Ipv4Addr::from(bits).into(), len).unwrap().trunc()
    });
    prop_oneof![v6, v4]
}

fn set() -> impl Strategy<Value = SetName> {
    "[a-z_0-9]{1,40}".prop_map(|name| SetName(name.into()))
}

fn condition() -> impl Strategy<Value = Match> {
    prop_oneof![
        link().prop_map(Match::InputLink),
        link().prop_map(Match::OutputLink),
        set().prop_map(Match::InputLinkIn),
        set().prop_map(Match::OutputLinkIn),
        family().prop_map(Match::Family),
        protocol().prop_map(Match::Protocol),
        net().prop_map(Match::Source),
        net().prop_map(Match::Destination),
        (set(), family()).prop_map(|(set, family)| Match::SourceIn(set, family)),
        (set(), family()).prop_map(|(set, family)| Match::DestinationIn(set, family)),
        any::<u8>().prop_map(Match::IcmpType),
        any::<u8>().prop_map(Match::Icmpv6Type),
        any::<u32>().prop_map(Match::CtState),
        Just(Match::DestinationRewritten),
        Just(Match::SourceNotHere),
        Just(Match::LeadsBack),
        family().prop_map(Match::NoWay),
        family().prop_map(Match::LastHop),
        (protocol(), any::<u16>()).prop_map(|(protocol, port)| Match::DestinationPort(protocol, port)),
        (protocol(), set()).prop_map(|(protocol, set)| Match::DestinationPortIn(protocol, set)),
        (protocol(), set()).prop_map(|(protocol, set)| Match::SourcePortIn(protocol, set)),
        (set(), family()).prop_map(|(set, family)| Match::ServiceIn(set, family)),
        Just(Match::TcpSyn),
        (any::<u64>(), any::<u32>()).prop_map(|(per_second, burst)| Match::Limit { per_second, burst }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Accept),
        Just(Action::Drop),
        Just(Action::Refuse),
        set().prop_map(Action::SnatByInput),
        set().prop_map(Action::SnatBySource),
        set().prop_map(Action::DnatByDestination),
        set().prop_map(Action::DnatByService),
        set().prop_map(Action::DropByInput),
        set().prop_map(Action::DropByOutput),
        Just(Action::Count),
        Just(Action::Notrack),
        Just(Action::ClampMss),
        (any::<[u8; 4]>(), any::<(u16, u16)>())
            .prop_map(|(address, ports)| Action::Snat { address: address.into(), ports }),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    (vec(condition(), 0..7), action()).prop_map(|(matches, action)| Rule {
        matches,
        action,
        comment: String::new(),
    })
}

/// List elements of expressions, cut from a rule's bytes.
fn elements(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut out) = (bytes, Vec::new());
    while rest.len() >= 4 {
        let len = usize::from(u16::from_ne_bytes([rest[0], rest[1]])).next_multiple_of(4);
        out.push(rest[..len].to_vec());
        rest = &rest[len..];
    }
    out
}

proptest! {
    #[test]
    fn every_rule_is_read_as_it_was_written(rule in rule()) {
        let bytes = encode(&rule);
        prop_assert_eq!(decode(&bytes, &[]), rule);
    }

    /// Expressions left out, doubled or in another order: whatever it is read as is written as the same bytes.
    #[test]
    fn whatever_is_read_is_written_the_same(rule in rule(), picks in vec(any::<prop::sample::Index>(), 0..20)) {
        let parts = elements(&encode(&rule));
        let shuffled: Vec<u8> = picks.iter().flat_map(|pick| pick.get(&parts).clone()).collect();
        prop_assert_eq!(encode(&decode(&shuffled, &[])), shuffled);
    }

    /// One byte of one expression's attributes is another: a rule that is not the same is not taken for the same.
    #[test]
    fn another_byte_is_another_rule(rule in rule(), at: prop::sample::Index, flip in 1..=255_u8) {
        let bytes = encode(&rule);
        let mut other = bytes.clone();
        other[at.index(bytes.len())] ^= flip;
        let read = decode(&other, &[]);
        // The kernel never sets padding, unused bits of types, or anything within a counter that says otherwise.
        if encode(&read) == other {
            prop_assert_ne!(read, rule);
        }
    }

    #[test]
    fn no_bytes_are_too_odd_to_be_read(bytes in vec(any::<u8>(), 0..200), userdata in vec(any::<u8>(), 0..50)) {
        let read = decode(&bytes, &userdata);
        prop_assert!(matches!(read.action, Action::Unknown(_)));
    }
}

#[test]
fn a_comment_is_found_among_other_user_data() {
    let comment = |userdata: &[u8]| decode(&[], userdata).comment;
    assert_eq!(comment(b"\x00\x03hi\0"), "hi");
    assert_eq!(comment(b"\x01\x01x\x00\x03hi\0"), "hi");
    assert_eq!(comment(b"\x00\x09hi"), "hi", "cut short");
    assert_eq!(comment(b""), "");
}

/// nft's `counter jump X`, an action of no kind of ours; and a rule without a counter.
#[test]
fn a_foreign_rule_stays_visible_and_equals_none_of_ours() {
    let accept = encode(&Rule { matches: vec![], action: Action::Accept, comment: String::new() });
    let parts = elements(&accept);
    let without_counter = decode(&parts[1], &[]);
    assert_eq!(without_counter.matches, [Match::Unknown(parts[1].clone())]);
    assert_eq!(without_counter.action, Action::Unknown(vec![]));
    let mut jump = accept;
    let position = jump.windows(4).rposition(|four| four == [0, 0, 0, 1]).unwrap();
    jump[position..position + 4].copy_from_slice(&(-3_i32).to_be_bytes());
    let jumping = decode(&jump, &[]);
    assert_eq!(jumping.action, Action::Unknown(vec![]));
    assert_eq!(jumping.matches.len(), 2);
    assert_eq!(encode(&jumping), jump);
}
