//! journal

/// x
#[derive(Debug)]
pub struct FrameBody;
