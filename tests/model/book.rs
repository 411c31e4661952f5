//! A book in memory: commands go in, events go through their bytes as they would through the journal, and whoever asks
//! gets them back in the words of the chart of accounts.

use std::collections::BTreeMap;

use stampbook::ledger::command::{Action, AdminAction, AdminCommand, Command, Notes, Original};
use stampbook::ledger::event::{Account, Balances, Common, Event, Leg, Source};
use stampbook::ledger::ids::{CampaignNo, MemberNo, MemberRef, Op, ProgramNo};
use stampbook::ledger::print::Prints;
use stampbook::ledger::reason::Reason;
use stampbook::ledger::{
    Decision, Found, Generation, Hashes, Ledger, Limits, Lookup, Moment, Need, Resolved, codec, key_bits,
};

/// What the book did with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// It was decided now and stands at that op.
    Fresh(Op),
    /// The same key and body stand at that op.
    Replayed(Op),
    /// The key stands at that op with another body.
    Conflict(Op),
    /// The book is full; nothing was written.
    Limit,
}

/// A campaign's part in an award or a take-back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The campaign's id.
    pub campaign: String,
    /// What the multiplier asked for; in a refund what the original awarded.
    pub desired: i128,
    /// What was awarded, or taken back by this refund.
    pub moved: i128,
    /// Why less was awarded than asked.
    pub reason: Option<Reason>,
}

/// What an event says, by names and amounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The reason and field of a refusal.
    pub refused: Option<(Reason, String)>,
    /// The version of the rules, where one was used.
    pub version: Option<u32>,
    /// Base points awarded or taken back.
    pub base: i128,
    /// The campaigns' parts, by id.
    pub parts: Vec<Part>,
    /// Amounts by account name, credit positive.
    pub legs: BTreeMap<String, i128>,
    /// Where the interval of each lot's leg begins.
    pub positions: BTreeMap<String, i128>,
    /// The member's available points and debt afterwards.
    pub after: (i128, i128),
}

/// The ledger, its book, and the hasher of both.
pub(crate) struct Book {
    pub ledger: Ledger,
    pub prints: Prints,
    pub shelf: Shelf,
    pub runs: Runs,
}

/// What the ledger sealed: keys and take-backs that it need not hold any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    keys: BTreeMap<u128, Op>,
    taken: BTreeMap<Op, Op>,
}

impl Runs {
    /// Takes a sealed generation in; generations come in the order of their ops.
    pub(crate) fn take(&mut self, sealed: &Generation) {
        assert_eq!(usize::try_from(sealed.last().0).unwrap() - self.keys.len(), sealed.keys().count());
        for (bits, op) in sealed.keys() {
            assert!(sealed.after() < op && op <= sealed.last());
            assert_eq!(self.keys.insert(bits, op), None, "a key was sealed twice");
        }
        self.taken.extend(sealed.taken());
    }

    fn answer(&self, lookup: Lookup) -> Found {
        let found = match lookup {
            Lookup::Key(print) => self.keys.get(&key_bits(print)),
            Lookup::Taken(original) => self.taken.get(&original),
        };
        found.map_or(Found::Free, |op| Found::Taken(*op))
    }
}

/// The events as bytes, and what they tell of names and links.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    pub events: Vec<(Moment, Vec<u8>)>,
    program_ids: Vec<String>,
    campaign_ids: BTreeMap<(ProgramNo, CampaignNo), String>,
    member_ids: BTreeMap<MemberNo, String>,
    member_heads: BTreeMap<MemberNo, Op>,
    account_heads: BTreeMap<(ProgramNo, String), Op>,
    latest_refunds: BTreeMap<Op, Op>,
}

/// Limits that no test but one comes near.
pub(crate) const ROOMY: Limits = Limits { members_max: 1_000_000, cap_counters_max: 1_000_000 };

impl Book {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { ledger: Ledger::new(limits), prints: prints(), shelf: Shelf::default(), runs: Runs::default() }
    }

    /// A command as the server would make it, without notes.
    pub(crate) fn command(&self, program: usize, key: &str, member: &str, action: Action) -> Command {
        self.noted(program, key, member, "", action)
    }

    /// A command with a reference.
    pub(crate) fn noted(&self, program: usize, key: &str, member: &str, reference: &str, action: Action) -> Command {
        let id = &self.shelf.program_ids[program];
        let notes = Notes { reference: reference.to_owned(), ..Notes::default() };
        let mut command = Command {
            program: ProgramNo(u16::try_from(program).unwrap()),
            key: key.to_owned(),
            key_print: self.prints.key(id, key),
            body_hash: [0; 16],
            member: member.to_owned(),
            member_hash: self.prints.member(id, member),
            occurred_at_us: None,
            currency: None,
            notes: (!reference.is_empty()).then(|| Box::new(notes)),
            action,
        };
        command.body_hash = body_hash(&command);
        command
    }

    /// An operator's command as the server would make it.
    pub(crate) fn admin(&self, program_id: &str, key: &str, action: AdminAction) -> AdminCommand {
        let mut command = AdminCommand {
            program_id: program_id.to_owned(),
            key: key.to_owned(),
            key_print: self.prints.key(program_id, key),
            body_hash: [0; 16],
            actor: "night desk".to_owned(),
            reason: "as planned".to_owned(),
            action,
        };
        command.body_hash = body_hash(&command);
        command
    }

    /// Decides a member's command and writes its event.
    pub(crate) fn post(&mut self, command: &Command, book_time_us: i64) -> Posted {
        if let Some(known) = self.known(command.key_print, &command.key, command.body_hash) {
            return known;
        }
        let at = self.begin(book_time_us);
        let resolved = self.resolve(command);
        let hashes = Hashes { key: command.key_print, member: command.member_hash };
        match self.ledger.decide(command, resolved.as_ref(), at) {
            Decision::Event(event) => {
                self.ledger.prove(at, &event, resolved.as_ref(), &self.prints).unwrap();
                self.write(at, &event, hashes)
            }
            Decision::LimitReached => Posted::Limit,
        }
    }

    /// Decides an operator's command and writes its event.
    pub(crate) fn post_admin(&mut self, command: &AdminCommand, book_time_us: i64) -> Posted {
        if let Some(known) = self.known(command.key_print, &command.key, command.body_hash) {
            return known;
        }
        let at = self.begin(book_time_us);
        let event = self.ledger.decide_admin(command, at);
        self.write(at, &event, Hashes { key: command.key_print, member: 0 })
    }

    /// Each event is a frame of its own here.
    fn begin(&mut self, book_time_us: i64) -> Moment {
        Moment { op: Op(u64::try_from(self.shelf.events.len()).unwrap() + 1), book_time_us }
    }

    fn known(&self, print: u128, key: &str, body_hash: [u8; 16]) -> Option<Posted> {
        let op = self.ledger.find_key(print, &|lookup| self.runs.answer(lookup)).unwrap()?;
        let (_, stood_key, stood_hash) = self.event(op).identity();
        assert_eq!(stood_key, key, "the fingerprint of {key} leads to another key");
        Some(if stood_hash == body_hash { Posted::Replayed(op) } else { Posted::Conflict(op) })
    }

    /// The event at an op, from its bytes.
    pub(crate) fn event(&self, op: Op) -> Event<'_> {
        let at = usize::try_from(op.0).unwrap() - 1;
        codec::decode(&self.shelf.events[at].1).unwrap()
    }

    /// Looks up in the book what the ledger says it needs, as the engine's readers do.
    fn resolve(&self, command: &Command) -> Option<Resolved> {
        let runs = &|lookup| self.runs.answer(lookup);
        let need = match self.ledger.needs(command, runs) {
            Need::Walk { head } => {
                self.by_reference(command, head).map_or(Need::NotFound, |op| self.ledger.needs_original(op, runs))
            }
            need => need,
        };
        match need {
            Need::Nothing => None,
            Need::Original { op, latest_refund } => {
                let latest = latest_refund.map(|at| (at, self.event(at)));
                let latest = latest.as_ref().map(|(at, event)| (*at, event));
                Some(Resolved::from_events(op, &self.event(op), latest))
            }
            Need::NotFound | Need::Walk { .. } | Need::Runs(_) => Some(Resolved::NotFound),
        }
    }

    fn by_reference(&self, command: &Command, head: Op) -> Option<Op> {
        let Action::Refund { original: Original::Reference(wanted), .. } = &command.action else { return None };
        let mut at = Some(head).filter(|op| op.0 > 0);
        while let Some(op) = at {
            let event = self.event(op);
            let common = event.common().unwrap();
            if let (Event::Earned(_), Some(notes)) = (&event, &common.notes)
                && notes.reference.text == wanted
            {
                return Some(op);
            }
            at = op.back(common.member_link);
        }
        None
    }

    fn write(&mut self, at: Moment, event: &Event<'_>, hashes: Hashes) -> Posted {
        let mut bytes = Vec::new();
        codec::encode(event, &mut bytes).unwrap();
        let read = codec::decode(&bytes).unwrap();
        assert_eq!(&read, event, "an event reads as it was written");
        self.ledger.evolve(at, &read, hashes).unwrap();
        self.learn(at.op, &read);
        self.shelf.events.push((at, bytes));
        Posted::Fresh(at.op)
    }

    /// Keeps names and links, and checks that the links lead where they should.
    fn learn(&mut self, op: Op, event: &Event<'_>) {
        if let Event::ProgramPut(put) = event {
            if usize::from(put.common.program.0) == self.shelf.program_ids.len() {
                self.shelf.program_ids.push(put.common.program_id.unwrap().to_owned());
            }
            for (number, campaign) in put.campaigns.iter().zip(&put.spec.campaigns) {
                self.shelf.campaign_ids.insert((put.common.program, *number), campaign.id.clone());
            }
        }
        if let Some(common) = event.common() {
            self.learn_member(op, common);
        }
        self.learn_accounts(op, event);
        if let Event::Refunded(refunded) = event
            && let Some(from) = &refunded.from
        {
            let original = op.back(from.original_link).unwrap();
            let before = self.shelf.latest_refunds.insert(original, op);
            assert_eq!(op.back(from.previous_link), before, "op {} links to the previous refund", op.0);
        }
    }

    fn learn_member(&mut self, op: Op, common: &Common<'_>) {
        if let MemberRef::Opened(number, id) = common.member {
            assert!(self.shelf.member_ids.insert(number, id.to_owned()).is_none(), "{id} was opened twice");
        }
        if let Some(number) = common.member.number() {
            let before = self.shelf.member_heads.insert(number, op);
            assert_eq!(op.back(common.member_link), before, "op {} links to the member's previous event", op.0);
        } else {
            assert_eq!(common.member_link, 0);
        }
    }

    fn learn_accounts(&mut self, op: Op, event: &Event<'_>) {
        let program = event.identity().0;
        let mut links: BTreeMap<String, u64> = BTreeMap::new();
        if let Event::CampaignChanged(changed) = event {
            links.insert(self.campaign_account(program, changed.campaign), changed.campaign_link);
        }
        for leg in event.legs() {
            if let Account::Issuance { link }
            | Account::Campaign { link, .. }
            | Account::Redemption { link, .. }
            | Account::Adjustment { link }
            | Account::Opening { link } = leg.account
            {
                links.insert(self.account_name(program, "", &leg.account), link);
            }
        }
        for (account, link) in links {
            let before = self.shelf.account_heads.insert((program, account.clone()), op);
            assert_eq!(op.back(link), before, "op {} links to the previous event of {account}", op.0);
        }
    }

    fn campaign_account(&self, program: ProgramNo, campaign: CampaignNo) -> String {
        format!("campaign/{}", self.shelf.campaign_ids[&(program, campaign)])
    }

    fn account_name(&self, program: ProgramNo, member: &str, account: &Account) -> String {
        match account {
            Account::Available { lot, .. } => lot_name(member, lot.source),
            Account::Debt => format!("member/{member}/debt"),
            Account::Issuance { .. } => "issuance".to_owned(),
            Account::Campaign { campaign, .. } => self.campaign_account(program, *campaign),
            Account::Redemption { purpose, .. } => format!("redemption/{}", purpose.name()),
            Account::Adjustment { .. } => "adjustment".to_owned(),
            Account::Opening { .. } => "opening".to_owned(),
        }
    }

    /// What the event at an op says.
    pub(crate) fn said(&self, op: Op) -> Said {
        let event = self.event(op);
        let mut said = Said { refused: event.rejection().map(|(r, f)| (r, f.to_owned())), ..Said::default() };
        if let Some(common) = event.common() {
            said.after = (common.after.available.into(), common.after.debt.into());
        }
        let program = event.identity().0;
        let campaign_id = |number| self.shelf.campaign_ids[&(program, number)].clone();
        match &event {
            Event::Earned(e) => {
                said.version = Some(e.version.0);
                said.base = e.base.into();
                said.parts.extend(e.shares.iter().map(|share| Part {
                    campaign: campaign_id(share.campaign),
                    desired: i128::from(share.awarded) + i128::from(share.short),
                    moved: share.awarded.into(),
                    reason: share.reason,
                }));
            }
            Event::Refunded(e) => {
                said.version = Some(e.version.0);
                said.base = e.base.into();
                let shares = e.from.iter().flat_map(|from| from.shares.iter());
                said.parts.extend(shares.map(|share| Part {
                    campaign: campaign_id(share.campaign),
                    desired: share.of.into(),
                    moved: share.taken.into(),
                    reason: None,
                }));
            }
            Event::ProgramPut(e) => said.version = Some(e.version.0),
            _ => {}
        }
        said.parts.sort_by(|a, b| a.campaign.cmp(&b.campaign));
        self.say_legs(program, &event, &mut said);
        said
    }

    fn say_legs(&self, program: ProgramNo, event: &Event<'_>, said: &mut Said) {
        let member = event.member().map_or("", |number| self.shelf.member_ids[&number].as_str());
        for Leg { account, amount, .. } in event.legs() {
            assert_ne!(*amount, 0, "a leg of nothing");
            let name = self.account_name(program, member, account);
            if let Account::Available { position, .. } = account {
                said.positions.insert(name.clone(), (*position).into());
            }
            let before = said.legs.insert(name, (*amount).into());
            assert_eq!(before, None, "two legs of one event on one account");
        }
    }

    /// The member's balances as readers are shown them; `None` for an id that names no member.
    pub(crate) fn balances(&self, program: usize, member: &str) -> Option<Balances> {
        let id = &self.shelf.program_ids[program];
        let member = self.ledger.member(self.prints.member(id, member))?;
        Some(self.ledger.balances(member))
    }

    /// The campaign's budget left.
    pub(crate) fn budget(&self, program: usize, campaign: &str) -> i64 {
        let number = ProgramNo(u16::try_from(program).unwrap());
        self.ledger.campaigns(number).iter().find(|view| view.spec.id == campaign).unwrap().left
    }
}

/// The hasher of every test's book.
pub(crate) fn prints() -> Prints {
    Prints::new([7; 32])
}

/// The name of a member's lot.
pub(crate) fn lot_name(member: &str, source: Source) -> String {
    let source = match source {
        Source::Base => "base",
        Source::Campaign => "campaign",
        Source::Granted => "granted",
        Source::Opening => "opening",
    };
    format!("member/{member}/{source}")
}

/// A stand-in for the server's hash of the body: it covers everything that the caller sent.
pub(crate) fn body_hash(command: &(impl Clone + std::fmt::Debug)) -> [u8; 16] {
    let whole = blake3::hash(format!("{command:?}").as_bytes());
    *whole.as_bytes().first_chunk().unwrap()
}
