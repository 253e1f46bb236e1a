//! Agents that are cut in the middle of their work, after each effect they have on the world: what holds meanwhile, and
//! that the next agent makes up for it. Needs root, iproute2, nftables, tcpdump and util-linux; without them it fails.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![allow(
    clippy::print_stdout,
    reason = "what was done and what it took is said, as it depends on the machine"
)]

mod dump;
mod farm;
mod fed;
mod place;
mod traffic;
mod walk;

use std::collections::BTreeMap;
use std::env;
use std::thread;
use std::time::{Instant, SystemTime};

use place::NODES;
use walk::{Broken, Case, Stretch, Walk};

/// How many cases of all are drawn where there is no time for all, unless `SIXFOLD_CRASH_CASES` says.
const DRAWN: u64 = 25;
/// The same of an agent that a registry feeds.
const DRAWN_FED: usize = 6;
/// Cases that do not hold before the rest is left: they are told, and are likely one thing.
const BROKEN_MAX: usize = 12;

/// Walks a node through its life until all of its cases are done; those that do not hold.
fn walk_through(walk: &mut Walk, node: &'static str, cases: Vec<Case>) -> Vec<Broken> {
    let mut left: BTreeMap<Stretch, Vec<Case>> = BTreeMap::new();
    for case in cases.into_iter().rev().filter(|case| case.node == node) {
        left.entry(case.stretch).or_default().push(case);
    }
    let (mut broken, mut done) = (Vec::new(), 0);
    while left.values().any(|cases| !cases.is_empty()) && broken.len() < BROKEN_MAX {
        for stretch in Stretch::ALL {
            match left.get_mut(&stretch).and_then(Vec::pop) {
                Some(case) => {
                    broken.extend(walk.cut(case).err());
                    done += 1;
                    if done % 50 == 0 {
                        println!("{node}: {done} cases, {} do not hold", broken.len());
                    }
                }
                None if stretch == Stretch::Abandon => {}
                None => walk.pass(node, stretch),
            }
        }
    }
    broken
}

/// Every case of a node, each `step`-th of each stretch.
fn all_of(walk: &Walk, node: &'static str, step: usize) -> Vec<Case> {
    let stretch =
        |stretch| (1..=walk.length(node, stretch)).step_by(step).map(move |k| Case { node, stretch, k });
    Stretch::ALL.into_iter().flat_map(stretch).collect()
}

fn say(node: &str, walk: &Walk) {
    let lengths = Stretch::ALL.map(|stretch| {
        format!("{stretch:?} {}", walk.length(NODES.into_iter().find(|one| *one == node).unwrap(), stretch))
    });
    println!("effects of {node}: {}", lengths.join(", "));
}

#[track_caller]
fn none_broken(broken: &[Broken], how: &str) {
    let texts: Vec<String> = broken.iter().map(ToString::to_string).collect();
    assert!(broken.is_empty(), "{how}: {} cases do not hold\n{}", broken.len(), texts.join("\n"));
}

/// A number from the environment.
fn asked(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// The next of a sequence that looks random (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn an_agent_cut_anywhere_leaks_nothing_and_the_next_makes_up_for_it() {
    let seed = asked("SIXFOLD_CRASH_SEED").unwrap_or(now());
    let began = Instant::now();
    let mut walk = Walk::start();
    let mut all = Vec::new();
    let only = env::var("SIXFOLD_CRASH_NODE").ok();
    let nodes: Vec<&'static str> =
        NODES.into_iter().filter(|node| only.as_ref().is_none_or(|only| only == node)).collect();
    for node in &nodes {
        walk.learn(node);
        say(node, &walk);
        all.extend(all_of(&walk, node, 1));
    }
    let mut state = seed;
    let places = u64::try_from(all.len()).unwrap();
    let draw = |_| all[usize::try_from(next(&mut state) % places).unwrap()];
    let count = asked("SIXFOLD_CRASH_CASES").unwrap_or(DRAWN);
    let drawn: Vec<Case> = (0..count).map(draw).collect();
    println!(
        "{count} of {places} cases, by SIXFOLD_CRASH_SEED={seed}; known after {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let mut broken = Vec::new();
    for node in nodes {
        walk.meet();
        broken.extend(walk_through(&mut walk, node, drawn.clone()));
    }
    println!("{count} cases took {:.1} s in all", began.elapsed().as_secs_f64());
    none_broken(&broken, &format!("SIXFOLD_CRASH_SEED={seed}"));
}

#[test]
fn an_agent_fed_by_a_registry_and_cut_while_it_keeps_something_is_made_up_for() {
    let seed = asked("SIXFOLD_CRASH_SEED").unwrap_or(now());
    let began = Instant::now();
    let fed = fed::Fed::start();
    let mut files = fed.files();
    let mut state = seed;
    while files.len() > DRAWN_FED {
        let drawn = next(&mut state) % u64::try_from(files.len()).unwrap();
        files.remove(usize::try_from(drawn).unwrap());
    }
    let broken: Vec<String> = files.iter().flat_map(|k| fed.cut(*k)).collect();
    println!(
        "{} of {} places, by SIXFOLD_CRASH_SEED={seed}, {:.1} s",
        files.len(),
        fed.files().len(),
        began.elapsed().as_secs_f64()
    );
    assert!(broken.is_empty(), "SIXFOLD_CRASH_SEED={seed}: {broken:#?}");
}

#[test]
#[ignore = "takes minutes: every place at which such an agent can be cut"]
fn an_agent_fed_by_a_registry_and_cut_anywhere_is_made_up_for() {
    let fed = fed::Fed::start();
    let broken: Vec<String> = (1..=fed.effects.len()).flat_map(|k| fed.cut(k)).collect();
    println!("{} places", fed.effects.len());
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Takes long: a lab for each node, side by side. `SIXFOLD_CRASH_STEP=5` takes each fifth case.
#[test]
#[ignore = "takes most of an hour: every place at which an agent can be cut"]
fn an_agent_cut_after_every_effect_leaks_nothing_and_the_next_makes_up_for_it() {
    let step = usize::try_from(asked("SIXFOLD_CRASH_STEP").unwrap_or(1)).unwrap();
    let one = |node: &'static str| {
        let began = Instant::now();
        let mut walk = Walk::start();
        walk.learn(node);
        walk.meet();
        say(node, &walk);
        let cases = all_of(&walk, node, step);
        let count = cases.len();
        let broken = walk_through(&mut walk, node, cases);
        println!("{node}: {count} cases, each {step}. of all, took {:.0} s", began.elapsed().as_secs_f64());
        broken
    };
    let broken: Vec<Broken> = thread::scope(|scope| {
        let threads: Vec<_> = NODES.into_iter().map(|node| scope.spawn(move || one(node))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    none_broken(&broken, "every effect");
}
