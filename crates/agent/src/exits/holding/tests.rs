//! Two nodes that may hold a slot, what each was told and hears from the other, and what it does.

use sixfold_core::id::{Epoch, NodeId};
use sixfold_core::tenure::Phase;
use sixfold_core::trust::{SigningKey, Statement as _};

use super::*;
use crate::ground;

/// The first farm's slot 1, which ant and bee may hold.
struct Node {
    snapshot: Snapshot,
    holding: Holding,
    sight: Sight,
    now: Instant,
    _state: tempfile::TempDir,
}

fn registry() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn id(name: &str) -> NodeId {
    name.parse().expect("a name")
}

fn signed(tenure: &Tenure) -> Option<Signed> {
    Some(Signed::new(tenure, &registry()))
}

fn believes(signed: &Signed) -> Option<Tenure> {
    (signed.key == registry().verifying()).then(|| signed.open().ok()).flatten()
}

impl Node {
    fn new(name: &str) -> Self {
        let mut snapshot = ground::snapshot(&["farm.toml", "acme.toml"], name);
        snapshot.gateways.truncate(1);
        let state = tempfile::tempdir().expect("a folder");
        let holding = Holding::open(state.path()).expect("an empty folder");
        // Alone on a segment where all is well.
        let sight = Sight { forwards: false, upstream: true, answered: false, yielded: false };
        Self { snapshot, holding, sight, now: Instant::now(), _state: state }
    }

    fn told(mut self, tenure: &Tenure) -> Self {
        self.snapshot.gateways[0].tenure = Some(tenure.clone());
        self
    }

    /// What it does for the slot; a gateway that it has begun with goes on.
    fn does(&mut self) -> Duty {
        let duties = self.holding.act(&self.snapshot, |_| self.sight, self.now);
        let duty = duties[&self.snapshot.gateways[0].key()];
        self.sight.forwards = duty != Duty::Rest;
        duty
    }

    fn says(&mut self) -> Vec<Word> {
        let rests = !self.sight.forwards;
        let contested = self.sight.answered;
        self.holding.say(&self.snapshot, signed, (|_| rests, |_| !rests && contested), self.now)
    }

    fn hears(&mut self, words: &[Word]) -> Vec<Word> {
        let Self { snapshot, holding, now, .. } = self;
        words.iter().filter_map(|word| holding.hear(word, snapshot, believes, *now)).collect()
    }
}

fn tenure(epoch: u64, holder: &str, from: Option<&str>) -> Tenure {
    let view = &Node::new("ant").snapshot.gateways[0];
    let phase = from.map_or(Phase::Done, |from| Phase::Handover { from: id(from) });
    let first = Tenure::first((view.allocation.number(), view.slot), id(holder));
    Tenure { epoch: Epoch(epoch), phase, ..first }
}

#[test]
fn a_holder_begins_where_nobody_answers_and_goes_on_whatever_it_sees() {
    let mut ant = Node::new("ant").told(&tenure(1, "ant", None));
    ant.sight.answered = true;
    assert_eq!(ant.does(), Duty::Rest);
    (ant.sight.answered, ant.sight.upstream) = (false, false);
    assert_eq!(ant.does(), Duty::Rest);
    ant.sight.upstream = true;
    assert_eq!(ant.does(), Duty::Hold);
    (ant.sight.answered, ant.sight.upstream) = (true, false);
    assert_eq!(ant.does(), Duty::Hold);
}

#[test]
fn what_a_registry_says_nothing_of_is_the_snapshots() {
    let ant = Node::new("ant");
    assert_eq!(ant.holding.act(&ant.snapshot, |_| ant.sight, ant.now), BTreeMap::new());
}

#[test]
fn a_claim_makes_an_old_holder_stop_also_after_a_restart_and_nobody_begin() {
    let mut ant = Node::new("ant").told(&tenure(1, "ant", None));
    let mut bee = Node::new("bee").told(&tenure(2, "bee", None));
    assert_eq!((ant.does(), bee.does()), (Duty::Hold, Duty::Hold), "bee did not hear ant");
    let claims = bee.says();
    assert_eq!(claims.iter().map(Word::kind).collect::<Vec<_>>(), [Kind::Claim]);
    assert_eq!(ant.hears(&claims), []);
    assert_eq!(ant.does(), Duty::Rest);
    // It was told nothing new, and starts again.
    ant.holding = Holding::open(ant._state.path()).expect("it was kept");
    assert_eq!(ant.does(), Duty::Rest);
    // Of who is claimed to hold it nobody begins.
    let mut third = Node::new("bee").told(&tenure(1, "ant", None));
    third.hears(&claims);
    assert_eq!(third.does(), Duty::Rest);
    // What was told since is newer.
    let mut again = ant.told(&tenure(3, "ant", None));
    assert_eq!(again.does(), Duty::Hold);
}

#[test]
fn nobody_stops_for_what_the_registry_did_not_sign() {
    let mut ant = Node::new("ant").told(&tenure(1, "ant", None));
    assert_eq!(ant.does(), Duty::Hold);
    let taken = tenure(9, "bee", None);
    let stranger = Signed::new(&taken, &SigningKey::from_seed(&[8; 32]));
    let forged = Signed {
        body: borsh::to_vec(&taken.wire()).expect("bytes"),
        ..signed(&tenure(1, "ant", None)).expect("it signs")
    };
    for lie in [stranger, forged] {
        let words =
            [written(Kind::Claim, &lie), written(Kind::Question, &Question { nonce: 1, tenure: lie })];
        assert_eq!(ant.hears(&words.map(|word| word.expect("it fits"))), []);
    }
    let noise = [Kind::Claim, Kind::Question, Kind::Reply]
        .map(|kind| Word::new(kind, vec![7; 300]).expect("it fits"));
    assert_eq!(ant.hears(&noise), []);
    assert_eq!(ant.does(), Duty::Hold);
    assert_eq!(std::fs::read_dir(ant._state.path()).expect("it is there").count(), 0, "nothing is kept");
}

#[test]
fn a_move_begins_beside_a_gateway_that_says_just_now_that_it_yields() {
    let (first, moves) = (tenure(1, "ant", None), tenure(2, "bee", Some("ant")));
    let mut ant = Node::new("ant").told(&first);
    let mut bee = Node::new("bee").told(&moves);
    assert_eq!(ant.does(), Duty::Hold);
    bee.sight.answered = true;
    assert_eq!(bee.does(), Duty::Rest);
    // The question tells ant of the move before the registry does.
    let asked = bee.says();
    assert_eq!(asked.iter().map(Word::kind).collect::<Vec<_>>(), [Kind::Claim, Kind::Question]);
    let replies = ant.hears(&asked);
    assert_eq!((ant.does(), replies.len()), (Duty::Yield, 1));
    // Another's reply says nothing, and an old one neither.
    let mut cat = Node::new("bee").told(&moves);
    cat.sight.answered = true;
    cat.hears(&replies);
    assert_eq!(cat.does(), Duty::Rest);
    bee.hears(&replies);
    bee.now += YIELDS_FOR + Duration::from_millis(1);
    assert_eq!(bee.does(), Duty::Rest);
    let replies = ant.hears(&bee.says());
    bee.hears(&replies);
    assert_eq!(bee.does(), Duty::Hold);
    // It is done: the one that yielded stops.
    let mut ant = ant.told(&tenure(2, "bee", None));
    assert_eq!((ant.does(), bee.does()), (Duty::Rest, Duty::Hold));
}

#[test]
fn a_holder_says_so_each_second_and_no_more() {
    let mut ant = Node::new("ant").told(&tenure(1, "ant", None));
    ant.does();
    let mut said = 0;
    for _ in 0..31 {
        said += ant.says().len();
        ant.now += Duration::from_millis(100);
    }
    assert_eq!(said, 4, "at once, and each second");
    let mut bee = Node::new("bee").told(&tenure(2, "bee", None));
    bee.does();
    bee.sight.answered = true;
    assert_eq!(
        (bee.says().len(), bee.says().len()),
        (1, 1),
        "whoever took over says so to one that is back at once"
    );
    let mut bee = Node::new("bee").told(&tenure(2, "bee", Some("ant")));
    bee.does();
    bee.says();
    let mut bee = bee.told(&tenure(2, "bee", None));
    bee.sight.answered = true;
    assert_eq!(bee.says(), [], "a planned move was done just now");
    bee.now += SWITCHED;
    assert_eq!(bee.says(), [], "whom it was from serves until all have switched");
    bee.now += Duration::from_millis(1);
    assert_eq!((bee.says().len(), bee.says().len()), (1, 1));
    // Another's gateway answers: it was cut off, and may not know yet.
    ant.sight.answered = true;
    assert_eq!((ant.says().len(), ant.says().len()), (1, 1));
    assert_eq!(Node::new("bee").told(&tenure(1, "ant", None)).says(), []);
}

#[test]
fn what_the_registry_told_since_is_forgotten() {
    let first = tenure(1, "ant", None);
    let mut ant = Node::new("ant").told(&first);
    let overheard = tenure(2, "bee", None);
    let word = (overheard.clone(), signed(&overheard).expect("it signs"));
    ant.holding.overhear(word.clone(), &first, "bee", ant.now);
    assert_eq!(ant.holding.heard_by(&first), Some((&overheard, "bee")));
    let before = (first.clone(), signed(&first).expect("it signs"));
    ant.holding.keep_again(|_| Some(&before), ant.now);
    assert_eq!(ant.holding.followed(|_| Some(&before)), [(first.key(), overheard.clone())].into());
    ant.holding.keep_again(|_| Some(&word), ant.now);
    assert!(ant.holding.overheard.is_empty());
}
