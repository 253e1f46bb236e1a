//! Why a store does not do what it is asked, and what is certain then.

use sixfold_core::id::Revision;

use sixfold_core::trust::VerifyingKey;

use super::Compared;

/// Why a store does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something that the group was computed from has changed. Nothing was written.
    #[error("{key:?} is at revision {found} and was read at {read}")]
    Conflict {
        /// What changed.
        key: Compared,
        /// The revision at which it was read.
        read: Revision,
        /// Its revision now.
        found: Revision,
    },
    /// There is no room on the disk. Nothing was written.
    #[error("the store's disk is full")]
    Full,
    /// A rule that the store itself keeps would be broken. Nothing was written.
    #[error("the store refuses what the service computed: {what}")]
    Refused {
        /// The rule, in the store's words.
        what: String,
    },
    /// Somebody else has it open for writing.
    #[error("another process has the store at {path} open")]
    InUse {
        /// Where it is.
        path: String,
    },
    /// It was written by a later version.
    #[error("the store is of schema {found}, and this version knows none after {known}")]
    Newer {
        /// What it says it is.
        found: i64,
        /// The last one known here.
        known: i64,
    },
    /// It was written by an earlier version, and is opened to be read only.
    #[error("the store is of schema {found}, and this version reads {known}")]
    Older {
        /// What it says it is.
        found: i64,
        /// The one known here.
        known: i64,
    },
    /// It is a database of something else.
    #[error("{path} is no registry's store")]
    Foreign {
        /// Where it is.
        path: String,
    },
    /// Its grants are signed by another registry.
    #[error("the store is of the registry with key {known}, and this one has {own}")]
    OtherKey {
        /// The key that it names.
        known: VerifyingKey,
        /// The key of who would serve it.
        own: VerifyingKey,
    },
    /// Something in it is no record.
    #[error("{what} cannot be read: {why}")]
    Damaged {
        /// Which record.
        what: String,
        /// Why it is none.
        why: String,
    },
    /// Reading or writing failed. Of a commit nobody knows whether it was written.
    #[error("the store cannot be read or written")]
    Io {
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// What to do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "ask again: it is computed anew from what is there now",
            Self::Full => "make room on the disk; reading goes on meanwhile, and writing once there is room",
            Self::Refused { .. } => {
                "this is a defect of the registry, not of what was asked; nothing was written"
            }
            Self::InUse { .. } => {
                "one registry has one store: stop the other, or give this one a folder of its own"
            }
            Self::Newer { .. } => {
                "run the version that wrote it, or a later one, or restore a backup from before"
            }
            Self::Older { .. } => "start the registry once: it brings its store to this version",
            Self::Foreign { .. } => "name the registry's own file, or one that is not there yet",
            Self::OtherKey { .. } => {
                "put back the key file that it was made with: nodes that joined believe no other key"
            }
            Self::Damaged { .. } => {
                "run `sixfold registry fsck`; restore the last backup if it finds more than this"
            }
            Self::Io { .. } => "look at the disk; restart the registry, which reads again what was written",
        }
    }

    /// Whether it is certain that nothing was written.
    #[must_use]
    pub const fn wrote_nothing(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Full | Self::Refused { .. })
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error() {
            Some(code) if code.code == ErrorCode::DiskFull => Self::Full,
            Some(code) if code.code == ErrorCode::ConstraintViolation => {
                Self::Refused { what: error.to_string() }
            }
            _ => Self::Io { source: Box::new(error) },
        }
    }
}
