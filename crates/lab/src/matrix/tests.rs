//! The accounts, with parties that are not there: a medium that passes, stops and counts as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use sixfold_core::id::{NetworkId, NodeId};
use sixfold_core::name::NetnsName;
use sixfold_core::reach::{By, Traffic};

use super::*;
use crate::probe::Refusal;
use crate::probe::tests::ground::{Ground, HOST, HOST_V4};

/// What every party of a test shares.
#[derive(Default)]
struct Medium {
    /// Who has which address.
    at: BTreeMap<IpAddr, Party>,
    /// What is stopped, by sender and destination, and where it is counted.
    stops: BTreeMap<(Party, IpAddr, Traffic), Stop>,
    counts: BTreeMap<Stop, u64>,
    arrivals: BTreeMap<Party, Arrivals>,
    /// Lost without a trace, by sender and destination, so many times.
    losses: BTreeMap<(Party, IpAddr), u32>,
    /// Arrives, but its answer is lost.
    one_way: BTreeSet<(Party, IpAddr)>,
    /// Counted once too often.
    stray: Option<Stop>,
    late: bool,
    /// The first port of connections that chose none.
    nat_port: Option<u16>,
    /// Whose own route refuses echoes.
    refuses: Option<Party>,
}

struct Fake(Party, Arc<Mutex<Medium>>);

impl Prober for Fake {
    fn shoot(&mut self, shots: &[Shot], _: Duration) -> Result<Vec<Outcome>, ProbeError> {
        let mut medium = self.1.lock().unwrap();
        Ok(shots.iter().map(|shot| medium.carry(&self.0, shot)).collect())
    }

    fn received(&mut self) -> Result<Arrivals, ProbeError> {
        Ok(self.1.lock().unwrap().arrivals.get(&self.0).cloned().unwrap_or_default())
    }

    fn forget(&mut self) -> Result<(), ProbeError> {
        self.1.lock().unwrap().arrivals.remove(&self.0);
        Ok(())
    }
}

impl Medium {
    fn carry(&mut self, from: &Party, shot: &Shot) -> Outcome {
        let (count, to) = (u32::from(shot.count), shot.to);
        let mut outcome = Outcome { sent: count, late: self.late, ..Outcome::default() };
        if self.refuses.as_ref() == Some(from) && shot.traffic == Traffic::Echo {
            outcome.sent = 0;
            outcome.refuse(Refusal::Local { errno: "EHOSTUNREACH".to_owned() });
            return outcome;
        }
        if let Some(stop) = self.stops.get(&(from.clone(), to, shot.traffic)) {
            *self.counts.entry(stop.clone()).or_default() += u64::from(count);
            return outcome;
        }
        if let Some(left) = self.losses.get_mut(&(from.clone(), to)).filter(|left| **left > 0) {
            *left -= 1;
            outcome.refuse(Refusal::Icmp { by: to, kind: 1, code: 3 });
            return outcome;
        }
        let arrivals = self.arrivals.entry(self.at[&to].clone()).or_default();
        arrivals.payloads.insert(shot.nonce, count);
        if matches!(shot.traffic, Traffic::Tcp(_)) {
            let first = if shot.from_port == 0 { self.nat_port.unwrap_or(40_000) } else { shot.from_port };
            (first..first + shot.count).for_each(|port| *arrivals.syns.entry(port).or_default() += 1);
        }
        let answered = !self.one_way.contains(&(from.clone(), to));
        if answered {
            (outcome.answered, outcome.rtt_micros) = (count, Some(50));
        }
        outcome
    }
}

struct Read(Arc<Mutex<Medium>>);

impl Counters for Read {
    fn read(&self, stop: &Stop) -> Result<u64, Box<dyn Error + Send + Sync>> {
        let mut medium = self.0.lock().unwrap();
        let stray = u64::from(medium.stray.as_ref() == Some(stop));
        let count = medium.counts.get_mut(stop).ok_or("no such rule")?;
        *count += stray;
        Ok(*count)
    }
}

fn party(tenant: &str, name: &str) -> Party {
    let network: NetworkId = format!("{tenant}/net").parse().unwrap();
    Party::Workload { network, name: name.parse().unwrap() }
}

fn stop(comment: &str) -> Stop {
    let by = By::Rule { chain: "forward".to_owned(), comment: comment.to_owned() };
    let node: NodeId = "ant".parse().unwrap();
    Stop { node, netns: NetnsName::try_from("net-1abc-1").unwrap(), by }
}

fn cell(from: &Party, to: (&Party, &str), traffic: Traffic, verdict: Verdict) -> Cell {
    let address: IpAddr = to.1.parse().unwrap();
    let family = if address.is_ipv6() { Family::Ipv6 } else { Family::Ipv4 };
    let address = (*to.0 != Party::Internet).then_some(address);
    Cell { from: from.clone(), to: to.0.clone(), address, family, traffic, verdict }
}

const A: &str = "2001:db8:1::a";
const B: &str = "2001:db8:1::b";
const C: &str = "2001:db8:2::c";
const INTERNET: &str = "2001:db8:ffff::1";

/// Two workloads of one tenant, one of another's, and the Internet. The other's is not let in.
struct Scene {
    cells: Vec<Cell>,
    medium: Arc<Mutex<Medium>>,
    probes: BTreeMap<Party, Fake>,
}

impl Scene {
    fn new() -> Self {
        let (a, b, c) = (party("acme", "a"), party("acme", "b"), party("globex", "c"));
        let net = Party::Internet;
        let stopped = || Verdict::Stopped(stop("not exposed"));
        let mut cells = vec![
            cell(&a, (&b, B), Traffic::Echo, Verdict::Passes),
            cell(&b, (&a, A), Traffic::Tcp(443), Verdict::Passes),
            cell(&a, (&net, INTERNET), Traffic::Udp(9000), Verdict::Passes),
            cell(&c, (&net, INTERNET), Traffic::Echo, Verdict::Passes),
        ];
        for traffic in [Traffic::Echo, Traffic::Tcp(443), Traffic::Udp(9000)] {
            cells.push(cell(&c, (&a, A), traffic, stopped()));
        }
        let mut medium = Medium::default();
        for (address, party) in [(A, &a), (B, &b), (C, &c), (INTERNET, &net)] {
            medium.at.insert(address.parse().unwrap(), party.clone());
        }
        for cell in &cells[4..] {
            let key = (cell.from.clone(), cell.address.unwrap(), cell.traffic);
            medium.stops.insert(key, stop("not exposed"));
        }
        medium.counts.insert(stop("not exposed"), 7);
        let medium = Arc::new(Mutex::new(medium));
        let probes = [a, b, c, net].map(|party| (party.clone(), Fake(party, medium.clone()))).into();
        Self { cells, medium, probes }
    }

    fn medium<T>(&self, change: impl FnOnce(&mut Medium) -> T) -> T {
        change(&mut self.medium.lock().unwrap())
    }

    fn settings(&self) -> Settings {
        Settings::new(INTERNET.parse().unwrap(), Ipv4Addr::new(198, 51, 100, 1))
    }

    fn run(&mut self) -> MatrixReport {
        let settings = self.settings();
        let report = run(&self.cells, &mut self.probes, &Read(self.medium.clone()), &settings);
        assert_eq!(
            report.cells.iter().map(|result| &result.cell).collect::<Vec<_>>(),
            Vec::from_iter(&self.cells)
        );
        report
    }

    /// Why the cells that did not hold did not, by position, then the counter.
    fn complaints(&mut self) -> (Vec<(usize, String)>, Option<String>) {
        let report = self.run();
        assert!(!report.held());
        let cells = report.cells.into_iter().enumerate().filter(|(_, result)| !result.held);
        (
            cells.map(|(at, result)| (at, result.why.unwrap())).collect(),
            report.counters.into_iter().next().and_then(|counter| counter.why),
        )
    }
}

#[test]
fn all_holds_where_all_is_as_expected() {
    let report = Scene::new().run();
    assert!(report.held(), "{report:?}");
    let counter = &report.counters[0];
    assert_eq!((counter.before, counter.after, counter.sent), (Some(7), Some(13), 6));
    assert_eq!((report.warm_up.echoes, report.warm_up.rounds, report.warm_up.unanswered), (2, 1, 0));
    assert_eq!((report.cells[0].arrived, report.cells[4].arrived), (2, 0));
    let controls: Vec<_> = report.cells.iter().map(|result| result.control).collect();
    assert_eq!(controls[..4], [None; 4]);
    assert_eq!(controls[4..], [Some(Control::Same); 3]);
    assert!(!MatrixReport::default().held(), "nothing shows nothing");
}

#[test]
fn handshakes_are_waited_for_before_anything_is_judged() {
    let mut scene = Scene::new();
    let key = (party("acme", "a"), B.parse().unwrap());
    scene.medium(|medium| medium.losses.insert(key.clone(), 2));
    let report = scene.run();
    assert!(report.held());
    assert_eq!((report.warm_up.echoes, report.warm_up.rounds, report.warm_up.unanswered), (2, 3, 0));
    // What arrives in the warm-up is in no account.
    assert_eq!(report.cells[0].arrived, 2);
}

#[test]
fn what_never_answers_ends_the_warm_up_and_does_not_hold() {
    let mut scene = Scene::new();
    scene.medium(|medium| medium.losses.insert((party("acme", "a"), B.parse().unwrap()), u32::MAX));
    let settings = Settings { warm_up: Duration::from_millis(60), ..scene.settings() };
    let report = run(&scene.cells, &mut scene.probes, &Read(scene.medium.clone()), &settings);
    assert_eq!((report.warm_up.unanswered, report.warm_up.rounds > 1), (1, true), "{:?}", report.warm_up);
    let why = format!("0 of 2 answered, 0 arrived; ICMPv6 1/3 from {B}");
    assert_eq!((report.cells[0].held, report.cells[0].why.as_ref()), (false, Some(&why)));
}

#[test]
fn the_warm_up_outlasts_a_second_handshake() {
    let settings = Scene::new().settings();
    assert!(settings.warm_up > Duration::from_secs(5) && settings.stop_timeout > SYN_WAIT);
}

#[test]
fn a_leak_is_seen_at_both_ends_and_in_the_account() {
    let mut scene = Scene::new();
    let key = |traffic| (party("globex", "c"), A.parse().unwrap(), traffic);
    scene.medium(|medium| medium.stops.remove(&key(Traffic::Echo)));
    let (cells, counter) = scene.complaints();
    assert_eq!(cells, [(4, "2 of 2 answered, 2 arrived".to_owned())]);
    assert_eq!(counter.as_deref(), Some("it rose by 4, not by 6"));
}

#[test]
fn a_leak_one_way_is_seen_at_the_receiver() {
    for traffic in [Traffic::Tcp(443), Traffic::Udp(9000)] {
        let mut scene = Scene::new();
        let (from, to) = (party("globex", "c"), A.parse().unwrap());
        scene.medium(|medium| {
            medium.stops.remove(&(from.clone(), to, traffic));
            medium.one_way.insert((from, to));
        });
        let (cells, _) = scene.complaints();
        assert_eq!(cells.len(), 1, "{traffic}");
        assert_eq!(cells[0].1, "2 of 2 arrived, though none was answered", "{traffic}");
    }
}

#[test]
fn what_is_counted_besides_is_told() {
    let mut scene = Scene::new();
    scene.medium(|medium| medium.stray = Some(stop("not exposed")));
    assert_eq!(scene.complaints(), (vec![], Some("it rose by 7, not by 6".to_owned())));
    let mut scene = Scene::new();
    scene.medium(|medium| medium.counts.clear());
    assert_eq!(scene.complaints().1.as_deref(), Some("no such rule"));
}

#[test]
fn a_stop_without_a_control_does_not_hold() {
    let mut scene = Scene::new();
    scene.cells.remove(3);
    let why = "globex/net:c succeeds nowhere, so this proves nothing".to_owned();
    let expected: Vec<_> = (3..6).map(|at| (at, why.clone())).collect();
    assert_eq!(scene.complaints(), (expected, None));
    // The receiver still sends, if nobody reaches it: near, but not the same.
    let mut scene = Scene::new();
    scene.cells.remove(1);
    let report = scene.run();
    assert!(report.held());
    assert_eq!(report.cells[3].control, Some(Control::Near));
}

#[test]
fn a_party_without_a_probe_is_named() {
    let mut scene = Scene::new();
    scene.probes.remove(&party("acme", "b"));
    let (cells, _) = scene.complaints();
    let why = "there is no probe at acme/net:b".to_owned();
    assert_eq!(cells, [(0, why.clone()), (1, why)]);
}

#[test]
fn too_slow_to_count_is_said() {
    let mut scene = Scene::new();
    scene.medium(|medium| medium.late = true);
    let (cells, counter) = scene.complaints();
    assert_eq!(cells.len(), 3);
    assert_eq!(cells[0].1, "the machine was too slow to tell how many SYNs left");
    assert_eq!(counter, None);
}

#[test]
fn a_route_of_the_sender_itself_needs_no_account_if_it_is_a_gateway() {
    let unreachable = Stop { by: By::Unreachable, ..stop("") };
    let gateway = Party::Gateway("2001:db8:a::/48#1".parse().unwrap());
    for (sender, held) in [(gateway, true), (party("acme", "b"), false)] {
        let mut scene = Scene::new();
        scene.probes.insert(sender.clone(), Fake(sender.clone(), scene.medium.clone()));
        let a = party("acme", "a");
        scene.cells.push(cell(&sender, (&a, A), Traffic::Udp(9), Verdict::Passes));
        scene.cells.push(cell(&sender, (&a, A), Traffic::Echo, Verdict::Stopped(unreachable.clone())));
        scene.medium(|medium| medium.refuses = Some(sender.clone()));
        let report = scene.run();
        let last = report.cells.last().unwrap();
        assert_eq!(last.held, held, "{last:?}");
        assert_eq!(report.counters.iter().any(|counter| counter.stop == unreachable), !held);
    }
}

#[test]
fn a_port_that_nat_gave_to_what_passes_is_no_leak() {
    let mut scene = Scene::new();
    scene.medium(|medium| medium.nat_port = Some(20_000));
    assert!(scene.run().held());
}

/// What the router of a ground has dropped.
struct Dropped<'a>(&'a Ground);

impl Counters for Dropped<'_> {
    fn read(&self, _: &Stop) -> Result<u64, Box<dyn Error + Send + Sync>> {
        Ok(self.0.dropped())
    }
}

/// The same with packets: `a` may ping `b` and no more.
#[test]
fn holds_with_packets_where_a_rule_stops_them() {
    let ground = Ground::new("matrix");
    let (a, b) = (party("acme", "a"), party("globex", "b"));
    let (from_a, mut from_b) = ground.probes();
    from_b.listen(&[Traffic::Tcp(443), Traffic::Udp(9000)]).unwrap();
    let mut probes: BTreeMap<_, _> = [(a.clone(), from_a), (b.clone(), from_b)].into();
    let mut cells = Vec::new();
    for to in [HOST, HOST_V4] {
        cells.push(cell(&a, (&b, to), Traffic::Echo, Verdict::Passes));
        for traffic in [Traffic::Tcp(443), Traffic::Udp(9000)] {
            cells.push(cell(&a, (&b, to), traffic, Verdict::Stopped(stop("witness"))));
        }
    }
    let settings = Settings::new("2001:db8:ffff::1".parse().unwrap(), Ipv4Addr::new(203, 0, 113, 9));
    let open = run(&cells, &mut probes, &Read(Arc::default()), &settings);
    let leaks: Vec<_> =
        open.cells.iter().map(|result| (result.held, result.outcome.answered, result.arrived)).collect();
    let (passed, leaked) = ((true, 2, 2), (false, 2, 2));
    assert_eq!(leaks, [passed, leaked, leaked, passed, leaked, leaked], "{open:?}");
    ground.count_and_drop_transport();
    let shut = run(&cells, &mut probes, &Dropped(&ground), &settings);
    assert!(shut.held(), "{shut:?}");
    let counter = &shut.counters[0];
    assert_eq!((counter.before, counter.after, counter.sent), (Some(0), Some(8), 8));
}

#[test]
fn what_somebody_expects_is_held_against_packets_and_not_against_the_model() {
    let mut scene = Scene::new();
    let settings = scene.settings();
    let (to_b, from_c) = (scene.cells[..1].to_vec(), scene.cells[4..5].to_vec());
    let mut seen = |cells: &[Cell], pass| {
        expect(cells, pass, &mut scene.probes, (&settings, Duration::from_millis(200)))
    };
    assert_eq!(seen(&to_b, true), [""; 0]);
    assert_eq!(seen(&to_b, false), ["acme/net:a -> acme/net:b, ipv6 echo: 2 of 2 answered, 2 arrived"]);
    assert_eq!(seen(&from_c, false), [""; 0]);
    assert_eq!(seen(&from_c, true), ["globex/net:c -> acme/net:a, ipv6 echo: 0 of 2 answered"]);
}

#[test]
fn what_is_expected_to_pass_is_sent_again_and_what_arrives_unanswered_has_not_stopped() {
    let mut scene = Scene::new();
    let (settings, to_b) = (scene.settings(), scene.cells[..1].to_vec());
    let (a, b) = (party("acme", "a"), party("acme", "b"));
    scene.medium(|medium| medium.losses.insert((a.clone(), B.parse().unwrap()), 2));
    let patience = Duration::from_secs(5);
    assert_eq!(expect(&to_b, true, &mut scene.probes, (&settings, patience)), [""; 0]);
    scene.medium(|medium| medium.one_way.insert((a.clone(), B.parse().unwrap())));
    let seen = expect(&to_b, false, &mut scene.probes, (&settings, patience));
    assert_eq!(seen, ["acme/net:a -> acme/net:b, ipv6 echo: 0 of 2 answered, 2 arrived"]);
    scene.probes.remove(&b);
    let seen = expect(&to_b, false, &mut scene.probes, (&settings, patience));
    assert_eq!(seen, ["acme/net:a -> acme/net:b, ipv6 echo: there is no probe at its receiver"]);
    scene.probes.remove(&a);
    for pass in [true, false] {
        let seen = expect(&to_b, pass, &mut scene.probes, (&settings, Duration::ZERO));
        assert_eq!(seen, ["acme/net:a -> acme/net:b, ipv6 echo: there is no probe at its sender"]);
    }
}
