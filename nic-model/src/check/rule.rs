//! The rules, one row each.

/// How bad a breach is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It works on this card and today; on another board, kernel or load it may not.
    Warning,
    /// Frames or memory are lost or overwritten, or the card does something that nobody has promised.
    Error,
}

impl Severity {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

macro_rules! rules {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident $name:literal $severity:ident $section:literal;
    )*) => {
        /// Something that the datasheet asks of a driver.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl Rule {
            /// Every rule, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// How bad a breach is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// Sections of the datasheet that ask for it.
            #[must_use]
            pub const fn section(self) -> &'static str {
                match self { $(Self::$variant => $section,)* }
            }

            /// What a breach is.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)* }
            }
        }
    };
}

rules! {
    // Rings.
    /// RDBAL or TDBAL is not a multiple of 128.
    RingBaseMisaligned "ring-base-misaligned" Error "8.2.3.8.1, 8.2.3.9.5";
    /// RDLEN or TDLEN is not a multiple of 128, is too long, or is 0 when the queue is enabled.
    RingLengthIllegal "ring-length-illegal" Error "8.2.3.8.3, 8.2.3.9.7";
    /// Base, length or head of a ring, or size or type of its buffers, changes while the queue is enabled.
    RingChangedWhileEnabled "ring-changed-while-enabled" Error "4.6.7, 4.6.8";
    /// The tail points at or past the end of the ring.
    TailPastRing "tail-past-ring" Error "8.2.3.8.5, 8.2.3.9.9";
    /// The tail is moved over the head: descriptors that the card has not done are handed over once more.
    TailOverOwned "tail-over-owned" Error "7.1.9, 7.2.3.4";
    /// The tail is written after the enable bit was set and before RXDCTL or TXDCTL was read with it.
    TailBeforeEnabled "tail-before-enabled" Warning "4.6.7, 4.6.8";
    /// Descriptors are handed over while the function must not master the bus.
    TailWithoutBusMaster "tail-without-bus-master" Error "9.3.3";
    /// The card is refused a descriptor ring: it does not lie in memory that is mapped for it.
    RingUnmapped "ring-unmapped" Error "7.1.9, 7.2.3.4";

    // Buffers.
    /// The card is refused a buffer: it does not lie in memory that is mapped for it.
    BufferUnmapped "buffer-unmapped" Error "7.1.5, 7.2.3.2";
    /// A receive buffer overlaps one that the card already has: a page is posted twice.
    BufferPostedTwice "buffer-posted-twice" Error "7.1.5, 7.1.6.1";
    /// A buffer is posted for receive and to be sent at the same time.
    BufferPostedWhileSent "buffer-posted-while-sent" Error "7.1.5, 7.2.3.2";
    /// A receive buffer overlaps a descriptor ring that the card uses.
    BufferOverRing "buffer-over-ring" Error "7.1.5, 7.1.9";
    /// Memory of a posted buffer or of an enabled ring is unmapped while the card has it.
    UnmappedWhileOwned "unmapped-while-owned" Error "4.6.7.1, 4.6.8.1";
    /// A descriptor is not any more what it was when it was handed over.
    DescriptorChangedWhileOwned "descriptor-changed-while-owned" Error "7.1.9, 7.2.3.4";
    /// The driver changes a receive buffer that the card has.
    ReceiveBufferTouched "receive-buffer-touched" Error "7.1.5, 7.1.6.1";
    /// The driver changes the first buffer of a packet to send before the card has read it.
    TransmitBufferTouched "transmit-buffer-touched" Error "7.2.3.2, 7.2.3.5.1";

    // Transmit descriptors.
    /// A packet asks for an offload by a context slot that the driver has not set since the queue was enabled.
    ContextNotSet "context-not-set" Error "7.2.3.3";
    /// A descriptor names a context slot other than 0 and 1.
    ContextSlotReserved "context-slot-reserved" Error "7.2.3.2.3";
    /// A transmit descriptor has a DTYP that the datasheet reserves.
    DescriptorTypeReserved "descriptor-type-reserved" Error "7.2.3.2";
    /// The descriptors of a packet are of several kinds, or a context stands among them.
    PacketMixed "packet-mixed" Error "7.2.3.2.4";
    /// PAYLEN is not the length of the packet (with TSE: of its payload).
    PaylenContradictsPacket "paylen-contradicts-packet" Error "7.2.3.2.4";
    /// What a packet's context says for segmentation (MSS, L4LEN, header lengths) contradicts the packet.
    TsoContradictsFrame "tso-contradicts-frame" Error "7.2.4";
    /// What a packet's context says for a checksum (MACLEN, IPLEN, L4T, IP version) contradicts the packet.
    ChecksumContradictsFrame "checksum-contradicts-frame" Error "7.2.5";

    // Interrupts and filters.
    /// A write of EICR clears the cause of a queue before its interrupt is signalled, and the driver has not read it.
    CauseClearedUnseen "cause-cleared-unseen" Warning "7.3.1, 8.2.3.5.1";
    /// IVAR gives a queue a vector above 15, and GPIE does not ask for several.
    VectorOutOfReach "vector-out-of-reach" Error "7.3.1, 8.2.3.5.18";
    /// A receive queue is filled to the last descriptor and its driver does not notice: it has no vector that was ever unmasked, and other queues have.
    QueueWithoutInterrupt "queue-without-interrupt" Warning "4.6.6, 7.3.1";
    /// A frame goes to a receive queue that has an unmasked vector, and that was never enabled.
    InterruptWithoutQueue "interrupt-without-queue" Warning "4.6.7, 7.3.1";
    /// A filter is enabled that no frame can match.
    FilterNeverMatches "filter-never-matches" Warning "7.1.2.3, 7.1.2.5, 7.1.2.7";

    // Registers.
    /// A register that only the card writes is written.
    ReadOnlyWritten "read-only-written" Warning "8.2.2";
    /// A reserved bit is set, or one that only the card sets.
    ReservedBitsWritten "reserved-bits-written" Warning "8.2.2";
    /// A place without a register is written.
    NoSuchRegister "no-such-register" Warning "8.2.2";
    /// The card is reset while a queue is enabled and the function may master the bus.
    ResetWithDmaRunning "reset-with-dma-running" Error "4.2.1.6.1, 5.2.5.3.2";
    /// A register is written after CTRL.RST and before CTRL was read without it.
    ResetNotWaitedFor "reset-not-waited-for" Warning "4.2.1.6.1";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_in_kebab_case() {
        let names: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        let kebab = |name: &&str| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        };

        assert_eq!(names.len(), Rule::ALL.len());
        assert!(names.iter().all(kebab), "{names:?}");
    }

    #[test]
    fn the_table_of_the_documentation_is_that_of_the_rules() {
        let page = include_str!("../../../docs/driver-checker.md");
        let row = |rule: &Rule| {
            let (name, severity) = (rule.name(), rule.severity().name());
            let (doc, section) = (rule.doc().trim(), rule.section());
            format!("| `{name}` | {severity} | {doc} | {section} |\n")
        };
        let rows: String = Rule::ALL.iter().map(row).collect();
        let table =
            format!("| rule | severity | a breach | datasheet |\n|---|---|---|---|\n{rows}\n");

        assert!(
            page.contains(&table),
            "docs/driver-checker.md lacks this table:\n{table}"
        );
    }
}
