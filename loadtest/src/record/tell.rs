//! From a book's events to a trace's entries.

use std::collections::HashMap;

use stampbook::engine::names::Names;
use stampbook::ledger::codec;
use stampbook::ledger::command::{Action, Original};
use stampbook::ledger::event::{
    Account, AdminCommon, AdminRejected, CampaignChange, CampaignChanged, CheckedOut, Common, Event, ProgramPut,
    Rejected, RewardPut,
};
use stampbook::ledger::ids::{MemberRef, Op};
use stampbook::ledger::print::Prints;
use stampbook::ledger::{Ledger, Limits, Moment};
use stampbook::proto::{self as pb, checkout_part::Part, command::Action as Sent};

use super::action::{SOMEBODY, Words, part_of};
use super::alias::{Aliases, Short, written};
use super::definition::importing;
use super::entry::{Entry, What};
use super::file::Writer;
use crate::Failure;

/// Codes that stand for no currency and for tests: a program has one of them at most, and a command that names the other is refused
/// before anything else of it is looked at.
const NO_CURRENCIES: [&str; 2] = ["XXX", "XTS"];
/// A campaign that no program can have.
const NO_CAMPAIGN: &str = "no such campaign";

/// A ledger that takes whatever a book holds.
pub(crate) fn unbounded() -> Ledger {
    Ledger::new(Limits { members_max: u32::MAX, cap_counters_max: usize::MAX, lots_bytes_max: usize::MAX })
}

/// Writes the trace of a book, event after event.
pub(crate) struct Recorder {
    /// The state up to the newest event.
    pub(crate) ledger: Ledger,
    pub(crate) prints: Prints,
    pub(crate) aliases: Aliases,
    names: Names,
    /// The programs' currencies, by number.
    currencies: Vec<String>,
    /// The pseudonym of the key of each event, by op; zeros where it has none.
    keys: Vec<Short>,
    /// Parts of a checkout that is not closed yet.
    parts: Vec<(Op, Part)>,
    /// Of each part of a checkout the checkout and its place there.
    part_of: HashMap<Op, (Op, u32)>,
    out: Writer,
    /// Entries written so far, and the book's time of the first.
    pub(crate) entries: u64,
    pub(crate) first_us: Option<i64>,
    /// The book's time of the newest event.
    pub(crate) last_us: i64,
}

impl Recorder {
    pub(crate) fn new(prints: Prints, out: Writer) -> Result<Self, Failure> {
        Ok(Self {
            ledger: unbounded(),
            prints,
            aliases: Aliases::new()?,
            names: Names::default(),
            currencies: Vec::new(),
            keys: Vec::new(),
            parts: Vec::new(),
            part_of: HashMap::new(),
            out,
            entries: 0,
            first_us: None,
            last_us: i64::MIN,
        })
    }

    /// Takes the next event of the book.
    pub(crate) fn take(&mut self, at: Moment, bytes: &[u8]) -> Result<(), Failure> {
        let event = codec::decode(bytes)?;
        let entry = self.entry(at, &event)?;
        self.ledger.replay(at, &event, &self.prints).map_err(|error| error.to_string())?;
        self.last_us = at.book_time_us;
        let (_, key, _) = event.identity();
        self.keys.push(if key.is_empty() { Short::default() } else { self.aliases.short(key) });
        if matches!(event, Event::ProgramPut(_)) {
            self.names = Names::of(&self.ledger);
            self.currencies = self.ledger.programs().into_iter().map(|program| program.spec.currency.clone()).collect();
        }
        entry.map_or(Ok(()), |entry| self.write(&entry))
    }

    fn write(&mut self, entry: &Entry) -> Result<(), Failure> {
        self.out.write(entry)?;
        self.entries += 1;
        self.first_us.get_or_insert(entry.book_time_us);
        Ok(())
    }

    /// Writes the last entry; the bytes of the file.
    pub(crate) fn finish(mut self, end: super::entry::End) -> Result<u64, Failure> {
        let entry = Entry {
            op: self.ledger.newest().0,
            book_time_us: self.last_us,
            what: Some(What::End(end)),
            ..Entry::default()
        };
        self.out.write(&entry)?;
        self.out.finish()
    }

    /// The entry of an event, if it has one of its own.
    fn entry(&mut self, at: Moment, event: &Event<'_>) -> Result<Option<Entry>, Failure> {
        let entry = Entry { op: at.op.0, book_time_us: at.book_time_us, ..Entry::default() };
        Ok(match event {
            Event::Rejected(rejected) => Some(self.refused(entry, rejected)?),
            Event::CheckedOut(checkout) => Some(self.checked_out(entry, checkout)?),
            event if event.common().is_some() => self.applied(entry, at, event)?,
            event => self.operator(event)?.map(|(what, refused)| Entry { what: Some(what), refused, ..entry }),
        })
    }

    /// The entry of an applied command; none for a part of a checkout, which waits for that.
    fn applied(&mut self, mut entry: Entry, at: Moment, event: &Event<'_>) -> Result<Option<Entry>, Failure> {
        let (common, asked) = match (event.common(), self.ledger.asked(at, event, &self.prints)?) {
            (Some(common), Some(asked)) => (common, asked),
            _ => return Err("what was asked is not in the event".into()),
        };
        let key_of = |op: Op| {
            let op = self.part_of.get(&op).map_or(op, |(checkout, _)| *checkout);
            let at = usize::try_from(op.0).ok().and_then(|op| op.checked_sub(1));
            let key = at.and_then(|at| self.keys.get(at)).copied().unwrap_or_default();
            if key == Short::default() { String::new() } else { written(key) }
        };
        let words = Words { aliases: &self.aliases, names: &self.names, key_of: &key_of };
        if common.key.is_empty() {
            let part = part_of(words.action(asked.program, &asked.action)?)?;
            self.parts.push((at.op, part));
            return Ok(None);
        }
        entry.part = match &asked.action {
            Action::Reverse { original: Original::Op(op), .. } => self.part_of.get(op).map(|(_, place)| *place),
            _ => None,
        };
        entry.what = Some(What::Command(words.command(&asked)?));
        Ok(Some(after(entry, common)))
    }

    /// The entry of a checkout.
    fn checked_out(&mut self, mut entry: Entry, checkout: &CheckedOut<'_>) -> Result<Entry, Failure> {
        let op = Op(entry.op);
        let mut parts = Vec::new();
        for (place, link) in (0..).zip(checkout.parts.iter()) {
            let of = op.back(*link).ok_or("a part of a checkout is none of the book")?;
            let at = self.parts.iter().position(|(at, _)| *at == of).ok_or("a part of a checkout is missing")?;
            parts.push(pb::CheckoutPart { part: Some(self.parts.swap_remove(at).1) });
            self.part_of.insert(of, (op, place));
        }
        self.parts.clear();
        let command = self.bare(&entry, &checkout.common)?;
        let action = Some(Sent::Checkout(pb::Checkout { parts }));
        entry.what = Some(What::Command(pb::Command { action, ..command }));
        Ok(after(entry, &checkout.common))
    }

    /// The entry of a refused command: the book knows that it was refused and not what it asked, so a replay asks for something
    /// under the same key that is refused too.
    fn refused(&self, mut entry: Entry, rejected: &Rejected<'_>) -> Result<Entry, Failure> {
        let redeem = pb::Redeem { points: 1, purpose: pb::Purpose::Gift.into(), ..pb::Redeem::default() };
        entry.refused = format!("{:?}", rejected.reason);
        let command = self.bare(&entry, &rejected.common)?;
        let own = self.currencies.get(usize::from(rejected.common.program.0)).ok_or("an event's program is unknown")?;
        let foreign = NO_CURRENCIES.into_iter().find(|currency| currency != own).unwrap_or_default();
        entry.what = Some(What::Command(pb::Command {
            currency: foreign.to_owned(),
            action: Some(Sent::Redeem(redeem)),
            ..command
        }));
        Ok(after(entry, &rejected.common))
    }

    /// A command without an action.
    fn bare(&self, entry: &Entry, common: &Common<'_>) -> Result<pb::Command, Failure> {
        let member = match common.member {
            MemberRef::Known(number) => self.ledger.member_id(number).ok_or("an event's member is unknown")?,
            MemberRef::Opened(_, id) | MemberRef::Unknown(id) => id,
        };
        Ok(pb::Command {
            program: self.names.program(common.program).ok_or("an event's program is unknown")?.id.clone(),
            key: self.aliases.of(common.key),
            member: self.aliases.of(member),
            occurred_at_us: Some(entry.book_time_us.saturating_sub(common.behind_us)),
            ..pb::Command::default()
        })
    }

    /// What an operator did and why it was refused; none for acts on the book itself.
    fn operator(&self, event: &Event<'_>) -> Result<Option<(What, String)>, Failure> {
        let applied = String::new();
        Ok(match event {
            Event::ProgramPut(put) => Some((What::PutProgram(self.program_put(put)?), applied)),
            Event::CampaignChanged(changed) => Some((self.campaign_changed(changed)?, applied)),
            Event::RewardPut(put) => Some((What::PutReward(self.reward_put(put)?), applied)),
            Event::PeriodClosed(closed) => {
                let (program, key) = self.of_operator(&closed.common)?;
                let (actor, reason) = (SOMEBODY.to_owned(), SOMEBODY.to_owned());
                let close = pb::ClosePeriodRequest { program, until_us: closed.until_us, key, actor, reason };
                Some((What::ClosePeriod(close), applied))
            }
            Event::AdminRejected(AdminRejected { common, reason: why, .. })
                if self.names.program(common.program).is_some() =>
            {
                let (program, key) = self.of_operator(common)?;
                let (campaign, actor, reason) = (NO_CAMPAIGN.to_owned(), SOMEBODY.to_owned(), SOMEBODY.to_owned());
                let pause = pb::PauseCampaignRequest { program, campaign, key, actor, reason };
                Some((What::Pause(pause), format!("{why:?}")))
            }
            _ => None,
        })
    }

    /// The program of an act, and the pseudonym of its key.
    fn of_operator(&self, common: &AdminCommon<'_>) -> Result<(String, String), Failure> {
        let program = self.names.program(common.program).ok_or("an act's program is unknown")?;
        Ok((program.id.clone(), self.aliases.of(common.key)))
    }

    fn program_put(&self, put: &ProgramPut<'_>) -> Result<pb::PutProgramRequest, Failure> {
        let known = self.names.program(put.common.program).map(|program| program.id.as_str());
        let program = known.or(put.common.program_id).ok_or("a program has no id")?.to_owned();
        Ok(pb::PutProgramRequest {
            definition: importing(put.definition, &program)?,
            program,
            expected_version: None,
            key: self.aliases.of(put.common.key),
            actor: SOMEBODY.to_owned(),
            reason: SOMEBODY.to_owned(),
        })
    }

    fn campaign_changed(&self, changed: &CampaignChanged<'_>) -> Result<What, Failure> {
        let (program, key) = self.of_operator(&changed.common)?;
        let names = &self.names;
        let campaign =
            names.campaign(changed.common.program, changed.campaign).ok_or("a campaign is unknown")?.to_owned();
        let (actor, reason) = (SOMEBODY.to_owned(), SOMEBODY.to_owned());
        Ok(match changed.change {
            CampaignChange::Funded => {
                let budget = changed.legs.iter().find(|leg| matches!(leg.account, Account::Campaign { .. }));
                let points = budget.ok_or("a funding moves nothing")?.amount;
                What::Fund(pb::FundCampaignRequest { program, campaign, points, key, actor, reason })
            }
            CampaignChange::Paused => What::Pause(pb::PauseCampaignRequest { program, campaign, key, actor, reason }),
            CampaignChange::Resumed => {
                What::Resume(pb::ResumeCampaignRequest { program, campaign, key, actor, reason })
            }
            CampaignChange::Closed => What::Close(pb::CloseCampaignRequest { program, campaign, key, actor, reason }),
        })
    }

    fn reward_put(&self, put: &RewardPut<'_>) -> Result<pb::PutRewardRequest, Failure> {
        let (program, key) = self.of_operator(&put.common)?;
        let asset = self.names.asset(put.common.program, put.asset).ok_or("a reward's asset is unknown")?;
        Ok(pb::PutRewardRequest {
            program,
            reward: self.aliases.of(put.sku),
            name: SOMEBODY.to_owned(),
            asset: asset.to_owned(),
            price: i64::try_from(put.price)?,
            open: put.open,
            stocked: put.stocked,
            key,
            actor: SOMEBODY.to_owned(),
            reason: SOMEBODY.to_owned(),
        })
    }
}

/// Tells what the member has after the event.
fn after(entry: Entry, common: &Common<'_>) -> Entry {
    Entry { available: common.after.available, debt: common.after.debt, ..entry }
}
