//! Proves an award: the command is rebuilt from the inputs in its event, decided again against the state before it,
//! and must come to the same event, to the point.

use super::command::{Action, Command, Notes, Original};
use super::decide::Decision;
use super::event::{Common, Event, NotesRef, TakenFrom};
use super::ids::{MemberRef, Op};
use super::original::Resolved;
use super::print::Prints;
use super::state::{Ledger, Moment};

fn notes_of(notes: &NotesRef<'_>) -> Notes {
    Notes {
        reference: notes.reference.text.to_owned(),
        channel: notes.channel.text.to_owned(),
        partner: notes.partner.text.to_owned(),
        location: notes.location.text.to_owned(),
        metadata: notes.metadata.iter().map(|(n, v)| (n.text.to_owned(), v.text.to_owned())).collect(),
    }
}

fn original_of(from: Option<&TakenFrom>, op: Op) -> Original {
    from.and_then(|from| op.back(from.original_link)).map_or(Original::None, Original::Op)
}

fn action_of(event: &Event<'_>, op: Op) -> Option<Action> {
    let kind = |kind: Option<&str>| kind.map(str::to_owned);
    match event {
        Event::Earned(e) => Some(Action::Earn { basis: e.basis, event_kind: kind(e.event_kind) }),
        Event::Refunded(e) => Some(Action::Refund {
            original: original_of(e.from.as_ref(), op),
            basis: e.basis,
            event_kind: kind(e.event_kind),
        }),
        Event::Redeemed(e) => Some(Action::Redeem { points: e.points, purpose: e.purpose }),
        Event::Adjusted(e) => {
            Some(Action::Adjust { points: e.points, actor: e.actor.text.to_owned(), reason: e.reason.text.to_owned() })
        }
        Event::Opened(e) => {
            Some(Action::Opening { points: e.points, actor: e.actor.text.to_owned(), reason: e.reason.text.to_owned() })
        }
        Event::Rejected(_) | Event::ProgramPut(_) | Event::CampaignChanged(_) | Event::AdminRejected(_) => None,
        Event::SnapshotTaken(_) | Event::SnapshotDeleted(_) | Event::ClockConfirmed(_) => None,
    }
}

/// Says where two events of one command differ, in the words of an auditor.
fn difference(found: &Event<'_>, again: &Event<'_>) -> String {
    match (found, again) {
        (Event::Earned(found), Event::Earned(again)) if found.base != again.base => {
            format!("the base award is {} and the rules give {}", found.base, again.base)
        }
        (Event::Earned(found), Event::Earned(again)) if found.shares != again.shares => {
            let awarded = |e: &super::event::Earned<'_>| e.shares.iter().map(|share| share.awarded).collect::<Vec<_>>();
            format!("the campaigns' shares are {:?} and the rules give {:?}", awarded(found), awarded(again))
        }
        (Event::Refunded(found), Event::Refunded(again)) if found.base != again.base || found.from != again.from => {
            format!("the refund takes back {} of the base and the rules take {}", found.base, again.base)
        }
        (_, Event::Rejected(again)) => format!("the rules refuse it: {:?}", again.reason),
        _ => "the legs, the version of the rules or the balances are not those that the rules give".to_owned(),
    }
}

impl Ledger {
    /// Decides an applied member's event again from its own inputs, against this state, which is that before it.
    /// `resolved` is what the book says of a refund's original.
    ///
    /// # Errors
    /// A sentence that says how the event differs from what the rules give.
    pub fn prove(
        &self,
        at: Moment,
        event: &Event<'_>,
        resolved: Option<&Resolved>,
        prints: &Prints,
    ) -> Result<(), String> {
        let (Some(common), Some(action)) = (event.common(), action_of(event, at.op)) else {
            return Ok(());
        };
        let command = self.command_of(common, action, at, prints)?;
        match self.decide(&command, resolved, at) {
            Decision::Event(again) if *event == again => Ok(()),
            Decision::Event(again) => Err(difference(event, &again)),
            Decision::LimitReached => Err("the state holds more members or cap counters than it may".to_owned()),
        }
    }

    fn command_of(&self, common: &Common<'_>, action: Action, at: Moment, prints: &Prints) -> Result<Command, String> {
        let program = self.program(common.program).ok_or("the event's program is unknown")?;
        let member = match common.member {
            MemberRef::Known(number) => self.member_id(number).ok_or("the event's member is unknown")?,
            MemberRef::Opened(_, id) | MemberRef::Unknown(id) => id,
        };
        Ok(Command {
            program: common.program,
            key: common.key.to_owned(),
            key_print: 0,
            body_hash: common.body_hash,
            member: member.to_owned(),
            member_hash: prints.member(&program.id, member),
            occurred_at_us: Some(at.book_time_us.saturating_sub(common.behind_us)),
            currency: None,
            notes: common.notes.as_ref().map(|notes| Box::new(notes_of(notes))),
            action,
        })
    }
}
