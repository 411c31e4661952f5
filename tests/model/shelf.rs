//! The events as bytes, and what they tell of names, links and balances, checked as each is put on the shelf: legs sum to
//! zero, links lead where they should, lots hold what is available and held, and the balances told are those of the legs.

use std::collections::BTreeMap;

use stampbook::ledger::Moment;
use stampbook::ledger::event::{Account, AssetBalances, Common, Due, DueKind, Event, Leg, LotId};
use stampbook::ledger::ids::{CampaignNo, MemberNo, MemberRef, Op, ProgramNo};

use super::said::{lot_name, prefix};

/// The events of a book.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    pub events: Vec<(Moment, Vec<u8>)>,
    program_ids: Vec<String>,
    campaign_ids: BTreeMap<(ProgramNo, CampaignNo), String>,
    member_ids: BTreeMap<MemberNo, (ProgramNo, String)>,
    member_heads: BTreeMap<MemberNo, Op>,
    account_heads: BTreeMap<(ProgramNo, String), Op>,
    latest_take_backs: BTreeMap<Op, Op>,
    /// Available, held, pending and owed units.
    balances: BTreeMap<(MemberNo, u8), [i128; 4]>,
    lots: BTreeMap<(MemberNo, u8, LotId), Contents>,
    /// Until when rolling units live, as events told it: with the op that did.
    untils: BTreeMap<(MemberNo, u8), Vec<(Op, i128)>>,
}

/// What lies in a lot: as the positions count it, and as the accounts do.
#[derive(Clone, Copy, Debug, Default)]
struct Contents {
    units: i128,
    available: i128,
    held: i128,
}

impl Shelf {
    pub(crate) fn program_id(&self, number: usize) -> &str {
        &self.program_ids[number]
    }

    pub(crate) fn campaign_id(&self, program: ProgramNo, number: CampaignNo) -> String {
        self.campaign_ids[&(program, number)].clone()
    }

    pub(crate) fn member_id(&self, number: MemberNo) -> &str {
        &self.member_ids[&number].1
    }

    /// Keeps names, links and balances, and checks them.
    pub(crate) fn learn(&mut self, op: Op, event: &Event<'_>) {
        if let Event::ProgramPut(put) = event {
            if usize::from(put.common.program.0) == self.program_ids.len() {
                self.program_ids.push(put.common.program_id.unwrap().to_owned());
            }
            for (number, campaign) in put.campaigns.iter().zip(&put.spec.campaigns) {
                self.campaign_ids.insert((put.common.program, *number), campaign.id.clone());
            }
        }
        self.learn_member(op, event);
        self.learn_accounts(op, event);
        self.learn_take_back(op, event);
        self.learn_balances(op, event);
    }

    fn learn_member(&mut self, op: Op, event: &Event<'_>) {
        if let Some(Common { program, member: MemberRef::Opened(number, id), .. }) = event.common() {
            let before = self.member_ids.insert(*number, (*program, (*id).to_owned()));
            assert!(before.is_none(), "{id} was opened twice");
        }
        let Some(link) = event.member_link() else { return };
        if let Some(number) = event.member() {
            let before = self.member_heads.insert(number, op);
            assert_eq!(op.back(link), before, "op {} links to the member's previous event", op.0);
        } else {
            assert_eq!(link, 0);
        }
    }

    fn learn_accounts(&mut self, op: Op, event: &Event<'_>) {
        let program = event.identity().0;
        let mut links: BTreeMap<String, u64> = BTreeMap::new();
        for leg in event.legs() {
            if let Account::Issuance { link }
            | Account::Campaign { link, .. }
            | Account::Redemption { link, .. }
            | Account::Adjustment { link }
            | Account::Opening { link }
            | Account::Breakage { link }
            | Account::Cash { link } = leg.account
            {
                let name = self.account_name(op, program, "", &leg.account);
                // A campaign's events are one chain, whatever it gives.
                let campaign = matches!(leg.account, Account::Campaign { .. });
                let name = if campaign { name } else { format!("{}{name}", prefix(leg.asset.0)) };
                links.insert(name, link);
            }
        }
        if let Event::CampaignChanged(changed) = event {
            links.insert(format!("campaign/{}", self.campaign_id(program, changed.campaign)), changed.campaign_link);
        }
        for (account, link) in links {
            let before = self.account_heads.insert((program, account.clone()), op);
            assert_eq!(op.back(link), before, "op {} links to the previous event of {account}", op.0);
        }
    }

    fn learn_take_back(&mut self, op: Op, event: &Event<'_>) {
        let links = match event {
            Event::Refunded(refunded) => refunded.from.as_ref().map(|from| (from.original_link, from.previous_link)),
            Event::Reversed(reversed) => Some((reversed.original_link, reversed.previous_link)),
            _ => None,
        };
        if let Some((original, previous)) = links {
            let before = self.latest_take_backs.insert(op.back(original).unwrap(), op);
            assert_eq!(op.back(previous), before, "op {} links to the take-back before it", op.0);
        }
    }

    fn learn_balances(&mut self, op: Op, event: &Event<'_>) {
        let mut sums: BTreeMap<u8, i128> = BTreeMap::new();
        for leg in event.legs() {
            let (asset, amount) = (leg.asset.0, i128::from(leg.amount));
            *sums.entry(asset).or_default() += amount;
            let Some(member) = event.member() else { continue };
            let balances = self.balances.entry((member, asset)).or_default();
            let mut of_lot = |lot: LotId, [units, available, held]: [i128; 3]| {
                balances[0] += available;
                balances[1] += held;
                let contents = self.lots.entry((member, asset, lot)).or_default();
                contents.units += units;
                contents.available += available;
                contents.held += held;
            };
            match leg.account {
                Account::Available { lot, .. } => of_lot(lot, [amount, amount, 0]),
                Account::Free { lot } => of_lot(lot, [0, amount, 0]),
                Account::Held { lot, position: Some(_) } => of_lot(lot, [amount, 0, amount]),
                Account::Held { lot, position: None } => of_lot(lot, [0, 0, amount]),
                Account::Pending { .. } => balances[2] += amount,
                Account::Debt => balances[3] -= amount,
                _ => {}
            }
        }
        if let Event::Due(Due { member, kind: DueKind::LotsMerged, legs, .. }) = event {
            self.holds_follow(*member, legs);
        }
        assert!(sums.values().all(|sum| *sum == 0), "op {}: the legs of each asset sum to zero", op.0);
        if let Some(member) = event.member() {
            self.check_member(op, member);
            self.check_told(op, event, member);
        }
        self.learn_untils(op, event);
    }

    /// What is pinned of a lot that was merged into another is pinned there, without a leg.
    fn holds_follow(&mut self, member: MemberNo, legs: &[Leg]) {
        let lot = |gone: bool| {
            let leg = legs.iter().find(|leg| (leg.amount < 0) == gone).unwrap();
            let Account::Available { lot, .. } = leg.account else { panic!("{leg:?} of a merge") };
            (member, leg.asset.0, lot)
        };
        let from = self.lots.get_mut(&lot(true)).unwrap();
        let held = std::mem::take(&mut from.held);
        from.available += held;
        let to = self.lots.entry(lot(false)).or_default();
        to.held += held;
        to.available -= held;
    }

    /// Lots hold what is available and held, and no balance is below zero.
    fn check_member(&self, op: Op, member: MemberNo) {
        let first =
            LotId { source: stampbook::ledger::event::Source::Base, expiry: stampbook::ledger::event::Expiry::Never };
        for ((of, asset, lot), contents) in self.lots.range((member, 0, first)..) {
            if *of != member {
                break;
            }
            let Contents { units, available, held } = *contents;
            assert_eq!(units, available + held, "op {}: asset {asset} {}", op.0, lot_name("", *lot));
            assert!(available >= 0 && held >= 0, "op {}: asset {asset} {}", op.0, lot_name("", *lot));
        }
        for (_, balances) in self.balances.range((member, 0)..=(member, u8::MAX)) {
            assert!(balances.iter().all(|balance| *balance >= 0), "op {}: {balances:?}", op.0);
        }
    }

    /// The balances that an event tells are those that its legs, and all before them, come to.
    fn check_told(&self, op: Op, event: &Event<'_>, member: MemberNo) {
        let of = |asset: u8| self.balances.get(&(member, asset)).copied().unwrap_or_default();
        let mut told: Vec<AssetBalances> = Vec::new();
        if let Some(common) = event.common() {
            let after = (i128::from(common.after.available), i128::from(common.after.debt));
            assert_eq!(after, (of(0)[0], of(0)[3]), "op {} tells the points after it", op.0);
            told.extend(common.others.as_deref().into_iter().flatten());
        }
        if let Event::Due(due) = event {
            told.extend(due.after.iter());
        }
        assert!(told.is_sorted_by_key(|balances| balances.asset), "op {} tells assets in order", op.0);
        for told in told {
            let balances = [told.available, told.held, told.pending, told.debt].map(i128::from);
            assert_eq!(balances, of(told.asset.0), "op {} tells asset {} after it", op.0, told.asset.0);
        }
    }

    fn learn_untils(&mut self, op: Op, event: &Event<'_>) {
        let Some(member) = event.member() else { return };
        let of_asset = |more: Option<&stampbook::ledger::event::AssetMore>| {
            more.and_then(|more| more.rolls.map(|until| (more.asset, until))).into_iter().collect::<Vec<_>>()
        };
        let rolls = match event {
            Event::Earned(e) => e.more.as_deref().map(|more| more.rolls.clone()).unwrap_or_default(),
            Event::Granted(e) => e.rolls.map(|until| (e.asset, until)).into_iter().collect(),
            Event::Captured(e) => e.rolls.map(|until| (e.asset, until)).into_iter().collect(),
            Event::Redeemed(e) => of_asset(e.more.as_deref()),
            Event::Adjusted(e) => of_asset(e.more.as_deref()),
            Event::Opened(e) => of_asset(e.more.as_deref()),
            _ => Vec::new(),
        };
        for (asset, until) in rolls {
            self.untils.entry((member, asset.0)).or_default().push((op, until.into()));
        }
    }

    /// Until when the member's rolling units live after the event at an op.
    pub(crate) fn untils_at(&self, op: Op, event: &Event<'_>) -> BTreeMap<u8, i128> {
        let Some(member) = event.member() else { return BTreeMap::new() };
        let told = self.untils.range((member, 0)..=(member, u8::MAX));
        let newest = |told: &[(Op, i128)]| told.iter().rev().find(|(at, _)| *at <= op).map(|(_, until)| *until);
        told.filter_map(|((_, asset), told)| Some((*asset, newest(told)?))).collect()
    }

    pub(crate) fn account_name(&self, op: Op, program: ProgramNo, member: &str, account: &Account) -> String {
        match account {
            Account::Available { lot, .. } | Account::Free { lot } => lot_name(member, *lot),
            Account::Held { lot, .. } => format!("{}/held", lot_name(member, *lot)),
            Account::Pending { earn_link, lot } => {
                format!("{}/pending/{}", lot_name(member, *lot), op.0 - earn_link)
            }
            Account::Debt => format!("member/{member}/debt"),
            Account::Issuance { .. } => "issuance".to_owned(),
            Account::Campaign { campaign, .. } => format!("campaign/{}", self.campaign_id(program, *campaign)),
            Account::Redemption { purpose, .. } => format!("redemption/{}", purpose.name()),
            Account::Adjustment { .. } => "adjustment".to_owned(),
            Account::Opening { .. } => "opening".to_owned(),
            Account::Breakage { .. } => "breakage".to_owned(),
            Account::Cash { .. } => "cash".to_owned(),
            Account::Conversion { program, .. } => format!("conversion/{}", program.0),
            Account::Stock { reward, .. } => format!("reward/{}", reward.0),
            Account::Reserved { reward, .. } => format!("reward/{}/reserved", reward.0),
        }
    }
}
