//! The folder that keeps what was fetched and made: `xtask-cache` in cargo's target folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::{env, io};

use crate::error::{Error, Result};

/// The cache folder. Its content may be deleted at any time that nothing of this crate runs.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Environment variable with another place for the cache.
    pub const PLACE: &'static str = "XTASK_CACHE";

    /// Opens the cache: at `XTASK_CACHE`, or else in the target folder that holds this executable.
    ///
    /// # Errors
    /// The folder cannot be found or made.
    pub fn open() -> Result<Self> {
        let root = match env::var_os(Self::PLACE) {
            Some(place) => std::path::absolute(&place).map_err(Error::path("resolve", &place))?,
            None => target_folder()?.join("xtask-cache"),
        };
        fs::create_dir_all(&root).map_err(Error::path("create the folder", &root))?;
        Ok(Self { root })
    }

    /// Path of `name` in the cache.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Waits until no other process makes things in the cache. The lock ends with the value returned.
    ///
    /// # Errors
    /// The lock file cannot be used.
    pub fn lock(&self) -> Result<File> {
        let path = self.path("lock");
        let file = File::create(&path).map_err(Error::path("create", &path))?;
        file.lock().map_err(Error::path("lock", &path))?;
        Ok(file)
    }

    /// A folder for the logs of the run called `name`, empty.
    ///
    /// # Errors
    /// The folder cannot be emptied or made.
    pub fn log_folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path("logs").join(name);
        remove_folder(&path)?;
        fs::create_dir_all(&path).map_err(Error::path("create the folder", &path))?;
        Ok(path)
    }
}

/// Removes a folder and all in it; one that is not there is fine.
pub(crate) fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::path("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Cargo's target folder: the nearest one above this executable that cargo tagged as its cache.
fn target_folder() -> Result<PathBuf> {
    let executable = env::current_exe().map_err(Error::path("find", "this executable"))?;
    executable
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists())
        .map(Path::to_owned)
        .ok_or_else(|| Error::Content {
            path: executable.clone(),
            reason: format!(
                "is in no cargo target folder; set {} to a folder for the cache",
                Cache::PLACE
            ),
        })
}
