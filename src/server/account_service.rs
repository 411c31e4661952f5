//! Reading members, their events and the trial balance.

use std::collections::BTreeMap;

use tonic::{Request, Response, Status};

use super::desk::{Desk, Unreadable, blocking};
use super::past::{AsOf, Effective, Past};
use super::receipt::{Scribe, name_other};
use super::shape::{self, Fault};
use super::statement::{Page, Question};
use super::{show, status};
use crate::audit::explain::{self, Line, Scene};
use crate::audit::{chart, cut_off};
use crate::constants::{
    EXPIRING_DAYS_MAX, MEMBER_ID_BYTES_MAX, MEMBERS_PER_READ_MAX, PROGRAM_ID_BYTES_MAX, US_PER_DAY,
};
use crate::engine::request::{Answer, AnswerBody, MemberState, Read};
use crate::journal::{JournalError, StoredEvent};
use crate::ledger::EXPIRING_MAX;
use crate::ledger::codec;
use crate::ledger::event::Event;
use crate::ledger::ids::{MemberNo, MemberRef, Op, ProgramNo};
use crate::ledger::view::{MemberCard, ProgramTrial, TrialRow};
use crate::proto as pb;
use crate::proto::account_service_server::AccountService;
use crate::proto::get_event_request::Name;

/// The service.
pub(super) struct Accounts {
    desk: Desk,
    past: Past,
}

impl Accounts {
    /// The service before an engine.
    #[must_use]
    pub(super) fn new(desk: Desk) -> Self {
        Self { past: Past::new(desk.clone()), desk }
    }

    /// The states of members, in order, with the op they are as of.
    async fn members<'a>(
        &self,
        program_id: &str,
        ids: impl Iterator<Item = &'a String>,
    ) -> Result<(Op, Vec<Option<MemberState>>), Status> {
        let prints = self.desk.handle().prints();
        let asked = ids.map(|id| prints.member(program_id, id)).collect();
        match self.desk.read(Read::Members(asked)).await? {
            Answer { op, body: AnswerBody::Members(states) } => Ok((op, states)),
            _ => Err(status::unexpected()),
        }
    }

    /// Members with what they have now, in order, with the op they are as of.
    async fn cards<'a>(
        &self,
        program_id: &str,
        ids: impl Iterator<Item = &'a String>,
    ) -> Result<(Op, Vec<Option<(MemberState, MemberCard)>>), Status> {
        let prints = self.desk.handle().prints();
        let members = ids.map(|id| prints.member(program_id, id)).collect();
        let now_us = self.past.now_us();
        match self.desk.read(Read::Cards { members, now_us }).await? {
            Answer { op, body: AnswerBody::Cards(cards) } => Ok((op, cards)),
            _ => Err(status::unexpected()),
        }
    }

    /// A member as it was, with the op answered for and how many events were read for it.
    async fn past_member(
        &self,
        (program_id, number): (&str, ProgramNo),
        id: &String,
        as_of: AsOf,
    ) -> Result<(Op, Option<pb::Member>, u64), Status> {
        let now_us = self.past.now_us();
        let (newest, mut cards) = self.cards(program_id, std::iter::once(id)).await?;
        let op = self.past.op(as_of, now_us, newest).await?;
        let Some((state, card)) = cards.pop().flatten() else { return Ok((op, None, 0)) };
        let now = card.assets.iter().map(|asset| asset.balances).collect();
        let then = self.past.member(state, now, op).await?;
        let events_replayed = then.as_ref().map_or(0, |then| then.events);
        let names = self.desk.handle().names();
        Ok((op, then.map(|then| show::past_member(&names, number, id.clone(), &then)), events_replayed))
    }

    /// The trial balances by effective time, with the lines that lead to them.
    async fn effective_trial(&self, asked: &str, as_of: Option<AsOf>) -> Result<pb::GetTrialBalanceResponse, Status> {
        let Effective { trials, lines, cut, events } = self.past.effective(as_of).await?;
        let book_id = self.desk.info().book_id.clone();
        let (op, known_op, events_replayed) = (cut.posted.0, cut.known.0, events);
        let mut response = pb::GetTrialBalanceResponse { book_id, op, known_op, events_replayed, ..Default::default() };
        for trial in trials.iter().filter(|trial| asked.is_empty() || trial.program == asked) {
            show_trial(&mut response, trial);
        }
        for line in lines.into_iter().filter(|line| asked.is_empty() || line.program == asked) {
            let cut_off::Line { program, asset, account, why, amount } = line;
            let why = cut_off_why(why).into();
            response.cut_off.push(pb::CutOffLine { program, account, asset, why, amount });
        }
        Ok(response)
    }

    /// Members' ids by number.
    async fn member_ids(&self, numbers: Vec<MemberNo>) -> Result<Vec<String>, Status> {
        match self.desk.read(Read::MemberIds(numbers)).await?.body {
            AnswerBody::MemberIds(ids) => ids.into_iter().collect::<Option<_>>().ok_or_else(status::unexpected),
            _ => Err(status::unexpected()),
        }
    }

    async fn member_id(&self, number: MemberNo) -> Result<String, Status> {
        self.member_ids(vec![number]).await?.pop().ok_or_else(status::unexpected)
    }

    /// Sets the ids of both members of the events between two, which stand in the statement of either.
    async fn name_both(&self, events: &mut [pb::Event], between: &[(usize, MemberNo, MemberNo)]) -> Result<(), Status> {
        if between.is_empty() {
            return Ok(());
        }
        let numbers = between.iter().flat_map(|(_, own, other)| [*own, *other]).collect();
        let ids = self.member_ids(numbers).await?;
        for ((place, _, _), pair) in between.iter().zip(ids.chunks_exact(2)) {
            let (Some(event), [own, other]) = (events.get_mut(*place), pair) else { continue };
            own.clone_into(&mut event.member);
            event.receipt.iter_mut().for_each(|receipt| name_other(receipt, other));
        }
        Ok(())
    }

    async fn op_of_key(&self, print: u128) -> Result<Option<Op>, Status> {
        match self.desk.read(Read::Key(print)).await?.body {
            AnswerBody::Key(op) => Ok(op),
            _ => Err(status::unexpected()),
        }
    }

    /// An event of the book; `None` for an op that the book does not hold.
    async fn stored(&self, op: Op) -> Result<Option<StoredEvent>, Status> {
        let handle = self.desk.handle().clone();
        let stored = blocking(move || match handle.book().read(op.0) {
            Ok(stored) => Ok(Some(stored)),
            Err(JournalError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        });
        stored.await
    }

    /// The event that is named, if there is one and it is one of the program or, without any, of the book itself.
    async fn named(&self, program_id: &str, name: Option<Name>) -> Result<(StoredEvent, pb::Event), Status> {
        if !program_id.is_empty() {
            program(&self.desk, program_id)?;
        }
        let (op, key) = match name {
            None => return Err(status::invalid(&[Fault::missing("op")])),
            Some(Name::Op(op)) => (Some(Op(op)), None),
            Some(Name::Key(key)) => {
                shape::key(&key).map_err(|fault| status::invalid(&[fault]))?;
                let print = self.desk.handle().prints().key(program_id, &key);
                (self.op_of_key(print).await?, Some(key))
            }
        };
        if let Some(op) = op
            && let Some(stored) = self.stored(op).await?
            && let Some(event) = self.shown(&stored, program_id, key.as_deref()).await?
        {
            return Ok((stored, event));
        }
        let of = if program_id.is_empty() { "of the book itself" } else { "in this program" };
        Err(status::not_found(pb::Reason::EventNotFound, &format!("there is no such event {of}")))
    }

    /// The event, if it is one of the program (or, without any, of the book itself) and, where a key is asked for, holds that key.
    async fn shown(&self, stored: &StoredEvent, program: &str, key: Option<&str>) -> Result<Option<pb::Event>, Status> {
        let handle = self.desk.handle();
        let event = decoded(stored)?;
        let member = match (event.common().map(|common| common.member), &event) {
            (Some(MemberRef::Known(number)), _) => self.member_id(number).await?,
            (Some(MemberRef::Opened(_, id) | MemberRef::Unknown(id)), _) => id.to_owned(),
            // What fell due is nobody's command, but it is a member's.
            (None, Event::Due(due)) => self.member_id(due.member).await?,
            (None, _) => String::new(),
        };
        let names = handle.names();
        let scribe = Scribe { info: handle.book_info(), names: &names };
        let mut shown = show::event(&scribe, Op(stored.op), stored.book_time_us, &event, member);
        if let Some(MemberRef::Known(number)) = event.other().map(|other| other.member) {
            let id = self.member_id(number).await?;
            shown.receipt.iter_mut().for_each(|receipt| name_other(receipt, &id));
        }
        let (_, its_key, _) = event.identity();
        let other = shown.receipt.as_ref().and_then(|receipt| receipt.other.as_deref());
        // A conversion is an event of both programs; its key is one of the program that gives.
        let of_other = key.is_none() && !program.is_empty() && other.is_some_and(|other| other.program == program);
        let asked_for = of_other || (shown.program == program && key.is_none_or(|key| key == its_key));
        Ok(asked_for.then_some(shown))
    }

    /// An event explained, with the rules that decided it and the event that it names.
    async fn explained(&self, stored: &StoredEvent) -> Result<Vec<Line>, Status> {
        let event = decoded(stored)?;
        let read = Read::Rules(event.identity().0, explain::version_of(&event));
        let AnswerBody::Rules(rules) = self.desk.read(read).await?.body else { return Err(status::unexpected()) };
        let named = match explain::named_by(Op(stored.op), &event) {
            Some(op) => self.stored(op).await?,
            None => None,
        };
        let named = named.as_ref().map(|named| decoded(named).map(|event| (Op(named.op), event))).transpose()?;
        let names = self.desk.handle().names();
        let named = named.as_ref().map(|(op, event)| (*op, event));
        let scene = Scene { names: &names, rules: rules.as_ref(), named };
        Ok(explain::explain(Op(stored.op), stored.book_time_us, &event, &scene))
    }
}

fn decoded(stored: &StoredEvent) -> Result<Event<'_>, Status> {
    codec::decode(&stored.bytes).map_err(|error| status::unreadable(&Unreadable::Codec(stored.op, error)))
}

/// A known program's number.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(super) fn program(desk: &Desk, id: &str) -> Result<ProgramNo, Status> {
    shape::needed("program", id, PROGRAM_ID_BYTES_MAX).map_err(|fault| status::invalid(&[fault]))?;
    desk.handle().program(id).ok_or_else(|| status::invalid(&[Fault::program_unknown("program")]))
}

fn member_shape(field: &str, id: &str) -> Result<(), Status> {
    shape::needed(field, id, MEMBER_ID_BYTES_MAX).map_err(|fault| status::invalid(&[fault]))
}

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn get_member(
        &self,
        request: Request<pb::GetMemberRequest>,
    ) -> Result<Response<pb::GetMemberResponse>, Status> {
        let pb::GetMemberRequest { program: program_id, member, as_of } = request.into_inner();
        let number = program(&self.desk, &program_id)?;
        member_shape("member", &member)?;
        let (op, shown, events_replayed) = match as_of {
            Some(as_of) => self.past_member((&program_id, number), &member, as_of.into()).await?,
            None => {
                let (op, mut cards) = self.cards(&program_id, std::iter::once(&member)).await?;
                let names = self.desk.handle().names();
                let shown = cards.pop().flatten();
                let shown = shown.map(|(state, card)| show::member(&names, number, member, &state, &card));
                (op, shown, 0)
            }
        };
        let Some(member) = shown else {
            let message = format!("no posting had created this member by op {}", op.0);
            return Err(status::not_found(pb::Reason::MemberUnknown, &message));
        };
        let book_id = self.desk.info().book_id.clone();
        Ok(Response::new(pb::GetMemberResponse { member: Some(member), book_id, op: op.0, events_replayed }))
    }

    async fn batch_get_members(
        &self,
        request: Request<pb::BatchGetMembersRequest>,
    ) -> Result<Response<pb::BatchGetMembersResponse>, Status> {
        let pb::BatchGetMembersRequest { program: program_id, members: ids } = request.into_inner();
        let number = program(&self.desk, &program_id)?;
        if ids.is_empty() {
            return Err(status::invalid(&[Fault::missing("members")]));
        }
        if ids.len() > MEMBERS_PER_READ_MAX {
            let message = format!("{} ids; at most {MEMBERS_PER_READ_MAX} are taken", ids.len());
            return Err(status::invalid(&[Fault::new("members", pb::Reason::TooManyItems, message)]));
        }
        for (place, id) in ids.iter().enumerate() {
            member_shape(&format!("members[{place}]"), id)?;
        }
        let (op, cards) = self.cards(&program_id, ids.iter()).await?;
        let names = self.desk.handle().names();
        let book_id = self.desk.info().book_id.clone();
        let mut response = pb::BatchGetMembersResponse { book_id, op: op.0, ..Default::default() };
        for (id, card) in ids.into_iter().zip(cards) {
            match card {
                Some((state, card)) => response.members.push(show::member(&names, number, id, &state, &card)),
                None => response.unknown.push(id),
            }
        }
        Ok(Response::new(response))
    }

    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let request = request.into_inner();
        program(&self.desk, &request.program)?;
        member_shape("member", &request.member)?;
        let question = Question::read(&request).map_err(|fault| status::invalid(&[fault]))?;
        let (op, mut states) = self.members(&request.program, std::iter::once(&request.member)).await?;
        let book_id = self.desk.info().book_id.clone();
        let mut response = pb::ListEventsResponse { book_id, op: op.0, ..Default::default() };
        if let Some(state) = states.pop().flatten() {
            let handle = self.desk.handle().clone();
            let page = blocking(move || question.answer(&handle, request.member, &state)).await?;
            let Page { events, between, token } = page.map_err(|fault| status::invalid(&[fault]))?;
            (response.events, response.next_page_token) = (events, token);
            self.name_both(&mut response.events, &between).await?;
        }
        Ok(Response::new(response))
    }

    async fn get_event(&self, request: Request<pb::GetEventRequest>) -> Result<Response<pb::GetEventResponse>, Status> {
        let pb::GetEventRequest { program: program_id, name } = request.into_inner();
        let (_, event) = self.named(&program_id, name).await?;
        let book_id = self.desk.info().book_id.clone();
        let op = self.desk.handle().book().durable_op();
        Ok(Response::new(pb::GetEventResponse { event: Some(event), book_id, op }))
    }

    async fn explain_event(
        &self,
        request: Request<pb::ExplainEventRequest>,
    ) -> Result<Response<pb::ExplainEventResponse>, Status> {
        use pb::explain_event_request::Name as Asked;
        let pb::ExplainEventRequest { program: program_id, name } = request.into_inner();
        let name = name.map(|name| match name {
            Asked::Op(op) => Name::Op(op),
            Asked::Key(key) => Name::Key(key),
        });
        let (stored, event) = self.named(&program_id, name).await?;
        let lines = self.explained(&stored).await?.into_iter().map(show::line).collect();
        let book_id = self.desk.info().book_id.clone();
        let op = self.desk.handle().book().durable_op();
        Ok(Response::new(pb::ExplainEventResponse { event: Some(event), lines, book_id, op }))
    }

    async fn get_expiring(
        &self,
        request: Request<pb::GetExpiringRequest>,
    ) -> Result<Response<pb::GetExpiringResponse>, Status> {
        let pb::GetExpiringRequest { program: program_id, member, until } = request.into_inner();
        let number = program(&self.desk, &program_id)?;
        shape::text("member", &member, MEMBER_ID_BYTES_MAX).map_err(|fault| status::invalid(&[fault]))?;
        let until_us = until_us(until, self.past.now_us()).map_err(|fault| status::invalid(&[fault]))?;
        let prints = self.desk.handle().prints();
        let member = (!member.is_empty()).then(|| prints.member(&program_id, &member));
        let read = Read::Expiring { program: number, member, until_us };
        let Answer { op, body: AnswerBody::Expiring(forecasts) } = self.desk.read(read).await? else {
            return Err(status::unexpected());
        };
        if forecasts.len() > EXPIRING_MAX {
            let problem =
                format!("units lapse at more than {EXPIRING_MAX} instants until then: ask for an earlier one");
            return Err(status::invalid(&[Fault::out_of_range("until", &problem)]));
        }
        let names = self.desk.handle().names();
        let expiring = forecasts.iter().map(|forecast| show::expiring(&names, number, forecast)).collect();
        let book_id = self.desk.info().book_id.clone();
        Ok(Response::new(pb::GetExpiringResponse { expiring, book_id, op: op.0 }))
    }

    async fn get_trial_balance(
        &self,
        request: Request<pb::GetTrialBalanceRequest>,
    ) -> Result<Response<pb::GetTrialBalanceResponse>, Status> {
        let pb::GetTrialBalanceRequest { program: asked, as_of, basis } = request.into_inner();
        if !asked.is_empty() {
            program(&self.desk, &asked)?;
        }
        let basis = pb::TrialBasis::try_from(basis)
            .map_err(|_| status::invalid(&[Fault::malformed("basis", "is none that this server knows")]))?;
        if basis == pb::TrialBasis::Effective {
            return self.effective_trial(&asked, as_of.map(Into::into)).await.map(Response::new);
        }
        let now_us = self.past.now_us();
        let Answer { op: newest, body: AnswerBody::TrialBalance(now) } = self.desk.read(Read::TrialBalance).await?
        else {
            return Err(status::unexpected());
        };
        let op = match as_of {
            None => newest,
            Some(as_of) => self.past.op(as_of.into(), now_us, newest).await?,
        };
        let (mut trials, events_replayed) = if op == newest { (now, 0) } else { self.past.trials(op).await? };
        trials.retain(|trial| asked.is_empty() || trial.program == asked);
        trials.sort_unstable_by(|a, b| a.program.cmp(&b.program));
        let book_id = self.desk.info().book_id.clone();
        let mut response = pb::GetTrialBalanceResponse { book_id, op: op.0, events_replayed, ..Default::default() };
        for trial in &trials {
            show_trial(&mut response, trial);
        }
        Ok(Response::new(response))
    }
}

/// The instant that a question about lapsing units is for.
fn until_us(until: Option<pb::get_expiring_request::Until>, now_us: i64) -> Result<i64, Fault> {
    use pb::get_expiring_request::Until;
    match until {
        None => Err(Fault::missing("within_days")),
        Some(Until::WithinDays(days @ 1..=EXPIRING_DAYS_MAX)) => {
            Ok(now_us.saturating_add(i64::from(days).saturating_mul(US_PER_DAY)))
        }
        Some(Until::WithinDays(_)) => {
            Err(Fault::out_of_range("within_days", &format!("must be 1 to {EXPIRING_DAYS_MAX}")))
        }
        Some(Until::UntilUs(us)) => shape::calendar("until_us", us).map(|()| us),
    }
}

fn cut_off_why(why: cut_off::Why) -> pb::CutOff {
    match why {
        cut_off::Why::NotSwept => pb::CutOff::LapsedNotSwept,
        cut_off::Why::ArrivedLate => pb::CutOff::ArrivedLate,
        cut_off::Why::DatedAhead => pb::CutOff::DatedAhead,
    }
}

/// Adds a program's rows, asset by asset as they stand in the trial, and a total for each asset.
fn show_trial(response: &mut pb::GetTrialBalanceResponse, trial: &ProgramTrial) {
    for of_asset in trial.rows.chunk_by(|a, b| a.asset == b.asset) {
        let Some(TrialRow { asset, .. }) = of_asset.first() else { continue };
        let (program, members) = (trial.program.clone(), trial.members);
        let mut total = pb::TrialBalanceTotal { program, asset: asset.clone(), members, ..Default::default() };
        let mut rows = BTreeMap::new();
        for row in of_asset.iter().filter(|row| row.balance != 0) {
            let credit = row.balance.max(0);
            let debit = row.balance.min(0).saturating_neg();
            total.debit = total.debit.saturating_add(debit);
            total.credit = total.credit.saturating_add(credit);
            let class = i32::from(class_of(&row.account));
            let shown = pb::TrialBalanceRow {
                program: trial.program.clone(),
                class,
                account: row.account.clone(),
                asset: asset.clone(),
                debit,
                credit,
            };
            rows.insert((class, row.account.clone()), shown);
        }
        response.rows.extend(rows.into_values());
        response.totals.push(total);
    }
}

/// The class that the chart of accounts has for an account.
fn class_of(account: &str) -> pb::AccountClass {
    let name = format!("ACCOUNT_CLASS_{}", chart::class_of(account).to_ascii_uppercase());
    pb::AccountClass::from_str_name(&name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chart::CHART;

    #[test]
    fn every_account_of_the_chart_is_shown_with_its_class() {
        for line in CHART {
            let account = line.account.replace("<id>", "may").replace("<sku>", "mug").replace("<program>", "air");
            let account = account.replace("<purpose>", "gift");
            let class = class_of(&account).as_str_name().to_lowercase();
            assert_eq!(class.strip_prefix("account_class_"), Some(line.class), "{account}");
        }
        assert_eq!(class_of("rent"), pb::AccountClass::Unspecified);
    }
}
