//! The commands of a scenario, put together from nothing but its file and a seed.

use std::collections::VecDeque;
use std::sync::Arc;

use prost::Message;
use rand_distr::{Distribution, Zipf};
use stampbook::proto::{
    Command, Earn, ExplainEventRequest, GetEventRequest, GetMemberRequest, ListEventsRequest, PostRequest, Purpose,
    Redeem, Refund, command::Action, earn::Basis, explain_event_request, get_event_request, refund::Amount,
    refund::Original,
};
use tonic::codegen::http::uri::PathAndQuery;

use super::file::{Members, Mix, Operation, Scenario};
use crate::Failure;
use crate::drive::{Request, Traffic};
use crate::rng::Rng;
use crate::wire::{batch_path, member_id, post_path, random_key};

/// Commands of which duplicates are made: some of them are still under way, and most are not.
const RECENT: usize = 4_096;
/// Earns that refunds, and reads of events, may name.
const EARNS: usize = 65_536;
/// A prime above every count of members.
const SCATTER: u64 = 2_654_435_761;
/// Events of a statement.
const PAGE: i32 = 20;

/// A command that was made: the bytes of one item of a batch, which are those of a request of one.
#[derive(Clone, Debug)]
struct Item {
    operation: u8,
    bytes: Vec<u8>,
}

/// An earn that may be named later.
#[derive(Clone, Debug)]
struct Earned {
    key: String,
    member: String,
    amount_minor: i64,
}

/// An operation, its number, and its percentage.
type Share = (Operation, u8, u64);

/// What a stretch does.
#[derive(Clone, Debug)]
struct Shares {
    posts: Vec<Share>,
    reads: Vec<Share>,
}

impl Shares {
    fn new(mix: &Mix, operations: &[Operation]) -> Self {
        let numbered = (0..).zip(operations);
        let all = numbered.filter_map(|(number, of)| Some((*of, number, u64::from(*mix.get(of)?))));
        let (reads, posts) = all.partition(|(operation, ..)| operation.reads());
        Self { posts, reads }
    }

    /// Whether the next request reads: a posting one holds `batch` commands, so that there are fewer of them.
    fn reads_next(&self, batch: u16, rng: &mut Rng) -> bool {
        let (posts, reads) = (weight(&self.posts), weight(&self.reads) * u64::from(batch));
        rng.below((posts + reads).max(1)) >= posts
    }
}

fn weight(shares: &[Share]) -> u64 {
    shares.iter().map(|(.., percent)| percent).sum()
}

/// One of them, as often as its percentage says.
fn draw(shares: &[Share], rng: &mut Rng) -> (Operation, u8) {
    let mut left = rng.below(weight(shares).max(1));
    for (operation, number, percent) in shares {
        if left < *percent {
            return (*operation, *number);
        }
        left -= percent;
    }
    // Only of none, which no request asks for.
    (Operation::Card, 0)
}

/// Any of them.
fn among<'a, T>(queue: &'a VecDeque<T>, rng: &mut Rng) -> Option<&'a T> {
    let count = u64::try_from(queue.len()).ok().filter(|count| *count > 0)?;
    queue.get(usize::try_from(rng.below(count)).ok()?)
}

/// Behind the others; the oldest goes where they are too many.
fn push<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// Who does the next thing.
#[derive(Clone, Copy, Debug)]
enum Draw {
    Uniform(u64),
    Zipf(u64, Zipf<f64>),
}

impl Draw {
    fn new(members: Members) -> Result<Self, Failure> {
        let Members { count, zipf } = members;
        let Some(exponent) = zipf else { return Ok(Self::Uniform(count)) };
        // A whole number below 2^30 or so, which every f64 can hold.
        let elements = f64::from(u32::try_from(count)?);
        Ok(Self::Zipf(count, Zipf::new(elements, exponent).map_err(|why| format!("members: {why}"))?))
    }

    /// The number of a member, from 0.
    fn draw(&self, rng: &mut Rng) -> u64 {
        match self {
            Self::Uniform(count) => rng.below(*count),
            Self::Zipf(count, zipf) => {
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a rank from 1 to the count"
                )]
                let rank = zipf.sample(rng) as u64 - 1;
                // Those who do most are no neighbours: a prime that does not divide the count moves each rank to a place of its own.
                (u128::from(rank) * u128::from(SCATTER) % u128::from(*count)).try_into().unwrap_or(rank)
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Mixed {
    program: &'static str,
    operations: Vec<Operation>,
    stretches: Vec<Arc<Shares>>,
    batch: u16,
    duplicates_percent: u64,
    reward: String,
    members: Draw,
    rng: Rng,
    keys: Rng,
    recent: VecDeque<Item>,
    earns: VecDeque<Earned>,
}

impl Mixed {
    /// The same scenario makes the same commands again; their keys are those of `keys`.
    pub(crate) fn new(scenario: &Scenario, keys: u64) -> Result<Self, Failure> {
        let operations = scenario.operations();
        let warm_up = scenario.phases.first();
        let stretches = warm_up.into_iter().chain(&scenario.phases);
        Ok(Self {
            program: scenario.program()?.program,
            stretches: stretches.map(|phase| Arc::new(Shares::new(scenario.mix(phase), &operations))).collect(),
            operations,
            batch: scenario.batch,
            duplicates_percent: u64::from(scenario.duplicates_percent),
            reward: scenario.reward.as_ref().map(|reward| reward.id.clone()).unwrap_or_default(),
            members: Draw::new(scenario.members)?,
            rng: Rng::new(scenario.seed, 0),
            keys: Rng::new(keys, 1),
            recent: VecDeque::new(),
            earns: VecDeque::new(),
        })
    }

    fn member(&mut self) -> String {
        let number = self.members.draw(&mut self.rng);
        String::from_utf8_lossy(&member_id(number)).into_owned()
    }

    /// A request of as many postings as a batch has.
    fn postings(&mut self, posts: &[Share]) -> Request {
        let batch = usize::from(self.batch);
        let mut request = Request {
            path: if batch == 1 { post_path() } else { batch_path() },
            bytes: Vec::with_capacity(128 * batch),
            operations: Vec::with_capacity(batch),
            reads: false,
        };
        for _ in 0..batch {
            let item = self.item(posts);
            request.bytes.extend_from_slice(&item.bytes);
            request.operations.push(item.operation);
        }
        request
    }

    /// A new command, or one that was sent before.
    fn item(&mut self, posts: &[Share]) -> Item {
        if self.rng.below(100) < self.duplicates_percent
            && let Some(item) = among(&self.recent, &mut self.rng)
        {
            return item.clone();
        }
        let (operation, number) = draw(posts, &mut self.rng);
        let request = PostRequest { command: Some(self.command(operation)) };
        let item = Item { operation: number, bytes: request.encode_to_vec() };
        if self.duplicates_percent > 0 {
            push(&mut self.recent, item.clone(), RECENT);
        }
        item
    }

    fn command(&mut self, operation: Operation) -> Command {
        let key = String::from_utf8_lossy(&random_key(&mut self.keys)).into_owned();
        let mut member = self.member();
        let amount_minor = self.small(200, 9_800);
        let action = match operation {
            Operation::Purchase | Operation::Visit => {
                push(&mut self.earns, Earned { key: key.clone(), member: member.clone(), amount_minor }, EARNS);
                let event_kind = operation.name().to_owned();
                Action::Earn(Earn { basis: Some(Basis::AmountMinor(amount_minor)), event_kind, ..Earn::default() })
            }
            Operation::Refund => {
                let earned = self.earns.pop_front();
                let amount = Some(Amount::AmountMinor(earned.as_ref().map_or(amount_minor, |earn| earn.amount_minor)));
                // Without an original it says at which rate.
                let event_kind = if earned.is_some() { String::new() } else { Operation::Visit.name().to_owned() };
                let original = earned.map(|earn| {
                    member = earn.member;
                    Original::OriginalKey(earn.key)
                });
                Action::Refund(Refund { original, amount, event_kind })
            }
            Operation::Reward => {
                let (reward, purpose) = (self.reward.clone(), Purpose::Gift.into());
                Action::Redeem(Redeem { reward, quantity: 1, purpose, ..Redeem::default() })
            }
            // Reads are no commands.
            _ => {
                Action::Redeem(Redeem { points: self.small(1, 5), purpose: Purpose::Gift.into(), ..Redeem::default() })
            }
        };
        Command { program: self.program.to_owned(), key, member, action: Some(action), ..Command::default() }
    }

    fn read(&mut self, operation: Operation, number: u8) -> Request {
        let program = self.program.to_owned();
        let member = self.member();
        // Before anything was posted: a key that there is not.
        let key = among(&self.earns, &mut self.rng).map_or_else(|| "none".to_owned(), |earn| earn.key.clone());
        let (method, bytes) = match operation {
            Operation::Statement => {
                let list = ListEventsRequest { program, member, page_size: PAGE, ..ListEventsRequest::default() };
                ("/stampbook.v1.AccountService/ListEvents", list.encode_to_vec())
            }
            Operation::Event => {
                let name = Some(get_event_request::Name::Key(key));
                ("/stampbook.v1.AccountService/GetEvent", GetEventRequest { program, name }.encode_to_vec())
            }
            Operation::Explain => {
                let name = Some(explain_event_request::Name::Key(key));
                ("/stampbook.v1.AccountService/ExplainEvent", ExplainEventRequest { program, name }.encode_to_vec())
            }
            _ => {
                let get = GetMemberRequest { program, member, as_of: None };
                ("/stampbook.v1.AccountService/GetMember", get.encode_to_vec())
            }
        };
        Request { path: PathAndQuery::from_static(method), bytes, operations: vec![number], reads: true }
    }

    fn small(&mut self, least: u64, span: u64) -> i64 {
        i64::try_from(least + self.rng.below(span)).unwrap_or(1)
    }
}

impl Traffic for Mixed {
    fn operations(&self) -> Vec<&'static str> {
        self.operations.iter().map(|operation| operation.name()).collect()
    }

    fn request(&mut self, stretch: usize) -> Request {
        let shares = self.stretches.get(stretch).or(self.stretches.last()).map(Arc::clone);
        let shares = shares.unwrap_or_else(|| Arc::new(Shares { posts: Vec::new(), reads: Vec::new() }));
        if shares.reads_next(self.batch, &mut self.rng) {
            let (operation, number) = draw(&shares.reads, &mut self.rng);
            self.read(operation, number)
        } else {
            self.postings(&shares.posts)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{BTreeMap, BTreeSet};

    use stampbook::proto::PostBatchRequest;

    use super::*;

    fn mixed(changed: &str) -> Mixed {
        let text = format!(
            r#"
                title = "t"
                program = "loadtest"
                seed = 7
                {changed}
                reward = {{ id = "mug", price = 5, stock = 10 }}
                [[phases]]
                name = "p"
                seconds = 1
                rate = 100
            "#
        );
        Mixed::new(&Scenario::parse(&text).unwrap(), 3).unwrap()
    }

    const ALL: &str = "purchase = 20, visit = 20, refund = 5, redeem = 10, reward = 5, card = 20, statement = 5, event = 10, explain = 5";

    /// The commands of so many posting requests.
    fn commands(mixed: &mut Mixed, requests: usize) -> Vec<Command> {
        let posts = (0..requests).map(|_| mixed.request(1)).filter(|request| !request.reads);
        posts.flat_map(|request| PostBatchRequest::decode(request.bytes.as_slice()).unwrap().items).collect()
    }

    #[test]
    fn a_scenario_makes_the_same_requests_again_and_other_keys_for_another_run() {
        let text =
            format!("members = {{ count = 1000, zipf = 1.1 }}\nbatch = 20\nduplicates_percent = 5\nmix = {{ {ALL} }}");
        let requests = |mixed: &mut Mixed| (0..200).map(|_| mixed.request(1).bytes).collect::<Vec<_>>();
        assert_eq!(requests(&mut mixed(&text)), requests(&mut mixed(&text)));
        let keys = |keys| {
            let mut mixed = Mixed { keys: Rng::new(keys, 1), ..mixed(&text) };
            commands(&mut mixed, 200).into_iter().map(|command| command.key).collect::<BTreeSet<_>>()
        };
        assert!(keys(3).is_disjoint(&keys(4)));
    }

    #[test]
    fn each_operation_has_its_share_of_the_commands_whatever_the_batch() {
        for batch in [1, 20] {
            let mut mixed = mixed(&format!("members = {{ count = 1000 }}\nbatch = {batch}\nmix = {{ {ALL} }}"));
            let names = mixed.operations();
            let mut counts = BTreeMap::new();
            let mut total = 0.0;
            while total < 40_000.0 {
                let request = mixed.request(1);
                assert_eq!(request.operations.len(), if request.reads { 1 } else { batch });
                for operation in request.operations {
                    *counts.entry(names[usize::from(operation)]).or_insert(0.0) += 1.0;
                    total += 1.0;
                }
            }
            for (name, percent) in [
                ("purchase", 20.0),
                ("refund", 5.0),
                ("redeem", 10.0),
                ("reward", 5.0),
                ("card", 20.0),
                ("explain", 5.0),
            ] {
                let share = 100.0 * counts[name] / total;
                assert!(f64::abs(share - percent) < 1.0, "{batch}, {name}: {share}");
            }
        }
    }

    #[test]
    fn a_duplicate_has_the_key_and_the_body_of_the_first() {
        let mut mixed =
            mixed("members = { count = 1000 }\nbatch = 20\nduplicates_percent = 5\nmix = { visit = 90, redeem = 10 }");
        let (mut seen, mut duplicates, mut total) = (BTreeMap::new(), 0, 0);
        for command in commands(&mut mixed, 2_000) {
            total += 1;
            if let Some(first) = seen.insert(command.key.clone(), command.clone()) {
                assert_eq!(first, command);
                duplicates += 1;
            }
        }
        let percent = f64::from(duplicates) * 100.0 / f64::from(total);
        assert!((4.5..5.5).contains(&percent), "{percent}");
    }

    #[test]
    fn refunds_name_each_earn_once_with_its_member_and_amount() {
        let mut mixed =
            mixed("members = { count = 1000 }\nbatch = 20\nmix = { purchase = 40, visit = 40, refund = 20 }");
        let mut earns = BTreeMap::new();
        let mut named = 0;
        for command in commands(&mut mixed, 500) {
            match command.action.unwrap() {
                Action::Earn(Earn { basis: Some(Basis::AmountMinor(amount)), .. }) => {
                    earns.insert(command.key, (command.member, amount));
                }
                Action::Refund(Refund { original: None, amount: Some(Amount::AmountMinor(_)), event_kind }) => {
                    assert_eq!(event_kind, "visit");
                }
                Action::Refund(Refund { original: Some(Original::OriginalKey(key)), amount, event_kind }) => {
                    let (member, amount_minor) = earns.remove(&key).unwrap();
                    assert_eq!(
                        (command.member, amount, event_kind),
                        (member, Some(Amount::AmountMinor(amount_minor)), String::new())
                    );
                    named += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(named > 1_500, "{named}");
    }

    #[test]
    fn members_of_a_zipf_distribution_do_as_much_as_their_rank_says() {
        let draw = Draw::new(Members { count: 1_000, zipf: Some(1.0) }).unwrap();
        let mut rng = Rng::new(5, 0);
        let mut counts: BTreeMap<u64, u32> = BTreeMap::new();
        (0..200_000).for_each(|_| *counts.entry(draw.draw(&mut rng)).or_default() += 1);
        assert!(counts.keys().all(|member| *member < 1_000));
        let mut ranked: Vec<_> = counts.iter().map(|(member, count)| (*count, *member)).collect();
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        // The harmonic number of 1,000 is 7.485: so much is the share of the first, and the second has half of it.
        let (first, second, tenth) = (f64::from(ranked[0].0), f64::from(ranked[1].0), f64::from(ranked[9].0));
        assert!((first / 200_000.0 * 7.485 - 1.0).abs() < 0.05, "{first}");
        assert!((first / second - 2.0).abs() < 0.1 && (first / tenth - 10.0).abs() < 1.0, "{second} {tenth}");
        assert!(ranked[0].1.abs_diff(ranked[1].1) > 10, "no neighbours");
        // Each rank has a member of its own.
        let places: BTreeSet<_> = (0..1_000_u64).map(|rank| rank * SCATTER % 1_000).collect();
        assert_eq!(places.len(), 1_000);
    }
}
