//! Bandwidth: how much a network may send in a second, and how much it may get.
//!
//! Owns: its words and its bounds, and who of a slot's networks has which. Must not know how a gateway keeps to it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::NetworkId;
use crate::limit;

/// What a thousand bits a second are in each unit, largest first.
const UNITS: [(&str, u64); 3] = [("Gbit/s", 1_000_000), ("Mbit/s", 1000), ("kbit/s", 1)];

/// So many bits a second, of packets from the network header on. Written `100 Mbit/s`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bandwidth {
    kbits: u64,
}

/// Why a text is no bandwidth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BandwidthError {
    /// No whole number of a unit.
    #[error("not a whole number of kbit/s, Mbit/s or Gbit/s")]
    Words,
    /// Less than anybody can use; 0 too.
    #[error("less than {}", Bandwidth { kbits: limit::BANDWIDTH_KBITS_MIN })]
    Small,
    /// More than a gateway can keep to.
    #[error("more than {}", Bandwidth { kbits: limit::BANDWIDTH_KBITS_MAX })]
    Large,
}

impl BandwidthError {
    /// What to do about it, in one line.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Words => "write it like \"100 Mbit/s\"",
            Self::Small => "who is to send nothing has no exit here; without bandwidth there is no limit",
            Self::Large => "leave it out: without bandwidth there is no limit",
        }
    }
}

impl Bandwidth {
    /// Of so many thousand bits a second.
    ///
    /// # Errors
    /// If it is too small or too large.
    pub const fn new(kbits: u64) -> Result<Self, BandwidthError> {
        match kbits {
            ..limit::BANDWIDTH_KBITS_MIN => Err(BandwidthError::Small),
            limit::BANDWIDTH_KBITS_MIN..=limit::BANDWIDTH_KBITS_MAX => Ok(Self { kbits }),
            _ => Err(BandwidthError::Large),
        }
    }

    /// Thousand bits a second.
    #[must_use]
    pub const fn kbits(self) -> u64 {
        self.kbits
    }

    /// Bytes a second.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.kbits * 125
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, size): &(&str, u64)| self.kbits.is_multiple_of(*size);
        let (unit, size) = UNITS.into_iter().find(whole).expect("every number is a multiple of 1");
        f.pad(&format!("{} {unit}", self.kbits / size))
    }
}

impl fmt::Debug for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Bandwidth {
    type Err = BandwidthError;

    fn from_str(text: &str) -> Result<Self, BandwidthError> {
        let (number, unit) = text.split_once(' ').ok_or(BandwidthError::Words)?;
        let (_, size) = UNITS.into_iter().find(|(word, _)| *word == unit).ok_or(BandwidthError::Words)?;
        if number.is_empty() || !number.bytes().all(|letter| letter.is_ascii_digit()) {
            return Err(BandwidthError::Words);
        }
        // Digits that are no number of the machine's are too many.
        let kbits = number.parse().ok().and_then(|number: u64| number.checked_mul(size));
        Self::new(kbits.ok_or(BandwidthError::Large)?)
    }
}

impl TryFrom<String> for Bandwidth {
    type Error = BandwidthError;

    fn try_from(text: String) -> Result<Self, BandwidthError> {
        text.parse()
    }
}

impl From<Bandwidth> for String {
    fn from(bandwidth: Bandwidth) -> Self {
        bandwidth.to_string()
    }
}

/// What the networks of a slot may send, and as much again get. Nothing is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bandwidths {
    /// Each of them, unless it has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<Bandwidth>,
    /// Those with their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub of: BTreeMap<NetworkId, Bandwidth>,
}

impl Bandwidths {
    /// Whether nobody has a limit.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.each.is_none() && self.of.is_empty()
    }

    /// What a network has.
    #[must_use]
    pub fn of(&self, network: &NetworkId) -> Option<Bandwidth> {
        self.of.get(network).copied().or(self.each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bandwidth_is_read_in_any_unit_and_written_in_the_largest() {
        for (text, written, bytes) in [
            ("64 kbit/s", "64 kbit/s", 8000),
            ("1000 kbit/s", "1 Mbit/s", 125_000),
            ("100 Mbit/s", "100 Mbit/s", 12_500_000),
            ("1500 Mbit/s", "1500 Mbit/s", 187_500_000),
            ("100 Gbit/s", "100 Gbit/s", 12_500_000_000),
        ] {
            let read: Bandwidth = text.parse().unwrap();
            assert_eq!((read.to_string().as_str(), read.bytes()), (written, bytes), "{text}");
            assert_eq!(read.to_string().parse(), Ok(read));
        }
    }

    #[test]
    fn nothing_else_is_one() {
        use BandwidthError::{Large, Small, Words};
        for (text, why) in [
            ("", Words),
            ("100", Words),
            ("100 MB/s", Words),
            ("100 mbit/s", Words),
            ("100Mbit/s", Words),
            ("1.5 Gbit/s", Words),
            ("-1 Mbit/s", Words),
            ("+1 Mbit/s", Words),
            ("100  Mbit/s", Words),
            ("0 Gbit/s", Small),
            ("63 kbit/s", Small),
            ("100001 Mbit/s", Large),
            ("99999999999999999999 kbit/s", Large),
            ("18446744073709551615 Gbit/s", Large),
        ] {
            assert_eq!(text.parse::<Bandwidth>(), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a_network_has_its_own_or_what_each_has() {
        let [web, other]: [NetworkId; 2] = ["acme/web", "acme/other"].map(|id| id.parse().unwrap());
        let (own, each) = (Bandwidth::new(1000).unwrap(), Bandwidth::new(64).unwrap());
        let own_alone = Bandwidths { each: None, of: [(web.clone(), own)].into() };
        assert_eq!((own_alone.of(&web), own_alone.of(&other)), (Some(own), None));
        let both = Bandwidths { each: Some(each), ..own_alone };
        assert_eq!((both.of(&web), both.of(&other)), (Some(own), Some(each)));
        assert!(Bandwidths::default().is_unlimited() && !both.is_unlimited());
    }
}
