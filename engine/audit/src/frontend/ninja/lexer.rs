//! Ninja's syntax below the level of statements: words, texts with variables, line ends.
//!
//! After ninja's manual ("Lexical syntax") and what ninja itself accepts: `$` before a line end continues the line and
//! swallows the blanks that begin the next one; in a path `$ ` and `$:` stand for the character.

/// A text with variables in it, not yet expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(pub Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Plain(Vec<u8>),
    Variable(Vec<u8>),
}

impl Text {
    fn push(&mut self, b: u8) {
        match self.0.last_mut() {
            Some(Piece::Plain(v)) => v.push(b),
            _ => self.0.push(Piece::Plain(vec![b])),
        }
    }

    /// With the values of its variables.
    pub(crate) fn expand(&self, mut value: impl FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        for p in &self.0 {
            match p {
                Piece::Plain(b) => out.extend_from_slice(b),
                Piece::Variable(name) => out.extend(value(name)),
            }
        }
        out
    }
}

/// A place in a manifest.
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    pos: usize,
    /// Of the current position, from 1.
    pub line: usize,
}

/// What is wrong.
pub(crate) type Wrong = String;

fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0, line: 1 }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    pub(crate) fn at_end(&self) -> bool {
        self.pos >= self.bytes.len()
    }

    fn newline(&self, at: usize) -> Option<usize> {
        match &self.bytes[at.min(self.bytes.len())..] {
            [b'\n', ..] => Some(1),
            [b'\r', b'\n', ..] => Some(2),
            _ => None,
        }
    }

    /// Skips blank lines and comments.
    pub(crate) fn skip_empty_lines(&mut self) {
        loop {
            let mut at = self.pos;
            while self.bytes.get(at) == Some(&b' ') {
                at += 1;
            }
            if self.bytes.get(at) == Some(&b'#') {
                while at < self.bytes.len() && self.bytes[at] != b'\n' {
                    at += 1;
                }
            }
            match self.newline(at) {
                Some(n) => {
                    self.pos = at + n;
                    self.line += 1;
                }
                None => {
                    if at >= self.bytes.len() {
                        self.pos = at;
                    }
                    return;
                }
            }
        }
    }

    /// Does the line begin with blanks? Then they are skipped.
    pub(crate) fn indent(&mut self) -> bool {
        self.skip_empty_lines();
        let indented = self.peek() == Some(b' ');
        if indented {
            self.blanks();
        }
        indented
    }

    /// Blanks, and line ends after a `$`.
    pub(crate) fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ') => self.pos += 1,
                Some(b'$') if self.newline(self.pos + 1).is_some() => {
                    self.pos += 1 + self.newline(self.pos + 1).unwrap_or(0);
                    self.line += 1;
                }
                _ => return,
            }
        }
    }

    /// The longest name here, with the blanks behind it.
    pub(crate) fn name(&mut self) -> Result<&'a [u8], Wrong> {
        let from = self.pos;
        while self.peek().is_some_and(is_name) {
            self.pos += 1;
        }
        if self.pos == from {
            return Err(match self.peek() {
                Some(b'\t') => "tabs are not allowed, use spaces".into(),
                _ => "a name is expected".into(),
            });
        }
        let name = &self.bytes[from..self.pos];
        self.blanks();
        Ok(name)
    }

    /// Takes this mark if it is next.
    pub(crate) fn takes(&mut self, mark: &[u8]) -> bool {
        let found = self.bytes[self.pos.min(self.bytes.len())..].starts_with(mark);
        if found {
            self.pos += mark.len();
            self.blanks();
        }
        found
    }

    pub(crate) fn end_of_line(&mut self) -> Result<(), Wrong> {
        match self.newline(self.pos) {
            Some(n) => {
                self.pos += n;
                self.line += 1;
                Ok(())
            }
            None if self.at_end() => Ok(()),
            None => Err("the line goes on where it should end".into()),
        }
    }

    /// The rest of the line.
    pub(crate) fn value(&mut self) -> Result<Text, Wrong> {
        let t = self.text(false)?;
        self.end_of_line()?;
        Ok(t)
    }

    /// One path; empty if there is none. The blanks behind it are skipped.
    pub(crate) fn path(&mut self) -> Result<Text, Wrong> {
        let t = self.text(true)?;
        self.blanks();
        Ok(t)
    }

    fn text(&mut self, path: bool) -> Result<Text, Wrong> {
        let mut t = Text::default();
        while let Some(b) = self.peek() {
            if self.newline(self.pos).is_some() || (path && matches!(b, b' ' | b':' | b'|')) {
                break;
            }
            if b != b'$' {
                t.push(b);
                self.pos += 1;
                continue;
            }
            let next = self.bytes.get(self.pos + 1).copied();
            if let Some(n) = self.newline(self.pos + 1) {
                self.pos += 1 + n;
                self.line += 1;
                while self.peek() == Some(b' ') {
                    self.pos += 1;
                }
                continue;
            }
            match next {
                Some(c @ (b'$' | b' ' | b':')) => {
                    t.push(c);
                    self.pos += 2;
                }
                Some(b'^') => {
                    t.push(b'\n');
                    self.pos += 2;
                }
                Some(b'{') => {
                    let rest = &self.bytes[self.pos + 2..];
                    let end = rest
                        .iter()
                        .position(|b| !is_name(*b))
                        .filter(|e| rest[*e] == b'}' && *e > 0)
                        .ok_or("bad `${`")?;
                    t.0.push(Piece::Variable(rest[..end].to_vec()));
                    self.pos += end + 3;
                }
                Some(c) if is_name(c) && c != b'.' => {
                    let rest = &self.bytes[self.pos + 1..];
                    let end = rest.iter().position(|b| !is_name(*b) || *b == b'.').unwrap_or(rest.len());
                    t.0.push(Piece::Variable(rest[..end].to_vec()));
                    self.pos += end + 1;
                }
                _ => return Err("bad `$`-escape (a literal `$` is written `$$`)".into()),
            }
        }
        Ok(t)
    }
}
