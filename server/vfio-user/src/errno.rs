//! Error numbers as they travel in a reply's header.

use std::fmt;
use std::io;
use std::num::NonZeroU32;

/// A Linux error number that is never 0.
///
/// QEMU takes an error reply that carries errno 0 for success, so 0 cannot be expressed.
/// Numbers without a name are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(NonZeroU32);

macro_rules! errno_names {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        impl Errno {
            $($(#[$doc])* pub const $name: Self = Self(NonZeroU32::new($number).expect("not 0"));)*
        }
    };
}

errno_names! {
    /// Operation not permitted.
    PERM = 1;
    /// No such entry, for example a mapping.
    NOENT = 2;
    /// Input or output error; also what an error reply without a number means.
    IO = 5;
    /// More than the peer takes at once.
    TOOBIG = 7;
    /// Not enough memory.
    NOMEM = 12;
    /// Access denied.
    ACCES = 13;
    /// Bad address.
    FAULT = 14;
    /// The resource is in use.
    BUSY = 16;
    /// The range overlaps an existing one.
    EXIST = 17;
    /// No such device; QEMU's answer to a DMA message while bus mastering is off.
    NODEV = 19;
    /// A value that the command does not allow.
    INVAL = 22;
    /// The process has no file descriptor left.
    MFILE = 24;
    /// No room for another entry.
    NOSPC = 28;
    /// The number is outside of its range.
    RANGE = 34;
    /// The command number is not known.
    NOSYS = 38;
    /// The command is known, but this device does not do it.
    NOTSUP = 95;
    /// The peer did not answer in time.
    TIMEDOUT = 110;
}

impl Errno {
    /// The errno of that number; 0 becomes [`Errno::IO`].
    #[must_use]
    pub const fn from_raw(number: u32) -> Self {
        match NonZeroU32::new(number) {
            Some(number) => Self(number),
            None => Self::IO,
        }
    }

    /// The number, never 0.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i32::try_from(self.raw()) {
            Ok(number) => io::Error::from_raw_os_error(number).fmt(f),
            Err(_) => write!(f, "error number {}", self.raw()),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({self})")
    }
}

impl std::error::Error for Errno {}

/// The error's own number, or [`Errno::IO`] when it has none.
impl From<&io::Error> for Errno {
    fn from(error: &io::Error) -> Self {
        error
            .raw_os_error()
            .and_then(|number| u32::try_from(number).ok())
            .map_or(Self::IO, Self::from_raw)
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        Self::from(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reply_without_a_number_reads_as_an_io_error() {
        assert_eq!(Errno::from_raw(0), Errno::IO);
    }

    #[test]
    fn the_names_carry_the_numbers_of_the_kernel() {
        use rustix::io::Errno as Kernel;
        let pairs = [
            (Errno::PERM, Kernel::PERM),
            (Errno::NOENT, Kernel::NOENT),
            (Errno::IO, Kernel::IO),
            (Errno::TOOBIG, Kernel::TOOBIG),
            (Errno::NOMEM, Kernel::NOMEM),
            (Errno::ACCES, Kernel::ACCESS),
            (Errno::FAULT, Kernel::FAULT),
            (Errno::BUSY, Kernel::BUSY),
            (Errno::EXIST, Kernel::EXIST),
            (Errno::NODEV, Kernel::NODEV),
            (Errno::INVAL, Kernel::INVAL),
            (Errno::MFILE, Kernel::MFILE),
            (Errno::NOSPC, Kernel::NOSPC),
            (Errno::RANGE, Kernel::RANGE),
            (Errno::NOSYS, Kernel::NOSYS),
            (Errno::NOTSUP, Kernel::NOTSUP),
            (Errno::TIMEDOUT, Kernel::TIMEDOUT),
        ];
        for (ours, kernel) in pairs {
            assert_eq!(i64::from(ours.raw()), i64::from(kernel.raw_os_error()));
        }
    }

    #[test]
    fn an_operating_system_error_keeps_its_number() {
        let error = io::Error::from_raw_os_error(17);
        assert_eq!(Errno::from(error), Errno::EXIST);
    }
}
