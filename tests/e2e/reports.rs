//! The forms of an audit's report: what its readers get, be it a code host, a browser on a desk or one on a phone.

use crate::audit::{audit, c_files, found, list, set, text};
use crate::world::World;
use serde_json::Value;

/// The official schema is part of the crate of its types.
fn sarif_schema() -> Value {
    // Only what is compiled here was downloaded.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = std::process::Command::new(env!("CARGO"));
    let out = cargo
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &platform])
        .output()
        .expect("cargo");
    let metadata: Value = serde_json::from_slice(&out.stdout).expect("metadata");
    let package = list(&metadata["packages"]).iter().find(|p| text(p, "name") == "serde-sarif").expect("the crate");
    let schema = std::path::Path::new(text(package, "manifest_path")).with_file_name("src").join("schema.json");
    serde_json::from_slice(&std::fs::read(schema).expect("the schema")).expect("JSON")
}

#[test]
fn sarif_is_what_its_schema_says() {
    let w = World::new();
    c_files(&w);
    w.write("Makefile", "main.o: main.c\n\tgcc -c main.c\n");
    w.write("xl.toml", "[[audit.allow]]\nkind = 'XL001'\npath = 'b.h'\nreason = 'never edited'\n");
    audit(&w, &[], &["make"]);
    let out = w.xl(&["audit", "--format", "sarif"]).output().expect("xl");
    let log: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let validator = jsonschema::validator_for(&sarif_schema()).expect("a schema");
    let wrong: Vec<String> = validator.iter_errors(&log).map(|e| format!("{} at {}", e, e.instance_path)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut broken = log.clone();
    broken["runs"][0]["results"][0]["level"] = "fatal".into();
    assert!(validator.iter_errors(&broken).count() > 0, "the validator lets everything through");
    let results = list(&log["runs"][0]["results"]);
    assert_eq!(results.len(), 2);
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!((text(&place["artifactLocation"], "uri"), &place["region"]["startLine"]), ("Makefile", &2.into()));
    assert_eq!(text(&results[1]["suppressions"][0], "justification"), "never edited");
}

/// Opens the page from disk in a real browser, with `script` after it; the result is what the script leaves in the
/// title.
fn in_browser(w: &World, page: &str, script: &str, width: u32) -> String {
    let file = w.path("page.html");
    std::fs::write(&file, page.replace("</body>", &format!("<script>{script}</script></body>"))).expect("a page");
    let mut c = std::process::Command::new("chromium");
    c.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ]);
    c.args(["--disable-component-update", "--disable-sync", "--virtual-time-budget=5000", "--dump-dom"]);
    c.arg(format!("--user-data-dir={}", w.path("profile").display())).arg(format!("--window-size={width},900"));
    let out = c.arg(format!("file://{}", file.display())).output().expect("chromium");
    let dom = String::from_utf8_lossy(&out.stdout).into_owned();
    let title = dom.split("<title>").nth(1).and_then(|t| t.split("</title>").next()).map(str::to_owned);
    title.unwrap_or_else(|| panic!("no title: {dom} {}", String::from_utf8_lossy(&out.stderr)))
}

fn page(w: &World) -> String {
    let out = w.xl(&["audit", "--format", "html"]).output().expect("xl");
    String::from_utf8(out.stdout).expect("UTF-8")
}

/// What a script may use: all elements of a selector, those that are seen, a choice made, and the sum of the numbers of
/// a choice's options.
const HELP: &str = r##"
    const q = s => [...document.querySelectorAll(s)], visible = s => q(s).filter(e => e.getClientRects().length), say = [];
    const choose = (id, v) => {
        const e = document.getElementById(id);
        e.type === "checkbox" ? e.checked = v : e.value = v;
        e.dispatchEvent(new Event(id === "text" ? "input" : "change"));
    };
    const sum = texts => texts.map(t => +(/\((\d+)\)$/.exec(t) || [0, 0])[1]).reduce((a, b) => a + b, 0);
    const options = id => sum([...document.getElementById(id).options].map(o => o.textContent));
    const table = i => q("#overview > div")[i].querySelectorAll("td.n"), total = i => [...table(i)].reduce((a, e) => a + +e.textContent, 0);
"##;

#[test]
fn the_page_works_in_a_browser() {
    let w = World::new();
    c_files(&w);
    w.write("<b>x.h", "");
    w.write("sub/s.c", "#include \"../<b>x.h\"\n#include \"made.h\"\n");
    w.write(
        "Makefile",
        "all: sub/made.h main.o sub/s.o\nmain.o: main.c\n\tgcc -c main.c\nsub/s.o: sub/s.c\n\tgcc -c sub/s.c -o sub/s.o; echo '</script>' >/dev/null\n\
         sub/made.h:\n\ttouch sub/made.h\n",
    );
    audit(&w, &[], &["make", "-j1"]);
    let page = page(&w);
    // The name of a format is no address.
    let rest = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!rest.contains("http://") && !rest.contains("https://"), "it needs the network");
    let script = r##"
        // Nobody has clicked: why it matters and how to repair it are there.
        const text = document.body.innerText;
        say.push(q("details.target").length, document.getElementById("counts").innerText.replace(/\s+/g, " "));
        say.push(text.includes("editing the file does not rebuild the target"), visible("article .fix pre").map(e => e.textContent).join(" ").replace(/\n/g, " "));
        say.push(text.includes("`"), visible("h3 code").length, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/.test(q("time")[0].textContent));
        // A diagram whose letters are as large as they were meant, on any screen.
        const letters = visible("article svg").map(s => 12 * s.getBoundingClientRect().width / s.viewBox.baseVal.width);
        say.push(letters.length, letters.every(l => l > 11 && l < 14));
        choose("kind", "XL002");
        say.push(q("details.target > summary .path").map(e => e.textContent).join(), visible("article svg .missing").length, visible("article .pips pre").length);
        choose("kind", ""); choose("dir", "sub");
        say.push(q("details.target").length);
        choose("dir", ""); choose("text", "<b>x");
        say.push(q("details.target").length, q("#counts b").length === q("#counts li").length, q("article b").every(e => e.textContent.startsWith("Why")));
        choose("text", "");
        document.dispatchEvent(new KeyboardEvent("keydown", { key: "j" }));
        say.push(document.activeElement.tagName, document.documentElement.scrollWidth <= innerWidth);
        document.title = say.join("|");"##;
    let wide = in_browser(&w, &page, &format!("{HELP}{script}"), 1200);
    let wanted = "2|4 errors 0 warnings 0 notes|true|main.o: a.h main.o: b.h sub/s.o: &lt;b&gt;x.h sub/s.o: sub/made.h|false|5|true|3|true|sub/s.o|1|2|1|1|true|true|SUMMARY|true";
    assert_eq!(wide, wanted);
    assert_eq!(in_browser(&w, &page, &format!("{HELP}{script}"), 500), wide, "on a narrow screen");
}

#[test]
fn a_page_of_many_findings() {
    let w = World::new();
    let headers: Vec<String> = (0..14).map(|i| format!("h{i}.h")).collect();
    headers.iter().for_each(|h| w.write(h, ""));
    w.write("sub/s.c", &headers.iter().map(|h| format!("#include \"../{h}\"\n")).collect::<String>());
    w.write("t.c", "#include \"h0.h\"\n");
    w.write(
        "Makefile",
        "all: sub/s.o t.o\nsub/s.o: sub/s.c\n\tgcc -c sub/s.c -o sub/s.o; echo 1 >log\nt.o: t.c\n\tgcc -c t.c\n",
    );
    let (_, report) = audit(&w, &[], &["make"]);
    assert_eq!((found(&report, &["error"]).len(), found(&report, &["note"]).len()), (15, 1), "{report:#}");
    let script = r##"
        // The counts agree, without notes and with them.
        const counts = () => [options("kind"), options("dir"), total(0), total(1)].join();
        say.push(q("details.target").length, q("details[open]").length, counts());
        choose("notes", true);
        say.push(counts());
        // What is closed says in one line what it is about.
        say.push(visible(".gist")[0].innerText);
        q("summary")[0].click();
        setTimeout(() => {
            say.push(q("article").length, visible("article li").length, q("article .fix pre")[0].textContent.split("\n").length, visible(".gist").length);
            document.title = say.join("|");
        }, 50);"##;
    let gist =
        "sub/s.o reads h0.h, which nothing declares: editing the file does not rebuild the target. Fix: sub/s.o: h0.h";
    let wanted = format!("2|0|15,15,15,15|16,16,16,16|{gist}|2|14|14|1");
    assert_eq!(in_browser(&w, &page(&w), &format!("{HELP}{script}"), 1200), wanted);
}

#[test]
fn a_generated_makefile_is_repaired_where_it_was_written() {
    let w = World::new();
    // As automake and configure leave it: sources in `src`, the makefile in `build/src`, which begins by saying so.
    let rule = "out.txt: gen.sh\n\tsh $(srcdir)/gen.sh $(srcdir)/list.txt $(top_srcdir)/all.txt >out.txt\n";
    w.write("src/Makefile.am", &format!("EXTRA_DIST = gen.sh list.txt\n\n{rule}"));
    w.write("src/gen.sh", "cat \"$@\"\n");
    w.write("src/list.txt", "1\n");
    w.write("all.txt", "2\n");
    let said = "# Makefile.in generated by automake 1.16.5 from Makefile.am.\n# src/Makefile.  Generated from Makefile.in by configure.\n";
    let variables = "VPATH = ../../src\nsrcdir = ../../src\ntop_srcdir = ../..\n";
    w.write("build/src/Makefile", &format!("{said}{variables}all: out.txt\n{rule}"));
    let (_, report) = audit(&w, &[], &["make", "-C", "build/src"]);
    assert_eq!(
        found(&report, &["error"]),
        set(&["XL001 build/src/out.txt all.txt", "XL001 build/src/out.txt src/list.txt"]),
        "{report:#}"
    );
    let mut fixes: Vec<_> = list(&report["violations"]).iter().filter(|v| v["code"] == "XL001").collect();
    fixes.sort_by_key(|v| text(v, "file"));
    let fixes: Vec<_> = fixes
        .iter()
        .map(|v| (text(&v["fix"], "place"), text(&v["fix"], "text"), text(&v["pip"], "declared_at")))
        .collect();
    let at = "src/Makefile.am:3";
    assert_eq!(fixes, [(at, "out.txt: $(top_srcdir)/all.txt", at), (at, "out.txt: $(srcdir)/list.txt", at)]);
    let shown = |format: &str| {
        String::from_utf8(w.xl(&["audit", "--format", format]).output().expect("xl").stdout).expect("UTF-8")
    };
    assert!(shown("text").contains("fix: out.txt: $(srcdir)/list.txt  (src/Makefile.am:3)"), "{}", shown("text"));
    let log: Value = serde_json::from_str(&shown("sarif")).expect("JSON");
    let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(
        (text(&place["artifactLocation"], "uri"), &place["region"]["startLine"]),
        ("src/Makefile.am", &3.into())
    );
    // It is what repairs it.
    for f in ["src/Makefile.am", "build/src/Makefile"] {
        w.write(f, &(w.read(f) + "out.txt: $(top_srcdir)/all.txt\nout.txt: $(srcdir)/list.txt\n"));
    }
    w.sh("rm build/src/out.txt");
    let (code, report) = audit(&w, &[], &["make", "-C", "build/src"]);
    assert_eq!((code, found(&report, &["error", "warning"])), (0, set(&[])), "{report:#}");
}
