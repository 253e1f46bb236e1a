//! A node's own services in `public`, in a whole farm: who is outside reaches what the farm file names, a tenant's workload as
//! anybody does, and the node's agent has nothing against them.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use crate::failover::start;
use crate::ground::{SIXFOLD, Up, example, sixfold, soon_within, words};

const SERVICES: &str = "
[[provision]]
node = \"ant\"
services = [
    { address = \"2001:db8:a::50\", protocol = \"tcp\", port = 9000 },
    { address = \"203.0.113.30\", protocol = \"tcp\", port = 9000 },
]
";
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes connections at an address and port, and tells each that it is there.
const SERVES: &str = "import socket,sys
a=sys.argv[1]
s=socket.create_server((a,int(sys.argv[2])),family=socket.AF_INET6 if ':' in a else socket.AF_INET)
while True:
    c,_=s.accept(); c.sendall(b'here'); c.close()";

const CALLS: &str = "import socket,sys
c=socket.create_connection((sys.argv[1],int(sys.argv[2])),1); print(c.recv(64).decode())";

/// The first farm, whose farmer says this too.
fn folder(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["farm.toml", "acme.toml", "globex.toml"] {
        let text = fs::read_to_string(Path::new(&example("first-farm")).join(name)).unwrap();
        let more = if name == "farm.toml" { more } else { "" };
        fs::write(folder.path().join(name), text + more).unwrap();
    }
    folder
}

/// Whether a call from a place is taken.
fn reached(lab: &Up, place: (&str, Option<&str>), (address, port): (&str, &str)) -> bool {
    let call = start(lab, place.0, place.1, &["python3", "-c", CALLS, address, port]);
    call.wait_with_output().unwrap().stdout.starts_with(b"here")
}

fn status(lab: &Up) -> Value {
    let output = lab.exec("ant", &[SIXFOLD, "status", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)))
}

#[test]
fn what_the_farm_file_names_is_reached_until_it_names_it_no_more() {
    let folder = folder(SERVICES);
    let lab = Up::of(&folder.path().display().to_string());
    let serve = |address, port| start(&lab, "ant", Some("public"), &["python3", "-c", SERVES, address, port]);
    let mut servers: Vec<Child> = Vec::new();
    for address in ["2001:db8:a::50", "203.0.113.30"] {
        let there = || lab.says("ant", &["ip", "-n", "public", "addr"]).contains(&format!("{address}/"));
        soon_within(PATIENCE, "the address is there", there);
        servers.extend(["9000", "9001"].map(|port| serve(address, port)));
    }
    let internet = ("internet", None);
    let loads = lab.says("bee", &["sh", "-c", "ip netns list | grep -o 'load-[^ ]*'"]);
    let load = loads.lines().next().unwrap();
    for address in ["2001:db8:a::50", "203.0.113.30"] {
        soon_within(PATIENCE, "from the Internet", || reached(&lab, internet, (address, "9000")));
        soon_within(PATIENCE, "from a workload", || reached(&lab, ("bee", Some(load)), (address, "9000")));
        assert!(!reached(&lab, internet, (address, "9001")), "a port that nobody named");
    }
    let own = status(&lab);
    assert!(own["in_sync"] == true && own["drift"] == serde_json::json!([]), "{own}");
    // The farmer takes them back while the sockets are still there.
    let without = self::folder("");
    let at = lab.at.display().to_string();
    let output = sixfold(&["lab", "apply", "--at", &at, &without.path().display().to_string()]);
    assert!(output.status.success(), "{}", words(&output));
    for address in ["2001:db8:a::50", "203.0.113.30"] {
        soon_within(PATIENCE, "nobody reaches it", || !reached(&lab, internet, (address, "9000")));
        let left = lab.says("ant", &["ip", "-n", "public", "addr"]);
        assert!(!left.contains(&format!("{address}/")), "{left}");
    }
    for server in &mut servers {
        server.kill().unwrap();
        server.wait().unwrap();
    }
}
