//! The scenario of a folder, and the files that its steps apply.
//!
//! Owns: reading these files. Must not judge what they say.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::{FILE, Script, Step, check, parse};
use crate::files::{self, LoadError};

/// Reads the folder's scenario, if it has one, and checks that its steps can be done in the folder's world.
///
/// # Errors
/// A file that cannot be read, or everything wrong with what the folder's files or the steps say.
pub fn load(dir: &Path) -> Result<Option<Script>, LoadError> {
    let path = dir.join(FILE);
    let Some(text) = read(&path, &path.display().to_string())? else { return Ok(None) };
    let invalid = |problems| LoadError::Scenario { path: path.clone(), problems };
    let scenario = parse(&text, &path.display().to_string()).map_err(invalid)?;
    let mut applied = BTreeMap::new();
    for said in &scenario.steps {
        if let Step::Apply { file } = &said.step
            && let Some(text) = read(&dir.join(file), file)?
        {
            applied.insert(file.clone(), text);
        }
    }
    check(scenario, files::declared(dir)?, &applied).map(Some).map_err(invalid)
}

/// The text of a file, if it is there.
fn read(path: &Path, name: &str) -> Result<Option<String>, LoadError> {
    match files::read(path, name) {
        Ok(Ok(text)) => Ok(Some(text)),
        Ok(Err(error)) => Err(LoadError::Scenario { path: path.to_owned(), problems: error.into() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LoadError::Read { path: path.to_owned(), source }),
    }
}
