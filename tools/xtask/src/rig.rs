//! A guest with one NIC, and the host at the other end of its cable.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use guest_vm::{CablePeer, ConsoleUse, Guest, HostStack, Lab, NicServer, root_port_arguments};

use crate::cable::Cable;
use crate::nic::Nic;

/// Name of the NIC in the guest.
pub const INTERFACE: &str = "eth0";

/// A guest with its NIC. Fields are dropped in order: the guest goes before the server that its device talks to.
#[derive(Debug)]
pub struct Rig {
    /// The guest.
    pub guest: Guest,
    /// The host stack between guest and NIC, if there is one.
    pub stack: Option<HostStack>,
    /// Our server, if the NIC is ours.
    pub server: Option<NicServer>,
}

/// QEMU's intel-iommu, and how the guest's kernel uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iommu {
    /// There is none.
    None,
    /// All memory is mapped (`iommu.passthrough=1`).
    Passthrough,
    /// The pages of a packet are taken back some at a time (`iommu.strict=0`).
    Lazy,
    /// The pages of a packet are taken back before its owner goes on (`iommu.strict=1`).
    Strict,
}

impl Iommu {
    /// What the guest's kernel is told.
    const fn kernel_arguments(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Passthrough => Some("intel_iommu=on iommu.passthrough=1"),
            Self::Lazy => Some("intel_iommu=on iommu.strict=0"),
            Self::Strict => Some("intel_iommu=on iommu.strict=1"),
        }
    }
}

/// What a rig is made of.
#[derive(Debug)]
pub struct RigOptions<'a> {
    /// The NIC.
    pub nic: Nic,
    /// `vfio-user-ixgbe`, if the NIC is ours.
    pub server: &'a Path,
    /// `vhost-user-ixgbe`, if our NIC is reached through it: the guest's own is then a virtio-net.
    pub stack: Option<&'a Path>,
    /// Further arguments for that.
    pub stack_arguments: &'a [&'a str],
    /// The IOMMU before the NIC.
    pub iommu: Iommu,
    /// Where the guest's console goes.
    pub console: ConsoleUse,
    /// Name of the folder for the guest's logs.
    pub name: &'a str,
    /// Processors of the guest.
    pub cpus: u32,
    /// Memory of the guest in MiB.
    pub memory: u32,
}

impl Rig {
    /// Starts the NIC's server, if it has one, and boots the guest.
    pub fn boot(lab: &Lab, cable: &Cable, options: &RigOptions<'_>) -> Result<Self> {
        let spawner = cable.spawner();
        let config = lab
            .guest(options.name)?
            .with_console(options.console)
            .with_cpus(options.cpus)
            .with_memory(options.memory)
            .in_namespace_of(&spawner);
        let config = match options.iommu.kernel_arguments() {
            // It has to be there before what is behind it.
            Some(arguments) => config
                .with_arguments(["-device", "intel-iommu,caching-mode=on"])
                .with_kernel_arguments(arguments),
            None => config,
        };
        let logs = lab.cache.path("logs").join(options.name);
        let start = || {
            let log = logs.join("server.log");
            NicServer::start::<&str>(options.server, &cable.wire(), &[], &spawner, &log)
                .context("the server does not start")
        };
        let (server, stack, config) = match (options.nic.qemu_device(), options.stack) {
            (None, _) => {
                let server = start()?;
                let config = config.with_vfio_user(0, &server.socket());
                (Some(server), None, config)
            }
            (Some(device), Some(program)) => {
                let server = start()?;
                let stack = HostStack::start(
                    program,
                    &server.socket(),
                    options.stack_arguments,
                    &spawner,
                    &logs.join("stack.log"),
                )
                .context("the host stack does not start")?;
                let chardev = format!("socket,id=stack,path={}", stack.socket().display());
                let device = format!("{device},id=nic0,netdev=net0,bus=port0,romfile=");
                let config = config
                    .with_arguments(root_port_arguments(0))
                    .with_arguments(["-chardev", &chardev])
                    .with_arguments(["-netdev", "vhost-user,id=net0,chardev=stack"])
                    .with_arguments(["-device", &device]);
                (Some(server), Some(stack), config)
            }
            (Some(device), None) => (None, None, config.with_tap_nic(0, device, CablePeer::TAP)),
        };
        let guest = lab.boot(&config).context("the guest does not come up")?;
        Ok(Self {
            guest,
            stack,
            server,
        })
    }

    /// Loads the NIC's driver and waits until the link is up.
    pub fn bring_up(&mut self, nic: Nic) -> Result<()> {
        self.guest.sh(&format!("modprobe {}", nic.module()))?;
        self.guest.sh(&format!("ip link set {INTERFACE} up"))?;
        let wait = format!(
            "until [ \"$(cat /sys/class/net/{INTERFACE}/carrier)\" = 1 ]; do usleep 20000; done"
        );
        let up = self
            .guest
            .run(&wait, Duration::from_secs(10))
            .context("the link does not come up")?;
        anyhow::ensure!(
            up.status == 0,
            "the link does not come up: {}{}",
            up.stdout,
            up.stderr
        );
        Ok(())
    }

    /// Gets an address by DHCP and returns it.
    pub fn get_address(&mut self) -> Result<String> {
        let command =
            format!("udhcpc -i {INTERFACE} -f -n -q -t 8 -T 1 -s /etc/udhcpc/default.script 2>&1");
        let output = self.guest.run(&command, Duration::from_secs(20))?;
        anyhow::ensure!(
            output.status == 0,
            "udhcpc in the guest got no lease:\n{}",
            output.stdout
        );
        Ok(self
            .guest
            .sh(&format!("cat /run/dhcp.{INTERFACE}"))?
            .trim()
            .to_owned())
    }
}
