//! Transactions against the real kernel: what is done already, what is refused, what others did by hand. Needs root
//! and nft.

#![allow(clippy::unwrap_used)] // a test's unwrap is its assertion

mod nft_ground;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nft_ground::*;
use nix::libc;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sixfold_core::plan::Op;
use sixfold_core::state::*;
use sixfold_kernel::nft::{self, NftError, NftSocket};

fn socket() -> NftSocket {
    NftSocket::open().unwrap()
}

fn observed(socket: &mut NftSocket) -> Firewall {
    nft::observe(socket).unwrap().expect("the table is there")
}

fn errors(socket: &mut NftSocket, ops: &[Op]) -> Vec<(usize, NftError)> {
    nft::apply(socket, &ops.iter().collect::<Vec<_>>()).expect_err("the kernel refuses it")
}

fn element(name: &str, element: Element) -> ElementKey {
    ElementKey { set: set(name), element }
}

#[test]
fn every_operation_may_be_done_twice() {
    in_namespace(|| {
        let mut socket = socket();
        let build = ops(Some(&everything()), None);
        apply(&mut socket, &build);
        for op in &build {
            apply(&mut socket, std::slice::from_ref(op));
        }
        apply(&mut socket, &build);
        assert_eq!(observed(&mut socket), everything());
        let mut bare = Firewall::default();
        bare.sets.insert(set("ports"), Set { kind: SetKind::Ports });
        let strip = ops(Some(&bare), Some(&everything()));
        apply(&mut socket, &strip);
        apply(&mut socket, &strip);
        assert_eq!(observed(&mut socket), bare);
        apply(&mut socket, &[Op::DelTable]);
        apply(&mut socket, &[Op::DelTable]);
        assert_eq!(nft::observe(&mut socket).unwrap(), None);
    });
}

#[test]
fn deleting_what_is_not_there_is_done_already() {
    in_namespace(|| {
        let mut socket = socket();
        let absent = [
            Op::DelChain { name: ChainName("none".into()) },
            Op::DelElement(element("none", Element::Port(1))),
            Op::DelSet { name: set("none") },
        ];
        apply(&mut socket, &absent);
        let before = nft::generation(&mut socket).unwrap();
        apply(&mut socket, &[Op::DelTable]);
        assert_eq!(nft::generation(&mut socket).unwrap(), before, "nothing to do is not sent");
        bring(&mut socket, &everything());
        apply(&mut socket, &absent);
        apply(&mut socket, &[Op::DelElement(element("ports", Element::Port(1)))]);
        assert_eq!(observed(&mut socket), everything());
    });
}

#[test]
fn a_refused_transaction_names_its_operations_and_changes_nothing() {
    in_namespace(|| {
        let mut socket = socket();
        bring(&mut socket, &everything());
        let dangling = vec![rule(vec![Match::SourceIn(set("none"), Family::Ipv6)], Action::Accept, "x")];
        let batch = [
            Op::AddElement(element("ports", Element::Port(1))),
            Op::AddElement(element("ports", Element::Prefix("2001:db8::/32".parse().unwrap()))),
            Op::AddElement(element("ports", Element::Port(2))),
            Op::AddElement(element("none", Element::Port(2))),
            Op::SetChain { name: ChainName("output".into()), chain: chain(HookPoint::Output, 0, dangling) },
            Op::DelSet { name: set("members") },
        ];
        let found = errors(&mut socket, &batch);
        let told: Vec<_> = found.iter().map(|(op, error)| (*op, error.errno())).collect();
        let expected = [(1, libc::EINVAL), (3, libc::ENOENT), (4, libc::ENOENT), (5, libc::EBUSY)]
            .map(|(i, e)| (i, Some(e)));
        assert_eq!(told, expected);
        assert_eq!(observed(&mut socket), everything());
    });
}

#[test]
fn another_kind_or_hook_under_the_same_name_is_refused() {
    in_namespace(|| {
        let mut socket = socket();
        bring(&mut socket, &everything());
        let kind = Op::AddSet { name: set("ports"), set: Set { kind: SetKind::Prefixes } };
        assert_eq!(errors(&mut socket, &[kind])[0].1.errno(), Some(libc::EEXIST));
        let moved = chain(HookPoint::Forward, 7, vec![]);
        let hook = Op::SetChain { name: ChainName("forward".into()), chain: moved };
        // EOPNOTSUPP here; kernels have not always said the same.
        assert!(matches!(errors(&mut socket, &[hook])[..], [(0, NftError::Refused { .. })]));
        assert_eq!(observed(&mut socket), everything());
    });
}

#[test]
fn what_cannot_be_written_is_not_sent() {
    in_namespace(|| {
        let mut socket = socket();
        bring(&mut socket, &everything());
        let long = rule(vec![], Action::Accept, &"x".repeat(nft::COMMENT_BYTES_MAX + 1));
        let set_chain = |rules| Op::SetChain {
            name: ChainName("output".into()),
            chain: chain(HookPoint::Output, 0, rules),
        };
        let batch = [
            set_chain(vec![long]),
            set_chain(vec![rule(vec![Match::Unknown(vec![1])], Action::Accept, "")]),
            set_chain(vec![rule(vec![], Action::Unknown(vec![]), "")]),
            set_chain(vec![rule(vec![Match::TcpSyn; 21], Action::Accept, "")]),
            Op::AddElement(element(&"x".repeat(256), Element::Port(1))),
            Op::AddNetns,
        ];
        let found = errors(&mut socket, &batch);
        assert!(matches!(found[0], (0, NftError::Comment { bytes: 254 })), "{found:?}");
        assert!(matches!(found[1], (1, NftError::Unwritable)));
        assert!(matches!(found[2], (2, NftError::Unwritable)));
        assert!(matches!(found[3], (3, NftError::Length { matches: 21 })));
        assert!(matches!(found[4], (4, NftError::Name { bytes: 256 })));
        assert!(matches!(found[5], (5, NftError::Foreign)));
        let longest = rule(vec![Match::TcpSyn; 20], Action::Accept, &"x".repeat(nft::COMMENT_BYTES_MAX));
        apply(&mut socket, &[set_chain(vec![longest.clone()])]);
        assert_eq!(observed(&mut socket).chains[&ChainName("output".into())].rules.as_slice(), [longest]);
    });
}

/// What a person or another program may have done to our table: each is seen, and mended by the plan.
#[test]
fn whatever_was_done_by_hand_is_seen_and_undone() {
    let hand = [
        "add rule inet sixfold forward tcp dport 22 accept",
        "insert rule inet sixfold forward counter accept comment \"let me in\"",
        "flush chain inet sixfold forward",
        "add rule inet sixfold input ip6 saddr { 2001:db8::5, 2001:db8::7-2001:db8::9 } counter accept",
        "add chain inet sixfold side; add rule inet sixfold side accept; insert rule inet sixfold forward jump side",
        "insert rule inet sixfold forward jump { tcp dport 22 accept; }",
        "add chain inet sixfold early { type filter hook prerouting priority -500; policy drop; }",
        "chain inet sixfold forward { policy drop; }",
        "chain inet sixfold output { policy drop; }",
        "add element inet sixfold members { 2001:db8:f000::1-2001:db8:f000::9 }",
        "add element inet sixfold members { 2002::1-2002::9, 3000::/64 }",
        "delete element inet sixfold members { ff00::/8 }",
        "add element inet sixfold services { 2001:db8::2 . sctp . 7 }",
        "add element inet sixfold members_v4 { 10.0.0.1-10.0.0.7 }",
        "add set inet sixfold more { type ether_addr; elements = { 00:00:5e:00:53:01 } }",
        "add map inet sixfold verdicts { type ifname : verdict; elements = { \"x\" : drop } }",
        "delete chain inet sixfold output",
        "add table inet sixfold { flags dormant; }",
        "delete table inet sixfold; add table inet sixfold",
        "delete table inet sixfold; table inet sixfold { set ports { type inet_service; size 2; }; }",
        "delete chain inet sixfold output; add chain inet sixfold output",
        "delete chain inet sixfold output; add chain inet sixfold output { type route hook output priority 0; }",
        "delete chain inet sixfold output; add chain inet sixfold output { type filter hook output priority 5; }",
    ];
    for text in hand {
        in_namespace(move || {
            let mut socket = socket();
            bring(&mut socket, &everything());
            // An overlap is refused to a person too: then there is nothing to see.
            let done = std::panic::catch_unwind(|| load(text));
            if text.contains("2001:db8:f000") {
                assert!(done.is_err(), "{text}");
                return;
            }
            done.unwrap_or_else(|_| panic!("nft refuses {text}"));
            assert_ne!(nft::observe(&mut socket).unwrap(), Some(everything()), "{text}");
            bring(&mut socket, &everything());
            assert_eq!(observed(&mut socket), everything(), "{text}");
        });
    }
}

#[test]
fn tables_of_others_are_neither_seen_nor_touched() {
    in_namespace(|| {
        let mut socket = socket();
        load("table inet other { set s { type inet_service; elements = { 1 }; }; chain c { accept; }; }");
        load("table ip6 sixfold { chain c { accept; }; }");
        let before = nft("list ruleset");
        assert_eq!(nft::observe(&mut socket).unwrap(), None);
        bring(&mut socket, &everything());
        assert_eq!(observed(&mut socket), everything());
        apply(&mut socket, &[Op::DelTable]);
        assert_eq!(nft("list ruleset"), before);
    });
}

/// While another keeps committing, deletions are looked up anew, and observations are of one piece.
#[test]
fn another_at_work_in_the_same_namespace_does_no_harm() {
    in_namespace(|| {
        let mut socket = socket();
        bring(&mut socket, &everything());
        let mut other = NftSocket::open().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let busy = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let key = ElementKey { set: SetName("ports".into()), element: Element::Port(9) };
            let mut turns = 0_u32;
            while !busy.load(Ordering::Relaxed) {
                let op = if turns.is_multiple_of(2) {
                    Op::AddElement(key.clone())
                } else {
                    Op::DelElement(key.clone())
                };
                apply(&mut other, &[op]);
                turns += 1;
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            apply(&mut other, &[Op::DelElement(key)]);
            turns
        });
        let port = element("ports", Element::Port(7));
        for _ in 0..200 {
            apply(&mut socket, &[Op::AddElement(port.clone())]);
            assert!(observed(&mut socket).elements.contains_key(&port));
            apply(&mut socket, &[Op::DelElement(port.clone())]);
            assert!(!observed(&mut socket).elements.contains_key(&port));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(thread.join().unwrap() > 10);
        assert_eq!(observed(&mut socket), everything());
    });
}

#[test]
fn a_large_table_goes_in_one_transaction() {
    in_namespace(|| {
        let mut socket = socket();
        let mut large = Firewall::default();
        let nth = |i: u32| {
            let address = 0x2001_0db8_u128 << 96 | u128::from(i) << 64;
            Element::Prefix(ipnet::Ipv6Net::new(address.into(), 64).unwrap().into())
        };
        fill(&mut large, "members", SetKind::Prefixes, (0..20_000).map(nth).collect());
        let rules =
            (0..500).map(|i| rule(vec![Match::TcpSyn], Action::Accept, &format!("rule {i}"))).collect();
        put(&mut large, "forward", chain(HookPoint::Forward, 0, rules));
        let before = nft::generation(&mut socket).unwrap();
        bring(&mut socket, &large);
        assert_eq!(nft::generation(&mut socket).unwrap(), before + 1);
        assert_eq!(observed(&mut socket), large);
        let less = Firewall { elements: std::collections::BTreeMap::new(), ..large.clone() };
        bring(&mut socket, &less);
        assert_eq!(observed(&mut socket), less);
    });
}

/// A set of disjoint prefixes: from a random binary partition of the space, some leaves.
fn disjoint(v6: bool) -> impl Strategy<Value = Vec<Element>> {
    let full: u8 = if v6 { 128 } else { 32 };
    prop::collection::vec(any::<(u128, u8, bool)>(), 0..12).prop_map(move |cuts| {
        let root: ipnet::IpNet = if v6 { "::/0" } else { "0.0.0.0/0" }.parse().unwrap();
        let mut leaves = vec![(root, true)];
        for (pick, depth, keep) in cuts {
            let at = usize::try_from(pick % leaves.len() as u128).unwrap();
            let (leaf, _) = leaves[at];
            let len = leaf.prefix_len().saturating_add(1 + depth % 40).min(full);
            if len == leaf.prefix_len() {
                continue;
            }
            // One deep cut leaves siblings on the way down, half of them kept: touching and not.
            leaves.remove(at);
            let mut rest = leaf;
            while rest.prefix_len() < len {
                let halves: Vec<_> = rest.subnets(rest.prefix_len() + 1).unwrap().collect();
                let low = pick >> (rest.prefix_len() % 100) & 1 == 0;
                leaves.push((halves[usize::from(low)], keep ^ (rest.prefix_len() % 3 == 0)));
                rest = halves[usize::from(!low)];
            }
            leaves.push((rest, true));
        }
        leaves.into_iter().filter(|(_, keep)| *keep).map(|(net, _)| Element::Prefix(net)).collect()
    })
}

/// From any set of prefixes to any other in one transaction, touching, overlapping the old, at either end of the space.
#[test]
fn any_prefixes_follow_any_others() {
    in_namespace(|| {
        let mut socket = socket();
        let cell = std::cell::RefCell::new(&mut socket);
        let mut runner =
            TestRunner::new(ProptestConfig { cases: 150, failure_persistence: None, ..Default::default() });
        let sets = (disjoint(true), disjoint(false));
        runner
            .run(&sets, |(v6, v4)| {
                let socket = &mut **cell.borrow_mut();
                let mut want = Firewall::default();
                fill(&mut want, "members", SetKind::Prefixes, v6);
                fill(&mut want, "members_v4", SetKind::PrefixesV4, v4);
                bring(socket, &want);
                prop_assert_eq!(observed(socket), want);
                Ok(())
            })
            .unwrap();
    });
}
