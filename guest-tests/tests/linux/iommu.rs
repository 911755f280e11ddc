//! A guest whose NIC is behind an IOMMU: QEMU maps to the server what the guest maps to the NIC, page by page.
//!
//! The kernel can be told how it uses the IOMMU for a device that no driver has (`iommu_group/type`), so that one
//! machine shows all ways: `DMA`, the pages of a packet are taken back before its owner goes on (`iommu.strict=1`);
//! `DMA-FQ`, some at a time (`iommu.strict=0`, lazy); `identity`, all memory is mapped (`iommu.passthrough=1`).

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use guest_tests::{
    LinuxWorld, World,
    cable::Cable,
    kernel_log,
    linux_world::INTERFACE,
    server::{Far, Server},
    world::Setup,
};
use guest_vm::{Kernel, Lab};

use super::{
    life::HOST,
    machine::{self, BOOT_LIMIT, LIMIT},
    tap::Test,
};

/// With the IOMMU of Intel's chipsets, which has to tell QEMU of new pages too (`caching-mode`).
pub const INTEL: &[Test] = tests![the_nic_reaches_what_intel_iommu_maps_and_nothing_else];
/// With that of virtio, for which Debian 12's kernel has no driver.
pub const VIRTIO: &[Test] = tests![the_nic_reaches_what_virtio_iommu_maps_and_nothing_else];

/// Memory that the kernel leaves alone, `memmap=64K$…`: a ring, and a buffer behind it.
const RESERVED: &str = "0x10000000";
const BUFFER: &str = "0x10001000";
/// A legacy descriptor of 60 bytes with EOP, IFCS and RS (7.2.3.2.2), as it is and with DD set.
const DESCRIPTOR: &str = "0x000000000B00003C";
const DONE: &str = "0x000000010B00003C";
/// The card in the guest.
const DEVICE: &str = "/sys/bus/pci/devices/0000:01:00.0";
const DRIVER: &str = "/sys/bus/pci/drivers/ixgbe";

fn the_nic_reaches_what_intel_iommu_maps_and_nothing_else(kernel: Kernel) -> Result<()> {
    behind("intel-iommu,caching-mode=on", "intel_iommu=on", kernel)
}

fn the_nic_reaches_what_virtio_iommu_maps_and_nothing_else(kernel: Kernel) -> Result<()> {
    behind("virtio-iommu-pci,addr=0x4", "", kernel)
}

fn behind(device: &str, arguments: &str, kernel: Kernel) -> Result<()> {
    let server = Server::start(Far::Host)?;
    let lab = Lab::open(kernel)?;
    let config = lab
        .guest(&format!("test-iommu-{}", kernel.name()))?
        .with_cpus(2)
        .with_boot_limit(BOOT_LIMIT)
        // It has to be there before what is behind it.
        .with_arguments(["-device", device])
        .with_kernel_arguments(&format!("iommu.strict=1 memmap=64K${RESERVED} {arguments}"))
        .with_vfio_user(0, &server.socket());
    let mut world = LinuxWorld::new(lab.boot(&config)?, server)?;
    kernel_log::begin(world.guest(), "loading the driver")?;
    world.watch(|world| {
        machine::load(world)?;
        strict(world).context("strict")?;
        lazy(world).context("lazy")?;
        passthrough(world).context("passthrough")?;
        refused(world).context("what is not mapped")
    })
}

/// What the server counts of the client's memory.
#[derive(Clone, Copy, Debug)]
struct Memory {
    maps: u64,
    unmaps: u64,
    ranges: u64,
    refused: u64,
}

impl Memory {
    fn of(world: &mut LinuxWorld) -> Result<Self> {
        let stats = world.cable().control().stats()?;
        let of = |name: &str| {
            let mut counters = stats.counters.iter();
            let counter = counters.find(|counter| counter.name == name);
            let counter = counter.with_context(|| format!("no {name}"))?;
            Ok::<_, anyhow::Error>(counter.value)
        };
        Ok(Self {
            maps: of("model.dma_maps")?,
            unmaps: of("model.dma_unmaps")?,
            ranges: of("model.dma_ranges")?,
            refused: of("model.dma_refused")?,
        })
    }

    /// What was counted since `before`; ranges are those that are there now.
    fn since(self, before: Self) -> Self {
        Self {
            maps: self.maps - before.maps,
            unmaps: self.unmaps - before.unmaps,
            ranges: self.ranges,
            refused: self.refused - before.refused,
        }
    }
}

/// Takes the card from its driver, changes how the kernel uses the IOMMU for it, and gives it back.
fn use_as(world: &mut LinuxWorld, domain: &str) -> Result<()> {
    world.guest().sh(&format!(
        "set -e; cd {DEVICE}; echo 0000:01:00.0 >{DRIVER}/unbind
         echo {domain} >iommu_group/type; [ \"$(cat iommu_group/type)\" = {domain} ]
         echo 0000:01:00.0 >{DRIVER}/bind"
    ))?;
    machine::load(world)
}

/// Frames both ways, and so many megabytes in packets of a frame's size that a host sends back; returns what the server has counted meanwhile.
fn traffic(world: &mut LinuxWorld, megabytes: u32) -> Result<Memory> {
    world.set_up(&Setup::default())?;
    let before = Memory::of(world)?;
    machine::fifty_frames_each_way(world)?;
    let echo = format!(
        "ip address replace 10.0.2.15/24 dev {INTERFACE}
         ethtool -K {INTERFACE} tso off gso off
         head -c {megabytes}000000 /dev/urandom >/tmp/there
         nc {HOST} 7 </tmp/there >/tmp/back; cmp /tmp/there /tmp/back && echo same"
    );
    let (guest, cable) = world.guest_and_cable();
    // What is seen on the cable is taken at once: the server is not to keep it.
    let done = AtomicBool::new(false);
    let (echo, taken) = thread::scope(|scope| {
        let taking = scope.spawn(|| -> Result<()> {
            while !cable.take(Duration::from_millis(200))?.is_empty()
                || !done.load(Ordering::Relaxed)
            {}
            Ok(())
        });
        let echo = guest.run(&echo, LIMIT);
        done.store(true, Ordering::Relaxed);
        (echo, taking.join())
    });
    ensure!(matches!(taken, Ok(Ok(()))), "the cable: {taken:?}");
    let echo = echo?;
    ensure!(echo.stdout.contains("same"), "{echo:?}");
    let disagreements = world.end_of_tally()?;
    ensure!(
        disagreements.is_empty(),
        "counters differ: {}",
        disagreements.join("; ")
    );
    let counted = Memory::of(world)?.since(before);
    ensure!(counted.refused == 0, "{counted:?}");
    Ok(counted)
}

fn strict(world: &mut LinuxWorld) -> Result<()> {
    let domain = world
        .guest()
        .sh(&format!("cat {DEVICE}/iommu_group/type"))?;
    ensure!(domain.trim() == "DMA", "the card's domain is {domain}");
    // Buffers have grown to what they need.
    traffic(world, 3)?;
    let held = |world: &mut LinuxWorld| -> Result<_> {
        let nic = world.server().nic();
        Ok((nic.own_memory()?, nic.descriptors()?))
    };
    let (memory, descriptors) = held(world)?;

    let counted = traffic(world, 3)?;

    // A page at a time for each packet, and a ring's worth of pages between packets.
    ensure!(
        counted.maps > 2000 && counted.unmaps > 1000 && counted.ranges > 256,
        "{counted:?}"
    );
    let now = held(world)?;
    // A mapping or a page that is left over for each packet would be four times as much.
    ensure!(
        now.1 <= descriptors && now.0 < memory + (4 << 20),
        "after {counted:?} the server has {now:?} bytes and descriptors; before, {memory} and {descriptors}"
    );
    Ok(())
}

fn lazy(world: &mut LinuxWorld) -> Result<()> {
    use_as(world, "DMA-FQ")?;
    let counted = traffic(world, 1)?;
    ensure!(counted.maps > 500 && counted.ranges > 256, "{counted:?}");
    Ok(())
}

fn passthrough(world: &mut LinuxWorld) -> Result<()> {
    use_as(world, "identity")?;
    let counted = traffic(world, 1)?;
    ensure!(
        counted.maps + counted.unmaps < 100 && counted.ranges < 64,
        "{counted:?}"
    );
    Ok(())
}

/// What the card did with a descriptor to send at an address.
#[derive(Debug, PartialEq, Eq)]
struct Attempt {
    /// The reserved memory, where the descriptor is.
    descriptor: String,
    /// Whether the card told of an error of the bus: by a cause (EICR.PCI) and in configuration space (received
    /// master abort).
    told: [bool; 2],
    /// Where the card is in its ring.
    head: u64,
}

fn number(text: &str) -> Result<u64> {
    let digits = text.trim_start_matches("0x");
    u64::from_str_radix(digits, 16).with_context(|| format!("no number: {text}"))
}

/// Lets the card, which no driver has, send a descriptor of a ring at `ring`.
fn attempt(world: &mut LinuxWorld, ring: &str) -> Result<Attempt> {
    // After a reset: DMATXCTL.TE, the ring, TXDCTL.ENABLE, and its tail.
    let said = world.guest().sh(&format!(
        "set -e; cd {DEVICE}; bar=$(head -n 1 resource | cut -d ' ' -f 1)
         register() {{ at=$(printf 0x%x $((bar + $1))); shift; devmem $at 32 $*; }}
         devmem {RESERVED} 64 {BUFFER}; devmem $(({RESERVED} + 8)) 64 {DESCRIPTOR}
         setpci -s 01:00.0 COMMAND=6:6 STATUS=f900:f900
         register 0 0x04000000; register 0x4a80 1
         register 0x6000 {ring}; register 0x6004 0; register 0x6008 128
         register 0x6028 0x02000000; register 0x6018 1
         echo $(devmem $(({RESERVED} + 8)) 64) $(register 0x800) $(setpci -s 01:00.0 STATUS) $(register 0x6010)
         setpci -s 01:00.0 COMMAND=0:6"
    ))?;
    let words: Vec<&str> = said.split_whitespace().collect();
    let [descriptor, cause, status, head] = words[..] else {
        anyhow::bail!("the guest says {said:?}");
    };
    Ok(Attempt {
        descriptor: descriptor.to_owned(),
        told: [
            number(cause)? & 1 << 18 != 0,
            number(status)? & 1 << 13 != 0,
        ],
        head: number(head)?,
    })
}

/// The same ring is no memory for the card under the IOMMU, and memory without it.
fn refused(world: &mut LinuxWorld) -> Result<()> {
    let unbind = format!("echo 0000:01:00.0 >{DRIVER}/unbind");
    world.guest().sh(&unbind)?;
    let sent = attempt_as(world, "identity", RESERVED)?;
    let expected = Attempt {
        descriptor: DONE.to_owned(),
        told: [false; 2],
        head: 1,
    };
    ensure!(sent == expected, "of all memory: {sent:?}");

    // What the driver had, and what nobody has ever mapped.
    world.guest().sh(&format!(
        "set -e; echo DMA >{DEVICE}/iommu_group/type; echo 0000:01:00.0 >{DRIVER}/bind"
    ))?;
    machine::load(world)?;
    let registers = world.guest().sh(&format!("ethtool -d {INTERFACE}"))?;
    let ring = registers.lines().find(|line| line.contains("RDBAL00"));
    let ring = ring.and_then(|line| line.split_whitespace().next_back());
    let ring = ring.context("no RDBAL00")?.to_owned();
    ensure!(number(&ring)? != 0, "the driver has no ring");
    world.guest().sh(&unbind)?;
    let before = Memory::of(world)?;
    for place in [RESERVED, &ring] {
        let refused = attempt_as(world, "DMA", place)?;
        let expected = Attempt {
            descriptor: DESCRIPTOR.to_owned(),
            told: [true; 2],
            head: 0,
        };
        ensure!(refused == expected, "at {place}: {refused:?}");
    }
    let counted = Memory::of(world)?.since(before);
    ensure!(counted.refused == 2 && counted.ranges < 16, "{counted:?}");

    world
        .guest()
        .sh(&format!("echo 0000:01:00.0 >{DRIVER}/bind"))?;
    machine::load(world)?;
    traffic(world, 1)?;
    Ok(())
}

fn attempt_as(world: &mut LinuxWorld, domain: &str, ring: &str) -> Result<Attempt> {
    world.guest().sh(&format!(
        "cd {DEVICE}/iommu_group; echo {domain} >type; [ \"$(cat type)\" = {domain} ]"
    ))?;
    attempt(world, ring)
}
