//! Which variables the text of a shell can read: those that it names, if it is *closed*.
//!
//! A text is closed if all that it consists of is known, and nothing of that goes through the variables or computes
//! their names: a positive list of words and expansions. The words in the place of commands are written plainly, so
//! that each is a function of the text, a program (which counts by itself), or a builtin of which it is known that it
//! does neither. In doubt a text is open. It is read as both dash and bash read it; where they differ, it is open.

mod builtins;

use builtins::close;

/// The names that a closed text can read, or `None`.
pub(super) fn names(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    closed(text).map(|found| found.names)
}

/// The commands of a closed text that are no builtins of every shell, or `None`.
pub(crate) fn commands(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    closed(text).map(|found| found.commands)
}

/// May a name be put together from what stands apart: over the end of a line, by braces (`$V{A,B}`, `{$V,x}A`), after
/// an operator that a variable holds (`[ "$op" V ]`), or by a prefix that is known later (`~-`)?
fn joins_names(text: &[u8]) -> bool {
    let part = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let after_name = |from: usize| (from..).find(|i| !part(text.get(*i))).unwrap_or(from);
    let dollar = |i: usize| {
        let end = after_name(i + 1);
        text[end..].starts_with(b"\\\n") || end > i + 1 && text[end..].starts_with(b"{")
    };
    let brace = |i: usize| {
        let word = text[i..].split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
        (i == 0 || text[i - 1] != b'$') && word.contains(&b'$')
    };
    let tests = |w: &[u8]| matches!(w, b"[" | b"test");
    let words: Vec<&[u8]> = text.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty()).collect();
    let has_operator = |w: &[u8]| (w.starts_with(b"$") || w.starts_with(b"\"$")) && !w.ends_with(b";");
    text.iter().enumerate().any(|(i, b)| *b == b'$' && dollar(i) || *b == b'{' && brace(i))
        || text.windows(2).any(|w| w == b"~-" || w == b"~+")
        || words.iter().any(|w| tests(w))
            && words.windows(2).any(|w| has_operator(w[0]) && part(w[1].first()) && !w[1].starts_with(b"-"))
}

fn closed(text: &[u8]) -> Option<Found> {
    if joins_names(text) {
        return None;
    }
    if super::preloads(text) {
        return None;
    }
    let mut found = Found::default();
    Scan { text, at: 0, found: &mut found, here: Vec::new() }.list(End::Text)?;
    for all in [&mut found.names, &mut found.commands] {
        all.sort();
        all.dedup();
    }
    Some(found)
}

/// What a text consists of.
#[derive(Debug, Default)]
struct Found {
    names: Vec<Vec<u8>>,
    commands: Vec<Vec<u8>>,
}

/// Where a list of commands ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Text,
    Parenthesis,
}

/// One word: what it is after quotes are removed, if that is known, and how it was written.
#[derive(Debug, Default)]
struct Word {
    /// All of it is literal.
    literal: bool,
    /// Without quotes, escapes or expansions.
    plain: bool,
    /// It begins with an expansion that may become several words.
    splits: bool,
    value: Vec<u8>,
    /// How much of the value stands before the first quote or expansion.
    head: usize,
}

impl Word {
    fn is(&self, what: &[u8]) -> bool {
        self.plain && self.value == what
    }

    /// Does it begin with a plain `NAME=`, or `NAME+=`?
    fn assigns(&self) -> bool {
        let head = &self.value[..self.head];
        let name = head.iter().take_while(|b| crate::scripts::part_of_name(Some(b))).count();
        let rest = &head[name..];
        name > 0 && !head[0].is_ascii_digit() && (rest.starts_with(b"=") || rest.starts_with(b"+="))
    }

    /// Is it a plain name, or an assignment to one?
    fn is_name(&self) -> bool {
        let plain = |b: &u8| crate::scripts::part_of_name(Some(b));
        self.assigns() || self.plain && self.value.iter().all(plain) && !self.value.is_empty()
    }
}

/// What a simple command is, as far as it was read.
#[derive(Debug, Default)]
struct Simple {
    words: Vec<Word>,
}

struct Scan<'a, 'b> {
    text: &'a [u8],
    at: usize,
    found: &'b mut Found,
    /// Here-documents that begin after this line: their delimiters, whether tabs are left out, whether they are quoted.
    here: Vec<(Vec<u8>, bool, bool)>,
}

impl Scan<'_, '_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn starts(&self, s: &[u8]) -> bool {
        self.text[self.at.min(self.text.len())..].starts_with(s)
    }

    fn blanks(&mut self) {
        loop {
            match self.peek(0) {
                b' ' | b'\t' if self.at < self.text.len() => self.at += 1,
                b'\\' if self.peek(1) == b'\n' => self.at += 2,
                _ => return,
            }
        }
    }

    /// A list of commands up to its end, which is consumed.
    fn list(&mut self, end: End) -> Option<()> {
        // Open `case`s: whether a pattern comes next.
        let mut cases: Vec<bool> = Vec::new();
        let mut parentheses = 0usize;
        let mut command = Simple::default();
        loop {
            self.blanks();
            if self.at >= self.text.len() {
                close(&mut command, self)?;
                return (end == End::Text && cases.is_empty() && parentheses == 0 && self.here.is_empty())
                    .then_some(());
            }
            let in_pattern = cases.last() == Some(&true);
            match self.peek(0) {
                b'\n' => {
                    close(&mut command, self)?;
                    self.at += 1;
                    self.here_documents()?;
                }
                b'#' => {
                    while self.at < self.text.len() && self.peek(0) != b'\n' {
                        self.at += 1;
                    }
                }
                b'(' if in_pattern && command.words.is_empty() => self.at += 1,
                b')' if in_pattern => {
                    command.words.clear();
                    self.at += 1;
                    *cases.last_mut()? = false;
                }
                b'|' if in_pattern => self.at += 1,
                b';' if self.starts(b";;") || self.starts(b";&") => {
                    close(&mut command, self)?;
                    self.at += 2 + usize::from(self.starts(b";;&"));
                    *cases.last_mut()? = true;
                }
                b';' | b'&' | b'|' => {
                    close(&mut command, self)?;
                    self.at += 1;
                }
                b'(' if command.words.is_empty() => {
                    if self.peek(1) == b'(' {
                        return None;
                    }
                    self.at += 1;
                    parentheses += 1;
                }
                b'(' => {
                    // `name()` begins a function.
                    let name = command.words.len() == 1 && command.words[0].is_name() && !command.words[0].assigns();
                    self.at += 1;
                    self.blanks();
                    if !name || self.peek(0) != b')' {
                        return None;
                    }
                    self.at += 1;
                    command.words.clear();
                }
                b')' if parentheses > 0 => {
                    close(&mut command, self)?;
                    parentheses -= 1;
                    self.at += 1;
                }
                b')' if end == End::Parenthesis && cases.is_empty() => {
                    close(&mut command, self)?;
                    self.at += 1;
                    return self.here.is_empty().then_some(());
                }
                b')' => return None,
                b'<' | b'>' => self.redirection()?,
                _ => {
                    let w = self.word()?;
                    // The number of a descriptor.
                    if matches!(self.peek(0), b'<' | b'>') && w.plain && w.value.iter().all(u8::is_ascii_digit) {
                        continue;
                    }
                    if in_pattern {
                        if command.words.is_empty() && w.is(b"esac") {
                            cases.pop();
                        }
                        continue;
                    }
                    if command.words.iter().all(Word::assigns) && self.peek(0) == b'(' && w.assigns() {
                        return None;
                    }
                    if !command.words.is_empty() || !w.plain {
                        command.words.push(w);
                        continue;
                    }
                    match &w.value[..] {
                        b"if" | b"then" | b"else" | b"elif" | b"fi" | b"while" | b"until" | b"do" | b"done" | b"{"
                        | b"}" | b"!" => {}
                        b"case" => {
                            self.blanks();
                            self.word()?;
                            self.space();
                            let within = self.word()?;
                            if !within.is(b"in") {
                                return None;
                            }
                            cases.push(true);
                        }
                        b"esac" => _ = cases.pop()?,
                        b"for" => {
                            self.blanks();
                            let name = self.word()?;
                            if !name.is_name() || name.assigns() {
                                return None;
                            }
                            self.space();
                            if self.starts(b"in") && !crate::scripts::part_of_name(self.text.get(self.at + 2)) {
                                self.at += 2;
                                self.words_of_for()?;
                            }
                        }
                        _ => command.words.push(w),
                    }
                }
            }
        }
    }

    /// White space, with line ends.
    fn space(&mut self) {
        loop {
            self.blanks();
            if self.at < self.text.len() && self.peek(0) == b'\n' && self.here.is_empty() {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    fn words_of_for(&mut self) -> Option<()> {
        loop {
            self.blanks();
            match self.peek(0) {
                b';' | b'\n' => return Some(()),
                b'#' | b'(' | b')' | b'&' | b'|' | b'<' | b'>' => return None,
                _ if self.at >= self.text.len() => return None,
                _ => _ = self.word()?,
            }
        }
    }

    /// A redirection with its target.
    fn redirection(&mut self) -> Option<()> {
        if self.starts(b"<(") || self.starts(b">(") {
            self.at += 2;
            return self.list(End::Parenthesis);
        }
        if self.starts(b"<<<") {
            self.at += 3;
        } else if self.starts(b"<<") {
            self.at += 2;
            let tabs = self.peek(0) == b'-';
            self.at += usize::from(tabs);
            self.blanks();
            let w = self.word()?;
            // Long ones are kept in a file.
            self.found.names.push(b"TMPDIR".to_vec());
            if !w.literal || w.value.is_empty() {
                return None;
            }
            self.here.push((w.value, tabs, !w.plain));
            return Some(());
        } else {
            self.at += 1;
            while matches!(self.peek(0), b'>' | b'&' | b'|') {
                self.at += 1;
            }
        }
        self.blanks();
        if matches!(self.peek(0), b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>' | 0) {
            return None;
        }
        self.word().map(|_| ())
    }

    /// The bodies of here-documents, at the beginning of a line.
    fn here_documents(&mut self) -> Option<()> {
        for (delimiter, tabs, quoted) in std::mem::take(&mut self.here) {
            let begin = self.at;
            loop {
                if self.at >= self.text.len() {
                    return None;
                }
                let rest = &self.text[self.at..];
                let line = &rest[..rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())];
                let end = self.at;
                self.at = (self.at + line.len() + 1).min(self.text.len());
                let cut = line.iter().take_while(|b| tabs && **b == b'\t').count();
                if line[cut..] == delimiter {
                    if !quoted {
                        let text = &self.text[begin..end];
                        // A line that goes on hides an end.
                        if bstr::ByteSlice::contains_str(text, "\\\n") {
                            return None;
                        }
                        let mut body = Scan { text, at: 0, found: self.found, here: Vec::new() };
                        body.quoted(None)?;
                    }
                    break;
                }
            }
        }
        Some(())
    }

    /// One word, at the beginning of which this is.
    fn word(&mut self) -> Option<Word> {
        let mut w = Word { literal: true, plain: true, ..Word::default() };
        let begin = self.at;
        let mut head = None;
        loop {
            if self.at >= self.text.len() {
                break;
            }
            let b = self.peek(0);
            match b {
                b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>' => break,
                b'\\' => {
                    head.get_or_insert(w.value.len());
                    if self.at + 1 >= self.text.len() {
                        return None;
                    }
                    if self.peek(1) != b'\n' {
                        w.value.push(self.peek(1));
                    }
                    w.plain = false;
                    self.at += 2;
                }
                b'\'' => {
                    head.get_or_insert(w.value.len());
                    let rest = &self.text[self.at + 1..];
                    let end = rest.iter().position(|b| *b == b'\'')?;
                    w.value.extend_from_slice(&rest[..end]);
                    w.plain = false;
                    self.at += end + 2;
                }
                b'"' => {
                    head.get_or_insert(w.value.len());
                    self.at += 1;
                    let from = self.at;
                    let literal = self.quoted(Some(b'"'))?;
                    w.literal &= literal;
                    w.value.extend_from_slice(&self.text[from..self.at - 1]);
                    w.plain = false;
                }
                b'$' | b'`' => {
                    w.splits |= self.at == begin;
                    head.get_or_insert(w.value.len());
                    if self.expansion()? {
                        w.literal = false;
                        w.plain = false;
                    } else {
                        w.value.push(b'$');
                    }
                }
                _ => {
                    w.value.push(b);
                    self.at += 1;
                }
            }
        }
        w.head = head.unwrap_or(w.value.len());
        if bstr::ByteSlice::contains_str(&w.value[..w.head], "~-") {
            self.found.names.push(b"OLDPWD".to_vec());
        }
        (self.at > begin).then_some(w)
    }

    /// Text in double quotes up to `end`, which is consumed, or to the end of the text. Is it literal, without escapes?
    fn quoted(&mut self, end: Option<u8>) -> Option<bool> {
        let mut literal = true;
        loop {
            if self.at >= self.text.len() {
                return end.is_none().then_some(literal);
            }
            match self.peek(0) {
                b if Some(b) == end => {
                    self.at += 1;
                    return Some(literal);
                }
                b'\\' => {
                    literal = false;
                    self.at += 2;
                }
                b'$' | b'`' => literal &= !self.expansion()?,
                _ => self.at += 1,
            }
        }
    }

    /// What begins with a `$` or a backquote; `false` if the dollar is only that.
    fn expansion(&mut self) -> Option<bool> {
        if self.peek(0) == b'`' {
            let rest = &self.text[self.at + 1..];
            let end = rest.iter().position(|b| *b == b'`')?;
            let inner = &rest[..end];
            // What a backslash takes away from here, it does not leave to the command.
            if inner.windows(2).any(|w| w[0] == b'\\' && b"$`\\\n\"".contains(&w[1])) {
                return None;
            }
            self.at += end + 2;
            Scan { text: inner, at: 0, found: self.found, here: Vec::new() }.list(End::Text)?;
            return Some(true);
        }
        match self.peek(1) {
            b'(' if self.peek(2) == b'(' => None,
            b'(' => {
                self.at += 2;
                let mut inner = Scan { text: self.text, at: self.at, found: self.found, here: Vec::new() };
                inner.list(End::Parenthesis)?;
                self.at = inner.at;
                Some(true)
            }
            b'[' | b'\'' | b'"' => None,
            b'{' => {
                self.at += 2;
                self.parameter()?;
                Some(true)
            }
            b'@' | b'*' | b'#' | b'?' | b'-' | b'$' | b'!' | b'0'..=b'9' => {
                self.at += 2;
                Some(true)
            }
            b if crate::scripts::part_of_name(Some(&b)) => {
                self.at += 1;
                self.name();
                Some(true)
            }
            _ => {
                self.at += 1;
                Some(false)
            }
        }
    }

    /// A name, which is read.
    fn name(&mut self) -> usize {
        let rest = &self.text[self.at..];
        let end = rest.iter().position(|b| !crate::scripts::part_of_name(Some(b))).unwrap_or(rest.len());
        if end > 0 {
            self.found.names.push(rest[..end].to_vec());
        }
        self.at += end;
        end
    }

    /// The rest of `${…}`.
    fn parameter(&mut self) -> Option<()> {
        if self.peek(0) == b'#' && self.peek(1) != b'}' {
            self.at += 1;
        }
        if self.name() == 0 {
            if !matches!(self.peek(0), b'@' | b'*' | b'#' | b'?' | b'-' | b'$') {
                return None;
            }
            self.at += 1;
        }
        match self.peek(0) {
            b'}' => {
                self.at += 1;
                return Some(());
            }
            b':' if matches!(self.peek(1), b'-' | b'=' | b'?' | b'+') => {}
            b'-' | b'=' | b'?' | b'+' | b'%' | b'#' | b'/' => {}
            _ => return None,
        }
        loop {
            match self.peek(0) {
                0 => return None,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                b'\'' => return None,
                b'"' => {
                    self.at += 1;
                    self.quoted(Some(b'"'))?;
                }
                b'$' | b'`' => _ = self.expansion()?,
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests;
