//! For any text and any entry: no panic, and the same answer as a reading of the rules that shares no code.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use pcid_config::{DriverConfig, FunctionId, parse};
use proptest::prelude::*;

fn small<T: Clone + std::fmt::Debug + 'static>(values: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(values)
}

prop_compose! {
    /// Few values, so that entries and functions meet.
    fn entry()(
        name in proptest::option::of("[a-z \"\\\\]{1,6}"),
        class in proptest::option::of(small(&[1u8, 2, 255])),
        subclass in proptest::option::of(small(&[0u8, 8])),
        interface in proptest::option::of(small(&[0u8, 2])),
        ids in proptest::option::of(proptest::collection::btree_map(small(&[0x8086u16, 0x1af4]),
            proptest::collection::vec(small(&[0u16, 1, 0xffff]), 0..3), 0..3)),
        vendor in proptest::option::of(small(&[0x8086u16, 0x1af4])),
        device in proptest::option::of(small(&[0u16, 1, 0xffff])),
        range in proptest::option::of((small(&[0u16, 1, 2]), small(&[0u16, 1, 0xffff]))),
        command in proptest::collection::vec("[a-z/\\-]{1,8}", 1..4),
    ) -> DriverConfig {
        let device_id_range = range.map(|(start, end)| start..end);
        DriverConfig { name, class, subclass, interface, ids, vendor, device, device_id_range, command }
    }
}

prop_compose! {
    fn function()(
        vendor in small(&[0x8086u16, 0x1af4, 0]),
        device in small(&[0u16, 1, 2, 0xfffe, 0xffff]),
        class in small(&[1u8, 2, 255]),
        subclass in small(&[0u8, 8]),
        interface in small(&[0u8, 2]),
    ) -> FunctionId {
        FunctionId { vendor, device, class, subclass, interface }
    }
}

/// The entry as a person would write it.
fn to_toml(entry: &DriverConfig, hex: bool) -> String {
    use std::fmt::Write;
    let number = |value: u16| if hex { format!("{value:#x}") } else { value.to_string() };
    let mut text = String::from("[[drivers]]\n");
    if let Some(name) = &entry.name {
        writeln!(text, "name = '{name}'").unwrap();
    }
    let bytes = [("class", entry.class), ("subclass", entry.subclass), ("interface", entry.interface)];
    for (key, value) in bytes {
        if let Some(value) = value {
            writeln!(text, "{key} = {}", number(value.into())).unwrap();
        }
    }
    for (key, value) in [("vendor", entry.vendor), ("device", entry.device)] {
        if let Some(value) = value {
            writeln!(text, "{key} = {}", number(value)).unwrap();
        }
    }
    if let Some(ids) = &entry.ids {
        let vendors = ids.iter().map(|(vendor, devices)| {
            let devices: Vec<_> = devices.iter().map(|device| number(*device)).collect();
            format!("{vendor:#06X} = [{}]", devices.join(", ")).replacen("0X", "0x", 1)
        });
        writeln!(text, "ids = {{ {} }}", vendors.collect::<Vec<_>>().join(", ")).unwrap();
    }
    if let Some(range) = &entry.device_id_range {
        let (start, end) = (number(range.start), number(range.end));
        writeln!(text, "device_id_range = {{ start = {start}, end = {end} }}").unwrap();
    }
    writeln!(text, "command = {:?}", entry.command).unwrap();
    text
}

/// The rules once more, as a list of reasons to refuse.
fn refuses(entry: &DriverConfig, id: &FunctionId) -> bool {
    let mut reasons = Vec::new();
    for (wanted, found) in
        [(entry.class, id.class), (entry.subclass, id.subclass), (entry.interface, id.interface)]
    {
        reasons.extend(wanted.filter(|wanted| *wanted != found).map(|_| "class"));
    }
    if let Some(ids) = &entry.ids {
        let pairs: Vec<_> = ids.iter().flat_map(|(v, ds)| ds.iter().map(move |d| (*v, *d))).collect();
        if !pairs.contains(&(id.vendor, id.device)) {
            reasons.push("ids");
        }
    } else {
        reasons.extend(entry.vendor.filter(|vendor| *vendor != id.vendor).map(|_| "vendor"));
        reasons.extend(entry.device.filter(|device| *device != id.device).map(|_| "device"));
    }
    if let Some(range) = &entry.device_id_range
        && (id.device < range.start || id.device >= range.end)
    {
        reasons.push("range");
    }
    !reasons.is_empty()
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(entry in entry(), hex: bool) {
        prop_assume!(entry.has_criteria());
        let parsed = parse(&to_toml(&entry, hex)).expect("valid");
        prop_assert_eq!(parsed.drivers, vec![(1, entry)]);
        prop_assert!(parsed.unknown_keys.is_empty());
    }

    #[test]
    fn matching_follows_the_rules(entry in entry(), id in function()) {
        prop_assert_eq!(entry.matches(&id), !refuses(&entry, &id));
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn damaged_files_are_answered_on_one_line(entry in entry(), at: prop::sample::Index, byte in 0x20u8..0x7f) {
        let mut text = to_toml(&entry, true).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let text = String::from_utf8(text).expect("ASCII");
        if let Err(error) = parse(&text) {
            prop_assert!(!error.to_string().contains('\n'));
            prop_assert!(error.line >= 1 && error.line <= text.lines().count() + 1);
        }
    }
}
