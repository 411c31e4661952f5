//! What an earn gave: the base, each campaign's share of the bonus, until when it waits.

use super::words::{cap, counted, date, day, fraction, instant, policy, ratio, rounded};
use super::{Line, Teller};
use crate::ledger::award::{self, Candidate};
use crate::ledger::command::Basis;
use crate::ledger::event::{Earned, Matures, Share};
use crate::ledger::expiry::{grace_minute, lapse_minute};
use crate::ledger::ids::{AssetNo, VersionNo};
use crate::ledger::instant_of;
use crate::ledger::reason::Reason;
use crate::ledger::reason_text;
use crate::ledger::spec::{CampaignSpec, CapPer, Lifetime, OnExhausted, PendingRule, Ratio, Rounding, Rule};
use crate::ledger::view::RulesView;

impl Teller<'_> {
    pub(super) fn earned(&mut self, earned: &Earned<'_>, book_time_us: i64) {
        let occurred_us = book_time_us.saturating_sub(earned.common.behind_us);
        let more = earned.more.as_deref();
        let asset = more.map(|more| more.asset).unwrap_or_default();
        self.rules_of(earned.version);
        self.base("base", (earned.basis, earned.event_kind), asset, earned.base);
        let also = more.and_then(|more| more.also);
        if let Some((asset, units)) = also {
            self.also((earned.basis, earned.event_kind), asset, units);
        }
        for (asset, base) in [Some((asset, earned.base)), also].into_iter().flatten() {
            self.bonus(earned, asset, base);
        }
        if let Some(matures) = more.and_then(|more| more.matures) {
            self.waits(matures, earned.event_kind, occurred_us);
        }
        let rolls = more.map(|more| more.rolls.as_slice()).unwrap_or_default();
        for (asset, until) in rolls {
            self.rolls(*asset, *until);
        }
    }

    /// The version of the rules that decided.
    pub(super) fn rules_of(&mut self, version: VersionNo) {
        let from = match self.scene.rules.filter(|rules| rules.number == version) {
            None => String::new(),
            Some(RulesView { effective_from_us: i64::MIN, .. }) => {
                ", which holds from the beginning of time".to_owned()
            }
            Some(rules) => format!(", which holds from {}", instant(rules.effective_from_us, &self.zone)),
        };
        let line = self.line("rules", format!("Decided by version {} of the rules{from}.", version.0));
        self.lines.push(line.with("version", version.0));
    }

    fn rule(&self, kind: Option<&str>) -> Option<&Rule> {
        let rules = &self.scene.rules?.spec.rules;
        rules.iter().find(|rule| Some(rule.kind.as_str()) == kind)
    }

    /// The base award of an earn, or what a refund without original takes.
    pub(super) fn base(
        &mut self,
        name: &'static str,
        (basis, kind): (Basis, Option<&str>),
        asset: AssetNo,
        units: u64,
    ) {
        let line = match basis {
            Basis::Points(_) => {
                self.line_of(name, asset, format!("Base: the caller named {}.", self.units(units, asset)))
            }
            Basis::Spend(minor) => match self.rule(kind).map(|rule| (rule.rate, rule.rounding)) {
                Some(by) => self.reckoned(name, minor, by, (asset, units), kind.unwrap_or_default()),
                None => self.line_of(name, asset, format!("Base: {}.", self.units(units, asset))),
            },
        };
        self.lines.push(line.with("units", units));
    }

    fn also(&mut self, (basis, kind): (Basis, Option<&str>), asset: AssetNo, units: u64) {
        let also = self.rule(kind).and_then(|rule| rule.more.as_deref()).and_then(|more| more.also);
        let line = match (basis, also) {
            (Basis::Spend(minor), Some(also)) => {
                let by = (also.rate, also.rounding);
                self.reckoned("second", minor, by, (asset, units), kind.unwrap_or_default())
            }
            _ => self.line_of("second", asset, format!("Second award: {}.", self.units(units, asset))),
        };
        self.lines.push(line.with("units", units));
    }

    /// An amount at a rate, rounded once.
    fn reckoned(
        &self,
        name: &'static str,
        minor: u64,
        (rate, rounding): (Ratio, Rounding),
        (asset, units): (AssetNo, u64),
        kind: &str,
    ) -> Line {
        let (product, denominator) = (u128::from(minor) * u128::from(rate.numerator), u128::from(rate.denominator));
        let (whole, rest) = (product.checked_div(denominator), product.checked_rem(denominator));
        let (whole, rest) = (whole.unwrap_or(0), rest.unwrap_or(0));
        let exact = match rest {
            0 => format!("exactly {whole}"),
            rest => format!("{whole} and {}, {} to {units}", fraction(rest, denominator), rounded(rounding)),
        };
        let again = award::base(rate, rounding, minor);
        let differs = if again == Some(units) { "" } else { " The event says another number than the rule gives." };
        let title = if name == "second" { "Second award" } else { "Base" };
        let text = format!(
            "{title}: rule \"{kind}\" gives {} {} a minor unit; {} times that is {exact}.{differs}",
            ratio(rate),
            self.asset(asset),
            self.money(minor),
        );
        let line = self.line_of(name, asset, text).with("amount_minor", minor);
        let line = line.with("rate_numerator", rate.numerator).with("rate_denominator", rate.denominator);
        line.with("exact_whole", whole).with("exact_rest", rest)
    }

    /// What campaigns added to an award in an asset.
    fn bonus(&mut self, earned: &Earned<'_>, asset: AssetNo, base: u64) {
        let Some(rules) = self.scene.rules.filter(|rules| rules.number == earned.version) else { return };
        let spec_of = |share: &Share| {
            let mut known = rules.campaigns.iter().zip(&rules.spec.campaigns);
            known.find(|(number, _)| **number == share.campaign).map(|(_, spec)| spec)
        };
        let named = earned.shares.iter().filter_map(|share| spec_of(share).map(|spec| (share, spec)));
        let shares: Vec<(&Share, &CampaignSpec)> = named.filter(|(_, spec)| spec.asset_no() == asset).collect();
        if shares.is_empty() {
            return;
        }
        let greatest = rules.spec.greatest_total;
        let total = award::total_multiplier(shares.iter().map(|(_, spec)| spec.multiplier), greatest);
        let bonus: u64 = shares.iter().map(|(share, _)| share.awarded.saturating_add(share.short)).sum();
        if let Some((numerator, denominator)) = total {
            let factors: Vec<String> = shares.iter().map(|(_, spec)| ratio(spec.multiplier)).collect();
            let (m, factors) = (fraction(numerator, denominator), factors.join(" x "));
            let text = format!(
                "Multipliers: M = {m}, the least of {factors} and the program's greatest {}; the bonus on {base} {} is \
                 floor({base} x ({m} - 1)) = {bonus}, shared by what each multiplier adds.",
                ratio(greatest),
                self.asset(asset),
            );
            let line = self.line_of("bonus", asset, text).with("base", base).with("units", bonus);
            self.lines.push(line.with("total_numerator", numerator).with("total_denominator", denominator));
        }
        let again = award::shares(base, greatest, asset, &alone(&shares)).unwrap_or_default();
        for (share, spec) in &shares {
            let desired = again.iter().find(|again| again.campaign == share.campaign).map(|again| again.awarded);
            self.share(share, spec, desired, asset);
        }
        let (sum, desired) = (shares.iter().map(|(share, _)| share.awarded).sum::<u64>(), base.saturating_add(bonus));
        let awarded = base.saturating_add(sum);
        let text = format!("In all {awarded} of {desired} {} are awarded.", self.asset(asset));
        let line = self.line_of("total", asset, text).with("desired", desired).with("awarded", awarded);
        self.lines.push(line);
    }

    /// One campaign's share. `again` is what the rules give it where neither cap nor budget is short.
    fn share(&mut self, share: &Share, spec: &CampaignSpec, again: Option<u64>, asset: AssetNo) {
        let desired = share.awarded.saturating_add(share.short);
        let (campaign, given) = (self.campaign(share.campaign), self.units(share.awarded, asset));
        let mut text = format!(
            "Campaign {campaign} of group \"{}\" multiplies by {}: its share is {desired}, awarded {given}",
            spec.group,
            ratio(spec.multiplier),
        );
        if let Some(reason) = share.reason {
            text.push_str(&format!(", {} short: {}", share.short, reason_text::explain(reason)));
        }
        let exhausted = share.reason == Some(Reason::CampaignBudgetExhausted);
        if exhausted {
            text.push_str(&format!(", which had {} left", share.awarded));
        }
        if let (Some(found), Some(cap_spec)) = (share.cap, spec.cap) {
            let room = if found.room == 0 { "no room".to_owned() } else { format!("room for {}", found.room) };
            text.push_str(&format!("; the member's cap of {} left {room}", cap(cap_spec)));
            if found.span.per != CapPer::Campaign {
                text.push_str(&format!(" in the span from {}", day(found.span.first_day)));
            }
        }
        text.push('.');
        if share.stopped {
            text.push_str(" The campaign stops with this award until it is resumed.");
        } else if exhausted && spec.on_exhausted == OnExhausted::Clip {
            text.push_str(" It goes on when it is funded again.");
        }
        if again != Some(desired) {
            text.push_str(" The event says another share than the rules give.");
        }
        let line = self.line_of("campaign", asset, text).with("desired", desired).with("awarded", share.awarded);
        let line = line.with("short", share.short).with("multiplier_numerator", spec.multiplier.numerator);
        let mut line = line.with("multiplier_denominator", spec.multiplier.denominator);
        if let Some(reason) = share.reason {
            line = line.with("reason", reason.number());
        }
        if exhausted {
            line = line.with("budget_left", share.awarded);
        }
        if let Some(found) = share.cap {
            line = line.with("cap_room", found.room);
        }
        self.lines.push(Line { campaign, ..line });
    }

    /// Until when an award is pending, and whether its rule says so.
    fn waits(&mut self, matures: Matures, kind: Option<&str>, occurred_us: i64) {
        let rule = self.rule(kind).and_then(|rule| rule.more.as_deref()).and_then(|more| more.pending);
        let line = match (matures, rule) {
            (Matures::Activated, _) => self.line("pending", "Pending until it is activated.".to_owned()),
            (Matures::At(until_us), rule) => {
                let why = match rule {
                    Some(PendingRule::Days(days))
                        if grace_minute(&self.zone, days, occurred_us).map(instant_of) == Some(until_us) =>
                    {
                        let from = date(occurred_us, &self.zone);
                        format!(", {} after {from}, as its rule says", counted(days, "whole day"))
                    }
                    _ => String::new(),
                };
                let text = format!("Pending until {}{why}.", instant(until_us, &self.zone));
                self.line("pending", text).with("until_us", until_us)
            }
        };
        self.lines.push(line);
    }

    /// Until when the member's rolling units live from the event on.
    pub(super) fn rolls(&mut self, asset: AssetNo, until_min: u32) {
        let until_us = instant_of(until_min);
        let of = self.asset(asset);
        let text = format!("Rolling {of} live until {} without further activity.", instant(until_us, &self.zone));
        let line = self.line_of("rolls", asset, text).with("until_us", until_us);
        self.lines.push(line);
    }

    /// Why units that begin to live at an instant lapse when they do, where the rules that decided say so.
    pub(super) fn why_lapses(&self, version: Option<VersionNo>, asset: AssetNo, minute: u32, from_us: i64) -> String {
        let rules = self.scene.rules.filter(|rules| Some(rules.number) == version);
        let Some(spec) = rules.and_then(|rules| rules.spec.asset(asset)) else { return String::new() };
        let dated = matches!(spec.expiry.lifetime, Lifetime::Days(_) | Lifetime::Months(_) | Lifetime::Until(_));
        match dated && lapse_minute(&spec.expiry, &self.zone, from_us) == Some(minute) {
            true => format!(" ({})", policy(&spec.expiry, &date(from_us, &self.zone))),
            false => String::new(),
        }
    }
}

/// The winners as they were, each with more than it can want.
fn alone<'s>(shares: &[(&Share, &'s CampaignSpec)]) -> Vec<Candidate<'s>> {
    let candidate = |(share, spec): &(&Share, &'s CampaignSpec)| Candidate {
        campaign: share.campaign,
        asset: spec.asset_no(),
        id: &spec.id,
        group: &spec.group,
        multiplier: spec.multiplier,
        budget_left: u64::MAX,
        cap: None,
        on_exhausted: spec.on_exhausted,
    };
    shares.iter().map(candidate).collect()
}
