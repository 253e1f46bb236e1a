//! Of a report: the machine and what its kernel offers, read from `/proc`, `/sys` and programs that say their version.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Found, Part, Words, missing};
use crate::table;

/// Kernel settings of the whole machine, or of this namespace, that a node's work depends on.
const SETTINGS: [&str; 28] = [
    "fs/file-nr",
    "fs/inotify/max_user_instances",
    "fs/nr_open",
    "kernel/pid_max",
    "kernel/unprivileged_userns_clone",
    "net/core/rmem_max",
    "net/core/wmem_max",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/default/rp_filter",
    "net/ipv4/ip_forward",
    "net/ipv4/neigh/default/gc_thresh1",
    "net/ipv4/neigh/default/gc_thresh2",
    "net/ipv4/neigh/default/gc_thresh3",
    "net/ipv6/conf/all/accept_ra",
    "net/ipv6/conf/all/disable_ipv6",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/disable_ipv6",
    "net/ipv6/conf/default/forwarding",
    "net/ipv6/neigh/default/gc_thresh1",
    "net/ipv6/neigh/default/gc_thresh2",
    "net/ipv6/neigh/default/gc_thresh3",
    "net/ipv6/route/gc_thresh",
    "net/ipv6/route/max_size",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
    "user/max_net_namespaces",
    "user/max_user_namespaces",
    "net/bridge/bridge-nf-call-ip6tables",
];

/// Modules that a node uses, or that change what it sees.
const MODULES: [&str; 14] = [
    "wireguard",
    "tun",
    "veth",
    "macvlan",
    "bridge",
    "br_netfilter",
    "nf_tables",
    "nft_fib_inet",
    "nft_ct",
    "nft_limit",
    "nft_nat",
    "nf_conntrack",
    "ip6_tables",
    "ip_tables",
];

/// How long a program may take to say its version, and how much of it is read.
const PATIENCE: Duration = Duration::from_secs(5);
const VERSION_BYTES_MAX: u64 = 4096;

pub(super) fn parts() -> Vec<Part> {
    vec![
        Part::begin("versions", Words::Free, versions),
        Part::begin("machine", Words::Free, machine),
        Part::begin("this process", Words::Free, own_process),
        Part::begin("kernel modules", Words::Free, modules),
        Part::begin("kernel settings", Words::Free, settings),
        Part::begin("who carries WireGuard", Words::Free, wireguard),
        Part::begin("programs", Words::Free, programs),
    ]
}

fn versions() -> Found {
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let program = std::env::current_exe().map_err(missing)?;
    let length = fs::metadata(&program).map_err(missing)?.len();
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!("sixfold {version}, a {build} build for {arch}-{os}\n{}, {length} bytes\n", program.display()))
}

fn machine() -> Found {
    let kernel = fs::read_to_string("/proc/version").map_err(missing)?;
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("not said");
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory: Vec<&str> = memory.lines().filter(|line| line.starts_with("Mem")).collect();
    let processors = thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let name = name.trim_matches('"');
    Ok(format!(
        "{}\ndistribution: {name}\nprocessors: {processors}, load {load}\n{}\n",
        kernel.trim_end(),
        memory.join("\n")
    ))
}

/// What this process may do: the report is made with the rights of who asks for it.
fn own_process() -> Found {
    let status = fs::read_to_string("/proc/self/status").map_err(missing)?;
    let wanted = ["Uid:", "Gid:", "CapEff:", "CapBnd:", "Seccomp:", "NoNewPrivs:"];
    let mut text: String = status
        .lines()
        .filter(|line| wanted.iter().any(|key| line.starts_with(key)))
        .map(|line| format!("{line}\n"))
        .collect();
    let limits = fs::read_to_string("/proc/self/limits").map_err(missing)?;
    let limits = limits.lines().filter(|line| {
        ["Limit", "Max open files", "Max processes", "Max locked"].iter().any(|key| line.starts_with(key))
    });
    limits.for_each(|line| text += &format!("{}\n", line.trim_end()));
    text += &format!("ids of this user namespace: {}\n", read("/proc/self/uid_map"));
    for place in ["/dev/net/tun", "/run/netns", "/sys/fs/cgroup/cgroup.controllers"] {
        let state = fs::metadata(place).map_or_else(|error| error.to_string(), |_| "there".to_owned());
        writeln!(text, "{place}: {state}").expect("a String takes all text");
    }
    let tun = fs::File::options().read(true).write(true).open("/dev/net/tun");
    writeln!(
        text,
        "/dev/net/tun opens: {}",
        tun.map_or_else(|error| error.to_string(), |_| "yes".to_owned())
    )
    .expect("a String takes all text");
    let named = fs::read_dir("/run/netns").map_or(0, Iterator::count);
    Ok(format!("{text}named network namespaces: {named}\n"))
}

fn modules() -> Found {
    let rows = MODULES.map(|name| {
        let there = Path::new("/sys/module").join(name).exists();
        vec![
            name.to_owned(),
            if there { "there" } else { "not loaded, or built in without parameters" }.to_owned(),
        ]
    });
    Ok(table::render(&[], rows))
}

fn settings() -> Found {
    let rows = SETTINGS.map(|name| vec![name.replace('/', "."), read(&format!("/proc/sys/{name}"))]);
    Ok(table::render(&[], rows))
}

fn wireguard() -> Found {
    let backend = sixfold_kernel::linux::probe_wireguard().map_err(super::missing)?;
    Ok(match backend {
        sixfold_core::state::Backend::Kernel => "the kernel can\n",
        sixfold_core::state::Backend::Tunnel => "the kernel cannot: the tunnel process has to\n",
    }
    .to_owned())
}

fn programs() -> Found {
    let asked = [("ip", "-V"), ("nft", "--version"), ("wg", "--version"), ("systemctl", "--version")];
    let rows = asked.map(|(program, flag)| {
        let told = version(program, flag).unwrap_or_else(|error| format!("{error}"));
        vec![program.to_owned(), told.lines().next().unwrap_or_default().to_owned()]
    });
    Ok(table::render(&[], rows))
}

/// What a program says of its version. It gets no environment but where to find programs.
fn version(program: &str, flag: &str) -> io::Result<String> {
    let mut command = Command::new(program);
    command.arg(flag).env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let by = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() >= by {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other(format!("does not answer within {} s", PATIENCE.as_secs())));
        }
        thread::sleep(Duration::from_millis(10));
    }
    let mut text = Vec::new();
    if let Some(out) = child.stdout.take() {
        out.take(VERSION_BYTES_MAX).read_to_end(&mut text)?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A small file in one line, or why not.
fn read(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| format!("- ({error})"));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
