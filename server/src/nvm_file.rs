//! The file that keeps a card's NVM.
//!
//! A thread writes it, so that a port's worker never waits for a disk. It waits a moment after the first change, since
//! drivers write the NVM word by word and the checksum last; then it writes the whole chip into a file beside the old one
//! and puts it in its place, so that there is a whole file at any time. What a guest does in a tenth of a second thus
//! costs one file of 32 KB at most.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use nic_model::{LanId, NvmChip, NvmImage, NvmSizeError};
use thiserror::Error;

/// How long changes are gathered.
const SETTLE: Duration = Duration::from_millis(100);

/// Most bytes that are read of a file: one more than an NVM can have.
const READ_LIMIT: u64 = 32_769;

/// Why a file is no NVM.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NvmFileError {
    /// It could not be read.
    #[error("cannot read the NVM file {}; check the path given to --nvm", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be written.
    #[error("cannot write the NVM file {}; its folder must exist and be writable", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has the size of no NVM.
    #[error("{} is no NVM file; give one that `ethtool -e ethX raw on` wrote, or none to get one", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: NvmSizeError,
    },
}

/// What the NVM file at `path` holds, or nothing if there is no such file. A wrong checksum is told, and no error: the
/// card comes up, as a real one does, and drivers refuse it.
///
/// # Errors
/// [`NvmFileError`], which tells cause and next step.
pub fn read(path: &Path) -> Result<Option<NvmImage>, NvmFileError> {
    let bytes = match read_bounded(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            let path = path.to_owned();
            return Err(NvmFileError::Unreadable { path, source });
        }
    };
    let image = NvmImage::try_from(bytes.as_slice()).map_err(|source| NvmFileError::Size {
        path: path.to_owned(),
        source,
    })?;
    if !image.checksum_is_right() {
        tracing::warn!(
            nvm = %path.display(),
            "the checksum of this NVM (word 0x3f) is wrong; drivers will refuse the card until it is right"
        );
    }
    Ok(Some(image))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(
        &mut io::Read::take(File::open(path)?, READ_LIMIT),
        &mut bytes,
    )?;
    Ok(bytes)
}

/// Tells when a port's address is not the one that was asked for, since the NVM has another.
pub fn compare_address(path: &Path, image: &NvmImage, lan_id: LanId, wanted: [u8; 6]) {
    if let Some(mac) = image.mac(lan_id)
        && mac != wanted
    {
        let hex = mac.map(|byte| format!("{byte:02x}")).join(":");
        tracing::info!(
            nvm = %path.display(),
            port = lan_id.index(),
            "the port has the address {hex} of its NVM file"
        );
    }
}

/// Writes `image` to the file at `path`, as a whole or not at all.
///
/// # Errors
/// [`NvmFileError::Unwritable`].
pub fn write(path: &Path, image: &NvmImage) -> Result<(), NvmFileError> {
    replace(path, &image.to_bytes()).map_err(|source| NvmFileError::Unwritable {
        path: path.to_owned(),
        source,
    })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // The file that a link leads to is meant, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut beside = path.clone().into_os_string();
    beside.push(".new");
    let mut file = File::create(&beside)?;
    if let Ok(old) = fs::metadata(&path) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, &path)
}

/// Keeps a file as its card's NVM is. When this is dropped, what has changed last is in the file.
#[derive(Debug)]
pub struct NvmKeeper {
    notice: ChangeNotice,
    thread: Option<JoinHandle<()>>,
}

/// How a worker tells that the NVM has changed. Its clones mean the same card.
#[derive(Clone, Debug, Default)]
pub struct ChangeNotice(Arc<(Mutex<Changes>, Condvar)>);

#[derive(Debug, Default)]
struct Changes {
    changed: bool,
    ended: bool,
}

impl ChangeNotice {
    /// The NVM has changed. Costs no more than a lock that nobody holds for long.
    pub fn changed(&self) {
        self.update(|changes| changes.changed = true);
    }

    fn update(&self, update: impl FnOnce(&mut Changes)) {
        let (changes, condition) = &*self.0;
        update(&mut lock(changes));
        condition.notify_one();
    }

    /// Waits for a change, or the end. Returns whether anything has changed.
    fn wait(&self) -> bool {
        let (changes, condition) = &*self.0;
        let idle = |changes: &mut Changes| !changes.changed && !changes.ended;
        let gathering = |changes: &mut Changes| !changes.ended;
        let changes = condition
            .wait_while(lock(changes), idle)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut changes, _) = condition
            .wait_timeout_while(changes, SETTLE, gathering)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut changes.changed)
    }
}

/// Two flags, which are right whoever panicked.
fn lock(changes: &Mutex<Changes>) -> MutexGuard<'_, Changes> {
    changes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NvmKeeper {
    /// Keeps the file at `path` as `chip` is, whenever `notice` tells of a change. The thread has the rights of the caller.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(path: PathBuf, chip: NvmChip, notice: ChangeNotice) -> io::Result<Self> {
        let changes = notice.clone();
        let keep = move || {
            let mut kept = true;
            while changes.wait() {
                let result = write(&path, &chip.image());
                match &result {
                    // Told once, whatever the guest writes.
                    Err(error) if kept => {
                        let cause = std::error::Error::source(error).map(ToString::to_string);
                        let cause = cause.unwrap_or_default();
                        tracing::warn!("{error}: {cause}; the NVM is not kept until it can be");
                    }
                    _ => {}
                }
                kept = result.is_ok();
            }
        };
        let thread = thread::Builder::new().name("nvm".to_owned()).spawn(keep)?;
        Ok(Self {
            notice,
            thread: Some(thread),
        })
    }
}

impl Drop for NvmKeeper {
    fn drop(&mut self) {
        self.notice.update(|changes| changes.ended = true);
        if let Some(thread) = self.thread.take() {
            // What it could not write it has told.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use nic_model::{Port, PortConfig};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn factory() -> NvmImage {
        NvmImage::factory(&[&PortConfig::new(MAC)])
    }

    #[test]
    fn what_is_written_is_read_back_and_nothing_is_left_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nvm");

        let missing = read(&path).unwrap();
        write(&path, &factory()).unwrap();

        assert!(missing.is_none());
        assert_eq!(read(&path).unwrap().unwrap(), factory());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_one_and_the_file_keeps_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();

        write(&link, &factory()).unwrap();

        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!(metadata.len(), 16_384);
        assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_file_of_another_size_is_told_with_the_sizes_that_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nvm");
        fs::write(&path, [0; 40_000]).unwrap();

        let error = anyhow::Error::new(read(&path).unwrap_err());

        let text = format!("{error:#}");
        assert!(text.contains("ethtool -e"), "{text}");
        assert!(text.contains("4096, 8192, 16384 or 32768"), "{text}");
    }

    #[test]
    fn a_file_with_a_wrong_checksum_is_used_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nvm");
        let mut bytes = factory().to_bytes();
        bytes[0x7E] ^= 1;
        fs::write(&path, &bytes).unwrap();

        assert_eq!(read(&path).unwrap().unwrap().to_bytes(), bytes);
    }

    #[test]
    fn the_last_change_is_in_the_file_when_the_keeper_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nvm");
        let port = Port::new(PortConfig::new(MAC));
        let notice = ChangeNotice::default();
        let keeper = NvmKeeper::start(path.clone(), port.nvm(), notice.clone()).unwrap();

        let unchanged = path.exists();
        notice.changed();
        drop(keeper);

        assert!(!unchanged);
        assert_eq!(read(&path).unwrap().unwrap(), factory());
    }

    #[test]
    fn a_folder_that_has_gone_does_not_end_the_keeper() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("away").join("nvm");
        let port = Port::new(PortConfig::new(MAC));
        let notice = ChangeNotice::default();
        let keeper = NvmKeeper::start(path.clone(), port.nvm(), notice.clone()).unwrap();

        notice.changed();
        drop(keeper);

        assert!(!path.exists());
    }
}
