//! A field that the first version of a struct did not have. It adds nothing to the struct's bytes, so that they stay what
//! they were; what it holds is written behind the struct, under the next version, by [`super::codec`].

use bincode::de::{BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{BorrowDecode, Decode, Encode};

/// A value that came later; its default where it was not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later<T>(pub Option<Box<T>>);

impl<T> Default for Later<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Default + PartialEq> Later<T> {
    /// Holds a value; the default is not held, so that it is written as if nobody had said it.
    pub fn new(value: T) -> Self {
        Self(Some(value).filter(|value| *value != T::default()).map(Box::new))
    }
}

impl<T> Later<T> {
    /// The value, if one was said.
    #[must_use]
    pub fn as_deref(&self) -> Option<&T> {
        self.0.as_deref()
    }
}

impl<T> Encode for Later<T> {
    fn encode<E: Encoder>(&self, _: &mut E) -> Result<(), EncodeError> {
        Ok(())
    }
}

impl<C, T> Decode<C> for Later<T> {
    fn decode<D: Decoder<Context = C>>(_: &mut D) -> Result<Self, DecodeError> {
        Ok(Self::default())
    }
}

impl<'de, C, T> BorrowDecode<'de, C> for Later<T> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(_: &mut D) -> Result<Self, DecodeError> {
        Ok(Self::default())
    }
}
