//! Why a rule refused a command or cut an award. The numbers stand in the book and in the contract alike.

use bincode::de::{BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{BorrowDecode, Decode, Encode};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// A rule's reason.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Reason { $($(#[$doc])* $name = $number,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The number in the book.
            #[must_use]
            pub fn number(self) -> u16 {
                match self { $(Self::$name => $number,)* }
            }

            /// The reason with that number.
            #[must_use]
            pub fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    /// The campaign's budget did not cover the bonus.
    CampaignBudgetExhausted = 1,
    /// The member's cap left no room for all of the bonus.
    CapReached = 2,
    /// No member has that id.
    MemberUnknown = 3,
    /// The member has fewer available points than asked.
    InsufficientPoints = 4,
    /// The rules in force know no such event kind.
    EventKindUnknown = 5,
    /// The currency is not the program's.
    CurrencyMismatch = 6,
    /// The business time lies further back than the program takes.
    OccurredTooLate = 7,
    /// The business time lies further ahead than the program takes.
    OccurredTooEarly = 8,
    /// An award or a balance would leave the range of the books.
    AmountOverflow = 9,
    /// No earn answers to what the refund names.
    OriginalNotFound = 10,
    /// What the refund names is not an applied earn.
    OriginalNotRefundable = 11,
    /// What the refund names belongs to another member.
    OriginalOtherMember = 12,
    /// More would be refunded than the original's amount.
    RefundExceedsOriginal = 13,
    /// The refund speaks of money and the original of points, or the other way round.
    RefundBasisMismatch = 14,
    /// The newest version is another than the caller expected.
    VersionMismatch = 15,
    /// The version would hold from an instant that has passed.
    EffectiveFromPast = 16,
    /// A campaign's window would begin at an instant that has passed.
    CampaignStartPast = 17,
    /// The program has no such campaign.
    CampaignUnknown = 18,
    /// The campaign is closed.
    CampaignClosed = 19,
    /// The campaign is neither paused nor stopped.
    CampaignNotPaused = 20,
    /// The campaign is already paused.
    CampaignPaused = 21,
    /// The book holds no such program.
    ProgramUnknown = 22,
    /// The program has as many versions or campaigns as it may have, or the book as many programs.
    LimitReached = 23,
    /// A new version may not change the program's currency or time zone.
    ProgramFixedField = 24,
    /// A snapshot of that name was taken before; a name is never used twice.
    SnapshotExists = 25,
    /// There is no snapshot of that name, or it was deleted.
    SnapshotUnknown = 26,
    /// The snapshot is to be kept until an instant that has not come.
    SnapshotRetained = 27,
    /// Opening balances are taken in import mode alone.
    NotImporting = 28,
    /// The member is frozen: it earns and does not spend.
    MemberFrozen = 31,
    /// The member is closed.
    MemberClosed = 32,
    /// The member already stands as asked.
    StandingUnchanged = 33,
    /// The asset is of another kind than the command is for.
    AssetKindMismatch = 34,
    /// No open hold answers to what the command names: it is used up, released or over.
    HoldUnknown = 35,
    /// The hold pins fewer units than asked.
    HoldExceeded = 36,
    /// The hold would last longer than the program lets it, or ends in the past.
    HoldDeadline = 37,
    /// The member has as many open holds as it may have.
    HoldsFull = 38,
    /// The member has as many pending earns as it may have.
    PendingFull = 39,
    /// Nothing of what the command names is pending.
    NotPending = 40,
    /// The instant at which units lapse has passed.
    LapsesPast = 41,
    /// What the command names cannot be undone.
    NotReversible = 42,
    /// More would be undone than there is left of it.
    ReverseExceedsOriginal = 43,
    /// The asset's policy takes back all or nothing, and the member has not all of it.
    RefundNotCovered = 44,
    /// The points make no whole unit of money.
    OffsetTooSmall = 45,
    /// A version of a program leaves out an asset, changes its kind, or puts one before another.
    AssetFixed = 46,
    /// A campaign may not change its asset.
    CampaignAssetFixed = 47,
    /// The operator's time is another than the server's clock tells.
    ClockDiffers = 29,
    /// The wall clock has not leapt ahead, so that there is nothing to confirm.
    ClockNotLeapt = 30,
    /// The version of the program in force has no such asset; the newest one has, for else the command's shape is wrong.
    AssetUnknown = 48,
    /// The member would give units to itself.
    SelfTransfer = 49,
    /// The program has no rate for the conversion.
    ConversionUnknown = 50,
    /// The other program does not take units from this one.
    ConversionNotAccepted = 51,
    /// The units make no whole unit of the other program.
    ConversionTooSmall = 52,
    /// The id belongs to a member that went into another.
    MemberMerged = 53,
    /// The two members together have more lots, holds or pending earns than one event moves or one member may have.
    MergeTooLarge = 54,
    /// The program has no such reward.
    RewardUnknown = 55,
    /// The reward is not on offer.
    RewardClosed = 56,
    /// Fewer pieces of the reward are left than asked.
    OutOfStock = 57,
    /// A capture takes whole pieces of what a hold reserves.
    NotWholePieces = 58,
    /// The member has as many tags as it may have, or the program as many names of tags.
    TagsFull = 59,
    /// A reward may not change its asset while pieces of it are reserved.
    RewardReserved = 60,
    /// As many ids lead to the member as may.
    AliasesFull = 61,
    /// The period to be closed is not over.
    PeriodNotOver = 70,
    /// The program's books are closed up to that instant or a later one.
    PeriodClosed = 71,
}

impl Encode for Reason {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.number().encode(encoder)
    }
}

impl<C> Decode<C> for Reason {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::from_number(u16::decode(decoder)?).ok_or(DecodeError::Other("unknown reason"))
    }
}

impl<'de, C> BorrowDecode<'de, C> for Reason {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}
