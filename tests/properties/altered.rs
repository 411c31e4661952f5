//! Events changed in one fact, as somebody would who has the book in his hands.

use stampbook::ledger::codec;
use stampbook::ledger::event::{Event, Leg, Legs, MembersMerged, Transferred};

/// The event with one fact changed: two legs, balanced; where it has none the key; of rules the greatest total.
pub(crate) fn altered(event: &Event<'_>) -> Vec<u8> {
    let mut event = event.clone();
    if let Event::Transferred(Transferred { legs, other, .. }) | Event::MembersMerged(MembersMerged { legs, other, .. }) =
        &mut event
        && !legs.is_empty()
        && !other.legs.is_empty()
        && legs[0].asset == other.legs[0].asset
    {
        // A unit more leaves the one and comes to the other.
        (*legs, other.legs) = (with_more(legs, -1), with_more(&other.legs, 1));
        return encoded(&event);
    }
    let altered_legs = altered_legs(event.legs());
    let (key, legs) = match &mut event {
        Event::Earned(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::Refunded(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::Redeemed(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::Adjusted(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::CampaignChanged(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::Rejected(e) => (&mut e.common.key, None),
        Event::AdminRejected(e) => (&mut e.common.key, None),
        Event::Opened(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::Activated(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::Reversed(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::Held(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::Captured(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::Released(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::Granted(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::StandingChanged(e) => (&mut e.common.key, None),
        Event::SnapshotTaken(e) => (&mut e.common.key, None),
        Event::SnapshotDeleted(e) => (&mut e.common.key, None),
        Event::ClockConfirmed(e) => (&mut e.common.key, None),
        Event::PeriodClosed(e) => (&mut e.common.key, None),
        Event::Transferred(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::Converted(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::MembersMerged(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::MemberSet(e) => (&mut e.common.key, None),
        Event::RewardPut(e) => (&mut e.common.key, Some(&mut e.legs)),
        Event::CheckedOut(e) => (&mut e.common.key, None),
        Event::Due(e) => {
            e.legs = altered_legs.expect("what is due moves something");
            return encoded(&event);
        }
        Event::ProgramPut(e) => {
            e.spec.greatest_total.numerator += 1;
            return encoded(&event);
        }
    };
    match (legs, altered_legs) {
        (Some(legs), Some(altered)) => *legs = altered,
        _ => *key = "altered",
    }
    encoded(&event)
}

/// The legs with so much more in the first of them.
fn with_more(legs: &[Leg], more: i64) -> Legs {
    let mut altered = Legs::default();
    for (at, leg) in legs.iter().enumerate() {
        assert!(altered.push(Leg { amount: leg.amount + if at == 0 { more } else { 0 }, ..*leg }));
    }
    altered
}

/// The legs with one unit more moved between the first two of one asset; none where there are none.
fn altered_legs(legs: &[Leg]) -> Option<Legs> {
    let first = legs.first()?;
    let second = (1..legs.len()).find(|at| legs[*at].asset == first.asset)?;
    let mut altered = Legs::default();
    for (at, leg) in legs.iter().enumerate() {
        let more = i64::from(at == 0) - i64::from(at == second);
        assert!(altered.push(Leg { amount: leg.amount + more, ..*leg }));
    }
    Some(altered)
}

pub(crate) fn encoded(event: &Event<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(event, &mut bytes).unwrap();
    bytes
}
