//! What a book comes to, without what tells when and in which order things were written: the one thing that a recorded book, each
//! replay of it and the model must agree on.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Write;

use model::Model;
use model::member as naive;
use stampbook::ledger::event::{Expiry, LotId};
use stampbook::ledger::ids::{MemberNo, ProgramNo, TagNo};
use stampbook::ledger::print::Prints;
use stampbook::ledger::view::{BaseProgram, TrialRow};
use stampbook::ledger::{
    HoldView, HoldingView, Ledger, MEMBERS_PER_PAGE, Moment, PageKind, PendingView, holdings_of, merges_of, names_of,
    programs_of,
};

use crate::Failure;

/// Every program of a book, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) programs: BTreeMap<String, Program>,
}

/// A program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Program {
    /// Every account that does not come to zero, members' together by class; those of other assets than `points` begin with the asset
    /// and a colon.
    pub(crate) accounts: BTreeMap<String, i128>,
    /// Whether each campaign awards, and what was funded.
    campaigns: BTreeMap<String, (String, i128)>,
    /// Number of the asset, price and whether it is on offer.
    rewards: BTreeMap<String, (String, i128, bool)>,
    closed_until_us: Option<i64>,
    pub(crate) members: BTreeMap<String, Member>,
}

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// The member whom this one went into; nothing else is told then.
    merged_into: Option<String>,
    standing: String,
    joined_day: Option<i32>,
    tags: Vec<String>,
    debts: BTreeMap<u8, i128>,
    /// Units by asset and lot, those that hold something, with the minute until which rolling ones live.
    lots: BTreeMap<(u8, LotId), (i128, Option<u32>)>,
    /// In the order in which they were made.
    holds: Vec<Hold>,
    pending: Vec<Pending>,
}

/// A hold that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hold {
    asset: u8,
    purpose: String,
    until_us: i64,
    parts: BTreeMap<LotId, i128>,
    /// The reward and how many pieces of it.
    reserves: Option<(String, i128)>,
}

/// An earn that waits for its instant, or for being activated.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pending {
    matures: Option<i64>,
    parts: BTreeMap<(u8, LotId), i128>,
}

impl State {
    /// BLAKE3 over all of it in canonical order, in hexadecimal digits.
    pub(crate) fn hash(&self) -> Result<String, Failure> {
        let mut hasher = blake3::Hasher::new();
        for (id, program) in &self.programs {
            let Program { accounts, campaigns, rewards, closed_until_us, members } = program;
            writeln!(hasher, "{id:?} {accounts:?} {campaigns:?} {rewards:?} {closed_until_us:?}")?;
            for (id, member) in members {
                writeln!(hasher, "{id:?} {member:?}")?;
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// How many members there are.
    pub(crate) fn members(&self) -> usize {
        self.programs.values().map(|program| program.members.len()).sum()
    }

    /// Where another state first differs from this one; `None` where it does not.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let (id, pair) = first_unlike(&self.programs, &other.programs)?;
        let (Some(a), Some(b)) = pair else { return Some(format!("program {id} is in one of them alone")) };
        let place =
            |what: &str, name: &str, a: &dyn Debug, b: &dyn Debug| format!("{id}: {what} {name}: {a:?} and {b:?}");
        let unlike = first_unlike(&a.members, &b.members).map(|(name, (a, b))| place("member", name, &a, &b));
        let unlike = unlike
            .or_else(|| first_unlike(&a.accounts, &b.accounts).map(|(name, (a, b))| place("account", name, &a, &b)));
        let unlike = unlike
            .or_else(|| first_unlike(&a.campaigns, &b.campaigns).map(|(name, (a, b))| place("campaign", name, &a, &b)));
        let unlike =
            unlike.or_else(|| first_unlike(&a.rewards, &b.rewards).map(|(name, (a, b))| place("reward", name, &a, &b)));
        Some(unlike.unwrap_or_else(|| place("closed until", "", &a.closed_until_us, &b.closed_until_us)))
    }

    /// What a ledger comes to, once all is booked that is due at `at_us`; `name` says how ids of members and rewards and names of
    /// tags are told.
    pub(crate) fn of_ledger(
        ledger: &mut Ledger,
        prints: &Prints,
        at_us: i64,
        name: &dyn Fn(&str) -> String,
    ) -> Result<Self, Failure> {
        settle(ledger, prints, at_us)?;
        let mut state = Self::default();
        for view in ledger.programs() {
            let program = state.programs.entry(view.id).or_default();
            program.closed_until_us = view.closings.last().map(|closing| closing.until_us);
            for campaign in ledger.campaigns(view.number) {
                let told = (format!("{:?}", campaign.status), i128::from(campaign.funded));
                program.campaigns.insert(campaign.spec.id, told);
            }
            for reward in ledger.rewards(view.number) {
                let told = (reward.asset, i128::from(reward.price), reward.open);
                program.rewards.insert(name(&reward.sku), told);
            }
        }
        for trial in ledger.trial_balance() {
            let accounts = &mut state.programs.entry(trial.program).or_default().accounts;
            for row in trial.rows.iter().filter(|row| row.balance != 0) {
                accounts.insert(account_of(row, name), i128::from(row.balance));
            }
        }
        let told = Pages::of(ledger)?;
        for (at, (number, id)) in told.names.iter().enumerate() {
            let program = told.program(*number)?;
            let member = match told.went(at) {
                Some(into) => Member { merged_into: Some(name(into)), ..Member::default() },
                None => {
                    let holding = told.holdings.get(at).ok_or("a member has no page")?;
                    Member::of_view(holding, program, name)?
                }
            };
            let members = &mut state.programs.entry(program.trial.program.clone()).or_default().members;
            members.insert(name(id), member);
        }
        Ok(state)
    }

    /// What the model comes to, once all is booked that is due at `at_us`.
    pub(crate) fn of_model(model: &mut Model, at_us: i64) -> Self {
        let names = |(number, program): (usize, &model::Program)| {
            program.members.keys().map(move |name| (number, name.clone())).collect::<Vec<_>>()
        };
        let all: Vec<_> = model.programs.iter().enumerate().flat_map(names).collect();
        for (number, name) in all {
            model.fall_due(number, &name, at_us);
            model.said.clear();
        }
        let told = |program: &model::Program| {
            let asset = |number: u8| program.assets().into_iter().nth(usize::from(number)).unwrap_or_default();
            let campaign = |(id, status): (&String, &_)| {
                (id.clone(), (format!("{status:?}"), program.funded.get(id).copied().unwrap_or(0)))
            };
            let reward = |(sku, reward): (&String, &model::Reward)| {
                (sku.clone(), (asset(reward.asset), reward.price, reward.open))
            };
            let member = |(name, member): (&String, &naive::Member)| {
                let told = match program.merged.contains_key(name) {
                    true => Member { merged_into: Some(program.root(name).to_owned()), ..Member::default() },
                    false => Member::of_naive(member),
                };
                (name.clone(), told)
            };
            let accounts = program.trial().into_iter().filter(|(_, balance)| *balance != 0);
            Program {
                accounts: accounts.collect(),
                campaigns: program.campaigns.iter().map(campaign).collect(),
                rewards: program.rewards.iter().map(reward).collect(),
                closed_until_us: program.closed_until_us,
                members: program.members.iter().map(member).collect(),
            }
        };
        Self { programs: model.programs.iter().map(|program| (program.id.clone(), told(program))).collect() }
    }
}

type Pair<'m, V> = (Option<&'m V>, Option<&'m V>);

/// The first name under which two maps hold different things.
fn first_unlike<'m, V: PartialEq>(
    a: &'m BTreeMap<String, V>,
    b: &'m BTreeMap<String, V>,
) -> Option<(&'m str, Pair<'m, V>)> {
    let pair = |name: &'m String| (name.as_str(), (a.get(name), b.get(name)));
    a.keys().chain(b.keys()).map(pair).find(|(_, (a, b))| a != b)
}

/// The name of an account as [`Program::accounts`] has it.
fn account_of(row: &TrialRow, name: &dyn Fn(&str) -> String) -> String {
    let account = match row.account.strip_prefix("reward/") {
        Some(reward) => match reward.strip_suffix("/reserved") {
            Some(sku) => format!("reward/{}/reserved", name(sku)),
            None => format!("reward/{}", name(reward)),
        },
        None => row.account.clone(),
    };
    if row.asset == "points" { account } else { format!("{}:{account}", row.asset) }
}

/// Books what is due of every member by an instant, in memory alone: a server does so sooner or later, and nobody can tell when it did.
fn settle(ledger: &mut Ledger, prints: &Prints, at_us: i64) -> Result<(), Failure> {
    for number in 0..u32::try_from(ledger.counts().0)? {
        loop {
            let at = Moment { op: ledger.newest().next(), book_time_us: at_us };
            let Some(event) = ledger.due(MemberNo(number), at) else { break };
            ledger.replay(at, &event, prints).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The images of all members, read.
#[derive(Default)]
struct Pages {
    names: Vec<(ProgramNo, String)>,
    holdings: Vec<HoldingView>,
    merged: BTreeMap<usize, usize>,
    programs: Vec<BaseProgram>,
}

impl Pages {
    /// Of a state between two events.
    fn of(ledger: &mut Ledger) -> Result<Self, Failure> {
        let unread = |error: stampbook::ledger::ImageError| format!("a page cannot be read: {error:?}");
        let base = ledger.begin_capture(true).base;
        let index = |number: MemberNo| usize::try_from(number.0);
        let mut pages = Self { programs: programs_of(&base).map_err(unread)?, ..Self::default() };
        for (goer, into) in merges_of(&base).map_err(unread)? {
            pages.merged.insert(index(goer)?, index(into)?);
        }
        let mut bytes = Vec::new();
        loop {
            let copies = ledger.capture_next(1);
            let Some(copy) = copies.first() else { return Ok(pages) };
            bytes.clear();
            copy.encode(&mut bytes);
            let first = usize::try_from(copy.id().number)? * MEMBERS_PER_PAGE;
            match copy.id().kind {
                PageKind::Names if first == pages.names.len() => {
                    let names = names_of(&bytes).map_err(unread)?;
                    pages.names.extend(names.into_iter().map(|(program, id)| (program, id.to_owned())));
                }
                PageKind::Holdings if first == pages.holdings.len() => {
                    pages.holdings.extend(holdings_of(&bytes).map_err(unread)?);
                }
                _ => return Err("the pages of the state do not come in order".into()),
            }
        }
    }

    fn program(&self, number: ProgramNo) -> Result<&BaseProgram, Failure> {
        Ok(self.programs.get(usize::from(number.0)).ok_or("a member's program is unknown")?)
    }

    /// The id of the member whom the one at a place went into in the end.
    fn went(&self, at: usize) -> Option<&str> {
        let mut into = *self.merged.get(&at)?;
        while let Some(further) = self.merged.get(&into) {
            into = *further;
        }
        self.names.get(into).map(|(_, id)| id.as_str())
    }
}

impl Member {
    fn of_view(view: &HoldingView, program: &BaseProgram, name: &dyn Fn(&str) -> String) -> Result<Self, Failure> {
        let hold = |hold: &HoldView| -> Result<Hold, Failure> {
            let reserves = hold.reserves.map(|(number, pieces)| {
                let sku = program.rewards.get(usize::from(number.0)).ok_or("a hold reserves what there is not")?;
                Ok::<_, Failure>((name(sku), i128::from(pieces)))
            });
            let parts = hold.parts.iter().map(|(lot, units)| (*lot, i128::from(*units)));
            Ok(Hold {
                asset: hold.asset.0,
                purpose: hold.purpose.name().to_owned(),
                until_us: hold.until_us,
                parts: summed(parts),
                reserves: reserves.transpose()?,
            })
        };
        let pending = |pending: &PendingView| Pending {
            matures: match pending.matures {
                stampbook::ledger::event::Matures::At(instant) => Some(instant),
                stampbook::ledger::event::Matures::Activated => None,
            },
            parts: summed(pending.parts.iter().map(|(asset, lot, units)| ((asset.0, *lot), i128::from(*units)))),
        };
        let lots = view.lots.iter().filter(|lot| lot.entered > lot.left);
        let lots =
            lots.map(|lot| ((lot.asset.0, lot.lot), (i128::from(lot.entered) - i128::from(lot.left), lot.until)));
        let debts = view.balances.iter().filter(|of| of.debt != 0).map(|of| (of.asset.0, i128::from(of.debt)));
        let tag = |number: &TagNo| program.tags.get(usize::from(number.0)).map(|tag| name(tag));
        let tags = view.tags.iter().map(|number| tag(number).ok_or("a member has a tag without a name"));
        let mut tags = tags.collect::<Result<Vec<_>, _>>()?;
        tags.sort_unstable();
        Ok(Self {
            merged_into: None,
            standing: format!("{:?}", view.standing),
            joined_day: view.joined_day,
            tags,
            debts: debts.collect(),
            lots: lots.collect(),
            holds: view.holds.iter().map(hold).collect::<Result<_, _>>()?,
            pending: view.pending.iter().map(pending).collect(),
        })
    }

    fn of_naive(member: &naive::Member) -> Self {
        let lot = |lot: &naive::Lot| {
            let units: i128 = lot.units.iter().map(|(_, units)| units).sum();
            let until = member.untils.get(&lot.asset).filter(|_| lot.id.expiry == Expiry::Rolling);
            ((lot.asset, lot.id), (units, until.copied()))
        };
        let hold = |hold: &naive::Hold| Hold {
            asset: hold.asset,
            purpose: hold.purpose.name().to_owned(),
            until_us: hold.until_us,
            parts: summed(hold.parts.iter().copied()),
            reserves: hold.reserves.as_ref().map(|(sku, price)| (sku.clone(), hold.units() / price)),
        };
        let pending = |entry: &naive::Waiting| Pending {
            matures: entry.matures_us,
            parts: summed(entry.parts.iter().map(|(asset, lot, units)| ((*asset, *lot), *units))),
        };
        Self {
            merged_into: None,
            standing: format!("{:?}", member.standing),
            joined_day: member.joined,
            tags: member.tags.iter().cloned().collect(),
            debts: member
                .debts
                .iter()
                .filter(|(_, units)| **units != 0)
                .map(|(asset, units)| (*asset, *units))
                .collect(),
            lots: member.lots.iter().map(lot).filter(|(_, (units, _))| *units != 0).collect(),
            holds: member.holds.iter().map(hold).collect(),
            pending: member.waiting.iter().map(pending).collect(),
        }
    }
}

/// Units by where they lie.
fn summed<K: Ord>(parts: impl Iterator<Item = (K, i128)>) -> BTreeMap<K, i128> {
    let mut sums = BTreeMap::new();
    for (place, units) in parts {
        *sums.entry(place).or_default() += units;
    }
    sums
}
