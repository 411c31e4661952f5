//! The roll-forward of a random book, held against what its legs come to.

use std::collections::BTreeMap;

use stampbook::audit::chart::Class;
use stampbook::audit::roll_forward::{
    COLUMNS, Column, Line, LineKind, Period, RollError, RollForward, roll_forward, roll_forward_within,
};
use stampbook::ledger::codec;
use stampbook::ledger::event::Event;
use stampbook::ledger::ids::{AssetNo, Op, ProgramNo};

use model::book::Book;

/// What the legs of a program's events after `opening` up to `closing` come to, by asset and class; those of operators apart.
fn legs(book: &Book, program: ProgramNo, opening: Op, closing: Op) -> BTreeMap<(AssetNo, Class), i128> {
    let mut sums = BTreeMap::new();
    for (_, bytes) in book.shelf.events.iter().filter(|(at, _)| at.op > opening && at.op <= closing) {
        let event = codec::decode(bytes).unwrap();
        if matches!(event, Event::CampaignChanged(_)) {
            continue;
        }
        for leg in event.sides().filter(|side| side.program == program).flat_map(|side| side.legs) {
            *sums.entry((leg.asset, Class::of(&leg.account))).or_default() += i128::from(leg.amount);
        }
    }
    sums
}

fn moved(line: &Line, column: Column) -> i128 {
    line.units.moved[COLUMNS.iter().position(|known| *known == column).unwrap()].into()
}

/// The columns of an asset, each against the accounts that its units came from or went to, and the closing against members'.
fn agrees(book: &Book, period: &Period, rolled: &RollForward) {
    let in_period = legs(book, period.program, period.opening, period.closing);
    let in_all = legs(book, period.program, Op(0), period.closing);
    for asset in (0..5).map(AssetNo) {
        let lines: Vec<_> = rolled.lines.iter().filter(|line| line.asset == asset).collect();
        let parts = || lines.iter().filter(|line| line.kind != LineKind::Liability);
        let column = |column| -> i128 { parts().map(|line| moved(line, column)).sum() };
        let on = |sums: &BTreeMap<(AssetNo, Class), i128>, of: &dyn Fn(Class) -> bool| -> i128 {
            sums.iter().filter(|((of_asset, class), _)| *of_asset == asset && of(*class)).map(|(_, sum)| sum).sum()
        };
        let from = |of: &dyn Fn(Class) -> bool| -on(&in_period, of);
        let paid = from(&|class| matches!(class, Class::Issuance | Class::Campaign(_) | Class::Cash));
        assert_eq!(column(Column::Issued) + column(Column::TakenBack), paid, "{period:?} {asset:?}");
        assert_eq!(column(Column::Redeemed), from(&|class| matches!(class, Class::Redemption(_))), "{period:?}");
        assert_eq!(column(Column::Expired), from(&|class| class == Class::Breakage), "{period:?} {asset:?}");
        assert_eq!(column(Column::Adjusted), from(&|class| class == Class::Adjustment), "{period:?} {asset:?}");
        assert_eq!(column(Column::MovedIn), from(&|class| class == Class::Opening), "{period:?} {asset:?}");
        let converted = from(&|class| matches!(class, Class::Conversion(_)));
        assert_eq!(column(Column::Converted), converted, "{period:?} {asset:?}");
        assert_eq!(column(Column::Transferred), 0, "{period:?} {asset:?}");
        assert_eq!(column(Column::Settled), 0, "{period:?} {asset:?}");
        assert!(column(Column::Issued) >= 0 && column(Column::TakenBack) <= 0, "{period:?} {asset:?}");
        let owed = |class| matches!(class, Class::Available | Class::Held | Class::Pending);
        let liability = lines.iter().find(|line| line.kind == LineKind::Liability);
        let closing = |line: Option<&&Line>| line.map_or(0, |line| i128::from(line.units.closing));
        assert_eq!(closing(liability), on(&in_all, &owed), "{period:?} {asset:?}");
        let debt = lines.iter().find(|line| line.kind == LineKind::Debt);
        assert_eq!(closing(debt), on(&in_all, &|class| class == Class::Debt), "{period:?} {asset:?}");
    }
}

/// Rolls a book forward in periods one behind the other, and in one, with and without room. How many had to be made in parts.
pub(crate) fn every_period_balances(book: &Book, seed: u64) -> usize {
    let mut parted_walks = 0;
    let newest = u64::try_from(book.shelf.events.len()).unwrap();
    for program in [ProgramNo(0), ProgramNo(1)] {
        let period = |opening: u64, closing: u64| Period {
            program,
            asset: None,
            opening: Op(opening),
            closing: Op(closing),
            from_us: 0,
            until_us: 0,
        };
        let roll = |period: &Period| roll_forward(book, period).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let mut before: BTreeMap<_, i64> = BTreeMap::new();
        for cut in 0..2 {
            let period = period(newest * cut / 2, newest * (cut + 1) / 2);
            let rolled = roll(&period);
            agrees(book, &period, &rolled);
            let by_line = |of: fn(&Line) -> i64| -> BTreeMap<_, i64> {
                let lines = rolled.lines.iter().map(|line| ((line.asset, line.kind, line.month), of(line)));
                lines.filter(|(_, units)| *units != 0).collect()
            };
            assert_eq!(by_line(|line| line.units.opening), before, "seed {seed}: {period:?}");
            before = by_line(|line| line.units.closing);
        }
        // The walk that is made in parts, in less and less room, reads the book many times over: of some books.
        if seed % 8 != 1 {
            continue;
        }
        let whole = roll(&period(0, newest));
        let most = whole.lines.iter().filter(|line| line.month.is_some()).count();
        let rooms = std::iter::successors(Some(100 + most), |room| Some(room * 9 / 10)).take_while(|room| *room > 0);
        for room in rooms {
            let parted = match roll_forward_within(book, &period(0, newest), room) {
                Ok(parted) => parted,
                // One member alone, or those who are close to him, have no room any more.
                Err(RollError::Full) => break,
                Err(error) => panic!("seed {seed}: {error}"),
            };
            assert_eq!(parted.lines, whole.lines, "seed {seed} with room for {room}");
            parted_walks += usize::from(parted.events_read > whole.events_read);
        }
    }
    parted_walks
}
