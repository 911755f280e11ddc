//! What the front-end offers the guest, and what the two have agreed on.

use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use virtio_bindings::{
    virtio_config::{VIRTIO_F_ANY_LAYOUT, VIRTIO_F_NOTIFY_ON_EMPTY, VIRTIO_F_VERSION_1},
    virtio_net::{
        VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_GUEST_CSUM,
        VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_HOST_TSO4,
        VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_MQ, VIRTIO_NET_F_MRG_RXBUF,
    },
    virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC},
};

use crate::header::Header;

/// Whether a thing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// What is offered.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Mergeable receive buffers.
    pub mergeable: Switch,
    /// Checksums and segmentation by the card.
    pub offloads: Switch,
    /// Large receives by the card, where there are offloads.
    pub large_receive: Switch,
}

impl Offer {
    /// The feature bits.
    #[must_use]
    pub fn features(&self) -> u64 {
        let always = [
            VIRTIO_F_VERSION_1,
            VIRTIO_F_ANY_LAYOUT,
            VIRTIO_F_NOTIFY_ON_EMPTY,
            VIRTIO_RING_F_EVENT_IDX,
            VIRTIO_RING_F_INDIRECT_DESC,
            VIRTIO_NET_F_MQ,
            VIRTIO_NET_F_GUEST_ANNOUNCE,
        ];
        let offloads = [
            VIRTIO_NET_F_CSUM,
            VIRTIO_NET_F_GUEST_CSUM,
            VIRTIO_NET_F_HOST_TSO4,
            VIRTIO_NET_F_HOST_TSO6,
            VIRTIO_NET_F_HOST_ECN,
            VIRTIO_NET_F_HOST_USO,
        ];
        let mut features = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
            | VhostUserVirtioFeatures::LOG_ALL.bits()
            | bits(&always);
        if self.offloads == Switch::On {
            features |= bits(&offloads);
        }
        if self.offloads == Switch::On && self.large_receive == Switch::On {
            features |= bits(&[VIRTIO_NET_F_GUEST_TSO4]);
        }
        if self.mergeable == Switch::On {
            features |= bits(&[VIRTIO_NET_F_MRG_RXBUF]);
        }
        features
    }

    /// What of vhost-user is offered.
    #[must_use]
    pub fn protocol_features() -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::LOG_SHMFD
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
            | VhostUserProtocolFeatures::RESET_DEVICE
    }
}

/// What was agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Negotiated(pub u64);

impl Negotiated {
    fn has(self, feature: u32) -> bool {
        self.0 & bits(&[feature]) != 0
    }

    /// Bytes of virtio's header.
    #[must_use]
    pub fn header_len(self) -> usize {
        if self.has(VIRTIO_F_VERSION_1) || self.mergeable() {
            Header::LEN
        } else {
            Header::LEGACY_LEN
        }
    }

    /// A packet may take several chains.
    #[must_use]
    pub fn mergeable(self) -> bool {
        self.has(VIRTIO_NET_F_MRG_RXBUF)
    }

    /// The guest wants to know which checksums were found right.
    #[must_use]
    pub fn guest_checksum(self) -> bool {
        self.has(VIRTIO_NET_F_GUEST_CSUM)
    }

    /// The guest takes TCP packets that are longer than the MTU allows.
    #[must_use]
    pub fn large_receive(self) -> bool {
        self.guest_checksum() && self.has(VIRTIO_NET_F_GUEST_TSO4)
    }

    /// The guest may leave checksums, and segmentation, to the card.
    #[must_use]
    pub fn card_checksum(self) -> bool {
        self.has(VIRTIO_NET_F_CSUM)
    }

    /// Rings are rung by event index.
    #[must_use]
    pub fn event_idx(self) -> bool {
        self.has(VIRTIO_RING_F_EVENT_IDX)
    }

    /// Writes to the guest's memory are logged.
    #[must_use]
    pub fn logs(self) -> bool {
        self.0 & VhostUserVirtioFeatures::LOG_ALL.bits() != 0
    }

    /// Rings wait until they are enabled.
    #[must_use]
    pub fn enables_rings(self) -> bool {
        self.0 & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() != 0
    }
}

fn bits(features: &[u32]) -> u64 {
    features.iter().fold(0, |bits, feature| bits | 1 << feature)
}
