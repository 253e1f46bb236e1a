//! Debian's stock kernel: found in `target/vm`, or downloaded as a package and unpacked there.
//!
//! Once unpacked no network is needed. Installs nothing: the package is only read, so no root is needed either.

use crate::tool::{output, run};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package that depends on the current kernel; its cloud flavour lacks 9p, through which the guest sees the host.
const META_PACKAGE: &str = "linux-image-amd64";

/// An unpacked kernel package.
pub(crate) struct Kernel {
    /// The release, as `uname -r` says: `6.1.0-56-amd64`.
    pub(crate) release: String,
    /// The folder that holds `boot` and `lib/modules`.
    pub(crate) root: PathBuf,
}

impl Kernel {
    /// The kernel in `store`, fetched first when there is none.
    ///
    /// # Errors
    /// What could not be downloaded, unpacked or read.
    pub(crate) fn obtain(store: &Path) -> io::Result<Self> {
        fs::create_dir_all(store)?;
        // One at a time: tests that start together share the store. Released when the file is closed.
        let lock = fs::File::create(store.join("lock"))?;
        lock.lock()?;
        match Self::find(store)? {
            Some(kernel) => Ok(kernel),
            None => Self::fetch(store),
        }
    }

    /// The newest kernel in `store`.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(crate) fn find(store: &Path) -> io::Result<Option<Self>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(store)? {
            let root = entry?.path();
            let release = root.file_name().and_then(|name| name.to_str()?.strip_prefix("linux-image-"));
            if let Some(release) = release.filter(|_| root.join("boot").is_dir()) {
                found.push(Self { release: release.to_owned(), root: root.clone() });
            }
        }
        found.sort_by(|a, b| a.release.cmp(&b.release));
        Ok(found.pop())
    }

    fn fetch(store: &Path) -> io::Result<Self> {
        let depends = output(Command::new("apt-cache").args(["depends", META_PACKAGE]))?;
        let package = package_in(&depends).ok_or_else(|| {
            io::Error::other(format!(
                "apt knows no kernel behind {META_PACKAGE}: run `apt-get update` as root first"
            ))
        })?;
        let work = store.join(format!("new-{}", std::process::id()));
        let unpacked = work.join(package);
        fs::create_dir_all(&unpacked)?;
        eprintln!("vm: downloading {package} (about 70 MB)");
        // The sandbox user may not write here; reading a signed package needs no sandbox of its own.
        run(Command::new("apt-get")
            .args(["-q", "-o", "APT::Sandbox::User=root", "download", package])
            .current_dir(&work))?;
        let archive = only_deb(&work)?;
        run(Command::new("dpkg").arg("-x").arg(&archive).arg(&unpacked))?;
        let release = package.trim_start_matches("linux-image-").to_owned();
        prepare(&unpacked, &release)?;
        let root = store.join(package);
        fs::rename(&unpacked, &root)?;
        fs::remove_dir_all(&work)?;
        Ok(Self { release, root })
    }

    /// The image to boot, uncompressed: that saves the emulated processor three seconds.
    pub(crate) fn image(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinux-{}", self.release))
    }

    /// The files of `module` and of all it needs, in loading order.
    ///
    /// # Errors
    /// The kernel has no such module.
    pub(crate) fn module_files(&self, module: &str) -> io::Result<Vec<PathBuf>> {
        let mut modprobe = Command::new("modprobe");
        modprobe.arg("-d").arg(&self.root).args(["-S", &self.release, "--show-depends", module]);
        let shown = output(&mut modprobe)?;
        // A line is `insmod PATH`, or `builtin NAME`.
        Ok(shown
            .lines()
            .filter_map(|line| line.strip_prefix("insmod "))
            .map(|path| path.trim().into())
            .collect())
    }
}

/// The concrete package in the answer of `apt-cache depends`.
fn package_in(depends: &str) -> Option<&str> {
    let mut packages = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    packages.find(|package| package.starts_with("linux-image-"))
}

fn only_deb(folder: &Path) -> io::Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "deb") {
            return Ok(path);
        }
    }
    Err(io::Error::other("apt-get download left no package behind"))
}

/// Makes the module index, and takes the uncompressed kernel out of the boot image.
fn prepare(root: &Path, release: &str) -> io::Result<()> {
    if !root.join("lib").exists() {
        // Newer packages hold their modules under /usr/lib.
        std::os::unix::fs::symlink("usr/lib", root.join("lib"))?;
    }
    run(Command::new("depmod").arg("-b").arg(root).arg(release))?;
    let boot = root.join("boot");
    let image = fs::read(boot.join(format!("vmlinuz-{release}")))?;
    decompress(&image, &boot.join(format!("vmlinux-{release}")))
}

/// What a compressed kernel may begin with, and the program that unpacks it.
const COMPRESSIONS: [(&[u8], &str); 3] =
    [(b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\x1f\x8b\x08", "gzip")];

fn decompress(image: &[u8], to: &Path) -> io::Result<()> {
    let packed = to.with_extension("packed");
    for (magic, program) in COMPRESSIONS {
        for start in positions(image, magic) {
            fs::write(&packed, &image[start..])?;
            let (input, unpacked) = (fs::File::open(&packed)?, fs::File::create(to)?);
            // More follows the packed kernel, so the program complains: what came out decides, not its exit code.
            Command::new(program)
                .arg("-dc")
                .stdin(input)
                .stdout(unpacked)
                .stderr(std::process::Stdio::null())
                .status()?;
            if fs::read(to)?.starts_with(b"\x7fELF") {
                return fs::remove_file(&packed);
            }
        }
    }
    Err(io::Error::other(format!("no kernel found inside the boot image of {}", to.display())))
}

fn positions<'a>(bytes: &'a [u8], magic: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    (0..bytes.len()).filter(move |at| bytes[*at..].starts_with(magic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_the_concrete_one() {
        let answer = "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n  Suggests: x\n";
        assert_eq!(package_in(answer), Some("linux-image-6.1.0-56-amd64"));
        assert_eq!(package_in("linux-image-amd64\n"), None);
    }

    #[test]
    fn the_kernel_is_found_behind_a_loader_and_a_false_start() {
        let folder = std::env::temp_dir().join(format!("xtask-kernel-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("elf"), b"\x7fELF and more").unwrap();
        let packed = Command::new("xz").arg("-c").arg(folder.join("elf")).output().unwrap().stdout;
        let image = [b"loader \xfd7zXZ\0 false start".as_slice(), &packed, b"what follows"].concat();
        let to = folder.join("vmlinux");
        decompress(&image, &to).unwrap();
        let unpacked = fs::read(&to).unwrap();
        assert!(decompress(b"nothing in here", &to).is_err());
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(unpacked, b"\x7fELF and more");
    }

    #[test]
    fn the_newest_unpacked_kernel_is_taken() {
        let store = std::env::temp_dir().join(format!("xtask-store-{}", std::process::id()));
        fs::create_dir_all(store.join("linux-image-6.1.0-50-amd64/boot")).unwrap();
        fs::create_dir_all(store.join("linux-image-6.1.0-56-amd64/boot")).unwrap();
        fs::create_dir_all(store.join("linux-image-6.1.0-57-amd64")).unwrap();
        let found = Kernel::find(&store).unwrap().map(|kernel| kernel.release);
        fs::remove_dir_all(&store).unwrap();
        assert_eq!(found.as_deref(), Some("6.1.0-56-amd64"));
    }
}
