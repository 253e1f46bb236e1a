//! The table of benches. Adding one is adding a row, and a module that runs ours and its reference in turn.

mod routes;

use crate::Setting;
use crate::failed::Failed;
use crate::figure::Figure;

/// Something whose cost is measured.
pub(crate) struct Bench {
    pub(crate) name: &'static str,
    /// What it measures, in a line.
    pub(crate) about: &'static str,
    pub(crate) run: fn(Setting) -> Result<Vec<Figure>, Failed>,
}

/// Every bench, in the order in which they run.
pub(crate) const ALL: [Bench; 1] = [Bench {
    name: "routes",
    about: "a gateway's routes from nothing and unchanged, against ip -batch and BIRD",
    run: routes::run,
}];
