//! Frames on the socket between agent and worker: 4 bytes of length, big-endian, then that many bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::{Zeroize as _, Zeroizing};

/// Longest frame, in bytes: a full batch of recovery copies fits.
pub(super) const FRAME_LEN_MAX: usize = 4 * 1024 * 1024;
const HEAD_LEN: usize = 4;
/// Room for a message that may carry a secret: a vector that grows leaves copies behind.
const MESSAGE_LEN_USUAL: usize = 4096;

/// The other side broke the format: it is no longer to be trusted with anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed message between agent and worker")]
pub(super) struct Malformed;

/// Appends a message as a frame. Give `frames` enough capacity where secrets are inside.
pub(super) fn append(message: &impl Serialize, frames: &mut Zeroizing<Vec<u8>>) -> Result<(), Malformed> {
    let start = frames.len();
    reserve_wiping(frames, MESSAGE_LEN_USUAL);
    frames.extend_from_slice(&[0; HEAD_LEN]);
    let sink = Appender(frames);
    postcard::serialize_with_flavor(message, sink).map_err(|_| Malformed)?;
    let len = frames.len() - start - HEAD_LEN;
    if len > FRAME_LEN_MAX {
        frames.truncate(start);
        return Err(Malformed);
    }
    let head = u32::try_from(len).map_err(|_| Malformed)?.to_be_bytes();
    if let Some(place) = frames.get_mut(start..start + HEAD_LEN) {
        place.copy_from_slice(&head);
    }
    Ok(())
}

/// Appends to a vector and wipes what it leaves behind when it must grow.
struct Appender<'a>(&'a mut Zeroizing<Vec<u8>>);

impl postcard::ser_flavors::Flavor for Appender<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        reserve_wiping(self.0, bytes.len());
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

fn reserve_wiping(bytes: &mut Zeroizing<Vec<u8>>, more: usize) {
    if bytes.capacity() - bytes.len() < more {
        let mut grown = Zeroizing::new(Vec::with_capacity((bytes.len() + more).next_power_of_two()));
        grown.extend_from_slice(bytes);
        // The old one is wiped as it is dropped.
        *bytes = grown;
    }
}

/// Reads one message.
pub(super) fn read<T: DeserializeOwned>(frame: &[u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(frame) {
        Ok((message, [])) => Ok(message),
        _ => Err(Malformed),
    }
}

/// Collects what a socket gives until whole frames are there. What was taken out is wiped.
pub(super) struct Inbox {
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { bytes: Zeroizing::new(vec![0; 64 * 1024]), start: 0, end: 0 }
    }

    /// Where the next bytes go. Tell [`Self::filled`] how many came.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            let kept = self.end - self.start;
            if let Some(left) = self.bytes.get_mut(kept..self.end) {
                left.zeroize();
            }
            (self.start, self.end) = (0, kept);
        }
        let wanted = self.wanted().unwrap_or(0).max(self.end + 1);
        if wanted > self.bytes.len() {
            let mut grown = Zeroizing::new(vec![0; wanted.next_power_of_two()]);
            for (to, from) in grown.iter_mut().zip(self.bytes.iter()) {
                *to = *from;
            }
            self.bytes = grown;
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    pub(super) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Length of the first frame with its head, once the head is there.
    fn wanted(&self) -> Option<usize> {
        let head = self.bytes.get(self.start..self.end)?.first_chunk::<HEAD_LEN>()?;
        Some(HEAD_LEN + (u32::from_be_bytes(*head) as usize).min(FRAME_LEN_MAX + 1))
    }

    /// Takes the next whole frame out, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Malformed> {
        match self.wanted() {
            Some(len) if len > HEAD_LEN + FRAME_LEN_MAX => Err(Malformed),
            Some(len) if self.end - self.start >= len => {
                let from = self.start;
                self.start += len;
                self.bytes.get(from + HEAD_LEN..from + len).map(Some).ok_or(Malformed)
            }
            _ => Ok(None),
        }
    }

    /// Whether another whole frame waits.
    pub(super) fn has_next(&self) -> bool {
        self.wanted().is_some_and(|len| self.end - self.start >= len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(inbox: &mut Inbox, bytes: &[u8]) {
        let space = inbox.space();
        space[..bytes.len()].copy_from_slice(bytes);
        inbox.filled(bytes.len());
    }

    #[test]
    fn frames_arrive_whole_however_they_are_cut() {
        let messages = [vec![1_u8; 3], Vec::new(), vec![7; 200_000]];
        let mut frames = Zeroizing::new(Vec::new());
        for message in &messages {
            append(message, &mut frames).unwrap();
        }
        for cut in [1, 5, 4096, 65_536] {
            let (mut inbox, mut arrived) = (Inbox::new(), Vec::new());
            for piece in frames.chunks(cut) {
                let mut rest = piece;
                while !rest.is_empty() {
                    let count = rest.len().min(inbox.space().len());
                    feed(&mut inbox, &rest[..count]);
                    rest = &rest[count..];
                    while let Some(frame) = inbox.next().unwrap() {
                        arrived.push(read::<Vec<u8>>(frame).unwrap());
                    }
                }
            }
            assert_eq!(arrived, messages, "cut {cut}");
        }
    }

    #[test]
    fn what_is_too_long_or_has_a_tail_is_refused() {
        let mut inbox = Inbox::new();
        feed(&mut inbox, &u32::MAX.to_be_bytes());
        assert_eq!(inbox.next(), Err(Malformed));
        assert_eq!(append(&vec![0_u8; FRAME_LEN_MAX + 1], &mut Zeroizing::new(Vec::new())), Err(Malformed));
        assert_eq!(read::<u8>(&[1, 2]), Err(Malformed));
        assert_eq!(read::<u32>(&[]), Err(Malformed));
    }

    #[test]
    fn taken_frames_are_wiped_when_room_is_made() {
        let mut frames = Zeroizing::new(Vec::new());
        append(&b"secret".to_vec(), &mut frames).unwrap();
        let mut inbox = Inbox::new();
        feed(&mut inbox, &frames);
        assert!(inbox.next().unwrap().is_some());
        inbox.space();
        assert!(!inbox.bytes.windows(6).any(|window| window == b"secret"));
    }
}
