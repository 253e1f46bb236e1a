//! Whether what a registry shows is followed.
//!
//! ```text
//! shown ─▶ admit ─┬─ this node or its farm is not in it ────────────┐
//!                 ├─ something in it is from before what was seen ──┼─▶ held: the last good one stays, and why is said
//!                 ├─ its revision is lower than the last ───────────┘
//!                 └─ else ─▶ disk: the proofs and what was seen, in one piece ─▶ followed
//! ```
//!
//! Owns: that order. Nothing is followed that is not on disk. What is held leaves no trace in what was seen: it will be
//! judged by the same when it is shown again.

use std::path::Path;

use sixfold_core::id::{NodeId, Revision};
use sixfold_core::model::{Snapshot, SnapshotError};
use sixfold_core::tenure::Tenure;
use sixfold_core::trust::{Admitted, Pins, Refusal, Role, Seen, Signed, Verified, admit, admit_again};

use super::joined::Joined;
use super::kept::{Kept, Shown};
use crate::disk::DiskError;
use crate::received::Received;
use crate::status::words;
use crate::store::Store;

/// Why what was shown is not judged to its end.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// It is nothing that this version can be sure of.
    #[error(transparent)]
    Content(#[from] SnapshotError),
    /// It cannot be kept, so it is not followed; to be tried again.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Judged {
    /// What is to be followed, if it is not held.
    pub follow: Option<Received>,
    /// What the registry shows of this node, whether it is followed or not.
    pub shown: Option<Snapshot>,
    /// What in it is not believed.
    pub refusals: Vec<String>,
    /// Why it is not followed.
    pub held: Option<String>,
}

/// Judges what is shown to one node.
#[derive(Debug)]
pub struct Judge {
    pins: Pins,
    node: NodeId,
    store: Store<Kept>,
    last: Option<Kept>,
    seen: Seen,
    verified: Verified,
}

impl Judge {
    /// Begins with what was followed last. Says which slots were damaged.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn open(state: &Path, joined: &Joined) -> Result<(Self, Judged), DiskError> {
        let store = Store::<Kept>::of(state)?;
        let loaded = store.load();
        for error in &loaded.damaged {
            tracing::warn!(error = words(error, error.hint()), "a slot of the last good proofs is not used");
        }
        let (node, pins) = (joined.node.id().clone(), joined.pins());
        let judged = loaded.received.as_ref().map(|kept| followed(kept, joined)).unwrap_or_default();
        let seen = loaded.received.as_ref().map(|kept| kept.seen.clone()).unwrap_or_default();
        let verified = Verified::default();
        Ok((Self { pins, node, store, last: loaded.received, seen, verified }, judged))
    }

    /// What was seen of all that was followed.
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// What a statement says of who holds a slot, if it is the registry's, whoever brought it.
    pub fn believes(&self, signed: &Signed) -> Option<Tenure> {
        let registry = self.pins.registry.owner(Role::Registry);
        self.seen.is_of(&registry, signed.key).then(|| signed.open().ok()).flatten()
    }

    /// Judges what was shown.
    ///
    /// # Errors
    /// [`JudgeError`]; then nothing is otherwise than before.
    pub fn judge(&mut self, bytes: &[u8]) -> Result<Judged, JudgeError> {
        let shown = Shown::read(bytes.to_owned())?;
        let memory = (&self.seen, &mut self.verified);
        let Admitted { snapshot, refusals, seen } =
            admit_again(&shown.proofs, &self.pins, memory, &self.node);
        let held = self.held(shown.proofs.revision, snapshot.is_some(), &refusals);
        let mut judged =
            Judged { refusals: lines(&refusals), shown: snapshot.clone(), held, ..Judged::default() };
        let Some(snapshot) = snapshot.filter(|_| judged.held.is_none()) else { return Ok(judged) };
        let (unknown, bytes) = (shown.unknown.clone(), shown.bytes.clone());
        if self.last.as_ref().is_none_or(|last| last.shown() != bytes || last.seen != seen) {
            let kept = Kept::new(shown, seen);
            self.store.save(&kept)?;
            self.seen = kept.seen.clone();
            self.last = Some(kept);
        }
        judged.follow = Some(Received::proved(snapshot, unknown, bytes));
        Ok(judged)
    }

    /// Why what is shown is not followed.
    fn held(&self, given: Revision, is_whole: bool, refusals: &[Refusal]) -> Option<String> {
        let last = self.last.as_ref().map(|last| last.proofs.revision);
        let stays = match last {
            Some(last) => format!("this node stays at revision {last}"),
            None => "this node has nothing to go by".to_owned(),
        };
        if refusals.iter().any(Refusal::is_of_the_past) {
            let hint = "whoever signed what is missing can say it to the registry again";
            return Some(format!(
                "the registry was set back, or lies: it shows what is older than what this node has seen; {stays} (hint: {hint})"
            ));
        }
        if let Some(last) = last.filter(|last| given < *last) {
            let hint = "its operator restores a newer backup, or has it go on beyond this: `sixfold registry advance`";
            return Some(format!(
                "the registry was set back: it is at revision {given}, and was at {last}; {stays} (hint: {hint})"
            ));
        }
        (!is_whole).then(|| format!("the registry does not show this node in its farm; {stays}"))
    }
}

/// What a node that joined follows, by what it keeps of its registry, and which slots are damaged. Makes nothing.
#[must_use]
pub fn peek(state: &Path, joined: &Joined) -> (Option<Received>, Vec<String>) {
    let loaded = Store::<Kept>::peek(state);
    let follow = loaded.received.as_ref().and_then(|kept| followed(kept, joined).follow);
    (follow, loaded.damaged.iter().map(ToString::to_string).collect())
}

/// What was followed is judged by what was seen with it.
fn followed(kept: &Kept, joined: &Joined) -> Judged {
    let admitted = admit(&kept.proofs, &joined.pins(), &kept.seen, joined.node.id());
    let follow = admitted
        .snapshot
        .map(|snapshot| Received::proved(snapshot, kept.unknown.clone(), kept.shown().to_owned()));
    Judged { follow, refusals: lines(&admitted.refusals), ..Judged::default() }
}

fn lines(refusals: &[Refusal]) -> Vec<String> {
    refusals.iter().map(|refusal| words(refusal, Some(&refusal.hint()))).collect()
}
