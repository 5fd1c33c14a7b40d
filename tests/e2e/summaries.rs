//! What is shown of a run elsewhere: `--log`, `--junit`, GitHub's and GitLab's forms.

use crate::world::World;

/// A build with a command that hits the second time, one that cannot be cached, and one that fails and says why.
fn failing() -> World {
    let w = World::new();
    w.write(
        "Makefile",
        "all: a.o b c\na.o: a.c\n\tgcc -c a.c\nb:\n\thead -c 2 /dev/urandom | od > b; echo '<\"&>' > /dev/null\nc: \
            b\n\t@sh -c 'echo \"a|<b> & \\`c\\`\" >&2; exit 3'\n",
    );
    w.write("a.c", "int a;\n");
    w
}

fn run(w: &World, options: &[&str], code: i32) -> String {
    w.sh("rm -f a.o b");
    let o = w.xl(&[&["run"], options, &["--", "make"]].concat()).output().unwrap();
    assert_eq!(o.status.code(), Some(code));
    String::from_utf8_lossy(&o.stderr).into_owned()
}

#[test]
fn on_github() {
    let mut w = failing();
    let step = w.path("../step.md");
    w.env.insert("GITHUB_STEP_SUMMARY".into(), step.display().to_string());
    let said = run(&w, &["--summary", "github"], 2);
    let text = std::fs::read_to_string(&step).unwrap();
    assert!(
        text.contains("### xl") && text.contains("3 pips") && text.contains("| 1 | it reads random bytes"),
        "{text}{said}"
    );
    assert!(text.contains("**failed with exit code 3**") && text.contains("```\na|<b> & `c`\n```"), "{text}");
    assert!(text.contains("| ran | why | for example |") && text.contains("`gcc -c a.c`"), "{text}");
    let error = said.lines().find(|l| l.starts_with("::error title=xl::")).unwrap_or_else(|| panic!("{said}"));
    assert!(error.contains("exit code 3") && error.contains("%0Aa|<b>"), "{error}");
    // The same of what was found, with the place.
    w.write("Makefile", "all: out late\nout: in\n\tcat in hidden > out\nlate:\n\ttouch late\n");
    ["in", "hidden"].iter().for_each(|f| w.write(f, "x\n"));
    let said = run(&w, &["--summary", "github", "--enforce"], 2);
    let error = said.lines().find(|l| l.starts_with("::error title=xl::XL001")).unwrap_or_else(|| panic!("{said}"));
    assert!(error.contains("hidden"), "{error}");
}

#[test]
fn on_gitlab() {
    let mut w = failing();
    w.env.insert("GITLAB_CI".into(), "true".into());
    let said = run(&w, &[], 2);
    assert!(
        said.contains("section_start")
            && said.contains("1 uncacheable: it reads random bytes")
            && said.contains("section_end"),
        "{said}"
    );
    assert!(said.contains("failed with exit code 3") && said.contains("1 ran: "), "{said}");
    w.write("Makefile", "all: a.o\na.o: a.c\n\tgcc -c a.c\n");
    let said = run(&w, &[], 0);
    assert!(said.contains("section_start") && said.contains("nothing: every command was skipped"), "{said}");
    assert!(!run(&w, &["--summary", "off"], 0).contains("section"));
}

#[test]
fn as_test_cases() {
    let w = failing();
    for hits in [0, 1] {
        run(&w, &["--junit", "../junit.xml", "--log", "../log"], 2);
        let log = w.read("../log");
        let outcome = if hits == 0 { "miss" } else { "hit" };
        assert!(
            log.contains(outcome) && log.contains("gcc -c a.c") && log.contains("not stored: it reads random bytes"),
            "{log}"
        );
        assert!(log.contains("       exit code 3\n"), "{log}");
        let text = "import xml.etree.ElementTree as e\ns = e.parse('../junit.xml').getroot()\nf = \
            s.find('testcase/failure')\n\
             print(s.get('tests'), s.get('failures'), s.get('skipped'), len(s.findall('testcase/skipped')), sum('<' in c.get('name') for c in s))\n\
             print(f.get('message'), f.text.strip())\nprint(sum(c.find('system-out').text == 'hit' for c in s))";
        w.write("../read.py", text);
        let read = w.sh("python3 ../read.py");
        let expected = format!("3 1 0 0 2\nexit code 3 a|<b> & `c`\n{hits}\n");
        assert_eq!(String::from_utf8_lossy(&read.stdout), expected, "{}", w.read("../junit.xml"));
    }
    assert!(!w.path("xl-junit.xml").exists());
    // Nothing is written where nobody has asked for it.
    let said = run(&w, &["--summary", "junit"], 2);
    assert!(
        said.contains("`--summary junit` needs the name of a file\n  hint: --junit xl-junit.xml")
            && !w.path("a.o").exists(),
        "{said}"
    );
}
