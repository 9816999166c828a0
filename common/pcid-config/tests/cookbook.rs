//! The cookbook recipes: each is read as the cookbook reads it, and its script is run on a `cargo` that only looks whether
//! the crates are there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use pcid_config::Config;
use serde::Deserialize;

const TARGET: &str = "x86_64-unknown-redox";

/// A recipe, with nothing in it that the cookbook does not know.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    source: Source,
    build: Build,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    template: String,
    script: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The recipes by name.
fn recipes() -> BTreeMap<String, Recipe> {
    let mut recipes = BTreeMap::new();
    for entry in fs::read_dir(root().join("recipes")).unwrap() {
        let file = entry.unwrap().path().join("recipe.toml");
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let recipe = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let name = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
        recipes.insert(name.to_owned(), recipe);
    }
    recipes
}

/// The workspace's packages, with the programs of each.
fn packages() -> BTreeMap<String, Vec<String>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let targets = package["targets"].as_array().unwrap();
            let programs = targets.iter().filter(|target| target["kind"][0] == "bin");
            (text(&package["name"]), programs.map(|target| text(&target["name"])).collect())
        })
        .collect()
}

/// The daemons below `drivers`: a directory with a `main.rs`.
fn daemons() -> BTreeSet<String> {
    let mut daemons = BTreeSet::new();
    for class in fs::read_dir(root().join("drivers")).unwrap() {
        for daemon in fs::read_dir(class.unwrap().path()).unwrap() {
            let path = daemon.unwrap().path();
            if path.join("src/main.rs").is_file() {
                daemons.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    daemons
}

/// A `cargo` that "builds" a package of the workspace: each of its programs becomes a file that can be executed.
fn fake_cargo(packages: &BTreeMap<String, Vec<String>>) -> String {
    let mut text = "#!/bin/bash\nset -eu\n[ \"$1\" = build ]\nshift\nwhile [ $# -gt 0 ]; do\n  case $1 in\n\
                    --release | --locked) ;;\n--manifest-path) shift; test -f \"$1\" ;;\n--package) shift\n    case $1 in\n"
        .to_owned();
    for (package, programs) in packages {
        text.push_str(&format!("{package})\n"));
        for program in programs {
            text.push_str(&format!("install -D -m 755 /dev/null target/{TARGET}/release/{program}\n"));
        }
        text.push_str(";;\n");
    }
    text.push_str(
        "*) echo \"there is no package $1\" >&2; exit 1 ;;\n    esac ;;\n\
         *) echo \"cargo build has no $1\" >&2; exit 1 ;;\n  esac\n  shift\ndone\n",
    );
    text
}

/// Cooks a recipe and returns what it stages.
fn cook(name: &str, recipe: &Recipe, packages: &BTreeMap<String, Vec<String>>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let cargo = dir.path().join("cargo");
    fs::write(&cargo, fake_cargo(packages)).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(dir.path().join("build")).unwrap();
    fs::create_dir_all(dir.path().join("stage")).unwrap();
    let output = Command::new("bash")
        .args(["-euc", &recipe.build.script])
        .current_dir(dir.path().join("build"))
        .env("COOKBOOK_CARGO", &cargo)
        .env("COOKBOOK_SOURCE", root())
        .env("COOKBOOK_STAGE", dir.path().join("stage"))
        .env("TARGET", TARGET)
        .env("build_type", "release")
        .env("build_flags", "--release")
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    dir
}

#[test]
fn every_daemon_has_a_recipe_and_every_recipe_a_daemon() {
    let recipes: BTreeSet<String> = recipes().into_keys().collect();
    assert_eq!(recipes, daemons());
}

#[test]
fn every_recipe_builds_and_stages_what_an_image_needs() {
    let packages = packages();
    for (name, recipe) in recipes() {
        assert_eq!(recipe.build.template, "custom", "{name}");
        assert_eq!(recipe.source.path, "red-bear-drivers", "{name}");
        let dir = cook(&name, &recipe, &packages);
        let stage = dir.path().join("stage");
        let licence = stage.join(format!("usr/share/licenses/{name}/LICENSE"));
        assert_eq!(fs::read(licence).unwrap(), fs::read(root().join("LICENSE")).unwrap(), "{name}");
        let config = Config::load(&[stage.join("usr/lib/pcid.d")]);
        assert_eq!(config.problems, [], "{name}");
        assert!(!config.entries.is_empty(), "{name} installs no pcid.d entry");
        for entry in &config.entries {
            let program = stage.join("usr/lib/drivers").join(entry.driver.program());
            let mode = fs::metadata(&program).map(|data| data.permissions().mode());
            let executable = mode.is_ok_and(|mode| mode & 0o111 == 0o111);
            assert!(executable, "{name}: {}: {} is not installed", entry.file.display(), program.display());
        }
    }
}

#[test]
fn a_recipe_that_names_what_is_not_there_fails() {
    let packages = packages();
    let recipe = |name: &str, from: &str, to: &str| {
        let mut recipe = recipes().remove(name).unwrap();
        assert!(recipe.build.script.contains(from), "{from}");
        recipe.build.script = recipe.build.script.replace(from, to);
        recipe
    };
    for (from, to) in [
        ("--package nvmed", "--package no-such-daemon"),
        ("${build_type}/nvmed", "${build_type}/no-such-program"),
        ("pcid.d/nvmed.toml\" ", "pcid.d/no-such-file.toml\" "),
        ("/Cargo.toml", "/no-such.toml"),
    ] {
        let recipe = recipe("nvmed", from, to);
        let cooked = std::panic::catch_unwind(|| cook("nvmed", &recipe, &packages));
        assert!(cooked.is_err(), "{to}");
    }
}
