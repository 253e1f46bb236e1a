//! What a courier holds of what the registry showed: differences come to the whole, and what does not is asked for whole.

use sixfold_agent::remote::held::{Held, HeldError};
use sixfold_core::id::Revision;
use sixfold_core::trust::{Difference, Parts, Proofs};

use super::realm::Realm;

fn bytes(document: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(document).unwrap()
}

fn between(held: &Proofs, now: &Proofs) -> Difference {
    let names = Parts::of(held).names().into_iter().collect();
    Difference::between(&names, Parts::of(now), now.revision)
}

fn tag(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// What is shown, and what was shown before.
fn shown() -> [Proofs; 2] {
    let realm = Realm::of_first_farm();
    let now = Proofs { revision: Revision(8), ..realm.proofs() };
    let mut before = Proofs { revision: Revision(7), ..now.clone() };
    before.nodes.pop();
    [before, now]
}

#[test]
fn differences_come_to_what_is_shown() {
    let [before, now] = shown();
    let mut held = Held::default();
    assert_eq!((held.tag(), held.takes_difference()), (None, false));
    held.take(&bytes(&before), tag("a"));
    assert_eq!((held.tag(), held.takes_difference()), (Some("a"), true));
    for (from, to, name) in [(&before, &now, "b"), (&now, &before, "c"), (&before, &before, "d")] {
        let whole = held.put(&bytes(&between(from, to)), tag(name)).unwrap();
        let (whole, _) = Proofs::read(&whole).unwrap();
        assert_eq!((whole.revision, Parts::of(&whole)), (to.revision, Parts::of(to)));
        assert_eq!(held.tag(), Some(name));
    }
}

#[test]
fn what_does_not_come_to_what_it_should_is_held_no_more() {
    let [before, now] = shown();
    let difference = between(&before, &now);
    let other = Difference { whole: Parts::of(&before).fingerprint(), ..difference.clone() };
    let mut later = serde_json::to_value(&difference).unwrap();
    later["moved"] = 1.into();
    let mut beyond = serde_json::to_value(&difference).unwrap();
    beyond["added"]["format"] = 99.into();
    for (wrong, word) in [
        (bytes(&other), "with what is held it comes to"),
        (bytes(&later), "of a later version: it has moved"),
        (bytes(&beyond), "format"),
        (b"{".to_vec(), "ends in the middle"),
        (Vec::new(), "ends in the middle"),
    ] {
        let mut held = Held::default();
        held.take(&bytes(&before), tag("a"));
        let error = held.put(&wrong, tag("b")).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!((held.tag(), held.takes_difference()), (None, false), "{word}");
        assert!(matches!(held.put(&bytes(&difference), tag("b")), Err(HeldError::Nothing)));
        // All of it, and it goes on.
        held.take(&bytes(&now), tag("b"));
        assert!(held.put(&bytes(&between(&now, &before)), tag("c")).is_ok());
    }
}

#[test]
fn what_a_later_version_shows_is_not_put_together_by_this_one() {
    let [before, _] = shown();
    let mut later = serde_json::to_value(&before).unwrap();
    later["colours"] = 7.into();
    let mut held = Held::default();
    held.take(&bytes(&later), tag("a"));
    assert_eq!((held.tag(), held.takes_difference()), (Some("a"), false), "a tag it is all the same");
    held.take(b"no document", tag("b"));
    assert_eq!((held.tag(), held.takes_difference()), (Some("b"), false));
}
