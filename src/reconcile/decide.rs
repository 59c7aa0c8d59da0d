//! What a turn should do, from what is known. Pure.

use crate::model::Revision;
use crate::model::run::ReleaseId;
use crate::record::Target;

/// What is known when a turn begins.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    pub target: &'a Target,
    /// Where the branch points.
    pub tip: &'a Revision,
    /// The newest revision that is live.
    pub applied: Option<&'a Revision>,
    /// The tip must not be tried by itself.
    pub denied: bool,
    /// The tip descends from what the pin denied, and is not it.
    pub beyond_pin: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing to reach: what runs is kept as it is.
    Keep,
    /// The branch is ahead of what runs.
    Deploy,
    /// A new commit lifts the pin.
    Unpin,
    /// An earlier release should run.
    Restore(ReleaseId),
    /// Nothing should run.
    Down,
}

/// `restored`: the release that is the target runs already.
pub fn decide(known: &Known<'_>, restored: bool) -> Decision {
    match known.target {
        Target::Down { .. } => Decision::Down,
        Target::Pinned(pin) if !pin.hold && known.beyond_pin && !known.denied => Decision::Unpin,
        Target::Pinned(pin) if !restored => Decision::Restore(pin.release),
        // Whatever else is wanted: what turned bad goes first.
        Target::Back { release } if !restored => Decision::Restore(*release),
        Target::Pinned(_) => Decision::Keep,
        Target::Branch | Target::Back { .. } if known.denied || known.applied == Some(known.tip) => {
            Decision::Keep
        }
        Target::Branch | Target::Back { .. } => Decision::Deploy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Hold;

    fn revision(digit: char) -> Revision {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn pinned(hold: bool) -> Target {
        Target::Pinned(Hold {
            release: ReleaseId(3),
            hold,
            denied: Some(revision('b')),
            seen: None,
            since: 0,
        })
    }

    fn known<'a>(target: &'a Target, tip: &'a Revision, applied: &'a Revision) -> Known<'a> {
        Known { target, tip, applied: Some(applied), denied: false, beyond_pin: false }
    }

    #[test]
    fn a_new_tip_is_deployed_and_an_old_one_kept() {
        let (a, b) = (revision('a'), revision('b'));
        assert_eq!(decide(&known(&Target::Branch, &b, &a), false), Decision::Deploy);
        assert_eq!(decide(&known(&Target::Branch, &a, &a), false), Decision::Keep);
    }

    #[test]
    fn a_denied_tip_is_never_deployed() {
        let (a, b) = (revision('a'), revision('b'));
        let known = Known { denied: true, ..known(&Target::Branch, &b, &a) };
        assert_eq!(decide(&known, false), Decision::Keep);
    }

    #[test]
    fn a_pin_is_restored_once_and_then_kept_while_the_tip_is_what_was_denied() {
        let (a, b, target) = (revision('a'), revision('b'), pinned(false));
        assert!(matches!(decide(&known(&target, &b, &a), false), Decision::Restore(_)));
        assert_eq!(decide(&known(&target, &b, &a), true), Decision::Keep);
    }

    #[test]
    fn what_turned_bad_gives_way_before_anything_newer_is_deployed() {
        let (a, c, target) = (revision('a'), revision('c'), Target::Back { release: ReleaseId(2) });
        assert_eq!(decide(&known(&target, &c, &a), false), Decision::Restore(ReleaseId(2)));
        assert_eq!(decide(&known(&target, &c, &a), true), Decision::Deploy);
    }

    #[test]
    fn a_descendant_lifts_a_pin_unless_it_is_held() {
        let (a, c) = (revision('a'), revision('c'));
        for (hold, expected) in [(false, Decision::Unpin), (true, Decision::Keep)] {
            let target = pinned(hold);
            let known = Known { beyond_pin: true, ..known(&target, &c, &a) };
            assert_eq!(decide(&known, true), expected);
        }
    }
}
