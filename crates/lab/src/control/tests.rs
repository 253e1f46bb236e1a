//! Whose folder is believed: one's own, and nobody else's. Needs root, to give folders away.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use super::*;

/// A folder as a lab makes it, with a socket that somebody listens at.
fn answered(top: &Path) -> (PathBuf, UnixListener) {
    let folder = top.join("lab");
    claim(&folder).unwrap();
    let listener = listen(&folder).unwrap();
    (folder, listener)
}

#[track_caller]
fn is_foreign(folder: &Path) {
    let refused = Caller::call(folder).map(drop);
    assert!(matches!(refused, Err(ControlError::Foreign { .. })), "{refused:?}");
}

#[test]
fn the_users_own_folder_is_called_at() {
    let top = tempfile::tempdir().unwrap();
    let none = Caller::call(&top.path().join("lab")).map(drop);
    assert!(matches!(none, Err(ControlError::NotUp)), "{none:?}");
    let (folder, _listener) = answered(top.path());
    let caller = Caller::call(&folder).unwrap();
    assert_eq!(caller.inner.cast_unsigned(), std::process::id());
}

#[test]
fn a_folder_of_another_user_is_refused() {
    let top = tempfile::tempdir().unwrap();
    let (folder, _listener) = answered(top.path());
    chown(&folder, Some(65534), Some(65534)).expect("only root gives a folder away");
    is_foreign(&folder);
    let claimed = claim(&folder);
    assert!(matches!(claimed, Err(ControlError::Foreign { .. })), "{claimed:?}");
}

#[test]
fn a_folder_that_others_can_open_is_refused() {
    let top = tempfile::tempdir().unwrap();
    let (folder, _listener) = answered(top.path());
    for mode in [0o710, 0o701, 0o770] {
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        is_foreign(&folder);
    }
}

#[test]
fn a_link_to_a_folder_is_refused_however_it_is_written() {
    let top = tempfile::tempdir().unwrap();
    let (folder, _listener) = answered(top.path());
    let link = top.path().join("link");
    symlink(&folder, &link).unwrap();
    for end in ["", "/", "/."] {
        is_foreign(Path::new(&format!("{}{end}", link.display())));
    }
}
