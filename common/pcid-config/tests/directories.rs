//! Which files are read, and in which order.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path};

use pcid_config::{Config, FunctionId};

const NVME: FunctionId = FunctionId { vendor: 0x1b36, device: 0x10, class: 1, subclass: 8, interface: 2 };

fn write(dir: &Path, name: &str, program: &str) {
    fs::write(dir.join(name), format!("[[drivers]]\nclass = 1\ncommand = [\"{program}\"]\n"))
        .expect("written");
}

fn programs(config: &Config) -> Vec<&str> {
    config.entries.iter().map(|entry| entry.driver.program()).collect()
}

#[test]
fn files_go_by_name_across_directories_and_later_directories_replace() {
    let root = tempfile::tempdir().expect("tempdir");
    let [lib, etc] = ["lib", "etc"].map(|name| root.path().join(name));
    for dir in [&lib, &etc] {
        fs::create_dir(dir).expect("created");
    }
    write(&lib, "10-a.toml", "lib-a");
    write(&lib, "30-c.toml", "lib-c");
    write(&etc, "20-b.toml", "etc-b");
    write(&etc, "30-c.toml", "etc-c");
    let config = Config::load(&[&lib, &etc, &root.path().join("absent")]);
    assert_eq!(config.problems, []);
    assert_eq!(programs(&config), ["lib-a", "etc-b", "etc-c"]);
    let first = config.find(&NVME).expect("claimed");
    assert_eq!((first.file.as_path(), first.line), (lib.join("10-a.toml").as_path(), 1));
}

#[test]
fn one_bad_file_costs_only_itself() {
    let root = tempfile::tempdir().expect("tempdir");
    let dir = root.path();
    write(dir, "10.toml", "first");
    fs::write(dir.join("20.toml"), "[[drivers]]\nclass = 1\ncommand = [").expect("written");
    fs::write(dir.join("30.toml"), b"\xff\xfe").expect("written");
    fs::write(dir.join("40.toml"), vec![b'#'; (1 << 20) + 1]).expect("written");
    fs::write(dir.join("50.toml"), "[[drivers]]\nclass = 1\nclas = 1\ncommand = ['kept']").expect("written");
    write(dir, "60.toml", "last");
    for litter in [".60.toml.swp", "60.toml~"] {
        fs::write(dir.join(litter), "not TOML").expect("written");
    }
    fs::create_dir(dir.join("70.d")).expect("created");
    let config = Config::load(&[dir]);
    assert_eq!(programs(&config), ["first", "kept", "last"]);
    let problems: Vec<_> =
        config.problems.iter().map(|p| (p.path.file_name().unwrap().to_str().unwrap(), p.skipped)).collect();
    assert_eq!(problems, [("20.toml", true), ("30.toml", true), ("40.toml", true), ("50.toml", false)]);
    assert_eq!(config.problems[0].line, Some(3));
    assert!(config.problems[0].to_string().contains("20.toml:3: "), "{}", config.problems[0]);
    assert!(config.problems[1].what.contains("UTF-8"), "{}", config.problems[1]);
    assert!(config.problems.iter().all(|problem| !problem.to_string().contains('\n')));
}

#[test]
fn a_directory_that_cannot_be_listed_is_reported() {
    let root = tempfile::tempdir().expect("tempdir");
    let file = root.path().join("file");
    fs::write(&file, "").expect("written");
    let config = Config::load(&[&file]);
    assert_eq!((config.entries.len(), config.problems.len()), (0, 1));
}
