//! What stands in a trace; see `TRACE.md`.

use prost::{Message, Oneof};
use stampbook::proto::command::Action;
use stampbook::proto::{
    CloseCampaignRequest, ClosePeriodRequest, Command, FundCampaignRequest, PauseCampaignRequest, PutProgramRequest,
    PutRewardRequest, ResumeCampaignRequest, reverse::Original,
};

/// A command or an operator's act, or the end of the trace.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    /// The op at which it stands in the recorded book.
    #[prost(uint64, tag = "1")]
    pub(crate) op: u64,
    /// The recorded book's time, microseconds since the Unix epoch.
    #[prost(int64, tag = "2")]
    pub(crate) book_time_us: i64,
    /// Of a command: the member's points after it.
    #[prost(sint64, tag = "3")]
    pub(crate) available: i64,
    /// Of a command: the points that the member owes after it.
    #[prost(sint64, tag = "4")]
    pub(crate) debt: i64,
    /// Why it was refused; empty where it was applied.
    #[prost(string, tag = "5")]
    pub(crate) refused: String,
    /// Of a reversal whose `original_key` names a checkout: which part of it is undone.
    #[prost(uint32, optional, tag = "6")]
    pub(crate) part: Option<u32>,
    /// What was sent.
    #[prost(oneof = "What", tags = "8, 9, 10, 11, 12, 13, 14, 15, 16")]
    pub(crate) what: Option<What>,
}

/// What was sent.
#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum What {
    /// A command of a member.
    #[prost(message, tag = "8")]
    Command(Command),
    /// A version of a program.
    #[prost(message, tag = "9")]
    PutProgram(PutProgramRequest),
    /// A campaign funded.
    #[prost(message, tag = "10")]
    Fund(FundCampaignRequest),
    /// A campaign paused.
    #[prost(message, tag = "11")]
    Pause(PauseCampaignRequest),
    /// A campaign resumed.
    #[prost(message, tag = "12")]
    Resume(ResumeCampaignRequest),
    /// A campaign closed.
    #[prost(message, tag = "13")]
    Close(CloseCampaignRequest),
    /// A reward put.
    #[prost(message, tag = "14")]
    PutReward(PutRewardRequest),
    /// A period closed.
    #[prost(message, tag = "15")]
    ClosePeriod(ClosePeriodRequest),
    /// Nothing more comes.
    #[prost(message, tag = "16")]
    End(End),
}

/// What the recorded book came to, once all was booked that was due at its last event.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct End {
    /// Entries before this one.
    #[prost(uint64, tag = "1")]
    pub(crate) entries: u64,
    /// The book's time of the first of them, microseconds since the Unix epoch.
    #[prost(int64, tag = "2")]
    pub(crate) first_us: i64,
    /// The book's time of its last event.
    #[prost(int64, tag = "6")]
    pub(crate) last_us: i64,
    /// Members, over all programs.
    #[prost(uint64, tag = "3")]
    pub(crate) members: u64,
    /// The hash of the state, see [`super::state::State::hash`].
    #[prost(string, tag = "4")]
    pub(crate) state: String,
    /// Every account that does not come to zero, members' together by class.
    #[prost(message, repeated, tag = "5")]
    pub(crate) totals: Vec<Total>,
}

/// An account of a program.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Total {
    /// The program.
    #[prost(string, tag = "1")]
    pub(crate) program: String,
    /// The account; those of other assets than `points` begin with the asset and a colon.
    #[prost(string, tag = "2")]
    pub(crate) account: String,
    /// The balance, credit positive.
    #[prost(sint64, tag = "3")]
    pub(crate) balance: i64,
}

impl Entry {
    /// The command, if it is one.
    pub(crate) fn command(&self) -> Option<&Command> {
        match &self.what {
            Some(What::Command(command)) => Some(command),
            _ => None,
        }
    }

    /// Of a reversal of a part of a checkout the checkout's key, and which part it is.
    pub(crate) fn names_part(&self) -> Option<(&str, u32)> {
        match &self.command()?.action {
            Some(Action::Reverse(reverse)) => match &reverse.original {
                Some(Original::OriginalKey(key)) => Some((key, self.part?)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Lets the reversal of a part of a checkout name it by its op, which is known only where the checkout stands.
    pub(crate) fn name_part(&mut self, op: u64) {
        if let Some(What::Command(Command { action: Some(Action::Reverse(reverse)), .. })) = &mut self.what {
            reverse.original = Some(Original::OriginalOp(op));
        }
    }
}
