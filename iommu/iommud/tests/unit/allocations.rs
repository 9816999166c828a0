//! What is done for every unmap takes no memory.

use allocation_counter::measure;
use model_amd_vi::Config;

use crate::support::{Bench, DOMAIN};

#[test]
fn invalidations_allocate_nothing() {
    let mut bench = Bench::new(Config::default());
    let unit = &mut bench.unit;
    let info = measure(|| {
        for n in 0..300 {
            unit.invalidate(DOMAIN, n << 20, 4096, n % 2 == 0);
        }
    });
    assert_eq!(info.count_total, 0);
    bench.unit.sync().unwrap();
}
