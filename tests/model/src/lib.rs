//! A naive ledger, written from the program rules and not from the real one: maps of account names to balances, lists of
//! lots, holds and pending earns, a list of everything that happened, linear scans, wide integers. Slow, and short enough
//! to be read as a statement of what the ledger ought to do. What is only kept so that nothing is looked for in all that ever
//! happened says so.
#![allow(missing_docs, reason = "a crate of the tests: its statements are its functions")]
#![allow(clippy::unwrap_used, reason = "what does not fit is a fault of the model, and ends the test")]

pub mod admin;
pub mod award;
pub mod book;
pub mod caps;
pub mod checkouts;
pub mod crossings;
pub mod dates;
pub mod due;
pub mod earns;
pub mod generate;
pub mod gives;
pub mod holds;
pub mod life;
pub mod member;
pub mod merges;
pub mod moves;
pub mod operators;
pub mod orders;
pub mod posts;
pub mod profiles;
pub mod programs;
pub mod refunds;
pub mod reversals;
pub mod rewards;
pub mod rng;
pub mod rules;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use stampbook::ledger::Limits;
use stampbook::ledger::command::{Basis, Command};
use stampbook::ledger::event::LotId;
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{AssetSpec, CampaignSpec, ProgramSpec};
use stampbook::ledger::view::CampaignStatus;

use book::{Said, asset_of, prefix};
use caps::{CapSpan, Counter};
use member::{Draft, Member, PIECES};
use rules::more_of;

/// What the model says of a command; what the events say beside it stands in [`Model::said`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one is made a command")]
pub enum Verdict {
    /// A new event, which says this.
    Fresh(Said),
    /// The key stands at that op with the same body.
    Replayed(u64),
    /// The key stands at that op with another body.
    Conflict(u64),
    /// No room for one more member; nothing is remembered.
    Limit,
    /// Nobody asked: it was looked after what is due.
    Swept,
}

/// A campaign's award in an earn, and where its cap counted it.
#[derive(Clone, Debug)]
pub struct Award {
    pub campaign: String,
    pub asset: u8,
    pub points: i128,
    pub cap_span: Option<CapSpan>,
}

/// An earn, as later decisions look back at it.
#[derive(Clone, Debug)]
pub struct Earned {
    pub basis: Basis,
    pub version: u32,
    pub asset: u8,
    pub base: i128,
    pub also: Option<(u8, i128)>,
    pub awards: Vec<Award>,
}

/// What a refund asked of a campaign's award, and what it took.
#[derive(Clone, Debug)]
pub struct Back {
    pub campaign: String,
    pub asked: i128,
    pub taken: i128,
}

/// A refund, as later decisions look back at it.
#[derive(Clone, Debug)]
pub struct Refunded {
    pub original: usize,
    pub amount: i128,
    pub base: i128,
    pub also: i128,
    pub parts: Vec<Back>,
    pub lapsed: BTreeMap<u8, i128>,
}

/// The part of an event that later decisions look back at.
#[derive(Clone, Debug)]
pub enum What {
    Earned(Earned),
    Refunded(Refunded),
    /// Units spent, in the order in which the lots were taken, and the account that they went to.
    Spent {
        asset: u8,
        account: String,
        lots: Vec<(LotId, i128)>,
        /// The pieces of a reward that they bought, and its id.
        pieces: Option<(String, i128)>,
    },
    /// Units given, and the accounts that they came from: of a top-up the principal, then the bonus.
    Given {
        asset: u8,
        parts: Vec<(String, LotId, i128)>,
    },
    Reversed {
        original: usize,
        units: i128,
        bonus: i128,
    },
    /// The member went into another.
    Merged {
        into: String,
    },
    /// Several commands as one: where they stand, and which of them is the earn, if one is.
    CheckedOut {
        parts: Vec<usize>,
        earn: Option<usize>,
    },
    Other,
}

/// An event.
#[derive(Clone, Debug)]
pub struct Happened {
    pub program: String,
    /// Empty where nobody asked for it.
    pub key: String,
    pub body_hash: [u8; 16],
    pub member: Option<String>,
    pub reference: String,
    pub what: What,
}

/// One version of a program's rules.
#[derive(Clone, Debug)]
pub struct Version {
    pub effective_from_us: i64,
    pub spec: ProgramSpec,
}

/// A program: everything by name.
#[derive(Clone, Debug, Default)]
pub struct Program {
    pub id: String,
    pub versions: Vec<Version>,
    /// The balances of the program's own accounts.
    pub accounts: BTreeMap<String, i128>,
    pub members: BTreeMap<String, Member>,
    /// What all members have of each asset: available, held, pending and owed.
    sums: BTreeMap<u8, [i128; 4]>,
    pub campaigns: BTreeMap<String, CampaignStatus>,
    pub campaign_assets: BTreeMap<String, u8>,
    pub funded: BTreeMap<String, i128>,
    pub closed_until_us: Option<i64>,
    /// Members that went into another, by name, and into whom.
    pub merged: BTreeMap<String, String>,
    /// The names of tags that a member ever had.
    pub tags: Vec<String>,
    pub rewards: BTreeMap<String, Reward>,
}

/// A reward; its pieces are on accounts of the program.
#[derive(Clone, Debug)]
pub struct Reward {
    pub asset: u8,
    pub price: i128,
    pub open: bool,
}

/// The naive ledger.
#[derive(Clone, Debug)]
pub struct Model {
    pub limits: Limits,
    pub programs: Vec<Program>,
    pub history: Vec<Happened>,
    /// What each event says, in order of their ops.
    pub said: Vec<Said>,
    pub snapshots: Vec<Snapshot>,
    /// Where in the history each key stands, by its fingerprint.
    stands: HashMap<u128, usize>,
    /// Where in the history stand the refunds and reversals of an event.
    take_backs: HashMap<usize, Vec<usize>>,
    /// What caps count, where it is more than 0.
    counters: BTreeMap<Counter, i128>,
    swept_day: i64,
}

/// A snapshot that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub name: String,
    pub op: u64,
    pub taken_us: i64,
    pub retain_until_us: Option<i64>,
    pub deleted: Option<u64>,
}

/// The account of the other member of an event, and the program that it is in.
pub struct Counterpart {
    pub program: usize,
    pub draft: Draft,
}

/// A decision: the members' accounts after it, what it says, what to remember, and which campaigns stop with it.
pub struct Decided {
    pub draft: Draft,
    pub other: Option<Counterpart>,
    pub said: Said,
    pub what: What,
    pub stops: Vec<String>,
}

/// A refusal, by reason and field.
pub type Refusal = (Reason, &'static str);

/// What a command is decided from: the program, the rules of the business time, the member as it is.
pub struct Case<'m> {
    pub number: usize,
    pub program: &'m Program,
    pub command: &'m Command,
    pub version: u32,
    pub spec: &'m ProgramSpec,
    pub occurred_at_us: i64,
    pub now_us: i64,
    pub draft: Draft,
}

impl Case<'_> {
    /// What the rules of the business time say of an asset.
    pub fn asset(&self, asset: u8) -> AssetSpec {
        more_of(self.spec).assets[usize::from(asset)].clone()
    }

    /// The lot that units of an asset enter by the rules of the business time.
    pub fn lot(&self, asset: u8, source: stampbook::ledger::event::Source) -> LotId {
        let expiry = dates::expiry(self.spec, &self.asset(asset).expiry, self.occurred_at_us);
        LotId { source, expiry }
    }

    /// The member was active: what rolls lives longer, and never shorter.
    pub fn roll(&mut self, asset: u8) {
        roll(&mut self.draft, self.spec, asset, self.occurred_at_us);
    }

    /// The event of it.
    pub fn decided(self, said: Said, what: What) -> Result<Decided, Refusal> {
        Ok(Decided { draft: self.draft, other: None, said, what, stops: Vec::new() })
    }
}

/// A member was active by the rules of a program.
pub fn roll(draft: &mut Draft, spec: &ProgramSpec, asset: u8, occurred_at_us: i64) {
    let policy = more_of(spec).assets[usize::from(asset)].expiry;
    if !dates::rolls(&policy) {
        return;
    }
    if let Some(until) = dates::lapse_minute(spec, &policy, occurred_at_us) {
        let known = draft.member.untils.entry(asset).or_default();
        *known = until.max(*known);
    }
}

impl Program {
    pub fn balance(&self, account: &str) -> i128 {
        self.accounts.get(account).copied().unwrap_or(0)
    }

    /// The member to whom an id leads by now.
    pub fn root<'n>(&'n self, name: &'n str) -> &'n str {
        self.merged.get(name).map_or(name, |into| self.root(into))
    }

    pub fn member(&self, name: &str) -> Member {
        self.members.get(name).cloned().unwrap_or_default()
    }

    /// The name of a campaign's budget.
    pub fn budget(&self, campaign: &str) -> String {
        format!("{}campaign/{campaign}", prefix(self.campaign_assets[campaign]))
    }

    /// The rules for a business time: the newest of the versions that hold by then.
    pub fn version_at(&self, occurred_at_us: i64) -> (u32, &ProgramSpec) {
        let at = (0..self.versions.len()).rfind(|at| self.versions[*at].effective_from_us <= occurred_at_us).unwrap();
        (u32::try_from(at).unwrap() + 1, &self.versions[at].spec)
    }

    pub fn newest(&self) -> &ProgramSpec {
        &self.versions.last().unwrap().spec
    }

    /// The sums over all members of what is available, held, pending and owed of an asset.
    pub fn sums(&self, asset: u8) -> [i128; 4] {
        self.sums.get(&asset).copied().unwrap_or_default()
    }

    /// Puts a member in the place of what it was.
    pub fn put_member(&mut self, name: String, member: Member) {
        let before = self.members.remove(&name).unwrap_or_default();
        let assets: BTreeSet<u8> = before.assets().chain(member.assets()).collect();
        for asset in assets {
            let sums = self.sums.entry(asset).or_default();
            let moved = before.balances(asset).into_iter().zip(member.balances(asset));
            sums.iter_mut().zip(moved).for_each(|(sum, (before, after))| *sum += after - before);
        }
        self.members.insert(name, member);
    }

    /// The ids of its assets, by number.
    pub fn assets(&self) -> Vec<String> {
        more_of(self.newest()).assets.into_iter().map(|asset| asset.id).collect()
    }

    /// The accounts as a trial balance has them, members' accounts by class; those of other assets than `points` begin with the
    /// asset's id.
    pub fn trial(&self) -> BTreeMap<String, i128> {
        let assets = self.assets();
        let named = |asset: usize, account: &str| match asset {
            0 => account.to_owned(),
            _ if asset == usize::from(PIECES) => format!("pieces:{account}"),
            _ => format!("{}:{account}", assets[asset]),
        };
        let mut rows = BTreeMap::new();
        for (account, balance) in &self.accounts {
            let own = account.split_once(':').map_or(account.as_str(), |(_, own)| own);
            *rows.entry(named(usize::from(asset_of(account)), own)).or_default() += balance;
        }
        for asset in 0..assets.len() {
            let [available, held, pending, debt] = self.sums(u8::try_from(asset).unwrap());
            rows.insert(named(asset, "member/available"), available);
            rows.insert(named(asset, "member/held"), held);
            rows.insert(named(asset, "member/pending"), pending);
            rows.insert(named(asset, "member/debt"), -debt);
        }
        rows
    }

    /// Whether every account, and the members' accounts together, stay in the range of the books with what an event does to one
    /// member or two; and what members have and wait for with what lapsed, since all of it may come to one account.
    fn fits(&self, drafts: &[&Draft]) -> bool {
        let range = -i128::from(i64::MAX)..=i128::from(i64::MAX);
        let moved = |account: &str| drafts.iter().filter_map(|draft| draft.legs.get(account)).sum::<i128>();
        let in_range = |asset: &u8| {
            let mut sums = self.sums(*asset);
            for draft in drafts {
                let known = self.members.get(&draft.name);
                let before = known.map_or([0; 4], |member| member.balances(*asset));
                let after = draft.member.balances(*asset);
                (0..4).for_each(|at| sums[at] += after[at] - before[at]);
            }
            let breakage = format!("{}breakage", prefix(*asset));
            let lapsed = self.balance(&breakage) + moved(&breakage);
            range.contains(&sums[3]) && range.contains(&(sums[0] + sums[1] + sums[2] + lapsed))
        };
        let own = drafts.iter().flat_map(|draft| draft.legs.keys()).filter(|account| !is_member(account));
        own.into_iter().all(|account| range.contains(&(self.balance(account) + moved(account))))
            && drafts.iter().flat_map(|draft| &draft.touched).all(in_range)
    }

    /// Debits and credits the program's own accounts of an event.
    fn post(&mut self, legs: &BTreeMap<String, i128>) {
        for (account, amount) in legs.iter().filter(|(account, _)| !is_member(account)) {
            *self.accounts.entry(account.clone()).or_default() += amount;
        }
    }
}

/// Legs of an event in one program, of one member or of two, sum to zero in each asset.
fn balanced<'l>(legs: impl Iterator<Item = (&'l String, &'l i128)>) {
    let mut sums: BTreeMap<u8, i128> = BTreeMap::new();
    for (account, amount) in legs {
        *sums.entry(asset_of(account)).or_default() += amount;
    }
    assert!(sums.values().all(|sum| *sum == 0), "the model's own legs sum to zero: {sums:?}");
}

/// Whether an account is a member's.
pub fn is_member(account: &str) -> bool {
    account.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':').starts_with("member/")
}

/// Adds to an account of an event; an amount of nothing makes no leg.
pub fn add(legs: &mut BTreeMap<String, i128>, account: &str, amount: i128) {
    if amount != 0 {
        *legs.entry(account.to_owned()).or_default() += amount;
        legs.retain(|_, amount| *amount != 0);
    }
}

/// The asset that a campaign multiplies and gives.
pub fn asset_of_campaign(spec: &CampaignSpec) -> u8 {
    spec.asset.as_deref().copied().unwrap_or_default().0
}

impl Model {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            programs: Vec::new(),
            history: Vec::new(),
            said: Vec::new(),
            snapshots: Vec::new(),
            stands: HashMap::new(),
            take_backs: HashMap::new(),
            counters: BTreeMap::new(),
            swept_day: i64::MIN,
        }
    }
}
