//! Two hundred things of ours of every class on one node, changed by hand while its agent runs: each comes back;
//! nothing of others is touched.
//!
//! How soon is printed by class, never asserted: the timer alone would mend all of it within [`PATIENCE`]. That it is
//! the kernel's event that leads to a repair is shown by `events.sh`.

mod draw;
mod ground;
mod scenes;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use draw::{CLASSES, Damage, Dice, Stock};
use ground::Machine;
use seen::{Facts, Key, look, namespaces};

/// Things damaged in all.
const DAMAGES: usize = 200;
/// Damaged together.
const TOGETHER: usize = 25;
/// A whole sweep of the timer, and the passes that it takes.
const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn whatever_a_hand_does_to_ours_is_undone_and_nothing_of_others_is_touched() {
    let Some(mut machine) =
        Machine::enter("hands::whatever_a_hand_does_to_ours_is_undone_and_nothing_of_others_is_touched")
    else {
        return;
    };
    machine.build();
    let before = machine.settled();
    println!("{} facts in {} namespaces", before.len(), namespaces().len());
    let times = two_hundred(&machine, &before);
    report(&times);
    assert_eq!(times.values().map(Vec::len).sum::<usize>(), DAMAGES);
    assert!(times.keys().eq(&BTreeSet::from(CLASSES)), "not of every class: {:?}", times.keys());
    scenes::all(&mut machine, &before);
    machine.end_and_remove();
}

/// Until each is seen again as it was, by class.
fn two_hundred(machine: &Machine, before: &Facts) -> BTreeMap<&'static str, Vec<Duration>> {
    let mut dice = Dice(ground::seed());
    let stock = Stock::of(before, &[&machine.shared], |key, fact| fact.ours && machine.asks_for(key));
    let mut times: BTreeMap<&'static str, Vec<Duration>> = BTreeMap::new();
    let mut left = DAMAGES;
    while left > 0 {
        let group = group(&stock, &mut dice, left.min(TOGETHER));
        left -= group.len();
        for (class, time) in until_undone(&group, before) {
            times.entry(class).or_default().push(time);
        }
        machine.others_are_untouched("beside two hundred damages");
        ground::as_before("beside what was damaged", before);
    }
    times
}

/// As many as asked for that do not meet, of all classes in turn.
fn group(stock: &Stock<'_>, dice: &mut Dice, size: usize) -> Vec<Damage> {
    let mut group: Vec<Damage> = Vec::new();
    for attempt in 0..100 * size {
        let class = CLASSES[(attempt + dice.below(2)) % CLASSES.len()];
        let drawn = stock.draw(class, dice);
        group.extend(drawn.filter(|drawn| !group.iter().any(|other| other.meets(drawn))));
        if group.len() == size {
            return group;
        }
    }
    panic!("no {size} things that can be damaged together")
}

/// Strikes one after the other, and looks meanwhile until all is as it was; how long that took for each.
fn until_undone(group: &[Damage], before: &Facts) -> Vec<(&'static str, Duration)> {
    let struck: Vec<OnceLock<Instant>> = group.iter().map(|_| OnceLock::new()).collect();
    thread::scope(|scope| {
        let striking = scope.spawn(|| {
            for (damage, struck) in group.iter().zip(&struck) {
                damage.strike();
                struck.set(Instant::now()).unwrap();
            }
        });
        let times = watch(group, &struck, before, || striking.is_finished());
        striking.join().unwrap();
        times.expect("all were struck")
    })
}

/// None, if not all are struck.
fn watch(
    group: &[Damage],
    struck: &[OnceLock<Instant>],
    before: &Facts,
    has_ended: impl Fn() -> bool,
) -> Option<Vec<(&'static str, Duration)>> {
    let mut times: Vec<Option<Duration>> = vec![None; group.len()];
    let (mut looking, mut looks) = (Duration::ZERO, 0);
    while times.contains(&None) {
        if has_ended() && struck.iter().any(|struck| struck.get().is_none()) {
            return None;
        }
        let began = Instant::now();
        let pending: Vec<(usize, Instant)> = (0..group.len())
            .filter(|place| times[*place].is_none())
            .filter_map(|place| Some((place, *struck[place].get()?)))
            .collect();
        let keys = || pending.iter().flat_map(|(place, _)| &group[*place].keys);
        let netnss: BTreeSet<String> = keys().map(|(netns, _)| netns.clone()).collect();
        let now = look(&netnss.into_iter().collect::<Vec<_>>());
        let as_it_was = |key: &Key| now.get(key) == before.get(key);
        for (place, struck) in pending {
            let (damage, waited) = (&group[place], struck.elapsed());
            if damage.keys.iter().all(as_it_was) {
                times[place] = Some(waited);
            } else if waited > PATIENCE {
                let missing = damage.keys.iter().find(|key| !as_it_was(key)).unwrap();
                let (was, is) = (before.get(missing), now.get(missing));
                panic!(
                    "not undone: {}\n{missing:?}\nwas {was:?}\nis  {is:?}\n{}",
                    damage.line,
                    ground::status()
                );
            }
        }
        (looking, looks) = (looking + began.elapsed(), looks + 1);
    }
    println!("{} together: a look took {:.2} s", group.len(), looking.as_secs_f64() / f64::from(looks));
    Some(group.iter().zip(times).map(|(damage, time)| (damage.class, time.unwrap())).collect())
}

/// What ARCHITECTURE.md promises for a class, in seconds.
fn promised(class: &str, namespaces: usize) -> usize {
    match class {
        "peer" => 2,
        "sysctl" => namespaces.div_ceil(64),
        _ => 1,
    }
}

fn report(times: &BTreeMap<&'static str, Vec<Duration>>) {
    println!(
        "class      damaged  median  max  promised (seconds, seen by processes that look over and over)"
    );
    let namespaces = namespaces().len();
    for (class, times) in times {
        let mut times = times.clone();
        times.sort_unstable();
        let (median, max) = (times[times.len() / 2], times[times.len() - 1]);
        let (count, promised) = (times.len(), promised(class, namespaces));
        println!(
            "{class:10} {count:7}  {:6.2}  {:5.2}  {promised:5}",
            median.as_secs_f64(),
            max.as_secs_f64()
        );
    }
}
