//! A shop with two programs where everything happens that can: random commands through months.

use std::collections::BTreeMap;

#[path = "../../src/rng.rs"]
mod rng;

use stampbook::proto::admin_service_client::AdminServiceClient;
use stampbook::proto::checkout_part::Part;
use stampbook::proto::command::Action;
use stampbook::proto::ledger_service_client::LedgerServiceClient;
use stampbook::proto::{
    Activate, Adjust, Capture, Checkout, CheckoutPart, Close, ClosePeriodRequest, Command, Convert, DriveClockRequest,
    Earn, Freeze, FundCampaignRequest, Grant, Hold, MemberSet, Merge, Opening, Outcome, PauseCampaignRequest,
    PostBatchRequest, Purpose, PutProgramRequest, PutRewardRequest, Receipt, Redeem, Refund, Release,
    ResumeCampaignRequest, Reverse, TopUp, Transfer, Unfreeze, Use, activate, capture, earn, refund, release, reverse,
};
use tonic::transport::Channel;

use rng::Rng;

/// When the shop opens: its campaigns are still to come.
pub(crate) const BEGINS: &str = "2027-08-31T08:00:00Z";
const BEGINS_US: i64 = 1_819_699_200_000_000;
const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 1_440 * MINUTE_US;
const GROCER: &str = include_str!("../../../programs/grocer.toml");
const SKYLINE: &str = r#"
id = "skyline"
name = "Skyline Miles by Secret Airways"
currency = "GBP"
time_zone = "Europe/London"
mode = "import"
accepts_from = ["grocer"]

[[assets]]
id = "points"
kind = "spendable"
unit = "point"
expires = "30 days"
round_up = "day"

[[assets]]
id = "miles"
kind = "spendable"
unit = "mile"
expires = "3 months rolling"

[[rules]]
kind = "flight"
points = 1
per_minor = 10
"#;
/// What is in the book and must not be in a trace.
pub(crate) const SECRETS: [&str; 13] = [
    "ann-",
    "secret-key",
    "invoice-",
    "till-",
    "partner-",
    "place-",
    "colour",
    "ana",
    "because",
    "mug",
    "vegan",
    "Corner",
    "Secret Airways",
];
const MEMBERS: u64 = 12;

/// What a command named that was applied, so that others can come back to it.
#[derive(Clone)]
struct Known {
    program: &'static str,
    member: String,
    key: String,
    op: u64,
    parts: Vec<u64>,
    amount: i64,
}

/// The shop, and the server that keeps its books.
pub(crate) struct Shop {
    ledger: LedgerServiceClient<Channel>,
    admin: AdminServiceClient<Channel>,
    rng: Rng,
    now_us: i64,
    count: u64,
    known: BTreeMap<&'static str, Vec<Known>>,
    last: Vec<Command>,
}

impl Shop {
    /// Puts the programs, funds campaigns and stocks a reward.
    pub(crate) async fn open(address: &str, seed: u64) -> Self {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let mut shop = Self {
            ledger: LedgerServiceClient::new(channel.clone()),
            admin: AdminServiceClient::new(channel),
            rng: Rng::new(seed, 0),
            now_us: BEGINS_US,
            count: 0,
            known: BTreeMap::new(),
            last: Vec::new(),
        };
        shop.put("grocer", GROCER).await;
        shop.put("skyline", SKYLINE).await;
        shop.fund("harvest-week", 9_000).await;
        shop.fund("grow-faster", 3_000).await;
        shop.reward(40).await;
        shop
    }

    fn key(&mut self) -> String {
        self.count += 1;
        format!("secret-key-{}", self.count)
    }

    async fn put(&mut self, program: &str, definition: &str) {
        let (program, definition, key) = (program.to_owned(), definition.to_owned(), self.key());
        let (actor, reason) = ("ana".to_owned(), "because".to_owned());
        let put = PutProgramRequest { program, definition, expected_version: None, key, actor, reason };
        let receipt = self.admin.put_program(put).await.unwrap().into_inner().receipt.unwrap();
        assert_eq!(receipt.outcome(), Outcome::Applied, "{receipt:?}");
    }

    async fn fund(&mut self, campaign: &str, points: i64) {
        let (program, campaign, key) = ("grocer".to_owned(), campaign.to_owned(), self.key());
        let (actor, reason) = ("ana".to_owned(), "because".to_owned());
        self.admin.fund_campaign(FundCampaignRequest { program, campaign, points, key, actor, reason }).await.unwrap();
    }

    async fn reward(&mut self, stocked: i64) {
        let key = self.key();
        let put = PutRewardRequest {
            program: "grocer".to_owned(),
            reward: "mug".to_owned(),
            name: "A mug".to_owned(),
            price: 40,
            open: true,
            stocked,
            key,
            actor: "ana".to_owned(),
            reason: "because".to_owned(),
            ..PutRewardRequest::default()
        };
        self.admin.put_reward(put).await.unwrap();
    }

    /// Time passes, and somebody does something.
    pub(crate) async fn step(&mut self) {
        self.now_us += match self.rng.below(100) {
            0..50 => 0,
            50..80 => 1_000_000 * i64::try_from(self.rng.below(600)).unwrap(),
            80..98 => MINUTE_US * i64::try_from(self.rng.below(300)).unwrap(),
            98 => DAY_US,
            _ => DAY_US * i64::try_from(self.rng.below(9)).unwrap(),
        };
        self.admin.drive_clock(DriveClockRequest { to_us: self.now_us }).await.unwrap();
        match self.rng.below(40) {
            0 => self.operate().await,
            1 if !self.last.is_empty() => {
                // A caller who heard nothing sends it all again.
                let again = self.last.clone();
                self.post(again).await;
            }
            _ => {
                let count = 1 + self.rng.below(3);
                let mut commands = Vec::new();
                for _ in 0..count {
                    commands.push(self.command());
                }
                self.last = commands.clone();
                self.post(commands).await;
            }
        }
    }

    async fn operate(&mut self) {
        let (program, campaign, key) = ("grocer".to_owned(), "harvest-week".to_owned(), self.key());
        let (actor, reason) = ("ana".to_owned(), "because".to_owned());
        match self.rng.below(6) {
            0 => drop(self.admin.pause_campaign(PauseCampaignRequest { program, campaign, key, actor, reason }).await),
            1 | 2 => {
                drop(self.admin.resume_campaign(ResumeCampaignRequest { program, campaign, key, actor, reason }).await)
            }
            3 => self.reward(2).await,
            4 => self.put("grocer", GROCER).await,
            _ => {
                let until_us = self.now_us - DAY_US;
                drop(self.admin.close_period(ClosePeriodRequest { program, until_us, key, actor, reason }).await);
            }
        }
    }

    async fn post(&mut self, commands: Vec<Command>) {
        let request = PostBatchRequest { items: commands.clone(), atomic: false };
        let receipts = self.ledger.post_batch(request).await.unwrap().into_inner().receipts;
        for (command, receipt) in commands.into_iter().zip(receipts) {
            match receipt.outcome() {
                Outcome::Applied if !receipt.replayed => self.keep(command, &receipt),
                Outcome::Applied | Outcome::Rejected => {}
                other => panic!("{other:?}: {command:?}: {receipt:?}"),
            }
        }
    }

    fn keep(&mut self, command: Command, receipt: &Receipt) {
        let (kind, amount) = match command.action.unwrap() {
            Action::Earn(Earn { basis: Some(earn::Basis::AmountMinor(minor)), .. }) => ("earn", minor),
            Action::Redeem(_) | Action::Adjust(_) | Action::TopUp(_) | Action::Grant(_) | Action::Capture(_) => {
                ("spend", 0)
            }
            Action::Hold(_) => ("hold", 0),
            Action::Checkout(_) => ("checkout", 0),
            _ => return,
        };
        let program = if command.program == "grocer" { "grocer" } else { "skyline" };
        let parts = receipt.parts.iter().map(|part| part.op).collect();
        let known = Known { program, member: command.member, key: command.key, op: receipt.op, parts, amount };
        self.known.entry(kind).or_default().push(known);
    }

    fn known(&mut self, kind: &str) -> Option<Known> {
        let known = self.known.get(kind)?;
        let reach = u64::try_from(known.len()).unwrap().min(30);
        let back = usize::try_from(self.rng.below(reach)).unwrap();
        known.iter().rev().nth(back).cloned()
    }

    fn member(&mut self) -> String {
        format!("ann-{}", self.rng.below(MEMBERS))
    }

    fn units(&mut self, below: u64) -> i64 {
        1 + i64::try_from(self.rng.below(below)).unwrap()
    }

    fn command(&mut self) -> Command {
        let (mut program, mut member) = ("grocer", self.member());
        let action = match self.rng.below(4) {
            0 => self.take_back(&mut program, &mut member),
            _ => None,
        };
        let action = match action {
            Some(action) => action,
            None if self.rng.below(8) == 0 => {
                program = "skyline";
                self.flight()
            }
            None => self.shopping(),
        };
        let occurred_at_us = match self.rng.below(4) {
            0 => Some(self.now_us - MINUTE_US * i64::try_from(self.rng.below(3 * 1_440)).unwrap()),
            _ => None,
        };
        Command {
            program: program.to_owned(),
            key: self.key(),
            member,
            occurred_at_us,
            reference: format!("invoice-{}", self.count),
            channel: "till-4".to_owned(),
            partner: "partner-7".to_owned(),
            location: "place-9".to_owned(),
            metadata: [("colour".to_owned(), "red".to_owned())].into(),
            action: Some(action),
            ..Command::default()
        }
    }

    /// What comes back to an earlier command, of whose program and member it is.
    fn take_back(&mut self, program: &mut &'static str, member: &mut String) -> Option<Action> {
        let kind = ["earn", "earn", "earn", "spend", "spend", "hold", "hold", "hold", "checkout"]
            [usize::try_from(self.rng.below(9)).unwrap()];
        let known = self.known(kind)?;
        (*program, *member) = (known.program, known.member.clone());
        let by_key = self.rng.below(2) == 0;
        Some(match kind {
            "earn" if self.rng.below(5) == 0 => {
                Action::Activate(Activate { original: Some(activate::Original::OriginalOp(known.op)) })
            }
            "earn" => {
                let original = match self.rng.below(3) {
                    0 => refund::Original::OriginalOp(known.op),
                    1 => refund::Original::OriginalKey(known.key),
                    _ => refund::Original::OriginalReference("invoice-5".to_owned()),
                };
                let amount = Some(refund::Amount::AmountMinor(known.amount / self.units(3)));
                Action::Refund(Refund { original: Some(original), amount, event_kind: String::new() })
            }
            "spend" => {
                let original = match by_key {
                    true => reverse::Original::OriginalKey(known.key),
                    false => reverse::Original::OriginalOp(known.op),
                };
                let units = if self.rng.below(2) == 0 { Some(self.units(20)) } else { None };
                Action::Reverse(Reverse { original: Some(original), units })
            }
            "hold" if self.rng.below(3) == 0 => {
                Action::Release(Release { hold: Some(release::Hold::HoldKey(known.key)) })
            }
            "hold" => {
                let (units, last) = (40 * self.units(2), self.rng.below(2) == 0);
                Action::Capture(Capture { hold: Some(capture::Hold::HoldOp(known.op)), units, last })
            }
            _ => {
                let at = usize::try_from(self.rng.below(u64::try_from(known.parts.len()).unwrap())).unwrap();
                let original = Some(reverse::Original::OriginalOp(known.parts[at]));
                Action::Reverse(Reverse { original, units: None })
            }
        })
    }

    fn flight(&mut self) -> Action {
        let (actor, reason) = ("ana".to_owned(), "because".to_owned());
        match self.rng.below(3) {
            0 => {
                let (points, asset) = (self.units(500), "miles".to_owned());
                Action::Opening(Opening { points, actor, reason, asset, lapses_at_us: Some(self.now_us + 20 * DAY_US) })
            }
            1 => Action::Opening(Opening { points: -self.units(50), actor, reason, ..Opening::default() }),
            _ => self.earn("flight"),
        }
    }

    fn earn(&mut self, kind: &str) -> Action {
        let basis = Some(earn::Basis::AmountMinor(self.units(40_000)));
        Action::Earn(Earn { basis, event_kind: kind.to_owned(), ..Earn::default() })
    }

    fn redeem(&mut self) -> Redeem {
        match self.rng.below(3) {
            0 => Redeem {
                reward: "mug".to_owned(),
                quantity: self.units(2),
                purpose: Purpose::Gift.into(),
                ..Redeem::default()
            },
            1 => Redeem { points: self.units(400), purpose: Purpose::CashOffset.into(), ..Redeem::default() },
            _ => Redeem { points: self.units(200), purpose: Purpose::Charity.into(), ..Redeem::default() },
        }
    }

    fn shopping(&mut self) -> Action {
        let (actor, reason) = ("ana".to_owned(), "because".to_owned());
        let other = self.member();
        match self.rng.below(34) {
            0..6 => self.earn("purchase"),
            6..9 => self.earn("order-ahead"),
            9..12 => self.earn("bottle-return"),
            12 => self.earn("nothing-known"),
            13..17 => Action::Redeem(self.redeem()),
            17 => {
                let reward = Hold { reward: "mug".to_owned(), quantity: self.units(2), ..Hold::default() };
                Action::Hold(Hold { purpose: Purpose::Gift.into(), ..reward })
            }
            18 | 19 => {
                let until_us = Some(self.now_us + MINUTE_US * self.units(2_000) + 7);
                Action::Hold(Hold { units: 80, purpose: Purpose::Lottery.into(), until_us, ..Hold::default() })
            }
            20 => Action::TopUp(TopUp {
                asset: "card".to_owned(),
                principal_minor: self.units(900),
                bonus_minor: self.units(90),
            }),
            21 => Action::Grant(Grant { asset: "delivery".to_owned(), units: self.units(3), ..Grant::default() }),
            22 => Action::Use(Use { asset: "delivery".to_owned(), units: 1 }),
            23 => Action::Adjust(Adjust { points: self.units(300), actor, reason, asset: String::new() }),
            24 => Action::Freeze(Freeze { actor, reason }),
            25 | 26 => Action::Unfreeze(Unfreeze { actor, reason }),
            27 => Action::Transfer(Transfer { to: other, asset: String::new(), units: self.units(60) }),
            28 => Action::Convert(Convert {
                to_program: "skyline".to_owned(),
                to_asset: "miles".to_owned(),
                units: 250 + self.units(400),
                ..Convert::default()
            }),
            29 if self.rng.below(6) == 0 => Action::Merge(Merge { into: other, actor, reason }),
            30 if self.rng.below(12) == 0 => Action::Close(Close { actor, reason }),
            29..32 => {
                let (add_tags, remove_tags) = match self.rng.below(2) {
                    0 => (vec!["vegan".to_owned()], vec![]),
                    _ => (vec![], vec!["vegan".to_owned()]),
                };
                let joined_on = Some("2024-02-29".to_owned());
                Action::MemberSet(MemberSet { joined_on, add_tags, remove_tags })
            }
            _ => {
                let Action::Earn(earn) = self.earn("purchase") else { unreachable!() };
                let parts = [Part::Redeem(self.redeem()), Part::Earn(earn)];
                Action::Checkout(Checkout { parts: parts.map(|part| CheckoutPart { part: Some(part) }).into() })
            }
        }
    }
}
