//! All that guests of one kernel need, found or fetched at once.

use std::env;
use std::fs;
use std::time::Duration;

use nix::unistd::{AccessFlags, access};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::guest::{Accel, Guest, GuestConfig, firmware_boots};
use crate::image::Image;
use crate::kernel::Kernel;
use crate::progress::Step;
use crate::qemu::Qemu;

/// A QEMU, an image and what accelerates it. Opening one fetches what is not cached; only that needs the network.
#[derive(Clone, Debug)]
pub struct Lab {
    /// Where things are kept.
    pub cache: Cache,
    /// The QEMU.
    pub qemu: Qemu,
    /// What guests boot.
    pub image: Image,
    /// How guests run.
    pub accel: Accel,
}

impl Lab {
    /// Finds or fetches everything for guests that run `kernel`.
    ///
    /// # Errors
    /// Something is neither there nor can be fetched.
    pub fn open(kernel: Kernel) -> Result<Self> {
        Self::open_with(kernel, None)
    }

    /// The same with a QEMU that was chosen already.
    ///
    /// # Errors
    /// As for [`Lab::open`].
    pub fn open_with(kernel: Kernel, qemu: Option<Qemu>) -> Result<Self> {
        let cache = Cache::open()?;
        let qemu = qemu.map_or_else(|| Qemu::find(&cache), Ok)?;
        let image = Image::prepare(&cache, kernel)?;
        let accel = Accel::choose(&cache, &qemu, &image)?;
        Ok(Self {
            cache,
            qemu,
            image,
            accel,
        })
    }

    /// The same lab with an image that also has DPDK's `dpdk-testpmd`.
    ///
    /// # Errors
    /// As for [`Lab::open`].
    pub fn with_dpdk(self) -> Result<Self> {
        let image = Image::prepare_with_dpdk(&self.cache, self.image.kernel)?;
        Ok(Self { image, ..self })
    }

    /// The same with DPDK's drivers for QEMU's own NICs, too.
    ///
    /// # Errors
    /// As for [`Lab::open`].
    pub fn with_dpdk_for_all(self) -> Result<Self> {
        let image = Image::prepare_with_dpdk_for_all(&self.cache, self.image.kernel)?;
        Ok(Self { image, ..self })
    }

    /// The beginning of a guest; its logs go to the folder `name` of the cache's logs, which is emptied.
    ///
    /// # Errors
    /// The folder for the logs cannot be made.
    pub fn guest(&self, name: &str) -> Result<GuestConfig> {
        Ok(GuestConfig::new(
            &self.qemu,
            self.accel,
            self.cache.log_folder(name)?,
        ))
    }

    /// Boots a guest from this lab's image.
    ///
    /// # Errors
    /// See [`Guest::boot`].
    pub fn boot(&self, config: &GuestConfig) -> Result<Guest> {
        Guest::boot(config, &self.image)
    }
}

impl Accel {
    /// Environment variable that chooses: `kvm` or `tcg`.
    pub const CHOICE: &'static str = "XTASK_ACCEL";
    /// A guest under a KVM worth having is up in a fraction of this.
    const PROBE_LIMIT: Duration = Duration::from_secs(5);
    /// So is the firmware, which under TCG takes a quarter of a second.
    const FIRMWARE_LIMIT: Duration = Duration::from_secs(1);

    /// KVM where a guest really comes up under it, else TCG. The answer is kept until the host reboots.
    ///
    /// # Errors
    /// `XTASK_ACCEL` names neither, or the answer cannot be kept.
    pub fn choose(cache: &Cache, qemu: &Qemu, image: &Image) -> Result<Self> {
        Self::choose_with(cache, qemu, |config| {
            let works = Guest::boot(config, image).is_ok();
            Ok(Answer::Keep(works))
        })
    }

    /// The same for a guest that is somebody else's, without an image of ours: where nobody knows yet whether KVM works,
    /// the firmware has to come up under it and boot a disk of one sector.
    ///
    /// # Errors
    /// As for [`Accel::choose`].
    pub fn choose_for_foreign(cache: &Cache, qemu: &Qemu) -> Result<Self> {
        Self::choose_with(cache, qemu, |config| {
            // A kernel asks more of KVM than a firmware.
            firmware_boots(config, Self::FIRMWARE_LIMIT).map(Answer::ForNow)
        })
    }

    fn choose_with(
        cache: &Cache,
        qemu: &Qemu,
        probe: impl FnOnce(&GuestConfig) -> Result<Answer>,
    ) -> Result<Self> {
        match env::var(Self::CHOICE).as_deref() {
            Ok("kvm") => return Ok(Self::Kvm),
            Ok("tcg") => return Ok(Self::Tcg),
            Ok(other) => {
                return Err(Error::Qemu(format!(
                    "{} is `{other}`: set it to kvm or tcg",
                    Self::CHOICE
                )));
            }
            Err(_) => {}
        }
        if access("/dev/kvm", AccessFlags::R_OK | AccessFlags::W_OK).is_err() {
            return Ok(Self::Tcg);
        }
        let _lock = cache.lock()?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let question = format!("{} {}", boot.trim(), qemu.version());
        let path = cache.path("kvm");
        let known = fs::read_to_string(&path).unwrap_or_default();
        if let Some(answer) = known.strip_prefix(&question) {
            return Ok(if answer.trim() == "works" {
                Self::Kvm
            } else {
                Self::Tcg
            });
        }
        let step = Step::begin("Trying whether a guest comes up under KVM");
        let config = GuestConfig::new(qemu, Self::Kvm, cache.log_folder("kvm-probe")?)
            .with_boot_limit(Self::PROBE_LIMIT);
        let answer = probe(&config)?;
        if let Answer::Keep(works) = answer {
            let answer = if works { "works" } else { "does not work" };
            fs::write(&path, format!("{question} {answer}\n"))
                .map_err(Error::path("write", &path))?;
        }
        step.end();
        let (Answer::Keep(works) | Answer::ForNow(works)) = answer;
        Ok(if works { Self::Kvm } else { Self::Tcg })
    }
}

/// Whether KVM works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// For all guests, until the host reboots.
    Keep(bool),
    /// For one.
    ForNow(bool),
}
