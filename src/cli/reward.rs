//! `stampbook reward put|list`.

use std::fmt::Write;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use stampbook::proto::{ListRewardsRequest, PutRewardRequest, Reward as State};

use super::{Outcome, Server, Shown, remote};

#[derive(Subcommand)]
pub(super) enum Reward {
    /// Put a reward on offer, change it, or give it more or fewer pieces. Name, asset and price hold as they are said here.
    Put(Put),
    /// List the rewards of a program.
    List {
        /// The program's id.
        #[arg(long)]
        program: String,
        #[command(flatten)]
        server: Server,
    },
}

#[derive(Args)]
pub(super) struct Put {
    /// The program's id.
    #[arg(long)]
    program: String,
    /// The reward's id, for ever the same: letters, digits, dot, underscore and hyphen.
    #[arg(long)]
    reward: String,
    /// The name shown to people.
    #[arg(long)]
    name: String,
    /// The id of the asset that it is paid in.
    #[arg(long, default_value = "points")]
    asset: String,
    /// Units of the asset for one piece, from 1.
    #[arg(long)]
    price: i64,
    /// Take it off offer; without this it is on offer.
    #[arg(long)]
    closed: bool,
    /// Pieces to put in, or, negative, to take out.
    #[arg(long, value_name = "PIECES", default_value_t = 0, allow_negative_numbers = true)]
    stock: i64,
    /// The idempotency key: the same command with the same key acts once.
    #[arg(long)]
    key: String,
    /// Who does it.
    #[arg(long)]
    actor: String,
    /// Why.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    server: Server,
}

impl Reward {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Put(put) => put.server.json,
            Self::List { server, .. } => server.json,
        }
    }

    pub(super) fn run(self) -> Outcome {
        match self {
            Self::Put(put) => put.run(),
            Self::List { program, server } => list(program, &server),
        }
    }
}

impl Put {
    fn run(self) -> Outcome {
        let Self { program, reward, name, asset, price, closed, stock, key, actor, reason, server } = self;
        let (open, stocked) = (!closed, stock);
        let request = PutRewardRequest { program, reward, name, asset, price, open, stocked, key, actor, reason };
        remote::ask(&server, async |mut admin| {
            let answer = admin.put_reward(request).await.map_err(|status| remote::unanswered(&status))?.into_inner();
            let applied = remote::applied(answer.receipt.as_ref())?;
            let json = remote::with(applied, json!({ "reward": answer.reward.as_ref().map(state_json) }));
            let state = answer.reward.as_ref().map(|reward| format!("{}\n", line(reward))).unwrap_or_default();
            Ok(Shown { text: format!("{state}{}", remote::booked(answer.receipt.as_ref())), json })
        })
    }
}

fn list(program: String, server: &Server) -> Outcome {
    remote::ask(server, async |mut admin| {
        let request = ListRewardsRequest { program };
        let answer = admin.list_rewards(request).await.map_err(|status| remote::failure(&status))?.into_inner();
        let mut text: String = answer.rewards.iter().map(|reward| line(reward) + "\n").collect();
        let _ = write!(text, "{} rewards; book {} op {}", answer.rewards.len(), answer.book_id, answer.op);
        let rewards: Vec<_> = answer.rewards.iter().map(state_json).collect();
        Ok(Shown { text, json: json!({ "rewards": rewards, "book_id": answer.book_id, "op": answer.op }) })
    })
}

fn line(reward: &State) -> String {
    let State { id, name, asset, price, open, left, reserved } = reward;
    let open = if *open { "open" } else { "closed" };
    format!("{id}: {open}, {name}, {price} {asset}, left {left}, reserved {reserved}")
}

fn state_json(reward: &State) -> Value {
    json!({
        "id": reward.id,
        "name": reward.name,
        "asset": reward.asset,
        "price": reward.price,
        "open": reward.open,
        "left": reward.left,
        "reserved": reward.reserved,
    })
}
