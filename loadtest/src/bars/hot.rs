//! One campaign whose budget every posting debits, against the same postings spread over a thousand campaigns, in turn on one server.

use std::fmt::Write;
use std::time::Duration;

use prost::Message;
use stampbook::proto::admin_service_client::AdminServiceClient;
use stampbook::proto::{Command, Earn, FundCampaignRequest, PostRequest, command::Action, earn::Basis};
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::Channel;

use super::figure::{Bar, Figure, Unit};
use super::{Ground, median, permille};
use crate::peers::drive::{Caller, commands_of, drive};
use crate::run::{BUDGET, entropy};
use crate::tally::{grouped, rate_per_s};
use crate::wire::{BytesCodec, Counted, Drawn, Receipts, batch_path};
use crate::{Failure, client, program};

/// Of the rate over many campaigns.
const PERMILLE_MIN: u64 = 950;
const ROUNDS: u32 = 2;
/// A program has so many campaigns at most; so many programs together have 1,024. One more has the hot one.
const CAMPAIGNS: u8 = 32;
const PROGRAMS: u8 = 32;
/// Members of each side; as a rule all of them are opened before the first round.
const MEMBERS: u64 = 1_000_000;
pub(super) const WARM_UP_SECONDS: u64 = 12;
const BATCH: usize = 4_000;
const CALLERS: [u64; 2] = [2, 4];

pub(super) async fn measure(ground: &Ground, figures: &mut Vec<Figure>) -> Result<(), Failure> {
    let (mut ratios, mut hot, mut cold) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..ground.rounds(ROUNDS) {
        let [one_campaign, many] = round(ground, number % 2 == 1).await?;
        ratios.push(permille(one_campaign, many));
        hot.push(one_campaign);
        cold.push(many);
    }
    let told = |rates: &[u64]| rates.iter().map(grouped).collect::<Vec<_>>().join(", ");
    let many = grouped(u32::from(CAMPAIGNS) * u32::from(PROGRAMS));
    let what = format!("one campaign in every posting, of the rate over {many}");
    let note = format!("batches of 4,000: {}/s against {}/s, in turn", told(&hot), told(&cold));
    figures.push(Figure::new(what, median(ratios), Unit::Permille, Bar::AtLeast(PERMILLE_MIN)).noting(note));
    Ok(())
}

/// Commands a second of one campaign and of many, on new books.
async fn round(ground: &Ground, many_first: bool) -> Result<[u64; 2], Failure> {
    let data = ground.stage.path("hot");
    let server = ground.stage.serve(&data, &ground.config).await?;
    let channel = client::connect(&server.address).await?;
    for number in 0..=PROGRAMS {
        set_up(channel.clone(), number).await?;
    }
    let members = MEMBERS.min(ground.stage.members / 2);
    for spread in [false, true] {
        one(&server.address, spread, members, ground.seconds.min(WARM_UP_SECONDS)).await?;
    }
    let mut rates = [0, 0];
    for spread in [many_first, !many_first] {
        let [one_campaign, many] = &mut rates;
        *(if spread { many } else { one_campaign }) = one(&server.address, spread, members, ground.seconds).await?;
    }
    drop(server);
    std::fs::remove_dir_all(&data)?;
    Ok(rates)
}

/// Commands a second on one side.
async fn one(address: &str, spread: bool, members: u64, seconds: u64) -> Result<u64, Failure> {
    let template = Template::new().ok_or("the template of a command cannot be patched")?;
    let [connections, in_flight] = CALLERS;
    let (seed, mut callers) = (entropy(), Vec::new());
    for _ in 0..connections {
        let grpc = client::raw(client::connect(address).await?);
        for _ in 0..in_flight {
            let lane = u64::try_from(callers.len())?;
            let caller = HotCaller { grpc: grpc.clone(), template: template.clone(), spread };
            callers.push((caller, commands_of(seed, lane, members)?));
        }
    }
    let driven = drive(callers, BATCH, Duration::from_secs(seconds)).await?;
    Ok(rate_per_s(driven.sent.commands, driven.elapsed))
}

fn program_id(number: u8) -> String {
    format!("bars-{number:02}")
}

/// A program of that number, with as many kinds of event as campaigns, each for one kind.
fn definition(number: u8) -> String {
    let mut text = format!(
        "id = \"{}\"\nname = \"Bars\"\ncurrency = \"GBP\"\ntime_zone = \"Europe/London\"\n",
        program_id(number)
    );
    text += "mode = \"import\"\n";
    for kind in 0..CAMPAIGNS {
        let _ = write!(text, "[[rules]]\nkind = \"kind-{kind:02}\"\npoints = 1\nper_minor = 100\n");
        let _ = write!(
            text,
            "[[campaigns]]\nid = \"campaign-{kind:02}\"\nkinds = [\"kind-{kind:02}\"]\nmultiplier = \"2\"\n"
        );
        text += "start = \"2000-01-01T00:00:00\"\nend = \"2100-01-01T00:00:00\"\n";
    }
    text
}

async fn set_up(channel: Channel, number: u8) -> Result<(), Failure> {
    let program = program_id(number);
    program::put(channel.clone(), &program, &definition(number)).await?;
    let mut admin = AdminServiceClient::new(channel);
    for campaign in 0..CAMPAIGNS {
        let campaign = format!("campaign-{campaign:02}");
        let fund = FundCampaignRequest {
            program: program.clone(),
            key: format!("{program}-{campaign}"),
            campaign,
            points: BUDGET,
            actor: "loadtest".to_owned(),
            reason: "budget".to_owned(),
        };
        admin.fund_campaign(fund).await?;
    }
    Ok(())
}

/// One item of a batch, encoded, and where what differs lies.
#[derive(Clone, Debug)]
struct Template {
    bytes: Vec<u8>,
    program: usize,
    kind: usize,
    key: usize,
    member: usize,
    amount: usize,
}

impl Template {
    fn new() -> Option<Self> {
        // Between 128 and 16,383: two bytes, the first of which occurs in no text.
        let earn =
            Earn { basis: Some(Basis::AmountMinor(0x3fff)), event_kind: "kind-00".to_owned(), ..Earn::default() };
        let command = Command {
            program: program_id(0),
            key: "\u{1}".repeat(20),
            member: "\u{2}".repeat(20),
            action: Some(Action::Earn(earn)),
            ..Command::default()
        };
        let bytes = PostRequest { command: Some(command) }.encode_to_vec();
        let find = |what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
        Some(Self {
            program: find(b"bars-00")? + 5,
            kind: find(b"kind-00")? + 5,
            key: find(&[1; 20])?,
            member: find(&[2; 20])?,
            amount: find(&[0xff])?,
            bytes,
        })
    }

    /// Appends the command: to the hot campaign, or to whichever of the others its member and its key say.
    fn write(&self, command: &Drawn, spread: bool, to: &mut Vec<u8>) {
        let start = to.len();
        to.extend_from_slice(&self.bytes);
        let mut patch = |at: usize, with: &[u8]| {
            if let Some(place) = to.get_mut(start + at..start + at + with.len()) {
                place.copy_from_slice(with);
            }
        };
        let [low, high, ..] = command.amount.to_le_bytes();
        patch(self.amount, &[low | 0x80, (high << 1) | (low >> 7)]);
        patch(self.key, &command.key);
        patch(self.member, &command.member);
        if spread {
            patch(self.program, &digits(1 + picked(&command.member, PROGRAMS)));
            patch(self.kind, &digits(picked(&command.key, CAMPAIGNS)));
        }
    }
}

/// Two digits.
fn digits(number: u8) -> [u8; 2] {
    [b'0' + number / 10 % 10, b'0' + number % 10]
}

/// A number below `bound` that an id decides, each as often as the others: FNV-1a.
fn picked(id: &[u8], bound: u8) -> u8 {
    let hash = id
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    u8::try_from((hash >> 32) % u64::from(bound)).unwrap_or_default()
}

struct HotCaller {
    grpc: Grpc<Channel>,
    template: Template,
    spread: bool,
}

impl Caller for HotCaller {
    async fn post(&mut self, commands: &[Drawn]) -> Result<Vec<Counted>, Failure> {
        let mut request = Vec::with_capacity(commands.len() * self.template.bytes.len());
        commands.iter().for_each(|command| self.template.write(command, self.spread, &mut request));
        self.grpc.ready().await?;
        let answer = self.grpc.unary(Request::new(request), batch_path(), BytesCodec::<Receipts>::new()).await?;
        Ok(answer.into_inner().receipts)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use stampbook::proto::PostBatchRequest;

    use super::*;

    /// How many of 20,000 postings meet each campaign, by program and kind.
    fn places(spread: bool) -> BTreeMap<(String, String), usize> {
        let template = Template::new().unwrap();
        let mut writer = commands_of(3, 0, 500_000).unwrap();
        let mut bytes = Vec::new();
        for _ in 0..20_000 {
            template.write(&writer.draw(), spread, &mut bytes);
        }
        let mut places = BTreeMap::new();
        for command in PostBatchRequest::decode(bytes.as_slice()).unwrap().items {
            let Some(Action::Earn(earn)) = command.action else { panic!("not an earn") };
            *places.entry((command.program, earn.event_kind)).or_default() += 1;
        }
        places
    }

    #[test]
    fn one_side_has_one_campaign_and_the_other_all_of_the_others() {
        assert_eq!(places(false), BTreeMap::from([(("bars-00".to_owned(), "kind-00".to_owned()), 20_000)]));
        let spread = places(true);
        assert_eq!(spread.len(), usize::from(CAMPAIGNS) * usize::from(PROGRAMS));
        assert!(spread.keys().all(|(program, _)| program != "bars-00"));
        // A fair share is 20.
        assert!(spread.values().all(|postings| *postings < 60));
    }

    #[test]
    fn both_sides_post_the_same_but_for_program_and_kind() {
        let template = Template::new().unwrap();
        let command = commands_of(3, 0, 500_000).unwrap().draw();
        let (mut hot, mut spread) = (Vec::new(), Vec::new());
        template.write(&command, false, &mut hot);
        template.write(&command, true, &mut spread);
        assert_eq!(hot.len(), spread.len());
        assert!(hot.iter().zip(&spread).filter(|(a, b)| a != b).count() <= 4);
    }
}
