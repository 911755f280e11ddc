//! AF_XDP in zero-copy mode: programs receive and send by memory of their own, which the driver gives to the card.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use control::Direction;
use guest_probe::{Act, Job, QueueEnd, UmemUse, Wait, Wakeup, Xdp};
use guest_tests::{
    World,
    account::{Account, Moved, covers, outside},
    cable::Cable,
    frames::{BROADCAST, Flow, PEER, numbered, same},
    linux_world::INTERFACE,
    probe::{Frame, Probe},
    rss,
    world::{Setup, Spread},
};

use super::machine::{LIMIT, Machine, Test};

pub const TESTS: &[Test] = tests![
    frames_lie_in_the_very_pages_that_a_socket_has_registered,
    frames_leave_from_the_very_pages_that_a_socket_has_registered,
    a_socket_forwards_frames_out_of_the_pages_that_they_came_to,
    sockets_of_two_queues_are_given_what_rss_chooses_for_them,
    sockets_that_share_their_memory_send_each_others_frames,
    a_socket_with_few_chunks_tells_the_kernel_when_it_has_some_again,
    a_socket_that_polls_the_nic_itself_leaves_interrupts_off,
];

/// Bytes of a page, and of a chunk.
const PAGE: u64 = 4096;
/// Chunks of a socket's memory.
const CHUNKS: u32 = 1024;

/// One socket on queue 0.
pub fn one(act: Act) -> Xdp {
    Xdp {
        interface: INTERFACE.to_owned(),
        queues: vec![0],
        umem: UmemUse::Each,
        chunk: 4096,
        chunks: CHUNKS,
        wakeup: Wakeup::WhenAsked,
        wait: Wait::Sleep,
        act,
        tell: 0,
    }
}

/// Runs a test while sockets are open, and lets the kernel have the frames before and after.
pub fn with_sockets(
    machine: &mut Machine,
    job: &Xdp,
    test: impl FnOnce(&mut Machine, &Probe) -> Result<()>,
) -> Result<Vec<QueueEnd>> {
    let probe = Probe::start(machine.world()?.guest(), &Job::Xdp(job.clone()))?;
    let result = machine.wait_for_link().and_then(|()| test(machine, &probe));
    let ends = probe.stop(machine.world()?.guest());
    result?;
    let ends = ends?;
    kernel_traffic(machine)?;
    Ok(ends)
}

/// Frames for the kernel, and from it, as soon as the driver has the link up again: sockets that come and go reset the card.
pub fn kernel_traffic(machine: &mut Machine) -> Result<()> {
    machine.wait_for_link()?;
    let world = machine.world()?;
    let frames: Vec<_> = (0..40)
        .map(|number| numbered(BROADCAST, number, 60 + 30 * number))
        .collect();
    same(&world.arrive(&frames)?, &frames)?;
    same(&world.send(&frames)?, &frames)
}

/// Frames of all lengths.
pub fn frames(count: usize) -> Vec<Vec<u8>> {
    let lengths = (0..count).map(|at| 60 + at * 1454 / count.max(2).saturating_sub(1));
    let frames = lengths.zip(1..);
    frames
        .map(|(len, number)| numbered(BROADCAST, number, len.min(1514)))
        .collect()
}

/// What is in the guest's memory at the physical addresses of these frames.
fn in_memory(machine: &mut Machine, frames: &[Frame]) -> Result<Vec<Vec<u8>>> {
    let guest = machine.world()?.guest();
    let read = frames.iter().map(|frame| {
        let bytes = guest.physical_memory(frame.place.physical_address, frame.place.len)?;
        Ok(bytes)
    });
    read.collect()
}

/// Each frame lies in the page that the socket has registered at this place of its memory.
fn in_registered_pages(frames: &[Frame], pages: &[u64]) -> Result<()> {
    for frame in frames {
        let page = usize::try_from(frame.umem / PAGE)?;
        ensure!(
            frame.place.physical_address == pages[page] + frame.umem % PAGE,
            "{frame:x?}, but page {page} is {:#x}",
            pages[page]
        );
    }
    Ok(())
}

/// Begins the NIC's account of what it moves this way.
pub fn account(machine: &mut Machine, way: Direction) -> Result<Account> {
    Account::begin(&machine.world()?.server().control(), way)
}

/// All that was moved lies in pages that sockets have registered.
fn all_in_pages(moved: &[Moved], pages: &[Vec<u64>]) -> Result<()> {
    let pages: Vec<_> = pages
        .iter()
        .flatten()
        .map(|page| *page..*page + PAGE)
        .collect();
    let outside = outside(moved, &pages);
    ensure!(
        !moved.is_empty() && outside.is_empty(),
        "not in registered pages: {outside:x?}"
    );
    Ok(())
}

/// This many frames from the cable.
pub fn sent(machine: &mut Machine, count: usize) -> Result<Vec<Vec<u8>>> {
    let cable = machine.world()?.cable();
    let begun = Instant::now();
    let mut frames = Vec::new();
    while frames.len() < count {
        frames.extend(cable.take(Duration::from_millis(200))?);
        ensure!(
            begun.elapsed() < LIMIT,
            "{} frames of {count} on the cable, and no more come",
            frames.len()
        );
    }
    Ok(frames)
}

fn frames_lie_in_the_very_pages_that_a_socket_has_registered(machine: &mut Machine) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    let frames = frames(64);
    let job = Xdp {
        tell: 64,
        ..one(Act::Keep)
    };
    let ends = with_sockets(machine, &job, |machine, probe| {
        let account = account(machine, Direction::Receive)?;
        let world = machine.world()?;
        world.cable().put(&frames)?;
        let places = probe.frames(world.guest(), frames.len())?;
        in_registered_pages(&places, &probe.pages[0])?;
        same(&in_memory(machine, &places)?, &frames)?;
        // The NIC has written each frame there, at once, and nothing else.
        let written = places.iter().map(|frame| Moved {
            queue: 0,
            iova: frame.place.physical_address,
            len: frame.place.len as u64,
        });
        let (moved, written) = (account.end()?, written.collect::<Vec<_>>());
        ensure!(moved == written, "{moved:x?} instead of {written:x?}");
        Ok(())
    })?;
    ensure!(ends[0].received == 64 && ends[0].dropped == 0, "{ends:?}");
    Ok(())
}

fn frames_leave_from_the_very_pages_that_a_socket_has_registered(
    machine: &mut Machine,
) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    let frames = frames(64);
    put_frames(machine, &frames)?;
    let job = Xdp {
        tell: 64,
        ..one(Act::Send(FRAMES_FILE.into()))
    };
    let account = account(machine, Direction::Transmit)?;
    let ends = with_sockets(machine, &job, |machine, probe| {
        same(&sent(machine, frames.len())?, &frames)?;
        let moved = account.end()?;
        let places = probe.frames(machine.world()?.guest(), frames.len())?;
        in_registered_pages(&places, &probe.pages[0])?;
        same(&in_memory(machine, &places)?, &frames)?;
        let not_read: Vec<_> = places
            .iter()
            .filter(|frame| !covers(&moved, &frame.place))
            .collect();
        ensure!(not_read.is_empty(), "the NIC has not read {not_read:x?}");
        all_in_pages(&moved, &probe.pages)
    })?;
    ensure!(ends[0].sent == 64 && ends[0].completed == 64, "{ends:?}");
    Ok(())
}

/// Where frames are that a socket is to send.
const FRAMES_FILE: &str = "/tmp/frames";

fn put_frames(machine: &mut Machine, frames: &[Vec<u8>]) -> Result<()> {
    let mut file = Vec::new();
    for frame in frames {
        file.extend(u16::try_from(frame.len())?.to_le_bytes());
        file.extend(frame);
    }
    machine.world()?.guest().write_file(FRAMES_FILE, &file)?;
    Ok(())
}

/// The same frames with receiver and sender exchanged.
pub fn swapped(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let swap = |frame: &Vec<u8>| [&frame[6..12], &frame[..6], &frame[12..]].concat();
    frames.iter().map(swap).collect()
}

fn a_socket_forwards_frames_out_of_the_pages_that_they_came_to(
    machine: &mut Machine,
) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    let job = Xdp {
        wakeup: Wakeup::Always,
        ..one(Act::Forward)
    };
    let ends = with_sockets(machine, &job, |machine, probe| {
        let ways = [Direction::Receive, Direction::Transmit];
        let [received, sent] = ways.map(|way| account(machine, way));
        let (received, sent) = (received?, sent?);
        forward(machine, 10, &frames(240))?;
        for moved in [received.end()?, sent.end()?] {
            let bytes: u64 = moved.iter().map(|moved| moved.len).sum();
            let all: usize = frames(240).iter().map(|frame| 10 * frame.len()).sum();
            ensure!(bytes == all as u64, "{bytes} bytes were moved of {all}");
            all_in_pages(&moved, &probe.pages)?;
        }
        Ok(())
    })?;
    ensure!(ends[0].completed == 2400, "{ends:?}");
    Ok(())
}

/// Lets these frames pass several times; each comes back, with receiver and sender exchanged, and those of a flow in order.
pub fn forward(machine: &mut Machine, times: usize, frames: &[Vec<u8>]) -> Result<()> {
    for _ in 0..times {
        machine.world()?.cable().put(frames)?;
        same(&sent(machine, frames.len())?, &swapped(frames))?;
    }
    Ok(())
}

/// Frames of many flows, in the order of the queues that RSS chooses for them, and those queues.
fn of_two_queues(machine: &mut Machine, count: u16) -> Result<Vec<(u32, Vec<u8>)>> {
    let world = machine.world()?;
    let (rss, mac) = (world.rss()?, world.mac()?);
    let flow = |port| -> Result<Flow> {
        Ok(Flow {
            source: ("10.7.0.2".parse()?, port),
            destination: ("10.7.0.3".parse()?, 80),
        })
    };
    let mut frames = Vec::new();
    for port in 0..count {
        let flow = flow(1000 + port)?;
        let entry = usize::try_from(rss::hash(&rss.key, &flow) & 127)?;
        let queue = u32::try_from(rss.table[entry])?;
        // TCP: of UDP the driver looks at the addresses only.
        frames.push((
            queue,
            flow.tcp(PEER, mac, &vec![1; usize::from(10 + port)])?,
        ));
    }
    frames.sort_by_key(|(queue, _)| *queue);
    Ok(frames)
}

fn sockets_of_two_queues_are_given_what_rss_chooses_for_them(machine: &mut Machine) -> Result<()> {
    machine.world()?.set_up(&Setup {
        spread: Spread::Rss,
        ..Setup::default()
    })?;
    let frames = of_two_queues(machine, 100)?;
    let job = Xdp {
        queues: vec![0, 1],
        tell: 100,
        ..one(Act::Keep)
    };
    let bytes: Vec<_> = frames.iter().map(|(_, frame)| frame.clone()).collect();
    let ends = with_sockets(machine, &job, |machine, probe| {
        let world = machine.world()?;
        world.cable().put(&bytes)?;
        let mut places = probe.frames(world.guest(), bytes.len())?;
        // Each queue's are in order.
        places.sort_by_key(|frame| frame.queue);
        let queues = |queue: u32| move |frame: &&Frame| frame.queue == queue;
        for (queue, pages) in (0..).zip(&probe.pages) {
            let of_queue: Vec<_> = places.iter().filter(queues(queue)).copied().collect();
            in_registered_pages(&of_queue, pages)?;
        }
        same(&in_memory(machine, &places)?, &bytes)
    })?;
    let received: Vec<_> = ends.iter().map(|end| end.received).collect();
    let of_first = frames.iter().filter(|(queue, _)| *queue == 0).count() as u64;
    ensure!(
        received == [of_first, 100 - of_first] && !received.contains(&0),
        "{received:?}, of which {of_first} for the first"
    );
    Ok(())
}

fn sockets_that_share_their_memory_send_each_others_frames(machine: &mut Machine) -> Result<()> {
    machine.world()?.set_up(&Setup {
        spread: Spread::Rss,
        ..Setup::default()
    })?;
    let frames = of_two_queues(machine, 200)?;
    let mut frames: Vec<_> = frames.into_iter().map(|(_, frame)| frame).collect();
    let job = Xdp {
        queues: vec![0, 1],
        umem: UmemUse::Shared,
        ..one(Act::Forward)
    };
    let ends = with_sockets(machine, &job, |machine, probe| {
        ensure!(probe.pages[0] == probe.pages[1], "two memories");
        for _ in 0..8 {
            machine.world()?.cable().put(&frames)?;
            let mut back = sent(machine, frames.len())?;
            let mut expected = swapped(&frames);
            // The queues keep no order among them.
            back.sort();
            expected.sort();
            same(&back, &expected)?;
        }
        frames.clear();
        Ok(())
    })?;
    let [first, second] = [0, 1].map(|at: usize| ends[at]);
    ensure!(
        first.received == second.completed
            && second.received == first.completed
            && first.received + second.received == 1600
            && first.received > 0
            && second.received > 0,
        "{ends:?}"
    );
    Ok(())
}

fn a_socket_with_few_chunks_tells_the_kernel_when_it_has_some_again(
    machine: &mut Machine,
) -> Result<()> {
    machine.world()?.set_up(&Setup::default())?;
    // The ring has 512 descriptors, so the kernel runs out of chunks at once, and asks to be told.
    let job = Xdp {
        chunks: 64,
        ..one(Act::Forward)
    };
    let ends = with_sockets(machine, &job, |machine, _| {
        forward(machine, 40, &frames(30))
    })?;
    ensure!(
        ends[0].fill_wakeups > 0 && ends[0].send_wakeups > 0 && ends[0].completed == 1200,
        "{ends:?}"
    );
    Ok(())
}

fn a_socket_that_polls_the_nic_itself_leaves_interrupts_off(machine: &mut Machine) -> Result<()> {
    /// Bursts of frames, each of which would be an interrupt.
    const ROUNDS: usize = 60;
    machine.world()?.set_up(&Setup::default())?;
    let folder = format!("/sys/class/net/{INTERFACE}");
    // Interrupts stay off for two empty polls, and then for a second in which nobody polls.
    machine.sh(&format!(
        "echo 2 >{folder}/napi_defer_hard_irqs; echo 1000000000 >{folder}/gro_flush_timeout"
    ))?;
    let job = Xdp {
        wait: Wait::BusyPoll,
        ..one(Act::Forward)
    };
    let result = with_sockets(machine, &job, |machine, _| {
        // With the first frames it begins.
        forward(machine, 1, &frames(60))?;
        let (before, begun) = (interrupts(machine)?, Instant::now());
        forward(machine, ROUNDS, &frames(30))?;
        let grown = interrupts(machine)? - before;
        // The driver's watchdog asks the card for one every other second.
        let limit = 5 + begun.elapsed().as_secs();
        ensure!(
            grown <= limit,
            "{grown} interrupts for {ROUNDS} bursts of frames, not {limit} at most"
        );
        Ok(())
    });
    machine.sh(&format!(
        "echo 0 >{folder}/napi_defer_hard_irqs; echo 0 >{folder}/gro_flush_timeout"
    ))?;
    ensure!(result?[0].completed == 60 + 30 * ROUNDS as u64);
    Ok(())
}

/// Interrupts of queue 0 so far.
fn interrupts(machine: &mut Machine) -> Result<u64> {
    let count = machine.sh(&format!(
        "awk '/{INTERFACE}-TxRx-0/ {{ print $2 + $3 }}' /proc/interrupts"
    ))?;
    count.trim().parse().context("no such interrupt")
}
