//! What the registry and a node decide, a case each.

use std::collections::BTreeMap;

use sixfold_core::id::{AllocationNumber, Epoch, ExitSlot, NodeId};
use sixfold_core::tenure::{Ask, Duty, Facts, Phase, Refused, Sight, Tenure, Watch, next};

use super::farm::{At, node};

const ALONE: Sight = Sight { forwards: false, upstream: true, answered: false, yielded: false };

fn done(epoch: u64, holder: At) -> Tenure {
    let first = Tenure::first((AllocationNumber::FIRST, ExitSlot::FIRST), node(holder));
    Tenure { epoch: Epoch(epoch), ..first }
}

fn moving(epoch: u64, from: At, holder: At) -> Tenure {
    Tenure { phase: Phase::Handover { from: node(from) }, ..done(epoch, holder) }
}

fn told(tenure: &Tenure) -> Watch {
    let mut watch = Watch::default();
    watch.tell(tenure);
    watch
}

/// What machines said that are ready: whether they see another gateway answer, and by which epoch theirs forwards.
fn facts<const N: usize>(ready: [(At, bool, Option<u64>); N]) -> BTreeMap<NodeId, Facts> {
    let facts = |(at, answered, epoch): (At, bool, Option<u64>)| {
        (node(at), Facts { ready: true, answered, forwards: epoch.map(Epoch) })
    };
    ready.into_iter().map(facts).collect()
}

fn order() -> Vec<NodeId> {
    (0..3).map(node).collect()
}

#[test]
fn of_two_tenures_one_counts_everywhere() {
    let rising = [done(1, 2), moving(2, 2, 0), moving(2, 2, 1), done(2, 0), done(2, 1), done(3, 0)];
    for (at, tenure) in rising.iter().enumerate() {
        assert!(!tenure.supersedes(tenure));
        assert!(rising[..at].iter().all(|older| tenure.supersedes(older) && !older.supersedes(tenure)));
    }
}

#[test]
fn what_is_overheard_stops_a_holder_and_never_makes_one() {
    let mut holder = told(&done(1, 0));
    holder.overhear(&done(2, 1));
    assert_eq!(holder.act(&node(0), Sight { forwards: true, ..ALONE }), Duty::Rest);
    assert_eq!(holder.claim(&node(0)), None);
    let mut heir = told(&done(1, 0));
    heir.overhear(&done(2, 1));
    assert_eq!(heir.act(&node(1), ALONE), Duty::Rest);
    heir.tell(&done(2, 1));
    assert_eq!(heir.act(&node(1), ALONE), Duty::Hold);
    assert_eq!(heir.claim(&node(1)), Some(&done(2, 1)));
}

#[test]
fn nothing_older_is_ever_believed_again() {
    let mut watch = told(&done(2, 1));
    watch.tell(&done(1, 0));
    watch.overhear(&done(1, 0));
    assert_eq!(watch.newest(), Some(&done(2, 1)));
    watch.overhear(&done(4, 2));
    watch.tell(&done(3, 0));
    assert_eq!(
        watch.newest(),
        Some(&done(4, 2)),
        "the registry's late word is older than what was overheard"
    );
    assert_eq!(watch.duty(&node(0)), Duty::Rest);
    assert_eq!(watch.told(), Some(&done(3, 0)));
}

#[test]
fn who_forwards_goes_on_whatever_it_sees() {
    let holder = told(&done(1, 0));
    for sight in [
        Sight { upstream: false, ..ALONE },
        Sight { answered: true, ..ALONE },
        Sight { upstream: false, answered: true, ..ALONE },
    ] {
        assert_eq!(holder.act(&node(0), Sight { forwards: true, ..sight }), Duty::Hold);
        assert_eq!(holder.act(&node(0), sight), Duty::Rest, "but it does not begin so: {sight:?}");
    }
    assert_eq!(holder.act(&node(0), ALONE), Duty::Hold);
    assert_eq!(Watch::default().act(&node(0), ALONE), Duty::Rest, "who was told nothing holds nothing");
}

#[test]
fn in_a_move_the_new_holder_begins_beside_the_old_one_that_yields() {
    let (old, new) = (told(&moving(2, 0, 1)), told(&moving(2, 0, 1)));
    assert!(old.yields(&node(0), &moving(2, 0, 1)));
    assert!(!new.yields(&node(1), &moving(2, 0, 1)));
    let seen = Sight { answered: true, ..ALONE };
    assert_eq!(new.act(&node(1), seen), Duty::Rest);
    assert_eq!(new.act(&node(1), Sight { yielded: true, ..seen }), Duty::Hold);
    assert_eq!(old.act(&node(0), Sight { forwards: true, ..seen }), Duty::Yield);
    assert_eq!(old.act(&node(0), ALONE), Duty::Rest, "who yields does not begin");
    let mut old = old;
    old.tell(&done(2, 1));
    assert_eq!(old.act(&node(0), Sight { forwards: true, ..seen }), Duty::Rest);
    assert!(!old.yields(&node(0), &moving(2, 0, 1)));
}

#[test]
fn a_holder_that_is_there_is_left_alone() {
    let known = facts([(0, false, Some(1)), (1, true, None), (2, true, None)]);
    assert_eq!(next(&done(1, 0), &order(), &known, &Ask::Settle), Err(Refused::Settled { holder: node(0) }));
}

#[test]
fn the_registrys_silence_alone_replaces_nobody() {
    // The holder is not heard, and the others see its gateway.
    let known = facts([(1, true, None), (2, true, None)]);
    assert_eq!(next(&done(1, 0), &order(), &known, &Ask::Settle), Err(Refused::Nobody { holder: node(0) }));
    assert_eq!(
        next(&done(1, 0), &order(), &BTreeMap::new(), &Ask::Settle),
        Err(Refused::Nobody { holder: node(0) })
    );
}

#[test]
fn the_first_in_order_that_is_ready_and_sees_no_gateway_takes_over() {
    let known = facts([(2, false, None), (1, false, None)]);
    assert_eq!(next(&done(1, 0), &order(), &known, &Ask::Settle), Ok(done(2, 1)));
    let known = facts([(2, false, None), (1, true, None)]);
    assert_eq!(next(&done(1, 0), &order(), &known, &Ask::Settle), Ok(done(2, 2)));
    let mut known = known;
    known.insert(node(0), Facts { ready: false, ..Facts::default() });
    assert_eq!(next(&done(1, 0), &order(), &known, &Ask::Settle), Ok(done(2, 2)), "a holder that is cut off");
}

#[test]
fn a_holder_that_the_farmer_no_longer_lists_is_replaced() {
    let known = facts([(0, false, Some(1)), (1, false, None)]);
    let order = vec![node(1), node(2)];
    assert_eq!(next(&done(1, 0), &order, &known, &Ask::Settle), Ok(done(2, 1)));
}

#[test]
fn a_move_is_asked_for_begun_and_done() {
    let ask = Ask::Move { to: node(1) };
    let known = facts([(0, false, Some(1)), (1, true, None)]);
    assert_eq!(next(&done(1, 0), &order(), &known, &ask), Ok(moving(2, 0, 1)));
    let record = moving(2, 0, 1);
    assert_eq!(next(&record, &order(), &known, &ask), Err(Refused::Moving { holder: node(1) }));
    assert_eq!(next(&record, &order(), &known, &Ask::Settle), Err(Refused::Moving { holder: node(1) }));
    let known = facts([(0, true, Some(2)), (1, true, Some(2))]);
    assert_eq!(next(&record, &order(), &known, &Ask::Settle), Ok(done(2, 1)));
    // By an epoch before: it says nothing of this one.
    let known = facts([(0, true, Some(2)), (1, true, Some(1))]);
    assert_eq!(next(&record, &order(), &known, &Ask::Settle), Err(Refused::Moving { holder: node(1) }));
}

#[test]
fn a_move_to_a_node_that_goes_away_goes_back() {
    let known = facts([(0, false, Some(2)), (2, true, None)]);
    assert_eq!(next(&moving(2, 0, 1), &order(), &known, &Ask::Settle), Ok(done(3, 0)));
    let known = facts([(2, false, None)]);
    assert_eq!(next(&moving(2, 0, 1), &order(), &known, &Ask::Settle), Ok(done(3, 2)), "both are gone");
}

/// Whom it is from forwards; that the other may not begin is no reason to be stuck.
#[test]
fn a_move_that_does_not_come_to_its_end_goes_back_when_asked_to() {
    let back = Ask::Move { to: node(0) };
    let record = moving(2, 0, 1);
    for bee in [(1, true, None), (1, false, None)] {
        let known = facts([(0, true, Some(2)), bee]);
        assert_eq!(next(&record, &order(), &known, &back), Ok(moving(3, 1, 0)));
        assert_eq!(
            next(&record, &order(), &known, &Ask::Move { to: node(2) }),
            Err(Refused::Moving { holder: node(1) })
        );
    }
    let known = facts([(0, true, Some(3)), (1, true, None)]);
    assert_eq!(next(&moving(3, 1, 0), &order(), &known, &Ask::Settle), Ok(done(3, 0)));
    let refused = next(&record, &order(), &facts([(0, true, None), (1, true, None)]), &back);
    assert_eq!(refused, Err(Refused::NotReady { node: node(0) }), "it does not forward");
    let refused = next(&record, &order(), &facts([(1, true, None)]), &back);
    assert_eq!(refused, Err(Refused::NotReady { node: node(0) }), "it is not there");
}

#[test]
fn a_move_that_cannot_be_says_why() {
    let known = facts([(0, false, Some(1))]);
    let ask = |to: NodeId| next(&done(1, 0), &order(), &known, &Ask::Move { to });
    let stranger = NodeId::try_from("dog").unwrap();
    let words = [node(0), node(1), stranger].map(|to| ask(to).unwrap_err().to_string());
    assert_eq!(
        words,
        ["the slot is with ant", "bee is not ready to hold the slot", "dog may not hold the slot"]
    );
    let away = facts([(1, false, None)]);
    let refused = next(&done(1, 0), &order(), &away, &Ask::Move { to: node(1) });
    assert_eq!(
        refused,
        Err(Refused::NotReady { node: node(0) }),
        "a holder that is away is replaced, not moved"
    );
}

#[test]
fn a_registry_that_was_set_back_takes_up_what_it_once_signed() {
    let known = BTreeMap::new();
    assert_eq!(next(&done(1, 0), &order(), &known, &Ask::Adopt(done(3, 2))), Ok(done(3, 2)));
    let refused = next(&done(3, 2), &order(), &known, &Ask::Adopt(done(2, 1))).unwrap_err();
    assert_eq!(refused.to_string(), "epoch 2 is not newer than what is known");
}

#[test]
fn a_tenure_travels_as_json_that_reads_itself() {
    let text = serde_json::to_string(&moving(2, 0, 1)).unwrap();
    let wanted = r#"{"allocation":1,"slot":1,"epoch":2,"holder":"bee","phase":{"handover":{"from":"ant"}}}"#;
    assert_eq!(text, wanted);
    assert_eq!(serde_json::from_str::<Tenure>(&text).unwrap(), moving(2, 0, 1));
    assert_eq!(serde_json::to_string(&done(1, 0).phase).unwrap(), r#""done""#);
}
