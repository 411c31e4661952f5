//! What becomes of a member.

use stampbook::ledger::command::{Action, Standing};
use stampbook::ledger::reason::Reason;

use super::book::{Said, number_of, tell};
use super::{Case, Decided, Refusal, What};

/// Decides a change of standing: closed is for good.
pub fn standing(mut case: Case<'_>) -> Result<Decided, Refusal> {
    let Action::Standing { change, .. } = &case.command.action else { unreachable!() };
    let now = case.draft.member.standing;
    if now == Standing::Closed {
        return Err((Reason::MemberClosed, "member"));
    }
    if now == *change {
        return Err((Reason::StandingUnchanged, "standing"));
    }
    case.draft.member.standing = *change;
    let mut said = Said { what: "standing".to_owned(), ..Said::default() };
    tell(&mut said.more, "standing", number_of(*change));
    case.decided(said, What::Other)
}
