//! A short list on the stack that the codec knows: no allocation on the way from command to receipt.

use std::ops::Deref;

use arrayvec::ArrayVec;
use bincode::de::{BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{BorrowDecode, Decode, Encode};
use smallvec::SmallVec;

/// At most `N` values, written as a count of one byte and the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const N: usize>(pub ArrayVec<T, N>);

impl<T, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self(ArrayVec::new())
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Encode, const N: usize> Encode for List<T, N> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let count = u8::try_from(self.0.len()).map_err(|_| EncodeError::Other("list over 255 values"))?;
        count.encode(encoder)?;
        self.0.iter().try_for_each(|value| value.encode(encoder))
    }
}

impl<C, T: Decode<C>, const N: usize> Decode<C> for List<T, N> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let count = u8::decode(decoder)?;
        let mut values = ArrayVec::new();
        for _ in 0..count {
            let value = T::decode(decoder)?;
            values.try_push(value).map_err(|_| DecodeError::Other("list longer than its bound"))?;
        }
        Ok(Self(values))
    }
}

impl<'de, C, T: Decode<C>, const N: usize> BorrowDecode<'de, C> for List<T, N> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

/// At most `MAX` values, the first `N` of them in place; written as a [`List`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongList<T, const N: usize, const MAX: usize>(SmallVec<[T; N]>);

impl<T, const N: usize, const MAX: usize> LongList<T, N, MAX> {
    /// Puts the values in order.
    pub fn sort(&mut self)
    where
        T: Ord,
    {
        self.0.sort_unstable();
    }

    /// Puts a value at the end; `false` where there is no room.
    #[must_use]
    pub fn push(&mut self, value: T) -> bool {
        let room = self.0.len() < MAX;
        if room {
            self.0.push(value);
        }
        room
    }
}

impl<T, const N: usize, const MAX: usize> Default for LongList<T, N, MAX> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<T, const N: usize, const MAX: usize> Deref for LongList<T, N, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Encode, const N: usize, const MAX: usize> Encode for LongList<T, N, MAX> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let count = u8::try_from(self.0.len()).map_err(|_| EncodeError::Other("list over 255 values"))?;
        count.encode(encoder)?;
        self.0.iter().try_for_each(|value| value.encode(encoder))
    }
}

impl<C, T: Decode<C>, const N: usize, const MAX: usize> Decode<C> for LongList<T, N, MAX> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let count = u8::decode(decoder)?;
        let mut values = Self::default();
        for _ in 0..count {
            if !values.push(T::decode(decoder)?) {
                return Err(DecodeError::Other("list longer than its bound"));
            }
        }
        Ok(values)
    }
}

impl<'de, C, T: Decode<C>, const N: usize, const MAX: usize> BorrowDecode<'de, C> for LongList<T, N, MAX> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}
