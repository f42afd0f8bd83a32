//! Frames as they pass (RFC 9113 §4.1): only their headers are looked at, to count what must not come too often.
//!
//! hyper bounds streams, header blocks, `CONTINUATION` and empty `DATA`. It answers every `PING` and `SETTINGS` for as long
//! as they come, and counts streams that a client resets only until they are seen.

use std::time::Duration;

/// What a client sends first (RFC 9113 §3.4), in bytes.
const PREFACE_BYTES: usize = 24;
/// The length of a frame's header.
const HEADER_BYTES: usize = 9;
/// For how long frames are counted.
const PERIOD: Duration = Duration::from_secs(10);
/// The most `SETTINGS` and `PING` that ask for an answer, of either kind, in a period.
const ASKING_MAX: u32 = 100;
/// The most frames in a period that nothing is done about: `PRIORITY`, and those of types that are not known.
const IDLE_MAX: u32 = 1_000;

const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

/// Where in a row of frames a stream of bytes stands.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; HEADER_BYTES],
    /// How much of a header has passed.
    passed: usize,
    /// How many bytes of a frame are still to pass, behind its header.
    left: usize,
}

impl Frames {
    /// Frames that a client sends, behind its preface.
    fn behind_preface() -> Self {
        Self { left: PREFACE_BYTES, ..Self::default() }
    }

    /// Whether no frame has begun that has not ended.
    pub(super) const fn is_between(&self) -> bool {
        self.passed == 0 && self.left == 0
    }

    /// More bytes have passed. `see` is shown each header among them.
    pub(super) fn pass(&mut self, mut bytes: &[u8], mut see: impl FnMut(FrameHeader)) {
        loop {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            if let Some(place) = self.header.get_mut(self.passed) {
                *place = *byte;
            }
            self.passed += 1;
            if self.passed == HEADER_BYTES {
                let [high, middle, low, kind, flags, stream @ ..] = self.header;
                self.passed = 0;
                self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
                see(FrameHeader { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff });
            }
        }
    }
}

/// How often something has come in the present period.
#[derive(Debug, Default)]
struct Rate {
    since: Duration,
    count: u32,
}

impl Rate {
    /// It has come once more. Returns whether that was too often.
    fn exceeds(&mut self, max: u32, now: Duration) -> bool {
        if now.saturating_sub(self.since) >= PERIOD {
            *self = Self { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count > max
    }
}

/// What a client's frames come to.
#[derive(Debug)]
pub(super) struct Meter {
    frames: Frames,
    resets_max: u32,
    resets: Rate,
    settings: Rate,
    pings: Rate,
    idle: Rate,
    /// Something has come too often.
    pub(super) has_excess: bool,
    /// The last stream that the client has begun.
    pub(super) last_stream: u32,
    /// A header block has begun and not ended: nothing else can come until then.
    pub(super) is_block_open: bool,
}

impl Meter {
    pub(super) fn new(resets_max: u32) -> Self {
        Self {
            frames: Frames::behind_preface(),
            resets_max,
            resets: Rate::default(),
            settings: Rate::default(),
            pings: Rate::default(),
            idle: Rate::default(),
            has_excess: false,
            last_stream: 0,
            is_block_open: false,
        }
    }

    /// More bytes have come. `now` is asked for the time where something is counted.
    pub(super) fn pass(&mut self, bytes: &[u8], now: impl Fn() -> Duration) {
        let Self { frames, resets_max, resets, settings, pings, idle, has_excess, last_stream, is_block_open } = self;
        frames.pass(bytes, |header| {
            let is_answer = header.flags & ACK != 0;
            *has_excess |= match header.kind {
                RST_STREAM => resets.exceeds(*resets_max, now()),
                SETTINGS => !is_answer && settings.exceeds(ASKING_MAX, now()),
                PING => !is_answer && pings.exceeds(ASKING_MAX, now()),
                HEADERS | CONTINUATION => {
                    *last_stream = header.stream.max(*last_stream);
                    *is_block_open = header.flags & END_HEADERS == 0;
                    false
                }
                PRIORITY => idle.exceeds(IDLE_MAX, now()),
                kind => kind > CONTINUATION && idle.exceeds(IDLE_MAX, now()),
            };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: usize) -> Vec<u8> {
        let mut frame = vec![0, 0, u8::try_from(payload).unwrap(), kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.resize(HEADER_BYTES + payload, 0xff);
        frame
    }

    /// What a client has sent, however it is cut into pieces.
    fn metered(frames: &[Vec<u8>], pieces: usize, now: impl Fn() -> Duration) -> Meter {
        let mut meter = Meter::new(3);
        let bytes = [vec![b'x'; PREFACE_BYTES], frames.concat()].concat();
        bytes.chunks(pieces).for_each(|piece| meter.pass(piece, &now));
        meter
    }

    #[test]
    fn frames_are_seen_however_their_bytes_come() {
        let frames = [frame(SETTINGS, 0, 0, 12), frame(HEADERS, 0, 7, 3), frame(0, 0, 5, 200)];
        for pieces in [1, 2, 8, 9, 10, 1_000] {
            let meter = metered(&frames, pieces, || Duration::ZERO);
            assert_eq!((meter.last_stream, meter.is_block_open, meter.has_excess), (7, true, false), "{pieces}");
            assert!(meter.frames.is_between() && meter.settings.count == 1);
        }
        let ended = [frame(HEADERS, 0, 7, 3), frame(CONTINUATION, END_HEADERS, 7, 3)];
        assert!(!metered(&ended, 5, || Duration::ZERO).is_block_open);
    }

    #[test]
    fn what_comes_too_often_in_ten_seconds_is_excess() {
        let at = |seconds| move || Duration::from_secs(seconds);
        for (kind, flags, most) in
            [(RST_STREAM, 0, 3), (SETTINGS, 0, 100), (PING, 0, 100), (PRIORITY, 0, 1_000), (16, 0, 1_000)]
        {
            let frames = |count| vec![frame(kind, flags, 1, 4); count];
            assert!(!metered(&frames(most), 64, at(20)).has_excess, "{kind}");
            assert!(metered(&frames(most + 1), 64, at(20)).has_excess, "{kind}");
            let mut meter = metered(&frames(most), 64, at(20));
            meter.pass(&frames(most).concat(), at(30));
            assert!(!meter.has_excess, "{kind}");
        }
        for (kind, flags) in [(SETTINGS, ACK), (PING, ACK), (0, 0), (8, 0)] {
            assert!(!metered(&vec![frame(kind, flags, 0, 8); 5_000], 4096, at(20)).has_excess, "{kind}");
        }
    }
}
