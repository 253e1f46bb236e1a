//! Identifiers and small numbers: newtypes, so that no bare string or integer travels.
//!
//! Owns: labels and what is named by one, and numbers with a range. Must not import anything of ours but `limit`.
//! Whatever is deserialised passes the same checks as what is built.

mod number;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limit;

pub use number::{
    AllocationNumber, Epoch, ExitSlot, Generation, NumberError, Revision, Timestamp, WorkloadNumber,
};

/// Why a text is not a label. A label is `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// There is nothing.
    #[error("a name is empty")]
    Empty,
    /// It has more bytes than a DNS label may have.
    #[error("a name of {bytes} bytes is longer than {}", limit::LABEL_MAX)]
    TooLong {
        /// Bytes of the refused text.
        bytes: usize,
    },
    /// A character that is none of `a-z`, `0-9` and `-`.
    #[error("{character:?} at position {position} of a name")]
    Character {
        /// The first character refused.
        character: char,
        /// Its position, counted in characters from 1.
        position: usize,
    },
    /// It begins or ends with a hyphen.
    #[error("a name begins or ends with '-'")]
    Hyphen,
}

/// A name a person gave: 1 to 63 of `a-z`, `0-9` and `-`, no hyphen at either end (RFC 1123, 2.1, in lower case).
///
/// ```
/// use sixfold_core::id::Label;
/// assert!("web-1".parse::<Label>().is_ok());
/// assert!("../web".parse::<Label>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Label {
    type Error = LabelError;

    fn try_from(text: &str) -> Result<Self, LabelError> {
        if text.is_empty() {
            return Err(LabelError::Empty);
        }
        let wanted = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if let Some((at, character)) = text.chars().enumerate().find(|(_, c)| !wanted(*c)) {
            return Err(LabelError::Character { character, position: at + 1 });
        }
        if text.len() > limit::LABEL_MAX {
            return Err(LabelError::TooLong { bytes: text.len() });
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(LabelError::Hyphen);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        Self::try_from(text.as_str())
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        Self::try_from(text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// An identifier that is one label.
macro_rules! label_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Label);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl From<Label> for $name {
            fn from(label: Label) -> Self {
                Self(label)
            }
        }

        impl From<$name> for Label {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = LabelError;

            fn try_from(text: &str) -> Result<Self, LabelError> {
                Label::try_from(text).map(Self)
            }
        }

        impl FromStr for $name {
            type Err = LabelError;

            fn from_str(text: &str) -> Result<Self, LabelError> {
                Self::try_from(text)
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

label_id! {
    /// A farm: one operator's nodes and allocations.
    FarmId
}
label_id! {
    /// A node: one machine of a farm. Unique over all farms.
    NodeId
}
label_id! {
    /// A tenant: who owns networks.
    TenantId
}

/// Why a text is not `tenant/network`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkIdError {
    /// The text has no `/`.
    #[error("no '/' between tenant and network")]
    Slash,
    /// One of the two parts is no label.
    #[error("not a name in tenant/network")]
    Part(#[from] LabelError),
}

/// A network: its tenant and the name the tenant gave it. Written `tenant/network`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkId {
    /// Who owns it.
    pub tenant: TenantId,
    /// Its name, unique within the tenant.
    pub name: Label,
}

impl FromStr for NetworkId {
    type Err = NetworkIdError;

    fn from_str(text: &str) -> Result<Self, NetworkIdError> {
        let (tenant, name) = text.split_once('/').ok_or(NetworkIdError::Slash)?;
        Ok(Self { tenant: tenant.parse()?, name: name.parse()? })
    }
}

impl TryFrom<String> for NetworkId {
    type Error = NetworkIdError;

    fn try_from(text: String) -> Result<Self, NetworkIdError> {
        text.parse()
    }
}

impl From<NetworkId> for String {
    fn from(id: NetworkId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.tenant, self.name))
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

#[cfg(test)]
mod tests;
