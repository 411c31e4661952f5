//! Units pinned, spent from where they are pinned, and let go.

use stampbook::ledger::command::{Action, Original};
use stampbook::ledger::event::LotId;
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::ProgramSpec;

use super::book::{Said, tell};
use super::member::{Draft, Hold};
use super::rules::DAY;
use super::{Case, Decided, Model, Refusal, What, more_of, rewards};

/// Holds that a member may have open.
pub const HOLDS_MAX: usize = 32;

/// Until when a hold lasts that is asked for now.
pub fn until(spec: &ProgramSpec, asked_us: Option<i64>, now_us: i64) -> Result<i64, Refusal> {
    let latest = now_us + i64::from(more_of(spec).hold_days_max) * DAY;
    let until_us = asked_us.unwrap_or(latest);
    match until_us <= now_us || until_us > latest {
        true => Err((Reason::HoldDeadline, "until_us")),
        false => Ok(until_us),
    }
}

/// Decides a hold.
pub fn hold(mut case: Case<'_>) -> Result<Decided, Refusal> {
    let Action::Hold { asset, units, until_us, purpose } = &case.command.action else { unreachable!() };
    let (asset, units, purpose) = (asset.0, i128::from(*units), *purpose);
    let until_us = until(case.spec, *until_us, case.now_us)?;
    if case.draft.member.holds.len() >= HOLDS_MAX {
        return Err((Reason::HoldsFull, "member"));
    }
    if case.draft.member.balances(asset)[0] < units {
        return Err((Reason::InsufficientPoints, "hold.units"));
    }
    let op = case.draft.op;
    let parts = pin(&mut case.draft, asset, units);
    case.draft.member.holds.push(Hold { op, asset, purpose, until_us, parts, reserves: None });
    let mut said = Said { what: "held".to_owned(), ..Said::default() };
    tell(&mut said.more, "asset", asset);
    tell(&mut said.more, "units", units);
    tell(&mut said.more, "until", until_us);
    case.decided(said, What::Other)
}

/// Pins free units in spending order: of which lots how many.
pub fn pin(draft: &mut Draft, asset: u8, units: i128) -> Vec<(LotId, i128)> {
    let (mut rest, mut parts) = (units, Vec::new());
    for id in draft.member.spending_order(asset) {
        let here = rest.min(draft.member.free(asset, id));
        if here > 0 {
            parts.push((id, here));
            rest -= here;
            draft.put_free(asset, id, -here);
            draft.put_held(asset, id, here);
        }
    }
    parts
}

/// Lets go of what a hold pinned: units are free again, or lapse with their lot. Tells how many there are of both.
fn let_go(case: &mut Case<'_>, said: &mut Said, name: &str, hold: &Hold) {
    let (asset, mut lapsed) = (hold.asset, 0);
    rewards::back_on_the_shelf(&mut case.draft, hold, hold.units());
    for (id, units) in &hold.parts {
        case.draft.put_held(asset, *id, -units);
        if case.draft.member.has_lapsed(asset, *id, case.now_us) {
            let gone = case.draft.leave(asset, *id, *units);
            case.draft.lapse(asset, &gone);
            lapsed += units;
        } else {
            case.draft.put_free(asset, *id, *units);
        }
    }
    tell(&mut said.more, name, hold.units());
    tell(&mut said.more, "lapsed", lapsed);
}

impl Model {
    /// Where among the member's holds the named one stands, if it is open.
    fn hold_of(&self, case: &Case<'_>, hold: &Original) -> Result<usize, Refusal> {
        let unknown = (Reason::HoldUnknown, "hold");
        let op = self.named(case, hold).ok_or(unknown)? + 1;
        case.draft.member.holds.iter().position(|hold| hold.op == op).ok_or(unknown)
    }

    /// Decides a capture.
    pub fn capture(&self, mut case: Case<'_>) -> Result<Decided, Refusal> {
        let Action::Capture { hold, units, last } = &case.command.action else { unreachable!() };
        let at = self.hold_of(&case, hold)?;
        let units = i128::from(*units);
        let mut hold = case.draft.member.holds.remove(at);
        if units > hold.units() {
            return Err((Reason::HoldExceeded, "units"));
        }
        let pieces = rewards::capture(&mut case.draft, &hold, units)?;
        let (asset, mut rest, mut lots) = (hold.asset, units, Vec::new());
        for (id, there) in &mut hold.parts {
            let here = rest.min(*there);
            if here > 0 {
                *there -= here;
                rest -= here;
                case.draft.leave(asset, *id, here);
                case.draft.put_held(asset, *id, -here);
                lots.push((*id, here));
            }
        }
        hold.parts.retain(|(_, units)| *units > 0);
        let account = format!("redemption/{}", hold.purpose.name());
        case.draft.put(asset, &account, units);
        let over = *last || hold.parts.is_empty();
        let mut said = Said { what: "captured".to_owned(), ..Said::default() };
        tell(&mut said.more, "hold", hold.op);
        tell(&mut said.more, "asset", asset);
        tell(&mut said.more, "units", units);
        tell(&mut said.more, "over", i64::from(over));
        if over {
            let_go(&mut case, &mut said, "released", &hold);
        } else {
            case.draft.member.holds.insert(at, hold);
        }
        // What had lapsed before stays lapsed.
        case.roll(asset);
        case.decided(said, What::Spent { asset, account, lots, pieces })
    }

    /// Decides a release.
    pub fn release(&self, mut case: Case<'_>) -> Result<Decided, Refusal> {
        let Action::Release { hold } = &case.command.action else { unreachable!() };
        let at = self.hold_of(&case, hold)?;
        let hold = case.draft.member.holds.remove(at);
        let mut said = Said { what: "released".to_owned(), ..Said::default() };
        tell(&mut said.more, "hold", hold.op);
        tell(&mut said.more, "asset", hold.asset);
        let_go(&mut case, &mut said, "units", &hold);
        case.decided(said, What::Other)
    }
}
