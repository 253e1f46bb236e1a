//! Who carries the traffic: two namespaces with a cable between them, and a tunnel in each.
//!
//! Owns: how each program is started and told its peer. All are told by `wg setconf`, ours too.

use std::net::Ipv6Addr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sixfold_core::name::IfName;
use sixfold_kernel::linux::open_udp;
use sixfold_kernel::sys::open_tun;
use sixfold_tunnel::client;

use super::load::inside;
use crate::failed::{Failed, chain};
use crate::ground::{Process, await_file, run, write};

/// The namespaces.
pub(super) const ENDS: [&str; 2] = ["one", "two"];
/// The cable's MTU less what WireGuard adds over IPv6.
pub(super) const MTU: u16 = 1420;
const PATIENCE: Duration = Duration::from_secs(10);

/// Who carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Contender {
    Bare,
    Ours,
    WireguardGo,
    GotatunCli,
    BoringtunCli,
}

impl Contender {
    pub(super) const ALL: [Self; 5] =
        [Self::Bare, Self::Ours, Self::WireguardGo, Self::GotatunCli, Self::BoringtunCli];

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Bare => "bare cable",
            Self::Ours => "this tunnel",
            Self::WireguardGo => "wireguard-go",
            Self::GotatunCli => "gotatun-cli",
            Self::BoringtunCli => "boringtun-cli",
        }
    }

    /// Its program, and what it is told so that it stays in the foreground; none of what is no program of others.
    fn program(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::Bare | Self::Ours => None,
            Self::WireguardGo => Some(("wireguard-go", &["-f"])),
            Self::GotatunCli => Some(("gotatun", &["-f", "--disable-drop-privileges"])),
            Self::BoringtunCli => Some(("boringtun-cli", &["-f", "--disable-drop-privileges"])),
        }
    }

    /// Whether it can be started; if not, that is said, and the others are measured without it.
    pub(super) fn is_there(self) -> bool {
        let Some((program, _)) = self.program() else { return true };
        let said = Command::new(program).arg("--version").stdin(Stdio::null()).output();
        if said.is_err() {
            eprintln!("bench: tunnel: without {program}, which is not installed");
        }
        said.is_ok()
    }
}

/// Two ends that reach each other.
pub(super) struct Pair {
    /// Where the second end is reached by what is sent at the first.
    pub(super) far: Ipv6Addr,
    /// None without a tunnel.
    processes: Vec<Process>,
    /// Kept from the first end: who asks it for a stream.
    _server: Process,
}

impl Pair {
    /// Brings it up, and waits until packets pass.
    pub(super) fn start(contender: Contender) -> Result<Self, Failed> {
        cable()?;
        let (far, processes) = match contender {
            Contender::Bare => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2), Vec::new()),
            _ => (Ipv6Addr::new(0x2001, 0xdb8, 6, 0, 0, 0, 0, 2), tunnels(contender)?),
        };
        await_answer(far)?;
        let server =
            Process::start("ip", &["netns", "exec", ENDS[1], "iperf3", "-s", "-B", &far.to_string()])?;
        await_servers(1)?;
        Ok(Self { far, processes, _server: server })
    }

    /// What the first end's program keeps in memory now, in bytes.
    pub(super) fn memory(&self) -> Option<f64> {
        self.processes.first()?.memory().ok().map(|(now, _)| now)
    }

    /// The seconds that the first end's program ran on processors so far.
    pub(super) fn ran(&self) -> Option<f64> {
        self.processes.first()?.threads().ok().map(|(_, ran)| ran)
    }

    /// From now on the cable takes no packet longer than its MTU: the kernel cuts them before, as for a NIC that cannot.
    pub(super) fn cut_in_software(&self) -> Result<(), Failed> {
        for (at, end) in ENDS.iter().enumerate() {
            let cable = format!("e{}", at + 1);
            run(&format!("ip netns exec {end} ethtool -K {cable} tso off tx-udp-segmentation off"))?;
        }
        Ok(())
    }
}

/// Both namespaces, empty but for the cable.
pub(super) fn cable() -> Result<(), Failed> {
    for (at, end) in ENDS.iter().enumerate() {
        // What an earlier one left.
        drop(run(&format!("ip netns del {end}")));
        run(&format!("ip netns add {end}"))?;
        run(&format!("ip -n {end} link set lo up"))?;
        if at == 1 {
            run("ip link add e1 netns one type veth peer name e2 netns two")?;
        }
    }
    for (at, end) in ENDS.iter().enumerate() {
        let number = at + 1;
        run(&format!("ip -n {end} addr add 2001:db8::{number}/64 dev e{number} nodad"))?;
        run(&format!("ip -n {end} link set e{number} up"))?;
    }
    Ok(())
}

/// Until so many streams can be asked for at the second end.
pub(super) fn await_servers(count: usize) -> Result<(), Failed> {
    let started = Instant::now();
    loop {
        let listening = run(&format!("ip netns exec {} ss -Hltn", ENDS[1]))?;
        if listening.lines().count() >= count {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            return Err(Failed::meaningless("a stream", "iperf3 does not listen"));
        }
        sleep(Duration::from_millis(20));
    }
}

/// A tunnel at each end, which know each other.
fn tunnels(contender: Contender) -> Result<Vec<Process>, Failed> {
    let names = ["wg-one", "wg-two"];
    let processes = (0..2).map(|at| match contender.program() {
        Some((program, words)) => theirs(program, words, ENDS[at], names[at]),
        None => ours(ENDS[at], names[at]),
    });
    let processes = processes.collect::<Result<Vec<_>, _>>()?;
    let secrets = [run("wg genkey")?, run("wg genkey")?];
    for (at, end) in ENDS.iter().enumerate() {
        let (number, far, name) = (at + 1, 2 - at, names[at]);
        let text = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = {}\n[Peer]\nPublicKey = {}\nEndpoint = [2001:db8::{far}]:{}\n\
             AllowedIPs = 2001:db8:6::{far}/128\n",
            secrets[at].trim(),
            51820 + at,
            public(&secrets[1 - at])?,
            51820 + (1 - at),
        );
        let file = PathBuf::from(format!("/run/{name}.conf"));
        write(&file, &text)?;
        run(&format!("ip netns exec {end} wg setconf {name} {}", file.display()))?;
        run(&format!("ip -n {end} addr add 2001:db8:6::{number}/64 dev {name} nodad"))?;
        run(&format!("ip -n {end} link set {name} mtu {MTU} up"))?;
    }
    Ok(processes)
}

fn theirs(program: &str, words: &[&str], end: &str, name: &str) -> Result<Process, Failed> {
    let socket = PathBuf::from(format!("/run/wireguard/{name}.sock"));
    drop(std::fs::remove_file(&socket));
    let words = [&["netns", "exec", end, program], words, &[name]].concat();
    let process = Process::start("ip", &words)?;
    await_file(&socket)?;
    Ok(process)
}

fn ours(end: &str, name: &str) -> Result<Process, Failed> {
    let control = PathBuf::from(format!("/run/{name}.tunnel"));
    // What one of an earlier round left would be there at once.
    drop(std::fs::remove_file(&control));
    let process = Process::tunnel_at(&control)?;
    let port = if end == ENDS[0] { 51820 } else { 51821 };
    let link = IfName::try_from(name).map_err(|error| Failed::meaningless(name, error.to_string()))?;
    let opened = inside(end, move || {
        let tun = open_tun(&link).map_err(|errno| Failed::system("open a TUN")(errno.into()))?;
        let udp = open_udp(port).map_err(Failed::system("bind a tunnel's socket"))?;
        Ok((tun, udp))
    })?;
    let device = name.parse().map_err(|_| Failed::meaningless(name, "it names no device"))?;
    client::add(&control, &device, MTU, opened.0.as_fd(), opened.1.as_fd())
        .map_err(|error| Failed::meaningless("this tunnel", chain(&error)))?;
    await_file(Path::new(&format!("/run/wireguard/{name}.sock")))?;
    Ok(process)
}

/// The public key of a private one.
fn public(secret: &str) -> Result<String, Failed> {
    let file = Path::new("/run/secret");
    write(file, secret)?;
    Ok(run("sh -c wg${IFS}pubkey</run/secret")?.trim().to_owned())
}

pub(super) fn await_answer(far: Ipv6Addr) -> Result<(), Failed> {
    let started = Instant::now();
    loop {
        let asked = run(&format!("ip netns exec {} ping -n -c 1 -W 1 {far}", ENDS[0]));
        match asked {
            Ok(_) => return Ok(()),
            Err(failed) if started.elapsed() > PATIENCE => return Err(failed),
            Err(_) => sleep(Duration::from_millis(50)),
        }
    }
}
