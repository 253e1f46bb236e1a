//! Nothing loops: twenty probes are never more than twenty packets on any link, and as many errors, whoever sends them
//! to whatever nobody has, and in whatever order a route, a peer and an exit are taken away.
//!
//! Every link of every namespace is counted at both of its ends, in both directions, for each destination on its own
//! (`count`): one packet of one probe that passes a link twice would be the twenty-first. That the counting would see it is
//! shown by a loop that is made on purpose. Needs root, iproute2, nftables, wireguard-tools and tcpdump; without them it
//! fails.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![allow(clippy::print_stdout, reason = "what was measured is said, as it depends on the machine")]

mod count;
#[path = "../lab/ground.rs"]
#[allow(dead_code, reason = "the tests of the lab use the rest")]
mod ground;
mod volley;

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use count::{Counting, Direction, Link, Tally};
use volley::{From, PROBES, Sent, send};

use ground::{Up, soon_within};

/// Prefixes without a holder in each slot that are sent to.
const NOBODYS: usize = 1_000;
/// The same, of senders that differ from others only in where they are.
const FEWER: usize = 100;

const NODES: [&str; 3] = ["ant", "bee", "cat"];
const AROUND: [&str; 3] = ["internet", "router-alpha", "home-cat"];

/// A capture that has the machine to itself misses nothing.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first farm, with its resources' indices by namespace.
struct Farm {
    lab: Up,
    /// Every namespace of every node, by node.
    namespaces: Vec<From>,
}

impl Farm {
    fn up() -> Self {
        let lab = Up::start("first-farm");
        let of = |node: &'static str| {
            let names = lab.says(node, &["sh", "-c", "ip netns list | cut -d ' ' -f 1"]);
            let all: Vec<From> = names.lines().map(|name| From::new(node, Some(name))).collect();
            all
        };
        let namespaces = NODES.into_iter().flat_map(of).collect();
        Self { lab, namespaces }
    }

    fn named(&self, node: &str, begins: &str) -> From {
        let is_it = |one: &&From| one.place == node && one.netns.as_ref().unwrap().starts_with(begins);
        self.namespaces.iter().find(is_it).unwrap().clone()
    }

    /// The exit point of the network that has a workload on ant.
    fn exit(&self) -> From {
        let load = index(&self.named("ant", "load-"));
        let on_ant = self.namespaces.iter().filter(|one| one.place == "ant");
        let exits =
            on_ant.filter(|one| one.netns.as_ref().unwrap().starts_with("net-") && index(one) != load);
        let knows =
            |one: &&From| one.says(&self.lab, "ip -6 route").contains(&format!("2001:db8:a:{load:x}::/64"));
        exits.into_iter().find(knows).unwrap().clone()
    }

    fn indices(&self) -> BTreeSet<u16> {
        let resources = self.namespaces.iter().filter(|one| one.netns.as_ref().unwrap().starts_with("net-"));
        resources.map(index).collect()
    }

    fn everywhere(&self) -> Vec<From> {
        let own = NODES.into_iter().chain(AROUND).map(|place| From::new(place, None));
        self.namespaces.iter().cloned().chain(own).collect()
    }

    /// Of a slot, an address of each of so many prefixes that nobody holds.
    fn nobodys(&self, slot: u16, count: usize) -> Vec<Ipv6Addr> {
        let taken = self.indices();
        // Seven has no divisor in common with 4,096: all over the slot.
        // The first of all is the segment's.
        let all = (1..4096_u16).map(|at| slot << 12 | (at.wrapping_mul(7) & 0xfff));
        all.filter(|index| !taken.contains(index)).map(|index| address(index, 5)).take(count).collect()
    }

    /// Addresses that nobody has, of every prefix that somebody has.
    fn unused(&self) -> Vec<Ipv6Addr> {
        let of = |index: u16| (0..20_u16).map(move |host| address(index, 0x4000 + host));
        self.indices().into_iter().flat_map(of).collect()
    }
}

fn index(at: &From) -> u16 {
    let name = at.netns.as_ref().unwrap();
    u16::from_str_radix(name.split('-').nth(1).unwrap(), 16).unwrap()
}

fn address(index: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, index, 0, 0, 0, host)
}

/// No destination got more than its share anywhere, both directions of a link together: but where packets are turned
/// around on purpose, as at an exit point that relays between two hidden nodes, and at the router's one segment.
#[track_caller]
fn nothing_loops(tally: &Tally) {
    let turns = |link: &Link| link.name.starts_with("wg-") || link.name == "segment";
    for (link, seen) in tally.iter().filter(|(link, _)| link.direction != Direction::Both || !turns(link)) {
        assert!(seen.most <= u64::from(PROBES), "{link:?}: {seen:?}");
    }
}

/// How many packets that was, each where it came in and where it went out.
fn counted(tally: &Tally) -> u64 {
    tally.iter().filter(|(link, _)| link.direction != Direction::Both).map(|(_, seen)| seen.packets).sum()
}

/// What each sender's kernel took did leave by a link of its place, and a workload or the Internet sends whatever it wants. A
/// router of whose neighbours some are not there keeps what is for these.
#[track_caller]
fn all_left(tally: &Tally, volleys: &[Sent]) {
    for sent in volleys.iter().filter(|sent| sent.from.place != "router-alpha") {
        let of = tally.iter().filter(|(link, _)| {
            link.at == sent.from
                && link.volley == sent.number
                && !link.error
                && link.direction == Direction::Out
        });
        let left: u64 = of.map(|(_, seen)| seen.packets).sum();
        // A neighbour that is found out first costs what does not fit the queue meanwhile.
        assert!(left >= sent.taken - sent.taken / 100, "{left} left of {sent:?}");
        let free = sent.from.netns.as_ref().is_none_or(|netns| netns.starts_with("load-"));
        assert!(!free || sent.refused == 0, "{sent:?}");
    }
}

/// All of a volley that arrived by some link of a place.
fn arrived(tally: &Tally, at: &From, volley: u16) -> u64 {
    let of = tally.iter().filter(|(link, _)| {
        link.at == *at && link.volley == volley && !link.error && link.direction == Direction::In
    });
    of.map(|(_, seen)| seen.packets).max().unwrap_or(0)
}

#[test]
fn what_nobody_has_is_refused_once_whoever_asks() {
    let _alone = alone();
    let farm = Farm::up();
    let (internet, router) = (From::new("internet", None), From::new("router-alpha", None));
    // As a farmer may have told the router before anybody holds the slot; of the others it was told nothing.
    for slot in 3..=8_u16 {
        let line = format!(
            "ip -6 route add 2001:db8:a:{slot:x}000::/52 via 2001:db8:a:0:{slot:x}000::1 dev segment"
        );
        router.says(&farm.lab, &line);
    }
    let (gateway, exit) = (farm.named("ant", "gw-1-1"), farm.exit());
    let (front, backup) = (farm.named("ant", "load-"), farm.named("cat", "load-"));
    let all = [&internet, &backup, &gateway, &exit].map(|from| (from.clone(), NOBODYS));
    let others = [router, front.clone(), farm.named("bee", "gw-2-1"), farm.named("bee", "load-")];
    let senders: Vec<(From, usize)> = all.into_iter().chain(others.map(|from| (from, FEWER))).collect();
    let began = Instant::now();
    let counting = Counting::start(&farm.lab, farm.everywhere());
    let mut volleys = Vec::new();
    for (number, (from, count)) in (1..).zip(&senders) {
        let to = [farm.nobodys(1, *count), farm.nobodys(2, *count), farm.unused()].concat();
        volleys.push(send(&farm.lab, from, (number, &to)));
        // A slot that nobody holds is the upstream's to refuse, whoever sends: the Internet's are all that it gets.
        let count = if *from == internet { NOBODYS } else { FEWER };
        let to: Vec<Ipv6Addr> =
            [0].into_iter().chain(3..=15).flat_map(|slot| farm.nobodys(slot, count)).collect();
        volleys.push(send(&farm.lab, from, (number + 100, &to)));
    }
    let tally = counting.end();
    all_left(&tally, &volleys);
    nothing_loops(&tally);
    // They did get as far as where they are refused: all that the Internet sent, some of what came by tunnels.
    let (probes, got) = (u64::from(PROBES) * NOBODYS as u64, arrived(&tally, &gateway, 1));
    assert!(got >= probes, "the gateway of slot 1 got {got} of the {probes} for it at least");
    for (number, (from, _)) in (1..).zip(&senders).filter(|(_, (from, _))| [&front, &backup].contains(&from))
    {
        assert!(arrived(&tally, &gateway, number) > probes / 20, "nothing of {from:?} got to the gateway");
    }
    let packets = counted(&tally);
    println!("{packets} packets counted on all links in {:.1} s", began.elapsed().as_secs_f64());
}

/// Stops or continues a node's agent.
fn signal(farm: &Farm, node: &str, name: &str) {
    let line = format!(
        "me=$(readlink /proc/self/ns/mnt); for p in /proc/[0-9]*; do\n\
         [ \"$(readlink $p/ns/mnt)\" = \"$me\" ] && [ \"$(tr '\\0' '\\n' <$p/cmdline | sed -n 2p)\" = agent ] || continue\n\
         kill -{name} ${{p#/proc/}} && echo done; done"
    );
    assert_eq!(From::new(node, None).says(&farm.lab, &line), "done\n");
}

fn is_in_sync(farm: &Farm, node: &str) -> bool {
    let text = farm.lab.says(node, &["cat", "/run/sixfold/status.json"]);
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    status["in_sync"] == true
}

#[test]
fn nothing_loops_in_whatever_order_route_peer_and_exit_go() {
    let _alone = alone();
    let farm = Farm::up();
    let (internet, gateway, exit) = (From::new("internet", None), farm.named("ant", "gw-1-1"), farm.exit());
    let (front, exit_index) = (farm.named("ant", "load-"), index(&exit));
    let front_index = index(&front);
    let ant = From::new("ant", None);
    let allowed = ant.says(&farm.lab, &format!("wg show wg-{exit_index:04x}-1 allowed-ips"));
    let of_front =
        allowed.lines().find(|line| line.contains(&format!("2001:db8:a:{front_index:x}::/64"))).unwrap();
    let key = of_front.split_whitespace().next().unwrap();
    let route = format!("ip -6 route del 2001:db8:a:{front_index:x}::/64 proto 200 metric 1024");
    let peer = format!("wg set wg-{exit_index:04x}-1 peer {key} remove");
    let link = format!("ip link del to-{exit_index:04x}-1");
    let steps: [(&From, &str); 3] = [(&gateway, &route), (&ant, &peer), (&gateway, &link)];
    let (mut number, mut volleys) = (0, Vec::new());
    let counting = Counting::start(&farm.lab, farm.everywhere());
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        signal(&farm, "ant", "STOP");
        for (place, step) in order.into_iter().enumerate() {
            let (at, line) = steps[step];
            // With the exit goes what led to it: then there is no route to take away any more.
            let gone = step == 0 && order[..place].contains(&2);
            at.says(&farm.lab, if gone { "true" } else { line });
            let to = [farm.unused(), vec![address(front_index, 2), address(front_index, 1)]].concat();
            for from in [&internet, &front, &gateway, &exit, &farm.named("cat", "load-")] {
                number += 1;
                volleys.push(send(&farm.lab, from, (number, &to)));
            }
        }
        signal(&farm, "ant", "CONT");
        std::thread::sleep(Duration::from_millis(300));
        let back = || {
            let has = gateway
                .says(&farm.lab, "ip -6 route show proto 200")
                .contains(&format!(":{front_index:x}::/64"));
            has && ant.says(&farm.lab, &format!("wg show wg-{exit_index:04x}-1 peers")).contains(key)
        };
        soon_within(Duration::from_secs(10), "all of it is back", || back() && is_in_sync(&farm, "ant"));
    }
    // On purpose: what the upstream sends for nobody goes back to it.
    signal(&farm, "ant", "STOP");
    gateway
        .says(&farm.lab, "nft delete table inet sixfold; ip -6 route del unreachable 2001:db8:a:1000::/52");
    let looping = farm.nobodys(1, 3);
    send(&farm.lab, &internet, (1_000, &looping));
    let (made, tally): (Tally, Tally) =
        counting.end().into_iter().partition(|(link, _)| link.volley == 1_000);
    let most = made.iter().filter(|(link, _)| link.at == gateway).map(|(_, seen)| seen.most).max().unwrap();
    assert!(most > 10 * u64::from(PROBES), "the counting sees {most} of a loop that was made");
    all_left(&tally, &volleys);
    nothing_loops(&tally);
    let seen = counted(&tally);
    println!("{number} volleys, {seen} packets counted; {most} of {PROBES} probes in the loop that was made");
}
