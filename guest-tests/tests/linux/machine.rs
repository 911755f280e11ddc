//! A guest that tests share, one after the other.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_tests::{
    LinuxWorld, World,
    linux_world::INTERFACE,
    server::{Far, Server},
};
use guest_vm::{Kernel, Lab};

/// How long a boot may take.
pub const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// How long a command in the guest may take unless it is known to take longer.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A guest of one kernel with our NIC, whose cable leads to the embedded host. It is booted when it is needed, and booted
/// anew after a test that has lost it.
pub struct Machine {
    kernel: Kernel,
    world: Option<LinuxWorld>,
    /// Why it did not come up, after it has been tried.
    broken: Option<String>,
}

impl Machine {
    pub fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            world: None,
            broken: None,
        }
    }

    /// Runs a test and then looks at what the kernel has said meanwhile and whether the server is still there.
    pub fn test(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.world()?;
        self.mark(name)?;
        run(self)?;
        self.world()?.server().nic().check()?;
        let warnings = self.warnings()?;
        ensure!(
            warnings.is_empty(),
            "the kernel warned:\n{}",
            warnings.join("\n")
        );
        Ok(())
    }

    /// The guest with its NIC; the driver is loaded and the link is up.
    pub fn world(&mut self) -> Result<&mut LinuxWorld> {
        if let Some(reason) = &self.broken {
            anyhow::bail!("the guest did not come up before: {reason}");
        }
        if self.world.is_none() {
            match self.boot(Server::start(Far::Host)) {
                Ok(world) => self.world = Some(world),
                Err(error) => {
                    self.broken = Some(format!("{error:#}"));
                    return Err(error);
                }
            }
        }
        self.world.as_mut().context("a world was made just now")
    }

    /// For tests that hold every frame against what they expect: nothing in the guest has an address, so that it sends
    /// nothing by itself.
    pub fn quiet_world(&mut self) -> Result<&mut dyn World> {
        Ok(self.world()?)
    }

    /// Kills QEMU, as SIGKILL does, and boots a new one on the same server.
    pub fn kill_and_boot(&mut self) -> Result<()> {
        self.world()?;
        let (guest, server) = self.world.take().context("no guest")?.into_parts();
        guest.kill();
        self.world = Some(self.boot(Ok(server))?);
        Ok(())
    }

    fn boot(&self, server: Result<Server>) -> Result<LinuxWorld> {
        let server = server?;
        let lab = Lab::open(self.kernel)?;
        let config = lab
            .guest(&format!("test-{}", self.kernel.name()))?
            .with_cpus(2)
            .with_boot_limit(BOOT_LIMIT)
            .with_vfio_user(0, &server.socket());
        let guest = lab.boot(&config)?;
        let mut world = LinuxWorld::new(guest, server)?;
        mark(&mut world, "loading the driver")?;
        load(&mut world)?;
        Ok(world)
    }

    /// Lets [`Machine::warnings`] look only at what comes from here on.
    pub fn mark(&mut self, what: &str) -> Result<()> {
        mark(self.world()?, what)
    }

    /// What the kernel has warned of since the last mark.
    pub fn warnings(&mut self) -> Result<Vec<String>> {
        let log = self.world()?.guest().sh("dmesg -r")?;
        let lines: Vec<&str> = log.lines().collect();
        let since = lines.iter().rposition(|line| line.contains(MARK));
        let since = since.map_or(0, |place| place + 1);
        let warnings = lines.iter().skip(since).filter(|line| is_warning(line));
        Ok(warnings.map(|line| (*line).to_owned()).collect())
    }

    /// Runs a shell command in the guest that has to end with status 0.
    pub fn sh(&mut self, command: &str) -> Result<String> {
        self.sh_within(command, LIMIT)
    }

    /// The same with another limit.
    pub fn sh_within(&mut self, command: &str, limit: Duration) -> Result<String> {
        let output = self.world()?.guest().run(command, limit)?;
        ensure!(
            output.status == 0,
            "`{command}`: status {}:\n{}{}",
            output.status,
            output.stdout,
            output.stderr
        );
        Ok(output.stdout)
    }
}

/// Begins the lines that tests write into the kernel's log.
const MARK: &str = "guest-tests: ";

fn mark(world: &mut LinuxWorld, what: &str) -> Result<()> {
    world
        .guest()
        .sh(&format!("echo '{MARK}{what}' >/dev/kmsg"))?;
    Ok(())
}

/// Loads the driver and waits for the link.
pub fn load(world: &mut LinuxWorld) -> Result<()> {
    let command = format!(
        "modprobe ixgbe && ip link set {INTERFACE} up
         until [ \"$(cat /sys/class/net/{INTERFACE}/carrier)\" = 1 ]; do usleep 20000; done"
    );
    let output = world.guest().run(&command, LIMIT)?;
    ensure!(
        output.status == 0,
        "the driver does not load: {}{}",
        output.stdout,
        output.stderr
    );
    Ok(())
}

/// Whether a line of the raw log, `<PRIORITY>[TIME] TEXT`, is a warning or worse, or tells of what a driver writes with
/// less weight than it has. The low three bits of the priority are the level.
fn is_warning(line: &str) -> bool {
    const WARNING: u32 = 4;
    const GRAVE: [&str; 5] = [
        "Tx Unit Hang",
        "WARNING:",
        "BUG:",
        "Call Trace",
        "timed out",
    ];
    let level = line
        .strip_prefix('<')
        .and_then(|rest| rest.split_once('>'))
        .and_then(|(priority, _)| priority.parse::<u32>().ok());
    // That the host is too busy is no fault of the NIC.
    let of_the_host = line.contains("hrtimer: interrupt took");
    (level.is_some_and(|priority| priority & 7 <= WARNING) && !of_the_host)
        || GRAVE.iter().any(|text| line.contains(text))
}
