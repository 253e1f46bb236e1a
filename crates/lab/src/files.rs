//! A folder of farm and network files, read into a world. Its scenario, if it has one, is none of these.
//!
//! Owns: finding the files and reading them, each with a limit. Must not judge what they say: `core::spec` does, and
//! lists everything that is wrong with all of them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;
use sixfold_core::limit;
use sixfold_core::model::World;
use sixfold_core::spec::{self, Problems, SpecError};

use crate::farm::Declared;
use crate::scenario;

/// Why a folder gives no world.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder cannot be listed.
    #[error("cannot list {path}", path = path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The folder holds no farm or network file.
    #[error("no *.toml file in {path}", path = path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What the files say is not valid.
    #[error("{path} has {count} problem{plural}", path = path.display(), count = problems.len(), plural = if problems.len() == 1 { "" } else { "s" })]
    Invalid {
        /// The folder.
        path: PathBuf,
        /// All of them, each with its file, line and hint.
        #[source]
        problems: Problems,
    },
    /// What the steps of a scenario say is not valid.
    #[error("{path} has {count} problem{plural}", path = path.display(), count = problems.len(), plural = if problems.len() == 1 { "" } else { "s" })]
    Scenario {
        /// The file.
        path: PathBuf,
        /// All of them, each with its line and hint.
        #[source]
        problems: scenario::Problems,
    },
}

impl LoadError {
    /// What a person can do about it; each problem of what files say has a hint of its own.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::List { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => None,
            Self::List { .. } => Some("name a folder, as examples/first-farm"),
            Self::Empty { .. } => Some("a folder has a farm file and network files, all named *.toml"),
            Self::Read { source, .. } => match source.kind() {
                io::ErrorKind::InvalidInput => Some("put a file in its place, or give it another ending"),
                io::ErrorKind::NotFound => Some("it may be a link to a file that is gone"),
                _ => None,
            },
            Self::Invalid { .. } | Self::Scenario { .. } => None,
        }
    }

    /// Whether the files are at fault, and not the system they are on.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Invalid { .. } | Self::Scenario { .. } | Self::Empty { .. })
    }
}

/// Reads every `*.toml` of a folder but the scenario, sorted by name, into one world. Files whose name begins with a dot
/// are not read.
///
/// # Errors
/// The first file that cannot be read, or everything wrong with what they say.
pub fn load(dir: &Path) -> Result<World, LoadError> {
    spec::parse_all(&texts(dir)?).map_err(|problems| LoadError::Invalid { path: dir.to_owned(), problems })
}

/// The same, with what each file is about.
///
/// # Errors
/// As of [`load`].
pub fn declared(dir: &Path) -> Result<Declared, LoadError> {
    Declared::of(&texts(dir)?).map_err(|problems| LoadError::Invalid { path: dir.to_owned(), problems })
}

/// The same files as (path, text).
///
/// # Errors
/// The first file that cannot be read, or all that are no text.
pub fn texts(dir: &Path) -> Result<Vec<(String, String)>, LoadError> {
    let paths = list(dir).map_err(|source| LoadError::List { path: dir.to_owned(), source })?;
    if paths.is_empty() {
        return Err(LoadError::Empty { path: dir.to_owned() });
    }
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path.display().to_string();
        match read(&path, &name).map_err(|source| LoadError::Read { path, source })? {
            Ok(text) => files.push((name, text)),
            Err(error) => errors.push(error),
        }
    }
    match Problems::of_shape(errors) {
        Some(problems) => Err(LoadError::Invalid { path: dir.to_owned(), problems }),
        None => Ok(files),
    }
}

fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (name, hidden) = (entry.file_name(), entry.file_name().as_encoded_bytes().starts_with(b"."));
        if !hidden && name != scenario::FILE && entry.path().extension().is_some_and(|end| end == "toml") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The text of a file, or what is wrong with its length or its bytes. What is no file is not waited for, and one that is
/// too long is not read.
pub(crate) fn read(path: &Path, name: &str) -> io::Result<Result<String, SpecError>> {
    let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if meta.len() > limit::FILE_BYTES_MAX as u64 {
        return Ok(Err(SpecError::too_large(name, meta.len())));
    }
    let mut bytes = Vec::new();
    file.take(limit::FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?; // it may grow meanwhile
    Ok(spec::text_of(bytes, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(error: &LoadError) -> String {
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {cause}")
    }

    #[test]
    fn the_examples_are_valid() {
        for (name, nodes) in [("first-farm", 3), ("two-farms", 4)] {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
            let world = load(&dir).unwrap_or_else(|error| panic!("{name}: {}", words(&error)));
            assert_eq!(world.nodes().count(), nodes, "{name}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_every_file() {
        let dir = tempfile::tempdir().unwrap();
        let none = load(dir.path()).unwrap_err();
        assert!(matches!(none, LoadError::Empty { .. }) && none.hint().is_some());
        fs::write(dir.path().join("a.toml"), "farm = 1\n").unwrap();
        fs::write(dir.path().join("b.toml"), "nonsense = 1\n").unwrap();
        fs::write(dir.path().join(".c.toml"), "not read").unwrap();
        fs::write(dir.path().join("notes.txt"), "not read").unwrap();
        let error = load(dir.path()).unwrap_err();
        let LoadError::Invalid { problems, .. } = &error else { panic!("{}", words(&error)) };
        let files: Vec<_> = problems.iter().map(|problem| problem.file.rsplit('/').next().unwrap()).collect();
        assert_eq!(files, ["a.toml", "b.toml"]);
    }

    #[test]
    fn a_file_too_long_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.toml"), "#".repeat(limit::FILE_BYTES_MAX + 100)).unwrap();
        let error = load(dir.path()).unwrap_err();
        assert!(words(&error).contains("a file of 1048676 bytes is longer than"), "{}", words(&error));
    }

    #[test]
    fn a_file_that_is_no_text_is_refused_by_its_line_and_not_blamed_on_the_system() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.toml"), b"farm = \"a\"\n# \xff\xfe\n").unwrap();
        let error = load(dir.path()).unwrap_err();
        assert!(error.is_refusal() && words(&error).contains("a.toml:2: not UTF-8"), "{}", words(&error));
    }

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        use nix::sys::stat::Mode;
        use std::os::unix::fs::symlink;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        let refused = || {
            let error = load(dir.path()).unwrap_err();
            assert!(words(&error).contains(": not a regular file") && error.hint().is_some(), "{error}");
            fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
        };
        nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        refused();
        symlink("/dev/zero", &path).unwrap();
        refused();
        fs::create_dir(&path).unwrap();
        refused();
    }

    #[test]
    fn a_folder_that_is_not_there_is_the_systems_fault() {
        let error = load(Path::new("/nonexistent")).unwrap_err();
        assert!(matches!(error, LoadError::List { .. }) && !error.is_refusal());
    }
}
