//! What a terminal has been left with: a line that somebody goes on with, a control sequence that is not over, or
//! neither.
//!
//! Text, line ends, colours, erasing to the end of a line, and what has no place on the screen (titles, links) are
//! followed. Whatever else moves the cursor or changes how the terminal works ends all knowledge, for good: under the
//! cursor may be something then.

use anstyle_parse::state::{Action, State, state_change};

const ESCAPE: u8 = 0x1b;

/// Follows what is written; begins where nothing is open.
#[derive(Default)]
pub(crate) struct Lines {
    state: State,
    /// The last byte of a sequence that says which kind it is, if it is none of the plain ones.
    kind: Option<u8>,
    previous: u8,
    /// There is something in the line.
    open: bool,
    lost: bool,
}

impl Lines {
    /// This has been written.
    pub(crate) fn feed(&mut self, text: &[u8]) {
        for b in text {
            self.byte(*b);
            self.previous = *b;
        }
    }

    /// Is the cursor at the start of an empty line, and no sequence open?
    pub(crate) fn are_closed(&self) -> bool {
        !self.lost && !self.open && self.state == State::Ground
    }

    /// Is it certain that there is something in the line, and that it is only text?
    pub(crate) fn one_is_open(&self) -> bool {
        !self.lost && self.open && self.state == State::Ground
    }

    fn byte(&mut self, b: u8) {
        if b >= 0x80 {
            // No part of a character, and so a control character of eight bits.
            self.lost |= b < 0xa0 && self.previous < 0x80;
            self.open |= self.state == State::Ground;
            return;
        }
        let (next, action) = state_change(self.state, b);
        match action {
            Action::Print => self.open = true,
            Action::Execute => match b {
                b'\n' => self.open = false,
                b'\r' | 0 | 7 => {}
                b'\t' | 8 => self.open = true,
                _ => self.lost = true,
            },
            Action::Collect => self.kind = Some(b),
            // Colours, and erasing to the end of the line.
            Action::CsiDispatch => self.lost |= self.kind.is_some() || !matches!(b, b'm' | b'K'),
            // What ends a string, and the usual set of characters.
            Action::EscDispatch => self.lost |= !matches!((self.kind, b), (None, b'\\') | (Some(b'('), b'B')),
            _ => {}
        }
        if b == ESCAPE {
            self.kind = None;
        }
        self.lost |= matches!(next, State::DcsEntry | State::SosPmApcString | State::CsiIgnore);
        if next != State::Anywhere {
            self.state = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Is {
        Closed,
        Line,
        /// A sequence.
        Sequence,
        Lost,
    }

    fn left_with(text: &[u8]) -> Is {
        let mut l = Lines::default();
        l.feed(text);
        match (l.are_closed(), l.one_is_open(), l.lost) {
            (true, false, false) => Is::Closed,
            (false, true, false) => Is::Line,
            (false, false, false) => Is::Sequence,
            (false, false, true) => Is::Lost,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_open() {
        for (text, is) in [
            (&b""[..], Is::Closed),
            (b"gcc -c a.c\n", Is::Closed),
            (b"checking for gcc... ", Is::Line),
            (b"50%\r", Is::Line),
            (b"\r[1/2] CC a.o\x1b[K", Is::Line),
            (b"\r[2/2] CC b.o\x1b[K\n", Is::Closed),
            (b"\x1b[01m\x1b[Ka.c:\x1b[m\x1b[K error\n", Is::Closed),
            (b"\x1b[31", Is::Sequence),
            (b"\x1b", Is::Sequence),
            (b"a\n\x1b[1;3", Is::Sequence),
            (b"\x1b]0;title", Is::Sequence),
            (b"\x1b]0;tit\nle", Is::Sequence),
            ("\x1b]0;Übung".as_bytes(), Is::Sequence),
            (b"\x1b]0;title\x07", Is::Closed),
            (b"\x1b]8;;file:///a\x1b\\a\x1b]8;;\x1b\\\n", Is::Closed),
            ("größer ✓\n".as_bytes(), Is::Closed),
            ("größer ✓".as_bytes(), Is::Line),
            (b"half a character \xe2\x9c", Is::Line),
            (b"\x1b(B\x1b[m\n", Is::Closed),
            (b"up\x1b[2A\n", Is::Lost),
            (b"\x1b[?25l\n", Is::Lost),
            (b"\x1b[>4;1m\n", Is::Lost),
            (b"\x1b7saved\x1b8\n", Is::Lost),
            (b"\x1b(0lines\n", Is::Lost),
            (b"\x1bPsixel\x1b\\\n", Is::Lost),
            (b"\x0eshifted\x0f\n", Is::Lost),
            (b"page\x0c\n", Is::Lost),
            (b"eight bits \x9b2A\n", Is::Lost),
            (b"\t\n", Is::Closed),
            (b"\t", Is::Line),
            (b"\x07", Is::Closed),
        ] {
            assert_eq!(left_with(text), is, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn it_does_not_matter_in_which_pieces_it_comes() {
        let text = "\x1b[1ma\x1b[m\n\x1b]0;Üb\x07\x1b[Kgrößer\r\n".as_bytes();
        for cut in 0..text.len() {
            let mut l = Lines::default();
            l.feed(&text[..cut]);
            l.feed(&text[cut..]);
            assert!(l.are_closed(), "{cut}");
        }
    }
}
