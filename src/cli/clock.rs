//! `stampbook clock confirm|drive`.

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::json;
use stampbook::proto::{ConfirmClockRequest, DriveClockRequest};

use super::{Outcome, Server, Shown, remote};

#[derive(Subcommand)]
pub(super) enum Clock {
    /// Confirm that the server's clock, which has leapt ahead, is right, so that the book follows it and takes writes again.
    Confirm {
        /// The time now by a clock that you trust, such as 2030-01-01T00:00:00Z: the server's must be within 5 minutes of it.
        #[arg(long, value_name = "TIME")]
        time: Timestamp,
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
    },
    /// Move the clock of a server that was started with `--clock driven` forward.
    Drive {
        /// Where to, such as 2030-01-01T00:00:00Z: not before the time that it shows.
        #[arg(long, value_name = "TIME")]
        to: Timestamp,
        #[command(flatten)]
        server: Server,
    },
}

impl Clock {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Confirm { server, .. } | Self::Drive { server, .. } => server.json,
        }
    }

    pub(super) fn run(self) -> Outcome {
        match self {
            Self::Confirm { time, key, actor, reason, server } => {
                let request = ConfirmClockRequest { clock_us: time.as_microsecond(), key, actor, reason };
                confirm(request, &server)
            }
            Self::Drive { to, server } => drive(to.as_microsecond(), &server),
        }
    }
}

fn confirm(request: ConfirmClockRequest, server: &Server) -> Outcome {
    remote::ask(server, async |mut admin| {
        let answer = admin.confirm_clock(request).await.map_err(|status| remote::unanswered(&status))?.into_inner();
        let json = remote::applied(answer.receipt.as_ref())?;
        Ok(Shown { text: format!("the clock is confirmed, {}", remote::booked(answer.receipt.as_ref())), json })
    })
}

fn drive(to_us: i64, server: &Server) -> Outcome {
    remote::ask(server, async |mut admin| {
        let answer = admin.drive_clock(DriveClockRequest { to_us }).await.map_err(|status| remote::failure(&status))?;
        let from_us = answer.into_inner().from_us;
        let text = format!("the clock went from {} to {}", remote::instant(from_us), remote::instant(to_us));
        Ok(Shown { text, json: json!({ "from_us": from_us, "to_us": to_us }) })
    })
}
