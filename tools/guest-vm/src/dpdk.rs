//! DPDK's testpmd for guests, from Debian 13.

use crate::archive::PackageSet;

/// Most libraries come because testpmd is linked with them, not because a guest uses them.
pub(crate) const PACKAGES: PackageSet = PackageSet {
    name: "dpdk",
    suite: "trixie",
    packages: &[
        "coreutils",
        "dpdk-dev",
        "librte-mempool-ring25",
        "librte-net-ixgbe25",
    ],
    without: &[
        "adduser",
        "debconf",
        "init-system-helpers",
        "libdpdk-dev",
        "python3",
        "rdma-core",
        "sse4.2-support",
    ],
};

/// What a guest gets, with the libraries that it is linked with: testpmd, which is linked with the ixgbe PMD; the
/// one driver that it loads while it runs (it looks in a folder named after DPDK's ABI); and what makes its output
/// come line by line where it goes to no terminal.
pub(crate) const FILES: &[&str] = &[
    "usr/bin/dpdk-testpmd",
    "usr/lib/x86_64-linux-gnu/dpdk/pmds-25.0/librte_mempool_ring.so.25.0",
    "usr/libexec/coreutils/libstdbuf.so",
];

/// PMDs for QEMU's own NICs, which testpmd loads while it runs. A set of its own: only benchmarks compare NICs.
pub(crate) const FURTHER_PACKAGES: PackageSet = PackageSet {
    name: "dpdk-pmds",
    suite: "trixie",
    packages: &[
        "librte-net-e1000-25",
        "librte-net-virtio25",
        "librte-net-vmxnet3-25",
    ],
    without: PACKAGES.without,
};

/// What a guest gets of them: e1000 is igb and e1000e.
pub(crate) const FURTHER_FILES: &[&str] = &[
    "usr/lib/x86_64-linux-gnu/dpdk/pmds-25.0/librte_net_e1000.so.25.0",
    "usr/lib/x86_64-linux-gnu/dpdk/pmds-25.0/librte_net_virtio.so.25.0",
    "usr/lib/x86_64-linux-gnu/dpdk/pmds-25.0/librte_net_vmxnet3.so.25.0",
];
