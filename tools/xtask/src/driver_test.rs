//! `cargo xtask driver-test`: a guest on our NIC, and `driver-test` at the other end of its cable.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use guest_vm::{
    Accel, Cache, ForeignBoot, ForeignGuest, Guest, GuestConfig, Kernel, Lab, NicServer, Qemu,
    Spawner,
};

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

/// Longest that somebody's guest may take to come up, in seconds.
const BOOT: &str = "300";

/// Boots what is to be tested, and tests it. Without a guest of somebody's, Linux is booted. What goes wrong before or while
/// it is tested is told, and gives 2, as `driver-test` does itself.
pub fn run(arguments: &DriverTestArguments) -> ExitCode {
    boot_and_test(arguments).unwrap_or_else(|error| {
        eprintln!("driver-test: {error:#}");
        ExitCode::from(2)
    })
}

fn boot_and_test(arguments: &DriverTestArguments) -> Result<ExitCode> {
    let driver_test = binaries::driver_test()?;
    if let Some(control) = &arguments.control {
        return test(&driver_test, control, &arguments.rest, || None);
    }
    if is_question(&arguments.rest) {
        return test(&driver_test, Path::new(""), &arguments.rest, || None);
    }
    let binaries = binaries::build()?;
    let qemu = arguments.qemu.as_deref().map(Qemu::at).transpose()?;
    let boot = match (&arguments.kernel, &arguments.disk) {
        (Some(kernel), _) => ForeignBoot::Kernel {
            kernel: kernel.clone(),
            initrd: arguments.initrd.clone(),
            arguments: arguments.append.clone(),
        },
        (None, Some(disk)) => ForeignBoot::Disk(disk.clone()),
        (None, None) => {
            let lab = Lab::open_with(Kernel::Debian13, qemu)?;
            let (server, config) = start(&binaries, &lab.cache, &lab.qemu, lab.accel, arguments)?;
            let mut guest = lab.boot(&config).context("the guest does not come up")?;
            let known = bring_up(&mut guest)?;
            let words: Vec<_> = known
                .into_iter()
                .chain(arguments.rest.iter().cloned())
                .collect();
            return test(&driver_test, &server.control(), &words, || None);
        }
    };
    let cache = Cache::open()?;
    let qemu = qemu.map_or_else(|| Qemu::find(&cache), Ok)?;
    let accel = Accel::choose_for_foreign(&cache, &qemu)?;
    let (server, config) = start(&binaries, &cache, &qemu, accel, arguments)?;
    let mut guest = ForeignGuest::start(&config, &boot)?;
    eprintln!(
        "driver-test: the guest's console is {}",
        guest.console().display()
    );
    let words = with_boot_limit(&arguments.rest);
    test(&driver_test, &server.control(), &words, || {
        let status = guest.ended()?;
        Some(format!("QEMU has ended, {status}: {}", guest.said()))
    })
}

/// Whether `driver-test` is only asked what it can do.
fn is_question(rest: &[String]) -> bool {
    const QUESTIONS: [&str; 5] = ["--help", "-h", "--list", "--version", "-V"];
    rest.iter().any(|word| QUESTIONS.contains(&word.as_str()))
}

/// The arguments for `driver-test`, with a limit for what boots only now, if they have none.
fn with_boot_limit(rest: &[String]) -> Vec<String> {
    let is_limit = |word: &String| word == "--boot" || word.starts_with("--boot=");
    let mut words = rest.to_vec();
    if !rest.iter().any(is_limit) {
        words.extend(["--boot", BOOT].map(str::to_owned));
    }
    words
}

/// Starts the server. Gives the beginning of a guest with its NIC, too.
fn start(
    binaries: &Binaries,
    cache: &Cache,
    qemu: &Qemu,
    accel: Accel,
    arguments: &DriverTestArguments,
) -> Result<(NicServer, GuestConfig)> {
    let logs = cache.log_folder("driver-test")?;
    let server = NicServer::start(
        &binaries.server,
        "null",
        &["--check", "report"],
        &Spawner::own(),
        &logs.join("server.log"),
    )
    .context("the server does not start")?;
    let config = GuestConfig::new(qemu, accel, logs)
        .with_memory(arguments.memory)
        .with_cpus(arguments.cpus)
        .with_vfio_user(0, &server.socket());
    Ok((server, config))
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

/// Runs `driver-test` against the server with this control socket. `guest` is asked meanwhile whether there is no guest any
/// more, and why.
fn test(
    driver_test: &Path,
    control: &Path,
    words: &[String],
    mut guest: impl FnMut() -> Option<String>,
) -> Result<ExitCode> {
    let mut child = Command::new(driver_test)
        .arg("--control")
        .arg(control)
        .args(words)
        .stdin(Stdio::null())
        .spawn()
        .context("cannot run driver-test")?;
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for driver-test")? {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Ok(ExitCode::from(code.unwrap_or(2)));
        }
        if let Some(end) = guest() {
            // Both fail only if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
            bail!("the guest is gone while it is tested: {end}");
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_guest_that_boots_only_now_gets_time_for_it_if_nobody_says_otherwise() {
        let silent = with_boot_limit(&words("--guest 10.0.0.2"));

        assert_eq!(silent, words("--guest 10.0.0.2 --boot 300"));
        assert_eq!(with_boot_limit(&words("--boot 7")), words("--boot 7"));
        assert_eq!(with_boot_limit(&words("--boot=7")), words("--boot=7"));
    }

    /// The words of a line as a shell takes it, where quotes are around whole words.
    fn typed(line: &str) -> Vec<String> {
        let parts = line.split('\'').enumerate();
        let parts = parts.flat_map(|(number, part)| match number % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        parts.collect()
    }

    #[test]
    fn the_calls_on_its_page_are_understood() {
        let page = include_str!("../../../docs/driver-test.md");
        let calls = page.lines().filter_map(|line| {
            let line = line.trim_start_matches("- run: ");
            let line = line.trim_start_matches("$ ");
            line.starts_with("cargo xtask ").then(|| typed(line))
        });
        let calls: Vec<Vec<String>> = calls.collect();

        let wrong = calls.iter().filter_map(|call| {
            let error = crate::Arguments::try_parse_from(&call[1..]).err()?;
            Some(format!("{call:?}: {error}"))
        });

        assert_eq!(wrong.collect::<Vec<_>>(), [""; 0]);
        assert!(calls.len() > 3, "{calls:?}");
    }

    #[test]
    fn what_is_asked_of_driver_test_alone_takes_no_guest() {
        assert!(is_question(&words("--only life --list")));
        assert!(!is_question(&words("--only list")));
    }
}
