//! An event in words and numbers: which rule gave what, who paid, which lots were touched and why they lapse when they do.
//!
//! An explanation is a function of the event, of the rules that decided it, and of the event that it names. What can be
//! reckoned again from these is, by the ledger's own arithmetic; where it does not come to what the event says, that is
//! said. Nothing is guessed: what only the state of that time knew is left out.

mod between;
mod earn;
mod moves;
mod taking;
mod words;

#[cfg(test)]
mod tests;

use jiff::tz::TimeZone;

use super::export::kind_name;
use super::told;
use crate::engine::names::Names;
use crate::ledger::event::{AssetBalances, CampaignChange, CampaignChanged, Due, DueKind, Event, Leg, Text};
use crate::ledger::ids::{AssetNo, CampaignNo, Op, ProgramNo, VersionNo};
use crate::ledger::instant_of;
use crate::ledger::reason_text;
use crate::ledger::view::RulesView;
use words::instant;

/// One step of an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it tells of, such as `base`, `campaign`, `takes`: for programs.
    pub name: &'static str,
    /// The sentence, for people.
    pub text: String,
    /// The asset that its units are of; empty where it tells of none.
    pub asset: String,
    /// The campaign; empty where it tells of none.
    pub campaign: String,
    /// Its numbers by name, those that are no more than an `i64` holds.
    pub numbers: Vec<(&'static str, i64)>,
    /// The leg, where it tells of units of a lot.
    pub leg: Option<Leg>,
}

impl Line {
    /// Adds a number.
    fn with<N: TryInto<i64>>(mut self, name: &'static str, number: N) -> Self {
        self.numbers.extend(number.try_into().ok().map(|number| (name, number)));
        self
    }
}

/// What is known beside the event.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The names behind the numbers of programs, campaigns and assets.
    pub names: &'a Names,
    /// The rules of [`version_of`] the event, or the program's newest where it says none; `None` for what concerns no program.
    pub rules: Option<&'a RulesView>,
    /// The event that [`named_by`] answers for it.
    pub named: Option<(Op, &'a Event<'a>)>,
}

/// The version of the rules that an event says it was decided by.
#[must_use]
pub fn version_of(event: &Event<'_>) -> Option<VersionNo> {
    match event {
        Event::Earned(earned) => Some(earned.version),
        Event::Refunded(refunded) => Some(refunded.version),
        _ => None,
    }
}

/// The op of the event that an event takes back, undoes, spends from or makes available.
#[must_use]
pub fn named_by(op: Op, event: &Event<'_>) -> Option<Op> {
    let link = match event {
        Event::Refunded(refunded) => refunded.from.as_ref()?.original_link,
        Event::Reversed(reversed) => reversed.original_link,
        Event::Activated(activated) => activated.earn_link,
        Event::Captured(captured) => captured.hold_link,
        Event::Released(released) => released.hold_link,
        Event::Due(Due { kind: DueKind::Matured { earn_link, .. }, .. }) => *earn_link,
        Event::Due(Due { kind: DueKind::HoldEnded { hold_link, .. }, .. }) => *hold_link,
        _ => return None,
    };
    op.back(link)
}

/// Explains the event that is `op` of the book, step by step.
#[must_use]
pub fn explain(op: Op, book_time_us: i64, event: &Event<'_>, scene: &Scene<'_>) -> Vec<Line> {
    let zone = scene.rules.and_then(|rules| TimeZone::get(&rules.spec.time_zone).ok()).unwrap_or(TimeZone::UTC);
    let program = event.identity().0;
    let mut teller = Teller { scene, program, zone, op, lines: Vec::new() };
    teller.when(event, book_time_us);
    teller.particulars(event, book_time_us);
    teller.pieces(event);
    teller.moves(event, event.legs(), book_time_us);
    teller.after(&told::balances_after(event));
    teller.other_side(event, book_time_us);
    teller.lines
}

/// Tells an event line by line.
struct Teller<'a> {
    scene: &'a Scene<'a>,
    program: ProgramNo,
    zone: TimeZone,
    op: Op,
    lines: Vec<Line>,
}

impl Teller<'_> {
    fn line(&self, name: &'static str, text: String) -> Line {
        Line { name, text, asset: String::new(), campaign: String::new(), numbers: Vec::new(), leg: None }
    }

    fn say(&mut self, name: &'static str, text: String) {
        self.lines.push(self.line(name, text));
    }

    /// A line that tells of units of an asset.
    fn line_of(&self, name: &'static str, asset: AssetNo, text: String) -> Line {
        Line { asset: self.asset(asset), ..self.line(name, text) }
    }

    fn asset(&self, asset: AssetNo) -> String {
        self.scene.names.asset(self.program, asset).unwrap_or("units").to_owned()
    }

    fn campaign(&self, campaign: CampaignNo) -> String {
        self.scene.names.campaign(self.program, campaign).unwrap_or_default().to_owned()
    }

    /// So many of an asset.
    fn units(&self, units: u64, asset: AssetNo) -> String {
        format!("{units} {}", self.asset(asset))
    }

    fn money(&self, minor: u64) -> String {
        let currency = self.scene.rules.map_or("the currency", |rules| rules.spec.currency.as_str());
        format!("{minor} minor units of {currency}")
    }

    fn when(&mut self, event: &Event<'_>, book_time_us: i64) {
        let booked = instant(book_time_us, &self.zone);
        let behind_us = event.common().map_or(0, |common| common.behind_us);
        let kind = kind_name(event).replace('_', " ");
        let text = match behind_us {
            0 => format!("{kind}, booked at {booked}."),
            _ => {
                let occurred = instant(book_time_us.saturating_sub(behind_us), &self.zone);
                format!("{kind} that occurred at {occurred}, booked at {booked}.")
            }
        };
        let line = self.line("event", text).with("op", self.op.0);
        self.lines.push(line);
    }

    /// What is particular to the kind of event. What units did is told leg by leg, see [`Self::moves`].
    fn particulars(&mut self, event: &Event<'_>, book_time_us: i64) {
        if let Some((reason, field)) = event.rejection() {
            let at = if field.is_empty() { String::new() } else { format!(" ({field})") };
            let reason_words = reason_text::explain(reason);
            let text = format!("Refused: {reason_words}{at}. Nothing was moved.");
            let line = self.line("refused", text).with("reason", reason.number());
            self.lines.push(line);
        }
        match event {
            Event::Earned(earned) => self.earned(earned, book_time_us),
            Event::Refunded(refunded) => self.refunded(refunded, book_time_us),
            Event::Reversed(reversed) => self.reversed(reversed),
            Event::Due(due) => self.due(due),
            Event::Redeemed(redeemed) => self.redeemed(redeemed),
            Event::Held(held) => self.held(held),
            Event::Captured(captured) => self.captured(captured),
            Event::Released(released) => self.released(released),
            Event::Activated(activated) => {
                let earn = self.op_of(activated.earn_link);
                self.say("activated", format!("The earn at op {earn} was made available before its time."));
            }
            Event::Granted(granted) => self.granted(granted),
            Event::Adjusted(adjusted) => {
                let asset = adjusted.more.as_deref().map(|more| more.asset).unwrap_or_default();
                let text = if adjusted.points > 0 { "An operator gave" } else { "An operator took" };
                self.act(text, adjusted.points, asset, &adjusted.actor, &adjusted.reason);
            }
            Event::Opened(opened) => {
                let asset = opened.more.as_deref().map(|more| more.asset).unwrap_or_default();
                let text =
                    if opened.points > 0 { "Brought over from another system:" } else { "Owed in another system:" };
                self.act(text, opened.points, asset, &opened.actor, &opened.reason);
            }
            Event::StandingChanged(changed) => {
                let (actor, reason) = (clear(&changed.actor), clear(&changed.reason));
                let became = format!("{:?}", changed.change).to_lowercase();
                self.say("standing", format!("The member is {became} now. By {actor}: {reason}."));
            }
            Event::Transferred(given) => self.transferred(given),
            Event::Converted(converted) => self.converted(converted),
            Event::MembersMerged(merged) => self.merged(merged),
            Event::MemberSet(set) => self.member_set(set),
            Event::CheckedOut(checkout) => self.checked_out(checkout),
            // What operators were refused is told above.
            Event::Rejected(_) => {}
            _ => self.operators(event),
        }
    }

    /// What operators did to the program or the book.
    fn operators(&mut self, event: &Event<'_>) {
        let Some(common) = event.admin_common() else { return };
        let by = format!("By {}: {}.", clear(&common.actor), clear(&common.reason));
        match event {
            Event::ProgramPut(put) => {
                let from = match put.effective_from_us {
                    i64::MIN => "the beginning of time".to_owned(),
                    from_us => instant(from_us, &self.zone),
                };
                let (version, rules, campaigns) = (put.version.0, put.spec.rules.len(), put.spec.campaigns.len());
                let text = format!("Version {version} holds from {from}: rules {rules}, campaigns {campaigns}. {by}");
                let line = self.line("rules", text).with("version", version);
                self.lines.push(line);
            }
            Event::CampaignChanged(changed) => self.campaign_changed(changed, &by),
            Event::SnapshotTaken(taken) => {
                let kept = taken.retain_until_us.map(|until| format!(", kept until {}", instant(until, &self.zone)));
                let text = format!("Snapshot {} of the state at this op{}. {by}", taken.name, kept.unwrap_or_default());
                self.say("snapshot", text);
            }
            Event::SnapshotDeleted(deleted) => {
                let taken = self.op_of(deleted.taken_link);
                self.say("snapshot", format!("Snapshot {}, taken at op {taken}, is deleted. {by}", deleted.name));
            }
            Event::ClockConfirmed(confirmed) => {
                let (from, to) = (instant(confirmed.from_us, &self.zone), instant(confirmed.to_us, &self.zone));
                self.say("clock", format!("The book's time goes on from {from} to {to}. {by}"));
            }
            Event::RewardPut(put) => self.reward_put(put, &by),
            Event::PeriodClosed(closed) => self.period_closed(closed, &by),
            _ => self.say("by", by),
        }
    }

    fn campaign_changed(&mut self, changed: &CampaignChanged<'_>, by: &str) {
        let campaign = self.campaign(changed.campaign);
        let did = match changed.change {
            CampaignChange::Funded => "is funded",
            CampaignChange::Paused => "is paused",
            CampaignChange::Resumed => "is resumed",
            CampaignChange::Closed => "is closed for good, the rest of its budget gone to issuance",
        };
        let text = format!("Campaign {campaign} {did}; its budget has {} left. {by}", changed.budget_after);
        let line = self.line("campaign", text).with("budget_after", changed.budget_after);
        self.lines.push(Line { campaign, ..line });
    }

    fn due(&mut self, due: &Due) {
        let text = match due.kind {
            DueKind::Expired { lapsed_min } => {
                format!("What was free of a lot lapsed at {}.", instant(instant_of(lapsed_min), &self.zone))
            }
            DueKind::LotsMerged => {
                "There were more lots than an asset may have: one went into its neighbour of the same \
                                    source that lapses later."
                    .to_owned()
            }
            DueKind::Matured { earn_link, matured_us } => {
                let at = instant(matured_us, &self.zone);
                format!("The earn at op {} was pending until {at}.", self.op_of(earn_link))
            }
            DueKind::HoldEnded { hold_link, ended_us } => {
                let at = instant(ended_us, &self.zone);
                format!("The hold at op {} was over at {at}.", self.op_of(hold_link))
            }
        };
        self.say("due", text);
    }

    /// An operator's act on a member.
    fn act(&mut self, did: &str, units: i64, asset: AssetNo, actor: &Text<'_>, reason: &Text<'_>) {
        let of = self.units(units.unsigned_abs(), asset);
        let text = format!("{did} {of}. By {}: {}.", clear(actor), clear(reason));
        let line = self.line_of("act", asset, text).with("units", units);
        self.lines.push(line);
    }

    /// The member's balances after the event.
    fn after(&mut self, told: &[AssetBalances]) {
        for after in told {
            let mut text = format!("The member has {} {} after it", after.available, self.asset(after.asset));
            for (units, what) in [(after.held, "held"), (after.pending, "pending"), (after.debt, "owed")] {
                if units != 0 {
                    text.push_str(&format!(", {units} {what}"));
                }
            }
            text.push('.');
            let line = self.line_of("after", after.asset, text).with("available", after.available);
            let line = line.with("held", after.held).with("pending", after.pending).with("debt", after.debt);
            self.lines.push(line);
        }
    }

    /// The op that lies `link` behind; 0 for none.
    fn op_of(&self, link: u64) -> u64 {
        self.op.back(link).map_or(0, |op| op.0)
    }
}

/// Text under a scheme other than clear has no form for readers yet; this build writes none.
fn clear<'t>(text: &Text<'t>) -> &'t str {
    if text.scheme == 0 { text.text } else { "" }
}
