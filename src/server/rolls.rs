//! Roll-forwards: which period is meant, and how its lines are shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::Semaphore;
use tonic::{Code, Status};

use super::account_service::program as known_program;
use super::desk::{Desk, blocking};
use super::receipt::amounts::source;
use super::shape::{self, Fault};
use super::status;
use crate::audit::export::ExportError;
use crate::audit::export::source::{EachEvent, Events};
use crate::audit::roll_forward::{Amounts, Line, LineKind, Period, RollError, RollForward, roll_forward};
use crate::constants::ROLL_FORWARDS_MAX;
use crate::engine::Handle;
use crate::engine::names::Names;
use crate::engine::request::{Answer, AnswerBody, Read};
use crate::ledger::ids::{Op, ProgramNo};
use crate::ledger::view::ProgramView;
use crate::proto as pb;

/// Where roll-forwards are made.
#[derive(Clone)]
pub(super) struct Rolls {
    desk: Desk,
    turns: Arc<Semaphore>,
}

/// The book, until nobody waits for what is read of it.
struct Awaited {
    handle: Handle,
    given_up: Arc<AtomicBool>,
}

impl Events for Awaited {
    fn each(&self, from: u64, to: u64, each: &mut EachEvent<'_>) -> Result<(), ExportError> {
        self.handle.book().each(from, to, &mut |op, time_us, bytes| match self.given_up.load(Ordering::Relaxed) {
            true => Err(ExportError::Refused("nobody waits for it any more".to_owned())),
            false => each(op, time_us, bytes),
        })
    }
}

/// Gives a walk up when the call that waits for it ends.
struct GiveUp(Arc<AtomicBool>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn out_of_range(field: &str, why: &str) -> Status {
    status::invalid(&[Fault::out_of_range(field, why)])
}

/// The first instant of a month or a date in a time zone.
fn first_instant(field: &str, text: &str, zone: &TimeZone) -> Result<i64, Fault> {
    let whole = if text.len() == 7 { format!("{text}-01") } else { text.to_owned() };
    let date: Result<Date, _> = whole.parse();
    let zoned = date.and_then(|date| date.to_zoned(zone.clone()));
    zoned
        .map(|zoned| zoned.timestamp().as_microsecond())
        .map_err(|_| Fault::malformed(field, "is no month such as 2026-01 and no date such as 2026-01-31"))
}

impl Rolls {
    /// Those of the engine's book.
    #[must_use]
    pub(super) fn new(desk: Desk) -> Self {
        Self { desk, turns: Arc::new(Semaphore::new(ROLL_FORWARDS_MAX)) }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// The status of a malformed one, of a bound that is met, or of a book that cannot be read.
    pub(super) async fn answer(&self, asked: pb::RollForwardRequest) -> Result<pb::RollForwardResponse, Status> {
        let number = known_program(&self.desk, &asked.program)?;
        let now_us = self.desk.handle().passed_us();
        let Answer { op: newest, body: AnswerBody::Programs(views) } = self.desk.read(Read::Programs).await? else {
            return Err(status::unexpected());
        };
        let view = views.into_iter().find(|view| view.number == number).ok_or_else(status::unexpected)?;
        let period = self.period(&asked, &view, newest, now_us).await?;
        let rolled = self.roll(period.clone()).await?;
        let names = self.desk.handle().names();
        Ok(pb::RollForwardResponse {
            lines: rolled.lines.iter().map(|line| shown(&names, number, line)).collect(),
            currency: view.spec.currency.clone(),
            opening_op: period.opening.0,
            closing_op: period.closing.0,
            book_id: self.desk.info().book_id.clone(),
            events_read: rolled.events_read,
        })
    }

    async fn period(
        &self,
        asked: &pb::RollForwardRequest,
        view: &ProgramView,
        newest: Op,
        now_us: i64,
    ) -> Result<Period, Status> {
        use pb::roll_forward_request::{From, Until};
        let faulty = |fault| status::invalid(&[fault]);
        let zone = TimeZone::get(&view.spec.time_zone).map_err(|error| status::unreadable(&error))?;
        let (from_field, from_us) = match &asked.from {
            None => ("from_us", None),
            Some(From::FromUs(us)) => {
                shape::calendar("from_us", *us).map_err(faulty)?;
                ("from_us", Some(*us))
            }
            Some(From::FromDate(text)) => ("from_date", Some(first_instant("from_date", text, &zone).map_err(faulty)?)),
        };
        let (until_field, until_us) = match &asked.until {
            None => ("until_us", None),
            Some(Until::UntilUs(us)) => {
                shape::calendar("until_us", *us).map_err(faulty)?;
                ("until_us", Some(*us))
            }
            Some(Until::UntilDate(text)) => {
                ("until_date", Some(first_instant("until_date", text, &zone).map_err(faulty)?))
            }
        };
        if until_us.is_some_and(|us| us > now_us) {
            return Err(out_of_range(until_field, "has not passed yet"));
        }
        let end_us = until_us.unwrap_or_else(|| now_us.saturating_add(1));
        if from_us.is_some_and(|from_us| from_us >= end_us) {
            return Err(out_of_range(from_field, "does not lie before the period's end"));
        }
        let mut asset = None;
        if !asked.asset.is_empty() {
            let known = self.desk.handle().names().asset_number(view.number, &asked.asset);
            asset = Some(known.ok_or_else(|| faulty(Fault::asset_unknown("asset")))?);
        }
        let handle = self.desk.handle().clone();
        let before = move |us: Option<i64>, none: u64| match us {
            Some(us) => handle.book().op_at_time(us.saturating_sub(1)),
            None => Ok(none),
        };
        let (opening, closing) =
            blocking(move || Ok::<_, crate::journal::JournalError>((before(from_us, 0)?, before(until_us, newest.0)?)))
                .await?;
        let (opening, closing) = (Op(opening.min(newest.0)), Op(closing.min(newest.0)));
        let from_us = from_us.unwrap_or(i64::MIN);
        Ok(Period { program: view.number, asset, opening, closing, from_us, until_us: end_us })
    }

    async fn roll(&self, period: Period) -> Result<RollForward, Status> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| status::unexpected())?;
        let given_up = Arc::new(AtomicBool::new(false));
        let _give_up = GiveUp(Arc::clone(&given_up));
        let book = Awaited { handle: self.desk.handle().clone(), given_up };
        let rolled = blocking(move || {
            // The next one's turn comes when this walk is over, whoever still waits for it.
            let _turn = turn;
            match roll_forward(&book, &period) {
                Err(error @ (RollError::Full | RollError::NamedFull)) => Ok(Err(error)),
                rolled => rolled.map(Ok),
            }
        });
        rolled.await?.map_err(|error: RollError| {
            status::plain(Code::ResourceExhausted, pb::Reason::LimitReached, error.to_string())
        })
    }
}

fn shown(names: &Names, program: ProgramNo, line: &Line) -> pb::RollForwardLine {
    let (kind, of) = match line.kind {
        LineKind::Lots(from) => (pb::RollForwardKind::Lots, source(from)),
        LineKind::Debt => (pb::RollForwardKind::Debt, pb::Source::Unspecified),
        LineKind::Liability => (pb::RollForwardKind::Liability, pb::Source::Unspecified),
    };
    pb::RollForwardLine {
        asset: names.asset(program, line.asset).unwrap_or_default().to_owned(),
        kind: kind.into(),
        source: of.into(),
        month: line.month.map(|month| month.to_string()).unwrap_or_default(),
        units: Some(amounts(&line.units)),
        minor: Some(amounts(&line.minor)),
    }
}

fn amounts(amounts: &Amounts) -> pb::RollForwardAmounts {
    let [issued, moved_in, redeemed, expired, taken_back, adjusted, converted, transferred, settled] = amounts.moved;
    pb::RollForwardAmounts {
        opening: amounts.opening,
        issued,
        moved_in,
        redeemed,
        expired,
        taken_back,
        adjusted,
        converted,
        transferred,
        settled,
        value_change: amounts.value_change,
        closing: amounts.closing,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_month_and_a_date_begin_at_their_first_instant_in_the_zone() {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let us = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        assert_eq!(first_instant("f", "2026-03", &zone).unwrap(), us("2026-02-28T16:00:00Z"));
        assert_eq!(first_instant("f", "2026-03-05", &zone).unwrap(), us("2026-03-04T16:00:00Z"));
        for bad in ["", "2026", "2026-13", "2026-02-30", "March"] {
            assert_eq!(first_instant("f", bad, &zone).unwrap_err().field, "f", "{bad}");
        }
    }
}
