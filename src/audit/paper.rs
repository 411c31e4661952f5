//! A book whose members' events were written by hand, one of every kind, over several assets; for the tests of this module. What
//! it comes to is added up leg by leg.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::chart::Class;
use super::export::source::{Accounts, MemberBooks};
use super::export::{ExportError, manifest::Origin};
use super::fixtures::{BEGAN_US, genesis};
use super::paper_lots::OnPaper;
use crate::engine::names::Names;
use crate::io::sim::SimDisk;
use crate::journal::{Book, FrameBuilder, Journal, JournalOptions, Writer};
use crate::ledger::command::{AdminAction, AdminCommand, Standing};
use crate::ledger::event::{
    Account, AssetBalances, Balances, Common, Due, DueKind, Event, Expiry, Leg, Legs, LotId, Other, Side, Source,
};
use crate::ledger::ids::{AssetNo, CampaignNo, MemberNo, MemberRef, Op, ProgramNo};
use crate::ledger::later::Later;
use crate::ledger::list::List;
use crate::ledger::print::Prints;
use crate::ledger::spec::{AssetKind, AssetSpec, ProgramMore};
use crate::ledger::view::{BaseProgram, CampaignView, ProgramTrial, TrialRow};
use crate::ledger::{Ledger, Limits, Moment, codec};

pub(crate) const POINTS: AssetNo = AssetNo::POINTS;
pub(crate) const GROWTH: AssetNo = AssetNo(1);
pub(crate) const WALLET: AssetNo = AssetNo(2);
pub(crate) const COUPON: AssetNo = AssetNo(3);
/// The ids of the assets of the first program; the second has points alone.
pub(crate) const ASSETS: [&str; 4] = ["points", "growth", "wallet", "coupon"];
/// A campaign in points, and one in growth.
pub(crate) const DOUBLE: CampaignNo = CampaignNo(0);
pub(crate) const GROW: CampaignNo = CampaignNo(1);
/// Two dates of lots, in minutes since the Unix epoch.
pub(crate) const SOON_MIN: u32 = 29_500_000;
pub(crate) const LATE_MIN: u32 = 29_600_000;

pub(crate) const MEMBERS: [(&str, ProgramNo); 3] =
    [("ann", ProgramNo(0)), ("bob|, \"b\"", ProgramNo(0)), ("cid", ProgramNo(1))];
pub(crate) const ANN: usize = 0;
pub(crate) const BOB: usize = 1;
pub(crate) const CID: usize = 2;

/// How members stand, by member and asset.
pub(crate) type States = BTreeMap<(usize, AssetNo), AssetBalances>;

pub(crate) struct PaperBook {
    pub(crate) book: Book,
    pub(crate) names: Names,
    /// After every op, from 0 on.
    pub(crate) trials: Vec<Vec<ProgramTrial>>,
    /// After every op, from 0 on.
    pub(crate) states: Vec<States>,
    /// After every op, the newest event of each member.
    pub(crate) heads: Vec<[Op; 3]>,
    programs: Vec<BaseProgram>,
    writer: Writer,
    open: Option<FrameBuilder>,
    now_us: i64,
    /// What every account of a program came to, once something moved on it.
    moved: BTreeMap<(ProgramNo, AssetNo, Class), i64>,
    ledger: Ledger,
}

pub(crate) fn lot(source: Source, expiry: Expiry) -> LotId {
    LotId { source, expiry }
}

/// A leg that moves units into or out of a lot, at a position.
pub(crate) fn available(asset: AssetNo, lot: LotId, position: u64, amount: i64) -> Leg {
    Leg { account: Account::Available { lot, position }, asset, amount }
}

pub(crate) fn leg(asset: AssetNo, account: Account, amount: i64) -> Leg {
    Leg { account, asset, amount }
}

pub(crate) fn issuance(asset: AssetNo, amount: i64) -> Leg {
    leg(asset, Account::Issuance { link: 0 }, amount)
}

pub(crate) fn breakage(asset: AssetNo, amount: i64) -> Leg {
    leg(asset, Account::Breakage { link: 0 }, amount)
}

pub(crate) fn legs_of(legs: &[Leg]) -> Legs {
    let mut list = Legs::default();
    legs.iter().for_each(|leg| assert!(list.push(*leg)));
    list
}

fn put(program: &str, assets: bool) -> AdminAction {
    let text = super::fixtures::definition(program);
    let mut spec = crate::program::parse(&text, "test").unwrap().spec;
    if assets {
        let kinds = [AssetKind::Spendable, AssetKind::Qualifying, AssetKind::StoredValue, AssetKind::Entitlement];
        let asset = |(id, kind): (&str, _)| AssetSpec { id: id.to_owned(), kind, ..AssetSpec::points() };
        let assets = ASSETS.into_iter().zip(kinds).map(asset).collect();
        spec.more = Later::new(ProgramMore { assets, ..ProgramMore::default() });
        spec.campaigns[1].asset = Later::new(GROWTH);
    }
    AdminAction::PutProgram { expected_version: Some(0), spec: Box::new(spec), definition: text }
}

impl PaperBook {
    /// Two programs, at ops 1 and 2.
    pub(crate) fn begin() -> Self {
        let options = JournalOptions::with_segment_bytes(64 * 4096);
        let opened = Journal::open(Arc::new(SimDisk::new(1)), genesis, options, &mut |_| Ok(())).unwrap();
        let ledger = Ledger::new(Limits { members_max: 10, cap_counters_max: 10, lots_bytes_max: usize::MAX });
        let mut paper = Self {
            book: opened.book,
            names: Names::default(),
            trials: vec![Vec::new()],
            states: vec![States::new()],
            heads: vec![[Op(0); 3]],
            programs: Vec::new(),
            writer: opened.writer,
            open: None,
            now_us: BEGAN_US,
            moved: BTreeMap::new(),
            ledger,
        };
        for program in ["shop", "cafe"] {
            let command = AdminCommand {
                program_id: program.to_owned(),
                key: "put".to_owned(),
                key_print: u128::from(paper.next().0) << 64,
                body_hash: [1; 16],
                actor: "ana".to_owned(),
                reason: "to begin with".to_owned(),
                action: put(program, program == "shop"),
            };
            let at = Moment { op: paper.next(), book_time_us: paper.now_us };
            let event = paper.ledger.decide_admin(&command, at);
            paper.ledger.replay(at, &event, &Prints::new([7; 32])).unwrap();
            let number = ProgramNo(u16::try_from(paper.programs.len()).unwrap());
            let campaigns = paper.ledger.campaigns(number).into_iter().map(|campaign| campaign.spec.id).collect();
            paper.programs.push(BaseProgram {
                trial: ProgramTrial { program: program.to_owned(), members: 0, rows: Vec::new() },
                name: program.to_owned(),
                currency: "GBP".to_owned(),
                time_zone: "Europe/London".to_owned(),
                campaigns,
                assets: ASSETS[..if program == "shop" { 4 } else { 1 }].iter().map(|id| (*id).to_owned()).collect(),
                closings: Vec::new(),
                rewards: Vec::new(),
                tags: Vec::new(),
            });
            paper.write(&event);
        }
        paper.names = Names::of(&paper.ledger);
        paper
    }

    /// The op of the next event.
    pub(crate) fn next(&self) -> Op {
        Op(u64::try_from(self.trials.len()).unwrap())
    }

    pub(crate) fn newest(&self) -> Op {
        Op(self.next().0 - 1)
    }

    /// Appends an event, and adds up what it comes to.
    pub(crate) fn write(&mut self, event: &Event<'_>) {
        let op = self.next();
        let mut totals: BTreeMap<(ProgramNo, AssetNo), i64> = BTreeMap::new();
        for Side { program, legs, .. } in event.sides() {
            for leg in legs {
                *totals.entry((program, leg.asset)).or_default() += leg.amount;
                let class = Class::of(&leg.account);
                if !class.is_members() {
                    *self.moved.entry((program, leg.asset, class)).or_default() += leg.amount;
                }
            }
        }
        assert!(totals.values().all(|total| *total == 0), "{event:?}");
        let mut heads = *self.heads.last().unwrap();
        for (member, _) in event.members() {
            heads[usize::try_from(member.0).unwrap()] = op;
        }
        self.heads.push(heads);
        if self.states.len() < self.heads.len() {
            self.states.push(self.states.last().unwrap().clone());
        }
        let trials = (0..self.programs.len()).map(|number| self.trial(number)).collect();
        self.trials.push(trials);
        let mut bytes = Vec::new();
        codec::encode(event, &mut bytes).unwrap();
        assert_eq!(codec::decode(&bytes).unwrap(), *event);
        let frame = self.open.get_or_insert_with(|| FrameBuilder::new(op.0, self.now_us));
        assert_eq!(frame.push(&bytes), Ok(op.0));
        if op.0.is_multiple_of(3) {
            self.close();
        }
    }

    /// Ends the frame.
    pub(crate) fn close(&mut self) {
        if let Some(frame) = self.open.take() {
            self.writer.append(Arc::new(frame.close())).unwrap();
            self.writer.witness().unwrap();
            self.now_us += 3_600_000_000;
        }
    }

    /// Moves the member's balances as the legs say: the balances after them of the assets that they touch.
    fn move_units(&mut self, member: usize, legs: &[Leg]) -> Vec<AssetBalances> {
        let mut states = self.states.last().unwrap().clone();
        for leg in legs {
            let fresh = AssetBalances { asset: leg.asset, ..AssetBalances::default() };
            let state = states.entry((member, leg.asset)).or_insert(fresh);
            match leg.account {
                Account::Available { .. } | Account::Free { .. } => state.available += leg.amount,
                Account::Held { .. } => state.held += leg.amount,
                Account::Pending { .. } => state.pending += leg.amount,
                Account::Debt => state.debt -= leg.amount,
                _ => {}
            }
        }
        let touched: BTreeSet<AssetNo> = legs.iter().map(|leg| leg.asset).collect();
        let after = touched.iter().map(|asset| states[&(member, *asset)]).collect();
        self.states.push(states);
        after
    }

    /// Appends an event of a member's command that puts these legs; `make` makes it of its common part and the legs.
    pub(crate) fn post(&mut self, member: usize, legs: &[Leg], make: impl FnOnce(Common<'_>, Legs) -> Event<'_>) {
        let (op, head) = (self.next(), self.heads.last().unwrap()[member]);
        let mut others = self.move_units(member, legs);
        let points = self.states.last().unwrap().get(&(member, POINTS)).copied().unwrap_or_default();
        others.retain(|told| told.asset != POINTS);
        if points.held != 0 || points.pending != 0 {
            others.insert(0, points);
        }
        let number = MemberNo(u32::try_from(member).unwrap());
        let (id, program) = MEMBERS[member];
        let key = format!("key {}", op.0);
        let common = Common {
            program,
            key: &key,
            body_hash: [2; 16],
            member: if head.0 == 0 { MemberRef::Opened(number, id) } else { MemberRef::Known(number) },
            member_link: op.distance_from(head),
            behind_us: 1_000_000,
            notes: None,
            after: Balances { available: points.available, debt: points.debt },
            others: Later::new(others),
        };
        let event = make(common, legs_of(legs));
        self.write(&event);
    }

    /// Appends an event of one member's command that moves units to another; `make` makes it of its common part, the legs, and the
    /// other side.
    pub(crate) fn post_between(
        &mut self,
        (member, legs): (usize, &[Leg]),
        (to, to_legs): (usize, &[Leg]),
        make: impl for<'e> FnOnce(Common<'e>, Legs, Box<Other<'e>>) -> Event<'e>,
    ) {
        let (op, head) = (self.next(), self.heads.last().unwrap()[to]);
        let after = self.move_units(to, to_legs);
        // Both sides lead to one state.
        let moved = self.states.pop().unwrap();
        let before = std::mem::replace(self.states.last_mut().unwrap(), moved);
        let (number, (id, program)) = (MemberNo(u32::try_from(to).unwrap()), MEMBERS[to]);
        let other = Box::new(Other {
            program,
            member: if head.0 == 0 { MemberRef::Opened(number, id) } else { MemberRef::Known(number) },
            member_link: op.distance_from(head),
            after,
            rolls: Vec::new(),
            legs: legs_of(to_legs),
        });
        self.post(member, legs, |common, legs| make(common, legs, other));
        let place = self.states.len() - 2;
        self.states[place] = before;
    }

    /// Appends what fell due of a member.
    pub(crate) fn due(&mut self, member: usize, kind: DueKind, legs: &[Leg]) {
        let (op, head) = (self.next(), self.heads.last().unwrap()[member]);
        let mut after = List::default();
        self.move_units(member, legs).into_iter().for_each(|told| after.0.push(told));
        let number = MemberNo(u32::try_from(member).unwrap());
        let member_link = op.distance_from(head);
        let (program, legs) = (MEMBERS[member].1, legs_of(legs));
        self.write(&Event::Due(Due { program, member: number, member_link, ends_link: 0, kind, after, legs }));
    }

    /// A program's trial balance, as [`ProgramTrial`] says it: the slow way.
    fn trial(&self, number: usize) -> ProgramTrial {
        let program = &self.programs[number];
        let no = ProgramNo(u16::try_from(number).unwrap());
        let of_program = |member: usize| MEMBERS[member].1 == no;
        let mut rows = Vec::new();
        for (asset, id) in (0..).map(AssetNo).zip(&program.assets) {
            let of_members = |of: fn(&AssetBalances) -> i64| -> i64 {
                let states = self.states.last().unwrap().iter();
                states
                    .filter(|((member, held), _)| of_program(*member) && *held == asset)
                    .map(|(_, told)| of(told))
                    .sum()
            };
            let campaigns = (0..3).map(|campaign| Class::Campaign(CampaignNo(campaign)));
            let redemptions = (0..8).map(Class::Redemption);
            let before = std::iter::once(Class::Issuance).chain(campaigns).chain(redemptions);
            let before = before
                .chain([Class::Adjustment, Class::Opening, Class::Breakage, Class::Cash])
                .chain((0..2).map(|other| Class::Conversion(ProgramNo(other))))
                .map(|class| (class, None));
            let members = [
                (Class::Available, Some(of_members(|told| told.available))),
                (Class::Held, Some(of_members(|told| told.held))),
                (Class::Pending, Some(of_members(|told| told.pending))),
                (Class::Debt, Some(of_members(|told| -told.debt))),
            ];
            for (class, balance) in before.chain(members) {
                let campaign = match class {
                    Class::Campaign(campaign) => program.campaigns.get(usize::from(campaign.0)),
                    _ => None,
                };
                let in_growth = number == 0 && class == Class::Campaign(GROW);
                let always = match class {
                    Class::Issuance | Class::Available | Class::Debt => asset == POINTS,
                    Class::Campaign(_) => campaign.is_some() && asset == if in_growth { GROWTH } else { POINTS },
                    _ => false,
                };
                let balance = balance.filter(|balance| *balance != 0);
                let balance = balance.or_else(|| self.moved.get(&(no, asset, class)).copied()).or(always.then_some(0));
                if let Some(balance) = balance {
                    let account = match class {
                        Class::Conversion(other) => class.name(&self.programs[usize::from(other.0)].trial.program),
                        _ => class.name(campaign.map_or("", String::as_str)),
                    };
                    rows.push(TrialRow { asset: id.clone(), account, balance });
                }
            }
        }
        let opened = self.heads.last().unwrap().iter().enumerate();
        let members = opened.filter(|(member, head)| head.0 > 0 && of_program(*member)).count();
        ProgramTrial { program: program.trial.program.clone(), members: u64::try_from(members).unwrap(), rows }
    }

    /// Ends the book; its accounts are those after the last event.
    pub(crate) fn end(&mut self) {
        self.close();
        for (program, trial) in self.programs.iter_mut().zip(self.trials.last().unwrap()) {
            program.trial = trial.clone();
        }
    }

    /// A member's balances after an op: of points in any case, of others where they are not all zero.
    pub(crate) fn balances(&self, member: usize, op: usize) -> Vec<AssetBalances> {
        let states = self.states[op].iter().filter(|((of, _), _)| *of == member).map(|(_, told)| *told);
        let left = |told: &AssetBalances| (told.available, told.held, told.pending, told.debt) != (0, 0, 0, 0);
        let mut told: Vec<_> = states.filter(|told| told.asset == POINTS || left(told)).collect();
        if told.first().is_none_or(|told| told.asset != POINTS) {
            told.insert(0, AssetBalances::default());
        }
        told
    }

    /// Makes the programs know no asset but points.
    pub(crate) fn forget_assets(&mut self) {
        self.programs.iter_mut().for_each(|program| program.assets.truncate(1));
    }

    pub(crate) fn campaigns(&self, program: ProgramNo) -> Vec<CampaignView> {
        self.ledger.campaigns(program)
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin {
            snapshot: "close".to_owned(),
            book_id: "00".repeat(16),
            incarnation: 0,
            parent: None,
            to_op: self.newest().0,
            to_time_us: self.book.read(self.newest().0).unwrap().book_time_us,
            head_hash: "00".repeat(32),
            state_hash: "00".repeat(32),
        }
    }
}

impl Accounts for PaperBook {
    fn programs(&self) -> &[BaseProgram] {
        &self.programs
    }

    fn pages(&self) -> u32 {
        1
    }

    fn ids(&self, _: u32) -> Result<Vec<String>, ExportError> {
        Ok(MEMBERS.iter().map(|(id, _)| (*id).to_owned()).collect())
    }

    fn members(&self, _: u32) -> Result<Vec<MemberBooks>, ExportError> {
        let newest = usize::try_from(self.newest().0).unwrap();
        let books = |member: usize| {
            let OnPaper { lots, holds, pending } = OnPaper::of(self, member);
            MemberBooks {
                program: MEMBERS[member].1,
                id: MEMBERS[member].0.to_owned(),
                balances: self.balances(member, newest),
                last_op: self.heads[newest][member],
                lots,
                holds,
                pending,
                standing: Standing::Open,
                joined_day: None,
                tags: Vec::new(),
                merged_into: None,
            }
        };
        Ok((0..MEMBERS.len()).map(books).collect())
    }
}
