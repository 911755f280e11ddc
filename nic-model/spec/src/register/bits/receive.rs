//! Receive: filters, queues, checksums, Flow Director (8.2.3.7, 8.2.3.8, 8.2.3.21).

/// Filter Control (8.2.3.7.1).
pub mod fctrl {
    /// Frames with an error are stored.
    pub const SBP: u32 = 1 << 1;
    /// Every multicast frame passes.
    pub const MPE: u32 = 1 << 8;
    /// Every unicast frame passes.
    pub const UPE: u32 = 1 << 9;
    /// Broadcast frames pass.
    pub const BAM: u32 = 1 << 10;
}

/// VLAN Control (8.2.3.7).
pub mod vlnctrl {
    /// Ethertype of a tag.
    pub const VET: u32 = 0xFFFF;
    /// Canonical form indicator that is compared.
    pub const CFI: u32 = 1 << 28;
    /// The canonical form indicator is compared.
    pub const CFIEN: u32 = 1 << 29;
    /// Only the VLANs of the filter table pass.
    pub const VFE: u32 = 1 << 30;
}

/// Multicast Control (8.2.3.7).
pub mod mcstctrl {
    /// Which bits of the address select the bit of the table.
    pub const MO: u32 = 3;
    /// The multicast table is in force.
    pub const MFE: u32 = 1 << 2;
}

/// Receive Address High (8.2.3.7).
pub mod rah {
    /// Bytes 4 and 5 of the address.
    pub const ADDRESS: u32 = 0xFFFF;
    /// The address counts.
    pub const AV: u32 = 1 << 31;
}

/// MAC Flow Control (8.2.3.22).
pub mod mflcn {
    /// MAC control frames other than PAUSE go to the filters.
    pub const PMCF: u32 = 1 << 0;
    /// PAUSE frames end in the MAC.
    pub const DPF: u32 = 1 << 1;
    /// Priority flow control frames are obeyed.
    pub const RPFCE: u32 = 1 << 2;
    /// PAUSE frames are obeyed.
    pub const RFCE: u32 = 1 << 3;
}

/// Ethertype Queue Filter (8.2.3.7).
pub mod etqf {
    /// Ethertype.
    pub const ETYPE: u32 = 0xFFFF;
    /// Place of the user priority, 3 bits.
    pub const UP_SHIFT: u32 = 16;
    /// The user priority is compared.
    pub const UP_EN: u32 = 1 << 19;
    /// Place of the pool, 6 bits.
    pub const POOL_SHIFT: u32 = 20;
    /// The filter chooses the pool, if it chooses the queue.
    pub const POOL_EN: u32 = 1 << 26;
    /// The frames are `FCoE` frames.
    pub const FCOE: u32 = 1 << 27;
    /// PTP messages are time stamped.
    pub const IEEE_1588: u32 = 1 << 30;
    /// The filter is in force.
    pub const FILTER_EN: u32 = 1 << 31;
}

/// Ethertype Queue Select (8.2.3.7).
pub mod etqs {
    /// Place of the queue, 7 bits.
    pub const QUEUE_SHIFT: u32 = 16;
    /// Low latency interrupt.
    pub const LLI: u32 = 1 << 29;
    /// The filter chooses the queue.
    pub const QUEUE_EN: u32 = 1 << 31;
}

/// SYN Packet Queue Filter (8.2.3.7).
pub mod synqf {
    /// The filter is in force.
    pub const ENABLE: u32 = 1 << 0;
    /// Place of the queue, 7 bits.
    pub const QUEUE_SHIFT: u32 = 1;
    /// The filter is stronger than the 5-tuple filters.
    pub const PRIORITY: u32 = 1 << 31;
}

/// Five Tuple Queue Filter (8.2.3.7).
pub mod ftqf {
    /// Protocol: 0 TCP, 1 UDP, 2 SCTP, 3 another.
    pub const PROTOCOL: u32 = 3;
    /// Place of the priority, 3 bits, 7 the strongest.
    pub const PRIORITY_SHIFT: u32 = 2;
    /// Place of the pool, 6 bits.
    pub const POOL_SHIFT: u32 = 8;
    /// Place of five mask bits; one that is set says that its field is not compared: source and destination address,
    /// source and destination port, protocol.
    pub const MASK_SHIFT: u32 = 25;
    /// The pool is not compared.
    pub const POOL_MASK: u32 = 1 << 30;
    /// The filter is in force.
    pub const ENABLE: u32 = 1 << 31;
}

/// L3 L4 Tuples Immediate Interrupt Rx (8.2.3.7): what a 5-tuple filter does.
pub mod l34t_imir {
    /// The low latency interrupt does not depend on the frame's size (LLITHRESH).
    pub const SIZE_BP: u32 = 1 << 12;
    /// Low latency interrupt.
    pub const LLI: u32 = 1 << 20;
    /// Place of the queue, 7 bits.
    pub const QUEUE_SHIFT: u32 = 21;
}

/// Low Latency Interrupt Threshold (8.2.3.5).
pub mod llithresh {
    /// Frames with fewer bytes are urgent.
    pub const SIZE: u32 = 0xFFF;
}

/// Immediate Interrupt Rx VLAN Priority (8.2.3.5).
pub mod imirvp {
    /// Least user priority of a frame that is urgent.
    pub const PRIORITY: u32 = 7;
    /// The priority is looked at.
    pub const ENABLE: u32 = 1 << 3;
}

/// Multiple Receive Queues Command (8.2.3.7): the fields that are hashed.
pub mod mrqc {
    /// How the queue is composed.
    pub const MRQE: u32 = 0xF;
    /// TCP over IPv4.
    pub const TCP_IPV4: u32 = 1 << 16;
    /// IPv4.
    pub const IPV4: u32 = 1 << 17;
    /// TCP over IPv6 with extension headers.
    pub const TCP_IPV6_EX: u32 = 1 << 18;
    /// IPv6 with extension headers.
    pub const IPV6_EX: u32 = 1 << 19;
    /// IPv6.
    pub const IPV6: u32 = 1 << 20;
    /// TCP over IPv6.
    pub const TCP_IPV6: u32 = 1 << 21;
    /// UDP over IPv4.
    pub const UDP_IPV4: u32 = 1 << 22;
    /// UDP over IPv6.
    pub const UDP_IPV6: u32 = 1 << 23;
    /// UDP over IPv6 with extension headers.
    pub const UDP_IPV6_EX: u32 = 1 << 24;
}

/// Receive Control (8.2.3.8).
pub mod rxctrl {
    /// Receive enable.
    pub const RXEN: u32 = 1 << 0;
}

/// Receive Checksum Control (8.2.3.7).
pub mod rxcsum {
    /// The sum over the IP payload of fragments is computed.
    pub const IPPCSE: u32 = 1 << 12;
    /// The RSS hash takes the place of the fragment checksum.
    pub const PCSD: u32 = 1 << 13;
}

/// Receive Filter Control (8.2.3.7): what is not parsed.
pub mod rfctl {
    /// Segments are not coalesced.
    pub const RSC_DIS: u32 = 1 << 5;
    /// NFS calls.
    pub const NFSW_DIS: u32 = 1 << 6;
    /// IPv6.
    pub const IPV6_DIS: u32 = 1 << 10;
    /// L4 checksums over IPv6.
    pub const IPV6_XSUM_DIS: u32 = 1 << 11;
    /// IPv6 extension headers.
    pub const IPV6_EX_DIS: u32 = 1 << 16;
}

/// Packet Split Receive Type (8.2.3.7): after which headers a packet may be split.
pub mod psrtype {
    /// TCP.
    pub const TCP: u32 = 1 << 4;
    /// UDP.
    pub const UDP: u32 = 1 << 5;
    /// IPv4.
    pub const IPV4: u32 = 1 << 8;
    /// IPv6.
    pub const IPV6: u32 = 1 << 9;
    /// Ethernet and tags.
    pub const L2: u32 = 1 << 12;
    /// Place of the number of queues of the pool, 3 bits: 0 one, 1 two, 2 four.
    pub const RQPL_SHIFT: u32 = 29;
}

/// Split Receive Control (8.2.3.8.7).
pub mod srrctl {
    /// Packet buffer in KB.
    pub const BSIZEPACKET: u32 = 0x1F;
    /// Place of the header buffer's size, 6 bits, in units of 64 bytes.
    pub const BSIZEHEADER_SHIFT: u32 = 8;
    /// Place of the descriptor minimum threshold, 3 bits, in units of 64 descriptors.
    pub const RDMTS_SHIFT: u32 = 22;
    /// Place of the descriptor type, 3 bits.
    pub const DESCTYPE_SHIFT: u32 = 25;
    /// Packets that find no descriptor are dropped.
    pub const DROP_EN: u32 = 1 << 28;
}

/// Receive Descriptor Control (8.2.3.8.6).
pub mod rxdctl {
    /// Longest packet in bytes.
    pub const RLPML: u32 = 0x3FFF;
    /// The longest packet is in force.
    pub const RLPML_EN: u32 = 1 << 15;
    /// The queue is enabled.
    pub const ENABLE: u32 = 1 << 25;
    /// VLAN tags are stripped.
    pub const VME: u32 = 1 << 30;
}

/// RSC Control (8.2.3.8.13).
pub mod rscctl {
    /// Segments are coalesced.
    pub const RSCEN: u32 = 1 << 0;
    /// Place of the number of descriptors of a large receive, 2 bits: 1, 4, 8 or 16 at most.
    pub const MAXDESC_SHIFT: u32 = 2;
}

/// RSC Data Buffer Control (8.2.3.8).
pub mod rscdbu {
    /// Segments without payload are not coalesced.
    pub const RSCACKDIS: u32 = 1 << 7;
}

/// Receive DMA Control (8.2.3.8.8).
pub mod rdrxctl {
    /// Place of the least size of a packet that opens a large receive, 5 bits, in units of 16 bytes.
    pub const RSCFRSTSIZE_SHIFT: u32 = 17;
    /// A large receive ends when the ACK flag changes.
    pub const RSCACKC: u32 = 1 << 25;
}

/// RSC Enable Interrupt (8.2.3.5).
pub mod rscint {
    /// Queues of this vector may coalesce.
    pub const RSCEN: u32 = 1 << 0;
}

/// Queue Drop Enable (8.2.3.8).
pub mod qde {
    /// Packets that find no descriptor are dropped.
    pub const ENABLE: u32 = 1 << 0;
    /// The VLAN tag is kept from the descriptor.
    pub const HIDE_VLAN: u32 = 1 << 1;
    /// Place of the queue, 7 bits.
    pub const QUEUE_SHIFT: u32 = 8;
    /// The bits are set for the queue.
    pub const WRITE: u32 = 1 << 16;
    /// The queue's bits are read.
    pub const READ: u32 = 1 << 17;
}

/// Rx DMA Statistic Counter Control (8.2.3.23).
pub mod rxdstatctrl {
    /// Statistics index of the queues that are counted.
    pub const QSEL: u32 = 0x1F;
    /// The bit of QSEL that selects all queues.
    pub const ALL: u32 = 0x10;
}

/// Flow Director Filters Control (8.2.3.21).
pub mod fdirctrl {
    /// Memory for filters: 0 none, 1 64 KB, 2 128 KB, 3 256 KB.
    pub const PBALLOC: u32 = 3;
    /// The initialisation is complete.
    pub const INIT_DONE: u32 = 1 << 3;
    /// Perfect match filters instead of signature filters.
    pub const PERFECT_MATCH: u32 = 1 << 4;
    /// Matches are reported in the descriptor.
    pub const REPORT_STATUS: u32 = 1 << 5;
    /// Misses are reported, too.
    pub const REPORT_STATUS_ALWAYS: u32 = 1 << 7;
    /// Place of the drop queue, 7 bits.
    pub const DROP_Q_SHIFT: u32 = 8;
    /// Place of the flexible bytes' offset, 5 bits, in words.
    pub const FLEX_SHIFT: u32 = 16;
    /// Place of the chain length that is reported, 4 bits, in units of 2.
    pub const MAX_LENGTH_SHIFT: u32 = 24;
    /// Place of the threshold of free filters, 4 bits, in units of 16.
    pub const FULL_THRESH_SHIFT: u32 = 28;
}

/// Flow Director Filters Command (8.2.3.21).
pub mod fdircmd {
    /// The command; reads 0 when it is complete.
    pub const CMD: u32 = 3;
    /// Command: add a filter.
    pub const CMD_ADD: u32 = 1;
    /// Command: remove a filter.
    pub const CMD_REMOVE: u32 = 2;
    /// Command: query a filter.
    pub const CMD_QUERY: u32 = 3;
    /// The filter that was asked for is there.
    pub const FILTER_VALID: u32 = 1 << 2;
    /// An old filter is overwritten.
    pub const FILTER_UPDATE: u32 = 1 << 3;
    /// Place of the flow type, 3 bits: L4 protocol (1 UDP, 2 TCP, 3 SCTP), and 4 for IPv6.
    pub const FLOW_TYPE_SHIFT: u32 = 5;
    /// All filters are removed.
    pub const CLEARHT: u32 = 1 << 8;
    /// Packets go to the drop queue.
    pub const DROP: u32 = 1 << 9;
    /// Packets interrupt at once.
    pub const INT: u32 = 1 << 10;
    /// Another filter with this hash was refused.
    pub const COLLISION: u32 = 1 << 12;
    /// The filter chooses the queue.
    pub const QUEUE_EN: u32 = 1 << 15;
    /// Place of the queue, 7 bits.
    pub const QUEUE_SHIFT: u32 = 16;
    /// Place of the pool, 7 bits.
    pub const POOL_SHIFT: u32 = 24;
}

/// Flow Director Filters Hash Signature (8.2.3.21).
pub mod fdirhash {
    /// The bucket holds a filter.
    pub const BUCKET_VALID: u32 = 1 << 15;
}

/// Flow Director Filters Other Mask (8.2.3.21): fields that are not compared.
pub mod fdirm {
    /// VLAN id.
    pub const VLAN_ID: u32 = 1 << 0;
    /// VLAN priority.
    pub const VLAN_PRIORITY: u32 = 1 << 1;
    /// VM pool.
    pub const POOL: u32 = 1 << 2;
    /// L4 protocol.
    pub const L4P: u32 = 1 << 3;
    /// Flexible bytes.
    pub const FLEX: u32 = 1 << 4;
    /// Destination IPv6 address.
    pub const DIPV6: u32 = 1 << 5;
    /// L3 protocol.
    pub const L3P: u32 = 1 << 6;
}

/// Receive packet buffer access control (8.2.3.26); its format is that of this model.
pub mod rxbufctrl {
    /// Line of 16 bytes.
    pub const LINE: u32 = 0x7FFF;
    /// Place of the packet buffer's number.
    pub const BUFFER_SHIFT: u32 = 16;
    /// The packet buffer's number, once it is shifted down.
    pub const BUFFER_MASK: u32 = 7;
}
