//! The steps against a reference that asks of each pool by itself whether the frame is its own.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Addresses that frames go to: two that registers can hold, one that none holds, two groups, and broadcast.
const ADDRESSES: [[u8; 6]; 6] = [
    [2, 0, 0, 0, 0, 1],
    [2, 0, 0, 0, 0, 2],
    [2, 0, 0, 0, 0x30, 3],
    [1, 0, 0x5E, 0, 0, 1],
    [1, 0, 0x5E, 0, 0x50, 2],
    [0xFF; 6],
];

/// Pools that take part: their numbers are on both sides of each border.
const POOLS: [u8; 5] = [0, 1, 15, 31, 63];

type Pools = BTreeSet<u8>;

/// What a pool accepts besides its addresses.
#[derive(Clone, Copy, Debug, Default)]
struct Accepts {
    untagged: bool,
    multicast_hash: bool,
    unicast_hash: bool,
    broadcast: bool,
    all_multicasts: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rule {
    of_pool: Option<u8>,
    of_vlan_entry: Option<usize>,
    from_network: bool,
    to_network: bool,
    to: u8,
}

/// What a driver wants, before it is written into registers.
#[derive(Clone, Debug)]
struct Wishes {
    replication: bool,
    default_pool: Option<u8>,
    /// For each of [`ADDRESSES`]: the pools of a receive address register.
    exact: [Option<Pools>; 6],
    /// Whether the hash tables have the address.
    hashed: [bool; 6],
    multicast_table: bool,
    accepts: [Accepts; 5],
    vlan_filter: bool,
    /// VLAN and pools of the entries of VLVF.
    vlans: [(u16, Pools); 3],
    receives: Pools,
    loops_to_itself: Pools,
    rules: [Rule; 4],
}

impl Wishes {
    /// As drivers write it.
    fn registers(&self) -> RegisterFile {
        let mut regs = RegisterFile::default();
        let default = self
            .default_pool
            .map_or(1 << 29, |pool| u32::from(pool) << 7);
        regs.set(
            Reg::VT_CTL,
            0,
            1 | default | u32::from(self.replication) << 30,
        );
        regs.set(Reg::MRQC, 0, 8);
        regs.set(Reg::MCSTCTRL, 0, if self.multicast_table { 4 } else { 0 });
        regs.set(Reg::VLNCTRL, 0, 0x8100 | u32::from(self.vlan_filter) << 30);
        for (n, mac) in ADDRESSES.iter().enumerate() {
            if let Some(pools) = &self.exact[n] {
                let n = 17 * n;
                regs.set(
                    Reg::RAL,
                    n,
                    u32::from_le_bytes([mac[0], mac[1], mac[2], mac[3]]),
                );
                let high = u32::from(mac[4]) | u32::from(mac[5]) << 8;
                regs.set(Reg::RAH, n, 1 << 31 | high);
                set_pair(&mut regs, Reg::MPSAR, n, pools);
            }
            if self.hashed[n] {
                // Linux `ixgbe_mta_vector` for filter type 0.
                let vector = (u32::from(mac[4]) >> 4 | u32::from(mac[5]) << 4) & 0xFFF;
                let table = if mac[0] & 1 == 1 {
                    Reg::MTA
                } else {
                    Reg::PFUTA
                };
                let row = (vector >> 5) as usize;
                regs.set(table, row, regs.get(table, row) | 1 << (vector & 31));
            }
        }
        for (pool, accepts) in POOLS.iter().zip(&self.accepts) {
            let bits = u32::from(accepts.untagged) << 24
                | u32::from(accepts.multicast_hash) << 25
                | u32::from(accepts.unicast_hash) << 26
                | u32::from(accepts.broadcast) << 27
                | u32::from(accepts.all_multicasts) << 28;
            regs.set(Reg::VMOLR, usize::from(*pool), bits);
        }
        for (n, (vlan, pools)) in self.vlans.iter().enumerate() {
            regs.set(Reg::VLVF, 20 * n + 1, 1 << 31 | u32::from(*vlan));
            set_pair(&mut regs, Reg::VLVFB, 20 * n + 1, pools);
        }
        set_pair(&mut regs, Reg::PFVFRE, 0, &self.receives);
        set_pair(&mut regs, Reg::VMTXSW, 0, &self.loops_to_itself);
        for (n, rule) in self.rules.iter().enumerate() {
            let control = u32::from(rule.of_pool.is_some())
                | u32::from(rule.from_network) << 1
                | u32::from(rule.to_network) << 2
                | u32::from(rule.of_vlan_entry.is_some()) << 3
                | u32::from(rule.to) << 8;
            regs.set(Reg::MRCTL, n, control);
            if let Some(pool) = rule.of_pool {
                set_word(&mut regs, Reg::VMRVM, n, pool.into());
            }
            if let Some(entry) = rule.of_vlan_entry {
                set_word(&mut regs, Reg::VMRVLAN, n, 20 * entry + 1);
            }
        }
        regs
    }

    /// Whether the frame has a place in the VLANs of `pool`.
    fn in_vlan(&self, pool: u8, vlan: Option<u16>) -> bool {
        !self.vlan_filter
            || match vlan {
                Some(id) => self
                    .vlans
                    .iter()
                    .any(|(of, pools)| *of == id && pools.contains(&pool)),
                None => self.accepts(pool).untagged,
            }
    }

    fn accepts(&self, pool: u8) -> Accepts {
        let place = POOLS.iter().position(|other| *other == pool);
        place.map_or(Accepts::default(), |place| self.accepts[place])
    }

    /// Whether `pool` is among those of a receive address register.
    fn owns(&self, pool: u8, address: usize) -> bool {
        self.exact[address]
            .as_ref()
            .is_some_and(|pools| pools.contains(&pool))
    }

    fn somebody_owns(&self, address: usize) -> bool {
        POOLS.iter().any(|pool| self.owns(*pool, address))
    }

    /// Whether `pool` wants frames for the address.
    fn wants(&self, pool: u8, address: usize) -> bool {
        let accepts = self.accepts(pool);
        let nobodys = !self.somebody_owns(address);
        let mac = ADDRESSES[address];
        let group = mac[0] & 1 == 1;
        self.owns(pool, address)
            || mac == [0xFF; 6] && self.replication && accepts.broadcast
            || !group && nobodys && self.hashed[address] && accepts.unicast_hash
            || group
                && mac != [0xFF; 6]
                && self.replication
                && (accepts.all_multicasts
                    || nobodys
                        && self.multicast_table
                        && self.hashed[address]
                        && accepts.multicast_hash)
    }

    fn mirrors(&self, vlan: Option<u16>, pools: &Pools, network: [bool; 2]) -> Pools {
        let [from, to] = network;
        self.rules
            .iter()
            .filter(|rule| {
                rule.of_pool.is_some_and(|pool| pools.contains(&pool))
                    || rule
                        .of_vlan_entry
                        .is_some_and(|entry| vlan == Some(self.vlans[entry].0))
                    || rule.from_network && from && !pools.is_empty()
                    || rule.to_network && to
            })
            .map(|rule| rule.to)
            .collect()
    }

    /// Those of `pools` and of its mirrors that receive.
    fn delivered(&self, pools: &Pools, vlan: Option<u16>, network: [bool; 2]) -> Pools {
        let mut pools = pools & &self.receives;
        if self.replication {
            pools = &pools | &(&self.mirrors(vlan, &pools, network) & &self.receives);
        } else {
            pools = pools.first().copied().into_iter().collect();
        }
        pools
    }

    fn of_network(&self, address: usize, vlan: Option<u16>, ethertype: Option<u8>) -> Pools {
        let group = ADDRESSES[address][0] & 1 == 1;
        let wanted = POOLS.iter().any(|pool| self.wants(*pool, address));
        let mut pools: Pools = POOLS
            .into_iter()
            .filter(|pool| self.wants(*pool, address) && self.in_vlan(*pool, vlan))
            .collect();
        if pools.is_empty() {
            pools.extend(self.default_pool);
        }
        if group && !self.replication && !wanted {
            pools = Pools::from([self.default_pool.unwrap_or(0)]);
        }
        if let Some(pool) = ethertype {
            pools = Pools::from([pool]);
        }
        self.delivered(&pools, vlan, [true, false])
    }

    fn of_pool(&self, source: u8, address: usize, vlan: Option<u16>) -> (Pools, bool) {
        let group = ADDRESSES[address][0] & 1 == 1;
        let wanted = POOLS.iter().any(|pool| self.wants(*pool, address));
        let default = if self.replication {
            self.default_pool
        } else {
            Some(self.default_pool.unwrap_or(0))
        };
        let pools: Pools = (0..64)
            .filter(|pool| self.wants(*pool, address) || group && !wanted && default == Some(*pool))
            .filter(|pool| *pool != source || self.loops_to_itself.contains(pool))
            .filter(|pool| self.in_vlan(*pool, vlan))
            .collect();
        let network = group || self.exact[address].is_none();
        let pools = self.delivered(&pools, vlan, [false, network]);
        (pools, network)
    }
}

fn set_pair(regs: &mut RegisterFile, reg: Reg, n: usize, pools: &Pools) {
    let word = |high: bool| {
        pools
            .iter()
            .filter(|pool| (**pool >= 32) == high)
            .fold(0, |word, pool| word | 1 << (pool % 32))
    };
    regs.set(reg, 2 * n, word(false));
    regs.set(reg, 2 * n + 1, word(true));
}

/// DPDK: the low word of mirror rule `n` is element `n`, the high one element `n` + 4.
fn set_word(regs: &mut RegisterFile, reg: Reg, n: usize, bit: usize) {
    regs.set(reg, n + 4 * (bit / 32), 1 << (bit % 32));
}

fn pools() -> impl Strategy<Value = Pools> {
    proptest::sample::subsequence(POOLS.to_vec(), 0..=5)
        .prop_map(|pools| pools.into_iter().collect())
}

fn pool() -> impl Strategy<Value = u8> {
    proptest::sample::select(POOLS.to_vec())
}

fn accepts() -> impl Strategy<Value = Accepts> {
    any::<[bool; 5]>().prop_map(|bits| Accepts {
        untagged: bits[0],
        multicast_hash: bits[1],
        unicast_hash: bits[2],
        broadcast: bits[3],
        all_multicasts: bits[4],
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let seldom = || proptest::bool::weighted(0.2);
    (
        proptest::option::weighted(0.2, pool()),
        proptest::option::weighted(0.2, 0..3usize),
        seldom(),
        seldom(),
        pool(),
    )
        .prop_map(
            |(of_pool, of_vlan_entry, from_network, to_network, to)| Rule {
                of_pool,
                of_vlan_entry,
                from_network,
                to_network,
                to,
            },
        )
}

fn wishes() -> impl Strategy<Value = Wishes> {
    let exact = proptest::array::uniform6(proptest::option::of(pools()));
    let vlans = (pools(), pools(), pools()).prop_map(|(a, b, c)| [(5, a), (4094, b), (5, c)]);
    let receives = prop_oneof![Just(Pools::from(POOLS)), pools()];
    (
        any::<(bool, bool, bool, [bool; 6])>(),
        proptest::option::of(pool()),
        exact,
        proptest::array::uniform5(accepts()),
        vlans,
        (receives, pools()),
        proptest::array::uniform4(rule()),
    )
        .prop_map(
            |(bits, default_pool, exact, accepts, vlans, (receives, loops_to_itself), rules)| {
                let (replication, multicast_table, vlan_filter, hashed) = bits;
                Wishes {
                    replication,
                    default_pool,
                    exact,
                    hashed,
                    multicast_table,
                    accepts,
                    vlan_filter,
                    vlans,
                    receives,
                    loops_to_itself,
                    rules,
                }
            },
        )
}

fn vlan() -> impl Strategy<Value = Option<u16>> {
    prop_oneof![Just(None), Just(Some(5)), Just(Some(4094)), Just(Some(6))]
}

fn frame(address: usize, vlan: Option<u16>, ethertype: Option<u8>) -> Frame {
    Frame {
        mac: Mac::new(ADDRESSES[address]),
        tag: vlan.and_then(|id| Tag::new(12, 0xE000 | id)),
        ethertype,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_frame_from_the_network_goes_to_the_pools_that_want_it(
        wishes in wishes(),
        address in 0..6usize,
        vlan in vlan(),
        ethertype in proptest::option::weighted(0.1, pool()),
    ) {
        let regs = wishes.registers();
        let existing = pool::in_force(&regs).unwrap();

        let selected = from_network(&frame(address, vlan, ethertype), existing, &regs);

        let expected = wishes.of_network(address, vlan, ethertype);
        prop_assert_eq!(selected.iter().collect::<Pools>(), expected);
    }

    #[test]
    fn a_frame_of_a_pool_goes_to_the_others_that_want_it_and_to_the_network_unless_its_address_is_inside(
        wishes in wishes(),
        address in 0..6usize,
        vlan in vlan(),
        source in pool(),
    ) {
        let regs = wishes.registers();
        let existing = pool::in_force(&regs).unwrap();

        let targets = from_pool(&frame(address, vlan, None), source, existing, &regs);

        let (pools, network) = wishes.of_pool(source, address, vlan);
        prop_assert_eq!(targets.pools.iter().collect::<Pools>(), pools);
        prop_assert_eq!(targets.network, network);
    }
}

#[test]
fn pools_that_the_mode_does_not_have_get_nothing() {
    let mut regs = RegisterFile::default();
    regs.set(Reg::VT_CTL, 0, 1 | 1 << 30);
    regs.set(Reg::RAL, 3, u32::from_le_bytes([2, 0, 0, 0]));
    regs.set(Reg::RAH, 3, 1 << 31 | 0x0100);
    regs.set(Reg::MPSAR, 6, 1 << 16 | 1 << 15);
    regs.set(Reg::MPSAR, 7, 1);
    regs.set(Reg::PFVFRE, 0, u32::MAX);
    regs.set(Reg::PFVFRE, 1, u32::MAX);
    let mut pools = |mrqc| {
        regs.set(Reg::MRQC, 0, mrqc);
        let existing = pool::in_force(&regs).unwrap();
        from_network(&frame(0, None, None), existing, &regs)
            .iter()
            .collect::<Vec<_>>()
    };

    assert_eq!(pools(0xB), [15, 16, 32]);
    assert_eq!(pools(0xA), [15, 16]);
    assert_eq!(pools(0xC), [15]);
}
