//! What a person would type instead of a plan: its own lines, gathered for each namespace into one file for each of `ip`,
//! `nft`, `wg` and `sysctl`, so that a reference pays for a program once and not for every line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sixfold_core::key::PublicKey;
use sixfold_core::plan::{Op, Plan, Step};
use sixfold_core::state::{Endpoint, LinkKind, Netns, Peer};
use sixfold_kernel::Keys;

use crate::failed::Failed;
use crate::ground::{Cost, run, timed, write};

/// The lines of one namespace.
#[derive(Debug, Default)]
struct Lines {
    ip: String,
    /// From the first nexthop on: the kernel takes none over a link whose other end is not up.
    over: String,
    nft: String,
    sysctl: String,
    /// By link: the device's configuration.
    wg: BTreeMap<String, String>,
}

/// A plan as files for programs.
#[derive(Debug)]
pub(crate) struct Script {
    folder: PathBuf,
    /// What makes and what deletes namespaces.
    made: String,
    deleted: String,
    within: BTreeMap<Netns, Lines>,
}

impl Script {
    /// The lines of a plan, as files in a folder. `device` is asked for the port and key of a link whose peers are set.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn new(
        folder: &Path,
        plan: &Plan,
        device: impl Fn(&Step) -> Option<String>,
    ) -> Result<Self, Failed> {
        std::fs::create_dir_all(folder).map_err(Failed::system("make a folder for scripts"))?;
        let mut script = Self {
            folder: folder.to_owned(),
            made: String::new(),
            deleted: String::new(),
            within: BTreeMap::new(),
        };
        for step in &plan.steps {
            script.put(step, &device);
        }
        script.save()?;
        Ok(script)
    }

    fn put(&mut self, step: &Step, device: &impl Fn(&Step) -> Option<String>) {
        let Step { netns, op, .. } = step;
        // Made where its NIC is, before anything of the other namespaces.
        let hangs = matches!(op, Op::AddLink { link, .. } if matches!(link.kind, LinkKind::Macvlan { .. }));
        let netns = if hangs { &Netns::Host } else { netns };
        let lines = self.within.entry(netns.clone()).or_default();
        // Writing to a String cannot fail.
        let _ = match op {
            Op::AddNetns => {
                lines.ip += "link set lo up\n";
                writeln!(self.made, "netns add {netns}")
            }
            Op::DelNetns => writeln!(self.deleted, "netns del {netns}"),
            Op::SetSysctl { name, value } => writeln!(lines.sysctl, "{name}={value}"),
            Op::SetPeer { key, peer } => {
                let link = key.link.to_string();
                let text = lines.wg.entry(link).or_insert_with(|| device(step).unwrap_or_default());
                write!(text, "{}", section(&key.public_key, peer))
            }
            // Told of devices that the tunnel process holds: no program of the reference's has a word for it.
            Op::SetDevice { .. } | Op::DelDevice { .. } | Op::DelPeer(_) => Ok(()),
            _ => {
                let (program, line) = bare(netns, &step.to_string());
                let is_over = matches!(op, Op::SetNexthop { .. }) || !lines.over.is_empty();
                let file = match (program, is_over) {
                    ("nft", _) => &mut lines.nft,
                    (_, true) => &mut lines.over,
                    (_, false) => &mut lines.ip,
                };
                writeln!(file, "{line}")
            }
        };
    }

    fn save(&self) -> Result<(), Failed> {
        write(&self.folder.join("made"), &self.made)?;
        write(&self.folder.join("deleted"), &self.deleted)?;
        for (netns, lines) in &self.within {
            let Lines { ip, over, nft, sysctl, .. } = lines;
            for (kind, text) in [("ip", ip), ("over", over), ("nft", nft), ("sysctl", sysctl)] {
                write(&self.file(netns, kind), text)?;
            }
            for (link, text) in &lines.wg {
                write(&self.file(netns, link), text)?;
            }
        }
        Ok(())
    }

    fn file(&self, netns: &Netns, kind: &str) -> PathBuf {
        self.folder.join(format!("{netns}.{kind}"))
    }

    /// Runs it: namespaces, and for each of them one run of each program that has lines for it. What all of it cost but
    /// the sysctls, which `ip`, `nft` and `wg` do not set.
    pub(crate) fn run(&self) -> Result<Cost, Failed> {
        let mut cost = Cost::default();
        if !self.made.is_empty() {
            cost += cost_of(&format!("ip -batch {}", self.folder.join("made").display()))?;
        }
        for (netns, _) in self.within.iter().filter(|(_, lines)| !lines.sysctl.is_empty()) {
            let file = self.file(netns, "sysctl");
            run(&within(netns, &format!("sysctl -q -p {}", file.display())))?;
        }
        for (netns, lines) in &self.within {
            if !lines.nft.is_empty() {
                let file = self.file(netns, "nft");
                cost += cost_of(&within(netns, &format!("nft -f {}", file.display())))?;
            }
            if !lines.ip.is_empty() {
                cost += self.batch(netns, "ip")?;
            }
            for link in lines.wg.keys() {
                let file = self.file(netns, link);
                let command = format!("wg setconf {link} {}", file.display());
                cost += cost_of(&within(netns, &command))?;
            }
        }
        for (netns, _) in self.within.iter().filter(|(_, lines)| !lines.over.is_empty()) {
            cost += self.batch(netns, "over")?;
        }
        if !self.deleted.is_empty() {
            cost += cost_of(&format!("ip -batch {}", self.folder.join("deleted").display()))?;
        }
        Ok(cost)
    }

    fn batch(&self, netns: &Netns, kind: &str) -> Result<Cost, Failed> {
        let place = match netns {
            Netns::Host => String::new(),
            Netns::Named(name) => format!("-n {name} "),
        };
        cost_of(&format!("ip {place}-batch {}", self.file(netns, kind).display()))
    }
}

fn cost_of(command: &str) -> Result<Cost, Failed> {
    Ok(timed(|| run(command))?.0)
}

fn within(netns: &Netns, command: &str) -> String {
    match netns {
        Netns::Host => command.to_owned(),
        Netns::Named(name) => format!("ip netns exec {name} {command}"),
    }
}

/// Which program a step's line is for, and the line as that program reads it from a file: without the namespace, without
/// quotes for a shell, and without a family, which `ip` knows by the prefix and takes no option for in a batch.
fn bare(netns: &Netns, line: &str) -> (&'static str, String) {
    let nft = within(netns, "nft ");
    if let Some(rest) = line.strip_prefix(&nft) {
        let heredoc = rest.strip_prefix("-f - <<'EOF'\n").and_then(|rest| rest.strip_suffix("EOF"));
        return ("nft", heredoc.unwrap_or(rest.trim_matches('\'')).trim_end().to_owned());
    }
    let ip = match netns {
        Netns::Host => "ip ".to_owned(),
        Netns::Named(name) => format!("ip -n {name} "),
    };
    let rest = line.strip_prefix(&ip).or_else(|| line.strip_prefix("ip ")).unwrap_or(line);
    let rest = rest.strip_prefix("-6 ").or_else(|| rest.strip_prefix("-4 ")).unwrap_or(rest);
    ("ip", rest.to_owned())
}

/// The `[Interface]` of a device, for `wg setconf`.
pub(crate) fn interface(keys: &dyn Keys, public: &PublicKey, port: u16) -> Option<String> {
    let secret = keys.private_key(public)?;
    // Both halves of a key are written alike.
    let written = PublicKey::from_bytes(*secret.as_bytes());
    Some(format!("[Interface]\nPrivateKey = {written}\nListenPort = {port}\n"))
}

fn section(key: &PublicKey, peer: &Peer) -> String {
    let prefixes: Vec<String> = peer.allowed_ips.iter().map(ToString::to_string).collect();
    let mut text = format!("[Peer]\nPublicKey = {key}\nAllowedIPs = {}\n", prefixes.join(", "));
    if let Endpoint::At(address) | Endpoint::Live(address) = peer.endpoint {
        text += &format!("Endpoint = {address}\n");
    }
    text + &format!("PersistentKeepalive = {}\n", peer.keepalive_secs)
}

#[cfg(test)]
mod tests {
    use sixfold_core::name::NetnsName;

    use super::*;

    #[test]
    fn lines_are_told_apart_and_stripped() {
        let netns = Netns::Named(NetnsName::try_from("net-1000-1").unwrap());
        let of = |line: &str| {
            let (program, line) = bare(&netns, line);
            format!("{program}: {line}")
        };
        assert_eq!(of("ip -n net-1000-1 -6 route replace ::/0 dev x"), "ip: route replace ::/0 dev x");
        assert_eq!(of("ip -n net-1000-1 link set x up"), "ip: link set x up");
        assert_eq!(of("ip netns exec net-1000-1 nft 'add set inet a b'"), "nft: add set inet a b");
        assert_eq!(of("ip netns exec net-1000-1 nft -f - <<'EOF'\na\nb\nEOF"), "nft: a\nb");
        assert_eq!(bare(&Netns::Host, "ip link add x").1, "link add x");
    }
}
