//! A cable for [`smoltcp`].

use std::collections::VecDeque;

use smoltcp::{
    phy::{self, ChecksumCapabilities, Device, DeviceCapabilities, Medium},
    time::Instant,
};

/// A cable as a stack sees it: frames that wait on either side of it.
#[derive(Debug, Default)]
pub struct Queues {
    /// Longest IP packet of the stack, in bytes.
    pub mtu: usize,
    /// What has come for the stack.
    pub received: VecDeque<Vec<u8>>,
    /// What the stack has sent.
    pub sent: Vec<Vec<u8>>,
}

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Received(frame), Sending(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + 14;
        // All sums are made and looked at: the driver's offloads are what is tested.
        capabilities.checksum = ChecksumCapabilities::default();
        capabilities
    }
}

/// A frame for the stack.
#[derive(Debug)]
pub struct Received(Vec<u8>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

/// Room for a frame of the stack.
#[derive(Debug)]
pub struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut frame = vec![0; len];
        let result = fill(&mut frame);
        self.0.push(frame);
        result
    }
}
