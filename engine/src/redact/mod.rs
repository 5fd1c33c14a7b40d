//! Secrets in commands: what people and files get to see of one.
//!
//! A command goes through [`redact`] before anything of it is shown *or written*: records, products, logs, reports,
//! messages. What has to be compared is kept as a keyed digest ([`cache::Digest::keyed`]), never as itself. What is a
//! secret is in [`table`]; besides, whatever a variable with such a name holds, wherever it turns up (`tool $TOKEN` of
//! a makefile). A secret that has neither name nor shape nor variable (`login me hunter2`) is not known for one: then
//! only the digests protect it, and what shows the command shows it.
//!
//! A text for a shell is taken apart as a shell does, so that a quoted value is one word; what contains blanks is taken
//! for such a text. Tried first: word by word at blanks, which leaves the tail of each quoted secret; and regular
//! expressions over the line joined by blanks, which cannot tell where an argument ends.

mod table;

use bstr::ByteSlice;
use std::ops::Range;
use table::How;

/// What stands for a secret.
const BLANK: &str = "***";

/// Arguments as text, secrets blanked. `env` is the environment of the command, `NAME=value`: what variables with
/// telling names hold is blanked wherever it is a word.
pub fn redact(argv: &[Vec<u8>], env: &[Vec<u8>]) -> Vec<String> {
    let texts: Vec<_> = argv.iter().map(|a| String::from_utf8_lossy(a)).collect();
    let shell = argv.first().is_some_and(|p| worker::tools::is_shell(p));
    let script = worker::command_text::shell_text(argv).filter(|_| shell);
    let values = values(env);
    let mut command = Command::default();
    let one = |(raw, text): (&Vec<u8>, &std::borrow::Cow<'_, str>)| {
        let is_script = script.is_some_and(|s| std::ptr::eq(s, raw.as_slice()));
        everywhere(if is_script { in_script(text) } else { command.word(text, false) }, &values)
    };
    argv.iter().zip(&texts).map(one).collect()
}

/// One line for people of words that went through [`redact`]: the shell text of `sh -c`, else the words.
pub fn one_line(argv: &[String]) -> String {
    let shell = argv.first().is_some_and(|a| worker::tools::is_shell(a.as_bytes()));
    match argv.iter().position(|a| a.starts_with('-') && a.ends_with('c')) {
        Some(i) if shell && i + 1 < argv.len() => argv[i + 1].replace('\n', " "),
        _ => argv.join(" ").replace('\n', " "),
    }
}

/// May a command that went through [`redact`] be given again? It lost nothing: no secret, no byte that is not UTF-8.
pub fn is_whole(words: &[String]) -> bool {
    !words.iter().any(|w| w.contains(BLANK) || w.contains('\u{fffd}'))
}

/// What the variables with telling names hold. What is short may be anything.
fn values(env: &[Vec<u8>]) -> Vec<&str> {
    const LEAST: usize = 6;
    let pairs = env.iter().map(|v| worker::environment::split(v));
    let texts = pairs.filter_map(|(n, v)| Some((std::str::from_utf8(n).ok()?, std::str::from_utf8(v).ok()?)));
    texts.filter(|(n, v)| v.len() >= LEAST && is_secret(n) && !is_harmless(v)).map(|(_, v)| v).collect()
}

/// Does a variable, option or header of this name hold a secret?
fn is_secret(name: &str) -> bool {
    let name = name.trim_start_matches(['-', '/', '_', '.']);
    let words = || name.split(['_', '-', '.']).filter(|w| !w.is_empty());
    let low = |w: &str| w.to_ascii_lowercase();
    let is = |all: &str, word: Option<&str>| word.is_some_and(|w| all.split(' ').any(|a| a == low(w)));
    if is(table::HARMLESS_FIRST, words().next()) {
        return false;
    }
    let mut so_far = String::new();
    let ends = |s: &str| table::NAMES.iter().any(|(n, _)| s.ends_with(n));
    let within = words().any(|w| {
        so_far.push_str(&low(w));
        ends(&so_far)
    });
    let whole = || table::WHOLE_NAMES.iter().any(|(n, _)| *n == low(name)) && name != "PWD";
    (within && (ends(&low(name).replace(['_', '-', '.'], "")) || !is(table::HARMLESS_LAST, words().next_back())))
        || whole()
}

/// Is this value none, or the name of a file?
fn is_harmless(value: &str) -> bool {
    let value = value.trim_matches(['"', '\'']);
    let low = value.to_ascii_lowercase();
    let file = || table::FILES.split(' ').any(|e| low.ends_with(e)) && !value.contains(char::is_whitespace);
    table::HARMLESS_VALUES.contains(&&*low) || file()
}

/// Does a shell put something else here: `$NAME`, `${NAME}`?
fn is_reference(value: &str) -> bool {
    let name = value.trim_matches('"').strip_prefix('$').unwrap_or_default();
    let name = name.strip_prefix('{').and_then(|n| n.strip_suffix('}')).unwrap_or(name);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The characters of a name before a `=` or `:`.
fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')
}

/// How the words of an HTTP authorization begin that are no secret (RFC 9110, 11.1).
fn is_scheme(word: &str) -> bool {
    ["basic", "bearer", "digest", "negotiate", "token"].contains(&&*word.to_ascii_lowercase())
}

/// Schemes that only stand before a secret.
fn is_bearer(word: &str) -> bool {
    word.eq_ignore_ascii_case("bearer")
}

/// Where the words of a shell text are, quotes and `$(…)` being parts of them, and whether a command ends before each.
fn words(text: &str) -> Vec<(Range<usize>, bool)> {
    let (mut all, mut start, mut ends) = (Vec::new(), None, false);
    let (mut quote, mut depth, mut escaped) = (None, 0u32, false);
    let bytes = text.as_bytes();
    for (i, &b) in bytes.iter().enumerate() {
        let open = quote.is_some() || depth > 0;
        match b {
            _ if escaped => escaped = false,
            b'\\' if quote != Some(b'\'') => escaped = true,
            _ if quote == Some(b) => quote = None,
            b'"' | b'\'' | b'`' if quote.is_none() => quote = Some(b),
            b'(' if quote.is_none() && (depth > 0 || i > 0 && bytes[i - 1] == b'$') => depth += 1,
            b')' if quote.is_none() && depth > 0 => depth -= 1,
            b' ' | b'\t' | b'\n' | b'\r' | b';' | b'|' | b'&' | b'(' | b')' | b'<' | b'>' if !open => {
                if let Some(s) = start.take() {
                    all.push((s..i, std::mem::take(&mut ends)));
                }
                ends |= matches!(b, b'\n' | b';' | b'|' | b'&' | b'(' | b')');
                continue;
            }
            _ => {}
        }
        start.get_or_insert(i);
    }
    all.extend(start.map(|s| (s..text.len(), ends)));
    all
}

/// A text that a shell reads.
fn in_script(text: &str) -> String {
    let (mut out, mut last, mut command) = (String::with_capacity(text.len()), 0, Command::default());
    let mut all = words(text);
    if matches!(&all[..], [(at, _)] if at.len() == text.len()) {
        // One word with blanks in it (`-H'Name: value'`, `$(a b)`): what they keep together is looked at piece by
        // piece.
        let cuts = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '(' | ')' | '\\');
        let piece = |p: &str| p.as_ptr().addr() - text.as_ptr().addr();
        all = text.split(cuts).filter(|p| !p.is_empty()).map(|p| (piece(p)..piece(p) + p.len(), false)).collect();
    }
    for (at, begins) in all {
        if begins {
            command = Command::default();
        }
        out.push_str(&text[last..at.start]);
        out.push_str(&command.word(&text[at.clone()], true));
        last = at.end;
    }
    out + &text[last..]
}

/// What the words so far of one command tell about the next.
#[derive(Default)]
struct Command {
    /// The first words that are no options, without their directories.
    names: Vec<String>,
    next: Next,
}

/// What the next word is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Any,
    Secret,
    /// The value of a header: perhaps a scheme first.
    Header,
    /// A secret behind this character, if it is there.
    Behind(char),
}

impl Command {
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    /// May `-u` be followed by a name and a password?
    fn logs_in(&self) -> bool {
        !table::NO_PASSWORD_AFTER_U.split(' ').any(|n| self.has(n))
    }

    /// The next word of the command; in a script with its quotes.
    fn word(&mut self, word: &str, script: bool) -> String {
        let quote =
            word.chars().next().filter(|c| script && matches!(c, '"' | '\'') && word.len() > 1 && word.ends_with(*c));
        let (open, inner) = quote.map_or(("", word), |_| (&word[..1], &word[1..word.len() - 1]));
        format!("{open}{}{open}", self.inner(inner, script))
    }

    fn inner(&mut self, word: &str, script: bool) -> String {
        let shown = |v: &str| is_harmless(v) || script && is_reference(v);
        match std::mem::take(&mut self.next) {
            // A flag, and the option before it was one, too.
            Next::Secret if word.starts_with("--") || word.len() == 2 && word.starts_with('-') => {}
            Next::Header if is_scheme(word) => {
                self.next = Next::Secret;
                return word.to_owned();
            }
            Next::Secret | Next::Header if shown(word) => return word.to_owned(),
            Next::Secret | Next::Header => return BLANK.to_owned(),
            Next::Behind(c) => {
                if let Some(pair) = behind(word, c) {
                    return pair;
                }
            }
            Next::Any => {}
        }
        if let Some(done) = self.option(word, shown) {
            return done;
        }
        if is_bearer(word) {
            self.next = Next::Header;
        }
        // `NAME=value`, `--name=value`, `Name: value`: the whole rest is the value.
        let name = word.bytes().position(|b| !is_name(b)).unwrap_or(word.len());
        let rest = word[name..].trim_start_matches(['?', '+']);
        let rest = rest.strip_prefix(":=").map_or(rest, |v| &word[word.len() - v.len() - 1..]);
        if let Some(value) = rest.strip_prefix('=').filter(|v| is_secret(&word[..name]) && !shown(v)) {
            return format!("{}{BLANK}", &word[..word.len() - value.len()]);
        }
        if let Some(value) = rest.strip_prefix(": ").filter(|_| is_secret(&word[..name])) {
            return format!("{}: {}", &word[..name], header(value));
        }
        if word.contains(char::is_whitespace) {
            return in_script(word);
        }
        if !word.starts_with('-') && self.names.len() < 8 {
            self.names.push(String::from_utf8_lossy(worker::tools::base_name(word.as_bytes())).into_owned());
        }
        // A header or a field whose value is the next word.
        let bare = word.trim_end_matches(['"', '\'', '\\', ':']);
        if word.ends_with(':') && is_secret(&bare[bare.bytes().rposition(|b| !is_name(b)).map_or(0, |i| i + 1)..]) {
            self.next = Next::Header;
        }
        fields(word, script)
    }

    /// An option with a secret, in the same word (then this is what is shown of it) or in the next.
    fn option(&mut self, word: &str, shown: impl Fn(&str) -> bool) -> Option<String> {
        for o in table::OPTIONS.iter().filter(|o| word.starts_with(o.option)) {
            if !o.tools.iter().any(|t| self.has(t)) || !(o.after.is_empty() || self.has(o.after)) {
                continue;
            }
            let value = &word[o.option.len()..];
            match (o.how, value.is_empty()) {
                (How::Either | How::Next, true) => self.next = Next::Secret,
                (How::Behind(c), true) => self.next = Next::Behind(c),
                (How::Either | How::Joined, false) if !o.option.starts_with("--") => {
                    return Some(if shown(value) { word.to_owned() } else { format!("{}{BLANK}", o.option) });
                }
                (How::Behind(c), false) => return behind(value, c).map(|v| format!("{}{v}", o.option)),
                _ => {}
            }
        }
        if self.next != Next::Any || !word.starts_with(['-', '/']) || word.contains(char::is_whitespace) {
            return None;
        }
        if ["-u", "-U", "--user", "--proxy-user"].contains(&word) && self.logs_in() {
            self.next = Next::Behind(':');
        } else if let Some(value) = word.strip_prefix("--user=").filter(|_| self.logs_in()) {
            return behind(value, ':').map(|v| format!("--user={v}"));
        } else if word.starts_with('-') && word.bytes().all(is_name) && is_secret(word) {
            self.next = Next::Secret;
        }
        None
    }
}

/// `name:password` with the password blanked; `None` if it is none: a number (`1000:1000`), a path (`host:/dir`), an
/// address.
fn behind(word: &str, c: char) -> Option<String> {
    let (name, value) = word.split_once(c)?;
    let no =
        name.contains('/') || value.is_empty() || value.starts_with('/') || value.bytes().all(|b| b.is_ascii_digit());
    (!no && !is_reference(value)).then(|| format!("{name}{c}{BLANK}"))
}

/// The value of a header: its scheme may be seen.
fn header(value: &str) -> String {
    match value.trim_start().split_once(' ') {
        Some((scheme, _)) if is_scheme(scheme) => format!("{scheme} {BLANK}"),
        _ if is_reference(value) => value.to_owned(),
        _ => BLANK.to_owned(),
    }
}

/// Fields within a word: `?token=x&…` of an address, `a=b,password=x`, `{"token":"x"}`.
fn fields(word: &str, script: bool) -> String {
    let (mut out, mut last) = (String::new(), 0);
    let b = word.as_bytes();
    let mut separators: Vec<usize> = ["=", "\":", "':"].iter().flat_map(|s| b.find_iter(s)).collect();
    separators.sort_unstable();
    for i in separators {
        let end = word[..i].trim_end_matches(['\\', ':', '?', '+']).len();
        let begin = b[..end].iter().rposition(|b| !is_name(*b)).map_or(0, |p| p + 1);
        let parameter = begin > 0 && matches!(b[begin - 1], b'?' | b'&') && word.contains("://");
        let plain = word[begin..end].to_ascii_lowercase().replace(['-', '_'], "");
        if i < last || !(is_secret(&word[begin..end]) || parameter && table::QUERIES.iter().any(|(q, _)| *q == plain)) {
            continue;
        }
        let from = i + 1 + word[i + 1..].bytes().take_while(|b| matches!(b, b':' | b'\\' | b'"' | b'\'')).count();
        let to = from + word[from..].find(['&', ',', ';', '"', '\'', '\\', '}', ']']).unwrap_or(word.len() - from);
        if from == to || is_harmless(&word[from..to]) || script && is_reference(&word[from..to]) {
            continue;
        }
        out.push_str(&word[last..from]);
        out.push_str(BLANK);
        last = to;
    }
    out + &word[last..]
}

/// What is a secret wherever it stands: the user part of an address, tokens of known shapes, the values of variables.
fn everywhere(text: String, values: &[&str]) -> String {
    let mut text = text;
    for v in values {
        let ends = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        while let Some((i, _)) = text
            .match_indices(v)
            .find(|(i, _)| ends(text[..*i].chars().next_back()) && ends(text[i + v.len()..].chars().next()))
        {
            text.replace_range(i..i + v.len(), BLANK);
        }
    }
    in_addresses(&shapes(&text))
}

fn shapes(text: &str) -> String {
    let (mut out, mut last) = (String::new(), 0);
    let b = text.as_bytes();
    let begins = |i: usize| i == 0 || !(b[i - 1].is_ascii_alphanumeric() || b[i - 1] == b'_');
    let mut i = 0;
    while i < b.len() {
        let shape =
            begins(i).then(|| table::SHAPES.iter().find(|(start, ..)| b[i..].starts_with(start.as_bytes()))).flatten();
        if let Some((start, least, others, _)) = shape {
            let from = i + start.len();
            let n = b[from..].iter().take_while(|b| b.is_ascii_alphanumeric() || others.as_bytes().contains(b)).count();
            // A word that only begins so goes on in small letters, without digits.
            if n >= *least && b[from..from + n].iter().any(u8::is_ascii_digit) {
                out.push_str(&text[last..i]);
                out.push_str(BLANK);
                (i, last) = (from + n, from + n);
                continue;
            }
        }
        i += 1;
    }
    const KEY: &str = "PRIVATE KEY-----";
    out.push_str(&text[last..]);
    match out.find(KEY) {
        Some(i) => format!("{}{BLANK}", &out[..i + KEY.len()]),
        None => out,
    }
}

/// `scheme://user:password@host`. A user alone may be a token; a short one is a name (`ssh://git@host`).
fn in_addresses(text: &str) -> String {
    const LONG: usize = 16;
    let (mut out, mut last) = (String::new(), 0);
    for (i, _) in text.match_indices("://") {
        let from = i + 3;
        if from < last {
            continue;
        }
        let whole = &text
            [from..from + text[from..].find([' ', '\t', '\n', '"', '\'', '`', '<', '>']).unwrap_or(text.len() - from)];
        let host = &whole[..whole.find(['/', '?', '#']).unwrap_or(whole.len())];
        let at = host.rfind('@').or_else(|| {
            // A password with a `/` in it; but `host:80/x@y` has none.
            let at = whole.find('@')?;
            let (_, behind) = whole[..at].split_once(':')?;
            (!whole[..whole.find(':')?].contains('/') && !behind.starts_with(|c: char| c.is_ascii_digit()))
                .then_some(at)
        });
        let Some(at) = at else { continue };
        if whole[..at].contains(':') || at >= LONG {
            out.push_str(&text[last..from]);
            out.push_str(BLANK);
            last = from + at;
        }
    }
    out + &text[last..]
}

#[cfg(test)]
mod tests;
