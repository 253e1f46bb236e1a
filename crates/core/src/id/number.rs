//! Numbers with a range: counters, and what addressing allows for an allocation, an exit slot and a workload.
//!
//! Owns: the ranges' types. Must not import anything of ours. A number outside its range cannot be built, nor read.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// A number, but too small or too large.
    #[error("{what} {given} is not in {first} to {last}")]
    Range {
        /// What was to be numbered.
        what: &'static str,
        /// The number given.
        given: i64,
        /// The first allowed.
        first: i64,
        /// The last allowed.
        last: i64,
    },
    /// Not a decimal number in its shortest spelling.
    #[error("{what} is not a number")]
    Spelling {
        /// What was to be numbered.
        what: &'static str,
    },
}

/// A number in a closed range.
macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident($int:ty), $what:literal, $first:literal..=$last:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "i64", into = "i64")]
        pub struct $name($int);

        impl $name {
            /// The smallest.
            pub const FIRST: Self = Self($first);
            /// The largest.
            pub const LAST: Self = Self($last);

            /// The number itself.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }

            /// All of them, rising.
            pub fn all() -> impl DoubleEndedIterator<Item = Self> + Clone {
                ($first..=$last).map(Self)
            }
        }

        impl TryFrom<i64> for $name {
            type Error = NumberError;

            fn try_from(given: i64) -> Result<Self, NumberError> {
                match <$int>::try_from(given) {
                    Ok(number @ $first..=$last) => Ok(Self(number)),
                    _ => Err(NumberError::Range { what: $what, given, first: $first, last: $last }),
                }
            }
        }

        impl TryFrom<$int> for $name {
            type Error = NumberError;

            fn try_from(given: $int) -> Result<Self, NumberError> {
                Self::try_from(i64::from(given))
            }
        }

        impl From<$name> for i64 {
            fn from(number: $name) -> Self {
                Self::from(number.0)
            }
        }

        impl FromStr for $name {
            type Err = NumberError;

            fn from_str(text: &str) -> Result<Self, NumberError> {
                let number: i64 = text.parse().map_err(|_| NumberError::Spelling { what: $what })?;
                if number.to_string() != text {
                    return Err(NumberError::Spelling { what: $what });
                }
                Self::try_from(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

bounded! {
    /// `n`: an allocation's number, given by the registry and never reused.
    AllocationNumber(u16), "allocation number", 1..=65535
}
bounded! {
    /// `X`: an exit slot, the top nibble of a prefix index.
    ExitSlot(u8), "slot", 1..=15
}
bounded! {
    /// `k`: a workload's number within its network resource; `.1` is the resource itself.
    WorkloadNumber(u8), "workload number", 2..=254
}

/// A counter that only grows.
macro_rules! counter {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl $name {
            /// The one after.
            ///
            /// # Panics
            /// When the counter is used up, rather than begin again: an older one must never look newer.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("the counter is wider than its use"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

counter! {
    /// The registry's revision: one more with each commit.
    Revision(u64)
}
counter! {
    /// A grant's generation: one more each time the same prefix is granted again.
    Generation(u32)
}
counter! {
    /// An exit slot's epoch: one more each time it is given to a node, which only a commit of the registry does.
    Epoch(u64)
}

/// A moment, in seconds since 1970 (UTC). Nothing here reads a clock: whoever calls says what time it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Seconds from `earlier` until then; 0 if it is later, because clocks are also set back.
    #[must_use]
    pub const fn secs_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_closed_and_nothing_outside_is_built() {
        assert_eq!(ExitSlot::all().count(), 15);
        assert_eq!(WorkloadNumber::all().count(), crate::limit::WORKLOADS_PER_RESOURCE);
        assert_eq!(AllocationNumber::all().count(), 65_535);
        for bad in [-1_i64, 0, 16, 256, 257, 65_537] {
            assert!(ExitSlot::try_from(bad).is_err(), "{bad}");
        }
        let error = ExitSlot::try_from(16_u8).unwrap_err();
        assert_eq!(error.to_string(), "slot 16 is not in 1 to 15");
        assert_eq!(
            serde_json::from_str::<ExitSlot>("0").unwrap_err().to_string(),
            "slot 0 is not in 1 to 15"
        );
    }

    #[test]
    fn only_the_shortest_spelling_is_read() {
        assert_eq!("15".parse(), Ok(ExitSlot::LAST));
        for bad in ["01", "+1", " 1", "1 ", "", "x", "0x1"] {
            assert!(bad.parse::<ExitSlot>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn counters_rise_and_travel_as_numbers() {
        assert_eq!(Revision(7).next(), Revision(8));
        assert_eq!(serde_json::to_string(&Generation(3)).unwrap(), "3");
    }

    #[test]
    #[should_panic(expected = "wider than its use")]
    fn a_counter_never_begins_again() {
        let _ = Generation(u32::MAX).next();
    }
}
