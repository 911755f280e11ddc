//! A guest that is somebody else's: a kernel or a disk of theirs, without an agent of ours in it.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use super::GuestConfig;
use crate::{
    error::{Error, Result},
    process::Process,
    qemu::machine_arguments,
};

/// What is booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForeignBoot {
    /// A kernel (a Linux bzImage, or an ELF file with a PVH note or a multiboot header).
    Kernel {
        /// The kernel.
        kernel: PathBuf,
        /// Its initrd or first module.
        initrd: Option<PathBuf>,
        /// Its command line.
        arguments: String,
    },
    /// A disk image, of a format that QEMU knows. Nothing is written to it.
    Disk(PathBuf),
}

/// A running guest of somebody else's. It is killed when this is dropped.
#[derive(Debug)]
pub struct ForeignGuest {
    qemu: Process,
    console: PathBuf,
}

impl ForeignGuest {
    /// Starts QEMU. Its first serial port goes to the file `console.log` of the folder of logs. Of `config`, what says how
    /// our own kernels are booted has no effect.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn start(config: &GuestConfig, boot: &ForeignBoot) -> Result<Self> {
        let logs = config.logs();
        fs::create_dir_all(logs).map_err(Error::path("create the folder", logs))?;
        let console = logs.join("console.log");
        let mut command = config.qemu().command();
        command
            .args(machine_arguments(config.memory_mib()))
            .args(config.cpu_arguments())
            .args(["-serial", &format!("file:{}", console.display())]);
        match boot {
            ForeignBoot::Kernel {
                kernel,
                initrd,
                arguments,
            } => {
                command.arg("-kernel").arg(kernel);
                if let Some(initrd) = initrd {
                    command.arg("-initrd").arg(initrd);
                }
                command.args(["-append", arguments]);
            }
            ForeignBoot::Disk(path) => {
                // A comma in an option is written twice.
                let path = path.to_string_lossy().replace(',', ",,");
                let drive = OsString::from(format!("file={path},if=virtio,snapshot=on"));
                command.arg("-drive").arg(drive);
            }
        }
        command.args(config.devices());
        let qemu = config
            .spawner()
            .start("QEMU", &command, &logs.join("qemu.stderr"))?;
        Ok(Self { qemu, console })
    }

    /// How QEMU has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.qemu.ended()
    }

    /// What QEMU said last.
    pub fn said(&self) -> String {
        self.qemu.log_tail()
    }

    /// The guest's serial console.
    pub fn console(&self) -> &Path {
        &self.console
    }
}
