//! A filter over the prints of up to a million keys: 16 bits say "not among them" wrongly never and "among them" wrongly
//! once in 65,536 times.

use xorf::{BinaryFuse16, Filter as _};

use super::StoreError;
use super::bytes::{In, Out};

/// A filter in memory.
pub(crate) struct Filter(BinaryFuse16);

impl Filter {
    /// A filter over `prints`, which are in order; `None` if there is none to be had, and then everything may be held.
    pub(crate) fn build(prints: &mut Vec<u64>) -> Option<Self> {
        prints.dedup();
        BinaryFuse16::try_from(&*prints).ok().map(Self)
    }

    pub(crate) fn may_hold(&self, print: u64) -> bool {
        self.0.contains(&print)
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.0.fingerprints.len()).map_or(u64::MAX, |length| length.saturating_mul(2))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let shape = &self.0.descriptor;
        let mut out = Out::default();
        out.u64(shape.seed);
        out.u32(shape.segment_length);
        out.u32(shape.segment_length_mask);
        out.u32(shape.segment_count_length);
        out.count(self.0.fingerprints.len());
        self.0.fingerprints.iter().for_each(|print| out.raw(&print.to_le_bytes()));
        out.0
    }

    /// Reads what [`Filter::to_bytes`] wrote. A shape that would make a look-up reach past the end is refused.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        let impossible = || StoreError::Unusable("a filter has an impossible shape".into());
        let mut fields = In::new(bytes);
        // The library has no way to put a filter together, but one that stands can be given another shape.
        let mut filter = BinaryFuse16::try_from_iterator([0].into_iter()).map_err(|_| impossible())?;
        let shape = &mut filter.descriptor;
        shape.seed = fields.u64()?;
        shape.segment_length = fields.u32()?;
        shape.segment_length_mask = fields.u32()?;
        shape.segment_count_length = fields.u32()?;
        let reach = u64::from(shape.segment_count_length) + 2 * u64::from(shape.segment_length);
        let sound = shape.segment_length.is_power_of_two()
            && shape.segment_length_mask == shape.segment_length - 1
            && shape.segment_count_length.is_multiple_of(shape.segment_length);
        let count = fields.count(2)?;
        if !sound || u64::try_from(count) != Ok(reach) {
            return Err(impossible());
        }
        let prints = (0..count).map(|_| fields.array().map(u16::from_le_bytes));
        filter.fingerprints = prints.collect::<Result<_, StoreError>>()?;
        fields.end()?;
        Ok(Self(filter))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn prints(count: u64) -> Vec<u64> {
        let mut prints: Vec<u64> = (0..count).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x55).collect();
        prints.sort_unstable();
        prints
    }

    #[test]
    fn a_filter_of_any_small_size_holds_all_its_prints_before_and_after_it_was_written() {
        for count in (1..300).chain([1_000, 4_097, 70_000]) {
            let mut doubled = prints(count);
            doubled.extend_from_within(..);
            doubled.sort_unstable();
            let filter = Filter::build(&mut doubled).unwrap();
            let read = Filter::from_bytes(&filter.to_bytes()).unwrap();
            assert!(prints(count).iter().all(|print| filter.may_hold(*print) && read.may_hold(*print)), "{count}");
        }
    }

    #[test]
    fn a_filter_answers_wrongly_about_once_in_65_536_times() {
        let filter = Filter::build(&mut prints(100_000)).unwrap();
        let wrong = (0..1_000_000_u64)
            .filter(|n| {
                filter.may_hold(
                    blake3::hash(&n.to_le_bytes()).as_bytes()[..8]
                        .iter()
                        .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
                )
            })
            .count();
        assert!(wrong <= 40, "{wrong} of a million");
    }

    #[test]
    fn bytes_of_a_filter_that_were_cut_or_reshaped_are_refused() {
        let bytes = Filter::build(&mut prints(1_000)).unwrap().to_bytes();
        for cut in 0..40 {
            assert!(Filter::from_bytes(&bytes[..cut]).is_err());
        }
        assert!(Filter::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        for field in 8..28 {
            let mut changed = bytes.clone();
            changed[field] ^= 1;
            assert!(Filter::from_bytes(&changed).is_err(), "byte {field}");
        }
    }
}
