//! The commonest event, an earn of `points` that is available at once, read by hand: what a receipt shows of it, at a
//! fraction of what reading the event in whole takes. Any other event is left to [`super::super::codec`], and so is one that looks
//! odd: this reads what the ledger wrote, and judges nothing.

use arrayvec::ArrayVec;

use super::super::codec::EVENT_HEADER_BYTES;
use super::super::event::{Balances, WINNERS_MAX};
use super::super::ids::{CampaignNo, ProgramNo};
use super::super::reason::Reason;

/// What a receipt shows of a plain earn: one by a member who exists by it, of `points` alone, none of which waits or had
/// lapsed, and after which none of the member's points are held or pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownEarn {
    /// The program.
    pub program: ProgramNo,
    /// The member's points after the event.
    pub after: Balances,
    /// The base award.
    pub base: u64,
    /// The campaigns that took part, in order of their ids.
    pub shares: ArrayVec<ShownShare, WINNERS_MAX>,
}

/// A campaign's share in a plain earn, as in [`super::super::event::Share`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownShare {
    /// Which campaign.
    pub campaign: CampaignNo,
    /// Units awarded.
    pub awarded: u64,
    /// Units that the multiplier asked for and that were not awarded.
    pub short: u64,
    /// Why not, if any were short.
    pub reason: Option<Reason>,
}

/// What a receipt shows of the event with those bytes, where it is a plain earn.
#[must_use]
pub fn earn(event: &[u8]) -> Option<ShownEarn> {
    let (header, body) = event.split_first_chunk::<EVENT_HEADER_BYTES>()?;
    // Kind and version of an earn that says nothing which the first ones did not know.
    let [1, 1, low, high] = *header else { return None };
    if usize::from(u16::from_le_bytes([low, high])) != event.len() {
        return None;
    }
    let mut reader = Reader(body);
    let program = ProgramNo(reader.small()?);
    let after = reader.common()?;
    // The basis, the event kind and the version of the rules.
    reader.number()?;
    reader.number()?;
    if reader.flag()? {
        reader.skip_bytes()?;
    }
    reader.number()?;
    let base = reader.number()?;
    let mut shares = ArrayVec::new();
    for _ in 0..reader.byte()? {
        shares.try_push(reader.share()?).ok()?;
    }
    for _ in 0..reader.byte()? {
        reader.skip_leg()?;
    }
    reader.0.is_empty().then_some(ShownEarn { program, after, base, shares })
}

/// Reads what bincode wrote: bytes as they are; numbers of more bits as one byte below [`WIDE`], or as that byte, which
/// tells how wide it is, and the number, lowest byte first; signed ones zigzagged before.
struct Reader<'b>(&'b [u8]);

/// The first byte of a number of 16 bits; those of 32 and of 64 bits follow.
const WIDE: u8 = 251;

impl Reader<'_> {
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*chunk)
    }

    #[inline]
    fn number(&mut self) -> Option<u64> {
        match self.byte()? {
            small if small < WIDE => Some(u64::from(small)),
            wide => self.wide(wide),
        }
    }

    #[inline]
    fn wide(&mut self, kind: u8) -> Option<u64> {
        match kind - WIDE {
            0 => self.chunk().map(u16::from_le_bytes).map(u64::from),
            1 => self.chunk().map(u32::from_le_bytes).map(u64::from),
            2 => self.chunk().map(u64::from_le_bytes),
            _ => None,
        }
    }

    #[inline]
    fn signed(&mut self) -> Option<i64> {
        let zigzag = self.number()?;
        let magnitude = (zigzag >> 1).cast_signed();
        Some(if zigzag & 1 == 0 { magnitude } else { !magnitude })
    }

    #[inline]
    fn small(&mut self) -> Option<u16> {
        u16::try_from(self.number()?).ok()
    }

    #[inline]
    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    #[inline]
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    #[inline]
    fn skip_bytes(&mut self) -> Option<()> {
        let bytes = usize::try_from(self.number()?).ok()?;
        self.skip(bytes)
    }

    /// What an event of a member's command begins with, behind the program; the member's points after it.
    #[inline]
    fn common(&mut self) -> Option<Balances> {
        self.skip_bytes()?;
        // The hash of the body.
        self.skip(16)?;
        match self.byte()? {
            // A member who is known; one whom the event creates.
            0 => _ = self.number()?,
            1 => {
                self.number()?;
                self.skip_bytes()?;
            }
            _ => return None,
        }
        // The link, and how late it is.
        self.number()?;
        self.number()?;
        if self.flag()? {
            self.skip_notes()?;
        }
        Some(Balances { available: self.signed()?, debt: self.signed()? })
    }

    fn skip_notes(&mut self) -> Option<()> {
        (0..4).try_for_each(|_| self.skip_text())?;
        for _ in 0..self.number()? {
            self.skip_text()?;
            self.skip_text()?;
        }
        Some(())
    }

    fn skip_text(&mut self) -> Option<()> {
        // The scheme.
        self.byte()?;
        self.skip_bytes()
    }

    #[inline]
    fn share(&mut self) -> Option<ShownShare> {
        let campaign = CampaignNo(self.small()?);
        let (awarded, short) = (self.number()?, self.number()?);
        let reason = if self.flag()? { Some(Reason::from_number(self.small()?)?) } else { None };
        // Whether the campaign stops.
        self.flag()?;
        if self.flag()? {
            // The cap: what it counts over, the first day, the room.
            (0..3).try_for_each(|_| self.number().map(|_| ()))?;
        }
        Some(ShownShare { campaign, awarded, short, reason })
    }

    /// A leg on an account that a plain earn moves.
    #[inline]
    fn skip_leg(&mut self) -> Option<()> {
        match self.byte()? {
            // Available: the lot's source, its expiry, and the place in it.
            0 => {
                self.byte()?;
                if self.byte()? == 1 {
                    self.number()?;
                }
                self.number()?;
            }
            // Debt.
            1 => {}
            // Issuance: the link.
            2 => _ = self.number()?,
            // A campaign, and the link.
            3 => {
                self.number()?;
                self.number()?;
            }
            _ => return None,
        }
        // The asset, and the amount.
        self.byte()?;
        self.number()?;
        Some(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::ledger::codec;
    use crate::ledger::event::{
        Account, AssetBalances, Basis, CapSpan, CapUse, Common, EarnMore, Earned, Event, Expiry, Leg, Legs, LotId,
        Matures, NotesRef, Share, Source, Text,
    };
    use crate::ledger::ids::{AssetNo, MemberNo, MemberRef, VersionNo};
    use crate::ledger::later::Later;
    use crate::ledger::list::List;
    use crate::ledger::spec::CapPer;

    /// Numbers of every width.
    fn number() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0_u32..64).prop_map(|(bits, narrower)| bits >> narrower)
    }

    fn signed() -> impl Strategy<Value = i64> {
        (any::<i64>(), 0_u32..64).prop_map(|(bits, narrower)| bits >> narrower)
    }

    fn small<T: TryFrom<u64> + std::fmt::Debug>() -> impl Strategy<Value = T> {
        number().prop_filter_map("too great", |number| T::try_from(number).ok())
    }

    /// A text, kept for as long as the test runs.
    fn text() -> impl Strategy<Value = &'static str> {
        prop_oneof![Just(""), Just("k"), Just("naïve"), Just(Box::leak("long".repeat(80).into_boxed_str()) as &str)]
    }

    fn note() -> impl Strategy<Value = Text<'static>> {
        (any::<u8>(), text()).prop_map(|(scheme, text)| Text { scheme, text })
    }

    fn notes() -> impl Strategy<Value = NotesRef<'static>> {
        let pairs = prop::collection::vec((note(), note()), 0..4);
        (note(), note(), note(), note(), pairs).prop_map(|(reference, channel, partner, location, metadata)| NotesRef {
            reference,
            channel,
            partner,
            location,
            metadata,
        })
    }

    fn member() -> impl Strategy<Value = MemberRef<'static>> {
        let number = || small().prop_map(MemberNo);
        prop_oneof![
            4 => number().prop_map(MemberRef::Known),
            1 => (number(), text()).prop_map(|(number, id)| MemberRef::Opened(number, id)),
            1 => text().prop_map(MemberRef::Unknown),
        ]
    }

    fn common() -> impl Strategy<Value = Common<'static>> {
        let others = prop_oneof![
            4 => Just(Vec::new()),
            1 => number().prop_map(|n| vec![AssetBalances { asset: AssetNo(1), held: (n >> 1).cast_signed(), ..Default::default() }]),
        ];
        let after = (signed(), signed()).prop_map(|(available, debt)| Balances { available, debt });
        let parts =
            (small(), text(), any::<[u8; 16]>(), member(), number(), signed(), prop::option::weighted(0.2, notes()));
        (parts, after, others).prop_map(|(parts, after, others)| {
            let (program, key, body_hash, member, member_link, behind_us, notes) = parts;
            let (program, others) = (ProgramNo(program), Later::new(others));
            Common { program, key, body_hash, member, member_link, behind_us, notes, after, others }
        })
    }

    fn share() -> impl Strategy<Value = Share> {
        let reason =
            prop_oneof![4 => Just(None), 1 => Just(Some(Reason::CapReached)), 1 => Just(Some(Reason::PeriodClosed))];
        let cap = prop::option::weighted(0.3, (any::<i32>(), number())).prop_map(|cap| {
            cap.map(|(first_day, room)| CapUse { span: CapSpan { per: CapPer::Week, first_day }, room })
        });
        (small(), number(), number(), reason, any::<bool>(), cap).prop_map(
            |(campaign, awarded, short, reason, stopped, cap)| Share {
                campaign: CampaignNo(campaign),
                awarded,
                short,
                reason,
                stopped,
                cap,
            },
        )
    }

    fn leg() -> impl Strategy<Value = Leg> {
        let expiry = prop_oneof![Just(Expiry::Never), any::<u32>().prop_map(Expiry::At), Just(Expiry::Rolling)];
        let source = prop_oneof![Just(Source::Base), Just(Source::Campaign), Just(Source::Granted)];
        let more = prop_oneof![Just(Source::Opening), Just(Source::Bonus), Just(Source::Transferred)];
        let lot = (prop_oneof![source, more], expiry).prop_map(|(source, expiry)| LotId { source, expiry });
        let account = prop_oneof![
            4 => (lot.clone(), number()).prop_map(|(lot, position)| Account::Available { lot, position }),
            4 => Just(Account::Debt),
            4 => number().prop_map(|link| Account::Issuance { link }),
            4 => (small(), number()).prop_map(|(campaign, link)| Account::Campaign { campaign: CampaignNo(campaign), link }),
            1 => number().prop_map(|link| Account::Breakage { link }),
            1 => (number(), lot).prop_map(|(earn_link, lot)| Account::Pending { earn_link, lot }),
        ];
        (account, any::<u8>(), signed()).prop_map(|(account, asset, amount)| Leg {
            account,
            asset: AssetNo(asset),
            amount,
        })
    }

    /// Earns of every shape, plain and not.
    pub(crate) fn earned() -> impl Strategy<Value = Earned<'static>> {
        let basis = prop_oneof![number().prop_map(Basis::Spend), number().prop_map(Basis::Points)];
        let legs = prop::collection::vec(leg(), 0..9).prop_map(|all| {
            let mut legs = Legs::default();
            all.into_iter().for_each(|leg| assert!(legs.push(leg)));
            legs
        });
        let shares = prop::collection::vec(share(), 0..=WINNERS_MAX);
        let more = prop_oneof![
            4 => Just(EarnMore::default()),
            1 => signed().prop_map(|us| EarnMore { matures: Some(Matures::At(us)), ..EarnMore::default() }),
        ];
        (common(), basis, prop::option::of(text()), any::<u32>(), number(), shares, legs, more).prop_map(
            |(common, basis, event_kind, version, base, shares, legs, more)| Earned {
                common,
                basis,
                event_kind,
                version: VersionNo(version),
                base,
                shares: List(shares.into_iter().collect()),
                legs,
                more: Later::new(more),
            },
        )
    }

    /// What is to be read of an earn, where it is a plain one.
    fn plain(earned: &Earned<'_>) -> Option<ShownEarn> {
        let usual = |leg: &Leg| !matches!(leg.account, Account::Breakage { .. } | Account::Pending { .. });
        let said = earned.common.others.0.is_none() && earned.more.0.is_none();
        let plain = said && earned.common.member.number().is_some() && earned.legs.iter().all(usual);
        let share = |share: &Share| {
            let Share { campaign, awarded, short, reason, .. } = *share;
            ShownShare { campaign, awarded, short, reason }
        };
        let shares = earned.shares.iter().map(share).collect();
        plain.then(|| ShownEarn {
            program: earned.common.program,
            after: earned.common.after,
            base: earned.base,
            shares,
        })
    }

    proptest! {
        #[test]
        fn a_plain_earn_is_read_as_the_codec_reads_it_and_every_other_one_left_to_it(earned in earned()) {
            let mut bytes = Vec::new();
            codec::encode(&Event::Earned(earned.clone()), &mut bytes).unwrap();
            prop_assert_eq!(earn(&bytes), plain(&earned));
        }

        #[test]
        fn what_is_no_whole_event_is_left_to_the_codec(earned in earned(), cut in 1_usize..40) {
            let mut bytes = Vec::new();
            codec::encode(&Event::Earned(earned), &mut bytes).unwrap();
            let mut longer = bytes.clone();
            longer.push(0);
            prop_assert_eq!(earn(&longer), None);
            bytes.truncate(bytes.len().saturating_sub(cut));
            // Also where the header says that this is all.
            prop_assert_eq!(earn(&bytes), None);
            if let (Ok(short), Some(place)) = (u16::try_from(bytes.len()), bytes.get_mut(2..4)) {
                place.copy_from_slice(&short.to_le_bytes());
            }
            prop_assert_eq!(earn(&bytes), None);
        }
    }

    #[test]
    fn events_of_other_kinds_and_versions_are_left_to_the_codec() {
        for kind in 0..=u8::MAX {
            for version in 0..4 {
                assert!((kind, version) == (1, 1) || earn(&[kind, version, 4, 0]).is_none());
            }
        }
    }
}
