//! Debian's kernels: the bare vmlinux, which boots by PVH in half the time, the bzImage that it was in, and the modules
//! that guests use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::archive::{PackageRoot, PackageSet, Versions};
use crate::cache::{Cache, remove_folder};
use crate::error::{Error, Result};
use crate::process::Spawner;
use crate::progress::Step;
use crate::userland::Userland;

/// A kernel that guests can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kernel {
    /// Debian 12's, Linux 6.1.
    Debian12,
    /// Debian 13's, Linux 6.12.
    Debian13,
    /// The newest that Debian 13's backports have.
    Backports,
}

impl Kernel {
    /// All that are offered, oldest first.
    pub const ALL: [Self; 3] = [Self::Debian12, Self::Debian13, Self::Backports];

    /// The name by which people choose it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian12 => "debian12",
            Self::Debian13 => "debian13",
            Self::Backports => "backports",
        }
    }

    /// Modules that guests load, without what they depend on.
    pub(crate) fn modules(self) -> impl Iterator<Item = &'static str> {
        let later = match self {
            Self::Debian12 => &[],
            Self::Debian13 | Self::Backports => LATER_MODULES,
        };
        MODULES.iter().chain(later).copied()
    }

    fn packages(self) -> PackageSet {
        let (name, suite) = match self {
            Self::Debian12 => ("kernel-debian12", "bookworm"),
            Self::Debian13 => ("kernel-debian13", "trixie"),
            Self::Backports => ("kernel-backports", "trixie-backports"),
        };
        PackageSet {
            name,
            suite,
            packages: &["linux-image-amd64"],
            without: &["kmod", "linux-base", "initramfs-tools", "debconf"],
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kernel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "debian12" | "6.1" => Ok(Self::Debian12),
            "debian13" | "6.12" => Ok(Self::Debian13),
            "backports" => Ok(Self::Backports),
            _ => Err(format!(
                "no kernel `{text}`: choose debian12 (6.1), debian13 (6.12) or backports (the newest)"
            )),
        }
    }
}

/// Modules that guests of every kernel load, without what they depend on.
const MODULES: &[&str] = &[
    // The device under test, its virtual function, and those that it is compared with.
    "ixgbe",
    "ixgbevf",
    "igb",
    "e1000e",
    "vmxnet3",
    "virtio_net",
    // How the guest is controlled.
    "virtio_pci",
    "virtio_console",
    // Users of a NIC.
    "8021q",
    "bonding",
    "bridge",
    "fcoe",
    "macvlan",
    "pktgen",
    "uio_pci_generic",
    // `tc`: what is decided on frames, some of it by the card, and by what they are looked at.
    "act_gact",
    "act_mirred",
    "cls_u32",
    "sch_ingress",
    "sch_mqprio",
    // IPsec: modules of the network, and algorithms, which it asks for by other names.
    "esp4_offload",
    "esp6_offload",
    "xfrm_user",
    "ctr",
    "drbg",
    "gcm",
    "ghash_generic",
    "jitterentropy_rng",
    "seqiv",
    "sha512_generic",
    // vfio_pci does not name it, but loads it when a container is opened.
    "vfio_iommu_type1",
    "vfio_pci",
];

/// Those that Debian 12's kernel does not have.
const LATER_MODULES: &[&str] = &["virtio_iommu"];

/// Name of the kernel's file as it came.
const BZIMAGE: &str = "vmlinuz";

/// A kernel taken out of its packages.
#[derive(Clone, Debug)]
pub(crate) struct KernelFiles {
    /// What `uname -r` says.
    pub release: String,
    /// The uncompressed kernel.
    pub vmlinux: PathBuf,
    /// The kernel as a bzImage.
    pub bzimage: PathBuf,
    /// Folder that holds the chosen modules, uncompressed, and the kernel's lists of modules.
    pub modules: PathBuf,
    /// Where it came from.
    pub versions: Versions,
}

#[derive(Serialize, Deserialize)]
struct Record {
    release: String,
    modules: Vec<String>,
    versions: Versions,
}

impl KernelFiles {
    /// The kernel's files from the cache, or fetched now. The caller holds the cache's lock.
    pub(crate) fn prepare(cache: &Cache, kernel: Kernel, userland: &Userland) -> Result<Self> {
        let folder = cache.path("kernels").join(kernel.name());
        if let Some(files) = Self::cached(&folder, kernel) {
            return Ok(files);
        }
        let root = PackageRoot::prepare(cache, &kernel.packages())?;
        let partial = folder.with_extension("partial");
        remove_folder(&partial)?;
        let record = take_out(&root, kernel, &partial, userland)?;
        let path = partial.join("RECORD.json");
        let json = serde_json::to_vec_pretty(&record).expect("strings always serialise");
        fs::write(&path, json).map_err(Error::path("write", &path))?;
        remove_folder(&folder)?;
        fs::rename(&partial, &folder).map_err(Error::path("rename to its place", &partial))?;
        root.remove()?;
        Self::cached(&folder, kernel).ok_or_else(|| Error::Content {
            path: folder,
            reason: "was not recorded as made".to_owned(),
        })
    }

    fn cached(folder: &Path, kernel: Kernel) -> Option<Self> {
        let record: Record =
            serde_json::from_slice(&fs::read(folder.join("RECORD.json")).ok()?).ok()?;
        let has = |name: &str| record.modules.iter().any(|module| module == name);
        let bzimage = folder.join(BZIMAGE);
        (kernel.modules().all(has) && bzimage.exists()).then(|| Self {
            bzimage,
            modules: folder.join("usr/lib/modules").join(&record.release),
            release: record.release,
            vmlinux: folder.join("vmlinux"),
            versions: record.versions,
        })
    }
}

fn take_out(
    root: &PackageRoot,
    kernel: Kernel,
    folder: &Path,
    userland: &Userland,
) -> Result<Record> {
    let step = Step::begin("Taking out the kernel and its modules");
    let (release, tree) = find_module_tree(&root.path)?;
    let modules = folder.join("usr/lib/modules").join(&release);
    fs::create_dir_all(&modules).map_err(Error::path("create the folder", &modules))?;
    let image = find_image(&root.path)?;
    let vmlinux = folder.join("vmlinux");
    let bytes = fs::read(&image).map_err(Error::path("read", &image))?;
    let bzimage = folder.join(BZIMAGE);
    fs::write(&bzimage, &bytes).map_err(Error::path("write", bzimage))?;
    let elf = unpack_kernel(&bytes).map_err(|reason| Error::Content {
        path: image,
        reason,
    })?;
    fs::write(&vmlinux, elf).map_err(Error::path("write", &vmlinux))?;
    copy_modules(&tree, kernel, &modules)?;
    // depmod looks below `lib` or `usr/lib`, as it was built.
    let lib = folder.join("lib");
    symlink("usr/lib", &lib).map_err(Error::path("create the link", &lib))?;
    let mut depmod = userland.program("depmod")?.command();
    depmod.arg("--basedir").arg(folder).arg(&release);
    Spawner::own().output(&depmod)?;
    step.end();
    Ok(Record {
        release,
        modules: kernel.modules().map(str::to_owned).collect(),
        versions: root.versions.clone(),
    })
}

/// Finds `lib/modules/RELEASE`, which is below `usr` since Debian 13.
fn find_module_tree(root: &Path) -> Result<(String, PathBuf)> {
    for base in ["usr/lib/modules", "lib/modules"] {
        let Ok(listing) = fs::read_dir(root.join(base)) else {
            continue;
        };
        if let Some(entry) = listing
            .filter_map(io::Result::ok)
            .find(|entry| entry.path().join("kernel").is_dir())
        {
            return Ok((
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            ));
        }
    }
    Err(Error::Content {
        path: root.to_owned(),
        reason: "holds no kernel modules".to_owned(),
    })
}

/// Finds `vmlinuz-RELEASE`: in `boot`, or with the modules.
fn find_image(root: &Path) -> Result<PathBuf> {
    let mut candidates = Vec::new();
    walk(root, &mut |path| {
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
        {
            candidates.push(path.to_owned());
        }
    })?;
    candidates.pop().ok_or_else(|| Error::Content {
        path: root.to_owned(),
        reason: "holds no vmlinuz".to_owned(),
    })
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::path("list", folder))? {
        let entry = entry.map_err(Error::path("list", folder))?;
        let kind = entry
            .file_type()
            .map_err(Error::path("read", entry.path()))?;
        if kind.is_dir() {
            walk(&entry.path(), visit)?;
        } else if kind.is_file() {
            visit(&entry.path());
        }
    }
    Ok(())
}

/// Gets the ELF file out of a bzImage by the fields of its header (Documentation/arch/x86/boot.rst of the kernel).
fn unpack_kernel(image: &[u8]) -> Result<Vec<u8>, String> {
    let header = "the file is no bzImage";
    if image.get(0x202..0x206) != Some(b"HdrS") {
        return Err(header.to_owned());
    }
    let field = |offset: usize| -> Result<usize, String> {
        let bytes: [u8; 4] = image
            .get(offset..offset + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(header)?;
        usize::try_from(u32::from_le_bytes(bytes)).map_err(|error| error.to_string())
    };
    let setup_sectors = usize::from(*image.get(0x1f1).ok_or(header)?);
    let begin = (setup_sectors + 1) * 512 + field(0x248)?;
    let length = field(0x24c)?;
    let payload = begin
        .checked_add(length)
        .and_then(|end| image.get(begin..end))
        .ok_or(header)?;
    // The last four bytes are the unpacked size, appended by the kernel's build.
    let (payload, size) = payload.split_last_chunk::<4>().ok_or(header)?;
    let size = usize::try_from(u32::from_le_bytes(*size)).map_err(|error| error.to_string())?;
    let elf = decompress(payload)?;
    if elf.len() != size || !elf.starts_with(b"\x7fELF") {
        return Err(format!(
            "its payload unpacks to {} bytes that are no ELF file of {size} bytes",
            elf.len()
        ));
    }
    Ok(elf)
}

/// Unpacks what Debian's kernels and modules are packed with; anything else is returned as it is.
fn decompress(packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let result = if packed.starts_with(b"\xfd7zXZ\0") {
        lzma_rust2::XzReader::new(packed, false).read_to_end(&mut unpacked)
    } else if packed.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        ruzstd::decoding::StreamingDecoder::new(packed)
            .map_err(io::Error::other)
            .and_then(|mut decoder| decoder.read_to_end(&mut unpacked))
    } else {
        unpacked.extend_from_slice(packed);
        Ok(unpacked.len())
    };
    result
        .map(|_| unpacked)
        .map_err(|error| format!("cannot be unpacked: {error}"))
}

/// Copies the chosen modules and what they depend on, uncompressed, and the lists that depmod reads.
fn copy_modules(tree: &Path, kernel: Kernel, target: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    walk(tree, &mut |path| {
        if let Some(name) = module_name(path) {
            files.insert(name, path.to_owned());
        }
    })?;
    let mut missing: Vec<String> = kernel.modules().map(canonical).collect();
    let mut seen: BTreeSet<String> = missing.iter().cloned().collect();
    let builtin = fs::read_to_string(tree.join("modules.builtin")).unwrap_or_default();
    let builtin: BTreeSet<String> = builtin
        .lines()
        .filter_map(|line| module_name(Path::new(line)))
        .collect();
    while let Some(name) = missing.pop() {
        let Some(path) = files.get(&name) else {
            if builtin.contains(&name) {
                continue;
            }
            return Err(Error::Content {
                path: tree.to_owned(),
                reason: format!("has no module {name}"),
            });
        };
        let packed = fs::read(path).map_err(Error::path("read", path))?;
        let module = decompress(&packed).map_err(|reason| Error::Content {
            path: path.clone(),
            reason,
        })?;
        missing.extend(dependencies(&module).filter(|dependency| seen.insert(dependency.clone())));
        let copy = target.join(format!("{name}.ko"));
        fs::write(&copy, module).map_err(Error::path("write", &copy))?;
    }
    for list in [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ] {
        let copy = target.join(list);
        fs::copy(tree.join(list), &copy).map_err(Error::path("write", &copy))?;
    }
    Ok(())
}

/// Modules are named with `_` everywhere but in file names.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let stem = name
        .strip_suffix(".xz")
        .or_else(|| name.strip_suffix(".zst"))
        .unwrap_or(name)
        .strip_suffix(".ko")?;
    Some(canonical(stem))
}

/// The `depends=` entry that every module carries in its `.modinfo` section: names, by commas.
fn dependencies(module: &[u8]) -> impl Iterator<Item = String> + '_ {
    let key = b"\0depends=";
    let begin = module
        .windows(key.len())
        .position(|window| window == key)
        .map(|at| at + key.len());
    let rest = begin
        .and_then(|begin| module.get(begin..))
        .unwrap_or_default();
    let text = rest.split(|&byte| byte == 0).next().unwrap_or_default();
    let names = text
        .split(|&byte| byte == b',')
        .filter(|name| !name.is_empty());
    names.map(|name| canonical(&String::from_utf8_lossy(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dependencies_of_a_module_are_read_from_its_modinfo() {
        let module = b"\x7fELF...\0license=GPL\0depends=mdio,dca,i2c-algo-bit\0retpoline=Y\0";

        let names: Vec<String> = dependencies(module).collect();

        assert_eq!(names, ["mdio", "dca", "i2c_algo_bit"]);
    }

    #[test]
    fn a_module_without_dependencies_has_none() {
        assert_eq!(dependencies(b"x\0depends=\0y").count(), 0);
    }

    #[test]
    fn a_file_that_is_no_bzimage_is_refused() {
        assert!(
            unpack_kernel(&[0; 4096])
                .unwrap_err()
                .contains("no bzImage")
        );
    }

    #[test]
    fn a_header_that_points_past_the_file_is_refused() {
        let mut image = vec![0; 4096];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x24c..0x250].copy_from_slice(&u32::MAX.to_le_bytes());

        assert!(unpack_kernel(&image).unwrap_err().contains("no bzImage"));
    }

    #[test]
    fn kernels_are_chosen_by_name_or_version() {
        assert_eq!("6.12".parse(), Ok(Kernel::Debian13));
        assert_eq!("debian12".parse(), Ok(Kernel::Debian12));
        assert!("6.5".parse::<Kernel>().unwrap_err().contains("debian13"));
    }
}
