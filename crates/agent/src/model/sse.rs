//! Server-sent events, out of bytes that come in pieces of any size.
//!
//! Only the `data` of an event is kept: both wire formats repeat its name inside. Each byte is looked at once
//! and an event has a largest size, so that a line without an end costs neither memory nor time.

use moltbot_config::limits;

/// An event is larger than [`limits::MODEL_EVENT_BYTES`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct EventTooLarge;

/// The events of a stream that is being read.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
}

impl Events {
    /// Takes the next bytes and returns the events that they complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, EventTooLarge> {
        let mut ready = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + self.data.len() + piece.len() > limits::MODEL_EVENT_BYTES {
                return Err(EventTooLarge);
            }
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                ready.extend(self.end_line());
            }
        }
        Ok(ready)
    }

    /// The last event, when the stream ends without the blank line that should follow it.
    pub(super) fn finish(&mut self) -> Option<String> {
        // A line that was cut off is no line; `[DONE]` without its line break is the exception that servers make.
        if self.line.strip_prefix(b"data:").is_some_and(|rest| rest.trim_ascii() == b"[DONE]") {
            self.end_line();
        }
        self.line.clear();
        self.dispatch()
    }

    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.is_empty() {
            return self.dispatch();
        }
        if let Some(value) = text.strip_prefix(b"data:") {
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            self.has_data = true;
        }
        None
    }

    fn dispatch(&mut self) -> Option<String> {
        let data = std::mem::take(&mut self.data);
        std::mem::take(&mut self.has_data).then(|| String::from_utf8_lossy(&data).into_owned())
    }
}

/// The lines of a stream that is being read, for servers that send one document a line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes and returns the lines that they complete. Empty ones are left out.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, EventTooLarge> {
        let mut ready = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + piece.len() > limits::MODEL_EVENT_BYTES {
                return Err(EventTooLarge);
            }
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                ready.extend(self.finish());
            }
        }
        Ok(ready)
    }

    /// The last line, when the stream ends without its line break. One that was cut off is no document, and is refused
    /// where it is read.
    pub(super) fn finish(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let text = line.trim_ascii();
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<String> {
        let mut events = Events::default();
        let mut ready: Vec<String> = pieces.iter().flat_map(|piece| events.feed(piece).unwrap()).collect();
        ready.extend(events.finish());
        ready
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let stream = "\u{feff}: hello\r\nevent: x\r\ndata: {\"a\":\"ü\"}\r\n\r\nid: 1\ndata: one\ndata:two\n\n\n\ndata\n\ndata: [DONE]\n\n";
        let expected = ["{\"a\":\"ü\"}", "one\ntwo", "[DONE]"];
        assert_eq!(all(&[stream.as_bytes()]), expected);
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(all(&bytes), expected);
    }

    #[test]
    fn an_event_that_is_cut_off_is_not_an_event() {
        assert_eq!(all(&[b"data: {\"half\": "]), Vec::<String>::new());
        assert_eq!(all(&[b"data: whole\n"]), ["whole"]);
        assert_eq!(all(&[b"data: [DONE]"]), ["[DONE]"]);
    }

    #[test]
    fn a_line_without_an_end_is_refused_at_the_limit() {
        let mut events = Events::default();
        let piece = vec![b'x'; 64 * 1024];
        let fed = (0..64).take_while(|_| events.feed(&piece).is_ok()).count();
        assert_eq!(fed, limits::MODEL_EVENT_BYTES / piece.len());
        let mut events = Events::default();
        let line = [b"data: ".as_slice(), &piece, b"\n"].concat();
        let fed = (0..64).take_while(|_| events.feed(&line).is_ok()).count();
        assert!(fed < 17, "{fed} lines of one event were taken");
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let stream = "{\"a\":\"ü\"}\r\n\n{\"b\":1}\n{\"half\"";
        for size in [1, 3, 1000] {
            let mut lines = Lines::default();
            let mut ready: Vec<String> =
                stream.as_bytes().chunks(size).flat_map(|piece| lines.feed(piece).unwrap()).collect();
            ready.extend(lines.finish());
            assert_eq!(ready, ["{\"a\":\"ü\"}", "{\"b\":1}", "{\"half\""]);
        }
        let mut lines = Lines::default();
        assert!(lines.feed(&vec![b'x'; limits::MODEL_EVENT_BYTES + 1]).is_err());
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced() {
        assert_eq!(all(&[b"data: \xff\xfe\n\n"]), ["\u{fffd}\u{fffd}"]);
    }
}
