//! A memo: what a device is, but for its descriptors, as text in memory that another process makes it from. It holds the
//! private key, so that it lives in a memfd and nowhere else: no name in any folder, no more on a disk than a process's own
//! memory, gone with the last descriptor of it.
//!
//! ```text
//! sixfold-tunnel memo 1            the form; another one is not read
//! device NAME MTU CHANGES          CHANGES in hex
//! met KEY REMOTE LOCAL HANDSHAKE   a line for each peer that has an endpoint: our address or -, milliseconds since boot or -
//! set=1                            from here on what the configuration protocol takes
//! ```
//!
//! Must not know where memos are kept, nor who reads them.

use crate::control::DeviceName;
use crate::device::{Endpoint, Met};
use crate::key::PublicKey;
use crate::uapi::{DeviceState, Request, SetDevice, UapiError, format_state, parse_request};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;
use zeroize::Zeroizing;

/// The form of memos and of the requests by which one process succeeds another: those of another form are refused.
pub const FORM: u32 = 1;
/// Longest memo, in bytes: the longest configuration there is, and as much again.
pub const MEMO_LEN: usize = 16 << 20;
/// What stands in front of a memo in its memfd: its length. Zero while it is being written, so that what a process that was
/// killed then left is not read.
const FRONT_LEN: usize = 8;
/// Space of the first lines, and of a `met` line: the text must not grow by moving.
const HEAD_LEN: usize = 96;
const MET_LEN: usize = 224;
/// What a device tells and does not take.
const TOLD_ONLY: [&str; 4] = ["last_handshake_time_", "tx_bytes=", "rx_bytes=", "errno="];

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memo {
    /// Its name.
    pub name: DeviceName,
    /// MTU of its TUN, in bytes.
    pub mtu: u16,
    /// How often its configuration had been changed.
    pub changes: u32,
    /// What was known of its peers.
    pub met: Vec<Met>,
    /// Its configuration.
    pub set: SetDevice,
}

/// Why a memo cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemoError {
    /// The memory that it is in cannot be read or written.
    #[error("memory of a memo cannot be used")]
    Memory(#[from] io::Error),
    /// It was never finished, is longer than one can be, or is no text.
    #[error("memo is torn")]
    Torn,
    /// It is of another version's form.
    #[error("memo is not of form {FORM}")]
    OtherForm,
    /// A line makes no sense. It is not repeated: it may be a secret.
    #[error("line {line} of a memo cannot be read")]
    WrongLine {
        /// Counted from one.
        line: usize,
    },
    /// The configuration makes no sense.
    #[error("configuration in a memo cannot be read")]
    Configuration(#[from] UapiError),
}

/// Writes the memo of a device.
pub fn write(
    (name, mtu, changes): (&DeviceName, u16, u32),
    met: &[Met],
    state: &DeviceState,
) -> Zeroizing<String> {
    let told = format_state(state);
    let mut text = Zeroizing::new(String::with_capacity(told.len() + HEAD_LEN + MET_LEN * met.len()));
    let mut push = |line: std::fmt::Arguments<'_>| {
        text.write_fmt(line).expect("writing to a string cannot fail");
    };
    push(format_args!("sixfold-tunnel memo {FORM}\ndevice {name} {mtu} {changes:x}\n"));
    for Met { public_key, endpoint: Endpoint { remote, local }, handshake } in met {
        let local = local.map_or("-".to_owned(), |local| local.to_string());
        let handshake = handshake.map_or("-".to_owned(), |then| then.as_millis().to_string());
        push(format_args!("met {} {remote} {local} {handshake}\n", public_key.to_hex()));
    }
    push(format_args!("set=1\n"));
    let taken = told
        .lines()
        .filter(|line| !line.is_empty() && !TOLD_ONLY.iter().any(|told_only| line.starts_with(told_only)));
    taken.for_each(|line| push(format_args!("{line}\n")));
    text
}

/// Reads a memo.
///
/// # Errors
/// Says which line is wrong, never what it says.
pub fn read(text: &str) -> Result<Memo, MemoError> {
    let (head, set) = text.split_once("\nset=1\n").ok_or(MemoError::Torn)?;
    let mut lines = head.lines().enumerate().map(|(index, line)| (index + 1, line));
    let form = lines.next().and_then(|(_, line)| line.strip_prefix("sixfold-tunnel memo "));
    if form != Some(FORM.to_string().as_str()) {
        return Err(MemoError::OtherForm);
    }
    let device = lines.next().and_then(|(_, line)| read_device(line));
    let (name, mtu, changes) = device.ok_or(MemoError::WrongLine { line: 2 })?;
    let met = lines.map(|(line, text)| read_met(text).ok_or(MemoError::WrongLine { line }));
    let met = met.collect::<Result<_, _>>()?;
    let request = Zeroizing::new(format!("set=1\n{set}"));
    match parse_request(&request)? {
        Request::Set(set) => Ok(Memo { name, mtu, changes, met, set }),
        Request::Get => Err(MemoError::Configuration(UapiError::UnknownOperation)),
    }
}

fn read_device(line: &str) -> Option<(DeviceName, u16, u32)> {
    let ["device", name, mtu, changes] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
    Some((name.parse().ok()?, mtu.parse().ok()?, u32::from_str_radix(changes, 16).ok()?))
}

fn read_met(line: &str) -> Option<Met> {
    let ["met", key, remote, local, handshake] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
    let local = if local == "-" { None } else { Some(local.parse().ok()?) };
    let handshake = if handshake == "-" { None } else { Some(handshake.parse().ok()?) };
    Some(Met {
        public_key: PublicKey::from_hex(key)?,
        endpoint: Endpoint { remote: remote.parse().ok()?, local },
        handshake: handshake.map(Duration::from_millis),
    })
}

/// Memory for a memo, without one yet.
///
/// # Errors
/// What the system says.
pub(crate) fn memory() -> Result<File, MemoError> {
    let memory = memfd_create(c"sixfold-tunnel memo", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from)?;
    Ok(File::from(memory))
}

/// Puts a memo in the place of the one that is there.
///
/// # Errors
/// What the system says.
pub(crate) fn put(memory: &File, memo: &str) -> Result<(), MemoError> {
    memory.write_all_at(&[0; FRONT_LEN], 0)?;
    memory.write_all_at(memo.as_bytes(), FRONT_LEN as u64)?;
    memory.set_len((FRONT_LEN + memo.len()) as u64)?;
    memory.write_all_at(&(memo.len() as u64).to_le_bytes(), 0)?;
    Ok(())
}

/// Reads the memo that is there.
///
/// # Errors
/// If it cannot be used.
pub(crate) fn take(memory: &File) -> Result<Memo, MemoError> {
    let mut front = [0; FRONT_LEN];
    memory.read_exact_at(&mut front, 0).map_err(|_| MemoError::Torn)?;
    let length = usize::try_from(u64::from_le_bytes(front)).unwrap_or(usize::MAX);
    if !(1..=MEMO_LEN).contains(&length) {
        return Err(MemoError::Torn);
    }
    let mut bytes = Zeroizing::new(vec![0; length]);
    memory.read_exact_at(&mut bytes, FRONT_LEN as u64).map_err(|_| MemoError::Torn)?;
    read(std::str::from_utf8(&bytes).map_err(|_| MemoError::Torn)?)
}

#[cfg(test)]
mod tests;
