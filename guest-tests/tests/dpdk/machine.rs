//! A guest with our NIC and DPDK, which tests share, one after the other.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use control::Client;
use guest_tests::{
    card_world::MAC,
    contract::{self, Told},
    evidence, kernel_log,
    server::{ControlCable, Far, Server},
    tally::{Crossing, Sent},
};
use guest_vm::{Guest, Kernel, Lab};

use super::testpmd::Testpmd;

/// How long a boot may take, on a machine that has much else to do.
const BOOT_LIMIT: Duration = Duration::from_secs(300);
/// Place of the NIC in the guest.
pub const ADDRESS: &str = "0000:01:00.0";
/// Huge pages of 2 MiB: for some 16000 packet buffers and the rings.
const HUGE_PAGES: u32 = 96;

/// The kernel's driver by which user space gets hold of the NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelDriver {
    /// Registers by sysfs; DMA with physical addresses.
    UioPciGeneric,
    /// DMA by an IOMMU.
    VfioPci,
}

impl KernelDriver {
    fn name(self) -> &'static str {
        match self {
            Self::UioPciGeneric => "uio_pci_generic",
            Self::VfioPci => "vfio-pci",
        }
    }
}

/// A guest whose NIC's cable leads to nobody but the test.
#[derive(Default)]
pub struct Machine {
    booted: Option<Booted>,
    /// What the cable sees of what the card sends in this test.
    sent: Sent,
    /// Why it did not come up, after it has been tried.
    broken: Option<String>,
}

struct Booted {
    // Dropped first: QEMU goes before the server that its device talks to.
    guest: Guest,
    server: Server,
}

impl Booted {
    /// What has passed between card and cable so far.
    fn crossing(&self) -> Result<Crossing> {
        Crossing::new(&Client::connect(&self.server.control())?.stats()?)
    }

    /// How testpmd ends, what the kernel has said since the test began, whether the server is still there, whether the
    /// driver checker tells of a breach, and whether card and cable have counted the same.
    fn check(&mut self, before: &Crossing, told: &Told, sent: Sent) -> Result<()> {
        guest_vm::Testpmd::end(&mut self.guest)?;
        self.server.nic().check()?;
        let breaches = Told::by(&self.server.control())?.since(told, contract::DPDK);
        ensure!(
            breaches.is_empty(),
            "the driver checker told of {}",
            breaches.join("\n")
        );
        let disagreements = self.crossing()?.disagreements(before, sent);
        ensure!(
            disagreements.is_empty(),
            "counters differ: {}",
            disagreements.join("; ")
        );
        kernel_log::no_warnings(&mut self.guest)
    }
}

impl Machine {
    /// Runs a test; then looks at how testpmd ends, at what the kernel has said meanwhile, whether the server is still
    /// there, and whether card and cable have counted the same.
    pub fn test(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        kernel_log::begin(&mut self.booted()?.guest, name)?;
        let before = self.booted()?.crossing()?;
        let told = Told::by(&self.booted()?.server.control())?;
        self.sent = Sent::default();
        let outcome = run(self);
        let sent = self.sent;
        let booted = self.booted()?;
        let outcome = outcome.and_then(|()| booted.check(&before, &told, sent));
        evidence::with(outcome, &mut booted.guest, booted.server.nic().log())
    }

    /// Tells what the cable sees of what the card sends, if that is not each frame.
    pub fn sends(&mut self, sent: Sent) {
        self.sent = sent;
    }

    /// Starts testpmd with these arguments after those of the EAL, on a NIC that is bound to `driver`. The cable is one that
    /// nothing has passed yet.
    pub fn testpmd(
        &mut self,
        driver: KernelDriver,
        eal: &str,
        arguments: &str,
    ) -> Result<(Testpmd<'_>, ControlCable)> {
        let booted = self.booted()?;
        // One that is still there is another test's, which has failed.
        guest_vm::Testpmd::end(&mut booted.guest).ok();
        guest_vm::Testpmd::bind(&mut booted.guest, ADDRESS, driver.name())?;
        let cable = booted.server.cable()?;
        let testpmd = Testpmd::start(&mut booted.guest, eal, arguments)?;
        Ok((testpmd, cable))
    }

    /// The server that has the NIC.
    pub fn server(&mut self) -> Result<&Server> {
        Ok(&self.booted()?.server)
    }

    fn booted(&mut self) -> Result<&mut Booted> {
        if let Some(reason) = &self.broken {
            anyhow::bail!("the guest did not come up before: {reason}");
        }
        if self.booted.is_none() {
            match boot() {
                Ok(booted) => self.booted = Some(booted),
                Err(error) => {
                    self.broken = Some(format!("{error:#}"));
                    return Err(error);
                }
            }
        }
        self.booted.as_mut().context("a guest was booted just now")
    }
}

fn boot() -> Result<Booted> {
    let server = Server::start_with(MAC, Far::Nobody, &contract::FLAGS)?;
    let lab = Lab::open(Kernel::Debian13)?.with_dpdk()?;
    let config = lab
        .guest("test-dpdk")?
        .with_cpus(2)
        .with_memory(768)
        .with_boot_limit(BOOT_LIMIT)
        // The IOMMU has to be there before the devices that are behind it. With `pt` it lets those pass that nobody has
        // put under it, as uio_pci_generic does not.
        .with_arguments(["-device", "intel-iommu,caching-mode=on"])
        .with_kernel_arguments("intel_iommu=on iommu=pt")
        .with_vfio_user(0, &server.socket());
    let mut guest = lab.boot(&config)?;
    guest_vm::Testpmd::prepare(&mut guest, HUGE_PAGES)?;
    Ok(Booted { guest, server })
}
