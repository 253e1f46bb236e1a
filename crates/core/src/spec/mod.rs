//! What a person wrote: farm files and network files, and how they become a [`World`].
//!
//! Owns: the files' shape, and saying where in which line something is wrong. Must not read a file itself (it is given
//! the text), nor decide what a farm or a network must be: `model` does, and lists everything that is wrong.
//!
//! ```text
//! text --parse: shape--> FarmSpec, NetworkSpec --validate: words, then model's faults--> World | Problems
//!                                    └--resolve: with the ids of names--> DeclaredFarm, Network | Problems
//! ```

mod error;
mod farm;
mod names;
mod network;
mod problem;
mod reading;
mod resolve;
#[cfg(test)]
mod tests;
mod validate;

pub use error::{SpecError, SpecErrorKind, nearest, position, read, text_of};
pub use farm::{FarmSpec, parse_farm};
pub use names::{Names, NamesError};
pub use network::{NetworkSpec, parse_network};
pub use problem::{Problem, ProblemKind, Problems};
pub use resolve::{DeclaredFarm, Tenant};
pub use validate::validate;

use crate::model::World;

/// Parses and validates files given as (name, text): a farm file has `farm` at its top, a network file `tenant`.
///
/// # Errors
/// The shape errors of all files; if there are none, every problem of what they say.
pub fn parse_all(files: &[(String, String)]) -> Result<World, Problems> {
    let (mut farms, mut networks, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (file, text) in files {
        let parsed = match error::kind_of_file(text, file) {
            Ok(error::FileKind::Farm) => parse_farm(text, file).map(|farm| farms.push(farm)),
            Ok(error::FileKind::Network) => parse_network(text, file).map(|network| networks.push(network)),
            Err(error) => Err(error),
        };
        errors.extend(parsed.err().map(Problem::from));
    }
    if errors.is_empty() { validate(farms, networks) } else { Err(Problems::sorted(errors)) }
}
