//! The state captured while commands go on, loaded again, and with its keys sealed away: by the same images and hashes as
//! a state that was never touched. A failure names the seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use stampbook::ledger::codec::Named;
use stampbook::ledger::command::{Action, AdminAction, Basis, Matures, Purpose};
use stampbook::ledger::event::{
    Account, Adjusted, AdminCommon, AssetBalances, Balances, Common, Event, Expiry, Leg, Legs, LotId, ProgramPut,
    Source, Text,
};
use stampbook::ledger::ids::{AssetNo, MemberNo, MemberRef, Op, ProgramNo};
use stampbook::ledger::later::Later;
use stampbook::ledger::spec::{Cap, CapPer};
use stampbook::ledger::{
    Captured, Hashes, ImageError, Ledger, MEMBERS_PER_PAGE, Moment, PageId, PageKind, codec, hash_names, hashes_of,
    holdings_of, names_of, programs_of,
};

use model::book::images::Images;
use model::book::{Book, Posted, ROOMY};
use model::generate::{Generator, Sent};
use model::rules::{DAY, program, ratio, rule, spend};

/// Where the commands of a book come from.
#[derive(Debug)]
struct Posting {
    generator: Generator,
}

impl Posting {
    fn new(seed: u64) -> Self {
        let mut generator = Generator::new(seed);
        generator.members = 1_800;
        Self { generator }
    }

    fn post(&mut self, book: &mut Book) -> Posted {
        let sent = self.generator.next(book);
        let posted = post(book, &sent, self.generator.now_us);
        if let Posted::Fresh(op) = posted {
            self.generator.stands_at(&sent, op, false);
        }
        posted
    }

    /// Posts until an event was written, so that the state is that of its op.
    fn event(&mut self, book: &mut Book) {
        while !matches!(self.post(book), Posted::Fresh(_)) {}
    }

    /// A batch at one book time that is undone.
    fn rolled_back(&mut self, book: &mut Book) {
        let (shelf, generator) = (book.shelf.clone(), self.generator.clone());
        let now_us = self.generator.now_us;
        book.ledger.begin_undo();
        for _ in 0..12 {
            let sent = self.generator.next(book);
            self.generator.now_us = now_us;
            // An atomic batch holds members' commands alone.
            if let (Sent::Member(_), Posted::Fresh(op)) = (&sent, post_member(book, &sent, now_us)) {
                self.generator.stands_at(&sent, op, false);
            }
        }
        book.ledger.roll_back();
        (book.shelf, self.generator) = (shelf, generator);
    }
}

fn post(book: &mut Book, sent: &Sent, now_us: i64) -> Posted {
    match sent {
        Sent::Member(command) => book.post(command, now_us),
        Sent::Admin(command) => book.post_admin(command, now_us),
        Sent::Sweep(program, member) => book.sweep(*program, member, now_us),
    }
}

fn post_member(book: &mut Book, sent: &Sent, now_us: i64) -> Posted {
    match sent {
        Sent::Member(_) => post(book, sent, now_us),
        Sent::Admin(_) | Sent::Sweep(..) => Posted::Limit,
    }
}

/// Replays a book's events from where a ledger stands up to an op.
fn replay(ledger: &mut Ledger, book: &Book, upto: Op) {
    let after = usize::try_from(ledger.newest().0).unwrap();
    for (at, bytes) in &book.shelf.events[after..usize::try_from(upto.0).unwrap()] {
        ledger.replay(*at, &codec::decode(bytes).unwrap(), &book.prints).unwrap();
    }
}

#[test]
fn a_state_captured_while_commands_go_on_is_that_of_a_replay_stopped_there_and_replays_on_when_it_is_loaded() {
    let (mut captures, mut abandoned, mut logged, mut counters) = (0, 0, 0, 0);
    for seed in 1..=6 {
        let (mut book, mut posting) = (Book::new(ROOMY), Posting::new(seed));
        let (mut kept, mut passer) = (Images::default(), Ledger::new(ROOMY));
        for _ in 0..40 {
            for _ in 0..posting.generator.rng.between(0, 150) {
                posting.event(&mut book);
            }
            posting.event(&mut book);
            let all = kept.pages.is_empty() || posting.generator.rng.chance(100);
            let captured = book.ledger.begin_capture(all);
            let live = book.ledger.state_hash();
            assert_eq!(captured.op, book.ledger.newest());
            assert!(captured.changed.is_sorted());
            replay(&mut passer, &book, captured.op);
            assert_eq!(passer.state_hash(), live, "seed {seed}");
            let mut images = Images { op: captured.op, base: captured.base, pages: kept.pages.clone() };
            let leaves_off = posting.generator.rng.chance(200);
            let mut copied = 0;
            while book.ledger.capturing() && !(leaves_off && copied > 0) {
                let most = usize::try_from(posting.generator.rng.between(1, 3)).unwrap();
                copied += images.copy(&mut book.ledger, most);
                for _ in 0..posting.generator.rng.between(0, 60) {
                    posting.event(&mut book);
                }
                if posting.generator.rng.chance(300) {
                    posting.rolled_back(&mut book);
                }
                logged += usize::from(book.ledger.capture_log_bytes() > 0);
            }
            if book.ledger.capturing() {
                book.ledger.abandon_capture();
                abandoned += 1;
                assert_eq!(book.ledger.capture_log_bytes(), 0);
                continue;
            }
            assert_eq!((copied, book.ledger.capture_log_bytes()), (captured.changed.len(), 0));
            assert_eq!(images.pages.len(), 2 * usize::try_from(captured.pages).unwrap());
            assert_eq!(images.hash(), live, "seed {seed} op {}", images.op.0);
            let mut loaded = images.load(&book).unwrap();
            assert_eq!(loaded.state_hash(), live);
            assert_eq!(loaded.begin_capture(false).changed, [], "nothing has changed since the images");
            // The live one's tables never shrink: those of the loaded one are of the counters that the images hold.
            counters += usize::from(loaded.memory_bytes().caps > 1_000);
            replay(&mut loaded, &book, book.ledger.newest());
            assert_eq!(loaded.state_hash(), book.ledger.state_hash(), "seed {seed} from op {}", images.op.0);
            kept = images;
            captures += 1;
        }
        assert!(kept.pages.len() >= 6, "{} pages", kept.pages.len());
    }
    assert!(
        captures > 100 && abandoned > 10 && logged > 100 && counters > 50,
        "{captures} {abandoned} {logged} {counters}"
    );
}

#[test]
fn sealing_and_dropping_generations_and_starting_again_from_images_changes_no_answer() {
    for seed in 11..=16 {
        let (mut plain, mut sealed) = (Book::new(ROOMY), Book::new(ROOMY));
        let (mut one, mut other) = (Posting::new(seed), Posting::new(seed));
        let mut chance = Generator::new(seed + 100).rng;
        let (mut seals, mut starts, mut known) = (0, 0, 0);
        for _ in 0..3_000 {
            let posted = one.post(&mut plain);
            assert_eq!(other.post(&mut sealed), posted, "seed {seed}");
            known += usize::from(matches!(posted, Posted::Replayed(_) | Posted::Conflict(_)));
            if chance.chance(10)
                && let Some(generation) = sealed.ledger.seal()
            {
                sealed.runs.take(&generation);
                assert!(!sealed.ledger.seal_due(1), "a generation begins empty");
                seals += 1;
            }
            if chance.chance(10) {
                let back = u64::try_from(chance.between(0, 300)).unwrap();
                let upto = sealed.ledger.newest().0.saturating_sub(back);
                let before = sealed.ledger.memory_after();
                sealed.ledger.drop_sealed(Op(upto));
                let after = sealed.ledger.memory_after();
                assert!(before <= after && after <= before.max(Op(upto)), "only what is sealed up to there goes");
            }
            if chance.chance(3) {
                if let Some(generation) = sealed.ledger.seal() {
                    sealed.runs.take(&generation);
                }
                let images = Images::whole(&mut sealed.ledger);
                sealed.ledger = images.load(&sealed).unwrap();
                assert_eq!(sealed.ledger.memory_after(), sealed.ledger.newest());
                starts += 1;
            }
            if chance.chance(20) {
                one.rolled_back(&mut plain);
                other.rolled_back(&mut sealed);
            }
        }
        assert_eq!(sealed.ledger.state_hash(), plain.ledger.state_hash(), "seed {seed}");
        assert!(seals > 10 && starts > 2 && known > 50, "seed {seed}: {seals} seals, {starts} starts, {known} known");
    }
}

#[test]
fn what_readers_take_from_images_is_what_the_ledger_says() {
    let (mut book, mut posting) = (Book::new(ROOMY), Posting::new(3));
    for _ in 0..2_500 {
        posting.event(&mut book);
    }
    let (asset, basis, purpose) = (AssetNo::POINTS, Basis::Points(50), Purpose::Gift);
    let given = Action::Earn { basis, event_kind: None, asset, matures: Some(Matures::At(i64::MIN)) };
    for (key, action) in [("given", given), ("held", Action::Hold { asset, units: 5, until_us: None, purpose })] {
        let command = book.command(0, key, "who-holds", action);
        assert!(matches!(book.post(&command, posting.generator.now_us), Posted::Fresh(_)));
    }
    let images = Images::whole(&mut book.ledger);
    let programs = programs_of(&images.base).unwrap();
    let trial: Vec<_> = programs.iter().map(|program| program.trial.clone()).collect();
    assert_eq!(trial, book.ledger.trial_balance());
    for (program, view) in programs.iter().zip(book.ledger.programs()) {
        let campaigns: Vec<_> = book.ledger.campaigns(view.number).into_iter().map(|view| view.spec.id).collect();
        assert_eq!((&program.trial.program, &program.campaigns), (&view.id, &campaigns));
        let spec = &view.spec;
        assert_eq!((&program.currency, &program.time_zone), (&spec.currency, &spec.time_zone));
    }
    let loaded = Ledger::from_base(ROOMY, &images.base).unwrap();
    assert_eq!(loaded.snapshots(), book.ledger.snapshots());
    assert!(!loaded.snapshots().is_empty());
    let ids: Vec<String> = programs.iter().map(|program| program.trial.program.clone()).collect();
    let mut numbers = (0..).map(MemberNo);
    let (mut holds, mut pending) = (0, 0);
    for (id, bytes) in images.pages.iter().filter(|(id, _)| id.kind == PageKind::Names) {
        let holdings = &images.pages[&PageId { kind: PageKind::Holdings, ..*id }];
        let hashes = hash_names(bytes, &ids, &book.prints).unwrap();
        let names = names_of(bytes).unwrap().into_iter().zip(hashes);
        for (((program, name), hash), holding) in names.zip(holdings_of(holdings).unwrap()) {
            let number = numbers.next().unwrap();
            assert_eq!(book.ledger.member(hash), Some(number));
            assert_eq!(hash, book.prints.member(&ids[usize::from(program.0)], name));
            assert_eq!(book.ledger.member_id(number), Some(name));
            let points =
                holding.balances.iter().find(|told| told.asset == AssetNo::POINTS).copied().unwrap_or_default();
            assert_eq!(book.ledger.balances(number), Balances { available: points.available, debt: points.debt });
            assert_eq!(book.ledger.member_head(number), holding.head);
            let card = book.ledger.card(number, 0);
            for told in card.assets.iter().map(|card| card.balances) {
                let lots = || holding.lots.iter().filter(|lot| lot.asset == told.asset);
                let units: u64 = lots().map(|lot| lot.entered - lot.left).sum();
                assert_eq!(i64::try_from(units).unwrap(), told.available + told.held);
                for lot in lots() {
                    let parts =
                        holding.holds.iter().filter(|hold| hold.asset == lot.asset).flat_map(|hold| &hold.parts);
                    let pinned: u64 = parts.filter(|(id, _)| *id == lot.lot).map(|(_, units)| units).sum();
                    assert_eq!(pinned, lot.held);
                }
                let pinned: u64 = lots().map(|lot| lot.held).sum();
                let parts = holding.pending.iter().flat_map(|pending| &pending.parts);
                let waiting: u64 = parts.filter(|(asset, ..)| *asset == told.asset).map(|(.., units)| units).sum();
                assert_eq!((pinned, waiting), (told.held.unsigned_abs(), told.pending.unsigned_abs()));
                let known = holding.balances.iter().find(|known| known.asset == told.asset);
                assert_eq!(
                    known.copied().unwrap_or(AssetBalances { asset: told.asset, ..AssetBalances::default() }),
                    told
                );
            }
            holds += holding.holds.len();
            pending += holding.pending.len();
        }
    }
    assert!(holds > 0 && pending > 0, "{holds} holds, {pending} pending");
    assert_eq!(numbers.next(), Some(MemberNo(u32::try_from(book.ledger.counts().0).unwrap())));
}

/// Members of the first page capped, then all that changes in it is that their counters are forgotten.
#[test]
fn a_page_in_which_only_counters_were_swept_is_captured_again_and_as_it_was_before() {
    let mut book = Book::new(ROOMY);
    let mut capped = model::rules::campaign("twice", "a", ratio(2, 1));
    capped.cap = Some(Cap { points: 100, per: CapPer::Day });
    let mut spec = program(vec![rule("purchase", ratio(1, 1))], vec![capped]);
    spec.import_mode = false;
    spec.campaigns[0].start_us = DAY;
    book.post_admin(&book.admin("high-street", "put", model::rules::put(spec)), 0);
    let fund = AdminAction::FundCampaign { campaign: "twice".to_owned(), points: 1_000_000 };
    book.post_admin(&book.admin("high-street", "fund", fund), 0);
    for number in 0..=MEMBERS_PER_PAGE {
        let command = book.command(0, &format!("key-{number}"), &format!("m{number}"), spend(10, "purchase"));
        assert!(matches!(book.post(&command, 2 * DAY), Posted::Fresh(_)));
    }
    let mut kept = Images::whole(&mut book.ledger);
    let before = (book.ledger.state_hash(), book.ledger.begin_capture(true));
    // Two months on the last member alone, who lies in the second page, does something.
    let command = book.command(0, "late", &format!("m{MEMBERS_PER_PAGE}"), spend(10, "purchase"));
    assert!(matches!(book.post(&command, 70 * DAY), Posted::Fresh(_)));
    let mut swept_under_way = Images { op: before.1.op, base: before.1.base, pages: BTreeMap::new() };
    while swept_under_way.copy(&mut book.ledger, 1) > 0 {}
    assert_eq!(swept_under_way.hash(), before.0);
    let Captured { op, base, changed, .. } = book.ledger.begin_capture(false);
    assert_eq!(changed, [0, 1].map(|number| PageId { kind: PageKind::Holdings, number }));
    (kept.op, kept.base) = (op, base);
    while kept.copy(&mut book.ledger, 1) > 0 {}
    assert_eq!(kept.hash(), book.ledger.state_hash());
    assert_ne!(kept.pages, swept_under_way.pages);
}

/// Damage to an image is told or leads to another state; nothing panics, nothing asks for memory without end.
#[test]
fn a_damaged_image_is_refused_or_comes_to_another_hash() {
    let (mut book, mut posting) = (Book::new(ROOMY), Posting::new(8));
    for _ in 0..900 {
        posting.event(&mut book);
    }
    let images = Images::whole(&mut book.ledger);
    let live = book.ledger.state_hash();
    assert_eq!(images.load(&book).unwrap().state_hash(), live);
    let mut rng = Generator::new(1).rng;
    let (mut refused, mut other) = (0, 0);
    for round in 0..400 {
        let mut damaged = images.clone();
        let place = rng.between(0, i64::try_from(images.pages.len()).unwrap());
        let bytes = match images.pages.keys().nth(usize::try_from(place).unwrap()) {
            Some(id) => damaged.pages.get_mut(id).unwrap(),
            None => &mut damaged.base,
        };
        let at = usize::try_from(rng.between(0, i64::try_from(bytes.len()).unwrap() - 1)).unwrap();
        match round % 4 {
            0 => bytes[at] ^= 1 << (rng.draw() % 8),
            1 => bytes[at] = 0xff,
            2 => bytes.truncate(at),
            _ => bytes.insert(at, bytes[at]),
        }
        if damaged.hash() == live {
            continue;
        }
        match damaged.load(&book) {
            Err(_) => refused += 1,
            Ok(loaded) => {
                assert_ne!(loaded.state_hash(), live);
                other += 1;
            }
        }
    }
    assert!(refused > 100 && refused + other > 300, "{refused} refused, {other} of another state");
}

#[test]
fn pages_that_are_missing_doubled_or_out_of_order_are_refused() {
    let (mut book, mut posting) = (Book::new(ROOMY), Posting::new(9));
    for _ in 0..2_000 {
        posting.event(&mut book);
    }
    let images = Images::whole(&mut book.ledger);
    let ids: Vec<PageId> = images.pages.keys().copied().collect();
    let load = |ids: &[PageId]| -> Result<(), ImageError> {
        let mut ledger = Ledger::from_base(ROOMY, &images.base)?;
        ids.iter().try_for_each(|id| ledger.load_page(*id, &images.pages[id], &book.prints))?;
        ledger.finish_load()
    };
    assert!(ids.len() >= 4);
    assert_eq!(load(&ids), Ok(()));
    for place in 0..ids.len() {
        let mut missing = ids.clone();
        missing.remove(place);
        assert!(load(&missing).is_err(), "without {:?}", ids[place]);
        let mut doubled = ids.clone();
        doubled.insert(place, ids[place]);
        assert!(load(&doubled).is_err(), "with {:?} twice", ids[place]);
    }
    let mut swapped = ids.clone();
    swapped.swap(0, 1);
    assert!(load(&swapped).is_err());
}

#[test]
fn hashes_made_without_a_ledger_are_those_that_replay_makes() {
    let (mut book, mut posting) = (Book::new(ROOMY), Posting::new(4));
    for _ in 0..800 {
        posting.event(&mut book);
    }
    let (mut ids, mut ledger): (Vec<String>, _) = (Vec::new(), Ledger::new(ROOMY));
    for (at, bytes) in &book.shelf.events {
        let event = codec::decode(bytes).unwrap();
        let id = |number: ProgramNo| ids.get(usize::from(number.0)).map(String::as_str);
        let hashes = hashes_of(&Named::from(&event), at.op, id, &book.prints).unwrap();
        ledger.touch_event(hashes, event.member());
        ledger.evolve(*at, &event, hashes).unwrap();
        if let Event::ProgramPut(ProgramPut { common: AdminCommon { program_id: Some(id), .. }, .. }) = event {
            ids.push(id.to_owned());
        }
    }
    assert_eq!(ledger.state_hash(), book.ledger.state_hash());
}

/// A ledger of members with ids of 20 bytes and one event each. A sixty-fourth of ten million fills the tables of the
/// index as ten million do.
fn crowd(members: u32) -> Ledger {
    let mut book = Book::new(ROOMY);
    let spec = program(vec![rule("purchase", ratio(10, 100))], Vec::new());
    let put = AdminAction::PutProgram { expected_version: None, spec: Box::new(spec), definition: String::new() };
    book.post_admin(&book.admin("high-street", "put", put), 0);
    let (mut ledger, mut before) = (book.ledger, Op(0));
    let text = |text| Text { scheme: 0, text };
    for number in 0..members {
        let op = ledger.newest().next();
        let (id, key) = (format!("member-{number:013}"), format!("key-{number}"));
        let mut legs = Legs::default();
        let link = op.distance_from(before);
        let lot = LotId { source: Source::Granted, expiry: Expiry::Never };
        assert!(legs.push(Leg { account: Account::Adjustment { link }, asset: AssetNo::POINTS, amount: -1_234 }));
        assert!(legs.push(Leg {
            account: Account::Available { lot, position: 0 },
            asset: AssetNo::POINTS,
            amount: 1_234
        }));
        let event = Event::Adjusted(Adjusted {
            common: Common {
                program: ProgramNo(0),
                key: &key,
                body_hash: [0; 16],
                member: MemberRef::Opened(MemberNo(number), &id),
                member_link: 0,
                behind_us: 0,
                notes: None,
                after: Balances { available: 1_234, debt: 0 },
                others: Later::default(),
            },
            points: 1_234,
            actor: text("desk"),
            reason: text("test"),
            legs,
            more: Later::default(),
        });
        let hashes = Hashes {
            key: book.prints.key("high-street", &key),
            member: book.prints.member("high-street", &id),
            other: 0,
        };
        ledger.evolve(Moment { op, book_time_us: 0 }, &event, hashes).unwrap();
        before = op;
    }
    ledger
}

#[test]
fn a_member_takes_at_most_160_bytes() {
    let members = 10_000_000 / 64;
    let ledger = crowd(members);
    let bytes = ledger.memory_bytes();
    let count = usize::try_from(members).unwrap();
    println!("a member: {} bytes of {bytes:?}", (bytes.total() - bytes.keys) / count);
    assert!(bytes.index + bytes.names + bytes.holdings + bytes.caps <= 160 * count, "{bytes:?}");
}

#[test]
fn a_page_of_busy_members_takes_at_most_20_kib() {
    let mut book = Book::new(ROOMY);
    let spec = program(vec![rule("purchase", ratio(10, 100))], vec![model::rules::campaign("twice", "a", ratio(2, 1))]);
    book.post_admin(&book.admin("high-street", "put", model::rules::put(spec)), 0);
    let fund = AdminAction::FundCampaign { campaign: "twice".to_owned(), points: 1_000_000_000 };
    book.post_admin(&book.admin("high-street", "fund", fund), 0);
    for event in 0..4 * MEMBERS_PER_PAGE {
        let (key, member) = (format!("key-{event}"), format!("member-{:013}", event % MEMBERS_PER_PAGE));
        let purpose = Purpose::Gift;
        let action = match event < 3 * MEMBERS_PER_PAGE {
            true => spend(123_456, "purchase"),
            false => Action::Redeem { asset: AssetNo::POINTS, points: 20_000, purpose },
        };
        let command = book.command(0, &key, &member, action);
        assert!(matches!(book.post(&command, 0), Posted::Fresh(_)));
    }
    let images = Images::whole(&mut book.ledger);
    let sizes: Vec<usize> = images.pages.values().map(Vec::len).collect();
    println!("pages of {MEMBERS_PER_PAGE} members: {sizes:?} bytes");
    assert_eq!(sizes.len(), 2);
    assert!(sizes.iter().all(|size| *size <= 20 * 1024), "{sizes:?}");
    // Ops of a book of billions are five bytes and not two: a head a member, and a distance to it a lot.
    assert!(sizes[1] + 3 * 3 * MEMBERS_PER_PAGE <= 20 * 1024, "{sizes:?}");
}
