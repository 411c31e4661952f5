//! The bytes of the state's images: numbers as varints, seven bits a byte, lowest first, in their shortest form; signed
//! ones zigzagged before. A reader never panics and allocates nothing that its bytes do not fill.

use thiserror::Error;

/// Why bytes are no image.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{what}, at byte {at} of the image")]
pub struct ImageError {
    /// What is wrong.
    pub what: &'static str,
    /// Where the reader stood.
    pub at: usize,
}

/// Appends to an image.
pub(crate) struct Writer<'o>(pub(crate) &'o mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn number(&mut self, number: impl Into<u64>) {
        let mut rest = number.into();
        loop {
            let [low, ..] = rest.to_le_bytes();
            rest >>= 7;
            if rest == 0 {
                return self.0.push(low & 0x7f);
            }
            self.0.push(low | 0x80);
        }
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.number(u64::try_from(count).unwrap_or(u64::MAX));
    }

    pub(crate) fn signed(&mut self, number: i64) {
        self.number(u64::from_le_bytes(((number << 1) ^ (number >> 63)).to_le_bytes()));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn optional(&mut self, number: Option<i64>) {
        self.byte(u8::from(number.is_some()));
        if let Some(number) = number {
            self.signed(number);
        }
    }
}

/// Reads an image from its beginning.
pub(crate) struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    /// Begins behind the byte of the version, which must be the one given.
    pub(crate) fn new(bytes: &'b [u8], version: u8) -> Result<Self, ImageError> {
        let mut reader = Self { bytes, at: 0 };
        match reader.byte()? {
            found if found == version => Ok(reader),
            _ => Err(reader.wrong("the image's version is unknown to this build")),
        }
    }

    pub(crate) fn wrong(&self, what: &'static str) -> ImageError {
        ImageError { what, at: self.at }
    }

    pub(crate) fn raw(&mut self, count: usize) -> Result<&'b [u8], ImageError> {
        let end = self.at.checked_add(count);
        let found =
            end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| self.wrong("the image ends early"))?;
        self.at += count;
        Ok(found)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, ImageError> {
        let byte = self.bytes.get(self.at).copied().ok_or_else(|| self.wrong("the image ends early"))?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn number(&mut self) -> Result<u64, ImageError> {
        let mut number = 0_u64;
        for shift in (0..64_u32).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return match byte == 0 && shift > 0 {
                    true => Err(self.wrong("a number is not in its shortest form")),
                    false => Ok(number),
                };
            }
        }
        Err(self.wrong("a number is too great"))
    }

    /// A number of a narrower type.
    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, ImageError> {
        let number = self.number()?;
        T::try_from(number).map_err(|_| self.wrong("a number is too great"))
    }

    /// How many values follow, of at least one byte each.
    pub(crate) fn count(&mut self) -> Result<usize, ImageError> {
        let count: usize = self.small()?;
        match count <= self.bytes.len() - self.at {
            true => Ok(count),
            false => Err(self.wrong("the image says that it holds more than it does")),
        }
    }

    pub(crate) fn signed(&mut self) -> Result<i64, ImageError> {
        let zigzag = self.number()?;
        let magnitude = i64::from_le_bytes((zigzag >> 1).to_le_bytes());
        Ok(if zigzag & 1 == 0 { magnitude } else { !magnitude })
    }

    pub(crate) fn optional(&mut self) -> Result<Option<i64>, ImageError> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.signed().map(Some),
            _ => Err(self.wrong("an option is neither there nor not")),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'b [u8], ImageError> {
        let count = self.count()?;
        self.raw(count)
    }

    pub(crate) fn text(&mut self) -> Result<&'b str, ImageError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.wrong("a text is not UTF-8"))
    }

    /// Says that nothing may follow.
    pub(crate) fn end(&self) -> Result<(), ImageError> {
        match self.at == self.bytes.len() {
            true => Ok(()),
            false => Err(self.wrong("something follows the image")),
        }
    }
}
