//! What the golden book tells: two programs, every kind of event, and every reason that a small book can have.

use stampbook::ledger::command::{Action, AdminAction, Basis, Command, Original, Purpose};
use stampbook::ledger::ids::{AssetNo, Op};
use stampbook::ledger::later::Later;
use stampbook::ledger::spec::{CampaignSpec, Cap, CapPer, OnExhausted, ProgramSpec, Ratio, Rounding, Rule};

use super::keeper::{BEGAN_US, FRAME_US, Keeper};

const DAY_US: i64 = 24 * 3600 * 1_000_000;

fn ratio(numerator: u64, denominator: u64) -> Ratio {
    Ratio { numerator, denominator }
}

fn rule(kind: &str, rate: Ratio, rounding: Rounding) -> Rule {
    Rule { kind: kind.into(), rate, rounding, more: Later::default() }
}

fn campaign(id: &str, group: &str, kinds: &[&str], multiplier: Ratio) -> CampaignSpec {
    CampaignSpec {
        id: id.into(),
        start_us: BEGAN_US,
        end_us: BEGAN_US + 30 * DAY_US,
        kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
        multiplier,
        group: group.into(),
        on_exhausted: OnExhausted::Clip,
        cap: None,
        asset: Later::default(),
    }
}

/// The first program: live, in London, with a campaign of each sort.
fn high_street() -> ProgramSpec {
    let stop = |spec| CampaignSpec { on_exhausted: OnExhausted::Stop, ..spec };
    let capped = |spec, points, per| CampaignSpec { cap: Some(Cap { points, per }), ..spec };
    ProgramSpec {
        name: "High Street Club".into(),
        currency: "GBP".into(),
        time_zone: "Europe/London".into(),
        tz_version: "2026a".into(),
        import_mode: false,
        effective_from_us: None,
        greatest_total: ratio(10, 1),
        rules: vec![
            rule("purchase", ratio(10, 100), Rounding::Floor),
            rule("review", ratio(1, 2), Rounding::HalfUp),
            rule("check-in", ratio(1, 3), Rounding::Ceiling),
            rule("party", ratio(1, 1), Rounding::Floor),
        ],
        campaigns: vec![
            campaign("double-night", "season", &["purchase", "review"], ratio(2, 1)),
            stop(campaign("reviews", "kind", &["review"], ratio(3, 2))),
            capped(campaign("party", "season", &["party"], ratio(3, 1)), 100, CapPer::Day),
            capped(campaign("daily", "season", &["check-in"], ratio(2, 1)), 60, CapPer::Month),
        ],
        more: Later::default(),
    }
}

/// Its second version: a week's cap in place of a month's, a cap for a whole campaign, and a campaign more.
fn high_street_later() -> ProgramSpec {
    let mut spec = high_street();
    spec.effective_from_us = Some(BEGAN_US + 5 * FRAME_US);
    spec.campaigns[3].cap = Some(Cap { points: 500, per: CapPer::Week });
    spec.campaigns.push(CampaignSpec {
        start_us: BEGAN_US + 5 * FRAME_US,
        cap: Some(Cap { points: 25, per: CapPer::Campaign }),
        ..campaign("late", "kind", &[], ratio(5, 4))
    });
    spec
}

/// The second program: history that is moved in, with no campaign.
fn island() -> ProgramSpec {
    ProgramSpec {
        name: "島ポイント".into(),
        currency: "JPY".into(),
        time_zone: "Asia/Tokyo".into(),
        import_mode: true,
        rules: vec![rule("purchase", ratio(1, 1), Rounding::Floor)],
        campaigns: Vec::new(),
        ..high_street()
    }
}

fn put(expected: u32, spec: ProgramSpec) -> AdminAction {
    let definition = format!("# {} as it was applied\n", spec.name);
    AdminAction::PutProgram { expected_version: Some(expected), spec: Box::new(spec), definition }
}

fn fund(campaign: &str, points: u64) -> AdminAction {
    AdminAction::FundCampaign { campaign: campaign.into(), points }
}

fn pause(campaign: &str) -> AdminAction {
    AdminAction::PauseCampaign { campaign: campaign.into() }
}

fn resume(campaign: &str) -> AdminAction {
    AdminAction::ResumeCampaign { campaign: campaign.into() }
}

fn close(campaign: &str) -> AdminAction {
    AdminAction::CloseCampaign { campaign: campaign.into() }
}

fn spend(kind: &str, amount: u64) -> Action {
    Action::Earn { basis: Basis::Spend(amount), event_kind: Some(kind.into()), asset: AssetNo::POINTS, matures: None }
}

fn points(kind: Option<&str>, points: u64) -> Action {
    Action::Earn {
        basis: Basis::Points(points),
        event_kind: kind.map(Into::into),
        asset: AssetNo::POINTS,
        matures: None,
    }
}

fn refund(original: Original, amount: u64) -> Action {
    Action::Refund { original, basis: Basis::Spend(amount), event_kind: None }
}

fn refund_points(original: Op, points: u64) -> Action {
    Action::Refund { original: Original::Op(original), basis: Basis::Points(points), event_kind: None }
}

fn redeem(points: u64, purpose: Purpose) -> Action {
    Action::Redeem { asset: AssetNo::POINTS, points, purpose }
}

fn adjust(points: i64) -> Action {
    Action::Adjust { asset: AssetNo::POINTS, points, actor: "ben".into(), reason: "goodwill".into() }
}

/// Writes the book. Its frames are one page each, so that it spans three segments.
pub(crate) fn golden_book() -> Keeper {
    let mut book = Keeper::new();
    open_programs(&mut book);
    let earns = earns(&mut book);
    spending(&mut book, &earns);
    refusals_of_members(&mut book, &earns);
    operators(&mut book, &earns);
    refusals_of_operators(&mut book);
    second_version(&mut book);
    book
}

fn open_programs(book: &mut Keeper) {
    book.admin(put(0, high_street()));
    book.admin(fund("double-night", 1_000));
    book.admin(fund("reviews", 150));
    book.admin(fund("party", 1_000));
    book.admin(fund("daily", 1_000));
    book.program = "island";
    book.admin(put(0, island()));
    book.program = "high-street";
    book.end_frame();
}

struct Earns {
    night: Op,
    party: Op,
}

fn earns(book: &mut Keeper) -> Earns {
    // The example in FORMAT.md.
    let night = book.post("ann", spend("purchase", 1_234));
    book.post_noted("ann", "basket-1", spend("review", 200));
    book.post("bob", points(None, 40));
    let party = book.post_noted("bob", "basket-2", points(Some("party"), 40));
    // The cap of the day leaves 20 of 80.
    book.post("bob", points(Some("party"), 40));
    // The budget of the reviews covers 100 of 150: it stops.
    book.post("cid", spend("review", 600));
    book.post("cid", spend("review", 21));
    // The budget of the night does not cover all: it is clipped.
    book.post("dee", spend("purchase", 9_999));
    book.post("dee", spend("purchase", 9));
    book.post("eve", spend("check-in", 40));
    let early =
        Command { occurred_at_us: Some(book.now_us() + 60_000_000), ..book.command("eve", spend("check-in", 1)) };
    book.post_command(&early);
    let late = Command {
        occurred_at_us: Some(book.now_us() - DAY_US),
        currency: Some(*b"GBP"),
        ..book.command("eve", spend("purchase", 500))
    };
    book.post_command(&late);
    book.end_frame();
    Earns { night, party }
}

fn spending(book: &mut Keeper, earns: &Earns) {
    for purpose in Purpose::ALL {
        book.post("dee", redeem(20, purpose));
    }
    let key = book.prints.key("high-street", &format!("order-{}", earns.night.0));
    book.post("ann", refund(Original::Op(earns.night), 400));
    book.post("ann", refund(Original::Key(key), 834));
    book.post("ann", refund(Original::Reference("basket-1".into()), 67));
    book.post("bob", redeem(200, Purpose::Gift));
    // What was spent becomes debt, which the next earn settles in part and a grant for the rest.
    book.post("bob", refund_points(earns.party, 13));
    book.post("bob", points(None, 7));
    book.post("bob", adjust(100));
    book.post("bob", adjust(-30));
    let alone =
        Action::Refund { original: Original::None, basis: Basis::Spend(10_000), event_kind: Some("purchase".into()) };
    book.post_noted("fay", "return-1", alone);
    book.end_frame();
}

fn refusals_of_members(book: &mut Keeper, earns: &Earns) {
    book.post("nobody", redeem(1, Purpose::Gift));
    book.post("ann", redeem(1_000_000, Purpose::Gift));
    book.post("ann", adjust(-1_000_000));
    book.post("ann", spend("birthday", 1));
    book.post("ann", spend("party", 1_000_000_000_001));
    let other_currency = Command { currency: Some(*b"EUR"), ..book.command("ann", spend("purchase", 1)) };
    book.post_command(&other_currency);
    for days in [-31, 1] {
        let occurred_at_us = Some(book.now_us() + days * DAY_US);
        let untimely = Command { occurred_at_us, ..book.command("ann", spend("purchase", 1)) };
        book.post_command(&untimely);
    }
    book.post("ann", refund(Original::Reference("basket-9".into()), 1));
    book.post("ann", refund(Original::Op(Op(1)), 1));
    book.post("bob", refund(Original::Op(earns.night), 1));
    book.post_noted("ann", "return-2", refund(Original::Op(earns.night), 1));
    book.post("ann", refund_points(earns.night, 1));
    book.end_frame();
}

fn operators(book: &mut Keeper, earns: &Earns) {
    book.admin(resume("reviews"));
    book.admin(fund("reviews", 500));
    book.admin(pause("double-night"));
    book.post("gus", spend("review", 90));
    book.admin(resume("double-night"));
    book.admin(pause("daily"));
    book.admin(close("party"));
    // The campaign is closed: its part goes to issuance, and the room of its cap comes back.
    book.post("bob", refund_points(earns.party, 27));
    book.end_frame();
}

fn refusals_of_operators(book: &mut Keeper) {
    book.admin(put(7, high_street()));
    book.admin(put(1, ProgramSpec { effective_from_us: Some(BEGAN_US), ..high_street() }));
    let mut past = high_street();
    past.campaigns[0].start_us -= 1;
    book.admin(put(1, past));
    book.admin(put(1, ProgramSpec { currency: "EUR".into(), ..high_street() }));
    book.admin(fund("nothing", 1));
    book.admin(close("party"));
    book.admin(resume("double-night"));
    book.admin(pause("daily"));
    book.program = "mainland";
    book.admin(fund("nothing", 1));
    book.program = "high-street";
    book.admin(put(1, high_street_later()));
    book.end_frame();
}

fn second_version(book: &mut Keeper) {
    book.admin(resume("daily"));
    book.admin(fund("late", 1_000));
    book.post("eve", spend("check-in", 300));
    book.post("hal", points(Some("party"), 80));
    book.program = "island";
    let history =
        Command { occurred_at_us: Some(BEGAN_US - 400 * DAY_US), ..book.command("ann", spend("purchase", 777)) };
    book.post_command(&history);
    book.program = "high-street";
    book.end_frame();
}
