//! What a guest's network device is, and which way its packets go.

use guest_vm::CablePeer;

use crate::binaries::Binaries;
use crate::nic::Nic;
use crate::rig::{Iommu, RigOptions};

/// One way of a guest to the cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// virtio-net, and our stack, which posts the guest's buffers on our NIC's rings.
    ZeroCopy(Split),
    /// virtio-net, and our stack, which copies.
    Copy(Split),
    /// virtio-net on QEMU's tap: the path that a user has today.
    Tap,
    /// Our NIC, driven by the guest.
    Direct,
    /// Our NIC behind an IOMMU that the guest's kernel uses in this way.
    DirectIommu(Iommu),
}

/// Whether the NIC puts headers and payload into different buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// It does.
    On,
    /// It does not.
    Off,
}

impl Split {
    /// In names of figures, and for the stack's command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

impl Machine {
    /// Those of the table of `bench zero-copy`; the first has something to reach.
    pub const STACKS: [Self; 7] = [
        Self::ZeroCopy(Split::Off),
        Self::Copy(Split::Off),
        Self::Tap,
        Self::Direct,
        Self::DirectIommu(Iommu::Strict),
        Self::ZeroCopy(Split::On),
        Self::Copy(Split::On),
    ];

    /// Those of the table of `bench iommu`.
    pub const IOMMUS: [Self; 4] = [
        Self::Direct,
        Self::DirectIommu(Iommu::Passthrough),
        Self::DirectIommu(Iommu::Lazy),
        Self::DirectIommu(Iommu::Strict),
    ];

    /// Whether packets are split. Without our stack they never are.
    pub const fn split(self) -> Split {
        match self {
            Self::ZeroCopy(split) | Self::Copy(split) => split,
            Self::Tap | Self::Direct | Self::DirectIommu(_) => Split::Off,
        }
    }

    /// What the guest drives.
    pub const fn nic(self) -> Nic {
        match self {
            Self::ZeroCopy(_) | Self::Copy(_) | Self::Tap => Nic::VirtioNet,
            Self::Direct | Self::DirectIommu(_) => Nic::Ixgbe,
        }
    }

    /// The guest with it.
    pub fn rig<'a>(self, binaries: &'a Binaries, name: &'a str) -> RigOptions<'a> {
        let (stack, stack_arguments): (_, &[&str]) = match self {
            Self::ZeroCopy(Split::Off) => (Some(&*binaries.stack), &["--rx", "zero-copy"]),
            Self::Copy(Split::Off) => (Some(&*binaries.stack), &["--rx", "copy"]),
            Self::ZeroCopy(Split::On) => (
                Some(&*binaries.stack),
                &["--rx", "zero-copy", "--packet-split", "on"],
            ),
            Self::Copy(Split::On) => (
                Some(&*binaries.stack),
                &["--rx", "copy", "--packet-split", "on"],
            ),
            Self::Tap | Self::Direct | Self::DirectIommu(_) => (None, &[]),
        };
        RigOptions {
            nic: self.nic(),
            server: &binaries.server,
            stack,
            stack_arguments,
            iommu: match self {
                Self::DirectIommu(iommu) => iommu,
                _ => Iommu::None,
            },
            console: guest_vm::ConsoleUse::Log,
            name,
            cpus: 1,
            memory: 512,
        }
    }
}

/// Address of the host that guests talk to.
pub const HOST: &str = CablePeer::ADDRESS;
