//! How the engine takes what waits, and refuses what waited too long.

use super::queue::Item;
use super::request::Refusal;
use super::run::{Broken, Core, stream_of};

impl Core {
    /// Takes one request, and hands over the open frame where others should not wait for it; `false` as [`Core::take`].
    pub(super) fn step(&mut self) -> Result<bool, Broken> {
        let taken = self.take()?;
        if taken && self.frame_is_full() {
            self.hand_over_waiting();
        } else if taken && self.pipeline.wants(self.open_bytes()) {
            self.hand_over();
        }
        Ok(taken)
    }

    /// Takes one request and decides it; `false` where there is none that may be decided.
    pub(super) fn take(&mut self) -> Result<bool, Broken> {
        if let Some(item) = self.queue.pop_resolved() {
            self.resolving = self.resolving.saturating_sub(1);
            self.go_on(item)?;
            return Ok(true);
        }
        if self.held_back() || self.rests_us() > 0 {
            self.refuse_old();
            return Ok(false);
        }
        let Some(item) = self.oldest.pop_front().or_else(|| self.queue.pop()) else {
            // Nobody waits: what those before took says nothing of those to come.
            self.pace = super::pace::Pace::default();
            self.queue.set_pace_ns(0);
            self.queue.set_waited_us(0);
            return Ok(false);
        };
        self.queue.set_aside(self.oldest.len());
        let now_us = self.clock.monotonic_us();
        let waited_us = now_us.saturating_sub(item.queued_us);
        self.queue.set_waited_us(waited_us);
        self.queue.taken(&item, waited_us);
        if self.is_too_old(&item, now_us) {
            refuse(item);
            return Ok(true);
        }
        self.queue.set_pace_ns(self.pace.took(now_us, item.weight()));
        if let Some(held) = stream_of(&item).and_then(|stream| self.held.get_mut(&stream)) {
            held.push_back(item);
            return Ok(true);
        }
        self.handle(item)?;
        let pressure = self.pressure();
        if pressure > 0 {
            self.restraint.took(now_us, self.clock.monotonic_us(), pressure);
        }
        Ok(true)
    }

    /// A stream's items are decided in order and its caller is held back by flow control, so that none of them is too old.
    fn is_too_old(&self, item: &Item, now_us: u64) -> bool {
        now_us.saturating_sub(item.queued_us) > self.queue_age_max_us && stream_of(item).is_none()
    }

    /// Refuses what waits too long while nothing new may be decided: looks at the oldest ones, past those of streams, and keeps them
    /// in their order.
    fn refuse_old(&mut self) {
        let now_us = self.clock.monotonic_us();
        // Only the last of those kept may be of no stream.
        if let Some(last) = self.oldest.pop_back() {
            self.keep_or_refuse(last, now_us);
        }
        while self.oldest.len() < self.queue.capacity()
            && self.oldest.back().is_none_or(|item| stream_of(item).is_some())
        {
            let Some(item) = self.queue.pop() else { break };
            self.keep_or_refuse(item, now_us);
        }
        self.queue.set_aside(self.oldest.len());
        let oldest_us = self.oldest.front().map_or(0, |item| now_us.saturating_sub(item.queued_us));
        self.queue.set_waited_us(oldest_us);
    }

    fn keep_or_refuse(&mut self, item: Item, now_us: u64) {
        if self.is_too_old(&item, now_us) {
            self.queue.taken(&item, now_us.saturating_sub(item.queued_us));
            refuse(item);
        } else {
            self.oldest.push_back(item);
        }
    }
}

fn refuse(item: Item) {
    // The caller may be gone.
    let _gone = item.reply.send(Err(Refusal::QueueTooOld));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::super::request::{Answer, Work};
    use super::super::tests::{Client, config, earn, spec};
    use super::super::*;
    use super::*;
    use crate::io::sim::{SimClock, SimDisk};
    use crate::ledger::command::AdminAction;

    /// Submits requests of so many earns each.
    fn submit(client: &Client, requests: &[usize]) -> Vec<tokio::sync::oneshot::Receiver<Result<Answer, Refusal>>> {
        let batch = |request: usize, commands: usize| {
            let command =
                |at| client.command(&format!("{request}-{commands}-{at}"), &format!("member-{at}"), earn(1_000));
            client.handle.submit(Work::post((0..commands).map(command).collect(), false, None)).unwrap()
        };
        requests.iter().enumerate().map(|(request, &commands)| batch(request, commands)).collect()
    }

    #[test]
    fn a_large_frame_goes_while_others_wait_and_a_small_one_grows() {
        let (disk, clock) = (SimDisk::new(1), SimClock::new(1_800_000_000_000_000));
        let (engine, mut core) = Engine::around(Arc::new(disk), Arc::new(clock), &config(1 << 24)).unwrap();
        core.queue.bell().claim();
        let client = Client { handle: engine.handle() };
        let put =
            AdminAction::PutProgram { expected_version: Some(0), spec: Box::new(spec()), definition: "text".into() };
        let put = client.handle.submit(Work::Admin(Box::new(client.admin_command("put", put)))).unwrap();
        assert!(core.take().unwrap());
        core.hand_over_waiting();
        put.blocking_recv().unwrap().unwrap();
        let mut answers = submit(&client, &[10, 800, 1, 1]).into_iter();
        // Whether its thread has counted the frame before as done is not known to who waits for an answer of it.
        let idle = |core: &Core| {
            (0..10_000).any(|_| {
                core.pipeline.takes(0) || {
                    thread::sleep(Duration::from_millis(1));
                    false
                }
            })
        };
        assert!(idle(&core));
        assert!(core.step().unwrap() && core.has_work(), "a small one goes on growing");
        assert!(core.step().unwrap() && !core.has_work(), "a large one goes");
        // Both are answered, though nothing else is decided.
        for _ in 0..2 {
            assert!(answers.next().unwrap().blocking_recv().unwrap().is_ok());
        }
        assert!(answers.all(|mut answer| answer.try_recv().is_err()));
        engine.handle.shared.queue.close();
        core.run();
        engine.shut_down();
    }
}
