//! From words to values: what each field of a file says, and in which line it says it.
//!
//! Owns: the reading of names, addresses and numbers, and the lines of what was read. Must not know which fields there
//! are (`farm` and `network` do).

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde_spanned::Spanned;

use super::problem::{Problem, ProblemKind, Wanted};
use crate::id::{Label, NetworkId, NumberError};
use crate::model::{Bandwidth, Fault, Found, Item, Place};
use crate::name::IfName;
use crate::shown::cut;

/// A text and where it stands.
pub(super) type Text = Spanned<String>;

/// Where the lines of a file begin.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    file: String,
    newlines: Vec<usize>,
}

impl Lines {
    pub(super) fn of(text: &str, file: &str) -> Self {
        Self { file: file.to_owned(), newlines: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    /// The line, from 1, of a byte.
    fn line(&self, at: usize) -> usize {
        self.newlines.partition_point(|newline| *newline < at) + 1
    }
}

/// One file being read into a draft.
#[derive(Debug)]
pub(super) struct Reading {
    lines: Lines,
    /// The lines of the draft's parts, for faults that the model will find.
    places: BTreeMap<Place, usize>,
    /// Places whose words could not be read.
    broken: BTreeSet<Place>,
    problems: Vec<Problem>,
}

impl Reading {
    pub(super) const fn new(lines: Lines) -> Self {
        Self { lines, places: BTreeMap::new(), broken: BTreeSet::new(), problems: Vec::new() }
    }

    /// Notes where something stands.
    pub(super) fn mark<T>(&mut self, place: Place, at: &Spanned<T>) {
        self.places.insert(place, self.lines.line(at.span().start));
    }

    /// Notes a problem where something stands: the place counts as unreadable.
    pub(super) fn refuse(&mut self, place: Place, what: ProblemKind) {
        self.broken.insert(place);
        self.problems.push(what.at(&self.lines.file, self.line_of(place)));
    }

    /// Notes where something stands and reads it.
    pub(super) fn read<S: Borrow<Q>, Q: ?Sized, T>(
        &mut self,
        place: Place,
        said: &Spanned<S>,
        with: impl FnOnce(&'static str, &Q) -> Result<T, ProblemKind>,
    ) -> Option<T> {
        self.mark(place, said);
        with(place.field, said.get_ref().borrow()).map_err(|what| self.refuse(place, what)).ok()
    }

    /// Reads what may be left out.
    pub(super) fn read_if<S: Borrow<Q>, Q: ?Sized, T>(
        &mut self,
        place: Place,
        said: Option<&Spanned<S>>,
        with: impl FnOnce(&'static str, &Q) -> Result<T, ProblemKind>,
    ) -> Option<T> {
        said.and_then(|said| self.read(place, said, with))
    }

    /// Reads a list, passing over what cannot be read.
    pub(super) fn list<T>(
        &mut self,
        item: Item,
        field: &'static str,
        said: &[Text],
        with: impl Fn(&'static str, &str) -> Result<T, ProblemKind>,
    ) -> Vec<T> {
        let mut read = Vec::new();
        for text in said {
            // A broken element keeps the number it would have had, which the next one then takes.
            read.extend(self.read(item.element(field, read.len()), text, &with));
        }
        read
    }

    /// The line of a place, or of the nearest thing around it.
    fn line_of(&self, place: Place) -> usize {
        let field = Place { element: None, ..place };
        let around = [place, field, place.item.field(""), Item::Whole.field("")];
        around.iter().find_map(|place| self.places.get(place)).copied().unwrap_or(1)
    }

    /// Whether anything could not be read.
    pub(super) fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// Whether there is no problem so far.
    pub(super) fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// Takes a fault of the draft, unless it may only follow from what could not be read.
    pub(super) fn take(&mut self, found: Found, dangling: bool) {
        let place = found.place;
        let broken =
            |field| self.broken.iter().any(|broken| broken.item == place.item && broken.field == field);
        let follows = match found.fault {
            Fault::NoAddress { .. } => broken("address") || broken("address_v4"),
            Fault::PublicWithoutDefault => broken("default_v4"),
            Fault::DefaultWithoutPublic => broken("public_v4"),
            _ => dangling && found.fault.is_dangling(),
        };
        if follows || broken(place.field) {
            return;
        }
        let line = self.line_of(place);
        self.problems.push(ProblemKind::Fault(found.fault).at(&self.lines.file, line));
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}

/// Reads a name: a farm's, node's, tenant's, network's or workload's.
pub(super) fn name<T: From<Label>>(field: &'static str, text: &str) -> Result<T, ProblemKind> {
    let label = Label::try_from(text);
    label.map(T::from).map_err(|source| ProblemKind::Name { field, text: cut(text), source })
}

/// Reads a network's id.
pub(super) fn network_id(field: &'static str, text: &str) -> Result<NetworkId, ProblemKind> {
    text.parse().map_err(|source| ProblemKind::Network { field, text: cut(text), source })
}

/// Reads a bandwidth.
pub(super) fn bandwidth(field: &'static str, text: &str) -> Result<Bandwidth, ProblemKind> {
    text.parse().map_err(|source| ProblemKind::Bandwidth { field, text: cut(text), source })
}

/// Reads a link's name.
pub(super) fn link(field: &'static str, text: &str) -> Result<IfName, ProblemKind> {
    text.parse().map_err(|source| ProblemKind::Link { field, text: cut(text), source })
}

/// Reads an address or a prefix.
pub(super) fn net<T: FromStr>(wanted: Wanted) -> impl Fn(&'static str, &str) -> Result<T, ProblemKind> {
    move |field, text| text.parse().map_err(|_| ProblemKind::NotA { field, text: cut(text), wanted })
}

/// Reads one of a few words.
pub(super) fn word<T: Copy>(
    known: &'static [&'static str],
    values: &[T],
) -> impl Fn(&'static str, &str) -> Result<T, ProblemKind> {
    debug_assert_eq!(known.len(), values.len());
    move |field, text| {
        let at = known.iter().position(|word| *word == text);
        let value = at.and_then(|at| values.get(at)).copied();
        value.ok_or_else(|| ProblemKind::Word { field, text: cut(text), known })
    }
}

/// Reads a number in a range.
pub(super) fn number<T: TryFrom<i64, Error = NumberError>>(
    what: &'static str,
) -> impl Fn(&'static str, &i64) -> Result<T, ProblemKind> {
    move |_, given| {
        T::try_from(*given).map_err(|error| match error {
            NumberError::Range { given, first, last, .. } => ProblemKind::Number { what, given, first, last },
            NumberError::Spelling { what } => ProblemKind::Number { what, given: *given, first: 0, last: 0 },
        })
    }
}

/// Reads a 16-bit number. `first` is only told: whether a smaller one will do is the model's to say.
pub(super) fn small(
    what: &'static str,
    first: u16,
) -> impl Fn(&'static str, &i64) -> Result<u16, ProblemKind> {
    move |_, given| {
        let (first, last) = (i64::from(first), i64::from(u16::MAX));
        u16::try_from(*given).map_err(|_| ProblemKind::Number { what, given: *given, first, last })
    }
}
