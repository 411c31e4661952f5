//! Members who went into others, for good: where each id leads now, and the way there.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::ids::MemberNo;

/// Ids that may lead to one member beside his own.
pub(crate) const ALIASES_MAX: usize = 1_000;

/// A member and those into whom he went in turn: the last of them has what he had.
pub type Way = SmallVec<[MemberNo; 2]>;

/// Where a member went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gone {
    /// Into whom.
    into: MemberNo,
    /// Who has what he had now.
    root: MemberNo,
}

/// Every member who went into another.
#[derive(Debug, Default)]
pub(crate) struct Aliases {
    gone: HashMap<MemberNo, Gone>,
    /// Who leads to a member, those first who did so first.
    led: HashMap<MemberNo, Vec<MemberNo>>,
    /// Who went into whom, in the order of their events.
    steps: Vec<(MemberNo, MemberNo)>,
}

impl Aliases {
    /// Who has now what a member had: himself for most.
    pub(crate) fn root(&self, member: MemberNo) -> MemberNo {
        // Most books have nobody here, and then nothing is looked up.
        if self.gone.is_empty() {
            return member;
        }
        self.gone.get(&member).map_or(member, |gone| gone.root)
    }

    /// The way from a member to whoever has now what he had.
    pub(crate) fn way(&self, member: MemberNo) -> Way {
        let mut way = Way::from_iter([member]);
        let mut last = member;
        while let Some(gone) = self.gone.get(&last) {
            last = gone.into;
            way.push(last);
        }
        way
    }

    /// How many ids lead to a member beside his own.
    pub(crate) fn count(&self, member: MemberNo) -> usize {
        self.led.get(&member).map_or(0, Vec::len)
    }

    /// Into whom each member went, in the order of their events.
    pub(crate) fn steps(&self) -> &[(MemberNo, MemberNo)] {
        &self.steps
    }

    /// Lets a member go into another; `false`, and nothing changes, where either is gone already or too many would lead there.
    #[must_use]
    pub(crate) fn join(&mut self, goer: MemberNo, into: MemberNo) -> bool {
        let gone = |member| self.gone.contains_key(&member);
        if goer == into || gone(goer) || gone(into) || self.count(goer) + self.count(into) >= ALIASES_MAX {
            return false;
        }
        for alias in self.led.remove(&goer).unwrap_or_default() {
            if let Some(gone) = self.gone.get_mut(&alias) {
                gone.root = into;
            }
            self.led.entry(into).or_default().push(alias);
        }
        self.gone.insert(goer, Gone { into, root: into });
        self.led.entry(into).or_default().push(goer);
        self.steps.push((goer, into));
        true
    }

    /// Takes the newest [`Self::join`] back; `led` is how many led to the other before it.
    pub(crate) fn part(&mut self, led: usize) {
        let Some((goer, into)) = self.steps.pop() else { return };
        self.gone.remove(&goer);
        let Some(all) = self.led.get_mut(&into) else { return };
        let mut back = all.split_off(led.min(all.len()));
        if all.is_empty() {
            self.led.remove(&into);
        }
        back.retain(|alias| *alias != goer);
        for alias in &back {
            if let Some(gone) = self.gone.get_mut(alias) {
                gone.root = goer;
            }
        }
        if !back.is_empty() {
            self.led.insert(goer, back);
        }
    }

    /// Bytes of the tables, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let lists: usize = self.led.values().map(|list| list.capacity() * size_of::<MemberNo>()).sum();
        self.gone.capacity() * (size_of::<(MemberNo, Gone)>() + 1)
            + self.led.capacity() * (size_of::<(MemberNo, Vec<MemberNo>)>() + 1)
            + lists
            + self.steps.capacity() * size_of::<(MemberNo, MemberNo)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MemberNo = MemberNo(1);
    const B: MemberNo = MemberNo(2);
    const C: MemberNo = MemberNo(3);

    #[test]
    fn whoever_went_leads_to_the_end_of_the_chain_and_taking_a_step_back_leads_to_where_it_led_before() {
        let mut aliases = Aliases::default();
        assert!(aliases.join(A, B));
        let (way, before) = (aliases.way(A), aliases.count(C));
        assert!(aliases.join(B, C));
        assert_eq!((aliases.root(A), aliases.root(B), aliases.root(C)), (C, C, C));
        assert_eq!((aliases.way(A).as_slice(), aliases.count(C)), ([A, B, C].as_slice(), 2));
        aliases.part(before);
        assert_eq!((aliases.root(A), aliases.root(B)), (B, B));
        assert_eq!((aliases.way(A), aliases.count(B), aliases.count(C)), (way, 1, 0));
        aliases.part(0);
        assert_eq!((aliases.root(A), aliases.count(B), aliases.steps().len()), (A, 0, 0));
    }

    #[test]
    fn nobody_goes_twice_nor_into_one_who_went_nor_into_himself() {
        let mut aliases = Aliases::default();
        assert!(aliases.join(A, B));
        assert!(!aliases.join(A, C) && !aliases.join(C, A) && !aliases.join(C, C));
        assert_eq!(aliases.steps(), [(A, B)]);
    }

    #[test]
    fn no_more_lead_to_one_than_may() {
        let mut aliases = Aliases::default();
        for number in (10..).take(ALIASES_MAX) {
            assert!(aliases.join(MemberNo(number), A));
        }
        assert!(!aliases.join(B, A));
        assert!(!aliases.join(A, B), "all of them would lead there, and he himself");
        assert_eq!(aliases.count(A), ALIASES_MAX);
    }
}
