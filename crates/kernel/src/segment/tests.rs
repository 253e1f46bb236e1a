//! Frames and conclusions, without a segment.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::frame::{ALL_NODES, Way, icmpv6};
use super::*;

const NIC: Mac = Mac([0x02, 0x6f, 0x19, 0xbb, 0x00, 0x09]);
const SLOT: Mac = Mac([0x02, 0x6f, 0x00, 0x01, 0x01, 0x01]);
const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x1000, 0, 0, 1);

fn hex(frame: &[u8]) -> String {
    frame.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Written out by hand from the RFCs. tcpdump reads the same out of these bytes, and finds the checksums right.
#[test]
fn each_question_and_announcement_is_as_the_rfcs_have_it() {
    let gateway = solicit::solicit(Ask::Gateway(GATEWAY), NIC);
    assert_eq!(
        hex(&gateway),
        [
            "3333ff000001026f19bb000986dd", // to the group of the address, in Ethernet
            "6000000000183aff",             // 24 bytes of ICMPv6, 255 hops
            "00000000000000000000000000000000",
            "ff0200000000000000000001ff000001",
            "87006c2500000000", // solicitation
            "fe800000000000001000000000000001",
        ]
        .concat()
    );
    let router = solicit::solicit(Ask::Router("fe80::1".parse().unwrap()), NIC);
    assert_eq!(
        hex(&router),
        [
            "3333ff000001026f19bb000986dd",
            "6000000000203aff",
            "fe80000000000000006f19fffebb0009",
            "ff0200000000000000000001ff000001",
            "8700473500000000",
            "fe800000000000000000000000000001",
            "0101026f19bb0009", // and whose hardware address asks
        ]
        .concat()
    );
    let frames: Vec<_> =
        announce::frames(SLOT, &[GATEWAY.into(), Ipv4Addr::new(203, 0, 113, 5).into()]).collect();
    assert_eq!(
        (frames[0].0, hex(&frames[0].1)),
        (
            0x86dd,
            [
                "333300000001026f0001010186dd",
                "6000000000203aff",
                "fe800000000000001000000000000001",
                "ff020000000000000000000000000001",
                "8800b62aa0000000", // advertisement: a router's, unasked, overriding
                "fe800000000000001000000000000001",
                "0201026f00010101",
            ]
            .concat()
        )
    );
    assert_eq!(
        (frames[1].0, hex(&frames[1].1)),
        (
            0x0806,
            [
                "ffffffffffff026f000101010806",
                "0001080006040001",
                "026f00010101cb007105",
                "000000000000cb007105",
                &"00".repeat(18), // to Ethernet's least
            ]
            .concat()
        )
    );
}

#[test]
fn an_advertisement_is_believed_only_if_it_is_a_valid_one() {
    let advertisement = |flags: u8, target: Ipv6Addr, options: &[u8], ends: (Ipv6Addr, Ipv6Addr)| {
        let mut message = vec![136, 0, 0, 0, flags, 0, 0, 0];
        message.extend(target.octets());
        message.extend(options);
        let macs = Way { from: SLOT, to: frame::ALL_NODES_MAC };
        solicit::decode(&icmpv6(macs, Way { from: ends.0, to: ends.1 }, message))
    };
    let (me, all) = ("fe80::9".parse().unwrap(), (GATEWAY, ALL_NODES));
    let right = Some(Answer { address: GATEWAY, from: SLOT });
    let target = [2, 1, 2, 0x6f, 0, 1, 1, 1];
    assert_eq!(advertisement(0xa0, GATEWAY, &target, all), right);
    assert_eq!(advertisement(0, GATEWAY, &[], all), right);
    assert_eq!(advertisement(0xe0, GATEWAY, &target, (GATEWAY, me)), right, "asked by this node");
    assert_eq!(advertisement(0xe0, GATEWAY, &target, all), None, "asked for, and told to all");
    assert_eq!(advertisement(0xa0, ALL_NODES, &target, all), None, "a group has no owner");
    assert_eq!(advertisement(0xa0, Ipv6Addr::UNSPECIFIED, &target, all), None);
    assert_eq!(advertisement(0xa0, GATEWAY, &target, (Ipv6Addr::UNSPECIFIED, ALL_NODES)), None);
    assert_eq!(advertisement(0xa0, GATEWAY, &target, (ALL_NODES, ALL_NODES)), None);
    for options in [&target[..7], &[2, 0, 0, 0, 0, 0, 0, 0], &[2, 2, 0, 0, 0, 0, 0, 0], &[2]] {
        assert_eq!(advertisement(0xa0, GATEWAY, options, all), None, "{options:?}");
    }
}

#[test]
fn an_advertisement_from_beyond_a_router_or_behind_another_header_is_none() {
    let good = solicit::advertise(GATEWAY, SLOT);
    let with = |at: usize, octet: u8| {
        let mut frame = good.clone();
        frame[at] = octet;
        solicit::decode(&frame)
    };
    assert_eq!(with(21, 255), Some(Answer { address: GATEWAY, from: SLOT }));
    assert_eq!(with(21, 254), None, "hops");
    assert_eq!(with(20, 0), None, "hop-by-hop options first");
    assert_eq!(with(14, 0x40), None, "IPv4");
    assert_eq!(with(12, 0x81), None, "a VLAN's tag");
    let mut padded = good.clone();
    padded.extend([0xff; 6]);
    assert!(solicit::decode(&padded).is_some(), "what Ethernet adds is not the packet's");
}

#[test]
fn a_word_has_a_least_and_a_most() {
    assert_eq!(Word::new(Kind::Claim, Vec::new()), Err(WordError { length: 0 }));
    assert_eq!(Word::new(Kind::Claim, vec![0; 1025]), Err(WordError { length: 1025 }));
    assert!(Word::new(Kind::Claim, vec![0; 1024]).is_ok());
}

fn any_word() -> impl Strategy<Value = Word> {
    let kinds = prop::sample::select(vec![Kind::Claim, Kind::Question, Kind::Reply]);
    (kinds, prop::collection::vec(any::<u8>(), 1..=WORD_BYTES_MAX))
        .prop_map(|(kind, bytes)| Word::new(kind, bytes).unwrap())
}

fn any_ask() -> impl Strategy<Value = Ask> {
    (any::<u128>(), any::<bool>()).prop_map(|(address, router)| {
        let address = Ipv6Addr::from(address);
        if router { Ask::Router(address) } else { Ask::Gateway(address) }
    })
}

proptest! {
    #[test]
    fn every_word_is_heard_as_it_was_said(word in any_word(), nic: [u8; 6], padding in 0_usize..64) {
        let mut frame = word::encode(&word, Mac(nic));
        let whole = frame.len();
        prop_assert_eq!(word::decode(&frame[..whole.min(22 + word.bytes().len()) - 1]), None);
        frame.resize(whole + padding, 0xaa);
        prop_assert_eq!(word::decode(&frame), Some((Mac(nic), word)));
    }

    #[test]
    fn whatever_comes_is_an_answer_a_word_or_nothing(frame in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (solicit::decode(&frame), word::decode(&frame));
    }

    /// Mutations reach further into the readers than random bytes.
    #[test]
    fn no_damage_of_an_answer_goes_unseen_where_it_is_summed(at in 22_usize..86, octet: u8, end in 0_usize..=86) {
        let good = solicit::advertise(GATEWAY, SLOT);
        let mut bad = good.clone();
        bad[at] = octet;
        prop_assert_eq!(solicit::decode(&bad).is_some(), bad == good);
        prop_assert_eq!(solicit::decode(&good[..end]).is_some(), end == good.len());
        let mut word = word::encode(&Word::new(Kind::Claim, vec![7; 80]).unwrap(), NIC);
        word[at] = octet;
        let _ = word::decode(&word[..end]);
    }

    #[test]
    fn no_question_is_an_answer_and_every_one_has_a_right_sum(ask in any_ask(), nic: [u8; 6]) {
        let frame = solicit::solicit(ask, Mac(nic));
        prop_assert_eq!(solicit::decode(&frame), None);
        let (from, _, message) = frame::read_icmpv6(&frame).expect("undamaged");
        prop_assert_eq!((from, message[0]), (Mac(nic), 135));
    }

    #[test]
    fn every_address_that_can_be_somebodys_is_heard_when_it_is_announced(address: u128, mac: [u8; 6]) {
        let address = Ipv6Addr::from(address);
        prop_assume!(!address.is_multicast() && !address.is_unspecified());
        let (_, frame) = announce::frames(Mac(mac), &[IpAddr::V6(address)]).next().unwrap();
        prop_assert_eq!(solicit::decode(&frame), Some(Answer { address, from: Mac(mac) }));
    }
}

const PATIENCE: Patience =
    Patience { asks: 3, wait: Duration::from_millis(100), lasts: Duration::from_secs(5) };

fn at(milliseconds: u64) -> Instant {
    static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    *BEGAN + Duration::from_millis(milliseconds)
}

#[test]
fn silence_takes_all_questions_and_the_time_of_each() {
    let mut hearing = Hearing::new(PATIENCE);
    assert_eq!(hearing.verdict(at(60_000)), Verdict::Unknown, "never asked");
    let mut hearing = Hearing::new(PATIENCE);
    for asked in [0, 10, 20] {
        hearing.asked(at(asked));
    }
    assert_eq!(hearing.verdict(at(119)), Verdict::Unknown, "the last one still waits");
    assert_eq!(hearing.verdict(at(120)), Verdict::Silent);
    assert_eq!(hearing.verdict(at(5_120)), Verdict::Silent);
    assert_eq!(hearing.verdict(at(5_121)), Verdict::Unknown, "of long ago");
    hearing.asked(at(6_000));
    assert_eq!(hearing.verdict(at(6_100)), Verdict::Silent, "and nobody has answered since");
}

#[test]
fn an_answer_counts_until_silence_or_for_its_time() {
    let mut hearing = Hearing::new(PATIENCE);
    hearing.asked(at(0));
    hearing.answered(at(1));
    assert_eq!(hearing.verdict(at(1)), Verdict::Answers);
    hearing.asked(at(1_000));
    hearing.asked(at(2_000));
    assert_eq!(hearing.verdict(at(2_999)), Verdict::Answers, "two of three");
    hearing.asked(at(3_000));
    assert_eq!(hearing.verdict(at(3_099)), Verdict::Answers);
    assert_eq!(hearing.verdict(at(3_100)), Verdict::Silent);
    hearing.answered(at(3_200));
    assert_eq!(hearing.verdict(at(3_200)), Verdict::Answers, "unasked, and heard all the same");
    assert_eq!(hearing.verdict(at(8_200)), Verdict::Answers);
    assert_eq!(hearing.verdict(at(8_201)), Verdict::Unknown, "of long ago");
}

#[test]
fn what_was_missed_is_no_silence_and_what_was_heard_was_heard() {
    let mut hearing = Hearing::new(PATIENCE);
    [0, 100, 200].into_iter().for_each(|asked| hearing.asked(at(asked)));
    hearing.deaf();
    assert_eq!(hearing.verdict(at(300)), Verdict::Unknown);
    [300, 400, 500].into_iter().for_each(|asked| hearing.asked(at(asked)));
    assert_eq!(hearing.verdict(at(600)), Verdict::Silent);
    hearing.answered(at(700));
    hearing.deaf();
    assert_eq!(hearing.verdict(at(700)), Verdict::Answers);
}

#[derive(Debug, Clone)]
enum Event {
    Asked,
    Answered,
    Deaf,
    Pass(u64),
}

proptest! {
    /// Against the whole story, which [`Hearing`] does not keep.
    #[test]
    fn the_verdict_is_what_the_whole_story_says(events in prop::collection::vec(prop_oneof![
        4 => Just(Event::Asked), 1 => Just(Event::Answered), 1 => Just(Event::Deaf), 6 => (0_u64..400).prop_map(Event::Pass),
        1 => (4_000_u64..6_000).prop_map(Event::Pass),
    ], 0..60)) {
        let (mut hearing, mut now) = (Hearing::new(PATIENCE), 0);
        let (mut asked, mut answered, mut waiting) = (Vec::new(), None, 0);
        for event in events {
            match event {
                Event::Pass(time) => now += time,
                Event::Asked => {
                    hearing.asked(at(now));
                    asked.retain(|ask: &(u64, bool)| ask.1 || now - ask.0 < 1_000_000);
                    waiting = asked.iter().filter(|(ask, _)| ask + 100 > now).count();
                    if waiting < 16 {
                        asked.push((now, true));
                    }
                }
                Event::Answered => {
                    hearing.answered(at(now));
                    answered = Some(now);
                    asked.clear();
                }
                Event::Deaf => {
                    hearing.deaf();
                    asked.clear();
                }
            }
            let over: Vec<u64> = asked.iter().map(|(ask, _)| ask + 100).filter(|over| *over <= now).collect();
            let expected = if over.len() >= 3 {
                if now - over[over.len() - 1] <= 5_000 { Verdict::Silent } else { Verdict::Unknown }
            } else if answered.is_some_and(|then| now - then <= 5_000) {
                Verdict::Answers
            } else {
                Verdict::Unknown
            };
            prop_assert_eq!(hearing.verdict(at(now)), expected, "at {}, {} waiting", now, waiting);
        }
    }
}

#[test]
fn announcements_are_many_at_first_and_never_end() {
    let mut repeats = Repeats::new(at(0));
    let mut times = Vec::new();
    for _ in 0..10 {
        times.push(repeats.next().duration_since(at(0)).as_millis());
        repeats.sent(repeats.next());
    }
    assert_eq!(times, [0, 50, 250, 1_100, 3_000, 10_000, 31_000, 91_000, 151_000, 211_000]);
}

#[test]
fn late_announcements_are_not_made_up_for() {
    let mut repeats = Repeats::new(at(0));
    repeats.sent(at(2_000));
    assert_eq!(repeats.next(), at(3_000));
    repeats.sent(at(100_000));
    assert_eq!(repeats.next(), at(160_000));
}
