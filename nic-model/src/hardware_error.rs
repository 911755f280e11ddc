//! Errors of the hardware, which a model has only when somebody asks for them.

use std::{fmt, str::FromStr};

use ixgbe_spec::register::{Reg, bits::eicr};

use crate::{
    interrupt::Interrupts,
    pci::{BusError, ErrorMessage},
    port::{Context, Port},
    record::{Answer, Call},
    regs::RegisterFile,
};

/// An error that the card can be made to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HardwareError {
    /// An error of the bus, noted in the AER capability.
    Bus(BusError),
    /// An uncorrectable ECC error in the memories of receive: cause EICR.ECC, and the status register RXDBUEST.
    ReceiveEcc,
    /// An uncorrectable ECC error in the memories of transmit: cause EICR.ECC, and the status register TXDBUEST.
    TransmitEcc,
}

/// A text is the name of no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of error; there are {}", HardwareError::ALL.map(HardwareError::name).join(", "))]
pub struct UnknownError;

impl HardwareError {
    /// Every error.
    pub const ALL: [Self; 17] = [
        Self::Bus(BusError::ReceiverError),
        Self::Bus(BusError::BadTlp),
        Self::Bus(BusError::BadDllp),
        Self::Bus(BusError::ReplayRollover),
        Self::Bus(BusError::ReplayTimeout),
        Self::Bus(BusError::DataLinkProtocol),
        Self::Bus(BusError::PoisonedTlp),
        Self::Bus(BusError::FlowControlProtocol),
        Self::Bus(BusError::CompletionTimeout),
        Self::Bus(BusError::CompleterAbort),
        Self::Bus(BusError::UnexpectedCompletion),
        Self::Bus(BusError::ReceiverOverflow),
        Self::Bus(BusError::MalformedTlp),
        Self::Bus(BusError::Ecrc),
        Self::Bus(BusError::UnsupportedRequest),
        Self::ReceiveEcc,
        Self::TransmitEcc,
    ];

    /// The name by which people choose it, such as `poisoned-tlp` or `ecc-rx`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bus(error) => match error {
                BusError::ReceiverError => "receiver-error",
                BusError::BadTlp => "bad-tlp",
                BusError::BadDllp => "bad-dllp",
                BusError::ReplayRollover => "replay-rollover",
                BusError::ReplayTimeout => "replay-timeout",
                BusError::DataLinkProtocol => "data-link-protocol",
                BusError::PoisonedTlp => "poisoned-tlp",
                BusError::FlowControlProtocol => "flow-control-protocol",
                BusError::CompletionTimeout => "completion-timeout",
                BusError::CompleterAbort => "completer-abort",
                BusError::UnexpectedCompletion => "unexpected-completion",
                BusError::ReceiverOverflow => "receiver-overflow",
                BusError::MalformedTlp => "malformed-tlp",
                BusError::Ecrc => "ecrc",
                BusError::UnsupportedRequest => "unsupported-request",
            },
            Self::ReceiveEcc => "ecc-rx",
            Self::TransmitEcc => "ecc-tx",
        }
    }
}

impl fmt::Display for HardwareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HardwareError {
    type Err = UnknownError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|error| error.name() == text).ok_or(UnknownError)
    }
}

impl Port {
    /// Lets the card have an error. Returns the message that it would send to the root complex, which is nowhere to be
    /// sent to: masks and enables of configuration space decide whether there is one.
    ///
    /// After an ECC error the card works on; its driver is expected to reset it (8.2.3.5.1).
    pub fn inject_error(
        &mut self,
        error: HardwareError,
        context: &mut Context<'_>,
    ) -> Option<ErrorMessage> {
        if self.recording.is_on() {
            let inject =
                |port: &mut Self, context: &mut Context<'_>| port.inject_error(error, context);
            let call = Call::HardwareError(error);
            return self.recorded(&call, context, inject, |message| Answer::Message(*message));
        }
        let message = self.have_error(error);
        self.deliver(context);
        message
    }

    /// The same, whose interrupts are delivered with those of the call.
    pub(crate) fn have_error(&mut self, error: HardwareError) -> Option<ErrorMessage> {
        match error {
            HardwareError::Bus(error) => self.pci.report(error),
            HardwareError::ReceiveEcc => {
                ecc(Reg::RXDBUEST, &mut self.regs, &mut self.irq);
                None
            }
            HardwareError::TransmitEcc => {
                ecc(Reg::TXDBUEST, &mut self.regs, &mut self.irq);
                None
            }
        }
    }
}

/// Which bits of the status registers stand for which memory is not public: the first one is set.
fn ecc(status: Reg, regs: &mut RegisterFile, irq: &mut Interrupts) {
    regs.set(status, 0, regs.get(status, 0) | 1);
    irq.other(regs, eicr::ECC);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bus::Signal, port::tests::world::World};

    const ECC: u32 = 1 << 28;

    #[test]
    fn every_error_is_found_by_its_name_and_the_refusal_names_them_all() {
        let refusal = UnknownError.to_string();

        for error in HardwareError::ALL {
            assert_eq!(error.to_string().parse(), Ok(error));
            assert!(refusal.contains(error.name()), "{error}");
        }
        assert_eq!("gremlin".parse::<HardwareError>(), Err(UnknownError));
    }

    #[test]
    fn an_ecc_error_is_a_cause_and_its_status_is_cleared_by_a_read() {
        let mut world = World::enabled();
        world.set(Reg::EIMS, ECC);

        world.call(|port, context| port.inject_error(HardwareError::ReceiveEcc, context));

        assert_eq!(world.signals(), [Signal::IntxAssert]);
        assert_eq!(world.get(Reg::EICR) & ECC, ECC);
        assert_eq!(world.get(Reg::RXDBUEST), 1);
        assert_eq!(world.get(Reg::RXDBUEST), 0);
        assert_eq!(world.get(Reg::TXDBUEST), 0, "receive's error");
    }

    #[test]
    fn a_reset_ends_an_ecc_error() {
        let mut world = World::enabled();
        world.call(|port, context| port.inject_error(HardwareError::TransmitEcc, context));

        world.set(Reg::CTRL, 1 << 26);

        assert_eq!(world.get(Reg::EICR), 0);
        assert_eq!(world.get(Reg::TXDBUEST), 0);
    }
}
