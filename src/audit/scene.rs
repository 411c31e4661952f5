//! A life of points on paper: one event of every kind, in an order in which they could happen.

use super::paper::{
    ANN, BOB, CID, COUPON, DOUBLE, GROW, GROWTH, LATE_MIN, POINTS, PaperBook, SOON_MIN, WALLET, available, breakage,
    issuance, leg, legs_of, lot,
};
use crate::ledger::event::{
    Account, Activated, Adjusted, AdminCommon, AlsoTaken, AssetMore, Basis, CampaignChange, CampaignChanged, Captured,
    CommandKind, Common, Converted, DueKind, EarnMore, Earned, Event, Expiry, Granted, Held, Leg, Legs, LotId, Matures,
    Opened, Purpose, Redeemed, RefundMore, Refunded, Rejected, Released, Reversed, Source, Standing, StandingChanged,
    TakenFrom, TakenShare, Text, Transferred,
};
use crate::ledger::ids::{AssetNo, CampaignNo, MemberRef, ProgramNo, VersionNo};
use crate::ledger::later::Later;
use crate::ledger::list::List;
use crate::ledger::reason::Reason;

/// When a hold ends, and when an earn matures, in microseconds since the Unix epoch.
pub(crate) const UNTIL_US: i64 = 1_768_000_000_000_000;

const SOON: LotId = LotId { source: Source::Base, expiry: Expiry::At(SOON_MIN) };
const LATE: LotId = LotId { source: Source::Base, expiry: Expiry::At(LATE_MIN) };
const NEVER: LotId = LotId { source: Source::Base, expiry: Expiry::Never };
const ROLLING: LotId = LotId { source: Source::Base, expiry: Expiry::Rolling };

fn text(text: &str) -> Text<'_> {
    Text { scheme: 0, text }
}

fn earned(basis: Basis, more: EarnMore) -> impl FnOnce(Common<'_>, Legs) -> Event<'_> {
    move |common, legs| {
        let (version, shares) = (VersionNo(1), List::default());
        let event_kind = Some("purchase");
        Event::Earned(Earned { common, basis, event_kind, version, base: 0, shares, legs, more: Later::new(more) })
    }
}

fn redeemed(points: u64, purpose: Purpose, more: AssetMore) -> impl FnOnce(Common<'_>, Legs) -> Event<'_> {
    move |common, legs| Event::Redeemed(Redeemed { common, points, purpose, legs, more: Later::new(more) })
}

fn granted(asset: AssetNo, topped_up: bool, units: u64, bonus: u64) -> impl FnOnce(Common<'_>, Legs) -> Event<'_> {
    move |common, legs| Event::Granted(Granted { common, asset, topped_up, units, bonus, lapsed: 0, rolls: None, legs })
}

fn spent(purpose: Purpose) -> Account {
    Account::Redemption { purpose, link: 0 }
}

fn pending(asset: AssetNo, earn_link: u64, amount: i64) -> Leg {
    leg(asset, Account::Pending { earn_link, lot: LATE }, amount)
}

fn held(lot: LotId, position: Option<u64>, amount: i64) -> Leg {
    leg(POINTS, Account::Held { lot, position }, amount)
}

fn free(lot: LotId, amount: i64) -> Leg {
    leg(POINTS, Account::Free { lot }, amount)
}

fn budget(campaign: CampaignNo, asset: AssetNo, amount: i64) -> Leg {
    leg(asset, Account::Campaign { campaign, link: 0 }, amount)
}

impl PaperBook {
    /// A book of all of it: ops 1 and 2 are the programs, 3 and 4 fund the campaigns.
    pub(crate) fn lived() -> Self {
        let mut paper = Self::begin();
        paper.fund(DOUBLE, POINTS, 500);
        paper.fund(GROW, GROWTH, 300);
        paper.earns();
        paper.holds();
        paper.things();
        paper.falls_due();
        paper.takes_back();
        paper.refusals();
        paper.gives();
        paper.end();
        paper
    }

    /// The same, after which ann has units pinned in two lots, and bob has pending ones.
    pub(crate) fn pinned() -> Self {
        let mut paper = Self::lived();
        let bonus = lot(Source::Campaign, Expiry::At(SOON_MIN));
        let legs = [free(bonus, -10), held(bonus, None, 10), free(LATE, -5), held(LATE, None, 5)];
        paper.post(ANN, &legs, |common, legs| {
            let (purpose, until_us) = (Purpose::Gift, UNTIL_US);
            Event::Held(Held { common, asset: POINTS, units: 15, purpose, until_us, claimed: None, legs })
        });
        let legs = [issuance(POINTS, -40), pending(POINTS, 0, 40), issuance(GROWTH, -4), pending(GROWTH, 0, 4)];
        let more = EarnMore { also: Some((GROWTH, 4)), matures: Some(Matures::At(UNTIL_US)), ..EarnMore::default() };
        paper.post(BOB, &legs, earned(Basis::Spend(400), more));
        let legs = [issuance(GROWTH, -9), pending(GROWTH, 0, 9)];
        let more = EarnMore { asset: GROWTH, matures: Some(Matures::Activated), ..EarnMore::default() };
        paper.post(BOB, &legs, earned(Basis::Points(9), more));
        paper.end();
        paper
    }

    fn fund(&mut self, campaign: CampaignNo, asset: AssetNo, amount: i64) {
        let (actor, reason) = (text("ana"), text("spring"));
        let key = format!("fund {}", self.next().0);
        let body_hash = [3; 16];
        let common = AdminCommon { program: ProgramNo(0), program_id: None, key: &key, body_hash, actor, reason };
        let legs = legs_of(&[issuance(asset, -amount), budget(campaign, asset, amount)]);
        let (change, budget_after) = (CampaignChange::Funded, amount);
        self.write(&Event::CampaignChanged(CampaignChanged {
            common,
            campaign,
            change,
            budget_after,
            campaign_link: 0,
            legs,
        }));
    }

    /// Ops 5 to 10.
    fn earns(&mut self) {
        let bonus = lot(Source::Campaign, Expiry::At(SOON_MIN));
        let legs = [
            issuance(POINTS, -100),
            budget(DOUBLE, POINTS, -50),
            available(POINTS, SOON, 0, 100),
            available(POINTS, bonus, 0, 50),
            issuance(GROWTH, -30),
            budget(GROW, GROWTH, -15),
            available(GROWTH, NEVER, 0, 30),
            available(GROWTH, lot(Source::Campaign, Expiry::Never), 0, 15),
        ];
        let more = EarnMore { also: Some((GROWTH, 30)), ..EarnMore::default() };
        self.post(ANN, &legs, earned(Basis::Spend(1_000), more));
        let legs = [issuance(POINTS, -40), pending(POINTS, 0, 40), issuance(GROWTH, -4), pending(GROWTH, 0, 4)];
        let more = EarnMore { also: Some((GROWTH, 4)), matures: Some(Matures::At(UNTIL_US)), ..EarnMore::default() };
        self.post(BOB, &legs, earned(Basis::Spend(400), more));
        let legs = [issuance(GROWTH, -9), pending(GROWTH, 0, 9)];
        let more = EarnMore { asset: GROWTH, matures: Some(Matures::Activated), ..EarnMore::default() };
        self.post(BOB, &legs, earned(Basis::Points(9), more));
        let legs = [issuance(POINTS, -70), breakage(POINTS, 20), available(POINTS, LATE, 0, 50)];
        let more = EarnMore { lapsed: vec![(POINTS, 20)], ..EarnMore::default() };
        self.post(ANN, &legs, earned(Basis::Points(70), more));
        let legs = [issuance(POINTS, -5), available(POINTS, ROLLING, 0, 5)];
        let more = EarnMore { rolls: vec![(POINTS, LATE_MIN)], ..EarnMore::default() };
        self.post(BOB, &legs, earned(Basis::Points(5), more));
        self.post(
            CID,
            &[leg(POINTS, Account::Opening { link: 0 }, 20), leg(POINTS, Account::Debt, -20)],
            |common, legs| {
                let (actor, reason, more) = (text("ana"), text("moved in"), Later::default());
                Event::Opened(Opened { common, points: -20, actor, reason, legs, more })
            },
        );
    }

    /// Ops 11 to 15.
    fn holds(&mut self) {
        self.post(ANN, &[free(SOON, -60), held(SOON, None, 60)], |common, legs| {
            let (purpose, until_us) = (Purpose::Gift, UNTIL_US);
            Event::Held(Held { common, asset: POINTS, units: 60, purpose, until_us, claimed: None, legs })
        });
        let gift = leg(POINTS, spent(Purpose::Gift), 25);
        let lapsed = [held(SOON, Some(25), -4), breakage(POINTS, 4)];
        let legs = [&[held(SOON, Some(0), -25), gift, held(SOON, None, -6), free(SOON, 6)], &lapsed[..]].concat();
        self.post(ANN, &legs, |common, legs| {
            let (purpose, released, over, lapsed, ends_link) = (Purpose::Gift, 10, false, 4, 0);
            Event::Captured(Captured {
                common,
                hold_link: 1,
                asset: POINTS,
                units: 25,
                purpose,
                released,
                over,
                lapsed,
                ends_link,
                rolls: None,
                legs,
            })
        });
        self.post(BOB, &[free(ROLLING, -3), held(ROLLING, None, 3)], |common, legs| {
            let (purpose, until_us) = (Purpose::Lottery, UNTIL_US);
            Event::Held(Held { common, asset: POINTS, units: 3, purpose, until_us, claimed: None, legs })
        });
        self.post(BOB, &[held(ROLLING, None, -3), free(ROLLING, 3)], |common, legs| {
            Event::Released(Released { common, hold_link: 1, asset: POINTS, units: 3, lapsed: 0, ends_link: 0, legs })
        });
        self.post(
            BOB,
            &[leg(GROWTH, Account::Adjustment { link: 0 }, 2), leg(GROWTH, Account::Debt, -2)],
            |common, legs| {
                let more = Later::new(AssetMore { asset: GROWTH, ..AssetMore::default() });
                Event::Adjusted(Adjusted { common, points: -2, actor: text("ana"), reason: text("why"), legs, more })
            },
        );
    }

    /// Ops 16 to 20.
    fn things(&mut self) {
        let bonus = lot(Source::Bonus, Expiry::Never);
        let paid = leg(WALLET, Account::Cash { link: 0 }, -1_000);
        let legs = [paid, issuance(WALLET, -100), available(WALLET, NEVER, 0, 1_000), available(WALLET, bonus, 0, 100)];
        self.post(ANN, &legs, granted(WALLET, true, 1_000, 100));
        let more = |asset| AssetMore { asset, ..AssetMore::default() };
        let legs = [available(WALLET, NEVER, 0, -300), leg(WALLET, spent(Purpose::Payment), 300)];
        self.post(ANN, &legs, redeemed(300, Purpose::Payment, more(WALLET)));
        self.post(BOB, &[issuance(COUPON, -2), available(COUPON, LATE, 0, 2)], granted(COUPON, false, 2, 0));
        let legs = [available(COUPON, LATE, 0, -2), leg(COUPON, spent(Purpose::Use), 2)];
        self.post(BOB, &legs, redeemed(2, Purpose::Use, more(COUPON)));
        let legs = [available(POINTS, SOON, 29, -20), leg(POINTS, spent(Purpose::CashOffset), 20)];
        let offset = AssetMore { asked: 27, minor: 200, ..AssetMore::default() };
        self.post(ANN, &legs, redeemed(20, Purpose::CashOffset, offset));
    }

    /// Ops 21 to 26.
    fn falls_due(&mut self) {
        let ended = DueKind::HoldEnded { hold_link: 10, ended_us: UNTIL_US };
        self.due(ANN, ended, &[held(SOON, None, -25), free(SOON, 25)]);
        let matured = DueKind::Matured { earn_link: 16, matured_us: UNTIL_US };
        let legs = [
            pending(POINTS, 16, -40),
            available(POINTS, LATE, 0, 40),
            pending(GROWTH, 16, -4),
            leg(GROWTH, Account::Debt, 2),
            available(GROWTH, LATE, 0, 2),
        ];
        self.due(BOB, matured, &legs);
        self.due(ANN, DueKind::LotsMerged, &[available(POINTS, SOON, 49, -30), available(POINTS, LATE, 50, 30)]);
        let expired = DueKind::Expired { lapsed_min: SOON_MIN };
        self.due(ANN, expired, &[available(POINTS, SOON, 79, -21), breakage(POINTS, 21)]);
        let legs = [pending(GROWTH, 18, -9), breakage(GROWTH, 4), available(GROWTH, NEVER, 0, 5)];
        self.post(BOB, &legs, |common, legs| {
            let lapsed = vec![(GROWTH, 4)];
            Event::Activated(Activated { common, earn_link: 18, ends_link: 0, lapsed, legs })
        });
        self.due(
            BOB,
            DueKind::Expired { lapsed_min: LATE_MIN },
            &[available(GROWTH, LATE, 0, -2), breakage(GROWTH, 2)],
        );
    }

    /// Ops 27 to 30.
    fn takes_back(&mut self) {
        let legs = [leg(POINTS, spent(Purpose::Gift), -10), available(POINTS, LATE, 80, 6), breakage(POINTS, 4)];
        self.post(ANN, &legs, |common, legs| {
            let (of, units, units_total, lapsed, not_taken) = (25, 10, 10, 4, 0);
            let (original_link, previous_link, asset) = (15, 0, POINTS);
            Event::Reversed(Reversed {
                common,
                original_link,
                previous_link,
                asset,
                of,
                units,
                units_total,
                lapsed,
                lapsed_total: 0,
                not_taken,
                legs,
            })
        });
        let legs = [
            issuance(POINTS, 50),
            budget(DOUBLE, POINTS, 20),
            breakage(POINTS, -10),
            available(POINTS, LATE, 0, -40),
            leg(POINTS, Account::Debt, -20),
            issuance(GROWTH, 15),
            available(GROWTH, NEVER, 0, -15),
        ];
        self.post(ANN, &legs, refunded);
        let legs = [leg(WALLET, Account::Cash { link: 0 }, 500), available(WALLET, NEVER, 300, -500)];
        self.post(ANN, &legs, |common, legs| {
            let (of, units, units_total, lapsed, not_taken) = (1_000, 600, 600, 0, 100);
            let (original_link, previous_link, asset) = (13, 0, WALLET);
            Event::Reversed(Reversed {
                common,
                original_link,
                previous_link,
                asset,
                of,
                units,
                units_total,
                lapsed,
                lapsed_total: 0,
                not_taken,
                legs,
            })
        });
        let legs = [leg(WALLET, Account::Adjustment { link: 0 }, 200), available(WALLET, NEVER, 800, -200)];
        self.post(ANN, &legs, |common, legs| {
            let more = Later::new(AssetMore { asset: WALLET, ..AssetMore::default() });
            Event::Adjusted(Adjusted { common, points: -200, actor: text("ana"), reason: text("fee"), legs, more })
        });
    }

    /// Ops 31 to 34.
    fn refusals(&mut self) {
        self.post(ANN, &[], |common, _| {
            let (change, actor, reason) = (Standing::Frozen, text("ana"), text("stolen card"));
            Event::StandingChanged(StandingChanged { common, change, actor, reason })
        });
        self.post(ANN, &[], |common, _| {
            let (kind, reason) = (CommandKind::Hold, Reason::MemberFrozen);
            Event::Rejected(Rejected { common, kind, reason, field: "" })
        });
        self.post(CID, &[], |mut common, _| {
            common.member = MemberRef::Unknown("nobody");
            common.member_link = 0;
            common.after = Default::default();
            let (kind, reason) = (CommandKind::Reverse, Reason::MemberUnknown);
            Event::Rejected(Rejected { common, kind, reason, field: "member" })
        });
        self.post(
            BOB,
            &[issuance(POINTS, -1), available(POINTS, ROLLING, 5, 1)],
            earned(Basis::Points(1), EarnMore::default()),
        );
    }

    /// Ops 35 to 38: coupons given to bob and by him to ann, and points turned into those of the other program, and back.
    fn gives(&mut self) {
        let given = lot(Source::Transferred, Expiry::Never);
        self.post(BOB, &[issuance(COUPON, -5), available(COUPON, NEVER, 0, 5)], granted(COUPON, false, 5, 0));
        let legs = [available(COUPON, NEVER, 0, -3)];
        self.post_between((BOB, &legs), (ANN, &[available(COUPON, given, 0, 3)]), |common, legs, other| {
            Event::Transferred(Transferred { common, asset: COUPON, units: 3, other, legs })
        });
        let settled =
            |program, amount| leg(POINTS, Account::Conversion { program: ProgramNo(program), link: 0 }, amount);
        let legs = [available(POINTS, LATE, 0, -20), settled(1, 20)];
        let there =
            [settled(0, -50), leg(POINTS, Account::Debt, 20), available(POINTS, given, 0, 25), breakage(POINTS, 5)];
        self.post_between((BOB, &legs), (CID, &there), |common, legs, other| {
            let (asset, asked, units, to_asset, to_units) = (POINTS, 29, 20, POINTS, 50);
            let (lapsed, rolls) = (5, Some(LATE_MIN));
            Event::Converted(Converted { common, asset, asked, units, to_asset, to_units, lapsed, rolls, other, legs })
        });
        let (legs, back) =
            ([available(POINTS, given, 0, -10), settled(0, 10)], [settled(1, -4), available(POINTS, given, 0, 4)]);
        self.post_between((CID, &legs), (ANN, &back), |common, legs, mut other| {
            other.rolls = vec![(POINTS, LATE_MIN)];
            let (asset, asked, units, to_asset, to_units) = (POINTS, 10, 10, POINTS, 4);
            let (lapsed, rolls) = (0, None);
            Event::Converted(Converted { common, asset, asked, units, to_asset, to_units, lapsed, rolls, other, legs })
        });
    }
}

/// Of the purchase at op 5: its base, its second award and its campaign, not all of which is there.
fn refunded(common: Common<'_>, legs: Legs) -> Event<'_> {
    let mut shares = List::default();
    let (campaign, of, taken, taken_total) = (DOUBLE, 50, 25, 25);
    shares.0.push(TakenShare { campaign, of, taken, taken_total, closed: false, cap: None });
    let (original_link, previous_link, amount, amount_total, base_of, base_total) = (23, 0, 1_000, 500, 100, 50);
    let from = Some(TakenFrom { original_link, previous_link, amount, amount_total, base_of, base_total, shares });
    let also = Some(AlsoTaken { asset: GROWTH, of: 30, taken: 15, taken_total: 15 });
    let (lapsed, not_taken) = (vec![(POINTS, 10, 10)], vec![(2, 5)]);
    let more = Later::new(RefundMore { asset: POINTS, also, lapsed, not_taken });
    let (basis, version) = (Basis::Spend(500), VersionNo(1));
    Event::Refunded(Refunded { common, basis, event_kind: None, version, base: 50, from, legs, more })
}
