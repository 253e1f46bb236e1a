//! `vm`: runs a command on Debian's stock kernel, in a machine that is thrown away.
//!
//! QEMU emulates the processor (no hardware support asked for), boots in about three seconds and gives the guest this
//! machine's root read-only over 9p, under a layer in memory: all that is installed or built here is there, and nothing
//! the command writes survives, but what it writes into the output folder. The guest has no network; its namespaces are
//! its network, and two cards with a cable between them where that is asked for. Its output and its errors come out as one. It does not load modules on demand: name them.

mod initrd;
mod kernel;
mod newc;

pub(crate) use kernel::Kernel;

use crate::tool;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The exit code when the machine died or ran out of time, so that no command's own is mistaken for it.
const MACHINE_FAILED: u8 = 125;

/// How often the end of the machine is looked for: far below the two seconds it takes to boot.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What to run, and on how large a machine.
#[derive(clap::Args)]
pub(crate) struct Request {
    /// Modules to load before the command, in order
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    modules: Vec<String>,
    /// Folder the command may write to, at the same path and in $VM_OUT [default: one that is removed]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Two cards, eth0 and eth1 once virtio_net is loaded, with a cable between them
    #[arg(long)]
    cable: bool,
    /// Processors
    #[arg(long, default_value_t = 2)]
    cpus: u8,
    /// Memory; what the command writes outside the output folder takes of it
    #[arg(long, default_value_t = 1024)]
    memory_mib: u32,
    /// The machine is ended after this time
    #[arg(long, default_value_t = 600)]
    timeout_secs: u64,
    /// Command and arguments, run as root in the current folder
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Where kernels and output folders are kept.
pub(crate) fn store(root: &Path) -> PathBuf {
    root.join("target/vm")
}

/// Boots, runs the command and returns its exit code; 125 when the machine failed.
///
/// # Errors
/// The machine could not be prepared or started.
pub(crate) fn run(root: &Path, request: &Request) -> io::Result<u8> {
    let store = store(root);
    let kernel = Kernel::obtain(&store)?;
    remove_leftovers(&store)?;
    let scratch = store.join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let outcome = run_in(&scratch, &kernel, request);
    fs::remove_dir_all(&scratch)?;
    outcome
}

/// Removes the folders of runs that were killed: those whose process is no more.
fn remove_leftovers(store: &Path) -> io::Result<()> {
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        let process = path.file_name().and_then(|name| name.to_str()?.strip_prefix("run-"));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // Two runs that start together may both try; the second finds nothing left.
            fs::remove_dir_all(&path).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
        }
    }
    Ok(())
}

fn run_in(scratch: &Path, kernel: &Kernel, request: &Request) -> io::Result<u8> {
    let initrd = scratch.join("initrd");
    fs::write(&initrd, initrd::build(kernel)?)?;
    let out = request.out.clone().unwrap_or_else(|| scratch.join("out"));
    fs::create_dir_all(&out)?;
    let out = out.canonicalize()?;
    let (command, code) = (out.join("command"), out.join("code"));
    fs::write(&command, script(request, &std::env::current_dir()?, &out))?;
    if code.exists() {
        fs::remove_file(&code)?;
    }
    let machine = qemu(kernel, request, &[&initrd, &out]).spawn().map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("QEMU cannot be started ({error}): `cargo xtask test` installs it"),
        )
    })?;
    watch(machine, Duration::from_secs(request.timeout_secs))?;
    let code = fs::read_to_string(code).ok().and_then(|code| code.trim().parse().ok());
    code.map_or_else(|| died(request), Ok)
}

fn died(request: &Request) -> io::Result<u8> {
    writeln!(io::stderr(), "vm: the machine died or ran over {} s", request.timeout_secs)?;
    Ok(MACHINE_FAILED)
}

/// The script that the guest runs on the host's root.
fn script(request: &Request, folder: &Path, out: &Path) -> String {
    let mut lines = vec![
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root".to_owned(),
        // The console is a terminal to them, but a person or a program reads it through a pipe.
        "export TERM=dumb NO_COLOR=1 WG_COLOR_MODE=never CARGO_TERM_COLOR=never".to_owned(),
        format!("export VM_OUT={}", quoted(&out.to_string_lossy())),
        "ip link set lo up".to_owned(),
        format!("cd {} || exit 126", quoted(&folder.to_string_lossy())),
    ];
    lines.extend(request.modules.iter().map(|module| format!("modprobe {} || exit 126", quoted(module))));
    let words: Vec<String> = request.command.iter().map(|word| quoted(word)).collect();
    lines.push(format!("exec {}", words.join(" ")));
    lines.join("\n") + "\n"
}

/// A word as the shell reads it back unchanged.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The machine; `shared` are the first file system and the output folder.
fn qemu(kernel: &Kernel, request: &Request, [initrd, out]: &[&Path; 2]) -> Command {
    let kernel_words = format!(
        "console=ttyS0 panic=-1 quiet loglevel=3 mitigations=off tsc=reliable nokaslr random.trust_cpu=on \
         vm.KVER={} vm.KROOT={} vm.OUT={}",
        kernel.release,
        kernel.root.display(),
        out.display()
    );
    // It dies with us, however we end. The q35 machine and not the second faster microvm: under emulation that one's timer
    // interrupt failed to start in a third of the boots, and the guest waited for ever in calibrate_delay.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args(["-M", "q35", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max"])
        .args(["-smp", &request.cpus.to_string(), "-m", &request.memory_mib.to_string()])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"])
        .arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(initrd)
        .args(["-append", &kernel_words])
        .args(["-fsdev", "local,id=r,path=/,security_model=none,readonly=on,multidevs=remap"])
        .args(["-device", "virtio-9p-pci,fsdev=r,mount_tag=hostroot"])
        .args(["-fsdev", &format!("local,id=o,path={},security_model=none,multidevs=remap", out.display())])
        .args(["-device", "virtio-9p-pci,fsdev=o,mount_tag=hostout", "-device", "virtio-rng-pci"]);
    for card in ["one", "other"].iter().filter(|_| request.cable) {
        qemu.args(["-netdev", &format!("hubport,id={card},hubid=0")]);
        qemu.args(["-device", &format!("virtio-net-pci,netdev={card},romfile=")]);
    }
    tool::with_system_path(&mut qemu).stdin(Stdio::null()).stdout(Stdio::piped());
    qemu
}

/// Passes the console on until the machine ends or its time is over.
fn watch(mut machine: Child, limit: Duration) -> io::Result<()> {
    let console = machine.stdout.take().expect("qemu() asked for a pipe");
    let passing = std::thread::spawn(move || pass_on(console, &mut io::stdout()));
    let end = Instant::now() + limit;
    while machine.try_wait()?.is_none() {
        if Instant::now() >= end {
            machine.kill()?;
            machine.wait()?;
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    passing.join().unwrap_or_else(|_| Err(io::Error::other("the console could not be read")))
}

/// A serial console ends its lines with a carriage return as well; callers read plain lines.
fn pass_on(console: impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut console = BufReader::new(console);
    let mut line = Vec::new();
    while console.read_until(b'\n', &mut line)? > 0 {
        line.retain(|byte| *byte != b'\r');
        to.write_all(&line)?;
        to.flush()?;
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(modules: &[&str], command: &[&str]) -> Request {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        Request {
            modules: words(modules),
            out: None,
            cable: false,
            cpus: 1,
            memory_mib: 512,
            timeout_secs: 60,
            command: words(command),
        }
    }

    #[test]
    fn the_script_loads_the_modules_and_keeps_every_word() {
        let request = request(&["wireguard", "tun"], &["sh", "-c", "echo 'a b' $X"]);
        let script = script(&request, Path::new("/srv/my work"), Path::new("/tmp/out"));
        assert_eq!(
            script,
            "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\n\
             export TERM=dumb NO_COLOR=1 WG_COLOR_MODE=never CARGO_TERM_COLOR=never\n\
             export VM_OUT='/tmp/out'\n\
             ip link set lo up\n\
             cd '/srv/my work' || exit 126\n\
             modprobe 'wireguard' || exit 126\n\
             modprobe 'tun' || exit 126\n\
             exec 'sh' '-c' 'echo '\\''a b'\\'' $X'\n"
        );
    }

    #[test]
    fn leftovers_of_the_dead_go_and_the_living_stay() {
        let store = std::env::temp_dir().join(format!("xtask-leftovers-{}", std::process::id()));
        let (living, dead) = (store.join(format!("run-{}", std::process::id())), store.join("run-4194305"));
        let other = store.join("linux-image-x");
        [&living, &dead, &other].into_iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
        remove_leftovers(&store).unwrap();
        let stay = [&living, &dead, &other].map(|folder| folder.exists());
        fs::remove_dir_all(&store).unwrap();
        assert_eq!(stay, [true, false, true]);
    }

    #[test]
    fn the_console_comes_through_as_plain_lines() {
        let mut out = Vec::new();
        pass_on(b"one\r\ntwo\r\nthree".as_slice(), &mut out).unwrap();
        assert_eq!(out, b"one\ntwo\nthree");
    }

    #[test]
    fn a_machine_that_does_not_end_is_ended() {
        let machine = Command::new("sleep").arg("60").stdout(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        watch(machine, Duration::from_millis(50)).unwrap();
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
