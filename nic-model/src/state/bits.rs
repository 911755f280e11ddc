//! Words of descriptors, as their bits.

/// A word as a number.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $type:ty, $to:expr, $from:expr) => {
        $(#[$doc])*
        pub(crate) mod $name {
            use serde::{Deserialize, Deserializer, Serializer};

            /// Writes it.
            pub(crate) fn serialize<S: Serializer>(word: &$type, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_u32($to(*word))
            }

            /// Reads it.
            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
                u32::deserialize(from).map($from)
            }
        }
    };
}

word!(
    /// Extended status.
    status,
    ixgbe_spec::descriptor::rx::Status,
    |status: ixgbe_spec::descriptor::rx::Status| status.bits(),
    ixgbe_spec::descriptor::rx::Status::from_bits_retain
);
word!(
    /// Packet type and header length.
    info,
    ixgbe_spec::descriptor::rx::Info,
    |info: ixgbe_spec::descriptor::rx::Info| info.into_bits(),
    ixgbe_spec::descriptor::rx::Info::from_bits
);
word!(
    /// What helps with fragments.
    fragment,
    ixgbe_spec::descriptor::rx::Fragment,
    |fragment: ixgbe_spec::descriptor::rx::Fragment| fragment.into_bits(),
    ixgbe_spec::descriptor::rx::Fragment::from_bits
);
