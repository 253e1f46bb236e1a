//! Reads one request. The whole text is read before anything is changed, so a wrong line changes nothing.

use super::{Request, SetDevice, SetPeer, UapiError};
use crate::key::{PublicKey, SecretKey};
use ipnet::IpNet;
use std::str::FromStr;

/// Reads a request, with or without the blank line that ends it.
///
/// # Errors
/// Names the first line that cannot be read, never its value.
pub fn parse_request(text: &str) -> Result<Request, UapiError> {
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    match lines.next() {
        Some((_, "get=1")) => parse_get(lines),
        Some((_, "set=1")) => parse_set(lines).map(Request::Set),
        _ => Err(UapiError::UnknownOperation),
    }
}

fn parse_get<'a>(mut lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Request, UapiError> {
    match lines.find(|(_, line)| !line.is_empty()) {
        None => Ok(Request::Get),
        Some((line, _)) => Err(UapiError::UnknownKey { line }),
    }
}

fn parse_set<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<SetDevice, UapiError> {
    let mut set = SetDevice::default();
    for (line, text) in lines.filter(|(_, text)| !text.is_empty()) {
        let (key, value) = text.split_once('=').ok_or(UapiError::UnknownKey { line })?;
        let field = Field { line, key, value };
        if key == "public_key" {
            set.peers.push(SetPeer::new(field.read_with(PublicKey::from_hex)?));
        } else if let Some(peer) = set.peers.last_mut() {
            field.set_peer(peer)?;
        } else {
            field.set_device(&mut set)?;
        }
    }
    Ok(set)
}

struct Field<'a> {
    line: usize,
    key: &'a str,
    value: &'a str,
}

impl Field<'_> {
    fn set_device(&self, set: &mut SetDevice) -> Result<(), UapiError> {
        match self.key {
            "private_key" => set.private_key = Some(self.read_with(SecretKey::from_hex)?),
            "listen_port" => set.listen_port = Some(self.read()?),
            "fwmark" => set.fwmark = Some(self.read_with(parse_mark)?),
            "replace_peers" => set.replace_peers = self.read_true()?,
            _ => return Err(UapiError::UnknownKey { line: self.line }),
        }
        Ok(())
    }

    fn set_peer(&self, peer: &mut SetPeer) -> Result<(), UapiError> {
        match self.key {
            "remove" => peer.remove = self.read_true()?,
            "update_only" => peer.update_only = self.read_true()?,
            "preshared_key" => peer.preshared_key = Some(self.read_with(SecretKey::from_hex)?),
            "endpoint" => peer.endpoint = Some(self.read()?),
            "persistent_keepalive_interval" => peer.keepalive_secs = Some(self.read()?),
            "replace_allowed_ips" => {
                peer.replace_allowed_ips = self.read_true()?;
                peer.allowed_ips.clear();
                peer.accepted_ips.clear();
            }
            "allowed_ip" => peer.allowed_ips.push(self.read_with(parse_prefix)?),
            "accepted_ip" => peer.accepted_ips.push(self.read_with(parse_prefix)?),
            "protocol_version" if self.value == "1" => {}
            "protocol_version" => return Err(UapiError::WrongVersion { line: self.line }),
            _ => return Err(UapiError::UnknownKey { line: self.line }),
        }
        Ok(())
    }

    fn read_with<T>(&self, read: impl FnOnce(&str) -> Option<T>) -> Result<T, UapiError> {
        read(self.value).ok_or(UapiError::WrongValue { line: self.line })
    }

    fn read<T: FromStr>(&self) -> Result<T, UapiError> {
        self.read_with(|value| value.parse().ok())
    }

    /// Flags have one value only.
    fn read_true(&self) -> Result<bool, UapiError> {
        self.read_with(|value| (value == "true").then_some(true))
    }
}

fn parse_mark(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn parse_prefix(text: &str) -> Option<(IpNet, bool)> {
    let (text, given) = text.strip_prefix('-').map_or((text, true), |rest| (rest, false));
    Some((text.parse().ok()?, given))
}
