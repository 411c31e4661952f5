//! Reasons in words. The words are for people and may change; the enum is for programs and may not.

use crate::ledger::reason::Reason;

/// Why a rule refused a command or cut an award.
#[must_use]
pub(super) fn explain(reason: Reason) -> &'static str {
    match reason {
        Reason::CampaignBudgetExhausted => "the campaign's budget did not cover the bonus",
        Reason::CapReached => "the member's cap left no room for all of the bonus",
        Reason::MemberUnknown => "no member has that id",
        Reason::InsufficientPoints => "the member has fewer points available than asked",
        Reason::EventKindUnknown => "the rules in force know no such event kind",
        Reason::CurrencyMismatch => "the currency is not the program's",
        Reason::OccurredTooLate => "the business time lies further back than the program takes",
        Reason::OccurredTooEarly => "the business time lies further ahead than the program takes",
        Reason::AmountOverflow => "an award or a balance would leave the range of the books",
        Reason::OriginalNotFound => "no earn answers to what the refund names",
        Reason::OriginalNotRefundable => "what the refund names is not an applied earn",
        Reason::OriginalOtherMember => "what the refund names belongs to another member",
        Reason::RefundExceedsOriginal => "more would be refunded than the original's amount",
        Reason::RefundBasisMismatch => "the refund speaks of money and the original of points, or the other way round",
        Reason::VersionMismatch => "the program's newest version is another than expected",
        Reason::EffectiveFromPast => "the version would hold from an instant that has passed",
        Reason::CampaignStartPast => "a campaign's window would begin at an instant that has passed",
        Reason::CampaignUnknown => "the program has no such campaign",
        Reason::CampaignClosed => "the campaign is closed",
        Reason::CampaignNotPaused => "the campaign is neither paused nor stopped",
        Reason::CampaignPaused => "the campaign is paused already",
        Reason::ProgramUnknown => "there is no such program",
        Reason::LimitReached => "the program or the book has as many of these as it may have",
        Reason::SnapshotExists => "a snapshot of that name has been taken before",
        Reason::SnapshotUnknown => "there is no such snapshot",
        Reason::SnapshotRetained => "the snapshot is to be kept for longer",
        Reason::NotImporting => "the program's newest version does not import",
        Reason::ClockDiffers => "the server's clock tells another time",
        Reason::ClockNotLeapt => "the server's clock has not leapt ahead: there is nothing to confirm",
        Reason::ProgramFixedField => "a new version may change neither the program's currency nor its time zone",
    }
}
