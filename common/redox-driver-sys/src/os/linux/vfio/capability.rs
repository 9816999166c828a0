//! The chain of capabilities behind an answer of VFIO.

/// A chain longer than this runs in a circle.
const MOST_CAPABILITIES: usize = 64;

/// The bytes of the capability `id`, its header included, in an answer whose first capability is at `first`.
pub(super) fn find(answer: &[u8], first: u32, id: u32) -> Option<&[u8]> {
    let mut next = first;
    for _ in 0..MOST_CAPABILITIES {
        let capability = answer.get(usize::try_from(next).ok().filter(|&at| at > 0)?..)?;
        // struct vfio_info_cap_header: id (16 bits), version (16 bits), offset of the next.
        let found = u16::from_ne_bytes(*capability.first_chunk()?);
        next = u32_at(capability, 4)?;
        if u32::from(found) == id {
            return Some(capability);
        }
    }
    None
}

/// The pairs of 64-bit numbers of a capability that has a count at byte 8 and the pairs from byte 16 on: the areas of
/// `vfio_region_info_cap_sparse_mmap`, the ranges of `vfio_iommu_type1_info_cap_iova_range`.
pub(super) fn pairs(capability: &[u8]) -> Vec<(u64, u64)> {
    let count = u32_at(capability, 8).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    let pairs = capability.get(16..).unwrap_or_default().chunks_exact(16).take(count);
    pairs.filter_map(|pair| Some((u64_at(pair, 0)?, u64_at(pair, 8)?))).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|value| u32::from_ne_bytes(*value))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|value| u64::from_ne_bytes(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Vec<u8> {
        let mut answer = vec![0; 32];
        for (id, next, body) in [(3u16, 40u32, vec![]), (1, 0, vec![2u64, 0x1000, 0x2000, 0x5000, 0x8000])] {
            answer.extend(id.to_ne_bytes());
            answer.extend(1u16.to_ne_bytes());
            answer.extend(next.to_ne_bytes());
            answer.extend(body.iter().flat_map(|word| word.to_ne_bytes()));
        }
        answer
    }

    #[test]
    fn follows_the_chain() {
        let answer = answer();
        assert_eq!(find(&answer, 32, 3).unwrap().len(), answer.len() - 32);
        assert_eq!(pairs(find(&answer, 32, 1).unwrap()), [(0x1000, 0x2000), (0x5000, 0x8000)]);
        assert_eq!(find(&answer, 32, 2), None);
        assert_eq!(find(&answer, 0, 3), None, "no capabilities at all");
    }

    #[test]
    fn ends_whatever_the_chain_says() {
        let mut answer = answer();
        answer[36..40].copy_from_slice(&32u32.to_ne_bytes());
        assert_eq!(find(&answer, 32, 1), None, "a circle");
        answer[36..40].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(find(&answer, 32, 1), None, "beyond the end");
        assert_eq!(pairs(&answer[40..][..30]), [], "cut short");
        answer[48] = 200;
        assert_eq!(pairs(&answer[40..]).len(), 2, "more pairs than bytes");
    }
}
