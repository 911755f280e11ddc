//! `DEVICE_SET_IRQS`: from flags and a handful of file descriptors to an [`IrqUpdate`].

use std::os::fd::OwnedFd;

use zerocopy::FromBytes;
use zerocopy::little_endian::I32;

use super::{Irq, IrqAction, IrqOperation, IrqSelection, IrqUpdate};
use crate::Errno;
use crate::message::{IrqFlags, IrqSet, IrqSetFlags};

/// Entry of an eventfd array that stands for "no eventfd", as in the kernel's interface.
const NO_EVENTFD: i32 = -1;

/// Checks the request against the interrupt type that it is for.
pub(super) fn update<'a>(
    irqs: &[Irq],
    set: &IrqSet,
    data: &'a [u8],
    fds: Vec<OwnedFd>,
) -> Result<IrqUpdate<'a>, Errno> {
    let index = set.index.get();
    let irq = usize::try_from(index)
        .ok()
        .and_then(|index| irqs.get(index))
        .ok_or(Errno::INVAL)?;
    let (kind, action) = parts(IrqSetFlags::from_bits_retain(set.flags.get()))?;
    let (start, count) = (set.start.get(), set.count.get());

    // The structure alone; the data behind it may or may not be counted in.
    if set.argsz.get() < 20 {
        return Err(Errno::INVAL);
    }
    if start.checked_add(count).is_none_or(|end| end > irq.count) {
        return Err(Errno::INVAL);
    }
    if kind != DataKind::Eventfd && !fds.is_empty() {
        return Err(Errno::INVAL);
    }
    // The count is within the type's vectors now, so it bounds the allocations below.
    let places = usize::try_from(count).map_err(|_| Errno::INVAL)?;

    let operation = match kind {
        DataKind::None if count == 0 => {
            if start != 0 || action != IrqAction::Trigger {
                return Err(Errno::INVAL);
            }
            IrqOperation::Disable
        }
        _ if count == 0 => return Err(Errno::INVAL),
        DataKind::None => {
            require_action(irq, action)?;
            IrqOperation::Act(action, IrqSelection::All)
        }
        DataKind::Bool => {
            require_action(irq, action)?;
            if data.len() != places {
                return Err(Errno::INVAL);
            }
            IrqOperation::Act(action, IrqSelection::Chosen(data))
        }
        DataKind::Eventfd => {
            require_action(irq, action)?;
            if !irq.flags.contains(IrqFlags::EVENTFD) {
                return Err(Errno::INVAL);
            }
            IrqOperation::Assign(action, eventfds(places, data, fds)?)
        }
    };
    Ok(IrqUpdate {
        index,
        start,
        count,
        operation,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DataKind {
    None,
    Bool,
    Eventfd,
}

/// The one data bit and the one action bit.
fn parts(flags: IrqSetFlags) -> Result<(DataKind, IrqAction), Errno> {
    let data = IrqSetFlags::DATA_NONE | IrqSetFlags::DATA_BOOL | IrqSetFlags::DATA_EVENTFD;
    let kind = match flags & data {
        IrqSetFlags::DATA_NONE => DataKind::None,
        IrqSetFlags::DATA_BOOL => DataKind::Bool,
        IrqSetFlags::DATA_EVENTFD => DataKind::Eventfd,
        _ => return Err(Errno::INVAL),
    };
    let action = match flags - data {
        IrqSetFlags::ACTION_MASK => IrqAction::Mask,
        IrqSetFlags::ACTION_UNMASK => IrqAction::Unmask,
        IrqSetFlags::ACTION_TRIGGER => IrqAction::Trigger,
        _ => return Err(Errno::INVAL),
    };
    Ok((kind, action))
}

/// Mask and unmask are for types that can be masked.
fn require_action(irq: &Irq, action: IrqAction) -> Result<(), Errno> {
    match action {
        IrqAction::Trigger => Ok(()),
        IrqAction::Mask | IrqAction::Unmask if irq.flags.contains(IrqFlags::MASKABLE) => Ok(()),
        IrqAction::Mask | IrqAction::Unmask => Err(Errno::INVAL),
    }
}

/// One entry for each vector.
///
/// Fewer files than vectors leave the last ones without, no file at all leaves all without. A
/// client may also send the kernel's own array of numbers, where -1 is a hole.
fn eventfds(places: usize, data: &[u8], fds: Vec<OwnedFd>) -> Result<Vec<Option<OwnedFd>>, Errno> {
    if fds.len() > places {
        return Err(Errno::INVAL);
    }
    for fd in &fds {
        check_eventfd(fd)?;
    }
    let mut fds = fds.into_iter();
    if data.is_empty() {
        return Ok((0..places).map(|_| fds.next()).collect());
    }
    let numbers = <[I32]>::ref_from_bytes(data).map_err(|_| Errno::INVAL)?;
    if numbers.len() != places {
        return Err(Errno::INVAL);
    }
    let mut assigned = Vec::with_capacity(places);
    for number in numbers {
        assigned.push(match number.get() {
            NO_EVENTFD => None,
            _ => Some(fds.next().ok_or(Errno::INVAL)?),
        });
    }
    match fds.next() {
        None => Ok(assigned),
        Some(_) => Err(Errno::INVAL),
    }
}

/// Makes sure that a write to it never grows a file. Whether one blocks is the client's choice, who may want to wait in
/// `read`: the flag belongs to both.
fn check_eventfd(fd: &OwnedFd) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(fd).map_err(|_| Errno::INVAL)?;
    // Eventfds belong to the kernel's anonymous inode, which is no kind of file at all.
    // A pipe, socket or regular file is one.
    const FILE_TYPE: u32 = 0o170_000;
    if stat.st_mode & FILE_TYPE != 0 {
        return Err(Errno::INVAL);
    }
    Ok(())
}
