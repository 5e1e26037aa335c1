//! Counts the frames of a WebSocket as they come in.
//!
//! The codec bounds the bytes of a message and not its fragments: a million empty ones would be gathered. Nor does it mind
//! a million pings, each of which is answered. This reads the heads of frames and nothing else; whether they are proper is
//! the codec's to say, which sees the same bytes.

use std::time::Instant;

use moltbot_config::limits;

/// The longest head: two bytes, a length of eight and a mask of four.
const HEAD: usize = 14;

/// What a peer sent too many of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TooMany {
    /// Control frames within [`limits::TICK`].
    Controls,
    /// Frames of one message.
    Fragments,
}

/// Where a stream of frames is, and how many there were.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD],
    /// How many bytes of the head are there.
    read: u8,
    /// How many bytes of the payload are to come.
    payload: u64,
    fragments: u8,
    controls: u8,
    /// Since when control frames are counted.
    since: Option<Instant>,
}

impl Frames {
    /// Takes note of the next bytes, which came `now`.
    ///
    /// # Errors
    /// When a message has more than [`limits::FRAGMENTS`] frames, or as many control frames came within a tick.
    pub(super) fn pass(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), TooMany> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.payload > 0 {
                let length = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
                self.payload = self.payload.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
                bytes = bytes.get(length..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.head.get_mut(usize::from(self.read)) {
                *place = *first;
            }
            self.read = self.read.saturating_add(1);
            bytes = rest;
            if usize::from(self.read) == self.head_length() {
                self.read = 0;
                self.payload = self.payload_length();
                self.count(now)?;
            }
        }
        Ok(())
    }

    /// How long the head is, as far as that is known.
    fn head_length(&self) -> usize {
        if self.read < 2 {
            return 2;
        }
        let [_, second, ..] = self.head;
        let length = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if second & 0x80 == 0 { 0 } else { 4 }
    }

    fn payload_length(&self) -> u64 {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.head;
        match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        }
    }

    fn count(&mut self, now: Instant) -> Result<(), TooMany> {
        let [first, ..] = self.head;
        if first & 0x08 != 0 {
            return self.count_control(now);
        }
        self.fragments = self.fragments.saturating_add(1);
        if usize::from(self.fragments) > limits::FRAGMENTS {
            return Err(TooMany::Fragments);
        }
        if first & 0x80 != 0 {
            self.fragments = 0; // the last of its message
        }
        Ok(())
    }

    fn count_control(&mut self, now: Instant) -> Result<(), TooMany> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= limits::TICK) {
            (self.since, self.controls) = (Some(now), 0);
        }
        self.controls = self.controls.saturating_add(1);
        if usize::from(self.controls) > limits::FRAGMENTS { Err(TooMany::Controls) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A masked frame with that payload.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            short @ 0..126 => bytes.push(0x80 | u8::try_from(short).unwrap()),
            medium @ 126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(medium).unwrap().to_be_bytes());
            }
            long => {
                bytes.push(0x80 | 127);
                bytes.extend(u64::try_from(long).unwrap().to_be_bytes());
            }
        }
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }

    /// How many frames pass, when the bytes come in pieces of that size.
    fn passing(frames: &[Vec<u8>], piece: usize) -> Result<usize, TooMany> {
        let (mut counter, now) = (Frames::default(), Instant::now());
        for frame in frames {
            for bytes in frame.chunks(piece) {
                counter.pass(bytes, now)?;
            }
        }
        Ok(frames.len())
    }

    #[test]
    fn a_message_has_64_fragments_at_most_however_its_bytes_arrive() {
        for (size, piece) in [(0, 1), (0, 7), (5, 3), (200, 1), (200, 1000), (70_000, 4096), (70_000, 13)] {
            let payload = vec![0x81; size]; // looks like heads, and is none
            let message = |fragments: usize| {
                let payload = payload.clone();
                (0..fragments).map(move |n| match (n, n + 1 == fragments) {
                    (0, true) => frame(0x81, &payload),
                    (0, false) => frame(0x01, &payload),
                    (_, last) => frame(if last { 0x80 } else { 0x00 }, &payload),
                })
            };
            let allowed: Vec<_> = (0..3).flat_map(|_| message(64)).collect();
            assert_eq!(passing(&allowed, piece), Ok(192), "{size} bytes in pieces of {piece}");
            let refused: Vec<_> = message(65).collect();
            assert_eq!(
                passing(&refused, piece),
                Err(TooMany::Fragments),
                "{size} bytes in pieces of {piece}"
            );
        }
    }

    #[test]
    fn signs_of_life_are_bounded_in_time_and_not_in_number() {
        let (mut counter, mut now) = (Frames::default(), Instant::now());
        let ping = frame(0x89, b"x");
        for n in 0..10_000 {
            assert_eq!(counter.pass(&ping, now), Ok(()), "{n}");
            now += Duration::from_millis(500);
        }
        let flood = (0..10_000).find(|_| counter.pass(&ping, now).is_err());
        assert!(flood.is_some_and(|n| n <= limits::FRAGMENTS), "{flood:?}");
    }
}
