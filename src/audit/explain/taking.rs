//! What spending, holds and gifts say, and what a refund or a reversal asks of the event that it names.

use std::collections::BTreeMap;

use super::Teller;
use super::words::instant;
use crate::ledger::command::{Basis, Purpose};
use crate::ledger::event::{
    AssetMore, Captured, Event, FIRST_CAMPAIGN_PART, Granted, Held, Redeemed, Refunded, Released, Reversed, TakenFrom,
};
use crate::ledger::ids::AssetNo;
use crate::ledger::spec::AssetKind;

/// A part of an award that a refund takes back.
struct Part<'t> {
    title: &'t str,
    number: usize,
    asset: AssetNo,
    of: u64,
    taken: u64,
    taken_total: u64,
}

impl Teller<'_> {
    pub(super) fn redeemed(&mut self, redeemed: &Redeemed<'_>) {
        let AssetMore { asset, asked, minor, rolls, .. } = redeemed.more.as_deref().cloned().unwrap_or_default();
        let asked = asked.max(redeemed.points);
        let units = self.units(redeemed.points, asset);
        let mut text = match redeemed.purpose {
            Purpose::Use => format!("{units} are used"),
            other => format!("{units} are spent on {}", purpose(other)),
        };
        if minor > 0 {
            text.push_str(&format!(" and stand for {}", self.money(minor)));
        }
        if asked > redeemed.points {
            text.push_str(&format!(
                "; {asked} were asked for, and the other {} make no whole unit",
                asked - redeemed.points
            ));
        }
        let line = self.line_of("spent", asset, text + ".").with("asked", asked).with("units", redeemed.points);
        let line = if minor > 0 { line.with("minor", minor) } else { line };
        self.lines.push(line);
        self.order(asset);
        if let Some(until) = rolls {
            self.rolls(asset, until);
        }
    }

    /// In which order lots are taken.
    pub(super) fn order(&mut self, asset: AssetNo) {
        let kind = self.scene.rules.and_then(|rules| rules.spec.asset(asset)).map(|spec| spec.kind);
        let first = if kind == Some(AssetKind::StoredValue) { "What was paid before bonus; then the" } else { "The" };
        let text = format!("{first} lots that lapse soonest are taken first, those that never lapse last.");
        let line = self.line_of("order", asset, text);
        self.lines.push(line);
    }

    pub(super) fn held(&mut self, held: &Held<'_>) {
        let (units, purpose) = (self.units(held.units, held.asset), purpose(held.purpose));
        let until = instant(held.until_us, &self.zone);
        let text = format!("{units} are pinned for {purpose} until {until}.");
        let line = self.line_of("held", held.asset, text).with("units", held.units).with("until_us", held.until_us);
        self.lines.push(line);
        self.order(held.asset);
    }

    pub(super) fn captured(&mut self, captured: &Captured<'_>) {
        let (units, purpose) = (self.units(captured.units, captured.asset), purpose(captured.purpose));
        let hold = self.op_of(captured.hold_link);
        let mut text = format!("{units} that the hold at op {hold} pins are spent on {purpose}");
        match (captured.over, captured.released) {
            (false, _) => text.push_str("; the hold stays open"),
            (true, 0) => text.push_str("; the hold is over"),
            (true, released) => text.push_str(&format!("; the hold is over and lets go of {released}")),
        }
        if captured.lapsed > 0 {
            text.push_str(&format!(", {} of which had lapsed in it", captured.lapsed));
        }
        let line = self.line_of("captured", captured.asset, text + ".").with("units", captured.units);
        let line = line.with("hold_op", hold).with("released", captured.released).with("lapsed", captured.lapsed);
        self.lines.push(line);
        if let Some(until) = captured.rolls {
            self.rolls(captured.asset, until);
        }
    }

    pub(super) fn released(&mut self, released: &Released<'_>) {
        let (units, hold) = (self.units(released.units, released.asset), self.op_of(released.hold_link));
        let mut text = format!("The hold at op {hold} lets go of {units}");
        if released.lapsed > 0 {
            text.push_str(&format!(", {} of which had lapsed in it", released.lapsed));
        }
        let line = self.line_of("released", released.asset, text + ".").with("units", released.units);
        self.lines.push(line.with("hold_op", hold).with("lapsed", released.lapsed));
    }

    pub(super) fn granted(&mut self, granted: &Granted<'_>) {
        let units = self.units(granted.units, granted.asset);
        let text = match (granted.topped_up, granted.bonus) {
            (true, 0) => format!("{units} are paid for."),
            (true, bonus) => format!("{units} are paid for, and {bonus} given on top."),
            (false, _) => format!("{units} are given."),
        };
        let line = self.line_of("given", granted.asset, text).with("units", granted.units);
        self.lines.push(line.with("bonus", granted.bonus));
        if let Some(until) = granted.rolls {
            self.rolls(granted.asset, until);
        }
    }

    pub(super) fn refunded(&mut self, refunded: &Refunded<'_>, book_time_us: i64) {
        let more = refunded.more.as_deref().cloned().unwrap_or_default();
        self.rules_of(refunded.version);
        match &refunded.from {
            Some(from) => self.refunded_from(refunded, from),
            None => {
                let occurred = instant(book_time_us.saturating_sub(refunded.common.behind_us), &self.zone);
                let text = format!("No original is named: the base rate of {occurred} is taken, and no bonus.");
                self.say("original", text);
                self.base("base", (refunded.basis, refunded.event_kind), more.asset, refunded.base);
                if let Some(also) = more.also {
                    let text = format!("Second award: {} are asked.", self.units(also.taken, also.asset));
                    let line = self.line_of("second", also.asset, text).with("units", also.taken);
                    self.lines.push(line);
                }
            }
        }
        for (asset, lapsed, total) in &more.lapsed {
            let text = format!(
                "{} are taken from what had lapsed of its own units, {total} by all refunds so far.",
                self.units(*lapsed, *asset)
            );
            let line = self.line_of("lapsed_own", *asset, text).with("units", *lapsed).with("total", *total);
            self.lines.push(line);
        }
        let mut not_taken: BTreeMap<AssetNo, u64> = BTreeMap::new();
        for (number, units) in &more.not_taken {
            let share = |at: usize| refunded.from.as_ref()?.shares.get(at).map(|share| share.campaign);
            let asset = match (usize::from(*number).checked_sub(FIRST_CAMPAIGN_PART).and_then(share), *number) {
                (Some(campaign), _) => self.scene.names.campaign_asset(self.program, campaign),
                (None, 1) => more.also.map(|also| also.asset).unwrap_or_default(),
                (None, _) => more.asset,
            };
            *not_taken.entry(asset).or_default() += units;
        }
        for (asset, units) in not_taken {
            self.not_taken(asset, units);
        }
    }

    fn not_taken(&mut self, asset: AssetNo, units: u64) {
        let text = format!(
            "{units} were asked for and not taken, since the member has not as many and may not owe them; they count as \
             taken, of bonuses first."
        );
        let line = self.line_of("not_taken", asset, text).with("units", units);
        self.lines.push(line);
    }

    fn refunded_from(&mut self, refunded: &Refunded<'_>, from: &TakenFrom) {
        let original = self.op_of(from.original_link);
        let amount = |teller: &Self, amount: u64| match refunded.basis {
            Basis::Spend(_) => teller.money(amount),
            Basis::Points(_) => format!("{amount} units"),
        };
        let (Basis::Spend(now) | Basis::Points(now)) = refunded.basis;
        let text = format!(
            "Takes back the earn at op {original}: {} of its {}, {} with all refunds so far.",
            now,
            amount(self, from.amount),
            from.amount_total,
        );
        let line = self.line("original", text).with("original_op", original).with("amount", now);
        self.lines.push(line.with("amount_of", from.amount).with("amount_total", from.amount_total));
        let more = refunded.more.as_deref();
        let asset = more.map(|more| more.asset).unwrap_or_default();
        let (of, taken, taken_total) = (from.base_of, refunded.base, from.base_total);
        self.part(refunded, from, &Part { title: "Base", number: 0, asset, of, taken, taken_total });
        if let Some(also) = more.and_then(|more| more.also) {
            let (of, taken, taken_total) = (also.of, also.taken, also.taken_total);
            self.part(
                refunded,
                from,
                &Part { title: "Second award", number: 1, asset: also.asset, of, taken, taken_total },
            );
        }
        for (number, share) in (FIRST_CAMPAIGN_PART..).zip(from.shares.iter()).filter(|(_, share)| share.of > 0) {
            let campaign = self.campaign(share.campaign);
            let asset = self.scene.names.campaign_asset(self.program, share.campaign);
            let title = format!("Campaign {campaign}");
            let (of, taken, taken_total) = (share.of, share.taken, share.taken_total);
            self.part(refunded, from, &Part { title: &title, number, asset, of, taken, taken_total });
            if let Some(line) = self.lines.last_mut() {
                line.name = "campaign";
                line.campaign = campaign;
                if share.closed {
                    line.text.push_str(" The campaign is closed, so that it goes to issuance.");
                }
            }
        }
    }

    /// What a refund asks of one part of its original.
    fn part(&mut self, refunded: &Refunded<'_>, from: &TakenFrom, part: &Part<'_>) {
        let Part { title, number, asset, of, taken, taken_total } = *part;
        let target = u128::from(of) * u128::from(from.amount_total);
        let target = target.checked_div(u128::from(from.amount));
        let before = taken_total.saturating_sub(taken);
        let (units, not_taken) = (self.units(taken, asset), refunded.not_taken(number));
        let mut text = format!("{title}: ");
        match target == Some(u128::from(taken_total)) {
            true => text.push_str(&format!(
                "{of} x {} / {} rounded down is {taken_total}; less {before} asked before, {units} are asked",
                from.amount_total, from.amount
            )),
            false => text.push_str(&format!("{units} of {of} are asked, {taken_total} so far")),
        }
        if not_taken > 0 {
            text.push_str(&format!(", of which {not_taken} are not taken"));
        }
        let name = if number == 1 { "second" } else { "base" };
        let line = self.line_of(name, asset, text + ".").with("of", of).with("units", taken);
        self.lines.push(line.with("total", taken_total).with("not_taken", not_taken));
    }

    pub(super) fn reversed(&mut self, reversed: &Reversed<'_>) {
        let (original, asset) = (self.op_of(reversed.original_link), reversed.asset);
        let what = match self.scene.named {
            Some((_, Event::Redeemed(_))) => "redemption",
            Some((_, Event::Captured(_))) => "capture",
            Some((_, Event::Adjusted(_))) => "adjustment",
            Some((_, Event::Granted(granted))) if granted.topped_up => "top-up",
            Some((_, Event::Granted(_))) => "grant",
            _ => "event",
        };
        let text = format!(
            "Undoes {} of the {} of the {what} at op {original}, {} with all reversals so far.",
            reversed.units,
            self.units(reversed.of, asset),
            reversed.units_total
        );
        let line = self.line_of("original", asset, text).with("original_op", original).with("units", reversed.units);
        self.lines.push(line.with("of", reversed.of).with("total", reversed.units_total));
        if reversed.lapsed > 0 {
            let text = format!("{} of it had lapsed.", self.units(reversed.lapsed, asset));
            let line = self.line_of("lapsed_own", asset, text).with("units", reversed.lapsed);
            self.lines.push(line);
        }
        if reversed.not_taken > 0 {
            self.not_taken(asset, reversed.not_taken);
        }
    }
}

fn purpose(purpose: Purpose) -> String {
    purpose.name().replace('_', " ")
}
