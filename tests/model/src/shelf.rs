//! The events as bytes, and what they tell of names, links and balances, checked as each is put on the shelf: legs sum to
//! zero, links lead where they should, lots hold what is available and held, and the balances told are those of the legs.

use std::collections::BTreeMap;

use stampbook::ledger::Moment;
use stampbook::ledger::event::{Account, AssetBalances, Due, DueKind, Event, Leg, LotId, Side};
use stampbook::ledger::ids::{AssetNo, CampaignNo, MemberNo, MemberRef, Op, ProgramNo, RewardNo, TagNo};

use super::said::{lot_name, prefix};

/// The events of a book.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
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
    /// The ids of rewards and the names of tags, by their numbers.
    skus: BTreeMap<(ProgramNo, RewardNo), String>,
    tags: BTreeMap<(ProgramNo, TagNo), String>,
    /// Pieces of rewards, those that are left and those that are reserved, by account.
    pieces: BTreeMap<(ProgramNo, String), i128>,
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
    pub fn program_id(&self, number: usize) -> &str {
        &self.program_ids[number]
    }

    pub fn campaign_id(&self, program: ProgramNo, number: CampaignNo) -> String {
        self.campaign_ids[&(program, number)].clone()
    }

    pub fn member_id(&self, number: MemberNo) -> &str {
        &self.member_ids[&number].1
    }

    pub(super) fn sku(&self, program: ProgramNo, number: RewardNo) -> &str {
        &self.skus[&(program, number)]
    }

    pub(super) fn tag(&self, program: ProgramNo, number: TagNo) -> &str {
        &self.tags[&(program, number)]
    }

    /// Keeps names, links and balances, and checks them.
    pub fn learn(&mut self, op: Op, event: &Event<'_>) {
        if let Event::ProgramPut(put) = event {
            if usize::from(put.common.program.0) == self.program_ids.len() {
                self.program_ids.push(put.common.program_id.unwrap().to_owned());
            }
            for (number, campaign) in put.campaigns.iter().zip(&put.spec.campaigns) {
                self.campaign_ids.insert((put.common.program, *number), campaign.id.clone());
            }
        }
        if let Event::RewardPut(put) = event {
            let known = self.skus.entry((put.common.program, put.reward)).or_insert(put.sku.to_owned());
            assert_eq!(known, put.sku, "a reward keeps its id");
        }
        if let Event::MemberSet(set) = event {
            for put in &set.added {
                if let Some(name) = put.name {
                    let before = self.tags.insert((set.common.program, put.tag), name.to_owned());
                    assert_eq!(before, None, "a tag's name is told once");
                }
            }
        }
        self.learn_member(op, event);
        self.learn_accounts(op, event);
        self.learn_take_back(op, event);
        self.learn_balances(op, event);
    }

    fn learn_member(&mut self, op: Op, event: &Event<'_>) {
        let own = event.common().map(|common| (common.program, common.member));
        let other = event.other().map(|other| (other.program, other.member));
        for (program, member) in own.into_iter().chain(other) {
            if let MemberRef::Opened(number, id) = member {
                let before = self.member_ids.insert(number, (program, id.to_owned()));
                assert!(before.is_none(), "{id} was opened twice");
            }
        }
        for (number, link) in event.members() {
            let before = self.member_heads.insert(number, op);
            assert_eq!(op.back(link), before, "op {} links to the member's previous event", op.0);
        }
        if event.member().is_none() {
            assert_eq!(event.member_link().unwrap_or(0), 0);
        }
    }

    fn learn_accounts(&mut self, op: Op, event: &Event<'_>) {
        let mut links: BTreeMap<(ProgramNo, String), u64> = BTreeMap::new();
        for Side { program, legs, .. } in event.sides() {
            for leg in legs {
                let Some(link) = link_of(&leg.account) else { continue };
                let name = self.account_name(op, program, "", &leg.account);
                // A campaign's events are one chain, whatever it gives.
                let campaign = matches!(leg.account, Account::Campaign { .. });
                let name = if campaign { name } else { format!("{}{name}", prefix(leg.asset.0)) };
                links.insert((program, name), link);
            }
        }
        if let Event::CampaignChanged(changed) = event {
            let program = changed.common.program;
            let name = format!("campaign/{}", self.campaign_id(program, changed.campaign));
            links.insert((program, name), changed.campaign_link);
        }
        if let Event::RewardPut(put) = event {
            let name = format!("{}reward/{}", prefix(AssetNo::PIECES.0), put.sku);
            links.insert((put.common.program, name), put.reward_link);
        }
        for ((program, account), link) in links {
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
        let mut sums: BTreeMap<(ProgramNo, u8), i128> = BTreeMap::new();
        for Side { program, member, legs, .. } in event.sides() {
            for leg in legs {
                *sums.entry((program, leg.asset.0)).or_default() += i128::from(leg.amount);
                match leg.account {
                    Account::Stock { .. } | Account::Reserved { .. } => self.move_pieces(op, program, leg),
                    _ => self.move_units(member, leg),
                }
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
        if let Some(other) = event.other()
            && let Some(member) = other.member.number()
        {
            self.check_member(op, member);
            self.check_balances(op, member, &other.after);
        }
        self.learn_untils(op, event);
    }

    fn move_units(&mut self, member: Option<MemberNo>, leg: &Leg) {
        let (asset, amount) = (leg.asset.0, i128::from(leg.amount));
        let Some(member) = member else { return };
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

    /// Pieces of a reward are never fewer than none, left or reserved.
    fn move_pieces(&mut self, op: Op, program: ProgramNo, leg: &Leg) {
        assert_eq!(leg.asset, AssetNo::PIECES, "op {}: pieces are counted as such", op.0);
        let name = self.account_name(op, program, "", &leg.account);
        let pieces = self.pieces.entry((program, name.clone())).or_default();
        *pieces += i128::from(leg.amount);
        assert!(*pieces >= 0, "op {}: {name} is oversold", op.0);
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
        self.check_balances(op, member, &told);
    }

    fn check_balances(&self, op: Op, member: MemberNo, told: &[AssetBalances]) {
        assert!(told.is_sorted_by_key(|balances| balances.asset), "op {} tells assets in order", op.0);
        for told in told {
            let balances = [told.available, told.held, told.pending, told.debt].map(i128::from);
            let known = self.balances.get(&(member, told.asset.0)).copied().unwrap_or_default();
            assert_eq!(balances, known, "op {} tells asset {} after it", op.0, told.asset.0);
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
            Event::Converted(e) => e.rolls.map(|until| (e.asset, until)).into_iter().collect(),
            _ => Vec::new(),
        };
        if let Some(other) = event.other() {
            for (asset, until) in &other.rolls {
                let key = (other.member.number().unwrap(), asset.0);
                self.untils.entry(key).or_default().push((op, (*until).into()));
            }
        }
        for (asset, until) in rolls {
            self.untils.entry((member, asset.0)).or_default().push((op, until.into()));
        }
    }

    /// Until when the member's rolling units live after the event at an op.
    pub fn untils_at(&self, op: Op, member: MemberNo) -> BTreeMap<u8, i128> {
        let told = self.untils.range((member, 0)..=(member, u8::MAX));
        let newest = |told: &[(Op, i128)]| told.iter().rev().find(|(at, _)| *at <= op).map(|(_, until)| *until);
        told.filter_map(|((_, asset), told)| Some((*asset, newest(told)?))).collect()
    }

    pub fn account_name(&self, op: Op, program: ProgramNo, member: &str, account: &Account) -> String {
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
            Account::Conversion { program: with, .. } => format!("conversion/{}", self.program_id(usize::from(with.0))),
            Account::Stock { reward, .. } => format!("reward/{}", self.sku(program, *reward)),
            Account::Reserved { reward, .. } => format!("reward/{}/reserved", self.sku(program, *reward)),
        }
    }
}

/// The link of an account of the program.
fn link_of(account: &Account) -> Option<u64> {
    match account {
        Account::Issuance { link }
        | Account::Campaign { link, .. }
        | Account::Redemption { link, .. }
        | Account::Adjustment { link }
        | Account::Opening { link }
        | Account::Breakage { link }
        | Account::Cash { link }
        | Account::Conversion { link, .. }
        | Account::Stock { link, .. }
        | Account::Reserved { link, .. } => Some(*link),
        Account::Available { .. } | Account::Free { .. } | Account::Held { .. } => None,
        Account::Debt | Account::Pending { .. } => None,
    }
}
