//! The segment and what stands on it.

use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, sendto, socket,
};
use sixfold_core::mac::Mac;
use sixfold_kernel::netns::{Entrance, Worker};
use sixfold_kernel::segment::{Ask, Heard, Hearing, Patience, Segment, Verdict};

use crate::ground::{ip, link, run};

/// Of slot 1 of the first /48, as `addr::Gateway` has them.
pub(crate) const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x1000, 0, 0, 1);
pub(crate) const SLOT: Mac = Mac([0x02, 0x6f, 0x00, 0x01, 0x01, 0x01]);
pub(crate) const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const ROUTER_MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0x77]);

/// Half a second each is a hundred times what a kernel takes on a busy machine.
const PATIENCE: Patience =
    Patience { asks: 3, wait: Duration::from_millis(500), lasts: Duration::from_secs(20) };

/// Makes the bridge: one that asks who listens to which group and sends it to nobody else, as switches do.
pub(crate) fn segment() {
    run("ip netns add segment");
    run("ip netns exec segment sysctl -qw net.ipv6.conf.default.accept_dad=0");
    // It begins to as soon as its first question had its time.
    run(
        "ip -n segment link add br0 up type bridge mcast_snooping 1 mcast_querier 1 mcast_query_response_interval 10",
    );
    thread::sleep(Duration::from_millis(200));
}

/// Makes a machine with a cable to the bridge.
pub(crate) fn machine(name: &str) {
    run(&format!("ip netns add {name}"));
    cable(name);
}

pub(crate) fn cable(name: &str) {
    run(&format!("ip -n segment link add {name} master br0 type veth peer name eth0 netns {name}"));
    plugged(name, &format!("-n {name}"));
}

/// Sets both ends up and waits until the kernel lets frames pass.
pub(crate) fn plugged(name: &str, at: &str) {
    run(&format!("ip -n segment link set {name} up"));
    run(&format!("ip {at} link set eth0 up"));
    wait_until(|| [(at, "eth0"), ("-n segment", name)].into_iter().all(|(at, end)| is_running(at, end)));
}

fn is_running(at: &str, name: &str) -> bool {
    ip(&format!("{at} link show dev {name}"))[0]["operstate"] == "UP"
}

/// Makes a gateway on a machine as `desire` does, without a firewall, and lets its link down.
pub(crate) fn gateway(machine: &str) -> String {
    let netns = format!("gw-{machine}");
    run(&format!("ip netns add {netns}"));
    for words in ["all.forwarding=1", "default.accept_dad=0", "default.addr_gen_mode=1"] {
        run(&format!("ip netns exec {netns} sysctl -qw net.ipv6.conf.{words}"));
    }
    run(&format!(
        "ip -n {machine} link add link eth0 name pub-1-1 address {SLOT} netns {netns} type macvlan mode bridge"
    ));
    run(&format!("ip -n {netns} address add {GATEWAY}/64 dev pub-1-1 nodad"));
    netns
}

pub(crate) fn set(netns: &str, state: &str) {
    run(&format!("ip -n {netns} link set pub-1-1 {state}"));
}

/// Makes the router, with its address.
pub(crate) fn router() {
    machine("router");
    run(&format!("ip -n router link set eth0 address {ROUTER_MAC}"));
    run(&format!("ip -n router address add {ROUTER}/64 dev eth0 nodad"));
}

/// Runs something in a machine's namespace.
pub(crate) fn within<T: Send + 'static>(machine: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    let entrance = Entrance::open(Path::new(&format!("/run/netns/{machine}"))).unwrap();
    Worker::start().unwrap().within(&entrance, f).unwrap()
}

/// Begins to listen on a machine.
pub(crate) fn listen(machine: &str) -> Segment {
    within(machine, || Segment::open(link("eth0")).unwrap())
}

pub(crate) fn wait_until(mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "not within ten seconds");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits on the descriptor, as an agent does, and reads once.
pub(crate) fn read_within(segment: &mut Segment, at_most: Duration) -> Heard {
    let timeout = PollTimeout::try_from(at_most).unwrap();
    poll(&mut [PollFd::new(segment.descriptor(), PollFlags::POLLIN)], timeout).unwrap();
    segment.read().unwrap()
}

/// What a node finds out about an address, and who answered first.
pub(crate) fn find_out(segment: &mut Segment, ask: Ask) -> (Verdict, Option<Mac>) {
    let (Ask::Gateway(address) | Ask::Router(address)) = ask;
    while segment.read().unwrap() != Heard::default() {}
    let (mut hearing, mut answered) = (Hearing::new(PATIENCE), None);
    let (began, mut asked) = (Instant::now(), None::<Instant>);
    loop {
        if asked.is_none_or(|then| then.elapsed() >= PATIENCE.wait) {
            segment.ask(ask).unwrap();
            hearing.asked(Instant::now());
            asked = Some(Instant::now());
        }
        let heard = read_within(segment, Duration::from_millis(20));
        assert!(!heard.deaf, "nothing was to be missed");
        if let Some(answer) = heard.answers.iter().find(|answer| answer.address == address) {
            hearing.answered(Instant::now());
            answered = answered.or(Some(answer.from));
        }
        match hearing.verdict(Instant::now()) {
            Verdict::Unknown => {}
            verdict => return (verdict, answered),
        }
        assert!(began.elapsed() < Duration::from_secs(10), "no verdict");
    }
}

pub(crate) const SILENT: (Verdict, Option<Mac>) = (Verdict::Silent, None);

pub(crate) const fn answers(mac: Mac) -> (Verdict, Option<Mac>) {
    (Verdict::Answers, Some(mac))
}

/// A voice that says whatever bytes it is given, by a machine's NIC.
pub(crate) struct Stranger(OwnedFd, LinkAddr);

impl Stranger {
    pub(crate) fn at(machine: &str) -> Self {
        within(machine, || {
            let mut all = getifaddrs().unwrap();
            let found = all.find_map(|one| {
                let address = one.address.filter(|_| one.interface_name == "eth0")?;
                address.as_link_addr().filter(|at| at.family() == Some(AddressFamily::Packet)).copied()
            });
            let quiet = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None);
            Self(quiet.unwrap(), found.unwrap())
        })
    }

    pub(crate) fn say(&self, frame: &[u8]) {
        sendto(self.0.as_raw_fd(), frame, &self.1, MsgFlags::empty()).unwrap();
    }
}
