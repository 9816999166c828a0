//! The files that this project installs: every one of them is valid, and names a program that is built here.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeSet, env, path::Path, process::Command};

use pcid_config::{Config, DriverConfig};

/// The binaries of the workspace, as cargo names them.
fn binaries(root: &Path) -> BTreeSet<String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let targets = metadata["packages"].as_array().unwrap().iter().flat_map(|package| {
        package["targets"].as_array().unwrap().iter().filter(|target| target["kind"][0] == "bin")
    });
    targets.map(|target| target["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_entry_names_a_program_of_this_workspace() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let config = Config::load(&[root.join("recipes/pcid.d")]);
    // A misspelt key counts as a mistake here.
    assert_eq!(config.problems, []);
    assert!(!config.entries.is_empty());
    let binaries = binaries(&root);
    for entry in &config.entries {
        let program = entry.driver.program();
        assert!(
            binaries.contains(program),
            "{}:{}: {program} is not built here",
            entry.file.display(),
            entry.line
        );
        assert!(entry.driver.name.is_some(), "{}:{} has no name", entry.file.display(), entry.line);
    }
}

#[test]
fn no_function_is_claimed_by_two_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let config = Config::load(&[root.join("recipes/pcid.d")]);
    let criteria = |driver: &DriverConfig| DriverConfig { name: None, command: Vec::new(), ..driver.clone() };
    for (index, entry) in config.entries.iter().enumerate() {
        for other in &config.entries[index + 1..] {
            let (one, two) = (criteria(&entry.driver), criteria(&other.driver));
            assert_ne!(one, two, "{} and {}", entry.file.display(), other.file.display());
        }
    }
}
