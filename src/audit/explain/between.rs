//! What goes between two members or two programs, what a member is, rewards, several commands as one, and periods.

use super::words::{day, instant};
use super::{Line, Teller, clear};
use crate::ledger::event::{
    CheckedOut, Claimed, Converted, Event, MemberSet, MembersMerged, PeriodClosed, RewardPut, Transferred,
};
use crate::ledger::ids::RewardNo;
use crate::ledger::reward::{PiecesMoved, pieces_of};

impl Teller<'_> {
    pub(super) fn transferred(&mut self, given: &Transferred<'_>) {
        let units = self.units(given.units, given.asset);
        let text = format!("{units} are given to another member, who keeps their dates.");
        let line = self.line_of("transferred", given.asset, text).with("units", given.units);
        self.lines.push(line);
        self.order(given.asset);
    }

    pub(super) fn converted(&mut self, converted: &Converted<'_>) {
        let Converted { asset, asked, units, to_asset, to_units, lapsed, ref other, .. } = *converted;
        let program = self.scene.names.program(other.program).map_or("", |names| names.id.as_str());
        let received = self.scene.names.asset(other.program, to_asset).unwrap_or("units");
        // What was given is whole parts, so that the two are as the rate is.
        let common = greatest_common(units, to_units);
        let (per, gives) = (units.checked_div(common).unwrap_or(0), to_units.checked_div(common).unwrap_or(0));
        let given = self.units(units, asset);
        let mut text = format!("{given} become {to_units} {received} of program {program}, {gives} for {per}");
        if asked > units {
            text.push_str(&format!("; {asked} were asked for, and the other {} make no whole unit", asked - units));
        }
        let line = self.line_of("converted", asset, text + ".").with("asked", asked).with("units", units);
        self.lines.push(line.with("to_units", to_units).with("lapsed", lapsed));
        self.order(asset);
        if let Some(until) = converted.rolls {
            self.rolls(asset, until);
        }
    }

    pub(super) fn merged(&mut self, merged: &MembersMerged<'_>) {
        let by = format!("By {}: {}.", clear(&merged.actor), clear(&merged.reason));
        let text =
            "The member goes into the other for good, with all that he has, and his id leads to the other from now on.";
        self.say("merged", format!("{text} {by}"));
    }

    pub(super) fn member_set(&mut self, set: &MemberSet<'_>) {
        if let Some(joined) = set.joined_day {
            let line = self.line("joined", format!("The member joined on {}.", day(joined)));
            self.lines.push(line.with("joined_day", joined));
        }
        for put in &set.added {
            // The first event with a tag alone says its name.
            let named = put.name.map(|name| format!(" {name}")).unwrap_or_default();
            let line = self.line("tag_added", format!("The member has the tag{named} of number {} now.", put.tag.0));
            self.lines.push(line.with("tag", put.tag.0));
        }
        for tag in &set.removed {
            let line = self.line("tag_removed", format!("The member has the tag of number {} no more.", tag.0));
            self.lines.push(line.with("tag", tag.0));
        }
        if set.joined_day.is_none() && set.added.is_empty() && set.removed.is_empty() {
            self.say("unchanged", "The member was as he was to be: nothing changes.".to_owned());
        }
    }

    pub(super) fn checked_out(&mut self, checkout: &CheckedOut<'_>) {
        let parts: Vec<u64> = checkout.parts.iter().map(|link| self.op_of(*link)).collect();
        let told: Vec<String> = parts.iter().map(u64::to_string).collect();
        let text = format!("Several commands as one, all or none: ops {}.", told.join(", "));
        let line = self.line("parts", text).with("parts", parts.len());
        self.lines.push(parts.into_iter().fold(line, |line, op| line.with("part_op", op)));
        if let Some(earn) = Event::CheckedOut(checkout.clone()).checked_out_earn(self.op) {
            let text = format!("A refund or an activation that names it means the earn at op {}.", earn.0);
            let line = self.line("earn", text).with("earn_op", earn.0);
            self.lines.push(line);
        }
    }

    pub(super) fn reward_put(&mut self, put: &RewardPut<'_>, by: &str) {
        let price = self.units(put.price, put.asset);
        let offer = if put.open { "is on offer" } else { "is not on offer" };
        let stocked = match put.stocked {
            0 => String::new(),
            units if units > 0 => format!("; {units} pieces are put in"),
            units => format!("; {} pieces are taken out", units.unsigned_abs()),
        };
        let (sku, left) = (put.sku, put.stock_after);
        let text = format!("Reward {sku} costs {price} a piece and {offer}{stocked}; {left} are left. {by}");
        let line = self.line_of("reward", put.asset, text).with("price", put.price).with("stocked", put.stocked);
        self.lines.push(line.with("stock_after", left));
    }

    pub(super) fn period_closed(&mut self, closed: &PeriodClosed<'_>, by: &str) {
        let until = instant(closed.until_us, &self.zone);
        let text =
            format!("The books are closed up to {until}: what is dated before and booked from now on is late. {by}");
        let line = self.line("period", text).with("until_us", closed.until_us);
        self.lines.push(line);
    }

    /// The pieces of a reward that an event moves.
    pub(super) fn pieces(&mut self, event: &Event<'_>) {
        let Some(Claimed { reward, pieces, price }) = pieces_of(event) else { return };
        let Some(moved) = PiecesMoved::of(event.legs()) else { return };
        let does = match event {
            Event::Redeemed(_) => "are bought",
            Event::Held(_) => "are reserved",
            Event::Captured(_) => "that were reserved are bought",
            Event::Reversed(_) => "come back",
            _ => "are reserved no more",
        };
        let of = self.reward(reward);
        let each = if price > 0 { format!(" at {price} a piece") } else { String::new() };
        let mut text = format!("{pieces} pieces of reward {of} {does}{each}");
        let freed = if moved.bought > 0 && moved.stock > 0 { moved.stock } else { 0 };
        if freed > 0 {
            text.push_str(&format!(", and {freed} are reserved no more"));
        }
        let line = self.line("pieces", text + ".").with("pieces", pieces).with("price", price).with("freed", freed);
        self.lines.push(line);
    }

    pub(super) fn reward(&self, reward: RewardNo) -> &str {
        self.scene.names.reward(self.program, reward).unwrap_or_default()
    }

    /// The other member's side: what is particular to it, what moved leg by leg, what he has after it.
    pub(super) fn other_side(&mut self, event: &Event<'_>, book_time_us: i64) {
        let Some(other) = event.other() else { return };
        let own = std::mem::replace(&mut self.program, other.program);
        let from = self.lines.len();
        for (asset, until) in &other.rolls {
            self.rolls(*asset, *until);
        }
        self.moves(event, &other.legs, book_time_us);
        self.after(&other.after);
        for line in self.lines.iter_mut().skip(from) {
            line.name = of_other(line);
            line.text = match line.text.strip_prefix("The member ") {
                Some(rest) => format!("The other member {rest}"),
                None => format!("The other member: {}", line.text),
            };
        }
        self.program = own;
    }
}

/// The name of a line that tells of the other member.
fn of_other(line: &Line) -> &'static str {
    match line.name {
        "takes" => "other_takes",
        "enters" => "other_enters",
        "pins" => "other_pins",
        "lets_go" => "other_lets_go",
        "waits" => "other_waits",
        "settles" => "other_settles",
        "owes" => "other_owes",
        "breakage" => "other_breakage",
        "account" => "other_account",
        "rolls" => "other_rolls",
        "after" => "other_after",
        name => name,
    }
}

fn greatest_common(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a
}
