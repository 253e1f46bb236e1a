//! What routes answer from: the service, what nodes said last, and who waits for news.
//!
//! Owns: what is kept in memory only, each bounded by the nodes there are. Must not know of HTTP.

pub(super) mod caller;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sixfold_api::resource::Heard;
use sixfold_api::tls::RawKey;
use sixfold_core::id::NodeId;
use sixfold_core::model::Status;
use sixfold_core::trust::VerifyingKey;
use tokio::sync::{Semaphore, oneshot, watch};

use self::caller::{Caller, Ids};
use super::limit;
use super::listen::Directory;
use crate::service::{Clock, Service};

/// Everything that routes need.
pub struct Desk {
    pub(super) service: Service,
    pub(super) clock: Box<dyn Clock + Sync>,
    /// Once true, whoever waits for news is told that there are none.
    pub(super) stop: watch::Receiver<bool>,
    /// Turns to plan what would be.
    pub(super) previews: Semaphore,
    admin: Option<VerifyingKey>,
    heard: Mutex<BTreeMap<NodeId, (Instant, Status)>>,
    polls: Mutex<BTreeMap<NodeId, oneshot::Sender<()>>>,
}

/// What a registry is told at its start.
pub struct Setup {
    /// The service.
    pub service: Service,
    /// What time it is.
    pub clock: Box<dyn Clock + Sync>,
    /// The operator's key, if there is one.
    pub admin: Option<VerifyingKey>,
    /// Becomes true when the registry stops.
    pub stop: watch::Receiver<bool>,
}

impl Desk {
    /// A desk at which nobody has been yet.
    #[must_use]
    pub fn new(setup: Setup) -> Arc<Self> {
        let Setup { service, clock, admin, stop } = setup;
        let (heard, polls) = (Mutex::default(), Mutex::default());
        let previews = Semaphore::new(limit::PREVIEWS);
        Arc::new(Self { service, clock, stop, previews, admin, heard, polls })
    }

    /// Who a key is. A key that nobody can have proven is nobody's.
    pub(super) fn caller(&self, key: Option<RawKey>) -> Caller {
        let key = key.and_then(|key| VerifyingKey::from_bytes(key).ok());
        key.map_or(Caller::Nobody, |key| Caller::Key(Box::new(Ids::of(&key, self.admin.as_ref()))))
    }

    /// Keeps what a node said, in place of what it said before.
    pub(super) fn hear(&self, status: Status) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.insert(status.node.clone(), (Instant::now(), status));
    }

    /// What a node said last, since the registry started.
    pub(super) fn heard(&self, node: &NodeId) -> Option<Heard> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(node).map(|(at, status)| Heard { age_secs: at.elapsed().as_secs(), status: status.clone() })
    }

    /// Begins to wait for a node's news. A node waits once: what waited before is over, and its receiver says so.
    pub(super) fn poll(&self, node: &NodeId) -> oneshot::Receiver<()> {
        let (sender, over) = oneshot::channel();
        self.polls.lock().unwrap_or_else(PoisonError::into_inner).insert(node.clone(), sender);
        over
    }
}

impl Directory for Desk {
    fn knows(&self, key: &RawKey) -> bool {
        match self.caller(Some(*key)) {
            Caller::Nobody => false,
            Caller::Key(ids) => self.service.read(|state| ids.is_known(state)),
        }
    }
}
