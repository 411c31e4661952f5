//! What a member is, as callers told it: when it joined, and its tags.

use super::command::{Action, Command};
use super::decide::{Halt, common_of, may};
use super::event::{Event, MemberSet, TagPut};
use super::holding::Holding;
use super::ids::{MemberNo, TagNo};
use super::reason::Reason;
use super::state::{Ledger, Moment, Program};

/// Tags that a member may have.
pub(crate) const TAGS_MAX: usize = 32;
/// Names of tags that a program may have.
pub(crate) const PROGRAM_TAGS_MAX: usize = 1_000;

/// What a member is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    /// The local date on which the member joined, in days since the Unix epoch.
    pub(crate) joined_day: Option<i32>,
    /// In order of their numbers.
    pub(crate) tags: Vec<TagNo>,
}

impl Profile {
    /// Brings what an event says.
    ///
    /// # Errors
    /// A tag that is put on and there already, or taken off and not there, or one too many.
    pub(crate) fn set(&mut self, said: &MemberSet<'_>) -> Result<(), &'static str> {
        self.joined_day = said.joined_day.or(self.joined_day);
        for tag in &said.removed {
            let place = self.tags.binary_search(tag).map_err(|_| "a tag is taken off that the member has not")?;
            self.tags.remove(place);
        }
        for put in &said.added {
            match self.tags.binary_search(&put.tag) {
                Ok(_) => return Err("a tag is put on that the member has"),
                Err(place) => self.tags.insert(place, put.tag),
            }
        }
        if self.tags.len() > TAGS_MAX { Err("a member has too many tags") } else { Ok(()) }
    }

    /// What two members are who become one: the tags of both, and the date of who joined first.
    pub(crate) fn joined_with(mut self, other: &Self) -> Self {
        self.tags.extend(&other.tags);
        self.tags.sort_unstable();
        self.tags.dedup();
        self.joined_day = self.joined_day.into_iter().chain(other.joined_day).min();
        self
    }
}

impl Holding {
    /// What the member is.
    pub(crate) fn profile(&self) -> Profile {
        self.profile.as_deref().cloned().unwrap_or_default()
    }

    /// What nobody told takes no memory.
    pub(crate) fn set_profile(&mut self, profile: Profile) {
        self.profile = Some(profile).filter(|profile| *profile != Profile::default()).map(Box::new);
    }
}

impl Program {
    /// The number of a tag.
    pub(crate) fn tag(&self, name: &str) -> Option<TagNo> {
        let place = self.tags.iter().position(|known| **known == *name)?;
        u16::try_from(place).ok().map(TagNo)
    }

    /// The name of a tag.
    pub(crate) fn tag_name(&self, tag: TagNo) -> Option<&str> {
        self.tags.get(usize::from(tag.0)).map(|name| &**name)
    }

    /// The tags that a command puts on a member who has some, each once; `None` where the program would have too many names.
    fn putting<'c>(&self, has: &[TagNo], names: &'c [String]) -> Option<Vec<TagPut<'c>>> {
        let mut added: Vec<TagPut<'c>> = Vec::new();
        let mut next = self.tags.len();
        for name in names {
            match self.tag(name) {
                Some(tag) if has.contains(&tag) || added.iter().any(|put| put.tag == tag) => {}
                Some(tag) => added.push(TagPut { tag, name: None }),
                None if added.iter().any(|put| put.name == Some(name)) => {}
                None if next >= PROGRAM_TAGS_MAX => return None,
                None => {
                    added.push(TagPut { tag: u16::try_from(next).ok().map(TagNo)?, name: Some(name) });
                    next += 1;
                }
            }
        }
        Some(added)
    }
}

impl Ledger {
    pub(super) fn member_set<'c>(
        &self,
        command: &'c Command,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        const ADD: &str = "member_set.add_tags";
        let Action::MemberSet { joined_day, add, remove } = &command.action else {
            return Err((Reason::TagsFull, "action").into());
        };
        let (program, _, _) = self.admit(command, at)?;
        let (member, posting) = self.posting(command, known, at)?;
        may(&posting.holding, false)?;
        let Profile { joined_day: joined, tags } = posting.holding.profile();
        let added = program.putting(&tags, add).ok_or((Reason::TagsFull, ADD))?;
        let mut removed: Vec<TagNo> = remove.iter().filter_map(|name| program.tag(name)).collect();
        removed.retain(|tag| tags.contains(tag));
        removed.sort_unstable();
        removed.dedup();
        if tags.len() + added.len() > TAGS_MAX + removed.len() {
            return Err((Reason::TagsFull, ADD).into());
        }
        let joined_day = joined_day.filter(|day| Some(*day) != joined);
        if joined_day.is_some() || !added.is_empty() {
            self.takes_lots()?;
        }
        let common = common_of(command, member, &posting, at);
        Ok(Event::MemberSet(MemberSet { common, joined_day, added, removed }))
    }

    /// The names of tags that an event is the first to say are the program's next ones.
    pub(super) fn name_tags(&mut self, said: &MemberSet<'_>) -> Result<(), &'static str> {
        let number = said.common.program;
        let before = self.program(number).ok_or("the event's program is unknown")?.tags.len();
        let mut names = said.added.iter().filter_map(|put| Some((put.tag, put.name?))).peekable();
        if names.peek().is_some() {
            self.note(|_| Some(super::state::Undo::Tags(number, before)));
        }
        let program = self.program_mut(number).ok_or("the event's program is unknown")?;
        for (tag, name) in names {
            if usize::from(tag.0) != program.tags.len() || program.tags.len() >= PROGRAM_TAGS_MAX {
                return Err("a tag's name comes out of order");
            }
            program.tags.push(name.into());
        }
        match said.added.iter().all(|put| usize::from(put.tag.0) < program.tags.len()) {
            true => Ok(()),
            false => Err("an event puts on a tag of no name"),
        }
    }
}
