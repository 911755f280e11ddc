//! The bill of materials of the programs that are shipped: CycloneDX 1.5, in JSON.
//!
//! It names each crate that is compiled for them or takes part in that (build scripts, macros), with its checksum in the
//! registry. It says nothing of the compiler and the C library.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::binaries;

/// A crate of the programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence as it states it, in the words of SPDX.
    pub license: String,
    /// SHA-256 of its archive in the registry; none for the project's own.
    pub checksum: Option<String>,
    /// Folder of its source.
    pub folder: PathBuf,
    /// Places in the list of those that it depends on.
    depends_on: BTreeSet<usize>,
}

impl Component {
    /// Its package URL.
    fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

/// All crates of `programs` for `target`, by name.
///
/// # Errors
/// Cargo cannot tell, as when Cargo.lock is not up to date.
pub fn components(programs: &[&str], target: &str) -> Result<Vec<Component>> {
    let selected = selected(programs, target)?;
    let text = super::cargo_says(&[
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform",
        target,
    ])?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata is no JSON")?;
    let lock = std::fs::read_to_string(binaries::workspace().join("Cargo.lock"))
        .context("cannot read Cargo.lock")?;
    let checksums = checksums(&lock);
    let mut packages: Vec<&Package> = metadata
        .packages
        .iter()
        .filter(|package| selected.contains(&(package.name.clone(), package.version.clone())))
        .collect();
    packages.sort_by_key(|package| (&package.name, &package.version));
    let places: BTreeMap<&str, usize> = packages
        .iter()
        .enumerate()
        .map(|(place, package)| (package.id.as_str(), place))
        .collect();
    let nodes: BTreeMap<&str, &Node> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node))
        .collect();
    packages
        .iter()
        .map(|package| {
            let name = (package.name.clone(), package.version.clone());
            let needs = nodes
                .get(package.id.as_str())
                .map(|node| &node.dependencies);
            let license = package.license.clone();
            Ok(Component {
                checksum: package
                    .source
                    .as_ref()
                    .and_then(|_| checksums.get(&name).cloned()),
                license: license
                    .with_context(|| format!("{} states no licence", package.name))?
                    // As written before SPDX had words for it.
                    .replace('/', " OR ")
                    .replace(" or ", " OR "),
                folder: package
                    .manifest_path
                    .parent()
                    .map(PathBuf::from)
                    .unwrap_or_default(),
                depends_on: needs
                    .into_iter()
                    .flatten()
                    .filter_map(|id| places.get(id.as_str()).copied())
                    .collect(),
                name: name.0,
                version: name.1,
            })
        })
        .collect()
}

/// The bill as JSON. It says nothing of when or where it was written: equal sources have equal bills.
pub fn bill(product: &str, version: &str, components: &[Component]) -> Value {
    let own = |component: &&Component| component.checksum.is_none();
    let root = format!("pkg:generic/{product}@{version}");
    let mut dependencies = vec![json!({
        "ref": root,
        "dependsOn": components.iter().filter(own).map(Component::purl).collect::<Vec<_>>(),
    })];
    dependencies.extend(components.iter().map(|component| {
        let needs = component
            .depends_on
            .iter()
            .filter_map(|place| components.get(*place));
        json!({
            "ref": component.purl(),
            "dependsOn": needs.map(Component::purl).collect::<Vec<_>>(),
        })
    }));
    let components: Vec<Value> = components
        .iter()
        .map(|component| {
            let mut value = json!({
                "type": "library",
                "bom-ref": component.purl(),
                "name": component.name,
                "version": component.version,
                "licenses": [{ "expression": component.license }],
                "purl": component.purl(),
            });
            if let (Some(checksum), Some(value)) = (&component.checksum, value.as_object_mut()) {
                value.insert(
                    "hashes".to_owned(),
                    json!([{ "alg": "SHA-256", "content": checksum }]),
                );
            }
            value
        })
        .collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": product,
                "version": version,
                "licenses": [{ "expression": env!("CARGO_PKG_LICENSE") }],
            },
        },
        "components": components,
        "dependencies": dependencies,
    })
}

/// Names and versions of the crates that cargo compiles for the programs, with the features that they ask for.
fn selected(programs: &[&str], target: &str) -> Result<BTreeSet<(String, String)>> {
    let mut arguments = vec![
        "tree",
        "--locked",
        "--target",
        target,
        "--edges",
        "normal,build",
    ];
    arguments.extend(["--prefix", "none", "--format", "{p}"]);
    for program in programs {
        arguments.extend(["--package", program]);
    }
    let text = super::cargo_says(&arguments)?;
    let mut lines = text.lines().filter(|line| !line.is_empty());
    lines
        .try_fold(BTreeSet::new(), |mut all, line| {
            let mut words = line.split_whitespace();
            let name = words.next()?;
            let version = words.next()?.strip_prefix('v')?;
            all.insert((name.to_owned(), version.to_owned()));
            Some(all)
        })
        .context("cargo tree says something else than names and versions")
}

/// Checksums in a lock file, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |block: &str, key: &str| {
        let mut lines = block.lines();
        let line = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""))?;
        line.strip_suffix('"').map(str::to_owned)
    };
    lock.split("[[package]]")
        .filter_map(|block| {
            let name = (value(block, "name")?, value(block, "version")?);
            Some((name, value(block, "checksum")?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "[[package]]\nname = \"clap\"\nversion = \"4.6.9\"\nsource = \"registry\"\nchecksum = \"abc\"\n\n\
                        [[package]]\nname = \"own\"\nversion = \"0.1.0\"\ndependencies = [\n \"clap\",\n]\n";

    #[test]
    fn checksums_are_those_of_the_lock_file() {
        let found = checksums(LOCK);

        let clap = ("clap".to_owned(), "4.6.9".to_owned());
        assert_eq!(found, BTreeMap::from([(clap, "abc".to_owned())]));
    }

    #[test]
    fn the_bill_of_the_server_names_what_is_in_it_and_not_what_tests_it() {
        let target = "x86_64-unknown-linux-gnu";

        let components = components(&["vfio-user-ixgbe"], target).unwrap();
        let bill = bill("vfio-user-ixgbe", "1.2.3", &components);

        let named = |name: &str| components.iter().find(|component| component.name == name);
        let clap = named("clap").unwrap();
        assert_eq!(clap.checksum.as_ref().unwrap().len(), 64);
        assert!(named("nic-model").unwrap().checksum.is_none());
        assert!(named("loom").is_none() && named("proptest").is_none());
        let listed = bill
            .pointer("/components")
            .and_then(Value::as_array)
            .unwrap();
        assert_eq!(listed.len(), components.len());
        let refers: BTreeSet<&str> = listed
            .iter()
            .filter_map(|value| value["bom-ref"].as_str())
            .collect();
        let edges = bill
            .pointer("/dependencies")
            .and_then(Value::as_array)
            .unwrap();
        assert!(
            edges
                .iter()
                .flat_map(|edge| edge["dependsOn"].as_array().unwrap())
                .all(|end| refers.contains(end.as_str().unwrap()))
        );
        assert!(
            !bill
                .to_string()
                .contains(binaries::workspace().to_str().unwrap())
        );
    }
}
