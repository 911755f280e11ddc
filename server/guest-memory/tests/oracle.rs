//! Any sequence of maps, unmaps and accesses does what a table of single pages does.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use guest_memory::{AccessError, Backing, IovaTable, SharedMemory};
use nix::errno::Errno;
use proptest::collection::vec;
use proptest::prelude::*;
use vm_memory::Permissions;

const PAGE: u64 = 0x1000;
const FILE_PAGES: u64 = 8;

/// What the client says is behind a range.
#[derive(Clone, Copy, Debug)]
enum Source {
    File {
        index: usize,
        page: u64,
        read_only: bool,
    },
    Messages,
}

#[derive(Clone, Debug)]
enum Step {
    Map {
        iova: u64,
        pages: u64,
        access: Permissions,
        source: Source,
    },
    Unmap {
        iova: u64,
        pages: u64,
    },
    UnmapAll,
    ReleaseIdle,
    Read {
        iova: u64,
        len: usize,
    },
    Write {
        iova: u64,
        len: usize,
        fill: u8,
    },
    WriteBack {
        iova: u64,
        low: u64,
        high: u64,
    },
}

/// Where one page leads.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Page {
    access: Permissions,
    /// File and page in it; nothing for messages.
    file: Option<(usize, u64)>,
}

/// The naive table: one entry per page, and the files' bytes.
struct Oracle {
    pages: BTreeMap<u64, Page>,
    files: [Vec<u8>; 2],
}

/// What an access came to, without how much of it messages would have to do.
#[derive(Debug, PartialEq)]
enum Fault {
    Unmapped(u64),
    Permission(u64),
    Messages(u64),
    Misaligned(u64),
}

fn fault(error: AccessError) -> Fault {
    match error {
        AccessError::Unmapped { iova } => Fault::Unmapped(iova),
        AccessError::Permission { iova } => Fault::Permission(iova),
        AccessError::MessageBacked { iova, .. } => Fault::Messages(iova),
        AccessError::Misaligned { iova } => Fault::Misaligned(iova),
        AccessError::Gone { .. } => unreachable!("no file is truncated here"),
    }
}

impl Oracle {
    fn new() -> Self {
        let len = usize::try_from(FILE_PAGES * PAGE).unwrap();
        Self {
            pages: BTreeMap::new(),
            files: [vec![0; len], vec![0; len]],
        }
    }

    fn map(
        &mut self,
        iova: u64,
        pages: u64,
        access: Permissions,
        source: Source,
    ) -> Result<(), Errno> {
        let end = u128::from(iova) + u128::from(pages * PAGE);
        if pages == 0 || end > 1 << 64 {
            return Err(Errno::EINVAL);
        }
        let file = match source {
            Source::File { page, .. } if page + pages > FILE_PAGES => return Err(Errno::EINVAL),
            Source::File {
                read_only: true, ..
            } if access.has_write() => return Err(Errno::EACCES),
            Source::File { index, page, .. } => Some((index, page)),
            Source::Messages => None,
        };
        let wanted: BTreeMap<_, _> = (0..pages)
            .map(|n| {
                let file = file.map(|(index, page)| (index, page + n));
                (iova / PAGE + n, Page { access, file })
            })
            .collect();
        if wanted
            .iter()
            .all(|(number, page)| self.pages.get(number) == Some(page))
        {
            return Ok(());
        }
        if wanted.keys().any(|number| self.pages.contains_key(number)) {
            return Err(Errno::EEXIST);
        }
        self.pages.extend(wanted);
        Ok(())
    }

    fn unmap(&mut self, iova: u64, pages: u64) -> Result<(), Errno> {
        let end = u128::from(iova) + u128::from(pages * PAGE);
        if pages == 0 || end > 1 << 64 {
            return Err(Errno::EINVAL);
        }
        let first = iova / PAGE;
        self.pages
            .retain(|number, _| !(first..first + pages).contains(number));
        Ok(())
    }

    /// Where each byte of an access lies: file and offset.
    fn bytes(
        &self,
        iova: u64,
        len: usize,
        access: Permissions,
    ) -> Result<Vec<(usize, usize)>, Fault> {
        let address = |n: usize| iova.checked_add(n.try_into().unwrap());
        let locate = |n| {
            let at = address(n).ok_or(Fault::Unmapped(iova))?;
            let page = self.pages.get(&(at / PAGE)).ok_or(Fault::Unmapped(at))?;
            if !page.access.allow(access) {
                return Err(Fault::Permission(at));
            }
            let (file, page) = page.file.ok_or(Fault::Messages(at))?;
            Ok((file, usize::try_from(page * PAGE + at % PAGE).unwrap()))
        };
        (0..len).map(locate).collect()
    }

    fn read(&self, iova: u64, len: usize) -> Result<Vec<u8>, Fault> {
        let places = self.bytes(iova, len, Permissions::Read)?;
        let byte = |(file, offset): (usize, usize)| self.files[file][offset];
        Ok(places.into_iter().map(byte).collect())
    }

    fn write(&mut self, iova: u64, from: &[u8]) -> Result<(), Fault> {
        let places = self.bytes(iova, from.len(), Permissions::Write)?;
        for ((file, offset), byte) in places.into_iter().zip(from) {
            self.files[file][offset] = *byte;
        }
        Ok(())
    }

    fn write_back(&mut self, iova: u64, low: u64, high: u64) -> Result<(), Fault> {
        if !iova.is_multiple_of(16) {
            return Err(Fault::Misaligned(iova));
        }
        let descriptor = [low.to_le_bytes(), high.to_le_bytes()].concat();
        self.write(iova, &descriptor)
    }
}

/// The table under test and the client whose memory it maps.
struct Subject {
    table: IovaTable,
    clients: [SharedMemory; 2],
}

impl Subject {
    fn new() -> Self {
        let len = usize::try_from(FILE_PAGES * PAGE).unwrap();
        Self {
            table: IovaTable::default(),
            clients: [c"client 0", c"client 1"].map(|name| SharedMemory::new(name, len).unwrap()),
        }
    }

    fn fd(&self, index: usize, read_only: bool) -> OwnedFd {
        let fd = self.clients[index].as_fd();
        if read_only {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            File::open(path).unwrap().into()
        } else {
            fd.try_clone_to_owned().unwrap()
        }
    }

    fn map(
        &mut self,
        iova: u64,
        pages: u64,
        access: Permissions,
        source: Source,
    ) -> Result<(), Errno> {
        let backing = match source {
            Source::File {
                index,
                page,
                read_only,
            } => Backing::File {
                fd: self.fd(index, read_only),
                offset: page * PAGE,
            },
            Source::Messages => Backing::Messages,
        };
        let result = self.table.map(iova, pages * PAGE, access, backing);
        result.map_err(|error| error.errno())
    }

    fn read(&self, iova: u64, len: usize) -> Result<Vec<u8>, Fault> {
        let mut out = vec![0xee; len];
        self.table.read(iova, &mut out).map_err(fault)?;
        Ok(out)
    }

    /// As `read`, by way of a scatter list.
    fn gather(&self, iova: u64, len: usize) -> Result<Vec<u8>, Fault> {
        let slices = self
            .table
            .slices(iova, len, Permissions::Read)
            .map_err(fault)?;
        let copy = |slice: vm_memory::VolatileSlice<'_>| {
            let mut out = vec![0xee; slice.len()];
            slice.copy_to(&mut out[..]);
            out
        };
        Ok(slices.flat_map(copy).collect())
    }

    fn files(&self) -> [Vec<u8>; 2] {
        let whole = |client: &SharedMemory| {
            let mut out = vec![0; client.len()];
            client.slice(0, client.len()).unwrap().copy_to(&mut out[..]);
            out
        };
        [whole(&self.clients[0]), whole(&self.clients[1])]
    }
}

fn step(subject: &mut Subject, oracle: &mut Oracle, step: Step) {
    match step {
        Step::Map {
            iova,
            pages,
            access,
            source,
        } => {
            let got = subject.map(iova, pages, access, source);
            assert_eq!(got, oracle.map(iova, pages, access, source));
        }
        Step::Unmap { iova, pages } => {
            let got = subject
                .table
                .unmap(iova, pages * PAGE)
                .map_err(|error| error.errno());
            assert_eq!(got, oracle.unmap(iova, pages));
        }
        Step::UnmapAll => {
            subject.table.unmap_all();
            oracle.pages.clear();
        }
        Step::ReleaseIdle => subject.table.release_idle(),
        Step::Read { iova, len } => {
            let wanted = oracle.read(iova, len);
            assert_eq!(subject.read(iova, len), wanted);
            assert_eq!(subject.gather(iova, len), wanted);
        }
        Step::Write { iova, len, fill } => {
            let from: Vec<u8> = (fill..=255).cycle().take(len).collect();
            let got = subject.table.write(iova, &from).map_err(fault);
            assert_eq!(got, oracle.write(iova, &from));
        }
        Step::WriteBack { iova, low, high } => {
            let got = subject.table.write_back(iova, low, high).map_err(fault);
            assert_eq!(got, oracle.write_back(iova, low, high));
        }
    }
    assert_eq!(subject.table.is_empty(), oracle.pages.is_empty());
}

/// Page-aligned addresses at the bottom and at the top of the address space.
fn page_address() -> impl Strategy<Value = u64> {
    let bottom = (0..12_u64).prop_map(|page| page * PAGE);
    let top = (1..=12_u64).prop_map(|page| 0_u64.wrapping_sub(page * PAGE));
    prop_oneof![bottom, top]
}

/// Any address there, and those that matter most.
fn address() -> impl Strategy<Value = u64> {
    let offset = prop_oneof![Just(0), Just(0xff0), Just(0xfff), 0..PAGE];
    (page_address(), offset).prop_map(|(page, offset)| page + offset)
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0_usize), Just(4), Just(8), Just(16), 0..0x3000_usize]
}

fn access() -> impl Strategy<Value = Permissions> {
    use Permissions::{No, Read, ReadWrite, Write};
    prop_oneof![1 => Just(No), 2 => Just(Read), 1 => Just(Write), 6 => Just(ReadWrite)]
}

fn source() -> impl Strategy<Value = Source> {
    let file = (0..2_usize, 0..FILE_PAGES, prop::bool::weighted(0.1)).prop_map(
        |(index, page, read_only)| Source::File {
            index,
            page,
            read_only,
        },
    );
    prop_oneof![5 => file, 1 => Just(Source::Messages)]
}

fn any_step() -> impl Strategy<Value = Step> {
    let map =
        (page_address(), 0..5_u64, access(), source()).prop_map(|(iova, pages, access, source)| {
            Step::Map {
                iova,
                pages,
                access,
                source,
            }
        });
    // Always to the same place, so that many of these say again what is said already.
    let map_again = (page_address(), 1..4_u64).prop_map(|(iova, pages)| Step::Map {
        iova,
        pages,
        access: Permissions::ReadWrite,
        source: Source::File {
            index: 0,
            page: iova / PAGE % FILE_PAGES,
            read_only: false,
        },
    });
    let unmap = (page_address(), 0..5_u64).prop_map(|(iova, pages)| Step::Unmap { iova, pages });
    // From an address up to 2^64.
    let unmap_rest = page_address().prop_map(|iova| Step::Unmap {
        iova,
        pages: (iova.wrapping_neg() / PAGE).max(1),
    });
    let read = (address(), len()).prop_map(|(iova, len)| Step::Read { iova, len });
    let write = (address(), len(), any::<u8>()).prop_map(|(iova, len, fill)| Step::Write {
        iova,
        len,
        fill,
    });
    let write_back = (address(), any::<u64>(), any::<u64>())
        .prop_map(|(iova, low, high)| Step::WriteBack { iova, low, high });
    prop_oneof![
        20 => map,
        20 => map_again,
        12 => unmap,
        2 => unmap_rest,
        1 => Just(Step::UnmapAll),
        2 => Just(Step::ReleaseIdle),
        15 => read,
        15 => write,
        5 => write_back,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn reads_and_writes_match_a_byte_map(steps in vec(any_step(), 1..100)) {
        let mut subject = Subject::new();
        let mut oracle = Oracle::new();

        for next in steps {
            step(&mut subject, &mut oracle, next);
        }

        prop_assert_eq!(subject.files(), oracle.files);
    }
}
