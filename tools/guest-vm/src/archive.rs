//! Programs from Debian's package archive, unpacked into folders of their own.
//!
//! apt resolves, verifies and downloads (it resumes what was cut off), with a configuration, a state folder and
//! keys of its own: the host's packages neither matter nor change. `dpkg-deb` and `tar` unpack. No maintainer script
//! runs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use std::{env, io};

use serde::{Deserialize, Serialize};

use crate::cache::{Cache, remove_folder};
use crate::error::{Error, Result};
use crate::process::describe;
use crate::progress::Step;

/// Packages that are fetched together, from one suite, with what they depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackageSet {
    /// Name of the folder it is unpacked to.
    pub name: &'static str,
    /// Suite that is asked first.
    pub suite: &'static str,
    /// What is wanted.
    pub packages: &'static [&'static str],
    /// Dependencies that only maintainer scripts need.
    pub without: &'static [&'static str],
}

/// Which packages an unpacked folder or an image is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The suite that was asked first.
    pub suite: String,
    /// The packages that were asked for.
    pub requested: Vec<String>,
    /// What came, by the file's address in the archive: name, version and architecture stand in its last part.
    pub packages: Vec<FetchedPackage>,
}

/// One package file of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedPackage {
    /// Name of the package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Address of the file.
    pub url: String,
    /// Checksum by which apt verified it, as `ALGORITHM:hex`.
    pub hash: String,
}

/// An unpacked set.
#[derive(Clone, Debug)]
pub(crate) struct PackageRoot {
    /// The folder that stands for `/`.
    pub path: PathBuf,
    /// What is in it.
    pub versions: Versions,
}

/// Environment variable with another mirror of Debian's archive.
const MIRROR: &str = "XTASK_DEBIAN_MIRROR";
const KEYS: &str = include_str!("../assets/debian-archive-keys.asc");
const SUITES: [&str; 3] = ["bookworm", "trixie", "trixie-backports"];
/// After this time the archive's lists are asked for again before something is fetched.
const LISTS_AGE: Duration = Duration::from_hours(12);
const GET_APT: &str = "packages are fetched with apt and dpkg, which every Debian and Ubuntu has; on another system give a \
     QEMU of 10.1 or newer with --qemu, and run the guests where apt is";

impl Versions {
    /// The versions of two sets together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.requested.extend(other.requested);
        for package in other.packages {
            if !self.packages.contains(&package) {
                self.packages.push(package);
            }
        }
        self
    }
}

impl PackageRoot {
    /// The unpacked set from the cache, or fetched now. The caller holds the cache's lock.
    pub(crate) fn prepare(cache: &Cache, set: &PackageSet) -> Result<Self> {
        let path = cache.path("roots").join(set.name);
        if let Some(versions) = recorded(&path, set) {
            return Ok(Self { path, versions });
        }
        Apt::new(cache, set)?.fetch(&path)?;
        let versions = recorded(&path, set).ok_or_else(|| Error::Content {
            path: path.clone(),
            reason: "was not recorded as fetched".to_owned(),
        })?;
        Ok(Self { path, versions })
    }

    /// Removes the unpacked files when what was needed of them has been taken elsewhere.
    pub(crate) fn remove(self) -> Result<()> {
        remove_folder(&self.path)
    }
}

impl PackageSet {
    fn requested(&self) -> Vec<String> {
        self.packages
            .iter()
            .map(|&package| package.to_owned())
            .collect()
    }
}

fn record_path(root: &Path) -> PathBuf {
    root.join("PACKAGES.json")
}

fn recorded(root: &Path, set: &PackageSet) -> Option<Versions> {
    let versions: Versions = serde_json::from_slice(&fs::read(record_path(root)).ok()?).ok()?;
    (versions.suite == set.suite && versions.requested == set.requested()).then_some(versions)
}

/// apt with everything of its own.
struct Apt<'a> {
    home: PathBuf,
    set: &'a PackageSet,
}

impl<'a> Apt<'a> {
    fn new(cache: &Cache, set: &'a PackageSet) -> Result<Self> {
        let home = cache.path("apt");
        for folder in [
            "lists/partial",
            "archives/partial",
            "none/partial",
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/trusted.gpg.d",
        ] {
            let folder = home.join(folder);
            fs::create_dir_all(&folder).map_err(Error::path("create the folder", &folder))?;
        }
        let apt = Self { home, set };
        apt.configure()?;
        Ok(apt)
    }

    fn configure(&self) -> Result<()> {
        let home = self.home.display();
        let mut conf = format!(
            "Dir::Etc \"{home}/etc\";\nDir::Etc::sourcelist \"{home}/etc/sources.list\";\n\
             Dir::Etc::sourceparts \"-\";\nDir::State \"{home}\";\nDir::State::lists \"{home}/lists\";\n\
             Dir::State::status \"{home}/status\";\nDir::Cache \"{home}\";\nDir::Cache::archives \"{home}/archives\";\n\
             APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\nAPT::Install-Recommends \"false\";\n\
             APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\nAcquire::Retries \"3\";\n\
             Acquire::PDiffs \"false\";\nAcquire::ForceHash \"SHA256\";\nBinary::apt-get::APT::Keep-Downloaded-Packages \"true\";\n"
        );
        conf.push_str(&host_proxies());
        let mirror = mirror()?;
        let sources: String = SUITES
            .iter()
            .map(|suite| format!("deb [signed-by={home}/etc/keys.asc] {mirror} {suite} main\n"))
            .collect();
        // A package that is declared installed is not fetched.
        let status: String = self
            .set
            .without
            .iter()
            .map(|name| {
                format!(
                    "Package: {name}\nStatus: install ok installed\nVersion: 9999:0\nArchitecture: all\n\
                     Maintainer: none\nDescription: not needed\n\n"
                )
            })
            .collect();
        for (name, text) in [
            ("apt.conf", conf.as_str()),
            ("etc/sources.list", &sources),
            ("etc/keys.asc", KEYS),
            ("status", &status),
        ] {
            let path = self.home.join(name);
            fs::write(&path, text).map_err(Error::path("write", &path))?;
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command
            .env("APT_CONFIG", self.home.join("apt.conf"))
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }

    fn install(&self) -> Command {
        let mut command = self.command();
        command.args([
            "install",
            "--yes",
            "--no-install-recommends",
            "--target-release",
            self.set.suite,
        ]);
        command
    }

    fn fetch(&self, root: &Path) -> Result<()> {
        let mut fresh = self.refresh(LISTS_AGE)?;
        let packages = loop {
            match self
                .resolve()
                .and_then(|packages| self.download().map(|()| packages))
            {
                Ok(packages) => break packages,
                // The archive may have moved on since the lists were read.
                Err(_) if !fresh => fresh = self.refresh(Duration::ZERO)?,
                Err(error) => return Err(error),
            }
        };
        self.unpack(&packages, root)
    }

    /// Reads the archive's lists if those at hand are older than `age`. Returns whether it did.
    fn refresh(&self, age: Duration) -> Result<bool> {
        let stamp = self.home.join("lists/refreshed");
        let read = fs::metadata(&stamp)
            .and_then(|data| data.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH);
        if !age.is_zero() && read.elapsed().is_ok_and(|elapsed| elapsed < age) {
            return Ok(false);
        }
        let step = Step::begin("Reading the lists of Debian's package archive");
        let mut command = self.command();
        command.args(["update", "--quiet", "--error-on=any"]);
        self.run(command, &step).map_err(|error| {
            Error::Archive(format!(
                "{error}\nThe package archive cannot be read. Is the network up? {MIRROR} names another mirror; a \
                 proxy is taken from http_proxy or from the host's apt."
            ))
        })?;
        File::create(&stamp).map_err(Error::path("create", &stamp))?;
        step.end();
        Ok(true)
    }

    /// What apt would fetch.
    fn resolve(&self) -> Result<Vec<FetchedPackage>> {
        let mut command = self.install();
        command
            .arg("--print-uris")
            .arg("--quiet")
            .args(self.set.packages);
        // What has been fetched already would not be named.
        command
            .arg("--option")
            .arg(format!("Dir::Cache::archives={}/none", self.home.display()));
        let what = describe(&command);
        let output = command
            .output()
            .map_err(|source| start_error(&what, source))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::Failed {
                what,
                status: output.status.to_string(),
                stderr,
            });
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let packages: Vec<FetchedPackage> = text.lines().filter_map(parse_uri_line).collect();
        if packages.is_empty() {
            return Err(Error::Failed {
                what,
                status: "it named no package".to_owned(),
                stderr: text.into_owned(),
            });
        }
        Ok(packages)
    }

    fn download(&self) -> Result<()> {
        let step = Step::begin(format!(
            "Fetching {} ({})",
            self.set.packages.join(", "),
            self.set.suite
        ));
        let mut command = self.install();
        command
            .args([
                "--download-only",
                "--quiet=2",
                "--option",
                "APT::Status-Fd=1",
            ])
            .args(self.set.packages);
        self.run(command, &step)?;
        step.end();
        Ok(())
    }

    /// Runs apt and shows the progress that it writes to stdout.
    fn run(&self, mut command: Command, step: &Step) -> Result<()> {
        let what = describe(&command);
        let log = self.home.join("apt.log");
        let errors = File::create(&log).map_err(Error::path("create", &log))?;
        command.stdout(Stdio::piped()).stderr(errors);
        let mut child = command
            .spawn()
            .map_err(|source| start_error(&what, source))?;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines().map_while(io::Result::ok) {
                if let Some((permille, text)) = parse_status_line(&line) {
                    step.at(permille, text);
                }
            }
        }
        let status = child.wait().map_err(|source| start_error(&what, source))?;
        if status.success() {
            return Ok(());
        }
        let stderr = fs::read_to_string(&log).unwrap_or_default();
        Err(Error::Failed {
            what,
            status: status.to_string(),
            stderr,
        })
    }

    fn unpack(&self, packages: &[FetchedPackage], root: &Path) -> Result<()> {
        let step = Step::begin(format!("Unpacking {} packages", packages.len()));
        let partial = root.with_extension("partial");
        remove_folder(&partial)?;
        fs::create_dir_all(&partial).map_err(Error::path("create the folder", &partial))?;
        let archives = self.home.join("archives");
        for (done, package) in (0u64..).zip(packages) {
            let total = u64::try_from(packages.len()).unwrap_or(u64::MAX);
            step.at(done * 1000 / total, package.name.clone());
            unpack_file(&find_file(&archives, package)?, &partial)?;
        }
        let versions = Versions {
            suite: self.set.suite.to_owned(),
            requested: self.set.requested(),
            packages: packages.to_vec(),
        };
        let record = record_path(&partial);
        let json = serde_json::to_vec_pretty(&versions).expect("strings always serialise");
        fs::write(&record, json).map_err(Error::path("write", &record))?;
        remove_folder(root)?;
        fs::rename(&partial, root).map_err(Error::path("rename to its place", &partial))?;
        for package in packages {
            let file = find_file(&archives, package)?;
            fs::remove_file(&file).map_err(Error::path("remove", &file))?;
        }
        step.end();
        Ok(())
    }
}

fn start_error(what: &str, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => Error::MissingProgram {
            program: what.split(' ').next().unwrap_or(what).to_owned(),
            remedy: GET_APT,
        },
        _ => Error::Start {
            what: what.to_owned(),
            source,
        },
    }
}

/// The mirror of Debian's archive: the one that is named, or the one that the host's own apt uses.
fn mirror() -> Result<String> {
    if let Ok(mirror) = env::var(MIRROR) {
        return Ok(mirror);
    }
    let sites = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
        ])
        .stdin(Stdio::null())
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    debian_mirror(&sites).ok_or_else(|| {
        Error::Archive(format!(
            "The host's apt knows no mirror of Debian's archive, as on Ubuntu. Name one in {MIRROR}: its URL, which ends \
             in /debian. {GET_APT}."
        ))
    })
}

/// The first of the repositories, a line each, that is a Debian archive.
fn debian_mirror(sites: &str) -> Option<String> {
    sites
        .lines()
        .map(|site| site.trim_end_matches('/'))
        .find(|site| site.ends_with("/debian"))
        .map(str::to_owned)
}

/// The host's own proxy settings for apt: the archive may be reachable by no other way.
fn host_proxies() -> String {
    let dump = Command::new("apt-config")
        .arg("dump")
        .stdin(Stdio::null())
        .output();
    let text = dump
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    text.lines()
        .filter(|line| {
            line.starts_with("Acquire::http") && line.to_ascii_lowercase().contains("proxy")
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

/// One line of `--print-uris`: `'URL' FILE SIZE HASH`. The file's name is `NAME_VERSION_ARCH.deb`, `:` as `%3a`.
fn parse_uri_line(line: &str) -> Option<FetchedPackage> {
    let (url, rest) = line.strip_prefix('\'')?.split_once('\'')?;
    let mut fields = rest.split_whitespace();
    let file = fields.next()?;
    let hash = fields.nth(1)?;
    let mut parts = file.strip_suffix(".deb")?.split('_');
    let (name, version) = (parts.next()?, parts.next()?);
    Some(FetchedPackage {
        name: name.to_owned(),
        version: version.replace("%3a", ":"),
        url: url.to_owned(),
        hash: hash.to_owned(),
    })
}

/// One line of apt's status: `dlstatus:FILES:PERCENT:TEXT`.
fn parse_status_line(line: &str) -> Option<(u64, &str)> {
    let mut fields = line.strip_prefix("dlstatus:")?.splitn(3, ':');
    let percent = fields.nth(1)?;
    let text = fields.next()?;
    let (whole, tenths) = percent.split_once('.').unwrap_or((percent, "0"));
    let tenths = tenths.get(..1)?.parse::<u64>().ok()?;
    Some((whole.parse::<u64>().ok()? * 10 + tenths, text))
}

/// The package's file among those that apt fetched; apt names it as `--print-uris` says.
fn find_file(archives: &Path, package: &FetchedPackage) -> Result<PathBuf> {
    let prefix = format!("{}_{}_", package.name, package.version.replace(':', "%3a"));
    let listing = fs::read_dir(archives).map_err(Error::path("list", archives))?;
    listing
        .filter_map(io::Result::ok)
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
        })
        .ok_or_else(|| {
            Error::Archive(format!(
                "apt did not fetch {} {}",
                package.name, package.version
            ))
        })
}

/// Unpacks as the current user: no owner is taken over, so it works without privilege and in a user namespace.
fn unpack_file(file: &Path, root: &Path) -> Result<()> {
    let mut reader = Command::new("dpkg-deb");
    reader
        .arg("--fsys-tarfile")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let what = describe(&reader);
    let mut reader = reader
        .spawn()
        .map_err(|source| start_error(&what, source))?;
    let stream = reader
        .stdout
        .take()
        .expect("stdout was asked for as a pipe");
    let mut writer = Command::new("tar");
    writer
        .args([
            "--extract",
            "--no-same-owner",
            "--no-same-permissions",
            "--directory",
        ])
        .arg(root)
        .stdin(stream);
    let unpacking = writer
        .output()
        .map_err(|source| start_error("tar", source))?;
    let read = reader.wait().map_err(|source| start_error(&what, source))?;
    if !read.success() || !unpacking.status.success() {
        return Err(Error::Failed {
            what,
            status: format!("dpkg-deb: {read}, tar: {}", unpacking.status),
            stderr: String::from_utf8_lossy(&unpacking.stderr).into_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_print_uris_gives_name_version_and_hash() {
        let line = "'http://mirror.example/debian/pool/main/q/qemu/qemu-system-x86_11.1.3%2bds-1_amd64.deb' \
                    qemu-system-x86_1%3a11.1.3+ds-1_amd64.deb 10377100 SHA256:00ff";

        let package = parse_uri_line(line).unwrap();

        assert_eq!(package.name, "qemu-system-x86");
        assert_eq!(package.version, "1:11.1.3+ds-1");
        assert_eq!(package.hash, "SHA256:00ff");
        assert!(package.url.starts_with("http://mirror.example/"));
    }

    #[test]
    fn other_lines_of_print_uris_are_no_packages() {
        assert_eq!(parse_uri_line("Need to get 70.3 MB of archives."), None);
        assert_eq!(parse_uri_line("'http://x/y' y"), None);
    }

    #[test]
    fn the_mirror_is_the_hosts_debian_archive_and_not_its_security_archive() {
        let sites = "http://mirror.example/ubuntu/\nhttp://mirror.example/debian-security/\n\
                     http://mirror.example/debian/\n";

        assert_eq!(
            debian_mirror(sites).as_deref(),
            Some("http://mirror.example/debian")
        );
        assert_eq!(debian_mirror("http://mirror.example/ubuntu/\n"), None);
    }

    #[test]
    fn a_status_line_gives_thousandths() {
        assert_eq!(
            parse_status_line("dlstatus:70:75.9825:Retrieving file 70 of 70"),
            Some((759, "Retrieving file 70 of 70"))
        );
        assert_eq!(parse_status_line("pmstatus:x:1:y"), None);
    }
}
