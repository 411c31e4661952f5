//! Taking back, undoing and making available, of one program in a [`World`].
#![allow(clippy::unwrap_used, clippy::panic)]

mod parts;
mod refunds;
mod reversals;
mod waiting;

use super::command::{Action, AdminAction, Basis, Matures, Original, Purpose};
use super::event::{Account, Event, Expiry, LotId, RefundMore, Source};
use super::holding::{Holding, LotKey};
use super::ids::{AssetNo, MemberNo, Op, ProgramNo};
use super::later::Later;
use super::reason::Reason;
use super::spec::{
    AlsoAward, AssetKind, AssetSpec, CampaignSpec, DebtPolicy, ExpiryPolicy, Lifetime, OnExhausted, ProgramMore,
    ProgramSpec, Ratio, RoundUp, Rounding, Rule, RuleMore,
};
use super::world::{BEGAN_US, DAY_US, World};

pub(super) const P: ProgramNo = ProgramNo(0);
pub(super) const POINTS: AssetNo = AssetNo::POINTS;
pub(super) const GROWTH: AssetNo = AssetNo(1);
pub(super) const STORED: AssetNo = AssetNo(2);
pub(super) const COUPON: AssetNo = AssetNo(3);

/// What the program says of taking back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) debt: DebtPolicy,
    pub(super) debt_max: Option<u64>,
    pub(super) days: Option<u32>,
    pub(super) grace_days: u32,
}

pub(super) const OWED: Rules = Rules { debt: DebtPolicy::Debt, debt_max: None, days: None, grace_days: 0 };

fn asset(id: &str, kind: AssetKind, rules: Rules) -> AssetSpec {
    let lifetime = rules.days.map_or(Lifetime::Never, Lifetime::Days);
    let expiry = ExpiryPolicy { lifetime, round_up: RoundUp::Day };
    AssetSpec { id: id.into(), kind, expiry, debt: rules.debt, debt_max: rules.debt_max, ..AssetSpec::points() }
}

/// A point a minor unit and as much growth for a purchase, twice the points by a campaign.
pub(super) fn spec(rules: Rules) -> ProgramSpec {
    let one = Ratio { numerator: 1, denominator: 1 };
    let also = AlsoAward { asset: GROWTH, rate: Ratio { numerator: 1, denominator: 3 }, rounding: Rounding::Floor };
    let rule = |kind: &str, also| Rule {
        kind: kind.into(),
        rate: Ratio { numerator: 1, denominator: 100 },
        rounding: Rounding::Floor,
        more: Later::new(RuleMore { also, pending: None }),
    };
    ProgramSpec {
        name: "Test".into(),
        currency: "GBP".into(),
        time_zone: "UTC".into(),
        tz_version: String::new(),
        import_mode: true,
        effective_from_us: None,
        greatest_total: Ratio { numerator: 100, denominator: 1 },
        rules: vec![rule("plain", None), rule("purchase", None), rule("grown", Some(also))],
        campaigns: vec![CampaignSpec {
            id: "double".into(),
            start_us: 0,
            end_us: i64::MAX,
            kinds: vec!["purchase".into(), "grown".into()],
            multiplier: Ratio { numerator: 2, denominator: one.denominator },
            group: "g".into(),
            on_exhausted: OnExhausted::Clip,
            cap: None,
            asset: Later::default(),
        }],
        more: Later::new(ProgramMore {
            assets: vec![
                asset("points", AssetKind::Spendable, rules),
                asset("growth", AssetKind::Qualifying, OWED),
                asset("stored", AssetKind::StoredValue, Rules { days: None, ..rules }),
                asset("coupon", AssetKind::Entitlement, rules),
            ],
            grace_days: rules.grace_days,
            ..ProgramMore::default()
        }),
    }
}

impl World {
    /// A program whose campaign is funded.
    pub(super) fn new(rules: Rules) -> Self {
        let mut world = Self::empty(&["p"], 10);
        world.put(P, spec(rules));
        world.admin(P, AdminAction::FundCampaign { campaign: "double".into(), points: 1_000_000 });
        world
    }

    /// Does something for a member; the op, and why it was refused.
    pub(super) fn try_for(&mut self, member: &str, action: Action) -> (Op, Option<Reason>) {
        self.try_noted(member, "", action)
    }

    /// The same with a reference.
    pub(super) fn try_noted(&mut self, member: &str, reference: &str, action: Action) -> (Op, Option<Reason>) {
        let (op, refused) = self.ask(P, member, reference, action);
        (op, refused.map(|(reason, _)| reason))
    }

    pub(super) fn post(&mut self, action: Action) -> Op {
        let (op, refused) = self.try_for("ann", action);
        assert_eq!(refused, None);
        self.settle();
        op
    }

    pub(super) fn refused(&mut self, action: Action) -> Reason {
        self.try_for("ann", action).1.unwrap()
    }

    pub(super) fn ann(&self) -> Holding {
        self.holding(MemberNo(0))
    }

    /// What an event moved on the accounts that are not the member's lots, and on the lots in all: issuance, budget,
    /// redemption, cash, breakage, debt, pending, lots.
    pub(super) fn moved(&self, op: Op, asset: AssetNo) -> [i64; 8] {
        let mut sums = [0; 8];
        for leg in self.event(op).legs().iter().filter(|leg| leg.asset == asset) {
            let place = match leg.account {
                Account::Issuance { .. } => 0,
                Account::Campaign { .. } => 1,
                Account::Redemption { .. } | Account::Adjustment { .. } | Account::Opening { .. } => 2,
                Account::Cash { .. } => 3,
                Account::Breakage { .. } => 4,
                Account::Debt => 5,
                Account::Pending { .. } => 6,
                Account::Available { .. } | Account::Free { .. } | Account::Held { .. } => 7,
                Account::Conversion { .. } | Account::Stock { .. } | Account::Reserved { .. } => 2,
            };
            sums[place] += leg.amount;
        }
        sums
    }

    pub(super) fn more(&self, op: Op) -> RefundMore {
        let Event::Refunded(refund) = self.event(op) else { panic!("no refund") };
        refund.more.as_deref().cloned().unwrap_or_default()
    }

    pub(super) fn lots(&self, asset: AssetNo) -> Vec<(LotId, u64)> {
        let holding = self.ann();
        let lots = holding.lots.iter().filter(|lot| lot.key.asset == asset && lot.units() > 0);
        lots.map(|lot| (lot.key.lot, lot.units())).collect()
    }
}

pub(super) fn earn(kind: &str, amount: u64) -> Action {
    Action::Earn { basis: Basis::Spend(amount), event_kind: Some(kind.into()), asset: POINTS, matures: None }
}

pub(super) fn pending(kind: &str, amount: u64, matures: Matures) -> Action {
    let (basis, event_kind) = (Basis::Spend(amount), Some(kind.into()));
    Action::Earn { basis, event_kind, asset: POINTS, matures: Some(matures) }
}

pub(super) fn refund(op: Op, amount: u64) -> Action {
    Action::Refund { original: Original::Op(op), basis: Basis::Spend(amount), event_kind: None }
}

pub(super) fn redeem(asset: AssetNo, points: u64, purpose: Purpose) -> Action {
    Action::Redeem { asset, points, purpose }
}

pub(super) fn reverse(op: Op, units: Option<u64>) -> Action {
    Action::Reverse { original: Original::Op(op), units }
}

pub(super) fn adjust(points: i64) -> Action {
    Action::Adjust { asset: POINTS, points, actor: "ana".into(), reason: "test".into() }
}

fn spent(world: &mut World, points: u64) -> Op {
    world.post(redeem(POINTS, points, Purpose::Gift))
}

/// Two lots that lapse one after the other and one that does not, and a hundred spent.
fn example_6(grace_days: u32) -> (World, Op) {
    let mut world = World::new(Rules { days: Some(10), grace_days, ..OWED });
    world.post(earn("plain", 5_000));
    world.now_us += 5 * DAY_US;
    world.post(adjust(80));
    let never = Action::Opening {
        asset: POINTS,
        points: 30,
        lapses_us: Some(BEGAN_US + 1_000 * DAY_US),
        actor: "ana".into(),
        reason: "test".into(),
    };
    world.post(never);
    let op = spent(&mut world, 100);
    world.now_us = BEGAN_US + 12 * DAY_US;
    (world, op)
}
