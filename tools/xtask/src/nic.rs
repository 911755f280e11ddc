//! The NICs that a guest can be given.

use clap::ValueEnum;
use serde::Serialize;

/// A NIC for a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nic {
    /// Ours, the 82599 over vfio-user.
    Ixgbe,
    /// QEMU's Intel 82576.
    Igb,
    /// QEMU's Intel 82574L.
    E1000e,
    /// QEMU's VMware paravirtual NIC.
    Vmxnet3,
    /// QEMU's virtio-net-pci.
    VirtioNet,
}

impl Nic {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ixgbe => "ixgbe",
            Self::Igb => "igb",
            Self::E1000e => "e1000e",
            Self::Vmxnet3 => "vmxnet3",
            Self::VirtioNet => "virtio-net",
        }
    }

    /// The guest's module that drives it.
    pub fn module(self) -> &'static str {
        match self {
            Self::VirtioNet => "virtio_net",
            other => other.name(),
        }
    }

    /// QEMU's own device; `None` for ours.
    pub fn qemu_device(self) -> Option<&'static str> {
        match self {
            Self::Ixgbe => None,
            Self::VirtioNet => Some("virtio-net-pci"),
            other => Some(other.name()),
        }
    }
}
