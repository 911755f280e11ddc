//! `cargo xtask driver-test`: a guest on our NIC, and `driver-test` at the other end of its cable.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use guest_vm::{ForeignBoot, ForeignGuest, Guest, Kernel, Lab, NicServer, Qemu, Spawner};

use crate::binaries::{self, Binaries};
use crate::rig::INTERFACE;

/// What is tested.
#[derive(Debug, Args)]
pub struct DriverTestArguments {
    /// Boot this kernel (a Linux bzImage, or an ELF file with a PVH note or a multiboot header)
    #[arg(long, value_name = "FILE", conflicts_with = "disk")]
    kernel: Option<PathBuf>,

    /// The kernel's initrd
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,

    /// The kernel's command line
    #[arg(
        long,
        value_name = "TEXT",
        requires = "kernel",
        allow_hyphen_values = true,
        default_value = "console=ttyS0"
    )]
    append: String,

    /// Boot this disk image, of any format that QEMU knows; nothing is written to it
    #[arg(long, value_name = "FILE")]
    disk: Option<PathBuf>,

    /// Boot nothing: the guest runs already, on a server with this control socket
    #[arg(long, value_name = "PATH", conflicts_with_all = ["kernel", "disk"])]
    control: Option<PathBuf>,

    /// Memory of the guest in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(32..=1_048_576))]
    memory: u32,

    /// Processors of the guest
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,

    /// The QEMU to use, 10.1 or newer (default: the one on PATH if it is, else one is fetched)
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,

    /// For driver-test, such as --guest 10.0.0.2 or --junit FILE; see -- --help
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Boots what is to be tested, and tests it. Without a guest of somebody's, Linux is booted.
pub fn run(arguments: &DriverTestArguments) -> Result<ExitCode> {
    let binaries = binaries::build()?;
    if let Some(control) = &arguments.control {
        return test(&binaries, control, &arguments.rest);
    }
    if arguments
        .rest
        .iter()
        .any(|word| word == "--help" || word == "-h")
    {
        return test(&binaries, Path::new(""), &arguments.rest);
    }
    let qemu = arguments.qemu.as_deref().map(Qemu::at).transpose()?;
    let lab = Lab::open_with(Kernel::Debian13, qemu)?;
    let logs = lab.cache.log_folder("driver-test")?;
    let server = NicServer::start(
        &binaries.server,
        "null",
        &["--check", "report"],
        &Spawner::own(),
        &logs.join("server.log"),
    )
    .context("the server does not start")?;
    let config = lab
        .guest("driver-test")?
        .with_memory(arguments.memory)
        .with_cpus(arguments.cpus)
        .with_vfio_user(0, &server.socket());
    let control = server.control();
    let boot = match (&arguments.kernel, &arguments.disk) {
        (Some(kernel), _) => ForeignBoot::Kernel {
            kernel: kernel.clone(),
            initrd: arguments.initrd.clone(),
            arguments: arguments.append.clone(),
        },
        (None, Some(disk)) => ForeignBoot::Disk(disk.clone()),
        (None, None) => {
            let mut guest = lab.boot(&config).context("the guest does not come up")?;
            let known = bring_up(&mut guest)?;
            let words = known.into_iter().chain(arguments.rest.iter().cloned());
            return test(&binaries, &control, &words.collect::<Vec<_>>());
        }
    };
    let mut guest = ForeignGuest::start(&config, &boot)?;
    eprintln!(
        "driver-test: the guest's console is {}",
        guest.console().display()
    );
    let code = test(&binaries, &control, &arguments.rest)?;
    if let Some(status) = guest.ended() {
        eprintln!("driver-test: QEMU has ended, {status}: {}", guest.said());
    }
    Ok(code)
}

/// Brings the NIC of our own Linux guest up, as a user would. Returns what `driver-test` has to know of it.
fn bring_up(guest: &mut Guest) -> Result<Vec<String>> {
    let set_up = format!(
        "set -e; modprobe ixgbe; ip link set {INTERFACE} up; ip addr add 192.0.2.2/24 dev {INTERFACE}
         modprobe 8021q; ip link add link {INTERFACE} name vlan5 type vlan id 5
         ip addr add 198.51.100.2/24 dev vlan5; ip link set vlan5 up
         (while true; do nc -l -p 7 -e cat; done) >/dev/null 2>&1 </dev/null &"
    );
    let output = guest.run(&set_up, Duration::from_secs(30))?;
    ensure!(
        output.status == 0,
        "the driver does not come up: {output:?}"
    );
    let words = ["--vlan", "5:198.51.100.2", "--echo-port", "7"];
    Ok(words.map(str::to_owned).to_vec())
}

/// Runs `driver-test` against the server with this control socket.
fn test(binaries: &Binaries, control: &Path, words: &[String]) -> Result<ExitCode> {
    let status = Command::new(&binaries.driver_test)
        .arg("--control")
        .arg(control)
        .args(words)
        .stdin(Stdio::null())
        .status()
        .context("cannot run driver-test")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(2)))
}
