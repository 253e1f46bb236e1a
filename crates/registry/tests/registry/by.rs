//! A store that a test gets between: for what a disk or a network does.

use sixfold_api::event::Event;
use sixfold_core::id::Revision;
use sixfold_registry::store::{Answer, AnswerKey, Group, Record, Store, StoreError, Told};

/// Asks whether there is room to write.
type Probe<S> = Box<dyn FnMut(&mut S) -> Result<(), StoreError> + Send>;

/// A store some of whose work goes another way, and all else as it is.
pub(crate) struct By<S, C> {
    pub(crate) store: S,
    pub(crate) commit: C,
    /// Before each reading.
    pub(crate) reading: fn(),
    pub(crate) probe: Probe<S>,
}

impl<S: Store + 'static, C: FnMut(&mut S, &Group) -> Result<Revision, StoreError> + Send> By<S, C> {
    /// Commits go that way.
    pub(crate) fn new(store: S, commit: C) -> Self {
        Self { store, commit, reading: || (), probe: Box::new(S::probe) }
    }
}

impl<S: Store, C: FnMut(&mut S, &Group) -> Result<Revision, StoreError> + Send> Store for By<S, C> {
    fn read(&self, since: Revision, each: &mut dyn FnMut(Record, Revision)) -> Result<Revision, StoreError> {
        (self.reading)();
        self.store.read(since, each)
    }

    fn answer(&self, key: &AnswerKey) -> Result<Option<(Answer, Revision)>, StoreError> {
        self.store.answer(key)
    }

    fn commit(&mut self, group: &Group) -> Result<Revision, StoreError> {
        (self.commit)(&mut self.store, group)
    }

    fn keep(&mut self, told: &Told) -> Result<(), StoreError> {
        self.store.keep(told)
    }

    fn told(&self) -> Result<Vec<Event>, StoreError> {
        self.store.told()
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        self.store.bytes()
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        (self.probe)(&mut self.store)
    }
}
