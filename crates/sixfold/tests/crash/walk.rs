//! The cases: a node of the first farm is walked through its life, and its agent is cut at the k-th effect of a stretch.
//!
//! ```text
//! first farm ─Remove─▶ empty ─Abandon─▶ empty ─Build─▶ first farm ─Change─▶ changed ─Back─▶ first farm
//! ```
//!
//! Owns: the order, and what must hold: half done nothing passes between tenants and nothing is seen in the clear; the
//! agent that comes after makes what an undisturbed one makes, and the other nodes are as they were.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use sixfold_core::model::Status;
use sixfold_core::reach::{Cell, Party};

use crate::dump::Dump;
use crate::farm::{Farm, Shape};
use crate::place::{NODES, Place};
use crate::traffic::{Captures, Nonces, Probes, Volley};

/// How long the kernel may take to end what was deleted.
const SETTLING: Duration = Duration::from_secs(5);
/// How long all may take to shake hands anew: a call that came too early is made again after 5 s.
const MEETING: Duration = Duration::from_secs(60);
/// How long the nodes that nobody touches may take to answer each other.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stretch of a node's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stretch {
    /// Everything of ours is taken off it: `agent --remove`.
    Remove,
    /// It is built from nothing, cut, and taken off again instead of finished.
    Abandon,
    /// It is built from nothing.
    Build,
    /// Its snapshot is another.
    Change,
    /// Its snapshot is the first again.
    Back,
}

impl Stretch {
    pub(crate) const ALL: [Self; 5] = [Self::Remove, Self::Abandon, Self::Build, Self::Change, Self::Back];

    /// What the agent that is cut is asked for; `None`: to remove.
    fn asks(self) -> Option<Shape> {
        match self {
            Self::Remove => None,
            Self::Abandon | Self::Build | Self::Back => Some(Shape::First),
            Self::Change => Some(Shape::Changed),
        }
    }

    /// What the one after it is asked for.
    fn then_asks(self) -> Option<Shape> {
        if self == Self::Abandon { None } else { self.asks() }
    }
}

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Case {
    pub(crate) node: &'static str,
    pub(crate) stretch: Stretch,
    /// After which effect, from 1.
    pub(crate) k: usize,
}

/// What did not hold in a case.
pub(crate) struct Broken {
    case: Case,
    /// The effect that was the last.
    effect: String,
    why: Vec<String>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { node, stretch, k } = self.case;
        writeln!(f, "{node}, {stretch:?}, cut after effect {k} ({}):", self.effect)?;
        self.why.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

/// The farm with all that is known of how it should be.
pub(crate) struct Walk {
    place: Place,
    farm: Farm,
    probes: Probes,
    captures: Captures,
    nonces: Nonces,
    /// What was sent that must never be seen outside a tunnel, by nonce: an error that quotes it may come much later.
    tunnelled: BTreeMap<u64, String>,
    never: Rc<[Cell]>,
    within: Rc<[Cell]>,
    workloads: BTreeMap<Party, (String, String)>,
    /// Every node as in the first farm, in sync.
    whole: BTreeMap<&'static str, Dump>,
    /// A node after each stretch that nobody disturbed.
    ends: BTreeMap<(&'static str, Stretch), Dump>,
    /// The effects of each stretch that nobody disturbed.
    effects: BTreeMap<(&'static str, Stretch), Vec<String>>,
}

impl Walk {
    /// Brings the first farm up, with agents of the test's own.
    pub(crate) fn start() -> Self {
        let (place, farm) = (Place::start(), Farm::new());
        let captures = Captures::start(&place);
        let (never, within, workloads): (Rc<[Cell]>, Rc<[Cell]>, _) =
            (farm.never().into(), farm.within().into(), farm.workloads());
        assert!(never.len() > 100 && within.len() > 50, "{} and {} cells", never.len(), within.len());
        let (probes, nonces, tunnelled) = (Probes::default(), Nonces::default(), BTreeMap::new());
        let (whole, ends, effects) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut walk = Self {
            place,
            farm,
            probes,
            captures,
            nonces,
            tunnelled,
            never,
            within,
            workloads,
            whole,
            ends,
            effects,
        };
        for node in NODES {
            walk.must(node, None); // what the lab's own agents built
            walk.must(node, Some(Shape::First));
            walk.hear(node);
        }
        walk.spread_news();
        walk.prove_probes();
        walk.whole = NODES.map(|node| (node, walk.settled(node))).into();
        walk
    }

    /// Opens every firewall: then much passes that never should, and the probes see it. Closes them again.
    fn prove_probes(&mut self) {
        for node in NODES {
            for netns in self.place.netnss(node) {
                let flush =
                    self.place.in_netns(node, &netns).args(["nft", "flush", "ruleset"]).output().unwrap();
                succeeded(&flush);
            }
        }
        self.probes.bring_up(&self.place, &self.workloads);
        let never = Rc::clone(&self.never);
        let all: Vec<&Cell> = never.iter().collect();
        let (began, mut passed) = (Instant::now(), 0);
        while passed < 10 {
            assert!(
                began.elapsed() < PATIENCE,
                "without firewalls only {passed} of what never passes is seen"
            );
            passed = self.volley(&all).passed().len();
        }
        NODES.into_iter().for_each(|node| self.probes.end(node));
        self.spread_news();
    }

    /// Waits until everybody reaches whom they should: who was built anew has to shake hands again, and the first try may
    /// have come before the other knew its key.
    pub(crate) fn meet(&mut self) {
        self.spread_news();
        self.probes.bring_up(&self.place, &self.workloads);
        let within = Rc::clone(&self.within);
        let mut waits: Vec<&Cell> = within.iter().collect();
        waits.retain(|cell| [&cell.from, &cell.to].iter().all(|party| self.probes.has(party)));
        let began = Instant::now();
        let left = self.wait_for(waits, MEETING);
        let first = left.first().map(|cell| format!("{} to {}", cell.from, cell.to));
        assert!(left.is_empty(), "{} cells do not hold before anything is cut: {first:?}", left.len());
        println!("all reach each other after {:.1} s", began.elapsed().as_secs_f64());
        NODES.into_iter().for_each(|node| self.probes.end(node));
    }

    /// Walks a node through its life undisturbed, and notes how it is after each stretch and how many effects that had.
    pub(crate) fn learn(&mut self, node: &'static str) {
        for stretch in Stretch::ALL {
            let log = self.place.folder.path().join("effects").display().to_string();
            let _ = fs::remove_file(&log);
            self.hand(node, stretch.asks());
            succeeded(&self.agent(node, stretch.asks(), ("SIXFOLD_EFFECTS", &log)));
            let effects: Vec<String> = fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect();
            assert!(effects.len() > 20, "{node} {stretch:?}: {effects:?}");
            self.effects.insert((node, stretch), effects);
            if stretch == Stretch::Abandon {
                self.must(node, None);
            }
            self.finish(node, stretch);
            let end = self.settled(node);
            self.ends.insert((node, stretch), end);
        }
        let [remove, abandon, build, _, back] =
            Stretch::ALL.map(|stretch| self.ends[&(node, stretch)].clone());
        let same = |one: &Dump, other: &Dump, what: &str| {
            let differences = one.differences(other);
            assert!(differences.is_empty(), "{node}: {what}\n{}", differences.join("\n"));
        };
        same(&remove, &abandon, "is empty after either");
        same(&build.kernel(), &back.kernel(), "comes back to what it was");
        same(&build, &self.whole[node], "is made the same twice");
        self.whole.insert(node, back); // keys were put aside
    }

    /// How many effects a stretch has.
    pub(crate) fn length(&self, node: &'static str, stretch: Stretch) -> usize {
        self.effects[&(node, stretch)].len()
    }

    /// Walks through a stretch undisturbed.
    pub(crate) fn pass(&mut self, node: &'static str, stretch: Stretch) {
        self.must(node, stretch.then_asks());
        self.finish(node, stretch);
    }

    /// Walks through a stretch with a cut in it. Whatever does not hold, the node is afterwards at the end of the stretch.
    pub(crate) fn cut(&mut self, case: Case) -> Result<(), Broken> {
        let Case { node, stretch, k } = case;
        let mut why = Vec::new();
        let keys = self.farm.keys(node);
        self.hand(node, stretch.asks());
        let ended = self.agent(node, stretch.asks(), ("SIXFOLD_CUT", &k.to_string()));
        if !is_killed(&ended) {
            why.push(format!("it was not cut: {}", words(&ended)));
        }
        self.probe(node, &mut why);
        self.probes.end(node);
        let after = self.agent(node, stretch.then_asks(), ("SIXFOLD_LOG", "warn"));
        if !after.status.success() {
            why.push(format!("the agent after it does not succeed: {}", words(&after)));
        }
        for other in NODES.into_iter().filter(|other| *other != node) {
            let (_, differences) = self.differences(other, &self.whole[other]);
            why.extend(differences.into_iter().map(|line| format!("{other} is not as it was: {line}")));
        }
        if after.status.success() {
            self.finish(node, stretch);
            let (is, differences) = self.differences(node, &self.ends[&(node, stretch)]);
            why.extend(differences);
            if matches!(stretch, Stretch::Change | Stretch::Back) {
                let is = self.farm.keys(node);
                let other = keys.iter().filter(|(of, key)| is.get(of).is_some_and(|is| is != *key));
                why.extend(other.map(|(of, _)| format!("{}-{} has another key", of.index, of.number)));
            }
            why.extend(is.asides().into_iter().map(|file| format!("left aside: {file}")));
        }
        if why.is_empty() {
            return Ok(());
        }
        self.begin_anew(node, stretch);
        let effect = self.effects[&(node, stretch)].get(k - 1).cloned().unwrap_or_default();
        Err(Broken { case, effect, why })
    }

    /// All that must hold while the node is half done.
    fn probe(&mut self, node: &str, why: &mut Vec<String>) {
        self.probes.bring_up(&self.place, &self.workloads);
        let (never, within) = (Rc::clone(&self.never), Rc::clone(&self.within));
        let apart =
            |cell: &&Cell| [&cell.from, &cell.to].iter().all(|party| self.workloads[*party].0 != node);
        let mut waits: Vec<&Cell> = within.iter().filter(apart).collect();
        waits.retain(|cell| [&cell.from, &cell.to].iter().all(|party| self.probes.has(party)));
        assert!(waits.len() >= 4, "{} cells of others than {node}", waits.len());
        let all: Vec<&Cell> = never.iter().chain(within.iter()).collect();
        let volley = self.volley(&all);
        assert!(volley.sent() >= 20, "only {} packets left", volley.sent());
        let leaks = volley.passed().into_iter().take_while(|at| *at < never.len());
        why.extend(leaks.map(|at| {
            format!(
                "half done: {} to {} passes over {:?}: {}",
                all[at].from, all[at].to, all[at].family, all[at].traffic
            )
        }));
        // Those apart from it go on: so the probes are known to work.
        let answered: Vec<&Cell> = volley.answered().into_iter().map(|at| all[at]).collect();
        waits.retain(|cell| !answered.contains(cell));
        let left = self.wait_for(waits, PATIENCE);
        why.extend(left.iter().map(|cell| format!("half done: {} no longer reaches {}", cell.from, cell.to)));
        for (place, nonce) in self.captures.seen(&mut self.nonces) {
            let tunnelled = self.tunnelled.get(&nonce);
            why.extend(tunnelled.map(|what| format!("half done: {what} is seen in the clear at {place}")));
        }
    }

    /// Sends to cells until each has answered, or for so long. Gives those that have not.
    fn wait_for<'a>(&mut self, mut cells: Vec<&'a Cell>, longest: Duration) -> Vec<&'a Cell> {
        let began = Instant::now();
        while !cells.is_empty() && began.elapsed() < longest {
            let answered = self.volley(&cells).answered();
            let mut at = 0;
            cells.retain(|_| (!answered.contains(&at), at += 1).0);
        }
        cells
    }

    /// One packet for each cell.
    fn volley(&mut self, cells: &[&Cell]) -> Volley {
        let volley = self.probes.volley(cells, &mut self.nonces);
        let tunnelled = volley.nonces().filter(|(at, _)| self.farm.is_tunnelled(cells[*at]));
        let told = tunnelled.map(|(at, nonce)| (nonce, format!("{} to {}", cells[at].from, cells[at].to)));
        self.tunnelled.extend(told);
        volley
    }

    /// What comes after a stretch: news of keys, if the node was built; to itself too, which may have two devices of one
    /// network.
    fn finish(&mut self, node: &'static str, stretch: Stretch) {
        self.probes.end(node);
        if stretch.then_asks().is_some() {
            self.hear(node);
        }
        match stretch {
            Stretch::Build => self.spread_news(),
            Stretch::Change => self.must(node, Some(Shape::Changed)),
            Stretch::Back => self.must(node, Some(Shape::First)),
            Stretch::Remove | Stretch::Abandon => {}
        }
    }

    /// After what did not hold: the node at the end of the stretch, by way of nothing.
    fn begin_anew(&mut self, node: &'static str, stretch: Stretch) {
        self.must(node, None);
        if stretch.then_asks().is_some() {
            self.must(node, Some(Shape::First));
            self.finish(node, Stretch::Build);
        }
        if stretch == Stretch::Change {
            self.must(node, Some(Shape::Changed));
        }
    }

    /// All nodes take in what was heard.
    fn spread_news(&mut self) {
        NODES.into_iter().for_each(|node| self.must(node, Some(Shape::First)));
    }

    fn hear(&mut self, node: &str) {
        let text = fs::read(self.place.path(node, "run/node/status.json")).unwrap();
        let status: Status = serde_json::from_slice(&text).unwrap();
        self.farm.hear(&status);
    }

    fn hand(&mut self, node: &str, shape: Option<Shape>) {
        if let Some(shape) = shape {
            fs::write(self.place.path(node, "run/feed.json"), self.farm.snapshot(node, shape)).unwrap();
        }
    }

    /// One round of an agent that must succeed.
    fn must(&mut self, node: &str, shape: Option<Shape>) {
        self.hand(node, shape);
        succeeded(&self.agent(node, shape, ("SIXFOLD_LOG", "warn")));
    }

    /// One round of an agent, on the snapshot that was handed out last.
    fn agent(&self, node: &str, shape: Option<Shape>, variable: (&str, &str)) -> Output {
        let what = if shape.is_some() { &["--feed", "/run/feed.json", "--once"][..] } else { &["--remove"] };
        let places =
            ["--state", "/run/node/state", "--run", "/run/node", "--tunnel", "/run/sixfold/tunnel.sock"];
        let words = [&[crate::place::SIXFOLD, "agent"], what, &places].concat();
        self.place.run(node, &[variable], &words)
    }

    /// A node and in what it differs from what it should be, once that has had its time: the kernel ends a namespace that
    /// was deleted, and with it its links, a moment later.
    fn differences(&self, node: &str, wanted: &Dump) -> (Dump, Vec<String>) {
        let is = in_time(wanted, || self.dump(node));
        let differences = wanted.differences(&is);
        (is, differences)
    }

    /// A node as it stays.
    fn settled(&self, node: &str) -> Dump {
        settle(|| self.dump(node))
    }

    fn dump(&self, node: &str) -> Dump {
        Dump::of(&self.place, node, &self.farm.devices())
    }
}

/// What is seen as soon as it is as wanted, or when that has had its time.
pub(crate) fn in_time<T: PartialEq>(wanted: &T, look: impl Fn() -> T) -> T {
    let began = Instant::now();
    loop {
        let is = look();
        if is == *wanted || began.elapsed() > SETTLING {
            return is;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What stays as it is.
pub(crate) fn settle<T: PartialEq>(look: impl Fn() -> T) -> T {
    let mut was = look();
    loop {
        thread::sleep(Duration::from_millis(200));
        let is = look();
        if is == was {
            return is;
        }
        was = is;
    }
}

/// `timeout` passes the signal on, or tells it by its own exit code.
pub(crate) fn is_killed(ended: &Output) -> bool {
    ended.status.signal() == Some(9) || ended.status.code() == Some(128 + 9)
}

#[track_caller]
pub(crate) fn succeeded(ended: &Output) {
    assert!(ended.status.success(), "{}", words(ended));
}

pub(crate) fn words(ended: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    format!("{} {out} {err}", ended.status)
}
