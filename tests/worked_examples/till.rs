//! A till of one program, whose clock is set by hand, and whose member is `ann`.

use stampbook::ledger::command::{Action, AdminAction, Basis, Matures, Original, Purpose, Standing};
use stampbook::ledger::ids::{AssetNo, Op};
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{DebtPolicy, ExpiryPolicy, ProgramMore, ProgramSpec};

use model::book::{Book, Posted, ROOMY, Said};
use model::rules::{NEVER, assets, campaign, program, put, ratio, rule};

/// The till.
pub(crate) struct Till {
    pub book: Book,
    pub now_us: i64,
    commands: usize,
}

/// What points, and only they, do: when they lapse, and what refunds that cannot take them do.
pub(crate) fn points(expiry: ExpiryPolicy, debt: DebtPolicy, debt_max: Option<u64>) -> ProgramMore {
    let of = move |asset| if asset == 0 { (expiry, debt, debt_max) } else { (NEVER, DebtPolicy::Debt, None) };
    ProgramMore { assets: assets(of), ..ProgramMore::default() }
}

/// An instant of a local time in London.
pub(crate) fn at(text: &str) -> i64 {
    let time: jiff::civil::DateTime = text.parse().unwrap();
    time.in_tz("Europe/London").unwrap().timestamp().as_microsecond()
}

/// A minute of a local time in London, as lots carry it.
pub(crate) fn minute(text: &str) -> i64 {
    at(text) / 60_000_000
}

/// What a program says that gives a point for a pound, and another from a campaign.
pub(crate) fn rules_of(more: ProgramMore) -> ProgramSpec {
    let mut spec = program(vec![rule("purchase", ratio(1, 100))], vec![campaign("double", "a", ratio(2, 1))]);
    spec.more = stampbook::ledger::later::Later::new(more);
    spec
}

impl Till {
    /// A till on the first of January 2026 of a program that gives a point for a pound. Its campaign doubles them as soon
    /// as it is funded.
    pub(crate) fn new(more: ProgramMore) -> Self {
        Self::open(rules_of(more))
    }

    pub(crate) fn open(spec: ProgramSpec) -> Self {
        let mut till = Self { book: Book::new(ROOMY), now_us: at("2026-01-01T12:00"), commands: 0 };
        till.operator(put(spec));
        till
    }

    pub(crate) fn on(&mut self, text: &str) -> &mut Self {
        self.now_us = at(text);
        self
    }

    pub(crate) fn operator(&mut self, action: AdminAction) {
        self.commands += 1;
        let command = self.book.admin("high-street", &format!("operator-{}", self.commands), action);
        let posted = self.book.post_admin(&command, self.now_us);
        let Posted::Fresh(op) = posted else { panic!("{posted:?}") };
        assert_eq!(self.book.said(op).refused, None);
    }

    /// Doubles what is earned from now on, up to so much.
    pub(crate) fn doubling(&mut self, points: u64) -> &mut Self {
        self.operator(AdminAction::FundCampaign { campaign: "double".to_owned(), points });
        self
    }

    /// Posts for ann and says what came of it.
    pub(crate) fn post(&mut self, action: Action) -> (Op, Said) {
        self.commands += 1;
        let command = self.book.command(0, &format!("caller-{}", self.commands), "ann", action);
        let posted = self.book.post(&command, self.now_us);
        let Posted::Fresh(op) = posted else { panic!("{posted:?}") };
        (op, self.book.said(op))
    }

    /// Posts what is to be applied.
    pub(crate) fn done(&mut self, action: Action) -> (Op, Said) {
        let (op, said) = self.post(action);
        assert_eq!(said.refused, None);
        (op, said)
    }

    /// Posts what is to be refused.
    pub(crate) fn refused(&mut self, action: Action) -> Reason {
        self.post(action).1.refused.expect("it is refused").0
    }

    /// Sweeps ann's account; what had fallen due, in order.
    pub(crate) fn sweep(&mut self) -> Vec<Said> {
        let before = self.book.shelf.events.len();
        self.book.sweep(0, "ann", self.now_us);
        self.since(before)
    }

    /// What the events after the first so many say.
    pub(crate) fn since(&self, before: usize) -> Vec<Said> {
        let op = |at: usize| Op(u64::try_from(at).unwrap() + 1);
        (before..self.book.shelf.events.len()).map(|at| self.book.said(op(at))).collect()
    }

    /// Brings units over into a lot that lapses at a local time, or never.
    pub(crate) fn lot(&mut self, points: i64, lapses: Option<&str>) {
        let (actor, reason, lapses_us) = ("ana".to_owned(), "moved in".to_owned(), lapses.map(at));
        self.done(Action::Opening { asset: AssetNo::POINTS, points, lapses_us, actor, reason });
    }
}

/// An earn of so many pounds, or points.
pub(crate) fn earn(points: u64, matures: Option<Matures>) -> Action {
    let (basis, event_kind) = (Basis::Spend(points * 100), Some("purchase".into()));
    Action::Earn { basis, event_kind, asset: AssetNo::POINTS, matures }
}

pub(crate) fn redeem(points: u64) -> Action {
    Action::Redeem { asset: AssetNo::POINTS, points, purpose: Purpose::Gift }
}

/// A refund of so many pounds of an earn.
pub(crate) fn refund(original: Op, pounds: u64) -> Action {
    Action::Refund { original: Original::Op(original), basis: Basis::Spend(pounds * 100), event_kind: None }
}

pub(crate) fn reverse(original: Op, units: Option<u64>) -> Action {
    Action::Reverse { original: Original::Op(original), units }
}

/// A hold until a local time.
pub(crate) fn hold(units: u64, until: &str) -> Action {
    Action::Hold { asset: AssetNo::POINTS, units, until_us: Some(at(until)), purpose: Purpose::Gift }
}

pub(crate) fn capture(hold: Op, units: u64, last: bool) -> Action {
    Action::Capture { hold: Original::Op(hold), units, last }
}

pub(crate) fn release(hold: Op) -> Action {
    Action::Release { hold: Original::Op(hold) }
}

pub(crate) fn activate(original: Op) -> Action {
    Action::Activate { original: Original::Op(original) }
}

pub(crate) fn standing(change: Standing) -> Action {
    Action::Standing { change, actor: "ana".to_owned(), reason: "asked to".to_owned() }
}
