//! A holder and a member that hear neither the registry nor the segment go by what other nodes tell them; and what strangers tell
//! changes nothing.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::failover::{epoch, process, signal, started};
use crate::ground::{SIXFOLD, Up, soon, soon_within};
use crate::moved::{HOSTS, is_up};

/// Longer than all take to be told: those who hear the registry have ten seconds to switch, and twenty lie between two words.
const TOLD: Duration = Duration::from_secs(60);

/// Has a node's agent hear nothing of its registry, by rules of the test's own.
fn without_registry(lab: &Up, node: &str) {
    let url = lab.registry();
    let (_, port) = url.rsplit_once(':').unwrap();
    let script = format!(
        "nft add table inet test; \
         for way in output:dport input:sport; do \
           nft \"add chain inet test ${{way%:*}} {{ type filter hook ${{way%:*}} priority 0; }}\"; \
           nft add rule inet test ${{way%:*}} tcp ${{way#*:}} {port} drop; \
         done"
    );
    lab.says(node, &["sh", "-c", &script]);
}

/// Has ant's gateway not answer bee's agent, and ant's agent not hear what is claimed on the segment.
fn without_segment(lab: &Up) {
    let gateway = "ip netns exec gw-1-1 nft";
    let script = format!(
        "{gateway} add table inet test; \
         {gateway} 'add chain inet test in {{ type filter hook input priority -10; }}'; \
         {gateway} add rule inet test in ip6 saddr :: drop; \
         nic=$(ip -j route show default | grep -o '\"dev\":\"[^\"]*' | head -1 | cut -d'\"' -f4); nic=${{nic:-eth0}}; \
         nft add table netdev test; \
         nft \"add chain netdev test in {{ type filter hook ingress device $nic priority 0; }}\"; \
         nft add rule netdev test in ether type 0x88b5 drop"
    );
    lab.says("ant", &["sh", "-c", &script]);
}

/// What a node knows of slot 1 that the registry did not tell it: the epoch, and from whom.
fn heard(lab: &Up, node: &str) -> Option<(u64, String)> {
    let output = lab.exec(node, &[SIXFOLD, "status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let heard = status["heard"].as_array()?.iter().find(|heard| heard["slot"] == "2001:db8:a::/48#1")?;
    Some((heard["tenure"]["epoch"].as_u64()?, heard["by"].as_str()?.to_owned()))
}

/// Packets that a rule of a node's `public` counted.
fn counted(lab: &Up, node: &str, rule: &str) -> u64 {
    let shown = lab.says(node, &["ip", "netns", "exec", "public", "nft", "list", "table", "inet", "sixfold"]);
    let line =
        shown.lines().find(|line| line.contains(&format!("comment \"{rule}\"")) && line.contains("65391"));
    let line = line.unwrap_or_else(|| panic!("{rule}: {shown}"));
    line.split("counter packets ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// Whether echoes from cat's workload come back.
fn is_answered(lab: &Up) -> bool {
    HOSTS.iter().all(|host| {
        let load = lab.says("cat", &["sh", "-c", "ip netns list | grep -o 'load-[^ ]*' | head -1"]);
        let echo = ["ip", "netns", "exec", load.trim(), "ping", "-n", "-c", "1", "-W", "1", host];
        lab.exec("cat", &echo).status.success()
    })
}

#[test]
fn an_old_holder_stops_and_a_member_follows_by_what_peers_tell() {
    let lab = started();
    without_registry(&lab, "cat");
    without_registry(&lab, "ant");
    without_segment(&lab);
    soon("the registry gives the slot to bee, which does not hear ant", || {
        is_up(&lab, "bee") && epoch(&lab, "bee") == 2
    });
    assert!(is_up(&lab, "ant") && epoch(&lab, "ant") == 1, "it heard of nothing");
    soon_within(TOLD, "ant stops", || !is_up(&lab, "ant"));
    let (by_epoch, by) = heard(&lab, "ant").unwrap();
    assert!(by_epoch == 2 && by != "the segment", "{by}");
    println!("ant heard it from {by}");
    soon_within(TOLD, "cat knows who holds the slot", || {
        heard(&lab, "cat").is_some_and(|(epoch, _)| epoch == 2)
    });
    println!("cat heard it from {}", heard(&lab, "cat").unwrap().1);
    soon("and leaves by that one", || is_answered(&lab));
    strangers_change_nothing(&lab);

    // Their agents start again, and their registry does not tell them otherwise.
    for node in ["ant", "cat"] {
        let agent = process(&lab, node, "agent");
        signal(&lab, node, &agent, "9");
    }
    thread::sleep(Duration::from_secs(4));
    assert!(!is_up(&lab, "ant") && epoch(&lab, "ant") == 2, "it was kept");
    assert!(heard(&lab, "cat").is_some() && is_answered(&lab));
    for node in ["ant", "cat"] {
        lab.says(node, &["nft", "delete", "table", "inet", "test"]);
    }
    soon_within(TOLD, "the registry tells them the same", || {
        heard(&lab, "ant").is_none() && heard(&lab, "cat").is_none() && epoch(&lab, "ant") >= 2
    });
}

/// From the Internet: what the registry signed before, the same forged, and a flood of that, each of which costs a signature. To a node's address; says how many answers came to each, and of how
/// many bytes.
const STRANGER: &str = "import base64,json,socket,struct,sys,time
def words():
    for line in open(sys.argv[2],'rb').read().split(b'\\n'):
        try: seen=json.loads(line)
        except ValueError: continue
        for signed in seen.get('tenures',[]):
            yield b''.join(base64.b64decode(signed[part]) if part!='body' else struct.pack('<I',len(base64.b64decode(signed['body'])))+base64.b64decode(signed['body']) for part in ('body','key','signature'))
def word(body): return (b'6fld\\x01'+body).ljust(256,b'\\0')
old=[word(body) for body in sorted(set(words()))]
forged=[bytes([*w[:12],w[12]^4,*w[13:]]) for w in old] # of a later epoch
s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM)
def ask(what):
    for n,w in enumerate(what):
        s.sendto(w,(sys.argv[1],65391))
        if n%40==39: time.sleep(0.01)
    s.settimeout(1.5); got=[]
    try:
        while True: got.append(len(s.recv(2048)))
    except TimeoutError: pass
    return got
print(len(old),ask(old)); print(len(forged),ask(forged)); print(ask([forged[n%len(forged)] for n in range(20000)]))";

/// Hundredths of a second of the processor that a node's agent took so far.
fn processor(lab: &Up, node: &str) -> u64 {
    let stat = lab.says(node, &["cat", &format!("/proc/{}/stat", process(lab, node, "agent"))]);
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

fn strangers_change_nothing(lab: &Up) {
    let before = ["ant", "bee"].map(|node| (epoch(lab, node), is_up(lab, node), heard(lab, node)));
    // What ant was told of both slots before: of the first it is old by now.
    let file = lab.says("ant", &["sh", "-c", "ls /run/sixfold/state/proofs.? | head -1"]);
    let file = format!("/run/lab/nodes/ant{}", file.trim().strip_prefix("/run").unwrap());
    let others = "others ask who holds a slot";
    let (let_in, took) = (counted(lab, "bee", others), processor(lab, "bee"));
    let said = lab.says("internet", &["python3", "-c", STRANGER, "2001:db8:a::a2", &file]);
    let said: Vec<&str> = said.lines().collect();
    let took = (processor(lab, "bee") - took) * 10;
    println!("old, forged, a flood: {said:?}; bee's agent took {took} ms of the processor");
    assert_eq!(said[0], "2 [256]", "one answer to what is old, as long as that");
    assert_eq!(&said[1..], ["2 []", "[]"]);
    let let_in = counted(lab, "bee", others) - let_in;
    println!("of 20,004 datagrams {let_in} were let in");
    assert!((4..20_004 / 2).contains(&let_in), "the rest is stopped by its rate");
    assert_eq!(before, ["ant", "bee"].map(|node| (epoch(lab, node), is_up(lab, node), heard(lab, node))));
}
