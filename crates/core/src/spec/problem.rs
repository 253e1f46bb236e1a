//! What is wrong with files of the right shape: all of it at once, each with its line and a hint.
//!
//! Owns: how a problem is put into words. Must not find any: reading words and `model` do.

use std::fmt;

use super::error::nearest;
use super::names::NamesError;
use super::{SpecError, SpecErrorKind};
use crate::id::{ExitSlot, LabelError, NetworkId, NetworkIdError, TenantId};
use crate::model::{BandwidthError, Fault};
use crate::name::NameError;
use crate::shown::plain;

/// One thing wrong with one line of a file. Its `Display` is `file:line: what` and, on a line of its own, the hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: ProblemKind,
    /// What to do about it.
    pub hint: String,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// The file does not have the shape of a farm or network file.
    #[error(transparent)]
    Shape(SpecErrorKind),
    /// A name of a farm, node, tenant, network or workload.
    #[error("{field} {text:?} is not a name")]
    Name {
        /// The field.
        field: &'static str,
        /// What it says.
        text: String,
        /// Why that is not a name.
        source: LabelError,
    },
    /// A link's name.
    #[error("{field} {text:?} is not the name of a link")]
    Link {
        /// The field.
        field: &'static str,
        /// What it says.
        text: String,
        /// Why that is not the name of a link.
        source: NameError,
    },
    /// A network's id.
    #[error("{field} {text:?} is not a network")]
    Network {
        /// The field.
        field: &'static str,
        /// What it says.
        text: String,
        /// Why that is not a network's.
        source: NetworkIdError,
    },
    /// A network of a tenant that is named, where an id is signed.
    #[error("{network} names its tenant, and anybody may be called {}", network.tenant)]
    TenantName {
        /// The network.
        network: NetworkId,
    },
    /// A bandwidth.
    #[error("{field} {text:?} is not a bandwidth")]
    Bandwidth {
        /// The field.
        field: &'static str,
        /// What it says.
        text: String,
        /// Why that is not one.
        source: BandwidthError,
    },
    /// An address or a prefix.
    #[error("{field} {text:?} is not {wanted}")]
    NotA {
        /// The field.
        field: &'static str,
        /// What it says.
        text: String,
        /// What it should, with an article and an example.
        wanted: Wanted,
    },
    /// One of a few words.
    #[error("{field} {text:?} does not exist")]
    Word {
        /// The field.
        field: &'static str,
        /// What it says.
        text: String,
        /// The words there are.
        known: &'static [&'static str],
    },
    /// A number outside its range.
    #[error("{what} {given} does not exist")]
    Number {
        /// What is numbered.
        what: &'static str,
        /// What it says.
        given: i64,
        /// The first there is.
        first: i64,
        /// The last there is.
        last: i64,
    },
    /// A hidden node says where it can be reached.
    #[error("a hidden node has {field}")]
    HiddenAddress {
        /// The field.
        field: &'static str,
    },
    /// A public node says what a hidden one must.
    #[error("a public node has families")]
    PublicFamilies,
    /// A slot of a farm with several /48s does not name its own.
    #[error("slot {slot} does not say which prefix it is of")]
    SlotPrefix {
        /// The slot.
        slot: ExitSlot,
    },
    /// A link that is to serve both, or nobody.
    #[error("a link of nics serves either a slot or a network")]
    NicOf,
    /// A name of a farm or a node that stands for nothing, or for several.
    #[error(transparent)]
    Names(#[from] NamesError),
    /// A network file of another tenant than the key's.
    #[error("tenant {said} is not {}", own_tenant(.id, name.as_deref()))]
    OtherTenant {
        /// The tenant that the file names.
        said: TenantId,
        /// The id that follows from the key.
        id: TenantId,
        /// What the key's holder is called.
        name: Option<String>,
    },
    /// What is said is no valid model.
    #[error(transparent)]
    Fault(Fault),
}

fn own_tenant(id: &TenantId, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{name}, whose key this is ({id})"),
        None => format!("{id}, whose key this is"),
    }
}

/// What a text should have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Like `2001:db8:a::/48`.
    Prefix,
    /// Like `2001:db8:a::/48` or `192.0.2.0/24`.
    AnyPrefix,
    /// Like `2001:db8:a::a1/64`.
    AddressInSubnet,
    /// Like `203.0.113.11/24`.
    AddressInSubnetV4,
    /// Like `fe80::1`.
    Address,
    /// Like `203.0.113.1`.
    AddressV4,
    /// Like `2001:db8:a::50` or `203.0.113.30`.
    AnyAddress,
}

impl Wanted {
    const fn example(self) -> &'static str {
        match self {
            Self::Prefix => "2001:db8:a::/48",
            Self::AnyPrefix => "2001:db8:a::/48 or 192.0.2.0/24",
            Self::AddressInSubnet => "2001:db8:a::a1/64",
            Self::AddressInSubnetV4 => "203.0.113.11/24",
            Self::Address => "fe80::1",
            Self::AddressV4 => "203.0.113.1",
            Self::AnyAddress => "2001:db8:a::50 or 203.0.113.30",
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefix => "an IPv6 prefix",
            Self::AnyPrefix => "a prefix",
            Self::AddressInSubnet => "an IPv6 address with its prefix length",
            Self::AddressInSubnetV4 => "an IPv4 address with its prefix length",
            Self::Address => "an IPv6 address",
            Self::AddressV4 => "an IPv4 address",
            Self::AnyAddress => "an address",
        })
    }
}

impl ProblemKind {
    /// What to do about it, in one line.
    fn hint(&self) -> String {
        match self {
            Self::Shape(kind) => kind.hint(),
            Self::Name { .. } => {
                "a name is 1 to 63 of a-z, 0-9 and -, and neither begins nor ends with -".into()
            }
            Self::Link { .. } => "a link's name is 1 to 15 letters, digits and . _ - + @".into(),
            Self::Network { .. } => "write it like \"acme/web\": the tenant and its network".into(),
            Self::TenantName { .. } => {
                "write the tenant's id: `sixfold status` on the slot's node has it in the network's name"
                    .into()
            }
            Self::Bandwidth { source, .. } => source.hint().into(),
            Self::NotA { wanted, .. } => format!("write it like {}", wanted.example()),
            Self::Word { text, known, .. } => match nearest(text, known) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known here: {}", known.join(", ")),
            },
            Self::Number { what, first, last, .. } => format!("{what}s are {first} to {last}"),
            Self::HiddenAddress { .. } => "leave it out, or write reach = \"public\"".into(),
            Self::PublicFamilies => "leave it out: a public node speaks what it has an address of".into(),
            Self::SlotPrefix { .. } => "add prefix = \"...\", one /48 out of allocations".into(),
            Self::NicOf => "write slot = 1, or network = \"acme/web\"".into(),
            Self::Names(error) => error.hint(),
            Self::OtherTenant { .. } => "give the key of this tenant with --key".into(),
            Self::Fault(fault) => fault.hint(),
        }
    }

    /// A problem of this kind in one line of a file.
    pub(super) fn at(self, file: &str, line: usize) -> Problem {
        Problem { file: file.to_owned(), line, hint: self.hint(), what: self }
    }
}

impl From<SpecError> for Problem {
    fn from(error: SpecError) -> Self {
        ProblemKind::Shape(error.kind).at(&error.file, error.line)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", plain(&self.file), self.line, self.what)?;
        if let Some(cause) = std::error::Error::source(&self.what) {
            write!(f, ": {cause}")?;
        }
        write!(f, "\n  hint: {}", self.hint)
    }
}

/// Problems that are shown: whoever mends so many reads on next time.
const SHOWN_MAX: usize = 50;

/// Everything wrong with a set of files, by file and line. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Takes what is wrong with the shape of some files, before any is looked into.
    #[must_use]
    pub fn of_shape(errors: Vec<SpecError>) -> Option<Self> {
        (!errors.is_empty()).then(|| Self::sorted(errors.into_iter().map(Problem::from).collect()))
    }

    /// Sorts problems by file and line; those of one line stay in the order they were found.
    pub(super) fn sorted(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        problems.dedup();
        Self(problems)
    }

    /// The problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().take(SHOWN_MAX).enumerate() {
            let between = if at == 0 { "" } else { "\n" };
            write!(f, "{between}{problem}")?;
        }
        match self.0.len().checked_sub(SHOWN_MAX) {
            Some(more @ 1..) => write!(f, "\nand {more} more"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Problems {}
