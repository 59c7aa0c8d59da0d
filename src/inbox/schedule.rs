//! When a delivery is tried again. Pure.
//!
//! Fast at first, because most troubles of an app are over in seconds, then slower, over three days: as long as
//! Stripe itself would go on.

/// Milliseconds between attempts: at 0 s, 5 s, 30 s, 2 min, 10 min, 30 min, 1 h, 2 h, 4 h, 8 h, 12 h, then every
/// twelve hours until 72 h.
const GAPS: [i64; 15] = {
    const S: i64 = 1000;
    const M: i64 = 60 * S;
    const H: i64 = 60 * M;
    let half = 12 * H;
    [5 * S, 25 * S, 90 * S, 8 * M, 20 * M, 30 * M, H, 2 * H, 4 * H, 4 * H, half, half, half, half, half]
};

/// What a destination asks for in `Retry-After` is granted up to here. One that names next year must not end the
/// delivery.
const GRANTED: i64 = 60 * 60 * 1000;

/// How long after the failed attempt number `step` (from 0) the next one is due, in milliseconds; `None` after the
/// last. `seed` spreads deliveries that failed together by up to a fifth either way, the same for the same seed.
pub(super) fn after(step: u32, seed: u64) -> Option<i64> {
    let gap = GAPS.get(usize::try_from(step).ok()?)?;
    // From -200 to 200 thousandths.
    let share = (mix(seed ^ u64::from(step)) % 401).cast_signed() - 200;
    Some(gap + gap * share / 1000)
}

/// [`after`], or later where the destination asked for that, in seconds.
pub(super) fn after_asked(step: u32, seed: u64, asked: Option<i64>) -> Option<i64> {
    let asked = asked.map_or(0, |seconds| seconds.saturating_mul(1000).min(GRANTED));
    after(step, seed).map(|gap| gap.max(asked))
}

/// Spreads neighbouring numbers over all (the finalizer of SplitMix64).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attempts_reach_over_three_days() {
        assert_eq!(GAPS.iter().sum::<i64>(), 72 * 3600 * 1000);
        let offsets: Vec<i64> = GAPS
            .iter()
            .scan(0, |at, gap| {
                *at += gap / 1000;
                Some(*at)
            })
            .collect();
        assert_eq!(offsets[..10], [5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 43_200]);
        assert_eq!(after(15, 1), None);
        assert_eq!(after(u32::MAX, 1), None);
    }

    /// Where a delivery is due later than this, `rows::due` takes it for a mistake of the clock.
    #[test]
    fn no_gap_is_as_long_as_fifteen_hours() {
        let longest = (0..15).flat_map(|step| (0..1000).filter_map(move |seed| after(step, seed))).max();
        assert!(longest.unwrap() < 15 * 3600 * 1000 && GRANTED < 15 * 3600 * 1000);
    }

    #[test]
    fn deliveries_that_failed_together_come_back_spread() {
        let mut gaps: Vec<i64> = (0..100).filter_map(|seed| after(3, seed)).collect();
        gaps.sort_unstable();
        gaps.dedup();
        assert!(gaps.len() > 50, "{gaps:?}");
        assert!(gaps[0] < GAPS[3] * 9 / 10 && gaps[gaps.len() - 1] > GAPS[3] * 11 / 10, "{gaps:?}");
    }

    #[test]
    fn a_destination_may_ask_for_later_within_reason() {
        assert_eq!(after_asked(0, 7, None), after(0, 7));
        assert_eq!(after_asked(0, 7, Some(1)), after(0, 7));
        assert_eq!(after_asked(0, 7, Some(60)), Some(60_000));
        assert_eq!(after_asked(0, 7, Some(i64::MAX)), Some(GRANTED));
        assert_eq!(after_asked(0, 7, Some(-5)), after(0, 7));
        assert_eq!(after_asked(14, 7, Some(60)), after(14, 7));
        assert_eq!(after_asked(15, 7, Some(60)), None);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_a_fifth(step in 0..15_u32, seed: u64) {
            let (gap, found) = (GAPS[step as usize], after(step, seed).unwrap());
            prop_assert!((found - gap).abs() * 5 <= gap);
            prop_assert_eq!(Some(found), after(step, seed));
        }
    }
}
