//! `package`: a Debian package of the program, its manual, completions and services.
//!
//! ```text
//! cargo build ──▶ target/package/root: usr/bin, man pages and completions by the program itself, units, users, folders
//!                        └──▶ DEBIAN/control, scripts ──▶ dpkg-deb ──▶ target/package/sixfold_VERSION_ARCH.deb
//! ```
//!
//! Owns: where each file goes. What the files say stands in `package/` and in the program's own definitions.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::test::packages;
use crate::tool::{self, output};

/// Files that are copied as they are, from the project's folder to where Debian has such files.
const FILES: [(&str, &str); 10] = [
    ("package/systemd/sixfold-registry.service", "usr/lib/systemd/system/sixfold-registry.service"),
    ("package/systemd/sixfold-agent.service", "usr/lib/systemd/system/sixfold-agent.service"),
    ("package/systemd/sixfold-tunnel.service", "usr/lib/systemd/system/sixfold-tunnel.service"),
    ("package/systemd/sixfold-networkd.conf", "usr/lib/systemd/networkd.conf.d/60-sixfold.conf"),
    ("package/systemd/sixfold.sysusers", "usr/lib/sysusers.d/sixfold.conf"),
    ("package/systemd/sixfold.tmpfiles", "usr/lib/tmpfiles.d/sixfold.conf"),
    ("LICENSE", "usr/share/doc/sixfold/copyright"),
    ("README.md", "usr/share/doc/sixfold/README.md"),
    ("CHANGELOG.md", "usr/share/doc/sixfold/changelog"),
    ("docs/openapi.json", "usr/share/doc/sixfold/openapi.json"),
];

/// The scripts that dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Where each shell looks for completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/sixfold"),
    ("zsh", "usr/share/zsh/vendor-completions/_sixfold"),
    ("fish", "usr/share/fish/vendor_completions.d/sixfold.fish"),
];

/// What to build.
#[derive(clap::Args)]
pub(crate) struct Request {
    /// Of a debug build, which is quick to make and not for others
    #[arg(long)]
    debug: bool,
}

/// Builds the package and says where it is.
///
/// # Errors
/// What could not be built, written or run.
pub(crate) fn run(root: &Path, request: &Request) -> io::Result<bool> {
    let package = Layout::build(root, request.debug)?.pack()?;
    println!("{}", package.display());
    Ok(true)
}

/// The tree that becomes a package.
struct Layout<'a> {
    /// The project.
    project: &'a Path,
    tree: PathBuf,
}

impl<'a> Layout<'a> {
    /// Builds the program and puts everything in its place.
    fn build(project: &'a Path, debug: bool) -> io::Result<Self> {
        let tree = project.join("target/package/root");
        if tree.exists() {
            fs::remove_dir_all(&tree)?;
        }
        let layout = Self { project, tree };
        let built = project.join(if debug { "target/debug/sixfold" } else { "target/release/sixfold" });
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--locked", "--package", "sixfold"]).args((!debug).then_some("--release"));
        tool::run(packages::settle(project, cargo.current_dir(project)))?;
        let program = layout.place("usr/bin/sixfold")?;
        fs::copy(&built, &program)?;
        // The names of functions stay, for what a person may have to report; the lines of the source are left out.
        tool::run(Command::new("strip").arg("--strip-debug").arg(&program))?;
        fs::set_permissions(&program, Permissions::from_mode(0o755))?;
        for (from, to) in FILES {
            layout.write(to, &fs::read(project.join(from))?, 0o644)?;
        }
        layout.write_what_the_program_says(&program)?;
        layout.write_control(&program)?;
        Ok(layout)
    }

    /// Where a file goes, with a folder to go to.
    fn place(&self, path: &str) -> io::Result<PathBuf> {
        let path = self.tree.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        Ok(path)
    }

    fn write(&self, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let path = self.place(path)?;
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))
    }

    /// Its manual and completions.
    fn write_what_the_program_says(&self, program: &Path) -> io::Result<()> {
        let manual = self.place("usr/share/man/man1/x")?.with_file_name("");
        tool::run(Command::new(program).arg("man").arg(&manual).stdout(Stdio::null()))?;
        for entry in fs::read_dir(&manual)? {
            // Without names and times, so that the same pages are the same bytes.
            tool::run(Command::new("gzip").arg("-9n").arg(entry?.path()))?;
        }
        for (shell, path) in COMPLETIONS {
            let text = output(Command::new(program).args(["completions", shell]))?;
            self.write(path, text.as_bytes(), 0o644)?;
        }
        Ok(())
    }

    fn write_control(&self, program: &Path) -> io::Result<()> {
        let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
        let size = kibibytes(&self.tree)?.to_string();
        let glibc = newest_glibc(&fs::read(program)?);
        let glibc = glibc.ok_or_else(|| io::Error::other("the program names no version of glibc"))?;
        let values = [
            ("@VERSION@", env!("CARGO_PKG_VERSION").to_owned()),
            ("@ARCHITECTURE@", architecture.trim().to_owned()),
            ("@GLIBC@", format!("{}.{}", glibc.0, glibc.1)),
            ("@SIZE@", size),
        ];
        let control = fs::read_to_string(self.project.join("package/debian/control"))?;
        let control = values.iter().fold(control, |text, (name, value)| text.replace(name, value));
        self.write("DEBIAN/control", control.as_bytes(), 0o644)?;
        for script in SCRIPTS {
            let text = fs::read(self.project.join("package/debian").join(script))?;
            self.write(&format!("DEBIAN/{script}"), &text, 0o755)?;
        }
        Ok(())
    }

    /// Makes the package, and gives its file.
    fn pack(&self) -> io::Result<PathBuf> {
        close_to_others_writing(&self.tree)?;
        let folder = self.project.join("target/package");
        let mut pack = Command::new("dpkg-deb");
        pack.args(["--build", "--root-owner-group"]).arg(&self.tree).arg(&folder);
        let said = output(&mut pack)?;
        // dpkg-deb: building package 'sixfold' in '/.../sixfold_0.1.0_amd64.deb'.
        let path = said.rsplit('\'').nth(1).map(PathBuf::from);
        path.ok_or_else(|| io::Error::other(format!("dpkg-deb does not say what it made: {said}")))
    }
}

/// Folders as a package has them, whatever this person's own habit is.
fn close_to_others_writing(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            close_to_others_writing(&entry.path())?;
        }
    }
    Ok(())
}

/// What a folder takes on a disk.
fn kibibytes(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        sum += match entry.file_type()?.is_dir() {
            true => kibibytes(&entry.path())?,
            false => entry.metadata()?.size().div_ceil(1024),
        };
    }
    Ok(sum)
}

/// The newest version of glibc whose functions a program needs: that and every later one has them.
fn newest_glibc(program: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_";
    let marks = program.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    let version = |at: usize| {
        let text: String = program[at + MARK.len()..]
            .iter()
            .map(|byte| char::from(*byte))
            .take_while(|letter| letter.is_ascii_digit() || *letter == '.')
            .take(16)
            .collect();
        let (major, rest) = text.split_once('.')?;
        let minor = rest.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    marks.filter_map(|(at, _)| version(at)).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace_root;

    /// How exposed systemd may find a service, of a hundred (docs/adr/0014, 0031).
    const EXPOSED: [(&str, &str); 3] =
        [("sixfold-registry", "12"), ("sixfold-tunnel", "26"), ("sixfold-agent", "53")];

    #[test]
    fn the_newest_version_that_a_program_names_counts() {
        let program = b"\0GLIBC_2.2.5\0GLIBC_2.36\0GLIBC_PRIVATE\0GLIBC_2.4\0";
        assert_eq!(newest_glibc(program), Some((2, 36)));
        assert_eq!(newest_glibc(b"GLIBC_"), None);
    }

    /// What Debian's and systemd's own programs say of it, in a root of its own: nothing is installed here.
    #[test]
    fn the_package_unpacks_and_systemd_takes_its_units_users_and_folders() {
        let project = workspace_root();
        let package = Layout::build(&project, true).unwrap().pack().unwrap();
        let root = project.join("target/package/installed");
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        let at = format!("--root={}", root.display());
        tool::run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&root)).unwrap();
        let listed = output(Command::new("dpkg-deb").arg("--contents").arg(&package)).unwrap();
        assert!(listed.lines().all(|line| line.contains(" root/root ")), "{listed}");
        assert!(listed.contains("./usr/share/man/man1/sixfold-agent.1.gz"), "{listed}");
        fs::create_dir_all(root.join("etc")).unwrap();
        // What the units stand on that is not ours.
        let systemd = Path::new("usr/lib/systemd/system");
        for unit in ["sysinit.target", "network-online.target", "multi-user.target", "basic.target"] {
            fs::copy(Path::new("/").join(systemd).join(unit), root.join(systemd).join(unit)).unwrap();
        }
        tool::run(Command::new("systemd-sysusers").args([&at, "sixfold.conf"])).unwrap();
        let users = fs::read_to_string(root.join("etc/passwd")).unwrap();
        tool::run(Command::new("systemd-tmpfiles").args([&at, "--create", "sixfold.conf"])).unwrap();
        let mode = fs::metadata(root.join("var/lib/sixfold")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o711);
        for (unit, bar) in EXPOSED {
            let file = root.join(systemd).join(format!("{unit}.service"));
            let text = fs::read_to_string(&file).unwrap();
            let user = text.lines().find_map(|line| line.strip_prefix("User="));
            assert!(user.is_none_or(|user| users.contains(&format!("{user}:"))), "{unit}: {users}");
            let mut verify = Command::new("systemd-analyze");
            let said = verify.args(["verify", "--man=no", &at, &format!("{unit}.service")]).output().unwrap();
            let words = String::from_utf8_lossy(&said.stderr);
            assert!(said.status.success() && words.trim().is_empty(), "{unit}: {words}");
            let threshold = format!("--threshold={bar}");
            let mut security = Command::new("systemd-analyze");
            security.args(["security", "--offline=true", &threshold, &at, &format!("{unit}.service")]);
            let said = security.output().unwrap();
            let words = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(said.status.success(), "{unit}: {words}");
            println!("{}", words.lines().last().unwrap_or_default());
        }
        for script in SCRIPTS {
            tool::run(Command::new("sh").arg("-n").arg(project.join("package/debian").join(script))).unwrap();
        }
    }
}
