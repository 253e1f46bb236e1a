//! What the unprivileged half of an agent sends to the other and is sent by it, and what is kept on disk of it.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sixfold_agent::remote::frame::{Answer, Begin, Decoder, Down, Errand, Link, Message, Place, Up};
use sixfold_agent::remote::kept::{Kept, Shown};
use sixfold_agent::store::{Store, decode};
use sixfold_core::id::Revision;
use sixfold_core::trust::{Difference, Parts, Seen, Signature};
use sixfold_fuzz::{bytes_of, proofs, registry};

static SHOWN: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| vec![serde_json::to_vec(&proofs()).expect("its keys are all strings")]);

static DIFFERENCE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let none = std::collections::BTreeSet::new();
    let difference = Difference::between(&none, Parts::of(&proofs()), Revision(7));
    vec![serde_json::to_vec(&difference).expect("its keys are all strings")]
});

static KEPT: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a folder for a while");
    let store = Store::<Kept>::of(dir.path()).expect("it is ours");
    let shown = Shown::read(SHOWN[0].clone()).expect("they are good");
    store.save(&Kept::new(shown, Seen::default())).expect("it is ours");
    vec![std::fs::read(dir.path().join("proofs.a")).expect("it was saved")]
});

static UP: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let link = Link { fault: Some("nobody is there".to_owned()), received_bytes: 7 };
    let answers = [Ok(Revision(7)), Err("refused".to_owned())];
    let answers = answers.into_iter().map(|outcome| Up::Answer(Answer { id: 3, outcome }));
    let all =
        [Up::Link(link), Up::Proofs(SHOWN[0].clone()), Up::Sign(vec![1; 98])].into_iter().chain(answers);
    all.map(|message| message.frame()).collect()
});

static DOWN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let key = registry().verifying();
    let begin = Begin {
        registry: "sixfold://GX9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE@[2001:db8::1]:7443"
            .parse()
            .expect("an address"),
        node: "ant".parse().expect("a label"),
        key,
        certificate: vec![0x30; 40],
        session: "7-00000000000000aa".to_owned(),
    };
    let errand = |place| Down::Errand(Errand { id: 3, place, body: "{}".to_owned() });
    let all = [
        Down::Begin(Box::new(begin)),
        errand(Place::Devices),
        errand(Place::Status),
        Down::Signature(Some(Signature([7; 64]))),
        Down::Signature(None),
    ];
    let frames: Vec<Vec<u8>> = all.iter().map(Message::frame).collect();
    frames.iter().cloned().chain([frames.concat()]).collect()
});

/// Everything that bytes say until they say nothing; the same in one piece and in many, and written as it was read.
fn told<T: Message + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let all = |piece: usize| {
        let (mut decoder, mut told) = (Decoder::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            decoder.push(piece);
            loop {
                match decoder.take::<T>() {
                    Ok(Some(message)) => told.push(message),
                    Ok(None) => break,
                    Err(_) => return told,
                }
            }
        }
        told
    };
    let told = all(bytes.len().max(1));
    assert_eq!(all(7), told);
    for message in told {
        let mut decoder = Decoder::default();
        decoder.push(&message.frame());
        assert_eq!(decoder.take::<T>().ok().flatten(), Some(message));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, change)) = data.split_first() else { return };
    match kind % 8 {
        0 | 1 => told::<Up>(&bytes_of(&UP, change)),
        2 | 3 => told::<Down>(&bytes_of(&DOWN, change)),
        4 => {
            if let Ok((difference, _)) = Difference::read(&bytes_of(&DIFFERENCE, change)) {
                let _ = difference.onto(&proofs());
            }
        }
        5 => drop(Shown::read(bytes_of(&SHOWN, change))),
        _ => {
            if let Ok((_, kept)) = decode::<Kept>(Path::new("proofs.a"), &bytes_of(&KEPT, change)) {
                let shown = Shown::read(kept.shown().to_vec()).expect("it was read");
                assert_eq!(Kept::new(shown, kept.seen.clone()).proofs, kept.proofs);
            }
        }
    }
});
