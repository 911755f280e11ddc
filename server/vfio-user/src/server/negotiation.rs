//! `VERSION`: what a client proposes, and what it gets.

use super::Limits;
use crate::message::{
    Capabilities, DEFAULT_MAX_DATA_XFER_SIZE, DEFAULT_MAX_DMA_MAPS, DEFAULT_MAX_MSG_FDS,
    DEFAULT_PGSIZES, MAJOR, MINOR, Version, VersionDataError,
};

/// What is known about a client since its `VERSION` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// The minor version that the client proposed.
    pub proposed_minor: u16,
    /// What the client said about itself.
    pub capabilities: Capabilities,
    /// How it has to be told about errors.
    pub errors: ErrorStyle,
}

/// How a client wants to be told that an access failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorStyle {
    /// By an error reply, as the specification says.
    Reply,
    /// By data. The `vfio_user` crate's client, which is cloud-hypervisor's, waits for a reply
    /// of full length for ever when a `REGION_READ`, `REGION_WRITE`, `DMA_UNMAP` or
    /// `DEVICE_GET_IRQ_INFO` is answered by the 16 bytes of an error. It gets ones for a read,
    /// and success for the others.
    Data,
}

/// Why no session came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// The major versions differ.
    #[error("the client speaks vfio-user {major}.{minor}, this server {MAJOR}.{MINOR}")]
    Major {
        /// The client's major version.
        major: u16,
        /// The client's minor version.
        minor: u16,
    },
    /// The capabilities cannot be read.
    #[error("the client's capabilities cannot be read")]
    Data(#[from] VersionDataError),
    /// The payload is shorter than two version numbers.
    #[error("the client's VERSION message is too short")]
    Short,
}

/// Checks the proposal; returns what is known about the client, and the JSON text of the reply.
pub(super) fn negotiate(
    version: &Version,
    data: &[u8],
    limits: &Limits,
) -> Result<(ClientInfo, Vec<u8>), NegotiationError> {
    let (major, minor) = (version.major.get(), version.minor.get());
    if major != MAJOR {
        return Err(NegotiationError::Major { major, minor });
    }
    let capabilities = Capabilities::from_version_data(data)?;
    let reply = reply_data(&capabilities, data.len(), limits);
    let client = ClientInfo {
        proposed_minor: minor,
        errors: error_style(minor, &capabilities),
        capabilities,
    };
    Ok((client, reply))
}

/// Tells the `vfio_user` crate's client by what it says about itself: minor version 1, and
/// exactly these three capabilities.
fn error_style(minor: u16, capabilities: &Capabilities) -> ErrorStyle {
    match capabilities {
        Capabilities {
            max_msg_fds: Some(1),
            max_data_xfer_size: Some(_),
            max_dma_maps: None,
            pgsizes: None,
            twin_socket: None,
            migration: Some(_),
            write_multiple: None,
        } if minor >= 1 => ErrorStyle::Data,
        _ => ErrorStyle::Reply,
    }
}

/// The reply's JSON text.
///
/// QEMU reads the reply into the buffer of its request. So when the text would be longer than
/// the `room` that the request had, statements are left out that say no more than the
/// specification's defaults. Where not even that fits, the client cannot be one that does so.
fn reply_data(client: &Capabilities, room: usize, limits: &Limits) -> Vec<u8> {
    let full = Capabilities {
        max_msg_fds: Some(limits.max_msg_fds),
        max_data_xfer_size: Some(limits.max_data_xfer_size),
        max_dma_maps: Some(limits.max_dma_maps),
        pgsizes: Some(limits.pgsizes),
        // No second socket. Migration's first version was told here; its second one is asked for by `DEVICE_FEATURE`.
        twin_socket: None,
        migration: None,
        // An answer only: QEMU calls an unknown capability spurious.
        write_multiple: (limits.write_multiple && client.write_multiple == Some(true))
            .then_some(true),
    };
    let shorter: [fn(&mut Capabilities); 4] = [
        |stated| forget(&mut stated.pgsizes, DEFAULT_PGSIZES),
        |stated| forget(&mut stated.max_dma_maps, DEFAULT_MAX_DMA_MAPS),
        |stated| forget(&mut stated.max_data_xfer_size, DEFAULT_MAX_DATA_XFER_SIZE),
        |stated| forget(&mut stated.max_msg_fds, DEFAULT_MAX_MSG_FDS),
    ];
    let text = full.to_version_data();
    let mut stated = full;
    let mut shortened = text.clone();
    for leave_out in shorter {
        if shortened.len() <= room {
            return shortened;
        }
        leave_out(&mut stated);
        shortened = stated.to_version_data();
    }
    if shortened.len() <= room {
        shortened
    } else {
        text
    }
}

/// Leaves out a statement that says what no statement says, too.
fn forget<T: PartialEq>(statement: &mut Option<T>, default: T) {
    statement.take_if(|value| *value == default);
}
