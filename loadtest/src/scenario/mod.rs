//! Open-loop load as a campaign has it, from a scenario file: who does what, how often, and what callers do when they are not answered.
//! What comes of it is recorded second by second in a folder, from which a report is made.

mod file;
mod traffic;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use stampbook::proto::admin_service_client::AdminServiceClient;
use stampbook::proto::{Outcome, PutRewardRequest};
use tonic::transport::Channel;

use self::file::{Phase, Reward, Scenario};
use self::traffic::Mixed;
use crate::drive::arrivals::Schedule;
use crate::drive::retry::{Policy, Retries};
use crate::drive::{Drive, Traffic, drive};
use crate::folder::{Head, PhaseTold, Run, Told, claim};
use crate::run::{BUDGET, entropy};
use crate::stage::Stage;
use crate::{Failure, client};

/// `loadtest scenario`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The scenario, a TOML file; those that come with this program lie in `loadtest/scenarios`.
    file: PathBuf,
    /// A running server, `host:port`. Without it one is started, whose books hold the members before.
    #[arg(long)]
    target: Option<String>,
    /// Where the run is recorded: a folder that is empty or not there.
    #[arg(long, value_name = "RUN_DIR")]
    out: PathBuf,
    /// All rates of the file as so many percent.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate_percent: u32,
    /// Another seed than the file's.
    #[arg(long)]
    seed: Option<u64>,
    /// The settings of the server that is started.
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    config: Option<PathBuf>,
    /// Keep books with so many members here, and work on a copy: filled once, used by every run.
    #[arg(long, value_name = "DIR", conflicts_with = "target")]
    data: Option<PathBuf>,
}

/// Runs a scenario, prints what came of it, and fails where it was not run as it was to be.
pub(crate) async fn scenario(options: Options, json: bool) -> Result<(), Failure> {
    let (mut scenario, text) = Scenario::read(&options.file)?;
    scenario.scale(options.rate_percent);
    if options.rate_percent != 100 {
        scenario.title = format!("{}, at {} % of its rates", scenario.title, options.rate_percent);
    }
    scenario.seed = options.seed.unwrap_or(scenario.seed);
    claim(&options.out)?;
    let told = match &options.target {
        // Whoever posts to books that are there does so under keys of this run alone.
        Some(target) => on(target, &scenario, text, entropy(), &options).await?,
        None => {
            let stage = Stage::new(scenario.members.count)?;
            let config = stage.config("server", options.config.as_deref(), "")?;
            let prepared = stage.prepared(options.data.as_deref(), &config).await?;
            let data = stage.copy(&prepared, "copy").await?;
            let mut server = stage.serve(&data, &config).await?;
            let told = on(&server.address, &scenario, text, scenario.seed, &options).await?;
            if !server.is_running()? {
                return Err("the server ended by itself".into());
            }
            server.kill()?;
            told
        }
    };
    told.print(json)?;
    told.complaint(scenario.retry.is_none() && scenario.deadline_ms.is_none())
}

/// The run itself.
async fn on(address: &str, scenario: &Scenario, text: String, keys: u64, options: &Options) -> Result<Told, Failure> {
    let channel = client::connect(address).await?;
    scenario.program()?.set_up(channel.clone(), BUDGET).await?;
    if let Some(reward) = &scenario.reward {
        put_reward(channel, scenario.program()?.program, reward, keys).await?;
    }
    let traffic = Mixed::new(scenario, keys)?;
    let head = Head {
        title: scenario.title.clone(),
        scenario: text,
        warm_up_seconds: scenario.warm_up_seconds,
        phases: told_phases(&scenario.phases),
        operations: traffic.operations(),
    };
    let (run, follower) = Run::begin(&options.out, head, address).await?;
    let how = Drive {
        schedule: Schedule::new(scenario.stretches(), scenario.arrivals, scenario.seed),
        batch: scenario.batch,
        retries: Retries::new(scenario.retry.unwrap_or(Policy::NONE), scenario.seed),
        deadline: scenario.deadline_ms.map(Duration::from_millis),
        enough: Arc::default(),
        follower: Some(follower),
    };
    let driven = drive(address, traffic, how).await?;
    run.finish(&driven).await
}

/// Phases with the times at which they begin and end.
fn told_phases(phases: &[Phase]) -> Vec<PhaseTold> {
    let mut from_ms = 0;
    let told = phases.iter().map(|phase| {
        let begins = from_ms;
        from_ms += phase.seconds * 1_000;
        PhaseTold { name: phase.name.clone(), from_ms: begins, to_ms: from_ms, offered_per_s: phase.offered_per_s() }
    });
    told.collect()
}

/// Puts the reward on offer with its stock, beside what is left of it.
async fn put_reward(channel: Channel, program: &str, reward: &Reward, keys: u64) -> Result<(), Failure> {
    let put = PutRewardRequest {
        program: program.to_owned(),
        reward: reward.id.clone(),
        name: reward.id.clone(),
        asset: String::new(),
        price: reward.price,
        open: true,
        stocked: reward.stock,
        key: format!("stock-{keys:016x}"),
        actor: "loadtest".to_owned(),
        reason: "stock for a scenario".to_owned(),
    };
    match AdminServiceClient::new(channel).put_reward(put).await?.into_inner().receipt {
        Some(receipt) if receipt.outcome() == Outcome::Applied => Ok(()),
        other => Err(format!("the reward was not put on offer: {other:?}").into()),
    }
}

#[cfg(test)]
mod tests;
