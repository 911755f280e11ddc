//! Capabilities and new privileges.

use std::io;

use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
    },
};

use super::{Needs, SandboxError};

/// Keeps no capability but those that the configuration needs and the process has, and gains none by starting a program.
pub(super) fn give_up(needs: &Needs) -> Result<(), SandboxError> {
    let failed = |what| {
        move |errno: Errno| SandboxError::Privileges {
            what,
            source: io::Error::from(errno),
        }
    };
    set_no_new_privs(true).map_err(failed("new privileges"))?;
    clear_ambient_capability_set().map_err(failed("the ambient capabilities"))?;
    let held = capabilities(None).map_err(failed("the capabilities"))?;
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for number in 0..u64::BITS {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            if needs.capabilities.contains(capability) {
                continue;
            }
            match remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                // The kernel knows no further one.
                Err(Errno::INVAL) => break,
                Err(errno) => return Err(failed("the bounding set of capabilities")(errno)),
            }
        }
    }
    let kept = held.permitted & needs.capabilities;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).map_err(failed("the capabilities"))
}
