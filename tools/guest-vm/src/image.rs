//! Guest images: a kernel, and an initramfs with programs from packages and our own `/init`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::archive::{PackageSet, Versions};
use crate::cache::Cache;
use crate::cpio::CpioWriter;
use crate::dpdk;
use crate::error::{Error, Result};
use crate::kernel::{Kernel, KernelFiles};
use crate::progress::Step;
use crate::userland::Userland;

const INIT: &str = include_str!("../assets/init.sh");
const AGENT: &str = include_str!("../assets/agent.sh");
const DHCP: &str = include_str!("../assets/dhcp.sh");

/// Programs in the guest, besides busybox' own.
const PROGRAMS: &[&str] = &[
    "bash",
    "bridge",
    "dash",
    "dcb",
    "ethtool",
    "hwstamp_ctl",
    "ip",
    "iperf3",
    "kmod",
    "lspci",
    "netperf",
    "netserver",
    "phc_ctl",
    "ptp4l",
    "setpci",
    "ss",
    "tc",
    "tcpdump",
    "tcpreplay",
];
const KMOD_LINKS: &[&str] = &["depmod", "insmod", "lsmod", "modinfo", "modprobe", "rmmod"];
/// Files that programs look for while they run; libgcc to end a thread.
const FILES: &[&str] = &[
    "usr/share/misc/pci.ids",
    "usr/lib/x86_64-linux-gnu/libgcc_s.so.1",
];
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Which programs an image holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kit {
    /// Those of every guest.
    Linux,
    /// Those, and DPDK's testpmd.
    Dpdk,
    /// Those, and testpmd with the PMDs for all NICs that a guest can be given.
    DpdkForAll,
}

impl Kit {
    /// The packages of DPDK, and the files that a guest gets of each.
    fn dpdk(self) -> &'static [(PackageSet, &'static [&'static str])] {
        const ALL: [(PackageSet, &[&str]); 2] = [
            (dpdk::PACKAGES, dpdk::FILES),
            (dpdk::FURTHER_PACKAGES, dpdk::FURTHER_FILES),
        ];
        match self {
            Self::Linux => &[],
            Self::Dpdk => ALL.split_at(1).0,
            Self::DpdkForAll => &ALL,
        }
    }

    /// What is added to the kernel's name.
    fn suffix(self) -> &'static str {
        match self {
            Self::Linux => "",
            Self::Dpdk => "-dpdk",
            Self::DpdkForAll => "-dpdk-pmds",
        }
    }
}

/// What a guest boots.
#[derive(Clone, Debug)]
pub struct Image {
    /// Which kernel it is.
    pub kernel: Kernel,
    /// What `uname -r` says in it.
    pub release: String,
    /// The kernel, as an ELF file with a PVH entry.
    pub vmlinux: PathBuf,
    /// The kernel as a bzImage, which the firmware starts.
    pub bzimage: PathBuf,
    /// The first file system, as an uncompressed cpio archive.
    pub initramfs: PathBuf,
    /// The packages that it was made of.
    pub versions: ImageVersions,
}

/// The packages that an image was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageVersions {
    /// The kernel's.
    pub kernel: Versions,
    /// The programs'.
    pub userland: Versions,
    /// DPDK's, in an image that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpdk: Option<Versions>,
}

/// All that decides what an image holds.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Recipe {
    release: String,
    #[serde(default)]
    modules: Vec<String>,
    versions: ImageVersions,
    programs: Vec<String>,
    files: Vec<String>,
    scripts: Vec<String>,
}

impl Image {
    /// The image for `kernel` from the cache, or made now from packages.
    ///
    /// # Errors
    /// A package cannot be fetched or is not what was expected.
    pub fn prepare(cache: &Cache, kernel: Kernel) -> Result<Self> {
        Self::prepare_kit(cache, kernel, Kit::Linux)
    }

    /// The same with DPDK's `dpdk-testpmd` and the PMDs that it needs for an ixgbe.
    ///
    /// # Errors
    /// As for [`Image::prepare`].
    pub fn prepare_with_dpdk(cache: &Cache, kernel: Kernel) -> Result<Self> {
        Self::prepare_kit(cache, kernel, Kit::Dpdk)
    }

    /// The same with the PMDs of all NICs that a guest can be given.
    ///
    /// # Errors
    /// As for [`Image::prepare`].
    pub fn prepare_with_dpdk_for_all(cache: &Cache, kernel: Kernel) -> Result<Self> {
        Self::prepare_kit(cache, kernel, Kit::DpdkForAll)
    }

    fn prepare_kit(cache: &Cache, kernel: Kernel, kit: Kit) -> Result<Self> {
        let _lock = cache.lock()?;
        let userland = Userland::prepare_locked(cache)?;
        let mut dpdk = Vec::new();
        for (packages, files) in kit.dpdk() {
            dpdk.push((Userland::unpacked(cache, packages)?, *files));
        }
        let name = format!("{}{}", kernel.name(), kit.suffix());
        let files = KernelFiles::prepare(cache, kernel, &userland)?;
        let folder = cache.path("images").join(name);
        let added = dpdk.iter().flat_map(|(_, files)| *files);
        // One list of packages, as of one set.
        let dpdk_versions = dpdk
            .iter()
            .map(|(root, _)| root.versions.clone())
            .reduce(Versions::and);
        let recipe = Recipe {
            release: files.release.clone(),
            modules: kernel.modules().map(str::to_owned).collect(),
            versions: ImageVersions {
                kernel: files.versions.clone(),
                userland: userland.versions.clone(),
                dpdk: dpdk_versions,
            },
            programs: PROGRAMS.iter().map(|&name| name.to_owned()).collect(),
            files: FILES
                .iter()
                .chain(added)
                .map(|&name| name.to_owned())
                .collect(),
            scripts: [INIT, AGENT, DHCP].map(str::to_owned).to_vec(),
        };
        let record = folder.join("IMAGE.json");
        let initramfs = folder.join("initramfs.cpio");
        let made: Option<Recipe> = fs::read(&record)
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok());
        if made.as_ref() != Some(&recipe) {
            let with = if dpdk.is_empty() { "" } else { " with DPDK" };
            let step = Step::begin(format!("Making the guest image for {kernel}{with}"));
            fs::create_dir_all(&folder).map_err(Error::path("create the folder", &folder))?;
            // Others may boot from the old file meanwhile: the new one takes its name, not its place.
            let partial = folder.join("initramfs.partial");
            let mut contents = contents(&userland, &files)?;
            for (root, files) in &dpdk {
                add_dpdk(&mut contents, root, files)?;
            }
            write_initramfs(&partial, &contents)?;
            fs::rename(&partial, &initramfs)
                .map_err(Error::path("rename to its place", &partial))?;
            let json = serde_json::to_vec_pretty(&recipe).expect("strings always serialise");
            fs::write(&record, json).map_err(Error::path("write", &record))?;
            step.end();
        }
        Ok(Self {
            kernel,
            release: files.release,
            vmlinux: files.vmlinux,
            bzimage: files.bzimage,
            initramfs,
            versions: recipe.versions,
        })
    }
}

fn write_initramfs(path: &Path, contents: &BTreeMap<String, Content>) -> Result<()> {
    let out = File::create(path).map_err(Error::path("create", path))?;
    let mut cpio = CpioWriter::new(BufWriter::new(out));
    write_contents(&mut cpio, contents).map_err(Error::path("write", path))?;
    cpio.finish()
        .and_then(|mut out| out.flush())
        .map_err(Error::path("write", path))
}

enum Content {
    Script(&'static str),
    Copy(PathBuf),
    Link(String),
}

/// Every file of the image by its path.
fn contents(userland: &Userland, kernel: &KernelFiles) -> Result<BTreeMap<String, Content>> {
    let mut files = BTreeMap::new();
    for (name, target) in [
        ("bin", "usr/bin"),
        ("sbin", "usr/sbin"),
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
    ] {
        files.insert(name.to_owned(), Content::Link(target.to_owned()));
    }
    files.insert("init".to_owned(), Content::Script(INIT));
    files.insert("usr/bin/agent".to_owned(), Content::Script(AGENT));
    files.insert(
        "etc/udhcpc/default.script".to_owned(),
        Content::Script(DHCP),
    );
    files.insert(
        "etc/passwd".to_owned(),
        Content::Script("root:x:0:0:root:/root:/bin/bash\n"),
    );
    files.insert("etc/group".to_owned(), Content::Script("root:x:0:\n"));
    files.insert(
        "etc/hosts".to_owned(),
        Content::Script("127.0.0.1 localhost guest\n"),
    );

    let busybox = userland.find("busybox")?;
    for applet in applets(&busybox)? {
        files.insert(
            format!("usr/bin/{applet}"),
            Content::Link("busybox".to_owned()),
        );
    }
    files.insert("usr/bin/busybox".to_owned(), Content::Copy(busybox));
    for name in PROGRAMS {
        let program = userland.find(name)?;
        for (library, path) in userland.libraries_of(&program)? {
            files.insert(format!("{LIBRARIES}/{library}"), Content::Copy(path));
        }
        files.insert(format!("usr/bin/{name}"), Content::Copy(program));
    }
    // busybox' own shell would prefer its small versions of `ip` and others to the real ones.
    files.insert("usr/bin/sh".to_owned(), Content::Link("dash".to_owned()));
    for name in KMOD_LINKS {
        files.insert(format!("usr/bin/{name}"), Content::Link("kmod".to_owned()));
    }
    let loader = format!("{LIBRARIES}/ld-linux-x86-64.so.2");
    files.insert(
        "usr/lib64/ld-linux-x86-64.so.2".to_owned(),
        Content::Link(format!("/{loader}")),
    );
    files.insert(loader.clone(), Content::Copy(userland.path(&loader)));
    for name in FILES {
        files.insert((*name).to_owned(), Content::Copy(userland.path(name)));
    }

    let modules = format!("usr/lib/modules/{}", kernel.release);
    for entry in fs::read_dir(&kernel.modules).map_err(Error::path("list", &kernel.modules))? {
        let entry = entry.map_err(Error::path("list", &kernel.modules))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(format!("{modules}/{name}"), Content::Copy(entry.path()));
    }
    Ok(files)
}

/// Adds files of DPDK. Libraries that are there already stay: they belong to the loader.
fn add_dpdk(
    contents: &mut BTreeMap<String, Content>,
    dpdk: &Userland,
    files: &[&str],
) -> Result<()> {
    let mut add = |name: String, path| {
        contents.entry(name).or_insert(Content::Copy(path));
    };
    for name in files {
        let path = dpdk.path(name);
        for (library, path) in dpdk.libraries_of(&path)? {
            add(format!("{LIBRARIES}/{library}"), path);
        }
        add((*name).to_owned(), path);
    }
    Ok(())
}

/// The names under which busybox is called; it is static, so it runs here too.
fn applets(busybox: &Path) -> Result<Vec<String>> {
    let what = || format!("{} --list", busybox.display());
    let output = Command::new(busybox)
        .arg("--list")
        .output()
        .map_err(|source| Error::Start {
            what: what(),
            source,
        })?;
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(list
        .lines()
        .filter(|&name| name != "busybox")
        .map(str::to_owned)
        .collect())
}

fn write_contents<W: Write>(
    cpio: &mut CpioWriter<W>,
    contents: &BTreeMap<String, Content>,
) -> io::Result<()> {
    let mut folders: BTreeSet<&str> = [
        "dev",
        "proc",
        "sys",
        "run",
        "tmp",
        "root",
        "usr/bin",
        "usr/sbin",
        "usr/lib64",
    ]
    .into();
    for name in contents.keys() {
        folders.extend(
            Path::new(name)
                .ancestors()
                .skip(1)
                .filter_map(Path::to_str)
                .filter(|name| !name.is_empty()),
        );
    }
    folders.insert("usr");
    // Sorted, so that a folder comes before what is in it.
    for folder in folders {
        cpio.folder(folder)?;
    }
    // The kernel opens its first console before anything is mounted.
    cpio.character_device("dev/console", (5, 1))?;
    for (name, content) in contents {
        match content {
            Content::Script(text) => cpio.file(name, 0o755, text.as_bytes())?,
            Content::Link(target) => cpio.link(name, target)?,
            Content::Copy(path) => cpio.file(name, 0o755, &fs::read(path)?)?,
        }
    }
    Ok(())
}
