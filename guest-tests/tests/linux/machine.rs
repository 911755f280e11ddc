//! A guest that tests share, one after the other.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_tests::{
    LinuxWorld, World,
    card_world::MAC,
    contract::{self, Told},
    evidence,
    frames::{BROADCAST, numbered, same},
    kernel_log::{self, Place},
    linux_world::INTERFACE,
    server::{Far, Server},
};
use guest_vm::{Kernel, Lab};

/// How long a boot may take, on a machine that has much else to do.
pub const BOOT_LIMIT: Duration = Duration::from_secs(300);
/// How long a command in the guest may take, likewise, unless it is known to take longer.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A test on a machine that others use as well: its name, and itself.
pub type Test = (&'static str, fn(&mut Machine) -> Result<()>);

/// A guest of one kernel with our NIC, whose cable leads to the embedded host. It is booted when it is needed, and booted
/// anew after a test that has lost it.
pub struct Machine {
    kernel: Kernel,
    world: Option<LinuxWorld>,
    /// What the driver checker had told when the test began.
    told: Told,
    /// Why it did not come up, after it has been tried.
    broken: Option<String>,
}

impl Machine {
    pub fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            world: None,
            told: Told::default(),
            broken: None,
        }
    }

    /// Runs a test and then looks at what the kernel has said meanwhile, whether the server is still there, whether
    /// the driver checker tells of a breach, and whether driver, card and cable have counted the same.
    pub fn test(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        kernel_log::begin(self.world()?.guest(), name)?;
        let outcome = self.run_and_check(run);
        let Some(world) = &mut self.world else {
            return outcome;
        };
        let (guest, server) = world.guest_and_server();
        evidence::with(outcome, guest, server.nic().log())
    }

    fn run_and_check(&mut self, run: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        // The test before may have sent more than a capture that nobody reads can keep.
        self.world()?.renew_cable()?;
        // And one that failed may have left faults.
        self.world()?.cable().control().clear_faults(None)?;
        self.forgive()?;
        self.world()?.begin_tally()?;
        run(self)?;
        let disagreements = self.world()?.end_of_tally()?;
        ensure!(
            disagreements.is_empty(),
            "counters differ: {}",
            disagreements.join("; ")
        );
        self.world()?.server().nic().check()?;
        let control = self.world()?.server().control();
        let breaches = Told::by(&control)?.since(&self.told, contract::LINUX);
        ensure!(
            breaches.is_empty(),
            "the driver checker told of {}",
            breaches.join("\n")
        );
        kernel_log::no_warnings(self.world()?.guest())
    }

    /// The guest with its NIC; the driver is loaded and the link is up.
    pub fn world(&mut self) -> Result<&mut LinuxWorld> {
        if let Some(reason) = &self.broken {
            anyhow::bail!("the guest did not come up before: {reason}");
        }
        if self.world.is_none() {
            match self.boot(Server::start_with(MAC, Far::Host, &contract::FLAGS)) {
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
        kernel_log::mark(world.guest(), "loading the driver")?;
        // A guest that has never spoken IPv6 gets no router advertisements, one of which would be a frame too many for
        // tests that count. Those that want IPv6 turn it on.
        world
            .guest()
            .sh("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")?;
        load(&mut world)?;
        Ok(world)
    }

    /// Waits until the link is up, as it is not for a moment after some settings.
    pub fn wait_for_link(&mut self) -> Result<()> {
        self.sh(&format!(
            "until [ \"$(cat /sys/class/net/{INTERFACE}/carrier)\" = 1 ]; do usleep 10000; done"
        ))?;
        Ok(())
    }

    /// What the driver checker has told so far is not held against the test: the driver tries registers with patterns, or a
    /// fault has done it.
    pub fn forgive(&mut self) -> Result<()> {
        let control = self.world()?.server().control();
        self.told = Told::by(&control)?;
        Ok(())
    }

    /// Lets [`Machine::warnings`] look only at what comes from here on.
    pub fn mark(&mut self, what: &str) -> Result<()> {
        kernel_log::mark(self.world()?.guest(), what)
    }

    /// Where the kernel's log ends now.
    pub fn place(&mut self) -> Result<Place> {
        kernel_log::place(self.world()?.guest())
    }

    /// Waits until the kernel has said this after a place in its log.
    pub fn wait_until_said(&mut self, place: &Place, text: &str) -> Result<()> {
        kernel_log::wait_for(self.world()?.guest(), place, text, LIMIT)
    }

    /// What the kernel has warned of since the last mark.
    pub fn warnings(&mut self) -> Result<Vec<String>> {
        kernel_log::warnings(self.world()?.guest())
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

/// Fifty frames of many sizes each way, all of which pass as they are.
pub fn fifty_frames_each_way(world: &mut LinuxWorld) -> Result<()> {
    let frames: Vec<_> = (0..50)
        .map(|number| numbered(BROADCAST, number, 60 + 20 * number))
        .collect();
    same(&world.arrive(&frames)?, &frames)?;
    same(&world.send(&frames)?, &frames)
}
