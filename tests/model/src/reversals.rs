//! What undoing an event comes to: what was taken last comes back first, what was given is taken back.

use stampbook::ledger::command::Action;
use stampbook::ledger::event::LotId;
use stampbook::ledger::reason::Reason;

use super::book::{Said, tell};
use super::refunds::{is_reversible, take_back};
use super::{Case, Decided, Model, Refusal, What, dates, more_of, rewards};

impl Model {
    /// Decides a reversal.
    pub fn reverse(&self, mut case: Case<'_>) -> Result<Decided, Refusal> {
        let Action::Reverse { original, units } = &case.command.action else { unreachable!() };
        let at = self.named(&case, original).ok_or((Reason::OriginalNotFound, "original"))?;
        if !is_reversible(&self.history[at].what) {
            return Err((Reason::NotReversible, "original"));
        }
        let (asset, of) = match &self.history[at].what {
            What::Spent { asset, lots, .. } => (*asset, lots.iter().map(|(_, units)| units).sum::<i128>()),
            What::Given { asset, parts } => (*asset, parts[0].2),
            _ => unreachable!(),
        };
        self.original(&case, original)?;
        let (mut before, mut bonus_before) = (0, 0);
        for what in self.take_backs_of(at) {
            if let What::Reversed { units, bonus, .. } = what {
                before += units;
                bonus_before += bonus;
            }
        }
        let left = of - before;
        let units = units.map_or(left, i128::from);
        if units > left || left == 0 {
            return Err((Reason::ReverseExceedsOriginal, "units"));
        }
        let mut said = Said { what: "reversed".to_owned(), ..Said::default() };
        tell(&mut said.more, "original", at + 1);
        tell(&mut said.more, "asset", asset);
        tell(&mut said.more, "of", of);
        tell(&mut said.more, "units", units);
        tell(&mut said.more, "units so far", before + units);
        match &self.history[at].what {
            What::Spent { asset, account, lots, pieces } => {
                if let Some((sku, pieces)) = pieces {
                    let back = pieces * (before + units) / of - pieces * before / of;
                    rewards::bring_back(&mut case.draft, sku, account, back);
                }
                unspend(case, said, at, *asset, account, lots, (before, units))
            }
            What::Given { asset, parts } => take_gift(case, said, at, *asset, parts, (before, bonus_before, units)),
            _ => unreachable!(),
        }
    }
}

/// Puts spent units back: those taken last first, each settling debt before it goes to the lot that it came from.
fn unspend(
    mut case: Case<'_>,
    mut said: Said,
    at: usize,
    asset: u8,
    account: &str,
    lots: &[(LotId, i128)],
    (before, units): (i128, i128),
) -> Result<Decided, Refusal> {
    case.draft.put(asset, account, -units);
    // The spent units one after the other, from the last: those of this reversal follow on those of earlier ones.
    let (mut passed, mut lapsed) = (0, 0);
    for (id, taken) in lots.iter().rev() {
        let begins = passed.max(before);
        let ends = (passed + taken).min(before + units);
        passed += taken;
        if ends > begins {
            lapsed += come_back(&mut case, asset, *id, ends - begins);
        }
    }
    tell(&mut said.more, "lapsed", lapsed);
    case.decided(said, What::Reversed { original: at, units, bonus: 0 })
}

/// Units come back to a lot. If that has lapsed they get the program's days of grace, or go on to breakage; how many do.
fn come_back(case: &mut Case<'_>, asset: u8, id: LotId, units: i128) -> i128 {
    let op = case.draft.op;
    let days = more_of(case.spec).grace_days;
    let id = match case.draft.member.has_lapsed(asset, id, case.now_us) {
        true if days > 0 => LotId { expiry: dates::grace(case.spec, days, case.now_us), ..id },
        _ => id,
    };
    case.draft.credit(asset, id, units, op)
}

/// Takes back what was given; of a top-up the bonus in proportion.
fn take_gift(
    mut case: Case<'_>,
    mut said: Said,
    at: usize,
    asset: u8,
    parts: &[(String, LotId, i128)],
    (before, bonus_before, units): (i128, i128, i128),
) -> Result<Decided, Refusal> {
    let (account, id, of) = &parts[0];
    let bonus_of = parts.get(1).map_or(0, |(_, _, bonus)| *bonus);
    let bonus = bonus_of * (before + units) / of - bonus_before;
    let source_of_bonus = parts.get(1).map_or(stampbook::ledger::event::Source::Bonus, |(_, id, _)| id.source);
    let asked = [(id.source, units), (source_of_bonus, bonus)];
    let policy = case.asset(asset);
    let found = take_back(&mut case.draft, &policy, asset, Some(at + 1), asked)?;
    // What is not taken falls on the bonus first.
    let bonus_short = found.not_taken.min(bonus);
    case.draft.put(asset, account, units - (found.not_taken - bonus_short));
    case.draft.put(asset, "issuance", bonus - bonus_short);
    tell(&mut said.more, "lapsed", found.lapsed);
    tell(&mut said.more, "not taken", found.not_taken);
    case.decided(said, What::Reversed { original: at, units, bonus })
}
