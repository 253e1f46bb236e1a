//! nfnetlink messages: headers, types and what comes back.
//!
//! Owns: the two headers (netlink's 16 bytes and netfilter's 4) and the reading of errors. Must not know attributes.

use std::io;

use super::NftError;
use super::attr::{find, find_str, pad};

/// `NFPROTO_INET`
pub(super) const INET: u8 = 1;
/// `NFPROTO_UNSPEC`
pub(super) const UNSPEC: u8 = 0;
/// `NFNL_SUBSYS_NFTABLES`
pub(super) const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN`
pub(super) const BATCH_BEGIN: u16 = 16;
/// `NFNL_MSG_BATCH_END`
pub(super) const BATCH_END: u16 = 17;

/// Message types within the subsystem.
pub(super) mod kind {
    pub(in super::super) const NEW_TABLE: u16 = 0;
    pub(in super::super) const GET_TABLE: u16 = 1;
    pub(in super::super) const DEL_TABLE: u16 = 2;
    pub(in super::super) const NEW_CHAIN: u16 = 3;
    pub(in super::super) const GET_CHAIN: u16 = 4;
    pub(in super::super) const DEL_CHAIN: u16 = 5;
    pub(in super::super) const NEW_RULE: u16 = 6;
    pub(in super::super) const GET_RULE: u16 = 7;
    pub(in super::super) const DEL_RULE: u16 = 8;
    pub(in super::super) const NEW_SET: u16 = 9;
    pub(in super::super) const GET_SET: u16 = 10;
    pub(in super::super) const DEL_SET: u16 = 11;
    pub(in super::super) const NEW_ELEMENT: u16 = 12;
    pub(in super::super) const GET_ELEMENT: u16 = 13;
    pub(in super::super) const DEL_ELEMENT: u16 = 14;
    pub(in super::super) const GET_GENERATION: u16 = 16;
}

/// Message flags.
pub(super) mod flag {
    pub(in super::super) const REQUEST: u16 = 0x1;
    pub(in super::super) const ACK: u16 = 0x4;
    pub(in super::super) const DUMP: u16 = 0x300;
    pub(in super::super) const CREATE: u16 = 0x400;
    pub(in super::super) const APPEND: u16 = 0x800;
    /// The dump was disturbed by a change.
    pub(in super::super) const INTERRUPTED: u16 = 0x10;
    /// An error does not repeat the message refused.
    pub(in super::super) const CAPPED: u16 = 0x100;
    /// An error carries attributes of its own.
    pub(in super::super) const WORDS: u16 = 0x200;
}

/// Bytes of netlink's header, and of both.
const NETLINK: usize = 16;
const HEADERS: usize = NETLINK + 4;
/// Where the flags are.
const FLAGS_AT: usize = 6;

const ERROR: u16 = 2;
const DONE: u16 = 3;

/// What the headers of a message say.
#[derive(Clone, Copy)]
pub(super) struct Head {
    /// Subsystem and type.
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) seq: u32,
    pub(super) family: u8,
    /// Only the bounds of a transaction have one.
    pub(super) resource: u16,
}

/// Appends a message whose attributes `fill` appends.
pub(super) fn put(out: &mut Vec<u8>, head: Head, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; NETLINK]);
    out.extend_from_slice(&[head.family, 0]);
    out.extend_from_slice(&head.resource.to_be_bytes());
    fill(out);
    let len = u32::try_from(out.len() - start).expect("a message holds one chunk of elements at most");
    out[start..start + 4].copy_from_slice(&len.to_ne_bytes());
    out[start + 4..start + 6].copy_from_slice(&head.kind.to_ne_bytes());
    out[start + FLAGS_AT..start + 8].copy_from_slice(&(head.flags | flag::REQUEST).to_ne_bytes());
    out[start + 8..start + 12].copy_from_slice(&head.seq.to_ne_bytes());
    pad(out);
}

/// Has the kernel answer the message that begins at `start`.
pub(super) fn want_ack(out: &mut [u8], start: usize) {
    out[start + FLAGS_AT] |= flag::ACK.to_ne_bytes()[0];
    out[start + FLAGS_AT + 1] |= flag::ACK.to_ne_bytes()[1];
}

/// One message that came back.
pub(super) struct Reply<'a> {
    pub(super) seq: u32,
    pub(super) interrupted: bool,
    pub(super) body: Body<'a>,
}

/// What it says.
pub(super) enum Body<'a> {
    /// Attributes of an object.
    Object(&'a [u8]),
    /// The request or dump is done.
    Done,
    /// It was refused; and where in the message, if the kernel says.
    Refused { error: NftError, offset: Option<usize> },
}

/// Reads the messages of one datagram.
pub(super) struct Replies<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Replies<'a> {
    type Item = Result<Reply<'a>, NftError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let reply = self.read();
        if reply.is_none() {
            self.0 = &[];
        }
        Some(reply.ok_or(NftError::Malformed))
    }
}

impl<'a> Replies<'a> {
    fn read(&mut self) -> Option<Reply<'a>> {
        let len = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let whole = self.0.get(..len)?;
        let payload = whole.get(NETLINK..)?;
        let kind = u16_at(whole, 4)?;
        let flags = u16_at(whole, FLAGS_AT)?;
        let body = match kind {
            ERROR => error(payload, flags)?,
            DONE => Body::Done,
            _ => Body::Object(whole.get(HEADERS..)?),
        };
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Reply { seq: u32_at(whole, 8)?, interrupted: flags & flag::INTERRUPTED != 0, body })
    }
}

/// `struct nlmsgerr`: a number, the header refused, and perhaps the kernel's own words.
fn error(payload: &[u8], flags: u16) -> Option<Body<'_>> {
    let code = u32_at(payload, 0)?.cast_signed();
    if code == 0 {
        return Some(Body::Done);
    }
    let refused = usize::try_from(u32_at(payload, 4)?).ok()?;
    let told = if flags & flag::CAPPED == 0 { refused.next_multiple_of(4) } else { NETLINK };
    let own = if flags & flag::WORDS == 0 { None } else { payload.get(4 + told..) };
    let source = io::Error::from_raw_os_error(-code);
    let words = own.and_then(|own| find_str(own, 1));
    let offset = own.and_then(|own| u32_at(find(own, 2)?, 0)).and_then(|offset| usize::try_from(offset).ok());
    Some(Body::Refused { error: NftError::Refused { words, source }, offset })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}
