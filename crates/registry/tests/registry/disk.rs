//! A small file system of the test's own, in a mount namespace of its own, and what fills it.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Fills what room there is.
pub(crate) fn fill(path: &Path) {
    let mut ballast = File::options().create(true).append(true).open(path).unwrap();
    while ballast.write_all(&[7; 4096]).is_ok() {}
    while ballast.write_all(&[7]).is_ok() {}
}

/// Runs on a thread with a small disk, which goes with it. Threads that it starts have the disk too.
pub(crate) fn on_a_small_disk(kilobytes: usize, test: impl FnOnce(&Path) + Send + 'static) {
    let thread = std::thread::spawn(move || {
        let dir = tempfile::tempdir().unwrap();
        unshare(CloneFlags::CLONE_NEWNS).expect("the test makes a mount namespace: it needs root");
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let size = format!("size={kilobytes}k");
        mount(Some("none"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(size.as_str())).unwrap();
        test(dir.path());
        nix::mount::umount2(dir.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    });
    thread.join().unwrap();
}
