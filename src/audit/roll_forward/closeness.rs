//! Which members must be walked over together, since units moved between them.

use std::collections::HashMap;

use crate::ledger::ids::MemberNo;

/// Members in groups: each leads to one with a smaller number of the same group, until the foremost. Whoever is in no group but his
/// own is not kept; about 16 bytes for each of the others.
#[derive(Debug, Default)]
pub(super) struct Closeness {
    leads: HashMap<MemberNo, MemberNo>,
}

impl Closeness {
    /// The member with the smallest number of a member's group.
    pub(super) fn foremost(&self, member: MemberNo) -> MemberNo {
        let mut at = member;
        while let Some(to) = self.leads.get(&at) {
            at = *to;
        }
        at
    }

    /// Makes one group of two members' groups.
    pub(super) fn bring_together(&mut self, one: MemberNo, other: MemberNo) {
        let (first, second) = (self.foremost(one), self.foremost(other));
        let foremost = first.min(second);
        // Whoever was met on the way leads there at once, so that ways stay short.
        for member in [one, other] {
            let mut at = member;
            while at != foremost {
                match self.leads.insert(at, foremost) {
                    Some(to) => at = to,
                    None => break,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_who_are_brought_together_in_any_order_have_one_foremost() {
        let mut closeness = Closeness::default();
        for (one, other) in [(7, 9), (3, 4), (9, 4), (12, 11), (4, 7)] {
            closeness.bring_together(MemberNo(one), MemberNo(other));
        }
        let foremost: Vec<u32> = (0..13).map(|member| closeness.foremost(MemberNo(member)).0).collect();
        assert_eq!(foremost, [0, 1, 2, 3, 3, 5, 6, 3, 8, 3, 10, 11, 11]);
        closeness.bring_together(MemberNo(11), MemberNo(0));
        closeness.bring_together(MemberNo(12), MemberNo(9));
        assert!([3, 4, 7, 9, 11, 12].iter().all(|member| closeness.foremost(MemberNo(*member)) == MemberNo(0)));
    }
}
