//! What a guest is made of.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::Spawner;
use crate::qemu::{Qemu, root_port_arguments, vfio_user_arguments};

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// The host's processor, by KVM.
    Kvm,
    /// QEMU's translator, one thread per processor.
    Tcg,
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
        })
    }
}

/// Where the guest's serial console goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleUse {
    /// To `console.log` only.
    Log,
    /// To `console.log` and this process's terminal, with a shell in the guest.
    Shell,
}

/// How the kernel comes into the guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelBoot {
    /// QEMU puts it there, and again at every reset. The fast way.
    Direct,
    /// The firmware loads it, which leaves the memory as it is when the machine wakes up after a suspend to RAM.
    ByFirmware,
}

/// What a guest is made of. Start with [`GuestConfig::new`] and add.
#[derive(Clone, Debug)]
pub struct GuestConfig {
    qemu: Qemu,
    accel: Accel,
    logs: PathBuf,
    memory_mib: u32,
    cpus: u32,
    devices: Vec<OsString>,
    kernel_arguments: String,
    kernel_boot: KernelBoot,
    console: ConsoleUse,
    boot_limit: Duration,
    spawner: Spawner,
}

impl GuestConfig {
    /// A guest with one processor, 512 MiB and no NIC, whose logs go to the folder `logs`.
    pub fn new(qemu: &Qemu, accel: Accel, logs: impl Into<PathBuf>) -> Self {
        Self {
            qemu: qemu.clone(),
            accel,
            logs: logs.into(),
            memory_mib: 512,
            cpus: 1,
            devices: Vec::new(),
            kernel_arguments: String::new(),
            kernel_boot: KernelBoot::Direct,
            console: ConsoleUse::Log,
            boot_limit: Duration::from_secs(60),
            spawner: Spawner::own(),
        }
    }

    /// Gives it `mebibytes` of memory.
    #[must_use]
    pub fn with_memory(mut self, mebibytes: u32) -> Self {
        self.memory_mib = mebibytes;
        self
    }

    /// Gives it `count` processors.
    #[must_use]
    pub fn with_cpus(mut self, count: u32) -> Self {
        self.cpus = count;
        self
    }

    /// Adds QEMU arguments, for devices or anything else.
    #[must_use]
    pub fn with_arguments<I: IntoIterator<Item = S>, S: Into<OsString>>(
        mut self,
        arguments: I,
    ) -> Self {
        self.devices.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Attaches the vfio-user device at `socket` as device `nicINDEX` behind port `INDEX`; index 0 is 01:00.0.
    #[must_use]
    pub fn with_vfio_user(self, index: u8, socket: &Path) -> Self {
        self.with_arguments(vfio_user_arguments(index, socket))
    }

    /// Adds one of QEMU's own NICs behind port `index`, on the tap device `tap` with a virtio-net header. `device` is
    /// QEMU's name, with properties after a comma.
    #[must_use]
    pub fn with_tap_nic(self, index: u8, device: &str, tap: &str) -> Self {
        let netdev = format!("tap,id=net{index},ifname={tap},script=no,downscript=no,vhost=off");
        let device = format!("{device},id=nic{index},netdev=net{index},bus=port{index},romfile=");
        self.with_arguments(root_port_arguments(index))
            .with_arguments(["-netdev", &netdev, "-device", &device])
    }

    /// Adds to the kernel's command line.
    #[must_use]
    pub fn with_kernel_arguments(mut self, arguments: &str) -> Self {
        self.kernel_arguments.push(' ');
        self.kernel_arguments.push_str(arguments);
        self
    }

    /// Chooses how the kernel is loaded; directly if not given.
    #[must_use]
    pub fn with_kernel_boot(mut self, kernel_boot: KernelBoot) -> Self {
        self.kernel_boot = kernel_boot;
        self
    }

    /// Chooses where the serial console goes.
    #[must_use]
    pub fn with_console(mut self, console: ConsoleUse) -> Self {
        self.console = console;
        self
    }

    /// Limits how long booting may take; 60 s if not given.
    #[must_use]
    pub fn with_boot_limit(mut self, limit: Duration) -> Self {
        self.boot_limit = limit;
        self
    }

    /// Runs QEMU in the network namespace of `spawner`.
    #[must_use]
    pub fn in_namespace_of(mut self, spawner: &Spawner) -> Self {
        self.spawner = spawner.clone();
        self
    }

    pub(super) fn qemu(&self) -> &Qemu {
        &self.qemu
    }

    pub(super) fn logs(&self) -> &Path {
        &self.logs
    }

    pub(super) fn memory_mib(&self) -> u32 {
        self.memory_mib
    }

    pub(super) fn devices(&self) -> &[OsString] {
        &self.devices
    }

    pub(super) fn kernel_boot(&self) -> KernelBoot {
        self.kernel_boot
    }

    pub(super) fn console(&self) -> ConsoleUse {
        self.console
    }

    pub(super) fn boot_limit(&self) -> Duration {
        self.boot_limit
    }

    pub(super) fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    pub(super) fn cpu_arguments(&self) -> Vec<String> {
        let (accel, cpu) = match self.accel {
            Accel::Kvm => ("kvm", "host"),
            // With ERMS and FSRM the kernel copies by `rep movsb`, which the translator does byte by byte.
            Accel::Tcg => ("tcg,thread=multi", "max,erms=off,fsrm=off"),
        };
        ["-accel", accel, "-cpu", cpu, "-smp", &self.cpus.to_string()]
            .map(str::to_owned)
            .to_vec()
    }

    pub(super) fn kernel_arguments(&self) -> String {
        let shell = match self.console {
            ConsoleUse::Log => "",
            ConsoleUse::Shell => " shell",
        };
        // Watchdogs see stalls where a busy host emulates the processors, and the kernel gives up if its timer does not come
        // when it looks. Its log is read after much has happened.
        format!(
            "console=ttyS0 quiet log_buf_len=1M mitigations=off no_timer_check nowatchdog \
             rcupdate.rcu_cpu_stall_suppress=1{shell}{}",
            self.kernel_arguments
        )
    }
}
