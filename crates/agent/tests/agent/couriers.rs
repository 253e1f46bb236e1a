//! The two halves of an agent: what they say to each other, and what the one with the key signs for the other.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use sixfold_agent::remote::frame::{Answer, Decoder, Down, Errand, FrameError, Link, Message, Place, Up};
use sixfold_agent::remote::{Setup, guard};
use sixfold_agent::run::Agent;
use sixfold_core::id::Revision;
use sixfold_core::trust::{NodeStatement, Role, Signature, Signed};

use super::realm::{Realm, key, until};
use super::support::{Shared, ground, places};

/// What a TLS 1.3 client signs (RFC 8446, 4.4.3), over a transcript's hash.
fn certificate_verify(hash: &[u8]) -> Vec<u8> {
    [&[0x20; 64][..], b"TLS 1.3, client CertificateVerify", &[0], hash].concat()
}

#[test]
fn nothing_is_signed_but_the_proof_of_the_key_to_a_tls_server() {
    let key = key(Role::Node, "ant");
    for length in [32, 48] {
        let message = certificate_verify(&vec![7; length]);
        let signature = guard::sign(&key, &message).expect("a client signs this");
        assert!(key.verifying().verifies(&message, &signature));
    }
    let right = certificate_verify(&[7; 32]);
    let mut refused: Vec<Vec<u8>> = [0, 1, 31, 33, 47, 49, 64, 4096]
        .into_iter()
        .map(|length| certificate_verify(&vec![7; length]))
        .collect();
    refused.push(Vec::new());
    refused.push(right[1..].to_vec());
    refused.push([&[0x20][..], &right].concat());
    refused.push([&[0x20; 64][..], b"TLS 1.3, server CertificateVerify\0", &[7; 32]].concat());
    refused.push([&[0x21; 64][..], &right[64..]].concat());
    // Each byte before the hash counts.
    refused.extend((0..98).map(|at| {
        let mut other = right.clone();
        other[at] ^= 1;
        other
    }));
    for statement in ["node", "device", "network", "farm", "group", "token", "leaving", "rotation", "confirm"]
    {
        refused.push([format!("sixfold/v1/{statement}\0").as_bytes(), &[0; 99]].concat());
    }
    for message in refused {
        assert_eq!(guard::sign(&key, &message), None, "{:?}", String::from_utf8_lossy(&message));
    }
}

/// Asks the agent's half to sign, as a courier does.
fn ask(sign: &mut std::os::unix::net::UnixStream, message: Vec<u8>) -> Option<Signature> {
    sign.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    sign.write_all(&Up::Sign(message).frame()).unwrap();
    let mut decoder = Decoder::default();
    let mut piece = [0; 256];
    loop {
        if let Some(answer) = decoder.take().unwrap() {
            let Down::Signature(signature) = answer else { panic!("{answer:?}") };
            return signature;
        }
        let count = sign.read(&mut piece).unwrap();
        assert!(count > 0, "the agent hung up without an answer");
        decoder.push(&piece[..count]);
    }
}

#[test]
fn a_courier_that_asks_to_sign_anything_else_is_parted_with() {
    let (realm, kernel, dir) = (Realm::of_first_farm(), Shared::new(), tempfile::tempdir().unwrap());
    let (_agent, mut courier) = realm.agent(dir.path(), "ant", &kernel);
    assert_eq!(courier.begin.key, key(Role::Node, "ant").verifying());
    let message = certificate_verify(&[9; 32]);
    let signature = ask(&mut courier.sign, message.clone()).expect("that is signed");
    assert!(courier.begin.key.verifies(&message, &signature));

    let (_, this) = realm.world.node(&super::realm::node("ant")).unwrap();
    let statement = NodeStatement { version: 9, node: this.clone(), ..realm.joined("ant").statement() };
    let body = sixfold_core::trust::encode(&statement);
    let message = [b"sixfold/v1/node\0", &body[..]].concat();
    assert!(message.len() > guard::MESSAGE_BYTES_MAX || ask(&mut courier.sign, message.clone()).is_none());
    if message.len() > guard::MESSAGE_BYTES_MAX {
        courier.sign.write_all(&Up::Sign(message).frame()).unwrap();
    }
    assert!(courier.is_parted());
    let courier = courier.die();
    assert_eq!(courier.begin.key, key(Role::Node, "ant").verifying(), "and another is started");
    // What it would have been: a statement of the node's.
    assert!(Signed::new(&statement, &key(Role::Node, "ant")).open::<NodeStatement>().is_ok());
}

#[track_caller]
fn survives<T: Message + PartialEq + std::fmt::Debug>(message: &T) {
    let frame = message.frame();
    for cut in 0..frame.len() {
        let mut decoder = Decoder::default();
        decoder.push(&frame[..cut]);
        assert_eq!(decoder.take::<T>().unwrap(), None, "{cut} bytes of {message:?}");
        decoder.push(&frame[cut..]);
        decoder.push(&frame);
        assert_eq!(decoder.take::<T>().unwrap().as_ref(), Some(message));
        assert_eq!(decoder.take::<T>().unwrap().as_ref(), Some(message));
        assert_eq!(decoder.take::<T>().unwrap(), None);
    }
}

#[test]
fn frames_arrive_whole_in_whatever_pieces_they_come() {
    survives(&Down::Errand(Errand { id: 7, place: Place::Devices, body: "{}".to_owned() }));
    survives(&Down::Signature(None));
    survives(&Down::Signature(Some(Signature([5; 64]))));
    survives(&Up::Link(Link { fault: Some("away".to_owned()), received_bytes: 0 }));
    survives(&Up::Proofs(b"{\"format\":1}".to_vec()));
    survives(&Up::Answer(Answer { id: 7, outcome: Ok(Revision(3)) }));
    survives(&Up::Answer(Answer { id: 7, outcome: Err("no".to_owned()) }));
    survives(&Up::Sign(vec![1; guard::MESSAGE_BYTES_MAX]));
}

fn read<T: Message>(bytes: &[u8]) -> Result<Option<T>, FrameError> {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    decoder.take()
}

#[test]
fn what_is_too_long_or_of_no_kind_is_refused_before_its_body_comes() {
    let head = |kind: u8, length: u32| [&[kind][..], &length.to_be_bytes()].concat();
    for (kind, length) in [(11, 1 << 17), (12, (64 << 20) + 1), (13, u32::MAX), (14, 4096)] {
        let refused = read::<Up>(&head(kind, length)).unwrap_err();
        assert!(matches!(refused, FrameError::TooLong { .. }), "{refused:?}");
    }
    assert!(matches!(read::<Down>(&head(3, 65)).unwrap_err(), FrameError::TooLong { .. }));
    assert!(matches!(read::<Down>(&[&head(3, 1)[..], &[0]].concat()), Err(FrameError::Length { .. })));
    assert!(matches!(read::<Up>(&[&head(11, 1)[..], b"{"].concat()), Err(FrameError::Body(_))));
    // What goes one way does not go the other.
    for kind in (0..=u8::MAX).filter(|kind| !(11..=14).contains(kind)) {
        assert!(matches!(read::<Up>(&head(kind, 0)), Err(FrameError::Kind { .. })), "{kind}");
    }
    for kind in (0..=u8::MAX).filter(|kind| !(1..=3).contains(kind)) {
        assert!(matches!(read::<Down>(&head(kind, 0)), Err(FrameError::Kind { .. })), "{kind}");
    }
}

#[test]
fn a_courier_that_dies_or_talks_nonsense_is_started_again_and_the_agent_goes_on() {
    let (realm, kernel, dir) = (Realm::of_first_farm(), Shared::new(), tempfile::tempdir().unwrap());
    let (mut agent, courier) = realm.agent(dir.path(), "ant", &kernel);
    let session = courier.begin.session.clone();
    let mut courier = courier.die();
    assert_eq!(courier.begin.session, session, "it is the same start of the agent");
    courier.say(&Up::Sign(vec![0; 99])); // where it may not be said
    assert!(courier.is_parted());
    let mut courier = courier.die();
    courier.connected();
    courier.show(&realm.proofs());
    until(&mut agent, "in sync", |agent| agent.status().is_some_and(|status| status.in_sync));
}

#[test]
fn a_courier_in_the_same_process_is_the_same() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    let (realm, kernel, dir) = (Realm::of_first_farm(), Shared::new(), tempfile::tempdir().unwrap());
    let (joined, key) = (realm.joined("ant"), key(Role::Node, "ant"));
    let setup = Setup { joined, key, launch: runtime.handle().clone() };
    let mut agent = Agent::of_registry(places(dir.path()), kernel, setup, ground).unwrap();
    // Nobody listens there.
    agent.await_word(Duration::from_secs(20));
    agent.round();
    let status = std::fs::read_to_string(places(dir.path()).status()).unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let fault = status["registry"]["fault"].as_str().unwrap();
    assert!(fault.starts_with("cannot connect to the registry at [::1]:1: "), "{fault}");
    assert!(fault.contains("(hint: look whether `sixfold registry run` runs there)"), "{fault}");
}
