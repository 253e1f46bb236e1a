//! nftables by netlink: the table `inet sixfold` of one network namespace.
//!
//! ```text
//! Op ──compile──▶ Batch ──NftSocket──▶ kernel ──dump──▶ Firewall
//!        │ rule, condition, action, set: typed values ◀─▶ expr, attr: bytes │
//! ```
//!
//! Owns: the bytes of rules, sets and elements, transactions, and reading them back. Must not know links, namespaces or
//! tenants, nor start a process. A socket works in the namespace it was opened in.

mod attr;
mod batch;
mod check;
mod compile;
mod dump;
mod each;
mod error;
mod message;
mod rule;
mod set;
mod socket;

use std::collections::BTreeMap;

use nix::libc;
use sixfold_core::name::{IfName, TABLE};
use sixfold_core::plan::Op;
use sixfold_core::state::{ChainName, Firewall, SetName};

use attr::{find_str, find_u32};
pub use check::is_firewall;
use compile::Look;
use dump::Dump;
pub(crate) use dump::read_any;
pub use error::NftError;
use message::{flag, kind};
pub use rule::{COMMENT_BYTES_MAX, decode, encode};
pub use socket::NftSocket;

/// How often something is tried against a ruleset that others keep changing.
const ATTEMPTS: usize = 32;

/// What a rule has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets that matched.
    pub packets: u64,
    /// Their bytes, from the network header on.
    pub bytes: u64,
}

/// The generation of the namespace's whole ruleset: every change by anyone makes it another one.
///
/// # Errors
/// [`NftError`] if the kernel does not answer.
pub fn generation(socket: &mut NftSocket) -> Result<u32, NftError> {
    let mut generation = None;
    socket.request(kind::GET_GENERATION, flag::ACK, &[], |attrs| generation = find_u32(attrs, 1))?;
    generation.ok_or(NftError::Malformed)
}

/// The tables that are not ours, each with its family's name.
///
/// # Errors
/// [`NftError`] if the kernel does not answer.
pub fn other_tables(socket: &mut NftSocket) -> Result<Vec<(&'static str, String)>, NftError> {
    const FAMILIES: [(u8, &str); 6] =
        [(1, "inet"), (2, "ip"), (3, "arp"), (5, "netdev"), (7, "bridge"), (10, "ip6")];
    let mut others = Vec::new();
    for (family, word) in FAMILIES {
        socket.request_of(family, (kind::GET_TABLE, flag::DUMP), &[], |attrs| {
            let name = find_str(attrs, 1).filter(|name| (family, name.as_str()) != (message::INET, TABLE));
            others.extend(name.map(|name| (word, name)));
        })?;
    }
    Ok(others)
}

/// Everything in the table, of one generation; `None` if there is no table.
///
/// # Errors
/// [`NftError`] if the kernel does not answer, or the ruleset keeps changing.
pub fn observe(socket: &mut NftSocket) -> Result<Option<Firewall>, NftError> {
    look(socket).map(|look| look.there)
}

/// What each rule has counted, by chain and comment; rules of the same comment are added up.
///
/// # Errors
/// As [`observe`].
pub fn counters(socket: &mut NftSocket) -> Result<BTreeMap<(ChainName, String), Counter>, NftError> {
    let read = |dump: &mut Dump<'_>| {
        let mut counters: BTreeMap<(ChainName, String), Counter> = BTreeMap::new();
        dump.each_rule(|chain, expressions, userdata| {
            if let Some((packets, bytes)) = rule::counted(expressions) {
                let counter = counters.entry((chain, rule::comment(userdata))).or_default();
                counter.packets += packets;
                counter.bytes += bytes;
            }
        })?;
        Ok(counters)
    };
    steady(socket, read).map(|(counters, _)| counters)
}

/// What each element of a set of links counted, and under none what those did that are in no element together; nothing if
/// there is no such set. Read while packets pass, and in no one moment: a change in between is seen the next time.
///
/// # Errors
/// [`NftError`] if the kernel does not answer.
pub fn tallies(socket: &mut NftSocket, set: &SetName) -> Result<BTreeMap<Option<IfName>, Counter>, NftError> {
    match Dump::new(socket).tallies(set) {
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(BTreeMap::new()),
        read => read,
    }
}

/// Carries out operations on the firewall as one transaction: all of them or none.
///
/// What is there already, or not there any more, is done already.
///
/// # Errors
/// The operations that are at fault, by their place in `ops`, each with its first fault; nothing was changed. A fault of the transaction as a
/// whole (it could not be sent, say) is told of the first.
pub fn apply(socket: &mut NftSocket, ops: &[&Op]) -> Result<(), Vec<(usize, NftError)>> {
    let refused: Vec<_> =
        ops.iter().enumerate().filter_map(|(i, op)| check::check(op).err().map(|error| (i, error))).collect();
    if !refused.is_empty() {
        return Err(refused);
    }
    for _ in 0..ATTEMPTS {
        if attempt(socket, ops)? {
            return Ok(());
        }
    }
    Err(whole(NftError::Changing { attempts: ATTEMPTS }))
}

/// One attempt; says whether it was carried out, or must be made anew as someone else came in between.
fn attempt(socket: &mut NftSocket, ops: &[&Op]) -> Result<bool, Vec<(usize, NftError)>> {
    let look = ops.iter().any(|op| check::deletes(op)).then(|| look(socket)).transpose().map_err(whole)?;
    let batch = compile::compile(ops, socket.next_seq(), look);
    socket.skip_seq(batch.last_seq().wrapping_add(1));
    if batch.is_empty() {
        return Ok(true);
    }
    let verdicts = socket.commit(&batch).map_err(whole)?;
    if verdicts.iter().any(|verdict| matches!(verdict.error.errno(), Some(libc::ERESTART | libc::EINTR))) {
        return Ok(false);
    }
    let mut faults = BTreeMap::new();
    for verdict in verdicts {
        let op = batch.op_at(verdict.seq, verdict.offset).unwrap_or(0);
        faults.entry(op).or_insert(verdict.error);
    }
    if faults.is_empty() { Ok(true) } else { Err(faults.into_iter().collect()) }
}

fn whole(error: NftError) -> Vec<(usize, NftError)> {
    vec![(0, error)]
}

fn look(socket: &mut NftSocket) -> Result<Look, NftError> {
    let (there, generation) = steady(socket, |dump| dump.firewall())?;
    Ok(Look { there, generation })
}

/// Reads until nothing changed in between. What vanishes while it is read is no error but a change.
fn steady<T>(
    socket: &mut NftSocket,
    read: impl Fn(&mut Dump<'_>) -> Result<T, NftError>,
) -> Result<(T, u32), NftError> {
    for _ in 0..ATTEMPTS {
        let before = generation(socket)?;
        let mut dump = Dump::new(socket);
        let found = read(&mut dump);
        let whole = dump.is_whole();
        let steady = generation(socket)? == before;
        match found {
            Ok(found) if whole && steady => return Ok((found, before)),
            Err(error) if steady => return Err(error),
            _ => {}
        }
    }
    Err(NftError::Changing { attempts: ATTEMPTS })
}
