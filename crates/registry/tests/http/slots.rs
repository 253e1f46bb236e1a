//! Exit slots pass on by what nodes say, over real sockets: who is there, who is asked, who is told when.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::Method;
use sixfold_api::client::News;
use sixfold_api::event::{EventKind, Events};
use sixfold_api::resource::Done;
use sixfold_core::id::NodeId;
use sixfold_core::model::{Answering, ExitStatus, SlotKey, Status};
use sixfold_core::tenure::{Duty, Phase, Tenure};
use sixfold_core::trust::{Delegation, Proofs};
use sixfold_registry::http::{Desk, router};
use sixfold_registry::store::{Memory, Sqlite, Store};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Running;
use super::flow::{
    FARMER, NODES, TENANT, believed, delegation, farm, joined, live, network, news, node, put, send, status,
};

const PAUSE: Duration = Duration::from_millis(10);

fn key() -> SlotKey {
    "2001:db8:a::/48#1".parse().unwrap()
}

impl Running {
    /// A registry that has slots pass on.
    fn settling(store: Box<dyn Store>) -> Self {
        let (desk, stop) = Self::desk(store, true);
        tokio::spawn(Desk::settle(Arc::clone(&desk)));
        Self::listen("[::1]:0", (router(&desk), desk), stop)
    }

    /// The farm with its network, and a slot that these may hold.
    async fn furnished(&self, holders: &[u8]) {
        joined(self).await;
        self.list(3, holders).await;
        let path = format!("/v1/networks/{}", network());
        send(&mut self.client(Some(TENANT)), &path, &put(&live(1, &NODES), TENANT)).await.unwrap();
    }

    async fn list(&self, version: u64, holders: &[u8]) {
        let mut draft = delegation(version, true).with_nodes(Vec::new());
        draft.slots[0].holders = holders.iter().map(|seed| node(*seed)).collect();
        let said = Delegation::new(draft, "alpha".parse().unwrap(), version).unwrap();
        let path = format!("/v1/farms/{}", farm());
        send(&mut self.client(Some(FARMER)), &path, &put(&said, FARMER)).await.unwrap();
    }

    /// Who holds the slot, by what a node is told, once that is so; and what else it is told then.
    async fn until(&self, by: u8, is_so: impl Fn(&Tenure) -> bool) -> (Tenure, Proofs) {
        // Not a request that waits: those are the agents'.
        let mut client = self.client(Some(TENANT));
        loop {
            let proofs: Proofs = client.get(&format!("/v1/networks/{}/proofs", network())).await.unwrap();
            let tenures: Vec<Tenure> = proofs.tenures.iter().map(|signed| signed.open().unwrap()).collect();
            if let [tenure] = tenures.as_slice()
                && is_so(tenure)
            {
                let News::Changed { value, .. } = news(&mut self.client(Some(by)), by, None, 0).await else {
                    panic!("it knows nothing")
                };
                return (tenure.clone(), value);
            }
            sleep(PAUSE).await;
        }
    }

    async fn tenure(&self) -> Tenure {
        self.until(NODES[1], |_| true).await.0
    }

    async fn say(&self, seed: u8, exit: ExitStatus) {
        let said = Status { exits: vec![exit], ..status(seed, true) };
        let path = format!("/v1/nodes/{}/status", node(seed));
        self.client(Some(seed)).send::<Done>(Method::PUT, &path, &said, None).await.unwrap();
    }
}

/// Ready, by the newest that it was told.
fn exit(tenure: &Tenure, serves: bool, others: Answering) -> ExitStatus {
    let (duty, router) = (if serves { Duty::Hold } else { Duty::Rest }, Answering::Answers);
    ExitStatus {
        slot: key(),
        duty,
        tenure: Some(tenure.clone()),
        made: true,
        serves,
        router,
        others,
        second: None,
    }
}

/// An agent that waits for news, and asks anew whenever it is answered. Counts how often, and notes when it is told of something. One
/// that lives says how it is, too, when it is answered with nothing new; else it is what is left of one that is stopped.
struct Agent {
    polling: JoinHandle<()>,
    asked: Arc<AtomicUsize>,
}

impl Agent {
    fn start(
        running: &Running,
        seed: u8,
        told: Arc<Mutex<Vec<(NodeId, Proofs)>>>,
        says: Option<ExitStatus>,
    ) -> Self {
        let (mut client, asked) = (running.client(Some(seed)), Arc::new(AtomicUsize::new(0)));
        let says = says.map(|exit| Status { exits: vec![exit], ..status(seed, true) });
        let count = Arc::clone(&asked);
        let polling = tokio::spawn(async move {
            let mut known: Option<String> = None;
            loop {
                count.fetch_add(1, Ordering::SeqCst);
                if let News::Changed { value, tag } = news(&mut client, seed, known.as_deref(), 20).await {
                    told.lock().unwrap().push((node(seed), value));
                    known = tag;
                } else if let Some(said) = &says {
                    let path = format!("/v1/nodes/{}/status", node(seed));
                    client.send::<Done>(Method::PUT, &path, said, None).await.unwrap();
                }
            }
        });
        Self { polling, asked }
    }

    fn quiet(running: &Running, seed: u8) -> Self {
        Self::start(running, seed, Arc::default(), None)
    }

    fn living(running: &Running, seed: u8, exit: ExitStatus) -> Self {
        Self::start(running, seed, Arc::default(), Some(exit))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.polling.abort();
    }
}

async fn happened(running: &Running) -> Vec<(EventKind, String)> {
    let mut farmer = running.client(Some(FARMER));
    let told: Events = farmer.get("/v1/events?after=0&wait=0").await.unwrap();
    let of_slots = |kind| matches!(kind, EventKind::SlotHeld | EventKind::SlotVacant);
    let told = told.events.into_iter().filter(|event| of_slots(event.what.kind));
    told.map(|event| (event.what.kind, event.what.text)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_passes_on_when_its_holder_is_gone_and_not_while_it_answers() {
    let running = Running::settling(Box::<Memory>::default());
    running.furnished(&NODES).await;
    let (first, proofs) = running.until(NODES[1], |_| true).await;
    assert_eq!((first.epoch.0, &first.holder), (1, &node(NODES[0])), "the first of the list");
    assert_eq!(believed(&proofs, NODES[1]).gateways[0].tenure.as_ref(), Some(&first));
    let serves = exit(&first, true, Answering::Silent);
    let (holder, _standby) = (Agent::living(&running, NODES[0], serves), Agent::quiet(&running, NODES[1]));
    running.say(NODES[0], exit(&first, true, Answering::Silent)).await;
    running.say(NODES[1], exit(&first, false, Answering::Answers)).await;

    // It is missed on the segment, and lives: it says so, and stays.
    let before = holder.asked();
    running.say(NODES[1], exit(&first, false, Answering::Silent)).await;
    while holder.asked() < before + 2 {
        sleep(PAUSE).await;
    }
    assert_eq!(running.tenure().await, first);
    running.say(NODES[1], exit(&first, false, Answering::Answers)).await;

    // Its process ends: its connection is closed. The standby sees that a moment later.
    drop(holder);
    sleep(Duration::from_millis(350)).await;
    let missed = Instant::now();
    running.say(NODES[1], exit(&first, false, Answering::Silent)).await;
    let (second, proofs) = running.until(NODES[1], |tenure| tenure.epoch.0 == 2).await;
    println!("a holder whose connection closed was followed {:?} after it was missed", missed.elapsed());
    assert_eq!((&second.holder, &second.phase), (&node(NODES[1]), &Phase::Done));
    let snapshot = believed(&proofs, NODES[1]);
    assert_eq!(snapshot.gateways[0].duty, Duty::Hold);
    assert_eq!(snapshot.networks[0].exit().unwrap().node, node(NODES[1]));
    let held = |epoch: u64| (EventKind::SlotHeld, format!("slot {} in epoch {epoch}", key()));
    assert_eq!(happened(&running).await, [held(1), held(2)]);
}

/// Its machine lost its power, or its agent hangs: nothing says so, and its request seems to wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_does_not_ask_anew_when_it_is_challenged_is_gone() {
    let running = Running::settling(Box::<Memory>::default());
    running.furnished(&NODES).await;
    let first = running.tenure().await;
    let mut hangs = running.client(Some(NODES[0]));
    let News::Changed { tag, .. } = news(&mut hangs, NODES[0], None, 0).await else { panic!("nothing") };
    running.say(NODES[0], exit(&first, true, Answering::Silent)).await;
    let _standby = Agent::quiet(&running, NODES[1]);
    running.say(NODES[1], exit(&first, false, Answering::Answers)).await;
    let hanging = tokio::spawn(async move {
        let ended = news(&mut hangs, NODES[0], tag.as_deref(), 50).await;
        // The connection is held.
        (hangs, ended)
    });
    sleep(Duration::from_millis(1200)).await;
    let missed = Instant::now();
    running.say(NODES[1], exit(&first, false, Answering::Silent)).await;
    let (second, _) = running.until(NODES[1], |tenure| tenure.epoch.0 == 2).await;
    println!("a holder that hung was followed {:?} after it was missed", missed.elapsed());
    assert_eq!(second.holder, node(NODES[1]));
    let (_, ended) = hanging.await.unwrap();
    assert_eq!(ended, News::Same, "it was asked");
}

/// Its agent is stopped, and the process that asks for it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_for_which_only_its_courier_speaks_is_gone() {
    let running = Running::settling(Box::<Memory>::default());
    running.furnished(&NODES).await;
    let first = running.tenure().await;
    let (holder, _standby) = (Agent::quiet(&running, NODES[0]), Agent::quiet(&running, NODES[1]));
    running.say(NODES[0], exit(&first, true, Answering::Silent)).await;
    running.say(NODES[1], exit(&first, false, Answering::Answers)).await;
    sleep(Duration::from_millis(1200)).await;
    let before = holder.asked();
    running.say(NODES[1], exit(&first, false, Answering::Silent)).await;
    let (second, _) = running.until(NODES[1], |tenure| tenure.epoch.0 == 2).await;
    assert_eq!(second.holder, node(NODES[1]));
    assert!(holder.asked() > before, "it was challenged, and asked anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_move_is_told_last_to_whom_it_was_from() {
    let running = Running::settling(Box::<Memory>::default());
    running.furnished(&NODES).await;
    let first = running.tenure().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let _agents = NODES.map(|seed| Agent::start(&running, seed, Arc::clone(&told), None));
    running.say(NODES[0], exit(&first, true, Answering::Silent)).await;
    // The farmer's wish is heard once both are ready.
    running.say(NODES[1], exit(&first, false, Answering::Answers)).await;
    running.list(4, &[NODES[1], NODES[0]]).await;
    let from = Phase::Handover { from: node(NODES[0]) };
    let (moving, proofs) = running.until(NODES[0], |tenure| tenure.epoch.0 == 2).await;
    assert_eq!((&moving.holder, &moving.phase), (&node(NODES[1]), &from), "in the same commit");
    let snapshot = believed(&proofs, NODES[0]);
    assert_eq!(snapshot.gateways[0].duty, Duty::Yield);
    assert_eq!(snapshot.networks[0].exit().unwrap().node, node(NODES[0]));
    running.say(NODES[0], exit(&moving, true, Answering::Silent)).await;
    running.say(NODES[1], exit(&moving, true, Answering::Answers)).await;
    let (done, _) =
        running.until(NODES[1], |tenure| tenure.phase == Phase::Done && tenure.epoch.0 == 2).await;
    assert_eq!(done.holder, node(NODES[1]));
    let order = || {
        let told = told.lock().unwrap();
        let is_of = |proofs: &Proofs| proofs.tenures.iter().any(|signed| signed.open() == Ok(done.clone()));
        told.iter().filter(|(_, proofs)| is_of(proofs)).map(|(node, _)| node.clone()).collect::<Vec<_>>()
    };
    while order().is_empty() {
        sleep(PAUSE).await;
    }
    sleep(Duration::from_millis(300)).await;
    assert_eq!(order(), [node(NODES[1])], "until it says that it has switched");
    let (waited, switched) = (Instant::now(), status(NODES[1], true));
    let at = told.lock().unwrap().last().unwrap().1.revision;
    let said = Status { revision: at, exits: vec![exit(&done, true, Answering::Answers)], ..switched };
    let path = format!("/v1/nodes/{}/status", node(NODES[1]));
    running.client(Some(NODES[1])).send::<Done>(Method::PUT, &path, &said, None).await.unwrap();
    while order().len() < 2 {
        sleep(PAUSE).await;
    }
    println!("whom a slot moved from is told {:?} after the others switched", waited.elapsed());
    assert_eq!(order(), [node(NODES[1]), node(NODES[0])]);
    let moved = (EventKind::SlotHeld, format!("slot {} in epoch 2, moving from {}", key(), node(NODES[0])));
    assert!(happened(&running).await.contains(&moved));
}

/// What it would commit might have been given to others already.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_was_set_back_has_no_slot_pass_on() {
    let dir = tempfile::tempdir().unwrap();
    let (path, earlier) = (dir.path().join("registry.db"), dir.path().join("earlier.db"));
    let running = Running::settling(Box::new(Sqlite::open(&path).unwrap()));
    running.furnished(&NODES).await;
    let first = running.tenure().await;
    sixfold_registry::copy::copy(&path, &earlier, sixfold_registry::fsck::fsck).unwrap();
    running.list(4, &[NODES[0], NODES[1]]).await;
    let tenant = format!("/v1/networks/{}", network());
    send(&mut running.client(Some(TENANT)), &tenant, &put(&live(2, &NODES[1..]), TENANT)).await.unwrap();
    let mut standby = running.client(Some(NODES[1]));
    let News::Changed { tag, .. } = news(&mut standby, NODES[1], None, 0).await else { panic!("nothing") };

    let running = Running::settling(Box::new(Sqlite::open(&earlier).unwrap()));
    let mut standby = running.client(Some(NODES[1]));
    news(&mut standby, NODES[1], tag.as_deref(), 0).await;
    let unmade = ExitStatus { made: false, ..exit(&first, false, Answering::Silent) };
    running.say(NODES[0], exit(&first, true, Answering::Silent)).await;
    running.say(NODES[0], unmade).await;
    running.say(NODES[1], exit(&first, false, Answering::Silent)).await;
    // It would have been done at once.
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(running.tenure().await, first);
}
