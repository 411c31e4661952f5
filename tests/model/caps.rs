//! Counters of members' caps, reckoned from the whole history whenever one is asked for.

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
pub(crate) type CapSpan = (CapPer, Date);

/// What a counter of a cap counts: program, member, campaign, span.
pub(crate) type Counter = (String, String, String, CapSpan);

/// The span in which a cap counts.
pub(crate) fn cap_span(spec: &ProgramSpec, per: CapPer, occurred_at_us: i64) -> CapSpan {
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
    /// Every counter of a cap: what was awarded, less what refunds brought back, since it was last forgotten. Those of
    /// members who went into another add up with his.
    pub(crate) fn counters(&self) -> BTreeMap<Counter, i128> {
        let mut counters: BTreeMap<Counter, i128> = BTreeMap::new();
        let mut forgotten = self.forgotten.iter().peekable();
        for (at, event) in self.history.iter().enumerate() {
            while let Some((_, counter)) = forgotten.next_if(|(then, _)| *then <= at) {
                counters.remove(counter);
            }
            let (earn, taken) = match &event.what {
                What::Earned(_) => (event, None),
                What::Refunded(refunded) => (&self.history[refunded.original], Some(&refunded.parts)),
                What::Merged { into } => {
                    add_up(&mut counters, event, into);
                    continue;
                }
                _ => continue,
            };
            let (What::Earned(earned), Some(member)) = (&earn.what, &event.member) else { unreachable!() };
            for award in &earned.awards {
                let Some(span) = award.cap_span else { continue };
                let counter = (earn.program.clone(), member.clone(), award.campaign.clone(), span);
                let used = counters.entry(counter).or_default();
                *used = match taken {
                    None => *used + award.points,
                    Some(taken) => (*used - asked_of(taken, &award.campaign)).max(0),
                };
            }
        }
        for (_, counter) in forgotten {
            counters.remove(counter);
        }
        counters.retain(|_, used| *used > 0);
        counters
    }

    /// Once a day of book time, forgets the counters that no earn can meet any more: those of closed campaigns, and
    /// those of spans that are over by longer than an earn may come late.
    pub(crate) fn sweep(&mut self, book_time_us: i64) {
        let day = book_time_us.div_euclid(DAY);
        if day <= self.swept_day {
            return;
        }
        self.swept_day = day;
        for (counter, _) in self.counters() {
            let (id, _, campaign, (per, first)) = &counter;
            let program = self.programs.iter().find(|program| program.id == *id).unwrap();
            let first_day = i64::from(Date::constant(1970, 1, 1).until(*first).unwrap().get_days());
            let in_reach = *per == CapPer::Campaign || program.newest().import_mode || day <= first_day + 31 + 31;
            if !in_reach || program.campaigns[campaign] == CampaignStatus::Closed {
                self.forgotten.push((self.history.len(), counter));
            }
        }
    }

    /// Whether the counters that an earn begins find room.
    pub(crate) fn counters_fit(&self, program: &str, member: &str, what: &What) -> bool {
        if self.limits.cap_counters_max == ROOMY.cap_counters_max {
            return true;
        }
        let What::Earned(Earned { awards, .. }) = what else { return true };
        let mut counters = self.counters();
        let before = counters.len();
        for award in awards.iter().filter(|award| award.points > 0) {
            if let Some(span) = award.cap_span {
                counters.insert((program.to_owned(), member.to_owned(), award.campaign.clone(), span), award.points);
            }
        }
        counters.len() == before || counters.len() <= self.limits.cap_counters_max
    }
}

/// The counters of a member who goes become those of another.
fn add_up(counters: &mut BTreeMap<Counter, i128>, merged: &Happened, into: &str) {
    let goes = |counter: &Counter| counter.0 == merged.program && Some(&counter.1) == merged.member.as_ref();
    let going: Vec<Counter> = counters.keys().filter(|counter| goes(counter)).cloned().collect();
    for counter in going {
        let used = counters.remove(&counter).unwrap();
        *counters.entry((counter.0, into.to_owned(), counter.2, counter.3)).or_default() += used;
    }
}

/// What a refund asked of one campaign's award: room returns by that, whatever could be taken.
fn asked_of(parts: &[Back], campaign: &str) -> i128 {
    parts.iter().filter(|back| back.campaign == campaign).map(|back| back.asked).sum()
}
