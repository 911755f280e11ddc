//! Writer of the archive that the kernel unpacks as its first file system (`newc` cpio, Documentation/driver-api/
//! early-userspace/buffer-format.rst of the kernel).

use std::io::{self, Write};

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// A cpio archive in the making. All files belong to root.
#[derive(Debug)]
pub(crate) struct CpioWriter<W> {
    out: W,
    inode: u32,
    written: u64,
}

struct Entry<'a> {
    name: &'a str,
    mode: u32,
    device: (u32, u32),
    content: &'a [u8],
}

impl<W: Write> CpioWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            inode: 0,
            written: 0,
        }
    }

    pub(crate) fn folder(&mut self, name: &str) -> io::Result<()> {
        self.entry(&Entry {
            name,
            mode: FOLDER | 0o755,
            device: (0, 0),
            content: &[],
        })
    }

    pub(crate) fn file(&mut self, name: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.entry(&Entry {
            name,
            mode: FILE | permissions,
            device: (0, 0),
            content,
        })
    }

    pub(crate) fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.entry(&Entry {
            name,
            mode: LINK | 0o777,
            device: (0, 0),
            content: target.as_bytes(),
        })
    }

    pub(crate) fn character_device(&mut self, name: &str, device: (u32, u32)) -> io::Result<()> {
        self.entry(&Entry {
            name,
            mode: CHARACTER_DEVICE | 0o600,
            device,
            content: &[],
        })
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.entry(&Entry {
            name: "TRAILER!!!",
            mode: 0,
            device: (0, 0),
            content: &[],
        })?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let too_long =
            |_| io::Error::other(format!("{} is too long for a cpio archive", entry.name));
        let size = u32::try_from(entry.content.len()).map_err(too_long)?;
        let name_size = u32::try_from(entry.name.len() + 1).map_err(too_long)?;
        self.inode += 1;
        let links = 1;
        let fields = [
            self.inode,
            entry.mode,
            0,
            0,
            links,
            0,
            size,
            0,
            0,
            entry.device.0,
            entry.device.1,
            name_size,
            0,
        ];
        self.put(b"070701")?;
        for field in fields {
            self.put(format!("{field:08X}").as_bytes())?;
        }
        self.put(entry.name.as_bytes())?;
        self.put(&[0])?;
        self.align()?;
        self.put(entry.content)?;
        self.align()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += u64::try_from(bytes.len()).map_err(io::Error::other)?;
        self.out.write_all(bytes)
    }

    fn align(&mut self) -> io::Result<()> {
        while !self.written.is_multiple_of(4) {
            self.put(&[0])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_header_name_padding_content_padding_trailer() {
        let mut cpio = CpioWriter::new(Vec::new());

        cpio.file("init", 0o755, b"hello").unwrap();
        let bytes = cpio.finish().unwrap();

        let expected = "070701000000010000\
                        81ED0000000000000000000000010000000000000005\
                        0000000000000000000000000000000000000005\
                        00000000init\0\0hello\0\0\0";
        assert_eq!(String::from_utf8_lossy(&bytes[..expected.len()]), expected);
        assert!(bytes[expected.len()..].starts_with(b"070701"));
        assert!(bytes.windows(10).any(|window| window == b"TRAILER!!!"));
        assert_eq!(bytes.len() % 4, 0);
    }
}
