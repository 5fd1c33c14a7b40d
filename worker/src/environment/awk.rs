//! Which variables an awk program can read: those of awk's own, if the program is *closed*.
//!
//! Awk has one way to the environment, the array `ENVIRON` (POSIX, XCU awk), and gawk has two to that: `SYMTAB`, and
//! what begins with `@` (indirect calls, libraries, other files). Commands that it launches count by themselves.

/// Where the text of a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text<'a> {
    Here(&'a [u8]),
    InFile(&'a [u8]),
}

/// The texts that this command line names; `None` if it says more than is understood here.
pub(super) fn texts(argv: &[Vec<u8>]) -> Option<Vec<Text<'_>>> {
    let mut words = argv.iter().skip(1).map(Vec::as_slice);
    let mut files = Vec::new();
    while let Some(w) = words.next() {
        match w {
            b"-f" => files.push(Text::InFile(words.next()?)),
            b"-F" | b"-v" => _ = words.next()?,
            b"--" => return if files.is_empty() { Some(vec![Text::Here(words.next()?)]) } else { Some(files) },
            [b'-', b'f', name @ ..] => files.push(Text::InFile(name)),
            [b'-', b'F' | b'v', ..] => {}
            [b'-', _, ..] => return None,
            _ if files.is_empty() => return Some(vec![Text::Here(w)]),
            _ => return Some(files),
        }
    }
    (!files.is_empty()).then_some(files)
}

/// Does this text name no way to the environment?
pub(super) fn is_closed(text: &[u8]) -> bool {
    use bstr::ByteSlice;
    // A line may go on anywhere.
    let joined = text.replace("\\\n", "").replace("\\\r\n", "");
    let open = |t: &[u8]| t.contains(&b'@') || ["ENVIRON", "SYMTAB", "FUNCTAB"].iter().any(|w| t.contains_str(w));
    !open(text) && !open(&joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_program_is() {
        for (line, some) in [
            ("awk {print} f", true),
            ("awk -F: {print}", true),
            ("awk -F : -v a=b {print}", true),
            ("awk -f a.awk -fb.awk x", true),
            ("awk -- {print}", true),
            ("awk", false),
            ("awk --file=x", false),
            ("awk -i inplace {print}", false),
            ("awk -l time {print}", false),
            ("awk -W dump {print}", false),
            ("awk -E x", false),
        ] {
            let argv: Vec<Vec<u8>> = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
            assert_eq!(texts(&argv).is_some(), some, "{line}");
        }
    }

    #[test]
    fn what_is_closed() {
        assert!(is_closed(b"{ print $1; system(\"ls\") }"));
        for open in
            ["ENVIRON[\"X\"]", "ENVI\\\nRON[x]", "SYMTAB[\"ENV\" \"IRON\"]", "f = \"x\"; @f()", "@include \"x\""]
        {
            assert!(!is_closed(open.as_bytes()), "{open}");
        }
    }
}
