//! The wire format, byte for byte, against a pcid of the test's own on the other end of a socket pair.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    thread,
};

use pcid_interface::{
    Error, FullDeviceId, LegacyInterruptLine, MsiAddrAndData, MsiInfo, MsiSetFeatureInfo, MsixInfo,
    PciAddress, PciBar, PciFeature, PciFeatureInfo, PciFunctionHandle, PcidServerResponseError,
    SetFeatureInfo, VendorSpecificCapability, channel_path,
};

const REQUEST_CONFIG: &[u8] = &[1, 0, 0, 0];

/// The configuration of an NVMe controller at 0001:02:03.4 as pcid encodes it.
fn config() -> Vec<u8> {
    let parts: &[&[u8]] = &[
        &[1, 0, 0, 0],                                  // Config
        &[1, 0, 2, 3, 4],                               // segment, bus, device, function
        &[2, 0, 0, 0],                                  // BAR 0: Memory64
        &[0, 0, 0, 0xfe, 1, 0, 0, 0],                   // at 0x1_fe00_0000
        &[0, 0x40, 0, 0, 0, 0, 0, 0],                   // 0x4000 bytes
        &[0, 0, 0, 0],                                  // BAR 1: None
        &[1, 0, 0, 0, 0, 0, 0xb0, 0xfe, 0, 0x10, 0, 0], // BAR 2: Memory32, 0xfeb0_0000, 0x1000 bytes
        &[3, 0, 0, 0, 0x40, 0xc0],                      // BAR 3: Port 0xc040
        &[0, 0, 0, 0, 0, 0, 0, 0],                      // BARs 4 and 5: None
        &[1, 0, 0, 0xa0, 0xfe, 0, 0, 1, 0, 1],          // ROM: 0xfea0_0000, 0x1_0000 bytes, enabled
        &[1, 11, 0],                                    // interrupt line 11, without phandle
        &[0x36, 0x1b, 0x10, 0, 1, 8, 2, 5],             // 1b36:0010, class 01.08.02, revision 5
    ];
    parts.concat()
}

/// Answers each request that is exactly as expected with the next response, and stops at the first that is not.
fn fake_pcid(mut channel: UnixStream, script: Vec<(Vec<u8>, Vec<u8>)>) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let mut answered = 0;
        for (expected, response) in script {
            let mut request = vec![0; expected.len()];
            if channel.read_exact(&mut request).is_err() || request != expected {
                eprintln!("expected {expected:x?}, got {request:x?}");
                return answered;
            }
            if channel.write_all(&response).is_err() {
                return answered;
            }
            answered += 1;
        }
        let mut rest = Vec::new();
        channel.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        match channel.read_to_end(&mut rest) {
            Ok(0) => answered,
            other => panic!("bytes behind the last request: {other:?} {rest:x?}"),
        }
    })
}

fn framed(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u64).to_le_bytes(), payload].concat()
}

/// A conversation in which pcid answers `request` with `response`, framed, and the driver does `work`.
fn converse<T>(
    exchanges: &[(&[u8], &[u8])],
    work: impl FnOnce(&mut PciFunctionHandle<UnixStream>) -> T,
) -> T {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut script = vec![(REQUEST_CONFIG.to_vec(), framed(&config()))];
    script.extend(exchanges.iter().map(|(request, response)| (request.to_vec(), framed(response))));
    let exchanges = script.len();
    let pcid = fake_pcid(theirs, script);
    let mut handle = PciFunctionHandle::connect(ours).unwrap();
    let result = work(&mut handle);
    drop(handle);
    assert_eq!(pcid.join().unwrap(), exchanges, "the driver did not say what it should");
    result
}

#[test]
fn configuration() {
    let config = converse(&[], |handle| *handle.config()).func;
    assert_eq!(config.addr, PciAddress { segment: 1, bus: 2, device: 3, function: 4 });
    assert_eq!(
        config.bars,
        [
            PciBar::Memory64 { addr: 0x1_fe00_0000, size: 0x4000 },
            PciBar::None,
            PciBar::Memory32 { addr: 0xfeb0_0000, size: 0x1000 },
            PciBar::Port(0xc040),
            PciBar::None,
            PciBar::None,
        ]
    );
    let rom = config.rom.unwrap();
    assert_eq!((rom.addr, rom.size, rom.enabled), (0xfea0_0000, 0x1_0000, true));
    assert_eq!(config.legacy_interrupt_line, Some(LegacyInterruptLine { irq: 11, phandled: None }));
    assert_eq!(
        config.full_device_id,
        FullDeviceId { vendor_id: 0x1b36, device_id: 0x10, class: 1, subclass: 8, interface: 2, revision: 5 }
    );
    assert_eq!(channel_path(config.addr).to_str(), Some("/scheme/pci/0001--02--03.4/channel"));
}

#[test]
fn every_request_and_response() {
    converse(&[(&[0, 0, 0, 0], &[0, 0, 0, 0])], PciFunctionHandle::enable_device).unwrap();

    let features = converse(
        &[(&[2, 0, 0, 0], &[2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])],
        PciFunctionHandle::fetch_all_features,
    );
    assert_eq!(features.unwrap(), [PciFeature::MsiX, PciFeature::Msi]);

    let vendor = converse(
        &[(&[3, 0, 0, 0], &[3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 7, 8, 9])],
        PciFunctionHandle::get_vendor_capabilities,
    );
    assert_eq!(vendor.unwrap(), [VendorSpecificCapability { data: vec![7, 8, 9] }]);

    converse(&[(&[4, 0, 0, 0, 1, 0, 0, 0], &[4, 0, 0, 0, 1, 0, 0, 0])], |handle| {
        handle.enable_feature(PciFeature::MsiX)
    })
    .unwrap();

    let msi =
        converse(&[(&[5, 0, 0, 0, 0, 0, 0, 0], &[7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0])], |handle| {
            handle.feature_info(PciFeature::Msi)
        });
    assert_eq!(
        msi.unwrap(),
        PciFeatureInfo::Msi(MsiInfo {
            log2_multiple_message_capable: 5,
            is_64bit: true,
            has_per_vector_masking: false
        })
    );

    let msix = converse(
        &[(
            &[5, 0, 0, 0, 1, 0, 0, 0],
            &[7, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0x20, 0, 0, 65, 0, 0, 0, 0x30, 0, 0],
        )],
        |handle| handle.feature_info(PciFeature::MsiX),
    );
    assert_eq!(
        msix.unwrap(),
        PciFeatureInfo::MsiX(MsixInfo {
            table_bar: 4,
            table_offset: 0x2000,
            table_size: 65,
            pba_bar: 0,
            pba_offset: 0x3000
        })
    );

    converse(
        &[(
            &[6, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0x10, 0xe0, 0xfe, 0, 0, 0, 0, 0x31, 0, 0, 0, 0],
            &[8, 0, 0, 0, 0, 0, 0, 0],
        )],
        |handle| {
            handle.set_feature_info(SetFeatureInfo::Msi(MsiSetFeatureInfo {
                multi_message_enable: Some(0),
                message_address_and_data: Some(MsiAddrAndData { addr: 0xfee0_1000, data: 0x31 }),
                mask_bits: None,
            }))
        },
    )
    .unwrap();

    converse(&[(&[6, 0, 0, 0, 1, 0, 0, 0, 1, 0], &[8, 0, 0, 0, 1, 0, 0, 0])], |handle| {
        handle.set_feature_info(SetFeatureInfo::MsiX { function_mask: Some(false) })
    })
    .unwrap();

    let value = converse(&[(&[7, 0, 0, 0, 0x2c, 1], &[9, 0, 0, 0, 0x78, 0x56, 0x34, 0x12])], |handle| {
        handle.read_config(0x12c)
    });
    assert_eq!(value.unwrap(), 0x1234_5678);

    converse(&[(&[8, 0, 0, 0, 4, 0, 6, 4, 0, 0], &[10, 0, 0, 0])], |handle| handle.write_config(4, 0x406))
        .unwrap();
}

#[test]
fn phandles_have_64_bit_counts() {
    let mut config = config();
    let line = config.len() - 8 - 3;
    config.splice(
        line..line + 3,
        [1, 11, 1, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0],
    );
    let (ours, theirs) = UnixStream::pair().unwrap();
    let pcid = fake_pcid(theirs, vec![(REQUEST_CONFIG.to_vec(), framed(&config))]);
    let handle = PciFunctionHandle::connect(ours).unwrap();
    let line = handle.config().func.legacy_interrupt_line.unwrap();
    assert_eq!(line.phandled, Some((9, [1, 2, 3], 3)));
    drop(handle);
    assert_eq!(pcid.join().unwrap(), 1);
}

#[test]
fn a_refusal_leaves_the_channel_usable() {
    converse(
        &[
            (&[4, 0, 0, 0, 0, 0, 0, 0], &[6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (&[6, 0, 0, 0, 1, 0, 0, 0, 0], &[6, 0, 0, 0, 1, 0, 0, 0]),
            (&[7, 0, 0, 0, 0, 0], &[9, 0, 0, 0, 1, 0, 0, 0]),
        ],
        |handle| {
            let error = handle.enable_feature(PciFeature::Msi).unwrap_err();
            assert!(matches!(
                error,
                Error::Refused { reason: PcidServerResponseError::NonexistentFeature(PciFeature::Msi), .. }
            ));
            assert_eq!(error.to_string(), "pcid refused EnableFeature(Msi): the function has no Msi");
            let error = handle.set_feature_info(SetFeatureInfo::MsiX { function_mask: None }).unwrap_err();
            assert!(matches!(
                error,
                Error::Refused { reason: PcidServerResponseError::InvalidBitPattern, .. }
            ));
            assert_eq!(handle.read_config(0).unwrap(), 1);
        },
    );
}

/// A conversation that goes wrong at `response`, which is not framed by the test. The driver asks once more.
fn go_wrong(response: &[u8]) -> (Error, Error) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let pcid = fake_pcid(
        theirs.try_clone().unwrap(),
        vec![(REQUEST_CONFIG.to_vec(), framed(&config())), (vec![7, 0, 0, 0, 0, 0], response.to_vec())],
    );
    let mut handle = PciFunctionHandle::connect(ours).unwrap();
    let error = thread::scope(|scope| {
        let asked = scope.spawn(|| handle.read_config(0).unwrap_err());
        // End of file behind the response, for the cases in which it is too short.
        while !asked.is_finished() {
            thread::sleep(std::time::Duration::from_millis(5));
            let _ = theirs.shutdown(std::net::Shutdown::Write);
        }
        asked.join().unwrap()
    });
    let after = handle.read_config(0).unwrap_err();
    drop(handle);
    assert_eq!(pcid.join().unwrap(), 2);
    (error, after)
}

#[test]
fn what_is_no_answer_is_an_error() {
    let (wrong, after) = go_wrong(&framed(&[10, 0, 0, 0]));
    assert_eq!(wrong.to_string(), "pcid answered ReadConfig(0) with WriteConfig");
    assert!(matches!(after, Error::OutOfStep), "{after}");

    let (unknown, after) = go_wrong(&framed(&[11, 0, 0, 0]));
    assert!(matches!(unknown, Error::Malformed { .. }), "{unknown}");
    assert!(matches!(after, Error::OutOfStep));

    let (short, _) = go_wrong(&framed(&[9, 0, 0, 0, 1, 2]));
    assert!(matches!(short, Error::Malformed { .. }), "{short}");
    let (long, _) = go_wrong(&framed(&[9, 0, 0, 0, 1, 2, 3, 4, 5]));
    assert!(matches!(long, Error::Malformed { .. }), "{long}");
    let (cut, _) = go_wrong(&framed(&[9, 0, 0, 0, 1, 2, 3, 4])[..14]);
    assert!(matches!(cut, Error::Receive { .. }), "{cut}");
    let (huge, _) = go_wrong(&u64::MAX.to_le_bytes());
    assert!(matches!(huge, Error::TooLong { len: u64::MAX, .. }), "{huge}");
    // A list that says that it is longer than the response.
    let (list, _) = go_wrong(&framed(&[2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]));
    assert!(matches!(list, Error::Malformed { .. }), "{list}");
}

#[test]
fn the_answer_must_be_for_the_feature_that_was_asked_about() {
    let answers: [&[u8]; 2] =
        [&[7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0], &[7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0]];
    for answer in answers {
        let error = converse(&[(&[5, 0, 0, 0, 1, 0, 0, 0], answer)], |handle| {
            handle.feature_info(PciFeature::MsiX).unwrap_err()
        });
        assert!(matches!(error, Error::Unexpected { .. }), "{error}");
    }
}

#[test]
fn no_channel() {
    let error =
        PciFunctionHandle::connect_by_address(PciAddress { segment: 0, bus: 0, device: 6, function: 0 })
            .unwrap_err();
    assert_eq!(error.to_string(), "open /scheme/pci/0000--00--06.0/channel");
}

/// Reads what a test prepared and swallows what is written.
#[derive(Debug)]
struct Canned(std::io::Cursor<Vec<u8>>);

impl Read for Canned {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(target)
    }
}

impl Write for Canned {
    fn write(&mut self, source: &[u8]) -> std::io::Result<usize> {
        Ok(source.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

proptest::proptest! {
    /// Whatever pcid says, the client answers with a value or an error.
    #[test]
    fn survives_any_response(bytes: Vec<u8>, at in 0usize..90, value: u8) {
        let mut answers = framed(&config());
        answers.extend(framed(&bytes));
        let _ = PciFunctionHandle::connect(Canned(std::io::Cursor::new(answers.clone())))
            .and_then(|mut handle| handle.get_vendor_capabilities());
        if let Some(byte) = answers.get_mut(at) {
            *byte = value;
        }
        let _ = PciFunctionHandle::connect(Canned(std::io::Cursor::new(answers)));
    }
}
