//! The ground the steps stand on: what is missing is told in words, then installed or fetched.
//!
//! Packages are Debian's and need root; without it the commands to run are told and nothing is changed. The kernel
//! package, BIRD, cargo-deny and cargo-fuzz go under `target` and need no root: BIRD installed would be a service that starts.

use crate::vm;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Something a step cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ground {
    /// The programs that tell, independently of us, what the kernel holds and what crosses a link.
    Oracles,
    /// Debian's kernel, unpacked, and the emulator that runs it.
    StockKernel,
    /// cargo-deny at the pinned version.
    CargoDeny,
    /// cargo-fuzz at the pinned version.
    CargoFuzz,
    /// schemathesis at the pinned version: asks the registry what its description allows, and what it does not.
    Schemathesis,
    /// BIRD, unpacked: a reference of what routes cost.
    Bird,
    /// Tunnels that are not ours, at pinned versions: references of what ours carries.
    Tunnels,
}

/// A Debian package and what it is for.
struct Package {
    name: &'static str,
    why: &'static str,
    ground: Ground,
}

const PACKAGES: [Package; 20] = [
    Package {
        name: "iproute2",
        why: "ip: what the kernel says of links, addresses and routes",
        ground: Ground::Oracles,
    },
    Package { name: "nftables", why: "nft: what the kernel says of the firewall", ground: Ground::Oracles },
    Package {
        name: "wireguard-tools",
        why: "wg: what a WireGuard device says of its peers",
        ground: Ground::Oracles,
    },
    Package {
        name: "wireguard-go",
        why: "a WireGuard that is not ours, to talk to ours",
        ground: Ground::Oracles,
    },
    Package { name: "iputils-ping", why: "ping: packets that are not ours", ground: Ground::Oracles },
    Package {
        name: "tcpdump",
        why: "captures: nothing crosses the underlay in the clear",
        ground: Ground::Oracles,
    },
    Package { name: "iperf3", why: "streams that must not break, and their speed", ground: Ground::Oracles },
    Package { name: "ethtool", why: "turns off what a cable does for its sender", ground: Ground::Oracles },
    Package { name: "busybox-static", why: "the virtual machine's first programs", ground: Ground::Oracles },
    Package { name: "mandoc", why: "reads our manual pages, and is strict", ground: Ground::Oracles },
    Package { name: "zsh", why: "reads the completions made for it", ground: Ground::Oracles },
    Package {
        name: "fish",
        why: "reads the completions made for it, and completes",
        ground: Ground::Oracles,
    },
    Package {
        name: "openssl",
        why: "reads our key files and verifies our signatures",
        ground: Ground::Oracles,
    },
    Package {
        name: "systemd",
        why: "reads our services, users and folders, and says how exposed they are",
        ground: Ground::Oracles,
    },
    Package { name: "xz-utils", why: "unpacks the kernel and its modules", ground: Ground::Oracles },
    Package { name: "zstd", why: "unpacks the kernel", ground: Ground::StockKernel },
    Package { name: "kmod", why: "finds the modules a module needs", ground: Ground::StockKernel },
    Package {
        name: "qemu-system-x86",
        why: "the virtual machine that runs Debian's kernel",
        ground: Ground::StockKernel,
    },
    Package {
        name: "libssh-gcrypt-4",
        why: "a library that bird needs, which is unpacked only",
        ground: Ground::Bird,
    },
    Package {
        name: "python3-venv",
        why: "runs schemathesis, under target/tools",
        ground: Ground::Schemathesis,
    },
];

/// The checker of licences. Pinned, so that a new release cannot fail an old commit; two to three minutes to build.
const CARGO_DENY: &str = "0.20.2";
/// What builds and feeds the targets of `fuzz/`. Pinned as the other; a minute to build.
const CARGO_FUZZ: &str = "0.13.2";

/// What carries packets as our tunnel does. Pinned as the others; some minutes to build.
const TUNNELS: [(&str, &str, &str); 2] =
    [("boringtun-cli", "boringtun-cli", "0.7.1"), ("gotatun-cli", "gotatun", "0.10.2")];

/// What asks a service everything that its description allows. Pinned as the other; half a minute to fetch.
const SCHEMATHESIS: &str = "4.32.5";

/// Where programs that Cargo builds for the tests are kept.
pub(crate) fn tools(root: &Path) -> PathBuf {
    root.join("target/tools")
}

/// Says what is needed and missing, and brings it.
///
/// # Errors
/// What could not be brought, and what to run by hand.
pub(crate) fn prepare(
    root: &Path,
    grounds: &BTreeSet<Ground>,
    told_to: &mut dyn io::Write,
) -> io::Result<()> {
    let needed: Vec<&Package> = PACKAGES.iter().filter(|package| grounds.contains(&package.ground)).collect();
    let missing = if needed.is_empty() { Vec::new() } else { missing(&needed, &installed()?) };
    let kernel = grounds.contains(&Ground::StockKernel) && !has_kernel(root)?;
    let deny = grounds.contains(&Ground::CargoDeny) && !has_tool(root, "cargo-deny", CARGO_DENY);
    let fuzz = grounds.contains(&Ground::CargoFuzz) && !has_tool(root, "cargo-fuzz", CARGO_FUZZ);
    let bird = grounds.contains(&Ground::Bird) && !has_bird(root);
    let schemathesis = grounds.contains(&Ground::Schemathesis) && !has_schemathesis(root);
    let tunnels: Vec<_> = TUNNELS.into_iter().filter(|tunnel| needs_tunnel(root, grounds, *tunnel)).collect();
    let fetched = Fetched { kernel, deny, fuzz, bird, schemathesis, tunnels: !tunnels.is_empty() };
    writeln!(told_to, "{}", announcement(&needed, &missing, fetched))?;
    if !missing.is_empty() || kernel || bird {
        install(&missing, kernel || bird)?;
    }
    if schemathesis {
        fetch_schemathesis(root)?;
    }
    if bird {
        unpack_bird(root)?;
    }
    if kernel {
        vm::Kernel::obtain(&vm::store(root))?;
    }
    if deny {
        build_tool(root, "cargo-deny", CARGO_DENY)?;
    }
    if fuzz {
        build_tool(root, "cargo-fuzz", CARGO_FUZZ)?;
    }
    tunnels.into_iter().try_for_each(|(package, _, version)| build_tool(root, package, version))
}

/// What is to be brought that is no installed package.
#[derive(Debug, Clone, Copy, Default)]
struct Fetched {
    kernel: bool,
    deny: bool,
    fuzz: bool,
    bird: bool,
    schemathesis: bool,
    tunnels: bool,
}

/// What is about to happen, in words.
fn announcement(needed: &[&Package], missing: &[&str], fetched: Fetched) -> String {
    let mut text = String::from(
        "The tests run in network namespaces of their own and leave this machine's network alone.",
    );
    if !needed.is_empty() {
        text += " They check our work by programs that are not ours:\n";
    }
    for package in needed {
        let state = if missing.contains(&package.name) { "missing" } else { "here" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:<16} {state:<8} {}", package.name, package.why);
    }
    if !missing.is_empty() {
        text += &format!("\nTo be installed as root, from Debian: {}\n", commands(missing));
    }
    if fetched.kernel {
        text += "\nTo be downloaded, unpacked under target/vm and not installed: Debian's kernel package (70 MB), for the tests on a stock kernel.\n";
    }
    if fetched.bird {
        text += "\nTo be downloaded, unpacked under target/tools and not installed: BIRD, which would be a service.\n";
    }
    if fetched.schemathesis {
        text += &format!(
            "\nTo be fetched from PyPI into target/tools: schemathesis {SCHEMATHESIS}, to ask the registry anything.\n"
        );
    }
    if fetched.deny {
        text += &format!(
            "\nTo be built under target/tools: cargo-deny {CARGO_DENY} (two to three minutes), to check licences.\n"
        );
    }
    if fetched.fuzz {
        text += &format!(
            "\nTo be built under target/tools: cargo-fuzz {CARGO_FUZZ} (a minute), to make up hostile inputs.\n"
        );
    }
    if fetched.tunnels {
        let named = TUNNELS.map(|(package, _, version)| format!("{package} {version}"));
        text += &format!(
            "\nTo be built under target/tools: {} (some minutes), to carry what ours carries.\n",
            named.join(" and ")
        );
    }
    text.trim_end().to_owned()
}

fn commands(missing: &[&str]) -> String {
    let install = match missing {
        [] => String::new(),
        missing => format!(" && apt-get install -y --no-install-recommends {}", missing.join(" ")),
    };
    format!("apt-get update{install}")
}

/// Runs the commands as root. Without root they are told; only the package lists can be done without, if they are there.
fn install(missing: &[&str], only_lists: bool) -> io::Result<()> {
    let commands = commands(missing);
    if fs::metadata("/proc/self")?.uid() != 0 {
        if missing.is_empty() && only_lists {
            return Ok(());
        }
        return Err(io::Error::other(format!(
            "something is missing and this is not root; run: sudo sh -c '{commands}'"
        )));
    }
    let status = Command::new("sh")
        .args(["-c", &commands])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("`{commands}` failed: {status}"))) }
}

/// What dpkg knows: a line `NAME STATUS` for each package.
fn installed() -> io::Result<String> {
    let mut dpkg = Command::new("dpkg-query");
    let output = dpkg
        .args(["-W", "-f", "${binary:Package} ${db:Status-Status}\n"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("dpkg-query: {error}; the tests know Debian and its relatives only"),
            )
        })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn missing(needed: &[&Package], installed: &str) -> Vec<&'static str> {
    let here: BTreeSet<&str> = installed
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .map(|name| name.split(':').next().unwrap_or(name))
        .collect();
    needed.iter().map(|package| package.name).filter(|name| !here.contains(name)).collect()
}

fn has_kernel(root: &Path) -> io::Result<bool> {
    let store = vm::store(root);
    Ok(store.is_dir() && vm::Kernel::find(&store)?.is_some())
}

fn has_schemathesis(root: &Path) -> bool {
    let said = Command::new(tools(root).join("schemathesis/bin/st")).arg("--version").output();
    said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains(SCHEMATHESIS))
}

fn fetch_schemathesis(root: &Path) -> io::Result<()> {
    let folder = tools(root).join("schemathesis");
    let pip = folder.join("bin/pip");
    let wanted = format!("schemathesis=={SCHEMATHESIS}");
    let made = Command::new("python3").args(["-m", "venv"]).arg(&folder).stdin(Stdio::null()).status()?;
    let fetched = Command::new(pip).args(["install", "--quiet", &wanted]).stdin(Stdio::null()).status()?;
    if made.success() && fetched.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{wanted} could not be fetched: {fetched}")))
    }
}

fn has_bird(root: &Path) -> bool {
    tools(root).join("bin/bird").exists() && tools(root).join("bin/birdc").exists()
}

/// Downloads the package and takes from it what is run.
fn unpack_bird(root: &Path) -> io::Result<()> {
    let folder = tools(root).join("bird");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fs::create_dir_all(tools(root).join("bin"))?;
    let script = "apt-get download bird2 >&2 && dpkg-deb -x bird2_*.deb . && \
        ln -sf ../bird/usr/sbin/bird ../bird/usr/sbin/birdc ../bin/";
    let status =
        Command::new("sh").args(["-c", script]).current_dir(&folder).stdin(Stdio::null()).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("BIRD could not be unpacked: {status}")))
    }
}

/// Gives a program the tools that were brought, and none of Cargo's words about this package: they would make build
/// scripts run again.
pub(crate) fn settle<'a>(root: &Path, command: &'a mut Command) -> &'a mut Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}:/usr/sbin:/sbin", tools(root).join("bin").display()));
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

fn has_tool(root: &Path, name: &str, version: &str) -> bool {
    let said = Command::new(tools(root).join("bin").join(name)).arg("--version").output();
    said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).trim().ends_with(version))
}

fn needs_tunnel(root: &Path, grounds: &BTreeSet<Ground>, tunnel: (&str, &str, &str)) -> bool {
    let (_, program, version) = tunnel;
    grounds.contains(&Ground::Tunnels) && !has_tool(root, program, version)
}

fn build_tool(root: &Path, name: &str, version: &str) -> io::Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["install", name, "--locked", "--version", version, "--root"]).arg(tools(root));
    let status = cargo.stdin(Stdio::null()).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{name} could not be built: {status}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed() -> Vec<&'static Package> {
        PACKAGES.iter().filter(|package| package.ground == Ground::StockKernel).collect()
    }

    #[test]
    fn what_dpkg_does_not_hold_installed_is_missing() {
        let dpkg = "kmod installed\nqemu-system-x86:amd64 installed\nzstd config-files\n";
        assert_eq!(missing(&needed(), dpkg), ["zstd"]);
    }

    #[test]
    fn what_will_be_done_as_root_is_said_first() {
        let text = announcement(&needed(), &["zstd", "kmod"], Fetched { kernel: true, ..Fetched::default() });
        assert!(text.contains("zstd             missing  unpacks the kernel\n"), "{text}");
        assert!(text.contains("qemu-system-x86  here "), "{text}");
        assert!(text.contains(
            "as root, from Debian: apt-get update && apt-get install -y --no-install-recommends zstd kmod"
        ));
        assert!(text.contains("kernel package") && !text.contains("cargo-deny"), "{text}");
    }

    #[test]
    fn nothing_is_announced_when_nothing_is_missing() {
        let text = announcement(&needed(), &[], Fetched::default());
        assert!(!text.contains("To be"), "{text}");
        assert!(!announcement(&[], &[], Fetched::default()).contains(':'));
    }

    #[test]
    fn every_package_stands_once_and_says_why() {
        for (at, package) in PACKAGES.iter().enumerate() {
            assert!(PACKAGES[..at].iter().all(|other| other.name != package.name), "{}", package.name);
            assert!(!package.why.is_empty());
        }
    }
}
