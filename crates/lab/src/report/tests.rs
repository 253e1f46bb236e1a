//! Goldens of the text, and the shape of the document.

use sixfold_core::model::Family;
use sixfold_core::name::NetnsName;
use sixfold_core::reach::{By, Party, Stop, Traffic};

use super::*;
use crate::matrix::{CellResult, CounterResult, WarmUp};
use crate::probe::Outcome;

fn party(name: &str) -> Party {
    let (network, name) = name.split_once(':').unwrap();
    Party::Workload { network: network.parse().unwrap(), name: name.parse().unwrap() }
}

fn stop() -> Stop {
    let by = By::Rule { chain: "forward".to_owned(), comment: "not exposed".to_owned() };
    Stop { node: "ant".parse().unwrap(), netns: NetnsName::try_from("net-1abc-1").unwrap(), by }
}

fn result(from: &Party, to: &Party, (family, traffic): (Family, Traffic), passes: bool) -> CellResult {
    let verdict = if passes { Verdict::Passes } else { Verdict::Stopped(stop()) };
    let cell = Cell { from: from.clone(), to: to.clone(), address: None, family, traffic, verdict };
    let control = (!passes).then_some(Control::Same);
    let outcome = Outcome { sent: 2, ..Outcome::default() };
    CellResult { cell, outcome, arrived: 0, control, held: true, why: None }
}

fn node(name: &str) -> NodeReport {
    NodeReport {
        node: name.parse().unwrap(),
        farm: "alpha".parse().unwrap(),
        in_sync: true,
        revision: serde_json::from_str("7").unwrap(),
        operations: 131,
        passes: 4,
        wireguard: "tunnel".to_owned(),
        drift: Vec::new(),
        failures: Vec::new(),
    }
}

fn report(change: impl FnOnce(&mut Vec<NodeReport>, &mut MatrixReport)) -> Report {
    let (a, b, net) = (party("acme/web:front"), party("globex/lab:model"), Party::Internet);
    let kinds = [Traffic::Echo, Traffic::Tcp(443), Traffic::Udp(9000)];
    let mut cells = Vec::new();
    for kind in kinds {
        cells.push(result(&a, &net, (Family::Ipv6, kind), true));
        cells.push(result(&a, &net, (Family::Ipv4, kind), true));
        cells.push(result(&net, &a, (Family::Ipv6, kind), kind == Traffic::Tcp(443)));
        cells.push(result(&b, &a, (Family::Ipv4, kind), false));
    }
    let (before, after) = (Some(3), Some(13));
    let counters = vec![CounterResult { stop: stop(), before, after, sent: 10, held: true, why: None }];
    let warm_up = WarmUp { echoes: 7, unanswered: 0, rounds: 1, millis: 310 };
    let (mut nodes, mut matrix) = (vec![node("ant"), node("bee")], MatrixReport { warm_up, cells, counters });
    change(&mut nodes, &mut matrix);
    let steps = vec![StepTime::new("world", Duration::from_millis(412))];
    Report::new(nodes, matrix, (steps, Duration::from_millis(8_190)))
}

#[test]
fn text_where_all_held() {
    let expected = "\
from \\ to            1        2        3
 1 acme/web:front             ... ...  +++ +++
 2 globex/lab:model  ... ---           ... ...
 3 internet          -+- ...  ... ...
ipv6, then ipv4; of each echo, tcp/443, udp/9000.  + passes  - is stopped  ! not as expected  . nothing is expected

  sent  counted  stopped by (node: namespace: chain: rule)
    10       10  ant: net-1abc-1: forward: not exposed

  node  farm   state    revision  operations  wireguard
  ant   alpha  in sync         7         131  tunnel
  bee   alpha  in sync         7         131  tunnel

Held: 12 of 12 expectations (7 pass, 5 stop), 1 of 1 counters, 2 of 2 nodes in sync, 8.1 s (world 412 ms)
";
    assert_eq!(report(|_, _| {}).text(), expected);
}

#[test]
fn text_says_what_did_not_hold_and_why() {
    let report = report(|nodes, matrix| {
        (matrix.cells[0].held, matrix.cells[0].why) = (false, Some("0 of 2 answered, 0 arrived".to_owned()));
        (matrix.cells[3].held, matrix.cells[3].why) = (false, Some("2 of 2 answered, 2 arrived".to_owned()));
        (matrix.warm_up.rounds, matrix.warm_up.unanswered) = (32, 1);
        matrix.cells[7].control = Some(Control::Near);
        let counter = &mut matrix.counters[0];
        (counter.after, counter.held, counter.why) =
            (Some(11), false, Some("it rose by 8, not by 10".to_owned()));
        nodes[1].in_sync = false;
        nodes[1].drift.push("ip -n net-1abc-1 route add default dev lo".to_owned());
        nodes[1].failures.push("no room".to_owned());
    });
    let expected = "\
from \\ to            1        2        3
 1 acme/web:front             ... ...  !++ +++
 2 globex/lab:model  ... !--           ... ...
 3 internet          -+- ...  ... ...
ipv6, then ipv4; of each echo, tcp/443, udp/9000.  + passes  - is stopped  ! not as expected  . nothing is expected

   sent  counted  stopped by (node: namespace: chain: rule)
!    10        8  ant: net-1abc-1: forward: not exposed

   node  farm   state        revision  operations  wireguard
   ant   alpha  in sync             7         131  tunnel
!  bee   alpha  not in sync         7         131  tunnel

Not as expected:
  acme/web:front -> internet, ipv6 echo: should pass: 0 of 2 answered, 0 arrived
  globex/lab:model -> acme/web:front, ipv4 echo: should be stopped by ant: net-1abc-1: forward: not exposed: 2 of 2 \
answered, 2 arrived
  counter of ant: net-1abc-1: forward: not exposed: it rose by 8, not by 10
  bee: drift: ip -n net-1abc-1 route add default dev lo
  bee: failed: no room

Warm-up: 7 echoes in 32 rounds, 1 without an answer, 310 ms.
1 that stop have an end that succeeds only in the other family or direction.

NOT held: 10 of 12 expectations (7 pass, 5 stop), 0 of 1 counters, 1 of 2 nodes in sync, 8.1 s (world 412 ms)
";
    assert_eq!(report.text(), expected);
    assert!(!report.held);
}

#[test]
fn nothing_shown_is_not_held() {
    let held = |change: fn(&mut Vec<NodeReport>, &mut MatrixReport)| report(change).held;
    assert!(held(|_, _| {}));
    assert!(!held(|nodes, _| nodes.clear()));
    assert!(!held(|_, matrix| matrix.cells.clear()));
    assert!(!held(|nodes, _| nodes[0].in_sync = false));
    let nothing = Report::new(Vec::new(), MatrixReport::default(), (Vec::new(), Duration::ZERO));
    assert_eq!(nothing.text(), "NOT held: 0 of 0 nodes in sync, nothing was probed, 0.0 s\n");
}

#[test]
fn the_document_reads_back_and_says_its_format() {
    let report = report(|_, _| {});
    let value = serde_json::to_value(&report).unwrap();
    assert_eq!((&value["format"], &value["held"]), (&1.into(), &true.into()));
    assert_eq!(value["nodes"][0]["node"], "ant");
    assert_eq!(value["matrix"]["cells"][0]["cell"]["to"], "internet");
    assert_eq!(value["matrix"]["cells"][0]["cell"]["traffic"], "echo");
    assert_eq!(value["matrix"]["counters"][0]["stop"]["by"]["rule"]["comment"], "not exposed");
    assert_eq!(value["wall_millis"], 8190);
    assert_eq!(serde_json::from_value::<Report>(value).unwrap(), report);
}

#[test]
fn a_node_that_failed_at_something_is_not_in_sync() {
    let text = r#"{"node": "ant", "revision": 3, "in_sync": true, "wireguard": "kernel", "devices": [], "drift": [],
        "failures": [], "passes": 2, "operations": 40}"#;
    let mut status: Status = serde_json::from_str(text).unwrap();
    let farm = "alpha".parse().unwrap();
    assert!(NodeReport::new((&farm, &status.node), &status).in_sync);
    status.failures.push("no room".to_owned());
    assert!(!NodeReport::new((&farm, &status.node), &status).in_sync);
}
