//! The format, by example: what the files of upstream's drivers say must be understood, and every mistake named.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use pcid_config::{FunctionId, parse};

fn function(vendor: u16, device: u16, class: u8, subclass: u8, interface: u8) -> FunctionId {
    FunctionId { vendor, device, class, subclass, interface }
}

/// Which of the entries' programs claim the function.
fn claimants(text: &str, id: FunctionId) -> Vec<String> {
    let parsed = parse(text).expect("the text is valid");
    let entries = parsed.drivers.into_iter().map(|(_, driver)| driver);
    entries.filter(|driver| driver.matches(&id)).map(|driver| driver.program().to_owned()).collect()
}

const EXAMPLES: &str = r#"
# Several ways to claim a function.
[[drivers]]
name = "NVMe"
class = 0x01
subclass = 8
interface = 0x02
command = ["nvmed"]

[[drivers]]
class = 2
ids = { 0x8086 = [0x1004, 0x100e], 10ec = [0x8168] }
command = ["nicd", "--fast"]

[[drivers]]
vendor = 0x1AF4
device = 4097
command = ["/opt/virtio-blkd"]

[[drivers]]
vendor = 0x1234
device_id_range = { start = 0x10, end = 0x20 }
command = ["ranged"]
use_channel = true
"#;

#[test]
fn entries_claim_what_they_say() {
    let cases: [(FunctionId, &[&str]); 12] = [
        (function(0x1b36, 0x0010, 1, 8, 2), &["nvmed"]),
        (function(0x1b36, 0x0010, 1, 8, 1), &[]),
        (function(0x1b36, 0x0010, 1, 6, 2), &[]),
        (function(0x8086, 0x100e, 2, 0, 0), &["nicd"]),
        (function(0x8086, 0x100e, 3, 0, 0), &[]),
        (function(0x8086, 0x8168, 2, 0, 0), &[]),
        (function(0x10ec, 0x8168, 2, 0, 0), &["nicd"]),
        (function(0x1af4, 0x1001, 1, 0, 0), &["/opt/virtio-blkd"]),
        (function(0x1234, 0x000f, 0, 0, 0), &[]),
        (function(0x1234, 0x0010, 0, 0, 0), &["ranged"]),
        (function(0x1234, 0x001f, 0, 0, 0), &["ranged"]),
        (function(0x1234, 0x0020, 0, 0, 0), &[]),
    ];
    for (id, programs) in cases {
        assert_eq!(claimants(EXAMPLES, id), programs, "{id}");
    }
}

#[test]
fn commands_names_and_lines_are_kept() {
    let parsed = parse(EXAMPLES).expect("valid");
    assert_eq!(parsed.drivers.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 10, 15, 20]);
    let (_, nic) = &parsed.drivers[1];
    assert_eq!((nic.program(), nic.args(), nic.label()), ("nicd", &["--fast".to_owned()][..], "nicd"));
    assert_eq!(parsed.drivers[0].1.label(), "NVMe");
    assert!(parsed.unknown_keys.is_empty(), "{:?}", parsed.unknown_keys);
}

#[test]
fn ids_take_the_place_of_vendor_and_device() {
    let text = "[[drivers]]\nids = { 0x8086 = [1] }\nvendor = 0x1af4\ndevice = 2\ncommand = ['x']";
    assert_eq!(claimants(text, function(0x8086, 1, 0, 0, 0)), ["x"]);
    assert!(claimants(text, function(0x1af4, 2, 0, 0, 0)).is_empty());
}

#[test]
fn one_vendor_may_be_written_in_two_ways() {
    let text = "[[drivers]]\nids = { 0x8086 = [1], 8086 = [2] }\ncommand = ['x']";
    for device in [1, 2] {
        assert_eq!(claimants(text, function(0x8086, device, 0, 0, 0)), ["x"]);
    }
}

#[test]
fn a_file_without_entries_is_no_mistake() {
    assert!(parse("# nothing here\n").expect("valid").drivers.is_empty());
}

#[test]
fn misspelt_keys_are_named() {
    let parsed =
        parse("[[drivers]]\nclass = 1\nsubclas = 8\ncommand = ['x']\n[other]\na = 1").expect("valid");
    assert_eq!(parsed.unknown_keys, ["other", "subclas"]);
}

#[test]
fn mistakes_are_named_with_their_line() {
    let cases = [
        ("[[drivers]]\nclass = 1", "line 1: missing field `command`"),
        ("[[drivers]]\nclass = 1\ncommand = []", "line 1: `command` of the entry names no program"),
        (
            "\n\n[[drivers]]\nname = 'N'\ncommand = ['x']",
            "line 3: \"N\" would claim every PCI function: give a class or an ID",
        ),
        ("[[drivers]]\nclass = 1\ncommand = [\"a\\u0000\"]", "line 1: `command` of \"a\\0\" contains a NUL"),
        ("[[drivers]]\nclass = 256\ncommand = ['x']", "line 2: invalid value: integer `256`, expected u8"),
        ("[[drivers]]\nclass = -1\ncommand = ['x']", "line 2: invalid value: integer `-1`, expected u8"),
        ("[[drivers]]\nclass = 'one'\ncommand = ['x']", "line 2: invalid type: string \"one\", expected u8"),
        (
            "[[drivers]]\ncommand = ['x']\nids = { 0x18086 = [1] }",
            "line 3: vendor ID `0x18086` is not a hexadecimal number from 0x0 to 0xffff",
        ),
        (
            "[[drivers]]\ncommand = ['x']\nids = { '+8086' = [1] }",
            "line 3: vendor ID `+8086` is not a hexadecimal number from 0x0 to 0xffff",
        ),
        (
            "[[drivers]]\ncommand = ['x']\nids = { '' = [1] }",
            "line 3: vendor ID `` is not a hexadecimal number from 0x0 to 0xffff",
        ),
        (
            "[[drivers]]\ncommand = ['x']\nids = { 0x8086 = [\n0x1,\n0x10000] }",
            "line 5: invalid value: integer `65536`, expected u16",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(parse(text).expect_err(text).to_string(), message, "{text}");
    }
    // The words are the TOML library's, the line is ours.
    assert_eq!(parse("[[drivers]]\nclass = 1\nnonsense\n").expect_err("no TOML").line, 3);
}
