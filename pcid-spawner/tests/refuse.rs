//! What is left alone, and what is said about it. Nothing may be changed in any of these.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{fs, os::unix::fs::symlink};

use support::{Machine, Run};

const NVME: &str = "0000:00:04.0";

/// A machine with one NVMe controller that has a disk with a partition.
fn machine() -> Machine {
    let machine = Machine::new();
    machine.nvme(NVME, 7);
    machine.nvmed("exit 0");
    let disk = machine.block("pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1", "259:0");
    let partition = machine.block("pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1/nvme0n1p1", "259:1");
    machine.write(&partition.join("partition"), "1\n");
    assert!(disk.exists());
    machine
}

/// Asks for the device and gives the one line that refuses it.
fn refusal(machine: &Machine) -> String {
    let Run { code, stdout, stderr } = machine.run(&["--device", NVME, "--once"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(machine.is_untouched(), "{:?}", machine.log());
    assert_eq!(machine.driver(NVME).as_deref(), Some("nvme"));
    stderr.trim().strip_prefix("pcid-spawner: 0000:00:04.0: ").expect(&stderr).to_owned()
}

#[test]
fn an_unused_disk_is_not_refused() {
    let machine = machine();
    let run = machine.run(&["--dry-run"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let program = machine.path("drivers/nvmed");
    let program = program.display();
    assert_eq!(
        run.stdout,
        format!("{NVME}: would unbind from nvme, bind to vfio-pci, start {program} --loud --device {NVME}\n")
    );
    assert!(machine.is_untouched());
}

#[test]
fn a_mounted_partition_is_refused() {
    let machine = machine();
    machine.mount("40 21 259:1 / /mnt\\040two rw shared:1 - ext4 /dev/nvme0n1p1 rw");
    assert_eq!(refusal(&machine), "is in use: nvme0n1p1 is mounted at /mnt two");
    // And without being asked for by its address, it is left alone with a warning.
    let run = machine.run(&["--once"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stderr.contains("0000:00:04.0 is left alone: is in use: nvme0n1p1 is mounted"),
        "{}",
        run.stderr
    );
    assert!(machine.is_untouched());
}

#[test]
fn a_file_system_is_recognised_by_its_source_too() {
    let machine = machine();
    machine.mount("40 21 0:44 / /data rw - btrfs /dev/nvme0n1p1 rw");
    assert_eq!(refusal(&machine), "is in use: nvme0n1p1 is mounted at /data");
}

#[test]
fn a_further_disk_of_a_btrfs_is_refused() {
    let machine = machine();
    machine.mount("40 21 0:44 / /data rw - btrfs /dev/vdb rw");
    let devices = machine.path("sys/fs/btrfs/7a0c/devices");
    fs::create_dir_all(&devices).unwrap();
    symlink(machine.path("sys/class/block/nvme0n1"), devices.join("nvme0n1")).unwrap();
    assert_eq!(refusal(&machine), "is in use: nvme0n1 is mounted at part of the Btrfs 7a0c");
}

#[test]
fn swap_is_refused() {
    let machine = machine();
    fs::write(
        machine.path("proc/swaps"),
        "Filename\tType\tSize\tUsed\tPriority\n/swapfile file 1 0 -2\n/dev/nvme0n1p1  partition\t100\t0\t-3\n",
    )
    .unwrap();
    assert_eq!(refusal(&machine), "is in use: the system swaps to nvme0n1p1");
}

#[test]
fn a_mounted_volume_on_the_disk_is_refused() {
    let machine = machine();
    // A volume on an array on the partition, mounted by its name.
    for (name, number, below) in [("md0", "9:0", "nvme0n1p1"), ("dm-3", "253:3", "md0")] {
        let dir = machine.block(&format!("virtual/block/{name}"), number);
        symlink(machine.path("sys/class/block").join(below), dir.join("slaves").join(below)).unwrap();
    }
    machine.mount("40 21 0:51 / /home rw - zonefs /dev/mapper/vg-home rw");
    fs::create_dir(machine.path("dev/mapper")).unwrap();
    symlink("../dm-3", machine.path("dev/mapper/vg-home")).unwrap();
    assert_eq!(refusal(&machine), "is in use: dm-3 is mounted at /home");
}

#[test]
fn a_volume_that_is_not_mounted_is_refused_as_well() {
    let machine = machine();
    let dm = machine.block("virtual/block/dm-3", "253:3");
    symlink(machine.path("sys/class/block/nvme0n1p1"), dm.join("slaves/nvme0n1p1")).unwrap();
    symlink(&dm, machine.function_dir(NVME).join("nvme/nvme0/nvme0n1/nvme0n1p1/holders/dm-3")).unwrap();
    assert_eq!(refusal(&machine), "is in use: nvme0n1p1 is in use by dm-3");
}

#[test]
fn a_loop_over_the_disk_and_its_partition_are_refused() {
    let machine = machine();
    let looped = machine.block("virtual/block/loop0", "7:0");
    machine.write(&looped.join("loop/backing_file"), "/dev/nvme0n1\n");
    let partition = machine.block("virtual/block/loop0/loop0p2", "7:2");
    machine.write(&partition.join("partition"), "2\n");
    assert_eq!(refusal(&machine), "is in use: nvme0n1 is in use by loop0");
    machine.mount("40 21 7:2 / /two rw - ext4 /dev/loop0p2 rw");
    assert_eq!(refusal(&machine), "is in use: loop0p2 is mounted at /two");
}

#[test]
fn a_disk_of_a_multipath_subsystem_is_found() {
    let machine = Machine::new();
    machine.nvme(NVME, 7);
    machine.nvmed("exit 0");
    fs::create_dir_all(machine.function_dir(NVME).join("nvme/nvme0")).unwrap();
    machine.block("virtual/nvme-subsystem/nvme-subsys0/nvme0n1", "259:0");
    let subsystem = machine.path("sys/devices/virtual/nvme-subsystem/nvme-subsys0");
    symlink(machine.function_dir(NVME).join("nvme/nvme0"), subsystem.join("nvme0")).unwrap();
    symlink(&subsystem, machine.path("sys/class/nvme-subsystem/nvme-subsys0")).unwrap();
    machine.mount("40 21 259:0 / / rw - xfs /dev/nvme0n1 rw");
    assert_eq!(refusal(&machine), "is in use: nvme0n1 is mounted at /");
}

#[test]
fn somebody_elses_mount_does_not_matter() {
    let machine = machine();
    machine.block("pci0000:00/0000:00:09.0/virtio1/block/vdb", "254:16");
    machine.mount("40 21 254:16 / /other rw - ext4 /dev/vdb rw");
    let run = machine.run(&["--dry-run"]);
    assert!(run.stdout.contains("would unbind"), "{}{}", run.stdout, run.stderr);
}

#[test]
fn an_interface_that_is_up_is_refused() {
    let machine = machine();
    let nic = "0000:00:05.0";
    machine.function(nic, "8086:10d3", 0x02_0000, Some("e1000e"), Some(8));
    machine.write(
        &machine.path("pcid.d/nic.toml"),
        "[[drivers]]\nids = { 0x8086 = [0x10d3] }\ncommand = ['nvmed']",
    );
    let interface = machine.function_dir(nic).join("net/enp0s5");
    machine.write(&interface.join("flags"), "0x1003\n");
    symlink(&interface, machine.path("sys/class/net/enp0s5")).unwrap();
    let run = machine.run(&["--device", nic]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (Some(1), "pcid-spawner: 0000:00:05.0: is in use: network interface enp0s5 is up\n")
    );
    machine.write(&interface.join("flags"), "0x1002\n");
    assert!(machine.run(&["--device", nic, "--dry-run"]).stdout.contains("would unbind from e1000e"));
    assert!(machine.is_untouched());
}

#[test]
fn virtual_functions_keep_their_physical_function() {
    let machine = machine();
    machine.write(&machine.function_dir(NVME).join("sriov_numvfs"), "2\n");
    assert_eq!(refusal(&machine), "is in use: 2 virtual functions depend on it");
}

#[test]
fn a_group_with_a_foreign_driver_is_refused() {
    let machine = machine();
    machine.function("0000:00:04.1", "8086:2668", 0x04_0300, Some("snd_hda_intel"), None);
    symlink(
        machine.function_dir("0000:00:04.1"),
        machine.path("sys/kernel/iommu_groups/7/devices/0000:00:04.1"),
    )
    .unwrap();
    assert_eq!(
        refusal(&machine),
        "IOMMU group 7 is not viable: 0000:00:04.1 in it is bound to snd_hda_intel"
    );
}

#[test]
fn bridges_and_free_functions_leave_a_group_viable() {
    let machine = machine();
    for (address, driver) in [("0000:00:02.0", Some("pcieport")), ("0000:00:02.1", None)] {
        machine.function(address, "8086:3420", 0x06_0400, driver, None);
        symlink(
            machine.function_dir(address),
            machine.path("sys/kernel/iommu_groups/7/devices").join(address),
        )
        .unwrap();
    }
    assert!(machine.run(&["--dry-run"]).stdout.contains("would unbind"));
}

#[test]
fn one_group_goes_to_one_function() {
    let machine = machine();
    machine.nvme("0000:00:06.0", 9);
    machine.function("0000:00:06.1", "1b36:0010", 0x01_0802, None, None);
    symlink(
        machine.path("sys/kernel/iommu_groups/9"),
        machine.function_dir("0000:00:06.1").join("iommu_group"),
    )
    .unwrap();
    let run = machine.run(&["--dry-run"]);
    assert!(
        run.stdout.contains("0000:00:06.1: would be left alone: IOMMU group 9 is taken by 0000:00:06.0\n"),
        "{}",
        run.stdout
    );
}

#[test]
fn no_iommu_group_is_refused() {
    let machine = machine();
    fs::remove_file(machine.function_dir(NVME).join("iommu_group")).unwrap();
    assert!(refusal(&machine).starts_with("has no IOMMU group: "));
}

#[test]
fn missing_vfio_is_refused() {
    let machine = machine();
    fs::remove_dir_all(machine.path("sys/bus/pci/drivers/vfio-pci")).unwrap();
    let text = refusal(&machine);
    assert!(text.starts_with("VFIO is not loaded: ") && text.ends_with("(modprobe vfio-pci)"), "{text}");
}

#[test]
fn a_missing_daemon_is_refused() {
    let machine = machine();
    fs::remove_file(machine.path("drivers/nvmed")).unwrap();
    assert!(refusal(&machine).contains("drivers/nvmed: No such file"));
    fs::write(machine.path("drivers/nvmed"), "not executable").unwrap();
    assert!(refusal(&machine).ends_with("drivers/nvmed: is no program"));
}

#[test]
fn a_reserved_function_is_refused() {
    let machine = machine();
    machine.write(&machine.function_dir(NVME).join("driver_override"), "pci-stub\n");
    assert_eq!(refusal(&machine), "is reserved for pci-stub by driver_override");
}

#[test]
fn unclaimed_and_absent_devices_are_named() {
    let machine = machine();
    machine.function("0000:00:1f.0", "8086:2918", 0x06_0100, None, None);
    for (device, line) in [
        ("0000:00:1f.0", "0000:00:1f.0: no pcid.d entry claims 8086:2918 class 06.01.00"),
        ("0000:00:1e.0", "0000:00:1e.0: no such PCI function"),
    ] {
        let run = machine.run(&["--device", device]);
        assert_eq!((run.code, run.stderr), (Some(1), format!("pcid-spawner: {line}\n")));
    }
    let run = machine.run(&["--device", "4"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("'4'"), "{}", run.stderr);
    assert!(machine.is_untouched());
}

#[test]
fn without_any_entry_there_is_nothing_to_do() {
    let machine = machine();
    fs::write(machine.path("pcid.d/nvmed.toml"), "[[drivers]]\nclass = 300\n").unwrap();
    let run = machine.run(&[]);
    assert_eq!(run.code, Some(1));
    let lines: Vec<_> = run.stderr.lines().collect();
    assert!(
        lines[0].contains("nvmed.toml:2: ") && lines[0].contains("the file is left out"),
        "{}",
        run.stderr
    );
    assert!(lines[1].starts_with("pcid-spawner: no usable pcid.d entry in "), "{}", run.stderr);
    let run = machine.run(&["--config", "/no/such/directory"]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (Some(1), "pcid-spawner: /no/such/directory: no such directory\n")
    );
}

#[test]
fn the_list_says_what_matches_what() {
    let machine = machine();
    machine.function("0000:00:1f.0", "8086:2918", 0x06_0100, None, None);
    machine.mount("40 21 259:1 / /mnt rw - ext4 /dev/nvme0n1p1 rw");
    machine.write(&machine.path("pcid.d/zz.toml"), "nonsense");
    let run = machine.run(&["list"]);
    let file = machine.path("pcid.d/nvmed.toml");
    assert_eq!(
        run.stdout,
        format!(
            "0000:00:04.0  1b36:0010 class 01.08.02  driver nvme         group 7   NVMe ({}:1); left alone: \
             is in use: nvme0n1p1 is mounted at /mnt\n\
             0000:00:1f.0  8086:2918 class 06.01.00  driver -            group -   -\n",
            file.display()
        )
    );
    // A file that cannot be used is reported, and is a failure of a check like this one.
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("zz.toml:1: ") && run.stderr.ends_with("1 pcid.d file(s) cannot be used\n"));
    assert!(machine.is_untouched());
}

#[test]
fn a_function_that_cannot_be_read_is_left_out() {
    let machine = machine();
    for (address, file, text) in [
        ("0000:00:06.0", "class", "none"),
        ("0000:00:07.0", "vendor", "0x1b36f"),
        ("0000:00:08.0", "device", "-1"),
    ] {
        machine.function(address, "1b36:0010", 0x01_0802, None, None);
        machine.write(&machine.function_dir(address).join(file), text);
    }
    machine.function("0000:00:09.0", "1b36:0010", 0x01_0802, None, None);
    fs::remove_file(machine.function_dir("0000:00:09.0").join("class")).unwrap();
    symlink("/nowhere", machine.path("sys/bus/pci/devices/0000:00:0a.0")).unwrap();
    symlink(machine.function_dir(NVME), machine.path("sys/bus/pci/devices/10000:e0:00.0")).unwrap();
    let run = machine.run(&["list"]);
    assert_eq!(run.code, Some(0));
    assert_eq!(run.stdout.lines().count(), 1, "{}", run.stdout);
    assert_eq!(run.stderr.lines().count(), 5, "{}", run.stderr);
    for address in ["06.0", "07.0", "08.0", "09.0", "0a.0"] {
        assert!(run.stderr.contains(&format!("0000:00:{address}: ")), "{}", run.stderr);
    }
}
