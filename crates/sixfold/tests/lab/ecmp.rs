//! A slot with two next hops: two nodes forward its IPv6 at once, and flows go on by whichever is left.

use std::process::Child;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::failover::{cable, moves, process, start, started_with, workload};
use crate::ground::{SIXFOLD, Up, soon, soon_within};
use crate::moved::{HOSTS, answered, echoes};

/// Connections and exchanges of datagrams that go on at once: as many as make it sure that either next hop has some.
const FLOWS: usize = 24;

/// Answers datagrams and takes connections, of which it tells the sum of what came.
const SERVES: &str = "import socket,hashlib,threading
u=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM); u.bind(('::',8443))
def echo():
    while True: u.sendto(*u.recvfrom(64))
threading.Thread(target=echo,daemon=True).start()
def take(c):
    h=hashlib.sha256()
    while d:=c.recv(65536): h.update(d)
    c.sendall(h.hexdigest().encode()); c.close()
s=socket.create_server(('::',8443),family=socket.AF_INET6,backlog=64)
while True: threading.Thread(target=take,args=(s.accept()[0],),daemon=True).start()";

/// Sends 24 streams of data for some seconds, and tells how many came whole.
const SENDS: &str = "import socket,hashlib,sys,threading,time
whole=[]
def one(k):
    c=socket.create_connection((sys.argv[1],8443),20); c.settimeout(60); h=hashlib.sha256()
    for i in range(int(float(sys.argv[2])*20)): b=bytes([(i+k)%251])*4096; h.update(b); c.sendall(b); time.sleep(0.05)
    c.shutdown(socket.SHUT_WR); got=b''
    while d:=c.recv(64): got+=d
    if got.decode()==h.hexdigest(): whole.append(k)
all=[threading.Thread(target=one,args=(k,)) for k in range(24)]
[t.start() for t in all]; [t.join() for t in all]; print(len(whole))";

/// Asks by 24 sockets every 40 ms for some seconds, and tells of each how many answers came, the longest row without one, and the last.
const ASKS: &str = "import select,socket,sys,time
all=[socket.socket(socket.AF_INET6,socket.SOCK_DGRAM) for _ in range(24)]
[s.connect((sys.argv[1],8443)) for s in all]; got={s:[0] for s in all}; began=time.time(); last=int(float(sys.argv[2])*25)
for n in range(1,last+1):
    for s in all:
        try: s.send(str(n).encode())
        except OSError: pass
    until=began+n*0.04 if n<last else time.time()+1
    while (left:=until-time.time())>0 and (ready:=select.select(all,[],[],left)[0]):
        for s in ready:
            try: got[s].append(int(s.recv(64)))
            except OSError: pass
for g in got.values(): print(len(g)-1,max(b-a-1 for a,b in zip(g,g[1:])),g[-1])";

/// What a node is for slot 1: whether it holds it, and whether it is its second next hop.
fn role(lab: &Up, node: &str) -> [bool; 2] {
    let output = lab.exec(node, &[SIXFOLD, "exit", "status", "--json"]);
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut exits = all["exits"].as_array().unwrap().iter();
    let slot = exits.find(|exit| exit["slot"] == "2001:db8:a::/48#1").unwrap();
    [&slot["serves"], &slot["second"]["here"]].map(|is| is.as_bool().unwrap())
}

const HOLDS: [bool; 2] = [true, false];
const SECOND: [bool; 2] = [false, true];

/// Packets that came by a gateway's link to the segment.
fn counted(lab: &Up, node: &str) -> u64 {
    let shown = lab.says(node, &["ip", "-n", "gw-1-1", "-s", "-j", "link", "show", "dev", "pub-1-1"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    shown[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
}

/// From the Internet's host to the workload that serves, for some seconds.
fn inward(lab: &Up, what: &str, seconds: f64) -> Child {
    let (_, address) = workload(lab);
    start(lab, "internet", None, &["python3", "-c", what, &address, &seconds.to_string()])
}

/// What came of the exchanges of datagrams: all answered, the longest time without an answer of any, and how many had one.
fn asked(asks: Child, seconds: f64) -> (usize, usize, usize) {
    let output = String::from_utf8(asks.wait_with_output().unwrap().stdout).unwrap();
    let number = |word: &str| word.parse::<usize>().unwrap();
    let flows: Vec<Vec<usize>> = output.lines().map(|line| line.split(' ').map(number).collect()).collect();
    assert_eq!(flows.len(), FLOWS, "{output}");
    let last = (seconds * 25.0) as usize;
    assert!(flows.iter().all(|flow| flow[2] == last), "each goes on to the end: {output}");
    let gaps = flows.iter().map(|flow| flow[1] * 40);
    (
        flows.iter().map(|flow| flow[0]).sum(),
        gaps.clone().max().unwrap_or_default(),
        gaps.filter(|gap| *gap > 0).count(),
    )
}

/// Both nodes get some of what comes.
fn both_forward(lab: &Up) {
    soon_within(Duration::from_secs(90), "both gateways forward", || {
        let before = ["ant", "bee"].map(|node| counted(lab, node));
        asked(inward(lab, ASKS, 1.0), 1.0);
        let after = ["ant", "bee"].map(|node| counted(lab, node));
        (0..2).all(|at| after[at] > before[at] + 50)
    });
}

/// How a node is lost for some seconds.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Cut,
    /// Its agent, with the gateway's link: what starts again mends it.
    Killed,
}

#[test]
fn two_gateways_forward_one_slot_at_once_and_flows_go_on_by_whichever_is_left() {
    let lab = started_with(|farm| farm.replacen("[\"ant\", \"bee\"]", "[\"ant\", \"bee\"]\necmp = true", 1));
    let (netns, _) = workload(&lab);
    let mut serves = start(&lab, "cat", Some(&netns), &["python3", "-c", SERVES]);
    soon("ant holds it, and bee is the second", || [role(&lab, "ant"), role(&lab, "bee")] == [HOLDS, SECOND]);
    let route = lab.says("router-alpha", &["ip", "-6", "route", "show", "2001:db8:a:1000::/52"]);
    assert_eq!(route.matches("nexthop").count(), 2, "{route}");
    both_forward(&lab);
    // IPv4 is the holder's alone.
    for family in [["-4", "addr"], ["-4", "route"]] {
        let shown = lab.says("bee", &["ip", "-n", "gw-1-1", family[0], family[1], "show", "dev", "pub-1-1"]);
        assert_eq!(shown.trim(), "", "{family:?}");
    }
    let (mut holder, mut second) = ("ant", "bee");
    for (loss, of_holder) in
        [(Loss::Cut, false), (Loss::Cut, true), (Loss::Killed, false), (Loss::Killed, true)]
    {
        let lost = if of_holder { holder } else { second };
        let what = format!("{loss:?}: {lost}, the {}", if of_holder { "holder" } else { "second" });
        let (asks, sends) = (inward(&lab, ASKS, 10.0), inward(&lab, SENDS, 9.0));
        let ipv4 = echoes(&lab, "cat", HOSTS[1]);
        thread::sleep(Duration::from_secs(2));
        match loss {
            Loss::Cut => cable(&lab, lost, "down"),
            Loss::Killed => {
                let agent = process(&lab, lost, "agent");
                let script = format!("kill -9 {agent}; ip -n gw-1-1 link del pub-1-1");
                lab.says(lost, &["sh", "-c", &script]);
            }
        }
        thread::sleep(Duration::from_secs(3));
        if let Loss::Cut = loss {
            cable(&lab, lost, "up");
        }
        let (answers, gap, flows) = asked(asks, 10.0);
        println!(
            "{what}: {answers} of {} answered, worst gap {gap} ms, {flows} of {FLOWS} flows had one",
            FLOWS * 250
        );
        let whole = String::from_utf8(sends.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(whole.trim(), FLOWS.to_string(), "{what}: connections of which all came");
        let (answered, gap, last) = answered(ipv4);
        println!("{what}, IPv4: {answered} of 800 answered, gap {gap} ms");
        assert_eq!(last, 800, "{what}: IPv4 is there again");
        if role(&lab, second)[0] {
            (holder, second) = (second, holder);
        }
        soon_within(Duration::from_secs(30), "one holds it, and the other is the second", || {
            [role(&lab, holder), role(&lab, second)] == [HOLDS, SECOND]
        });
        both_forward(&lab);
    }
    // A move that is planned, with both at it.
    let (asks, sends) = (inward(&lab, ASKS, 6.0), inward(&lab, SENDS, 5.0));
    thread::sleep(Duration::from_secs(2));
    moves(&lab, second);
    let (answers, gap, flows) = asked(asks, 6.0);
    println!(
        "moved to {second}: {answers} of {} answered, worst gap {gap} ms, {flows} flows had one",
        FLOWS * 150
    );
    let whole = String::from_utf8(sends.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(whole.trim(), FLOWS.to_string(), "connections of which all came");
    soon("they have changed places", || [role(&lab, second), role(&lab, holder)] == [HOLDS, SECOND]);
    serves.kill().unwrap();
    serves.wait().unwrap();
}
