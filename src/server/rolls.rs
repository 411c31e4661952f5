//! Roll-forwards: which period is meant, and how its lines are shown.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use tonic::{Code, Status};

use super::account_service::program as known_program;
use super::desk::{Desk, blocking};
use super::receipt::amounts::source;
use super::shape::{self, Fault};
use super::status;
use super::walks::Walks;
use crate::audit::roll_forward::{Amounts, Line, LineKind, Period, RollError, RollForward, roll_forward};
use crate::constants::ROLL_FORWARDS_MAX;
use crate::engine::names::Names;
use crate::engine::request::{Answer, AnswerBody, Read};
use crate::ledger::ids::{Op, ProgramNo};
use crate::ledger::view::ProgramView;
use crate::proto as pb;

/// Where roll-forwards are made.
#[derive(Clone)]
pub(super) struct Rolls {
    desk: Desk,
    walks: Walks,
}

fn out_of_range(field: &str, why: &str) -> Status {
    status::invalid(&[Fault::out_of_range(field, why)])
}

/// An end of a period: the field that says it, and the instant.
type Edge = (&'static str, i64);

fn at(field: &'static str, us: i64) -> Result<Edge, Fault> {
    shape::calendar(field, us).map(|()| (field, us))
}

/// The first instant of a month or a date in a time zone.
fn first_of(field: &'static str, text: &str, zone: &TimeZone) -> Result<Edge, Fault> {
    let whole = if text.len() == 7 { format!("{text}-01") } else { text.to_owned() };
    // A date is read from whatever begins with one, such as a local time, which is none.
    let date = whole.parse::<Date>().ok().filter(|date| date.to_string() == whole);
    let zoned = date.and_then(|date| date.to_zoned(zone.clone()).ok());
    let edge = zoned.map(|zoned| (field, zoned.timestamp().as_microsecond()));
    edge.ok_or_else(|| Fault::malformed(field, "is no month such as 2026-01 and no date such as 2026-01-31"))
}

impl Rolls {
    /// Those of the engine's book.
    #[must_use]
    pub(super) fn new(desk: Desk) -> Self {
        Self { desk, walks: Walks::new(ROLL_FORWARDS_MAX) }
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
        let from = match &asked.from {
            None => None,
            Some(From::FromUs(us)) => Some(at("from_us", *us)),
            Some(From::FromDate(text)) => Some(first_of("from_date", text, &zone)),
        };
        let until = match &asked.until {
            None => None,
            Some(Until::UntilUs(us)) => Some(at("until_us", *us)),
            Some(Until::UntilDate(text)) => Some(first_of("until_date", text, &zone)),
        };
        let (from, until) = (from.transpose().map_err(faulty)?, until.transpose().map_err(faulty)?);
        if let Some((field, _)) = until.filter(|(_, us)| *us > now_us) {
            return Err(out_of_range(field, "has not passed yet"));
        }
        let (from_us, until_us) = (from.map(|(_, us)| us), until.map(|(_, us)| us));
        let end_us = until_us.unwrap_or_else(|| now_us.saturating_add(1));
        if let Some((field, _)) = from.filter(|(_, us)| *us >= end_us) {
            return Err(out_of_range(field, "does not lie before the period's end"));
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
        let handle = self.desk.handle().clone();
        let rolled = self.walks.walk(move |waiting| match roll_forward(&waiting.of(handle.book()), &period) {
            Err(error @ (RollError::Full | RollError::NamedFull)) => Ok(Err(error)),
            rolled => rolled.map(Ok),
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
        assert_eq!(first_of("f", "2026-03", &zone).unwrap(), ("f", us("2026-02-28T16:00:00Z")));
        assert_eq!(first_of("f", "2026-03-05", &zone).unwrap(), ("f", us("2026-03-04T16:00:00Z")));
        let no_dates = ["2026-01-31T15:00:00", "2026-01-31 15:00", "2026-01-31Z", "20260131", "2026-01-31 "];
        for bad in ["", "2026", "2026-13", "2026-02-30", "March"].into_iter().chain(no_dates) {
            assert_eq!(first_of("f", bad, &zone).unwrap_err().field, "f", "{bad}");
        }
    }
}
