//! One `[[drivers]]` entry and how it matches.

use std::{collections::BTreeMap, fmt, ops::Range};

use serde::{Deserialize, Deserializer, de};

/// What tells one kind of PCI function from another (PCI Local Bus 3.0 §6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FunctionId {
    /// Vendor ID, offset 00h.
    pub vendor: u16,
    /// Device ID, offset 02h.
    pub device: u16,
    /// Base class, offset 0Bh.
    pub class: u8,
    /// Sub-class, offset 0Ah.
    pub subclass: u8,
    /// Programming interface, offset 09h.
    pub interface: u8,
}

impl fmt::Display for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vendor, device, class, subclass, interface } = self;
        write!(f, "{vendor:04x}:{device:04x} class {class:02x}.{subclass:02x}.{interface:02x}")
    }
}

/// One `[[drivers]]` entry.
///
/// Every key that is present must agree with the function; `ids`, where present, replaces `vendor` and `device`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct DriverConfig {
    /// What people call the device.
    pub name: Option<String>,
    /// Base class.
    pub class: Option<u8>,
    /// Sub-class.
    pub subclass: Option<u8>,
    /// Programming interface.
    pub interface: Option<u8>,
    /// Vendor ID → device IDs. A key is hexadecimal with or without `0x`.
    #[serde(default, deserialize_with = "ids")]
    pub ids: Option<BTreeMap<u16, Vec<u16>>>,
    /// Vendor ID.
    pub vendor: Option<u16>,
    /// Device ID.
    pub device: Option<u16>,
    /// Device IDs from `start` up to, but not including, `end`.
    pub device_id_range: Option<Range<u16>>,
    /// The program and its arguments.
    pub command: Vec<String>,
}

impl DriverConfig {
    /// Whether this entry claims a function with `id`.
    pub fn matches(&self, id: &FunctionId) -> bool {
        let agrees = |wanted: Option<u8>, found: u8| wanted.is_none_or(|wanted| wanted == found);
        let ids_agree = match &self.ids {
            Some(ids) => ids.get(&id.vendor).is_some_and(|devices| devices.contains(&id.device)),
            None => {
                self.vendor.is_none_or(|vendor| vendor == id.vendor)
                    && self.device.is_none_or(|device| device == id.device)
            }
        };
        agrees(self.class, id.class)
            && agrees(self.subclass, id.subclass)
            && agrees(self.interface, id.interface)
            && ids_agree
            && self.device_id_range.as_ref().is_none_or(|range| range.contains(&id.device))
    }

    /// Whether the entry says anything at all about the function it wants.
    pub fn has_criteria(&self) -> bool {
        self.class.is_some()
            || self.subclass.is_some()
            || self.interface.is_some()
            || self.ids.is_some()
            || self.vendor.is_some()
            || self.device.is_some()
            || self.device_id_range.is_some()
    }

    /// The program as the file names it; empty only in an entry that did not come from a file.
    pub fn program(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }

    /// The arguments after the program.
    pub fn args(&self) -> &[String] {
        self.command.get(1..).unwrap_or_default()
    }

    /// The name, or the program where there is none.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.program())
    }
}

/// Reads `ids`. `0x8086` and `8086` are two keys of one vendor, so the keys cannot be read as a map of numbers.
fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BTreeMap<u16, Vec<u16>>>, D::Error> {
    struct Ids;

    impl<'de> de::Visitor<'de> for Ids {
        type Value = BTreeMap<u16, Vec<u16>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of vendor IDs, each with a list of device IDs")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut ids = Self::Value::new();
            while let Some((VendorKey(vendor), devices)) = map.next_entry::<VendorKey, Vec<u16>>()? {
                ids.entry(vendor).or_default().extend(devices);
            }
            Ok(ids)
        }
    }

    deserializer.deserialize_map(Ids).map(Some)
}

/// A vendor ID written as a TOML key. A key is text, and Redox's pcid reads it as hexadecimal, prefix or not.
struct VendorKey(u16);

impl<'de> Deserialize<'de> for VendorKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        let digits = key.strip_prefix("0x").unwrap_or(&key);
        // `from_str_radix` would also take a sign.
        let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u16::from_str_radix(digits, 16) {
            Ok(vendor) if valid => Ok(VendorKey(vendor)),
            _ => Err(de::Error::custom(format_args!(
                "vendor ID `{key}` is not a hexadecimal number from 0x0 to 0xffff"
            ))),
        }
    }
}
