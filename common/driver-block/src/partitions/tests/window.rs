use proptest::prelude::*;

use crate::{BlockError, DiskId, Operation, Request, partitions::Window};

#[test]
fn exact_bounds() {
    let window = Window::new(100, 10, 110).unwrap();
    assert_eq!(window.translate(0, 10), Ok(100));
    assert_eq!(window.translate(9, 1), Ok(109));
    assert_eq!(window.translate(9, 2), Err(BlockError::OutOfRange));
    assert_eq!(window.translate(10, 1), Err(BlockError::OutOfRange));
    assert_eq!(window.translate(u64::MAX, 1), Err(BlockError::OutOfRange));
    assert_eq!(window.translate(1, u64::MAX), Err(BlockError::OutOfRange));
    assert_eq!(window.translate(0, 0), Err(BlockError::Invalid));
    assert_eq!(Window::new(100, 10, 109), None);
    assert_eq!(Window::new(u64::MAX, 1, u64::MAX), None);
    assert_eq!(Window::whole(u64::MAX).translate(u64::MAX - 1, 1), Ok(u64::MAX - 1));
    assert_eq!(Window::whole(0).translate(0, 1), Err(BlockError::OutOfRange));
}

#[test]
fn requests() {
    let window = Window::new(100, 10, 110).unwrap();
    let mut discard = Request::range(Operation::Discard, DiskId(1), 8, 2, 7);
    assert_eq!(window.apply(&mut discard), Ok(()));
    assert_eq!(discard, Request::range(Operation::Discard, DiskId(1), 108, 2, 7));
    let outside = Request::range(Operation::WriteZeroes, DiskId(1), 8, 3, 7);
    let mut refused = outside.clone();
    assert_eq!(window.apply(&mut refused), Err(BlockError::OutOfRange));
    assert_eq!(refused, outside);
    let mut flush = Request::flush(DiskId(1), 7);
    assert_eq!(window.apply(&mut flush), Ok(()));
    assert_eq!(flush, Request::flush(DiskId(1), 7));
}

/// Any number, but often one next to a limit.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..20_u64, any::<u64>(), (0..20_u64).prop_map(|below| u64::MAX - below)]
}

proptest! {
    #[test]
    fn nothing_leaves((start, blocks, disk) in (number(), number(), number()), lba in number(), len in number()) {
        let wide = |value: u64| u128::from(value);
        let window = Window::new(start, blocks, disk);
        prop_assert_eq!(window.is_some(), wide(start) + wide(blocks) <= wide(disk));
        if let Some(window) = window {
            let inside = len > 0 && wide(lba) + wide(len) <= wide(blocks);
            let translated = window.translate(lba, len).ok().map(u128::from);
            prop_assert_eq!(translated, inside.then(|| wide(start) + wide(lba)));
        }
    }
}
