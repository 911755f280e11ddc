//! Errors of the bus: what the function notes and reports of them (9.3.11, 9.4.1; PCI Express Base 6.2).
//!
//! The bus here is a socket and makes none, so a person does ([`Port::inject_error`](crate::Port::inject_error)). What
//! an error leaves in configuration space is all there; its message to the root complex has no way to a client, and
//! is only told to whoever asked for the error.

use ixgbe_spec::pci::{AER, DEVICE_CONTROL, DEVICE_STATUS, aer, command, device, header, status};

use super::space::ConfigSpace;

/// An error of the bus, by the names that `lspci -vvv` and the PCI Express specification have for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BusError {
    /// The receiver saw a bad symbol (`RxErr`).
    ReceiverError,
    /// A packet with a bad CRC or sequence number (`BadTLP`).
    BadTlp,
    /// A link packet with a bad CRC (`BadDLLP`).
    BadDllp,
    /// The number of replays has wrapped (`Rollover`).
    ReplayRollover,
    /// The replay timer has run out (`Timeout`).
    ReplayTimeout,
    /// An acknowledgement of nothing that was sent (`DLP`).
    DataLinkProtocol,
    /// Data that its sender marked as bad (`TLP`).
    PoisonedTlp,
    /// Credits that cannot be (`FCP`).
    FlowControlProtocol,
    /// A request without an answer (`CmpltTO`).
    CompletionTimeout,
    /// A request that the function refused (`CmpltAbrt`).
    CompleterAbort,
    /// An answer to nothing that was asked (`UnxCmplt`).
    UnexpectedCompletion,
    /// More than the credits allowed (`RxOF`).
    ReceiverOverflow,
    /// A packet that breaks the rules of its format (`MalfTLP`).
    MalformedTlp,
    /// A bad end-to-end CRC (`ECRC`).
    Ecrc,
    /// A request that the function does not know (`UnsupReq`).
    UnsupportedRequest,
}

/// A message to the root complex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorMessage {
    /// `ERR_COR`.
    Correctable,
    /// `ERR_NONFATAL`.
    NonFatal,
    /// `ERR_FATAL`.
    Fatal,
}

impl ErrorMessage {
    /// Its name in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Correctable => "ERR_COR",
            Self::NonFatal => "ERR_NONFATAL",
            Self::Fatal => "ERR_FATAL",
        }
    }
}

/// The first doublewords of the packet that an error is about.
type Header = [u32; 4];

/// A memory write of one doubleword to address 0, in the order of the header log: what an injected packet is.
const MEMORY_WRITE: Header = [0x4000_0001, 0x0000_000F, 0, 0];

/// The status bit of an error.
enum Bit {
    Correctable(u32),
    Uncorrectable(u32),
}

impl BusError {
    const fn bit(self) -> Bit {
        match self {
            Self::ReceiverError => Bit::Correctable(aer::RECEIVER_ERROR),
            Self::BadTlp => Bit::Correctable(aer::BAD_TLP),
            Self::BadDllp => Bit::Correctable(aer::BAD_DLLP),
            Self::ReplayRollover => Bit::Correctable(aer::REPLAY_ROLLOVER),
            Self::ReplayTimeout => Bit::Correctable(aer::REPLAY_TIMEOUT),
            Self::DataLinkProtocol => Bit::Uncorrectable(aer::DATA_LINK_PROTOCOL),
            Self::PoisonedTlp => Bit::Uncorrectable(aer::POISONED_TLP),
            Self::FlowControlProtocol => Bit::Uncorrectable(aer::FLOW_CONTROL_PROTOCOL),
            Self::CompletionTimeout => Bit::Uncorrectable(aer::COMPLETION_TIMEOUT),
            Self::CompleterAbort => Bit::Uncorrectable(aer::COMPLETER_ABORT),
            Self::UnexpectedCompletion => Bit::Uncorrectable(aer::UNEXPECTED_COMPLETION),
            Self::ReceiverOverflow => Bit::Uncorrectable(aer::RECEIVER_OVERFLOW),
            Self::MalformedTlp => Bit::Uncorrectable(aer::MALFORMED_TLP),
            Self::Ecrc => Bit::Uncorrectable(aer::ECRC),
            Self::UnsupportedRequest => Bit::Uncorrectable(aer::UNSUPPORTED_REQUEST),
        }
    }

    /// The packet that goes into the header log, for errors that one packet is to blame for.
    const fn header(self) -> Header {
        match self {
            Self::PoisonedTlp
            | Self::CompleterAbort
            | Self::UnexpectedCompletion
            | Self::MalformedTlp
            | Self::Ecrc
            | Self::UnsupportedRequest => MEMORY_WRITE,
            _ => [0; 4],
        }
    }

    /// Whether it is an advisory error where it is not fatal: who made the request learns of it anyway, by the
    /// completion that it gets or does not miss (PCI Express Base 6.2.3.2.4).
    const fn can_be_advisory(self) -> bool {
        matches!(
            self,
            Self::CompleterAbort | Self::UnexpectedCompletion | Self::UnsupportedRequest
        )
    }
}

/// Notes an error in configuration space. Returns the message that the function sends to the root complex, if masks and
/// enables let it send one.
pub(super) fn report(error: BusError, space: &mut ConfigSpace) -> Option<ErrorMessage> {
    match error.bit() {
        Bit::Correctable(bit) => correctable(bit, space),
        Bit::Uncorrectable(bit) => uncorrectable(error, bit, space),
    }
}

fn correctable(bit: u32, space: &mut ConfigSpace) -> Option<ErrorMessage> {
    space.raise16(DEVICE_STATUS, device::CORRECTABLE);
    space.raise32(AER + aer::CORRECTABLE_STATUS, bit);
    let masked = space.get32(AER + aer::CORRECTABLE_MASK) & bit != 0;
    let enabled = space.get16(DEVICE_CONTROL) & device::CORRECTABLE != 0;
    (!masked && enabled).then_some(ErrorMessage::Correctable)
}

fn uncorrectable(error: BusError, bit: u32, space: &mut ConfigSpace) -> Option<ErrorMessage> {
    let control = space.get16(DEVICE_CONTROL);
    let masked = space.get32(AER + aer::UNCORRECTABLE_MASK) & bit != 0;
    let fatal = space.get32(AER + aer::SEVERITY) & bit != 0;
    header_status(error, space);
    let unsupported = error == BusError::UnsupportedRequest;
    if unsupported {
        space.raise16(DEVICE_STATUS, device::UNSUPPORTED_REQUEST);
    }
    let reported = !masked && (!unsupported || control & device::UNSUPPORTED_REQUEST != 0);
    if !fatal && error.can_be_advisory() {
        let advised = space.get32(AER + aer::CORRECTABLE_MASK) & aer::ADVISORY_NON_FATAL == 0;
        if advised && !masked {
            log(error, bit, space);
        }
        space.raise32(AER + aer::UNCORRECTABLE_STATUS, bit);
        return correctable(aer::ADVISORY_NON_FATAL, space).filter(|_| reported);
    }
    let (detected, message) = if fatal {
        (device::FATAL, ErrorMessage::Fatal)
    } else {
        (device::NON_FATAL, ErrorMessage::NonFatal)
    };
    space.raise16(DEVICE_STATUS, detected);
    if masked {
        space.raise32(AER + aer::UNCORRECTABLE_STATUS, bit);
        return None;
    }
    log(error, bit, space);
    space.raise32(AER + aer::UNCORRECTABLE_STATUS, bit);
    let system_error = space.get16(header::COMMAND) & command::SERR != 0;
    if system_error {
        space.raise16(header::STATUS, status::SIGNALLED_SYSTEM_ERROR);
    }
    (system_error || reported && control & detected != 0).then_some(message)
}

/// The error bits that PCI had before there were others.
fn header_status(error: BusError, space: &mut ConfigSpace) {
    let bits = match error {
        BusError::PoisonedTlp => status::DETECTED_PARITY_ERROR,
        BusError::CompleterAbort => status::SIGNALLED_TARGET_ABORT,
        _ => 0,
    };
    space.raise16(header::STATUS, bits);
}

/// Keeps pointer and header of the first error: as long as the status bit that the pointer names is set, they stay.
fn log(error: BusError, bit: u32, space: &mut ConfigSpace) {
    let control = space.get32(AER + aer::CONTROL);
    let first = control & aer::FIRST_ERROR;
    let status = space.get32(AER + aer::UNCORRECTABLE_STATUS);
    let taken = first != 0 && status >> first & 1 != 0;
    if taken {
        return;
    }
    let pointer = bit.trailing_zeros();
    let control = control & !aer::FIRST_ERROR | pointer;
    space.set(AER + aer::CONTROL, &control.to_le_bytes());
    for (n, dword) in error.header().into_iter().enumerate() {
        space.set(AER + aer::HEADER_LOG + 4 * n, &dword.to_le_bytes());
    }
}
