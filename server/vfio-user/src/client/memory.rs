//! The server's commands: `DMA_READ` and `DMA_WRITE` to a client's memory.

use zerocopy::IntoBytes;

use crate::Errno;
use crate::message::{Capabilities, DEFAULT_MAX_DATA_XFER_SIZE, Header, Request};

/// The memory that a client lets the server reach by messages.
pub trait ClientMemory: Send {
    /// Fills `data` from memory.
    ///
    /// # Errors
    ///
    /// The errno for the server when it may not read all of the range.
    fn read(&mut self, iova: u64, data: &mut [u8]) -> Result<(), Errno>;

    /// Puts `data` into memory.
    ///
    /// # Errors
    ///
    /// The errno for the server when it may not write all of the range.
    fn write(&mut self, iova: u64, data: &[u8]) -> Result<(), Errno>;
}

/// Serves a command of the server; its reply goes to `out`.
pub(super) fn answer(
    header: &Header,
    payload: &[u8],
    capabilities: &Capabilities,
    memory: Option<&mut (dyn ClientMemory + 'static)>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    let outcome = serve_dma(header, payload, capabilities, memory, out);
    if outcome.is_err() || header.is_posted() {
        out.truncate(start);
    }
    if let Err(errno) = outcome
        && !header.is_posted()
    {
        out.extend_from_slice(header.error_reply(errno).as_bytes());
    }
}

fn serve_dma(
    header: &Header,
    payload: &[u8],
    capabilities: &Capabilities,
    memory: Option<&mut (dyn ClientMemory + 'static)>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let request = Request::decode(header.number(), payload).map_err(|_| Errno::INVAL)?;
    let access = match request {
        Request::DmaRead(access) | Request::DmaWrite(access, _) => access,
        _ => return Err(Errno::NOSYS),
    };
    let memory = memory.ok_or(Errno::NODEV)?;
    let limit = capabilities
        .max_data_xfer_size
        .unwrap_or(DEFAULT_MAX_DATA_XFER_SIZE);
    let count = u32::try_from(access.count.get()).map_err(|_| Errno::TOOBIG)?;
    if count > limit {
        return Err(Errno::TOOBIG);
    }
    match request {
        Request::DmaWrite(_, data) => {
            memory.write(access.address.get(), data)?;
            out.extend_from_slice(header.reply(16).as_bytes());
            out.extend_from_slice(access.as_bytes());
        }
        _ => {
            let length = usize::try_from(count).map_err(|_| Errno::TOOBIG)?;
            out.extend_from_slice(header.reply(count.saturating_add(16)).as_bytes());
            out.extend_from_slice(access.as_bytes());
            let start = out.len();
            out.resize(start.saturating_add(length), 0);
            memory.read(
                access.address.get(),
                out.get_mut(start..).unwrap_or_default(),
            )?;
        }
    }
    Ok(())
}
