//! The machine of this test: a node with many workloads and known peers, things of others beside and within it, an agent.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sixfold_core::desire::{self, Own};
use sixfold_core::id::{NodeId, Revision};
use sixfold_core::key::PrivateKey;
use sixfold_core::model::{DeviceReport, DeviceStatus, Reports, ResourceKey, Snapshot, Status};
use sixfold_core::state::{Backend, Netns, NodeState, SysctlName};
use sixfold_core::trial::Trial;

use super::PATIENCE;
use super::seen::{Facts, Key, look, namespaces, run};

/// Says to this program that it is on the machine already.
const ON_THE_MACHINE: &str = "SIXFOLD_TEST_ON_A_MACHINE";
/// From which number the damages are drawn.
const SEED: &str = "SIXFOLD_TEST_SEED";
const STATUS: &str = "/run/sixfold/status.json";
/// Networks besides the example's, each with an exit point and a resource here.
const NETWORKS: usize = 5;
/// Workloads of each of them here.
const WORKLOADS: usize = 24;

/// The number that damages are drawn from: the one given, or another each time.
pub(super) fn seed() -> u64 {
    let given = std::env::var(SEED).ok().map(|text| text.parse().expect("a seed is a number"));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = given.unwrap_or_else(now);
    println!("{SEED}={seed}");
    seed
}

/// Waits until something holds.
#[track_caller]
pub(super) fn soon(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}\n{}", status());
        sleep(Duration::from_millis(20));
    }
    began.elapsed()
}

/// Waits until the whole node is as it was; how long that took.
#[track_caller]
pub(super) fn as_before(when: &str, before: &Facts) -> Duration {
    let began = Instant::now();
    let all = || before.keys().map(|(netns, _)| netns.clone()).chain(namespaces()).collect::<BTreeSet<_>>();
    let mut pending = all();
    loop {
        let now = look(&pending.iter().cloned().collect::<Vec<_>>());
        let here = before.keys().filter(|(netns, _)| pending.contains(netns)).chain(now.keys());
        let other: Vec<&Key> = here.filter(|key| before.get(*key) != now.get(*key)).collect();
        match other.first() {
            None if pending == all() => return began.elapsed(),
            // Where it was not as it was it is again; and now everywhere?
            None => pending = all(),
            Some(key) => {
                let (was, is) = (before.get(*key), now.get(*key));
                assert!(began.elapsed() < PATIENCE, "{when}: {key:?}: was {was:?}, is {is:?}\n{}", status());
                pending = other.iter().map(|(netns, _)| netns.clone()).collect();
            }
        }
    }
}

/// What the agent says of itself.
pub(super) fn status() -> String {
    fs::read_to_string(STATUS).unwrap_or_default()
}

/// The first thing that is not as it was.
pub(super) fn difference(before: &Facts, after: &Facts) -> Option<String> {
    let keys = before.keys().chain(after.keys());
    let other = keys.into_iter().find(|key| before.get(*key) != after.get(*key))?;
    Some(format!("{other:?}: was {:?}, is {:?}", before.get(other), after.get(other)))
}

/// One node, and the agent that runs on it.
pub(super) struct Machine {
    dir: PathBuf,
    agent: Option<Child>,
    /// A namespace of ours in which others have put something.
    pub(super) shared: String,
    others: String,
    desired: NodeState,
}

impl Machine {
    /// Starts this test again on a machine of its own and lets it decide; or, if that has been done, is the machine.
    pub(super) fn enter(test: &str) -> Option<Self> {
        if std::env::var_os(ON_THE_MACHINE).is_some() {
            let dir = PathBuf::from(std::env::var_os("D").unwrap());
            return Some(Self {
                dir,
                agent: None,
                shared: String::new(),
                others: String::new(),
                desired: NodeState::default(),
            });
        }
        let program = std::env::current_exe().unwrap();
        let script = format!("{ON_THE_MACHINE}=1 exec {} --exact {test} --nocapture", program.display());
        let output = crate::on_a_machine_for(600, "ant", &script);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // Its sum is not said again: whoever counts results would count this test twice.
        out.lines().filter(|line| !line.starts_with("test result: ")).for_each(|line| println!("{line}"));
        assert!(output.status.success() && out.contains("1 passed"), "{}\n{err}", output.status);
        None
    }

    /// Others' things, then the node: once without, and then with all of its peers.
    pub(super) fn build(&mut self) {
        for line in include_str!("others.txt").lines().filter(|line| !line.is_empty()) {
            run(line);
        }
        // The kernel's own addresses are tentative for a second or two.
        soon("others' links stand still", || !others().contains("tentative"));
        self.others = others();
        let registry = Registry::new();
        let bare = registry.snapshot(1, &Reports::new());
        let own = Own::of(Backend::Tunnel);
        self.desired = desire::desire(&bare, &own);
        self.give(&bare);
        self.agent("--once");
        let status: Status = serde_json::from_str(&status()).unwrap();
        self.give(&registry.snapshot(2, &registry.reports(&status.devices)));
        let mut command = self.command();
        let log = fs::File::create("/run/agent.log").unwrap();
        let agent = command.stderr(Stdio::from(log)).stdout(Stdio::null()).spawn().unwrap();
        self.agent = Some(agent);
        self.others_are_untouched("while ours were built");
        soon("in sync with its peers", || in_sync(2));
    }

    /// Puts others' things into a namespace of ours, and sees that all stands still.
    pub(super) fn settled(&mut self) -> Facts {
        self.shared = namespaces().into_iter().find(|name| name.starts_with("net-")).unwrap();
        let shared = &self.shared;
        for line in [
            format!("ip -n {shared} link add theirs0 type veth peer name theirs1"),
            format!("ip -n {shared} link set theirs0 up"),
            format!("ip -n {shared} addr add 2001:db8:beef:2::1/64 dev theirs0 nodad"),
            format!("ip -n {shared} route add 2001:db8:beef:3::/64 dev theirs0 proto static"),
            format!("ip netns exec {shared} nft add table inet theirs"),
        ] {
            run(&line);
        }
        let mut facts = look(&namespaces());
        soon("nothing changes any more", || {
            let before = std::mem::replace(&mut facts, look(&namespaces()));
            difference(&before, &facts).is_none()
        });
        self.others = others_with(shared);
        soon("others' things are told of", || {
            let status: Status = serde_json::from_str(&status()).unwrap();
            ["link theirs0", "link theirs1", "route 2001:db8:beef:3::/64 of protocol 4", "table inet theirs"]
                .map(|thing| format!("{shared}: {thing}"))
                .iter()
                .all(|thing| status.foreign.contains(thing))
        });
        facts
    }

    /// Whether the agent has a say in that: of sysctls it sets some in each namespace.
    pub(super) fn asks_for(&self, (netns, what): &Key) -> bool {
        let Some(name) = what.strip_prefix("sysctl ") else { return true };
        let there = self.desired.namespaces.get(&Netns::Named(netns.parse().unwrap()));
        there.is_some_and(|there| there.sysctls.contains_key(&SysctlName(name.to_owned())))
    }

    #[track_caller]
    pub(super) fn others_are_untouched(&self, when: &str) {
        let now = if self.shared.is_empty() { others() } else { others_with(&self.shared) };
        same(&now, &self.others, when);
    }

    /// Ends the agent, finds nothing left to do, and takes ours away.
    pub(super) fn end_and_remove(mut self) {
        let mut agent = self.agent.take().unwrap();
        run(&format!("kill -TERM {}", agent.id()));
        assert!(agent.wait().unwrap().success());
        assert!(self.agent("--once").contains(": 0 operations"), "a second plan is empty");
        self.others_are_untouched("by the end");
        let removed =
            Command::new(program()).args(["agent", "--remove", "--state", "/run/state"]).output().unwrap();
        assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
        assert_eq!(namespaces(), Vec::<String>::new());
        let (mine, theirs) = (others(), self.others.split(WITHIN).next().unwrap().to_owned());
        same(&mine, &theirs, "when ours were removed");
    }

    /// Replaced by rename, as the feed asks for.
    fn give(&self, snapshot: &Snapshot) {
        let (new, file) = (self.dir.join("new"), self.dir.join("snapshot.json"));
        fs::write(&new, serde_json::to_string(snapshot).unwrap()).unwrap();
        fs::rename(new, file).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program());
        let feed = self.dir.join("snapshot.json");
        command.args(["agent", "--state", "/run/state", "--wireguard", "tunnel", "--feed"]).arg(feed);
        command
    }

    fn agent(&self, argument: &str) -> String {
        let output = self.command().arg(argument).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            drop(agent.kill());
            drop(agent.wait());
            let log = fs::read_to_string("/run/agent.log").unwrap_or_default();
            log.lines().filter(|line| !line.contains("INFO")).for_each(|line| println!("{line}"));
        }
    }
}

#[track_caller]
fn same(now: &str, before: &str, when: &str) {
    let lines = |one: &str, other: &str| {
        one.lines().filter(|line| !other.lines().any(|same| same == *line)).collect::<Vec<_>>().join("\n")
    };
    assert!(
        now == before,
        "others' things changed {when}:\n{}\n--- was\n{}",
        lines(now, before),
        lines(before, now)
    );
}

fn program() -> PathBuf {
    std::env::var_os("S").unwrap().into()
}

pub(super) fn in_sync(revision: u64) -> bool {
    let status: Value = serde_json::from_str(&status()).unwrap_or_default();
    status["in_sync"] == true && status["revision"] == revision
}

/// What is between others' things beside ours and those within.
const WITHIN: &str = "within ours\n";

/// What is not ours, byte for byte.
fn others() -> String {
    let shown = [
        "ip addr show dev mine0",
        "ip addr show dev docker0",
        "ip link show master docker0",
        "bridge fdb show br docker0",
        "ip -6 route show table all dev mine0",
        "ip -4 route show table all dev docker0",
        "ip -4 rule",
        "ip -6 rule",
        "ip -n theirs addr",
        "ip -n theirs -6 route",
        "nft -a list ruleset",
        "ip netns exec theirs nft -a list ruleset",
    ];
    shown.iter().map(|line| format!("# {line}\n{}", run(line))).collect()
}

fn others_with(shared: &str) -> String {
    let shown = [
        format!("ip -n {shared} addr show dev theirs0"),
        format!("ip -n {shared} addr show dev theirs1"),
        format!("ip -n {shared} -6 route show dev theirs0"),
        format!("ip netns exec {shared} nft -a list table inet theirs"),
    ];
    others() + WITHIN + &shown.iter().map(|line| format!("# {line}\n{}", run(line))).collect::<String>()
}

/// The registry's part: a farm with more networks than the example, and reports of devices that nobody has.
struct Registry(Trial);

fn node() -> NodeId {
    "ant".parse().unwrap()
}

impl Registry {
    fn new() -> Self {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/first-farm");
        let dir = PathBuf::from("/run/farm");
        fs::create_dir_all(&dir).unwrap();
        for file in ["farm.toml", "acme.toml", "globex.toml"] {
            fs::copy(example.join(file), dir.join(file)).unwrap();
        }
        for network in 0..NETWORKS {
            let mut text = format!(
                "tenant = \"t{network}\"\nnetwork = \"web\"\nnodes = [\"ant\", \"bee\", \"cat\"]\n\
                 exit = {{ farm = \"alpha\", slot = 1 }}\n"
            );
            for workload in 0..WORKLOADS {
                text += &format!("[[workload]]\nname = \"w{workload}\"\nnode = \"ant\"\n");
                text += &format!(
                    "[[expose]]\nworkload = \"w{workload}\"\nprotocol = \"tcp\"\nport = {}\n",
                    8000 + workload
                );
            }
            fs::write(dir.join(format!("t{network}.toml")), text).unwrap();
        }
        Self(Trial::new(sixfold_lab::files::load(&dir).unwrap()).unwrap())
    }

    fn snapshot(&self, revision: u64, reports: &Reports) -> Snapshot {
        let snapshot = Snapshot::for_node(self.0.world(), self.0.ledger(), reports, &node()).unwrap();
        Snapshot { revision: Revision(revision), ..snapshot }
    }

    /// The node's own devices, and one for every other resource of its networks.
    fn reports(&self, own: &[DeviceStatus]) -> Reports {
        let mut reports: Reports =
            own.iter().map(|device| ((device.resource, node()), device.report.clone())).collect();
        let mut number = 0;
        for network in self.snapshot(1, &Reports::new()).networks {
            for resource in network.resources {
                let key = ResourceKey { number: network.allocation.number(), index: resource.index };
                number += 1;
                let public_key = PrivateKey::from_bytes([number; 32]).public();
                let report = || DeviceReport::new(public_key, 51820, &resource.reach);
                reports.entry((key, resource.node)).or_insert_with(report);
            }
        }
        reports
    }
}
