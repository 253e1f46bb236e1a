//! The guest's first file system: busybox, `init.sh`, and the modules it needs to reach the host's root.

use super::kernel::Kernel;
use super::newc::Archive;
use crate::tool::output;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the guest needs before it sees the host's root: the machine's bus, 9p over it, and the layer on top.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_rng", "9pnet_virtio", "9p", "overlay"];

const FOLDERS: [&str; 8] = ["bin", "dev", "proc", "sys", "modules", "host", "upper", "new"];

const PROGRAMS: [&str; 9] = ["sh", "mount", "insmod", "mkdir", "chroot", "poweroff", "cat", "ln", "sync"];

/// Builds the archive for `kernel`.
///
/// # Errors
/// Busybox or a module is missing.
pub(crate) fn build(kernel: &Kernel) -> io::Result<Vec<u8>> {
    let mut archive = Archive::default();
    FOLDERS.iter().for_each(|folder| archive.folder(folder));
    archive.file("init", include_bytes!("init.sh"));
    archive.file("bin/busybox", &busybox()?);
    PROGRAMS.iter().for_each(|program| archive.link(&format!("bin/{program}"), "busybox"));
    let mut order: Vec<String> = Vec::new();
    for path in module_files(kernel)? {
        let (name, bytes) = module(&path)?;
        if !order.contains(&name) {
            archive.file(&format!("modules/{name}"), &bytes);
            order.push(name);
        }
    }
    archive.file("modules/order", (order.join("\n") + "\n").as_bytes());
    Ok(archive.finish())
}

fn module_files(kernel: &Kernel) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for module in MODULES {
        files.extend(kernel.module_files(module)?);
    }
    Ok(files)
}

/// A module's plain name and bytes; `insmod` of busybox reads no compressed ones.
fn module(path: &Path) -> io::Result<(String, Vec<u8>)> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(plain) = name.strip_suffix(".xz") else { return Ok((name, fs::read(path)?)) };
    let unpacked = Command::new("xz").arg("-dc").arg(path).output()?;
    if unpacked.status.success() {
        return Ok((plain.to_owned(), unpacked.stdout));
    }
    Err(io::Error::other(format!("{} is no xz file", path.display())))
}

/// The static busybox: the guest has no libraries yet.
fn busybox() -> io::Result<Vec<u8>> {
    let path = output(Command::new("sh").args(["-c", "command -v busybox"])).map_err(|_| {
        io::Error::other("busybox is missing: `cargo xtask test` installs it (busybox-static)")
    })?;
    fs::read(path.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_module_is_unpacked_and_loses_its_ending() {
        let folder = std::env::temp_dir().join(format!("xtask-module-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.ko"), b"module").unwrap();
        let plain = module(&folder.join("a.ko")).unwrap();
        assert!(Command::new("xz").arg(folder.join("a.ko")).status().unwrap().success());
        let packed = module(&folder.join("a.ko.xz")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(plain, ("a.ko".to_owned(), b"module".to_vec()));
        assert_eq!(packed, plain);
    }

    #[test]
    fn the_init_script_mounts_what_the_archive_prepares() {
        let script = include_str!("init.sh");
        for folder in ["/proc", "/sys", "/dev", "/host", "/upper", "/new"] {
            assert!(script.contains(folder) && FOLDERS.contains(&&folder[1..]), "{folder}");
        }
    }
}
