//! How much book there is, from outside of the server that writes it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::Failure;

/// Frames begin and end on this boundary.
const PAGE_BYTES: u64 = 4_096;

/// One segment: of its copies the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Its size, which it has from the start.
    pub(crate) bytes: u64,
    /// Of these, how many are written, to the page; there are zeros behind.
    pub(crate) written: u64,
}

/// The segments in a data directory, in their order.
pub(crate) fn segments(data: &Path) -> Result<Vec<Segment>, Failure> {
    let mut segments: BTreeMap<String, (String, PathBuf)> = BTreeMap::new();
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((index, copy)) = name.strip_prefix("segment-").and_then(|name| name.split_once('.')) else { continue };
        if !copy.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let newest = segments.entry(index.to_owned()).or_default();
        if newest.0.as_str() <= copy {
            *newest = (copy.to_owned(), entry.path());
        }
    }
    segments
        .values()
        .map(|(_, path)| Ok(Segment { bytes: fs::metadata(path)?.len(), written: end_of(path)? }))
        .collect()
}

/// Bytes of book in a data directory, to the page.
pub(crate) fn written_bytes(data: &Path) -> Result<u64, Failure> {
    Ok(segments(data)?.iter().map(|segment| segment.written).sum())
}

/// Where the zeros at the end of a file begin, to the page. Every page that is written holds a byte that is not zero, so a search by halves finds it.
fn end_of(path: &Path) -> Result<u64, Failure> {
    let file = File::open(path)?;
    let (mut low, mut high) = (0, file.metadata()?.len() / PAGE_BYTES);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut page = [0; 4_096];
        file.read_exact_at(&mut page, middle * PAGE_BYTES)?;
        if page.iter().all(|byte| *byte == 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low * PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn segment(written: usize, pages: usize) -> Vec<u8> {
        let mut bytes = vec![1; written];
        bytes.resize(pages * 4_096, 0);
        bytes
    }

    #[test]
    fn what_is_written_counts_and_the_room_behind_it_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: Vec<u8>| fs::write(folder.path().join(name), bytes).unwrap();
        put("segment-00000000.0000", segment(8 * 4_096, 8));
        put("segment-00000001.0000", segment(5 * 4_096, 8));
        put("segment-00000001.0001", segment(2 * 4_096 + 1, 8));
        put("segment-00000002.0000.new", segment(4_096, 8));
        put("segment-00000003.0000", segment(0, 8));
        put("LOCK", segment(4_096, 1));
        assert_eq!(written_bytes(folder.path()).unwrap(), (8 + 3) * 4_096);
    }

    #[test]
    fn every_length_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        for pages in 0..=9 {
            fs::write(&path, segment(pages * 4_096, 9)).unwrap();
            assert_eq!(end_of(&path).unwrap(), u64::try_from(pages).unwrap() * 4_096);
        }
    }
}
