//! Who spoke IPv4 from which ports of a gateway or of the node itself, and when: what a farmer is asked by whoever complains of an address.
//!
//! ```text
//! ports.log    sixfold-ports 1                                                   the first line
//!              + 1795286772 203.0.113.7 1024-2047 2001:db8:a::/48 1000 acme/web  from then on: seconds since 1970
//!              - 1795286801 203.0.113.7 1024-2047 2001:db8:a::/48 1000           until then
//!              + 1795286772 203.0.113.20 all 2001:db8:a::/48 1000 acme/web       an address of its own
//!              + 1795286772 203.0.113.22 1024-65535 2001:db8:a::/48 1002 acme/web   the node's, which others may have too
//! ```
//!
//! Owns: that file. A line that a block begins is on the disk before the first packet can leave by it, so that no port is
//! ever somebody's of whom nothing is known. What ended long ago is forgotten when the agent starts, and once a day. Must not know
//! connections: two lines for each change of a network, whatever it sends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sixfold_core::addr::PrefixIndex;
use sixfold_core::id::{NetworkId, Revision};
use sixfold_core::limit;
use sixfold_core::model::{PortBlock, Snapshot};

use crate::disk::{self, DiskError};

/// The log's name in the folder of what outlives a reboot.
pub const FILE: &str = "ports.log";
/// How long what ended is remembered: complaints come within weeks.
pub const RETENTION: Duration = Duration::from_secs(180 * 86_400);

const HEAD: &str = "sixfold-ports 1\n";
/// In place of a block: all ports of the address.
const ALL: &str = "all";
/// Bytes of a log at most: 63 blocks of 16 slots, changed every minute for a month.
const BYTES_MAX: usize = 512 << 20;

/// A block of one address, or all of one, as one exit point has it; or one resource, whose IPv4 leaves at its node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// The slot's address, one that is a network's own, or the node's.
    pub address: Ipv4Addr,
    /// Ports of TCP and of UDP, and identifiers of echoes; none: all of them.
    pub ports: Option<PortBlock>,
    /// The /48 of the slot.
    pub allocation: String,
    /// The exit point's prefix in it, or the resource's.
    pub index: PrefixIndex,
}

/// A block, whose it was and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Which.
    pub block: Block,
    /// The network; none if a line of another version says something else.
    pub network: Option<NetworkId>,
    /// From when, in seconds since 1970.
    pub from_secs: u64,
    /// Until when; none: until now.
    pub until_secs: Option<u64>,
}

impl Taken {
    /// Whether that port of that address was in it then.
    #[must_use]
    pub fn has(&self, address: Ipv4Addr, port: u16, at_secs: u64) -> bool {
        let Block { address: own, ports, .. } = &self.block;
        let is_then = self.from_secs <= at_secs && self.until_secs.is_none_or(|until| at_secs <= until);
        let is_in = ports.is_none_or(|ports| (ports.first()..=ports.last()).contains(&port));
        *own == address && is_in && is_then
    }
}

/// Everything that a log tells, in its order; `None` if there is none. A line that this version does not know is passed
/// over, and so is one that was cut short.
///
/// # Errors
/// If it is there and cannot be read.
pub fn read(state: &Path) -> Result<Option<Vec<Taken>>, DiskError> {
    let bytes = disk::read(&state.join(FILE), BYTES_MAX)?;
    Ok(bytes.map(|bytes| parse(&String::from_utf8_lossy(&bytes))))
}

fn parse(text: &str) -> Vec<Taken> {
    let (mut all, mut open) = (Vec::<Taken>::new(), BTreeMap::<Block, usize>::new());
    // What comes after the last line's end was cut short.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (begins, at_secs, block, network) in whole.lines().filter_map(line) {
        let before = open.remove(&block);
        if let Some(taken) = before.and_then(|at| all.get_mut(at)) {
            taken.until_secs = Some(at_secs);
        }
        if begins {
            open.insert(block.clone(), all.len());
            all.push(Taken { block, network, from_secs: at_secs, until_secs: None });
        }
    }
    all
}

/// Whether a line begins a block, when, which, and whose it is.
fn line(line: &str) -> Option<(bool, u64, Block, Option<NetworkId>)> {
    let mut words = line.split(' ');
    let begins = match words.next()? {
        "+" => true,
        "-" => false,
        _ => return None,
    };
    let at_secs = words.next()?.parse().ok()?;
    let address = words.next()?.parse().ok()?;
    let ports = match words.next()? {
        ALL => None,
        ports => Some(ports.parse().ok()?),
    };
    let (allocation, index) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
    let network = words.next().and_then(|word| word.parse().ok());
    Some((begins, at_secs, Block { address, ports, allocation, index }, network))
}

fn written(text: &mut String, (sign, at_secs): (char, u64), block: &Block, network: Option<&NetworkId>) {
    let Block { address, ports, allocation, index } = block;
    // Writing to a String cannot fail.
    let ports = ports.map_or_else(|| ALL.to_owned(), |ports| ports.to_string());
    let _ = write!(text, "{sign} {at_secs} {address} {ports} {allocation} {index}");
    let _ = match network {
        Some(network) => writeln!(text, " {network}"),
        None => writeln!(text),
    };
}

/// The log of a running agent.
#[derive(Debug)]
pub(crate) struct PortLog {
    path: PathBuf,
    open: BTreeMap<Block, Option<NetworkId>>,
    /// The snapshot that was noted last.
    noted: Option<Revision>,
    /// The day, since 1970, on which what ended long ago was forgotten last.
    day: u64,
}

impl PortLog {
    /// Takes up the log in a folder, without what ended long ago or was cut short.
    pub(crate) fn open(state: &Path, now: SystemTime) -> Result<Self, DiskError> {
        let path = state.join(FILE);
        let all = kept(&path, now)?;
        let open = all.into_iter().filter(|taken| taken.until_secs.is_none());
        let open = open.map(|taken| (taken.block, taken.network)).collect();
        Ok(Self { path, open, noted: None, day: day(now) })
    }

    /// Writes down in what a snapshot differs from the one before; on another day than the last time without what ended long ago.
    pub(crate) fn note(&mut self, snapshot: &Snapshot, now: SystemTime) -> Result<(), DiskError> {
        self.add(snapshot, now)?;
        if self.day != day(now) {
            kept(&self.path, now)?;
            self.day = day(now);
        }
        Ok(())
    }

    fn add(&mut self, snapshot: &Snapshot, now: SystemTime) -> Result<(), DiskError> {
        if self.noted == Some(snapshot.revision) {
            return Ok(());
        }
        let (blocks, at_secs) = (blocks(snapshot), secs(now));
        let mut text = String::new();
        for block in
            self.open.iter().filter(|open| blocks.get(open.0) != Some(open.1)).map(|(block, _)| block)
        {
            written(&mut text, ('-', at_secs), block, None);
        }
        for (block, network) in blocks.iter().filter(|(block, network)| self.open.get(block) != Some(network))
        {
            written(&mut text, ('+', at_secs), block, network.as_ref());
        }
        if !text.is_empty() {
            disk::append(&self.path, text.as_bytes(), 0o600)?;
        }
        (self.open, self.noted) = (blocks, Some(snapshot.revision));
        Ok(())
    }
}

/// Everything that a log tells; it is written anew if something of it ended long ago or was cut short.
fn kept(path: &Path, now: SystemTime) -> Result<Vec<Taken>, DiskError> {
    let bytes = disk::read(path, BYTES_MAX)?.unwrap_or_default();
    let mut all = parse(&String::from_utf8_lossy(&bytes));
    let (oldest, count) = (secs(now).saturating_sub(RETENTION.as_secs()), all.len());
    all.retain(|taken| taken.until_secs.is_none_or(|until| until >= oldest));
    // A node has one whatever it is, so that nothing comes with a network that does not go with it.
    if !bytes.ends_with(b"\n") || all.len() < count {
        let mut text = HEAD.to_owned();
        for taken in &all {
            written(&mut text, ('+', taken.from_secs), &taken.block, taken.network.as_ref());
            if let Some(until) = taken.until_secs {
                written(&mut text, ('-', until), &taken.block, None);
            }
        }
        disk::replace(path, text.as_bytes(), 0o600)?;
    }
    Ok(all)
}

/// The blocks of the gateways in a snapshot that serve and have an address, and what all have whose IPv4 leaves at the node itself,
/// with their networks.
fn blocks(snapshot: &Snapshot) -> BTreeMap<Block, Option<NetworkId>> {
    let mut blocks = BTreeMap::new();
    for gateway in snapshot.gateways.iter().filter(|gateway| gateway.serves()) {
        let (Some(public), prefix) = (gateway.public_v4, gateway.allocation.whole()) else { continue };
        let networks = snapshot.networks.iter().filter(|network| network.allocation == gateway.allocation);
        let ids: BTreeMap<PrefixIndex, &NetworkId> = networks
            .flat_map(|network| network.resources.iter().map(|resource| (resource.index, &network.id)))
            .collect();
        let by_ports = gateway.ports.iter().map(|(index, ports)| (*index, public.addr(), Some(*ports)));
        let own = gateway.own_addresses().map(|(index, own)| (index, own.address, None));
        for (index, address, ports) in by_ports.chain(own) {
            let block = Block { address, ports, allocation: prefix.to_string(), index };
            blocks.insert(block, ids.get(&index).map(|id| (*id).clone()));
        }
    }
    blocks.extend(leaving(snapshot).map(|(block, network)| (block, Some(network))));
    blocks
}

/// Who leaves by the node's own address: each from all of the ports there are.
fn leaving(snapshot: &Snapshot) -> impl Iterator<Item = (Block, NetworkId)> {
    let way = snapshot.provision().and_then(|provision| provision.local_v4);
    snapshot.leaving().into_iter().filter_map(move |(index, network)| {
        let allocation = network.allocation.whole().to_string();
        let ports = PortBlock::new(limit::PORT_FIRST, u16::MAX).ok();
        Some((Block { address: way?.address.addr(), ports, allocation, index }, network.id.clone()))
    })
}

/// Since 1970.
fn day(time: SystemTime) -> u64 {
    secs(time) / 86_400
}

fn secs(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

    use sixfold_core::model::{LocalV4, Provision};

    use super::*;
    use crate::ground;

    #[test]
    fn who_has_which_block_is_written_as_it_changes_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |secs| UNIX_EPOCH + Duration::from_secs(secs);
        let mut snapshot = ground::snapshot(&["farm.toml", "acme.toml", "globex.toml"], "ant");
        let (index, ports) = snapshot.gateways[0].ports.first_key_value().unwrap();
        let (index, ports) = (*index, *ports);
        let address = snapshot.gateways[0].public_v4.unwrap().addr();
        let mut log = PortLog::open(dir.path(), at(100)).unwrap();
        log.note(&snapshot, at(100)).unwrap();
        // The same again, and after a restart, is no news.
        log.note(&snapshot, at(110)).unwrap();
        snapshot.revision.0 += 1;
        let mut log = PortLog::open(dir.path(), at(120)).unwrap();
        log.note(&snapshot, at(120)).unwrap();
        snapshot.revision.0 += 1;
        snapshot.gateways[0].ports.remove(&index);
        log.note(&snapshot, at(200)).unwrap();
        let all = read(dir.path()).unwrap().unwrap();
        let of = |at_secs| {
            let found = all.iter().filter(|taken| taken.has(address, ports.first(), at_secs));
            found.map(|taken| (taken.from_secs, taken.until_secs)).collect::<Vec<_>>()
        };
        assert_eq!(of(99), []);
        assert_eq!(of(150), [(100, Some(200))]);
        assert_eq!(of(201), []);
        assert!(all.iter().all(|taken| taken.network.is_some()), "{all:?}");
        let others = all.iter().filter(|taken| taken.until_secs.is_none());
        assert_eq!(others.count(), snapshot.gateways[0].ports.len(), "the others go on");
    }

    #[test]
    fn who_leaves_at_the_node_itself_is_written_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut snapshot = ground::snapshot(&["farm.toml", "acme.toml", "globex.toml"], "cat");
        let mut log = PortLog::open(dir.path(), UNIX_EPOCH).unwrap();
        let way =
            LocalV4 { address: "192.168.7.50/24".parse().unwrap(), router: "192.168.7.1".parse().unwrap() };
        let node = snapshot.node.id().clone();
        snapshot.provision = Some(Provision { local_v4: Some(way), ..Provision::none(node) });
        let wanting = snapshot.networks[0].id.clone();
        snapshot.networks[0].local_v4 = true;
        log.note(&snapshot, UNIX_EPOCH).unwrap();
        let all = read(dir.path()).unwrap().unwrap();
        let whose = |port| -> Vec<_> {
            let found = all.iter().filter(|taken| taken.has(way.address.addr(), port, 5));
            found.map(|taken| taken.network.clone().unwrap()).collect()
        };
        assert_eq!(whose(40_123), std::slice::from_ref(&wanting), "and not who does not want it");
        assert_eq!(whose(1023), []);
        // They speak from the same ports: each is told.
        snapshot.networks[1].local_v4 = true;
        snapshot.revision.0 += 1;
        log.note(&snapshot, UNIX_EPOCH).unwrap();
        assert_eq!(read(dir.path()).unwrap().unwrap().len(), 2);
    }

    const TEXT: &str = "sixfold-ports 1\n\
        + 100 203.0.113.7 1024-2047 2001:db8:a::/48 1000 acme/web\n\
        + 100 203.0.113.7 2048-3071 2001:db8:a::/48 1001 globex/lab\n\
        ? a line of a later version\n\
        - 200 203.0.113.7 1024-2047 2001:db8:a::/48 1000\n\
        + 300 203.0.113.7 1024-2047 2001:db8:a::/48 1005 umbrella/ops\n\
        + 300 203.0.113.20 all 2001:db8:a::/48 1001 globex/lab\n";

    fn whose(text: &str, port: u16, at_secs: u64) -> Vec<String> {
        whose_of(text, ("203.0.113.7", port), at_secs)
    }

    fn whose_of(text: &str, (address, port): (&str, u16), at_secs: u64) -> Vec<String> {
        let address = address.parse().unwrap();
        let all = parse(text);
        let found = all.iter().filter(|taken| taken.has(address, port, at_secs));
        found.map(|taken| taken.network.as_ref().unwrap().to_string()).collect()
    }

    #[test]
    fn a_port_is_whose_it_was_then() {
        assert_eq!(whose(TEXT, 1500, 150), ["acme/web"]);
        assert_eq!(whose(TEXT, 1500, 250), [""; 0], "between two");
        assert_eq!(whose(TEXT, 1500, 9999), ["umbrella/ops"], "until now");
        assert_eq!(whose(TEXT, 2048, 9999), ["globex/lab"]);
        assert_eq!(whose(TEXT, 2047, 99), [""; 0], "before all");
        assert_eq!(whose(TEXT, 80, 150), [""; 0], "nobody's");
        assert_eq!(whose_of(TEXT, ("203.0.113.20", 80), 300), ["globex/lab"], "an address of its own");
    }

    #[test]
    fn what_was_cut_short_or_ended_long_ago_goes_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, format!("{TEXT}- 400 203.0.113.7 2048-30")).unwrap();
        let at = |secs| UNIX_EPOCH + Duration::from_secs(secs);
        let log = PortLog::open(dir.path(), at(500)).unwrap();
        assert_eq!(log.open.len(), 3, "what a line began that ends nowhere is open");
        let all = read(dir.path()).unwrap().unwrap();
        assert_eq!(all, parse(TEXT), "nothing but the half line went");
        PortLog::open(dir.path(), at(201 + RETENTION.as_secs())).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(!text.contains("acme/web"), "{text}");
    }

    /// An agent that runs for months: what is open stays whatever its age, and so does what the file had that this version does not write.
    #[test]
    fn what_ended_long_ago_goes_while_the_agent_runs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, TEXT).unwrap();
        let at = |secs| UNIX_EPOCH + Duration::from_secs(secs);
        let mut log = PortLog::open(dir.path(), at(500)).unwrap();
        let snapshot = ground::snapshot(&["farm.toml", "acme.toml"], "ant");
        log.note(&snapshot, at(600)).unwrap();
        let before = std::fs::read_to_string(&path).unwrap();
        let over = 601 + RETENTION.as_secs();
        log.note(&snapshot, at(over - 86_400)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before, "nothing is old enough");
        log.note(&snapshot, at(over)).unwrap();
        let left = read(dir.path()).unwrap().unwrap();
        assert!(left.iter().all(|taken| taken.until_secs.is_none()), "{left:?}");
        assert_eq!(left.len(), log.open.len());
    }
}
