//! The memory of frames that are durable and answered, in which the next ones are built: two megabytes that are asked of the system
//! anew for every frame are cleared by it each time, and copied at every doubling while they fill.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::journal::FrameBody;

/// Frames that are kept: those that are written and answered at a time.
const FRAMES_MAX: usize = 8;
/// Memory of a frame that is kept; a larger one is rare.
const ROOM_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Frames that the engine has no more use for; others may still be reading them.
#[derive(Default)]
pub(super) struct Spent {
    shared: VecDeque<Arc<FrameBody>>,
    own: Option<FrameBody>,
}

impl Spent {
    /// Keeps a frame until its last reader is gone.
    pub(super) fn keep(&mut self, frame: Arc<FrameBody>) {
        if frame.room() <= ROOM_BYTES_MAX && self.shared.len() < FRAMES_MAX {
            self.shared.push_back(frame);
        }
    }

    /// Keeps a frame that nobody else ever had.
    pub(super) fn keep_own(&mut self, frame: FrameBody) {
        self.own = Some(frame).filter(|frame| frame.room() <= ROOM_BYTES_MAX);
    }

    /// A frame that nobody reads.
    pub(super) fn take(&mut self) -> Option<FrameBody> {
        self.own.take().or_else(|| {
            let free = self.shared.iter().position(|frame| Arc::strong_count(frame) == 1)?;
            self.shared.remove(free).and_then(Arc::into_inner)
        })
    }
}
