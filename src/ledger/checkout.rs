//! Several commands of one member as one: what closes them.

use super::command::Command;
use super::decide::common_of;
use super::event::{CHECKOUT_PARTS_MAX, CheckedOut, Event};
use super::ids::{MemberRef, Op};
use super::list::List;
use super::posting::Posting;
use super::state::{Ledger, Moment};

impl Ledger {
    /// The event that closes a checkout whose parts were applied as the events `parts`, in their order; `earn` says which of
    /// them is an earn. `None` where no part was applied.
    #[must_use]
    pub fn check_out<'c>(&self, command: &'c Command, parts: &[Op], earn: Option<u8>, at: Moment) -> Option<Event<'c>> {
        let number = self.members.find(command.member_hash)?;
        let posting = Posting::on(self.members.holding(number)?, at);
        let mut links: List<u64, CHECKOUT_PARTS_MAX> = List::default();
        let fit = parts.iter().all(|part| links.0.try_push(at.op.distance_from(*part)).is_ok());
        let common = common_of(command, MemberRef::Known(number), &posting, at);
        fit.then_some(Event::CheckedOut(CheckedOut { common, parts: links, earn }))
    }

    /// Whether what happens now can be taken back as a whole, see [`Self::begin_undo`].
    #[must_use]
    pub fn undoes(&self) -> bool {
        self.undo.is_some()
    }
}
