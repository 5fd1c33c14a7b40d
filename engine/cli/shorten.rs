//! A command in as much room as there is, so that one still sees which it is: the program, what it makes and from what.
//!
//! What goes first are options, then the directories of names, then names; `…` stands for what is left out.

/// Words that are told by those around them, in the order in which they are given up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Option,
    Operand,
    /// Something with a suffix: a source, an object.
    File,
    /// The program, an output.
    Name,
}

/// `command` in at most `width` columns.
pub(crate) fn shorten(command: &str, width: usize) -> String {
    if command.chars().count() <= width {
        return command.to_owned();
    }
    let words: Vec<&str> = command.split_whitespace().collect();
    let ranks = ranks(&words);
    let mut shown: Vec<Option<String>> = words.iter().map(|w| Some((*w).to_owned())).collect();
    give_up(&mut shown, &ranks, Rank::Option, width);
    // The last parts of names tell most.
    let is_long = join(&shown).chars().count() > width;
    for w in shown.iter_mut().flatten().filter(|_| is_long) {
        if let Some(cut) = w.rfind('/').filter(|cut| cut + 1 < w.len() && !w.starts_with('-')) {
            w.replace_range(..cut, "…");
        }
    }
    give_up(&mut shown, &ranks, Rank::Operand, width);
    // The first source tells more than the hundredth.
    give_up(&mut shown, &ranks, Rank::File, width);
    let text = join(&shown);
    match text.char_indices().nth(width) {
        Some(_) => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        None => text,
    }
}

/// Leaves out words of one rank, the last first, until the rest fits.
fn give_up(shown: &mut [Option<String>], ranks: &[Rank], rank: Rank, width: usize) {
    let mut length = join(shown).chars().count();
    for i in (0..shown.len()).rev().filter(|i| ranks[*i] == rank) {
        if length <= width {
            return;
        }
        let Some(word) = shown[i].take() else { continue };
        let is_gap = |w: Option<&Option<String>>| w.is_some_and(Option::is_none);
        let gaps =
            usize::from(is_gap(i.checked_sub(1).and_then(|b| shown.get(b)))) + usize::from(is_gap(shown.get(i + 1)));
        // Its word and a blank go; its own mark and a blank come, and join those beside it.
        length = (length + 2).saturating_sub(word.chars().count() + 1 + 2 * gaps);
    }
}

fn ranks(words: &[&str]) -> Vec<Rank> {
    let mut ranks = Vec::with_capacity(words.len());
    for (i, w) in words.iter().enumerate() {
        let is_output = |w: &str| w == "-o" || w == "--output" || w == ">" || w == ">>";
        let before = i.checked_sub(1).map(|b| words[b]);
        ranks.push(match w {
            _ if i == 0 || is_output(w) || before.is_some_and(is_output) || w.starts_with("--output=") => Rank::Name,
            w if w.starts_with("-o") && w.len() > 2 => Rank::Name,
            w if w.starts_with('-') && *w != "-c" => Rank::Option,
            // What belongs to an option before it: `-I dir`, `-MF file.d`.
            _ if before.is_some_and(|b| {
                b.len() <= 3 && b.starts_with('-') && b != "-c" && b != "-s" && b != "-S" && b != "-E"
            }) =>
            {
                Rank::Option
            }
            w if w.rsplit('/').next().is_some_and(|n| n.trim_start_matches('.').contains('.')) => Rank::File,
            _ => Rank::Operand,
        });
    }
    ranks
}

/// The words, with one mark for each run of those that are left out.
fn join(shown: &[Option<String>]) -> String {
    let mut text = String::new();
    let mut gap = false;
    for w in shown {
        match w {
            None if gap => continue,
            None => text.push_str(" …"),
            Some(w) => {
                text.push(' ');
                text.push_str(w);
            }
        }
        gap = w.is_none();
    }
    text.split_off(text.len().min(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_makes_and_from_what_stays() {
        let check = |command: &str, width, expected: &str| {
            let got = shorten(command, width);
            assert_eq!(got, expected);
            assert!(got.chars().count() <= width);
        };
        check("gcc -c a.c", 40, "gcc -c a.c");
        check("gcc -O2 -Wall -Wextra -I include -MMD -MF a.d -c -o a.o a.c", 30, "gcc -O2 -Wall … -c -o a.o a.c");
        let long = "g++ -DNDEBUG -I/usr/local/include/very/long/name -O2 -g -fPIC -std=c++20 -c \
            /src/lib/parser/parse.cc -o CMakeFiles/lib.dir/parser/parse.cc.o";
        check(long, 90, "g++ -DNDEBUG … -c /src/lib/parser/parse.cc -o CMakeFiles/lib.dir/parser/parse.cc.o");
        check(long, 48, "g++ … -c …/parse.cc -o …/parse.cc.o");
        check("ar rcs libx.a a.o b.o c.o d.o e.o f.o", 26, "ar … libx.a a.o b.o c.o …");
        check("sh -c 'a very long text without any name in it'", 12, "sh -c 'a …");
        check("abcdefghijkl", 5, "abcd…");
    }
}
