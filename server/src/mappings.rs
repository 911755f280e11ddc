//! The client's memory, as control clients see it.

use control::{Mapping, MemoryAccess, MemoryBacking};
use guest_memory::MappedRange;
use vm_memory::Permissions;

use crate::bus::ClientBus;

/// All ranges, by address.
pub(crate) fn all(bus: &ClientBus) -> Vec<Mapping> {
    bus.ranges().map(mapping).collect()
}

fn mapping(range: MappedRange) -> Mapping {
    Mapping {
        iova: range.first,
        last: range.last,
        access: match range.access {
            Permissions::No => MemoryAccess::None,
            Permissions::Read => MemoryAccess::Read,
            Permissions::Write => MemoryAccess::Write,
            Permissions::ReadWrite => MemoryAccess::Both,
        },
        backing: if range.has_file {
            MemoryBacking::File
        } else {
            MemoryBacking::Messages
        },
    }
}
