//! What callers tell of a member.

use stampbook::ledger::command::Action;
use stampbook::ledger::reason::Reason;

use super::book::{Said, tell};
use super::{Case, Decided, Refusal, What};

/// Tags that a member may have.
pub const TAGS_MAX: usize = 32;
/// Names of tags that a program may have.
const NAMES_MAX: usize = 1_000;

/// Decides what a member is from now on; the event tells what changes.
pub fn member_set(mut case: Case<'_>) -> Result<Decided, Refusal> {
    let Action::MemberSet { joined_day, add, remove } = &case.command.action else { unreachable!() };
    let mut said = Said { what: "member set".to_owned(), ..Said::default() };
    let member = &mut case.draft.member;
    if let Some(day) = joined_day.filter(|day| member.joined != Some(*day)) {
        tell(&mut said.more, "joined", day);
        member.joined = Some(day);
    }
    for tag in remove {
        if member.tags.remove(tag) {
            tell(&mut said.more, &format!("removes {tag}"), 1_i64);
        }
    }
    for tag in add {
        if member.tags.insert(tag.clone()) {
            tell(&mut said.more, &format!("adds {tag}"), 1_i64);
        }
    }
    let new = add.iter().filter(|tag| !case.program.tags.contains(tag)).count();
    if member.tags.len() > TAGS_MAX || case.program.tags.len() + new > NAMES_MAX {
        return Err((Reason::TagsFull, "member_set.add_tags"));
    }
    case.decided(said, What::Other)
}
