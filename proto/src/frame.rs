//! Frames: one JSON object per line. Both sides read and write them here, because frames carry codes one way and seeds
//! the other: the bytes are wiped from the read buffer as soon as a line is taken, and lines wipe themselves.

use serde::Serialize;
use tokio_util::bytes::{Buf, BytesMut};
use tokio_util::codec::Decoder;
use zeroize::{Zeroize, Zeroizing};

/// First size of the read buffer, in bytes.
const BUFFER_LEN: usize = 8 * 1024;

/// Takes lines from a byte stream, wiping what it has taken.
#[derive(Debug)]
pub struct Lines {
    len_max: usize,
    searched: usize,
}

/// Why no further line can be read. The stream is out of step: the connection has to be closed.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The line is longer than the limit. Outside data can cause it.
    #[error("a frame is longer than {len_max} bytes")]
    TooLong {
        /// The limit, in bytes.
        len_max: usize,
    },
    /// The line is not UTF-8. Outside data can cause it.
    #[error("a frame is not UTF-8 text")]
    NotText,
    /// The stream ended within a line.
    #[error("the stream ended within a frame")]
    Truncated,
    /// Reading failed.
    #[error("cannot read a frame")]
    Read(#[from] std::io::Error),
}

impl Lines {
    /// Takes lines of at most `len_max` bytes, without their line feed.
    #[must_use]
    pub const fn new(len_max: usize) -> Self {
        Self { len_max, searched: 0 }
    }

    fn refuse(&mut self, buffer: &mut BytesMut) -> FrameError {
        buffer.as_mut().zeroize();
        buffer.clear();
        self.searched = 0;
        FrameError::TooLong { len_max: self.len_max }
    }
}

impl Decoder for Lines {
    type Item = Zeroizing<String>;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Self::Item>, FrameError> {
        let unsearched = buffer.get(self.searched..).unwrap_or_default();
        let Some(offset) = unsearched.iter().position(|byte| *byte == b'\n') else {
            if buffer.len() > self.len_max {
                return Err(self.refuse(buffer));
            }
            self.searched = buffer.len();
            grow(buffer);
            return Ok(None);
        };
        let end = self.searched + offset;
        if end > self.len_max {
            return Err(self.refuse(buffer));
        }
        self.searched = 0;
        let line = std::str::from_utf8(&buffer[..end]).map(|text| Zeroizing::new(text.to_owned()));
        buffer[..end].zeroize();
        buffer.advance(end + 1);
        line.map(Some).map_err(|_| FrameError::NotText)
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Self::Item>, FrameError> {
        match self.decode(buffer)? {
            Some(line) => Ok(Some(line)),
            None if buffer.is_empty() => Ok(None),
            None => {
                buffer.as_mut().zeroize();
                Err(FrameError::Truncated)
            }
        }
    }
}

/// Makes room by moving to a larger buffer and wiping the old one; left to itself, a growing buffer is copied and the
/// old copy is freed as it is.
fn grow(buffer: &mut BytesMut) {
    if !buffer.is_empty() && buffer.len() == buffer.capacity() {
        let mut larger = BytesMut::with_capacity((buffer.len() * 2).max(BUFFER_LEN));
        larger.extend_from_slice(buffer);
        buffer.as_mut().zeroize();
        *buffer = larger;
    }
}

/// Writes a message as one frame with its line feed. The text is measured first, so that it never moves while it grows
/// and leaves no copy behind.
///
/// # Errors
/// If the message cannot be written as JSON.
pub fn encode<T: Serialize + ?Sized>(message: &T) -> Result<Zeroizing<String>, serde_json::Error> {
    let mut measure = Measure(0);
    serde_json::to_writer(&mut measure, message)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(measure.0 + 1));
    serde_json::to_writer(&mut *bytes, message)?;
    bytes.push(b'\n');
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(serde::ser::Error::custom("the message is not UTF-8 text"))
        }
    }
}

/// Counts what is written to it.
struct Measure(usize);

impl std::io::Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_however_they_arrive() {
        let mut lines = Lines::new(20);
        let mut buffer = BytesMut::new();
        let mut taken = Vec::new();
        for byte in b"one\n\ntwo and two\nrest" {
            buffer.extend_from_slice(&[*byte]);
            while let Some(line) = lines.decode(&mut buffer).unwrap() {
                taken.push(line.to_string());
            }
        }
        assert_eq!(taken, ["one", "", "two and two"]);
        assert!(matches!(lines.decode_eof(&mut buffer), Err(FrameError::Truncated)));
    }

    #[test]
    fn the_limit_counts_the_line_without_its_line_feed() {
        let read = |text: &str| Lines::new(4).decode(&mut BytesMut::from(text)).map(|line| line.is_some());
        assert!(read("1234\n").unwrap());
        assert!(!read("1234").unwrap());
        assert!(matches!(read("12345\n"), Err(FrameError::TooLong { len_max: 4 })));
        assert!(matches!(read("12345"), Err(FrameError::TooLong { len_max: 4 })));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let read = Lines::new(10).decode(&mut BytesMut::from(&b"\xff\xfe\n"[..]));
        assert!(matches!(read, Err(FrameError::NotText)));
    }

    #[test]
    fn a_frame_is_measured_exactly() {
        let frame = encode(&serde_json::json!({"a": "ü\n", "b": [1, 2]})).unwrap();
        assert_eq!(frame.as_str(), "{\"a\":\"ü\\n\",\"b\":[1,2]}\n");
        assert_eq!(frame.capacity(), frame.len());
    }
}
