//! Finding a QEMU that has a vfio-user client, or fetching one.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::archive::{PackageRoot, PackageSet};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::process::Program;
use crate::userland::{loader, loader_arguments};

const PACKAGES: PackageSet = PackageSet {
    name: "qemu",
    suite: "trixie-backports",
    packages: &["qemu-system-x86"],
    without: &[
        "adduser",
        "debconf",
        "init-system-helpers",
        "ipxe-qemu",
        "passwd",
    ],
};

/// A QEMU for x86-64 that has the device `vfio-user-pci` (10.1 or newer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qemu {
    program: Program,
    version: String,
}

impl Qemu {
    /// Environment variable with the QEMU to use.
    pub const CHOICE: &'static str = "XTASK_QEMU";
    const NAME: &'static str = "qemu-system-x86_64";

    /// The QEMU to use: the one that `XTASK_QEMU` names, else the one on PATH if it has vfio-user-pci, else Debian
    /// 13 backports' from the cache, fetched now if it is not there.
    ///
    /// # Errors
    /// The QEMU that was asked for has no vfio-user-pci, or none can be fetched.
    pub fn find(cache: &Cache) -> Result<Self> {
        if let Some(path) = env::var_os(Self::CHOICE) {
            return Self::at(Path::new(&path));
        }
        if let Ok(qemu) = Self::probe(Program::host(Self::NAME)) {
            return Ok(qemu);
        }
        let _lock = cache.lock()?;
        let root = PackageRoot::prepare(cache, &PACKAGES)?.path;
        let mut prefix = loader_arguments(&root, &root.join("usr/bin").join(Self::NAME));
        for folder in ["usr/share/qemu", "usr/share/seabios"] {
            prefix.extend([OsString::from("-L"), root.join(folder).into()]);
        }
        let modules = root.join("usr/lib/x86_64-linux-gnu/qemu");
        Self::probe(Program {
            executable: loader(&root),
            prefix,
            env: vec![("QEMU_MODULE_DIR".into(), modules.into())],
        })
        .map_err(|reason| {
            Error::Qemu(format!(
                "the QEMU fetched to {} is not usable: {reason}",
                root.display()
            ))
        })
    }

    /// The QEMU at `path`.
    ///
    /// # Errors
    /// It cannot be run or has no vfio-user-pci.
    pub fn at(path: &Path) -> Result<Self> {
        Self::probe(Program::host(path)).map_err(|reason| {
            Error::Qemu(format!(
                "{} is not usable: {reason}; give the path of a qemu-system-x86_64 of version 10.1 or newer, or none \
                 to have one fetched",
                path.display()
            ))
        })
    }

    fn probe(program: Program) -> Result<Self, String> {
        let ask = |argument: &[&str]| -> Result<String, String> {
            let output = program
                .command()
                .args(argument)
                .stdin(Stdio::null())
                .output()
                .map_err(|e| e.to_string())?;
            if !output.status.success() {
                let stderr = String::from_utf8_lossy(&output.stderr);
                return Err(stderr
                    .lines()
                    .next()
                    .unwrap_or("it says nothing")
                    .to_owned());
            }
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let version = ask(&["--version"])?;
        let version = version
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("QEMU emulator version ")
            .to_owned();
        if !ask(&["-device", "help"])?.contains("name \"vfio-user-pci\"") {
            return Err(format!("QEMU {version} has no vfio-user-pci"));
        }
        Ok(Self { program, version })
    }

    /// What `--version` says, without "QEMU emulator version".
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The file that is executed, or that the private loader loads.
    pub fn executable(&self) -> PathBuf {
        self.program
            .prefix
            .get(2)
            .map_or_else(|| self.program.executable.clone(), PathBuf::from)
    }

    /// A command that runs this QEMU; add its arguments.
    pub fn command(&self) -> Command {
        self.program.command()
    }
}

/// Machine and memory that every guest has: memory is one shared memfd, which a vfio-user server can map.
pub(crate) fn machine_arguments(memory_mib: u32) -> Vec<OsString> {
    let memory = format!("memory-backend-memfd,id=memory,size={memory_mib}M,share=on");
    let arguments = [
        "-machine",
        "q35,memory-backend=memory",
        "-m",
        &format!("{memory_mib}M"),
        "-object",
        &memory,
        "-nodefaults",
        "-no-user-config",
        "-nic",
        "none",
        "-display",
        "none",
    ];
    arguments.iter().map(OsString::from).collect()
}

/// The arguments that attach the vfio-user device at `socket` as device `nicINDEX`, behind a PCI Express root port of
/// its own: see [`root_port_arguments`].
pub fn vfio_user_arguments(index: u8, socket: &Path) -> Vec<OsString> {
    let device = serde_json::json!({
        "driver": "vfio-user-pci",
        "id": format!("nic{index}"),
        "bus": format!("port{index}"),
        "socket": { "type": "unix", "path": socket },
    });
    let mut arguments = root_port_arguments(index);
    arguments.extend(["-device".into(), device.to_string().into()]);
    arguments
}

/// The arguments for a PCI Express root port: the bus `portINDEX`. The port is device `0x10 + INDEX` of bus 0; the
/// first port's device is 01:00.0 for the guest. Ports go from 0 to 14.
pub fn root_port_arguments(index: u8) -> Vec<OsString> {
    let (address, chassis) = (0x10 + u16::from(index), u16::from(index) + 1);
    vec![
        "-device".into(),
        format!("pcie-root-port,id=port{index},chassis={chassis},addr={address:#x}").into(),
    ]
}
