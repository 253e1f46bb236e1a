//! The control protocol as values: one request per message, one reply. Pure: it knows no socket and no device.
//!
//! ```text
//! add NAME MTU      with two descriptors, TUN and UDP socket    ok
//! remove NAME                                                   ok
//! translate PREFIX PREFIX-V4 MTU                                ok. Until the TUN is deleted
//!                   with one descriptor, a TUN
//! list                                                          NAME PORT CHANGES, a line per device, CHANGES in hex
//!                                                               as many as its configuration had; an empty line if none
//! status NAME [PUBLIC-KEY]                                      see `status`
//! totals                                                        see `status`
//! ping                                                          ok VERSION PID
//!
//! succeed FORM      what speaks this form of what follows       ok, with the control socket
//! give NAME                                                     ok, with TUN, UDP socket, configuration socket, memo
//! take LIST         LIST is a number made of the answer to      ok: from here on nothing is carried until the word `done`,
//!                   `list`, the devices that were given         which has no reply, or the end of the connection
//!
//!                                                               error ERRNO WORDS, to any of them
//! ```

use crate::key::PublicKey;
use crate::memo::FORM;
use crate::translate::Map;
use nix::errno::Errno;
use std::fmt;
use std::str::FromStr;

/// Longest request, in bytes.
pub const REQUEST_LEN: usize = 512;
/// Longest reply, in bytes; a status longer than that goes on in further replies.
pub const REPLY_LEN: usize = 128 << 10;
/// Smallest MTU of a TUN: what every IPv4 host must take (RFC 791).
const MTU_MIN: u16 = 576;

/// Name of a device: that of its network interface, 1 to 15 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceName(String);

impl DeviceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceName {
    type Err = ControlError;

    fn from_str(text: &str) -> Result<Self, ControlError> {
        let printable = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
        let valid =
            (1..=15).contains(&text.len()) && text.bytes().all(printable) && text != "." && text != "..";
        valid.then(|| Self(text.to_owned())).ok_or(ControlError::WrongName)
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Host a device on the two descriptors of this message, or give a hosted one these descriptors.
    Add {
        /// Name of the device.
        name: DeviceName,
        /// MTU of its TUN, in bytes.
        mtu: u16,
    },
    /// Close a device's descriptors and forget it.
    Remove(DeviceName),
    /// Translate between the families on the TUN of this message, for the workloads of a resource.
    Translate {
        /// The resource's prefixes.
        map: Map,
        /// MTU of the links to its workloads, in bytes.
        mtu: u16,
    },
    /// Name every device.
    List,
    /// Tell what a device counted.
    Status {
        /// Name of the device.
        name: DeviceName,
        /// The last peer of the reply before, if this one is to go on after it.
        after: Option<PublicKey>,
    },
    /// Tell what all devices together counted, those that are gone included.
    Totals,
    /// Answer.
    Ping,
    /// Pass on the control socket to a process that is to succeed this one.
    Succeed {
        /// The form of memos and of this conversation that it speaks.
        form: u32,
    },
    /// Pass on what a device is.
    Give(DeviceName),
    /// Stop carrying, and end once the successor carries.
    Take {
        /// [Number](list_number) of the devices that it has.
        list: u64,
    },
}

/// The last word of a successor: it carries all devices.
pub const DONE: &[u8] = b"done";

/// A number that is another one for each answer to `list`, and so for each state of all devices' configuration (FNV-1a).
pub fn list_number(list: &str) -> u64 {
    list.bytes().fold(0xcbf2_9ce4_8422_2325, |number, byte| {
        (number ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// It is none of the requests there are.
    #[error("unknown request")]
    UnknownRequest,
    /// A device's name is that of a network interface.
    #[error("device name is not 1 to 15 printable bytes without slash and colon")]
    WrongName,
    /// The MTU is no number, or too small.
    #[error("MTU is not a number between 576 and 65535")]
    WrongMtu,
    /// A public key is not 44 characters of base64.
    #[error("public key cannot be read")]
    WrongKey,
    /// The descriptors of a request did not come.
    #[error("expected {wanted}, got {got}")]
    WrongDescriptors {
        /// How many, and which.
        wanted: &'static str,
        /// How many came.
        got: usize,
    },
    /// What is to be translated is no /64 and no /24.
    #[error("prefixes to translate between are not a /64 and a /24")]
    WrongPrefixes,
    /// The second descriptor is not a bound IPv6 UDP socket, or a descriptor cannot be used.
    #[error("descriptor cannot be used as {role}")]
    UnusableDescriptor {
        /// `TUN` or `UDP socket`.
        role: &'static str,
        /// What the system says.
        errno: Errno,
    },
    /// Descriptors came and found no room in this process.
    #[error("no room for more descriptors: raise the limit of open files (LimitNOFILE= of the service)")]
    NoRoom,
    /// The configuration socket cannot be made.
    #[error("configuration socket of device {name} cannot be made")]
    NoUapi {
        /// The device.
        name: DeviceName,
        /// What the system says.
        errno: Errno,
    },
    /// As many devices as there may be are hosted.
    #[error("no more than {limit} devices are hosted")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// As many resources as there may be are translated for.
    #[error("no more than {limit} resources are translated for")]
    TooManyTranslators {
        /// How many there may be.
        limit: usize,
    },
    /// No device of this name is hosted.
    #[error("no device {name}")]
    NoDevice {
        /// The name.
        name: DeviceName,
    },
    /// A process of another version is to succeed this one, and would not understand it.
    #[error(
        "a successor of form {wanted} cannot follow this process, which speaks form {FORM}: end this one, then start it"
    )]
    OtherForm {
        /// What it speaks.
        wanted: u32,
    },
    /// A service manager keeps what this process holds.
    #[error("a service manager keeps the descriptors: restart the service, which passes them on")]
    IsKept,
    /// Devices came, went or were configured while they were passed on.
    #[error("devices changed while they were passed on: ask again")]
    Changed,
    /// A device cannot be passed on.
    #[error("device {name} cannot be passed on")]
    NotGiven {
        /// The device.
        name: DeviceName,
        /// What the system says.
        errno: Errno,
    },
}

impl ControlError {
    /// The error number of the reply.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::UnknownRequest => Errno::EOPNOTSUPP,
            Self::WrongName | Self::WrongMtu | Self::WrongKey | Self::WrongPrefixes => Errno::EINVAL,
            Self::WrongDescriptors { .. } => Errno::EBADMSG,
            Self::UnusableDescriptor { errno, .. }
            | Self::NoUapi { errno, .. }
            | Self::NotGiven { errno, .. } => *errno,
            Self::OtherForm { .. } => Errno::EPROTO,
            Self::IsKept => Errno::EBUSY,
            Self::Changed => Errno::EAGAIN,
            Self::NoRoom => Errno::EMFILE,
            Self::TooMany { .. } | Self::TooManyTranslators { .. } => Errno::ENOSPC,
            Self::NoDevice { .. } => Errno::ENODEV,
        }
    }

    /// The whole reply.
    pub fn to_reply(&self) -> String {
        format!("error {} {self}", self.errno() as i32)
    }
}

/// Reads a request.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse_command(text: &str) -> Result<Command, ControlError> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let unknown = ControlError::UnknownRequest;
    match words[..] {
        ["add", name, mtu] => Ok(Command::Add { name: name.parse()?, mtu: parse_mtu(mtu)? }),
        ["remove", name] => Ok(Command::Remove(name.parse()?)),
        ["translate", prefix, prefix_v4, mtu] => {
            let map = prefix.parse().ok().zip(prefix_v4.parse().ok());
            let map = map.and_then(|(prefix, prefix_v4)| Map::new(prefix, prefix_v4));
            Ok(Command::Translate { map: map.ok_or(ControlError::WrongPrefixes)?, mtu: parse_mtu(mtu)? })
        }
        ["list"] => Ok(Command::List),
        ["status", name] => Ok(Command::Status { name: name.parse()?, after: None }),
        ["status", name, key] => {
            let after = Some(PublicKey::from_base64(key).ok_or(ControlError::WrongKey)?);
            Ok(Command::Status { name: name.parse()?, after })
        }
        ["totals"] => Ok(Command::Totals),
        ["ping"] => Ok(Command::Ping),
        ["succeed", form] => form.parse().map(|form| Command::Succeed { form }).map_err(|_| unknown),
        ["give", name] => Ok(Command::Give(name.parse()?)),
        ["take", list] => list.parse().map(|list| Command::Take { list }).map_err(|_| unknown),
        _ => Err(unknown),
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { name, mtu } => write!(f, "add {name} {mtu}"),
            Self::Remove(name) => write!(f, "remove {name}"),
            Self::Translate { map, mtu } => write!(f, "translate {map} {mtu}"),
            Self::List => f.write_str("list"),
            Self::Status { name, after: None } => write!(f, "status {name}"),
            Self::Status { name, after: Some(key) } => write!(f, "status {name} {key}"),
            Self::Totals => f.write_str("totals"),
            Self::Ping => f.write_str("ping"),
            Self::Succeed { form } => write!(f, "succeed {form}"),
            Self::Give(name) => write!(f, "give {name}"),
            Self::Take { list } => write!(f, "take {list}"),
        }
    }
}

fn parse_mtu(text: &str) -> Result<u16, ControlError> {
    text.parse().ok().filter(|mtu| *mtu >= MTU_MIN).ok_or(ControlError::WrongMtu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_are_written() {
        let name: DeviceName = "wg-2b-17".parse().unwrap();
        let key = PublicKey::from_bytes([9; 32]);
        let commands = [
            Command::Add { name: name.clone(), mtu: 1420 },
            Command::Remove(name.clone()),
            Command::Translate {
                map: Map::new("2001:db8:5e:1abc::/64".parse().unwrap(), "10.26.188.0/24".parse().unwrap())
                    .unwrap(),
                mtu: 1420,
            },
            Command::List,
            Command::Status { name: name.clone(), after: None },
            Command::Status { name, after: Some(key) },
            Command::Totals,
            Command::Ping,
            Command::Succeed { form: FORM },
            Command::Give("wg0".parse().unwrap()),
            Command::Take { list: u64::MAX },
        ];
        for command in commands {
            assert_eq!(parse_command(&command.to_string()), Ok(command));
        }
    }

    #[test]
    fn a_list_has_its_own_number() {
        let lists =
            ["\n", "wg-1 7 0\n", "wg-1 7 1\n", "wg-2 7 0\n", "wg-1 7 0\nwg-2 7 0\n", "wg-2 7 0\nwg-1 7 0\n"];
        let numbers: std::collections::BTreeSet<u64> = lists.into_iter().map(list_number).collect();
        assert_eq!(numbers.len(), lists.len());
    }

    #[test]
    fn refusals_carry_number_and_words() {
        let cases = [
            ("", "error 95 unknown request"),
            ("add wg0", "error 95 unknown request"),
            ("add ../x 1420", "error 22 device name is not 1 to 15 printable bytes without slash and colon"),
            ("remove .", "error 22 device name is not 1 to 15 printable bytes without slash and colon"),
            (
                "add sixteen-bytes-xx 1420",
                "error 22 device name is not 1 to 15 printable bytes without slash and colon",
            ),
            ("add wg0 575", "error 22 MTU is not a number between 576 and 65535"),
            ("translate 2001:db8::/64 10.0.0.0/24", "error 95 unknown request"),
            ("translate 2001:db8::/64 10.0.0.0/24 1", "error 22 MTU is not a number between 576 and 65535"),
            (
                "translate 2001:db8::/96 10.0.0.0/24 1420",
                "error 22 prefixes to translate between are not a /64 and a /24",
            ),
            ("status wg0 x", "error 22 public key cannot be read"),
            ("succeed x", "error 95 unknown request"),
            ("succeed 4294967296", "error 95 unknown request"),
            ("give ../x", "error 22 device name is not 1 to 15 printable bytes without slash and colon"),
            ("take -1", "error 95 unknown request"),
        ];
        for (text, reply) in cases {
            assert_eq!(parse_command(text).unwrap_err().to_reply(), reply);
        }
    }
}
