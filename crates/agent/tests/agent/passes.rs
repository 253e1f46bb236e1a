//! What passes come to, over the kernel in memory.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use crate::support::{Farm, Registry, Shared, agent, ground, node, places};
use sixfold_agent::dry::dry;
use sixfold_agent::metrics::Figures;
use sixfold_agent::remove::{RemoveError, remove};
use sixfold_agent::run::RunError;
use sixfold_core::limit;
use sixfold_core::model::{PeerPath, Seat};
use sixfold_core::name;
use sixfold_core::plan::{Op, Plan};
use sixfold_core::state::{Element, Endpoint, LinkKind, Netns, NodeState};
use sixfold_kernel::fake::Fake;
use sixfold_kernel::{ApplyError, Failure, Kernel, Keys, ObserveError, Report, Scope, Session};

#[test]
fn every_node_of_a_farm_comes_in_sync_and_knows_its_peers() {
    let farm = Farm::settled();
    for name in ["ant", "bee", "cat"] {
        let mut agent = agent(&farm.dir_of(name), farm.kernel(name), []);
        let status = agent.round().unwrap().clone();
        assert!(status.in_sync && status.drift.is_empty(), "{name}: {:?}", status.drift);
        assert_eq!(status.failures, Vec::<String>::new(), "{name}");
        assert_eq!((status.node.as_str(), status.wireguard.as_str()), (name, "tunnel"));
        let state = farm.kernel(name).state();
        let devices: usize = state.namespaces.values().map(|namespace| namespace.devices.len()).sum();
        assert_eq!(devices, status.devices.len(), "{name}: every device is reported");
        assert!(
            state.namespaces.values().any(|namespace| !namespace.peers.is_empty()),
            "{name} knows its peers"
        );
    }
}

#[test]
fn a_second_agent_changes_nothing() {
    let farm = Farm::settled();
    let before = farm.kernel("ant").state();
    let snapshot = farm.registry.snapshot(&node("ant"));
    let mut second = agent(&farm.dir_of("ant"), farm.kernel("ant"), [snapshot]);
    for pass in 1..=3 {
        let status = second.round().unwrap();
        assert!(status.in_sync);
        assert_eq!((status.passes, status.operations), (pass, 0));
    }
    assert_eq!(farm.kernel("ant").state(), before);
}

#[test]
fn a_status_tells_what_devices_counted_of_those_who_are_peers() {
    let farm = Farm::settled();
    let kernel = farm.kernel("cat");
    let session = Session { tx_bytes: 148, drops: [("forged".to_owned(), 2)].into(), ..Session::default() };
    *kernel.2.borrow_mut() = Some(session);
    let figures: Arc<Figures> = Arc::default();
    let mut agent = agent(&farm.dir_of("cat"), kernel, []).with_figures(Arc::clone(&figures));
    agent.round().unwrap();
    let status = agent.round().unwrap().clone();
    let told = |path| status.peers.iter().filter(move |peer| peer.path == path);
    assert!(told(PeerPath::Direct).count() > 0, "{:?}", status.peers);
    for peer in told(PeerPath::Direct) {
        let session = peer.session.as_ref().unwrap();
        assert_eq!((session.handshake_age_secs, session.tx_bytes, session.drops["forged"]), (None, 148, 2));
        assert!(!peer.silent, "nothing more was sent to it");
    }
    assert!(told(PeerPath::Exit).all(|peer| peer.session.is_none()), "those numbers are the exit point's");
    let text = figures.text();
    // Those too that carry nothing: exit points that other nodes have ready.
    let peers = kernel.state().namespaces.values().map(|ns| ns.peers.len()).sum::<usize>();
    assert!(peers > told(PeerPath::Direct).count());
    assert!(text.contains(&format!("\nsixfold_agent_peers {peers}\n")), "{text}");
    let sent = format!("\nsixfold_agent_wireguard_sent_bytes_total {}\n", 148 * peers);
    assert!(text.contains(&sent), "{text}");
}

#[test]
fn damage_is_repaired_by_the_next_pass() {
    let farm = Farm::settled();
    let before = farm.kernel("bee").state();
    {
        let mut kernel = farm.kernel("bee").0.borrow_mut();
        let named = |netns: &&Netns| matches!(netns, Netns::Named(name) if name.as_str().starts_with("net-"));
        let netns = kernel.state().namespaces.keys().find(named).unwrap().clone();
        let namespace = kernel.state_mut().at(netns);
        namespace.routes.clear();
        namespace.firewall = None;
    }
    let mut agent = agent(&farm.dir_of("bee"), farm.kernel("bee"), []);
    let status = agent.round().unwrap();
    assert!(status.in_sync && status.operations > 0);
    assert_eq!(farm.kernel("bee").state(), before);
}

#[test]
fn the_port_a_device_got_is_reported_and_let_in() {
    const GOT: u16 = 40_404;
    let farm = Farm::settled();
    for namespace in farm.kernel("ant").0.borrow_mut().state_mut().namespaces.values_mut() {
        if let Some(device) = namespace.devices.values_mut().next() {
            device.listen_port = GOT;
        }
    }
    let mut agent = agent(&farm.dir_of("ant"), farm.kernel("ant"), []);
    let status = agent.round().unwrap();
    assert!(status.in_sync, "{:?}", status.drift);
    assert!(status.devices.iter().any(|device| device.report.listen_port == GOT));
    let state = farm.kernel("ant").state();
    let firewall = state.namespaces[&Netns::Named(name::netns_public())].firewall.clone().unwrap();
    assert!(firewall.elements.keys().any(|key| key.element == Element::Port(GOT)));
}

#[test]
fn a_key_is_put_aside_once_its_resource_is_gone_and_taken_back() {
    let mut farm = Farm::settled();
    let places = places(&farm.dir_of("cat"));
    let files = || {
        let entries = fs::read_dir(places.keys()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
    };
    let before = (files(), farm.kernel("cat").state());
    assert_eq!(before.0.len(), 2);
    farm.registry.revision += 1;
    let mut snapshot = farm.registry.snapshot(&node("cat"));
    snapshot.networks.truncate(1);
    drop(agent(&farm.dir_of("cat"), farm.kernel("cat"), [snapshot]).round().cloned().unwrap());
    let aside: Vec<String> = files().difference(&before.0).cloned().collect();
    assert!(matches!(&aside[..], [name] if name.ends_with(".retired")), "{aside:?}");
    assert_eq!(files().len(), 2);

    farm.registry.revision += 1;
    let back = farm.registry.snapshot(&node("cat"));
    drop(agent(&farm.dir_of("cat"), farm.kernel("cat"), [back]).round().cloned().unwrap());
    assert_eq!(files(), before.0);
    let keys = |state: &NodeState| {
        let devices = state.namespaces.values().flat_map(|namespace| namespace.devices.values());
        devices.map(|device| device.public_key).collect::<BTreeSet<_>>()
    };
    assert_eq!(keys(&farm.kernel("cat").state()), keys(&before.1), "its peers need not learn another");
}

#[test]
fn a_key_that_others_may_read_is_refused_and_its_device_goes_on() {
    let farm = Farm::settled();
    let keys = places(&farm.dir_of("cat")).keys();
    let key = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let before = farm.kernel("cat").state();
    let mut agent = agent(&farm.dir_of("cat"), farm.kernel("cat"), []);
    let status = agent.round().unwrap();
    assert!(!status.in_sync);
    let [failure] = &status.failures[..] else { panic!("{:?}", status.failures) };
    assert!(
        failure.contains("mode 0640") && failure.contains("hint: ") && failure.contains("chmod 0600"),
        "{failure}"
    );
    assert_eq!(farm.kernel("cat").state(), before);
}

/// Refuses every step in one namespace.
struct Refusing(Shared, Netns);

impl Kernel for Refusing {
    fn observe(&mut self, scope: &Scope) -> Result<NodeState, ObserveError> {
        self.0.observe(scope)
    }

    fn apply(&mut self, plan: &Plan, keys: &dyn Keys) -> Report {
        let (refused, done): (Vec<_>, Vec<_>) =
            plan.steps.iter().cloned().partition(|step| step.netns == self.1 && step.op != Op::AddNetns);
        let mut report = self.0.apply(&Plan { steps: done }, keys);
        let error = || ApplyError::NoLink { link: name::loopback() };
        report.failures.extend(refused.into_iter().map(|step| Failure { step, error: error() }));
        report
    }
}

#[test]
fn one_failure_is_said_and_stops_nobody_else() {
    let registry = Registry::of_first_farm();
    let snapshot = registry.snapshot(&node("cat"));
    let web = &snapshot.networks[0];
    let of_cat = web.resources.iter().find(|resource| resource.seat == Seat::Node(node("cat"))).unwrap();
    let broken = Netns::Named(name::netns_resource(of_cat.index.get(), web.allocation.number()));
    let dir = tempfile::tempdir().unwrap();
    let fake = Shared::new();
    let kernel = Refusing(fake.clone(), broken.clone());
    let feed = std::collections::VecDeque::from([snapshot]);
    let mut agent = sixfold_agent::run::Agent::open(places(dir.path()), kernel, feed, ground).unwrap();
    let status = agent.round().unwrap();
    assert!(!status.in_sync && !status.drift.is_empty());
    assert!(status.failures.iter().any(|failure| failure.contains("no link lo")), "{:?}", status.failures);
    let state = fake.state();
    let built: BTreeSet<_> = state
        .namespaces
        .iter()
        .filter(|(_, namespace)| {
            namespace.links.values().any(|link| matches!(link.kind, LinkKind::Tun { .. }))
        })
        .map(|(netns, _)| netns)
        .collect();
    assert_eq!(built.len(), 1, "the other network's resource is built");
    assert!(!built.contains(&broken));
}

#[test]
fn removal_leaves_nothing_of_ours() {
    for name in ["ant", "bee", "cat"] {
        let farm = Farm::settled();
        let places = places(&farm.dir_of(name));
        let mut kernel = farm.kernel(name).clone();
        for file in [&places.status(), &places.state.join("snapshot.a"), &places.state.join("snapshot.b")] {
            fs::write(file.with_added_extension("new"), "left aside by a crash").unwrap();
        }
        assert!(remove(&mut kernel, &places).unwrap() > 0);
        let mut nothing = NodeState::default();
        nothing.at(Netns::Host);
        assert_eq!(kernel.state(), nothing);
        assert!(!places.state.exists() && !places.run.exists());
        assert_eq!(remove(&mut kernel, &places).unwrap(), 0, "again is right, too");
    }
}

#[test]
fn a_dry_run_says_what_a_pass_does_and_does_nothing() {
    let farm = Farm::settled();
    let state = farm.kernel("ant").state();
    let snapshot = farm.registry.snapshot(&node("ant"));
    let own = places(&farm.dir_of("ant"));
    let settled = dry(&snapshot, &state, ground(), Some(&own));
    assert!(settled.plan.is_empty() && settled.new_keys.is_empty() && settled.failed_keys.is_empty());
    let nowhere = places(&farm.dir_of("nowhere"));
    let from_nothing = dry(&snapshot, &Shared::new().state(), ground(), Some(&nowhere));
    assert_eq!(from_nothing.new_keys.len(), 3, "two exit points and a resource");
    assert!(!from_nothing.plan.is_empty() && !nowhere.state.exists());
}

#[test]
fn nothing_is_removed_under_a_running_agent() {
    let farm = Farm::settled();
    let running = agent(&farm.dir_of("ant"), farm.kernel("ant"), []);
    let mut kernel = farm.kernel("ant").clone();
    let refused = remove(&mut kernel, &places(&farm.dir_of("ant"))).unwrap_err();
    assert!(matches!(&refused, RemoveError::Run(RunError::Running { .. })), "{refused}");
    assert!(refused.hint().unwrap().contains("end the other one"));
    drop(running);
}

/// A hidden peer that thinks that its session is alive calls after two minutes only.
#[test]
fn a_device_that_is_new_calls_hidden_peers_where_they_were_heard_last() {
    let farm = Farm::settled();
    let kernel = farm.kernel("ant");
    let snapshot = || farm.registry.snapshot(&node("ant"));
    let hidden = || {
        let state = kernel.state();
        let all = state.namespaces.values().flat_map(|there| &there.peers);
        all.filter(|(_, peer)| peer.keepalive_secs == 0 && peer.endpoint == Endpoint::Unset)
            .map(|(key, _)| key.clone())
            .collect::<BTreeSet<_>>()
    };
    let all = hidden();
    assert!(!all.is_empty(), "cat is hidden");
    let at = "198.51.100.7:40404".parse().unwrap();
    let set = |endpoint| {
        for there in kernel.0.borrow_mut().state_mut().namespaces.values_mut() {
            there
                .peers
                .iter_mut()
                .filter(|(key, _)| all.contains(key))
                .for_each(|(_, peer)| peer.endpoint = endpoint);
        }
    };
    let of = || {
        let state = kernel.state();
        let peers =
            state.namespaces.values().flat_map(|there| &there.peers).filter(|(key, _)| all.contains(key));
        peers.map(|(_, peer)| (peer.endpoint, peer.keepalive_secs)).collect::<BTreeSet<_>>()
    };
    set(Endpoint::Live(at));
    let dir = farm.dir_of("ant");
    drop(agent(&dir, kernel, [snapshot()]).round().cloned().unwrap());
    let heard = places(&dir).state.join("heard.json");
    assert_eq!(fs::metadata(&heard).unwrap().permissions().mode() & 0o777, 0o600);

    // Another agent on the same devices calls nobody, whether sessions live or not.
    for endpoint in [Endpoint::Live(at), Endpoint::At(at), Endpoint::Unset] {
        set(endpoint);
        let status = agent(&dir, kernel, [snapshot()]).round().cloned().unwrap();
        assert_eq!((status.operations, of()), (0, [(endpoint, 0)].into()));
    }
    // After a reboot its devices are new.
    *kernel.0.borrow_mut() = Fake::new();
    let mut again = agent(&dir, kernel, [snapshot()]);
    assert!(again.round().unwrap().in_sync);
    assert_eq!(of(), [(Endpoint::At(at), limit::KEEPALIVE_SECS)].into());
    let places = places(&dir);
    assert!(
        dry(&snapshot(), &kernel.state(), ground(), Some(&places)).plan.is_empty(),
        "an agent's plan is no other"
    );
    // They answer.
    let moved = "198.51.100.7:50505".parse().unwrap();
    set(Endpoint::Live(moved));
    assert!(again.round().unwrap().in_sync);
    assert_eq!(of(), [(Endpoint::Live(moved), 0)].into());
    drop(again);
    drop(agent(&dir, kernel, [snapshot()]).round().cloned().unwrap());
    assert!(fs::read_to_string(&heard).unwrap().contains("50505"), "the newest is kept");
}
