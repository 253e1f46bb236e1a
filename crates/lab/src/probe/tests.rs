//! Probes in network namespaces of their own: two hosts and a router between them. `ip` and `nft` are the tools here that
//! make the world and count, so that nothing of ours vouches for itself. Needs root.

pub(crate) mod ground;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ground::{Ground, HOST, HOST_V4, NOWHERE, NOWHERE_V4, ROUTER, ROUTER_V4};
use sixfold_core::reach::Traffic;

use super::*;

const WAIT: Duration = Duration::from_millis(1500);
const OPEN: [Traffic; 2] = [Traffic::Tcp(443), Traffic::Udp(9000)];

/// A shot with a nonce that is a function of what is sent where.
fn shot(to: &str, traffic: Traffic, nonce: u64) -> Shot {
    Shot { to: to.parse().unwrap(), traffic, count: 3, nonce, from_port: 0, repeats: false }
}

fn everything(to: [&str; 2]) -> Vec<Shot> {
    let kinds = [Traffic::Echo, OPEN[0], OPEN[1]];
    let pairs = to.into_iter().flat_map(|to| kinds.map(|kind| (to, kind)));
    (1..).zip(pairs).map(|(nonce, (to, kind))| shot(to, kind, nonce)).collect()
}

#[test]
fn all_passes_where_nothing_stops_it() {
    let ground = Ground::new("open");
    let (mut a, mut b) = ground.probes();
    b.listen(&OPEN).unwrap();
    b.listen(&OPEN).expect("asking twice is no error");
    let started = Instant::now();
    let outcomes = a.shoot(&everything([HOST, HOST_V4]), WAIT).unwrap();
    assert!(started.elapsed() < WAIT, "it does not wait when all is answered: {outcomes:?}");
    for outcome in &outcomes {
        assert_eq!((outcome.sent, outcome.answered), (3, 3), "{outcome:?}");
        assert!(outcome.refusals.is_empty() && !outcome.late, "{outcome:?}");
        assert!(outcome.rtt_micros.is_some_and(|micros| micros < 1_000_000), "{outcome:?}");
    }
    let arrivals = b.received().unwrap();
    assert_eq!(arrivals.payloads, (1..=6).map(|nonce| (nonce, 3)).collect());
    assert_eq!(arrivals.syns.values().sum::<u32>(), 6);
    assert_eq!(a.received().unwrap(), Arrivals::default(), "answers are no arrivals");
    b.forget().unwrap();
    assert_eq!(b.received().unwrap(), Arrivals::default());
}

#[test]
fn what_a_rule_drops_is_counted_there_and_never_arrives() {
    let ground = Ground::new("rule");
    ground.count_and_drop_forwarded();
    let (mut a, mut b) = ground.probes();
    b.listen(&OPEN).unwrap();
    let shots = everything([HOST, HOST_V4]);
    let outcomes = a.shoot(&shots, WAIT).unwrap();
    for (shot, outcome) in shots.iter().zip(&outcomes) {
        assert_eq!((outcome.sent, outcome.answered), (3, 0), "{shot:?} {outcome:?}");
        assert!(outcome.refusals.is_empty() && !outcome.late, "{shot:?} {outcome:?}");
    }
    let sent: u64 = outcomes.iter().map(|outcome| u64::from(outcome.sent)).sum();
    assert_eq!(ground.dropped(), sent, "for TCP one SYN each");
    assert_eq!(b.received().unwrap(), Arrivals::default());
}

#[test]
fn a_chosen_port_shows_at_the_receiver() {
    let ground = Ground::new("ports");
    let (mut a, mut b) = ground.probes();
    let shots =
        [HOST, HOST_V4].map(|to| Shot { from_port: 20_000, ..shot(to, Traffic::Tcp(81), to.len() as u64) });
    let outcomes = a.shoot(&shots, WAIT).unwrap();
    for outcome in &outcomes {
        assert_eq!((outcome.sent, outcome.answered), (3, 0));
        assert_eq!(outcome.refusals, [Refusal::Reset], "nobody listens there: {outcomes:?}");
    }
    let arrivals = b.received().unwrap();
    assert_eq!(arrivals.syns, [(20_000, 2), (20_001, 2), (20_002, 2)].into(), "once for each family");
    assert_eq!(arrivals.payloads, [].into());
}

#[test]
fn a_connection_that_should_pass_is_tried_again() {
    let ground = Ground::new("again");
    let (mut a, mut b) = ground.probes();
    b.listen(&OPEN).unwrap();
    ground.lose_first_syns(300); // the three first ones at least, of 80 bytes each
    let once = shot(HOST, OPEN[0], 1);
    let outcomes = a.shoot(&[once], WAIT).unwrap();
    assert_eq!((outcomes[0].sent, outcomes[0].answered), (3, 0), "given up before a second SYN");
    assert_eq!(ground.dropped(), 3);
    let ground = Ground::new("repeats");
    let (mut a, mut b) = ground.probes();
    b.listen(&OPEN).unwrap();
    ground.lose_first_syns(300);
    let outcomes = a.shoot(&[Shot { repeats: true, ..once }], WAIT * 8).unwrap();
    assert_eq!((outcomes[0].sent, outcomes[0].answered), (3, 3), "{outcomes:?}");
    assert!(ground.dropped() >= 3);
}

#[test]
fn who_refuses_is_told_with_the_reason() {
    let ground = Ground::new("unreachable");
    let (mut a, _) = ground.probes();
    let refused_by = |by: &str, kind, code| Refusal::Icmp { by: by.parse::<IpAddr>().unwrap(), kind, code };
    // One of each: the kernel limits how many errors of the kind it sends to one address.
    let once = |shot: Shot| Shot { count: 1, ..shot };
    for (nonce, traffic) in [(1, Traffic::Echo), (3, OPEN[0]), (5, OPEN[1])] {
        let shots = [once(shot(NOWHERE, traffic, nonce)), once(shot(NOWHERE_V4, traffic, nonce + 1))];
        let outcomes = a.shoot(&shots, WAIT).unwrap();
        assert_eq!(outcomes[0].refusals, [refused_by(ROUTER, 1, 0)], "{traffic}");
        assert_eq!((outcomes[0].sent, outcomes[0].answered), (1, 0));
        if traffic == Traffic::Echo {
            assert_eq!(outcomes[1].refusals, [refused_by(ROUTER_V4, 3, 1)], "{traffic}");
        }
        assert_eq!((outcomes[1].sent, outcomes[1].answered), (1, 0));
    }
    let closed = [shot(HOST, Traffic::Udp(7), 7), shot(HOST_V4, Traffic::Udp(7), 8)];
    let outcomes = a.shoot(&closed, WAIT).unwrap();
    assert_eq!(outcomes[0].refusals, [refused_by(HOST, 1, 4)]);
    assert_eq!(outcomes[1].refusals, [refused_by(HOST_V4, 3, 3)]);
}

#[test]
fn each_way_to_be_told_no_reads_in_json_as_it_always_did() {
    let by = ROUTER.parse().unwrap();
    let refusals = [
        Refusal::Icmp { by, kind: 1, code: 0 },
        Refusal::Reset,
        Refusal::Local { errno: "EPERM".to_owned() },
    ];
    let told = serde_json::json!([
        { "icmp": { "by": ROUTER, "kind": 1, "code": 0 } },
        "reset",
        { "local": { "errno": "EPERM" } },
    ]);
    assert_eq!(serde_json::to_value(refusals).unwrap(), told);
}

#[test]
fn what_the_sender_itself_stops_says_so() {
    let ground = Ground::new("sender");
    ground.drop_at_sender();
    let (mut a, _) = ground.probes();
    let shots = everything([HOST, HOST_V4]);
    let outcomes = a.shoot(&shots, WAIT).unwrap();
    for (shot, outcome) in shots.iter().zip(&outcomes) {
        assert_eq!((outcome.sent, outcome.answered), (3, 0), "{shot:?} {outcome:?}");
        let told = Refusal::Local { errno: "EPERM".to_owned() };
        let expected = if matches!(shot.traffic, Traffic::Tcp(_)) { vec![] } else { vec![told] };
        assert_eq!(outcome.refusals, expected, "{shot:?}");
    }
    assert_eq!(ground.dropped_at_sender(), 18);
    let lost = a.shoot(&[shot("2001:db8:ffff::1", Traffic::Echo, 1)], WAIT);
    assert!(lost.is_ok());
}

#[test]
fn a_host_with_several_addresses_answers_from_the_one_it_was_asked_at() {
    let ground = Ground::new("several");
    let more = ["2001:db8:2::77", "198.51.100.77"];
    ground.add_addresses_to_b(more);
    let (mut a, mut b) = ground.probes();
    b.listen(&OPEN).unwrap();
    for to in [[HOST, HOST_V4], more] {
        for outcome in a.shoot(&everything(to), WAIT).unwrap() {
            assert_eq!(outcome.answered, 3, "{to:?} {outcome:?}");
        }
    }
}

#[test]
fn more_than_is_allowed_is_refused() {
    let ground = Ground::new("limits");
    let (mut a, _) = ground.probes();
    let many: Vec<_> = (0..=SHOTS_MAX as u64).map(|nonce| shot(HOST, Traffic::Echo, nonce)).collect();
    let said = |result: Result<Vec<Outcome>, ProbeError>| match result {
        Err(ProbeError::Refused { reason }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(said(a.shoot(&many, WAIT)), "257 shots at once are more than 256");
    let long = Shot { count: COUNT_MAX + 1, ..many[0] };
    assert_eq!(said(a.shoot(&[long], WAIT)), "17 packets of one shot at once are more than 16");
    assert_eq!(said(a.shoot(&[many[0], many[0]], WAIT)), "nonce 0x0 is used twice");
    let outcomes = a.shoot(&many[..2], WAIT).expect("and the conversation goes on");
    assert_eq!(outcomes[1].answered, 3);
}

#[test]
fn nobody_at_the_socket_is_said_with_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let error = Client::connect(&folder.path().join("none")).unwrap_err();
    assert!(error.to_string().ends_with("/none"), "{error}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let ground = Ground::new("taken");
    let (mut a, _) = ground.probes();
    let (mut other, socket) = ground.another_probe_at_a();
    a.listen(&OPEN).unwrap();
    let error = other.listen(&OPEN[1..]).unwrap_err().to_string();
    assert!(error.contains("cannot listen for udp/9000: Address already in use"), "{error}");
    assert!(Client::connect(&socket).is_ok());
}

/// The same without privilege: root of a user namespace only. This test starts itself there again.
#[test]
fn works_as_root_of_a_user_namespace_only() {
    if std::env::var_os("SIXFOLD_PROBE_INSIDE").is_some() {
        return ground::inside(&everything(["::1", "127.0.0.1"]));
    }
    ground::start_inside("probe::tests::works_as_root_of_a_user_namespace_only");
}
