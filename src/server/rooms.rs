//! Room for the commands of batches, left by those that were answered: some hundred kilobytes a thousand, which the system would
//! clear anew for each.

use crossbeam::queue::ArrayQueue;

use crate::ledger::command::Command;

/// Rooms that are kept: as many batches as are between arrival and answer on a busy night.
const ROOMS_MAX: usize = 32;
/// Commands that a kept room has place for, at least and at most: smaller ones cost little, larger ones are few.
const COMMANDS: std::ops::RangeInclusive<usize> = 64..=4_096;

/// Rooms that nobody is in.
pub(super) struct Rooms(ArrayQueue<Vec<Command>>);

impl Default for Rooms {
    fn default() -> Self {
        Self(ArrayQueue::new(ROOMS_MAX))
    }
}

impl Rooms {
    /// Room for so many commands, empty.
    pub(super) fn take(&self, count: usize) -> Vec<Command> {
        let mut room = if COMMANDS.contains(&count) { self.0.pop().unwrap_or_default() } else { Vec::new() };
        room.reserve_exact(count);
        room
    }

    /// Keeps a room for others, and nothing of what is in it.
    pub(super) fn leave(&self, mut room: Vec<Command>) {
        room.clear();
        if COMMANDS.contains(&room.capacity()) {
            // Where there are enough of them it goes.
            let _full = self.0.push(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_that_was_left_is_given_to_the_next_who_fits() {
        let rooms = Rooms::default();
        rooms.leave(Vec::with_capacity(1_000));
        assert_eq!(rooms.take(10).capacity(), 10);
        assert_eq!(rooms.take(500).capacity(), 1_000);
        assert_eq!(rooms.take(500).capacity(), 500);
        for count in [1, 5_000] {
            rooms.leave(Vec::with_capacity(count));
        }
        assert_eq!(rooms.take(64).capacity(), 64);
        (0..2 * ROOMS_MAX).for_each(|_| rooms.leave(Vec::with_capacity(100)));
        assert_eq!(rooms.0.len(), ROOMS_MAX);
    }
}
