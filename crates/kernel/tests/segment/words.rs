//! What is said to others, what is not for us, and floods.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sixfold_core::mac::Mac;
use sixfold_kernel::segment::{Ask, Heard, Kind, Segment, Verdict, WORD_BYTES_MAX, Word};

use crate::ground::{alone, ip};
use crate::place::*;

const SOON: Duration = Duration::from_millis(300);

fn word(kind: Kind, text: &[u8]) -> Word {
    Word::new(kind, text.to_vec()).unwrap()
}

fn mac_of(machine: &str) -> Mac {
    ip(&format!("-n {machine} link show dev eth0"))[0]["address"].as_str().unwrap().parse().unwrap()
}

/// Reads for a while, and everything.
fn all_of(segment: &mut Segment) -> Heard {
    let (began, mut all) = (Instant::now(), Heard::default());
    while began.elapsed() < SOON {
        let heard = read_within(segment, Duration::from_millis(20));
        all.deaf |= heard.deaf;
        all.answers.extend(heard.answers);
        all.words.extend(heard.words);
    }
    all
}

#[test]
fn every_word_reaches_every_other_machine_whole_and_nobody_hears_itself() {
    alone(|| {
        segment();
        ["ant", "bee", "cat"].into_iter().for_each(machine);
        // A gateway on the NIC takes nothing away.
        set(&gateway("bee"), "up");
        let [mut ant, mut bee, mut cat] = ["ant", "bee", "cat"].map(listen);
        for segment in [&mut ant, &mut bee, &mut cat] {
            assert!(segment.read().unwrap().deaf, "what was before nobody knows");
        }
        let said = [
            word(Kind::Claim, &[0xc1; WORD_BYTES_MAX]),
            word(Kind::Question, b"do you yield?"),
            word(Kind::Reply, b"y"),
        ];
        said.iter().for_each(|word| ant.send(word).unwrap());
        let expected: Vec<_> = said.iter().map(|word| (mac_of("ant"), word.clone())).collect();
        for segment in [&mut bee, &mut cat] {
            let heard = all_of(segment);
            assert_eq!((heard.words, heard.deaf), (expected.clone(), false));
        }
        assert_eq!(all_of(&mut ant), Heard::default());
        bee.send(&said[0]).unwrap();
        bee.send(&said[0]).unwrap();
        std::thread::sleep(SOON);
        assert_eq!(ant.read().unwrap().words, [(mac_of("bee"), said[0].clone())], "repeated, told once");
    });
}

/// Ethernet's header and a word's, as somebody else would write them.
fn frame(types: &[u16], mark: &[u8], text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x03, 0x6f, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9];
    types.iter().for_each(|of| frame.extend(of.to_be_bytes()));
    frame.extend(mark);
    frame.extend(text);
    frame.resize(frame.len().max(60), 0);
    frame
}

#[test]
fn frames_of_a_vlan_of_others_and_damaged_ones_are_not_heard() {
    const RIGHT: &[u8] = b"6fld\x01\x01\x00\x02";
    alone(|| {
        segment();
        ["ant", "cat"].into_iter().for_each(machine);
        let (mut cat, stranger) = (listen("cat"), Stranger::at("ant"));
        cat.read().unwrap();
        // An advertisement for the slot's address, as the gateway itself sends it.
        let advertisement: Vec<u8> = [
            &[0x33, 0x33, 0, 0, 0, 1][..],
            &SLOT.0,
            &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255],
            &GATEWAY.octets(),
            &[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            &[136, 0, 0xb6, 0x2a, 0xa0, 0, 0, 0],
            &GATEWAY.octets(),
            &[2, 1],
            &SLOT.0,
        ]
        .concat();
        let tagged = |frame: &[u8], tag: [u8; 2]| [&frame[..12], &[0x81, 0], &tag, &frame[12..]].concat();
        let changed = |at: usize, octet: u8| {
            let mut frame = advertisement.clone();
            frame[at] = octet;
            frame
        };
        let word = frame(&[0x88b5], RIGHT, b"hi");
        let foreign = [
            tagged(&word, [0, 5]),
            tagged(&advertisement, [0, 5]),
            tagged(&tagged(&advertisement, [0, 5]), [0, 6]),
            frame(&[0x88b6], RIGHT, b"hi"),
            frame(&[0x88b5], b"7fld\x01\x01\x00\x02", b"hi"),
            frame(&[0x88b5], b"6fld\x02\x01\x00\x02", b"hi"),
            frame(&[0x88b5], b"6fld\x01\x04\x00\x02", b"hi"),
            frame(&[0x88b5], b"6fld\x01\x01\x00\x00", b"hi"),
            frame(&[0x88b5], b"6fld\x01\x01\x04\x00", b"less than it says"),
            frame(&[0x88b5], RIGHT, &[7; 1400]),
            changed(21, 64),   // hops
            changed(56, 0xb7), // sum
            changed(54, 135),  // a solicitation
        ];
        for (place, frame) in foreign.iter().enumerate() {
            stranger.say(frame);
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(cat.read().unwrap(), Heard::default(), "frame {place}");
        }
        stranger.say(&word);
        stranger.say(&advertisement);
        // A tag that only tells a priority is no VLAN's.
        stranger.say(&tagged(&frame(&[0x88b5], RIGHT, b"ho"), [0xe0, 0]));
        let heard = all_of(&mut cat);
        let texts: Vec<&[u8]> = heard.words.iter().map(|(_, word)| word.bytes()).collect();
        assert_eq!(texts, [b"hi", b"ho"]);
        let [answer] = heard.answers[..] else { panic!("{:?}", heard.answers) };
        assert_eq!((answer.address, answer.from), (GATEWAY, SLOT));
    });
}

#[test]
fn a_flood_costs_each_reading_as_much_and_is_never_taken_for_silence() {
    const FRAMES: u16 = 5_000;
    alone(|| {
        segment();
        ["ant", "bee", "cat"].into_iter().for_each(machine);
        set(&gateway("bee"), "up");
        let (mut cat, mut ant) = (listen("cat"), listen("ant"));
        while cat.read().unwrap() != Heard::default() {}
        // Words first: they drown no answer.
        for number in 0..FRAMES {
            ant.send(&word(Kind::Claim, &number.to_be_bytes())).unwrap();
        }
        // What waits between the machines is drawn first: the kernel's backlog would drop the question itself.
        std::thread::sleep(SOON);
        cat.ask(Ask::Gateway(GATEWAY)).unwrap();
        std::thread::sleep(SOON);
        let began = Instant::now();
        let heard = cat.read().unwrap();
        println!("a reading of a flood takes {:.0?}", began.elapsed());
        assert_eq!((heard.words.len(), heard.deaf), (64, false));
        assert_eq!(heard.answers.len(), 1, "beside the flood");
        let mut more = BTreeSet::new();
        wait_until(|| {
            let heard = cat.read().unwrap();
            more.extend(heard.words.iter().map(|(_, word)| word.bytes().to_vec()));
            heard.words.is_empty()
        });
        println!("of {FRAMES} words {} had room", more.len() + 64);
        assert!(more.len() + 64 < FRAMES.into(), "what waits is bounded");

        // Then answers that nobody asked for: one that was may be lost among them, and that is said.
        let addresses = |number: u16| [format!("fe80::dead:{number:x}").parse().unwrap()];
        for number in 0..FRAMES {
            ant.announce(SLOT, &addresses(number)).unwrap();
        }
        std::thread::sleep(SOON);
        let heard = cat.read().unwrap();
        assert!(heard.deaf && heard.answers.len() < usize::from(FRAMES), "{}", heard.answers.len());
        while cat.read().unwrap() != Heard::default() {}
        assert_eq!(find_out(&mut cat, Ask::Gateway(GATEWAY)).0, Verdict::Answers);

        // A crowd that has room: what was asked for behind it is heard by the same reading.
        for number in 0..200 {
            ant.announce(SLOT, &addresses(number)).unwrap();
        }
        cat.ask(Ask::Gateway(GATEWAY)).unwrap();
        std::thread::sleep(SOON);
        let heard = cat.read().unwrap();
        assert!(!heard.deaf && heard.answers.iter().any(|answer| answer.address == GATEWAY), "{heard:?}");
    });
}
