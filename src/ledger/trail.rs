//! The way back through the events that concern a member: along his links, and behind a merge along those of the member who went
//! into him too, newest first.

use smallvec::SmallVec;

use super::event::Event;
use super::ids::{MemberNo, Op};

/// Where a walk back through a member's events stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trail {
    /// The next event of each member whose events are walked, in order of their ops.
    next: SmallVec<[(Op, MemberNo); 2]>,
}

impl Trail {
    /// From a member's newest event on; from nowhere for the op 0.
    #[must_use]
    pub fn new(head: Op, member: MemberNo) -> Self {
        let mut trail = Self { next: SmallVec::new() };
        trail.add(head, member);
        trail
    }

    fn add(&mut self, op: Op, member: MemberNo) {
        if op.0 > 0 {
            let place = self.next.partition_point(|known| *known < (op, member));
            self.next.insert(place, (op, member));
        }
    }

    /// From where another one stood, as [`Self::stands`] tells it.
    #[must_use]
    pub fn from_stands(stands: &[(Op, MemberNo)]) -> Self {
        let mut trail = Self { next: SmallVec::new() };
        stands.iter().for_each(|(op, member)| trail.add(*op, *member));
        trail
    }

    /// The next event of each member whose events are walked, in order of their ops.
    #[must_use]
    pub fn stands(&self) -> &[(Op, MemberNo)] {
        &self.next
    }

    /// The op of the next event; `None` at the end.
    #[must_use]
    pub fn op(&self) -> Option<Op> {
        self.next.last().map(|(op, _)| *op)
    }

    /// Whether the walk leads over everything that another one leads over.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        other.next.iter().all(|stand| self.next.contains(stand))
    }

    /// Goes on behind that event. `false` where it does not concern the member whose event it should be: then nothing of it is.
    #[must_use]
    pub fn pass(&mut self, event: &Event<'_>) -> bool {
        let Some(op) = self.op() else { return false };
        // An event between two members who became one stands in the statements of both.
        while let Some((next, member)) = self.next.pop() {
            if next != op {
                self.next.push((next, member));
                break;
            }
            let Some(link) = event.link_of(member) else { return false };
            self.add(op.back(link).unwrap_or_default(), member);
            if let Event::MembersMerged(merged) = event
                && merged.other.member.number() == Some(member)
                && let Some(goer) = merged.common.member.number()
            {
                self.add(op.back(merged.common.member_link).unwrap_or_default(), goer);
            }
        }
        true
    }
}
