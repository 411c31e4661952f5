//! What an event says, in the words of the chart of accounts: the naive ledger says the same of what it expects.

use std::collections::BTreeMap;

use stampbook::ledger::event::{
    Account, AssetBalances, Common, DueKind, Event, Expiry, Leg, LotId, Matures, Other, Source, Standing,
};
use stampbook::ledger::ids::{Op, ProgramNo};
use stampbook::ledger::reason::Reason;

use super::Shelf;

type Amounts = BTreeMap<String, i128>;

/// A campaign's part in an award or a take-back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The campaign's id.
    pub campaign: String,
    /// What the multiplier asked for; in a refund what the original awarded.
    pub desired: i128,
    /// What was awarded, or asked back by this refund.
    pub moved: i128,
    /// Why less was awarded than asked.
    pub reason: Option<Reason>,
}

/// What an event says, by names and amounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// What happened.
    pub what: String,
    /// The reason and field of a refusal.
    pub refused: Option<(Reason, String)>,
    /// The version of the rules, where one was used.
    pub version: Option<u32>,
    /// Base units awarded or asked back.
    pub base: i128,
    /// The campaigns' parts, by id.
    pub parts: Vec<Part>,
    /// Amounts by account name, credit positive; the accounts of other assets than `points` begin with its number.
    pub legs: BTreeMap<String, i128>,
    /// Where the intervals begin of the units that entered and that left each lot.
    pub positions: BTreeMap<String, i128>,
    /// The member's available points and debt afterwards.
    pub after: (i128, i128),
    /// What the event tells beside them: available, held, pending and owed units by asset.
    pub others: BTreeMap<u8, [i128; 4]>,
    /// Until when the member's rolling units live by now, in minutes.
    pub untils: BTreeMap<u8, i128>,
    /// All else that it says, but what is 0.
    pub more: BTreeMap<String, i128>,
    /// What it says of the other member, of two.
    pub other: Option<Box<Side>>,
}

/// What an event says of the other of two members, as of the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// The program's id.
    pub program: String,
    /// The member's id.
    pub member: String,
    /// Amounts by account name; of a conversion those of the other program.
    pub legs: BTreeMap<String, i128>,
    /// Where the intervals begin of the units that entered and that left each lot.
    pub positions: BTreeMap<String, i128>,
    /// Available, held, pending and owed units by asset.
    pub after: BTreeMap<u8, [i128; 4]>,
    /// Until when rolling units live by now, in minutes.
    pub untils: BTreeMap<u8, i128>,
}

/// Adds to what an event says, if it is not 0.
pub fn tell(more: &mut BTreeMap<String, i128>, name: &str, value: impl TryInto<i128>) {
    let Ok(value) = value.try_into() else { unreachable!() };
    if value != 0 {
        more.insert(name.to_owned(), value);
    }
}

/// What the accounts of an asset begin with.
pub fn prefix(asset: u8) -> String {
    if asset == 0 { String::new() } else { format!("{asset}:") }
}

/// The asset of an account.
pub fn asset_of(account: &str) -> u8 {
    account.split_once(':').map_or(0, |(asset, _)| asset.parse().unwrap())
}

/// The name of a member's lot.
pub fn lot_name(member: &str, lot: LotId) -> String {
    let source = match lot.source {
        Source::Base => "base",
        Source::Campaign => "campaign",
        Source::Granted => "granted",
        Source::Opening => "opening",
        Source::Bonus => "bonus",
        Source::Transferred => "transferred",
    };
    match lot.expiry {
        Expiry::Never => format!("member/{member}/{source}"),
        Expiry::At(minute) => format!("member/{member}/{source}@{minute}"),
        Expiry::Rolling => format!("member/{member}/{source}@rolling"),
    }
}

/// The number by which a standing is told.
pub fn number_of(standing: Standing) -> i64 {
    match standing {
        Standing::Open => 0,
        Standing::Frozen => 1,
        Standing::Closed => 2,
    }
}

/// The distance back to another event as that event's op.
pub(super) fn back(op: Op, link: u64) -> i128 {
    i128::from(op.0) - i128::from(link)
}

impl Shelf {
    /// What the event at an op says.
    pub fn said(&self, op: Op, event: &Event<'_>) -> Said {
        let mut said = Said { refused: event.rejection().map(|(r, f)| (r, f.to_owned())), ..Said::default() };
        if let Some(common) = event.common() {
            say_common(&mut said, common);
        }
        if let Some(member) = event.member() {
            said.untils = self.untils_at(op, member);
        }
        let of = (event.identity().0, event.member().map_or("", |number| self.member_id(number)));
        (said.legs, said.positions) = self.amounts(op, of, event.legs());
        said.other = event.other().map(|other| Box::new(self.said_of_other(op, other)));
        self.say_awards(op, event, &mut said);
        say_rest(op, event, &mut said);
        self.say_moves(op, event, &mut said);
        said.parts.sort_by(|a, b| a.campaign.cmp(&b.campaign));
        said
    }

    fn said_of_other(&self, op: Op, other: &Other<'_>) -> Side {
        let number = other.member.number().unwrap();
        let (program, member) = (self.program_id(usize::from(other.program.0)), self.member_id(number));
        let (legs, positions) = self.amounts(op, (other.program, member), &other.legs);
        let balances = |of: &AssetBalances| [of.available, of.held, of.pending, of.debt].map(i128::from);
        Side {
            program: program.to_owned(),
            member: member.to_owned(),
            legs,
            positions,
            after: other.after.iter().map(|of| (of.asset.0, balances(of))).collect(),
            untils: self.untils_at(op, number),
        }
    }

    /// The amounts by account name, and where the intervals of units begin that entered and that left lots.
    fn amounts(&self, op: Op, (program, member): (ProgramNo, &str), legs: &[Leg]) -> (Amounts, Amounts) {
        let (mut amounts, mut positions) = (Amounts::new(), Amounts::new());
        for Leg { account, asset, amount } in legs {
            assert_ne!(*amount, 0, "a leg of nothing");
            let name = format!("{}{}", prefix(asset.0), self.account_name(op, program, member, account));
            if let Account::Available { position, lot } | Account::Held { position: Some(position), lot } = account {
                let way = if *amount > 0 { "in" } else { "out" };
                let lot = format!("{}{} {way}", prefix(asset.0), lot_name(member, *lot));
                let begins = positions.entry(lot).or_insert(i128::from(*position));
                *begins = i128::from(*position).min(*begins);
            }
            *amounts.entry(name).or_default() += i128::from(*amount);
        }
        amounts.retain(|_, amount| *amount != 0);
        (amounts, positions)
    }

    fn say_awards(&self, op: Op, event: &Event<'_>, said: &mut Said) {
        let program = event.identity().0;
        let campaign_id = |number| self.campaign_id(program, number);
        match event {
            Event::Earned(e) => {
                said.what = "earned".to_owned();
                said.version = Some(e.version.0);
                said.base = e.base.into();
                said.parts.extend(e.shares.iter().map(|share| Part {
                    campaign: campaign_id(share.campaign),
                    desired: i128::from(share.awarded) + i128::from(share.short),
                    moved: share.awarded.into(),
                    reason: share.reason,
                }));
                let more = e.more.as_deref().cloned().unwrap_or_default();
                tell(&mut said.more, "asset", more.asset.0);
                if let Some((asset, units)) = more.also.filter(|(_, units)| *units > 0) {
                    tell(&mut said.more, "also asset", asset.0);
                    tell(&mut said.more, "also", units);
                }
                let waits = e.legs.iter().any(|leg| matches!(leg.account, Account::Pending { .. }));
                match more.matures.filter(|_| waits) {
                    Some(Matures::At(instant)) => tell(&mut said.more, "matures", instant),
                    Some(Matures::Activated) => tell(&mut said.more, "matures", -1_i64),
                    None => {}
                }
                for (asset, units) in more.lapsed {
                    tell(&mut said.more, &format!("lapsed of {}", asset.0), units);
                }
            }
            Event::Refunded(e) => {
                said.what = "refunded".to_owned();
                said.version = Some(e.version.0);
                said.base = e.base.into();
                let more = e.more.as_deref().cloned().unwrap_or_default();
                tell(&mut said.more, "asset", more.asset.0);
                if let Some(from) = &e.from {
                    tell(&mut said.more, "original", back(op, from.original_link));
                    tell(&mut said.more, "amount so far", from.amount_total);
                    tell(&mut said.more, "base so far", from.base_total);
                }
                for share in e.from.iter().flat_map(|from| from.shares.iter()) {
                    let campaign = campaign_id(share.campaign);
                    tell(&mut said.more, &format!("{campaign} so far"), share.taken_total);
                    let (desired, moved) = (share.of.into(), share.taken.into());
                    said.parts.push(Part { campaign, desired, moved, reason: None });
                }
                if let Some(also) = more.also.filter(|also| also.of > 0 || e.from.is_none() && also.taken > 0) {
                    tell(&mut said.more, "also asset", also.asset.0);
                    tell(&mut said.more, "also", also.taken);
                    if e.from.is_some() {
                        tell(&mut said.more, "also of", also.of);
                        tell(&mut said.more, "also so far", also.taken_total);
                    }
                }
                for (asset, now, so_far) in more.lapsed {
                    tell(&mut said.more, &format!("lapsed of {}", asset.0), now);
                    tell(&mut said.more, &format!("lapsed of {} so far", asset.0), so_far);
                }
                for (part, units) in more.not_taken {
                    tell(&mut said.more, &format!("not taken of part {part}"), units);
                }
            }
            _ => {}
        }
    }
}

fn say_common(said: &mut Said, common: &Common<'_>) {
    said.after = (common.after.available.into(), common.after.debt.into());
    // An id that names no member has no balances.
    for of in common.others.as_deref().into_iter().flatten().filter(|_| common.member.number().is_some()) {
        let balances = [of.available, of.held, of.pending, of.debt].map(i128::from);
        said.others.insert(of.asset.0, balances);
    }
}

fn say_rest(op: Op, event: &Event<'_>, said: &mut Said) {
    let more = &mut said.more;
    let mut tell = |name: &str, value: i128| tell(more, name, value);
    let mut tell_asset = |more: Option<&stampbook::ledger::event::AssetMore>| {
        let more = more.cloned().unwrap_or_default();
        tell("asset", more.asset.0.into());
        tell("asked", more.asked.into());
        tell("minor", more.minor.into());
        tell("lapsed", more.lapsed.into());
    };
    said.what = match event {
        Event::Earned(_) | Event::Refunded(_) => return,
        Event::Rejected(_) => "rejected",
        Event::AdminRejected(_) => "operator rejected",
        Event::ProgramPut(e) => {
            said.version = Some(e.version.0);
            "program"
        }
        Event::CampaignChanged(_) => "campaign",
        Event::SnapshotTaken(_) => "snapshot taken",
        Event::SnapshotDeleted(_) => "snapshot deleted",
        Event::ClockConfirmed(_) => "clock confirmed",
        Event::Transferred(_) => "transferred",
        Event::Converted(_) => "converted",
        Event::MembersMerged(_) => "members merged",
        Event::MemberSet(_) => "member set",
        Event::RewardPut(_) => "reward put",
        Event::CheckedOut(_) => "checked out",
        Event::PeriodClosed(e) => {
            tell("until", e.until_us.into());
            "period closed"
        }
        Event::Redeemed(e) => {
            tell_asset(e.more.as_deref());
            tell("units", e.points.into());
            "redeemed"
        }
        Event::Adjusted(e) => {
            tell_asset(e.more.as_deref());
            tell("units", e.points.into());
            "adjusted"
        }
        Event::Opened(e) => {
            tell_asset(e.more.as_deref());
            tell("units", e.points.into());
            "opened"
        }
        Event::Activated(e) => {
            tell("earn", back(op, e.earn_link));
            for (asset, units) in &e.lapsed {
                tell(&format!("lapsed of {}", asset.0), (*units).into());
            }
            "activated"
        }
        Event::Reversed(e) => {
            tell("original", back(op, e.original_link));
            tell("asset", e.asset.0.into());
            tell("of", e.of.into());
            tell("units", e.units.into());
            tell("units so far", e.units_total.into());
            tell("lapsed", e.lapsed.into());
            tell("not taken", e.not_taken.into());
            "reversed"
        }
        Event::Held(e) => {
            tell("asset", e.asset.0.into());
            tell("units", e.units.into());
            tell("until", e.until_us.into());
            "held"
        }
        Event::Captured(e) => {
            tell("hold", back(op, e.hold_link));
            tell("asset", e.asset.0.into());
            tell("units", e.units.into());
            tell("released", e.released.into());
            tell("over", i128::from(e.over));
            tell("lapsed", e.lapsed.into());
            "captured"
        }
        Event::Released(e) => {
            tell("hold", back(op, e.hold_link));
            tell("asset", e.asset.0.into());
            tell("units", e.units.into());
            tell("lapsed", e.lapsed.into());
            "released"
        }
        Event::Granted(e) => {
            tell("asset", e.asset.0.into());
            tell("topped up", i128::from(e.topped_up));
            tell("units", e.units.into());
            tell("bonus", e.bonus.into());
            tell("lapsed", e.lapsed.into());
            "granted"
        }
        Event::StandingChanged(e) => {
            tell("standing", number_of(e.change).into());
            "standing"
        }
        Event::Due(e) => {
            for of in e.after.iter() {
                let balances = [of.available, of.held, of.pending, of.debt].map(i128::from);
                said.others.insert(of.asset.0, balances);
            }
            match e.kind {
                DueKind::Expired { lapsed_min } => {
                    tell("minute", lapsed_min.into());
                    "expired"
                }
                DueKind::LotsMerged => "merged",
                DueKind::Matured { earn_link, matured_us } => {
                    tell("earn", back(op, earn_link));
                    tell("at", matured_us.into());
                    "matured"
                }
                DueKind::HoldEnded { hold_link, ended_us } => {
                    tell("hold", back(op, hold_link));
                    tell("at", ended_us.into());
                    "hold ended"
                }
            }
        }
    }
    .to_owned();
}
