use anyhow::{Context as _, Result, ensure};
use ixgbe_spec::{
    descriptor::{
        rx::Status,
        tx::{Context, ContextHigh, ContextLow, Data, DataControl, FcoeFlags, L4Type},
    },
    register::Reg,
};
use nic_driver::{Config, Device, Driver};

use crate::{
    card_world::{CardWorld, MAC},
    fc::{
        END_SEQUENCE, EOF_N, EOF_T, EXCHANGE_CONTEXT, Fc, HEADERS, RELATIVE_OFFSET,
        SEQUENCE_INITIATIVE, SOF_I3, SOF_N3,
    },
    frames::{PEER, same},
    scenario::{Scenario, scenarios},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    OnCard an_fc_frame_leaves_with_its_delimiters_and_its_crc,
    OnCard a_large_fc_packet_leaves_as_the_frames_of_a_sequence,
    OnCard fcp_data_is_placed_in_user_buffers_and_the_response_tells_how_much,
    OnCard fc_frames_whose_crc_is_wrong_are_told_and_counted,
    OnCard fcp_data_without_buffers_arrives_in_the_ring,
];

/// SOLICITED DATA, and the type of FCP.
const DATA: (u8, u8) = (1, 8);
/// COMMAND STATUS.
const RESPONSE: u8 = 7;
const XID: u16 = 0x1F;
/// Bytes of payload in a frame.
const PIECE: usize = 2048;

/// Selects a context, and writes it.
const WE: u32 = 1 << 14;
const VALID: u32 = 1;
/// Bytes of a transmit buffer. Those of the ring that is not used otherwise are the user buffers.
const TX_BUFFER: usize = 16 << 10;
/// Of such a buffer FCBUFF uses this much: 4 KB.
const USER_BUFFER: usize = 4 << 10;

fn bring_up(world: &mut CardWorld) -> Result<&mut Driver<Box<dyn Device>>> {
    let config = Config {
        ring_len: 64,
        rx_buffer: 4096,
        tx_buffer: TX_BUFFER,
        max_frame: 2500,
        ..Config::default()
    };
    let driver = world.bring_up(&config)?;
    // As Linux does it: FCoE in filter 2, FC CRC in the order of the Ethernet FCS.
    driver.set_register(Reg::ETQF, 2, 1 << 31 | 1 << 27 | 0x8906)?;
    driver.set_register(Reg::FCRXCTRL, 0, 1 << 7)?;
    Ok(driver)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 13 + at / 256).to_le_bytes()[0])
        .collect()
}

/// A frame of exchange [`XID`] with FCP data, from the card.
fn fcp(payload: &[u8]) -> Fc {
    let (r_ctl, fc_type) = DATA;
    Fc {
        addresses: [PEER, MAC],
        sof: SOF_I3,
        eof: EOF_T,
        r_ctl,
        ids: [[1, 2, 3], [4, 5, 6]],
        fc_type,
        f_ctl: RELATIVE_OFFSET | END_SEQUENCE | SEQUENCE_INITIATIVE,
        seq_id: 5,
        seq_cnt: 0,
        exchange: [XID, 0xFFFF],
        parameter: 0,
        payload: payload.to_vec(),
    }
}

/// The sequence that `whole` is, in frames of [`PIECE`] bytes.
fn sequence(whole: &Fc) -> Vec<Fc> {
    let count = whole.payload.len().div_ceil(PIECE);
    let pieces = whole.payload.chunks(PIECE).enumerate();
    pieces
        .map(|(n, piece)| {
            let last = n + 1 == count;
            let of_last = if last {
                0
            } else {
                END_SEQUENCE | SEQUENCE_INITIATIVE
            };
            Fc {
                sof: if n == 0 { SOF_I3 } else { SOF_N3 },
                eof: if last { EOF_T } else { EOF_N },
                f_ctl: whole.f_ctl & !of_last,
                seq_cnt: u16::try_from(n).unwrap_or(0),
                parameter: u32::try_from(n * PIECE).unwrap_or(0),
                payload: piece.to_vec(),
                ..whole.clone()
            }
        })
        .collect()
}

/// Sends a packet that lies in the second buffer of the ring, with the context that Linux writes for it.
fn send(world: &mut CardWorld, fc: &Fc, flags: FcoeFlags, mss: Option<u16>) -> Result<()> {
    let mut bytes = fc.without_trailer();
    // The card writes the SOF.
    bytes[HEADERS - 25] = 0;
    let context = Context {
        low: ContextLow::new()
            .with_maclen(24)
            .with_iplen(u16::try_from(HEADERS)?)
            .with_fcoe(flags),
        high: ContextHigh::new()
            .with_fcoe(true)
            .with_l4t(L4Type::Reserved)
            .with_mss(mss.unwrap_or(0)),
    };
    let paylen = bytes.len() - if mss.is_some() { HEADERS } else { 0 };
    let control = DataControl::new()
        .with_dtalen(u16::try_from(bytes.len())?)
        .with_eop(true)
        .with_ifcs(true)
        .with_rs(true)
        .with_cc(true)
        .with_tse(mss.is_some())
        .with_paylen(u32::try_from(paylen)?);
    let (ring, device) = world.driver()?.tx(0);
    let offset = ring.buffer_offset(1);
    ring.memory().put(offset, &bytes);
    let address = ring.memory().iova(offset);
    ring.write(context.into());
    ring.write(Data { address, control }.into());
    Ok(ring.ring_doorbell(device)?)
}

fn an_fc_frame_leaves_with_its_delimiters_and_its_crc(world: &mut CardWorld) -> Result<()> {
    bring_up(world)?;
    let fc = fcp(&pattern(1024));
    let flags = FcoeFlags {
        eof: 1,
        class3: true,
        oris: true,
        ..FcoeFlags::default()
    };

    send(world, &fc, flags, None)?;

    same(&world.sent(1)?, &[fc.bytes()])?;
    let driver = world.driver()?;
    let frames = driver.register(Reg::FCOEPTC, 0)?;
    let dwords = driver.register(Reg::FCOEDWTC, 0)?;
    ensure!(
        (frames, dwords) == (1, (24 + 1024 + 4) / 4),
        "{frames} frames of {dwords} DWords are counted"
    );
    Ok(())
}

fn a_large_fc_packet_leaves_as_the_frames_of_a_sequence(world: &mut CardWorld) -> Result<()> {
    bring_up(world)?;
    let fc = fcp(&pattern(7 * PIECE + 100));
    let flags = FcoeFlags {
        eof: 0,
        class3: true,
        parinc: true,
        orie: true,
        oris: true,
    };

    send(world, &fc, flags, Some(u16::try_from(PIECE)?))?;

    let expected: Vec<_> = sequence(&fc).iter().map(Fc::bytes).collect();
    same(&world.sent(expected.len())?, &expected)
}

/// The frames in which the other end answers exchange [`XID`].
fn answer(payload: &[u8]) -> Vec<Fc> {
    let whole = Fc {
        addresses: [MAC, PEER],
        f_ctl: EXCHANGE_CONTEXT | RELATIVE_OFFSET | END_SEQUENCE,
        ..fcp(payload)
    };
    sequence(&whole)
}

fn response() -> Fc {
    Fc {
        addresses: [MAC, PEER],
        r_ctl: RESPONSE,
        f_ctl: EXCHANGE_CONTEXT | END_SEQUENCE,
        ..fcp(&[0; 24])
    }
}

/// Makes the context of [`XID`] with `count` user buffers, the first from `offset` on, the last of `last` bytes.
fn exchange(world: &mut CardWorld, count: u32, offset: u32, last: u32) -> Result<()> {
    let driver = world.driver()?;
    let ring = driver.tx(0).0;
    let memory = ring.memory();
    let list = ring.buffer_offset(0);
    for n in 0..count as usize {
        let address = memory.iova(ring.buffer_offset(n + 1));
        memory.put(list + 8 * n, &address.to_le_bytes());
    }
    let [a, b, c, d, e, f, g, h] = memory.iova(list).to_le_bytes();
    let xid = u32::from(XID);
    driver.set_register(Reg::FCPTRL, 0, u32::from_le_bytes([a, b, c, d]))?;
    driver.set_register(Reg::FCPTRH, 0, u32::from_le_bytes([e, f, g, h]))?;
    driver.set_register(Reg::FCBUFF, 0, VALID | count << 8 | offset << 16)?;
    driver.set_register(Reg::FCDMARW, 0, xid | WE | last << 16)?;
    driver.set_register(Reg::FCPARAM, 0, 0)?;
    driver.set_register(Reg::FCFLT, 0, VALID)?;
    Ok(driver.set_register(Reg::FCFLTRW, 0, xid | WE)?)
}

fn bytes_of(frames: &[Fc], last: &Fc) -> Vec<Vec<u8>> {
    frames.iter().chain([last]).map(Fc::bytes).collect()
}

fn fcp_data_is_placed_in_user_buffers_and_the_response_tells_how_much(
    world: &mut CardWorld,
) -> Result<()> {
    const OFFSET: usize = 0x200;
    bring_up(world)?;
    exchange(world, 4, u32::try_from(OFFSET)?, 1000)?;
    let payload = pattern(3 * USER_BUFFER - OFFSET + 900);
    let frames = answer(&payload);

    let received = world.exchange(&bytes_of(&frames, &response()))?;

    let [response] = &received[..] else {
        anyhow::bail!("{} packets instead of the response", received.len());
    };
    let told = (response.status & Status::FCSTAT_DDP, response.hash);
    ensure!(
        told == (Status::FCSTAT_FCP_RSP, u32::try_from(payload.len())?),
        "the response tells {told:?}"
    );
    let driver = world.driver()?;
    let ring = driver.tx(0).0;
    let placed: Vec<u8> = (1..5)
        .flat_map(|n| ring.memory().get(ring.buffer_offset(n), USER_BUFFER))
        .skip(OFFSET)
        .take(payload.len())
        .collect();
    ensure!(placed == payload, "other bytes are in the user buffers");
    let packets = driver.register(Reg::FCOEPRC, 0)?;
    let errors = [Reg::FCCRC, Reg::FCLAST, Reg::FCOERPDC].map(|reg| driver.register(reg, 0));
    let errors = errors.into_iter().collect::<Result<Vec<_>, _>>()?;
    ensure!(
        usize::try_from(packets)? == frames.len() + 1 && errors == [0, 0, 0],
        "{packets} packets and {errors:?} errors are counted"
    );
    Ok(())
}

fn fc_frames_whose_crc_is_wrong_are_told_and_counted(world: &mut CardWorld) -> Result<()> {
    bring_up(world)?;
    let good = response().bytes();
    let mut bad = good.clone();
    bad[HEADERS] ^= 0x10;

    let received = world.exchange(&[bad.clone(), good.clone()])?;

    let frames: Vec<_> = received.iter().map(|packet| packet.bytes.clone()).collect();
    same(&frames, &[bad, good])?;
    let told: Vec<bool> = received
        .iter()
        .map(|packet| packet.status.contains(Status::FCERR_BAD_CRC))
        .collect();
    let counted = world.driver()?.register(Reg::FCCRC, 0)?;
    ensure!(
        told == [true, false] && counted == 1,
        "told {told:?}, counted {counted}"
    );
    Ok(())
}

fn fcp_data_without_buffers_arrives_in_the_ring(world: &mut CardWorld) -> Result<()> {
    bring_up(world)?;
    exchange(world, 1, 0, 3000)?;
    // The buffer ends within the second frame.
    let frames = answer(&pattern(2 * PIECE));

    let received = world.exchange(&bytes_of(&frames, &response()))?;

    let second = frames.get(1).context("two frames")?;
    let bytes: Vec<_> = received.iter().map(|packet| packet.bytes.clone()).collect();
    same(&bytes, &[second.bytes(), response().bytes()])?;
    let codes: Vec<Status> = received
        .iter()
        .map(|packet| packet.status & Status::from_bits_retain(7 << 20))
        .collect();
    let expected = [Status::FCERR_NO_DMA_RESOURCES, Status::FCERR_DMA_INVALID];
    ensure!(codes == expected, "the packets tell {codes:?}");
    let counted = world.driver()?.register(Reg::FCLAST, 0)?;
    ensure!(counted == 1, "FCLAST is {counted}");
    Ok(())
}
