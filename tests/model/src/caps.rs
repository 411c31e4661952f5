//! Counters of members' caps.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use stampbook::ledger::spec::{CapPer, ProgramSpec};
use stampbook::ledger::view::CampaignStatus;

use super::book::ROOMY;
use super::rules::DAY;
use super::{Back, Earned, Happened, Model, What};

/// A span in which a cap counts, by its kind and first local day.
pub type CapSpan = (CapPer, Date);

/// What a counter of a cap counts: program, member, campaign, span.
pub type Counter = (String, String, String, CapSpan);

/// The span in which a cap counts.
pub fn cap_span(spec: &ProgramSpec, per: CapPer, occurred_at_us: i64) -> CapSpan {
    let zone = TimeZone::get(&spec.time_zone).unwrap();
    let day = Timestamp::from_microsecond(occurred_at_us).unwrap().to_zoned(zone).date();
    let first = match per {
        CapPer::Campaign => Date::constant(1970, 1, 1),
        CapPer::Day => day,
        CapPer::Week if day.weekday() == Weekday::Monday => day,
        CapPer::Week => day.nth_weekday(-1, Weekday::Monday).unwrap(),
        CapPer::Month => day.first_of_month(),
    };
    (per, first)
}

impl Model {
    /// What caps count by now: what was awarded, less what refunds brought back, since it was last forgotten. Those of members who
    /// went into another add up with his.
    pub fn counters(&self) -> &BTreeMap<Counter, i128> {
        &self.counters
    }

    /// Those of a member. The least span of all is of a whole campaign.
    pub fn counters_of<'m>(&'m self, program: &str, member: &str) -> impl Iterator<Item = (&'m Counter, &'m i128)> {
        let first = (program.to_owned(), member.to_owned(), String::new(), (CapPer::Campaign, Date::MIN));
        let of = (program.to_owned(), member.to_owned());
        let is_of = move |(counter, _): &(&Counter, &i128)| (&counter.0, &counter.1) == (&of.0, &of.1);
        self.counters.range(first..).take_while(is_of)
    }

    /// Counts what an event does that comes next.
    pub fn count(&mut self, event: &Happened) {
        let (earn, taken) = match &event.what {
            What::Earned(earned) => (earned, None),
            What::Refunded(refunded) => match &self.history[refunded.original].what {
                What::Earned(earned) => (earned, Some(&refunded.parts)),
                what => unreachable!("a refund of {what:?}"),
            },
            What::Merged { into } => return self.add_up(event, into),
            _ => return,
        };
        let member = event.member.as_ref().unwrap();
        for award in &earn.awards {
            let Some(span) = award.cap_span else { continue };
            let counter = (event.program.clone(), member.clone(), award.campaign.clone(), span);
            let used = self.counters.get(&counter).copied().unwrap_or(0);
            let used = match taken {
                None => used + award.points,
                Some(taken) => used - asked_of(taken, &award.campaign),
            };
            match used > 0 {
                true => self.counters.insert(counter, used),
                false => self.counters.remove(&counter),
            };
        }
    }

    /// The counters of a member who goes become those of another.
    fn add_up(&mut self, merged: &Happened, into: &str) {
        let goes = merged.member.as_ref().unwrap();
        let going: Vec<Counter> = self.counters_of(&merged.program, goes).map(|(counter, _)| counter.clone()).collect();
        for counter in going {
            let used = self.counters.remove(&counter).unwrap();
            *self.counters.entry((counter.0, into.to_owned(), counter.2, counter.3)).or_default() += used;
        }
    }

    /// Once a day of book time, forgets the counters that no earn can meet any more: those of closed campaigns, and
    /// those of spans that are over by longer than an earn may come late.
    pub fn sweep(&mut self, book_time_us: i64) {
        let day = book_time_us.div_euclid(DAY);
        if day <= self.swept_day {
            return;
        }
        self.swept_day = day;
        let programs = &self.programs;
        self.counters.retain(|(id, _, campaign, (per, first)), _| {
            let program = programs.iter().find(|program| program.id == *id).unwrap();
            let first_day = i64::from(Date::constant(1970, 1, 1).until(*first).unwrap().get_days());
            let in_reach = *per == CapPer::Campaign || program.newest().import_mode || day <= first_day + 31 + 31;
            in_reach && program.campaigns[campaign] != CampaignStatus::Closed
        });
    }

    /// Whether the counters that an earn begins find room.
    pub fn counters_fit(&self, program: &str, member: &str, what: &What) -> bool {
        if self.limits.cap_counters_max == ROOMY.cap_counters_max {
            return true;
        }
        let What::Earned(Earned { awards, .. }) = what else { return true };
        let mut counters = self.counters.clone();
        let before = counters.len();
        for award in awards.iter().filter(|award| award.points > 0) {
            if let Some(span) = award.cap_span {
                counters.insert((program.to_owned(), member.to_owned(), award.campaign.clone(), span), award.points);
            }
        }
        counters.len() == before || counters.len() <= self.limits.cap_counters_max
    }
}

/// What a refund asked of one campaign's award: room returns by that, whatever could be taken.
fn asked_of(parts: &[Back], campaign: &str) -> i128 {
    parts.iter().filter(|back| back.campaign == campaign).map(|back| back.asked).sum()
}
