//! Proves an award: the command is rebuilt from the inputs in its event, decided again against the state before it,
//! and must come to the same event, to the point.

use smol_str::SmolStr;

use super::command::{Action, Command, Matures, Named, Notes, Original, Standing};
use super::decide::Decision;
use super::event::{
    Account, AssetMore, Claimed, Common, Due, Event, Expiry, Leg, LotId, MemberSet, NotesRef, Other, TagPut, Text,
};
use super::holding::instant_of;
use super::ids::{AssetNo, MemberNo, MemberRef, Op, RewardNo};
use super::later::Later;
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

fn named(op: Op, link: u64) -> Original {
    op.back(link).map_or(Original::None, Original::Op)
}

/// When the units of a lot lapse, as a caller may have said it or a policy: either leads to the same lot.
fn lapses_of(legs: &[Leg], lapsed: u64) -> Option<i64> {
    let date = |leg: &Leg| match leg.account {
        Account::Available { lot: LotId { expiry: Expiry::At(minute), .. }, .. } => Some(instant_of(minute)),
        _ => None,
    };
    legs.iter().find_map(date).filter(|_| lapsed == 0)
}

/// The action of a command; `other` is the other member whom the event names, `sku` finds a reward's id.
fn action_of(
    event: &Event<'_>,
    op: Op,
    other: Option<Named>,
    sku: impl Fn(RewardNo) -> Option<String>,
) -> Option<Action> {
    let kind = |kind: Option<&str>| kind.map(SmolStr::from);
    let text = |text: &Text<'_>| text.text.to_owned();
    let of = |more: &Later<AssetMore>| more.as_deref().cloned().unwrap_or_default();
    match event {
        Event::Earned(e) => {
            let more = e.more.as_deref();
            Some(Action::Earn {
                basis: e.basis,
                event_kind: kind(e.event_kind),
                asset: more.map_or(AssetNo::POINTS, |more| more.asset),
                // An award that does not wait is as one that waited until the beginning of time, whatever its rule says.
                matures: more.and_then(|more| more.matures).or(Some(Matures::At(i64::MIN))),
            })
        }
        Event::Refunded(e) => Some(Action::Refund {
            original: e.from.as_ref().map_or(Original::None, |from| named(op, from.original_link)),
            basis: e.basis,
            event_kind: kind(e.event_kind),
        }),
        Event::Redeemed(e) => {
            let AssetMore { asset, asked, claimed, .. } = of(&e.more);
            if let Some(Claimed { reward, pieces, .. }) = claimed {
                return Some(Action::Claim { sku: sku(reward)?, pieces, purpose: e.purpose });
            }
            Some(Action::Redeem { asset, points: if asked > 0 { asked } else { e.points }, purpose: e.purpose })
        }
        Event::Adjusted(e) => {
            let asset = of(&e.more).asset;
            Some(Action::Adjust { asset, points: e.points, actor: text(&e.actor), reason: text(&e.reason) })
        }
        Event::Opened(e) => {
            let AssetMore { asset, lapsed, .. } = of(&e.more);
            let (lapses_us, points) = (lapses_of(&e.legs, lapsed), e.points);
            Some(Action::Opening { asset, points, lapses_us, actor: text(&e.actor), reason: text(&e.reason) })
        }
        Event::Activated(e) => Some(Action::Activate { original: named(op, e.earn_link) }),
        Event::Reversed(e) => Some(Action::Reverse { original: named(op, e.original_link), units: Some(e.units) }),
        Event::Held(e) => {
            let (asset, units, purpose, until_us) = (e.asset, e.units, e.purpose, Some(e.until_us));
            if let Some(Claimed { reward, pieces, .. }) = e.claimed {
                return Some(Action::Reserve { sku: sku(reward)?, pieces, until_us, purpose });
            }
            Some(Action::Hold { asset, units, until_us, purpose })
        }
        Event::Captured(e) => Some(Action::Capture { hold: named(op, e.hold_link), units: e.units, last: e.over }),
        Event::Released(e) => Some(Action::Release { hold: named(op, e.hold_link) }),
        Event::Granted(e) if e.topped_up => Some(Action::TopUp { asset: e.asset, principal: e.units, bonus: e.bonus }),
        Event::Granted(e) => {
            Some(Action::Grant { asset: e.asset, units: e.units, lapses_us: lapses_of(&e.legs, e.lapsed) })
        }
        Event::StandingChanged(e) => {
            Some(Action::Standing { change: e.change, actor: text(&e.actor), reason: text(&e.reason) })
        }
        Event::Due(_) | Event::Rejected(_) | Event::ProgramPut(_) | Event::CampaignChanged(_) => None,
        Event::AdminRejected(_) | Event::SnapshotTaken(_) | Event::SnapshotDeleted(_) => None,
        Event::Transferred(e) => Some(Action::Transfer { to: other?, asset: e.asset, units: e.units }),
        Event::Converted(e) => Some(Action::Convert {
            to_program: e.other.program,
            to: other?,
            asset: e.asset,
            to_asset: e.to_asset,
            units: e.asked,
        }),
        Event::MembersMerged(e) => Some(Action::Merge { into: other?, actor: text(&e.actor), reason: text(&e.reason) }),
        // Its tags are the program's to name.
        Event::MemberSet(_) => None,
        // Its parts are decided again one by one.
        Event::CheckedOut(_) => None,
        Event::ClockConfirmed(_) | Event::PeriodClosed(_) | Event::RewardPut(_) => None,
    }
}

/// An event of spending with its legs in order: the first books had them in order of the lots, later ones have them in the
/// order of spending.
fn in_order<'a>(event: &Event<'a>) -> Event<'a> {
    let mut event = event.clone();
    match &mut event {
        Event::Redeemed(e) => e.legs.sort(),
        Event::Adjusted(e) => e.legs.sort(),
        Event::Refunded(e) => e.legs.sort(),
        _ => {}
    }
    event
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
        if let Event::Due(due) = event {
            return self.prove_due(at, due);
        }
        let Some(command) = self.asked(at, event, prints)? else {
            return Ok(());
        };
        event.members().try_for_each(|(member, _)| self.prove_nothing_due(at, member))?;
        match self.decide(&command, resolved, at) {
            Decision::Event(again) if *event == again || in_order(event) == in_order(&again) => Ok(()),
            Decision::Event(again) => Err(difference(event, &again)),
            Decision::LimitReached => Err("the state holds more members or cap counters than it may".to_owned()),
        }
    }

    /// The command that an event of a member was decided from, by the inputs in the event, against this state, which is that before
    /// it. `None` for what comes of no command of a member, for a refusal, of which the book does not keep what was asked, and for
    /// what closes a checkout, whose parts are events. A part of a checkout has no key.
    ///
    /// # Errors
    /// A sentence that says what the event names that this state does not know.
    pub fn asked(&self, at: Moment, event: &Event<'_>, prints: &Prints) -> Result<Option<Command>, String> {
        let sku = |number| self.program(event.identity().0)?.reward(number).map(|reward| reward.sku.to_string());
        let other = event.other().map(|other| self.named(other, prints)).transpose()?;
        let action = match event {
            Event::MemberSet(said) => Some(self.telling(said)?),
            event => action_of(event, at.op, other, sku),
        };
        let command = event.common().zip(action);
        command.map(|(common, action)| self.command_of(common, action, at, prints)).transpose()
    }

    /// What fell due is what the state says, to the unit.
    fn prove_due(&self, at: Moment, due: &Due) -> Result<(), String> {
        let is = |again: Option<Event<'static>>| matches!(again, Some(Event::Due(again)) if again == *due);
        match is(self.due(due.member, at)) || is(self.crowded(due.member, at)) {
            true => Ok(()),
            false => Err("what fell due is not what the rules give".to_owned()),
        }
    }

    /// What ends at an instant has ended for every decision. Of a member who is closed what is left may wait for
    /// room in a frame.
    fn prove_nothing_due(&self, at: Moment, number: MemberNo) -> Result<(), String> {
        let closed = || self.members.holding(number).is_some_and(|holding| holding.standing == Standing::Closed);
        match self.due(number, at) {
            Some(_) if !closed() => Err("it was decided before what had fallen due was written".to_owned()),
            _ => Ok(()),
        }
    }

    /// What was told of a member, with tags by their names.
    fn telling(&self, said: &MemberSet<'_>) -> Result<Action, String> {
        let program = self.program(said.common.program).ok_or("the event's program is unknown")?;
        let name = |tag| program.tag_name(tag).map(str::to_owned).ok_or("an event names a tag that there is not");
        let put = |put: &TagPut<'_>| put.name.map(str::to_owned).map_or_else(|| name(put.tag), Ok);
        Ok(Action::MemberSet {
            joined_day: said.joined_day,
            add: said.added.iter().map(put).collect::<Result<_, _>>()?,
            remove: said.removed.iter().map(|tag| name(*tag)).collect::<Result<_, _>>()?,
        })
    }

    /// The other member of an event, as its command named him.
    fn named(&self, other: &Other<'_>, prints: &Prints) -> Result<Named, String> {
        let program = self.program(other.program).ok_or("the program of the event's other member is unknown")?;
        let id = self.id_of(other.member)?.to_owned();
        let hash = prints.member(&program.id, &id);
        Ok(Named { id, hash })
    }

    fn id_of<'s>(&'s self, member: MemberRef<'s>) -> Result<&'s str, String> {
        match member {
            MemberRef::Known(number) => self.member_id(number).ok_or_else(|| "an event's member is unknown".to_owned()),
            MemberRef::Opened(_, id) | MemberRef::Unknown(id) => Ok(id),
        }
    }

    fn command_of(&self, common: &Common<'_>, action: Action, at: Moment, prints: &Prints) -> Result<Command, String> {
        let program = self.program(common.program).ok_or("the event's program is unknown")?;
        let member = self.id_of(common.member)?;
        Ok(Command {
            program: common.program,
            key: common.key.into(),
            key_print: 0,
            body_hash: common.body_hash,
            member: member.into(),
            member_hash: prints.member(&program.id, member),
            occurred_at_us: Some(at.book_time_us.saturating_sub(common.behind_us)),
            currency: None,
            notes: common.notes.as_ref().map(|notes| Box::new(notes_of(notes))),
            action,
        })
    }
}
